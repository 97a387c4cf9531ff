// An engine of the cuda backend that takes pixels, on the device in host memory with the kernels as
// the host compiler made them: chosen by itself, its first step reads them, its outputs are those of
// the cpu backend, and a detector finds with it what it finds with floats, from images of all kinds.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "fake_fixture.h"
#include "host_cuda.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE, OUT = 6 * 8 * 8, BATCH = 2, MOST = 512 };

static const char tiny[] = TEST_DATA_DIR "/data/tiny.onnx";

typedef struct fixture {
    fake_gpu fake;
    osp_runtime *runtime;
    osp_model *model;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    osp_error err;
    assert_non_null(f);
    fake_runtime_open(&f->runtime, &f->fake, host_cuda_run);
    if (osp_model_open(&f->model, f->runtime, tiny, &err))
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_model_close(&f->model);
    fake_runtime_close(&f->runtime, &f->fake);
    free(f);
    return 0;
}

static osp_engine *build(fixture *f, osp_backend backend, osp_precision precision,
                         osp_pixels format)
{
    const osp_engine_options options = {.backend = backend,
                                        .precision = precision,
                                        .height = SIDE,
                                        .width = SIDE,
                                        .batches = {BATCH},
                                        .image_input = {.format = format}};
    osp_engine *engine;
    osp_error err;
    if (osp_engine_build(&engine, f->model, &options, &err))
        fail_msg("%s", err.text);
    return engine;
}

static void fill(uint8_t *bytes, size_t count)
{
    uint32_t seed = 3;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

static void run(osp_engine *engine, uint8_t *pixels, float out[BATCH * OUT])
{
    osp_session *session;
    osp_error err;
    const osp_tensor input = {
        .dtype = OSP_DTYPE_UINT8, .rank = 4, .dims = {BATCH, SIDE, SIDE, 3}, .data = pixels};
    osp_tensor output = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {BATCH, 6, OUT / 6}, .data = out};
    if (osp_session_open(&session, engine, NULL, &err) ||
        osp_session_run(session, &input, 1, &output, 1, &err))
        fail_msg("%s", err.text);
    osp_session_close(&session);
}

// Outputs of the engine within `tolerance` of the cpu backend's, relative to the largest.
static void compare(fixture *f, osp_engine *engine, double tolerance)
{
    osp_engine *cpu = build(f, OSP_BACKEND_CPU, OSP_PRECISION_FP32, OSP_PIXELS_UINT8);
    uint8_t pixels[BATCH * PIXELS * 3];
    float got[BATCH * OUT], want[BATCH * OUT];
    fill(pixels, sizeof pixels);
    run(engine, pixels, got);
    run(cpu, pixels, want);
    double most = 0;
    for (int i = 0; i < BATCH * OUT; i++)
        most = fmax(most, fabs((double)want[i]));
    assert_true(most > 0.1);
    for (int i = 0; i < BATCH * OUT; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * most))
            fail_msg("[%d]: %g, not %g", i, (double)got[i], (double)want[i]);
    osp_engine_close(&cpu);
}

static void test_outputs(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(f, OSP_BACKEND_CUDA, OSP_PRECISION_AUTO, OSP_PIXELS_AUTO);
    osp_engine_info info;
    osp_step_info step;
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.image_input, OSP_PIXELS_UINT8);
    assert_int_equal(osp_engine_step(engine, 0, 0, &step), OSP_OK);
    assert_string_equal(step.op, "PixelConv");
    assert_string_equal(step.tactic, "pixels");
    compare(f, engine, 5e-3);
    osp_engine_close(&engine);
}

// No kernel reads pixels in FP32: it is not chosen, and works where it is asked for.
static void test_fp32(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(f, OSP_BACKEND_CUDA, OSP_PRECISION_FP32, OSP_PIXELS_AUTO);
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.image_input, OSP_PIXELS_MODEL);
    osp_engine_close(&engine);
    engine = build(f, OSP_BACKEND_CUDA, OSP_PRECISION_FP32, OSP_PIXELS_UINT8);
    compare(f, engine, 1e-5);
    osp_engine_close(&engine);
}

// Nor does one read rows that are no whole 16 bytes.
static void test_odd_width(void **state)
{
    fixture *f = *state;
    osp_engine_options options = {
        .backend = OSP_BACKEND_CUDA, .height = SIDE, .width = 24, .batches = {1}};
    osp_engine_info info;
    osp_step_info step;
    for (int i = 0; i < 2; i++) {
        options.image_input.format = i ? OSP_PIXELS_UINT8 : OSP_PIXELS_AUTO;
        osp_engine *engine;
        osp_error err;
        if (osp_engine_build(&engine, f->model, &options, &err))
            fail_msg("%s", err.text);
        osp_engine_get_info(engine, &info);
        assert_int_equal(info.image_input, i ? OSP_PIXELS_UINT8 : OSP_PIXELS_MODEL);
        assert_int_equal(osp_engine_step(engine, 0, 0, &step), OSP_OK);
        assert_string_not_equal(step.op, "PixelConv");
        osp_engine_close(&engine);
    }
}

// All boxes of a picture, however unlikely.
static size_t detect(osp_engine *engine, const osp_image *images, osp_detection out[MOST])
{
    const osp_detector_options options = {
        .score_threshold = -1, .iou_threshold = 1, .head = OSP_HEAD_YOLO8};
    osp_detector *detector;
    osp_error err;
    size_t found = 0;
    if (osp_detector_open(&detector, engine, &options, &err) ||
        osp_detector_run(detector, images, BATCH, out, MOST, &found, &err))
        fail_msg("%s", err.text);
    osp_detector_close(&detector);
    return found;
}

static void test_boxes(void **state)
{
    fixture *f = *state;
    osp_engine *pixels = build(f, OSP_BACKEND_CUDA, OSP_PRECISION_AUTO, OSP_PIXELS_AUTO);
    osp_engine *floats = build(f, OSP_BACKEND_CUDA, OSP_PRECISION_AUTO, OSP_PIXELS_MODEL);
    osp_engine_info info;
    osp_engine_get_info(floats, &info);
    assert_int_equal(info.image_input, OSP_PIXELS_MODEL);
    static uint8_t bytes[3 * 50 * 40];
    fill(bytes, sizeof bytes);
    const osp_image images[BATCH] = {
        {.plane = {bytes}, .width = 50, .height = 40, .format = OSP_PIXEL_BGR},
        {.plane = {bytes, bytes + 48 * 34}, .width = 48, .height = 34, .format = OSP_PIXEL_NV12}};
    static osp_detection a[MOST], b[MOST];
    const size_t found = detect(pixels, images, a);
    assert_true(found > 20);
    assert_int_equal(detect(floats, images, b), found);
    for (size_t i = 0; i < found; i++) {
        // Scores that round alike may change places: the nearest one is meant.
        double least = 1e9;
        for (size_t k = 0; k < found; k++)
            if (a[i].image == b[k].image && a[i].class_id == b[k].class_id &&
                fabsf(a[i].score - b[k].score) < 4e-3f)
                least = fmin(least, fmax(fmax(fabs((double)a[i].x1 - (double)b[k].x1),
                                              fabs((double)a[i].y1 - (double)b[k].y1)),
                                         fmax(fabs((double)a[i].x2 - (double)b[k].x2),
                                              fabs((double)a[i].y2 - (double)b[k].y2))));
        if (!(least < 0.05))
            fail_msg("box %zu of %zu is nowhere: %g", i, found, least);
    }
    osp_engine_close(&pixels);
    osp_engine_close(&floats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outputs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_odd_width, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fp32, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_boxes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
