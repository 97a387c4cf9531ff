// Letterbox and resize against OpenCV and Ultralytics (tests/vision/make_references.py), every
// pixel format and layout against packed RGB, plain loops against vector loops, and the way back
// for boxes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/letterbox.h"
#include "vision/letterbox_rows.h"
#include "base/pixels.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests"
#endif

static osp_context ctx;

static uint8_t *noise(size_t count, uint32_t seed)
{
    uint8_t *bytes = malloc(count);
    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        uint32_t x = (uint32_t)i * 2654435761u + seed;
        x ^= x >> 15;
        x *= 0x85EBCA6Bu;
        x ^= x >> 13;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return bytes;
}

static uint32_t crc32_of(const uint8_t *p, size_t size)
{
    static uint32_t table[256];
    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
        table[i] = c;
    }
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

static osp_image packed(uint8_t *pixels, int w, int h, osp_pixel_format format)
{
    return (osp_image){.plane = {pixels}, .width = w, .height = h, .format = format};
}

static void *boxed(const osp_image *image, osp_resize mode, osp_letterbox_layout layout, int w,
                   int h)
{
    osp_letterboxer *boxer;
    osp_letterbox geometry;
    osp_error err;
    void *dst = malloc((size_t)w * (size_t)h * 3 * (layout == OSP_LETTERBOX_U8_HWC ? 1 : 4));
    assert_non_null(dst);
    assert_int_equal(osp_letterboxer_open(&boxer, &ctx, w, h, &err), OSP_OK);
    assert_int_equal(osp_letterboxer_run(boxer, image, mode, layout, dst, &geometry, &err), OSP_OK);
    osp_letterboxer_close(&boxer);
    return dst;
}

static void test_references(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/data/vision/resize.txt", "r");
    assert_non_null(file);
    char line[256], kind[16];
    int counts[3] = {0};
    while (fgets(line, sizeof line, file)) {
        int sw, sh, dw, dh;
        unsigned seed, crc;
        if (line[0] == '#')
            continue;
        assert_int_equal(
            sscanf(line, "%15s %d %d %d %d %u %u", kind, &sw, &sh, &dw, &dh, &seed, &crc), 7);
        uint8_t *src = noise((size_t)sw * (size_t)sh * 3, seed);
        osp_image image = packed(src, sw, sh, OSP_PIXEL_RGB);
        osp_resize mode = kind[0] == 'l' ? OSP_RESIZE_LETTERBOX : OSP_RESIZE_STRETCH;
        if (kind[0] == 'n') {
            image.format = OSP_PIXEL_NV12;
            image.plane[1] = src + (size_t)sw * (size_t)sh;
        }
        uint8_t *dst = boxed(&image, mode, OSP_LETTERBOX_U8_HWC, dw, dh);
        if (crc32_of(dst, (size_t)dw * (size_t)dh * 3) != crc)
            fail_msg("differs from OpenCV: %s", line);
        counts[kind[0] == 'l' ? 1 : kind[0] == 'n' ? 2 : 0]++;
        free(dst);
        free(src);
    }
    fclose(file);
    assert_true(counts[0] >= 1200 && counts[1] >= 200 && counts[2] >= 20);
    print_message("%d resizes, %d letterboxes, %d NV12 pictures equal to OpenCV's\n", counts[0],
                  counts[1], counts[2]);
}

// Vector loops must give what plain loops give, at every width and at the end of a buffer that
// holds not one byte more than the row.
static void test_plain_equals_picked(void **state)
{
    (void)state;
    const osp_row_ops *fast = osp_row_ops_pick(), *plain = osp_row_ops_plain();
    for (int count = 1; count < 70; count++) {
        int16_t *rows = malloc(sizeof *rows * 2 * (size_t)count);
        uint8_t *a = malloc((size_t)count), *b = malloc((size_t)count);
        float *fa = malloc(sizeof *fa * (size_t)count), *fb = malloc(sizeof *fb * (size_t)count);
        for (int i = 0; i < 2 * count; i++)
            rows[i] = (int16_t)((uint32_t)i * 7919u % 32641u);
        for (int w = 0; w <= 2048; w += 131) {
            fast->down_u8(a, rows, rows + count, w, 2048 - w, count);
            plain->down_u8(b, rows, rows + count, w, 2048 - w, count);
            assert_memory_equal(a, b, (size_t)count);
            fast->down_f32(fa, rows, rows + count, w, 2048 - w, count);
            plain->down_f32(fb, rows, rows + count, w, 2048 - w, count);
            for (int i = 0; i < count; i++)
                assert_true(fa[i] == fb[i] && fa[i] == (float)a[i] / 255.0f);
        }
        free(rows);
        free(a);
        free(b);
        free(fa);
        free(fb);
    }
}

