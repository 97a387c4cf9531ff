// Letterbox and stretch. OpenCV's bilinear resize of bytes, restated:
// - column x reads source position (float)((x + 0.5) * scale - 0.5) with scale = 1 / (dst / src) in
//   double; its two weights are rounded to 11 bits; past either end the edge pixel counts alone;
// - rows likewise, but past an end the same row is taken twice, with both weights;
// - a pixel is ((w0 * (s0 >> 4) >> 16) + (w1 * (s1 >> 4) >> 16) + 2) >> 2;
// - shrinking both sides by exactly two is the mean of 2 x 2 pixels, (sum + 2) >> 2: the same
//   formula with all weights 1024.
// Rows that two output rows share are resized across once. Thread rule: see letterbox.h.
#include "vision/letterbox.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "vision/letterbox_rows.h"
#include "base/pixels.h"

enum { WEIGHT_ONE = 2048, HALF = 1024 };

struct osp_letterboxer {
    osp_context *ctx;
    const osp_row_ops *ops;
    int32_t dst_w, dst_h;
    size_t stride;      // elements between the channels of a row
    osp_row_taps taps;  // for taps_src pixels of taps_bytes to taps.count columns
    int32_t taps_src, taps_bytes;
    bool taps_halved;
    int16_t *rows[2];  // resized across, three channels each
    int32_t row_y[2];  // the source row that each holds; -1: none
    uint8_t *bytes;    // one output row, planar
    uint8_t *rgb;      // one source row of a YUV image
    size_t rgb_capacity;
};

osp_letterbox osp_letterbox_fit(osp_resize mode, int32_t src_w, int32_t src_h, int32_t dst_w,
                                int32_t dst_h)
{
    osp_letterbox g = {.src_w = src_w,
                       .src_h = src_h,
                       .dst_w = dst_w,
                       .dst_h = dst_h,
                       .width = dst_w,
                       .height = dst_h};
    if (mode != OSP_RESIZE_STRETCH) {
        const double rh = (double)dst_h / src_h, rw = (double)dst_w / src_w;
        const double r = rh < rw ? rh : rw;
        g.width = (int32_t)fmax(nearbyint(src_w * r), 1);
        g.height = (int32_t)fmax(nearbyint(src_h * r), 1);
        g.left = (int32_t)nearbyint((dst_w - g.width) / 2.0 - 0.1);
        g.top = (int32_t)nearbyint((dst_h - g.height) / 2.0 - 0.1);
    }
    g.scale_x = (float)((double)g.width / src_w);
    g.scale_y = (float)((double)g.height / src_h);
    return g;
}

static float clip(float v, float top)
{
    return v < 0 ? 0 : v > top ? top : v;
}

void osp_letterbox_unmap(const osp_letterbox *g, const float box[4], float out[4])
{
    for (int i = 0; i < 4; i += 2) {
        out[i] = clip((box[i] - (float)g->left) / g->scale_x, (float)g->src_w);
        out[i + 1] = clip((box[i + 1] - (float)g->top) / g->scale_y, (float)g->src_h);
    }
}

osp_status osp_letterboxer_open(osp_letterboxer **out, osp_context *ctx, int32_t dst_w,
                                int32_t dst_h, osp_error *err)
{
    *out = NULL;
    if (dst_w < 1 || dst_h < 1 || dst_w > OSP_IMAGE_SIDE_MAX || dst_h > OSP_IMAGE_SIDE_MAX)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "letterbox to %d x %d pixels: each side must be 1 to %d",
                 dst_w, dst_h, (int)OSP_IMAGE_SIDE_MAX);
    osp_letterboxer *b = osp_mem_calloc(&ctx->mem, 1, sizeof *b);
    if (!b)
        OSP_FAIL_MEMORY(err);
    const size_t columns = (size_t)dst_w;
    b->ctx = ctx;
    b->ops = osp_row_ops_pick();
    b->dst_w = dst_w;
    b->dst_h = dst_h;
    b->stride = (columns + OSP_ROW_ALIGN - 1) / OSP_ROW_ALIGN * OSP_ROW_ALIGN;
    b->taps.offset = osp_mem_alloc(&ctx->mem, columns * sizeof *b->taps.offset);
    b->taps.weight = osp_mem_alloc(&ctx->mem, columns * OSP_ROW_TAP_WORDS * sizeof *b->taps.weight);
    for (int i = 0; i < 2; i++)
        b->rows[i] = osp_mem_alloc(&ctx->mem, b->stride * 3 * sizeof *b->rows[i]);
    b->bytes = osp_mem_alloc(&ctx->mem, b->stride * 3);
    *out = b;
    if (b->taps.offset && b->taps.weight && b->rows[0] && b->rows[1] && b->bytes)
        return OSP_OK;
    osp_letterboxer_close(out);
    OSP_FAIL_MEMORY(err);
}

