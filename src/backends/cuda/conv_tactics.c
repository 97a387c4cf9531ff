// Convolutions on the GPU, channels last in FP16: the tactics of the tuned kernels, one for each tile
// shape. A packed block holds weights, bias and the table of taps, as the kernel's family wants them.
#include <string.h>

#include "backends/conv_problem.h"
#include "backends/cuda/conv_kernels.h"
#include "backends/cuda/cuda.h"
#include "base/half.h"

// SPLIT_BLOCKS: where tiles of split sums are worth measuring: some six rounds on 132 SMs.
enum { PACK_VERSION = 1, PACKED_ALIGN = 256, CHUNK = 8, SPLIT_BLOCKS = 800 };

typedef struct conv {
    osp_conv_args args;
    const osp_gpu_kernel *kernel;
    osp_gpu_shape shape;
    int64_t rows;             // channels out, padded
    size_t bias_at, taps_at;  // bytes into the packed block
    int64_t tiles;            // of pixels, for persistent blocks; 0: the grid is as it stands
} conv;

static size_t aligned(size_t bytes)
{
    return (bytes + PACKED_ALIGN - 1) & ~(size_t)(PACKED_ALIGN - 1);
}

static int64_t up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

// ---- What all of them refuse --------------------------------------------------------------------

static const char *refuse_numbers(const osp_conv_problem *c)
{
    if (c->dst->dtype != OSP_DTYPE_FLOAT16 || c->weights->dtype != OSP_DTYPE_FLOAT16)
        return "not FP16";
    if (c->dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    if (c->dst->shape.dims[1] % CHUNK || c->dst->pitch % CHUNK || (c->add && c->add->pitch % CHUNK))
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

static const char *refuse_common(const osp_problem *p, osp_conv_problem *c)
{
    const char *why = osp_conv_problem_of(p, c);
    return why ? why : refuse_numbers(c);
}

static const char *refuse_channels_last(const osp_problem *p, osp_conv_problem *c)
{
    const char *why = refuse_common(p, c);
    if (why)
        return why;
    if (c->src->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the source is not channels last";
    if (c->src->shape.dims[1] < CHUNK || c->src->shape.dims[1] % CHUNK || c->src->pitch % CHUNK)
        return "channels in are not whole 16-byte chunks";
    return NULL;
}

static osp_status make(const osp_problem *p, osp_context *ctx, conv **out, osp_conv_problem *c,
                       osp_error *err)
{
    osp_conv_problem_of(p, c);
    conv *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    const osp_window *h = c->attrs->window, *w = c->attrs->window + 1;
    const osp_shape *src = &c->src->shape, *dst = &c->dst->shape;
    s->args = (osp_conv_args){
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
    *out = s;
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

// Persistent blocks: as many as run at once, with equally many tiles each, about.
static uint32_t persistent_blocks(const conv *s, const osp_gpu *gpu)
{
    const int64_t sms = osp_gpu_info(gpu)->multiprocessors;
    const int64_t each = osp_i64_max(1, OSP_CUDA_SHARED_BYTES / s->shape.shared_bytes);
    const int64_t most = osp_i64_max(1, sms * each / s->shape.grid[1]);
    const int64_t rounds = (s->tiles + most - 1) / most;
    return (uint32_t)((s->tiles + rounds - 1) / rounds);
}

static osp_status launch_kernel(const osp_problem *p, const conv *s, const osp_gpu_kernel *kernel,
                                const osp_launch *l, osp_error *err)
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

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    const conv *s = state;
    return launch_kernel(p, s, s->kernel, l, err);
}

static void pack_bias(const osp_problem *p, const void *const *src, float *out, int64_t oc)
{
    const bool half = p->src_count > 2 && src[2] && p->src[2].dtype == OSP_DTYPE_FLOAT16;
    for (int64_t o = 0; p->src_count > 2 && src[2] && o < oc; o++)
        out[o] = half ? osp_half_to_float(((const uint16_t *)src[2])[o])
                      : ((const float *)src[2])[o];
}

// ---- Matrix instructions: weights [rows][k_chunks of 8], K in the order tap, channel ---------------

static osp_status pack_rows(const osp_problem *p, void *state, const void *const *src, void *packed,
                            osp_error *err)
{
    (void)err;
    const conv *s = state;
    const osp_conv_args *a = &s->args;
    const int64_t taps = (int64_t)a->kh * a->kw;
    const uint16_t *weights = src[1];
    uint16_t *to = packed;  // cleared by the caller
    for (int64_t o = 0; o < a->oc; o++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t c = 0; c < a->ic; c++)
                to[(o * s->args.k_chunks * CHUNK) + t * a->ic + c] =
                    weights[(o * a->ic + c) * taps + t];
    pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
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

static void size_rows(conv *s, int64_t rows, osp_tactic_sizes *sizes)
{
    s->rows = rows;
    s->bias_at = aligned((size_t)(rows * s->args.k_chunks * CHUNK) * sizeof(uint16_t));
    s->taps_at = s->bias_at + aligned((size_t)rows * sizeof(float));
    sizes->packed_bytes = s->taps_at + aligned((size_t)s->args.k_chunks * 2 * sizeof(int32_t));
}

// Stages, the table of taps, and the bias.
static int64_t mma_shared_bytes(const osp_conv_mma *k, int64_t chunks)
{
    return (int64_t)k->stages * (k->bm + k->bn) * k->bk * 2 + chunks * 8 + k->bn * 4;
}

static const char *refuse_mma(const osp_problem *p, const osp_conv_mma *k)
{
    osp_conv_problem c;
    const char *why = refuse_channels_last(p, &c);
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
    const int64_t chunks = up(taps * c.src->shape.dims[1] / CHUNK, k->bk / CHUNK);
    return mma_shared_bytes(k, chunks) > OSP_CUDA_SHARED_BYTES ? "more taps than shared memory "
                                                                 "holds"
                                                               : NULL;
}

static osp_status prepare_mma(const osp_problem *p, osp_context *ctx, const osp_conv_mma *k,
                              void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    conv *s;
    osp_conv_problem c;
    OSP_TRY(make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    a->k_chunks = (int32_t)up((int64_t)a->kh * a->kw * a->ic / CHUNK, k->bk / CHUNK);
    size_rows(s, up(a->oc, k->bn), sizes);
    s->kernel = &k->kernel;
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(s->rows / k->bn), (uint32_t)((a->pixels + k->bm - 1) / k->bm)},
        .block = {(uint32_t)k->threads},
        .shared_bytes = (uint32_t)mma_shared_bytes(k, a->k_chunks)};
    *state = s;
    return OSP_OK;
}

// What both families of wgmma refuse.
static const char *refuse_warpgroups(const osp_problem *p, const osp_gpu_kernel *kernel, int64_t bn,
                                     osp_conv_problem *c)
{
    const char *why = refuse_channels_last(p, c);
    if (why)
        return why;
    if (!kernel->function)
        return "this build has no code for sm_90a";
    if (c->attrs->group != 1)
        return "grouped";
    return bn >= 2 * c->dst->shape.dims[1] ? "a tile for more channels" : NULL;
}

static const char *refuse_wgmma(const osp_problem *p, const osp_conv_wgmma *k)
{
    osp_conv_problem c;
    const char *why = refuse_warpgroups(p, &k->kernel, k->bn, &c);
    if (why)
        return why;
    const int64_t taps = c.attrs->window[0].size * c.attrs->window[1].size;
    if (taps > OSP_CONV_MAX_TAPS)
        return "the window has too many taps";
    return taps * c.src->shape.dims[1] < OSP_CONV_WGMMA_BK / 2 ? "less than half a tile of depth"
                                                               : NULL;
}

static const char *refuse_halo(const osp_problem *p, const osp_conv_halo *k)
{
    osp_conv_problem c;
    const char *why = refuse_warpgroups(p, &k->kernel, k->bn, &c);
    if (why)
        return why;
    const osp_window *h = c.attrs->window, *w = c.attrs->window + 1;
    if (h->size != 3 || w->size != 3 || h->stride != 1 || w->stride != 1)
        return "not 3x3 of stride 1";
    return c.src->shape.dims[1] < OSP_CONV_WGMMA_BK / 2 ? "less than half a tile of channels"
                                                        : NULL;
}

// Only Hopper has these instructions; code for sm_90a runs on nothing else.
static const char *refuse_device_wgmma(const osp_device_info *device)
{
    return device->cc_major == 9 && device->cc_minor == 0 ? NULL : "not of compute capability 9.0";
}

static osp_status prepare_warpgroups(const osp_problem *p, osp_context *ctx,
                                     const osp_gpu_kernel *kernel, int64_t bn, conv **out,
                                     osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv_problem c;
    OSP_TRY(make(p, ctx, out, &c, err));
    osp_conv_args *a = &(*out)->args;
    a->k_chunks = (int32_t)up((int64_t)a->kh * a->kw * a->ic / CHUNK, OSP_CONV_WGMMA_BK / CHUNK);
    size_rows(*out, up(a->oc, bn), sizes);
    (*out)->kernel = kernel;
    return OSP_OK;
}

static osp_status prepare_wgmma(const osp_problem *p, osp_context *ctx, const osp_conv_wgmma *k,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    conv *s;
    OSP_TRY(prepare_warpgroups(p, ctx, &k->kernel, k->bn, &s, sizes, err));
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(s->rows / k->bn * (up(s->args.pixels, k->bm) / k->bm))},
        .block = {(uint32_t)k->threads},
        .shared_bytes = (uint32_t)(k->stages * (k->bm + k->bn) * OSP_CONV_WGMMA_BK * 2)};
    *state = s;
    return OSP_OK;
}

static osp_status prepare_halo(const osp_problem *p, osp_context *ctx, const osp_conv_halo *k,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    conv *s;
    OSP_TRY(prepare_warpgroups(p, ctx, &k->kernel, k->bn, &s, sizes, err));
    const osp_conv_args *a = &s->args;
    const int64_t tiles = up(a->oh, k->th) / k->th *
                          (up(a->ow, OSP_CONV_HALO_TW) / OSP_CONV_HALO_TW);
    s->shape = (osp_gpu_shape){.grid = {(uint32_t)(s->rows / k->bn * tiles * a->n)},
                               .block = {(uint32_t)k->threads},
                               .shared_bytes = (uint32_t)k->shared_bytes};
    *state = s;
    return OSP_OK;
}

static const char *refuse_direct(const osp_problem *p, const osp_conv_direct *k)
{
    osp_conv_problem c;
    const char *why = refuse_channels_last(p, &c);
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
    conv *s;
    osp_conv_problem c;
    OSP_TRY(make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    a->k_chunks = (int32_t)up(9 * (int64_t)a->ic / CHUNK, 2);
    size_rows(s, up(a->oc, k->bn), sizes);
    s->kernel = &k->kernel;
    s->tiles = up(a->oh, k->th) / k->th * (up(a->ow, k->tw) / k->tw) * a->n;
    s->shape = (osp_gpu_shape){.grid = {0, (uint32_t)(s->rows / k->bn)},
                               .block = {(uint32_t)k->threads},
                               .shared_bytes = (uint32_t)k->shared_bytes};
    *state = s;
    return OSP_OK;
}

#define WRAP(KIND, CONFIG)                                                                         \
    static const char *refuse_##CONFIG(const osp_problem *p)                                       \
    {                                                                                              \
        return refuse_##KIND(p, &CONFIG);                                                          \
    }                                                                                              \
    static osp_status prepare_##CONFIG(const osp_problem *p, osp_context *ctx, int32_t threads,    \
                                       void **state, osp_tactic_sizes *sizes, osp_error *err)      \
    {                                                                                              \
        (void)threads;                                                                             \
        return prepare_##KIND(p, ctx, &CONFIG, state, sizes, err);                                 \
    }
#define TACTIC(NAME, CONFIG, ...)                                                                  \
    {                                                                                              \
        .name = NAME, .pack_version = PACK_VERSION, .refuse = refuse_##CONFIG,                     \
        .prepare = prepare_##CONFIG, .pack = pack_rows, .launch = launch, .release = release,      \
        __VA_ARGS__                                                                                \
    }

// Two steps, so that CONFIG is the name and no longer the macro.
#define WRAP_MMA_(CONFIG) WRAP(mma, CONFIG)
#define WRAP_DIRECT_(CONFIG) WRAP(direct, CONFIG)
#define WRAP_WGMMA_(CONFIG) WRAP(wgmma, CONFIG)
#define WRAP_HALO_(CONFIG) WRAP(halo, CONFIG)
#define WRAP_MMA(CONFIG) WRAP_MMA_(CONFIG)
#define WRAP_DIRECT(CONFIG) WRAP_DIRECT_(CONFIG)
#define WRAP_WGMMA(CONFIG) WRAP_WGMMA_(CONFIG)
#define WRAP_HALO(CONFIG) WRAP_HALO_(CONFIG)
#define X(...) WRAP_MMA(OSP_CONV_MMA_NAME(__VA_ARGS__))
OSP_CONV_MMA_ROWS(X)
#undef X
#define X(...) WRAP_DIRECT(OSP_CONV_DIRECT_NAME(__VA_ARGS__))
OSP_CONV_DIRECT_ROWS(X)
#undef X
#define X(...) WRAP_WGMMA(OSP_CONV_WGMMA_NAME(__VA_ARGS__))
OSP_CONV_WGMMA_ROWS(X)
#undef X
#define X(...) WRAP_HALO(OSP_CONV_HALO_NAME(__VA_ARGS__))
OSP_CONV_HALO_ROWS(X)
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
            .refuse_device = refuse_device_wgmma),
    OSP_CONV_WGMMA_ROWS(X)
#undef X
};
const osp_tactic osp_cuda_conv_halo[] = {
#define X(TH, BN, S, BLOCKS)                                                                       \
    TACTIC_("wgmma halo " #TH "x8x" #BN " s" #S, OSP_CONV_HALO_NAME(TH, BN, S, BLOCKS),            \
            .refuse_device = refuse_device_wgmma),
    OSP_CONV_HALO_ROWS(X)
#undef X
};

