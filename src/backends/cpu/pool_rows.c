// Pooling of channels-last images: a window is a few rows of channels, reduced together.
#include "ops/pool.h"

#include <string.h>

#include "backends/cpu/bf16.h"

enum { MAX_TAPS = 256, BLOCK = 64 };

typedef struct pool {
    const osp_simd *simd;
    int64_t n, ih, iw, oh, ow, c;
    int64_t src_pitch, dst_pitch;
    osp_window h, w;
    osp_dtype dtype;
    bool max, include_pad;
    bool max_bf16;  // straight from bfloat16 rows
} pool;

static bool is_global(const osp_problem *p)
{
    return !strcmp(p->op->type, "GlobalAveragePool");
}

static const char *refuse(const osp_problem *p)
{
    const osp_dtype t = p->src->dtype;
    if (t != OSP_DTYPE_FLOAT32 && t != OSP_DTYPE_BFLOAT16)
        return "neither FP32 nor bfloat16";
    if (p->dst_count > 1 && p->dst[1].dtype)
        return "indices are wanted";
    if (p->src->shape.rank != 4 || p->src->layout != OSP_LAYOUT_CHANNELS_LAST ||
        p->dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "not channels last";
    if (is_global(p))
        return osp_shape_span(&p->src->shape, 2, 4) > 0 ? NULL : "empty";
    const osp_pool_attrs *a = p->attrs;
    if (a->window[0].size > MAX_TAPS || a->window[1].size > MAX_TAPS ||
        a->window[0].size * a->window[1].size > MAX_TAPS)
        return "the window is too large";
    return NULL;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    const int64_t *in = p->src->shape.dims, *out = p->dst->shape.dims;
    pool *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    *s = (pool){.simd = osp_cpu_simd(),
                .n = in[0],
                .ih = in[2],
                .iw = in[3],
                .oh = out[2],
                .ow = out[3],
                .c = in[1],
                .src_pitch = p->src->pitch,
                .dst_pitch = p->dst->pitch,
                .dtype = p->src->dtype,
                .max = !strcmp(p->op->type, "MaxPool")};
    s->max_bf16 = s->max && s->dtype == OSP_DTYPE_BFLOAT16 && osp_cpu_has_bf16();
    if (is_global(p)) {
        s->h = (osp_window){.size = in[2], .stride = 1, .dilation = 1};
        s->w = (osp_window){.size = in[3], .stride = 1, .dilation = 1};
    } else {
        const osp_pool_attrs *a = p->attrs;
        s->h = a->window[0];
        s->w = a->window[1];
        s->include_pad = a->count_include_pad != 0;
    }
    *state = s;
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

typedef struct job {
    const pool *s;
    const char *src;
    char *dst;
} job;

// Taps [from, to) of a window at output position o that lie inside [0, extent).
static void inside(const osp_window *w, int64_t o, int64_t extent, int64_t *from, int64_t *to)
{
    const int64_t start = o * w->stride - w->pad_begin;
    *from = start < 0 ? (-start + w->dilation - 1) / w->dilation : 0;
    *to = start < extent ? osp_i64_min(w->size, (extent - 1 - start) / w->dilation + 1) : 0;
    *to = osp_i64_max(*from, *to);
}

// How many taps an average divides by: those inside, or those inside the padded source.
static int64_t divisor(const pool *s, const osp_window *w, int64_t o, int64_t extent, int64_t count)
{
    if (!s->include_pad)
        return count;
    const int64_t start = o * w->stride;  // from the start of the padding
    const int64_t padded = extent + w->pad_begin + w->pad_end;
    return start < padded ? osp_i64_min(w->size, (padded - 1 - start) / w->dilation + 1) : 0;
}

// One block of channels of one pixel, over the lines listed.
static void reduce_block(const pool *s, float *dst, const char *const *lines, int32_t count,
                         int64_t first, int64_t n, float scale)
{
    const float *rows[MAX_TAPS];
    float space[BLOCK], sum[BLOCK];
    if (s->dtype == OSP_DTYPE_FLOAT32) {
        for (int32_t k = 0; k < count; k++)
            rows[k] = (const float *)(const void *)lines[k] + first;
        if (s->max)
            s->simd->max_rows(dst, rows, count, n);
        else
            s->simd->sum_rows(dst, rows, count, n, scale);
        return;
    }
    const float *const pair[2] = {sum, space};
    for (int32_t k = 0; k < count; k++) {
        const uint16_t *from = (const uint16_t *)(const void *)lines[k] + first;
        s->simd->bfloat_to_float(k ? space : sum, from, n);
        if (k && s->max)
            s->simd->max_rows(sum, pair, 2, n);
        else if (k)
            s->simd->sum_rows(sum, pair, 2, n, 1.0f);
    }
    s->simd->scale(dst, sum, n, s->max ? 1.0f : scale);
}

static void store_max_bf16(const pool *s, char *dst, const char *const *lines, int32_t count)
{
    const uint16_t *rows[MAX_TAPS];
    for (int32_t k = 0; k < count; k++)
        rows[k] = (const uint16_t *)(const void *)lines[k];
    osp_bf16_max_rows((uint16_t *)(void *)dst, rows, count, s->c);
}

static void store_pixel(const pool *s, char *dst, const char *const *lines, int32_t count,
                        float scale)
{
    if (s->max_bf16 && count) {
        store_max_bf16(s, dst, lines, count);
        return;
    }
    if (s->dtype == OSP_DTYPE_FLOAT32 && count) {
        reduce_block(s, (float *)(void *)dst, lines, count, 0, s->c, scale);
        return;
    }
    for (int64_t c = 0; c < s->c; c += BLOCK) {
        const int64_t n = osp_i64_min(BLOCK, s->c - c);
        float out[BLOCK];
        if (count)
            reduce_block(s, out, lines, count, c, n, scale);
        else  // a window of nothing but padding
            for (int64_t i = 0; i < n; i++)
                out[i] = 0;
        if (s->dtype == OSP_DTYPE_FLOAT32)
            memcpy((float *)(void *)dst + c, out, (size_t)n * sizeof *out);
        else
            s->simd->float_to_bfloat((uint16_t *)(void *)dst + c, out, n);
    }
}

static void pool_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const pool *s = j->s;
    const int64_t bytes = (int64_t)osp_dtype_bytes(s->dtype);
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / s->oh, y = i % s->oh;
        int64_t y0, y1;
        inside(&s->h, y, s->ih, &y0, &y1);
        for (int64_t x = 0; x < s->ow; x++) {
            int64_t x0, x1;
            inside(&s->w, x, s->iw, &x0, &x1);
            const char *lines[MAX_TAPS];
            int32_t count = 0;
            for (int64_t ky = y0; ky < y1; ky++)
                for (int64_t kx = x0; kx < x1; kx++) {
                    const int64_t iy = y * s->h.stride - s->h.pad_begin + ky * s->h.dilation;
                    const int64_t ix = x * s->w.stride - s->w.pad_begin + kx * s->w.dilation;
                    lines[count++] = j->src +
                                     ((n * s->ih + iy) * s->iw + ix) * s->src_pitch * bytes;
                }
            const int64_t taps = divisor(s, &s->h, y, s->ih, y1 - y0) *
                                 divisor(s, &s->w, x, s->iw, x1 - x0);
            store_pixel(s, j->dst + (i * s->ow + x) * s->dst_pitch * bytes, lines, count,
                        taps ? 1.0f / (float)taps : 0);
        }
    }
}

