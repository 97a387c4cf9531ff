// ModelProto -> graph -> ModelProto. What must fail is in tests/hostile; this is what must work.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "onnx/encode.h"
#include "onnx/load.h"
#include "onnx/proto.h"
#include "onnx/wire.h"
#include "onnx/write.h"
#include "ops/op.h"

static osp_context ctx;
static osp_error err;

static int open_context(void **state)
{
    (void)state;
    return osp_context_init(&ctx, NULL, NULL) != OSP_OK;
}

static int close_context(void **state)
{
    (void)state;
    const size_t live = atomic_load(&ctx.mem.live);
    osp_context_free(&ctx);
    return live != 0;
}

// ---- Building models ----------------------------------------------------------------------------

static osp_encoder e;
static osp_encode_mark graph_mark;

static void begin_model(int64_t opset)
{
    osp_encoder_init(&e, &ctx.mem);
    osp_encode_int(&e, MODEL_IR_VERSION, 8);
    osp_encode_text(&e, MODEL_PRODUCER_NAME, "a test");
    const osp_encode_mark mark = osp_encode_begin(&e, MODEL_OPSET_IMPORT);
    osp_encode_int(&e, OPSET_VERSION, opset);
    osp_encode_end(&e, mark);
    graph_mark = osp_encode_begin(&e, MODEL_GRAPH);
    osp_encode_text(&e, GRAPH_NAME, "g");
}

static void add_int_attribute(const char *name, int64_t value)
{
    const osp_encode_mark mark = osp_encode_begin(&e, NODE_ATTRIBUTE);
    osp_encode_text(&e, ATTR_NAME, name);
    osp_encode_int(&e, ATTR_I, value);
    osp_encode_int(&e, ATTR_TYPE, ATTR_TYPE_INT);
    osp_encode_end(&e, mark);
}

static osp_encode_mark begin_node(const char *type, const char *name, const char *a, const char *b,
                                  const char *out)
{
    const osp_encode_mark mark = osp_encode_begin(&e, GRAPH_NODE);
    if (a)
        osp_encode_text(&e, NODE_INPUT, a);
    if (b)
        osp_encode_text(&e, NODE_INPUT, b);
    osp_encode_text(&e, NODE_OUTPUT, out);
    osp_encode_text(&e, NODE_OP_TYPE, type);
    if (name)
        osp_encode_text(&e, NODE_NAME, name);
    return mark;
}

static void add_node(const char *type, const char *name, const char *a, const char *b,
                     const char *out)
{
    osp_encode_end(&e, begin_node(type, name, a, b, out));
}

// A float32 input or output [batch, 3], the first dim free and named.
static void add_info(uint32_t field, const char *name)
{
    const osp_encode_mark info = osp_encode_begin(&e, field);
    osp_encode_text(&e, INFO_NAME, name);
    const osp_encode_mark type = osp_encode_begin(&e, INFO_TYPE);
    const osp_encode_mark tensor = osp_encode_begin(&e, TYPE_TENSOR);
    osp_encode_int(&e, TENSOR_TYPE_ELEM, ELEM_FLOAT);
    const osp_encode_mark shape = osp_encode_begin(&e, TENSOR_TYPE_SHAPE);
    osp_encode_mark dim = osp_encode_begin(&e, SHAPE_DIM);
    osp_encode_text(&e, DIM_PARAM, "batch");
    osp_encode_end(&e, dim);
    dim = osp_encode_begin(&e, SHAPE_DIM);
    osp_encode_int(&e, DIM_VALUE, 3);
    osp_encode_end(&e, dim);
    osp_encode_end(&e, shape);
    osp_encode_end(&e, tensor);
    osp_encode_end(&e, type);
    osp_encode_end(&e, info);
}

static void add_initializer(const char *name, const float *v, int64_t n)
{
    const osp_encode_mark mark = osp_encode_begin(&e, GRAPH_INITIALIZER);
    osp_encode_tensor(&e, name, OSP_DTYPE_FLOAT32, 1, &n, (osp_bytes){v, (size_t)n * 4});
    osp_encode_end(&e, mark);
}

typedef struct loaded {
    osp_graph graph;
    osp_onnx_files files;
    uint8_t *bytes;
    size_t size;
} loaded;

