// Convolution 3x3 by Winograd's F(4x4, 3x3): stride 1, one group, FP32, channels last. Sixteen
// pixels of an output channel take 36 products an input channel instead of 144.
//
// The destination is cut into tiles of 4x4 pixels. Each thread takes a run of tiles at a time,
// so that all in between stays in its L2 cache: it transforms their sources (V, for each tile and
// each of the 36 places a row of input channels), multiplies the rows of each place with that
// place's transformed weights (M: rows of output channels), and transforms those into the
// destination, with bias, activation and residual. Only the ends meet the border: what lies in the
// padding reads zeros, what lies past the destination is not stored.
#include <string.h>

#include "backends/conv_problem.h"
#include "backends/cpu/cpu.h"

enum { PLACES = 36, SPAN = 4 };

typedef struct winograd {
    const osp_simd *simd;
    const osp_winograd_kernel *kernel;  // of the products: a row is a tile
    int64_t n, ih, iw, ic, oh, ow, oc, ph, pw;
    int64_t src_pitch, dst_pitch, add_pitch;
    int32_t act;
    float alpha, beta;
    bool add_first;
    int64_t down, across, tiles, groups;  // tiles of an image; all; in groups of the kernel's rows
    int64_t runs, run_groups;             // what threads take: so many groups at a time
    int64_t blocks, place_floats;         // of output channels; transformed weights of a place
    int64_t m_row;                        // floats: output channels, padded to kernels
    int64_t v_place, m_place;             // rows of a group in one place, and a gap
} winograd;

// V and M of a thread's run. They stay in L2 beside some of the weights; where the weights
// themselves are more than it holds, a longer run reads them less often. Measured with 2 MiB of
// L2: 64 channels at 80x80 609 us with 384 KiB, 677 with 768, 935 with 6 MiB; 256 channels at 40x40
// 5470, 5207, 2994.
static int64_t run_bytes(int64_t weights_bytes)
{
    return osp_i64_max(384 << 10, weights_bytes / 2);
}

// Floats between places in V and M: rows a power of two apart would meet in a few sets of L1.
static const int64_t gap = 16;

// Where the direct kernels are as fast or faster. Their time over this one's, AVX-512 and AVX2, two
// threads: 3 input channels 1.06 and 0.96, 4 1.07 and 1.09, 8 1.3 and 1.2; images of 8x8 0.89 and
// 1.07, of 12x12 1.33 and 1.57; 13x13, whose tiles hold 10.6 pixels, 1.01 and 1.43; 10x10 with 512
// channels 0.81 and 0.78. What is won for a byte of weights falls with the pixels: yolo11s would
// hold 17 MB more for 1.8 of its 75 ms in the 20x20 layers that the last rule leaves out.
static const char *refuse_slower(const osp_conv_problem *c)
{
    const int64_t *out = c->dst->shape.dims, ic = c->src->shape.dims[1],
                  pixels = out[0] * out[2] * out[3];
    const int64_t tiles = out[0] * ((out[2] + SPAN - 1) / SPAN) * ((out[3] + SPAN - 1) / SPAN);
    if (ic < 8)
        return "fewer than 8 input channels";
    if (pixels < 144 || pixels < 9 * tiles)
        return "too few pixels, or too few in a tile";
    if (pixels < 800 && ic * out[1] > 8192)
        return "the weights grow fourfold for too few pixels";
    return NULL;
}

