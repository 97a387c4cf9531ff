// Graphs: sorting, cycles, use lists, replacing, sweeping, cloning.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/op.h"

typedef struct fixture {
    osp_context ctx;
    osp_graph graph;
    osp_vid x, a, b, c;
} fixture;

// x -> Relu -> a -> Relu -> b; a, b -> Add -> c, written in the order given.
static void add(fixture *f, const char *type, osp_vid in0, osp_vid in1, osp_vid out)
{
    const osp_vid inputs[2] = {in0, in1};
    const osp_op *op = osp_op_find("", type);
    assert_non_null(op);
    assert_non_null(osp_graph_insert_node(&f->graph, f->graph.node_count, op, type, inputs,
                                          in1 == OSP_NO_VALUE ? 1 : 2, &out, 1, NULL));
}

static int set_up(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    assert_int_equal(osp_context_init(&f.ctx, NULL, NULL), OSP_OK);
    osp_graph_init(&f.graph, &f.ctx);
    const osp_shape shape = {.rank = 2, .dims = {2, 3}};
    f.x = osp_graph_add_value(&f.graph, "x", OSP_DTYPE_FLOAT32, &shape);
    f.a = osp_graph_add_value(&f.graph, "a", OSP_DTYPE_UNKNOWN, NULL);
    f.b = osp_graph_add_value(&f.graph, "b", OSP_DTYPE_UNKNOWN, NULL);
    f.c = osp_graph_add_value(&f.graph, "c", OSP_DTYPE_UNKNOWN, NULL);
    f.graph.inputs = osp_arena_array(&f.graph.arena, 1, sizeof(osp_vid));
    f.graph.outputs = osp_arena_array(&f.graph.arena, 1, sizeof(osp_vid));
    f.graph.inputs[0] = f.x;
    f.graph.outputs[0] = f.c;
    f.graph.input_count = f.graph.output_count = 1;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_graph_free(&f->graph);
    assert_int_equal(atomic_load(&f->ctx.mem.live), 0);
    osp_context_free(&f->ctx);
    return 0;
}

static void sorts_what_is_out_of_order(void **state)
{
    fixture *f = *state;
    add(f, "Add", f->a, f->b, f->c);
    add(f, "Relu", f->a, OSP_NO_VALUE, f->b);
    add(f, "Exp", f->x, OSP_NO_VALUE, f->a);
    assert_int_equal(osp_graph_sort(&f->graph, NULL), OSP_OK);
    assert_string_equal(f->graph.nodes[0].type, "Exp");
    assert_string_equal(f->graph.nodes[1].type, "Relu");
    assert_string_equal(f->graph.nodes[2].type, "Add");
    assert_int_equal(osp_graph_infer(&f->graph, false, NULL), OSP_OK);
    assert_int_equal(f->graph.values[f->c].shape.dims[1], 3);
}

static void names_a_cycle(void **state)
{
    fixture *f = *state;
    add(f, "Add", f->x, f->b, f->a);
    add(f, "Relu", f->a, OSP_NO_VALUE, f->b);
    add(f, "Relu", f->b, OSP_NO_VALUE, f->c);
    osp_error err;
    assert_int_equal(osp_graph_sort(&f->graph, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "cycle"));
    assert_non_null(strstr(err.text, "Add"));
}

static void names_a_missing_value_and_a_double_one(void **state)
{
    fixture *f = *state;
    add(f, "Add", f->a, f->b, f->c);
    add(f, "Relu", f->x, OSP_NO_VALUE, f->a);
    osp_error err;
    assert_int_equal(osp_graph_sort(&f->graph, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "'b'"));
    add(f, "Relu", f->x, OSP_NO_VALUE, f->b);
    add(f, "Exp", f->x, OSP_NO_VALUE, f->b);
    assert_int_equal(osp_graph_sort(&f->graph, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "twice"));
}

static void uses_replace_and_sweep(void **state)
{
    fixture *f = *state;
    add(f, "Exp", f->x, OSP_NO_VALUE, f->a);
    add(f, "Relu", f->a, OSP_NO_VALUE, f->b);
    add(f, "Add", f->a, f->b, f->c);
    osp_uses uses;
    assert_int_equal(osp_graph_uses(&uses, &f->graph, NULL), OSP_OK);
    assert_int_equal(uses.count[f->a], 2);
    assert_int_equal(uses.list[uses.first[f->a]], 1);
    assert_int_equal(uses.list[uses.first[f->a] + 1], 2);
    assert_int_equal(uses.producer[f->c], 2);
    assert_int_equal(uses.producer[f->x], -1);
    assert_true(uses.is_output[f->c]);
    osp_uses_free(&uses);
    osp_graph_replace(&f->graph, f->b, f->x);  // nobody needs the Relu any more
    assert_int_equal(osp_graph_sweep(&f->graph, NULL), OSP_OK);
    assert_int_equal(f->graph.node_count, 2);
    assert_string_equal(f->graph.nodes[1].type, "Add");
    assert_int_equal(f->graph.nodes[1].inputs[1], f->x);
}

static void clone_is_independent(void **state)
{
    fixture *f = *state;
    add(f, "Exp", f->x, OSP_NO_VALUE, f->c);
    osp_graph copy;
    assert_int_equal(osp_graph_clone(&copy, &f->graph, NULL), OSP_OK);
    f->graph.values[f->x].shape.dims[0] = 99;
    f->graph.nodes[0].inputs[0] = f->c;
    assert_int_equal(copy.values[f->x].shape.dims[0], 2);
    assert_int_equal(copy.nodes[0].inputs[0], f->x);
    assert_string_equal(copy.values[f->x].name, "x");
    assert_ptr_not_equal(copy.values[f->x].name, f->graph.values[f->x].name);
    osp_graph_free(&copy);
    f->graph.nodes[0].inputs[0] = f->x;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sorts_what_is_out_of_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_a_cycle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_a_missing_value_and_a_double_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(uses_replace_and_sweep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clone_is_independent, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
