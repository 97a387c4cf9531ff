// bfloat16 on the cpu backend. Convolutions: every tactic that accepts a problem agrees with a plain
// sum in double, writes nothing beside its pixels, and reads nothing that is not its source. Products,
// attention, pooling and copies: every tactic agrees with the plain kernel.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/backend.h"
#include "backends/cpu/bf16.h"
#include "backends/problem.h"
#include "base/half.h"
#include "ops/internal.h"
#include "ops/move.h"
#include "ops/view.h"

static osp_context ctx;
static osp_arena arena;
static uint32_t seed;

static int setup(void **state)
{
    (void)state;
    seed = 1;
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

static float random_value(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-23f - 1.0f;
}

static osp_problem scan(const char *text)
{
    osp_problem p;
    osp_error err;
    if (osp_problem_scan(&p, &arena, text, &err))
        fail_msg("'%s': %s", text, err.text);
    return p;
}

// What lies between the pixels of a slice: a read of it would spoil the result.
static const uint16_t poison = 0x7FC1;

// Elements from the first to the last, slices included.
static size_t span(const osp_operand *o)
{
    const size_t count = (size_t)osp_shape_span(&o->shape, 0, o->shape.rank);
    return count ? (count / (size_t)o->row - 1) * (size_t)o->pitch + (size_t)o->row : 0;
}

// The operand in a block of its very size, so that a sanitizer sees each read beyond.
static void *make_operand(const osp_operand *o)
{
    const size_t n = span(o);
    if (o->dtype == OSP_DTYPE_FLOAT32) {
        float *out = malloc(n * sizeof *out);
        for (size_t i = 0; i < n; i++)
            out[i] = random_value();
        return out;
    }
    uint16_t *out = malloc(n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = (int64_t)i % o->pitch < o->row ? osp_float_to_bfloat(random_value()) : poison;
    return out;
}

static size_t at(const osp_operand *o, int64_t n, int64_t c, int64_t y, int64_t x)
{
    const int64_t *d = o->shape.dims;
    if (o->layout == OSP_LAYOUT_PLAIN)
        return (size_t)(((n * d[1] + c) * d[2] + y) * d[3] + x);
    return (size_t)(((n * d[2] + y) * d[3] + x) * o->pitch + c);
}

static double activate(double x, int32_t act, double alpha, double beta)
{
    switch ((osp_act)act) {
    case OSP_ACT_RELU:
        return x < 0 ? 0 : x;
    case OSP_ACT_SILU:
        return x / (1 + exp(-x));
    case OSP_ACT_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case OSP_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case OSP_ACT_HARD_SIGMOID:
        return fmin(fmax(alpha * x + beta, 0), 1);
    case OSP_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case OSP_ACT_CLIP:
        return fmin(fmax(x, alpha), beta);
    case OSP_ACT_TANH:
        return tanh(x);
    case OSP_ACT_GELU:
        return 0.5 * x * (1 + erf(x * sqrt(0.5)));
    case OSP_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    default:
        return x;
    }
}

// One output in double; *size becomes the sum of its terms' sizes.
static double expected(const osp_problem *p, void *const *src, int64_t n, int64_t o, int64_t y,
                       int64_t x, double *size)
{
    const bool fused = !strcmp(p->op->type, "FusedConv");
    const osp_fused_conv_attrs *f = p->attrs;
    const osp_conv_attrs *a = fused ? &f->conv : p->attrs;
    const osp_window *h = a->window, *w = a->window + 1;
    const int64_t ic = p->src[1].shape.dims[1], per_group = p->dst[0].shape.dims[1] / a->group;
    double sum = 0;
    if (p->src_count > 2 && p->src[2].dtype)
        sum = (double)osp_load_float(p->src[2].dtype, src[2], (size_t)o);
    *size = fabs(sum);
    for (int64_t c = 0; c < ic; c++)
        for (int64_t ky = 0; ky < h->size; ky++)
            for (int64_t kx = 0; kx < w->size; kx++) {
                const int64_t iy = y * h->stride - h->pad_begin + ky * h->dilation;
                const int64_t ix = x * w->stride - w->pad_begin + kx * w->dilation;
                if (iy < 0 || ix < 0 || iy >= p->src[0].shape.dims[2] ||
                    ix >= p->src[0].shape.dims[3])
                    continue;
                const size_t from = at(p->src, n, o / per_group * ic + c, iy, ix);
                const size_t weight = (size_t)(((o * ic + c) * h->size + ky) * w->size + kx);
                const double term = (double)osp_load_float(p->src[0].dtype, src[0], from) *
                                    (double)osp_load_float(p->src[1].dtype, src[1], weight);
                sum += term;
                *size += fabs(term);
            }
    if (!fused)
        return sum;
    double add = 0;
    if (p->src_count > 3 && p->src[3].dtype)
        add = (double)osp_load_float(p->src[3].dtype, src[3], at(p->src + 3, n, o, y, x));
    *size += fabs(add);
    const bool first = f->residual == OSP_RESIDUAL_BEFORE;
    const double active = activate(first ? sum + add : sum, f->act, (double)f->alpha,
                                   (double)f->beta);
    *size += 60 * fabs(active);  // activations are good to 1e-4
    return first ? active : active + add;
}

static void compare(const osp_problem *p, void *const *src, const uint16_t *dst, const char *what)
{
    const osp_operand *o = p->dst;
    const int64_t *d = o->shape.dims;
    for (int64_t i = 0; i < (int64_t)span(o); i++)
        if (i % o->pitch >= o->row && dst[i] != poison)
            fail_msg("%s: wrote beside its pixels, at %lld", what, (long long)i);
    for (int64_t n = 0; n < d[0]; n++)
        for (int64_t c = 0; c < d[1]; c++)
            for (int64_t y = 0; y < d[2]; y++)
                for (int64_t x = 0; x < d[3]; x++) {
                    double size;
                    const double want = expected(p, src, n, c, y, x, &size);
                    const double got = (double)osp_bfloat_to_float(dst[at(o, n, c, y, x)]);
                    // Half a last place and a little, and what the sum in float may lose.
                    if (!(fabs(got - want) <= fabs(want) * 0x1.2p-8 + size * 2e-6 + 1e-6))
                        fail_msg("%s: [%lld,%lld,%lld,%lld] is %g, not %g", what, (long long)n,
                                 (long long)c, (long long)y, (long long)x, got, want);
                }
}

// Runs one tactic into `dst`, all of it poison before.
static void launch_tactic(const osp_tactic *t, const osp_problem *p, void *const *src,
                          int32_t threads, uint16_t *dst)
{
    osp_error err;
    osp_tactic_sizes sizes = {0};
    void *state = NULL, *session = NULL;
    if (t->prepare)
        assert_int_equal(t->prepare(p, &ctx, threads, &state, &sizes, &err), OSP_OK);
    const void *constants[4];
    void *given[4];
    for (int32_t i = 0; i < p->src_count; i++) {
        constants[i] = p->src[i].constant ? src[i] : NULL;
        given[i] = p->src[i].constant && sizes.packed_bytes ? NULL : src[i];
    }
    const size_t packed_bytes = (sizes.packed_bytes + 63) & ~(size_t)63;
    void *packed = packed_bytes ? aligned_alloc(64, packed_bytes) : NULL;
    if (packed) {
        memset(packed, 0, packed_bytes);
        assert_int_equal(t->pack(p, state, constants, packed, &err), OSP_OK);
    }
    if (t->bind)
        assert_int_equal(t->bind(p, &ctx, state, packed, &session, &err), OSP_OK);
    const size_t workspace_bytes = (sizes.workspace_bytes + 64) & ~(size_t)63;
    void *workspace = aligned_alloc(64, workspace_bytes);
    memset(workspace, 0xFF, workspace_bytes);
    for (size_t i = 0; i < span(p->dst); i++)
        dst[i] = poison;
    void *const out[] = {dst};
    const osp_launch launch = {.src = given,
                               .dst = out,
                               .packed = packed,
                               .workspace = workspace,
                               .session = session,
                               .threads = {.count = threads}};
    assert_int_equal(t->launch(p, state, &launch, &err), OSP_OK);
    if (t->unbind)
        t->unbind(&ctx, session);
    if (t->release)
        t->release(&ctx, state);
    free(workspace);
    free(packed);
}

static void run_tactic(const osp_tactic *t, const osp_problem *p, void *const *src, int32_t threads,
                       const char *text)
{
    uint16_t *dst = malloc(span(p->dst) * sizeof *dst);
    launch_tactic(t, p, src, threads, dst);
    char what[300];
    snprintf(what, sizeof what, "%s, %d threads, %s", t->name, threads, text);
    compare(p, src, dst, what);
    free(dst);
}

// Returns how many tactics of ours took the problem.
static int32_t run_line(const char *text)
{
    const osp_problem p = scan(text);
    void *src[4] = {NULL};
    for (int32_t i = 0; i < p.src_count; i++)
        if (p.src[i].dtype)
            src[i] = make_operand(p.src + i);
    int32_t ours = 0;
    const osp_tactic *const *list = osp_backend_cpu.tactics(p.op);
    for (; *list; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(&p) : NULL;
        if (why)
            continue;
        ours += strstr((*list)->name, "bf16") != NULL;
        // `ref` rounds the sum before it goes on.
        for (int32_t threads = 1; *list != &osp_tactic_ref && threads <= 2; threads++)
            run_tactic(*list, &p, src, threads, text);
    }
    for (int32_t i = 0; i < p.src_count; i++)
        free(src[i]);
    return ours;
}

static bool has_bf16(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bf16"))
        return true;
    print_message("skipped: this processor lacks bfloat16\n");
    return false;
}

// All tactics of a dense problem against `ref`, within `tolerance` of the largest result.
static void agree_with_ref(osp_problem p, const char *text, double tolerance)
{
    void *src[4] = {NULL};
    for (int32_t i = 0; i < p.src_count; i++)
        if (p.src[i].dtype)
            src[i] = make_operand(p.src + i);
    const size_t n = span(p.dst);
    uint16_t *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
    launch_tactic(&osp_tactic_ref, &p, src, 1, want);
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)osp_bfloat_to_float(want[i])));
    int32_t others = 0;
    const osp_tactic *const *list = osp_backend_cpu.tactics(p.op);
    for (; *list != &osp_tactic_ref; list++) {
        if ((*list)->refuse && (*list)->refuse(&p))
            continue;
        others++;
        for (int32_t threads = 1; threads <= 2; threads++) {
            launch_tactic(*list, &p, src, threads, got);
            for (size_t i = 0; i < n; i++) {
                const double x = (double)osp_bfloat_to_float(got[i]);
                const double y = (double)osp_bfloat_to_float(want[i]);
                if (!(fabs(x - y) <= tolerance * largest))
                    fail_msg("%s, %d threads, %s: [%zu] is %g, not %g", (*list)->name, threads,
                             text, i, x, y);
            }
        }
    }
    if (!others)
        fail_msg("no tactic but ref takes '%s'", text);
    for (int32_t i = 0; i < p.src_count; i++)
        free(src[i]);
    free(want);
    free(got);
}

