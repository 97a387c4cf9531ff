// Engines of the cuda backend on the GPU in host memory: compared with FP32 when they are built, what a
// device that is full or lost makes of that, and that builds with one timing cache are the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/runtime.h"
#include "host_gpu.h"
#include "onnx/write.h"
#include "ops/op.h"

enum { SIZE = 32, PIXELS = 3 * SIZE * SIZE };
#define TINY TEST_DATA_DIR "/data/tiny.onnx"

typedef struct fixture {
    osp_runtime *runtime;
    char log[16384];
} fixture;

static void keep_log(void *user, osp_log_level level, const char *text)
{
    fixture *f = user;
    const size_t used = strlen(f->log);
    (void)level;
    snprintf(f->log + used, sizeof f->log - used, "%s\n", text);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const osp_options options = {.logger = {keep_log, f, OSP_LOG_INFO}, .threads = 1};
    assert_int_equal(osp_runtime_open(&f->runtime, &options, NULL), OSP_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_runtime_close(&f->runtime);
    assert_int_equal(host_gpu()->live, 0);
    assert_int_equal(host_gpu()->used_bytes, 0);
    host_gpu()->memory_bytes = (size_t)8 << 30;
    free(f);
    return 0;
}

static osp_status build(fixture *f, osp_engine **out, const char *path, osp_engine_options o,
                        osp_error *err)
{
    osp_model *model;
    o.backend = OSP_BACKEND_CUDA;
    o.height = o.width = SIZE;
    if (!o.batches[0])
        o.batches[0] = 1;
    assert_int_equal(osp_model_open(&model, f->runtime, path, err), OSP_OK);
    const osp_status status = osp_engine_build(out, model, &o, err);
    osp_model_close(&model);
    return status;
}

static osp_engine *must_build(fixture *f, const char *path, osp_engine_options o)
{
    osp_engine *engine;
    osp_error err;
    if (build(f, &engine, path, o, &err))
        fail_msg("%s", err.text);
    return engine;
}

// FP16 by itself, compared, and nothing of the comparison is left on the device.
static void fp16_is_compared(void **state)
{
    fixture *f = *state;
    osp_engine_info info;
    const char *name;
    double of_range;
    const size_t before = host_gpu()->used_bytes;
    osp_engine *fp32 = must_build(f, TINY, (osp_engine_options){.precision = OSP_PRECISION_FP32});
    osp_engine_get_info(fp32, &info);
    assert_null(info.difference_output);
    const size_t weights = host_gpu()->used_bytes - before;
    osp_engine *engine = must_build(f, TINY, (osp_engine_options){.batches = {1, 2}});
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.precision, OSP_PRECISION_FP16);
    assert_string_equal(info.difference_output, "output0");
    assert_true(info.difference > 1e-6 && info.difference < 1e-2);
    assert_int_equal(osp_engine_difference(engine, 0, &name, &of_range), OSP_OK);
    assert_true(of_range == info.difference);
    assert_int_equal(osp_engine_difference(engine, 1, &name, &of_range), OSP_ERROR_ARGUMENT);
    assert_true(host_gpu()->used_bytes - before < 3 * weights);
    osp_engine_close(&engine);
    osp_engine_close(&fp32);
    assert_int_equal(host_gpu()->used_bytes, before);
}

static void a_tolerance_refuses(void **state)
{
    fixture *f = *state;
    osp_engine *engine;
    osp_error err;
    assert_int_equal(build(f, &engine, TINY, (osp_engine_options){.tolerance = 1e-7f}, &err),
                     OSP_ERROR_INEXACT);
    assert_null(engine);
    assert_non_null(strstr(err.text, "'output0' differs from fp32 by "));
    assert_non_null(strstr(err.text, "--precision fp32"));
    assert_int_equal(build(f, &engine, TINY, (osp_engine_options){.tolerance = 0.05f}, &err),
                     OSP_OK);
    osp_engine_close(&engine);
    assert_int_equal(host_gpu()->used_bytes, 0);
}

// AUTO does not go on to the CPU because of a tolerance: it would hide what was found.
static void a_tolerance_is_no_reason_to_go_on(void **state)
{
    fixture *f = *state;
    osp_model *model;
    osp_engine *engine;
    osp_error err;
    const osp_engine_options o = {.height = SIZE, .width = SIZE, .tolerance = 1e-7f};
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, &err), OSP_OK);
    assert_int_equal(osp_engine_build(&engine, model, &o, &err), OSP_ERROR_INEXACT);
    osp_model_close(&model);
}

