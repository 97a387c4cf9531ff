// Depthwise convolution, FP32 or bfloat16 (weights and sums are FP32 in both), channels last: a line
// of output pixels at a time, vectors of channels.
#include <string.h>

#include "backends/conv_problem.h"
#include "backends/cpu/bf16.h"
#include "ops/view.h"

enum { MAX_TAPS = 121 };

typedef struct depthwise {
    const osp_simd *simd;
    int64_t n, c, ih, iw, oh, ow;
    osp_window h, w;
    int64_t src_pitch, dst_pitch, add_pitch, padded;  // padded: channels in the packed weights
    int32_t act;
    float alpha, beta;
    bool add_first;
} depthwise;

static const char *refuse_type(const osp_problem *p, osp_dtype dtype)
{
    osp_conv_problem c;
    const char *why = osp_conv_problem_of(p, &c);
    if (why)
        return why;
    if (!osp_operand_is(c.src, dtype) || !osp_operand_is(c.weights, dtype) ||
        !osp_operand_is(c.dst, dtype) || (c.add && !osp_operand_is(c.add, dtype)))
        return dtype == OSP_DTYPE_FLOAT32 ? "not FP32" : "not bfloat16";
    if (c.attrs->group != c.src->shape.dims[1] || c.dst->shape.dims[1] != c.attrs->group)
        return "not depthwise";
    if (c.src->layout != OSP_LAYOUT_CHANNELS_LAST || c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "not channels last";
    if (c.attrs->window[0].size > MAX_TAPS || c.attrs->window[1].size > MAX_TAPS ||
        c.attrs->window[0].size * c.attrs->window[1].size > MAX_TAPS)
        return "the window is too large";
    return NULL;
}

static const char *refuse(const osp_problem *p)
{
    return refuse_type(p, OSP_DTYPE_FLOAT32);
}

static const char *refuse_bf16(const osp_problem *p)
{
    const char *why = refuse_type(p, OSP_DTYPE_BFLOAT16);
    return why ? why : osp_cpu_has_bf16() ? NULL : "the processor lacks bfloat16";
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    depthwise *d = osp_mem_calloc(&ctx->mem, 1, sizeof *d);
    if (!d)
        OSP_FAIL_MEMORY(err);
    const int64_t *in = c.src->shape.dims, *out = c.dst->shape.dims;
    *d = (depthwise){.simd = osp_cpu_simd(),
                     .n = in[0],
                     .c = in[1],
                     .ih = in[2],
                     .iw = in[3],
                     .oh = out[2],
                     .ow = out[3],
                     .h = c.attrs->window[0],
                     .w = c.attrs->window[1],
                     .src_pitch = c.src->pitch,
                     .dst_pitch = c.dst->pitch,
                     .add_pitch = c.add ? c.add->pitch : 0,
                     .act = c.act,
                     .alpha = c.alpha,
                     .beta = c.beta,
                     .add_first = c.add_first};
    d->padded = (d->c + d->simd->lanes - 1) / d->simd->lanes * d->simd->lanes;
    sizes->packed_bytes = (size_t)(d->padded * (1 + d->h.size * d->w.size)) * sizeof(float);
    *state = d;
    return OSP_OK;
}

// Bias, then each tap: `padded` channels together.
static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const depthwise *d = state;
    const int64_t taps = d->h.size * d->w.size;
    const osp_dtype dtype = p->src[1].dtype;
    const void *bias = p->src_count > 2 ? src[2] : NULL;
    float *to = packed;
    memset(to, 0, (size_t)(d->padded * (1 + taps)) * sizeof *to);
    for (int64_t c = 0; c < d->c; c++) {
        to[c] = bias ? osp_load_float(p->src[2].dtype, bias, (size_t)c) : 0;
        for (int64_t t = 0; t < taps; t++)
            to[(1 + t) * d->padded + c] = osp_load_float(dtype, src[1], (size_t)(c * taps + t));
    }
    return OSP_OK;
}

// Pixels [x, x + count) of a line; with count 1 taps outside the source are left out.
typedef struct job job;
typedef void (*pixels_fn)(const job *j, int64_t line, int64_t x, int64_t count);

struct job {
    const depthwise *d;
    const void *src, *add;
    const float *packed;
    void *dst;
    pixels_fn run_pixels;
};

// Output columns for which every column tap is inside: [*from, *to).
static void inner_columns(const depthwise *d, int64_t *from, int64_t *to)
{
    const int64_t last = d->iw - 1 - (d->w.size - 1) * d->w.dilation + d->w.pad_begin;
    *from = osp_i64_min(d->ow, (d->w.pad_begin + d->w.stride - 1) / d->w.stride);
    *to = last < 0 ? 0 : osp_i64_min(d->ow, last / d->w.stride + 1);
    *to = osp_i64_max(*from, *to);
}

