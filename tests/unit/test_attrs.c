// Attributes: from files by table and opset, to text, and back from any text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/binary.h"
#include "ops/generate.h"
#include "ops/internal.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/reduce.h"

enum { FLOAT = 1, INT = 2, STRING = 3, TENSOR = 4, FLOATS = 6, INTS = 7 };

static const osp_op *find(const char *type)
{
    const osp_op *op = osp_op_find("", type);
    assert_non_null(op);
    return op;
}

static osp_attr int_attr(const char *name, int64_t i)
{
    return (osp_attr){.name = name, .type = INT, .i = i};
}

static void tables_are_sound(void **state)
{
    (void)state;
    assert_int_equal(osp_op_count(), 75);  // 68 of ONNX (Constant has no row) and 7 of ours
    assert_null(osp_op_at(osp_op_count()));
    for (size_t i = 0; i < osp_op_count(); i++) {
        const osp_op *op = osp_op_at(i);
        assert_ptr_equal(osp_op_find(op->domain, op->type), op);
        assert_non_null(op->infer);
        assert_non_null(op->reference);
        assert_true(op->attrs_size > 0);
        size_t rows = 0;
        for (const osp_attr_row *r = op->attr_table; r && r->name; r++, rows++) {
            const size_t list = r->kind == OSP_ATTR_INTS     ? 8 + r->capacity * 8
                                : r->kind == OSP_ATTR_FLOATS ? 4 + r->capacity * 4
                                : r->kind == OSP_ATTR_STRING ? r->capacity
                                                             : 4;
            assert_true(r->offset + list <= op->attrs_size || r->kind == OSP_ATTR_IGNORED);
            assert_true(r->kind != OSP_ATTR_ENUM || r->names);
            for (const osp_attr_row *other = op->attr_table; other < r; other++)
                assert_string_not_equal(other->name, r->name);
        }
        assert_true(rows <= 64);
    }
}

static void softmax_changes_at_13(void **state)
{
    (void)state;
    const osp_op *op = find("Softmax");
    osp_softmax_attrs a;
    const osp_attr axis = int_attr("axis", 2);
    assert_int_equal(osp_attrs_parse(op, 12, NULL, 0, &a, NULL), OSP_OK);
    assert_int_equal(a.axis, 1);
    assert_int_equal(a.flatten, 1);
    assert_int_equal(osp_attrs_parse(op, 12, &axis, 1, &a, NULL), OSP_OK);
    assert_int_equal(a.axis, 2);
    assert_int_equal(osp_attrs_parse(op, 13, NULL, 0, &a, NULL), OSP_OK);
    assert_int_equal(a.axis, -1);
    assert_int_equal(a.flatten, 0);
}

static void batch_norm_trains_by_default_at_6(void **state)
{
    (void)state;
    const osp_op *op = find("BatchNormalization");
    osp_batch_norm_attrs a;
    const osp_attr test = int_attr("is_test", 1), train = int_attr("training_mode", 1);
    assert_int_equal(osp_attrs_parse(op, 6, NULL, 0, &a, NULL), OSP_OK);
    assert_int_equal(a.training_mode, 1);
    assert_int_equal(osp_attrs_parse(op, 6, &test, 1, &a, NULL), OSP_OK);
    assert_int_equal(a.training_mode, 0);
    assert_int_equal(osp_attrs_parse(op, 9, NULL, 0, &a, NULL), OSP_OK);
    assert_int_equal(a.training_mode, 0);
    assert_int_equal(osp_attrs_parse(op, 14, &train, 1, &a, NULL), OSP_OK);
    assert_int_equal(a.training_mode, 1);
    assert_int_equal(osp_attrs_parse(op, 13, &train, 1, &a, NULL), OSP_ERROR_FORMAT);
}

static void errors_name_the_attribute(void **state)
{
    (void)state;
    osp_error err;
    osp_reduce_attrs reduce;
    int64_t many[17] = {0};
    const osp_attr unknown = int_attr("colour", 1), late = int_attr("noop_with_empty_axes", 1);
    const osp_attr wrong = {.name = "axes", .type = INT, .i = 1};
    const osp_attr too_long = {.name = "axes", .type = INTS, .ints = many, .count = 17};
    const osp_op *op = find("ReduceSum");
    assert_int_equal(osp_attrs_parse(op, 11, &unknown, 1, &reduce, &err), OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'colour'"));
    assert_int_equal(osp_attrs_parse(op, 11, &late, 1, &reduce, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "'noop_with_empty_axes'"));
    assert_int_equal(osp_attrs_parse(op, 13, &late, 1, &reduce, &err), OSP_OK);
    assert_int_equal(osp_attrs_parse(op, 11, &wrong, 1, &reduce, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "'axes'"));
    assert_int_equal(osp_attrs_parse(op, 11, &too_long, 1, &reduce, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "17"));
    const osp_attr twice[2] = {int_attr("keepdims", 1), int_attr("keepdims", 0)};
    assert_int_equal(osp_attrs_parse(op, 11, twice, 2, &reduce, &err), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "twice"));

    osp_softmax_attrs softmax;
    const osp_attr hidden = int_attr("flatten", 1);
    assert_int_equal(osp_attrs_parse(find("Softmax"), 13, &hidden, 1, &softmax, &err),
                     OSP_ERROR_UNSUPPORTED);
    osp_gelu_attrs gelu;
    const osp_attr mode = {.name = "approximate", .type = STRING, .s = {"cubic", 5}};
    assert_int_equal(osp_attrs_parse(find("Gelu"), 20, &mode, 1, &gelu, &err),
                     OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "none|tanh"));
    osp_einsum_attrs einsum;
    char text[200];
    memset(text, 'i', sizeof text);
    const osp_attr equation = {.name = "equation", .type = STRING, .s = {text, 128}};
    assert_int_equal(osp_attrs_parse(find("Einsum"), 12, &equation, 1, &einsum, &err),
                     OSP_ERROR_FORMAT);
}

