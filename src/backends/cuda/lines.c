// Softmax, reductions and LayerNormalization: which dims are lines, which run along a line, and how
// many threads a line gets.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/norm.h"
#include "ops/reduce.h"

// Dims of `mask` run along lines. Strides of operand k at logical dim i: strides[k][i].
typedef struct line_dims {
    osp_cuda_dims outer, inner;
} line_dims;

static void split_dims(line_dims *out, const osp_shape *shape, uint32_t mask, int32_t operands,
                       int64_t strides[OSP_CUDA_OPERANDS][OSP_MAX_RANK])
{
    *out = (line_dims){0};
    for (int32_t i = 0; i < shape->rank; i++) {
        int64_t steps[OSP_CUDA_OPERANDS] = {0};
        for (int32_t k = 0; k < operands; k++)
            steps[k] = strides[k][i];
        osp_cuda_dims_add(mask >> i & 1 ? &out->inner : &out->outer, shape->dims[i], steps,
                          operands);
    }
}

static bool is_empty(const osp_cuda_dims *d)
{
    for (int32_t i = 0; i < d->rank; i++)
        if (d->dims[i] == 0)
            return true;
    return false;
}

// Neighbouring lines lie next to each other in the source, and elements of a line do not.
static bool by_columns(const line_dims *d)
{
    return d->outer.strides[1][d->outer.rank - 1] == 1 && d->outer.dims[d->outer.rank - 1] >= 8 &&
           d->inner.strides[1][d->inner.rank - 1] != 1;
}

static void lines_of(osp_cuda_lines *l, line_dims *d, bool sorted)
{
    osp_cuda_dims_settle(&d->outer, sorted ? 1 : -1);
    osp_cuda_dims_settle(&d->inner, sorted ? 1 : -1);
    osp_cuda_walk_of(&l->outer, &d->outer);
    osp_cuda_walk_of(&l->inner, &d->inner);
}

static uint32_t power_of_two(uint32_t least, uint32_t most, uint32_t wanted)
{
    uint32_t n = least;
    while (n < most && n < wanted)
        n *= 2;
    return n;
}

static osp_gpu_shape shape_of(const osp_cuda_lines *l, bool columns)
{
    const uint32_t lines = l->outer.count, length = l->inner.count;
    if (columns)
        return (osp_gpu_shape){.grid = {(lines + 31) / 32},
                               .block = {32, power_of_two(1, 32, (length + 3) / 4)}};
    if (length > 512)
        return (osp_gpu_shape){.grid = {lines}, .block = {power_of_two(128, 1024, length / 4)}};
    return (osp_gpu_shape){.grid = {(lines + 3) / 4}, .block = {32, 4}};
}

// ---- Softmax and reductions ---------------------------------------------------------------------

typedef struct line_state {
    osp_cuda_line_args args;
    osp_gpu_shape shape;
    int32_t kernel;
} line_state;

static uint32_t dims_from(int32_t from, int32_t to)
{
    return from < to ? ((1u << (to - from)) - 1) << from : 0;
}

static void settle(line_state *s, const osp_shape *shape, uint32_t mask,
                   int64_t strides[OSP_CUDA_OPERANDS][OSP_MAX_RANK])
{
    line_dims d;
    split_dims(&d, shape, mask, 2, strides);
    const bool none = is_empty(&d.outer);
    lines_of(&s->args.lines, &d, !none && !is_empty(&d.inner));
    const bool columns = by_columns(&d);
    s->shape = shape_of(&s->args.lines, columns);
    s->kernel += columns;
}

static const char *refuse_softmax(const osp_problem *p)
{
    return osp_cuda_is_float(p->src) ? osp_cuda_refuse(p) : "neither FP32 nor FP16";
}

static osp_status prepare_softmax(const osp_problem *p, osp_context *ctx, int32_t threads,
                                  void **out, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(line_state), out, err));
    line_state *s = *out;
    const osp_softmax_attrs *a = p->attrs;
    const osp_shape *shape = &p->src->shape;
    const int32_t axis = (int32_t)a->axis;
    int64_t strides[OSP_CUDA_OPERANDS][OSP_MAX_RANK];
    osp_operand_strides(p->dst, strides[0]);
    osp_operand_strides(p->src, strides[1]);
    s->args.dtype = (int32_t)p->src->dtype;
    s->kernel = p->src->dtype == OSP_DTYPE_FLOAT16 ? 2 : 0;
    settle(s, shape, dims_from(axis, a->flatten || axis == shape->rank ? shape->rank : axis + 1),
           strides);
    return OSP_OK;
}

static osp_status launch_lines(const line_state *s, const osp_gpu_kernel *kernels,
                               const osp_launch *l, osp_error *err)
{
    if (!s->args.lines.outer.count)
        return OSP_OK;
    osp_cuda_line_args a = s->args;
    a.dst = l->dst[0];
    a.src = l->src[0];
    return osp_cuda_launch(l, kernels + s->kernel, &s->shape, &a, sizeof a, err);
}

static osp_status launch_softmax(const osp_problem *p, void *s, const osp_launch *l, osp_error *err)
{
    (void)p;
    return launch_lines(s, osp_cuda_k_softmax, l, err);
}

const osp_tactic osp_cuda_softmax = {.name = "softmax",
                                     .refuse = refuse_softmax,
                                     .prepare = prepare_softmax,
                                     .launch = launch_softmax,
                                     .release = osp_cuda_release};

static bool is(const osp_problem *p, const char *type)
{
    return !strcmp(p->op->type, type);
}

