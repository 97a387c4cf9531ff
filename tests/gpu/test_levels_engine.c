// A detector whose network ends in osprey.BoxHead, on the device in host memory with the kernels as
// the host compiler made them: boxes come straight from the maps, and are those that the output tensor
// gives, bit for bit; who wants the output tensor gets it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/detector_gpu.h"
#include "engine/session_gpu.h"
#include "fake_fixture.h"
#include "host_cuda.h"

enum { SIDE = 64, ROWS = 84, CLASSES = 8, BATCH = 2, MOST = BATCH * ROWS, RUNS = 4 };

static const char levels[] = TEST_DATA_DIR "/data/levels.onnx";

// Launches so far of the operator, and of the scan in its place.
static int heads, scans;

static double count_and_run(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                            const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes)
{
    heads += !strncmp(kernel->name, "box_head", 8);
    scans += !strncmp(kernel->name, "boxes_scan_maps", 15);
    return host_cuda_run(kernel, args, args_bytes, grid, block, shared_bytes);
}

typedef struct fixture {
    fake_gpu fake;
    osp_runtime *runtime;
    osp_engine *engine;
    uint8_t bytes[3 * 80 * 60];
} fixture;

static void open_engine(fixture *f, osp_precision precision)
{
    osp_model *model;
    osp_error err;
    const osp_engine_options options = {
        .backend = OSP_BACKEND_CUDA, .precision = precision, .batches = {1, BATCH}};
    fake_runtime_open(&f->runtime, &f->fake, count_and_run);
    if (osp_model_open(&model, f->runtime, levels, &err) ||
        osp_engine_build(&f->engine, model, &options, &err))
        fail_msg("%s", err.text);
    osp_model_close(&model);
    uint32_t seed = 5;
    for (size_t i = 0; i < sizeof f->bytes; i++) {
        seed = seed * 1664525 + 1013904223;
        f->bytes[i] = (uint8_t)(seed >> 24);
    }
}

static int set_up_fp32(void **state)
{
    *state = calloc(1, sizeof(fixture));
    assert_non_null(*state);
    open_engine(*state, OSP_PRECISION_FP32);
    return 0;
}

static int set_up_fp16(void **state)
{
    *state = calloc(1, sizeof(fixture));
    assert_non_null(*state);
    open_engine(*state, OSP_PRECISION_AUTO);
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_engine_close(&f->engine);
    fake_runtime_close(&f->runtime, &f->fake);
    free(f);
    return 0;
}

// Boxes of RUNS batches by turns of one and two images, all slots in use, so that graphs are replayed.
static size_t detect(fixture *f, const osp_postprocess_settings *settings, bool by_maps,
                     osp_detection out[RUNS * MOST])
{
    const osp_image images[BATCH] = {
        {.plane = {f->bytes}, .width = 80, .height = 60, .format = OSP_PIXEL_RGB},
        {.plane = {f->bytes}, .width = 40, .height = 60, .format = OSP_PIXEL_BGR}};
    const osp_detector_gpu_options options = {
        .head = {.head = OSP_HEAD_YOLO8, .rows = ROWS, .classes = CLASSES},
        .resize = OSP_RESIZE_LETTERBOX,
        .settings = *settings,
        .batch = BATCH};
    osp_session *session;
    osp_detector_gpu *detector;
    osp_error err;
    size_t found = 0;
    if (osp_session_open(&session, f->engine, NULL, &err) ||
        osp_detector_gpu_open(&detector, session, &options, &err))
        fail_msg("%s", err.text);
    osp_session_hooks hooks = session->own.gpu->hooks;
    assert_true(hooks.takes_maps);
    hooks.takes_maps = by_maps;
    osp_session_set_hooks(session, &hooks);
    heads = scans = 0;
    for (int i = 0; i < RUNS; i++) {
        const int32_t n = 1 + i % BATCH;
        osp_ticket ticket;
        if (osp_detector_gpu_enqueue(detector, images, n, &ticket, &err) ||
            osp_session_wait(session, ticket, -1, NULL, 0, &err) ||
            osp_detector_gpu_collect(detector, ticket, n, 0, out, RUNS * MOST, &found, &err))
            fail_msg("%s", err.text);
    }
    assert_int_equal(heads, by_maps ? 0 : RUNS);
    assert_int_equal(scans, by_maps ? RUNS : 0);
    osp_detector_gpu_close(&detector);
    osp_session_close(&session);
    return found;
}

static void test_boxes(void **state)
{
    static osp_detection got[RUNS * MOST], want[RUNS * MOST];
    static const uint8_t odd_classes = 0xaa;
    const osp_postprocess_settings settings[] = {
        {.score_threshold = 0.25f, .iou_threshold = 0.7f, .max_detections = 300},
        {.score_threshold = 0, .iou_threshold = 0.5f, .max_detections = 300},
        {.score_threshold = 1, .iou_threshold = 0.7f, .max_detections = 300},
        {.score_threshold = 0, .iou_threshold = 1, .max_detections = 5, .class_agnostic = true},
        {.score_threshold = 0.1f,
         .iou_threshold = 0.7f,
         .max_detections = 300,
         .filter = {&odd_classes, CLASSES}}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const size_t found = detect(*state, settings + i, false, want);
        assert_int_equal(detect(*state, settings + i, true, got), found);
        assert_true(settings[i].score_threshold < 1 ? found > 2 * RUNS : found == 0);
        assert_memory_equal(got, want, found * sizeof *got);
    }
}

// A session by itself makes the output.
static void test_output(void **state)
{
    fixture *f = *state;
    osp_session *session;
    osp_error err;
    osp_tensor output = {0};
    float image[3 * SIDE * SIDE];
    for (size_t i = 0; i < sizeof image / sizeof image[0]; i++)
        image[i] = (float)f->bytes[i] / 255;
    const bool pixels = f->engine->inputs->dtype == OSP_DTYPE_UINT8;
    const osp_tensor floats = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {1, 3, SIDE, SIDE}, .data = image};
    const osp_tensor bytes = {
        .dtype = OSP_DTYPE_UINT8, .rank = 4, .dims = {1, SIDE, SIDE, 3}, .data = f->bytes};
    heads = scans = 0;
    if (osp_session_open(&session, f->engine, NULL, &err) ||
        osp_session_run(session, pixels ? &bytes : &floats, 1, &output, 1, &err))
        fail_msg("%s", err.text);
    assert_true(heads > 0);
    assert_int_equal(scans, 0);
    assert_int_equal(output.dims[1], 4 + CLASSES);
    assert_int_equal(output.dims[2], ROWS);
    const float *values = output.data;
    for (int i = 0; i < CLASSES * ROWS; i++)
        assert_true(values[4 * ROWS + i] > 0 && values[4 * ROWS + i] <= 1);
    osp_session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_boxes, set_up_fp32, tear_down),
        cmocka_unit_test_setup_teardown(test_boxes, set_up_fp16, tear_down),
        cmocka_unit_test_setup_teardown(test_output, set_up_fp32, tear_down),
        cmocka_unit_test_setup_teardown(test_output, set_up_fp16, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
