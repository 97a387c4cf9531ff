// From FILE and build options to an engine: plans are opened, models built or taken from the cache.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

// Each line once: an engine that is looked up and then built chooses its backend twice.
static void log_line(void *user, osp_log_level level, const char *text)
{
    osp_cli *cli = user;
    static const char *const names[] = {"", "error", "warning", "info", "debug"};
    for (int32_t i = 0; i < cli->said.count; i++)
        if (strcmp(cli->said.items[i], text) == 0)
            return;
    osp_cli_list_add(&cli->said, text);
    osp_cli_say("%s: %s", level >= 1 && level <= 4 ? names[level] : "log", text);
}

int osp_cli_runtime_open(osp_cli *cli)
{
    const osp_cli_settings *set = &cli->set;
    osp_log_level level = set->log ? (osp_log_level)set->log : OSP_LOG_WARNING;
    osp_options options = {
        .logger = {log_line, cli, set->quiet ? OSP_LOG_ERROR : level},
        .threads = set->threads,
    };
    char *library_dir = osp_cli_library_dir(set);
    options.library_dir = library_dir;
    if (library_dir && level >= OSP_LOG_DEBUG && !set->quiet)
        osp_cli_say("debug: TensorRT is looked for in %s, too", library_dir);
    osp_error err;
    osp_status status = osp_runtime_open(&cli->runtime, &options, &err);
    free(library_dir);
    return status ? osp_cli_fail(NULL, &err) : OSP_CLI_DONE;
}

void osp_cli_close(osp_cli *cli)
{
    osp_cli_tensors_free(&cli->fixed);
    osp_runtime_close(&cli->runtime);
    osp_cli_list_free(&cli->said);
    osp_cli_settings_free(&cli->set);
}

// TensorRT's plans start with a mark of their own, or with the length and text of a JSON object
// that Ultralytics puts in front. Everything else is taken for ONNX, whose files have no mark: its
// reader says what is wrong with them.
int osp_cli_sniff(const char *file, osp_cli_kind *kind)
{
    unsigned char head[8] = {0};
    FILE *f = fopen(file, "rb");
    struct stat info = {0};
    if (f && fstat(fileno(f), &info) == 0 && S_ISDIR(info.st_mode)) {
        fclose(f);
        f = NULL;
        errno = EISDIR;
    }
    size_t n = f && S_ISREG(info.st_mode) ? fread(head, 1, sizeof head, f) : 0;
    if (!f || ferror(f)) {
        osp_cli_say("%s: %s: name an ONNX model or a plan", file, strerror(errno));
        if (f)
            fclose(f);
        return OSP_CLI_INPUT;
    }
    fclose(f);
    uint32_t length = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
                      (uint32_t)head[3] << 24;
    if (n == 8 && memcmp(head, "OSPPLAN\n", 8) == 0)
        *kind = OSP_CLI_PLAN;
    else if (n == 8 && (memcmp(head, "ftrt", 4) == 0 || memcmp(head, "ptrt", 4) == 0 ||
                        (head[4] == '{' && length > 1 && length < (uint64_t)info.st_size)))
        *kind = OSP_CLI_TENSORRT;
    else
        *kind = OSP_CLI_ONNX;
    return OSP_CLI_DONE;
}

int osp_cli_engine_options(osp_cli *cli, osp_engine_options *options)
{
    const osp_cli_settings *set = &cli->set;
    cli->fixed.runtime = cli->runtime;
    for (int32_t i = 0; i < set->fixed_inputs.count; i++) {
        int status = osp_cli_tensor_read(cli, set->fixed_inputs.items[i], &cli->fixed);
        if (status)
            return status;
    }
    *options = (osp_engine_options){
        .backend = (osp_backend)set->backend,
        .device = set->device,
        .precision = (osp_precision)set->precision,
        .height = set->height,
        .width = set->width,
        .workspace_bytes = set->workspace,
        .builder_level = set->builder_level,
        .tolerance = isnan(set->tolerance) ? 0 : (float)set->tolerance,
        .cache_file = set->timing_cache,
        .keep_fp32 = (const char *const *)set->keep_fp32.items,
        .keep_fp32_count = set->keep_fp32.count,
        .fixed_inputs = cli->fixed.items,
        .fixed_input_count = cli->fixed.count,
        .head = (osp_head)set->head,
        .resize = (osp_resize)set->resize,
        .image_input = {.format = (osp_pixels)set->image_input},
        .trust = set->trust ? OSP_ON : OSP_AUTO,
        .progress = osp_cli_progress(cli),
    };
    memcpy(options->batches, set->batches, sizeof options->batches);
    return OSP_CLI_DONE;
}

static osp_status build(osp_cli *cli, const char *file, const osp_engine_options *options,
                        osp_engine **out, osp_error *err)
{
    char *dir = osp_cli_cache_dir(&cli->set);
    if (dir && osp_cli_make_dirs(dir)) {
        osp_cli_say("warning: the engine is built, but not kept");
        free(dir);
        dir = NULL;
    }
    osp_status status;
    if (dir) {
        status = osp_engine_open_cached(out, cli->runtime, file, dir, NULL, options, err);
    } else {
        osp_model *model = NULL;
        status = osp_model_open(&model, cli->runtime, file, err);
        if (!status)
            status = osp_engine_build(out, model, options, err);
        osp_model_close(&model);
    }
    free(dir);
    return status;
}

