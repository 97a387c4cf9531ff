// Engines that take pixels: the same results as from floats that were made of them here, on the
// reference and on the cpu backend; what options, plans, the cache and sessions make of it; when it
// is chosen by itself; and what the passes of the cuda backend leave of the first layer.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/pixels.h"
#include "ops/internal.h"
#include "plan/compile_parts.h"

enum { SIDE = 32, BATCH = 2, PIXELS = SIDE * SIDE, OUT = 6 * 8 * 8 };  // tiny.onnx: 6 x (32/4)^2

static const char tiny[] = TEST_DATA_DIR "/data/tiny.onnx";
static const osp_backend backends[] = {OSP_BACKEND_REFERENCE, OSP_BACKEND_CPU};

typedef struct fixture {
    osp_runtime *runtime;
    osp_model *model;
    uint8_t pixels[BATCH * PIXELS * 3];
    float floats[BATCH * 3 * PIXELS];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(osp_runtime_open(&f->runtime, &(osp_options){.threads = 1}, NULL), OSP_OK);
    assert_int_equal(osp_model_open(&f->model, f->runtime, tiny, NULL), OSP_OK);
    uint32_t seed = 5;
    for (size_t i = 0; i < sizeof f->pixels; i++) {
        seed = seed * 1664525 + 1013904223;
        f->pixels[i] = (uint8_t)(seed >> 24);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_model_close(&f->model);
    osp_runtime_close(&f->runtime);
    free(f);
    return 0;
}

// What the model's own input holds for the pixels.
static void normalise(fixture *f, const float mean[3], const float scale[3])
{
    for (size_t n = 0; n < BATCH; n++)
        for (size_t p = 0; p < PIXELS; p++)
            for (size_t c = 0; c < 3; c++)
                f->floats[(n * 3 + c) * PIXELS + p] = ((float)f->pixels[(n * PIXELS + p) * 3 + c] -
                                                       mean[c]) *
                                                      scale[c];
}

static osp_engine *build(fixture *f, osp_backend backend, osp_image_input image_input)
{
    const osp_engine_options options = {.backend = backend,
                                        .height = SIDE,
                                        .width = SIDE,
                                        .batches = {1, BATCH},
                                        .image_input = image_input};
    osp_engine *engine;
    osp_error err;
    if (osp_engine_build(&engine, f->model, &options, &err))
        fail_msg("%s", err.text);
    return engine;
}

static osp_tensor floats_of(fixture *f)
{
    return (osp_tensor){
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {BATCH, 3, SIDE, SIDE}, .data = f->floats};
}

static osp_tensor pixels_of(fixture *f)
{
    return (osp_tensor){
        .dtype = OSP_DTYPE_UINT8, .rank = 4, .dims = {BATCH, SIDE, SIDE, 3}, .data = f->pixels};
}

static void run(osp_engine *engine, const osp_tensor *input, float out[BATCH * OUT])
{
    osp_session *session;
    osp_error err;
    assert_int_equal(osp_session_open(&session, engine, NULL, &err), OSP_OK);
    osp_tensor output = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {BATCH, 6, OUT / 6}, .data = out};
    if (osp_session_run(session, input, 1, &output, 1, &err))
        fail_msg("%s", err.text);
    osp_session_close(&session);
}

static void expect_near(const float *a, const float *b)
{
    double most = 0;
    for (int i = 0; i < BATCH * OUT; i++)
        most = fmax(most, fabs((double)a[i]));
    assert_true(most > 0.1);
    for (int i = 0; i < BATCH * OUT; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5 * most))
            fail_msg("[%d]: %g, not %g", i, (double)b[i], (double)a[i]);
}

// ---- Results ------------------------------------------------------------------------------------

