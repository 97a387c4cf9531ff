// Drawing boxes and labels. All coordinates are cut to the picture before a pixel is touched.
// Thread rule: see draw.h.
#include "vision/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "vision/font.h"
#include "base/pixels.h"

enum { LABEL_BYTES = 96, ADVANCE = OSP_FONT_WIDTH + 1, MARGIN = 2 };

typedef struct canvas {
    osp_image *image;
    int32_t step;   // bytes of a pixel
    bool reversed;  // blue first
    int32_t scale;  // of a letter's pixel
    int32_t line;   // thickness
} canvas;

// A rectangle in pixels; x1 and y1 are not part of it.
typedef struct area {
    int64_t x0, y0, x1, y1;
} area;

static void paint(const canvas *c, area a, const uint8_t rgb[3])
{
    const int64_t w = c->image->width, h = c->image->height;
    const int64_t x0 = a.x0 > 0 ? a.x0 : 0, x1 = a.x1 < w ? a.x1 : w;
    const int64_t y0 = a.y0 > 0 ? a.y0 : 0, y1 = a.y1 < h ? a.y1 : h;
    const int red = c->reversed ? 2 : 0;
    for (int64_t y = y0; y < y1; y++) {
        uint8_t *row = (uint8_t *)osp_image_row(c->image, 0, (int32_t)y);
        for (int64_t x = x0; x < x1; x++) {
            uint8_t *p = row + x * c->step;
            p[red] = rgb[0];
            p[1] = rgb[1];
            p[2 - red] = rgb[2];
        }
    }
}

// Hues a golden angle apart: any few classes are far from each other; every third is darker.
void osp_class_color(int32_t class_id, uint8_t rgb[3])
{
    const uint32_t n = (uint32_t)class_id;
    const uint32_t hue = (n * 0x9E3779B9u + 0x05000000u) >> 16;  // 0..65535 is the circle
    const int32_t top = n % 3 == 2 ? 200 : 255, low = n % 3 == 1 ? 80 : 30;
    for (int i = 0; i < 3; i++) {
        const int32_t turn = (int32_t)((hue + (uint32_t)(3 - i) * 21845u) & 0xFFFF);
        const int32_t away = turn < 32768 ? turn : 65536 - turn;  // from this channel's peak
        int32_t level = (21845 - away) * 255 / 10923;             // 255 within 60 degrees
        level = level < 0 ? 0 : level > 255 ? 255 : level;
        rgb[i] = (uint8_t)(low + (top - low) * level / 255);
    }
}

// Black or white, whichever is easier to read on it.
static void ink_on(const uint8_t rgb[3], uint8_t ink[3])
{
    const int32_t luma = rgb[0] * 299 + rgb[1] * 587 + rgb[2] * 114;
    memset(ink, luma > 128000 ? 0 : 255, 3);
}

// Next character of UTF-8; everything but ASCII comes as one '?' a character.
static uint32_t next_code(const char **text)
{
    const uint8_t *p = (const uint8_t *)*text;
    const uint8_t first = *p++;
    while (first >= 0x80 && (*p & 0xC0) == 0x80)
        p++;
    *text = (const char *)p;
    return first < 0x80 ? first : '?';
}

static int32_t text_length(const char *text)
{
    int32_t n = 0;
    for (; *text; n++)
        next_code(&text);
    return n;
}

static void draw_text(const canvas *c, int64_t x, int64_t y, const char *text, const uint8_t rgb[3])
{
    for (; *text; x += ADVANCE * c->scale) {
        const uint8_t *glyph = osp_font_glyph(next_code(&text));
        for (int64_t gy = 0; gy < OSP_FONT_HEIGHT; gy++)
            for (int64_t gx = 0; gx < OSP_FONT_WIDTH; gx++)
                if (glyph[gy] >> (OSP_FONT_WIDTH - 1 - gx) & 1)
                    paint(c,
                          (area){x + gx * c->scale, y + gy * c->scale, x + (gx + 1) * c->scale,
                                 y + (gy + 1) * c->scale},
                          rgb);
    }
}

static void draw_frame(const canvas *c, area a, const uint8_t rgb[3])
{
    const int32_t t = c->line;
    paint(c, (area){a.x0, a.y0, a.x1, a.y0 + t}, rgb);
    paint(c, (area){a.x0, a.y1 - t, a.x1, a.y1}, rgb);
    paint(c, (area){a.x0, a.y0, a.x0 + t, a.y1}, rgb);
    paint(c, (area){a.x1 - t, a.y0, a.x1, a.y1}, rgb);
}

// Above the box where there is room, else inside its top edge; moved left to stay in the picture.
static void draw_label(const canvas *c, area box, const char *text, const uint8_t rgb[3])
{
    const int64_t margin = (int64_t)MARGIN * c->scale;
    const int64_t w = (int64_t)text_length(text) * ADVANCE * c->scale - c->scale + 2 * margin;
    const int64_t h = (int64_t)OSP_FONT_HEIGHT * c->scale + 2 * margin - c->scale;
    int64_t x = box.x0, y = box.y0 - h;
    if (y < 0)
        y = box.y0;
    if (x + w > c->image->width)
        x = c->image->width - w;
    if (x < 0)
        x = 0;
    uint8_t ink[3];
    ink_on(rgb, ink);
    paint(c, (area){x, y, x + w, y + h}, rgb);
    draw_text(c, x + margin, y + margin, text, ink);
}

static int64_t to_pixel(float v)
{
    return (int64_t)floorf(v < -1e9f ? -1e9f : v > 1e9f ? 1e9f : v);
}

static void draw_one(const canvas *c, const osp_detection *d, const char *name)
{
    if (!isfinite(d->x1) || !isfinite(d->y1) || !isfinite(d->x2) || !isfinite(d->y2))
        return;
    uint8_t rgb[3];
    char text[LABEL_BYTES];
    osp_class_color(d->class_id, rgb);
    area box = {to_pixel(d->x1), to_pixel(d->y1), to_pixel(d->x2) + 1, to_pixel(d->y2) + 1};
    if (box.x1 > c->image->width)  // a box up to the border ends on its last pixel
        box.x1 = c->image->width;
    if (box.y1 > c->image->height)
        box.y1 = c->image->height;
    if (name)
        snprintf(text, sizeof text, "%.80s %.2f", name, (double)d->score);
    else
        snprintf(text, sizeof text, "%d %.2f", d->class_id, (double)d->score);
    draw_frame(c, box, rgb);
    draw_label(c, box, text, rgb);
}

osp_status osp_boxes_draw(osp_image *image, const osp_detection *boxes, size_t count,
                          const char *const *names, int32_t name_count, osp_error *err)
{
    OSP_TRY(osp_image_check(image, err));
    if (osp_pixel_is_yuv(image->format) || image->format == OSP_PIXEL_GREY)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "boxes are drawn into RGB, BGR, RGBA or BGRA pixels: convert the image first");
    if ((count && !boxes) || name_count < 0 || (name_count && !names))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "draw: boxes or names are NULL, or name_count is wrong");
    const int32_t side = image->width > image->height ? image->width : image->height;
    const canvas c = {.image = image,
                      .step = osp_pixel_bytes(image->format),
                      .reversed = image->format == OSP_PIXEL_BGR || image->format == OSP_PIXEL_BGRA,
                      .scale = 1 + side / 1200,
                      .line = 1 + side / 640};
    for (size_t i = count; i-- > 0;) {
        const int32_t id = boxes[i].class_id;
        draw_one(&c, &boxes[i], id >= 0 && id < name_count ? names[id] : NULL);
    }
    return OSP_OK;
}
