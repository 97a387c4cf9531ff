// Pools, and the plain convolution that takes whatever the faster ones refuse.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/internal.h"
#include "ops/pool.h"

enum { BLOCK = 256 };

// A tile of 64 pays off from here on.
enum { TILE_CHANNELS = 8, CONV_TILE = 64 };

static bool is(const osp_problem *p, const char *type)
{
    return !strcmp(p->op->type, type);
}

static bool fits(const osp_window *w, int64_t in, int64_t out)
{
    const int64_t most = 1 << 24;
    return w->size <= most && w->stride <= most && w->dilation <= most && w->pad_begin <= most &&
           w->pad_end <= most && in <= most && out <= most &&
           w->size * w->dilation + out * w->stride < INT32_MAX;
}

static const char *refuse_windows(const osp_problem *p, const osp_window *windows, int32_t spatial)
{
    for (int32_t i = 0; i < spatial; i++)
        if (!fits(windows + i, p->src->shape.dims[i + 2], p->dst->shape.dims[i + 2]))
            return "a window is too large";
    return osp_cuda_refuse(p);
}

// Missing leading axes have extent 1.
static void windows_of(osp_cuda_window out[3], const osp_window *windows, int32_t spatial,
                       const osp_shape *src, const osp_shape *dst)
{
    osp_lifted at;
    osp_lift(&at, spatial, windows, src, dst);
    for (int32_t i = 0; i < 3; i++) {
        const osp_window *w = at.window + i;
        out[i] = (osp_cuda_window){
            .size = (int32_t)w->size,
            .stride = (int32_t)w->stride,
            .dilation = (int32_t)w->dilation,
            .pad = (int32_t)w->pad_begin,
            .in = (int32_t)at.in[i],
            .out = (int32_t)at.out[i],
            .end = (int32_t)(at.in[i] + w->pad_end),
        };
    }
}

// Strides of n, c, z, y, x.
static void steps_of(const osp_operand *o, int64_t steps[OSP_WINDOW_DIMS])
{
    int64_t own[OSP_MAX_RANK];
    osp_operand_strides(o, own);
    memset(steps, 0, OSP_WINDOW_DIMS * sizeof *steps);
    steps[OSP_DIM_N] = own[0];
    steps[OSP_DIM_C] = own[1];
    for (int32_t i = 2; i < o->shape.rank; i++)
        steps[OSP_WINDOW_DIMS - o->shape.rank + i] = own[i];
}

// ---- Pools --------------------------------------------------------------------------------------

typedef struct pool {
    osp_cuda_pool_args narrow, wide;
    int32_t kernel, wide_kernel;  // -1: no vectors
} pool;

static const osp_operand *indices_of(const osp_problem *p)
{
    return p->dst_count > 1 && p->dst[1].dtype ? p->dst + 1 : NULL;
}

static const char *refuse_pool(const osp_problem *p)
{
    const osp_pool_attrs *a = p->attrs;
    if (p->src->dtype == OSP_DTYPE_BFLOAT16)
        return "bfloat16";
    return refuse_windows(p, a->window, a->spatial);
}

// Dims of the walk with the memory order of the destination.
static void pool_walk(osp_cuda_pool_args *a, int64_t n, int64_t channels, bool channels_last)
{
    const int64_t extents[] = {n, channels, a->window[0].out, a->window[1].out, a->window[2].out};
    static const int32_t planes[] = {OSP_DIM_N, OSP_DIM_C, OSP_DIM_Z, OSP_DIM_Y, OSP_DIM_X};
    static const int32_t pixels[] = {OSP_DIM_N, OSP_DIM_Z, OSP_DIM_Y, OSP_DIM_X, OSP_DIM_C};
    int64_t count = 1;
    for (int32_t i = 0; i < OSP_WINDOW_DIMS; i++) {
        a->role[i] = (channels_last ? pixels : planes)[i];
        a->dims[i] = osp_cuda_divisor_of(extents[a->role[i]]);
        count *= extents[i];
    }
    a->count = (uint32_t)count;
}

static bool steps_fit(const int64_t steps[OSP_WINDOW_DIMS], int64_t vector)
{
    bool yes = steps[OSP_DIM_C] == 1;
    for (int32_t i = 0; i < OSP_WINDOW_DIMS; i++)
        yes &= i == OSP_DIM_C || steps[i] % vector == 0;
    return yes;
}