static void check_results(fixture *f, osp_backend backend, const float mean[3],
                          const float scale[3], osp_image_input image_input)
{
    float want[BATCH * OUT], got[BATCH * OUT];
    normalise(f, mean, scale);
    osp_engine *plain = build(f, backend, (osp_image_input){.format = OSP_PIXELS_MODEL});
    osp_engine *engine = build(f, backend, image_input);
    const osp_tensor floats = floats_of(f), pixels = pixels_of(f);
    run(plain, &floats, want);
    run(engine, &pixels, got);
    expect_near(want, got);
    osp_engine_close(&plain);
    osp_engine_close(&engine);
}

static void test_same_results(void **state)
{
    const float zero[3] = {0}, over_255[3] = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    for (size_t i = 0; i < 2; i++)
        check_results(*state, backends[i], zero, over_255,
                      (osp_image_input){.format = OSP_PIXELS_UINT8});
}

static void test_mean_and_scale(void **state)
{
    const float mean[3] = {123.675f, 116.28f, 103.53f}, scale[3] = {0.017f, 0.0175f, -0.5f};
    osp_image_input in = {.format = OSP_PIXELS_UINT8};
    memcpy(in.mean, mean, sizeof mean);
    memcpy(in.scale, scale, sizeof scale);
    for (size_t i = 0; i < 2; i++)
        check_results(*state, backends[i], mean, scale, in);
}

// ---- Engines ------------------------------------------------------------------------------------

static void test_plans_keep_it(void **state)
{
    fixture *f = *state;
    float want[BATCH * OUT], got[BATCH * OUT];
    const osp_tensor pixels = pixels_of(f);
    for (size_t i = 0; i < 2; i++) {
        osp_engine *engine = build(f, backends[i], (osp_image_input){.format = OSP_PIXELS_UINT8}),
                   *again;
        void *plan;
        size_t size;
        assert_int_equal(osp_engine_save_memory(engine, &plan, &size, NULL), OSP_OK);
        assert_int_equal(osp_engine_open_memory(&again, f->runtime, plan, size, NULL, NULL),
                         OSP_OK);
        osp_host_free(f->runtime, plan);
        osp_engine_info info;
        osp_tensor_info input;
        int32_t height, width;
        osp_engine_get_info(again, &info);
        assert_int_equal(info.image_input, OSP_PIXELS_UINT8);
        osp_engine_input_size(again, &height, &width);
        assert_true(height == SIDE && width == SIDE);
        assert_int_equal(osp_engine_input(again, 0, &input), OSP_OK);
        assert_string_equal(input.name, "images");
        assert_true(input.dtype == OSP_DTYPE_UINT8 && input.rank == 4 && input.dims[0] == -1 &&
                    input.dims[1] == SIDE && input.dims[2] == SIDE && input.dims[3] == 3);
        run(engine, &pixels, want);
        run(again, &pixels, got);
        assert_memory_equal(want, got, sizeof want);
        osp_engine_close(&engine);
        osp_engine_close(&again);
    }
}