// Ends the model and loads it from a block of its own size.
static osp_status load(loaded *m)
{
    osp_encode_end(&e, graph_mark);
    assert_false(e.failed);
    assert_int_equal(e.piece_count, 0);
    *m = (loaded){.bytes = malloc(e.size), .size = e.size};
    assert_non_null(m->bytes);
    memcpy(m->bytes, e.bytes, e.size);
    osp_encoder_free(&e);
    osp_graph_init(&m->graph, &ctx);
    return osp_onnx_load(&m->graph, &m->files, m->bytes, m->size, NULL, &err);
}

static void unload(loaded *m)
{
    osp_graph_free(&m->graph);
    osp_onnx_files_free(&m->files);
    free(m->bytes);
}

static const osp_value *value_of(const osp_graph *graph, const char *name)
{
    for (size_t v = 0; v < graph->value_count; v++)
        if (strcmp(graph->values[v].name, name) == 0)
            return graph->values + v;
    return NULL;
}

// ---- Tests --------------------------------------------------------------------------------------

static void loads_a_plain_model(void **state)
{
    (void)state;
    static const float w[] = {1, 2, 3};
    begin_model(17);
    add_node("Add", "sum", "x", "w", "s");
    add_node("Relu", NULL, "s", NULL, "y");
    add_initializer("w", w, 3);
    add_info(GRAPH_INPUT, "x");
    add_info(GRAPH_INPUT, "w");  // as up to IR version 3
    add_info(GRAPH_OUTPUT, "y");
    loaded m;
    const uint64_t nodes = atomic_load(&ctx.nodes_made), read = atomic_load(&ctx.bytes_read);
    assert_int_equal(load(&m), OSP_OK);
    const osp_graph *g = &m.graph;
    assert_int_equal(atomic_load(&ctx.nodes_made) - nodes, 2);
    assert_int_equal(atomic_load(&ctx.bytes_read) - read, m.size);
    assert_string_equal(g->name, "g");
    assert_string_equal(g->producer, "a test");
    assert_int_equal(g->opset, 17);
    assert_int_equal(g->node_count, 2);
    assert_string_equal(g->nodes[0].name, "sum");
    assert_string_equal(g->nodes[1].name, "Relu_1");
    assert_ptr_equal(g->nodes[0].op, osp_op_find("", "Add"));
    assert_int_equal(g->input_count, 1);
    const osp_value *x = g->values + g->inputs[0];
    assert_string_equal(x->name, "x");
    assert_int_equal(x->dtype, OSP_DTYPE_FLOAT32);
    assert_int_equal(x->shape.rank, 2);
    assert_int_equal(x->shape.dims[0], -1);
    assert_int_equal(x->shape.dims[1], 3);
    assert_string_equal(x->dim_names[0], "batch");
    assert_null(x->dim_names[1]);
    // Weights stay where they are.
    const osp_value *constant = value_of(g, "w");
    assert_true((const uint8_t *)constant->data > m.bytes &&
                (const uint8_t *)constant->data < m.bytes + m.size);
    assert_memory_equal(constant->data, w, sizeof w);
    assert_int_equal(g->output_count, 1);
    assert_ptr_equal(g->values + g->outputs[0], value_of(g, "y"));
    unload(&m);
}

static void constant_nodes_become_values(void **state)
{
    (void)state;
    static const int64_t list[] = {4, -5};
    begin_model(13);
    osp_encode_mark node = begin_node("Constant", NULL, NULL, NULL, "i");
    add_int_attribute("value_int", -7);
    osp_encode_end(&e, node);
    node = begin_node("Constant", NULL, NULL, NULL, "f");
    osp_encode_mark attr = osp_encode_begin(&e, NODE_ATTRIBUTE);
    osp_encode_text(&e, ATTR_NAME, "value_float");
    osp_encode_float(&e, ATTR_F, 0.5f);  // without a type, as IR version 1 has it
    osp_encode_end(&e, attr);
    osp_encode_end(&e, node);
    node = begin_node("Constant", NULL, NULL, NULL, "is");
    attr = osp_encode_begin(&e, NODE_ATTRIBUTE);
    osp_encode_text(&e, ATTR_NAME, "value_ints");
    osp_encode_int(&e, ATTR_INTS, list[0]);
    osp_encode_int(&e, ATTR_INTS, list[1]);
    osp_encode_int(&e, ATTR_TYPE, ATTR_TYPE_INTS);
    osp_encode_end(&e, attr);
    osp_encode_end(&e, node);
    add_node("Relu", NULL, "f", NULL, "y");
    add_info(GRAPH_OUTPUT, "y");
    loaded m;
    assert_int_equal(load(&m), OSP_OK);
    assert_int_equal(m.graph.node_count, 1);
    const osp_value *i = value_of(&m.graph, "i"), *f = value_of(&m.graph, "f");
    const osp_value *is = value_of(&m.graph, "is");
    assert_int_equal(i->dtype, OSP_DTYPE_INT64);
    assert_int_equal(i->shape.rank, 0);
    assert_int_equal(*(const int64_t *)i->data, -7);
    assert_int_equal(f->dtype, OSP_DTYPE_FLOAT32);
    assert_true(*(const float *)f->data == 0.5f);
    assert_int_equal(is->shape.rank, 1);
    assert_int_equal(is->shape.dims[0], 2);
    assert_memory_equal(is->data, list, sizeof list);
    unload(&m);
}

