// GridSample of plain FP32 or bfloat16 images at FP32 points, linear, zeros or border outside: the
// four corners of a point are found once for all channels.
#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/half.h"
#include "ops/grid_sample.h"

static const char *refuse(const osp_problem *p)
{
    const osp_grid_attrs *a = p->attrs;
    if (!osp_operand_is(p->src, OSP_DTYPE_FLOAT32) && !osp_operand_is(p->src, OSP_DTYPE_BFLOAT16))
        return "neither FP32 nor bfloat16";
    if (!osp_operand_is(p->src + 1, OSP_DTYPE_FLOAT32))
        return "points that are not FP32";
    if (p->src->shape.rank != 4)
        return "not an image";
    if (a->mode != OSP_SAMPLE_LINEAR || a->padding == OSP_SAMPLE_REFLECTION)
        return "not linear, or reflected";
    return osp_refuse_not_plain(p);
}

typedef struct job {
    const osp_problem *p;
    const void *src;
    const float *grid;
    void *dst;
} job;

static float source_point(const osp_grid_attrs *a, float g, int64_t length)
{
    const float n = (float)length;
    float x = a->align_corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
    if (a->padding == OSP_SAMPLE_BORDER)
        x = x > n - 1 ? n - 1 : x >= 0 ? x : 0;
    return x > 0x1p40f ? 0x1p40f : x >= -0x1p40f ? x : -0x1p40f;
}

// All channels of one point; planes are `plane` and `pixels` elements.
static void blend(const float *src, float *dst, int64_t c, int64_t plane, int64_t pixels,
                  const int64_t at[4], const float weight[4])
{
    for (int64_t k = 0; k < c; k++, src += plane, dst += pixels)
        *dst = src[at[0]] * weight[0] + src[at[1]] * weight[1] + src[at[2]] * weight[2] +
               src[at[3]] * weight[3];
}

static void blend_bf16(const uint16_t *src, uint16_t *dst, int64_t c, int64_t plane, int64_t pixels,
                       const int64_t at[4], const float weight[4])
{
    for (int64_t k = 0; k < c; k++, src += plane, dst += pixels) {
        float sum = 0;
        for (int32_t i = 0; i < 4; i++)
            sum += osp_bfloat_to_float(src[at[i]]) * weight[i];
        *dst = osp_float_to_bfloat(sum);
    }
}

static void sample_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const osp_grid_attrs *a = j->p->attrs;
    const int64_t *in = j->p->src->shape.dims, *out = j->p->dst->shape.dims;
    const int64_t c = in[1], h = in[2], w = in[3], plane = h * w, pixels = out[2] * out[3];
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / pixels;
        const float x = source_point(a, j->grid[2 * i], w);
        const float y = source_point(a, j->grid[2 * i + 1], h);
        const int64_t x0 = (int64_t)floorf(x), y0 = (int64_t)floorf(y);
        const float fx = x - (float)x0, fy = y - (float)y0;
        int64_t at[4];
        float weight[4];
        for (int32_t k = 0; k < 4; k++) {
            const int64_t px = x0 + (k & 1), py = y0 + (k >> 1);
            const bool inside = px >= 0 && px < w && py >= 0 && py < h;
            at[k] = inside ? py * w + px : 0;
            weight[k] = inside ? ((k & 1) ? fx : 1 - fx) * ((k >> 1) ? fy : 1 - fy) : 0;
        }
        const int64_t from = n * c * plane, to = n * c * pixels + i % pixels;
        if (j->p->src->dtype == OSP_DTYPE_FLOAT32)
            blend((const float *)j->src + from, (float *)j->dst + to, c, plane, pixels, at, weight);
        else
            blend_bf16((const uint16_t *)j->src + from, (uint16_t *)j->dst + to, c, plane, pixels,
                       at, weight);
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)state;
    (void)err;
    job j = {p, l->src[0], l->src[1], l->dst[0]};
    const int64_t *out = p->dst->shape.dims;
    if (osp_operand_count(p->dst))
        osp_cpu_parallel(l->threads, out[0] * out[2] * out[3], 20 + 4 * (double)out[1],
                         sample_range, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_grid_sample = {.name = "points", .refuse = refuse, .launch = launch};
