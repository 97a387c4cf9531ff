// Problem texts: canonical lines scan to the problem they say and print as they were; wrong ones
// are refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/problem.h"
#include "ops/internal.h"

static osp_context ctx;
static osp_arena arena;

static int setup(void **state)
{
    (void)state;
    if (osp_context_init(&ctx, NULL, NULL))
        return -1;
    osp_arena_init(&arena, &ctx.mem);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    osp_arena_free(&arena);
    const bool leaks = atomic_load(&ctx.mem.live) != 0;
    osp_context_free(&ctx);
    return leaks;
}

static osp_problem scan(const char *text)
{
    osp_problem p;
    osp_error err;
    if (osp_problem_scan(&p, &arena, text, &err))
        fail_msg("'%s': %s", text, err.text);
    return p;
}

static void canonical_lines_come_back(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "conv n1 ic64 ih80 iw80 oc128 kh3 sh2 ph1 f32 nhwc ss128 ds256 +bias +silu +add",
        "conv n4 ic3 ih640 iw640 oc16 kh3 sh2 ph1 f32 nchw +bias +silu",
        "conv n1 ic8 ih9 iw7 oc4 kh3 kw5 sh2 sw1 ph1 pw2 pe0 pf3 dh2 dw1 g2 f32 nhwc",
        "conv n1 ic32 ih20 iw20 oc32 kh1 bf16 nhwc as64 +bias_f32 +add +leaky_relu(0.1,0)",
        "conv n1 ic32 ih20 iw20 oc32 kh1 bf16 nhwc +bias +clip(0,6)",
        "Mul f32:1x64x80x80:nhwc:s128 f32:scalar:const -> f32:1x64x80x80:nhwc",
        "Softmax f32:1x16x4x8400 -> f32:1x16x4x8400 axis=1",
        "osprey.Reorder f32:1x64x80x80:nhwc -> f32:1x64x80x80:r6400:s8400",
        "Resize f32:1x4x2x2:nhwc - f32:4:const -> f32:1x4x4x4:nhwc nearest_mode=floor",
        "TopK f32:1x8400 i64:1:const -> f32:1x300 i64:1x300",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const osp_problem p = scan(lines[i]);
        char text[OSP_PROBLEM_TEXT_BYTES];
        assert_int_equal(osp_problem_print(&p, text, sizeof text), strlen(lines[i]));
        assert_string_equal(text, lines[i]);
    }
}

static void conv_text_says_the_problem(void **state)
{
    (void)state;
    const osp_problem p = scan("conv n2 ic64 ih80 iw60 oc128 kh3 sh2 ph1 f32 nhwc ss128 ds256 "
                               "+bias +silu +add");
    assert_string_equal(p.op->type, "FusedConv");
    assert_int_equal(p.src_count, 4);
    const osp_fused_conv_attrs *a = p.attrs;
    assert_int_equal(a->act, OSP_ACT_SILU);
    assert_int_equal(a->residual, OSP_RESIDUAL_AFTER);
    assert_int_equal(a->conv.window[1].stride, 2);
    assert_int_equal(a->conv.window[0].pad_end, 1);
    const osp_shape dst = {4, {2, 128, 40, 30}};
    assert_true(osp_shape_equal(&p.dst[0].shape, &dst));
    assert_int_equal(p.dst[0].pitch, 256);
    assert_int_equal(p.dst[0].row, 128);
    assert_int_equal(p.src[0].pitch, 128);
    assert_int_equal(p.src[3].pitch, 128);
    assert_true(p.src[1].constant);
    assert_int_equal(p.src[1].shape.dims[1], 64);
    double flops, bytes;
    osp_problem_cost(&p, &flops, &bytes);
    assert_true(flops == 2.0 * 2 * 128 * 40 * 30 * 64 * 9);
}

static void wrong_texts_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "nothing",
        "conv",
        "conv n1 ic64 ih80 iw80 oc128 kh3 f32",
        "conv n1 ic64 ih80 iw80 oc128 kh3 f32 nhwc ss64",  // dense is not written
        "conv n1 ic64 ih80 iw80 oc128 kh3 f32 nhwc +add +add",
        "conv n1 ic64 ih80 iw80 oc128 kh3 f32 nhwc +silu +bias",  // order
        "conv n1 ic64 ih80 iw80 oc128 kh3 f32 nhwc as256",
        "conv n1 ic64 ih2 iw2 oc128 kh3 f32 nhwc",  // the window does not fit
        "conv n1 ic6 ih8 iw8 oc8 kh1 g4 f32 nhwc",
        "conv n1 ic64 ih080 iw80 oc128 kh3 f32 nhwc",
        "conv n1 ic64 ih99999999999999999999 iw80 oc128 kh3 f32 nhwc",
        "conv n1073741824 ic1073741824 ih1073741824 iw1 oc1 kh1 f32 nhwc",
        "conv n1 ic64 ih80 iw80 oc128 kh3 i64 nhwc",
        "conv n1 ic8 ih8 iw8 oc8 kh1 f32 nhwc +clip(0)",
        "Mul f32:2 f32:2",
        "Mul f32:2 f32:2 -> f33:2",
        "Mul f32:2x f32:2 -> f32:2",
        "Mul f32:2:nhwc f32:2 -> f32:2",
        "Mul f32:4:s8 f32:4 -> f32:4",           // a pitch without a row
        "Mul f32:4:r2:s1 f32:4 -> f32:4",        // rows meet
        "Mul f32:4:r3:s8 f32:4 -> f32:4",        // no whole rows
        "Mul f32:4:const:r2:s4 f32:4 -> f32:4",  // order
        "Softmax f32:4 -> f32:4 axis=x",
        "Softmax f32:4 -> f32:4 nothing=1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        osp_problem p;
        osp_error err = {0};
        if (osp_problem_scan(&p, &arena, lines[i], &err) != OSP_ERROR_FORMAT)
            fail_msg("'%s' was not refused", lines[i]);
        assert_int_equal(err.code, OSP_ERROR_FORMAT);
        assert_true(strlen(err.text) > 0);
    }
}

static void long_texts_are_cut_like_snprintf(void **state)
{
    (void)state;
    const char *line = "Mul f32:1x64x80x80:nhwc:s128 f32:scalar:const -> f32:1x64x80x80:nhwc";
    const osp_problem p = scan(line);
    char text[20];
    assert_true(osp_problem_print(&p, text, sizeof text) >= sizeof text);
    assert_int_equal(text[19], 0);
    assert_memory_equal(text, line, 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_lines_come_back),
        cmocka_unit_test(conv_text_says_the_problem),
        cmocka_unit_test(wrong_texts_are_refused),
        cmocka_unit_test(long_texts_are_cut_like_snprintf),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
