// Convolutions on the GPU that memory bounds, in FP16: the stem, from the planes of an image, and
// depthwise ones.
#include "backends/cuda/conv_shared.h"

enum { PACK_VERSION = 1, CHUNK = OSP_CONV_CHUNK };

// ---- The stem: pairs of neighbours in the rows of a window, 8 a step, of which a lane has two -----

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
        why = osp_conv_refuse_numbers(&c);
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
    osp_conv *s;
    osp_conv_problem c;
    OSP_TRY(osp_conv_make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    const stem_row row = stem_row_of(&c);
    const bool many = a->oc > 16;
    a->pw += (int32_t)row.before;
    a->k_chunks = (int32_t)(osp_conv_up(a->ic * a->kh * row.pairs, STEM_PAIRS) / STEM_PAIRS);
    s->rows = osp_conv_up(a->oc, many ? 32 : 16);
    s->bias_at = osp_conv_aligned((size_t)(s->rows * a->k_chunks * STEM_PAIRS) * 2 *
                                  sizeof(uint16_t));
    s->taps_at = s->bias_at + osp_conv_aligned((size_t)s->rows * sizeof(float));
    sizes->packed_bytes = s->taps_at + osp_conv_aligned((size_t)(a->k_chunks * STEM_PAIRS) *
                                                        sizeof(osp_stem_pair));
    s->kernel = osp_kernel_conv_stem + (c.src->dtype == OSP_DTYPE_FLOAT32 ? 4 : 0) +
                (row.wide ? 2 : 0) + many;
    const int64_t pixels = OSP_STEM_SUMS / (many ? 4 : 2) * 16;
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)(osp_conv_up(a->ow, pixels) / pixels),
                 (uint32_t)(osp_conv_up(a->oh, OSP_STEM_ROWS) / OSP_STEM_ROWS), (uint32_t)a->n},
        .block = {32 * OSP_STEM_ROWS}};
    *state = s;
    return OSP_OK;
}

static osp_status launch_stem(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    const osp_conv *s = state;
    const bool wide = (s->kernel - osp_kernel_conv_stem) / 2 % 2 != 0;
    const bool aligned_too = osp_cuda_aligned(l->src[0], 2 * osp_dtype_bytes(p->src->dtype));
    return osp_conv_launch_kernel(p, s, wide && !aligned_too ? s->kernel - 2 : s->kernel, l, err);
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
    const osp_conv *s = state;
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
    osp_conv_pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
    return OSP_OK;
}

static const char *refuse_channelwise(const osp_problem *p, osp_conv_problem *c)
{
    const char *why = osp_conv_refuse_channels_last(p, c);
    if (why)
        return why;
    const int64_t ic = c->src->shape.dims[1];
    return c->attrs->group != ic || c->dst->shape.dims[1] != ic ? "not depthwise" : NULL;
}

static const char *refuse_depthwise(const osp_problem *p)
{
    osp_conv_problem c;
    return refuse_channelwise(p, &c);
}

static const char *refuse_line(const osp_problem *p)
{
    osp_conv_problem c;
    const char *why = refuse_channelwise(p, &c);
    if (why)
        return why;
    for (int32_t i = 0; i < 2; i++) {
        const osp_window *w = c.attrs->window + i;
        if (w->size != 3 || w->stride != 1 || w->dilation != 1)
            return "not 3x3 of stride 1";
    }
    return NULL;
}

// `pixels` of a line and `channels`: what a thread makes.
static osp_status prepare_own(const osp_problem *p, osp_context *ctx, int32_t pixels,
                              int32_t channels, void **state, osp_tactic_sizes *sizes,
                              osp_error *err)
{
    osp_conv *s;
    osp_conv_problem c;
    OSP_TRY(osp_conv_make(p, ctx, &s, &c, err));
    osp_conv_args *a = &s->args;
    s->bias_at = osp_conv_aligned((size_t)a->kh * (size_t)a->kw * (size_t)a->oc * sizeof(uint16_t));
    sizes->packed_bytes = s->bias_at + osp_conv_aligned((size_t)a->oc * sizeof(float));
    s->kernel = pixels > 1                 ? &osp_kernel_conv_depthwise_line
                : a->kh == 3 && a->kw == 3 ? &osp_kernel_conv_depthwise_3
                                           : &osp_kernel_conv_depthwise;
    const int64_t items = (int64_t)a->n * a->oh * ((a->ow + pixels - 1) / pixels) *
                          (a->oc / channels);
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)((items + OSP_DEPTHWISE_THREADS - 1) / OSP_DEPTHWISE_THREADS)},
        .block = {OSP_DEPTHWISE_THREADS}};
    *state = s;
    return OSP_OK;
}

static osp_status prepare_depthwise(const osp_problem *p, osp_context *ctx, int32_t threads,
                                    void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    return prepare_own(p, ctx, 1, CHUNK, state, sizes, err);
}

static osp_status prepare_line(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    return prepare_own(p, ctx, OSP_DEPTHWISE_PIXELS, CHUNK / 2, state, sizes, err);
}

static osp_status pack_depthwise(const osp_problem *p, void *state, const void *const *src,
                                 void *packed, osp_error *err)
{
    (void)err;
    const osp_conv *s = state;
    const osp_conv_args *a = &s->args;
    const int64_t taps = (int64_t)a->kh * a->kw;
    const uint16_t *weights = src[1];
    uint16_t *to = packed;
    for (int64_t o = 0; o < a->oc; o++)
        for (int64_t t = 0; t < taps; t++)
            to[t * a->oc + o] = weights[o * taps + t];
    osp_conv_pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), a->oc);
    return OSP_OK;
}

const osp_tactic osp_cuda_conv_stem = {.name = "stem",
                                       .pack_version = STEM_PACK_VERSION,
                                       .refuse = refuse_stem,
                                       .prepare = prepare_stem,
                                       .pack = pack_stem,
                                       .launch = launch_stem,
                                       .release = osp_cuda_release};

const osp_tactic osp_cuda_conv_depthwise = {.name = "depthwise",
                                            .pack_version = PACK_VERSION,
                                            .refuse = refuse_depthwise,
                                            .prepare = prepare_depthwise,
                                            .pack = pack_depthwise,
                                            .launch = osp_conv_launch,
                                            .release = osp_cuda_release};

const osp_tactic osp_cuda_conv_depthwise_line = {.name = "depthwise line",
                                                 .pack_version = PACK_VERSION,
                                                 .refuse = refuse_line,
                                                 .prepare = prepare_line,
                                                 .pack = pack_depthwise,
                                                 .launch = osp_conv_launch,
                                                 .release = osp_cuda_release};
