// Convolution, pooling and resampling: small cases worked out by hand, and attributes that lie.
#include <math.h>

#include "op_case.h"

static const float ramp[25] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                               14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25};
static const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};

static void conv(void **state)
{
    (void)state;
    // Asymmetric pads, stride and dilation on one axis each.
    static const int64_t pads[4] = {0, 1, 1, 0}, strides[2] = {2, 1}, dilations[2] = {1, 2};
    op_case c = op_case_new("Conv", 11);
    op_case_ints(&c, "pads", pads, 4);
    op_case_ints(&c, "strides", strides, 2);
    op_case_ints(&c, "dilations", dilations, 2);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 1, 3, 3), ramp);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 1, 2, 2), ones);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 1), ramp);
    OP_CASE_OK(&c);
    // Rows 0-1 and 2-(padding); columns -1,1 and 0,2; bias 1.
    static const float want[4] = {2 + 5 + 1, 1 + 3 + 4 + 6 + 1, 8 + 1, 7 + 9 + 1};
    op_case_expect(&c, SHAPE(4, 1, 1, 2, 2), want);
    op_case_free(&c);
}

static void conv_refuses(void **state)
{
    (void)state;
    static const int64_t huge[4] = {INT64_MAX, 0, INT64_MAX, 0}, wrong[3] = {1, 1, 1};
    const struct {
        const char *name;
        const int64_t *ints;
        size_t count;
        int64_t group, source_channels;
        const char *says;
    } rows[] = {
        {"pads", huge, 4, 1, 2, "does not fit axis 2"},
        {"dilations", huge, 2, 1, 2, "does not fit axis 2"},
        {"strides", wrong, 3, 1, 2, "strides has 3 values"},
        {"kernel_shape", wrong, 2, 1, 2, "kernel_shape"},
        {"strides", wrong, 2, 0, 2, "groups"},
        {"strides", wrong, 2, 2, 2, "groups"},
        {"strides", wrong, 2, INT64_MIN, 2, "groups"},
        {"strides", wrong, 2, 1, 3, "groups"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        op_case c = op_case_new("Conv", 11);
        op_case_ints(&c, rows[i].name, rows[i].ints, rows[i].count);
        op_case_int(&c, "group", rows[i].group);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, rows[i].source_channels, 3, 3), ramp);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 2, 2, 2), ones);
        assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
        assert_non_null(strstr(c.error.text, rows[i].says));
    }
}

static void conv_transpose(void **state)
{
    (void)state;
    static const int64_t strides[1] = {2}, want_shape[1] = {4};
    static const float want[5] = {1, 1, 1 + 2, 2, 2};
    op_case c = op_case_new("ConvTranspose", 11);
    op_case_ints(&c, "strides", strides, 1);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(3, 1, 1, 2), ramp);
    op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(3, 1, 1, 3), ones);
    OP_CASE_OK(&c);
    op_case_expect(&c, SHAPE(3, 1, 1, 5), want);
    op_case_free(&c);
    op_case_ints(&c, "output_shape", want_shape, 1);  // the odd pixel is cut in front
    OP_CASE_OK(&c);
    op_case_expect(&c, SHAPE(3, 1, 1, 4), want + 1);
    op_case_free(&c);
    op_case_string(&c, "auto_pad", "SAME_UPPER");  // and at the end
    OP_CASE_OK(&c);
    op_case_expect(&c, SHAPE(3, 1, 1, 4), want);
    op_case_free(&c);
}

static void average_ceil(void **state)
{
    (void)state;
    // Windows begin at -1, 1, 3; the last one covers 3, the end padding, and one position past it,
    // which never counts.
    static const int64_t kernel[1] = {3}, strides[1] = {2}, pads[2] = {1, 1};
    static const float with[3] = {(1 + 2) / 3.0f, (2 + 3 + 4) / 3.0f, 4 / 2.0f};
    static const float without[3] = {1.5f, 3, 4};
    for (int64_t include = 0; include < 2; include++) {
        op_case c = op_case_new("AveragePool", 19);
        op_case_ints(&c, "kernel_shape", kernel, 1);
        op_case_ints(&c, "strides", strides, 1);
        op_case_ints(&c, "pads", pads, 2);
        op_case_int(&c, "ceil_mode", 1);
        op_case_int(&c, "count_include_pad", include);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(3, 1, 1, 4), ramp);
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(3, 1, 1, 3), include ? with : without);
        op_case_free(&c);
    }
}

