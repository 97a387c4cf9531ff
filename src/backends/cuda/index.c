// TopK, and operators whose indices are data: Gather, GatherElements, GatherND, ScatterND.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/move.h"

enum { BLOCK = 256 };

static bool is(const osp_problem *p, const char *type)
{
    return !strcmp(p->op->type, type);
}

// ---- TopK ---------------------------------------------------------------------------------------

static osp_status prepare_topk(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_topk_args), state, err));
    osp_cuda_topk_args *a = *state;
    const osp_topk_attrs *attrs = p->attrs;
    const int32_t axis = attrs->resolved_axis;
    const osp_operand *values = p->dst->dtype ? p->dst : NULL;
    const osp_operand *indices = p->dst_count > 1 && p->dst[1].dtype ? p->dst + 1 : NULL;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK] = {0}, at[OSP_MAX_RANK] = {0};
    osp_operand_strides(p->src, from);
    if (values)
        osp_operand_strides(values, to);
    if (indices)
        osp_operand_strides(indices, at);
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < p->src->shape.rank; i++)
        if (i != axis)
            osp_cuda_dims_add(&d, p->src->shape.dims[i], (const int64_t[]){from[i], to[i], at[i]},
                              3);
    osp_cuda_dims_settle(&d, -1);
    osp_cuda_walk_of(&a->outer, &d);
    const osp_operand *any = values ? values : indices;
    a->src_step = from[axis];
    a->values_step = to[axis];
    a->indices_step = at[axis];
    a->length = (uint32_t)p->src->shape.dims[axis];
    a->k = any ? (uint32_t)any->shape.dims[axis] : 0;
    for (a->capacity = 2; a->capacity < a->k;)
        a->capacity *= 2;
    a->dtype = (int32_t)p->src->dtype;
    a->largest = attrs->largest != 0;
    if (a->capacity > OSP_TOPK_SHARED)
        sizes->workspace_bytes = (size_t)a->outer.count * a->capacity * sizeof(osp_cuda_topk_pair);
    return OSP_OK;
}

static osp_status launch_topk(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    osp_cuda_topk_args a = *(const osp_cuda_topk_args *)state;
    if (!a.k || !a.outer.count)
        return OSP_OK;
    a.src = l->src[0];
    a.values = p->dst->dtype ? l->dst[0] : NULL;
    a.indices = p->dst_count > 1 && p->dst[1].dtype ? l->dst[1] : NULL;
    a.workspace = l->workspace;
    const osp_gpu_shape shape = {.grid = {a.outer.count}, .block = {OSP_TOPK_THREADS}};
    return osp_cuda_launch(l, osp_cuda_k_topk, &shape, &a, sizeof a, err);
}

const osp_tactic osp_cuda_topk = {.name = "topk",
                                  .refuse = osp_cuda_refuse,
                                  .prepare = prepare_topk,
                                  .launch = launch_topk,
                                  .release = osp_cuda_release};

// ---- Gather, GatherElements, GatherND -------------------------------------------------------------

typedef struct gather {
    osp_cuda_gather_args narrow, wide;
    int64_t unit;
    size_t size;
} gather;

// The axes of dst are those of src before the axis, then of the indices, then of src after it.
static void gather_dims(const osp_problem *p, gather *g, const int64_t *to, const int64_t *from,
                        const int64_t *at, osp_cuda_dims *d)
{
    const int32_t axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    const int32_t many = p->src[1].shape.rank;
    for (int32_t i = 0; i < p->dst->shape.rank; i++) {
        const bool index = i >= axis && i < axis + many;
        const int32_t k = i < axis ? i : i - many + 1;
        osp_cuda_dims_add(d, p->dst->shape.dims[i],
                          (const int64_t[]){to[i], index ? 0 : from[k], index ? at[i - axis] : 0},
                          3);
    }
    g->narrow.depth = 1;
    g->narrow.step[0] = from[axis];
    g->narrow.length[0] = p->src->shape.dims[axis];
}

