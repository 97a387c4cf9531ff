// PixelConv on the GPU: the tactic of the convolution that reads pixels. A packed block holds weights
// as the matrix instructions' operands, then the bias.
#include <math.h>

#include "backends/cuda/conv_shared.h"
#include "backends/cuda/pixel_kernels.h"
#include "base/half.h"
#include "ops/internal.h"

enum { K_STEP = 16, MOST_SHARED = 48 * 1024 };

typedef struct pixel_conv {
    osp_pixel_args args;
    const osp_pixel_kernel *kernel;
    osp_gpu_shape shape;
    size_t bias_at;
} pixel_conv;

// The kernel for a window; NULL: it is too large.
static const osp_pixel_kernel *find_kernel(const osp_pixel_args *a)
{
    for (int32_t i = 0; i < OSP_PIXEL_KERNELS; i++)
        if (a->conv.kh * a->run <= osp_cuda_k_pixel_conv[i].steps * K_STEP)
            return osp_cuda_k_pixel_conv + i;
    return NULL;
}

// How the halo of a tile lies: its lines begin at whole 16 bytes of the image's.
static void lay_out(osp_pixel_args *a, const osp_window *h, const osp_window *w)
{
    const int32_t step = (int32_t)w->stride * OSP_PIXEL_CHANNELS;
    const int32_t before = (int32_t)osp_conv_up(w->pad_begin * OSP_PIXEL_CHANNELS, 16) -
                           (int32_t)w->pad_begin * OSP_PIXEL_CHANNELS;
    a->skip = step % 2 ? 0 : before % 2;
    a->lead = before - a->skip;
    a->run = (int32_t)osp_conv_up(a->skip + w->size * OSP_PIXEL_CHANNELS, 2);
    a->lines = (int32_t)((OSP_PIXEL_TILE_H - 1) * h->stride + h->size);
    a->pitch = (int32_t)osp_conv_up(a->lead + (OSP_PIXEL_TILE_W - 1) * step + a->run, 16);
}

static const char *refuse_window(const osp_pixel_conv_attrs *a)
{
    const osp_window *h = a->conv.window, *w = a->conv.window + 1;
    if (h->dilation != 1 || w->dilation != 1)
        return "dilated";
    if (h->size > 16 || w->size > 16 || h->stride > 16 || w->stride > 16 || h->pad_begin > 16 ||
        w->pad_begin > 16)
        return "too large a window";
    osp_pixel_args args = {.conv.kh = (int32_t)h->size};
    lay_out(&args, h, w);
    if (!find_kernel(&args) || args.lines * args.pitch > MOST_SHARED)
        return "too large a window";
    float most = 0;
    for (int32_t c = 0; c < OSP_PIXEL_CHANNELS; c++) {
        if (a->mean.v[c] != 0 && (h->pad_begin || h->pad_end || w->pad_begin || w->pad_end))
            return "a mean, and padding that it is not taken from";
        most = fmaxf(most, fabsf(a->scale.v[c]));
    }
    return most > 0 && isfinite(most * 0x1p24f) ? NULL : "the scale is out of range";
}

static const char *refuse(const osp_problem *p)
{
    const osp_operand *src = p->src, *weights = p->src + 1, *dst = p->dst;
    const osp_operand *bias = p->src_count > 2 && p->src[2].dtype ? p->src + 2 : NULL;
    if (src->dtype != OSP_DTYPE_UINT8 || weights->dtype != OSP_DTYPE_FLOAT16 ||
        dst->dtype != OSP_DTYPE_FLOAT16)
        return "not from uint8 to FP16";
    if (src->constant || !weights->constant || (bias && !bias->constant))
        return "weights or bias are not constant, or the source is";
    if (src->shape.rank != 4 || src->shape.dims[3] != OSP_PIXEL_CHANNELS ||
        src->layout != OSP_LAYOUT_PLAIN || !osp_operand_dense(src))
        return "the source is not dense pixels of three channels";
    if (src->shape.dims[2] % OSP_PIXEL_ROW)
        return "rows of the source are not whole 16 bytes";
    if (dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    if (dst->shape.dims[1] % OSP_CONV_CHUNK || dst->pitch % OSP_CONV_CHUNK)
        return "channels out are not whole 16-byte chunks";
    const osp_shape *in = &src->shape, *out = &dst->shape;
    if (osp_shape_span(in, 0, 4) > INT32_MAX || osp_shape_span(out, 0, 4) > INT32_MAX ||
        in->dims[0] > UINT16_MAX || out->dims[2] > UINT16_MAX)
        return "too many elements for 32-bit offsets";
    if (osp_shape_span(out, 0, 4) == 0)
        return "empty";
    return refuse_window(p->attrs);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    const osp_pixel_conv_attrs *a = p->attrs;
    const osp_window *h = a->conv.window, *w = a->conv.window + 1;
    const int64_t *in = p->src->shape.dims, *out = p->dst->shape.dims;
    OSP_TRY(osp_cuda_state(ctx, sizeof(pixel_conv), state, err));
    pixel_conv *s = *state;
    s->args.conv = (osp_conv_args){
        .n = (int32_t)in[0],
        .ic = OSP_PIXEL_CHANNELS,
        .ih = (int32_t)in[1],
        .iw = (int32_t)in[2],
        .oh = (int32_t)out[2],
        .ow = (int32_t)out[3],
        .oc = (int32_t)out[1],
        .kh = (int32_t)h->size,
        .kw = (int32_t)w->size,
        .sh = (int32_t)h->stride,
        .sw = (int32_t)w->stride,
        .ph = (int32_t)h->pad_begin,
        .pw = (int32_t)w->pad_begin,
        .dst_pitch = (int32_t)p->dst->pitch,
        .pixels = (int32_t)(out[0] * out[2] * out[3]),
        .act = a->act,
        .alpha = a->alpha,
        .beta = a->beta,
    };
    lay_out(&s->args, h, w);
    s->kernel = find_kernel(&s->args);
    const int64_t groups = osp_conv_up(out[1], OSP_PIXEL_OC) / OSP_PIXEL_OC;
    s->bias_at = osp_conv_aligned((size_t)(groups * s->kernel->steps * OSP_PIXEL_OC * K_STEP * 2));
    sizes->packed_bytes = s->bias_at + osp_conv_aligned((size_t)(groups * OSP_PIXEL_OC * 4));
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(osp_conv_up(out[3], OSP_PIXEL_TILE_W) / OSP_PIXEL_TILE_W),
                 (uint32_t)(osp_conv_up(out[2], OSP_PIXEL_TILE_H) / OSP_PIXEL_TILE_H),
                 (uint32_t)in[0]},
        .block = {OSP_PIXEL_THREADS},
        .shared_bytes = (uint32_t)(s->args.lines * s->args.pitch)};
    float most = 0;
    for (int32_t c = 0; c < OSP_PIXEL_CHANNELS; c++)
        most = fmaxf(most, fabsf(a->scale.v[c]));
    s->args.factor = most * 0x1p24f;
    return OSP_OK;
}