static void scalars_come_from_tensors(void **state)
{
    (void)state;
    osp_constant_of_shape_attrs a;
    const int64_t seven = 7;
    osp_attr value = {.name = "value",
                      .type = TENSOR,
                      .tensor_dtype = OSP_DTYPE_INT64,
                      .tensor_shape = {.rank = 1, .dims = {1}},
                      .tensor_data = &seven};
    const osp_op *op = find("ConstantOfShape");
    assert_int_equal(osp_attrs_parse(op, 9, &value, 1, &a, NULL), OSP_OK);
    assert_int_equal(a.value.dtype, OSP_DTYPE_INT64);
    assert_int_equal(a.value.bytes[0], 7);
    value.tensor_shape.dims[0] = 2;
    assert_int_equal(osp_attrs_parse(op, 9, &value, 1, &a, NULL), OSP_ERROR_FORMAT);
    value.tensor_dtype = OSP_DTYPE_UNKNOWN;
    assert_int_equal(osp_attrs_parse(op, 9, &value, 1, &a, NULL), OSP_ERROR_UNSUPPORTED);
}

static void expect_text(const osp_op *op, const void *attrs, const char *want)
{
    char text[1024], again[1024];
    assert_int_equal(osp_attrs_print(op, attrs, text, sizeof text), strlen(want));
    assert_string_equal(text, want);
    void *back = test_malloc(op->attrs_size);
    assert_int_equal(osp_attrs_scan(op, text, back, NULL), OSP_OK);
    osp_attrs_print(op, back, again, sizeof again);
    assert_string_equal(again, want);
    test_free(back);
}

static void text_names_what_differs(void **state)
{
    (void)state;
    osp_fused_conv_attrs conv;
    const osp_op *fused = osp_op_find("osprey", "FusedConv");
    memcpy(&conv, fused->defaults, sizeof conv);
    expect_text(fused, &conv, "");
    conv.conv.pads = (osp_ints){4, {1, -2, 3, INT64_MIN}};
    conv.act = OSP_ACT_SILU;
    conv.alpha = 0.1f;
    conv.residual = OSP_RESIDUAL_AFTER;
    expect_text(fused, &conv,
                " pads=1,-2,3,-9223372036854775808 act=silu alpha=0.1 residual=after");

    osp_reduce_attrs reduce = {.axes = {.count = 0}, .keepdims = 1};
    expect_text(find("ReduceSum"), &reduce, " axes=");

    osp_einsum_attrs einsum = {"i\"j\\ \x01->"};
    expect_text(find("Einsum"), &einsum, " equation=\"i\\\"j\\\\ \\x01->\"");

    osp_constant_of_shape_attrs fill = {{.dtype = OSP_DTYPE_FLOAT16, .bytes = {0, 0xFC}}};
    expect_text(find("ConstantOfShape"), &fill, " value=float16:-inf");
    fill.value = (osp_scalar){.dtype = OSP_DTYPE_INT8, .bytes = {0x80}};
    expect_text(find("ConstantOfShape"), &fill, " value=int8:-128");
}

static void floats_survive(void **state)
{
    (void)state;
    osp_alpha_attrs a, back;
    char text[128];
    const osp_op *op = find("LeakyRelu");
    uint32_t bits = 12345;
    for (int i = 0; i < 20000; i++) {
        bits = bits * 1664525 + 1013904223;
        memcpy(&a.alpha, &bits, sizeof bits);
        a.beta = 0;
        osp_attrs_print(op, &a, text, sizeof text);
        assert_int_equal(osp_attrs_scan(op, text, &back, NULL), OSP_OK);
        if (isnan(a.alpha))
            assert_true(isnan(back.alpha));
        else
            assert_memory_equal(&a.alpha, &back.alpha, sizeof a.alpha);
    }
}

static void text_ignores_the_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        skip();
    const osp_alpha_attrs a = {0.25f, 0};
    expect_text(find("LeakyRelu"), &a, " alpha=0.25");
    setlocale(LC_NUMERIC, "C");
}

