// The tensorrt backend without a GPU: loading, building and its errors. Run with the major that the
// stand-in is to play; 12 is one that must be refused.
#include "tensorrt_fixture.h"

#include <dlfcn.h>

#include "onnx/write.h"
#include "ops/pool.h"

int test_major;
static char library_dir[512];

static void keep_log(void *user, osp_log_level level, const char *text)
{
    fixture *f = user;
    (void)level;
    size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof f->log - used, "%s\n", text);
}

static int enqueue_on_fake(void *user, void *stream, void (*run)(void *), void *arg)
{
    return fake_gpu_enqueue(user, stream, run, arg);
}

static osp_status open_runtime(fixture *f, const char *dir)
{
    const osp_options options = {
        .logger = {keep_log, f, OSP_LOG_INFO}, .threads = 1, .library_dir = dir};
    return osp_runtime_open_with(&f->runtime, &options, &f->fake.calls, NULL);
}

static standin_control *find_standin(void)
{
    char path[640];
    snprintf(path, sizeof path, "%s/libnvinfer.so.%d", library_dir, test_major);
    void *library = dlopen(path, RTLD_NOW);
    if (!library)
        fail_msg("%s", dlerror());
    return dlsym(library, "standin_control_of_library");
}

int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_gpu_init(&f->fake);
    f->standin = find_standin();
    assert_non_null(f->standin);
    *f->standin = (standin_control){
        .network = {2,
                    {{"images", 1, 0, 4, 0, {-1, 3, SIZE, SIZE}},
                     {"output0", 0, 0, 3, 0, {-1, 6, 64}}}},
        .enqueue = enqueue_on_fake,
        .user = &f->fake,
    };
    assert_int_equal(open_runtime(f, library_dir), OSP_OK);
    for (int i = 0; i < 4 * PIXELS; i++)
        f->images[i] = (float)(i % 251) / 251;
    *state = f;
    return 0;
}

int tear_down(void **state)
{
    fixture *f = *state;
    osp_runtime_close(&f->runtime);
    if (f->standin->misuse)
        fail_msg("the stand-in was misused %d times, first: %s", f->standin->misuse,
                 f->standin->what);
    assert_int_equal(f->standin->live, 0);
    fake_gpu_close(&f->fake);
    free(f);
    return 0;
}

void reopen_runtime(fixture *f)
{
    osp_runtime_close(&f->runtime);
    assert_int_equal(open_runtime(f, library_dir), OSP_OK);
}

static osp_engine_options options_with(const osp_engine_options *more)
{
    osp_engine_options options = more ? *more : (osp_engine_options){0};
    options.backend = OSP_BACKEND_TENSORRT;
    options.height = options.width = SIZE;
    return options;
}

osp_status try_build(fixture *f, const osp_engine_options *more, osp_error *err)
{
    const osp_engine_options options = options_with(more);
    osp_model *model;
    osp_engine *engine = NULL;
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, NULL), OSP_OK);
    const osp_status status = osp_engine_build(&engine, model, &options, err);
    assert_true((engine != NULL) == (status == OSP_OK));
    osp_engine_close(&engine);
    osp_model_close(&model);
    return status;
}

osp_engine *build_tiny(fixture *f, const osp_engine_options *more)
{
    const osp_engine_options options = options_with(more);
    osp_model *model;
    osp_engine *engine;
    osp_error err;
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, NULL), OSP_OK);
    if (osp_engine_build(&engine, model, &options, &err))
        fail_msg("%s", err.text);
    osp_model_close(&model);
    return engine;
}

osp_tensor input_of(fixture *f, int32_t n)
{
    return (osp_tensor){.name = "images",
                        .dtype = OSP_DTYPE_FLOAT32,
                        .rank = 4,
                        .dims = {n, 3, SIZE, SIZE},
                        .data = f->images};
}

void assert_output(const fixture *f, const float *out, int32_t n)
{
    for (int32_t r = 0; r < n; r++)
        for (int32_t i = 0; i < OUT; i++)
            if (out[r * OUT + i] != 2 * f->images[r * PIXELS + i] + 1)
                fail_msg("row %d, element %d is %g", r, i, (double)out[r * OUT + i]);
}

// ---- Loading ------------------------------------------------------------------------------------