static void gather_elements_dims(const osp_problem *p, gather *g, const int64_t *to,
                                 const int64_t *from, const int64_t *at, osp_cuda_dims *d)
{
    const int32_t axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    for (int32_t i = 0; i < p->dst->shape.rank; i++)
        osp_cuda_dims_add(d, p->dst->shape.dims[i],
                          (const int64_t[]){to[i], i == axis ? 0 : from[i], at[i]}, 3);
    g->narrow.depth = 1;
    g->narrow.step[0] = from[axis];
    g->narrow.length[0] = p->src->shape.dims[axis];
}

// The axes of dst are those of the indices but the last, then of src behind what an index names.
static void gather_nd_dims(const osp_problem *p, gather *g, const int64_t *to, const int64_t *from,
                           const int64_t *at, osp_cuda_dims *d)
{
    const int32_t batch = (int32_t)((const osp_gather_nd_attrs *)p->attrs)->batch_dims;
    const int32_t lead = p->src[1].shape.rank - 1;
    const int32_t depth = (int32_t)p->src[1].shape.dims[lead];
    for (int32_t i = 0; i < p->dst->shape.rank; i++) {
        const int64_t step = i < batch ? from[i] : i < lead ? 0 : from[batch + depth + i - lead];
        osp_cuda_dims_add(d, p->dst->shape.dims[i],
                          (const int64_t[]){to[i], step, i < lead ? at[i] : 0}, 3);
    }
    g->narrow.depth = depth;
    g->narrow.index_step = at[lead];
    for (int32_t i = 0; i < depth; i++) {
        g->narrow.step[i] = from[batch + i];
        g->narrow.length[i] = p->src->shape.dims[batch + i];
    }
}

static osp_status prepare_gather(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(gather), state, err));
    gather *g = *state;
    int64_t to[OSP_MAX_RANK], from[OSP_MAX_RANK], at[OSP_MAX_RANK];
    osp_operand_strides(p->dst, to);
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->src + 1, at);
    osp_cuda_dims d = {0};
    if (is(p, "Gather"))
        gather_dims(p, g, to, from, at, &d);
    else if (is(p, "GatherElements"))
        gather_elements_dims(p, g, to, from, at, &d);
    else
        gather_nd_dims(p, g, to, from, at, &d);
    osp_cuda_dims_settle(&d, 0);
    g->narrow.wide = p->src[1].dtype == OSP_DTYPE_INT64;
    g->size = osp_dtype_bytes(p->dst->dtype);
    g->unit = osp_cuda_unit(&d, 3, 4, g->size);
    for (int32_t i = 0; i < g->narrow.depth; i++)
        while (g->narrow.step[i] % g->unit)
            g->unit /= 2;
    osp_cuda_walk_of(&g->narrow.walk, &d);
    g->wide = g->narrow;
    osp_cuda_dims_widen(&d, 3, g->unit);
    osp_cuda_walk_of(&g->wide.walk, &d);
    for (int32_t i = 0; i < g->narrow.depth; i++)
        g->wide.step[i] /= g->unit;
    return OSP_OK;
}

