// Resize where several pixels give one, through tables of taps made at build, and GridSample.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/grid_sample.h"
#include "ops/resize.h"

enum { RESIZE_BLOCK = 256, SAMPLE_BLOCK = 128 };

// ---- Resize -------------------------------------------------------------------------------------

// packed: weights (float, or double for integers), then offsets.
typedef struct resize {
    osp_cuda_resize_args args;
    int64_t entries;
    bool exact;
    int32_t axis[8];  // logical axis of each dim of the walk
    int64_t step[8];  // of the source along it
} resize;

// The largest number of taps of an axis; 0: positions are what they were.
static int64_t most_taps(const osp_problem *p, int32_t axis)
{
    const int64_t in = p->src->shape.dims[axis], out = p->dst->shape.dims[axis];
    int64_t most = 1;
    bool straight = in == out;
    for (int64_t i = 0; i < out; i++) {
        osp_resize_taps t = {0};
        osp_resize_taps_of(p->attrs, axis, in, out, i, &t);
        most = osp_i64_max(most, t.count);
        straight &= t.count == 1 && t.first == i && !t.outside;
    }
    return straight ? 0 : most;
}

static const char *refuse_resize(const osp_problem *p)
{
    int64_t entries = 0;
    for (int32_t i = 0; i < p->dst->shape.rank; i++)
        if (!osp_i64_mul(p->dst->shape.dims[i], most_taps(p, i), &entries) || entries > 1 << 26)
            return "too many taps";
    return osp_cuda_refuse(p);
}

static osp_status prepare_resize(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    OSP_TRY(osp_cuda_state(ctx, sizeof(resize), state, err));
    resize *r = *state;
    const int32_t rank = p->dst->shape.rank;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    osp_cuda_dims d = {0};
    uint32_t used = 0;
    for (int32_t i = 0; i < rank; i++) {  // axes with long steps of the destination outside
        int32_t axis = -1;
        for (int32_t k = 0; k < rank; k++)
            if (!(used >> k & 1) && (axis < 0 || to[k] > to[axis]))
                axis = k;
        used |= 1u << axis;
        const int64_t taps = most_taps(p, axis);
        osp_cuda_dims_add(&d, p->dst->shape.dims[axis], (const int64_t[]){to[axis], from[axis]}, 2);
        r->axis[i] = axis;
        r->step[i] = from[axis];
        r->args.taps[i] = (int32_t)taps;
        r->args.table[i] = taps ? (int32_t)r->entries : -1;
        r->entries += taps * p->dst->shape.dims[axis];
    }
    if (rank == 0) {
        osp_cuda_dims_add(&d, 1, (const int64_t[]){0, 0}, 2);
        r->args.table[0] = -1;
    }
    osp_cuda_walk_of(&r->args.walk, &d);
    r->exact = !osp_cuda_is_float(p->src);
    r->args.dtype = (int32_t)p->dst->dtype;
    r->args.extrapolation = ((const osp_resize_attrs *)p->attrs)->extrapolation_value;
    sizes->packed_bytes = (size_t)r->entries *
                          ((r->exact ? sizeof(double) : sizeof(float)) + sizeof(int32_t));
    return OSP_OK;
}

static size_t weight_bytes(const resize *r)
{
    return (size_t)r->entries * (r->exact ? sizeof(double) : sizeof(float));
}

// Taps that this position does not have weigh nothing.
static void pack_position(const osp_problem *p, const resize *r, int32_t dim, int64_t i,
                          void *weights, int32_t *offsets)
{
    const int32_t axis = r->axis[dim];
    const int64_t in = p->src->shape.dims[axis];
    osp_resize_taps t = {0};
    osp_resize_taps_of(p->attrs, axis, in, p->dst->shape.dims[axis], i, &t);
    for (int32_t k = 0; k < r->args.taps[dim]; k++) {
        const int64_t at = r->args.table[dim] + i * r->args.taps[dim] + k;
        const bool there = k < t.count;
        const double weight = there ? osp_resize_weight(p->attrs, &t, in, k) : 0;
        const int64_t pixel = osp_i64_max(0, osp_i64_min(in - 1, t.first + (there ? k : 0)));
        offsets[at] = t.outside ? -1 : (int32_t)(pixel * r->step[dim]);
        if (r->exact)
            ((double *)weights)[at] = weight;
        else
            ((float *)weights)[at] = (float)weight;
    }
}

static osp_status pack_resize(const osp_problem *p, void *state, const void *const *src,
                              void *packed, osp_error *err)
{
    (void)src;
    (void)err;
    const resize *r = state;
    int32_t *offsets = (int32_t *)(void *)((char *)packed + weight_bytes(r));
    for (int32_t d = 0; d < p->dst->shape.rank; d++)
        for (int64_t i = 0; r->args.table[d] >= 0 && i < p->dst->shape.dims[r->axis[d]]; i++)
            pack_position(p, r, d, i, packed, offsets);
    return OSP_OK;
}

static osp_status launch_resize(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    const resize *r = state;
    osp_cuda_resize_args a = r->args;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.weights = l->packed;
    a.exact_weights = l->packed;
    a.offsets = (const int32_t *)(const void *)((const char *)l->packed + weight_bytes(r));
    return osp_cuda_each(l, osp_cuda_k_resize + r->exact, a.walk.count, RESIZE_BLOCK, &a, sizeof a,
                         err);
}

const osp_tactic osp_cuda_resize = {.name = "resize",
                                    .refuse = refuse_resize,
                                    .prepare = prepare_resize,
                                    .pack = pack_resize,
                                    .launch = launch_resize,
                                    .release = osp_cuda_release};

// ---- GridSample ---------------------------------------------------------------------------------

static osp_status prepare_sample(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_sample_args), state, err));
    osp_cuda_sample_args *a = *state;
    const osp_grid_attrs *attrs = p->attrs;
    const int32_t rank = p->src->shape.rank;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], at[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->src + 1, at);
    osp_operand_strides(p->dst, to);
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < rank; i++)
        osp_cuda_dims_add(&d, p->dst->shape.dims[i],
                          (const int64_t[]){to[i], i < 2 ? from[i] : 0,
                                            i == 0   ? at[0]
                                            : i == 1 ? 0
                                                     : at[i - 1]},
                          3);
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&a->walk, &d);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t axis = rank - 3 + i;
        a->length[i] = axis >= 2 ? (int32_t)p->src->shape.dims[axis] : 1;
        a->step[i] = axis >= 2 ? from[axis] : 0;
    }
    a->grid_step = at[rank - 1];
    a->dims = rank - 2;
    a->mode = attrs->mode;
    a->padding = attrs->padding;
    a->align_corners = attrs->align_corners != 0;
    a->dtype = (int32_t)p->src->dtype;
    a->grid_dtype = (int32_t)p->src[1].dtype;
    return OSP_OK;
}

static osp_status launch_sample(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    osp_cuda_sample_args a = *(const osp_cuda_sample_args *)state;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.grid = l->src[1];
    return osp_cuda_each(l, osp_cuda_k_sample, a.walk.count, SAMPLE_BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_sample = {.name = "sample",
                                    .refuse = osp_cuda_refuse,
                                    .prepare = prepare_sample,
                                    .launch = launch_sample,
                                    .release = osp_cuda_release};
