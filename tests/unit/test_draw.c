// Drawing: where lines and labels fall, what lies outside, formats, names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/draw.h"
#include "vision/font.h"

enum { W = 200, H = 120 };

static osp_image blank(uint8_t *pixels, osp_pixel_format format, int step)
{
    memset(pixels, 7, (size_t)(W * H * step));
    return (osp_image){.plane = {pixels}, .width = W, .height = H, .format = format};
}

static void test_frame_and_label(void **state)
{
    (void)state;
    static const osp_pixel_format formats[] = {OSP_PIXEL_RGB, OSP_PIXEL_BGR, OSP_PIXEL_RGBA,
                                               OSP_PIXEL_BGRA};
    static const char *const names[] = {"a", NULL,
                                        "tr\xC3\xBC"
                                        "ck"};
    uint8_t *pixels = malloc(W * H * 4);
    for (int f = 0; f < 4; f++) {
        const int step = f < 2 ? 3 : 4, red = f % 2 ? 2 : 0;
        osp_image image = blank(pixels, formats[f], step);
        const osp_detection box = {
            .x1 = 40, .y1 = 50, .x2 = 99.5f, .y2 = 89, .score = 0.5f, .class_id = 2};
        osp_error err;
        assert_int_equal(osp_boxes_draw(&image, &box, 1, names, 3, &err), OSP_OK);
        uint8_t rgb[3];
        osp_class_color(2, rgb);
        const int on[][2] = {{40, 50}, {99, 50}, {40, 89}, {99, 89}, {70, 50}, {40, 70}, {99, 70}};
        for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
            const uint8_t *p = pixels + (on[i][1] * W + on[i][0]) * step;
            assert_int_equal(p[red], rgb[0]);
            assert_int_equal(p[1], rgb[1]);
            assert_int_equal(p[2 - red], rgb[2]);
            assert_true(step == 3 || p[3] == 7);  // alpha stays
        }
        const int off[][2] = {{41, 51}, {98, 88}, {100, 90}, {39, 60}, {150, 45}, {70, 90}};
        for (size_t i = 0; i < sizeof off / sizeof *off; i++)
            assert_int_equal(pixels[(off[i][1] * W + off[i][0]) * step], 7);
        int ink = 0;  // "tr?ck 0.50" above the box: ten letters
        for (int y = 38; y < 50; y++)
            for (int x = 40; x < 40 + 10 * 6 + 3; x++) {
                const uint8_t *p = pixels + (y * W + x) * step;
                ink += p[0] == p[1] && p[1] == p[2] && (p[0] == 0 || p[0] == 255);
            }
        int want = 0;
        for (const char *c = "tr?ck 0.50"; *c; c++)
            for (int y = 0; y < OSP_FONT_HEIGHT; y++)
                want += __builtin_popcount(osp_font_glyph((uint32_t)*c)[y]);
        assert_int_equal(ink, want);
    }
    free(pixels);
}

static void test_outside(void **state)
{
    (void)state;
    // Guard bytes around the pixels show a write beyond them without a sanitizer.
    uint8_t *block = malloc(W * H * 3 + 2000), *pixels = block + 1000;
    memset(block, 0xA5, W * H * 3 + 2000);
    osp_image image = blank(pixels, OSP_PIXEL_RGB, 3);
    const osp_detection boxes[] = {
        {.x1 = -50, .y1 = -50, .x2 = 1e30f, .y2 = 1e30f, .class_id = 1},
        {.x1 = -1e30f, .y1 = 5, .x2 = -1e29f, .y2 = 6},
        {.x1 = 199, .y1 = 119, .x2 = 200, .y2 = 120, .class_id = INT32_MAX},
        {.x1 = 50, .y1 = 60, .x2 = 40, .y2 = 30, .class_id = INT32_MIN},
        {.x1 = NAN, .y1 = 60, .x2 = 40, .y2 = 30},
        {.x1 = 1e9f, .y1 = 1e9f, .x2 = INFINITY, .y2 = 30},
        {.x1 = 3, .y1 = 3, .x2 = 3, .y2 = 3, .score = 1e30f}};
    char name[400];
    memset(name, 'w', sizeof name);
    name[399] = 0;
    const char *names[] = {name, "\xFF\xC3"};
    assert_int_equal(osp_boxes_draw(&image, boxes, 7, names, 2, NULL), OSP_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(block[i] == 0xA5 && block[1000 + W * H * 3 + i] == 0xA5);
    free(block);
}

static void test_refusals(void **state)
{
    (void)state;
    uint8_t *pixels = malloc(W * H * 3);
    osp_image image = blank(pixels, OSP_PIXEL_RGB, 3);
    const osp_detection box = {0};
    osp_error err;
    assert_int_equal(osp_boxes_draw(&image, NULL, 1, NULL, 0, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_boxes_draw(&image, &box, 1, NULL, 2, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_boxes_draw(&image, NULL, 0, NULL, 0, &err), OSP_OK);
    image.format = OSP_PIXEL_GREY;
    assert_int_equal(osp_boxes_draw(&image, &box, 1, NULL, 0, &err), OSP_ERROR_UNSUPPORTED);
    image.format = OSP_PIXEL_RGB;
    image.width = 0;
    assert_int_equal(osp_boxes_draw(&image, &box, 1, NULL, 0, &err), OSP_ERROR_ARGUMENT);
    free(pixels);
}

static void test_colors(void **state)
{
    (void)state;
    for (int a = 0; a < 12; a++)
        for (int b = 0; b < a; b++) {
            uint8_t x[3], y[3];
            osp_class_color(a, x);
            osp_class_color(b, y);
            assert_true(abs(x[0] - y[0]) + abs(x[1] - y[1]) + abs(x[2] - y[2]) > 40);
        }
}

static void test_font(void **state)
{
    (void)state;
    for (uint32_t c = OSP_FONT_FIRST; c <= OSP_FONT_LAST; c++)
        for (uint32_t d = OSP_FONT_FIRST; d < c; d++)
            assert_memory_not_equal(osp_font_glyph(c), osp_font_glyph(d), OSP_FONT_HEIGHT);
    assert_ptr_equal(osp_font_glyph(0), osp_font_glyph('?'));
    assert_ptr_equal(osp_font_glyph(0x10FFFF), osp_font_glyph('?'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_and_label),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_colors),
        cmocka_unit_test(test_font),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
