// osprey inspect: what is in a model (nothing is built) or in a plan (its header needs no device;
// its steps are told where it opens here).
#include "cli.h"

static void model_json(const char *file, const osp_model *model, const osp_model_info *info)
{
    osp_cli_json json;
    osp_tensor_info tensor;
    const char *key, *value;
    int32_t count;
    bool known;
    osp_cli_json_init(&json, stdout);
    osp_cli_json_open(&json, NULL, '{');
    osp_cli_json_string(&json, "file", file);
    osp_cli_json_string(&json, "kind", "onnx");
    osp_cli_json_string(&json, "graph", info->graph_name);
    osp_cli_json_string(&json, "producer", info->producer);
    osp_cli_json_int(&json, "opset", info->opset);
    osp_cli_json_int(&json, "ir_version", info->ir_version);
    osp_cli_json_int(&json, "nodes", info->nodes);
    osp_cli_json_uint(&json, "weight_bytes", info->weight_bytes);
    osp_cli_json_open(&json, "inputs", '[');
    for (int32_t i = 0; !osp_model_input(model, i, &tensor); i++)
        osp_cli_tensor_json(&json, NULL, &tensor);
    osp_cli_json_close(&json, ']');
    osp_cli_json_open(&json, "outputs", '[');
    for (int32_t i = 0; !osp_model_output(model, i, &tensor); i++)
        osp_cli_tensor_json(&json, NULL, &tensor);
    osp_cli_json_close(&json, ']');
    osp_cli_json_open(&json, "operators", '[');
    for (int32_t i = 0; !osp_model_operator(model, i, &key, &count, &known); i++) {
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "type", key);
        osp_cli_json_int(&json, "count", count);
        osp_cli_json_bool(&json, "known", known);
        osp_cli_json_close(&json, '}');
    }
    osp_cli_json_close(&json, ']');
    // A list of pairs: a file may repeat a key.
    osp_cli_json_open(&json, "metadata", '[');
    for (int32_t i = 0; !osp_model_metadata(model, i, &key, &value); i++) {
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "key", key);
        osp_cli_json_string(&json, "value", value);
        osp_cli_json_close(&json, '}');
    }
    osp_cli_json_close(&json, ']');
    osp_cli_json_close(&json, '}');
    osp_cli_json_end(&json);
}

static void print_line(const char *label, const char *text)
{
    printf("  %-12s ", label);
    osp_cli_print_clean(stdout, text ? text : "");
    putchar('\n');
}

static void model_text(const char *file, const osp_model *model, const osp_model_info *info)
{
    osp_cli_table table;
    osp_tensor_info tensor;
    const char *key, *value;
    char text[512];
    int32_t count;
    bool known;
    printf("%s: ONNX model, opset %lld, IR %lld\n", file, (long long)info->opset,
           (long long)info->ir_version);
    print_line("graph", info->graph_name);
    print_line("producer", info->producer);
    printf("  %-12s %d, weights %s\n", "nodes", info->nodes,
           osp_cli_bytes_text(info->weight_bytes, text));
    osp_cli_table_init(&table, "lll");
    for (int32_t i = 0; !osp_model_input(model, i, &tensor); i++)
        osp_cli_table_add(&table, "input\t%s\t%s%s", tensor.name,
                          osp_cli_shape_text(&tensor, text, sizeof text),
                          tensor.determines_shapes ? "  determines shapes: fixed at build" : "");
    for (int32_t i = 0; !osp_model_output(model, i, &tensor); i++)
        osp_cli_table_add(&table, "output\t%s\t%s", tensor.name,
                          osp_cli_shape_text(&tensor, text, sizeof text));
    osp_cli_table_print(&table, "  ");
    puts("  operators");
    osp_cli_table_init(&table, "lrl");
    for (int32_t i = 0; !osp_model_operator(model, i, &key, &count, &known); i++)
        osp_cli_table_add(&table, "%s\t%d\t%s", key, count, known ? "" : "unknown");
    osp_cli_table_print(&table, "    ");
    if (info->metadata)
        puts("  metadata");
    osp_cli_table_init(&table, "ll");
    for (int32_t i = 0; !osp_model_metadata(model, i, &key, &value); i++)
        osp_cli_table_add(&table, "%.60s\t%.200s", key, value);
    osp_cli_table_print(&table, "    ");
}

static int inspect_model(osp_cli *cli, const char *file)
{
    osp_model *model = NULL;
    osp_model_info info;
    osp_error err;
    if (osp_model_open(&model, cli->runtime, file, &err))
        return osp_cli_fail(file, &err);
    osp_model_get_info(model, &info);
    if (cli->set.json)
        model_json(file, model, &info);
    else
        model_text(file, model, &info);
    osp_model_close(&model);
    return OSP_CLI_DONE;
}