static const char *refuse(const osp_problem *p, osp_isa isa)
{
    osp_conv_problem c;
    if (isa > osp_cpu_isa())
        return "the processor lacks the instructions";
    const char *why = osp_conv_problem_of(p, &c);
    if (why)
        return why;
    const osp_window *h = c.attrs->window, *w = c.attrs->window + 1;
    if (!osp_operand_is(c.src, OSP_DTYPE_FLOAT32) || !osp_operand_is(c.weights, OSP_DTYPE_FLOAT32))
        return "not FP32";
    if (h->size != 3 || w->size != 3 || h->stride != 1 || w->stride != 1 || h->dilation != 1 ||
        w->dilation != 1 || c.attrs->group != 1)
        return "not 3x3 with stride 1, dilation 1, one group";
    if (c.src->layout != OSP_LAYOUT_CHANNELS_LAST || c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "not channels last";
    return refuse_slower(&c);
}

// The kernel that leaves the busiest thread least to do: output channels are padded to whole
// vectors of it, tiles to whole rows, and groups of rows go to threads.
static const osp_winograd_kernel *choose_kernel(const winograd *s, int32_t threads)
{
    const osp_winograd_kernel *best = NULL;
    float best_cost = 0;
    for (int32_t i = 0; i < OSP_CONV_KERNELS; i++) {
        const osp_winograd_kernel *k = s->simd->winograd + i;
        if (!k->run)
            continue;
        const int64_t width = k->vectors * s->simd->lanes,
                      groups = (s->tiles + k->rows - 1) / k->rows;
        const int64_t rows = (groups + threads - 1) / threads * k->rows;
        const int64_t columns = (s->oc + width - 1) / width * width;
        const float cost = (float)(rows * columns) / k->speed;
        if (!best || cost < best_cost) {
            best = k;
            best_cost = cost;
        }
    }
    return best;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, osp_isa isa, int32_t threads,
                          void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    winograd *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    const int64_t *in = c.src->shape.dims, *out = c.dst->shape.dims;
    *s = (winograd){.simd = osp_cpu_simd_of(isa),
                    .n = in[0],
                    .ic = in[1],
                    .ih = in[2],
                    .iw = in[3],
                    .oc = out[1],
                    .oh = out[2],
                    .ow = out[3],
                    .ph = c.attrs->window[0].pad_begin,
                    .pw = c.attrs->window[1].pad_begin,
                    .src_pitch = c.src->pitch,
                    .dst_pitch = c.dst->pitch,
                    .add_pitch = c.add ? c.add->pitch : 0,
                    .act = c.act,
                    .alpha = c.alpha,
                    .beta = c.beta,
                    .add_first = c.add_first};
    s->down = (s->oh + SPAN - 1) / SPAN;
    s->across = (s->ow + SPAN - 1) / SPAN;
    s->tiles = s->n * s->down * s->across;
    s->kernel = choose_kernel(s, threads);
    const int64_t lanes = s->simd->lanes, width = s->kernel->vectors * lanes;
    s->groups = (s->tiles + s->kernel->rows - 1) / s->kernel->rows;
    s->blocks = (s->oc + width - 1) / width;
    s->place_floats = s->blocks * width * s->ic;
    s->m_row = s->blocks * width;
    s->v_place = (s->ic + lanes - 1) / lanes * lanes * s->kernel->rows + gap;
    s->m_place = s->m_row * s->kernel->rows + gap;
    const int64_t bytes = PLACES * (s->v_place + s->m_place) * (int64_t)sizeof(float);
    const int64_t fits = run_bytes(PLACES * s->place_floats * (int64_t)sizeof(float)) / bytes;
    // As many runs for each thread, of the same length.
    const int64_t longest = osp_i64_max(1, osp_i64_min(fits, (s->groups + threads - 1) / threads));
    const int64_t shares = ((s->groups + longest - 1) / longest + threads - 1) / threads;
    s->run_groups = (s->groups + shares * threads - 1) / (shares * threads);
    s->runs = (s->groups + s->run_groups - 1) / s->run_groups;
    *state = s;
    sizes->packed_bytes = (size_t)(PLACES * s->place_floats + s->m_row + s->ic) * sizeof(float);
    sizes->workspace_bytes = (size_t)(s->run_groups * bytes * threads);
    return OSP_OK;
}

// U = G g G^T, in double: rounded once.
static void transform_weights(double u[PLACES], const float *g)
{
    // Rows of G: the point's powers 1, x, x^2 over what the other points' distances multiply to.
    static const double root = 0.70710678118654752440;
    const double rows[6][3] = {{1, 0, 0},
                               {-2.0 / 3, -2.0 / 3 * root, -1.0 / 3},
                               {-2.0 / 3, 2.0 / 3 * root, -1.0 / 3},
                               {1.0 / 6, 1.0 / 3 * root, 1.0 / 3},
                               {1.0 / 6, -1.0 / 3 * root, 1.0 / 3},
                               {0, 0, 1}};
    for (int32_t y = 0; y < 6; y++)
        for (int32_t x = 0; x < 6; x++) {
            double sum = 0;
            for (int32_t i = 0; i < 3; i++)
                for (int32_t j = 0; j < 3; j++)
                    sum += rows[y][i] * rows[x][j] * (double)g[i * 3 + j];
            u[y * 6 + x] = sum;
        }
}

// [place][block of output channels][input channel][output channel], then the bias, then zeros for
// padding to read.
static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const winograd *s = state;
    const float *weights = src[1], *bias = p->src_count > 2 ? src[2] : NULL;
    const int64_t width = s->kernel->vectors * s->simd->lanes;
    float *to = packed, *to_bias = to + PLACES * s->place_floats;
    memset(to, 0, (size_t)(PLACES * s->place_floats + s->m_row + s->ic) * sizeof *to);
    for (int64_t o = 0; o < s->oc; o++) {
        to_bias[o] = bias ? bias[o] : 0;
        for (int64_t c = 0; c < s->ic; c++) {
            double u[PLACES];
            transform_weights(u, weights + (o * s->ic + c) * 9);
            float *at = to + (o / width * s->ic + c) * width + o % width;
            for (int32_t k = 0; k < PLACES; k++)
                at[k * s->place_floats] = (float)u[k];
        }
    }
    return OSP_OK;
}

