// Operators that move elements: the corners of Slice, Pad, Split, Reshape and TopK, and indices out
// of range.
#include "op_case.h"

static const float ramp[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static op_case slice_of(int64_t length, const int64_t bounds[3])
{
    static const int64_t axis0[1] = {0};
    op_case c = op_case_new("Slice", 13);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, length), ramp);
    op_case_list(&c, &bounds[0], 1);
    op_case_list(&c, &bounds[1], 1);
    op_case_list(&c, axis0, 1);
    op_case_list(&c, &bounds[2], 1);
    return c;
}

static void slices(void **state)
{
    (void)state;
    static const struct {
        int64_t length, bounds[3];  // start, end, step
        int64_t count;
        float want[5];
    } rows[] = {
        {5, {1, 4, 1}, 3, {1, 2, 3}},
        {5, {-3, INT64_MAX, 2}, 2, {2, 4}},
        {5, {INT64_MAX, INT64_MIN, -1}, 5, {4, 3, 2, 1, 0}},
        {5, {-1, -6, -2}, 3, {4, 2, 0}},
        {5, {3, 3, 1}, 0, {0}},
        {5, {4, 1, 1}, 0, {0}},
        {5, {INT64_MIN, INT64_MAX, INT64_MAX}, 1, {0}},
        {5, {INT64_MAX, INT64_MIN, INT64_MIN}, 1, {4}},
        {0, {INT64_MAX, INT64_MIN, -1}, 0, {0}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        op_case c = slice_of(rows[i].length, rows[i].bounds);
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(1, rows[i].count), rows[i].want);
        op_case_free(&c);
    }
    const int64_t still[3] = {0, 5, 0};
    op_case c = slice_of(5, still);
    assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
    assert_non_null(strstr(c.error.text, "step"));
}

static op_case pad_of(const char *mode, const int64_t pads[2])
{
    op_case c = op_case_new("Pad", 19);
    op_case_string(&c, "mode", mode);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 3), ramp);
    op_case_list(&c, pads, 2);
    return c;
}

static void pads(void **state)
{
    (void)state;
    static const struct {
        const char *mode;
        int64_t pads[2], count;
        float want[12];
    } rows[] = {
        {"constant", {1, 2}, 6, {0, 0, 1, 2, 0, 0}},
        {"constant", {-1, 2}, 4, {1, 2, 0, 0}},
        {"constant", {2, -2}, 3, {0, 0, 0}},
        {"constant", {-1, -2}, 0, {0}},
        {"edge", {2, 1}, 6, {0, 0, 0, 1, 2, 2}},
        {"reflect", {2, 2}, 7, {2, 1, 0, 1, 2, 1, 0}},
        {"reflect", {5, 0}, 8, {1, 0, 1, 2, 1, 0, 1, 2}},  // longer than the axis: back and forth
        {"wrap", {2, 4}, 9, {1, 2, 0, 1, 2, 0, 1, 2, 0}},
        {"edge", {-1, 2}, 4, {1, 2, 2, 2}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        op_case c = pad_of(rows[i].mode, rows[i].pads);
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(1, rows[i].count), rows[i].want);
        op_case_free(&c);
    }
    static const int64_t bad[][2] = {
        {-2, -2}, {INT64_MAX, 1}, {INT64_MIN, INT64_MIN}, {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        op_case c = pad_of("reflect", bad[i]);
        assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
    }
}

static void splits(void **state)
{
    (void)state;
    op_case c = op_case_new("Split", 18);
    op_case_int(&c, "num_outputs", 4);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 7), ramp);
    c.output_count = 4;
    OP_CASE_OK(&c);
    assert_int_equal(c.outputs[2].shape.dims[0], 2);
    assert_int_equal(c.outputs[3].shape.dims[0], 1);
    assert_float_equal(((float *)c.outputs[3].data)[0], 6, 0);
    op_case_free(&c);

    c = op_case_new("Split", 13);  // equal parts only
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 7), ramp);
    c.output_count = 4;
    assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);

    static const int64_t sizes[3] = {INT64_MAX, INT64_MAX, 9};
    c = op_case_new("Split", 13);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 7), ramp);
    op_case_list(&c, sizes, 3);
    c.output_count = 3;
    assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);

    c = op_case_new("Split", 13);  // the attribute went with opset 13
    op_case_ints(&c, "split", sizes, 3);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 7), ramp);
    assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
}

