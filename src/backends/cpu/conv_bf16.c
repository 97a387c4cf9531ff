// Convolution in bfloat16 by matrix tiles: 2-D, one group, channels last (the source may be planes
// where it has few channels, as images do).
//
// A thread takes a block of output lines. Its window of the source is copied once, padding and all,
// into pieces of up to 32 channels,
//
//     [piece][line % sh][line / sh][column][channel of the piece]
//
// so that for each tap the positions of the block are one row of equal steps: a tile runs over the
// ends of lines, through a few columns of padding that are computed and dropped. Taps of a line of
// few channels lie beside each other and share a step of the product. 1x1 without stride or padding
// reads the source where it lies.
#include <string.h>

#include "backends/cpu/bf16.h"
#include "backends/conv_problem.h"
#include "ops/view.h"

enum {
    MAX_STRIDE = 16,
    MAX_STEPS = 1 << 14,
    MAX_WINDOW = 1 << 26,      // elements
    MAX_LINE = 1 << 20,        // columns
    BLOCK_BYTES = 192 * 1024,  // of a source window: a part of the second cache
    PLANES = 4                 // most planes that are joined to pixels
};

typedef struct conv {
    const osp_bf16_engine *engine;
    int64_t n, ic, ih, iw, oc, oh, ow;
    osp_window h, w;
    int64_t src_pitch, dst_pitch, add_pitch;
    bool planar;
    int32_t act;
    float alpha, beta;
    bool add_first;
    bool flat;                      // 1x1: all pixels are one column of lines
    int64_t width, pieces;          // channels of a piece, pieces
    int64_t run, runs;              // elements beside each other for a tap line, such runs in it
    int64_t depth, steps;           // of the product
    int64_t line;                   // columns of the window: whole strides
    int64_t rows, blocks;           // output lines of a block, blocks of an image
    int64_t reach[MAX_STRIDE];      // last window line of each phase beyond the block's; -1: unused
    int64_t lines, piece_elements;  // of a phase; of a piece
    size_t thread_bytes;
    int64_t groups;    // of 16 output channels
    int64_t *offsets;  // by step, in bytes: in the window, then in the source itself if `direct`
    bool direct;
} conv;

// ---- Shape --------------------------------------------------------------------------------------

// Splits a run into equal steps of whole pairs; `run` is even.
static int64_t depth_of(int64_t run)
{
    int64_t parts = (run + OSP_BF16_DEPTH - 1) / OSP_BF16_DEPTH;
    while (run % (2 * parts))
        parts++;
    return run / parts;
}

static void read_shape(conv *s, const osp_conv_problem *c)
{
    const int64_t *in = c->src->shape.dims, *out = c->dst->shape.dims;
    *s = (conv){.n = in[0],
                .ic = in[1],
                .ih = in[2],
                .iw = in[3],
                .oc = out[1],
                .oh = out[2],
                .ow = out[3],
                .h = c->attrs->window[0],
                .w = c->attrs->window[1],
                .src_pitch = c->src->pitch,
                .dst_pitch = c->dst->pitch,
                .add_pitch = c->add ? c->add->pitch : 0,
                .planar = c->src->layout == OSP_LAYOUT_PLAIN,
                .act = c->act,
                .alpha = c->alpha,
                .beta = c->beta,
                .add_first = c->add_first};
    s->flat = !s->planar && s->h.size == 1 && s->w.size == 1 && s->h.stride == 1 &&
              s->w.stride == 1 && s->ih == s->oh && s->iw == s->ow && !s->h.pad_begin &&
              !s->w.pad_begin;
    if (s->flat) {
        s->ih = s->oh = s->n * s->oh * s->ow;
        s->n = s->iw = s->ow = 1;
    }
    s->width = s->ic <= 4 ? 4 : s->ic <= 8 ? 8 : s->ic <= 16 ? 16 : 32;
    s->pieces = (s->ic + s->width - 1) / s->width;
    s->direct = s->flat && s->ic % s->width == 0;
    s->groups = (s->oc + 15) / 16;
}