static osp_status launch_gather(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    const gather *g = state;
    const size_t wide = g->size * (size_t)g->unit;
    const bool aligned = osp_cuda_aligned(l->dst[0], wide) && osp_cuda_aligned(l->src[0], wide);
    osp_cuda_gather_args a = aligned ? g->wide : g->narrow;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.indices = l->src[1];
    return osp_cuda_each(l, osp_cuda_k_gather + osp_cuda_by_size(aligned ? wide : g->size),
                         a.walk.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_gather = {.name = "gather",
                                    .refuse = osp_cuda_refuse,
                                    .prepare = prepare_gather,
                                    .launch = launch_gather,
                                    .release = osp_cuda_release};

// ---- ScatterND ----------------------------------------------------------------------------------

typedef struct scatter {
    osp_cuda_copy copy;  // the data
    osp_cuda_scatter_args args;
    size_t winner_bytes;
} scatter;

static void scatter_args(const osp_problem *p, osp_cuda_scatter_args *a, const int64_t *to)
{
    const osp_shape *data = &p->src->shape, *indices = &p->src[1].shape;
    const int32_t lead = indices->rank - 1, depth = (int32_t)indices->dims[lead];
    int64_t at[OSP_MAX_RANK], from[OSP_MAX_RANK];
    osp_operand_strides(p->src + 1, at);
    osp_operand_strides(p->src + 2, from);
    osp_cuda_dims tuples = {0}, slice = {0};
    for (int32_t i = 0; i < lead; i++)
        osp_cuda_dims_add(&tuples, indices->dims[i], (const int64_t[]){at[i], from[i]}, 2);
    for (int32_t i = depth; i < data->rank; i++)
        osp_cuda_dims_add(&slice, data->dims[i], (const int64_t[]){to[i], from[lead + i - depth]},
                          2);
    osp_cuda_dims_settle(&tuples, -1);
    osp_cuda_dims_settle(&slice, -1);
    osp_cuda_walk_of(&a->lead, &tuples);
    osp_cuda_walk_of(&a->slice, &slice);
    a->tuples = a->lead.count;
    a->count = a->slice.count;
    a->depth = depth;
    a->index_step = at[lead];
    a->dtype = (int32_t)p->dst->dtype;
    a->how = ((const osp_scatter_attrs *)p->attrs)->reduction;
    for (int32_t i = 0; i < depth; i++) {
        a->step[i] = to[i];
        a->length[i] = data->dims[i];
        a->slice_step[i] = osp_shape_span(data, i + 1, depth);
    }
}

static osp_status prepare_scatter(const osp_problem *p, osp_context *ctx, int32_t threads,
                                  void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    OSP_TRY(osp_cuda_state(ctx, sizeof(scatter), state, err));
    scatter *s = *state;
    const osp_shape *data = &p->src->shape;
    int64_t to[OSP_MAX_RANK], from[OSP_MAX_RANK];
    osp_operand_strides(p->dst, to);
    osp_operand_strides(p->src, from);
    osp_copy c = {.size = osp_dtype_bytes(p->dst->dtype)};
    for (int32_t i = 0; i < data->rank; i++)
        osp_copy_add_dim(&c, data->dims[i], to[i], from[i]);
    osp_copy_settle(&c);
    osp_cuda_copy_of(&s->copy, &c);
    scatter_args(p, &s->args, to);
    if (!s->args.how && s->args.tuples)
        s->winner_bytes = (size_t)osp_shape_span(data, 0, s->args.depth) * sizeof(int32_t);
    sizes->workspace_bytes = s->winner_bytes;
    return OSP_OK;
}

static osp_status launch_scatter(const osp_problem *p, void *state, const osp_launch *l,
                                 osp_error *err)
{
    const scatter *s = state;
    if (l->dst[0] != l->src[0])
        OSP_TRY(osp_cuda_copy_launch(&s->copy, l, l->dst[0], l->src[0], err));
    osp_cuda_scatter_args a = s->args;
    if (!a.tuples || !a.count || !s->copy.narrow.walk.count)
        return OSP_OK;
    a.dst = l->dst[0];
    a.indices = l->src[1];
    a.updates = l->src[2];
    if (a.how)
        return osp_cuda_each(l, osp_cuda_k_scatter_reduce, a.count, BLOCK, &a, sizeof a, err);
    a.winner = l->workspace;
    OSP_TRY(osp_cuda_fill(l, a.winner, 0xFF, s->winner_bytes, err));
    OSP_TRY(osp_cuda_each(l, osp_cuda_k_scatter_mark, a.tuples, BLOCK, &a, sizeof a, err));
    return osp_cuda_each(l,
                         osp_cuda_k_scatter_move + osp_cuda_by_size(osp_dtype_bytes(p->dst->dtype)),
                         (uint64_t)a.tuples * a.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_scatter = {.name = "scatter",
                                     .refuse = osp_cuda_refuse,
                                     .prepare = prepare_scatter,
                                     .launch = launch_scatter,
                                     .release = osp_cuda_release};
