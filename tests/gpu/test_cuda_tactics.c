// The cuda backend without a GPU: every operator of T0 and T1 has a tactic; what prepare works out
// for movers is played in host memory and compared with the reference kernels; numbers of walks,
// refusals and workspaces. The kernels themselves are tested on a GPU (ops_on_gpu).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/problem.h"
#include "fake_fixture.h"
#include "ops/view.h"

enum { MOST_BYTES = 1 << 16 };

typedef struct fixture {
    fake_gpu fake;
    osp_context ctx;
    osp_gpu *gpu;
    osp_gpu_scope scope;
    osp_gpu_stream stream;
    osp_arena arena;
    int launches;
} fixture;

// ---- Kernels in host memory ---------------------------------------------------------------------

static void place(const osp_cuda_walk *w, uint32_t i, int64_t at[2])
{
    at[0] = at[1] = 0;
    for (int32_t d = w->rank - 1; d >= 0; d--) {
        const uint32_t r = i % w->dims[d].value;
        at[0] += r * w->strides[0][d];
        at[1] += r * w->strides[1][d];
        i /= w->dims[d].value;
    }
}

static void play_copy(const void *args, size_t size, fixture *f)
{
    const osp_cuda_copy_args *a = args;
    f->launches++;
    for (uint32_t i = 0; i < a->walk.count; i++) {
        int64_t at[2];
        place(&a->walk, i, at);
        memcpy((char *)a->dst + at[0] * (int64_t)size, (const char *)a->src + at[1] * (int64_t)size,
               size);
    }
}

static void play_transpose(const void *args, size_t size, fixture *f)
{
    const osp_cuda_transpose_args *a = args;
    f->launches++;
    for (uint32_t i = 0; i < a->batch.count; i++) {
        int64_t at[2];
        place(&a->batch, i, at);
        for (int64_t r = 0; r < a->rows; r++)
            for (int64_t c = 0; c < a->columns; c++)
                memcpy((char *)a->dst + (at[0] + r * a->dst_step + c) * (int64_t)size,
                       (const char *)a->src + (at[1] + c * a->src_step + r) * (int64_t)size, size);
    }
}

#define PLAY(KIND, SIZE)                                                                           \
    static void KIND##_##SIZE(void *user, const void *args, size_t bytes,                          \
                              const osp_gpu_shape *shape)                                          \
    {                                                                                              \
        (void)shape;                                                                               \
        assert_int_equal(bytes, sizeof(osp_cuda_##KIND##_args));                                   \
        play_##KIND(args, SIZE, user);                                                             \
    }
PLAY(copy, 1)
PLAY(copy, 2)
PLAY(copy, 4)
PLAY(copy, 8)
PLAY(copy, 16)
PLAY(transpose, 1)
PLAY(transpose, 2)
PLAY(transpose, 4)
PLAY(transpose, 8)

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    osp_error err;
    assert_non_null(f);
    fake_context_open(&f->ctx, &f->fake, NULL);
    assert_int_equal(osp_gpus_open(&f->ctx, &err), OSP_OK);
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &f->gpu, &err), OSP_OK);
    assert_int_equal(osp_gpu_enter(f->gpu, &f->scope, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_open(f->gpu, &f->stream, &err), OSP_OK);
    osp_arena_init(&f->arena, &f->ctx.mem);
    static fake_kernel_fn *const copies[] = {copy_1, copy_2, copy_4, copy_8, copy_16};
    static fake_kernel_fn *const turns[] = {transpose_1, transpose_2, transpose_4, transpose_8};
    for (int i = 0; i < 5; i++)
        fake_gpu_kernel(&f->fake, osp_cuda_k_copy[i].name, copies[i], f);
    for (int i = 0; i < 4; i++)
        fake_gpu_kernel(&f->fake, osp_cuda_k_transpose[i].name, turns[i], f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_arena_free(&f->arena);
    osp_gpu_stream_close(f->gpu, &f->stream);
    osp_gpu_leave(f->gpu, &f->scope);
    osp_gpus_close(&f->ctx);
    fake_context_close(&f->ctx, &f->fake);
    free(f);
    return 0;
}

static osp_problem problem(fixture *f, const char *text)
{
    osp_problem p;
    osp_error err;
    if (osp_problem_scan(&p, &f->arena, text, &err))
        fail_msg("%s: %s", text, err.text);
    // What infer resolves from attributes and shapes.
    osp_value values[8] = {{0}};
    const osp_value *inputs[8];
    osp_type outputs[8] = {{0}};
    for (int32_t i = 0; i < p.src_count; i++) {
        values[i] = (osp_value){.name = "", .dtype = p.src[i].dtype, .shape = p.src[i].shape};
        inputs[i] = values + i;
    }
    osp_infer in = {&f->ctx, p.op,   (void *)(uintptr_t)p.attrs, p.src_count, p.dst_count,
                    inputs,  outputs};
    if (p.op->infer(&in, &err))
        fail_msg("%s: %s", text, err.text);
    return p;
}

// ---- Walks --------------------------------------------------------------------------------------

static void test_division(void **state)
{
    (void)state;
    static const uint32_t divisors[] = {
        1, 2, 3, 5, 7, 10, 64, 100, 641, 8400, 65535, 1u << 30, (1u << 31) - 1};
    static const uint32_t numbers[] = {
        0, 1, 2, 6, 7, 99, 8399, 8400, 1u << 30, 2000000001u, (1u << 31) - 1};
    for (size_t i = 0; i < sizeof divisors / sizeof *divisors; i++)
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            const osp_cuda_divisor d = osp_cuda_divisor_of(divisors[i]);
            const uint32_t n = numbers[k], high = (uint32_t)((uint64_t)n * d.mul >> 32);
            assert_int_equal((high + n) >> d.shift, n / divisors[i]);
        }
}

