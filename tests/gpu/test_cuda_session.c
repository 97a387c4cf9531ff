// Sessions of the cuda backend on a device in host memory, with the kernels that the host compiler
// makes: the run's graph, launches that overlap, and drivers that refuse them.
#include <math.h>
#include <string.h>

#include "fake_fixture.h"
#include "host_cuda.h"

enum { SIZE = 32, PIXELS = 3 * SIZE * SIZE, OUT = 6 * 8 * 8, RUNS = 3 };  // tiny.onnx

static void fill(float *image)
{
    uint32_t seed = 1;
    for (int i = 0; i < PIXELS; i++) {
        seed = seed * 1664525 + 1013904223;
        image[i] = (float)(seed >> 8) / (float)(1 << 24);
    }
}

// Builds tiny.onnx in FP32, where each problem has one tactic and nothing is timed, and runs it.
static void run_on(osp_runtime *runtime, osp_backend backend, float *out)
{
    float image[PIXELS];
    osp_model *model;
    osp_engine *engine;
    osp_session *session;
    osp_error err;
    const osp_engine_options options = {.backend = backend,
                                        .precision = OSP_PRECISION_FP32,
                                        .batches = {1},
                                        .height = SIZE,
                                        .width = SIZE};
    fill(image);
    if (osp_model_open(&model, runtime, TEST_DATA_DIR "/data/tiny.onnx", &err) ||
        osp_engine_build(&engine, model, &options, &err) ||
        osp_session_open(&session, engine, NULL, &err))
        fail_msg("%s", err.text);
    const osp_tensor input = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {1, 3, SIZE, SIZE}, .data = image};
    for (int i = 0; i < RUNS; i++) {
        osp_tensor output = {0};
        if (osp_session_run(session, &input, 1, &output, 1, &err))
            fail_msg("%s", err.text);
        assert_int_equal(output.dtype, OSP_DTYPE_FLOAT32);
        memcpy(out, output.data, OUT * sizeof *out);
    }
    osp_session_close(&session);
    osp_engine_close(&engine);
    osp_model_close(&model);
}

typedef struct driver {
    int cc_major;
    bool refuse_overlap, refuse_capture;
    bool overlaps, replays;  // what is expected
} driver;

static void check_driver(const driver *d)
{
    fake_gpu fake;
    osp_runtime *runtime;
    osp_error err;
    float want[OUT], got[OUT];
    fake_gpu_init(&fake);
    fake.run_code = host_cuda_run;
    fake.facts[0].cc_major = d->cc_major;
    fake.refuse_overlap = d->refuse_overlap;
    fake.refuse_capture = d->refuse_capture;
    assert_int_equal(osp_runtime_open_with(&runtime, NULL, &fake.calls, &err), OSP_OK);
    run_on(runtime, OSP_BACKEND_REFERENCE, want);
    run_on(runtime, OSP_BACKEND_CUDA, got);
    float worst = 0, most = 0;
    for (int i = 0; i < OUT; i++) {
        worst = fmaxf(worst, fabsf(got[i] - want[i]));
        most = fmaxf(most, fabsf(want[i]));
    }
    assert_true(most > 0);
    assert_true(worst <= 1e-5f * most);
    assert_int_equal(fake.overlaps > 0, d->overlaps);
    assert_int_equal(fake.replays >= RUNS, d->replays);
    fake_runtime_close(&runtime, &fake);
}

static void launches_overlap(void **state)
{
    (void)state;
    check_driver(&(driver){.cc_major = 9, .overlaps = true, .replays = true});
}

static void older_devices_take_turns(void **state)
{
    (void)state;
    check_driver(&(driver){.cc_major = 8, .replays = true});
}

static void a_refusal_costs_the_overlap_only(void **state)
{
    (void)state;
    check_driver(&(driver){.cc_major = 9, .refuse_overlap = true, .replays = true});
}

static void without_a_graph(void **state)
{
    (void)state;
    check_driver(&(driver){.cc_major = 9, .refuse_capture = true, .overlaps = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launches_overlap),
        cmocka_unit_test(older_devices_take_turns),
        cmocka_unit_test(a_refusal_costs_the_overlap_only),
        cmocka_unit_test(without_a_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
