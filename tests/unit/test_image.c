// Decoding against OpenCV (tests/vision/make_images.py), all eight EXIF turns, damage of every
// kind, refusals by name, and writing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vision/decode.h"
#include "vision/encode.h"
#include "vision/exif.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests"
#endif
#define IMAGES TEST_DATA_DIR "/data/vision/images/"

static osp_context ctx;

static uint32_t crc32_of(const uint8_t *p, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint8_t *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static uint8_t *sample(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, IMAGES "%s", name);
    return slurp(path, size);
}

static void test_references(void **state)
{
    (void)state;
    FILE *list = fopen(IMAGES "images.txt", "r");
    assert_non_null(list);
    char line[256], name[128];
    int count = 0;
    while (fgets(line, sizeof line, list)) {
        int w, h;
        unsigned crc;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%127s %d %d %u", name, &w, &h, &crc), 4);
        size_t size;
        uint8_t *bytes = sample(name, &size);
        osp_image image;
        osp_error err;
        if (osp_image_decode(&ctx, bytes, size, &image, &err) != OSP_OK)
            fail_msg("%s: %s", name, err.text);
        assert_int_equal(image.width, w);
        assert_int_equal(image.height, h);
        assert_int_equal(image.format, OSP_PIXEL_RGB);
        if (crc32_of(image.plane[0], (size_t)w * (size_t)h * 3) != crc)
            fail_msg("%s differs from OpenCV's", name);
        osp_mem_free(&ctx.mem, image.plane[0]);
        free(bytes);
        count++;
    }
    fclose(list);
    assert_true(count >= 40);
    assert_int_equal(ctx.mem.live, 0);
}

// The eight turns bring eight differently stored pictures to where their names say; as the files
// hold the same stored picture, each must be the known turn of the first.
static void test_exif_turns(void **state)
{
    (void)state;
    osp_image turned[9];
    for (int o = 1; o <= 8; o++) {
        char name[32];
        size_t size;
        snprintf(name, sizeof name, "exif%d.jpg", o);
        uint8_t *bytes = sample(name, &size);
        assert_int_equal(osp_image_decode(&ctx, bytes, size, &turned[o], NULL), OSP_OK);
        free(bytes);
    }
    const int w = turned[1].width, h = turned[1].height;
    for (int o = 1; o <= 8; o++) {
        assert_int_equal(turned[o].width, o < 5 ? w : h);
        assert_int_equal(turned[o].height, o < 5 ? h : w);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const int flip_x = w - 1 - x, flip_y = h - 1 - y;
                const int to[9][2] = {{0, 0},           {x, y},           {flip_x, y},
                                      {flip_x, flip_y}, {x, flip_y},      {y, x},
                                      {flip_y, x},      {flip_y, flip_x}, {y, flip_x}};
                const uint8_t *src = turned[1].plane[0] + (y * w + x) * 3;
                const uint8_t *dst = turned[o].plane[0] +
                                     (to[o][1] * turned[o].width + to[o][0]) * 3;
                assert_memory_equal(src, dst, 3);
            }
    }
    for (int o = 1; o <= 8; o++)
        osp_mem_free(&ctx.mem, turned[o].plane[0]);
}

static void test_exif_hostile(void **state)
{
    (void)state;
    uint8_t good[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    assert_int_equal(osp_exif_orientation(good, sizeof good), 6);
    for (size_t size = 0; size < sizeof good; size++) {
        uint8_t *cut = malloc(size + !size);
        memcpy(cut, good, size);
        assert_int_equal(osp_exif_orientation(cut, size), 1);
        free(cut);
    }
    for (size_t at = 0; at < sizeof good; at++)
        for (int bit = 0; bit < 8; bit++) {
            good[at] ^= (uint8_t)(1 << bit);
            const int o = osp_exif_orientation(good, sizeof good);
            assert_true(o >= 1 && o <= 8);
            good[at] ^= (uint8_t)(1 << bit);
        }
    good[18] = 9;
    assert_int_equal(osp_exif_orientation(good, sizeof good), 1);
    memset(good + 4, 0xFF, 4);
    assert_int_equal(osp_exif_orientation(good, sizeof good), 1);
}

// Cut at every length, a file gives an error or the whole picture, never a part of one. Copies are
// exact, so that the sanitizer sees a read past the end.
static void test_truncated(void **state)
{
    (void)state;
    static const char *const names[] = {
        "s420.jpg",  "progressive.jpg", "restart.jpg", "cmyk.jpg",
        "exif6.jpg", "rgb8.png",        "rgb16.png",   "palette4_interlaced.png"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        size_t size;
        uint8_t *bytes = sample(names[n], &size);
        osp_image whole, part;
        osp_error err;
        assert_int_equal(osp_image_decode(&ctx, bytes, size, &whole, &err), OSP_OK);
        const size_t pixels = (size_t)whole.width * (size_t)whole.height * 3;
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *copy = malloc(cut + !cut);
            memcpy(copy, bytes, cut);
            const osp_status status = osp_image_decode(&ctx, copy, cut, &part, &err);
            if (status == OSP_OK) {
                assert_memory_equal(part.plane[0], whole.plane[0], pixels);
                assert_true(cut + 16 >= size);  // all but the end marker
                osp_mem_free(&ctx.mem, part.plane[0]);
            } else {
                assert_true(status == OSP_ERROR_FORMAT || status == OSP_ERROR_CORRUPT);
                assert_null(part.plane[0]);
                assert_true(strlen(err.text) > 0);
            }
            free(copy);
        }
        osp_mem_free(&ctx.mem, whole.plane[0]);
        free(bytes);
    }
    assert_int_equal(ctx.mem.live, 0);
}

