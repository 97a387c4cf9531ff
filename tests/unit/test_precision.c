// The precision pass: where Casts go, what stays float32, and that results barely change; and
// osp_model_write, which uses it on graphs without sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx/load.h"
#include "onnx/write.h"
#include "ops/elementwise.h"
#include "ops/view.h"
#include "passes/passes.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE };

static const char tiny[] = TEST_DATA_DIR "/data/tiny.onnx";

typedef struct fixture {
    osp_context ctx;
    osp_graph graph;
    osp_error err;
    char log[2048];
    uint32_t seed;
} fixture;

static void keep_log(void *user, osp_log_level level, const char *text)
{
    fixture *f = user;
    (void)level;
    const size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof f->log - used, "%s\n", text);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const osp_options options = {.logger = {keep_log, f, OSP_LOG_WARNING}};
    assert_int_equal(osp_context_init(&f->ctx, &options, NULL), OSP_OK);
    osp_graph_init(&f->graph, &f->ctx);
    f->graph.opset = 17;
    f->graph.ir_version = 8;
    f->graph.name = f->graph.producer = "test";
    f->graph.inputs = osp_arena_array(&f->graph.arena, 4, sizeof(osp_vid));
    f->graph.outputs = osp_arena_array(&f->graph.arena, 4, sizeof(osp_vid));
    f->seed = 7;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_graph_free(&f->graph);
    assert_int_equal(atomic_load(&f->ctx.mem.live), 0);
    osp_context_free(&f->ctx);
    free(f);
    return 0;
}

// ---- Building -----------------------------------------------------------------------------------

static float noise(fixture *f)
{
    f->seed = f->seed * 1664525 + 1013904223;
    return (float)(f->seed >> 8) / (float)(1 << 24) - 0.5f;
}

static osp_vid input(fixture *f, const char *name)
{
    const osp_shape shape = {4, {1, 3, SIDE, SIDE}};
    const osp_vid v = osp_graph_add_value(&f->graph, name, OSP_DTYPE_FLOAT32, &shape);
    f->graph.inputs[f->graph.input_count++] = v;
    return v;
}

static void output(fixture *f, osp_vid v)
{
    f->graph.outputs[f->graph.output_count++] = v;
}

static osp_vid weights(fixture *f, const char *name, osp_shape shape)
{
    float data[2048];
    size_t count;
    assert_true(osp_shape_count(&shape, &count) && count <= 2048);
    for (size_t i = 0; i < count; i++)
        data[i] = noise(f);
    return osp_graph_add_constant(&f->graph, name, OSP_DTYPE_FLOAT32, &shape, data);
}

static osp_vid ints(fixture *f, const char *name, int64_t count, const int64_t *data)
{
    const osp_shape shape = {1, {count}};
    return osp_graph_add_constant(&f->graph, name, OSP_DTYPE_INT64, &shape, data);
}

// A node and its output, both of that name.
static osp_vid node(fixture *f, const char *type, const char *name, osp_vid a, osp_vid b, osp_vid c)
{
    const osp_vid inputs[3] = {a, b, c};
    const int32_t count = c != OSP_NO_VALUE ? 3 : b != OSP_NO_VALUE ? 2 : 1;
    const osp_vid out = osp_graph_add_value(&f->graph, name, OSP_DTYPE_UNKNOWN, NULL);
    const osp_op *op = osp_op_find("", type);
    assert_non_null(op);
    assert_non_null(osp_graph_insert_node(&f->graph, f->graph.node_count, op, name, inputs, count,
                                          &out, 1, op->defaults));
    return out;
}

static osp_vid conv(fixture *f, const char *name, osp_vid src, int64_t ic, int64_t oc)
{
    char text[2][32];
    snprintf(text[0], sizeof text[0], "%s.w", name);
    snprintf(text[1], sizeof text[1], "%s.b", name);
    return node(f, "Conv", name, src, weights(f, text[0], (osp_shape){4, {oc, ic, 3, 3}}),
                weights(f, text[1], (osp_shape){1, {oc}}));
}

