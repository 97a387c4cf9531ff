// Shape arithmetic: counts, strides, broadcasting, axes, windows; and sizes that do not fit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/shape.h"

static void counts(void **state)
{
    (void)state;
    size_t n = 77;
    const osp_shape scalar = {.rank = 0}, some = {.rank = 3, .dims = {2, 3, 4}};
    const osp_shape empty = {.rank = 2, .dims = {5, 0}}, open = {.rank = 2, .dims = {2, -1}};
    const osp_shape huge = {.rank = 2, .dims = {INT64_MAX, 3}};
    const osp_shape empty_huge = {.rank = 3, .dims = {0, INT64_MAX, INT64_MAX}};
    const osp_shape unknown = {.rank = -1};
    assert_true(osp_shape_count(&scalar, &n) && n == 1);
    assert_true(osp_shape_count(&some, &n) && n == 24);
    assert_true(osp_shape_count(&empty, &n) && n == 0);
    n = 77;
    assert_false(osp_shape_count(&open, &n));
    assert_false(osp_shape_count(&huge, &n));
    assert_false(osp_shape_count(&empty_huge, &n));  // its spans would not fit
    assert_false(osp_shape_count(&unknown, &n));
    assert_int_equal(n, 77);
    assert_true(osp_shape_bytes(&some, OSP_DTYPE_INT64, &n) && n == 192);
    const osp_shape edge = {.rank = 1, .dims = {INT64_MAX / 4}};
    assert_true(osp_shape_bytes(&edge, OSP_DTYPE_UINT8, &n));
    assert_false(osp_shape_bytes(&edge, OSP_DTYPE_INT64, &n));
    const osp_shape empty_edge = {.rank = 2, .dims = {0, INT64_MAX / 4}};
    assert_true(osp_shape_bytes(&empty_edge, OSP_DTYPE_UINT8, &n) && n == 0);
    assert_false(osp_shape_bytes(&empty_edge, OSP_DTYPE_INT64, &n));  // nor would its byte strides
    assert_false(osp_shape_bytes(&some, OSP_DTYPE_UNKNOWN, &n));
    assert_false(osp_shape_known(&open));
    assert_true(osp_shape_known(&empty));
    assert_int_equal(osp_shape_span(&some, 1, 3), 12);
    assert_int_equal(osp_shape_span(&some, 3, 3), 1);
    assert_false(osp_shape_equal(&scalar, &some));
    assert_true(osp_shape_equal(&some, &(osp_shape){.rank = 3, .dims = {2, 3, 4}}));
}

static void strides(void **state)
{
    (void)state;
    int64_t s[OSP_MAX_RANK];
    osp_shape_strides(&(osp_shape){.rank = 3, .dims = {2, 3, 4}}, s);
    assert_int_equal(s[0], 12);
    assert_int_equal(s[1], 4);
    assert_int_equal(s[2], 1);
    const osp_shape to = {.rank = 4, .dims = {5, 2, 3, 4}};
    osp_shape_broadcast_strides(&(osp_shape){.rank = 3, .dims = {2, 1, 4}}, &to, s);
    const int64_t want[4] = {0, 4, 0, 1};
    assert_memory_equal(s, want, sizeof want);
    osp_shape_broadcast_strides(&(osp_shape){.rank = 0}, &to, s);
    const int64_t none[4] = {0};
    assert_memory_equal(s, none, sizeof none);
}

static void broadcasting(void **state)
{
    (void)state;
    osp_shape a = {.rank = 3, .dims = {2, 1, 4}};
    const osp_shape b = {.rank = 2, .dims = {3, 1}}, wrong = {.rank = 1, .dims = {3}};
    osp_shape out;
    assert_true(osp_shape_broadcast(&a, &b, &out));
    assert_true(osp_shape_equal(&out, &(osp_shape){.rank = 3, .dims = {2, 3, 4}}));
    assert_true(osp_shape_broadcast(&a, &(osp_shape){.rank = 1, .dims = {0}}, &out) == false);
    assert_true(osp_shape_broadcast(&(osp_shape){.rank = 1, .dims = {1}},
                                    &(osp_shape){.rank = 1, .dims = {0}}, &out));
    assert_int_equal(out.dims[0], 0);
    assert_false(osp_shape_broadcast(&a, &wrong, &out));
    assert_true(osp_shape_broadcast(&b, &a, &a));  // in place
    assert_int_equal(a.dims[1], 3);
}

