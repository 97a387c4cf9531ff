// Inference over graphs: types, folding and its budget, limits, and the errors that name nodes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/binary.h"
#include "ops/internal.h"
#include "ops/norm.h"
#include "ops/view.h"

typedef struct fixture {
    osp_context ctx;
    osp_graph graph;
    osp_error err;
    osp_vid io[16];
} fixture;

static fixture *make(void **state, const osp_limits *limits)
{
    static fixture f;
    osp_options options = {0};
    if (limits)
        options.limits = *limits;
    memset(&f, 0, sizeof f);
    assert_int_equal(osp_context_init(&f.ctx, &options, NULL), OSP_OK);
    osp_graph_init(&f.graph, &f.ctx);
    f.graph.inputs = osp_arena_array(&f.graph.arena, 8, sizeof(osp_vid));
    f.graph.outputs = osp_arena_array(&f.graph.arena, 8, sizeof(osp_vid));
    *state = &f;
    return &f;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_graph_free(&f->graph);
    assert_int_equal(atomic_load(&f->ctx.mem.live), 0);
    osp_context_free(&f->ctx);
    return 0;
}

static osp_shape shape_of(int32_t rank, const int64_t *dims)
{
    osp_shape s = {.rank = rank};
    memcpy(s.dims, dims, (size_t)rank * sizeof dims[0]);
    return s;
}
#define SHAPE(...)                                                                                 \
    shape_of(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static osp_vid input(fixture *f, const char *name, osp_dtype dtype, osp_shape shape)
{
    const osp_vid v = osp_graph_add_value(&f->graph, name, dtype, &shape);
    f->graph.inputs[f->graph.input_count++] = v;
    return v;
}

static osp_vid ints(fixture *f, const char *name, int64_t count, const int64_t *values)
{
    const osp_shape shape = SHAPE(count);
    return osp_graph_add_constant(&f->graph, name, OSP_DTYPE_INT64, &shape, values);
}

// A node with up to three inputs and one output, named after it.
static osp_vid node(fixture *f, const char *type, const char *name, osp_vid a, osp_vid b, osp_vid c)
{
    const osp_vid inputs[3] = {a, b, c};
    const int32_t count = c != OSP_NO_VALUE ? 3 : b != OSP_NO_VALUE ? 2 : 1;
    const osp_vid out = osp_graph_add_value(&f->graph, name, OSP_DTYPE_UNKNOWN, NULL);
    const osp_op *op = osp_op_find("", type);
    osp_node *n = osp_graph_insert_node(&f->graph, f->graph.node_count, op, name, inputs, count,
                                        &out, 1, NULL);
    assert_non_null(n);
    if (!op)
        n->type = "Mystery";
    return out;
}

static void output(fixture *f, osp_vid v)
{
    f->graph.outputs[f->graph.output_count++] = v;
}

static const osp_value *value(fixture *f, osp_vid v)
{
    return f->graph.values + v;
}

static void expect_error(fixture *f, osp_status status, const char *part, const char *part2)
{
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), status);
    if (!strstr(f->err.text, part) || !strstr(f->err.text, part2))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", f->err.text, part, part2);
}