int osp_cli_engine_open(osp_cli *cli, const char *file, const osp_engine_options *options,
                        osp_engine **out)
{
    osp_cli_kind kind;
    int status = osp_cli_sniff(file, &kind);
    if (status)
        return status;
    osp_error err;
    osp_status failed;
    if (kind == OSP_CLI_ONNX) {
        failed = build(cli, file, options, out, &err);
    } else if (cli->set.build_option) {
        return osp_cli_usage("%s: --%s is for models, and this is a plan: build the plan with it",
                             file, cli->set.build_option);
    } else {
        failed = osp_engine_open(out, cli->runtime, file, options, &err);
    }
    if (options->progress.step)
        osp_cli_progress_clear();
    return failed ? osp_cli_fail(file, &err) : OSP_CLI_DONE;
}

osp_status osp_cli_engine_device(const osp_cli *cli, const osp_engine_info *info,
                                 osp_device_info *out, osp_error *err)
{
    bool host = info->backend == OSP_BACKEND_CPU || info->backend == OSP_BACKEND_REFERENCE;
    int32_t last = osp_device_count(cli->runtime) - 1;
    for (int32_t i = 0; i < last && !host; i++) {
        osp_status status = osp_device_get(cli->runtime, i, out, err);
        if (status || out->index == info->device)
            return status;
    }
    return osp_device_get(cli->runtime, last, out, err);
}

float osp_cli_threshold(double value)
{
    if (isnan(value))
        return 0;
    return value > 0 ? (float)value : -1;
}

void osp_cli_engine_json(osp_cli_json *json, const osp_engine *engine)
{
    osp_engine_info info;
    int32_t height, width;
    osp_engine_get_info(engine, &info);
    osp_engine_input_size(engine, &height, &width);
    osp_cli_json_string(json, "backend", osp_cli_backend_name(info.backend));
    osp_cli_json_string(json, "reason", info.reason);
    osp_cli_json_string(json, "precision", osp_cli_precision_name(info.precision));
    osp_cli_json_int(json, "device", info.device);
    osp_cli_json_string(json, "device_key", info.device_key);
    osp_cli_json_int(json, "batch_min", info.batch_min);
    osp_cli_json_int(json, "batch_opt", info.batch_opt);
    osp_cli_json_int(json, "batch_max", info.batch_max);
    osp_cli_json_int(json, "height", height);
    osp_cli_json_int(json, "width", width);
    osp_cli_json_string(json, "image_input",
                        info.image_input == OSP_PIXELS_UINT8 ? "uint8" : "model");
    osp_cli_json_int(json, "variants", info.variants);
    osp_cli_json_int(json, "steps", info.steps);
    osp_cli_json_int(json, "steps_ref", info.steps_ref);
    osp_cli_json_uint(json, "weight_bytes", info.weight_bytes);
    osp_cli_json_uint(json, "activation_bytes", info.activation_bytes);
    osp_cli_json_uint(json, "plan_bytes", info.plan_bytes);
    osp_cli_json_string(json, "head", osp_cli_head_name(info.head));
    osp_cli_json_string(json, "resize", osp_cli_resize_name(info.resize));
    osp_cli_json_int(json, "classes", info.classes);
    osp_cli_json_bool(json, "from_cache", info.from_cache);
    const char *output;
    double of_range;
    osp_cli_json_open(json, "fp32_differences", '[');
    for (int32_t i = 0; !osp_engine_difference(engine, i, &output, &of_range); i++) {
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_string(json, "output", output);
        osp_cli_json_real(json, "of_range", of_range, 6);
        osp_cli_json_close(json, '}');
    }
    osp_cli_json_close(json, ']');
    osp_cli_json_real(json, "build_ms", info.build_ms, 6);
    osp_cli_json_real(json, "open_ms", info.open_ms, 6);
}

void osp_cli_engine_print(const osp_engine *engine)
{
    osp_engine_info info;
    int32_t height, width;
    char weights[32], activations[32];
    osp_engine_get_info(engine, &info);
    osp_engine_input_size(engine, &height, &width);
    printf("  backend      %s, %s (%s)\n", osp_cli_backend_name(info.backend),
           osp_cli_precision_name(info.precision), info.device_key);
    if (info.reason && *info.reason)
        printf("  because      %s\n", info.reason);
    printf("  input        %dx%d%s, batch %d to %d in %d variant%s\n", height, width,
           info.image_input == OSP_PIXELS_UINT8 ? " pixels (uint8)" : "", info.batch_min,
           info.batch_max, info.variants, info.variants == 1 ? "" : "s");
    printf("  steps        %d, %d of them by the plain kernels (ref)\n", info.steps,
           info.steps_ref);
    printf("  memory       weights %s, activations %s a session\n",
           osp_cli_bytes_text(info.weight_bytes, weights),
           osp_cli_bytes_text(info.activation_bytes, activations));
    if (info.difference_output)
        printf("  exactness    '%s' differs most from fp32: by %.2g of its range\n",
               info.difference_output, info.difference);
    if (info.head != OSP_HEAD_NONE)
        printf("  detector     head %s, resize %s, %d classes\n", osp_cli_head_name(info.head),
               osp_cli_resize_name(info.resize), info.classes);
}

void osp_cli_tensor_json(osp_cli_json *json, const char *key, const osp_tensor_info *info)
{
    osp_cli_json_open(json, key, '{');
    osp_cli_json_string(json, "name", info->name);
    osp_cli_json_string(json, "dtype", osp_dtype_name(info->dtype));
    if (info->rank < 0) {
        osp_cli_json_string(json, "dims", NULL);
    } else {
        osp_cli_json_open(json, "dims", '[');
        for (int32_t i = 0; i < info->rank; i++) {
            if (info->dims[i] >= 0)
                osp_cli_json_int(json, NULL, info->dims[i]);
            else
                osp_cli_json_string(json, NULL, info->dim_names[i] ? info->dim_names[i] : "?");
        }
        osp_cli_json_close(json, ']');
    }
    osp_cli_json_bool(json, "determines_shapes", info->determines_shapes);
    osp_cli_json_close(json, '}');
}
