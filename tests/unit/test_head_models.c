// The detector end to end on tests/data/heads (tests/vision/make_heads.py): from ONNX files and
// images of three sizes to boxes in source pixels, on every CPU backend.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "osprey/osprey.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests"
#endif
#define HEADS TEST_DATA_DIR "/data/heads/"

enum { IMAGES = 3, CAPACITY = 64 };

static osp_engine *build(osp_runtime *runtime, const char *file, osp_engine_options options)
{
    char path[512];
    osp_model *model = NULL;
    osp_engine *engine = NULL;
    osp_error err;
    snprintf(path, sizeof path, HEADS "%s", file);
    if (osp_model_open(&model, runtime, path, &err) ||
        osp_engine_build(&engine, model, &options, &err))
        fail_msg("%s", err.text);
    osp_model_close(&model);
    return engine;
}

// Reads `count` boxes from the file and compares each image's detections with them.
static void check_boxes(FILE *list, const char *file, int count, const osp_detection *got,
                        size_t found)
{
    char line[256];
    assert_int_equal(found, (size_t)(count * IMAGES));
    for (int i = 0; i < count; i++) {
        float want[5];
        int class_id;
        assert_non_null(fgets(line, sizeof line, list));
        assert_int_equal(sscanf(line, "box %f %f %f %f %f %d", &want[0], &want[1], &want[2],
                                &want[3], &want[4], &class_id),
                         6);
        for (int image = 0; image < IMAGES; image++) {
            const osp_detection *d = &got[image * count + i];
            const float have[5] = {d->x1, d->y1, d->x2, d->y2, d->score};
            for (int k = 0; k < 5; k++)
                if (!(fabsf(have[k] - want[k]) < (k < 4 ? 1e-3f : 1e-5f)))
                    fail_msg("%s: box %d: value %d is %g, not %g", file, i, k, (double)have[k],
                             (double)want[k]);
            assert_int_equal(d->class_id, class_id);
            assert_int_equal(d->image, image);
        }
    }
}

static void check_case(osp_runtime *runtime, FILE *list, const char *line,
                       osp_engine_options options)
{
    char file[64];
    int width, height, images, count;
    assert_int_equal(sscanf(line, "case %63s %d %d %d %d", file, &width, &height, &images, &count),
                     5);
    assert_int_equal(images, IMAGES);
    osp_engine *engine = build(runtime, file, options);
    osp_detector *detector;
    osp_error err;
    if (osp_detector_open(&detector, engine, NULL, &err))
        fail_msg("%s: %s", file, err.text);
    uint8_t *pixels = calloc((size_t)width * (size_t)height, 3);
    osp_image image[IMAGES];
    for (int i = 0; i < IMAGES; i++)
        image[i] = (osp_image){.plane = {pixels}, .width = width, .height = height};
    osp_detection out[CAPACITY];
    size_t found;
    if (osp_detector_run(detector, image, IMAGES, out, CAPACITY, &found, &err))
        fail_msg("%s: %s", file, err.text);
    check_boxes(list, file, count, out, found);
    if (strstr(file, "_nc3") && !strstr(file, "pair"))
        assert_string_equal(osp_engine_class_name(engine, 1), "rider's bike");
    free(pixels);
    osp_detector_close(&detector);
    osp_engine_close(&engine);
}

static void check_refused(osp_runtime *runtime, char *line, osp_engine_options options)
{
    char file[64];
    int used;
    assert_int_equal(sscanf(line, "refused %63s %n", file, &used), 1);
    line[strcspn(line, "\n")] = 0;
    osp_engine *engine = build(runtime, file, options);
    osp_detector *detector;
    osp_error err;
    assert_int_not_equal(osp_detector_open(&detector, engine, NULL, &err), OSP_OK);
    assert_null(detector);
    if (!strstr(err.text, line + used))
        fail_msg("%s: \"%s\" lacks \"%s\"", file, err.text, line + used);
    osp_engine_close(&engine);
}

static void check_all(osp_engine_options options)
{
    osp_runtime *runtime;
    char line[256];
    int cases = 0, refused = 0;
    assert_int_equal(osp_runtime_open(&runtime, NULL, NULL), OSP_OK);
    FILE *list = fopen(HEADS "expected.txt", "r");
    assert_non_null(list);
    while (fgets(line, sizeof line, list)) {
        if (strncmp(line, "case ", 5) == 0) {
            check_case(runtime, list, line, options);
            cases++;
        } else if (strncmp(line, "refused ", 8) == 0) {
            check_refused(runtime, line, options);
            refused++;
        }
    }
    fclose(list);
    assert_true(cases == 30 && refused == 2);
    osp_runtime_close(&runtime);
}

static void test_reference(void **state)
{
    (void)state;
    check_all((osp_engine_options){.backend = OSP_BACKEND_REFERENCE});
}

static void test_cpu(void **state)
{
    (void)state;
    check_all((osp_engine_options){.backend = OSP_BACKEND_CPU});
}

// The images go in as pixels.
static void test_pixels(void **state)
{
    (void)state;
    check_all((osp_engine_options){.backend = OSP_BACKEND_REFERENCE,
                                   .image_input = {.format = OSP_PIXELS_UINT8}});
    check_all((osp_engine_options){.backend = OSP_BACKEND_CPU,
                                   .image_input = {.format = OSP_PIXELS_UINT8}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_cpu),
                                       cmocka_unit_test(test_pixels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
