// Times every tactic of the cpu backend that accepts a convolution: one problem text a line on
// standard input (docs/problem-text.md), one line a tactic out. Tactics take turns, so that noise
// meets all of them alike; the least time counts, the median stands beside it.
//
//     build/bin/conv_tactics [--threads N] [--rounds N] < problems.txt
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/backend.h"
#include "backends/problem.h"

enum { MAX_TACTICS = 8, MAX_ROUNDS = 1000 };

typedef struct entry {
    const osp_tactic *tactic;
    void *state, *packed, *workspace;
    double us[MAX_ROUNDS];
} entry;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static size_t bytes_of(const osp_operand *o)
{
    const int64_t count = osp_shape_span(&o->shape, 0, o->shape.rank);
    return (size_t)(count / o->row * o->pitch) * osp_dtype_bytes(o->dtype) + 64;
}

static void *fill(osp_mem *mem, const osp_operand *o, uint32_t seed)
{
    const size_t bytes = bytes_of(o);
    void *data = osp_mem_calloc(mem, 1, bytes);
    for (size_t i = 0; data && i < bytes / 4 && o->dtype == OSP_DTYPE_FLOAT32; i++) {
        seed = seed * 1664525u + 1013904223u;
        ((float *)data)[i] = (float)(seed >> 8) / (float)(1 << 23) - 1.0f;
    }
    return data;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static osp_status measure(osp_context *ctx, const char *text, int32_t threads, osp_team *team,
                          int32_t rounds, osp_error *err)
{
    osp_arena arena;
    osp_problem p;
    static entry entries[MAX_TACTICS];
    void *src[OSP_MAX_OPERANDS] = {0}, *dst[1] = {0};
    const void *constants[OSP_MAX_OPERANDS] = {0};
    osp_arena_init(&arena, &ctx->mem);
    OSP_TRY(osp_problem_scan(&p, &arena, text, err));
    for (int32_t i = 0; i < p.src_count; i++) {
        src[i] = p.src[i].dtype ? fill(&ctx->mem, p.src + i, (uint32_t)i) : NULL;
        constants[i] = p.src[i].constant ? src[i] : NULL;
    }
    dst[0] = fill(&ctx->mem, p.dst, 9);
    int32_t count = 0;
    for (const osp_tactic *const *t = osp_backend_cpu.tactics(p.op); *t; t++) {
        if (*t == &osp_tactic_ref || ((*t)->refuse && (*t)->refuse(&p)))
            continue;
        entry *e = entries + count++;
        osp_tactic_sizes sizes = {0};
        *e = (entry){.tactic = *t};
        OSP_TRY((*t)->prepare(&p, ctx, threads, &e->state, &sizes, err));
        e->packed = osp_mem_alloc(&ctx->mem, sizes.packed_bytes);
        e->workspace = osp_mem_calloc(&ctx->mem, 1, sizes.workspace_bytes + 1);
        if ((*t)->pack && sizes.packed_bytes)
            OSP_TRY((*t)->pack(&p, e->state, constants, e->packed, err));
    }
    for (int32_t r = -3; r < rounds; r++)
        for (entry *e = entries; e < entries + count; e++) {
            void *session = NULL;
            if (e->tactic->bind)
                OSP_TRY(e->tactic->bind(&p, ctx, e->state, e->packed, &session, err));
            const osp_launch l = {.src = src,
                                  .dst = dst,
                                  .packed = e->packed,
                                  .workspace = e->workspace,
                                  .session = session,
                                  .threads = {threads, team}};
            const double start = now_us();
            OSP_TRY(e->tactic->launch(&p, e->state, &l, err));
            if (r >= 0)
                e->us[r] = now_us() - start;
            if (e->tactic->unbind)
                e->tactic->unbind(ctx, session);
        }
    double flops, bytes;
    osp_problem_cost(&p, &flops, &bytes);
    printf("%s\n", text);
    for (entry *e = entries; e < entries + count; e++) {
        qsort(e->us, (size_t)rounds, sizeof *e->us, ascending);
        printf("  %-22s %8.1f us least %8.1f median %7.1f GFLOP/s\n", e->tactic->name, e->us[0],
               e->us[rounds / 2], flops / e->us[0] * 1e-3);
        if (e->tactic->release)
            e->tactic->release(ctx, e->state);
        osp_mem_free(&ctx->mem, e->packed);
        osp_mem_free(&ctx->mem, e->workspace);
    }
    for (int32_t i = 0; i < p.src_count; i++)
        osp_mem_free(&ctx->mem, src[i]);
    osp_mem_free(&ctx->mem, dst[0]);
    osp_arena_free(&arena);
    return OSP_OK;
}

int main(int argc, char **argv)
{
    int32_t threads = 2, rounds = 50;
    for (int i = 1; i + 1 < argc; i += 2)
        *(!strcmp(argv[i], "--threads") ? &threads : &rounds) = atoi(argv[i + 1]);
    if (threads < 1 || rounds < 1 || rounds > MAX_ROUNDS)
        return 2;
    osp_context ctx;
    osp_error err = {0};
    if (osp_context_init(&ctx, NULL, &err))
        return 1;
    osp_backend_cpu.set_threads(threads);
    osp_team *team;
    if (osp_team_open(&team, &ctx, threads, &err))
        return 1;
    char line[OSP_PROBLEM_TEXT_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] && line[0] != '#' && measure(&ctx, line, threads, team, rounds, &err)) {
            fprintf(stderr, "conv_tactics: %s\n", err.text);
            return 1;
        }
    }
    osp_team_close(&team);
    osp_context_free(&ctx);
    return 0;
}
