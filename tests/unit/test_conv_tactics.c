// Every tactic of the cpu backend on every convolution here that it accepts, against the plain
// kernel on dense planes: borders, slices, residuals, activations, odd sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/backend.h"
#include "backends/problem.h"

static const float untouched = 12345.0f;

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

static int64_t count_of(const osp_operand *o)
{
    return osp_shape_span(&o->shape, 0, o->shape.rank);
}

// Where element (n, c, y, x) of an image lies; other ranks are dense.
static int64_t place(const osp_operand *o, int64_t n, int64_t c, int64_t y, int64_t x)
{
    const int64_t *d = o->shape.dims;
    return o->layout == OSP_LAYOUT_CHANNELS_LAST ? ((n * d[2] + y) * d[3] + x) * o->pitch + c
                                                 : ((n * d[1] + c) * d[2] + y) * d[3] + x;
}

// Copies an operand between its own layout and dense planes.
static void arrange(const osp_operand *o, float *own, float *dense, bool to_dense)
{
    const int64_t *d = o->shape.dims;
    int64_t i = 0;
    for (int64_t n = 0; n < d[0]; n++)
        for (int64_t c = 0; c < d[1]; c++)
            for (int64_t y = 0; y < d[2]; y++)
                for (int64_t x = 0; x < d[3]; x++, i++) {
                    if (to_dense)
                        dense[i] = own[place(o, n, c, y, x)];
                    else
                        own[place(o, n, c, y, x)] = dense[i];
                }
}