static void sorts_nodes_that_come_out_of_order(void **state)
{
    (void)state;
    begin_model(17);
    add_node("Exp", "last", "b", NULL, "y");
    add_node("Relu", "middle", "a", NULL, "b");
    add_node("Sqrt", "first", "x", NULL, "a");
    add_info(GRAPH_INPUT, "x");
    add_info(GRAPH_OUTPUT, "y");
    loaded m;
    assert_int_equal(load(&m), OSP_OK);
    assert_string_equal(m.graph.nodes[0].name, "first");
    assert_string_equal(m.graph.nodes[1].name, "middle");
    assert_string_equal(m.graph.nodes[2].name, "last");
    unload(&m);
}

// Attributes between other fields are gathered; opaque nodes keep theirs unread.
static void keeps_raw_attributes(void **state)
{
    (void)state;
    begin_model(17);
    osp_encode_mark node = osp_encode_begin(&e, GRAPH_NODE);
    add_int_attribute("axis", 1);
    osp_encode_text(&e, NODE_INPUT, "x");
    osp_encode_text(&e, NODE_OUTPUT, "s");
    osp_encode_text(&e, NODE_OP_TYPE, "TopK");
    osp_encode_text(&e, NODE_INPUT, "k");
    add_int_attribute("largest", 0);
    osp_encode_text(&e, NODE_OUTPUT, "i");
    add_int_attribute("sorted", 1);
    osp_encode_end(&e, node);
    node = begin_node("Frobnicate", "frob", "s", "i", "y");
    add_int_attribute("speed", 9);
    osp_encode_text(&e, NODE_DOMAIN, "com.example");
    osp_encode_end(&e, node);
    add_info(GRAPH_INPUT, "x");
    add_info(GRAPH_INPUT, "k");
    add_info(GRAPH_OUTPUT, "y");
    loaded m;
    assert_int_equal(load(&m), OSP_OK);
    const osp_node *topk = m.graph.nodes, *frob = m.graph.nodes + 1;
    assert_non_null(topk->op);
    size_t records = 0;
    osp_wire wire = osp_wire_open(topk->raw_attrs, "NodeProto");
    for (osp_wire_field f;; records++) {
        assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
        if (!f.number)
            break;
        assert_int_equal(f.number, NODE_ATTRIBUTE);
    }
    assert_int_equal(records, 3);
    assert_null(frob->op);
    assert_string_equal(frob->type, "Frobnicate");
    assert_string_equal(frob->domain, "com.example");
    assert_in_range((uintptr_t)frob->raw_attrs.data, (uintptr_t)m.bytes,
                    (uintptr_t)m.bytes + m.size);
    unload(&m);
}

static void opsets_have_two_ends(void **state)
{
    (void)state;
    static const struct {
        int64_t opset;
        const char *type;
        osp_status status;
    } rows[] = {{5, "Relu", OSP_ERROR_UNSUPPORTED},
                {6, "Relu", OSP_OK},
                {22, "Relu", OSP_OK},
                {23, "Relu", OSP_ERROR_UNSUPPORTED},
                {1, "GlobalAveragePool", OSP_OK},
                {99, "Frobnicate", OSP_OK}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin_model(rows[i].opset);
        add_node(rows[i].type, NULL, "x", NULL, "y");
        add_info(GRAPH_INPUT, "x");
        add_info(GRAPH_OUTPUT, "y");
        loaded m;
        assert_int_equal(load(&m), rows[i].status);
        unload(&m);
    }
}