// The rest, which needs that sizes are in bounds.
static void settle(conv *s, int32_t threads)
{
    const bool joined = s->w.dilation == 1;
    s->run = s->width * (joined ? s->w.size : 1);
    s->runs = joined ? 1 : s->w.size;
    s->depth = depth_of(s->run);
    s->steps = s->pieces * s->h.size * s->runs * (s->run / s->depth);
    s->line = osp_bf16_round_up((s->ow - 1) * s->w.stride + (s->w.size - 1) * s->w.dilation + 1,
                                s->w.stride);
    int64_t most = 0;
    for (int64_t py = 0; py < s->h.stride; py++)
        s->reach[py] = -1;
    for (int64_t ky = 0; ky < s->h.size; ky++) {
        const int64_t at = ky * s->h.dilation;
        s->reach[at % s->h.stride] = most = at / s->h.stride;
    }
    const int64_t line_bytes = s->pieces * s->line * s->width * 2;
    int64_t rows = osp_i64_max(1, BLOCK_BYTES / line_bytes / s->h.stride - most);
    rows = osp_i64_min(s->flat ? osp_i64_max(rows, 64) : rows, s->oh);
    s->blocks = (s->oh + rows - 1) / rows;
    if (s->n % threads)
        s->blocks = osp_i64_min(osp_bf16_round_up(s->blocks, threads), s->oh);
    s->rows = osp_bf16_round_up((s->oh + s->blocks - 1) / s->blocks, s->flat ? 16 : 1);
    s->blocks = (s->oh + s->rows - 1) / s->rows;
    s->lines = s->rows + most;
    s->piece_elements = s->h.stride * s->lines * s->line * s->width;
    // Tiles read past the last position: 64 are the most of one product.
    const int64_t slack = 64 * s->w.stride * s->width;
    s->thread_bytes = (size_t)osp_bf16_round_up((s->pieces * s->piece_elements + slack) * 2, 64);
}

static void fill_offsets(conv *s)
{
    int64_t *to = s->offsets;
    for (int64_t piece = 0; piece < s->pieces; piece++)
        for (int64_t ky = 0; ky < s->h.size; ky++)
            for (int64_t r = 0; r < s->runs; r++)
                for (int64_t k = 0; k < s->run; k += s->depth) {
                    const int64_t at = ky * s->h.dilation;
                    const int64_t line = at % s->h.stride * s->lines + at / s->h.stride;
                    const int64_t pixel = line * s->line + r * s->w.dilation;
                    *to++ = 2 * (piece * s->piece_elements + pixel * s->width + k);
                }
    for (int64_t i = 0; s->direct && i < s->steps; i++)
        *to++ = 2 * i * s->depth;
}

// ---- Tactic -------------------------------------------------------------------------------------

// Sizes that keep the arithmetic of `settle` far from overflow, and a window of one line in memory.
static bool in_bounds(const conv *s)
{
    const osp_window *h = &s->h, *w = &s->w;
    if (h->size > MAX_STEPS || w->size > MAX_STEPS || h->stride > MAX_STRIDE ||
        w->stride > MAX_LINE || w->dilation > MAX_LINE || h->dilation > MAX_LINE ||
        s->ow > MAX_LINE || s->pieces > MAX_STEPS)
        return false;
    const int64_t columns = (s->ow - 1) * w->stride + (w->size - 1) * w->dilation + w->stride;
    const int64_t lines = (h->size - 1) * h->dilation + 2 * h->stride;
    return columns <= MAX_LINE && lines <= MAX_LINE &&
           columns * lines * s->pieces * s->width <= MAX_WINDOW &&
           s->pieces * h->size * w->size * (s->width / 2) <= MAX_STEPS;
}

static const char *refuse_types(const osp_conv_problem *c)
{
    if (!osp_operand_is(c->src, OSP_DTYPE_BFLOAT16) ||
        !osp_operand_is(c->weights, OSP_DTYPE_BFLOAT16) ||
        !osp_operand_is(c->dst, OSP_DTYPE_BFLOAT16) ||
        (c->add && !osp_operand_is(c->add, OSP_DTYPE_BFLOAT16)))
        return "not bfloat16";
    return NULL;
}