static void max_indices(void **state)
{
    (void)state;
    static const int64_t kernel[2] = {2, 2}, strides[2] = {2, 2};
    static const int64_t row_major[4] = {6, 8, 16, 18}, column_major[4] = {6, 16, 8, 18};
    static const float want[4] = {7, 9, 17, 19};
    for (int64_t order = 0; order < 2; order++) {
        op_case c = op_case_new("MaxPool", 12);
        op_case_ints(&c, "kernel_shape", kernel, 2);
        op_case_ints(&c, "strides", strides, 2);
        op_case_int(&c, "storage_order", order);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 1, 5, 5), ramp);
        c.output_count = 2;
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(4, 1, 1, 2, 2), want);
        assert_memory_equal(c.outputs[1].data, order ? column_major : row_major, sizeof row_major);
        op_case_free(&c);
    }
}

// A window of 2^31 - 1 with 2^31 - 1 between its taps: only the taps inside are visited.
static void hostile_pool(void **state)
{
    (void)state;
    static const int64_t kernel[3] = {INT32_MAX, INT32_MAX, INT32_MAX};
    static const char *const types[] = {"MaxPool", "AveragePool"};
    for (size_t i = 0; i < COUNT(types); i++) {
        op_case c = op_case_new(types[i], 19);
        op_case_ints(&c, "kernel_shape", kernel, 3);
        op_case_ints(&c, "dilations", kernel, 3);
        op_case_string(&c, "auto_pad", "SAME_UPPER");
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(5, 1, 1, 1, 1, 2), ramp);
        OP_CASE_OK(&c);
        assert_true(osp_shape_equal(&c.outputs[0].shape, &SHAPE(5, 1, 1, 1, 1, 2)));
        op_case_free(&c);
    }
}

static void resize(void **state)
{
    (void)state;
    static const float scales[1] = {2};
    static const struct {
        const char *coordinate, *nearest;
        float want[6];
    } rows[] = {
        {"asymmetric", "floor", {1, 1, 2, 2, 3, 3}},
        {"half_pixel", "round_prefer_floor", {1, 1, 2, 2, 3, 3}},
        {"half_pixel", "floor", {1, 1, 1, 2, 2, 3}},
        {"half_pixel", "ceil", {1, 2, 2, 3, 3, 3}},
        {"asymmetric", "round_prefer_floor", {1, 1, 2, 2, 3, 3}},  // 0.5 goes down
        {"asymmetric", "round_prefer_ceil", {1, 2, 2, 3, 3, 3}},   // and up
        {"align_corners", "round_prefer_floor", {1, 1, 2, 2, 3, 3}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        op_case c = op_case_new("Resize", 18);
        op_case_string(&c, "coordinate_transformation_mode", rows[i].coordinate);
        op_case_string(&c, "nearest_mode", rows[i].nearest);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 3), ramp);
        op_case_left_out(&c);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 1), scales);
        OP_CASE_OK(&c);
        op_case_expect(&c, SHAPE(1, 6), rows[i].want);
        op_case_free(&c);
    }
}

static void resize_refuses(void **state)
{
    (void)state;
    static const float scales[] = {0, -1, 1e30f, (float)INFINITY, (float)NAN, 1e12f};
    for (size_t i = 0; i < COUNT(scales); i++) {
        op_case c = op_case_new("Resize", 13);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 3), ramp);
        op_case_left_out(&c);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 1), &scales[i]);
        assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
        assert_non_null(strstr(c.error.text, "scale"));
    }
    static const int64_t sizes[] = {-1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        op_case c = op_case_new("Resize", 13);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(1, 3), ramp);
        op_case_left_out(&c);
        op_case_left_out(&c);
        op_case_list(&c, &sizes[i], 1);
        assert_int_equal(op_case_run(&c), OSP_ERROR_FORMAT);
    }
}

// Points that are no numbers, or far away, read nothing outside the source.
static void wild_grid(void **state)
{
    (void)state;
    static const float grid[8] = {(float)NAN, 0, (float)INFINITY, -(float)INFINITY,
                                  3e38f,      0, -3e38f,          3e38f};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    static const char *const modes[] = {"bilinear", "nearest", "bicubic"};
    for (size_t i = 0; i < 9; i++) {
        op_case c = op_case_new("GridSample", 16);
        op_case_string(&c, "mode", modes[i % 3]);
        op_case_string(&c, "padding_mode", paddings[i / 3]);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 1, 3, 3), ramp);
        op_case_input(&c, OSP_DTYPE_FLOAT32, SHAPE(4, 1, 1, 4, 2), grid);
        OP_CASE_OK(&c);
        for (size_t k = 0; k < 4; k++) {
            float y = ((float *)c.outputs[0].data)[k];
            assert_true(i < 3 ? y == 0 : y >= 1 && y <= 9);
        }
        op_case_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv),           cmocka_unit_test(conv_refuses),
        cmocka_unit_test(conv_transpose), cmocka_unit_test(average_ceil),
        cmocka_unit_test(max_indices),    cmocka_unit_test(hostile_pool),
        cmocka_unit_test(resize),         cmocka_unit_test(resize_refuses),
        cmocka_unit_test(wild_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