static void assert_reason(fixture *f, const char *wanted)
{
    osp_error err;
    assert_int_equal(try_build(f, NULL, &err), OSP_ERROR_DEVICE);
    if (!strstr(err.text, wanted))
        fail_msg("no '%s' in: %s", wanted, err.text);
}

static void without_a_gpu(void **state)
{
    fixture *f = *state;
    osp_runtime_close(&f->runtime);
    f->fake.devices = 0;
    assert_int_equal(open_runtime(f, library_dir), OSP_OK);
    assert_reason(f, "backend tensorrt: no GPU: no NVIDIA GPU is there");
}

static void other_majors_are_refused(void **state)
{
    fixture *f = *state;
    if (test_major < 12)
        return;  // a loaded libnvinfer.so.10 or .11 would be found first
    assert_reason(f, "libnvinfer.so.12 is TensorRT 12.0.0, and 10 and 11 are supported");
}

// ---- Building -----------------------------------------------------------------------------------

static void builds(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    const standin_control *s = f->standin;
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.backend, OSP_BACKEND_TENSORRT);
    assert_int_equal(info.precision, OSP_PRECISION_FP16);
    assert_int_equal(info.variants, 3);
    assert_int_equal(info.batch_max, 4);
    assert_true(info.batch_free);
    assert_int_equal(info.classes, 2);
    assert_string_equal(osp_engine_class_name(engine, 1), "far");
    assert_string_equal(info.device_key, test_major == 10 ? "tensorrt 10.6.0 cc 9.0 sm 132 Fake GPU"
                                                          : "tensorrt 11.2.1 cc 9.0 sm 132 Fake "
                                                            "GPU");
    int32_t height, width;
    osp_engine_input_size(engine, &height, &width);
    assert_int_equal(height, SIZE);
    assert_int_equal(width, SIZE);
    osp_tensor_info io;
    assert_int_equal(osp_engine_output(engine, 0, &io), OSP_OK);
    assert_string_equal(io.name, "output0");
    assert_int_equal(io.dims[0], -1);
    assert_int_equal(io.dims[2], 64);
    // FP16: in 10 by the builder's flag and explicit batch, in 11 strongly typed.
    assert_int_equal(s->network_flags, 1);
    assert_int_equal(s->builder_flags & 1, test_major == 10);
    assert_int_equal(s->profiles, 3);
    assert_int_equal(s->aux_streams, 0);
    assert_int_equal(s->verbosity, 2);
    assert_int_equal(s->level, 3);
    assert_true(s->monitored);
    assert_true(s->workspace > 0 && s->workspace <= (UINT64_C(8) << 30) / 10 * 9);
    assert_true(s->onnx_bytes > 1000);
    assert_int_equal(s->onnx_head[0], 8);  // ModelProto.ir_version
    osp_step_info step;
    assert_int_equal(osp_engine_step(engine, 1, 1, &step), OSP_OK);
    assert_string_equal(step.name, "layer 1");
    assert_string_equal(step.op, "CaskConvolution");
    assert_string_equal(step.tactic, "tactic_A");
    assert_non_null(strstr(step.problem, "Format/Datatype"));
    assert_int_equal(osp_engine_step(engine, 0, 2, &step), OSP_ERROR_ARGUMENT);
    osp_engine_close(&engine);
}

static void types_follow_the_precision(void **state)
{
    fixture *f = *state;
    const char *keep[] = {"Conv_0"};
    const osp_engine_options fp32 = {.precision = OSP_PRECISION_FP32, .batches = {2}};
    const osp_engine_options kept = {
        .precision = OSP_PRECISION_FP16, .keep_fp32 = keep, .keep_fp32_count = 1, .batches = {2}};
    osp_error err;
    assert_int_equal(try_build(f, &fp32, &err), OSP_OK);
    assert_int_equal(f->standin->builder_flags, 0);  // not even TF32
    assert_int_equal(f->standin->profiles, 1);
    const int32_t plain_bytes = f->standin->onnx_bytes;
    assert_int_equal(try_build(f, &kept, &err), OSP_OK);
    assert_int_equal(f->standin->network_flags, test_major == 10 ? 3 : 1);
    assert_int_equal(f->standin->builder_flags & 1, 0);
    assert_true(f->standin->onnx_bytes < plain_bytes + 2000);  // halves, and some casts
}