static void products(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "MatMul bf16:40x64 bf16:64x48:const -> bf16:40x48",
        "MatMul bf16:1x33x20 bf16:20x7:const -> bf16:1x33x7",
        "MatMul bf16:3x50x96 bf16:96x100:const -> bf16:3x50x100",
        "MatMul bf16:1x1 bf16:1x1:const -> bf16:1x1",
        "MatMul bf16:300x256 bf16:256x80:const -> bf16:300x80",
        "MatMul bf16:2x17x32 bf16:2x32x65 -> bf16:2x17x65",
        "MatMul bf16:2x3x40x5 bf16:3x5x9 -> bf16:2x3x40x9",
        "Gemm bf16:40x64 bf16:24x64:const bf16:24:const -> bf16:40x24 transB=1",
        "Gemm bf16:1x64 bf16:64x24:const bf16:1x24:const -> bf16:1x24",
        "Gemm bf16:5x12 bf16:12x31:const -> bf16:5x31",
    };
    for (size_t i = 0; has_bf16() && i < sizeof lines / sizeof lines[0]; i++)
        agree_with_ref(scan(lines[i]), lines[i], 0x1p-7);
}

// The weights of a softmax are rounded to bfloat16 before they are summed.
static void attention(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "osprey.Attention bf16:2x40x32 bf16:2x50x32 bf16:2x50x64 -> bf16:2x40x64 scale=0.25",
        "osprey.Attention bf16:1x33x20 bf16:1x7x20 bf16:1x7x9 -> bf16:1x33x9 scale=-1",
        "osprey.Attention bf16:2x32x41 bf16:2x32x50 bf16:2x64x50 -> bf16:2x64x41 scale=0.5 "
        "q_transposed=1 k_transposed=1 v_transposed=1 out_transposed=1",
        "osprey.Attention bf16:1x8x32 bf16:1x8x3 bf16:1x3x8 -> bf16:1x8x32 scale=1 "
        "q_transposed=1 k_transposed=1 out_transposed=1",
        "osprey.Attention bf16:1x1x1 bf16:1x1x1 bf16:1x1x1 -> bf16:1x1x1 scale=1",
    };
    for (size_t i = 0; has_bf16() && i < sizeof lines / sizeof lines[0]; i++)
        agree_with_ref(scan(lines[i]), lines[i], 0x1p-6);
}