// Every packed format, with a wide pitch, gives the bytes of RGB.
static void test_formats(void **state)
{
    (void)state;
    static const osp_pixel_format formats[] = {OSP_PIXEL_BGR, OSP_PIXEL_RGBA, OSP_PIXEL_BGRA};
    static const int sizes[][4] = {{33, 21, 64, 48}, {101, 77, 40, 32}, {64, 64, 32, 32},
                                   {1, 1, 7, 5},     {2, 9, 31, 31},    {640, 3, 64, 64}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int w = sizes[s][0], h = sizes[s][1], dw = sizes[s][2], dh = sizes[s][3];
        const size_t bytes = (size_t)dw * (size_t)dh * 3;
        uint8_t *rgb = noise((size_t)w * (size_t)h * 3, 5);
        const osp_image base = packed(rgb, w, h, OSP_PIXEL_RGB);
        for (int mode = OSP_RESIZE_LETTERBOX; mode <= OSP_RESIZE_STRETCH; mode++) {
            uint8_t *want = boxed(&base, (osp_resize)mode, OSP_LETTERBOX_U8_HWC, dw, dh);
            for (size_t f = 0; f < 3; f++) {
                const size_t n = (size_t)osp_pixel_bytes(formats[f]), pitch = (size_t)w * n + 13;
                uint8_t *pixels = noise(pitch * (size_t)h, 99);
                const int red = formats[f] == OSP_PIXEL_RGBA ? 0 : 2;
                for (int y = 0; y < h; y++)
                    for (int x = 0; x < w; x++)
                        for (int c = 0; c < 3; c++)
                            pixels[(size_t)y * pitch + (size_t)x * n + (size_t)(red ? 2 - c : c)] =
                                rgb[(y * w + x) * 3 + c];
                osp_image image = packed(pixels, w, h, formats[f]);
                image.pitch_bytes[0] = pitch;
                uint8_t *got = boxed(&image, (osp_resize)mode, OSP_LETTERBOX_U8_HWC, dw, dh);
                assert_memory_equal(got, want, bytes);
                free(got);
                free(pixels);
            }
            free(want);
        }
        free(rgb);
    }
}

static void test_grey(void **state)
{
    (void)state;
    uint8_t *grey = noise(37 * 23, 3), *rgb = malloc(37 * 23 * 3);
    for (int i = 0; i < 37 * 23 * 3; i++)
        rgb[i] = grey[i / 3];
    const osp_image a = packed(grey, 37, 23, OSP_PIXEL_GREY),
                    b = packed(rgb, 37, 23, OSP_PIXEL_RGB);
    uint8_t *got = boxed(&a, OSP_RESIZE_LETTERBOX, OSP_LETTERBOX_U8_HWC, 64, 64);
    uint8_t *want = boxed(&b, OSP_RESIZE_LETTERBOX, OSP_LETTERBOX_U8_HWC, 64, 64);
    assert_memory_equal(got, want, 64 * 64 * 3);
    free(got);
    free(want);
    free(grey);
    free(rgb);
}