static const char *refuse(const osp_problem *p, const osp_bf16_engine *engine)
{
    osp_conv_problem c;
    const char *why = osp_conv_problem_of(p, &c);
    if (!why)
        why = refuse_types(&c);
    if (why)
        return why;
    if (c.attrs->group != 1)
        return "grouped";
    if (c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    if (c.src->layout == OSP_LAYOUT_PLAIN &&
        (!osp_operand_dense(c.src) || c.src->shape.dims[1] > PLANES))
        return "a slice of planes, or many";
    if (osp_operand_count(c.dst) == 0 || osp_operand_count(c.src) == 0)
        return "empty";
    conv s;
    read_shape(&s, &c);
    if (!in_bounds(&s))
        return "the window is too large";
    return engine->refuse();
}

static void release(osp_context *ctx, void *state)
{
    conv *s = state;
    osp_mem_free(&ctx->mem, s->offsets);
    osp_mem_free(&ctx->mem, s);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads,
                          const osp_bf16_engine *engine, void **state, osp_tactic_sizes *sizes,
                          osp_error *err)
{
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    conv *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    read_shape(s, &c);
    settle(s, threads);
    s->engine = engine;
    s->offsets = osp_mem_calloc(&ctx->mem, (size_t)s->steps * (s->direct ? 2 : 1),
                                sizeof *s->offsets);
    if (!s->offsets) {
        release(ctx, s);
        OSP_FAIL_MEMORY(err);
    }
    fill_offsets(s);
    sizes->packed_bytes = (size_t)s->groups * 16 *
                          (sizeof(float) + (size_t)(s->steps * s->depth) * sizeof(uint16_t));
    sizes->workspace_bytes = s->thread_bytes * (size_t)threads;
    *state = s;
    return OSP_OK;
}

// The weights of step `step` for output channels [o, o + 16): pairs of elements, channel by channel.
static void pack_step(const conv *s, const uint16_t *weights, int64_t o, int64_t step, uint16_t *to)
{
    const int64_t cuts = s->run / s->depth, taps = s->h.size * s->w.size;
    const int64_t cut = step % cuts, r = step / cuts % s->runs;
    const int64_t ky = step / cuts / s->runs % s->h.size;
    const int64_t piece = step / cuts / s->runs / s->h.size;
    for (int64_t k = 0; k < s->depth; k++) {
        const int64_t at = cut * s->depth + k;
        const int64_t kx = r + at / s->width, c = piece * s->width + at % s->width;
        for (int64_t i = 0; i < 16 && o + i < s->oc && c < s->ic; i++)
            to[k / 2 * 32 + 2 * i + k % 2] =
                weights[((o + i) * s->ic + c) * taps + ky * s->w.size + kx];
    }
}

// Bias in FP32, then for each pair of blocks of output channels [step][block].
static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const conv *s = state;
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    float *bias = packed;
    for (int64_t i = 0; c.bias && i < s->oc; i++)
        bias[i] = osp_load_float(c.bias->dtype, src[2], (size_t)i);
    uint16_t *to = (uint16_t *)(void *)(bias + 16 * s->groups);
    for (int64_t g = 0; g < s->groups; g += 2)
        for (int64_t step = 0; step < s->steps; step++)
            for (int64_t b = g; b < osp_i64_min(g + 2, s->groups); b++, to += 16 * s->depth)
                pack_step(s, src[1], 16 * b, step, to);
    return OSP_OK;
}

// ---- Run ----------------------------------------------------------------------------------------

typedef struct job {
    const conv *s;
    const uint16_t *src, *add, *weights;
    const float *bias;
    uint16_t *dst;
    char *scratch;
} job;

// `count` lines' worth of zeros at the same place of every piece.
static void clear_columns(const conv *s, uint16_t *to, int64_t count)
{
    for (int64_t piece = 0; piece < s->pieces; piece++)
        memset(to + piece * s->piece_elements, 0, (size_t)(count * s->width) * sizeof *to);
}

static void fill_line(const job *j, int64_t n, int64_t iy, uint16_t *to)
{
    const conv *s = j->s;
    const int64_t before = osp_i64_min(s->w.pad_begin, s->line);
    const int64_t inside = osp_i64_min(s->iw, s->line - before);
    if (iy < 0 || iy >= s->ih) {
        clear_columns(s, to, s->line);
        return;
    }
    clear_columns(s, to, before);
    uint16_t *at = to + before * s->width;
    if (s->planar)
        osp_bf16_join_planes(at, j->src + (n * s->ic * s->ih + iy) * s->iw, s->ih * s->iw, inside,
                             s->ic);
    else
        osp_bf16_copy_pixels(at, s->piece_elements,
                             j->src + (n * s->ih + iy) * s->iw * s->src_pitch, s->src_pitch, inside,
                             s->ic, s->width);
    clear_columns(s, at + inside * s->width, s->line - before - inside);
}

// The window of output lines [y, y + count) of image n.
static void fill_window(const job *j, int64_t n, int64_t y, int64_t count, uint16_t *window)
{
    const conv *s = j->s;
    if (s->flat) {
        osp_bf16_copy_pixels(window, s->piece_elements, j->src + y * s->src_pitch, s->src_pitch,
                             count, s->ic, s->width);
        return;
    }
    for (int64_t py = 0; py < s->h.stride; py++)
        for (int64_t k = 0; s->reach[py] >= 0 && k < count + s->reach[py]; k++)
            fill_line(j, n, (y + k) * s->h.stride + py - s->h.pad_begin,
                      window + (py * s->lines + k) * s->line * s->width);
}