static float *floats(int64_t count)
{
    float *p = osp_arena_array(&arena, (size_t)count + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

// One problem: its operands as dense planes, and the right answer.
typedef struct fixture {
    osp_problem p;
    float *dense[4], *own[4], *expected;
    int64_t dst_floats;
} fixture;

static fixture make(const char *text)
{
    fixture f = {0};
    osp_error err = {0};
    if (osp_problem_scan(&f.p, &arena, text, &err))
        fail_msg("'%s': %s", text, err.text);
    uint32_t seed = 1;
    osp_operand plain[5];
    for (int32_t i = 0; i < f.p.src_count; i++) {
        const osp_operand *o = f.p.src + i;
        plain[i] = *o;
        if (!o->dtype)
            continue;
        f.dense[i] = floats(count_of(o));
        const float scale = i == 1 ? 1.7f / sqrtf((float)(count_of(o) / o->shape.dims[0])) : 1.7f;
        for (int64_t k = 0; k < count_of(o); k++) {
            seed = seed * 1664525u + 1013904223u;
            f.dense[i][k] = ((float)(seed >> 8) / (float)(1 << 23) - 1.0f) * scale;
        }
        f.own[i] = f.dense[i];
        if (o->shape.rank != 4 || o->constant)
            continue;
        f.own[i] = floats(count_of(o) / o->row * o->pitch);
        arrange(o, f.own[i], f.dense[i], false);
        plain[i].layout = OSP_LAYOUT_PLAIN;
        plain[i].row = plain[i].pitch = count_of(o);
    }
    plain[4] = *f.p.dst;
    plain[4].layout = OSP_LAYOUT_PLAIN;
    plain[4].row = plain[4].pitch = count_of(f.p.dst);
    f.dst_floats = count_of(f.p.dst) / f.p.dst->row * f.p.dst->pitch;
    f.expected = floats(count_of(f.p.dst));
    osp_problem q = f.p;
    q.src = plain;
    q.dst = plain + 4;
    void *src[4] = {f.dense[0], f.dense[1], f.dense[2], f.dense[3]}, *dst[1] = {f.expected};
    const osp_launch launch = {.src = src, .dst = dst, .threads = {.count = 1}};
    assert_null(osp_tactic_ref.refuse(&q));
    assert_int_equal(osp_tactic_ref.launch(&q, NULL, &launch, &err), OSP_OK);
    return f;
}

// What lies between the pixels of a slice stays as it was; the rest is as expected.
static void check(const fixture *f, const float *dst, const char *text, const char *tactic)
{
    const osp_operand *o = f->p.dst;
    const int64_t *d = o->shape.dims;
    for (int64_t i = 0; i < f->dst_floats; i++)
        if (o->layout == OSP_LAYOUT_CHANNELS_LAST && i % o->pitch >= o->row && dst[i] != untouched)
            fail_msg("%s by %s: wrote outside its slice", text, tactic);
    int64_t i = 0;
    for (int64_t n = 0; n < d[0]; n++)
        for (int64_t c = 0; c < d[1]; c++)
            for (int64_t y = 0; y < d[2]; y++)
                for (int64_t x = 0; x < d[3]; x++, i++) {
                    const float want = f->expected[i], got = dst[place(o, n, c, y, x)];
                    if (!(fabsf(got - want) <= 1e-5f + 1e-4f * fabsf(want)))
                        fail_msg("%s by %s: %g instead of %g at %d,%d,%d,%d", text, tactic,
                                 (double)got, (double)want, (int)n, (int)c, (int)y, (int)x);
                }
}

static void run(const fixture *f, const osp_tactic *t, const char *text, osp_threads threads)
{
    osp_error err = {0};
    void *state = NULL, *session = NULL;
    osp_tactic_sizes sizes = {0};
    assert_int_equal(t->prepare(&f->p, &ctx, threads.count, &state, &sizes, &err), OSP_OK);
    void *packed = osp_mem_alloc(&ctx.mem, sizes.packed_bytes);
    void *workspace = osp_mem_alloc(&ctx.mem, sizes.workspace_bytes);
    float *dst = osp_mem_alloc(&ctx.mem, (size_t)f->dst_floats * sizeof *dst);
    assert_true(packed && workspace && dst);
    memset(workspace, 0xFF, sizes.workspace_bytes);  // not a number, if it is read
    for (int64_t i = 0; i < f->dst_floats; i++)
        dst[i] = untouched;
    const void *constants[4] = {NULL, f->own[1], f->own[2], NULL};
    if (t->pack && sizes.packed_bytes)
        assert_int_equal(t->pack(&f->p, state, constants, packed, &err), OSP_OK);
    if (t->bind)
        assert_int_equal(t->bind(&f->p, &ctx, state, packed, &session, &err), OSP_OK);
    void *src[4] = {f->own[0], f->own[1], f->own[2], f->own[3]}, *to[1] = {dst};
    const osp_launch launch = {.src = src,
                               .dst = to,
                               .packed = packed,
                               .workspace = workspace,
                               .session = session,
                               .threads = threads};
    assert_int_equal(t->launch(&f->p, state, &launch, &err), OSP_OK);
    check(f, dst, text, t->name);
    if (t->unbind)
        t->unbind(&ctx, session);
    if (t->release)
        t->release(&ctx, state);
    osp_mem_free(&ctx.mem, dst);
    osp_mem_free(&ctx.mem, workspace);
    osp_mem_free(&ctx.mem, packed);
}

static const char *const lines[] = {
    // Images of one to a few pixels, and sizes that no tile divides.
    "conv n1 ic16 ih1 iw1 oc16 kh3 ph1 f32 nhwc +bias",
    "conv n1 ic32 ih1 iw4 oc16 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic16 ih3 iw1 oc32 kh3 ph1 f32 nhwc +silu",
    "conv n1 ic32 ih4 iw4 oc32 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic48 ih5 iw9 oc48 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic64 ih13 iw7 oc64 kh3 ph1 f32 nhwc +bias +relu",
    "conv n1 ic64 ih40 iw40 oc64 kh3 ph1 f32 nhwc +bias +silu",
    "conv n2 ic32 ih31 iw33 oc32 kh3 ph1 f32 nhwc +bias +silu",
    "conv n3 ic24 ih10 iw11 oc40 kh3 ph1 f32 nhwc +silu",
    "conv n5 ic16 ih6 iw2 oc16 kh3 ph1 f32 nhwc +bias",
    "conv n16 ic8 ih3 iw3 oc16 kh3 ph1 f32 nhwc +bias +silu",
    "conv n13 ic32 ih4 iw3 oc8 kh3 ph1 f32 nhwc +bias",
    "conv n9 ic24 ih4 iw4 oc24 kh3 ph1 f32 nhwc +silu",
    "conv n5 ic16 ih7 iw6 oc16 kh3 ph1 f32 nhwc +bias",
    "conv n1 ic16 ih15 iw17 oc48 kh3 ph1 f32 nhwc +bias +silu",
    // Channels that no vector divides.
    "conv n1 ic1 ih9 iw9 oc1 kh3 ph1 f32 nhwc +bias",
    "conv n1 ic17 ih12 iw14 oc33 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic31 ih16 iw15 oc7 kh3 ph1 f32 nhwc +bias +silu +add",
    "conv n1 ic80 ih20 iw20 oc80 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic130 ih12 iw16 oc130 kh3 ph1 f32 nhwc +bias",
    "conv n1 ic512 ih12 iw12 oc64 kh3 ph1 f32 nhwc +bias +silu",
    "conv n1 ic16 ih160 iw160 oc8 kh3 ph1 f32 nhwc ss48 +bias +silu",
    // Padding of other sizes, on one side only, or none.
    "conv n1 ic32 ih14 iw14 oc32 kh3 f32 nhwc +bias +silu",
    "conv n1 ic32 ih3 iw3 oc32 kh3 f32 nhwc",
    "conv n1 ic32 ih10 iw17 oc32 kh3 ph2 f32 nhwc +bias",
    "conv n1 ic32 ih14 iw14 oc32 kh3 pw1 pe1 pf0 f32 nhwc +bias",
    "conv n1 ic16 ih6 iw6 oc16 kh3 ph4 f32 nhwc +bias +silu",
    // Slices, residuals before and after, every activation.
    "conv n1 ic32 ih16 iw16 oc32 kh3 ph1 f32 nhwc ss64 ds96 +bias +silu",
    "conv n2 ic32 ih14 iw18 oc64 kh3 ph1 f32 nhwc ss40 ds192 as192 +bias +silu +add",
    "conv n1 ic20 ih11 iw16 oc20 kh3 ph1 f32 nhwc ss50 ds30 as25 +bias +add +relu",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +add",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +add +silu",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +leaky_relu(0.1,0)",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +sigmoid",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +hard_sigmoid(0.2,0.5)",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +hard_swish +add",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +clip(0,6)",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +tanh",
    "conv n1 ic32 ih13 iw14 oc32 kh3 ph1 f32 nhwc +bias +gelu",
    // Other windows.
    "conv n1 ic3 ih32 iw40 oc16 kh3 sh2 ph1 f32 nchw +bias +silu",
    "conv n2 ic3 ih31 iw29 oc24 kh3 sh2 ph1 f32 nchw +bias +silu",
    "conv n1 ic3 ih17 iw2 oc8 kh3 sh2 ph1 f32 nchw +bias +relu",
    "conv n1 ic3 ih33 iw64 oc16 kh3 sh2 ph1 f32 nchw ds48 +silu",
    "conv n1 ic3 ih40 iw40 oc32 kh6 sh2 ph2 f32 nchw +bias +silu",
    "conv n1 ic32 ih20 iw20 oc64 kh3 sh2 ph1 f32 nhwc ss96 ds128 +bias +silu",
    "conv n1 ic32 ih12 iw12 oc32 kh3 ph2 dh2 f32 nhwc +bias +silu",
    "conv n1 ic96 ih20 iw20 oc128 kh1 f32 nhwc ds256 +bias +silu",
    "conv n1 ic33 ih7 iw5 oc17 kh1 f32 nhwc ss40 ds20 as24 +bias +silu +add",
    "conv n1 ic48 ih11 iw6 oc48 kh3 ph1 g48 f32 nhwc +bias +silu",
    "conv n1 ic8 ih10 iw10 oc12 kh5 kw3 ph2 pw1 f32 nhwc +bias +relu",
};

static void tactics_agree_with_the_plain_kernel(void **state)
{
    (void)state;
    int32_t runs = 0;
    osp_team *team;
    assert_int_equal(osp_team_open(&team, &ctx, 3, NULL), OSP_OK);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const fixture f = make(lines[i]);
        for (const osp_tactic *const *t = osp_backend_cpu.tactics(f.p.op); *t; t++) {
            if (*t == &osp_tactic_ref || (*t)->refuse(&f.p))
                continue;
            for (int32_t threads = 1; threads <= 3; threads++, runs++)
                run(&f, *t, lines[i], (osp_threads){threads, (*t)->openmp ? NULL : team});
        }
        osp_arena_reset(&arena);
    }
    osp_team_close(&team);
    print_message("%d runs of tactics on %zu problems\n", (int)runs,
                  sizeof lines / sizeof lines[0]);
    assert_true(runs >= 3 * (int32_t)(sizeof lines / sizeof lines[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tactics_agree_with_the_plain_kernel, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
