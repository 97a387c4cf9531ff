// The first convolution of a network: few planes in, channels last out, stride 2 along the line,
// FP32. Lines of the planes are copied with their padding once for each line of output, so that
// the tiles need no pointers and meet no border.
#include <string.h>

#include "backends/conv_problem.h"
#include "backends/cpu/cpu.h"

enum { MAX_LINES = 64 };

typedef struct planes {
    const osp_simd *simd;
    const osp_conv_kernel *kernel;
    int64_t n, c, ih, iw, oc, oh, ow;
    osp_window h, w;
    int64_t dst_pitch, line_floats, blocks, block_floats;
    int32_t act;
    float alpha, beta;
} planes;

static const char *refuse(const osp_problem *p)
{
    osp_conv_problem c;
    const char *why = osp_conv_problem_of(p, &c);
    if (why)
        return why;
    if (!osp_operand_is(c.src, OSP_DTYPE_FLOAT32) || !osp_operand_is(c.weights, OSP_DTYPE_FLOAT32))
        return "not FP32";
    if (c.attrs->group != 1 || c.add)
        return "grouped, or with a residual";
    if (c.src->layout != OSP_LAYOUT_PLAIN || !osp_operand_dense(c.src) ||
        c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "not from planes to channels last";
    if (c.attrs->window[1].stride != 2 || c.attrs->window[1].dilation != 1)
        return "not of stride 2";
    if (c.attrs->window[0].size > MAX_LINES ||
        c.src->shape.dims[1] * c.attrs->window[0].size > MAX_LINES ||
        c.src->shape.dims[3] > 1 << 20 || c.attrs->window[1].size > 1 << 10)
        return "too many lines in the window";
    return NULL;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    planes *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    const int64_t *in = c.src->shape.dims, *out = c.dst->shape.dims;
    *s = (planes){.simd = osp_cpu_simd(),
                  .n = in[0],
                  .c = in[1],
                  .ih = in[2],
                  .iw = in[3],
                  .oc = out[1],
                  .oh = out[2],
                  .ow = out[3],
                  .h = c.attrs->window[0],
                  .w = c.attrs->window[1],
                  .dst_pitch = c.dst->pitch,
                  .act = c.act,
                  .alpha = c.alpha,
                  .beta = c.beta};
    const int64_t vectors = (s->oc + s->simd->lanes - 1) / s->simd->lanes;
    s->kernel = s->simd->planes + (vectors > 1);
    const int64_t width = s->kernel->vectors * s->simd->lanes;
    s->blocks = (s->oc + width - 1) / width;
    s->block_floats = width * (1 + s->c * s->h.size * s->w.size);
    // All that whole tiles read, which may reach past the padded line, or end before it.
    const int64_t reach = 2 * (osp_i64_max(s->ow, s->kernel->rows) - 1) + s->w.size;
    s->line_floats = (osp_i64_max(reach, s->w.pad_begin + s->iw) + 15) & ~(int64_t)15;
    sizes->packed_bytes = (size_t)(s->blocks * s->block_floats) * sizeof(float);
    sizes->workspace_bytes = (size_t)(s->line_floats * s->c * s->h.size) * sizeof(float) *
                             (size_t)threads;
    *state = s;
    return OSP_OK;
}

// For each block of output channels: bias, then [plane][line][column][channel].
static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const planes *s = state;
    const float *weights = src[1], *bias = p->src_count > 2 ? src[2] : NULL;
    const int64_t width = s->kernel->vectors * s->simd->lanes;
    const int64_t taps = s->c * s->h.size * s->w.size;
    memset(packed, 0, (size_t)(s->blocks * s->block_floats) * sizeof(float));
    for (int64_t o = 0; o < s->oc; o++) {
        float *to = (float *)packed + o / width * s->block_floats + o % width;
        *to = bias ? bias[o] : 0;
        for (int64_t t = 0; t < taps; t++)
            to[(1 + t) * width] = weights[o * taps + t];
    }
    return OSP_OK;
}

typedef struct job {
    const planes *s;
    const float *src, *packed;
    float *dst, *scratch;
} job;

// The window's lines for output line y, padded with zeros on all sides.
static void copy_lines(const job *j, int64_t n, int64_t y, float *scratch)
{
    const planes *s = j->s;
    for (int64_t c = 0; c < s->c; c++)
        for (int64_t ky = 0; ky < s->h.size; ky++) {
            float *line = scratch + (c * s->h.size + ky) * s->line_floats;
            const int64_t iy = y * s->h.stride - s->h.pad_begin + ky * s->h.dilation;
            if (iy < 0 || iy >= s->ih) {
                memset(line, 0, (size_t)s->line_floats * sizeof *line);
                continue;
            }
            const int64_t end = s->w.pad_begin + s->iw;
            memset(line, 0, (size_t)s->w.pad_begin * sizeof *line);
            memcpy(line + s->w.pad_begin, j->src + ((n * s->c + c) * s->ih + iy) * s->iw,
                   (size_t)s->iw * sizeof *line);
            memset(line + end, 0, (size_t)(s->line_floats - end) * sizeof *line);
        }
}

static void run_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const planes *s = j->s;
    const int64_t lines = s->c * s->h.size, width = s->kernel->vectors * s->simd->lanes;
    float *scratch = j->scratch + thread * s->line_floats * lines;
    const float *src[MAX_LINES];
    float *dst[OSP_CONV_MAX_ROWS], nowhere[64];
    for (int64_t k = 0; k < lines; k++)
        src[k] = scratch + k * s->line_floats;
    osp_conv_tile tile = {.src = src,
                          .taps = (int32_t)lines,
                          .ic = (int32_t)s->w.size,
                          .dst = dst,
                          .act = s->act,
                          .alpha = s->alpha,
                          .beta = s->beta};
    for (int64_t i = begin; i < end; i++) {
        copy_lines(j, i / s->oh, i % s->oh, scratch);
        float *line = j->dst + i * s->ow * s->dst_pitch;
        for (int64_t x = 0; x < s->ow; x += s->kernel->rows) {
            // The last tile is moved back: some pixels are computed twice.
            const int64_t first = osp_i64_max(0, osp_i64_min(x, s->ow - s->kernel->rows));
            tile.src_step = 2 * first;
            for (int64_t b = 0; b < s->blocks; b++) {
                for (int32_t m = 0; m < s->kernel->rows; m++)
                    dst[m] = first + m < s->ow ? line + (first + m) * s->dst_pitch + b * width
                                               : nowhere;
                tile.bias = j->packed + b * s->block_floats;
                tile.weights = tile.bias + width;
                tile.valid = (int32_t)osp_i64_min(width, s->oc - b * width);
                s->kernel->run(&tile);
            }
        }
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    (void)err;
    const planes *s = state;
    job j = {s, l->src[0], l->packed, l->dst[0], l->workspace};
    osp_cpu_parallel(l->threads, s->n * s->oh, (double)(s->ow * s->block_floats) * 0.01, run_lines,
                     &j);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

const osp_tactic osp_cpu_conv_planes = {.name = "planes_f32",
                                        .pack_version = 1,
                                        .refuse = refuse,
                                        .prepare = prepare,
                                        .pack = pack,
                                        .launch = launch,
                                        .release = release};
