// Runs every tactic of the cuda backend that takes a problem, in every configuration: compares its result
// with the plain kernel's, then times it with a cold L2.
//
//     gpu_tactics [OPTION]... FILE...
//
// FILE: problem texts (docs/problem-text.md), one a line; `4x ` before one says how often a network has
// it; lines that begin with # are passed over. Prints for each tactic the median of its times, what
// that makes in TFLOP/s and GB/s, and the floor's share of it: the larger of operations / peak and
// bytes / bandwidth, where source, weights and result are moved once.
//
//     --check-only      compares and does not time: for any device
//     --graph           also all problems, as often as said, in one CUDA graph, each with its fastest
//                       tactic and operands of its own: layers with the gaps between them
//     --only PREFIX     only tactics whose name begins so, and the plain one
//     --runs N          times that the median is of; default 50
//     --tflops X        peak of FP16 products; default: 790 for the H100 and the H200, as measured on
//                       large products; for others the floor is of bytes alone
//     --tbps X          bandwidth in TB/s; default: what a copy of 512 MB reaches
//     --device N        CUDA's number of the GPU; default 0
//     --json            one document on standard output
//
// Exit status: 0 all agreed, 1 not, or failed, 2 usage, 3 bad file, 5 no GPU.
#include "gpu_tactics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "gpu_run.h"

// ---- Output -------------------------------------------------------------------------------------

static void print_case(const gpu_run *r, const gpu_case *c)
{
    printf("\n%dx %s\n", c->count, c->text);
    printf("  %.2f GFLOP, %.2f MB", c->flops * 1e-9, c->bytes * 1e-6);
    if (r->check_only)
        printf("\n");
    else
        printf(": floor %.2f us\n", c->floor_us);
    for (int32_t i = 0; i < c->tried; i++) {
        const gpu_tried *t = c->tries + i;
        if (t->why.code)
            printf("  %-24s WRONG: %s\n", t->tactic->name, t->why.text);
        else if (r->check_only)
            printf("  %-24s off by %.1e\n", t->tactic->name, t->worst);
        else
            printf("  %-24s %9.2f us %7.1f TFLOP/s %7.0f GB/s %5.1f %% of the floor's speed%s\n",
                   t->tactic->name, t->us, c->flops / t->us * 1e-6, c->bytes / t->us * 1e-3,
                   c->floor_us / t->us * 100, i == c->best ? "  <" : "");
    }
}

static void json_case(const gpu_run *r, osp_cli_json *json, const gpu_case *c)
{
    osp_cli_json_open(json, NULL, '{');
    osp_cli_json_string(json, "problem", c->text);
    osp_cli_json_int(json, "count", c->count);
    osp_cli_json_real(json, "gflop", c->flops * 1e-9, 6);
    osp_cli_json_real(json, "mbyte", c->bytes * 1e-6, 6);
    if (!r->check_only)
        osp_cli_json_real(json, "floor_us", c->floor_us, 6);
    osp_cli_json_open(json, "tactics", '[');
    for (int32_t i = 0; i < c->tried; i++) {
        const gpu_tried *t = c->tries + i;
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_string(json, "name", t->tactic->name);
        if (t->why.code)
            osp_cli_json_string(json, "wrong", t->why.text);
        else
            osp_cli_json_real(json, "off", t->worst, 4);
        if (!t->why.code && !r->check_only) {
            osp_cli_json_real(json, "us", t->us, 6);
            osp_cli_json_real(json, "tflops", c->flops / t->us * 1e-6, 5);
            osp_cli_json_real(json, "gbytes_per_s", c->bytes / t->us * 1e-3, 5);
            osp_cli_json_real(json, "floor_share", c->floor_us / t->us, 4);
        }
        osp_cli_json_close(json, '}');
    }
    osp_cli_json_close(json, ']');
    osp_cli_json_close(json, '}');
}

static void print_totals(const gpu_run *r)
{
    printf("\n%d problems, %d runs of tactics, %d wrong\n", r->count, r->tried, r->wrong);
    if (r->check_only)
        return;
    printf("the fastest of each, as often as said: %.1f us, floor %.1f us: %.2f times it\n",
           r->best_us, r->floor_us, r->best_us / r->floor_us);
    if (r->graph)
        printf("%d launches in one graph: %.1f us, %.2f times the floor\n", r->launches,
               r->graph_us, r->graph_us / r->floor_us);
}

static void json_totals(const gpu_run *r, osp_cli_json *json)
{
    osp_cli_json_int(json, "tried", r->tried);
    osp_cli_json_int(json, "wrong", r->wrong);
    if (!r->check_only) {
        osp_cli_json_real(json, "best_us", r->best_us, 6);
        osp_cli_json_real(json, "floor_us", r->floor_us, 6);
    }
    if (r->graph) {
        osp_cli_json_int(json, "graph_launches", r->launches);
        osp_cli_json_real(json, "graph_us", r->graph_us, 6);
    }
}

// ---- Files --------------------------------------------------------------------------------------

static int bad_line(const char *path, int number, const char *what)
{
    fprintf(stderr, "gpu_tactics: %s:%d: %s\n", path, number, what);
    return 3;
}