// images x weights -> logits -> Sigmoid -> scores -> TopK -> best, places
static void write_chooser(fixture *f, const char *path)
{
    static float weights[SIZE * 8];
    const osp_shape in = {4, {1, 3, SIZE, SIZE}}, by = {2, {SIZE, 8}}, one = {1, {1}};
    const int64_t k = 1;
    osp_graph g;
    for (int i = 0; i < SIZE * 8; i++)
        weights[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    osp_graph_init(&g, osp_runtime_context(f->runtime));
    g.opset = 17;
    g.ir_version = 8;
    osp_vid images = osp_graph_add_value(&g, "images", OSP_DTYPE_FLOAT32, &in);
    const osp_vid product[2] = {
        images, osp_graph_add_constant(&g, "weights", OSP_DTYPE_FLOAT32, &by, weights)};
    const osp_vid logits = osp_graph_add_value(&g, "logits", OSP_DTYPE_FLOAT32, NULL);
    const osp_vid choice[2] = {osp_graph_add_value(&g, "scores", OSP_DTYPE_FLOAT32, NULL),
                               osp_graph_add_constant(&g, "k", OSP_DTYPE_INT64, &one, &k)};
    osp_vid chosen[2] = {osp_graph_add_value(&g, "best", OSP_DTYPE_FLOAT32, NULL),
                         osp_graph_add_value(&g, "places", OSP_DTYPE_INT64, NULL)};
    osp_graph_insert_node(&g, 0, osp_op_find("", "MatMul"), "layer", product, 2, &logits, 1, NULL);
    osp_graph_insert_node(&g, 1, osp_op_find("", "Sigmoid"), "gate", &logits, 1, choice, 1, NULL);
    assert_non_null(osp_graph_insert_node(&g, 2, osp_op_find("", "TopK"), "choice", choice, 2,
                                          chosen, 2, NULL));
    g.inputs = &images;
    g.outputs = chosen;
    g.input_count = 1;
    g.output_count = 2;
    assert_int_equal(osp_onnx_write(&g, path, NULL), OSP_OK);
    osp_graph_free(&g);
}

// Rows that are chosen are not compared, but what they are chosen from.
static void rows_that_are_chosen(void **state)
{
    fixture *f = *state;
    osp_engine_info info;
    const char *name;
    double of_range;
    char path[] = "/tmp/osprey-chooser-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_chooser(f, path);
    osp_engine *engine = must_build(f, path, (osp_engine_options){0});
    unlink(path);
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.outputs, 2);
    assert_int_equal(osp_engine_difference(engine, 0, &name, &of_range), OSP_OK);
    assert_string_equal(name, "scores");
    assert_true(of_range > 1e-6 && of_range < 1e-2);
    assert_int_equal(osp_engine_difference(engine, 1, &name, &of_range), OSP_ERROR_ARGUMENT);
    osp_engine_close(&engine);
}

// A device that fills up: with a little less memory than the comparison needs, the engine is built and
// the log says what is missing, or (a tolerance being set) the build fails. Nothing is left either way.
static void a_full_device(void **state)
{
    fixture *f = *state;
    for (int asked = 0; asked < 2; asked++) {
        int failed = 0, told = 0, compared = 0;
        for (size_t limit = 1 << 12; !compared && limit < 1 << 28; limit += limit / 8) {
            osp_engine *engine;
            osp_error err;
            f->log[0] = 0;
            host_gpu()->memory_bytes = limit;
            const osp_status status = build(
                f, &engine, TINY, (osp_engine_options){.tolerance = asked ? 0.05f : 0}, &err);
            if (status) {
                assert_int_equal(status, OSP_ERROR_MEMORY);
                failed++;
            } else {
                osp_engine_info info;
                osp_engine_get_info(engine, &info);
                const bool warned = strstr(f->log, "the engine is not compared with fp32: ") !=
                                    NULL;
                assert_true(warned == (info.difference_output == NULL));
                told += warned;
                compared += !warned;
            }
            osp_engine_close(&engine);
            assert_int_equal(host_gpu()->used_bytes, 0);
        }
        assert_true(failed && compared && (told > 0) == (asked == 0));
    }
}

// Two builds with one timing cache: every byte of the plans is the same, and of what they compute.
static void builds_are_the_same(void **state)
{
    fixture *f = *state;
    char cache[] = "/tmp/osprey-timings-XXXXXX";
    static float images[PIXELS];
    void *plan[2];
    size_t size[2];
    float *out[2] = {NULL, NULL};
    size_t count = 0;
    const int fd = mkstemp(cache);
    assert_true(fd >= 0);
    close(fd);
    unlink(cache);
    for (int i = 0; i < PIXELS; i++)
        images[i] = (float)(i % 251) / 251;
    for (int k = 0; k < 2; k++) {
        osp_session *session;
        osp_engine *engine = must_build(f, TINY, (osp_engine_options){.cache_file = cache});
        assert_int_equal(osp_engine_save_memory(engine, &plan[k], &size[k], NULL), OSP_OK);
        assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
        const osp_tensor in = {
            .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {1, 3, SIZE, SIZE}, .data = images};
        osp_tensor result = {0};
        assert_int_equal(osp_session_run(session, &in, 1, &result, 1, NULL), OSP_OK);
        count = (size_t)(result.dims[0] * result.dims[1] * result.dims[2]);
        out[k] = malloc(count * sizeof(float));
        assert_non_null(out[k]);
        memcpy(out[k], result.data, count * sizeof(float));
        osp_session_close(&session);
        osp_engine_close(&engine);
    }
    assert_true(count > 0);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(plan[0], plan[1], size[0]);
    assert_memory_equal(out[0], out[1], count * sizeof(float));
    for (int k = 0; k < 2; k++) {
        osp_host_free(f->runtime, plan[k]);
        free(out[k]);
    }
    unlink(cache);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fp16_is_compared),
        TEST(a_tolerance_refuses),
        TEST(a_tolerance_is_no_reason_to_go_on),
        TEST(rows_that_are_chosen),
        TEST(a_full_device),
        TEST(builds_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