static void samples_and_padding(void **state)
{
    (void)state;
    const char *line = "GridSample bf16:2x5x7x9 f32:2x3x11x2 -> bf16:2x5x3x11";
    agree_with_ref(scan(line), line, 0x1p-7);
    line = "Pad bf16:1x3x5x6 -> bf16:1x3x6x8";
    osp_problem p = scan(line);
    osp_pad_attrs attrs = *(const osp_pad_attrs *)p.attrs;
    attrs.before[2] = attrs.before[3] = attrs.after[3] = 1;  // as inferred from the pads
    attrs.value = 0.3f;
    p.attrs = &attrs;
    agree_with_ref(p, line, 0);
}

static void largest_of_rows(void **state)
{
    (void)state;
    enum { ROWS = 25, N = 77 };
    uint16_t values[ROWS][N], got[N + 1];
    const uint16_t *list[ROWS];
    for (int32_t k = 0; k < ROWS; k++) {
        list[k] = values[k];
        for (int32_t i = 0; i < N; i++)
            values[k][i] = osp_float_to_bfloat(random_value());
    }
    for (int32_t count = 1; has_bf16() && count <= ROWS; count += 4)
        for (int64_t n = 1; n <= N; n++) {
            got[n] = poison;
            osp_bf16_max_rows(got, list, count, n);
            assert_int_equal(got[n], poison);
            for (int64_t i = 0; i < n; i++) {
                float want = -2;
                for (int32_t k = 0; k < count; k++)
                    want = fmaxf(want, osp_bfloat_to_float(values[k][i]));
                assert_int_equal(got[i], osp_float_to_bfloat(want));
            }
        }
}