void osp_letterboxer_close(osp_letterboxer **boxer)
{
    osp_letterboxer *b = boxer ? *boxer : NULL;
    if (!b)
        return;
    osp_mem *mem = &b->ctx->mem;
    osp_mem_free(mem, b->taps.offset);
    osp_mem_free(mem, b->taps.weight);
    osp_mem_free(mem, b->rows[0]);
    osp_mem_free(mem, b->rows[1]);
    osp_mem_free(mem, b->bytes);
    osp_mem_free(mem, b->rgb);
    osp_mem_free(mem, b);
    *boxer = NULL;
}

// First source pixel of output position i, and the weight of the second, from 0 to 1.
static int32_t source_position(int32_t i, int32_t src, int32_t dst, float *weight)
{
    const double scale = 1.0 / ((double)dst / src);
    const volatile double scaled = (i + 0.5) * scale;  // volatile: never one fused operation
    const float at = (float)(scaled - 0.5);
    const float low = floorf(at);
    *weight = at - low;
    return (int32_t)low;
}

static int16_t fixed(float weight)
{
    return (int16_t)nearbyintf(weight * WEIGHT_ONE);
}

static void build_taps(osp_letterboxer *b, int32_t src, int32_t dst, int32_t pixel, bool halved)
{
    osp_row_taps *t = &b->taps;
    if (b->taps_src == src && t->count == dst && b->taps_bytes == pixel && b->taps_halved == halved)
        return;
    const int64_t row_bytes = (int64_t)src * pixel;
    t->step = src > 1 ? pixel : 0;
    t->wide = 0;
    for (int32_t i = 0; i < dst; i++) {
        float weight;
        int32_t x = source_position(i, src, dst, &weight);
        int16_t w0 = fixed(1 - weight), w1 = fixed(weight);
        if (halved) {
            x = 2 * i;
            w0 = w1 = HALF;
        } else if (x < 0 || src == 1) {
            x = 0;
            w0 = WEIGHT_ONE;
            w1 = 0;
        } else if (x >= src - 1) {  // the last pixel alone, as right neighbour of the one before
            x = src - 2;
            w0 = 0;
            w1 = WEIGHT_ONE;
        }
        t->offset[i] = x * pixel;
        for (int k = 0; k < OSP_ROW_TAP_WORDS; k++)
            t->weight[i * OSP_ROW_TAP_WORDS + k] = k % 2 ? w1 : w0;
        if (t->offset[i] + 8 <= row_bytes)
            t->wide = i + 1;
    }
    t->count = dst;
    b->taps_src = src;
    b->taps_bytes = pixel;
    b->taps_halved = halved;
}

// The source row y resized across; the other slot, which holds row `keep`, stays.
static const int16_t *resized_row(osp_letterboxer *b, const osp_image *image, int32_t y,
                                  int32_t keep)
{
    for (int i = 0; i < 2; i++)
        if (b->row_y[i] == y)
            return b->rows[i];
    const int slot = b->row_y[0] == keep ? 1 : 0;
    const uint8_t *src = NULL;
    if (osp_pixel_is_yuv(image->format)) {
        osp_yuv_row(b->rgb, image, y);
        src = b->rgb;
    } else {
        src = osp_image_row(image, 0, y);
    }
    const int channels = image->format == OSP_PIXEL_GREY ? 1 : 3;
    b->ops->across(b->rows[slot], b->stride, src, &b->taps, channels);
    b->row_y[slot] = y;
    return b->rows[slot];
}

static void fill(osp_letterbox_layout layout, void *dst, size_t at, size_t count)
{
    if (layout == OSP_LETTERBOX_U8_HWC) {
        memset((uint8_t *)dst + at, OSP_LETTERBOX_PAD, count);
        return;
    }
    float *p = (float *)dst + at;
    for (size_t i = 0; i < count; i++)
        p[i] = OSP_LETTERBOX_PAD / 255.0f;
}

// `count` columns of three elements from column `x` of row `y`, as padding.
static void pad(const osp_letterboxer *b, osp_letterbox_layout layout, void *dst, int32_t y,
                int32_t x, int32_t count)
{
    const size_t plane = (size_t)b->dst_w * (size_t)b->dst_h;
    const size_t at = (size_t)y * (size_t)b->dst_w + (size_t)x;
    if (layout != OSP_LETTERBOX_F32_CHW) {
        fill(layout, dst, at * 3, (size_t)count * 3);
        return;
    }
    for (size_t c = 0; c < 3; c++)
        fill(layout, dst, c * plane + at, (size_t)count);
}

