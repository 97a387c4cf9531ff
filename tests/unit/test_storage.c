// Storage: which values may be slices of others. Each case says where a value must lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/move.h"
#include "plan/storage.h"

typedef struct fixture {
    osp_context ctx;
    osp_graph graph;
} fixture;

static int set_up(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    assert_int_equal(osp_context_init(&f.ctx, NULL, NULL), OSP_OK);
    osp_graph_init(&f.graph, &f.ctx);
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

static osp_vid add_value(fixture *f, const char *name, osp_layout layout, osp_shape shape)
{
    const osp_vid v = osp_graph_add_value(&f->graph, name, OSP_DTYPE_FLOAT32, &shape);
    assert_true(v != OSP_NO_VALUE);
    f->graph.values[v].layout = layout;
    return v;
}

static void add_node(fixture *f, const char *type, const osp_vid *inputs, int32_t count,
                     osp_vid output, const void *attrs)
{
    assert_non_null(osp_graph_insert_node(&f->graph, f->graph.node_count, osp_op_find("", type),
                                          type, inputs, count, &output, 1, attrs));
}

static void set_ends(fixture *f, osp_vid input, osp_vid output)
{
    f->graph.inputs = osp_arena_array(&f->graph.arena, 1, sizeof(osp_vid));
    f->graph.outputs = osp_arena_array(&f->graph.arena, 1, sizeof(osp_vid));
    f->graph.inputs[0] = input;
    f->graph.outputs[0] = output;
    f->graph.input_count = f->graph.output_count = 1;
}

// x -> Relu -> a (channels last); a, x -> Concat of channels -> joined -> Relu -> y: a is written
// into its half of joined, pixel by pixel.
static void channels_are_written_into_the_concat(void **state)
{
    fixture *f = *state;
    const osp_layout last = OSP_LAYOUT_CHANNELS_LAST;
    const osp_vid x = add_value(f, "x", last, (osp_shape){4, {2, 4, 3, 3}});
    const osp_vid a = add_value(f, "a", last, (osp_shape){4, {2, 4, 3, 3}});
    const osp_vid joined = add_value(f, "joined", last, (osp_shape){4, {2, 8, 3, 3}});
    const osp_vid y = add_value(f, "y", last, (osp_shape){4, {2, 8, 3, 3}});
    const osp_axis_attrs axis = {.axis = 1, .resolved_axis = 1};
    add_node(f, "Relu", &x, 1, a, NULL);
    add_node(f, "Concat", (const osp_vid[]){x, a}, 2, joined, &axis);
    add_node(f, "Relu", &joined, 1, y, NULL);
    set_ends(f, x, y);
    osp_storage storage[4];
    const bool dense[4] = {false};
    assert_int_equal(osp_storage_assign(&f->graph, dense, true, storage, NULL), OSP_OK);
    assert_int_equal(storage[a].root, joined);
    assert_int_equal(storage[a].offset_bytes, 4 * sizeof(float));
    assert_true(storage[a].row == 4 && storage[a].pitch == 8);
    assert_int_equal(storage[x].root, x);  // a graph input is never moved
}

// Tokens: a (channels last) -> Transpose -> Reshape -> Concat of rows. With two images, a's images
// lie apart in the result, which no pitch of pixels can say: a must own its buffer.
static void images_apart_are_no_pitch_of_pixels(void **state)
{
    fixture *f = *state;
    const osp_vid x = add_value(f, "x", OSP_LAYOUT_CHANNELS_LAST, (osp_shape){4, {2, 4, 3, 3}});
    const osp_vid a = add_value(f, "a", OSP_LAYOUT_CHANNELS_LAST, (osp_shape){4, {2, 4, 3, 3}});
    const osp_vid turned = add_value(f, "turned", OSP_LAYOUT_PLAIN, (osp_shape){4, {2, 3, 3, 4}});
    const osp_vid tokens = add_value(f, "tokens", OSP_LAYOUT_PLAIN, (osp_shape){3, {2, 9, 4}});
    const osp_vid more = add_value(f, "more", OSP_LAYOUT_PLAIN, (osp_shape){3, {2, 9, 4}});
    const osp_vid joined = add_value(f, "joined", OSP_LAYOUT_PLAIN, (osp_shape){3, {2, 18, 4}});
    const osp_vid y = add_value(f, "y", OSP_LAYOUT_PLAIN, (osp_shape){3, {2, 18, 4}});
    const osp_transpose_attrs perm = {.perm = {4, {0, 2, 3, 1}}, .resolved_perm = {0, 2, 3, 1}};
    const osp_axis_attrs axis = {.axis = 1, .resolved_axis = 1};
    add_node(f, "Relu", &x, 1, a, NULL);
    add_node(f, "Transpose", &a, 1, turned, &perm);
    add_node(f, "Reshape", &turned, 1, tokens, NULL);
    add_node(f, "Relu", &tokens, 1, more, NULL);
    add_node(f, "Concat", (const osp_vid[]){tokens, more}, 2, joined, &axis);
    add_node(f, "Relu", &joined, 1, y, NULL);
    set_ends(f, x, y);
    osp_storage storage[7];
    const bool dense[7] = {false};
    assert_int_equal(osp_storage_assign(&f->graph, dense, true, storage, NULL), OSP_OK);
    assert_true(storage[a].row == 4);
    assert_true(storage[a].root != joined);
    // The other input of the Concat is plain: its rows may be images apart.
    assert_int_equal(storage[more].root, joined);
    assert_true(storage[more].row == 36 && storage[more].pitch == 72);
}

// Three maps of 2, 4 and 2 channels are joined: the one in the middle has whole 16 bytes a pixel, and
// so has what is joined, but it would begin 8 bytes into that.
static void whole_pixels_begin_on_16_bytes(void **state)
{
    fixture *f = *state;
    const osp_layout last = OSP_LAYOUT_CHANNELS_LAST;
    const osp_vid x = add_value(f, "x", last, (osp_shape){4, {1, 2, 3, 3}});
    const osp_vid few = add_value(f, "few", last, (osp_shape){4, {1, 2, 3, 3}});
    const osp_vid pair = add_value(f, "pair", last, (osp_shape){4, {1, 4, 3, 3}});
    const osp_vid middle = add_value(f, "middle", last, (osp_shape){4, {1, 4, 3, 3}});
    const osp_vid joined = add_value(f, "joined", last, (osp_shape){4, {1, 8, 3, 3}});
    const osp_vid y = add_value(f, "y", last, (osp_shape){4, {1, 8, 3, 3}});
    const osp_axis_attrs axis = {.axis = 1, .resolved_axis = 1};
    add_node(f, "Relu", &x, 1, few, NULL);
    add_node(f, "Concat", (const osp_vid[]){x, x}, 2, pair, &axis);
    add_node(f, "Relu", &pair, 1, middle, NULL);
    add_node(f, "Concat", (const osp_vid[]){few, middle, x}, 3, joined, &axis);
    add_node(f, "Relu", &joined, 1, y, NULL);
    set_ends(f, x, y);
    osp_storage storage[6];
    const bool dense[6] = {false};
    assert_int_equal(osp_storage_assign(&f->graph, dense, true, storage, NULL), OSP_OK);
    assert_int_equal(storage[few].root, joined);  // 8 bytes a pixel are no whole 16
    assert_int_equal(storage[middle].root, middle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(channels_are_written_into_the_concat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(images_apart_are_no_pitch_of_pixels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whole_pixels_begin_on_16_bytes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