static void test_layouts(void **state)
{
    (void)state;
    uint8_t *rgb = noise(91 * 55 * 3, 8);
    const osp_image image = packed(rgb, 91, 55, OSP_PIXEL_RGB);
    enum { W = 64, H = 96 };
    uint8_t *bytes = boxed(&image, OSP_RESIZE_LETTERBOX, OSP_LETTERBOX_U8_HWC, W, H);
    float *planes = boxed(&image, OSP_RESIZE_LETTERBOX, OSP_LETTERBOX_F32_CHW, W, H);
    float *pixels = boxed(&image, OSP_RESIZE_LETTERBOX, OSP_LETTERBOX_F32_HWC, W, H);
    assert_int_equal(bytes[0], 114);
    for (int i = 0; i < W * H; i++)
        for (int c = 0; c < 3; c++) {
            const float want = (float)bytes[i * 3 + c] / 255.0f;
            assert_true(planes[c * W * H + i] == want);
            assert_true(pixels[i * 3 + c] == want);
        }
    free(bytes);
    free(planes);
    free(pixels);
    free(rgb);
}

// I420 and NV12 of the same samples are the same picture; grey chroma gives grey; odd sizes read
// the last chroma sample.
static void test_yuv(void **state)
{
    (void)state;
    enum { W = 33, H = 19, CW = 17, CH = 10 };
    uint8_t *y = noise(W * H, 1), *u = noise(CW * CH, 2), *v = noise(CW * CH, 3);
    uint8_t uv[2 * CW * CH];
    for (int i = 0; i < CW * CH; i++) {
        uv[2 * i] = u[i];
        uv[2 * i + 1] = v[i];
    }
    for (int matrix = 0; matrix < 2; matrix++)
        for (int range = 0; range < 2; range++) {
            osp_image nv = {.plane = {y, uv},
                            .width = W,
                            .height = H,
                            .format = OSP_PIXEL_NV12,
                            .matrix = (osp_color_matrix)matrix,
                            .range = (osp_color_range)range};
            osp_image planar = nv;
            planar.format = OSP_PIXEL_I420;
            planar.plane[1] = u;
            planar.plane[2] = v;
            uint8_t *a = boxed(&nv, OSP_RESIZE_STRETCH, OSP_LETTERBOX_U8_HWC, W, H);
            uint8_t *b = boxed(&planar, OSP_RESIZE_STRETCH, OSP_LETTERBOX_U8_HWC, W, H);
            assert_memory_equal(a, b, W * H * 3);
            for (int i = 0; i < W * H; i++) {  // against the formula in floating point
                const int c = i / W / 2 * CW + i % W / 2;
                const double kr = matrix ? 0.2126 : 0.299, kb = matrix ? 0.0722 : 0.114;
                const double sy = range ? 1 : 255 / 219.0, sc = range ? 1 : 255 / 224.0;
                double luma = (y[i] - (range ? 0 : 16)) * sy;
                luma = luma < 0 ? 0 : luma;
                double red = luma + 2 * (1 - kr) * sc * (v[c] - 128);
                double blue = luma + 2 * (1 - kb) * sc * (u[c] - 128);
                red = red < 0 ? 0 : red > 255 ? 255 : red;
                blue = blue < 0 ? 0 : blue > 255 ? 255 : blue;
                assert_true(a[i * 3] - red < 1.01 && red - a[i * 3] < 1.01);
                assert_true(a[i * 3 + 2] - blue < 1.01 && blue - a[i * 3 + 2] < 1.01);
            }
            free(a);
            free(b);
        }
    free(y);
    free(u);
    free(v);
}

static void test_geometry(void **state)
{
    (void)state;
    osp_letterbox g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, 810, 1080, 640, 640);
    assert_int_equal(g.width, 480);
    assert_int_equal(g.height, 640);
    assert_int_equal(g.left, 80);
    assert_int_equal(g.top, 0);
    g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, 10000, 1, 640, 640);
    assert_int_equal(g.height, 1);
    assert_int_equal(g.top, 319);  // round(319.5 - 0.1)
    g = osp_letterbox_fit(OSP_RESIZE_STRETCH, 100, 50, 640, 320);
    assert_true(g.width == 640 && g.height == 320 && g.left == 0 && g.top == 0);

    g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, 1280, 720, 640, 640);
    float out[4];
    osp_letterbox_unmap(&g, (float[4]){10, 150, 110, 700}, out);
    assert_true(out[0] == 20 && out[1] == 20 && out[2] == 220 && out[3] == 720);
    osp_letterbox_unmap(&g, (float[4]){-5, 0, 900, 10}, out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 1280 && out[3] == 0);
}