static void steps_json(osp_cli_json *json, const osp_engine *engine)
{
    osp_engine_info info;
    osp_step_info step;
    osp_engine_get_info(engine, &info);
    osp_cli_json_open(json, "engine", '{');
    osp_cli_engine_json(json, engine);
    osp_cli_json_close(json, '}');
    osp_cli_json_open(json, "steps_of_variants", '[');
    for (int32_t v = 0; v < info.variants; v++) {
        osp_cli_json_open(json, NULL, '[');
        for (int32_t i = 0; !osp_engine_step(engine, v, i, &step); i++) {
            osp_cli_json_open(json, NULL, '{');
            osp_cli_json_string(json, "name", step.name);
            osp_cli_json_string(json, "op", step.op);
            osp_cli_json_string(json, "tactic", step.tactic);
            osp_cli_json_string(json, "problem", step.problem);
            osp_cli_json_real(json, "flops", step.flops, 12);
            osp_cli_json_real(json, "bytes", step.bytes, 12);
            osp_cli_json_close(json, '}');
        }
        osp_cli_json_close(json, ']');
    }
    osp_cli_json_close(json, ']');
}

static void steps_text(const osp_engine *engine)
{
    osp_engine_info info;
    osp_step_info step;
    osp_engine_get_info(engine, &info);
    osp_cli_engine_print(engine);
    for (int32_t v = 0; v < info.variants; v++) {
        printf("\nvariant %d\n", v);
        osp_cli_table table;
        osp_cli_table_init(&table, "rlll");
        osp_cli_table_add(&table, "step\top\ttactic\tproblem");
        for (int32_t i = 0; !osp_engine_step(engine, v, i, &step); i++)
            osp_cli_table_add(&table, "%d\t%s\t%s\t%s", i, step.op, step.tactic, step.problem);
        osp_cli_table_print(&table, "  ");
    }
}

static int inspect_plan(osp_cli *cli, const char *file)
{
    osp_plan_info plan;
    osp_error err;
    if (osp_plan_get_info(cli->runtime, file, &plan, &err))
        return osp_cli_fail(file, &err);
    const osp_engine_options options = {.trust = cli->set.trust ? OSP_ON : OSP_AUTO};
    osp_engine *engine = NULL;
    osp_engine_open(&engine, cli->runtime, file, &options, &err);
    // A bare plan of TensorRT has no header to tell of: what it is, only its library knows.
    if (!engine && !plan.format)
        return osp_cli_fail(file, &err);
    if (cli->set.json) {
        osp_cli_json json;
        osp_cli_json_init(&json, stdout);
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "file", file);
        osp_cli_json_string(&json, "kind", "plan");
        osp_cli_json_string(&json, "backend", osp_cli_backend_name(plan.backend));
        osp_cli_json_string(&json, "precision", osp_cli_precision_name(plan.precision));
        osp_cli_json_int(&json, "format", plan.format);
        osp_cli_json_int(&json, "writer_version", plan.writer_version);
        osp_cli_json_string(&json, "device_key", plan.device_key);
        osp_cli_json_uint(&json, "bytes", plan.bytes);
        osp_cli_json_int(&json, "variants", plan.variants);
        osp_cli_json_int(&json, "steps", plan.steps);
        osp_cli_json_string(&json, "error", engine ? NULL : err.text);
        if (engine)
            steps_json(&json, engine);
        osp_cli_json_close(&json, '}');
        osp_cli_json_end(&json);
    } else {
        char bytes[32];
        const int32_t w = plan.writer_version;
        printf("%s: plan for %s, %s, format %d, written by %d.%d.%d, %s\n", file,
               osp_cli_backend_name(plan.backend), osp_cli_precision_name(plan.precision),
               plan.format, w / 10000, w / 100 % 100, w % 100,
               osp_cli_bytes_text(plan.bytes, bytes));
        print_line("tied to", plan.device_key);
        printf("  %-12s %d in %d variant%s\n", "steps", plan.steps, plan.variants,
               plan.variants == 1 ? "" : "s");
        if (engine)
            steps_text(engine);
        else
            print_line("not here", err.text);
    }
    osp_engine_close(&engine);
    return OSP_CLI_DONE;
}

int osp_cli_inspect(osp_cli *cli)
{
    osp_cli_kind kind;
    int status = osp_cli_sniff(cli->set.file, &kind);
    if (status)
        return status;
    return kind == OSP_CLI_ONNX ? inspect_model(cli, cli->set.file)
                                : inspect_plan(cli, cli->set.file);
}