static void test_flipped(void **state)
{
    (void)state;
    static const char *const names[] = {"s420.jpg", "progressive.jpg",    "cmyk.jpg",
                                        "rgb8.png", "palette8_alpha.png", "exif6.png"};
    int refused = 0, tried = 0;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        size_t size;
        uint8_t *bytes = sample(names[n], &size);
        for (size_t at = 0; at < size; at++) {
            osp_image image;
            osp_error err;
            bytes[at] ^= (uint8_t)(1 << at % 8);
            const osp_status status = osp_image_decode(&ctx, bytes, size, &image, &err);
            bytes[at] ^= (uint8_t)(1 << at % 8);
            tried++;
            refused += status != OSP_OK;
            osp_mem_free(&ctx.mem, status == OSP_OK ? image.plane[0] : NULL);
        }
        free(bytes);
    }
    assert_true(refused > tried / 4);
    assert_int_equal(ctx.mem.live, 0);
}

static void expect(const void *bytes, size_t size, osp_status status, const char *word)
{
    osp_image image;
    osp_error err;
    assert_int_equal(osp_image_decode(&ctx, bytes, size, &image, &err), status);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not name %s", err.text, word);
    assert_int_equal(ctx.mem.live, 0);
}

static void test_refused_by_name(void **state)
{
    (void)state;
    expect("GIF89a..........", 16, OSP_ERROR_UNSUPPORTED, "GIF");
    expect("RIFF....WEBPVP8 ", 16, OSP_ERROR_UNSUPPORTED, "WebP");
    expect("BM..............", 16, OSP_ERROR_UNSUPPORTED, "BMP");
    expect("II*\0............", 16, OSP_ERROR_UNSUPPORTED, "TIFF");
    expect("\0\0\0\x18"
           "ftypheic....",
           16, OSP_ERROR_UNSUPPORTED, "HEIC");
    expect("\0\0\0\x18"
           "ftypavif....",
           16, OSP_ERROR_UNSUPPORTED, "AVIF");
    expect("\0\0\0\x0CJXL ........", 16, OSP_ERROR_UNSUPPORTED, "JPEG XL");
    expect("\xFF\x0A..............", 16, OSP_ERROR_UNSUPPORTED, "JPEG XL");
    expect("\0\0\0\x0CjP  ........", 16, OSP_ERROR_UNSUPPORTED, "JPEG 2000");
    expect("P6\n8 8\n255\n.....", 16, OSP_ERROR_UNSUPPORTED, "PNM");
    expect("hello, world ...", 16, OSP_ERROR_FORMAT, "not an image");
    expect("", 0, OSP_ERROR_FORMAT, "empty");
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

// A small file that claims a huge picture costs nothing.
static void test_bombs(void **state)
{
    (void)state;
    size_t size;
    osp_image image;
    osp_error err;
    uint8_t *png = sample("rgb8.png", &size);
    put_u32(png + 16, 60000);
    put_u32(png + 20, 4000);
    put_u32(png + 29, crc32_of(png + 12, 17));
    ctx.mem.peak = 0;
    assert_int_equal(osp_image_decode(&ctx, png, size, &image, &err), OSP_ERROR_CORRUPT);
    assert_non_null(strstr(err.text, "truncated"));
    put_u32(png + 20, 60000);
    put_u32(png + 29, crc32_of(png + 12, 17));
    assert_int_equal(osp_image_decode(&ctx, png, size, &image, &err), OSP_ERROR_LIMIT);
    free(png);

    uint8_t *jpeg = sample("s420.jpg", &size);
    size_t sof = 0;
    while (jpeg[sof] != 0xFF || jpeg[sof + 1] != 0xC0)
        sof++;
    memcpy(jpeg + sof + 5, "\x2E\xE0\x2E\xE0", 4);  // 12000 x 12000
    assert_int_equal(osp_image_decode(&ctx, jpeg, size, &image, &err), OSP_ERROR_CORRUPT);
    memcpy(jpeg + sof + 5, "\xFF\x00\xFF\x00", 4);
    assert_int_equal(osp_image_decode(&ctx, jpeg, size, &image, &err), OSP_ERROR_LIMIT);
    assert_true(ctx.mem.peak < 1 << 20);
    free(jpeg);
}

// A progressive JPEG with many scans is refused before it costs minutes.
static void test_scan_limit(void **state)
{
    (void)state;
    size_t size, scan = 0;
    osp_image image;
    osp_error err;
    uint8_t *jpeg = sample("progressive.jpg", &size);
    while (jpeg[scan] != 0xFF || jpeg[scan + 1] != 0xDA)  // the first scan
        scan++;
    size_t end = scan + 2;
    while (jpeg[end] != 0xFF || jpeg[end + 1] == 0)
        end++;
    const size_t length = end - scan;
    uint8_t *many = malloc(end + 200 * length + 2);
    memcpy(many, jpeg, end);
    size_t at = end;
    for (int i = 0; i < 200; i++, at += length)
        memcpy(many + at, jpeg + scan, length);
    memcpy(many + at, "\xFF\xD9", 2);
    assert_int_equal(osp_image_decode(&ctx, many, at + 2, &image, &err), OSP_ERROR_LIMIT);
    assert_non_null(strstr(err.text, "scans"));
    free(many);
    free(jpeg);
}

static void test_write(void **state)
{
    (void)state;
    enum { W = 23, H = 17 };
    char dir[] = "/tmp/osprey-image-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    static const osp_pixel_format formats[] = {OSP_PIXEL_RGB, OSP_PIXEL_BGR, OSP_PIXEL_RGBA,
                                               OSP_PIXEL_BGRA, OSP_PIXEL_GREY};
    static const char *const endings[] = {".png", ".PNG", ".jpg", ".jpeg"};
    for (size_t f = 0; f < 5; f++)
        for (size_t e = 0; e < 4; e++) {
            const int step = f < 2 ? 3 : f < 4 ? 4 : 1;
            uint8_t pixels[H * (W * 4 + 5)];
            const size_t pitch = (size_t)(W * step + 5);
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    for (int c = 0; c < step; c++) {
                        const int channel = f == 1 || f == 3 ? (c < 3 ? 2 - c : 3) : c;
                        pixels[(size_t)y * pitch + (size_t)(x * step + c)] =
                            (uint8_t)(channel == 0   ? 200 - x * 3
                                      : channel == 1 ? y * 9
                                                     : 60 + x);
                    }
            const osp_image image = {.plane = {pixels},
                                     .pitch_bytes = {pitch},
                                     .width = W,
                                     .height = H,
                                     .format = formats[f]};
            osp_error err;
            snprintf(path, sizeof path, "%s/x%s", dir, endings[e]);
            if (osp_image_encode(&ctx, path, &image, &err) != OSP_OK)
                fail_msg("%s", err.text);
            size_t size;
            uint8_t *bytes = slurp(path, &size);
            osp_image back;
            assert_int_equal(osp_image_decode(&ctx, bytes, size, &back, &err), OSP_OK);
            assert_true(back.width == W && back.height == H);
            for (int i = 0; i < W * H; i++) {
                const int x = i % W, y = i / W;
                const int want[3] = {200 - x * 3, step == 1 ? 200 - x * 3 : y * 9,
                                     step == 1 ? 200 - x * 3 : 60 + x};
                for (int c = 0; c < 3; c++)
                    assert_true(abs(back.plane[0][i * 3 + c] - want[c]) <= (e < 2 ? 0 : 16));
            }
            osp_mem_free(&ctx.mem, back.plane[0]);
            free(bytes);
            unlink(path);
        }
    osp_error err;
    uint8_t grey[4] = {0};
    osp_image image = {.plane = {grey}, .width = 2, .height = 2, .format = OSP_PIXEL_GREY};
    assert_int_equal(osp_image_encode(&ctx, "x.webp", &image, &err), OSP_ERROR_UNSUPPORTED);
    assert_int_equal(osp_image_encode(&ctx, "a.png/x", &image, &err), OSP_ERROR_UNSUPPORTED);
    assert_int_equal(osp_image_encode(&ctx, "/nonexistent/x.png", &image, &err), OSP_ERROR_IO);
    image.width = 70000;
    assert_int_equal(osp_image_encode(&ctx, "x.jpg", &image, &err), OSP_ERROR_UNSUPPORTED);
    rmdir(dir);
    assert_int_equal(ctx.mem.live, 0);
}

int main(void)
{
    if (osp_context_init(&ctx, NULL, NULL) != OSP_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),   cmocka_unit_test(test_exif_turns),
        cmocka_unit_test(test_exif_hostile), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),      cmocka_unit_test(test_refused_by_name),
        cmocka_unit_test(test_bombs),        cmocka_unit_test(test_scan_limit),
        cmocka_unit_test(test_write),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    osp_context_free(&ctx);
    return failed;
}