static osp_status reshape(osp_shape from, const int64_t *to, int64_t rank, int64_t allowzero,
                          osp_shape *out)
{
    uint64_t attrs[256] = {0};
    op_case c = op_case_new("Reshape", 14);
    op_case_int(&c, "allowzero", allowzero);
    op_case_input(&c, OSP_DTYPE_FLOAT32, from, ramp);
    op_case_list(&c, to, rank);
    osp_status status = op_case_infer(&c, attrs);
    *out = c.outputs[0].shape;
    return status;
}

static void reshapes(void **state)
{
    (void)state;
    const osp_shape from = SHAPE(3, 2, 3, 2), empty = SHAPE(2, 0, 3);
    osp_shape out;
    static const int64_t a[] = {0, -1}, b[] = {3, 0, -1}, zero[] = {3, 0}, two[] = {-1, -1},
                         seven[] = {7, -1}, far[] = {2, 3, 2, 0},
                         huge[] = {INT64_MAX, INT64_MAX, 4}, minus[] = {-2, 6};
    assert_int_equal(reshape(from, a, 2, 0, &out), OSP_OK);
    assert_true(osp_shape_equal(&out, &SHAPE(2, 2, 6)));
    assert_int_equal(reshape(from, b, 3, 0, &out), OSP_ERROR_FORMAT);  // 3 x 3 x ? of 12
    assert_int_equal(reshape(empty, zero, 2, 1, &out), OSP_OK);
    assert_true(osp_shape_equal(&out, &SHAPE(2, 3, 0)));
    assert_int_equal(reshape(from, two, 2, 0, &out), OSP_ERROR_FORMAT);
    assert_int_equal(reshape(from, seven, 2, 0, &out), OSP_ERROR_FORMAT);
    assert_int_equal(reshape(from, far, 4, 0, &out), OSP_ERROR_FORMAT);
    assert_int_not_equal(reshape(from, huge, 3, 0, &out), OSP_OK);
    assert_int_equal(reshape(from, minus, 2, 0, &out), OSP_ERROR_FORMAT);
}

static void top_k(void **state)
{
    (void)state;
    static const float x[8] = {1, 3, -0.0f, 3, 0, 3, -2, 1};
    static const int64_t k[1] = {5};
    static const float best[5] = {3, 3, 3, 1, 1}, least[5] = {-2, -0.0f, 0, 1, 1};
    static const int64_t best_at[5] = {1, 3, 5, 0, 7}, least_at[5] = {6, 2, 4, 0, 7};
    for (int64_t largest = 0; largest < 2; largest++) {
        op_case c = op_case_new("TopK", 11);
        op_case_int(&c, "largest", largest);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 8), x);
        op_case_list(&c, k, 1);
        c.output_count = 2;
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(1, 5), largest ? best : least);
        assert_memory_equal(c.outputs[1].data, largest ? best_at : least_at, sizeof best_at);
        op_case_free(&c);
        c.output_count = 1;  // values alone
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(1, 5), largest ? best : least);
        op_case_free(&c);
    }
    static const int64_t many[1] = {9};
    op_case c = op_case_new("TopK", 11);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 8), x);
    op_case_list(&c, many, 1);
    assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
}

// Indices of the data are refused by index, axis and size.
static void indices_out_of_range(void **state)
{
    (void)state;
    static const int64_t bad[2] = {0, 3}, low[2] = {INT64_MIN, 0};
    static const char *const types[] = {"Gather", "GatherElements", "GatherND"};
    for (size_t i = 0; i < COUNT(types); i++) {
        op_case c = op_case_new(types[i], 13);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(2, 3, 2), ramp);
        op_case_input(&c, OSP_DTYPE_INT64, SHAPE(2, 1, 2), i == 2 ? low : bad);
        assert_int_equal(op_case_run(&c), OSP_ERROR_ARGUMENT);
        assert_non_null(strstr(c.error.text, i == 2 ? "index -9223372036854775808" : "index 3"));
        assert_non_null(strstr(c.error.text, "axis 0 of size 3"));
        op_case_free(&c);
    }
    op_case c = op_case_new("ScatterND", 18);
    static const int64_t pair[2] = {2, 2};
    op_case_string(&c, "reduction", "add");
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(2, 3, 2), ramp);
    op_case_input(&c, OSP_DTYPE_INT64, SHAPE(2, 1, 2), pair);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 1), ramp);
    assert_int_equal(op_case_run(&c), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(c.error.text, "index 2 is out of range for axis 1 of size 2"));
    op_case_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices),   cmocka_unit_test(pads),  cmocka_unit_test(splits),
        cmocka_unit_test(reshapes), cmocka_unit_test(top_k), cmocka_unit_test(indices_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