// GlobalAveragePool: the whole image in groups of lines, in double between groups.
static void pool_images(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const pool *s = j->s;
    const int64_t pixels = s->ih * s->iw, bytes = (int64_t)osp_dtype_bytes(s->dtype);
    const int64_t blocks = (s->c + BLOCK - 1) / BLOCK;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / blocks, c = i % blocks * BLOCK;
        const int64_t n = osp_i64_min(BLOCK, s->c - c);
        double total[BLOCK] = {0};
        float part[BLOCK];
        for (int64_t first = 0; first < pixels; first += MAX_TAPS) {
            const int32_t count = (int32_t)osp_i64_min(MAX_TAPS, pixels - first);
            const char *lines[MAX_TAPS];
            for (int32_t k = 0; k < count; k++)
                lines[k] = j->src + (image * pixels + first + k) * s->src_pitch * bytes;
            reduce_block(s, part, lines, count, c, n, 1.0f);
            for (int64_t k = 0; k < n; k++)
                total[k] += (double)part[k];
        }
        for (int64_t k = 0; k < n; k++)
            part[k] = (float)(total[k] / (double)pixels);
        char *dst = j->dst + (image * s->dst_pitch + c) * bytes;
        if (s->dtype == OSP_DTYPE_FLOAT32)
            memcpy(dst, part, (size_t)n * sizeof *part);
        else
            s->simd->float_to_bfloat((uint16_t *)(void *)dst, part, n);
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const pool *s = state;
    job j = {s, l->src[0], l->dst[0]};
    if (!s->c)
        return OSP_OK;
    if (is_global(p))
        osp_cpu_parallel(l->threads, s->n * ((s->c + BLOCK - 1) / BLOCK),
                         (double)(s->ih * s->iw) * BLOCK * 0.1, pool_images, &j);
    else
        osp_cpu_parallel(l->threads, s->n * s->oh,
                         (double)(s->ow * s->c * s->h.size * s->w.size) * 0.1, pool_lines, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_pool_rows = {.name = "pixel_rows",
                                      .refuse = refuse,
                                      .prepare = prepare,
                                      .launch = launch,
                                      .release = release};