// Where each tap of output pixel x reads, in elements; -1: outside the source.
static void place_taps(const depthwise *d, int64_t line, int64_t x, int64_t taps[MAX_TAPS])
{
    const int64_t n = line / d->oh, y = line % d->oh;
    for (int64_t ky = 0; ky < d->h.size; ky++) {
        const int64_t iy = y * d->h.stride - d->h.pad_begin + ky * d->h.dilation;
        for (int64_t kx = 0; kx < d->w.size; kx++) {
            const int64_t ix = x * d->w.stride - d->w.pad_begin + kx * d->w.dilation;
            const bool inside = iy >= 0 && iy < d->ih && ix >= 0 && ix < d->iw;
            taps[ky * d->w.size + kx] = inside ? ((n * d->ih + iy) * d->iw + ix) * d->src_pitch
                                               : -1;
        }
    }
}

static void run_pixels(const job *j, int64_t line, int64_t x, int64_t count)
{
    const depthwise *d = j->d;
    const float *src = j->src, *add = j->add, *taps[MAX_TAPS];
    int64_t offsets[MAX_TAPS];
    place_taps(d, line, x, offsets);
    for (int64_t t = 0; t < d->h.size * d->w.size; t++)
        taps[t] = offsets[t] < 0 ? NULL : src + offsets[t];
    const int64_t pixel = line * d->ow + x;
    const osp_depthwise_run run = {.src = taps,
                                   .taps = (int32_t)(d->h.size * d->w.size),
                                   .src_step = d->w.stride * d->src_pitch,
                                   .weights = j->packed + d->padded,
                                   .weights_step = d->padded,
                                   .bias = j->packed,
                                   .dst = (float *)j->dst + pixel * d->dst_pitch,
                                   .dst_step = d->dst_pitch,
                                   .add = add ? add + pixel * d->add_pitch : NULL,
                                   .add_step = d->add_pitch,
                                   .count = count,
                                   .channels = d->c,
                                   .act = d->act,
                                   .alpha = d->alpha,
                                   .beta = d->beta,
                                   .add_first = d->add_first};
    d->simd->depthwise(&run);
}

static void run_pixels_bf16(const job *j, int64_t line, int64_t x, int64_t count)
{
    const depthwise *d = j->d;
    const uint16_t *src = j->src, *add = j->add, *taps[MAX_TAPS];
    int64_t offsets[MAX_TAPS] = {0};
    place_taps(d, line, x, offsets);
    for (int64_t t = 0; t < d->h.size * d->w.size; t++)
        taps[t] = offsets[t] < 0 ? NULL : src + offsets[t];
    const int64_t pixel = line * d->ow + x;
    const osp_bf16_depthwise_run run = {.src = taps,
                                        .taps = (int32_t)(d->h.size * d->w.size),
                                        .src_step = d->w.stride * d->src_pitch,
                                        .weights = j->packed + d->padded,
                                        .weights_step = d->padded,
                                        .count = count,
                                        .end = {.bias = j->packed,
                                                .dst = (uint16_t *)j->dst + pixel * d->dst_pitch,
                                                .add = add ? add + pixel * d->add_pitch : NULL,
                                                .dst_pitch = d->dst_pitch,
                                                .add_pitch = d->add_pitch,
                                                .channels = (int32_t)d->c,
                                                .act = d->act,
                                                .alpha = d->alpha,
                                                .beta = d->beta,
                                                .add_first = d->add_first}};
    osp_bf16_depthwise(&run);
}

static void run_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    int64_t from, to;
    inner_columns(j->d, &from, &to);
    for (int64_t line = begin; line < end; line++) {
        for (int64_t x = 0; x < from; x++)
            j->run_pixels(j, line, x, 1);
        if (from < to)
            j->run_pixels(j, line, from, to - from);
        for (int64_t x = to; x < j->d->ow; x++)
            j->run_pixels(j, line, x, 1);
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const depthwise *d = state;
    job j = {.d = d,
             .src = l->src[0],
             .add = p->src_count > 3 ? l->src[3] : NULL,
             .packed = l->packed,
             .dst = l->dst[0],
             .run_pixels = p->src[0].dtype == OSP_DTYPE_FLOAT32 ? run_pixels : run_pixels_bf16};
    osp_cpu_parallel(l->threads, d->n * d->oh,
                     (double)(d->ow * d->c * d->h.size * d->w.size) * 0.05, run_lines, &j);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

const osp_tactic osp_cpu_conv_depthwise = {.name = "depthwise_f32",
                                           .pack_version = 1,
                                           .refuse = refuse,
                                           .prepare = prepare,
                                           .pack = pack,
                                           .launch = launch,
                                           .release = release};
const osp_tactic osp_cpu_conv_depthwise_bf16 = {.name = "depthwise_bf16",
                                                .pack_version = 1,
                                                .refuse = refuse_bf16,
                                                .prepare = prepare,
                                                .pack = pack,
                                                .launch = launch,
                                                .release = release};
