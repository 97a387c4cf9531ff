// Broadcasting and slices become strides; dims that all operands walk alike become one.
#include "backends/cpu/row_walk.h"

#include <string.h>

typedef struct job {
    const osp_rows *r;
    char *dst;
    const char *src[OSP_WALK_SOURCES];
    osp_row_fn fn;
    const void *user;
    int64_t piece;  // a row is cut into pieces of this many elements
    int64_t pieces;
} job;

// Items are rows (all dims but the last) times pieces of a row.
static void run_items(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const osp_rows *r = j->r;
    const int32_t last = r->rank - 1;
    int64_t index[OSP_MAX_RANK] = {0}, at = begin / j->pieces, to = 0, from[OSP_WALK_SOURCES] = {0};
    for (int32_t d = last - 1; d >= 0; d--) {
        index[d] = at % r->dims[d];
        at /= r->dims[d];
        to += index[d] * r->dst[d];
        for (int32_t k = 0; k < r->sources; k++)
            from[k] += index[d] * r->src[k][d];
    }
    int64_t steps[OSP_WALK_SOURCES] = {0};
    for (int32_t k = 0; k < r->sources; k++)
        steps[k] = r->src[k][last];
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i % j->pieces * j->piece;
        const int64_t n = osp_i64_min(j->piece, r->dims[last] - first);
        const char *src[OSP_WALK_SOURCES] = {0};
        for (int32_t k = 0; k < r->sources; k++)
            src[k] = j->src[k] + (from[k] + first * steps[k]) * (int64_t)r->src_bytes[k];
        j->fn(j->user, j->dst + (to + first * r->dst[last]) * (int64_t)r->dst_bytes, r->dst[last],
              src, steps, n);
        if (i % j->pieces + 1 < j->pieces)
            continue;
        for (int32_t d = last - 1; d >= 0; d--) {
            to += r->dst[d];
            for (int32_t k = 0; k < r->sources; k++)
                from[k] += r->src[k][d];
            if (++index[d] < r->dims[d])
                break;
            to -= r->dims[d] * r->dst[d];
            for (int32_t k = 0; k < r->sources; k++)
                from[k] -= r->dims[d] * r->src[k][d];
            index[d] = 0;
        }
    }
}

void osp_rows_run(const osp_rows *r, void *dst, void *const *src, osp_row_fn fn, const void *user,
                  double cost, osp_threads threads)
{
    enum { PIECE = 4096 };
    job j = {.r = r, .dst = dst, .fn = fn, .user = user, .piece = PIECE};
    int64_t rows = 1;
    for (int32_t d = 0; d < r->rank - 1; d++)
        rows *= r->dims[d];
    const int64_t row = r->dims[r->rank - 1];
    if (!rows || !row)
        return;
    for (int32_t k = 0; k < r->sources; k++)
        j.src[k] = src[k];
    j.pieces = (row + PIECE - 1) / PIECE;
    osp_cpu_parallel(threads, rows * j.pieces, cost * (double)row / (double)j.pieces, run_items,
                     &j);
}
