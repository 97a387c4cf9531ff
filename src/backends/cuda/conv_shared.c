// What the tactics of the tuned convolution kernels share: what none of them takes, their arguments,
// launching. Thread rule: as tactics.
#include "backends/cuda/conv_shared.h"

#include "base/half.h"

// ---- What all of them refuse --------------------------------------------------------------------

const char *osp_conv_refuse_numbers(const osp_conv_problem *c)
{
    if (c->dst->dtype != OSP_DTYPE_FLOAT16 || c->weights->dtype != OSP_DTYPE_FLOAT16)
        return "not FP16";
    if (c->dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    if (c->dst->shape.dims[1] % OSP_CONV_CHUNK || c->dst->pitch % OSP_CONV_CHUNK ||
        (c->add && c->add->pitch % OSP_CONV_CHUNK))
        return "channels out are not whole 16-byte chunks";
    if (c->attrs->window[0].dilation != 1 || c->attrs->window[1].dilation != 1)
        return "dilated";
    const osp_shape *src = &c->src->shape, *dst = &c->dst->shape;
    const int64_t pitch = c->src->layout == OSP_LAYOUT_PLAIN ? src->dims[1] : c->src->pitch;
    if (src->dims[0] * src->dims[2] * src->dims[3] * pitch > INT32_MAX ||
        dst->dims[0] * dst->dims[2] * dst->dims[3] > INT32_MAX / 2)
        return "too many elements for 32-bit offsets";
    if (dst->dims[0] * dst->dims[2] * dst->dims[3] == 0)
        return "empty";
    return NULL;
}

const char *osp_conv_refuse(const osp_problem *p, osp_conv_problem *c)
{
    const char *why = osp_conv_problem_of(p, c);
    return why ? why : osp_conv_refuse_numbers(c);
}

const char *osp_conv_refuse_channels_last(const osp_problem *p, osp_conv_problem *c)
{
    const char *why = osp_conv_refuse(p, c);
    if (why)
        return why;
    if (c->src->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the source is not channels last";
    if (c->src->shape.dims[1] < OSP_CONV_CHUNK || c->src->shape.dims[1] % OSP_CONV_CHUNK ||
        c->src->pitch % OSP_CONV_CHUNK)
        return "channels in are not whole 16-byte chunks";
    return NULL;
}

const char *osp_conv_refuse_warpgroups(const osp_problem *p, const osp_gpu_kernel *kernel,
                                       int64_t bn, osp_conv_problem *c)
{
    const char *why = osp_conv_refuse_channels_last(p, c);
    if (why)
        return why;
    if (!kernel->function)
        return "this build has no code for sm_90a";
    if (c->attrs->group != 1)
        return "grouped";
    return bn >= 2 * c->dst->shape.dims[1] ? "a tile for more channels" : NULL;
}

// Only Hopper has these instructions; code for sm_90a runs on nothing else.
const char *osp_conv_refuse_device_wgmma(const osp_device_info *device)
{
    return device->cc_major == 9 && device->cc_minor == 0 ? NULL : "not of compute capability 9.0";
}

void osp_conv_args_of(const osp_conv_problem *c, osp_conv_args *out)
{
    const osp_window *h = c->attrs->window, *w = c->attrs->window + 1;
    const osp_shape *src = &c->src->shape, *dst = &c->dst->shape;
    *out = (osp_conv_args){
        .n = (int32_t)src->dims[0],
        .ic = (int32_t)src->dims[1],
        .ih = (int32_t)src->dims[2],
        .iw = (int32_t)src->dims[3],
        .oh = (int32_t)dst->dims[2],
        .ow = (int32_t)dst->dims[3],
        .oc = (int32_t)dst->dims[1],
        .kh = (int32_t)h->size,
        .kw = (int32_t)w->size,
        .sh = (int32_t)h->stride,
        .sw = (int32_t)w->stride,
        .ph = (int32_t)h->pad_begin,
        .pw = (int32_t)w->pad_begin,
        .src_pitch = (int32_t)c->src->pitch,
        .dst_pitch = (int32_t)c->dst->pitch,
        .add_pitch = c->add ? (int32_t)c->add->pitch : 0,
        .pixels = (int32_t)(dst->dims[0] * dst->dims[2] * dst->dims[3]),
        .act = c->act,
        .alpha = c->alpha,
        .beta = c->beta,
        .add_first = c->add_first,
    };
}

osp_status osp_conv_make(const osp_problem *p, osp_context *ctx, osp_conv **out,
                         osp_conv_problem *c, osp_error *err)
{
    osp_conv_problem_of(p, c);
    osp_conv *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    osp_conv_args_of(c, &s->args);
    *out = s;
    return OSP_OK;
}

uint32_t osp_conv_even_blocks(int64_t tiles, int64_t most)
{
    const int64_t rounds = (tiles + most - 1) / most;
    return (uint32_t)((tiles + rounds - 1) / rounds);
}

// Persistent blocks: as many as run at once.
static uint32_t persistent_blocks(const osp_conv *s, const osp_gpu *gpu)
{
    const int64_t sms = osp_gpu_info(gpu)->multiprocessors;
    const int64_t each = osp_i64_max(1, OSP_CUDA_SHARED_BYTES / s->shape.shared_bytes);
    return osp_conv_even_blocks(s->tiles, osp_i64_max(1, sms * each / s->shape.grid[1]));
}

osp_status osp_conv_launch_kernel(const osp_problem *p, const osp_conv *s,
                                  const osp_gpu_kernel *kernel, const osp_launch *l, osp_error *err)
{
    osp_conv_args args = s->args;
    osp_gpu_shape shape = s->shape;
    if (s->tiles)
        shape.grid[0] = persistent_blocks(s, l->gpu);
    const char *packed = l->packed;
    args.src = l->src[0];
    args.weights = packed;
    args.bias = (const float *)(const void *)(packed + s->bias_at);
    args.taps = packed + s->taps_at;
    args.add = p->src_count > 3 ? l->src[3] : NULL;
    args.dst = l->dst[0];
    return osp_cuda_launch(l, kernel, &shape, &args, sizeof args, err);
}

osp_status osp_conv_launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    const osp_conv *s = state;
    return osp_conv_launch_kernel(p, s, s->kernel, l, err);
}

void osp_conv_pack_bias(const osp_problem *p, const void *const *src, float *out, int64_t oc)
{
    const bool half = p->src_count > 2 && src[2] && p->src[2].dtype == OSP_DTYPE_FLOAT16;
    for (int64_t o = 0; p->src_count > 2 && src[2] && o < oc; o++)
        out[o] = half ? osp_half_to_float(((const uint16_t *)src[2])[o])
                      : ((const float *)src[2])[o];
}
