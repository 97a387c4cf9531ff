// Resize and Upsample of channels-last images, nearest and linear: a pixel is a row of channels.
// Where each position reads is asked of the operator's own kernel once, on ramps, so that rounding
// is the same by construction.
#include "ops/resize.h"

#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"

typedef struct point {
    int64_t low, high;
    float weight;  // of high
} point;

typedef struct resize {
    const osp_simd *simd;
    int64_t n, ih, iw, oh, ow, c;
    int64_t src_pitch, dst_pitch;
    size_t bytes;  // of an element
    bool linear;
    point *rows, *columns;
} resize;

// Upsample's attributes begin with Resize's.
static const osp_resize_attrs *attrs_of(const osp_problem *p)
{
    return p->attrs;
}

static const char *refuse(const osp_problem *p)
{
    const osp_resize_attrs *a = attrs_of(p);
    if (p->src->shape.rank != 4 || p->src->layout != OSP_LAYOUT_CHANNELS_LAST ||
        p->dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "not channels last";
    if (p->src->shape.dims[0] != p->dst->shape.dims[0] ||
        p->src->shape.dims[1] != p->dst->shape.dims[1])
        return "batch or channels are resized";
    if (a->coordinate == OSP_RESIZE_TF_CROP_AND_RESIZE || a->antialias || a->exclude_outside)
        return "cropped or antialiased";
    if (a->mode == OSP_RESIZE_CUBIC)
        return "cubic";
    if (a->mode == OSP_RESIZE_LINEAR && !osp_operand_is(p->src, OSP_DTYPE_FLOAT32))
        return "linear, and not FP32";
    return NULL;
}

// One axis as a problem of its own: rank 1, source `ramp`, result in `out`.
static void sample_axis(const osp_resize_attrs *a, int32_t axis, float *ramp, int64_t in,
                        float *out, int64_t count)
{
    osp_resize_attrs one = *a;
    one.scale[0] = a->scale[axis];
    one.resized[0] = a->resized[axis];
    const osp_view src = {OSP_DTYPE_FLOAT32, {1, {in}}, ramp};
    const osp_view dst = {OSP_DTYPE_FLOAT32, {1, {count}}, out};
    osp_resample(&one, &src, &dst);
}

static osp_status find_points(const osp_resize_attrs *a, osp_context *ctx, int32_t axis, int64_t in,
                              int64_t count, point *points, osp_error *err)
{
    float *ramp = osp_mem_alloc(&ctx->mem, (size_t)in * sizeof *ramp);
    float *at = osp_mem_alloc(&ctx->mem, (size_t)count * sizeof *at);
    float *part = osp_mem_alloc(&ctx->mem, (size_t)count * sizeof *part);
    if (ramp && at && part) {
        for (int64_t i = 0; i < in; i++)
            ramp[i] = (float)i;
        sample_axis(a, axis, ramp, in, at, count);
        // A second ramp 0 1 0 1 ... has the fraction without the position's rounding.
        for (int64_t i = 0; i < in; i++)
            ramp[i] = (float)(i & 1);
        sample_axis(a, axis, ramp, in, part, count);
        for (int64_t i = 0; i < count; i++) {
            const int64_t low = osp_i64_max(0, osp_i64_min(in - 1, (int64_t)floorf(at[i] + 0.0f)));
            points[i].low = low;
            points[i].high = osp_i64_min(low + 1, in - 1);
            points[i].weight = low & 1 ? 1 - part[i] : part[i];
            if (points[i].high == low)
                points[i].weight = 0;
        }
    }
    const bool done = ramp && at && part;
    osp_mem_free(&ctx->mem, ramp);
    osp_mem_free(&ctx->mem, at);
    osp_mem_free(&ctx->mem, part);
    if (!done)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    resize *r = state;
    osp_mem_free(&ctx->mem, r->rows);
    osp_mem_free(&ctx->mem, r->columns);
    osp_mem_free(&ctx->mem, r);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    const int64_t *in = p->src->shape.dims, *out = p->dst->shape.dims;
    resize *r = osp_mem_calloc(&ctx->mem, 1, sizeof *r);
    if (!r)
        OSP_FAIL_MEMORY(err);
    *r = (resize){.simd = osp_cpu_simd(),
                  .n = in[0],
                  .ih = in[2],
                  .iw = in[3],
                  .oh = out[2],
                  .ow = out[3],
                  .c = in[1],
                  .src_pitch = p->src->pitch,
                  .dst_pitch = p->dst->pitch,
                  .bytes = osp_dtype_bytes(p->dst->dtype),
                  .linear = attrs_of(p)->mode == OSP_RESIZE_LINEAR};
    r->rows = osp_mem_calloc(&ctx->mem, (size_t)r->oh, sizeof *r->rows);
    r->columns = osp_mem_calloc(&ctx->mem, (size_t)r->ow, sizeof *r->columns);
    osp_status status = r->rows && r->columns
                            ? OSP_OK
                            : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status)
        status = find_points(attrs_of(p), ctx, 2, r->ih, r->oh, r->rows, err);
    if (!status)
        status = find_points(attrs_of(p), ctx, 3, r->iw, r->ow, r->columns, err);
    if (status)
        release(ctx, r);
    else
        *state = r;
    return status;
}

typedef struct job {
    const resize *r;
    const char *src;
    char *dst;
} job;

static void nearest_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const resize *r = j->r;
    const size_t src_step = (size_t)r->src_pitch * r->bytes;
    const size_t dst_step = (size_t)r->dst_pitch * r->bytes, size = (size_t)r->c * r->bytes;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / r->oh, y = i % r->oh;
        const char *src = j->src + (size_t)((n * r->ih + r->rows[y].low) * r->iw) * src_step;
        char *dst = j->dst + (size_t)(i * r->ow) * dst_step;
        for (int64_t x = 0; x < r->ow; x++)
            memcpy(dst + (size_t)x * dst_step, src + (size_t)r->columns[x].low * src_step, size);
    }
}

static void linear_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const resize *r = j->r;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / r->oh;
        const point y = r->rows[i % r->oh];
        const float *image = (const float *)(const void *)j->src + n * r->ih * r->iw * r->src_pitch;
        float *dst = (float *)(void *)j->dst + i * r->ow * r->dst_pitch;
        for (int64_t x = 0; x < r->ow; x++) {
            const point p = r->columns[x];
            const float *top = image + y.low * r->iw * r->src_pitch;
            const float *bottom = image + y.high * r->iw * r->src_pitch;
            const float *const src[4] = {top + p.low * r->src_pitch, top + p.high * r->src_pitch,
                                         bottom + p.low * r->src_pitch,
                                         bottom + p.high * r->src_pitch};
            const float weight[4] = {(1 - y.weight) * (1 - p.weight), (1 - y.weight) * p.weight,
                                     y.weight * (1 - p.weight), y.weight * p.weight};
            r->simd->blend4(dst + x * r->dst_pitch, src, weight, r->c);
        }
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    (void)err;
    const resize *r = state;
    job j = {r, l->src[0], l->dst[0]};
    if (r->c * r->ow > 0)
        osp_cpu_parallel(l->threads, r->n * r->oh, (double)(r->ow * r->c) * 0.3,
                         r->linear ? linear_lines : nearest_lines, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_resize_rows = {.name = "pixel_rows",
                                        .refuse = refuse,
                                        .prepare = prepare,
                                        .launch = launch,
                                        .release = release};
