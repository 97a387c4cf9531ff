// libFuzzer: an ONNX model under small limits: read, asked about, written back and read again,
// compiled by both backends and run. Models that want external data are tried from a folder that
// has some. Finds crashes, leaks, work beyond the limits, and models that change when written.
#include "onnx/write.h"
#include "run_engine.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        abort();
}

// Tried from a folder that has the data of which such models most often speak.
static void open_with_data(osp_model **model, osp_runtime *runtime, const uint8_t *data,
                           size_t size)
{
    const float weights[64] = {1, 2, 3};
    char path[96];
    write_file(fuzz_path(path, "weights.bin"), weights, sizeof weights);
    write_file(fuzz_path(path, "model.onnx"), data, size);
    (void)osp_model_open(model, runtime, path, NULL);
}

static void ask(const osp_model *model)
{
    osp_model_info info;
    osp_tensor_info tensor;
    const char *key, *value;
    int32_t count;
    bool known;
    osp_model_get_info(model, &info);
    for (int32_t i = 0; osp_model_input(model, i, &tensor) == OSP_OK; i++) {
    }
    for (int32_t i = 0; osp_model_output(model, i, &tensor) == OSP_OK; i++) {
    }
    for (int32_t i = 0; osp_model_metadata(model, i, &key, &value) == OSP_OK; i++) {
    }
    for (int32_t i = 0; osp_model_operator(model, i, &key, &count, &known) == OSP_OK; i++) {
    }
}

// What was written must read, and be the same graph where no precision was asked for.
static void write_and_read(osp_runtime *runtime, osp_model *model, osp_precision precision)
{
    const osp_engine_options options = {.precision = precision};
    char path[96];
    osp_error err;
    osp_model *copy = NULL;
    if (osp_model_write(model, fuzz_path(path, "copy.onnx"), &options, &err))
        return;  // values of types that we do not have
    if (osp_model_open(&copy, runtime, path, &err)) {
        fprintf(stderr, "written but not read: %s\n", err.text);
        abort();
    }
    osp_model_info a, b;
    osp_model_get_info(model, &a);
    osp_model_get_info(copy, &b);
    if (a.inputs != b.inputs || a.outputs != b.outputs || a.metadata != b.metadata ||
        a.opset != b.opset || (precision <= OSP_PRECISION_FP32 && a.nodes != b.nodes))
        abort();
    osp_model_close(&copy);
}

// As if a pass had made every node: attributes come from the operators' tables. Not all meanings of
// old opsets have a form there, so it need not read.
static void write_by_tables(osp_runtime *runtime, const osp_model *model)
{
    osp_graph graph;
    char path[96];
    osp_model *copy = NULL;
    if (osp_graph_clone(&graph, &model->graph, NULL))
        return;
    for (size_t i = 0; i < graph.node_count; i++)
        graph.nodes[i].raw_attrs = (osp_bytes){0};
    if (osp_onnx_write(&graph, fuzz_path(path, "copy.onnx"), NULL) == OSP_OK)
        (void)osp_model_open(&copy, runtime, path, NULL);
    osp_model_close(&copy);
    osp_graph_free(&graph);
}

static void build_and_run(osp_runtime *runtime, osp_model *model, osp_backend backend,
                          osp_precision precision)
{
    const osp_engine_options options = {
        .backend = backend, .precision = precision, .height = 32, .width = 32};
    osp_engine *engine = NULL;
    osp_error err;
    const osp_status status = osp_engine_build(&engine, model, &options, &err);
    if (status == OSP_OK) {
        fuzz_ask_engine(engine);
        fuzz_run_engine(engine);
        fuzz_save_and_open(runtime, engine);
    } else if (engine || err.code != status || !err.text[0]) {
        abort();
    }
    osp_engine_close(&engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const osp_options options = {
        .limits = {.file_bytes = 1 << 20,
                   .nodes = 500,
                   .tensor_bytes = 1 << 20,
                   .memory_bytes = 16 << 20,
                   .fold_elements = 1 << 16},
        .threads = 1,
    };
    osp_runtime *runtime = NULL;
    if (osp_runtime_open(&runtime, &options, NULL))
        return 0;
    osp_error err;
    osp_model *model = NULL;
    if (osp_model_open_memory(&model, runtime, data, size, &err) == OSP_ERROR_UNSUPPORTED &&
        strstr(err.text, "in memory cannot have"))
        open_with_data(&model, runtime, data, size);
    if (model) {
        ask(model);
        write_and_read(runtime, model, OSP_PRECISION_AUTO);
        write_and_read(runtime, model, OSP_PRECISION_FP16);
        write_by_tables(runtime, model);
        build_and_run(runtime, model, OSP_BACKEND_REFERENCE, OSP_PRECISION_FP32);
        build_and_run(runtime, model, OSP_BACKEND_CPU,
                      size % 2 ? OSP_PRECISION_BF16 : OSP_PRECISION_FP32);
    }
    osp_model_close(&model);
    osp_counters counters;
    osp_runtime_counters(runtime, &counters);
    if (counters.nodes_made > 100000 || counters.elements_folded > (1 << 20)) {
        fprintf(stderr, "more work than the limits allow\n");
        abort();
    }
    osp_runtime_close(&runtime);
    return 0;
}
