// The check of an engine against FP32: which outputs can be compared, the figures, the tolerance.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cpu/cpu.h"
#include "engine/fp32_check.h"
#include "onnx/write.h"
#include "ops/op.h"

enum { ROWS = 64 };

typedef struct fixture {
    osp_runtime *runtime;
    osp_graph graph;
    osp_vid inputs[4], outputs[4];
    char log[4096];
} fixture;

static void keep_log(void *user, osp_log_level level, const char *text)
{
    fixture *f = user;
    const size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof f->log - used, "%s%s\n", level == OSP_LOG_WARNING ? "! " : "",
             text);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const osp_options options = {.logger = {keep_log, f, OSP_LOG_INFO}, .threads = 1};
    assert_int_equal(osp_runtime_open(&f->runtime, &options, NULL), OSP_OK);
    osp_graph_init(&f->graph, &f->runtime->ctx);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_graph_free(&f->graph);
    osp_runtime_close(&f->runtime);
    free(f);
    return 0;
}

// ---- Graphs -------------------------------------------------------------------------------------

static void start_graph(fixture *f)
{
    osp_graph_free(&f->graph);
    osp_graph_init(&f->graph, &f->runtime->ctx);
    f->graph.opset = 17;
    f->graph.ir_version = 8;
    f->graph.inputs = f->inputs;
    f->graph.outputs = f->outputs;
}

static osp_vid value(fixture *f, const char *name, osp_dtype dtype)
{
    const osp_shape shape = {2, {1, ROWS}};
    const osp_vid v = osp_graph_add_value(&f->graph, name, dtype, &shape);
    assert_true(v != OSP_NO_VALUE);
    return v;
}

static osp_vid input(fixture *f, const char *name)
{
    return f->inputs[f->graph.input_count++] = value(f, name, OSP_DTYPE_FLOAT32);
}

static osp_vid number(fixture *f, const char *name, osp_dtype dtype, double x)
{
    const osp_shape scalar = {1, {1}};
    const float real = (float)x;
    const int64_t whole = (int64_t)x;
    return osp_graph_add_constant(&f->graph, name, dtype, &scalar,
                                  dtype == OSP_DTYPE_INT64 ? (const void *)&whole : &real);
}

static void node(fixture *f, const char *type, osp_vid a, osp_vid b, osp_vid y, osp_vid z)
{
    const osp_vid in[2] = {a, b}, out[2] = {y, z};
    assert_non_null(osp_graph_insert_node(&f->graph, f->graph.node_count, osp_op_find("", type),
                                          type, in, b == OSP_NO_VALUE ? 1 : 2, out,
                                          z == OSP_NO_VALUE ? 1 : 2, NULL));
}

static const char *output(const fixture *f, int32_t i)
{
    return f->graph.values[f->graph.outputs[i]].name;
}

// ---- Outputs that can be compared ---------------------------------------------------------------

// x -> Relu -> scores -> TopK -> best, places;  x -> Sigmoid -> boxes -> GatherElements -> rows
static void choices_are_replaced_by_what_they_read(void **state)
{
    fixture *f = *state;
    osp_error err;
    start_graph(f);
    const osp_vid x = input(f, "x"), scores = value(f, "scores", OSP_DTYPE_FLOAT32);
    const osp_vid boxes = value(f, "boxes", OSP_DTYPE_FLOAT32);
    const osp_vid best = value(f, "best", OSP_DTYPE_FLOAT32);
    const osp_vid places = value(f, "places", OSP_DTYPE_INT64);
    const osp_vid rows = value(f, "rows", OSP_DTYPE_FLOAT32);
    const osp_vid sum = value(f, "sum", OSP_DTYPE_FLOAT32);
    node(f, "Relu", x, OSP_NO_VALUE, scores, OSP_NO_VALUE);
    node(f, "Sigmoid", x, OSP_NO_VALUE, boxes, OSP_NO_VALUE);
    node(f, "TopK", scores, number(f, "k", OSP_DTYPE_INT64, 5), best, places);
    node(f, "GatherElements", boxes, places, rows, OSP_NO_VALUE);
    node(f, "Add", rows, x, sum, OSP_NO_VALUE);  // an input is the same on both sides
    f->outputs[0] = boxes;                       // stays, once
    f->outputs[1] = best;
    f->outputs[2] = sum;
    f->graph.output_count = 3;
    assert_int_equal(osp_graph_expose_choices(&f->graph, &err), OSP_OK);
    assert_int_equal(f->graph.output_count, 2);
    assert_string_equal(output(f, 0), "boxes");
    assert_string_equal(output(f, 1), "scores");
    assert_int_equal(f->graph.node_count, 2);  // what chooses is gone
}