// GlobalAveragePool is the mean of all spatial dims.
static uint32_t reduced(const osp_problem *p)
{
    if (is(p, "GlobalAveragePool"))
        return dims_from(2, p->src->shape.rank);
    return ((const osp_reduce_attrs *)p->attrs)->mask;
}

static const char *refuse_reduce(const osp_problem *p)
{
    return p->src->dtype == OSP_DTYPE_BFLOAT16 ? "bfloat16" : osp_cuda_refuse(p);
}

static osp_status prepare_reduce(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **out, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(line_state), out, err));
    line_state *s = *out;
    const osp_shape *shape = &p->src->shape;
    const uint32_t mask = reduced(p);
    int64_t to[OSP_MAX_RANK], strides[OSP_CUDA_OPERANDS][OSP_MAX_RANK] = {{0}};
    osp_operand_strides(p->dst, to);
    osp_operand_strides(p->src, strides[1]);
    const bool kept = p->dst->shape.rank == shape->rank;
    for (int32_t i = 0, at = 0; i < shape->rank; i++) {
        if (!(mask >> i & 1))
            strides[0][i] = to[at];
        at += kept || !(mask >> i & 1);
    }
    s->args.dtype = (int32_t)p->src->dtype;
    s->args.kind = is(p, "ReduceMax")   ? OSP_LINE_MAX
                   : is(p, "ReduceSum") ? OSP_LINE_SUM
                                        : OSP_LINE_MEAN;
    s->kernel = p->src->dtype == OSP_DTYPE_FLOAT32 ? 0 : p->src->dtype == OSP_DTYPE_FLOAT16 ? 2 : 4;
    settle(s, shape, mask, strides);
    return OSP_OK;
}

static osp_status launch_reduce(const osp_problem *p, void *s, const osp_launch *l, osp_error *err)
{
    (void)p;
    return launch_lines(s, osp_cuda_k_reduce, l, err);
}

const osp_tactic osp_cuda_reduce = {.name = "reduce",
                                    .refuse = refuse_reduce,
                                    .prepare = prepare_reduce,
                                    .launch = launch_reduce,
                                    .release = osp_cuda_release};

// ---- LayerNormalization -------------------------------------------------------------------------

typedef struct norm_state {
    osp_cuda_layer_norm_args args;
    osp_gpu_shape shape;
} norm_state;

static bool is_left_out(const osp_problem *p, int32_t i)
{
    return i >= p->dst_count || !p->dst[i].dtype;
}

static const char *refuse_layer_norm(const osp_problem *p)
{
    for (int32_t i = 1; i < 3; i++)
        if (!is_left_out(p, i) && (!osp_operand_dense(p->dst + i) || p->dst[i].layout))
            return "statistics are not plain and dense";
    return osp_cuda_refuse(p);
}

static osp_status prepare_layer_norm(const osp_problem *p, osp_context *ctx, int32_t threads,
                                     void **out, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(norm_state), out, err));
    norm_state *s = *out;
    const osp_layer_norm_attrs *a = p->attrs;
    const osp_shape *shape = &p->src->shape;
    const bool bias = p->src_count > 2 && p->src[2].dtype;
    int64_t strides[OSP_CUDA_OPERANDS][OSP_MAX_RANK] = {{0}};
    if (!is_left_out(p, 0))
        osp_operand_strides(p->dst, strides[0]);
    osp_operand_strides(p->src, strides[1]);
    for (int32_t k = 1; k < 2 + bias; k++) {  // broadcast to the source
        int64_t own[OSP_MAX_RANK];
        const osp_shape *from = &p->src[k].shape;
        const int32_t lead = shape->rank - from->rank;
        osp_operand_strides(p->src + k, own);
        for (int32_t i = lead; i < shape->rank; i++)
            strides[k + 1][i] = from->dims[i - lead] == shape->dims[i] ? own[i - lead] : 0;
    }
    line_dims d;
    split_dims(&d, shape, dims_from((int32_t)a->axis, shape->rank), 4, strides);
    lines_of(&s->args.lines, &d, false);  // statistics are in the order of dims
    s->shape = shape_of(&s->args.lines, false);
    s->args.dtype = (int32_t)p->src->dtype;
    s->args.scale_dtype = (int32_t)p->src[1].dtype;
    s->args.bias_dtype = bias ? (int32_t)p->src[2].dtype : 0;
    s->args.epsilon = a->epsilon;
    return OSP_OK;
}

static osp_status launch_layer_norm(const osp_problem *p, void *state, const osp_launch *l,
                                    osp_error *err)
{
    const norm_state *s = state;
    if (!s->args.lines.outer.count)
        return OSP_OK;
    osp_cuda_layer_norm_args a = s->args;
    a.dst = is_left_out(p, 0) ? NULL : l->dst[0];
    a.src = l->src[0];
    a.scale = l->src[1];
    a.bias = a.bias_dtype ? l->src[2] : NULL;
    a.mean = is_left_out(p, 1) ? NULL : l->dst[1];
    a.deviation = is_left_out(p, 2) ? NULL : l->dst[2];
    return osp_cuda_launch(l, osp_cuda_k_layer_norm, &s->shape, &a, sizeof a, err);
}

const osp_tactic osp_cuda_layer_norm = {.name = "layer_norm",
                                        .refuse = refuse_layer_norm,
                                        .prepare = prepare_layer_norm,
                                        .launch = launch_layer_norm,
                                        .release = osp_cuda_release};
