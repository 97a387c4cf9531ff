// Shows what compiling does to a model, without running it and without its device: the nodes by
// operator before the passes and what each pass changes, then the steps that come of it. Without a
// device nothing is tuned: a step's tactic is the first of its table that takes the problem.
//
//     build/bin/show_passes MODEL.onnx [--backend cpu|cuda] [--precision fp32|fp16|bf16] [--size N]
//         [--steps]
//
// --steps: every step's operator, tactic and problem text, too; else how many each operator has.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/runtime.h"
#include "plan/compile.h"
#include "plan/compile_parts.h"

enum { MOST = 160 };

typedef struct counts {
    const char *name[MOST];
    int count[MOST];
    int kinds;
} counts;

typedef struct settings {
    const char *file;
    const osp_backend_def *backend;
    osp_precision precision;
    int32_t size;
    bool steps;
} settings;

static void count(counts *c, const char *name, int by)
{
    int i = 0;
    while (i < c->kinds && strcmp(c->name[i], name) != 0)
        i++;
    if (i == MOST)
        return;
    if (i == c->kinds) {
        c->name[i] = name;
        c->count[i] = 0;
        c->kinds++;
    }
    c->count[i] += by;
}

static int count_of(const counts *c, const char *name)
{
    for (int i = 0; i < c->kinds; i++)
        if (!strcmp(c->name[i], name))
            return c->count[i];
    return 0;
}

static counts count_nodes(const osp_graph *g)
{
    counts c = {.kinds = 0};
    for (size_t i = 0; i < g->node_count; i++)
        count(&c, g->nodes[i].type, 1);
    return c;
}

static void print_counts(const counts *c)
{
    for (int i = 0; i < c->kinds; i++)
        printf("%s%s %d", i ? ", " : " ", c->name[i], c->count[i]);
    putchar('\n');
}

static void print_change(const char *pass, const counts *before, const counts *after, size_t nodes)
{
    printf("%-12s %4zu nodes", pass, nodes);
    counts all = *before;
    for (int i = 0; i < after->kinds; i++)
        count(&all, after->name[i], 0);
    const char *mark = ": ";
    for (int i = 0; i < all.kinds; i++) {
        const int from = count_of(before, all.name[i]), to = count_of(after, all.name[i]);
        if (from == to)
            continue;
        printf("%s%s %d -> %d", mark, all.name[i], from, to);
        mark = ", ";
    }
    putchar('\n');
}

// All passes of the backend, one after the other; what osp_passes_run does.
static osp_status show_passes(osp_compiled *c, osp_graph *g, osp_error *err)
{
    osp_compile_question question = {.compiled = c};
    const osp_pass_options options = {
        .precision = c->precision, .accepts = osp_compile_accepts, .user = &question};
    counts before = count_nodes(g);
    printf("%-12s %4zu nodes:", "inferred", g->node_count);
    print_counts(&before);
    for (size_t i = 0; i < osp_pass_count; i++) {
        if (!(osp_passes[i].backends >> c->backend->id & 1))
            continue;
        OSP_TRY(osp_pass_run(osp_passes + i, g, &options, err));
        const counts after = count_nodes(g);
        print_change(osp_passes[i].name, &before, &after, g->node_count);
        before = after;
    }
    if (question.failure)
        OSP_FAIL_MEMORY(err);
    return osp_graph_infer(g, false, err);
}

static void show_steps(const osp_variant *v, bool all)
{
    counts views = {.kinds = 0}, work = {.kinds = 0};
    int view_count = 0;
    for (int32_t i = 0; i < v->step_count; i++) {
        const osp_step *s = v->steps + i;
        const bool view = s->tactic == &osp_tactic_view;
        view_count += view;
        count(view ? &views : &work, v->graph.nodes[s->node].type, 1);
        if (all)
            printf("%-14s %-24s %s\n", v->graph.nodes[s->node].type, s->tactic->name, s->text);
    }
    printf("%-12s %4d that work:", "steps", v->step_count - view_count);
    print_counts(&work);
    printf("%-12s %4d views:", "", view_count);
    print_counts(&views);
    size_t buffers = 0, together = 0;
    for (size_t i = 0; i < v->graph.value_count; i++)
        if (v->storage[i].root == (osp_vid)i && v->storage[i].buffer_bytes) {
            buffers++;
            together += v->storage[i].buffer_bytes;
        }
    printf("%-12s %4zu buffers of %.1f MB together, planned into %.1f MB\n", "memory", buffers,
           (double)together / 1e6, (double)v->activation_bytes / 1e6);
}