static void two_byte_transposes(void **state)
{
    (void)state;
    enum { MOST = 40 };
    static uint16_t src[MOST * MOST], dst[MOST * MOST];
    for (int32_t i = 0; i < MOST * MOST; i++)
        src[i] = (uint16_t)i;
    for (int32_t isa = OSP_ISA_SSE2; isa <= (int32_t)osp_cpu_isa(); isa++)
        for (int64_t rows = 1; rows < MOST; rows += 3)
            for (int64_t columns = 1; columns < MOST; columns++) {
                memset(dst, 0xFF, sizeof dst);
                osp_cpu_simd_of((osp_isa)isa)->transpose2(dst, MOST, src, MOST, rows, columns);
                for (int64_t r = 0; r < MOST; r++)
                    for (int64_t c = 0; c < MOST; c++)
                        assert_int_equal(dst[c * MOST + r],
                                         r < rows && c < columns ? src[r * MOST + c] : UINT16_MAX);
            }
}

static void shapes_and_slices(void **state)
{
    (void)state;
    static const char *const lines[] = {
        // 1x1: read where it lies, and copied
        "conv n1 ic32 ih20 iw20 oc32 kh1 bf16 nhwc +bias_f32 +silu",
        "conv n1 ic64 ih13 iw17 oc48 kh1 bf16 nhwc ss160 ds96 +bias_f32 +silu",
        "conv n2 ic48 ih9 iw7 oc80 kh1 bf16 nhwc ss64 +bias_f32 +silu",
        "conv n1 ic80 ih5 iw5 oc17 kh1 bf16 nhwc ds24 +bias",
        "conv n3 ic17 ih1 iw1 oc3 kh1 bf16 nhwc",
        "conv n1 ic256 ih1 iw1 oc64 kh1 bf16 nhwc +bias_f32",
        "conv n1 ic96 ih40 iw40 oc64 kh1 bf16 nhwc +silu",
        "conv n1 ic64 ih8 iw9 oc16 kh1 sh2 bf16 nhwc",
        "conv n1 ic32 ih3 iw3 oc16 kh1 ph1 bf16 nhwc +bias_f32",
        // windows, with widths below, at and above a tile
        "conv n1 ic16 ih20 iw20 oc16 kh3 ph1 bf16 nhwc +bias_f32 +silu",
        "conv n1 ic8 ih11 iw16 oc16 kh3 ph1 bf16 nhwc +bias_f32 +silu",
        "conv n1 ic24 ih7 iw33 oc24 kh3 ph1 bf16 nhwc ss40 ds32 +bias_f32 +silu",
        "conv n2 ic32 ih10 iw6 oc64 kh3 ph1 bf16 nhwc ss64 ds128 +bias_f32 +silu",
        "conv n1 ic64 ih20 iw20 oc64 kh3 ph1 bf16 nhwc +bias_f32 +silu",
        "conv n1 ic96 ih12 iw5 oc96 kh3 ph1 bf16 nhwc +bias_f32",
        "conv n1 ic17 ih6 iw6 oc8 kh3 ph1 bf16 nhwc ss20 ds9 +bias_f32 +relu",
        "conv n1 ic3 ih6 iw6 oc8 kh3 bf16 nhwc",
        "conv n1 ic1 ih1 iw1 oc1 kh3 ph1 bf16 nhwc",
        "conv n1 ic5 ih4 iw40 oc33 kh5 kw1 ph2 pw0 bf16 nhwc",
        "conv n1 ic12 ih4 iw40 oc33 kh1 kw7 ph0 pw3 bf16 nhwc",
        // strides, dilations, padding of one side
        "conv n1 ic32 ih21 iw21 oc32 kh3 sh2 ph1 bf16 nhwc +bias_f32 +silu",
        "conv n1 ic16 ih32 iw32 oc32 kh3 sh2 ph1 bf16 nhwc ss32 +bias_f32 +silu",
        "conv n2 ic64 ih9 iw14 oc16 kh3 sh2 ph1 pe0 pf0 bf16 nhwc +silu",
        "conv n1 ic8 ih19 iw23 oc16 kh3 kw5 sh3 sw2 ph1 pw2 bf16 nhwc",
        "conv n1 ic32 ih16 iw16 oc16 kh2 sh4 bf16 nhwc",
        "conv n1 ic16 ih20 iw20 oc16 kh3 ph2 dh2 bf16 nhwc +bias_f32",
        "conv n1 ic40 ih20 iw12 oc16 kh3 sh2 ph3 dh3 bf16 nhwc +bias_f32",
        "conv n1 ic4 ih20 iw12 oc16 kh3 ph0 pw5 dh1 dw5 bf16 nhwc +bias_f32",
        "conv n1 ic32 ih3 iw3 oc16 kh3 ph9 bf16 nhwc +bias_f32",
        // images in planes
        "conv n1 ic3 ih64 iw64 oc16 kh3 sh2 ph1 bf16 nchw +bias_f32 +silu",
        "conv n2 ic3 ih33 iw37 oc32 kh6 sh2 ph2 bf16 nchw +bias_f32 +silu",
        "conv n1 ic1 ih9 iw9 oc20 kh7 ph3 bf16 nchw",
        "conv n1 ic4 ih9 iw21 oc20 kh1 bf16 nchw ds40 +bias_f32",
        // long sums, many lines
        "conv n1 ic512 ih10 iw10 oc32 kh3 ph1 bf16 nhwc +bias_f32",
        "conv n1 ic32 ih160 iw80 oc16 kh3 ph1 bf16 nhwc +bias_f32 +silu",
    };
    for (size_t i = 0; has_bf16() && i < sizeof lines / sizeof lines[0]; i++)
        if (run_line(lines[i]) == 0)
            fail_msg("no tactic of ours takes '%s'", lines[i]);
}

