// The public image functions: reading, drawing, writing, and an image that outlives its runtime.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "osprey/osprey.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests"
#endif
#define IMAGES TEST_DATA_DIR "/data/vision/images/"

static void test_read_draw_write(void **state)
{
    (void)state;
    osp_runtime *runtime;
    osp_image image, back;
    osp_error err;
    assert_int_equal(osp_runtime_open(&runtime, NULL, &err), OSP_OK);
    assert_int_equal(osp_image_read(runtime, IMAGES "exif6.jpg", &image, &err), OSP_OK);
    assert_true(image.width == 31 && image.height == 45 && image.owner);
    const osp_detection box = {.x1 = 5, .y1 = 20, .x2 = 20, .y2 = 40, .score = 0.9f};
    assert_int_equal(osp_image_draw(&image, &box, 1, NULL, 0, &err), OSP_OK);
    char path[] = "/tmp/osprey-image-XXXXXX.png";
    const int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(osp_image_write(runtime, path, &image, &err), OSP_OK);
    assert_int_equal(osp_image_read(runtime, path, &back, &err), OSP_OK);
    assert_memory_equal(back.plane[0], image.plane[0], 31 * 45 * 3);
    unlink(path);
    osp_runtime_close(&runtime);  // the images still hold it
    assert_int_equal(back.plane[0][0], image.plane[0][0]);
    osp_image_free(&image);
    assert_null(image.plane[0]);
    osp_image_free(&image);
    osp_image_free(&back);
    osp_image_free(NULL);
}

static void test_errors(void **state)
{
    (void)state;
    osp_runtime *runtime;
    osp_image image;
    osp_error err;
    assert_int_equal(osp_runtime_open(&runtime, NULL, &err), OSP_OK);
    assert_int_equal(osp_image_read(runtime, "/nonexistent.jpg", &image, &err), OSP_ERROR_IO);
    assert_non_null(strstr(err.text, "/nonexistent.jpg: "));
    assert_null(image.plane[0]);
    assert_int_equal(osp_image_read(runtime, IMAGES "images.txt", &image, &err), OSP_ERROR_FORMAT);
    assert_int_equal(osp_image_read_memory(runtime, "GIF89a", 6, &image, &err),
                     OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "GIF"));
    assert_int_equal(osp_image_read(runtime, NULL, &image, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_image_read_memory(NULL, "x", 1, &image, NULL), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_image_write(runtime, "x.png", NULL, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_image_draw(NULL, NULL, 0, NULL, 0, &err), OSP_ERROR_ARGUMENT);
    osp_runtime_close(&runtime);
}

// Small limits hold for images too.
static void test_limits(void **state)
{
    (void)state;
    osp_runtime *runtime;
    osp_image image;
    osp_error err;
    const osp_options options = {.limits = {.image_pixels = 1000}};
    assert_int_equal(osp_runtime_open(&runtime, &options, &err), OSP_OK);
    assert_int_equal(osp_image_read(runtime, IMAGES "rgb8.png", &image, &err), OSP_ERROR_LIMIT);
    assert_int_equal(osp_image_read(runtime, IMAGES "s420.jpg", &image, &err), OSP_ERROR_LIMIT);
    assert_non_null(strstr(err.text, "image_pixels"));
    assert_int_equal(osp_image_read(runtime, IMAGES "one_pixel.png", &image, &err), OSP_OK);
    osp_image_free(&image);
    osp_runtime_close(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_draw_write),
                                       cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