typedef struct job {
    const winograd *s;
    const float *src, *add, *packed, *bias, *zeros;
    float *dst, *workspace;
} job;

// Image, line and column of a tile's first pixel of the destination.
static void place_tile(const winograd *s, int64_t tile, int64_t *n, int64_t *y, int64_t *x)
{
    *n = tile / (s->down * s->across);
    *y = tile / s->across % s->down * SPAN;
    *x = tile % s->across * SPAN;
}

static void transform_source(const job *j, int64_t tile, float *v)
{
    const winograd *s = j->s;
    int64_t n, y, x;
    place_tile(s, tile, &n, &y, &x);
    y -= s->ph;
    x -= s->pw;
    const float *src[PLACES];
    for (int32_t k = 0; k < 6; k++) {
        const int64_t iy = y + k;
        const bool line = iy >= 0 && iy < s->ih;
        const float *from = j->src + (line ? (n * s->ih + iy) * s->iw * s->src_pitch : 0);
        for (int32_t i = 0; i < 6; i++)
            src[k * 6 + i] = line && x + i >= 0 && x + i < s->iw ? from + (x + i) * s->src_pitch
                                                                 : j->zeros;
    }
    s->simd->winograd_in(&(osp_winograd_in){.src = src,
                                            .dst = v,
                                            .step = s->v_place,
                                            .vector_step = s->kernel->rows * s->simd->lanes,
                                            .channels = s->ic});
}

// Place by place, so that its weights stay in L1 for all groups of tiles.
static void multiply(const job *j, const float *v, float *m, int64_t groups)
{
    const winograd *s = j->s;
    const int64_t width = s->kernel->vectors * s->simd->lanes;
    osp_winograd_product product = {.weights = j->packed, .dst_step = s->m_row, .channels = s->ic};
    for (int64_t place = 0; place < PLACES; place++)
        for (int64_t b = 0; b < s->blocks; b++, product.weights += width * s->ic)
            for (int64_t g = 0; g < groups; g++) {
                product.src = v + (g * PLACES + place) * s->v_place;
                product.dst = m + (g * PLACES + place) * s->m_place + b * width;
                s->kernel->run(&product);
            }
}

