// osprey build: a model into a plan file.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

// -o FILE as it stands; else by device, in the -o folder or here. The caller frees it.
static int output_path(const osp_cli *cli, const osp_engine_info *info, char **path)
{
    const char *output = cli->set.output;
    struct stat about;
    bool folder = output && ((stat(output, &about) == 0 && S_ISDIR(about.st_mode)) ||
                             output[strlen(output) - 1] == '/');
    if (output && !folder) {
        *path = osp_cli_text("%s", output);
        return OSP_CLI_DONE;
    }
    osp_device_info device;
    osp_error err;
    char name[512];
    char *prefix = cli->set.name ? osp_cli_text("%s", cli->set.name) : osp_cli_stem(cli->set.file);
    osp_status status = osp_cli_engine_device(cli, info, &device, &err);
    if (!status)
        status = osp_engine_file_name(prefix, &device, name, sizeof name, &err);
    free(prefix);
    if (status)
        return osp_cli_fail(NULL, &err);
    *path = output ? osp_cli_text("%s/%s", output, name) : osp_cli_text("%s", name);
    return output ? osp_cli_make_dirs(output) : OSP_CLI_DONE;
}

static void report(const osp_cli *cli, const osp_engine *engine, const char *path)
{
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    struct stat about = {0};
    stat(path, &about);
    if (cli->set.json) {
        osp_cli_json json;
        osp_cli_json_init(&json, stdout);
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "model", cli->set.file);
        osp_cli_json_string(&json, "file", path);
        osp_cli_json_uint(&json, "bytes", (uint64_t)about.st_size);
        osp_cli_engine_json(&json, engine);
        osp_cli_json_close(&json, '}');
        osp_cli_json_end(&json);
        return;
    }
    char bytes[32];
    printf("%s: %s, built in %.2f s\n", path, osp_cli_bytes_text((uint64_t)about.st_size, bytes),
           info.build_ms / 1000);
    osp_cli_engine_print(engine);
}

int osp_cli_build(osp_cli *cli)
{
    const char *file = cli->set.file;
    osp_cli_kind kind;
    int status = osp_cli_sniff(file, &kind);
    if (!status && kind != OSP_CLI_ONNX)
        return osp_cli_usage("%s: this is a plan already: name an ONNX model", file);
    osp_engine_options options;
    if (!status)
        status = osp_cli_engine_options(cli, &options);
    if (status)
        return status;
    osp_model *model = NULL;
    osp_engine *engine = NULL;
    osp_error err;
    char *path = NULL;
    bool failed = osp_model_open(&model, cli->runtime, file, &err) ||
                  osp_engine_build(&engine, model, &options, &err);
    if (options.progress.step)
        osp_cli_progress_clear();
    if (failed) {
        status = osp_cli_fail(file, &err);
    } else {
        osp_engine_info info;
        osp_engine_get_info(engine, &info);
        status = output_path(cli, &info, &path);
        if (!status && osp_engine_save(engine, path, &err))
            status = osp_cli_fail_output(path, &err);
        if (!status)
            report(cli, engine, path);
    }
    free(path);
    osp_engine_close(&engine);
    osp_model_close(&model);
    return status;
}