static void other_graphs_stay(void **state)
{
    fixture *f = *state;
    osp_error err;
    start_graph(f);
    const osp_vid x = input(f, "x"), y = value(f, "y", OSP_DTYPE_FLOAT32);
    node(f, "Relu", x, OSP_NO_VALUE, y, OSP_NO_VALUE);
    f->outputs[0] = y;
    f->graph.output_count = 1;
    assert_int_equal(osp_graph_expose_choices(&f->graph, &err), OSP_OK);
    assert_ptr_equal(f->graph.outputs, f->outputs);
    assert_int_equal(f->graph.output_count, 1);
    assert_int_equal(f->graph.node_count, 1);
}

static void choices_of_the_input_cannot_be_compared(void **state)
{
    fixture *f = *state;
    osp_error err;
    start_graph(f);
    const osp_vid x = input(f, "x"), best = value(f, "best", OSP_DTYPE_FLOAT32);
    node(f, "TopK", x, number(f, "k", OSP_DTYPE_INT64, 5), best,
         value(f, "places", OSP_DTYPE_INT64));
    f->outputs[0] = best;
    f->graph.output_count = 1;
    assert_int_equal(osp_graph_expose_choices(&f->graph, &err), OSP_ERROR_UNSUPPORTED);
}

// ---- Figures ------------------------------------------------------------------------------------

// near = x * a, far = x / b, on the reference backend.
static osp_engine *two_outputs(fixture *f, double a, double b)
{
    osp_error err;
    void *bytes;
    size_t size;
    osp_engine *engine;
    start_graph(f);
    const osp_vid x = input(f, "x");
    f->outputs[0] = value(f, "near", OSP_DTYPE_FLOAT32);
    f->outputs[1] = value(f, "far", OSP_DTYPE_FLOAT32);
    f->graph.output_count = 2;
    node(f, "Mul", x, number(f, "a", OSP_DTYPE_FLOAT32, a), f->outputs[0], OSP_NO_VALUE);
    node(f, "Div", x, number(f, "b", OSP_DTYPE_FLOAT32, b), f->outputs[1], OSP_NO_VALUE);
    assert_int_equal(osp_onnx_write_memory(&f->graph, &bytes, &size, &err), OSP_OK);
    const osp_engine_options o = {.backend = OSP_BACKEND_REFERENCE};
    if (osp_engine_build_memory(&engine, f->runtime, bytes, size, &o, &err))
        fail_msg("%s", err.text);
    osp_mem_free(&f->runtime->ctx.mem, bytes);
    return engine;
}

static void differences_are_told(void **state)
{
    fixture *f = *state;
    osp_error err;
    osp_engine_info info;
    osp_engine *low = two_outputs(f, 1, 0.5), *fp32 = two_outputs(f, 1, 0.51);
    osp_engine_get_info(low, &info);
    assert_null(info.difference_output);
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 0, &err), OSP_OK);
    const char *name;
    double of_range;
    assert_int_equal(osp_engine_difference(low, 0, &name, &of_range), OSP_OK);
    assert_string_equal(name, "near");
    assert_true(of_range == 0);
    assert_int_equal(osp_engine_difference(low, 1, &name, &of_range), OSP_OK);
    assert_string_equal(name, "far");
    // x / 0.5 and x / 0.51 for x in [0, 1): at most 0.02 of x / 0.51, whose range is a little less.
    assert_true(of_range > 0.0199 && of_range < 0.0215);
    assert_int_equal(osp_engine_difference(low, 2, &name, &of_range), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_engine_difference(low, -1, &name, &of_range), OSP_ERROR_ARGUMENT);
    osp_engine_get_info(low, &info);
    assert_string_equal(info.difference_output, "far");
    assert_true(info.difference > 0.0199 && info.difference < 0.0215);
    assert_non_null(strstr(f->log, "'far' differs from fp32 by 0.0"));
    assert_null(strstr(f->log, "! 'far'"));
    osp_engine_close(&low);
    osp_engine_close(&fp32);
}