static void test_dims(void **state)
{
    (void)state;
    osp_cuda_dims d = {0};
    osp_cuda_dims_add(&d, 2, (const int64_t[]){1200, 600}, 2);
    osp_cuda_dims_add(&d, 1, (const int64_t[]){7, 7}, 2);
    osp_cuda_dims_add(&d, 20, (const int64_t[]){32, 24}, 2);
    osp_cuda_dims_add(&d, 24, (const int64_t[]){1, 1}, 2);
    osp_cuda_dims_settle(&d, 0);
    assert_int_equal(d.rank, 3);  // rows of 24 in rows of 32 do not merge
    assert_int_equal(osp_cuda_unit(&d, 3, 0, 2), 8);
    assert_int_equal(osp_cuda_unit(&d, 3, 0, 4), 4);
    osp_cuda_dims_widen(&d, 3, 8);
    assert_int_equal(d.dims[2], 3);
    assert_int_equal(d.strides[0][1], 4);
    d = (osp_cuda_dims){0};
    osp_cuda_dims_settle(&d, 0);
    assert_int_equal(d.rank, 1);
    assert_int_equal(d.dims[0], 1);
}

// ---- Tactics ------------------------------------------------------------------------------------

static void test_every_operator(void **state)
{
    (void)state;
    for (size_t i = 0; i < osp_op_count(); i++) {
        const osp_tactic *const *list = osp_backend_cuda.tactics(osp_op_at(i));
        if (!list || !list[0])
            fail_msg("%s has no tactic", osp_op_at(i)->type);
        for (; *list; list++) {
            assert_non_null((*list)->name);
            assert_non_null((*list)->launch);
        }
    }
}

// Runs a mover on host memory that plays the device's, and compares with the reference kernel.
static void check_move(fixture *f, const char *text)
{
    osp_error err;
    osp_problem p = problem(f, text);
    const osp_tactic *tactic = osp_backend_cuda.tactics(p.op)[0];
    assert_null(tactic->refuse(&p));
    void *state = NULL, *src[4] = {0}, *dst[4] = {0};
    uint8_t *want[4] = {0};
    osp_tactic_sizes sizes = {0};
    osp_view in[4] = {0}, out[4] = {0};
    assert_int_equal(tactic->prepare(&p, &f->ctx, 1, &state, &sizes, &err), OSP_OK);
    for (int32_t i = 0; i < p.src_count; i++) {
        assert_int_equal(osp_gpu_alloc(f->gpu, &src[i], MOST_BYTES, &err), OSP_OK);
        for (int k = 0; k < MOST_BYTES; k++)
            ((uint8_t *)src[i])[k] = (uint8_t)(k * 7 + k / 256 + i);
        in[i] = (osp_view){p.src[i].dtype, p.src[i].shape, src[i]};
    }
    for (int32_t i = 0; i < p.dst_count; i++) {
        assert_int_equal(osp_gpu_alloc(f->gpu, &dst[i], MOST_BYTES, &err), OSP_OK);
        memset(dst[i], 0, MOST_BYTES);
        want[i] = calloc(1, MOST_BYTES);
        assert_non_null(want[i]);
        out[i] = (osp_view){p.dst[i].dtype, p.dst[i].shape, want[i]};
    }
    const osp_launch l = {
        .src = src, .dst = dst, .threads = {.count = 1}, .gpu = f->gpu, .stream = f->stream};
    const int before = f->launches;
    assert_int_equal(tactic->launch(&p, state, &l, &err), OSP_OK);
    assert_true(f->launches > before);
    const osp_call call = {p.attrs, p.src_count, p.dst_count, in, out};
    assert_int_equal(p.op->reference(&call, &err), OSP_OK);
    for (int32_t i = 0; i < p.dst_count; i++)
        assert_memory_equal(dst[i], want[i], MOST_BYTES);
    tactic->release(&f->ctx, state);
    for (int32_t i = 0; i < 4; i++) {
        osp_gpu_free(f->gpu, src[i]);
        osp_gpu_free(f->gpu, dst[i]);
        free(want[i]);
    }
}

