// osprey run: raw tensors in, raw tensors out.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

// NAME.npy with every character outside [A-Za-z0-9._-] replaced; .pb for bfloat16, which .npy lacks.
static char *file_name(const osp_tensor *tensor, osp_cli_list *taken)
{
    char *name = osp_cli_text("%s", tensor->name && *tensor->name ? tensor->name : "output");
    for (char *p = name; *p; p++)
        if (!(isascii(*p) && isalnum(*p)) && !strchr("._-", *p))
            *p = '_';
    char *file = osp_cli_text("%s%s", name, tensor->dtype == OSP_DTYPE_BFLOAT16 ? ".pb" : ".npy");
    char *unique = osp_cli_unique(taken, file);
    free(name);
    free(file);
    return unique;
}

typedef struct summary {
    double min, max, mean;
} summary;

static summary summarise(const osp_tensor *tensor)
{
    size_t count = osp_cli_element_count(tensor);
    summary s = {NAN, NAN, 0};
    for (size_t i = 0; i < count; i++) {
        double x = osp_cli_element(tensor, i);
        s.min = fmin(s.min, x);  // fmin and fmax pass over NaN
        s.max = fmax(s.max, x);
        s.mean += x / (double)count;
    }
    return s;
}

static void add_output(osp_cli_json *json, osp_cli_table *table, const osp_tensor *tensor,
                       const char *path)
{
    summary s = summarise(tensor);
    osp_tensor_info info = {.name = tensor->name, .dtype = tensor->dtype, .rank = tensor->rank};
    memcpy(info.dims, tensor->dims, sizeof info.dims);
    if (json->to) {
        osp_cli_json_open(json, NULL, '{');
        osp_cli_tensor_json(json, "tensor", &info);
        osp_cli_json_string(json, "file", path);
        osp_cli_json_real(json, "min", s.min, 9);
        osp_cli_json_real(json, "max", s.max, 9);
        osp_cli_json_real(json, "mean", s.mean, 9);
        osp_cli_json_close(json, '}');
    } else {
        char shape[256];
        osp_cli_table_add(table, "%s\t%s\t%.6g\t%.6g\t%.6g\t%s", tensor->name,
                          osp_cli_shape_text(&info, shape, sizeof shape), s.min, s.max, s.mean,
                          path);
    }
}

static int write_outputs(osp_cli *cli, const osp_tensor *outputs, int32_t count,
                         const osp_run_stats *stats)
{
    int status = osp_cli_make_dirs(cli->set.output_dir);
    osp_cli_list taken = {0};
    osp_cli_json json = {0};
    osp_cli_table table;
    char *buffer = NULL;
    size_t buffer_size = 0;
    FILE *memory = NULL;
    osp_cli_table_init(&table, "llrrrl");
    if (cli->set.json) {
        memory = open_memstream(&buffer, &buffer_size);
        osp_cli_json_init(&json, memory);
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "file", cli->set.file);
        osp_cli_json_real(&json, "infer_ms", stats->infer_us / 1000, 6);
        osp_cli_json_open(&json, "outputs", '[');
    } else {
        osp_cli_table_add(&table, "output\tshape\tmin\tmax\tmean\tfile");
    }
    for (int32_t i = 0; !status && i < count; i++) {
        osp_error err;
        char *name = file_name(&outputs[i], &taken);
        char *path = osp_cli_text("%s/%s", cli->set.output_dir, name);
        if (osp_tensor_write(cli->runtime, path, &outputs[i], &err))
            status = osp_cli_fail_output(path, &err);
        else
            add_output(&json, &table, &outputs[i], path);
        free(path);
        free(name);
    }
    if (cli->set.json) {
        osp_cli_json_close(&json, ']');
        osp_cli_json_close(&json, '}');
        osp_cli_json_end(&json);
        fclose(memory);
        if (!status)
            fputs(buffer, stdout);
        free(buffer);
    } else if (!status) {
        osp_cli_table_print(&table, "");
        printf("%.2f ms\n", stats->infer_us / 1000);
    }
    osp_cli_table_free(&table);
    osp_cli_list_free(&taken);
    return status;
}

static int run_engine(osp_cli *cli, osp_engine *engine)
{
    osp_cli_tensors inputs;
    int status = osp_cli_inputs(cli, engine, 1, &inputs);
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    osp_tensor *outputs = osp_cli_alloc((size_t)info.outputs, sizeof *outputs);
    osp_session *session = NULL;
    osp_error err;
    if (!status) {
        if (osp_session_open(&session, engine, NULL, &err) ||
            osp_session_run(session, inputs.items, inputs.count, outputs, info.outputs, &err))
            status = osp_cli_fail(cli->set.file, &err);
    }
    for (int32_t i = 0; !status && i < info.outputs; i++) {
        osp_tensor_info about;
        osp_engine_output(engine, i, &about);
        outputs[i].name = about.name;
    }
    if (!status) {
        osp_run_stats stats;
        osp_session_stats(session, &stats);
        status = write_outputs(cli, outputs, info.outputs, &stats);
    }
    osp_session_close(&session);
    free(outputs);
    osp_cli_tensors_free(&inputs);
    return status;
}

int osp_cli_run(osp_cli *cli)
{
    if (!cli->set.output_dir)
        return osp_cli_usage("run: --output-dir is missing: see osprey run --help");
    osp_engine_options options;
    osp_engine *engine = NULL;
    int status = osp_cli_fix_inputs(cli, cli->set.file);
    if (!status)
        status = osp_cli_engine_options(cli, &options);
    if (!status)
        status = osp_cli_engine_open(cli, cli->set.file, &options, &engine);
    if (!status)
        status = run_engine(cli, engine);
    osp_engine_close(&engine);
    return status;
}