// images -> conv1 -> silu -> conv2 -> reshape -> Softmax -> Mul by a constant -> out
static osp_vid small_network(fixture *f)
{
    const osp_vid x = input(f, "images");
    const osp_vid one = conv(f, "conv1", x, 3, 8);
    const osp_vid gate = node(f, "Sigmoid", "gate", one, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid silu = node(f, "Mul", "silu", one, gate, OSP_NO_VALUE);
    const osp_vid two = conv(f, "conv2", silu, 8, 16);
    const osp_vid flat = node(f, "Reshape", "flat", two, ints(f, "to", 3, (int64_t[]){1, 16, 16}),
                              OSP_NO_VALUE);
    const osp_vid soft = node(f, "Softmax", "soft", flat, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid out = node(f, "Mul", "out", soft, weights(f, "scale", (osp_shape){1, {16}}),
                             OSP_NO_VALUE);
    output(f, out);
    return one;
}

static void infer(fixture *f)
{
    if (osp_graph_infer(&f->graph, false, &f->err))
        fail_msg("%s", f->err.text);
}

static void lower(fixture *f, osp_precision precision)
{
    const osp_pass_options options = {.precision = precision};
    infer(f);
    if (osp_pass_precision(&f->graph, &options, &f->err))
        fail_msg("%s", f->err.text);
    infer(f);  // operators accept every type that the pass chose
}

// ---- Looking ------------------------------------------------------------------------------------

static const osp_node *find(const osp_graph *graph, const char *name)
{
    for (size_t n = 0; n < graph->node_count; n++)
        if (!strcmp(graph->nodes[n].name, name))
            return graph->nodes + n;
    fail_msg("no node %s", name);
    return NULL;
}

static osp_dtype type_of(const fixture *f, const char *name)
{
    return f->graph.values[find(&f->graph, name)->outputs[0]].dtype;
}

static osp_dtype operand_type(const fixture *f, const char *name, int32_t i)
{
    return f->graph.values[find(&f->graph, name)->inputs[i]].dtype;
}

static int32_t count(const osp_graph *graph, const char *type)
{
    int32_t found = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        found += !strcmp(graph->nodes[n].type, type);
    return found;
}

// Runs the graph on fixed pixels; the first output, at most `capacity` floats.
static size_t run(fixture *f, const osp_graph *graph, float *out, size_t capacity)
{
    osp_arena arena;
    osp_arena_init(&arena, &f->ctx.mem);
    osp_view *views = osp_arena_array(&arena, graph->value_count, sizeof *views);
    for (size_t v = 0; v < graph->value_count; v++) {
        const osp_value *value = graph->values + v;
        size_t bytes;
        views[v] = (osp_view){value->dtype, value->shape, NULL};
        if (!value->dtype || !osp_shape_bytes(&value->shape, value->dtype, &bytes))
            continue;
        views[v].data = osp_arena_alloc(&arena, bytes);
        if (value->data && bytes)
            memcpy(views[v].data, value->data, bytes);
    }
    fixture pixels = {.seed = 99};
    const osp_view *src = views + graph->inputs[0];
    for (size_t i = 0; i < osp_view_count(src); i++)
        osp_store_float(src->dtype, src->data, i, noise(&pixels));
    for (size_t n = 0; n < graph->node_count; n++)
        assert_int_equal(osp_node_run(graph, graph->nodes + n, views, &f->err), OSP_OK);
    const osp_view *dst = views + graph->outputs[0];
    const size_t elements = osp_view_count(dst);
    assert_int_equal(dst->dtype, OSP_DTYPE_FLOAT32);
    assert_true(elements > 0 && elements <= capacity);
    memcpy(out, dst->data, elements * sizeof *out);
    osp_arena_free(&arena);
    return elements;
}

static void expect_near(const float *a, const float *b, size_t n, float tolerance)
{
    float most = 0, far = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(b[i]));
        far = fmaxf(far, fabsf(a[i] - b[i]));
    }
    assert_true(most > 0);
    if (!(far <= tolerance * most))
        fail_msg("off by %g of %g", (double)far, (double)most);
}