static void depthwise(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "conv n1 ic80 ih20 iw20 oc80 kh3 ph1 g80 bf16 nhwc +bias_f32 +silu",
        "conv n2 ic33 ih7 iw9 oc33 kh5 sh2 ph2 g33 bf16 nhwc ss40 ds48 +bias_f32",
        "conv n1 ic16 ih1 iw1 oc16 kh3 ph1 g16 bf16 nhwc as32 +bias_f32 +add",
        "conv n1 ic24 ih9 iw20 oc24 kh3 ph2 dh2 g24 bf16 nhwc +silu +add",
        "conv n1 ic24 ih9 iw20 oc24 kh3 ph1 g24 bf16 nhwc +bias_f32 +add +hard_swish",
    };
    for (size_t i = 0; has_bf16() && i < sizeof lines / sizeof lines[0]; i++)
        if (run_line(lines[i]) == 0)
            fail_msg("no tactic of ours takes '%s'", lines[i]);
}

static void activations_and_residuals(void **state)
{
    (void)state;
    static const char *const acts[] = {"",
                                       "+relu",
                                       "+silu",
                                       "+leaky_relu(0.1,0)",
                                       "+sigmoid",
                                       "+hard_sigmoid(0.2,0.5)",
                                       "+hard_swish",
                                       "+clip(0,0.75)",
                                       "+tanh",
                                       "+gelu",
                                       "+gelu_tanh"};
    static const char *const shapes[] = {"oc40 kh1 bf16 nhwc", "oc16 kh3 ph1 bf16 nhwc"};
    for (size_t i = 0; has_bf16() && i < sizeof acts / sizeof acts[0]; i++)
        for (size_t k = 0; k < 2; k++)
            for (int32_t add = 0; add < 3; add++) {
                if (add == 1 && !acts[i][0])  // without an activation there is one place
                    continue;
                char line[200];
                snprintf(line, sizeof line, "conv n1 ic32 ih6 iw19 %s%s +bias_f32%s%s%s%s",
                         shapes[k], add ? " as56" : "", add == 1 ? " +add" : "",
                         acts[i][0] ? " " : "", acts[i], add == 2 ? " +add" : "");
                if (run_line(line) == 0)
                    fail_msg("no tactic of ours takes '%s'", line);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shapes_and_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(depthwise, setup, teardown),
        cmocka_unit_test_setup_teardown(activations_and_residuals, setup, teardown),
        cmocka_unit_test_setup_teardown(products, setup, teardown),
        cmocka_unit_test_setup_teardown(attention, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_and_padding, setup, teardown),
        cmocka_unit_test_setup_teardown(largest_of_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(two_byte_transposes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