// One output row from two source rows and their weights. channel[c]: where R, G and B stand.
static void emit(osp_letterboxer *b, osp_letterbox_layout layout, void *dst, const osp_letterbox *g,
                 int32_t y, const int16_t *const rows[2], const int weight[2], const int channel[3])
{
    const size_t plane = (size_t)b->dst_w * (size_t)b->dst_h;
    const size_t at = (size_t)(g->top + y) * (size_t)b->dst_w + (size_t)g->left;
    for (size_t c = 0; c < 3; c++) {
        const size_t from = (size_t)channel[c] * b->stride;
        if (layout == OSP_LETTERBOX_F32_CHW)
            b->ops->down_f32((float *)dst + c * plane + at, rows[0] + from, rows[1] + from,
                             weight[0], weight[1], g->width);
        else
            b->ops->down_u8(b->bytes + c * b->stride, rows[0] + from, rows[1] + from, weight[0],
                            weight[1], g->width);
    }
    const uint8_t *red = b->bytes, *green = red + b->stride, *blue = green + b->stride;
    if (layout == OSP_LETTERBOX_U8_HWC) {
        uint8_t *p = (uint8_t *)dst + at * 3;
        for (int32_t x = 0; x < g->width; x++, p += 3) {
            p[0] = red[x];
            p[1] = green[x];
            p[2] = blue[x];
        }
    } else if (layout == OSP_LETTERBOX_F32_HWC) {
        float *p = (float *)dst + at * 3;
        for (int32_t x = 0; x < g->width; x++, p += 3) {
            p[0] = red[x] / 255.0f;
            p[1] = green[x] / 255.0f;
            p[2] = blue[x] / 255.0f;
        }
    }
}

static void resize_rows(osp_letterboxer *b, const osp_image *image, osp_letterbox_layout layout,
                        void *dst, const osp_letterbox *g)
{
    const bool halved = g->src_w == 2 * (int64_t)g->width && g->src_h == 2 * (int64_t)g->height;
    const int32_t pixel = osp_pixel_is_yuv(image->format) ? 3 : osp_pixel_bytes(image->format);
    const bool reversed = image->format == OSP_PIXEL_BGR || image->format == OSP_PIXEL_BGRA;
    const bool grey = image->format == OSP_PIXEL_GREY;
    const int channel[3] = {reversed ? 2 : 0, grey ? 0 : 1, reversed || grey ? 0 : 2};
    build_taps(b, g->src_w, g->width, pixel, halved);
    b->row_y[0] = b->row_y[1] = -1;
    for (int32_t y = 0; y < g->height; y++) {
        float part;
        const int32_t low = halved ? 2 * y : source_position(y, g->src_h, g->height, &part);
        const int weight[2] = {halved ? HALF : fixed(1 - part), halved ? HALF : fixed(part)};
        const int32_t last = g->src_h - 1;
        const int32_t y0 = low < 0 ? 0 : low > last ? last : low;
        const int32_t y1 = low + 1 > last ? last : low + 1;
        const int16_t *first = resized_row(b, image, y0, y1);
        const int16_t *rows[2] = {first, resized_row(b, image, y1, y0)};
        emit(b, layout, dst, g, y, rows, weight, channel);
        pad(b, layout, dst, g->top + y, 0, g->left);
        pad(b, layout, dst, g->top + y, g->left + g->width, g->dst_w - g->left - g->width);
    }
}

static osp_status reserve_rgb(osp_letterboxer *b, int32_t width, osp_error *err)
{
    const size_t need = (size_t)width * 3;
    if (b->rgb_capacity >= need)
        return OSP_OK;
    uint8_t *rgb = osp_mem_alloc(&b->ctx->mem, need);
    if (!rgb)
        OSP_FAIL_MEMORY(err);
    osp_mem_free(&b->ctx->mem, b->rgb);
    b->rgb = rgb;
    b->rgb_capacity = need;
    return OSP_OK;
}

osp_status osp_letterboxer_run(osp_letterboxer *b, const osp_image *image, osp_resize mode,
                               osp_letterbox_layout layout, void *dst, osp_letterbox *geometry,
                               osp_error *err)
{
    OSP_TRY(osp_image_check(image, err));
    if (osp_pixel_is_yuv(image->format))
        OSP_TRY(reserve_rgb(b, image->width, err));
    const osp_letterbox g = osp_letterbox_fit(mode, image->width, image->height, b->dst_w,
                                              b->dst_h);
    for (int32_t y = 0; y < g.top; y++)
        pad(b, layout, dst, y, 0, g.dst_w);
    for (int32_t y = g.top + g.height; y < g.dst_h; y++)
        pad(b, layout, dst, y, 0, g.dst_w);
    resize_rows(b, image, layout, dst, &g);
    *geometry = g;
    return OSP_OK;
}