// Hash collisions and doubling arrays would show here: 100,000 nodes in one chain.
static void loads_many_nodes_in_linear_time(void **state)
{
    (void)state;
    begin_model(17);
    char from[16] = "x", to[16];
    for (int i = 0; i < 100000; i++) {
        snprintf(to, sizeof to, "v%d", i);
        add_node("Relu", NULL, from, NULL, to);
        memcpy(from, to, sizeof from);
    }
    add_info(GRAPH_INPUT, "x");
    add_info(GRAPH_OUTPUT, to);
    loaded m;
    const size_t before = atomic_load(&ctx.mem.live);
    const int status = load(&m);
    assert_int_equal(status, OSP_OK);
    assert_int_equal(m.graph.node_count, 100000);
    assert_true(atomic_load(&ctx.mem.live) - before < 64u << 20);
    unload(&m);
}

static void writes_what_it_read(void **state)
{
    (void)state;
    static float w[300];
    for (int i = 0; i < 300; i++)
        w[i] = (float)i;
    begin_model(17);
    osp_encode_mark node = begin_node("Softmax", "soft", "x", NULL, "s");
    add_int_attribute("axis", 0);
    osp_encode_end(&e, node);
    add_node("Concat", "frob", "s", "u", "z");
    add_initializer("u", w, 3);
    add_info(GRAPH_INPUT, "x");
    add_info(GRAPH_OUTPUT, "z");
    loaded m;
    assert_int_equal(load(&m), OSP_OK);
    osp_graph *g = &m.graph;
    // As a pass would: a Cast without raw attributes, a large constant, a nameless value.
    const osp_shape shape = {.rank = 1, .dims = {300}};
    const osp_vid big = osp_graph_add_constant(g, "big", OSP_DTYPE_FLOAT32, &shape, w);
    const osp_vid half = osp_graph_add_value(g, "", OSP_DTYPE_FLOAT16, &shape);
    const osp_op *cast = osp_op_find("", "Cast");
    uint8_t attrs[256] = {0};
    assert_true(cast->attrs_size <= sizeof attrs);
    const osp_attr to = {.name = "to", .type = ATTR_TYPE_INT, .i = ELEM_FLOAT16};
    assert_int_equal(osp_attrs_parse(cast, 17, &to, 1, attrs, &err), OSP_OK);
    assert_non_null(osp_graph_insert_node(g, 0, cast, "made", &big, 1, &half, 1, attrs));
    static const char path[] = "/tmp/osprey-test-write.onnx";
    assert_int_equal(osp_onnx_write(g, path, &err), OSP_OK);

    osp_file file;
    osp_graph copy;
    osp_onnx_files files = {0};
    osp_graph_init(&copy, &ctx);
    assert_int_equal(osp_file_map(&file, path, 1 << 20, &err), OSP_OK);
    assert_int_equal(osp_onnx_load(&copy, &files, file.data, file.size, "/tmp", &err), OSP_OK);
    unlink(path);
    assert_string_equal(copy.producer, "osprey");
    assert_int_equal(copy.node_count, 3);
    assert_string_equal(copy.nodes[0].type, "Cast");
    assert_memory_equal(copy.nodes[0].attrs, attrs, cast->attrs_size);
    assert_memory_equal(copy.nodes[1].attrs, g->nodes[1].attrs, g->nodes[1].op->attrs_size);
    assert_memory_equal(value_of(&copy, "big")->data, w, sizeof w);
    assert_memory_equal(value_of(&copy, "u")->data, w, 12);
    const osp_value *x = copy.values + copy.inputs[0];
    assert_string_equal(x->dim_names[0], "batch");
    assert_int_equal(x->shape.dims[1], 3);
    osp_graph_free(&copy);
    osp_file_unmap(&file);

    // An internal operator has no ONNX form.
    for (size_t i = 0; i < osp_op_count(); i++) {
        const osp_op *op = osp_op_at(i);
        if (strcmp(op->domain, "osprey") != 0)
            continue;
        assert_non_null(osp_graph_insert_node(g, 0, op, "fused", &big, 1, &half, 1, NULL));
        assert_int_equal(osp_onnx_write(g, path, &err), OSP_ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "fused"));
        assert_int_equal(access(path, F_OK), -1);
        break;
    }
    unload(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_a_plain_model),
        cmocka_unit_test(constant_nodes_become_values),
        cmocka_unit_test(sorts_nodes_that_come_out_of_order),
        cmocka_unit_test(keeps_raw_attributes),
        cmocka_unit_test(opsets_have_two_ends),
        cmocka_unit_test(loads_many_nodes_in_linear_time),
        cmocka_unit_test(writes_what_it_read),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