// As many streams as the steps could use, whether or not they are faster: no device is asked.
static void show_streams(const osp_variant *v, bool all)
{
    for (int32_t i = 0; i < v->step_count && all && v->streams.turns; i++) {
        const osp_turn *turn = v->streams.turns + i;
        if (turn->stream < 0)
            continue;
        printf("%3d stream %d ", i, turn->stream);
        for (int32_t k = 0; k < OSP_STREAMS_MOST; k++)
            if (turn->wait.step[k] >= 0)
                printf(" after %d", turn->wait.step[k]);
        printf("  %s\n", v->steps[i].text);
    }
    printf("%-12s %4d at most, planned into %.1f MB\n", "streams", v->streams.count,
           (double)v->activation_bytes / 1e6);
}

static osp_status show(const settings *s, osp_runtime *runtime, osp_error *err)
{
    osp_model *model = NULL;
    osp_compiled c;
    osp_graph g;
    const osp_engine_options options = {.height = s->size, .width = s->size};
    osp_compiled_init(&c, &runtime->ctx, s->backend, s->precision, 1);
    osp_status status = osp_model_open(&model, runtime, s->file, err);
    if (!status)
        status = osp_model_specialise(&g, model, &options, err);
    if (!status && (status = show_passes(&c, &g, err)))
        osp_graph_free(&g);
    if (!status)  // no further passes
        status = osp_compile_variant(&c, &g, 1, s->size, s->size, NULL, err);
    if (!status)
        show_steps(c.variants, s->steps);
    if (!status && s->backend->program)
        status = osp_compile_streams(&c, c.variants, OSP_STREAMS_MOST, err);
    if (!status && s->backend->program)
        show_streams(c.variants, s->steps);
    osp_compiled_free(&c);
    osp_model_close(&model);
    return status;
}

static bool parse(settings *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(word, "--steps")) {
            s->steps = true;
            continue;
        }
        if (word[0] != '-' && !s->file) {
            s->file = word;
            continue;
        }
        i++;
        if (!strcmp(word, "--backend") && !strcmp(value, "cpu"))
            s->backend = &osp_backend_cpu;
        else if (!strcmp(word, "--backend") && !strcmp(value, "cuda"))
            s->backend = &osp_backend_cuda;
        else if (!strcmp(word, "--precision") && !strcmp(value, "fp32"))
            s->precision = OSP_PRECISION_FP32;
        else if (!strcmp(word, "--precision") && !strcmp(value, "fp16"))
            s->precision = OSP_PRECISION_FP16;
        else if (!strcmp(word, "--precision") && !strcmp(value, "bf16"))
            s->precision = OSP_PRECISION_BF16;
        else if (!strcmp(word, "--size") && atoi(value) > 0)
            s->size = atoi(value);
        else
            return false;
    }
    return s->file != NULL;
}

int main(int argc, char **argv)
{
    settings s = {.backend = &osp_backend_cuda, .precision = OSP_PRECISION_FP16, .size = 640};
    osp_runtime *runtime = NULL;
    osp_error err;
    if (!parse(&s, argc, argv)) {
        fprintf(stderr, "usage: show_passes MODEL.onnx [--backend cpu|cuda] "
                        "[--precision fp32|fp16|bf16] [--size N] [--steps]\n");
        return 2;
    }
    osp_status status = osp_runtime_open(&runtime, NULL, &err);
    if (!status)
        status = show(&s, runtime, &err);
    if (status)
        fprintf(stderr, "show_passes: %s: %s\n", s.file, err.text);
    osp_runtime_close(&runtime);
    return status ? 1 : 0;
}