// TensorRT gets the nodes in front as ONNX, and its engine says what became of the input; by itself
// none are put there. (The stand-in reads no ONNX: it is told of the input.)
static void takes_pixels(void **state)
{
    fixture *f = *state;
    const osp_engine_options o = {.image_input = {.format = OSP_PIXELS_UINT8}};
    osp_engine *plain = build_tiny(f, NULL);
    const int32_t plain_bytes = f->standin->onnx_bytes;
    f->standin->network.io[0] = (standin_io){"images", 1, 5, 4, 0, {-1, SIZE, SIZE, 3}};
    osp_engine *engine = build_tiny(f, &o);
    osp_engine_info info;
    osp_tensor_info input;
    assert_true(f->standin->onnx_bytes > plain_bytes + 100);  // Cast, Mul, Transpose
    osp_engine_get_info(plain, &info);
    assert_int_equal(info.image_input, OSP_PIXELS_MODEL);
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.image_input, OSP_PIXELS_UINT8);
    assert_int_equal(osp_engine_input(engine, 0, &input), OSP_OK);
    assert_string_equal(input.name, "images");
    assert_true(input.dtype == OSP_DTYPE_UINT8 && input.rank == 4 && input.dims[0] == -1 &&
                input.dims[1] == SIZE && input.dims[2] == SIZE && input.dims[3] == 3);
    osp_detector *detector;
    osp_error err;
    const osp_detector_options head = {.head = OSP_HEAD_YOLO8};
    if (osp_detector_open(&detector, engine, &head, &err))
        fail_msg("%s", err.text);
    osp_detector_close(&detector);
    osp_engine_close(&plain);
    osp_engine_close(&engine);
}

static void options_reach_the_builder(void **state)
{
    fixture *f = *state;
    const osp_engine_options o = {.workspace_bytes = 12345, .builder_level = 1};
    osp_error err;
    assert_int_equal(try_build(f, &o, &err), OSP_OK);
    assert_int_equal(f->standin->workspace, 12345);
    assert_int_equal(f->standin->level, 1);
}

static void assert_build_error(fixture *f, osp_status status, const char *wanted)
{
    osp_error err;
    assert_int_equal(try_build(f, NULL, &err), status);
    if (!strstr(err.text, wanted))
        fail_msg("no '%s' in: %s", wanted, err.text);
    f->standin->faults = (standin_faults){0};
    assert_int_equal(f->standin->live, 0);
}

static void faults_are_told(void **state)
{
    fixture *f = *state;
    standin_faults *faults = &f->standin->faults;
    faults->small_pointer = true;
    assert_build_error(f, OSP_ERROR_DEVICE, "CUDA initialization failure with error: 35");
    faults->null_runtime = true;
    assert_build_error(f, OSP_ERROR_DEVICE, "CUDA initialization failure with error: 35");
    faults->parse_error = true;
    assert_build_error(f, OSP_ERROR_UNSUPPORTED,
                       "node 'node_1' (Strange): the operator is unknown; node 'node_2' (Concat): "
                       "the axis is out of range");
    faults->build_fails = true;
    assert_build_error(f, OSP_ERROR_UNSUPPORTED,
                       "could not find any implementation for node conv1");
    faults->null_engine = true;
    assert_build_error(f, OSP_ERROR_FORMAT, "magic tag");
}

typedef struct watch {
    int32_t calls, cancel_at, total;
} watch;

static bool watch_progress(void *user, const char *phase, int32_t done, int32_t total)
{
    watch *w = user;
    assert_string_equal(phase, "Building");
    assert_int_equal(done, w->calls + 1);
    w->total = total;
    return ++w->calls != w->cancel_at;
}

static void progress_can_cancel(void **state)
{
    fixture *f = *state;
    watch w = {0};
    osp_engine_options o = {.progress = {watch_progress, &w}};
    osp_error err;
    f->standin->build_steps = 7;
    assert_int_equal(try_build(f, &o, &err), OSP_OK);
    assert_int_equal(w.calls, 7);
    assert_int_equal(w.total, 7);
    w = (watch){.cancel_at = 3};
    assert_int_equal(try_build(f, &o, &err), OSP_ERROR_CANCELLED);
    assert_int_equal(w.calls, 3);
}