static void test_moves(void **state)
{
    check_move(*state, "Transpose f32:2x30x40 -> f32:2x40x30 perm=0,2,1");
    check_move(*state, "Transpose f16:3x5x7x9 -> f16:9x7x3x5 perm=3,2,0,1");
    check_move(*state, "Transpose u8:4x3x64 -> u8:3x4x64 perm=1,0,2");
    check_move(*state, "Concat f32:2x3x8 f32:2x1x8 -> f32:2x4x8 axis=1");
    check_move(*state, "Concat f16:2x3 f16:2x5 -> f16:2x8 axis=1");
    check_move(*state, "Identity i64:3x5 -> i64:3x5");
    check_move(*state, "Flatten f32:2x3x4 -> f32:2x12");
}

static void test_refusals(void **state)
{
    fixture *f = *state;
    osp_problem p = problem(f, "osprey.Attention f32:2x9x32 f32:2x7x32 f32:2x7x16 -> f32:2x9x16");
    assert_non_null(osp_cuda_attention_flash.refuse(&p));
    assert_null(osp_cuda_attention.refuse(&p));
    p = problem(f, "osprey.Attention f16:2x9x160 f16:2x7x160 f16:2x7x16 -> f16:2x9x16");
    assert_non_null(osp_cuda_attention_flash.refuse(&p));
    p = problem(f, "Softmax bf16:2x8 -> bf16:2x8");
    assert_non_null(osp_cuda_softmax.refuse(&p));
    p = problem(f, "Relu f32:2x3x4 -> f32:2x3x4");
    p.src->row = 5;  // of no dims
    p.src->pitch = 9;
    assert_non_null(osp_cuda_point.refuse(&p));
}

// What the fused kernels are not made for goes to others, or is never fused.
static void test_refusals_of_fused(void **state)
{
    fixture *f = *state;
    osp_problem p = problem(f, "osprey.Attention f16:1x9x128 f16:1x7x128 f16:1x7x16 -> f16:1x9x16");
    assert_null(osp_cuda_attention_flash.refuse(&p));
    assert_non_null(osp_cuda_attention_split.refuse(&p));
    p = problem(f, "osprey.Attention f16:1x9x32 f16:1x0x32 f16:1x0x16 -> f16:1x9x16");
    assert_non_null(osp_cuda_attention_flash.refuse(&p));  // no keys
    assert_null(osp_cuda_attention.refuse(&p));
    p = problem(f, "osprey.FusedConv f32:1x3x64x64 f16:16x3x3x3:const f16:16:const -> "
                   "f16:1x16x32x32:nhwc "
                   "pads=1,1,1,1 strides=2,2");
    assert_null(osp_cuda_conv_stem.refuse(&p));
    assert_non_null(osp_cuda_conv_mma[0].refuse(&p));  // of one type only
    assert_non_null(osp_cuda_conv_plain.refuse(&p));
    p = problem(f, "osprey.FusedConv f32:1x3x64x64 f16:16x3x3x3:const f16:16:const -> "
                   "f16:1x16x1x1:nhwc "
                   "pads=1,1,1,1 strides=1073741824,1073741824");
    assert_non_null(osp_cuda_conv_stem.refuse(&p));
    p = problem(f, "osprey.MaxPools f16:1x16x9x9:nhwc -> f16:1x16x9x9:nhwc f16:1x16x9x9:nhwc "
                   "f16:1x16x9x9:nhwc size=3");
    assert_non_null(osp_cuda_pools.refuse(&p));
    p = problem(f, "osprey.MaxPools f16:1x12x9x9:nhwc -> f16:1x12x9x9:nhwc f16:1x12x9x9:nhwc "
                   "f16:1x12x9x9:nhwc");
    assert_non_null(osp_cuda_pools.refuse(&p));  // 24 bytes a pixel
    p = problem(f, "osprey.MaxPools f16:1x16x9x9:nhwc:s20 -> f16:1x16x9x9:nhwc f16:1x16x9x9:nhwc "
                   "f16:1x16x9x9:nhwc");
    assert_non_null(osp_cuda_pools.refuse(&p));
}

