// fuzz_seeds FOLDER MODEL...: plans of small models into FOLDER/plan, the problem texts of their
// steps into FOLDER/problem, and the names of operators and attributes as a dictionary into
// FOLDER/words. A backend that cannot build a model is named and left out.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op.h"
#include "osprey/osprey.h"

static void write_words(const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/words", folder);
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "fuzz_seeds: cannot write %s\n", path);
        exit(1);
    }
    for (size_t i = 0; i < osp_op_count(); i++) {
        const osp_op *op = osp_op_at(i);
        fprintf(f, "\"%s\"\n", op->type);
        for (const osp_attr_row *row = op->attr_table; row && row->name; row++)
            fprintf(f, "\"%s\"\n", row->name);
    }
    fclose(f);
}

static void write_problems(const osp_engine *engine, const char *folder, const char *stem)
{
    osp_step_info step;
    for (int32_t i = 0; osp_engine_step(engine, 0, i, &step) == OSP_OK; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/problem/%s-%d", folder, stem, i);
        FILE *f = fopen(path, "wb");
        if (!f || fputs(step.problem, f) < 0 || fclose(f)) {
            fprintf(stderr, "fuzz_seeds: cannot write %s\n", path);
            exit(1);
        }
    }
}

static void make_plan(osp_model *model, osp_backend backend, const char *folder, const char *stem)
{
    char path[1024];
    osp_error err;
    osp_engine *engine = NULL;
    osp_engine_options options = {.backend = backend, .height = 16, .width = 16, .batches = {1, 2}};
    snprintf(path, sizeof path, "%s/plan/%s", folder, stem);
    osp_status status = osp_engine_build(&engine, model, &options, &err);
    if (status) {  // a model that fixes its size or its batch
        options = (osp_engine_options){.backend = backend};
        status = osp_engine_build(&engine, model, &options, &err);
    }
    if (status || osp_engine_save(engine, path, &err)) {
        fprintf(stderr, "fuzz_seeds: no %s: %s\n", stem, err.text);
    } else {
        write_problems(engine, folder, stem);
    }
    osp_engine_close(&engine);
}

int main(int argc, char **argv)
{
    osp_runtime *runtime = NULL;
    osp_error err;
    const osp_options options = {.threads = 1};
    if (argc < 3) {
        fprintf(stderr, "usage: fuzz_seeds FOLDER MODEL...\n");
        return 2;
    }
    if (osp_runtime_open(&runtime, &options, &err)) {
        fprintf(stderr, "fuzz_seeds: %s\n", err.text);
        return 1;
    }
    write_words(argv[1]);
    for (int i = 2; i < argc; i++) {
        osp_model *model = NULL;
        const char *slash = strrchr(argv[i], '/');
        const char *base = slash ? slash + 1 : argv[i];
        char stem[256];
        if (osp_model_open(&model, runtime, argv[i], &err)) {
            fprintf(stderr, "fuzz_seeds: %s\n", err.text);
            continue;
        }
        snprintf(stem, sizeof stem, "%.200s.reference", base);
        make_plan(model, OSP_BACKEND_REFERENCE, argv[1], stem);
        snprintf(stem, sizeof stem, "%.200s.cpu", base);
        make_plan(model, OSP_BACKEND_CPU, argv[1], stem);
        osp_model_close(&model);
    }
    osp_runtime_close(&runtime);
    return 0;
}