static void test_caches_apart(void **state)
{
    fixture *f = *state;
    char dir[] = "/tmp/osprey-pixels-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    const osp_image_input inputs[] = {{.format = OSP_PIXELS_AUTO},
                                      {.format = OSP_PIXELS_UINT8},
                                      {.format = OSP_PIXELS_UINT8, .scale = {1, 1, 1}}};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 3; i++) {
            const osp_engine_options options = {.backend = OSP_BACKEND_REFERENCE,
                                                .height = SIDE,
                                                .width = SIDE,
                                                .image_input = inputs[i]};
            osp_engine *engine;
            osp_engine_info info;
            assert_int_equal(
                osp_engine_open_cached(&engine, f->runtime, tiny, dir, NULL, &options, NULL),
                OSP_OK);
            osp_engine_get_info(engine, &info);
            assert_true(info.from_cache == (round == 1));
            assert_int_equal(info.image_input, i ? OSP_PIXELS_UINT8 : OSP_PIXELS_MODEL);
            osp_engine_close(&engine);
        }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_refusals(void **state)
{
    fixture *f = *state;
    const struct {
        osp_image_input in;
        osp_status status;
        const char *text;
    } cases[] = {
        {{.format = (osp_pixels)3}, OSP_ERROR_ARGUMENT, "osp_pixels"},
        {{.format = OSP_PIXELS_UINT8, .scale = {NAN, 1, 1}}, OSP_ERROR_ARGUMENT, "finite"},
        {{.format = OSP_PIXELS_UINT8, .reserved32 = 1}, OSP_ERROR_ARGUMENT, "osp_pixels"},
        {{.mean = {1, 0, 0}}, OSP_ERROR_ARGUMENT, "OSP_PIXELS_UINT8"},
        {{.format = OSP_PIXELS_MODEL, .scale = {1, 1, 1}}, OSP_ERROR_ARGUMENT, "OSP_PIXELS_UINT8"},
    };
    osp_engine *engine;
    osp_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const osp_engine_options options = {.backend = OSP_BACKEND_REFERENCE,
                                            .image_input = cases[i].in};
        assert_int_equal(osp_engine_build(&engine, f->model, &options, &err), cases[i].status);
        assert_null(engine);
        assert_non_null(strstr(err.text, cases[i].text));
    }
    // A session's caller gives what the engine says.
    engine = build(f, OSP_BACKEND_CPU, (osp_image_input){.format = OSP_PIXELS_UINT8});
    osp_session *session;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    const osp_tensor floats = floats_of(f);
    osp_tensor output = {0};
    assert_int_equal(osp_session_run(session, &floats, 1, &output, 1, &err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(err.text, "give pixels"));
    osp_session_close(&session);
    osp_engine_close(&engine);
}

// A plan may claim any size: what a detector writes must fit what the graph takes.
static void test_detector_checks_sizes(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 4; i++) {
        const osp_pixels format = i % 2 ? OSP_PIXELS_UINT8 : OSP_PIXELS_MODEL;
        osp_engine *engine = build(f, OSP_BACKEND_REFERENCE, (osp_image_input){.format = format});
        const osp_detector_options options = {.head = OSP_HEAD_YOLO8};
        osp_detector *detector;
        osp_error err;
        assert_int_equal(osp_detector_open(&detector, engine, &options, &err), OSP_OK);
        osp_detector_close(&detector);
        *(i / 2 ? &engine->facts.height : &engine->facts.width) *= 2;
        assert_int_equal(osp_detector_open(&detector, engine, &options, &err), OSP_ERROR_FORMAT);
        assert_null(detector);
        osp_engine_close(&engine);
    }
}

// ---- Choosing -----------------------------------------------------------------------------------

static osp_pixels choice(fixture *f, osp_vid image, bool fast, const osp_engine_options *options)
{
    osp_pixels pixels;
    osp_error err;
    if (osp_pixels_choose(&pixels, &f->model->graph, image, fast, options, &err))
        fail_msg("%s", err.text);
    return pixels;
}