static osp_status prepare_pool(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(pool), state, err));
    pool *s = *state;
    osp_cuda_pool_args *a = &s->narrow;
    const osp_pool_attrs *attrs = p->attrs;
    const osp_operand *indices = indices_of(p), *dst = p->dst->dtype ? p->dst : indices;
    windows_of(a->window, attrs->window, attrs->spatial, &p->src->shape, &dst->shape);
    steps_of(p->src, a->src_step);
    steps_of(dst, a->dst_step);
    if (indices)
        steps_of(indices, a->index_step);
    a->channels = (int32_t)p->src->shape.dims[1];
    a->kind = is(p, "MaxPool")           ? OSP_POOL_MAX
              : attrs->count_include_pad ? OSP_POOL_AVERAGE_PADDED
                                         : OSP_POOL_AVERAGE;
    a->dtype = (int32_t)p->src->dtype;
    a->column_major = attrs->storage_order != 0;
    const int64_t n = p->src->shape.dims[0];
    pool_walk(a, n, a->channels, dst->layout == OSP_LAYOUT_CHANNELS_LAST);
    const bool half = a->dtype == OSP_DTYPE_FLOAT16, single = a->dtype == OSP_DTYPE_FLOAT32;
    const int64_t vector = half ? 8 : 4;
    s->kernel = half ? OSP_POOL_F16 : single ? OSP_POOL_F32 : OSP_POOL_BYTE;
    s->wide_kernel = -1;
    if ((half || single) && !indices && a->channels % vector == 0 && a->count &&
        steps_fit(a->src_step, vector) && steps_fit(a->dst_step, vector)) {
        s->wide = *a;
        pool_walk(&s->wide, n, a->channels / vector, true);
        s->wide_kernel = half ? OSP_POOL_F16X8 : OSP_POOL_F32X4;
    }
    return OSP_OK;
}

static osp_status launch_pool(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    const pool *s = state;
    void *dst = p->dst->dtype ? l->dst[0] : NULL;
    const bool wide = s->wide_kernel >= 0 && osp_cuda_aligned(dst, 16) &&
                      osp_cuda_aligned(l->src[0], 16);
    osp_cuda_pool_args a = wide ? s->wide : s->narrow;
    a.dst = dst;
    a.src = l->src[0];
    a.indices = indices_of(p) ? l->dst[1] : NULL;
    return osp_cuda_each(l, osp_cuda_k_pool + (wide ? s->wide_kernel : s->kernel), a.count, BLOCK,
                         &a, sizeof a, err);
}

const osp_tactic osp_cuda_pool = {.name = "pool",
                                  .refuse = refuse_pool,
                                  .prepare = prepare_pool,
                                  .launch = launch_pool,
                                  .release = osp_cuda_release};

// ---- MaxPools -----------------------------------------------------------------------------------

typedef struct pools {
    osp_cuda_pools_args args;
    osp_gpu_shape shape;
} pools;

static const char *refuse_pools(const osp_problem *p)
{
    if (((const osp_max_pools_attrs *)p->attrs)->size != OSP_POOLS_SIZE)
        return "another size of windows";
    if (!osp_cuda_is_float(p->src))
        return "neither FP32 nor FP16";
    const char *why = osp_cuda_refuse(p);
    if (why)
        return why;
    const int64_t unit = 16 / (int64_t)osp_dtype_bytes(p->src->dtype);
    for (int32_t i = 0; i <= OSP_MAX_POOLS; i++) {
        const osp_operand *o = i ? p->dst + i - 1 : p->src;
        if (o->dtype && (o->layout != OSP_LAYOUT_CHANNELS_LAST || o->pitch % unit))
            return "not channels last in whole 16 bytes";
    }
    const osp_shape *s = &p->src->shape;
    if (s->dims[1] % unit)
        return "not channels last in whole 16 bytes";
    return s->dims[0] > 65535 || s->dims[1] / unit > 65535 ? "too many images or channels" : NULL;
}

static osp_status prepare_pools(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(pools), state, err));
    pools *s = *state;
    const osp_shape *shape = &p->src->shape;
    const int64_t pixels = shape->dims[2] * shape->dims[3];
    const int64_t rows = (shape->dims[2] + OSP_POOLS_TILE - 1) / OSP_POOLS_TILE;
    const int64_t columns = (shape->dims[3] + OSP_POOLS_TILE - 1) / OSP_POOLS_TILE;
    const int64_t unit = 16 / (int64_t)osp_dtype_bytes(p->src->dtype);
    s->args = (osp_cuda_pools_args){.src_image = pixels * p->src->pitch,
                                    .src_pixel = p->src->pitch,
                                    .height = (int32_t)shape->dims[2],
                                    .width = (int32_t)shape->dims[3],
                                    .tiles_x = (int32_t)columns};
    for (int32_t i = 0; i < OSP_MAX_POOLS; i++) {
        s->args.dst_image[i] = pixels * p->dst[i].pitch;
        s->args.dst_pixel[i] = p->dst[i].pitch;
    }
    s->shape = (osp_gpu_shape){.grid = {(uint32_t)(rows * columns),
                                        (uint32_t)(shape->dims[1] / unit),
                                        (uint32_t)shape->dims[0]},
                               .block = {OSP_POOLS_THREADS}};
    return OSP_OK;
}

static osp_status launch_pools(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    const pools *s = state;
    osp_cuda_pools_args a = s->args;
    if (osp_operand_count(p->src) == 0)
        return OSP_OK;
    a.src = l->src[0];
    for (int32_t i = 0; i < OSP_MAX_POOLS; i++)
        a.dst[i] = p->dst[i].dtype ? l->dst[i] : NULL;
    return osp_cuda_launch(l, osp_cuda_k_pools + (p->src->dtype == OSP_DTYPE_FLOAT16), &s->shape,
                           &a, sizeof a, err);
}