static void axes(void **state)
{
    (void)state;
    int32_t axis = 9;
    assert_true(osp_shape_axis(-4, 4, &axis) && axis == 0);
    assert_true(osp_shape_axis(3, 4, &axis) && axis == 3);
    assert_true(osp_shape_axis(-1, 0, &axis) && axis == 0);
    assert_false(osp_shape_axis(4, 4, &axis));
    assert_false(osp_shape_axis(-5, 4, &axis));
    assert_false(osp_shape_axis(INT64_MIN, 4, &axis));
    assert_false(osp_shape_axis(1, 0, &axis));
    assert_false(osp_shape_axis(0, -1, &axis));
}

static void texts(void **state)
{
    (void)state;
    char text[96], small[6];
    assert_string_equal(
        osp_shape_text(&(osp_shape){.rank = 3, .dims = {2, -1, 40}}, text, sizeof text), "2x?x40");
    assert_string_equal(osp_shape_text(&(osp_shape){.rank = 0}, text, sizeof text), "scalar");
    assert_string_equal(osp_shape_text(&(osp_shape){.rank = -1}, text, sizeof text), "?");
    assert_string_equal(
        osp_shape_text(&(osp_shape){.rank = 3, .dims = {100, 200, 300}}, small, sizeof small), "100"
                                                                                               "x"
                                                                                               "2");
}

// Extent of one axis; -1: refused.
static int64_t extent(int64_t in, int64_t size, int64_t stride, int64_t dilation, int64_t before,
                      int64_t after, bool ceil)
{
    osp_window w = {size, stride, dilation, before, after};
    int64_t out = -7;
    return osp_shape_window(in, OSP_PAD_NOTSET, ceil, &w, &out) ? out : -1;
}

static void windows(void **state)
{
    (void)state;
    // A dilated window covers (size - 1) * dilation + 1: some libraries take size * dilation and
    // get 9 here.
    assert_int_equal(extent(10, 3, 1, 2, 2, 2, false), 10);
    assert_int_equal(extent(640, 3, 2, 1, 1, 1, false), 320);
    assert_int_equal(extent(7, 7, 1, 1, 0, 0, false), 1);
    assert_int_equal(extent(6, 7, 1, 1, 0, 0, false), -1);
    assert_int_equal(extent(2, 3, 2, 1, 0, 0, false), -1);  // not rounded towards zero
    assert_int_equal(extent(0, 3, 1, 1, 2, 2, false), 2);
}

static void ceil_mode(void **state)
{
    (void)state;
    assert_int_equal(extent(4, 3, 2, 1, 0, 0, false), 1);
    assert_int_equal(extent(4, 3, 2, 1, 0, 0, true), 2);
    assert_int_equal(extent(5, 3, 2, 1, 0, 0, true), 2);  // fits exactly
    assert_int_equal(extent(2, 1, 3, 1, 0, 0, true), 1);  // a second window would begin at 3
    assert_int_equal(extent(3, 2, 2, 1, 1, 1, true), 3 - 1);
    assert_int_equal(extent(2, 2, 2, 1, 0, 1, true), 1);  // begins in the end padding: dropped
    assert_int_equal(extent(3, 2, 2, 1, 0, 1, true), 2);
    assert_int_equal(extent(2, 3, 2, 1, 0, 0, true), 1);  // sticks out
    assert_int_equal(extent(1, 3, 2, 1, 0, 0, true), -1);
}