// ---- Tests --------------------------------------------------------------------------------------

static void casts_are_where_they_must_be(void **state)
{
    fixture *f = *state;
    small_network(f);
    lower(f, OSP_PRECISION_FP16);
    const osp_graph *g = &f->graph;
    assert_int_equal(count(g, "Cast"), 2);
    assert_int_equal(g->values[g->inputs[0]].dtype, OSP_DTYPE_FLOAT32);
    assert_int_equal(g->values[g->outputs[0]].dtype, OSP_DTYPE_FLOAT32);
    assert_string_equal(g->values[g->outputs[0]].name, "out");
    static const char *const low[] = {"conv1", "gate", "silu", "conv2", "flat"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(type_of(f, low[i]), OSP_DTYPE_FLOAT16);
    assert_int_equal(type_of(f, "soft"), OSP_DTYPE_FLOAT32);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(operand_type(f, "conv2", i), OSP_DTYPE_FLOAT16);
    assert_int_equal(operand_type(f, "out", 1), OSP_DTYPE_FLOAT32);
    assert_string_equal(find(g, "images.float16")->type, "Cast");
    assert_string_equal(find(g, "flat.float32")->type, "Cast");
    assert_string_equal(f->log, "");
}

static void fp32_changes_nothing(void **state)
{
    fixture *f = *state;
    small_network(f);
    infer(f);
    const size_t nodes = f->graph.node_count, values = f->graph.value_count;
    for (int p = OSP_PRECISION_AUTO; p <= OSP_PRECISION_FP32; p++)
        lower(f, (osp_precision)p);
    assert_int_equal(f->graph.node_count, nodes);
    assert_int_equal(f->graph.value_count, values);
}

static void results_barely_change(void **state)
{
    fixture *f = *state;
    float before[512], after[512];
    osp_graph whole;
    small_network(f);
    infer(f);
    const size_t n = run(f, &f->graph, before, 512);
    assert_int_equal(osp_graph_clone(&whole, &f->graph, NULL), OSP_OK);
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(run(f, &f->graph, after, 512), n);
    expect_near(after, before, n, 4e-3f);
    assert_memory_not_equal(after, before, n * sizeof *after);
    const osp_graph half = f->graph;  // the clone's constants lie in it
    f->graph = whole;
    lower(f, OSP_PRECISION_BF16);
    assert_int_equal(run(f, &f->graph, after, 512), n);
    expect_near(after, before, n, 3e-2f);
    osp_graph_free(&f->graph);
    f->graph = half;
}

static void bfloat16_keeps_biases(void **state)
{
    fixture *f = *state;
    small_network(f);
    lower(f, OSP_PRECISION_BF16);
    assert_int_equal(type_of(f, "conv2"), OSP_DTYPE_BFLOAT16);
    assert_int_equal(operand_type(f, "conv2", 0), OSP_DTYPE_BFLOAT16);
    assert_int_equal(operand_type(f, "conv2", 1), OSP_DTYPE_BFLOAT16);
    assert_int_equal(operand_type(f, "conv2", 2), OSP_DTYPE_FLOAT32);
    assert_int_equal(count(&f->graph, "Cast"), 2);
}

static void nodes_can_be_pinned(void **state)
{
    fixture *f = *state;
    const char *names[] = {"conv2", "no such node"};
    osp_pass_options options = {OSP_PRECISION_FP16, names, 2, NULL, NULL};
    small_network(f);
    infer(f);
    assert_int_equal(osp_pass_precision(&f->graph, &options, &f->err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(f->err.text, "'no such node'"));
    assert_int_equal(count(&f->graph, "Cast"), 0);
    options.keep_fp32_count = 1;
    assert_int_equal(osp_pass_precision(&f->graph, &options, &f->err), OSP_OK);
    infer(f);
    assert_int_equal(type_of(f, "conv2"), OSP_DTYPE_FLOAT32);
    assert_int_equal(operand_type(f, "conv2", 1), OSP_DTYPE_FLOAT32);
    assert_int_equal(type_of(f, "flat"), OSP_DTYPE_FLOAT32);
    assert_int_equal(type_of(f, "conv1"), OSP_DTYPE_FLOAT16);
    assert_int_equal(count(&f->graph, "Cast"), 2);
}

static void large_constants_stay(void **state)
{
    fixture *f = *state;
    small_network(f);
    infer(f);
    const osp_vid w = find(&f->graph, "conv1")->inputs[1];
    float *data = osp_arena_array(&f->graph.arena, 8 * 3 * 9, sizeof *data);
    memcpy(data, f->graph.values[w].data, 8 * 3 * 9 * sizeof *data);
    data[100] = -65536;
    f->graph.values[w].data = data;
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(type_of(f, "conv1"), OSP_DTYPE_FLOAT32);
    assert_int_equal(type_of(f, "silu"), OSP_DTYPE_FLOAT32);  // goes on in its source's type
    assert_int_equal(type_of(f, "conv2"), OSP_DTYPE_FLOAT16);
    assert_non_null(strstr(f->log, "'conv1' (Conv) stays float32: input 1 holds -65536"));
}

// An output inside the network keeps number, name and type; low readers do not read it back.
static void inner_outputs_keep_their_type(void **state)
{
    fixture *f = *state;
    const osp_vid one = small_network(f);
    output(f, one);
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(f->graph.outputs[1], one);
    assert_string_equal(f->graph.values[one].name, "conv1");
    assert_int_equal(f->graph.values[one].dtype, OSP_DTYPE_FLOAT32);
    assert_int_equal(operand_type(f, "silu", 0), OSP_DTYPE_FLOAT16);
    assert_int_equal(operand_type(f, "gate", 0), OSP_DTYPE_FLOAT16);
    assert_int_equal(count(&f->graph, "Cast"), 3);
}

// A constant that both kinds of nodes read exists twice; a value is cast once for all its readers.
static void casts_are_shared(void **state)
{
    fixture *f = *state;
    const osp_vid x = input(f, "images");
    const osp_vid a = conv(f, "a", x, 3, 8), b = conv(f, "b", x, 3, 8);
    const osp_vid half = weights(f, "half", (osp_shape){1, {1}});
    const osp_vid sum = node(f, "Add", "sum", a, b, OSP_NO_VALUE);
    const osp_vid scaled = node(f, "Mul", "scaled", sum, half, OSP_NO_VALUE);
    const osp_vid c = conv(f, "c", scaled, 8, 8);
    output(f, node(f, "Add", "d", c, half, OSP_NO_VALUE));
    output(f, node(f, "Sigmoid", "e", c, OSP_NO_VALUE, OSP_NO_VALUE));
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(count(&f->graph, "Cast"), 2);
    assert_int_equal(find(&f->graph, "a")->inputs[0], find(&f->graph, "b")->inputs[0]);
    assert_int_equal(find(&f->graph, "d")->inputs[0], find(&f->graph, "e")->inputs[0]);
    assert_int_equal(operand_type(f, "scaled", 1), OSP_DTYPE_FLOAT16);
    assert_int_equal(find(&f->graph, "d")->inputs[1], half);
    assert_int_equal(f->graph.values[half].dtype, OSP_DTYPE_FLOAT32);
}

// What coordinates are made of stays float32, though layers follow; what is sampled does not.
static void coordinates_stay(void **state)
{
    fixture *f = *state;
    const osp_vid x = input(f, "images");
    const osp_vid map = conv(f, "map", x, 3, 8), points = conv(f, "points", x, 3, 8);
    const osp_vid moved = node(f, "Sigmoid", "moved", points, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid grid = node(f, "Reshape", "grid", moved,
                              ints(f, "to", 4, (int64_t[]){1, 12, 12, 2}), OSP_NO_VALUE);
    const osp_vid sampled = node(f, "GridSample", "sampled", map, grid, OSP_NO_VALUE);
    output(f, conv(f, "last", sampled, 8, 8));
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(type_of(f, "points"), OSP_DTYPE_FLOAT16);
    assert_int_equal(type_of(f, "moved"), OSP_DTYPE_FLOAT32);
    assert_int_equal(operand_type(f, "sampled", 1), OSP_DTYPE_FLOAT32);
    assert_int_equal(operand_type(f, "sampled", 0), OSP_DTYPE_FLOAT16);
    assert_int_equal(type_of(f, "sampled"), OSP_DTYPE_FLOAT16);
}

// The weighted sum over the bins of a box edge is no layer.
static void expectations_stay(void **state)
{
    fixture *f = *state;
    const osp_vid map = conv(f, "map", input(f, "images"), 3, 16);
    const osp_vid soft = node(f, "Softmax", "soft", map, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, node(f, "Conv", "bins", soft, weights(f, "bins.w", (osp_shape){4, {1, 16, 1, 1}}),
                   OSP_NO_VALUE));
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(type_of(f, "bins"), OSP_DTYPE_FLOAT32);
    assert_int_equal(operand_type(f, "bins", 1), OSP_DTYPE_FLOAT32);
    assert_int_equal(count(&f->graph, "Cast"), 2);
}

// A model that was float16 already: its own Casts are used, none is added.
static void casts_of_the_file_cancel(void **state)
{
    fixture *f = *state;
    const osp_vid x = input(f, "images");
    f->graph.values[x].dtype = OSP_DTYPE_FLOAT16;
    const osp_vid up = node(f, "Cast", "up", x, OSP_NO_VALUE, OSP_NO_VALUE);
    ((osp_cast_attrs *)f->graph.nodes[0].attrs)->to = 1;
    output(f, conv(f, "a", up, 3, 8));
    lower(f, OSP_PRECISION_FP16);
    assert_int_equal(find(&f->graph, "a")->inputs[0], x);
    assert_int_equal(count(&f->graph, "Cast"), 1);  // of the output
}

static void round_trips_through_a_file(void **state)
{
    fixture *f = *state;
    char path[] = "/tmp/osprey-precision-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    float before[512], after[512];
    small_network(f);
    lower(f, OSP_PRECISION_FP16);
    const size_t n = run(f, &f->graph, before, 512);
    assert_int_equal(osp_onnx_write(&f->graph, path, &f->err), OSP_OK);
    osp_file file;
    osp_onnx_files files = {0};
    osp_graph read;
    osp_graph_init(&read, &f->ctx);
    assert_int_equal(osp_file_map(&file, path, f->ctx.limits.file_bytes, &f->err), OSP_OK);
    assert_int_equal(osp_onnx_load(&read, &files, file.data, file.size, NULL, &f->err), OSP_OK);
    assert_int_equal(osp_graph_infer(&read, false, &f->err), OSP_OK);
    assert_int_equal(read.node_count, f->graph.node_count);
    assert_int_equal(run(f, &read, after, 512), n);
    assert_memory_equal(after, before, n * sizeof *after);
    osp_graph_free(&read);
    osp_onnx_files_free(&files);
    osp_file_unmap(&file);
    unlink(path);
}

// ---- osp_model_write ----------------------------------------------------------------------------

static void detect(osp_model *model, float *out, size_t capacity, size_t *n)
{
    const osp_engine_options options = {
        .backend = OSP_BACKEND_REFERENCE, .batches = {2}, .height = 32, .width = 32};
    osp_engine *engine;
    osp_session *session;
    osp_error err;
    float pixels[2 * 3 * 32 * 32];
    fixture f = {.seed = 3};
    for (size_t i = 0; i < sizeof pixels / sizeof pixels[0]; i++)
        pixels[i] = noise(&f) + 0.5f;
    if (osp_engine_build(&engine, model, &options, &err))
        fail_msg("%s", err.text);
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    const osp_tensor src = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {2, 3, 32, 32}, .data = pixels};
    osp_tensor dst = {0};
    assert_int_equal(osp_session_run(session, &src, 1, &dst, 1, NULL), OSP_OK);
    assert_int_equal(dst.dtype, OSP_DTYPE_FLOAT32);
    *n = 1;
    for (int32_t d = 0; d < dst.rank; d++)
        *n *= (size_t)dst.dims[d];
    assert_true(*n <= capacity);
    memcpy(out, dst.data, *n * sizeof *out);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void models_are_written(void **state)
{
    (void)state;
    char path[] = "/tmp/osprey-written-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    osp_runtime *runtime;
    osp_model *model, *copy;
    osp_error err;
    float before[4096], after[4096];
    size_t n, same;
    assert_int_equal(osp_runtime_open(&runtime, NULL, NULL), OSP_OK);
    assert_int_equal(osp_model_open(&model, runtime, tiny, NULL), OSP_OK);
    detect(model, before, 4096, &n);

    osp_engine_options options = {.precision = OSP_PRECISION_BF16};
    assert_int_equal(osp_model_write(model, path, &options, &err), OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "bfloat16"));
    options.precision = OSP_PRECISION_FP32;
    const char *keep[] = {"nobody"};
    for (int p = OSP_PRECISION_AUTO; p <= OSP_PRECISION_FP16; p++) {
        options.precision = (osp_precision)p;
        if (osp_model_write(model, path, &options, &err))
            fail_msg("%s", err.text);
        assert_int_equal(osp_model_open(&copy, runtime, path, NULL), OSP_OK);
        osp_tensor_info was, is;
        assert_int_equal(osp_model_input(model, 0, &was), OSP_OK);
        assert_int_equal(osp_model_input(copy, 0, &is), OSP_OK);
        assert_int_equal(is.dtype, was.dtype);
        assert_int_equal(is.rank, was.rank);
        for (int32_t d = 0; d < was.rank; d++)
            assert_int_equal(is.dims[d], was.dims[d]);
        detect(copy, after, 4096, &same);
        assert_int_equal(same, n);
        if (p == OSP_PRECISION_FP16)
            expect_near(after, before, n, 1e-2f);
        else
            assert_memory_equal(after, before, n * sizeof *after);
        osp_model_info a, b;
        osp_model_get_info(model, &a);
        osp_model_get_info(copy, &b);
        assert_true(p == OSP_PRECISION_FP16 ? b.weight_bytes < a.weight_bytes * 3 / 4
                                            : b.weight_bytes == a.weight_bytes);
        osp_model_close(&copy);
    }
    options.keep_fp32 = keep;
    options.keep_fp32_count = 1;
    assert_int_equal(osp_model_write(model, path, &options, &err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(err.text, "'nobody'"));
    assert_int_equal(osp_model_write(NULL, path, NULL, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_model_write(model, NULL, NULL, &err), OSP_ERROR_ARGUMENT);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
    unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(casts_are_where_they_must_be),
        TEST(fp32_changes_nothing),
        TEST(results_barely_change),
        TEST(bfloat16_keeps_biases),
        TEST(nodes_can_be_pinned),
        TEST(large_constants_stay),
        TEST(inner_outputs_keep_their_type),
        TEST(casts_are_shared),
        TEST(coordinates_stay),
        TEST(expectations_stay),
        TEST(casts_of_the_file_cancel),
        TEST(round_trips_through_a_file),
        cmocka_unit_test(models_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