static void run_block(const job *j, int64_t n, int64_t y, int64_t count, char *window)
{
    const conv *s = j->s;
    const int64_t line = s->flat ? count : s->line / s->w.stride, wide = s->flat ? count : s->ow;
    const int64_t positions = s->flat ? count : (count - 1) * line + s->ow;
    const bool direct = s->direct && y + osp_bf16_round_up(count, 16) <= s->oh;
    if (!direct)
        fill_window(j, n, y, count, (uint16_t *)(void *)window);
    _Alignas(64) float sums[OSP_BF16_SUMS];
    osp_bf16_product product = {.src_step = 2 * (direct ? s->src_pitch : s->width * s->w.stride),
                                .offsets = s->offsets + (direct ? s->steps : 0),
                                .steps = s->steps,
                                .depth = (int32_t)s->depth,
                                .sums = sums};
    const char *from = direct ? (const char *)(j->src + y * s->src_pitch) : window;
    const int64_t first = (n * s->oh + y) * s->ow;
    osp_bf16_end end = {.dst_pitch = s->dst_pitch,
                        .add_pitch = s->add_pitch,
                        .columns = wide,
                        .line = line,
                        .act = s->act,
                        .alpha = s->alpha,
                        .beta = s->beta,
                        .add_first = s->add_first};
    for (int64_t g = 0; g < s->groups; g += 2) {
        const int32_t columns = (int32_t)osp_i64_min(2, s->groups - g);
        const int64_t most = 64 / columns;
        product.weights = j->weights + g * 16 * s->steps * s->depth;
        end.bias = j->bias + 16 * g;
        end.channels = (int32_t)osp_i64_min(32, s->oc - 16 * g);
        for (int64_t q = 0; q < positions; q += most) {
            end.positions = osp_i64_min(most, positions - q);
            end.column = q % line;
            const int64_t pixel = first + q / line * wide + osp_i64_min(end.column, wide);
            end.dst = j->dst + pixel * s->dst_pitch + 16 * g;
            end.add = j->add ? j->add + pixel * s->add_pitch + 16 * g : NULL;
            product.src = from + q * product.src_step;
            s->engine->product(&product, (int32_t)((end.positions + 15) / 16), columns);
            osp_bf16_finish(&end, sums, columns);
        }
    }
}

static void run_blocks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const conv *s = j->s;
    s->engine->begin((int32_t)s->depth);
    for (int64_t i = begin; i < end; i++) {
        const int64_t y = i % s->blocks * s->rows;
        run_block(j, i / s->blocks, y, osp_i64_min(s->rows, s->oh - y),
                  j->scratch + (size_t)thread * s->thread_bytes);
    }
    s->engine->end();
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const conv *s = state;
    const float *bias = l->packed;
    job j = {.s = s,
             .src = l->src[0],
             .add = p->src_count > 3 ? l->src[3] : NULL,
             .weights = (const uint16_t *)(const void *)(bias + 16 * s->groups),
             .bias = bias,
             .dst = l->dst[0],
             .scratch = l->workspace};
    const double pixels = (double)(s->rows * s->ow), channels = (double)(16 * s->groups);
    osp_cpu_parallel(l->threads, s->n * s->blocks,
                     pixels * channels * (0.05 + 0.001 * (double)(s->steps * s->depth)), run_blocks,
                     &j);
    return OSP_OK;
}

#define CONV_BF16(SUFFIX)                                                                          \
    static const char *refuse_##SUFFIX(const osp_problem *p)                                       \
    {                                                                                              \
        return refuse(p, &osp_bf16_##SUFFIX);                                                      \
    }                                                                                              \
    static osp_status prepare_##SUFFIX(const osp_problem *p, osp_context *ctx, int32_t threads,    \
                                       void **state, osp_tactic_sizes *sizes, osp_error *err)      \
    {                                                                                              \
        return prepare(p, ctx, threads, &osp_bf16_##SUFFIX, state, sizes, err);                    \
    }                                                                                              \
    const osp_tactic osp_cpu_conv_##SUFFIX = {.name = "tiles_bf16_" #SUFFIX,                       \
                                              .pack_version = 1,                                   \
                                              .refuse = refuse_##SUFFIX,                           \
                                              .prepare = prepare_##SUFFIX,                         \
                                              .pack = pack,                                        \
                                              .launch = launch,                                    \
                                              .release = release}
CONV_BF16(amx);
CONV_BF16(avx512);
