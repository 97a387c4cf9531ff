// Convolutions on the GPU by matrix instructions, channels last in FP16: one tactic for each tile shape.
#include <string.h>

#include "backends/cuda/conv_shared.h"

// SPLIT_BLOCKS: where tiles of split sums are worth measuring: some six rounds on 132 SMs.
enum { PACK_VERSION = 1, CHUNK = OSP_CONV_CHUNK, SPLIT_BLOCKS = 800 };

// ---- Matrix instructions: weights [rows][k_chunks of 8], K in the order tap, channel ---------------

static osp_status pack_rows(const osp_problem *p, void *state, const void *const *src, void *packed,
                            osp_error *err)
{
    (void)err;
    const osp_conv *s = state;
    const osp_conv_args *a = &s->args;
    const int64_t taps = (int64_t)a->kh * a->kw;
    const uint16_t *weights = src[1];
    uint16_t *to = packed;  // cleared by the caller
    for (int64_t o = 0; o < a->oc; o++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t c = 0; c < a->ic; c++)
                to[(o * s->args.k_chunks * CHUNK) + t * a->ic + c] =
                    weights[(o * a->ic + c) * taps + t];
    osp_conv_pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
    int32_t *table = (int32_t *)(void *)((char *)packed + s->taps_at);
    int64_t k = 0;
    for (int64_t t = 0; t < taps; t++)
        for (int64_t c = 0; c < a->ic; c += CHUNK, k++) {
            table[k * 2] = (int32_t)((t / a->kw * a->iw + t % a->kw) * a->src_pitch + c);
            table[k * 2 + 1] = (int32_t)t;
        }
    for (; k < a->k_chunks; k++)
        table[k * 2 + 1] = OSP_CONV_NO_TAP;
    return OSP_OK;
}

static void size_rows(osp_conv *s, int64_t rows, osp_tactic_sizes *sizes)
{
    s->rows = rows;
    s->bias_at = osp_conv_aligned((size_t)(rows * s->args.k_chunks * CHUNK) * sizeof(uint16_t));
    s->taps_at = s->bias_at + osp_conv_aligned((size_t)rows * sizeof(float));
    sizes->packed_bytes = s->taps_at +
                          osp_conv_aligned((size_t)s->args.k_chunks * 2 * sizeof(int32_t));
}

// Stages, the table of taps, and the bias.
static int64_t mma_shared_bytes(const osp_conv_mma *k, int64_t chunks)
{
    return (int64_t)k->stages * (k->bm + k->bn) * k->bk * 2 + chunks * 8 + k->bn * 4;
}

static const char *refuse_mma(const osp_problem *p, const osp_conv_mma *k)
{
    osp_conv_problem c;
    const char *why = osp_conv_refuse_channels_last(p, &c);
    if (why)
        return why;
    const int64_t taps = c.attrs->window[0].size * c.attrs->window[1].size;
    if (c.attrs->group != 1)
        return "grouped";
    if (taps > OSP_CONV_MAX_TAPS)
        return "the window has too many taps";
    if (k->bn > CHUNK * 2 && k->bn >= 2 * c.dst->shape.dims[1])
        return "a tile for more channels";
    const osp_shape *dst = &c.dst->shape;
    const int64_t pixels = dst->dims[0] * dst->dims[2] * dst->dims[3];
    if (k->kw > 1 && (pixels / k->bm + 1) * (dst->dims[1] / k->bn + 1) > SPLIT_BLOCKS)
        return "enough blocks without a split of the sums";
    const int64_t chunks = osp_conv_up(taps * c.src->shape.dims[1] / CHUNK, k->bk / CHUNK);
    return mma_shared_bytes(k, chunks) > OSP_CUDA_SHARED_BYTES ? "more taps than shared memory "
                                                                 "holds"
                                                               : NULL;
}

static osp_status prepare_mma(const osp_problem *p, osp_context *ctx, const osp_conv_mma *k,
                              void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv *s;
    osp_conv_problem c;
    OSP_TRY(osp_conv_make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    a->k_chunks = (int32_t)osp_conv_up((int64_t)a->kh * a->kw * a->ic / CHUNK, k->bk / CHUNK);
    size_rows(s, osp_conv_up(a->oc, k->bn), sizes);
    s->kernel = &k->kernel;
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(s->rows / k->bn), (uint32_t)((a->pixels + k->bm - 1) / k->bm)},
        .block = {(uint32_t)k->threads},
        .shared_bytes = (uint32_t)mma_shared_bytes(k, a->k_chunks)};
    *state = s;
    return OSP_OK;
}

static const char *refuse_wgmma(const osp_problem *p, const osp_conv_wgmma *k)
{
    osp_conv_problem c;
    const char *why = osp_conv_refuse_warpgroups(p, &k->kernel, k->bn, &c);
    if (why)
        return why;
    const int64_t taps = c.attrs->window[0].size * c.attrs->window[1].size;
    if (taps > OSP_CONV_MAX_TAPS)
        return "the window has too many taps";
    return taps * c.src->shape.dims[1] < OSP_CONV_WGMMA_BK / 2 ? "less than half a tile of depth"
                                                               : NULL;
}