// The weight of output channel o at place k along K, in the unit of the factor.
static float weight_at(const osp_pixel_args *a, const osp_pixel_conv_attrs *attrs,
                       const uint16_t *weights, int64_t o, int64_t k)
{
    const int64_t ky = k / a->run, byte = k % a->run - a->skip;
    const int64_t kx = byte / OSP_PIXEL_CHANNELS, c = byte % OSP_PIXEL_CHANNELS;
    if (o >= a->conv.oc || ky >= a->conv.kh || byte < 0 || kx >= a->conv.kw)
        return 0;
    const int64_t at = ((o * OSP_PIXEL_CHANNELS + c) * a->conv.kh + ky) * a->conv.kw + kx;
    return osp_half_to_float(weights[at]) * (attrs->scale.v[c] / (a->factor * 0x1p-24f));
}

// What the means add up to in output channel o.
static double mean_sum(const osp_pixel_args *a, const osp_pixel_conv_attrs *attrs,
                       const uint16_t *weights, int64_t o)
{
    const int64_t taps = (int64_t)a->conv.kh * a->conv.kw;
    double sum = 0;
    for (int64_t c = 0; c < OSP_PIXEL_CHANNELS; c++)
        for (int64_t t = 0; t < taps; t++)
            sum += (double)osp_half_to_float(weights[(o * OSP_PIXEL_CHANNELS + c) * taps + t]) *
                   (double)attrs->scale.v[c] * (double)attrs->mean.v[c];
    return sum;
}

static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const pixel_conv *s = state;
    const osp_pixel_args *a = &s->args;
    uint16_t *to = packed;
    for (int64_t group = 0; group * OSP_PIXEL_OC < a->conv.oc; group++)
        for (int64_t step = 0; step < s->kernel->steps; step++)
            for (int64_t i = 0; i < OSP_PIXEL_OC * K_STEP; i++) {
                // Element i: half of the channels, lane, word, half of the word. The columns of a lane
                // are four neighbouring channels, so that it stores them at once.
                const int64_t half = i / 128, lane = i / 4 % 32, word = i / 2 % 2;
                const int64_t column = lane / 4,
                              k = step * K_STEP + word * 8 + lane % 4 * 2 + i % 2;
                const int64_t o = group * OSP_PIXEL_OC + column / 2 * 4 + half * 2 + column % 2;
                *to++ = osp_float_to_half(weight_at(a, p->attrs, src[1], o, k));
            }
    float *bias = (float *)(void *)((char *)packed + s->bias_at);  // cleared by the caller
    osp_conv_pack_bias(p, src, bias, a->conv.oc);
    for (int64_t o = 0; o < a->conv.oc; o++)
        bias[o] = (float)((double)bias[o] - mean_sum(a, p->attrs, src[1], o));
    return OSP_OK;
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    const pixel_conv *s = state;
    osp_pixel_args args = s->args;
    args.conv.src = l->src[0];
    args.conv.weights = l->packed;
    args.conv.bias = (const float *)(const void *)((const char *)l->packed + s->bias_at);
    args.conv.dst = l->dst[0];
    const bool even = args.conv.sw % 2 == 0;
    return osp_cuda_launch(l, even ? &s->kernel->even : &s->kernel->odd, &s->shape, &args,
                           sizeof args, err);
}

const osp_tactic osp_cuda_pixel_conv = {.name = "pixels",
                                        .pack_version = 1,
                                        .refuse = refuse,
                                        .prepare = prepare,
                                        .pack = pack,
                                        .launch = launch,
                                        .release = osp_cuda_release};