// ---- Bound by memory ----------------------------------------------------------------------------

// The stem: pairs of neighbours in the rows of a window, 8 a step, of which a lane has two.

enum { STEM_PACK_VERSION = 2, STEM_PAIRS = 8, STEM_LANES = 32 };

// Columns of a row of the window, with the ones before it and behind that make pairs whole. A row
// that is read in wide loads begins at an even column of the source, for every pixel.
typedef struct stem_row {
    bool wide;
    int64_t before, pairs;
} stem_row;

static stem_row stem_row_of(const osp_conv_problem *c)
{
    const osp_window *w = c->attrs->window + 1;
    stem_row r = {.wide = w->stride == 2 && c->src->shape.dims[3] % 2 == 0};
    r.before = r.wide ? w->pad_begin % 2 : 0;
    r.pairs = (r.before + w->size + 1) / 2;
    return r;
}

static const char *refuse_stem(const osp_problem *p)
{
    osp_conv_problem c;
    const char *why = osp_conv_problem_rounding(p, &c);
    if (!why)
        why = refuse_numbers(&c);
    if (why)
        return why;
    if (c.src->layout != OSP_LAYOUT_PLAIN || !osp_operand_dense(c.src))
        return "the source is not dense planes";
    if (c.src->dtype != OSP_DTYPE_FLOAT16 && c.src->dtype != OSP_DTYPE_FLOAT32)
        return "the source is neither FP32 nor FP16";
    if (c.attrs->group != 1)
        return "grouped";
    const osp_window *h = c.attrs->window, *w = c.attrs->window + 1;
    if (c.src->shape.dims[1] * h->size * w->size > 256)
        return "too many channels for the stem";
    // Positions of pixels that a warp has beyond the last one of a row are formed, too.
    const int64_t beyond = OSP_STEM_SUMS * 16, most = INT32_MAX / 2;
    if ((c.dst->shape.dims[3] + beyond) * w->stride + w->pad_begin + w->size > most ||
        (c.dst->shape.dims[2] + beyond) * h->stride + h->pad_begin + h->size > most)
        return "the window's steps are too large";
    const bool fits = c.dst->shape.dims[0] <= 65535 &&
                      c.dst->shape.dims[2] <= 65535 * OSP_STEM_ROWS;
    return fits ? NULL : "too many images or rows";
}