// Of a block: no more stages than there are tiles of depth, since blocks that wait for memory gain from
// others beside them; but room for the result, which leaves by way of it.
static uint32_t wgmma_shared_bytes(const osp_conv_wgmma *k, int64_t tiles)
{
    const int64_t stages = tiles < k->stages ? tiles : k->stages;
    const int64_t ring = stages * (k->bm + k->bn) * OSP_CONV_WGMMA_BK * 2;
    const int64_t result = (int64_t)k->bm * (k->bn + CHUNK) * 2;
    return (uint32_t)(ring > result ? ring : result);
}

static osp_status prepare_wgmma(const osp_problem *p, osp_context *ctx, const osp_conv_wgmma *k,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv *s;
    osp_conv_problem c;
    OSP_TRY(osp_conv_make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    a->k_chunks = (int32_t)osp_conv_up((int64_t)a->kh * a->kw * a->ic / CHUNK,
                                       OSP_CONV_WGMMA_BK / CHUNK);
    size_rows(s, osp_conv_up(a->oc, k->bn), sizes);
    s->kernel = &k->kernel;
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(s->rows / k->bn * (osp_conv_up(a->pixels, k->bm) / k->bm))},
        .block = {(uint32_t)k->threads},
        .shared_bytes = wgmma_shared_bytes(k, a->k_chunks / (OSP_CONV_WGMMA_BK / CHUNK))};
    *state = s;
    return OSP_OK;
}

static const char *refuse_direct(const osp_problem *p, const osp_conv_direct *k)
{
    osp_conv_problem c;
    const char *why = osp_conv_refuse_channels_last(p, &c);
    if (why)
        return why;
    const osp_window *h = c.attrs->window, *w = c.attrs->window + 1;
    if (c.attrs->group != 1 || h->size != 3 || w->size != 3)
        return "not 3x3 of one group";
    if (h->stride != k->stride || w->stride != k->stride)
        return "another stride";
    if (c.src->shape.dims[1] != k->ic)
        return "another number of channels in";
    if (k->bn > CHUNK * 2 && k->bn >= 2 * c.dst->shape.dims[1])
        return "a tile for more channels";
    return k->shared_bytes > OSP_CUDA_SHARED_BYTES ? "more than shared memory holds" : NULL;
}

static osp_status prepare_direct(const osp_problem *p, osp_context *ctx, const osp_conv_direct *k,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv *s;
    osp_conv_problem c;
    OSP_TRY(osp_conv_make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    a->k_chunks = (int32_t)osp_conv_up(9 * (int64_t)a->ic / CHUNK, 2);
    size_rows(s, osp_conv_up(a->oc, k->bn), sizes);
    s->kernel = &k->kernel;
    s->tiles = osp_conv_up(a->oh, k->th) / k->th * (osp_conv_up(a->ow, k->tw) / k->tw) * a->n;
    s->shape = (osp_gpu_shape){.grid = {0, (uint32_t)(s->rows / k->bn)},
                               .block = {(uint32_t)k->threads},
                               .shared_bytes = (uint32_t)k->shared_bytes};
    *state = s;
    return OSP_OK;
}

#define TACTIC(NAME, CONFIG, ...)                                                                  \
    {                                                                                              \
        .name = NAME, .pack_version = PACK_VERSION, .refuse = refuse_##CONFIG,                     \
        .prepare = prepare_##CONFIG, .pack = pack_rows, .launch = osp_conv_launch,                 \
        .release = osp_cuda_release, __VA_ARGS__                                                   \
    }

#define X(...) OSP_CONV_WRAP(mma, OSP_CONV_MMA_NAME(__VA_ARGS__))
OSP_CONV_MMA_ROWS(X)
#undef X
#define X(...) OSP_CONV_WRAP(direct, OSP_CONV_DIRECT_NAME(__VA_ARGS__))
OSP_CONV_DIRECT_ROWS(X)
#undef X
#define X(...) OSP_CONV_WRAP(wgmma, OSP_CONV_WGMMA_NAME(__VA_ARGS__))
OSP_CONV_WGMMA_ROWS(X)
#undef X

#define TACTIC_(NAME, CONFIG, ...) TACTIC(NAME, CONFIG, __VA_ARGS__)
const osp_tactic osp_cuda_conv_mma[] = {
#define X(BM, BN, BK, WM, WN, S, KW)                                                               \
    TACTIC_("mma " #BM "x" #BN "x" #BK " s" #S " k" #KW,                                           \
            OSP_CONV_MMA_NAME(BM, BN, BK, WM, WN, S, KW)),
    OSP_CONV_MMA_ROWS(X)
#undef X
};
const osp_tactic osp_cuda_conv_direct[] = {
#define X(IC, BN, TH, TW, S, WM, WN)                                                               \
    TACTIC_("direct " #IC "x" #BN " " #TH "x" #TW " s" #S,                                         \
            OSP_CONV_DIRECT_NAME(IC, BN, TH, TW, S, WM, WN)),
    OSP_CONV_DIRECT_ROWS(X)
#undef X
};
const osp_tactic osp_cuda_conv_wgmma[] = {
#define X(BM, BN, S, BLOCKS)                                                                       \
    TACTIC_("wgmma " #BM "x" #BN " s" #S, OSP_CONV_WGMMA_NAME(BM, BN, S, BLOCKS),                  \
            .refuse_device = osp_conv_refuse_device_wgmma),
    OSP_CONV_WGMMA_ROWS(X)
#undef X
};
