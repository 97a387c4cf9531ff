// Softmax, LayerNormalization and reductions over rows or blocks of rows.
#include "ops/norm.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "ops/reduce.h"

// A dense tensor as [outer][count][inner], worked on over `count`.
typedef struct span {
    const osp_simd *simd;
    int64_t outer, count, inner;
    float epsilon;
    int32_t kind;
} span;

static osp_status new_span(osp_context *ctx, const osp_shape *s, int32_t from, int32_t to,
                           span **out, osp_error *err)
{
    *out = osp_mem_calloc(&ctx->mem, 1, sizeof **out);
    if (!*out)
        OSP_FAIL_MEMORY(err);
    (*out)->simd = osp_cpu_simd();
    (*out)->outer = osp_shape_span(s, 0, from);
    (*out)->count = osp_shape_span(s, from, to);
    (*out)->inner = osp_shape_span(s, to, s->rank);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

typedef struct job {
    const span *s;
    const float *src, *weight, *bias;
    float *dst, *mean, *inv_std;
    int64_t pieces;  // of an inner run
} job;

// ---- Softmax ------------------------------------------------------------------------------------

static const char *refuse_softmax(const osp_problem *p)
{
    if (!osp_operand_is(p->src, OSP_DTYPE_FLOAT32))
        return "not FP32";
    return osp_refuse_not_plain(p);
}

static osp_status prepare_softmax(const osp_problem *p, osp_context *ctx, int32_t threads,
                                  void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    const osp_softmax_attrs *a = p->attrs;
    const osp_shape *s = &p->src->shape;
    const int32_t axis = (int32_t)a->axis;
    span *out;
    OSP_TRY(new_span(ctx, s, axis < s->rank ? axis : s->rank,
                     a->flatten || axis >= s->rank ? s->rank : axis + 1, &out, err));
    *state = out;
    return OSP_OK;
}

static void softmax_rows(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const osp_simd *simd = j->s->simd;
    const int64_t n = j->s->count;
    for (int64_t r = begin; r < end; r++) {
        float *dst = j->dst + r * n;
        const float sum = simd->exp_sum(dst, j->src + r * n, n, simd->max(j->src + r * n, n));
        simd->scale(dst, dst, n, 1.0f / sum);
    }
}

static void softmax_columns(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const span *s = j->s;
    for (int64_t i = begin; i < end; i++) {
        const int64_t column = i % j->pieces * OSP_SOFTMAX_COLUMNS;
        const int64_t at = i / j->pieces * s->count * s->inner + column;
        s->simd->softmax_columns(j->dst + at, s->inner, j->src + at, s->inner, s->count,
                                 osp_i64_min(OSP_SOFTMAX_COLUMNS, s->inner - column));
    }
}

static osp_status launch_softmax(const osp_problem *p, void *state, const osp_launch *l,
                                 osp_error *err)
{
    (void)p;
    (void)err;
    const span *s = state;
    job j = {.s = s, .src = l->src[0], .dst = l->dst[0]};
    if (s->count == 0)
        return OSP_OK;
    if (s->inner == 1) {
        osp_cpu_parallel(l->threads, s->outer, (double)s->count, softmax_rows, &j);
        return OSP_OK;
    }
    j.pieces = (s->inner + OSP_SOFTMAX_COLUMNS - 1) / OSP_SOFTMAX_COLUMNS;
    osp_cpu_parallel(l->threads, s->outer * j.pieces, (double)s->count * OSP_SOFTMAX_COLUMNS,
                     softmax_columns, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_softmax = {.name = "rows",
                                    .refuse = refuse_softmax,
                                    .prepare = prepare_softmax,
                                    .launch = launch_softmax,
                                    .release = release};

// ---- LayerNormalization -------------------------------------------------------------------------

static const char *refuse_layer_norm(const osp_problem *p)
{
    const osp_layer_norm_attrs *a = p->attrs;
    const osp_shape *s = &p->src->shape;
    const int64_t row = osp_shape_span(s, (int32_t)a->axis, s->rank);
    for (int32_t i = 0; i < p->src_count; i++) {
        if (!p->src[i].dtype)
            continue;
        if (!osp_operand_is(p->src + i, OSP_DTYPE_FLOAT32))
            return "not FP32";
        if (i && osp_operand_count(p->src + i) != row)
            return "scale or bias is broadcast";
    }
    for (int32_t i = 1; i < p->dst_count; i++)
        if (p->dst[i].dtype && !osp_operand_is(p->dst + i, OSP_DTYPE_FLOAT32))
            return "statistics not FP32";
    return osp_refuse_not_plain(p);
}

static osp_status prepare_layer_norm(const osp_problem *p, osp_context *ctx, int32_t threads,
                                     void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    const osp_layer_norm_attrs *a = p->attrs;
    span *s;
    OSP_TRY(new_span(ctx, &p->src->shape, (int32_t)a->axis, p->src->shape.rank, &s, err));
    s->epsilon = a->epsilon;
    *state = s;
    return OSP_OK;
}

static void norm_rows(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const int64_t n = j->s->count;
    for (int64_t r = begin; r < end; r++) {
        float mean, inv_std;
        j->s->simd->layer_norm(j->dst + r * n, j->src + r * n, j->weight, j->bias, n, j->s->epsilon,
                               &mean, &inv_std);
        if (j->mean)
            j->mean[r] = mean;
        if (j->inv_std)
            j->inv_std[r] = inv_std;
    }
}

static osp_status launch_layer_norm(const osp_problem *p, void *state, const osp_launch *l,
                                    osp_error *err)
{
    (void)err;
    const span *s = state;
    job j = {.s = s,
             .src = l->src[0],
             .weight = l->src[1],
             .bias = p->src_count > 2 ? l->src[2] : NULL,
             .dst = l->dst[0],
             .mean = p->dst_count > 1 ? l->dst[1] : NULL,
             .inv_std = p->dst_count > 2 ? l->dst[2] : NULL};
    osp_cpu_parallel(l->threads, s->count ? s->outer : 0, (double)s->count * 0.5, norm_rows, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_layer_norm = {.name = "rows",
                                       .refuse = refuse_layer_norm,
                                       .prepare = prepare_layer_norm,
                                       .launch = launch_layer_norm,
                                       .release = release};

// ---- Reductions ---------------------------------------------------------------------------------

enum { KIND_MAX, KIND_MEAN, KIND_SUM };

// The reduced dims as one run [from, to) of dims; false: they are apart.
static bool reduced_run(const osp_problem *p, int32_t *from, int32_t *to)
{
    const osp_reduce_attrs *a = p->attrs;
    const int32_t rank = p->src->shape.rank;
    *from = 0;
    while (*from < rank && !(a->mask >> *from & 1))
        ++*from;
    *to = *from;
    while (*to < rank && a->mask >> *to & 1)
        ++*to;
    return (a->mask >> *to & ((1u << (rank - *to)) - 1)) == 0;
}

static const char *refuse_reduce(const osp_problem *p)
{
    int32_t from, to;
    if (!osp_operand_is(p->src, OSP_DTYPE_FLOAT32))
        return "not FP32";
    if (!reduced_run(p, &from, &to))
        return "the reduced dims are not together";
    if (osp_shape_span(&p->src->shape, from, to) == 0)
        return "nothing to reduce";
    return osp_refuse_not_plain(p);
}

static osp_status prepare_reduce(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    int32_t from, to;
    span *s;
    reduced_run(p, &from, &to);
    OSP_TRY(new_span(ctx, &p->src->shape, from, to, &s, err));
    s->kind = !strcmp(p->op->type, "ReduceMax")    ? KIND_MAX
              : !strcmp(p->op->type, "ReduceMean") ? KIND_MEAN
                                                   : KIND_SUM;
    *state = s;
    return OSP_OK;
}

static void reduce_rows(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const int64_t n = j->s->count;
    for (int64_t r = begin; r < end; r++)
        if (j->s->kind == KIND_MAX)
            j->dst[r] = j->s->simd->max(j->src + r * n, n);
        else
            j->dst[r] = (float)(j->s->simd->sum(j->src + r * n, n) /
                                (j->s->kind == KIND_MEAN ? (double)n : 1.0));
}

// Rows of `inner` elements under each other, a few at a time.
static void reduce_columns(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    enum { AT_ONCE = 16, PIECE = OSP_SOFTMAX_COLUMNS };
    const job *j = user;
    const span *s = j->s;
    for (int64_t i = begin; i < end; i++) {
        const int64_t column = i % j->pieces * PIECE, outer = i / j->pieces;
        const int64_t n = osp_i64_min(PIECE, s->inner - column);
        const float *src = j->src + outer * s->count * s->inner + column;
        float *dst = j->dst + outer * s->inner + column;
        for (int64_t k = 0; k < s->count;) {
            const float *lines[AT_ONCE + 1];
            int32_t lines_count = 0;
            if (k > 0)
                lines[lines_count++] = dst;
            for (; k < s->count && lines_count <= AT_ONCE; k++)
                lines[lines_count++] = src + k * s->inner;
            const float scale = s->kind == KIND_MEAN && k == s->count ? 1.0f / (float)s->count
                                                                      : 1.0f;
            if (s->kind == KIND_MAX)
                s->simd->max_rows(dst, lines, lines_count, n);
            else
                s->simd->sum_rows(dst, lines, lines_count, n, scale);
        }
    }
}

static osp_status launch_reduce(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    (void)err;
    const span *s = state;
    job j = {.s = s, .src = l->src[0], .dst = l->dst[0]};
    if (s->inner == 1) {
        osp_cpu_parallel(l->threads, s->outer, (double)s->count * 0.2, reduce_rows, &j);
        return OSP_OK;
    }
    j.pieces = (s->inner + OSP_SOFTMAX_COLUMNS - 1) / OSP_SOFTMAX_COLUMNS;
    osp_cpu_parallel(l->threads, s->outer * j.pieces, (double)s->count * 0.2 * OSP_SOFTMAX_COLUMNS,
                     reduce_columns, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_reduce = {.name = "rows",
                                   .refuse = refuse_reduce,
                                   .prepare = prepare_reduce,
                                   .launch = launch_reduce,
                                   .release = release};