// What the copy engine does not bring, and what would be waste.
static void test_refusals_of_copy_engine(void **state)
{
    fixture *f = *state;
    const char *const wrong[] = {
        "conv n1 ic24 ih9 iw9 oc64 kh3 ph1 f16 nhwc",     // less than half a chunk
        "conv n1 ic64 ih9 iw9 oc64 kh3 ph1 g2 f16 nhwc",  // groups
        "conv n1 ic64 ih9 iw9 oc24 kh3 ph1 f16 nhwc",     // fewer channels out than half a tile
        "conv n1 ic64 ih9 iw9 oc64 kh3 ph1 f32 nhwc",
        "conv n1 ic64 ih9 iw9 oc64 kh3 ph1 f16 nhwc ss68",     // 8 bytes
        "conv n1 ic64 ih9 iw9 oc64 kh3 ph2 dh2 dw2 f16 nhwc",  // dilated
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        osp_problem p = problem(f, wrong[i]);
        assert_non_null(osp_cuda_conv_tma[0].refuse(&p));
        assert_non_null(osp_cuda_conv_tma_halo[0].refuse(&p));
    }
    osp_problem p = problem(f, "conv n1 ic64 ih30 iw30 oc64 kh3 sh9 f16 nhwc");
    assert_non_null(osp_cuda_conv_tma[0].refuse(&p));  // further than the engine steps
    assert_non_null(osp_cuda_conv_tma_halo[0].refuse(&p));
    const osp_device_info hopper = {.cc_major = 9}, ada = {.cc_major = 8, .cc_minor = 9};
    assert_null(osp_cuda_conv_tma[0].refuse_device(&hopper));
    assert_non_null(osp_cuda_conv_tma[0].refuse_device(&ada));
}

static void test_topk_workspace(void **state)
{
    fixture *f = *state;
    osp_error err;
    osp_tactic_sizes sizes = {0};
    void *s = NULL;
    osp_problem p = problem(f, "TopK f32:3x9000 -> f32:3x300 i64:3x300 k=300");
    assert_int_equal(osp_cuda_topk.prepare(&p, &f->ctx, 1, &s, &sizes, &err), OSP_OK);
    assert_int_equal(sizes.workspace_bytes, 0);
    osp_cuda_topk.release(&f->ctx, s);
    p = problem(f, "TopK f32:3x9000 -> f32:3x5000 i64:3x5000 k=5000");
    assert_int_equal(osp_cuda_topk.prepare(&p, &f->ctx, 1, &s, &sizes, &err), OSP_OK);
    assert_int_equal(sizes.workspace_bytes, 3 * 8192 * sizeof(osp_cuda_topk_pair));
    osp_cuda_topk.release(&f->ctx, s);
}

static void note_overlap(void *user, const void *args, size_t bytes, const osp_gpu_shape *shape)
{
    fixture *f = user;
    (void)args;
    assert_int_equal(bytes, 1);
    f->launches += shape->overlap;
}

// A kernel overlaps the kernel before it, and nothing else: not what came before the run, no fill.
static void test_overlap(void **state)
{
    fixture *f = *state;
    static const osp_gpu_kernel waits = {.name = "waits", .waits = true}, plain = {.name = "plain"};
    const osp_gpu_shape shape = {.grid = {1}};
    osp_error err;
    char *memory;
    fake_gpu_kernel(&f->fake, "waits", note_overlap, f);
    fake_gpu_kernel(&f->fake, "plain", note_overlap, f);
    assert_int_equal(osp_gpu_alloc(f->gpu, (void **)&memory, 64, &err), OSP_OK);
    bool after = false;
    osp_launch l = {.gpu = f->gpu, .stream = f->stream, .after_kernel = &after};
#define LAUNCH(KERNEL) assert_int_equal(osp_cuda_launch(&l, KERNEL, &shape, "", 1, &err), OSP_OK)
    LAUNCH(&waits);
    assert_int_equal(f->launches, 0);
    LAUNCH(&waits);
    assert_int_equal(f->launches, 1);
    LAUNCH(&plain);
    assert_int_equal(f->launches, 1);
    LAUNCH(&waits);  // a kernel without the wait may be overlapped
    assert_int_equal(f->launches, 2);
    assert_int_equal(osp_cuda_fill(&l, memory, 0, 64, &err), OSP_OK);
    LAUNCH(&waits);
    assert_int_equal(f->launches, 2);
    LAUNCH(&waits);
    assert_int_equal(f->launches, 3);
    l.after_kernel = NULL;
    LAUNCH(&waits);
    assert_int_equal(f->launches, 3);
#undef LAUNCH
    osp_gpu_free(f->gpu, memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_division),
        cmocka_unit_test(test_dims),
        cmocka_unit_test(test_every_operator),
        cmocka_unit_test_setup_teardown(test_moves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals_of_fused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals_of_copy_engine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_topk_workspace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overlap, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