static void a_tolerance_refuses(void **state)
{
    fixture *f = *state;
    osp_error err;
    osp_engine *low = two_outputs(f, 1, 0.5), *fp32 = two_outputs(f, 1, 0.51);
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 0.03, &err), OSP_OK);
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 0.01, &err), OSP_ERROR_INEXACT);
    assert_non_null(strstr(err.text, "'far' differs from fp32 by 0.02"));
    assert_non_null(strstr(err.text, "over the tolerance of 0.01"));
    assert_non_null(strstr(err.text, "--keep-fp32"));
    osp_engine_close(&low);
    osp_engine_close(&fp32);
}

// What overflows on one side only: no number, a warning without a tolerance, refused with any.
static void what_is_not_finite_is_far(void **state)
{
    fixture *f = *state;
    osp_error err;
    osp_engine_info info;
    osp_engine *low = two_outputs(f, 1, 0), *fp32 = two_outputs(f, 1, 1);
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 0, &err), OSP_OK);
    osp_engine_get_info(low, &info);
    assert_true(isinf(info.difference));
    assert_non_null(strstr(f->log, "! 'far' differs from fp32 by inf"));
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 1e9, &err), OSP_ERROR_INEXACT);
    osp_engine_close(&low);
    osp_engine_close(&fp32);
    low = two_outputs(f, 1, 0);
    fp32 = two_outputs(f, 1, 0);  // not finite on both: the same
    assert_int_equal(osp_engine_compare_fp32(low, low, fp32, 1e-6, &err), OSP_OK);
    osp_engine_close(&low);
    osp_engine_close(&fp32);
}

// ---- Builds -------------------------------------------------------------------------------------

static osp_status build_tiny(fixture *f, osp_precision precision, float tolerance,
                             osp_engine_info *info, osp_error *err)
{
    osp_model *model;
    osp_engine *engine;
    const osp_engine_options o = {.backend = OSP_BACKEND_CPU,
                                  .precision = precision,
                                  .tolerance = tolerance,
                                  .height = 32,
                                  .width = 32};
    assert_int_equal(osp_model_open(&model, f->runtime, TEST_DATA_DIR "/data/tiny.onnx", err),
                     OSP_OK);
    const osp_status status = osp_engine_build(&engine, model, &o, err);
    assert_true((engine != NULL) == (status == OSP_OK));
    if (engine)
        osp_engine_get_info(engine, info);
    osp_engine_close(&engine);
    osp_model_close(&model);
    return status;
}

static void fp32_is_not_compared(void **state)
{
    osp_engine_info info;
    osp_error err;
    assert_int_equal(build_tiny(*state, OSP_PRECISION_FP32, 1e-9f, &info, &err), OSP_OK);
    assert_null(info.difference_output);
}

static void bf16_is_compared_when_built(void **state)
{
    osp_engine_info info;
    osp_error err;
    if (!osp_cpu_has_bf16()) {
        print_message("the processor has no bf16: builds in it are left out\n");
        skip();
    }
    if (build_tiny(*state, OSP_PRECISION_BF16, 0, &info, &err))
        fail_msg("%s", err.text);
    assert_non_null(info.difference_output);
    assert_true(info.difference > 0 && info.difference < 0.05);
    assert_int_equal(build_tiny(*state, OSP_PRECISION_BF16, 1e-6f, &info, &err), OSP_ERROR_INEXACT);
    assert_non_null(strstr(err.text, "tiny.onnx: 'output0' differs from fp32"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(choices_are_replaced_by_what_they_read),
        TEST(other_graphs_stay),
        TEST(choices_of_the_input_cannot_be_compared),
        TEST(differences_are_told),
        TEST(a_tolerance_refuses),
        TEST(what_is_not_finite_is_far),
        TEST(fp32_is_not_compared),
        TEST(bf16_is_compared_when_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