// Runs a file's lines; `kept` gets a case for each.
static int run_file(gpu_run *r, const char *path, osp_cli_json *json)
{
    static char line[OSP_PROBLEM_TEXT_BYTES + 16];
    FILE *f = fopen(path, "r");
    int status = 0;
    if (!f)
        return bad_line(path, 0, "it cannot be read");
    for (int number = 1; !status && fgets(line, sizeof line, f); number++) {
        const size_t length = strcspn(line, "\r\n");
        if (!line[length] && !feof(f)) {
            status = bad_line(path, number, "the line is too long for a problem text");
            break;
        }
        line[length] = 0;
        char *text = line;
        long count = strtol(line, &text, 10);
        if (text == line || strncmp(text, "x ", 2) != 0 || count < 1 || count > GPU_MOST_COUNT) {
            count = 1;
            text = line;
        } else {
            text += 2;
        }
        if (!text[0] || text[0] == '#')
            continue;
        osp_error err;
        gpu_case *c = gpu_run_add(r, text, (int32_t)count, &err);
        if (!c || gpu_run_case(r, c, &err)) {
            status = bad_line(path, number, err.text);
            if (err.code != OSP_ERROR_FORMAT && err.code != OSP_ERROR_UNSUPPORTED)
                status = 1;
        } else if (json) {
            json_case(r, json, c);
        } else {
            print_case(r, c);
        }
    }
    fclose(f);
    return status;
}

// ---- Command line -------------------------------------------------------------------------------

static int usage(const char *what)
{
    fprintf(stderr,
            "gpu_tactics: %s; usage: gpu_tactics [--check-only] [--graph] [--only PREFIX] "
            "[--runs N] [--tflops X] [--tbps X] [--device N] [--json] FILE...\n",
            what);
    return 2;
}

// Takes options out of argv; what is left are files. 0, or the exit status.
static int read_options(gpu_run *r, int *argc, char **argv, bool *json)
{
    int files = 1;
    for (int i = 1; i < *argc; i++) {
        const char *option = argv[i], *value = i + 1 < *argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (option[0] != '-') {
            argv[files++] = argv[i];
            continue;
        }
        if (!strcmp(option, "--check-only"))
            r->check_only = true;
        else if (!strcmp(option, "--graph"))
            r->graph = true;
        else if (!strcmp(option, "--json"))
            *json = true;
        else if (!value)
            return usage("an option is unknown or lacks its value");
        else if (i++, !strcmp(option, "--only"))
            r->only = value;
        else if (!strcmp(option, "--runs"))
            r->runs = (int32_t)strtol(value, &end, 10);
        else if (!strcmp(option, "--device"))
            r->device = (int32_t)strtol(value, &end, 10);
        else if (!strcmp(option, "--tflops"))
            r->tflops = strtod(value, &end);
        else if (!strcmp(option, "--tbps"))
            r->tbps = strtod(value, &end);
        else
            return usage("an option is unknown");
        if (end && *end)
            return usage("a value is no number");
    }
    *argc = files;
    if (files == 1)
        return usage("no file is given");
    if (r->runs < 1 || r->runs > GPU_MOST_RUNS || r->tflops < 0 || r->tbps < 0)
        return usage("a number is out of its range");
    if (r->check_only && r->graph)
        return usage("--graph times, and --check-only does not");
    return 0;
}

static int run_files(gpu_run *r, int argc, char **argv, osp_cli_json *json)
{
    const char *name = osp_gpu_info(r->gpu)->name;
    if (json) {
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_string(json, "device", name);
        osp_cli_json_real(json, "peak_tflops", r->tflops, 5);
        osp_cli_json_real(json, "bandwidth_tbytes_per_s", r->tbps, 5);
        osp_cli_json_open(json, "problems", '[');
    } else if (r->check_only) {
        printf("%s\n", name);
    } else {
        printf("%s: floor at %.0f TFLOP/s and %.2f TB/s\n", name, r->tflops, r->tbps);
    }
    int status = 0;
    for (int i = 1; !status && i < argc; i++)
        status = run_file(r, argv[i], json);
    osp_error err;
    if (!status && r->graph && gpu_run_graph(r, &err)) {
        fprintf(stderr, "gpu_tactics: the graph: %s\n", err.text);
        status = 1;
    }
    if (json) {
        osp_cli_json_close(json, ']');
        json_totals(r, json);
        osp_cli_json_close(json, '}');
        osp_cli_json_end(json);
    } else if (!status) {
        print_totals(r);
    }
    return status ? status : r->wrong > 0;
}

int gpu_tactics(osp_context *ctx, int argc, char **argv)
{
    gpu_run r = {.ctx = ctx, .runs = 50};
    osp_error err;
    osp_cli_json out;
    bool json = false;
    int status = read_options(&r, &argc, argv, &json);
    if (status)
        return status;
    if (osp_gpu_get(ctx, r.device, &r.gpu, &err)) {
        fprintf(stderr, "gpu_tactics: %s\n", err.text);
        return 5;
    }
    if (gpu_run_open(&r, &err)) {
        fprintf(stderr, "gpu_tactics: %s\n", err.text);
        status = 1;
    }
    osp_cli_json_init(&out, stdout);
    if (!status)
        status = run_files(&r, argc, argv, json ? &out : NULL);
    gpu_run_close(&r);
    return status;
}