static void transform_result(const job *j, int64_t tile, const float *m)
{
    const winograd *s = j->s;
    int64_t n, y, x;
    place_tile(s, tile, &n, &y, &x);
    const int64_t pixel = (n * s->oh + y) * s->ow + x;
    s->simd->winograd_out(&(osp_winograd_out){.src = m,
                                              .step = s->m_place,
                                              .bias = j->bias,
                                              .dst = j->dst + pixel * s->dst_pitch,
                                              .dst_line = s->ow * s->dst_pitch,
                                              .dst_pixel = s->dst_pitch,
                                              .add = j->add ? j->add + pixel * s->add_pitch : NULL,
                                              .add_line = s->ow * s->add_pitch,
                                              .add_pixel = s->add_pitch,
                                              .channels = s->oc,
                                              .lines = (int32_t)osp_i64_min(SPAN, s->oh - y),
                                              .columns = (int32_t)osp_i64_min(SPAN, s->ow - x),
                                              .act = s->act,
                                              .alpha = s->alpha,
                                              .beta = s->beta,
                                              .add_first = s->add_first});
}

static void take_runs(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const winograd *s = j->s;
    const int64_t rows = s->kernel->rows, v_group = PLACES * s->v_place;
    const int64_t m_group = PLACES * s->m_place;
    float *v = j->workspace + thread * s->run_groups * (v_group + m_group);
    float *m = v + s->run_groups * v_group;
    for (int64_t r = begin; r < end; r++) {
        const int64_t group = r * s->run_groups, first = group * rows;
        const int64_t groups = osp_i64_min(s->run_groups, s->groups - group);
        const int64_t tiles = osp_i64_min(groups * rows, s->tiles - first);
        for (int64_t t = 0; t < tiles; t++)
            transform_source(j, first + t, v + t / rows * v_group + t % rows * s->simd->lanes);
        multiply(j, v, m, groups);
        for (int64_t t = 0; t < tiles; t++)
            transform_result(j, first + t, m + t / rows * m_group + t % rows * s->m_row);
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const winograd *s = state;
    const float *packed = l->packed, *bias = packed + PLACES * s->place_floats;
    job j = {.s = s,
             .src = l->src[0],
             .add = p->src_count > 3 ? l->src[3] : NULL,
             .packed = packed,
             .bias = bias,
             .zeros = bias + s->m_row,
             .dst = l->dst[0],
             .workspace = l->workspace};
    const double flops = 2.0 * PLACES * (double)(s->run_groups * s->kernel->rows) * (double)s->ic *
                         (double)s->m_row;
    osp_cpu_parallel(l->threads, s->runs, flops / 100, take_runs, &j);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

#define WINOGRAD(SUFFIX, ISA)                                                                      \
    static const char *refuse_##SUFFIX(const osp_problem *p)                                       \
    {                                                                                              \
        return refuse(p, ISA);                                                                     \
    }                                                                                              \
    static osp_status prepare_##SUFFIX(const osp_problem *p, osp_context *ctx, int32_t threads,    \
                                       void **state, osp_tactic_sizes *sizes, osp_error *err)      \
    {                                                                                              \
        return prepare(p, ctx, ISA, threads, state, sizes, err);                                   \
    }                                                                                              \
    const osp_tactic osp_cpu_conv_winograd_##SUFFIX = {.name = "winograd_f32_" #SUFFIX,            \
                                                       .pack_version = 1,                          \
                                                       .refuse = refuse_##SUFFIX,                  \
                                                       .prepare = prepare_##SUFFIX,                \
                                                       .pack = pack,                               \
                                                       .launch = launch,                           \
                                                       .release = release}

WINOGRAD(avx512, OSP_ISA_AVX512);
WINOGRAD(avx2, OSP_ISA_AVX2);