// A device that is too old is passed over by both backends, each with its reason.
static void auto_passes_over_old_devices(void **state)
{
    fixture *f = *state;
    f->fake.facts[0].cc_major = 7;
    osp_gpus_close(&f->runtime->ctx);
    assert_int_equal(osp_gpus_open(&f->runtime->ctx, NULL), OSP_OK);
    osp_model *model;
    osp_engine *engine;
    osp_engine_info info;
    const osp_engine_options o = {.height = SIZE, .width = SIZE};
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, NULL), OSP_OK);
    assert_int_equal(osp_engine_build(&engine, model, &o, NULL), OSP_OK);
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.backend, OSP_BACKEND_CPU);
    assert_non_null(strstr(info.reason, "cuda: "));
    assert_non_null(strstr(info.reason, "tensorrt: "));
    osp_engine_close(&engine);
    osp_model_close(&model);
}

// Another engine takes minutes: FP32 is built, for one image, only where a tolerance asks for it.
static void tolerance_asks_for_fp32(void **state)
{
    fixture *f = *state;
    osp_engine_info info;
    osp_engine *engine = build_tiny(f, NULL);
    osp_engine_get_info(engine, &info);
    assert_null(info.difference_output);
    assert_int_equal(f->standin->builds, 1);
    osp_engine_close(&engine);
    engine = build_tiny(f, &(osp_engine_options){.tolerance = 0.01f});
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.precision, OSP_PRECISION_FP16);
    assert_string_equal(info.difference_output, "output0");
    assert_true(info.difference == 0);  // the stand-in knows no types
    assert_int_equal(f->standin->builds, 3);
    assert_int_equal(f->standin->level, 1);
    osp_engine_close(&engine);
    engine = build_tiny(f,
                        &(osp_engine_options){.tolerance = 0.01f, .precision = OSP_PRECISION_FP32});
    assert_int_equal(f->standin->builds, 4);
    osp_engine_close(&engine);
}

// ---- Models that a backend cannot run -----------------------------------------------------------

// "images" -> MaxPool -> "output0". Its stride is too large for the cuda backend.
static void write_stride_model(fixture *f, void **bytes, size_t *size)
{
    osp_graph g;
    osp_graph_init(&g, &f->runtime->ctx);
    g.opset = 17;
    g.ir_version = 8;
    const osp_shape shape = {4, {1, 3, SIZE, SIZE}};
    osp_vid x = osp_graph_add_value(&g, "images", OSP_DTYPE_FLOAT32, &shape);
    osp_vid y = osp_graph_add_value(&g, "output0", OSP_DTYPE_FLOAT32, NULL);
    const osp_pool_attrs attrs = {.kernel_shape = {2, {1, 1}},
                                  .strides = {2, {1 << 25, 1 << 25}},
                                  .dilations = {-1, {0}},
                                  .pads = {-1, {0}}};
    assert_non_null(
        osp_graph_insert_node(&g, 0, osp_op_find("", "MaxPool"), "wide", &x, 1, &y, 1, &attrs));
    g.inputs = &x;
    g.outputs = &y;
    g.input_count = g.output_count = 1;
    assert_int_equal(osp_onnx_write_memory(&g, bytes, size, NULL), OSP_OK);
    osp_graph_free(&g);
}

// Builds it; the backend that it ended with, or its status.
static osp_status build_stride_model(fixture *f, osp_backend backend, osp_engine_info *info,
                                     char reason[1024], osp_error *err)
{
    void *bytes;
    size_t size;
    osp_engine *engine;
    write_stride_model(f, &bytes, &size);
    const osp_engine_options o = {.backend = backend};
    const osp_status status = osp_engine_build_memory(&engine, f->runtime, bytes, size, &o, err);
    osp_mem_free(&f->runtime->ctx.mem, bytes);
    if (status)
        return status;
    osp_engine_get_info(engine, info);
    snprintf(reason, 1024, "%s", info->reason);
    osp_engine_close(&engine);
    return OSP_OK;
}