static void test_choice(void **state)
{
    fixture *f = *state;
    osp_graph *g = &f->model->graph;
    const osp_vid image = g->inputs[0];
    const osp_engine_options automatic = {.image_input = {.format = OSP_PIXELS_AUTO}},
                             asked = {.image_input = {.format = OSP_PIXELS_UINT8}}, model = {0};
    assert_int_equal(choice(f, image, true, &automatic), OSP_PIXELS_UINT8);
    assert_int_equal(choice(f, image, true, &model), OSP_PIXELS_MODEL);
    assert_int_equal(choice(f, image, false, &automatic), OSP_PIXELS_MODEL);
    assert_int_equal(choice(f, image, false, &asked), OSP_PIXELS_UINT8);
    assert_int_equal(choice(f, OSP_NO_VALUE, true, &automatic), OSP_PIXELS_MODEL);
    osp_error err;
    osp_pixels pixels;
    assert_int_equal(osp_pixels_choose(&pixels, g, OSP_NO_VALUE, true, &asked, &err),
                     OSP_ERROR_UNSUPPORTED);
    // The first layer stays FP32, or is no dense convolution.
    const char *const kept[] = {"Conv_0"};
    const osp_engine_options pinned = {
        .keep_fp32 = kept, .keep_fp32_count = 1, .image_input = {.format = OSP_PIXELS_AUTO}};
    assert_string_equal(g->nodes[0].name, "Conv_0");
    assert_int_equal(choice(f, image, true, &pinned), OSP_PIXELS_MODEL);
    osp_conv_attrs *conv = g->nodes[0].attrs;
    const osp_ints dilations = conv->dilations;
    conv->dilations = (osp_ints){2, {1, 2}};
    assert_int_equal(choice(f, image, true, &automatic), OSP_PIXELS_MODEL);
    conv->dilations = dilations;
    // Another reader, and another input.
    const osp_vid before = g->nodes[1].inputs[0];
    g->nodes[1].inputs[0] = image;
    assert_int_equal(choice(f, image, true, &automatic), OSP_PIXELS_MODEL);
    g->nodes[1].inputs[0] = before;
    g->input_count = 2;
    assert_int_equal(choice(f, image, true, &automatic), OSP_PIXELS_MODEL);
    g->input_count = 1;
    assert_int_equal(choice(f, image, true, &automatic), OSP_PIXELS_UINT8);
}

// ---- The first layer on cuda --------------------------------------------------------------------

// The graph that the cuda backend compiles, in FP16 or FP32.
static void run_passes(fixture *f, osp_graph *g, osp_precision precision, osp_image_input how)
{
    osp_error err;
    osp_compiled compiled = {.backend = &osp_backend_cuda};
    osp_compile_question question = {.compiled = &compiled};
    const osp_pass_options passes = {
        .precision = precision, .accepts = osp_compile_accepts, .user = &question};
    assert_int_equal(osp_graph_clone(g, &f->model->graph, &err), OSP_OK);
    g->values[g->inputs[0]].shape = (osp_shape){4, {BATCH, 3, SIDE, SIDE}};
    if (osp_pixels_insert(g, g->inputs[0], &how, &err) || osp_graph_infer(g, false, &err) ||
        osp_passes_run(g, OSP_BACKEND_CUDA, &passes, &err))
        fail_msg("%s", err.text);
    assert_int_equal(question.failure, OSP_OK);
}

static void test_cuda_reads_pixels(void **state)
{
    fixture *f = *state;
    osp_graph g;
    const osp_image_input plain = {.format = OSP_PIXELS_UINT8},
                          shifted = {.format = OSP_PIXELS_UINT8, .mean = {1, 2, 3}};
    run_passes(f, &g, OSP_PRECISION_FP16, plain);
    assert_string_equal(g.nodes[0].type, "PixelConv");
    assert_int_equal(g.nodes[0].inputs[0], g.inputs[0]);
    const osp_value *dst = g.values + g.nodes[0].outputs[0];
    assert_true(dst->dtype == OSP_DTYPE_FLOAT16 && dst->layout == OSP_LAYOUT_CHANNELS_LAST);
    const osp_pixel_conv_attrs *a = g.nodes[0].attrs;
    assert_int_equal(a->act, OSP_ACT_SILU);
    for (int c = 0; c < 3; c++)
        assert_true(a->scale.v[c] == 1 / 255.0f && a->mean.v[c] == 0);
    osp_graph_free(&g);
    // No kernel for it: the pixels are converted first. The padding is none of the mean's.
    run_passes(f, &g, OSP_PRECISION_FP32, plain);
    assert_string_equal(g.nodes[0].type, "Cast");
    osp_graph_free(&g);
    run_passes(f, &g, OSP_PRECISION_FP16, shifted);
    assert_string_equal(g.nodes[0].type, "Cast");
    osp_graph_free(&g);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_same_results),      TEST(test_mean_and_scale),
        TEST(test_plans_keep_it),     TEST(test_caches_apart),
        TEST(test_refusals),          TEST(test_choice),
        TEST(test_cuda_reads_pixels), TEST(test_detector_checks_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
