// libFuzzer: a problem text. What scans must print, and what was printed must scan to the same
// problem and print as it was: the text is a cache key and a bug report.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/problem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_operand(const osp_operand *a, const osp_operand *b)
{
    return a->dtype == b->dtype && a->layout == b->layout && a->row == b->row &&
           a->pitch == b->pitch && a->constant == b->constant &&
           osp_shape_equal(&a->shape, &b->shape);
}

static bool same_problem(const osp_problem *a, const osp_problem *b)
{
    bool same = a->op == b->op && a->src_count == b->src_count && a->dst_count == b->dst_count;
    for (int32_t i = 0; same && i < a->src_count; i++)
        same = same_operand(a->src + i, b->src + i);
    for (int32_t i = 0; same && i < a->dst_count; i++)
        same = same_operand(a->dst + i, b->dst + i);
    return same;
}

static void try_text(osp_arena *arena, const char *text)
{
    osp_problem problem, again;
    osp_error err;
    static char first[OSP_PROBLEM_TEXT_BYTES], second[OSP_PROBLEM_TEXT_BYTES];
    const osp_status status = osp_problem_scan(&problem, arena, text, &err);
    if (status) {
        if (err.code != status || !err.text[0])
            abort();
        return;
    }
    double flops, bytes;
    osp_problem_cost(&problem, &flops, &bytes);
    const size_t length = osp_problem_print(&problem, first, sizeof first);
    if (length >= sizeof first)
        return;
    if (osp_problem_scan(&again, arena, first, &err)) {
        fprintf(stderr, "'%s' printed as '%s': %s\n", text, first, err.text);
        abort();
    }
    (void)osp_problem_print(&again, second, sizeof second);
    if (strcmp(first, second) != 0 || !same_problem(&problem, &again)) {
        fprintf(stderr, "'%s' printed as '%s', then '%s'\n", text, first, second);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    osp_context ctx;
    osp_arena arena;
    if (osp_context_init(&ctx, NULL, NULL))
        return 0;
    osp_arena_init(&arena, &ctx.mem);
    char *text = malloc(size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    try_text(&arena, text);
    free(text);
    osp_arena_free(&arena);
    if (atomic_load(&ctx.mem.live) != 0)
        abort();  // a leak
    osp_context_free(&ctx);
    return 0;
}
