// Convolution by register tiles straight from the source: 2-D, one group, FP32, channels last (the
// source may be planes where it has few channels, as images do).
#include "backends/conv_problem.h"
#include "backends/cpu/direct.h"

static const char *refuse(const osp_problem *p, osp_isa isa)
{
    osp_conv_problem c;
    if (isa > osp_cpu_isa())
        return "the processor lacks the instructions";
    const char *why = osp_conv_problem_of(p, &c);
    if (why)
        return why;
    if (!osp_operand_is(c.src, OSP_DTYPE_FLOAT32) || !osp_operand_is(c.weights, OSP_DTYPE_FLOAT32))
        return "not FP32";
    if (c.attrs->group != 1)
        return "grouped";
    if (c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    const bool planar = c.src->layout == OSP_LAYOUT_PLAIN;
    if (planar && !osp_operand_dense(c.src))
        return "a slice of planes";
    const int64_t taps = c.attrs->window[0].size * c.attrs->window[1].size;
    if (taps * (planar ? c.src->shape.dims[1] : 1) > OSP_DIRECT_MAX_TAPS)
        return "the window has too many taps for the direct kernel";
    return NULL;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, osp_isa isa, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    osp_direct *d = osp_mem_calloc(&ctx->mem, 1, sizeof *d);
    if (!d)
        OSP_FAIL_MEMORY(err);
    const osp_window *h = c.attrs->window, *w = c.attrs->window + 1;
    *d = (osp_direct){.n = c.src->shape.dims[0],
                      .ih = c.src->shape.dims[2],
                      .iw = c.src->shape.dims[3],
                      .ic = c.src->shape.dims[1],
                      .oh = c.dst->shape.dims[2],
                      .ow = c.dst->shape.dims[3],
                      .oc = c.dst->shape.dims[1],
                      .kh = h->size,
                      .kw = w->size,
                      .sh = h->stride,
                      .sw = w->stride,
                      .ph = h->pad_begin,
                      .pw = w->pad_begin,
                      .dh = h->dilation,
                      .dw = w->dilation,
                      .src_pitch = c.src->pitch,
                      .dst_pitch = c.dst->pitch,
                      .add_pitch = c.add ? c.add->pitch : 0,
                      .planar = c.src->layout == OSP_LAYOUT_PLAIN,
                      .act = c.act,
                      .alpha = c.alpha,
                      .beta = c.beta,
                      .add_first = c.add_first};
    const osp_status status = osp_direct_settle(d, ctx, osp_cpu_simd_of(isa), err);
    if (status) {
        osp_mem_free(&ctx->mem, d);
        return status;
    }
    *state = d;
    sizes->packed_bytes = osp_direct_packed_bytes(d);
    return OSP_OK;
}

static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const osp_direct *d = state;
    const int64_t steps[2] = {d->ic * d->kh * d->kw, d->kh * d->kw};
    const float *bias = p->src_count > 2 ? src[2] : NULL;
    osp_direct_pack(d, src[1], steps, bias, packed, 0, d->blocks);
    return OSP_OK;
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const float *add = p->src_count > 3 ? l->src[3] : NULL;
    osp_direct_run(state, l->src[0], l->packed, add, l->dst[0], l->threads);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_direct *d = state;
    osp_mem_free(&ctx->mem, (void *)(uintptr_t)d->zeros);
    osp_mem_free(&ctx->mem, d);
}

#define DIRECT(SUFFIX, ISA)                                                                        \
    static const char *refuse_##SUFFIX(const osp_problem *p)                                       \
    {                                                                                              \
        return refuse(p, ISA);                                                                     \
    }                                                                                              \
    static osp_status prepare_##SUFFIX(const osp_problem *p, osp_context *ctx, int32_t threads,    \
                                       void **state, osp_tactic_sizes *sizes, osp_error *err)      \
    {                                                                                              \
        (void)threads;                                                                             \
        return prepare(p, ctx, ISA, state, sizes, err);                                            \
    }                                                                                              \
    const osp_tactic osp_cpu_conv_direct_##SUFFIX = {.name = "direct_f32_" #SUFFIX,                \
                                                     .pack_version = 1,                            \
                                                     .refuse = refuse_##SUFFIX,                    \
                                                     .prepare = prepare_##SUFFIX,                  \
                                                     .pack = pack,                                 \
                                                     .launch = launch,                             \
                                                     .release = release}
DIRECT(avx512, OSP_ISA_AVX512);
DIRECT(avx2, OSP_ISA_AVX2);
DIRECT(sse2, OSP_ISA_SSE2);