static void test_refusals(void **state)
{
    (void)state;
    osp_letterboxer *boxer;
    osp_letterbox g;
    osp_error err;
    uint8_t pixels[64 * 64 * 3], dst[32 * 32 * 3];
    assert_int_equal(osp_letterboxer_open(&boxer, &ctx, 0, 32, &err), OSP_ERROR_ARGUMENT);
    assert_null(boxer);
    assert_int_equal(osp_letterboxer_open(&boxer, &ctx, 32, 32, &err), OSP_OK);
    const osp_image good = packed(pixels, 64, 64, OSP_PIXEL_RGB);
    const struct {
        osp_status status;
        const char *word;
    } want[] = {{OSP_ERROR_ARGUMENT, "plane[0]"},  {OSP_ERROR_ARGUMENT, "0 x 64"},
                {OSP_ERROR_ARGUMENT, "pitch"},     {OSP_ERROR_ARGUMENT, "format"},
                {OSP_ERROR_UNSUPPORTED, "device"}, {OSP_ERROR_ARGUMENT, "plane[1]"}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        osp_image image = good;
        switch (i) {
        case 0:
            image.plane[0] = NULL;
            break;
        case 1:
            image.width = 0;
            break;
        case 2:
            image.pitch_bytes[0] = 64 * 3 - 1;
            break;
        case 3:
            image.format = (osp_pixel_format)99;
            break;
        case 4:
            image.place = OSP_PLACE_DEVICE;
            break;
        default:
            image.format = OSP_PIXEL_NV12;
            break;
        }
        assert_int_equal(osp_letterboxer_run(boxer, &image, OSP_RESIZE_AUTO, OSP_LETTERBOX_U8_HWC,
                                             dst, &g, &err),
                         want[i].status);
        assert_non_null(strstr(err.text, want[i].word));
    }
    osp_letterboxer_close(&boxer);
    assert_null(boxer);
}

// One letterboxer for many sizes and formats in turn: tables are rebuilt as needed, and a run of a
// size seen before takes no memory.
static void test_reuse(void **state)
{
    (void)state;
    osp_letterboxer *boxer;
    osp_letterbox g;
    osp_error err;
    uint8_t *src = noise(200 * 200 * 4, 4), *dst = malloc(96 * 96 * 3);
    assert_int_equal(osp_letterboxer_open(&boxer, &ctx, 96, 96, &err), OSP_OK);
    size_t live = 0;
    for (int i = 0; i < 60; i++) {
        const int w = 200 - i % 30 * 6, h = 20 + i % 30 * 5;
        osp_image image = packed(src, w, h, (osp_pixel_format)(i % 7));
        image.plane[1] = image.plane[2] = src;
        assert_int_equal(osp_letterboxer_run(boxer, &image, OSP_RESIZE_AUTO, OSP_LETTERBOX_U8_HWC,
                                             dst, &g, &err),
                         OSP_OK);
        uint8_t *want = boxed(&image, OSP_RESIZE_AUTO, OSP_LETTERBOX_U8_HWC, 96, 96);
        assert_memory_equal(dst, want, 96 * 96 * 3);
        free(want);
        if (i == 40)  // the widest YUV picture came before
            live = ctx.mem.live;
    }
    assert_int_equal(ctx.mem.live, live);
    osp_letterboxer_close(&boxer);
    assert_int_equal(ctx.mem.live, 0);
    free(src);
    free(dst);
}

int main(void)
{
    if (osp_context_init(&ctx, NULL, NULL) != OSP_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references), cmocka_unit_test(test_plain_equals_picked),
        cmocka_unit_test(test_formats),    cmocka_unit_test(test_grey),
        cmocka_unit_test(test_layouts),    cmocka_unit_test(test_yuv),
        cmocka_unit_test(test_geometry),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_reuse),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    osp_context_free(&ctx);
    return failed;
}