const osp_tactic osp_cuda_pools = {.name = "pools",
                                   .refuse = refuse_pools,
                                   .prepare = prepare_pools,
                                   .launch = launch_pools,
                                   .release = osp_cuda_release};

// ---- Conv, FusedConv, ConvTranspose -------------------------------------------------------------

// All three attribute structs start with that of Conv.
static const char *refuse_conv(const osp_problem *p)
{
    const osp_conv_attrs *a = p->attrs;
    if (!osp_cuda_is_float(p->src) || p->src[1].dtype != p->src->dtype)
        return "neither FP32 nor FP16";
    if (!osp_operand_dense(p->src + 1) || p->src[1].layout != OSP_LAYOUT_PLAIN)
        return "weights are not plain and dense";
    if (p->src_count > 2 && p->src[2].dtype && !osp_operand_dense(p->src + 2))
        return "the bias is a slice";
    return refuse_windows(p, a->window, a->spatial);
}

static void conv_weights(const osp_problem *p, osp_cuda_conv_args *a)
{
    const osp_shape *w = &p->src[1].shape;
    a->transposed = is(p, "ConvTranspose");
    a->group = (int32_t)((const osp_conv_attrs *)p->attrs)->group;
    a->taps = (int32_t)osp_shape_span(w, 2, w->rank);
    a->group_ic = (int32_t)(p->src->shape.dims[1] / a->group);
    a->group_oc = (int32_t)(p->dst->shape.dims[1] / a->group);
    const int64_t slice = w->dims[1] * a->taps;  // of dim 0
    a->weights_oc = a->transposed ? a->taps : slice;
    a->weights_ic = a->transposed ? slice : a->taps;
    a->weights_group = (a->transposed ? a->group_ic : a->group_oc) * slice;
}

static osp_status prepare_conv(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_conv_args), state, err));
    osp_cuda_conv_args *a = *state;
    const osp_conv_attrs *conv = p->attrs;
    windows_of(a->window, conv->window, conv->spatial, &p->src->shape, &p->dst->shape);
    steps_of(p->src, a->src_step);
    steps_of(p->dst, a->dst_step);
    conv_weights(p, a);
    if (is(p, "FusedConv")) {
        const osp_fused_conv_attrs *f = p->attrs;
        a->act = f->act;
        a->residual = f->residual;
        a->alpha = f->alpha;
        a->beta = f->beta;
        if (f->residual != OSP_RESIDUAL_NONE)
            steps_of(p->src + 3, a->add_step);
    }
    a->bias_dtype = p->src_count > 2 ? (int32_t)p->src[2].dtype : 0;
    a->channels_last = a->src_step[OSP_DIM_C] == 1 && p->src->layout == OSP_LAYOUT_CHANNELS_LAST;
    a->pixels = (uint32_t)p->dst->shape.dims[0];
    for (int32_t i = 0; i < 3; i++) {
        a->pixels *= (uint32_t)a->window[i].out;
        a->out[i] = osp_cuda_divisor_of(a->window[i].out);
        a->kernel[i] = osp_cuda_divisor_of(a->window[i].size);
        a->stride[i] = osp_cuda_divisor_of(a->window[i].stride);
    }
    a->inner = osp_cuda_divisor_of(a->channels_last ? a->group_ic : a->taps);
    a->all_oc = osp_cuda_divisor_of(p->dst->shape.dims[1]);
    return OSP_OK;
}

static osp_status launch_conv(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    osp_cuda_conv_args a = *(const osp_cuda_conv_args *)state;
    if (osp_operand_count(p->dst) == 0)
        return OSP_OK;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.weights = l->src[1];
    a.bias = a.bias_dtype ? l->src[2] : NULL;
    a.add = a.residual ? l->src[3] : NULL;
    const bool half = p->src->dtype == OSP_DTYPE_FLOAT16;
    const uint32_t oc_tiles = ((uint32_t)a.group_oc + CONV_TILE - 1) / CONV_TILE;
    if (a.group_oc < TILE_CHANNELS || oc_tiles > 65535 || a.group > 65535)
        return osp_cuda_each(l,
                             osp_cuda_k_conv_plain + (half ? OSP_CONV_EACH_F16 : OSP_CONV_EACH_F32),
                             (uint64_t)a.pixels * a.all_oc.value, BLOCK, &a, sizeof a, err);
    const osp_gpu_shape shape = {
        .grid = {(a.pixels + CONV_TILE - 1) / CONV_TILE, oc_tiles, (uint32_t)a.group},
        .block = {BLOCK}};
    return osp_cuda_launch(l,
                           osp_cuda_k_conv_plain + (half ? OSP_CONV_TILE_F16 : OSP_CONV_TILE_F32),
                           &shape, &a, sizeof a, err);
}

const osp_tactic osp_cuda_conv_plain = {.name = "conv_plain",
                                        .refuse = refuse_conv,
                                        .prepare = prepare_conv,
                                        .launch = launch_conv,
                                        .release = osp_cuda_release};