static void auto_goes_on_from_nodes_it_cannot_run(void **state)
{
    fixture *f = *state;
    osp_engine_info info;
    osp_error err;
    char reason[1024];
    f->standin->network = (standin_network){
        2, {{"images", 1, 0, 4, 0, {1, 3, SIZE, SIZE}}, {"output0", 0, 0, 4, 0, {1, 3, 1, 1}}}};
    assert_int_equal(build_stride_model(f, OSP_BACKEND_CUDA, &info, reason, &err),
                     OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'wide' (MaxPool): a window is too large"));
    f->log[0] = 0;
    if (build_stride_model(f, OSP_BACKEND_AUTO, &info, reason, &err))
        fail_msg("%s", err.text);
    assert_int_equal(info.backend, OSP_BACKEND_TENSORRT);
    assert_non_null(strstr(reason, "cuda: backend cuda cannot run 1 node: 'wide' (MaxPool)"));
    assert_non_null(strstr(f->log, "backend cuda is passed over: backend cuda cannot run 1 node"));
    // TensorRT cannot either: the CPU, with both reasons. Named, it is an error.
    f->standin->faults.parse_error = true;
    if (build_stride_model(f, OSP_BACKEND_AUTO, &info, reason, &err))
        fail_msg("%s", err.text);
    assert_int_equal(info.backend, OSP_BACKEND_CPU);
    assert_non_null(strstr(reason, "'wide'"));
    assert_non_null(strstr(reason, "; tensorrt: TensorRT does not take the model"));
    assert_int_equal(build_stride_model(f, OSP_BACKEND_TENSORRT, &info, reason, &err),
                     OSP_ERROR_UNSUPPORTED);
}

// Memory that is short, and a device that is lost, are no reasons to be slower from now on.
static void auto_stops_at_other_errors(void **state)
{
    fixture *f = *state;
    osp_engine_info info;
    osp_error err;
    char reason[1024];
    osp_engine *engine;
    osp_model *model;
    const osp_engine_options o = {.height = SIZE, .width = SIZE};
    f->fake.memory_bytes = 1 << 20;
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, NULL), OSP_OK);
    assert_int_equal(osp_engine_build(&engine, model, &o, &err), OSP_ERROR_MEMORY);
    assert_null(engine);
    osp_model_close(&model);
    // The last backend's own error is told: here what the CPU cannot do either.
    f->fake.memory_bytes = (size_t)8 << 30;
    f->standin->faults.small_pointer = true;
    if (build_stride_model(f, OSP_BACKEND_AUTO, &info, reason, &err))
        fail_msg("%s", err.text);
    assert_int_equal(info.backend, OSP_BACKEND_CPU);
    assert_non_null(strstr(reason, "CUDA initialization failure"));
}

// An engine that another backend made is found again by what AUTO tries first; one that was made for
// want of a device is not kept.
static void cache_keeps_what_was_chosen(void **state)
{
    fixture *f = *state;
    char dir[] = "/tmp/osprey-auto-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/wide.onnx", dir);
    void *bytes;
    size_t size;
    write_stride_model(f, &bytes, &size);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    osp_mem_free(&f->runtime->ctx.mem, bytes);
    for (int round = 0; round < 3; round++) {
        osp_engine *engine;
        osp_engine_info info;
        osp_error err;
        f->standin->faults = (standin_faults){.small_pointer = round == 0,
                                              .parse_error = round > 0};
        f->log[0] = 0;
        if (osp_engine_open_cached(&engine, f->runtime, path, dir, NULL, NULL, &err))
            fail_msg("%s", err.text);
        osp_engine_get_info(engine, &info);
        assert_int_equal(info.backend, OSP_BACKEND_CPU);
        assert_int_equal(info.from_cache, round == 2);
        assert_non_null(strstr(info.reason, "'wide' (MaxPool)"));
        assert_non_null(strstr(f->log, "'wide' (MaxPool)"));
        osp_engine_close(&engine);
    }
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

// ---- Main ---------------------------------------------------------------------------------------

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    test_major = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 10;
    snprintf(library_dir, sizeof library_dir, "%s/%d", STANDIN_DIR, test_major);
    const struct CMUnitTest refusal[] = {TEST(without_a_gpu), TEST(other_majors_are_refused)};
    if (test_major > 11)
        return cmocka_run_group_tests(refusal, NULL, NULL);
    const struct CMUnitTest tests[] = {
        TEST(without_a_gpu),
        TEST(builds),
        TEST(auto_passes_over_old_devices),
        TEST(tolerance_asks_for_fp32),
        TEST(auto_goes_on_from_nodes_it_cannot_run),
        TEST(auto_stops_at_other_errors),
        TEST(cache_keeps_what_was_chosen),
        TEST(types_follow_the_precision),
        TEST(faults_are_told),
        TEST(takes_pixels),
        TEST(options_reach_the_builder),
        TEST(progress_can_cancel),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += _cmocka_run_group_tests("files", file_tests, file_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("sessions", session_tests, session_test_count, NULL, NULL);
    return failed;
}