static osp_status prepare_stem(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    conv *s;
    osp_conv_problem c;
    OSP_TRY(make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    const stem_row row = stem_row_of(&c);
    const bool many = a->oc > 16;
    a->pw += (int32_t)row.before;
    a->k_chunks = (int32_t)(up(a->ic * a->kh * row.pairs, STEM_PAIRS) / STEM_PAIRS);
    s->rows = up(a->oc, many ? 32 : 16);
    s->bias_at = aligned((size_t)(s->rows * a->k_chunks * STEM_PAIRS) * 2 * sizeof(uint16_t));
    s->taps_at = s->bias_at + aligned((size_t)s->rows * sizeof(float));
    sizes->packed_bytes = s->taps_at +
                          aligned((size_t)(a->k_chunks * STEM_PAIRS) * sizeof(osp_stem_pair));
    s->kernel = osp_kernel_conv_stem + (c.src->dtype == OSP_DTYPE_FLOAT32 ? 4 : 0) +
                (row.wide ? 2 : 0) + many;
    const int64_t pixels = OSP_STEM_SUMS / (many ? 4 : 2) * 16;
    s->shape = (osp_gpu_shape){.grid = {(uint32_t)(up(a->ow, pixels) / pixels),
                                        (uint32_t)(up(a->oh, OSP_STEM_ROWS) / OSP_STEM_ROWS),
                                        (uint32_t)a->n},
                               .block = {32 * OSP_STEM_ROWS}};
    *state = s;
    return OSP_OK;
}

static osp_status launch_stem(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    const conv *s = state;
    const bool wide = (s->kernel - osp_kernel_conv_stem) / 2 % 2 != 0;
    const bool aligned_too = osp_cuda_aligned(l->src[0], 2 * osp_dtype_bytes(p->src->dtype));
    return launch_kernel(p, s, wide && !aligned_too ? s->kernel - 2 : s->kernel, l, err);
}

// A weight of the pair's half, or zero where the pair has none.
static uint16_t stem_weight(const osp_conv_args *a, const uint16_t *weights, int64_t channel,
                            const osp_stem_pair *pair, int64_t half, int64_t before)
{
    if (channel >= a->oc || !(pair->mask >> (16 * half) & 1))
        return 0;
    return weights[((channel * a->ic + pair->channel) * a->kh + pair->y) * a->kw + pair->x + half -
                   before];
}

static osp_status pack_stem(const osp_problem *p, void *state, const void *const *src, void *packed,
                            osp_error *err)
{
    (void)err;
    const conv *s = state;
    const osp_conv_args *a = &s->args;
    osp_conv_problem c;
    osp_conv_problem_rounding(p, &c);
    const stem_row row = stem_row_of(&c);
    osp_stem_pair *pairs = (osp_stem_pair *)(void *)((char *)packed + s->taps_at);
    const int64_t count = a->ic * a->kh * row.pairs, all = (int64_t)a->k_chunks * STEM_PAIRS;
    for (int64_t i = 0; i < count; i++) {  // the others stay zero
        const int64_t x = i % row.pairs * 2, first = x - row.before;
        pairs[i] = (osp_stem_pair){.channel = (int32_t)(i / row.pairs / a->kh),
                                   .y = (int32_t)(i / row.pairs % a->kh),
                                   .x = (int32_t)x,
                                   .mask = (first >= 0 && first < a->kw ? 0xffffu : 0) |
                                           (first + 1 >= 0 && first + 1 < a->kw ? 0xffff0000u : 0)};
    }
    // Block j of 8 columns of a group: column n is channel n / 2 * 2 * blocks + 2 * j + n % 2.
    const int64_t blocks = a->oc > 16 ? 4 : 2;
    uint16_t *to = packed;
    for (int64_t group = 0; group < s->rows / (blocks * 8); group++)
        for (int64_t k = 0; k < all / STEM_PAIRS; k++)
            for (int64_t i = 0; i < blocks * STEM_LANES * 4; i++) {
                const int64_t j = i / 4 / STEM_LANES, lane = i / 4 % STEM_LANES, n = lane / 4;
                const int64_t channel = group * blocks * 8 + n / 2 * 2 * blocks + 2 * j + n % 2;
                const osp_stem_pair *pair = pairs + k * STEM_PAIRS + i % 4 / 2 * 4 + lane % 4;
                *to++ = stem_weight(a, src[1], channel, pair, i % 2, row.before);
            }
    pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
    return OSP_OK;
}

static const char *refuse_depthwise(const osp_problem *p)
{
    osp_conv_problem c;
    const char *why = refuse_channels_last(p, &c);
    if (why)
        return why;
    return c.attrs->group != c.src->shape.dims[1] || c.dst->shape.dims[1] != c.src->shape.dims[1]
               ? "not depthwise"
               : NULL;
}

static osp_status prepare_depthwise(const osp_problem *p, osp_context *ctx, int32_t threads,
                                    void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    conv *s;
    osp_conv_problem c;
    OSP_TRY(make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    s->bias_at = aligned((size_t)a->kh * (size_t)a->kw * (size_t)a->oc * sizeof(uint16_t));
    sizes->packed_bytes = s->bias_at + aligned((size_t)a->oc * sizeof(float));
    s->kernel = a->kh == 3 && a->kw == 3 ? &osp_kernel_conv_depthwise_3
                                         : &osp_kernel_conv_depthwise;
    const int64_t items = (int64_t)a->pixels * (a->oc / CHUNK);
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)((items + OSP_DEPTHWISE_THREADS - 1) / OSP_DEPTHWISE_THREADS)},
        .block = {OSP_DEPTHWISE_THREADS}};
    *state = s;
    return OSP_OK;
}

static osp_status pack_depthwise(const osp_problem *p, void *state, const void *const *src,
                                 void *packed, osp_error *err)
{
    (void)err;
    const conv *s = state;
    const osp_conv_args *a = &s->args;
    const int64_t taps = (int64_t)a->kh * a->kw;
    const uint16_t *weights = src[1];
    uint16_t *to = packed;
    for (int64_t o = 0; o < a->oc; o++)
        for (int64_t t = 0; t < taps; t++)
            to[t * a->oc + o] = weights[o * taps + t];
    pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
    return OSP_OK;
}

const osp_tactic osp_cuda_conv_stem = {.name = "stem",
                                       .pack_version = STEM_PACK_VERSION,
                                       .refuse = refuse_stem,
                                       .prepare = prepare_stem,
                                       .pack = pack_stem,
                                       .launch = launch_stem,
                                       .release = release};

const osp_tactic osp_cuda_conv_depthwise = {.name = "depthwise",
                                            .pack_version = PACK_VERSION,
                                            .refuse = refuse_depthwise,
                                            .prepare = prepare_depthwise,
                                            .pack = pack_depthwise,
                                            .launch = launch,
                                            .release = release};