static void long_text_is_cut(void **state)
{
    (void)state;
    osp_broadcast_attrs a = {123456, 1, 0};
    char text[9];
    const osp_op *op = find("Add");
    assert_int_equal(osp_attrs_print(op, &a, NULL, 0), strlen(" axis=123456 broadcast=1"));
    assert_int_equal(osp_attrs_print(op, &a, text, sizeof text), 24);
    assert_string_equal(text, " axis=12");
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *text;
    } cases[] = {{"Add", "axis"},
                 {"Add", "axis="},
                 {"Add", "axis=x"},
                 {"Add", "axis=1x"},
                 {"Add", "=1"},
                 {"Add", "axis=1 axis=1"},
                 {"Add", "axis=9223372036854775808"},
                 {"Add", "axis =1"},
                 {"Add", "bogus=1"},
                 {"Add", "axis=1,2"},
                 {"Add", "axis=-"},
                 {"ReduceSum", "axes=1,"},
                 {"ReduceSum", "axes=,1"},
                 {"ReduceSum", "axes=none,1"},
                 {"ReduceSum", "axes=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"},
                 {"Gelu", "approximate="},
                 {"Gelu", "approximate=tan"},
                 {"Gelu", "approximate=none|tanh"},
                 {"LeakyRelu", "alpha=."},
                 {"LeakyRelu", "alpha=1e"},
                 {"LeakyRelu", "alpha=0,5"},
                 {"LeakyRelu", "alpha=1.2.3"},
                 {"LeakyRelu", "alpha=0x10"},
                 {"Einsum", "equation=ij"},
                 {"Einsum", "equation=\""},
                 {"Einsum", "equation=\"\\"},
                 {"Einsum", "equation=\"\\x0\""},
                 {"Einsum", "equation=\"\\x00\""},
                 {"Einsum", "equation=\"a\"b"},
                 {"Einsum", "equation=\"\\q\""},
                 {"ConstantOfShape", "value=float32"},
                 {"ConstantOfShape", "value=int8:128"},
                 {"ConstantOfShape", "value=double:1"},
                 {"ConstantOfShape", "value=bool:2"},
                 {"Dummy", NULL}};
    uint64_t room[128];
    for (size_t i = 0; cases[i].text; i++) {
        osp_error err;
        const osp_op *op = find(cases[i].type);
        assert_true(op->attrs_size <= sizeof room);
        if (osp_attrs_scan(op, cases[i].text, room, &err) != OSP_ERROR_FORMAT)
            fail_msg("accepted: %s %s", cases[i].type, cases[i].text);
        assert_non_null(strstr(err.text, op->type));
    }
    osp_einsum_attrs einsum;
    char text[200] = "equation=\"";
    memset(text + 10, 'i', 127);
    memcpy(text + 137, "\"", 2);
    assert_int_equal(osp_attrs_scan(find("Einsum"), text, &einsum, NULL), OSP_OK);
    memcpy(text + 137, "i\"", 3);
    assert_int_equal(osp_attrs_scan(find("Einsum"), text, &einsum, NULL), OSP_ERROR_FORMAT);
}

// Whatever is accepted prints to a text that is a fixed point.
static void random_text_is_survived(void **state)
{
    (void)state;
    static const char alphabet[] = "axispdvluetrnbocgmhfkTAB =,\"\\-.:0123456789|x";
    uint32_t seed = 7;
    size_t accepted = 0;
    for (int round = 0; round < 20000; round++) {
        const osp_op *op = osp_op_at((size_t)round % osp_op_count());
        char text[256], first[2048], second[2048];
        size_t n = 0;
        // Begin with a real name, so that values are reached.
        const osp_attr_row *row = op->attr_table;
        seed = seed * 1664525 + 1013904223;
        for (uint32_t skip_rows = seed >> 20 & 7; row && row->name && skip_rows; skip_rows--)
            row++;
        if (row && row->name)
            n = (size_t)snprintf(text, sizeof text, " %s=", row->name);
        for (uint32_t more = seed >> 8 & 31; more; more--) {
            seed = seed * 1664525 + 1013904223;
            text[n++] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        text[n] = 0;
        void *attrs = test_malloc(op->attrs_size);
        if (osp_attrs_scan(op, text, attrs, NULL) == OSP_OK) {
            accepted++;
            assert_true(osp_attrs_print(op, attrs, first, sizeof first) < sizeof first);
            assert_int_equal(osp_attrs_scan(op, first, attrs, NULL), OSP_OK);
            osp_attrs_print(op, attrs, second, sizeof second);
            assert_string_equal(first, second);
        }
        test_free(attrs);
    }
    assert_true(accepted > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(softmax_changes_at_13),
        cmocka_unit_test(batch_norm_trains_by_default_at_6),
        cmocka_unit_test(errors_name_the_attribute),
        cmocka_unit_test(scalars_come_from_tensors),
        cmocka_unit_test(text_names_what_differs),
        cmocka_unit_test(floats_survive),
        cmocka_unit_test(text_ignores_the_locale),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(random_text_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