static void shapes_flow_and_shape_arithmetic_folds(void **state)
{
    fixture *f = make(state, NULL);
    // Reshape(x, Concat-like arithmetic on Shape(x)): Shape needs only x's shape.
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3, 4));
    const osp_vid relu = node(f, "Relu", "relu", x, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid s = node(f, "Shape", "shape", relu, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid factor = ints(f, "factor", 3, (int64_t[]){3, 1, 1});
    const osp_vid other = node(f, "Mul", "other", s, factor, OSP_NO_VALUE);
    const osp_vid small = ints(f, "small", 3, (int64_t[]){1, 3, 1});
    const osp_vid divided = node(f, "Div", "divided", other, small, OSP_NO_VALUE);
    const osp_vid y = node(f, "Reshape", "y", x, divided, OSP_NO_VALUE);
    output(f, y);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    const osp_shape want = SHAPE(6, 1, 4);
    assert_true(osp_shape_equal(&value(f, y)->shape, &want));
    assert_int_equal(value(f, y)->dtype, OSP_DTYPE_FLOAT32);
    assert_int_equal(f->graph.node_count, 1);  // Relu fed only Shape
    assert_string_equal(f->graph.nodes[0].type, "Reshape");
    assert_true(atomic_load(&f->ctx.elements_folded) >= 9);
}

static void identity_of_a_constant_is_no_copy(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid c = ints(f, "c", 2, (int64_t[]){5, 6});
    const osp_vid same = node(f, "Identity", "same", c, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, same);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_ptr_equal(value(f, same)->data, value(f, c)->data);
    assert_int_equal(f->graph.node_count, 0);
}

static void unaligned_constants_fold(void **state)
{
    fixture *f = make(state, NULL);
    static const char bytes[] = "\0\x01\0\0\0\x02\0\0";  // 1 and 2 from the second byte on
    char room[16];
    const osp_shape shape = SHAPE(2);
    const osp_vid c = osp_graph_add_value(&f->graph, "c", OSP_DTYPE_INT32, &shape);
    memcpy(room + 1, bytes + 1, 7);
    room[8] = 0;
    f->graph.values[c].data = room + 1;
    const osp_vid sum = node(f, "Add", "sum", c, c, OSP_NO_VALUE);
    output(f, sum);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_int_equal(((const int32_t *)value(f, sum)->data)[0], 2);
    assert_int_equal(((const int32_t *)value(f, sum)->data)[1], 4);
}

static void inputs_that_determine_shapes_are_named(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    const osp_vid axes = input(f, "axes", OSP_DTYPE_INT64, SHAPE(1));
    output(f, node(f, "ReduceSum", "sum", x, axes, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_UNSUPPORTED, "node 'sum' (ReduceSum)", "--fixed-input axes=FILE");
    const int64_t one = 1;
    f->graph.values[axes].data = &one;  // as fixed_inputs do it
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_int_equal(value(f, f->graph.outputs[0])->shape.dims[1], 1);
}

static void computed_shapes_are_refused(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    const osp_vid axes = input(f, "axes", OSP_DTYPE_INT64, SHAPE(1));
    const osp_vid twice = node(f, "Add", "twice", axes, axes, OSP_NO_VALUE);
    output(f, node(f, "ReduceSum", "sum", x, twice, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_UNSUPPORTED, "'twice' determines shapes", "computed");
}

static void folding_has_a_budget(void **state)
{
    fixture *f = make(state, &(osp_limits){.fold_elements = 1000});
    const osp_vid size = ints(f, "size", 2, (int64_t[]){40, 40});
    const osp_vid small = ints(f, "few", 1, (int64_t[]){10});
    const osp_vid zeros = node(f, "ConstantOfShape", "zeros", size, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid twice = node(f, "Add", "twice", zeros, zeros, OSP_NO_VALUE);
    const osp_vid ten = node(f, "ConstantOfShape", "ten", small, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, twice);
    output(f, ten);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_int_equal(f->graph.node_count, 2);  // both large ones run instead
    assert_null(value(f, twice)->data);
    assert_non_null(value(f, ten)->data);
    assert_true(atomic_load(&f->ctx.elements_folded) <= 1000);
}

static void what_folding_keeps_has_a_budget(void **state)
{
    fixture *f = make(state, &(osp_limits){.fold_elements = 1000});
    const osp_vid size = ints(f, "size", 1, (int64_t[]){200});
    const osp_vid zeros = node(f, "ConstantOfShape", "zeros", size, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, zeros);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_null(value(f, zeros)->data);  // 200 steps, but 800 bytes out of 8
}

static void budget_counts_work_not_only_results(void **state)
{
    fixture *f = make(state, &(osp_limits){.fold_elements = 1000});
    static const float zeros[400];
    const osp_shape shape = SHAPE(20, 20);
    const osp_vid a = osp_graph_add_constant(&f->graph, "a", OSP_DTYPE_FLOAT32, &shape, zeros);
    const osp_vid product = node(f, "MatMul", "product", a, a, OSP_NO_VALUE);
    output(f, product);
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    assert_null(value(f, product)->data);  // 400 results of 20 steps each
}

static void shapes_over_the_budget_are_a_limit(void **state)
{
    fixture *f = make(state, &(osp_limits){.fold_elements = 100});
    const osp_vid size = ints(f, "size", 1, (int64_t[]){200});
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    const osp_vid zeros = node(f, "ConstantOfShape", "zeros", size, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid axes = node(f, "Cast", "axes", zeros, OSP_NO_VALUE, OSP_NO_VALUE);
    *(osp_cast_attrs *)f->graph.nodes[1].attrs = (osp_cast_attrs){7};
    output(f, node(f, "ReduceSum", "sum", x, axes, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_LIMIT, "node 'sum'", "fold_elements");
}

static void large_tensors_are_a_limit(void **state)
{
    fixture *f = make(state, &(osp_limits){.tensor_bytes = 1000});
    const osp_vid a = input(f, "a", OSP_DTYPE_FLOAT32, SHAPE(20, 1));
    const osp_vid b = input(f, "b", OSP_DTYPE_FLOAT32, SHAPE(1, 20));
    output(f, node(f, "Add", "sum", a, b, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_LIMIT, "'sum' of shape 20x20", "tensor_bytes");
}

static void sizes_that_overflow_are_a_limit(void **state)
{
    fixture *f = make(state, NULL);
    const int64_t huge = INT64_C(1) << 40;
    const osp_vid size = ints(f, "size", 3, (int64_t[]){huge, huge, huge});
    output(f, node(f, "ConstantOfShape", "zeros", size, OSP_NO_VALUE, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_LIMIT, "node 'zeros' (ConstantOfShape)", "tensor_bytes");
}

static void all_opaque_nodes_are_listed(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    const osp_vid first = node(f, "?", "first", x, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid relu = node(f, "Relu", "relu", first, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid second = node(f, "?", "second", relu, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, second);
    expect_error(f, OSP_ERROR_UNSUPPORTED, "'first' (Mystery)", "'second' (Mystery)");
    assert_int_equal(osp_graph_infer(&f->graph, true, &f->err), OSP_OK);
    assert_int_equal(value(f, relu)->dtype, OSP_DTYPE_UNKNOWN);
    assert_int_equal(f->graph.node_count, 3);
}

static void counts_of_inputs_are_checked(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    output(f, node(f, "Add", "sum", x, OSP_NO_VALUE, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_FORMAT, "node 'sum' (Add)", "input 1 is missing");
    osp_node *n = f->graph.nodes;
    n->op = osp_op_find("", "Relu");
    n->input_count = 3;
    n->inputs = osp_arena_array(&f->graph.arena, 3, sizeof(osp_vid));
    n->inputs[0] = n->inputs[1] = n->inputs[2] = x;
    expect_error(f, OSP_ERROR_FORMAT, "3 inputs are given", "at most 1");
    n->inputs[1] = n->inputs[2] = OSP_NO_VALUE;  // trailing ones that are left out are fine
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
}

static void broken_graphs_are_refused(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(2, 3));
    const osp_vid a = node(f, "Relu", "a", x, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid b = node(f, "Relu", "b", a, OSP_NO_VALUE, OSP_NO_VALUE);
    output(f, b);
    f->graph.nodes[0].inputs[0] = b;
    expect_error(f, OSP_ERROR_FORMAT, "node 'a'", "not made before it is used");
    f->graph.nodes[0].inputs[0] = 1000;
    expect_error(f, OSP_ERROR_FORMAT, "node 0", "does not exist");
    f->graph.nodes[0].inputs[0] = x;
    f->graph.nodes[1].outputs[0] = x;
    expect_error(f, OSP_ERROR_FORMAT, "'x'", "more than once");
    f->graph.nodes[1].outputs[0] = b;
    f->graph.values[x].shape.dims[0] = -1;
    expect_error(f, OSP_ERROR_ARGUMENT, "'x'", "size");
    f->graph.values[x].shape.dims[0] = 2;
    f->graph.outputs[0] = -5;
    expect_error(f, OSP_ERROR_FORMAT, "graph", "does not exist");
    f->graph.outputs[0] = b;
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
}

static void integer_division_by_zero_is_an_error(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid a = ints(f, "a", 2, (int64_t[]){INT64_MIN, 7});
    const osp_vid b = ints(f, "b", 2, (int64_t[]){-1, 0});
    output(f, node(f, "Div", "ratio", a, b, OSP_NO_VALUE));
    expect_error(f, OSP_ERROR_FORMAT, "node 'ratio' (Div)", "integer division by zero");
}

static void opset_6_broadcasting(void **state)
{
    fixture *f = make(state, NULL);
    static const float a[12] = {0}, b[3] = {1, 2, 3};
    const osp_shape sa = SHAPE(2, 3, 2), sb = SHAPE(3);
    const osp_vid va = osp_graph_add_constant(&f->graph, "a", OSP_DTYPE_FLOAT32, &sa, a);
    const osp_vid vb = osp_graph_add_constant(&f->graph, "b", OSP_DTYPE_FLOAT32, &sb, b);
    const osp_vid sum = node(f, "Add", "sum", va, vb, OSP_NO_VALUE);
    output(f, sum);
    osp_broadcast_attrs *attrs = f->graph.nodes[0].attrs;
    attrs->broadcast = 1;
    attrs->axis = 2;
    expect_error(f, OSP_ERROR_FORMAT, "node 'sum'", "2x3x2 and 3 do not broadcast");
    attrs->axis = -2;
    assert_int_equal(osp_graph_infer(&f->graph, false, &f->err), OSP_OK);
    static const float want[12] = {1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3};
    assert_memory_equal(value(f, sum)->data, want, sizeof want);
}

static void passes_can_infer_one_node(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT16, SHAPE(1, 4, 8, 8));
    const osp_vid w = input(f, "w", OSP_DTYPE_FLOAT16, SHAPE(6, 4, 3, 3));
    const osp_vid y = osp_graph_add_value(&f->graph, "y", OSP_DTYPE_UNKNOWN, NULL);
    const osp_op *op = osp_op_find("osprey", "FusedConv");
    const osp_vid inputs[4] = {x, w, OSP_NO_VALUE, x};
    osp_node *n = osp_graph_insert_node(&f->graph, 0, op, "conv", inputs, 2, &y, 1, NULL);
    osp_fused_conv_attrs *attrs = n->attrs;
    attrs->conv.pads = (osp_ints){4, {1, 1, 1, 1}};
    assert_int_equal(osp_node_infer(&f->graph, n, &f->err), OSP_OK);
    const osp_shape want = SHAPE(1, 6, 8, 8);
    assert_true(osp_shape_equal(&value(f, y)->shape, &want));
    assert_int_equal(value(f, y)->dtype, OSP_DTYPE_FLOAT16);
    attrs->residual = OSP_RESIDUAL_AFTER;
    assert_int_equal(osp_node_infer(&f->graph, n, &f->err), OSP_ERROR_FORMAT);
    attrs->residual = OSP_RESIDUAL_NONE;
    attrs->act = OSP_ACT_COUNT;
    assert_int_equal(osp_node_infer(&f->graph, n, &f->err), OSP_ERROR_FORMAT);
}

static void training_is_refused_by_name(void **state)
{
    fixture *f = make(state, NULL);
    const osp_vid x = input(f, "x", OSP_DTYPE_FLOAT32, SHAPE(1, 2));
    const osp_vid s = input(f, "s", OSP_DTYPE_FLOAT32, SHAPE(2));
    const osp_vid y = osp_graph_add_value(&f->graph, "y", OSP_DTYPE_UNKNOWN, NULL);
    const osp_vid inputs[5] = {x, s, s, s, s};
    osp_node *n = osp_graph_insert_node(&f->graph, 0, osp_op_find("", "BatchNormalization"), "bn",
                                        inputs, 5, &y, 1, NULL);
    output(f, y);
    ((osp_batch_norm_attrs *)n->attrs)->training_mode = 1;
    expect_error(f, OSP_ERROR_UNSUPPORTED, "node 'bn' (BatchNormalization)", "training mode");
}

// What attention computes, against its definition by single operators.
static void attention_is_its_definition(void **state)
{
    fixture *f = make(state, NULL);
    float q[2 * 3 * 4], k[2 * 4 * 5], v[2 * 5 * 70];  // k is transposed; more columns than a block
    for (int i = 0; i < 24; i++)
        q[i] = (float)(i * 7 % 11) / 5 - 1;
    for (int i = 0; i < 40; i++)
        k[i] = (float)(i * 5 % 13) / 6 - 1;
    for (int i = 0; i < 700; i++)
        v[i] = (float)(i * 3 % 17) / 8 - 1;
    const osp_shape sq = SHAPE(2, 3, 4), sk = SHAPE(2, 4, 5), sv = SHAPE(2, 5, 70), s1 = {0};
    const float scale = 0.7f;
    osp_graph *g = &f->graph;
    const osp_vid vq = osp_graph_add_constant(g, "q", OSP_DTYPE_FLOAT32, &sq, q);
    const osp_vid vk = osp_graph_add_constant(g, "k", OSP_DTYPE_FLOAT32, &sk, k);
    const osp_vid vv = osp_graph_add_constant(g, "v", OSP_DTYPE_FLOAT32, &sv, v);
    const osp_vid vs = osp_graph_add_constant(g, "s", OSP_DTYPE_FLOAT32, &s1, &scale);
    const osp_vid logits = node(f, "MatMul", "logits", vq, vk, OSP_NO_VALUE);
    const osp_vid scaled = node(f, "Mul", "scaled", logits, vs, OSP_NO_VALUE);
    const osp_vid soft = node(f, "Softmax", "soft", scaled, OSP_NO_VALUE, OSP_NO_VALUE);
    const osp_vid want = node(f, "MatMul", "want", soft, vv, OSP_NO_VALUE);
    const osp_vid got = osp_graph_add_value(g, "got", OSP_DTYPE_UNKNOWN, NULL);
    const osp_attention_attrs attrs = {.scale = scale, .k_transposed = 1};
    osp_graph_insert_node(g, g->node_count, osp_op_find("osprey", "Attention"), "attention",
                          (osp_vid[]){vq, vk, vv}, 3, &got, 1, &attrs);
    output(f, want);
    output(f, got);
    assert_int_equal(osp_graph_infer(g, false, &f->err), OSP_OK);
    assert_true(osp_shape_equal(&value(f, want)->shape, &value(f, got)->shape));
    for (int i = 0; i < 2 * 3 * 70; i++)
        assert_float_equal(((const float *)value(f, got)->data)[i],
                           ((const float *)value(f, want)->data)[i], 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(shapes_flow_and_shape_arithmetic_folds, tear_down),
        cmocka_unit_test_teardown(identity_of_a_constant_is_no_copy, tear_down),
        cmocka_unit_test_teardown(unaligned_constants_fold, tear_down),
        cmocka_unit_test_teardown(inputs_that_determine_shapes_are_named, tear_down),
        cmocka_unit_test_teardown(computed_shapes_are_refused, tear_down),
        cmocka_unit_test_teardown(folding_has_a_budget, tear_down),
        cmocka_unit_test_teardown(what_folding_keeps_has_a_budget, tear_down),
        cmocka_unit_test_teardown(budget_counts_work_not_only_results, tear_down),
        cmocka_unit_test_teardown(shapes_over_the_budget_are_a_limit, tear_down),
        cmocka_unit_test_teardown(large_tensors_are_a_limit, tear_down),
        cmocka_unit_test_teardown(sizes_that_overflow_are_a_limit, tear_down),
        cmocka_unit_test_teardown(all_opaque_nodes_are_listed, tear_down),
        cmocka_unit_test_teardown(counts_of_inputs_are_checked, tear_down),
        cmocka_unit_test_teardown(broken_graphs_are_refused, tear_down),
        cmocka_unit_test_teardown(integer_division_by_zero_is_an_error, tear_down),
        cmocka_unit_test_teardown(opset_6_broadcasting, tear_down),
        cmocka_unit_test_teardown(passes_can_infer_one_node, tear_down),
        cmocka_unit_test_teardown(training_is_refused_by_name, tear_down),
        cmocka_unit_test_teardown(attention_is_its_definition, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