static void auto_pads(void **state)
{
    (void)state;
    osp_window w = {.size = 4, .stride = 1, .dilation = 1, .pad_begin = 99, .pad_end = 99};
    int64_t out = 0;
    assert_true(osp_shape_window(10, OSP_PAD_SAME_UPPER, false, &w, &out));
    assert_int_equal(out, 10);
    assert_int_equal(w.pad_begin, 1);
    assert_int_equal(w.pad_end, 2);
    assert_true(osp_shape_window(10, OSP_PAD_SAME_LOWER, false, &w, &out));
    assert_int_equal(w.pad_begin, 2);
    assert_int_equal(w.pad_end, 1);
    assert_true(osp_shape_window(10, OSP_PAD_VALID, false, &w, &out));
    assert_int_equal(out, 7);
    assert_int_equal(w.pad_begin + w.pad_end, 0);
    w = (osp_window){.size = 1, .stride = 3, .dilation = 1};  // leaves pixels over: no padding
    assert_true(osp_shape_window(9, OSP_PAD_SAME_UPPER, false, &w, &out));
    assert_int_equal(out, 3);
    assert_int_equal(w.pad_begin + w.pad_end, 0);
    w = (osp_window){.size = 3, .stride = 2, .dilation = 2};
    assert_true(osp_shape_window(7, OSP_PAD_SAME_UPPER, false, &w, &out));
    assert_int_equal(out, 4);
    assert_int_equal(w.pad_begin, 2);
    assert_int_equal(w.pad_end, 2);
}

static void hostile_windows(void **state)
{
    (void)state;
    const int64_t big = INT64_MAX, low = INT64_MIN;
    assert_int_equal(extent(10, 0, 1, 1, 0, 0, false), -1);
    assert_int_equal(extent(10, 3, 0, 1, 0, 0, false), -1);
    assert_int_equal(extent(10, 3, 1, 0, 0, 0, false), -1);
    assert_int_equal(extent(10, 3, 1, 1, -1, 0, false), -1);
    assert_int_equal(extent(10, big, 1, 1, 0, 0, false), -1);
    assert_int_equal(extent(10, 3, big, 1, 0, 0, true), -1);
    assert_int_equal(extent(10, 3, 1, big, 0, 0, false), -1);
    assert_int_equal(extent(10, 3, 1, 1, big, big, false), -1);
    assert_int_equal(extent(10, 3, low, low, low, low, true), -1);
    assert_int_equal(extent(big, 3, 1, 1, 0, 0, false), -1);
    assert_int_equal(extent(-1, 3, 1, 1, 4, 4, false), -1);
    assert_int_equal(extent(10, INT32_MAX, 1, INT32_MAX, INT32_MAX, INT32_MAX, false), -1);
    osp_window w = {INT32_MAX, INT32_MAX, INT32_MAX, 0, 0};
    int64_t out = 0;
    assert_true(osp_shape_window(10, OSP_PAD_SAME_LOWER, false, &w, &out));
    assert_int_equal(out, 1);
    assert_int_equal(w.pad_begin + w.pad_end, (int64_t)(INT32_MAX - 1) * INT32_MAX + 1 - 10);
    assert_false(osp_shape_window(10, (osp_auto_pad)9, false, &w, &out));
}

static void transposed(void **state)
{
    (void)state;
    int64_t out = 0;
    osp_window w = {.size = 3, .stride = 2, .dilation = 1, .pad_begin = 1, .pad_end = 1};
    assert_true(osp_shape_transposed(5, 1, &w, &out));
    assert_int_equal(out, 10);
    w = (osp_window){.size = 2, .stride = 2, .dilation = 1};
    assert_true(osp_shape_transposed(20, 0, &w, &out));
    assert_int_equal(out, 40);
    w = (osp_window){.size = 3, .stride = 1, .dilation = 2};
    assert_true(osp_shape_transposed(4, 0, &w, &out));
    assert_int_equal(out, 8);
    w.pad_begin = 9;
    assert_false(osp_shape_transposed(4, 0, &w, &out));
    assert_false(osp_shape_transposed(4, -1, &w, &out));
    w = (osp_window){.size = INT32_MAX, .stride = INT32_MAX, .dilation = INT32_MAX};
    assert_false(osp_shape_transposed((int64_t)1 << 40, 0, &w, &out));
    assert_false(osp_shape_transposed(INT64_MAX, 0, &w, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),          cmocka_unit_test(strides),
        cmocka_unit_test(broadcasting),    cmocka_unit_test(axes),
        cmocka_unit_test(texts),           cmocka_unit_test(windows),
        cmocka_unit_test(ceil_mode),       cmocka_unit_test(auto_pads),
        cmocka_unit_test(hostile_windows), cmocka_unit_test(transposed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
