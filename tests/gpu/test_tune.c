// The tuner on a device in host memory: two kernels that do the same, one of them slower. Short
// launches are timed in rows, recorded as graphs; without captures one by one.
#include <string.h>

#include "backends/problem.h"
#include "base/thread.h"
#include "fake_fixture.h"
#include "gpu/gpu_kernels.h"
#include "ops/view.h"
#include "plan/tune.h"

typedef struct args {
    float *dst;
    int64_t count;
    double us;  // that it takes
} args;

static void work(void *user, const void *given, size_t bytes, const osp_gpu_shape *shape)
{
    const args *a = given;
    int *overlapping = user;
    assert_int_equal(bytes, sizeof *a);
    *overlapping += shape->overlap;
    const double start = osp_time_us();
    for (int64_t i = 0; i < a->count; i++)
        a->dst[i] = 1;
    while (osp_time_us() - start < a->us)
        ;
}

static void compare(void *user, const void *given, size_t bytes, const osp_gpu_shape *shape)
{
    const osp_compare_args *a = given;
    (void)user;
    (void)bytes;
    (void)shape;
    a->largest[0] = 0;
    a->largest[1] = 1;
}

static osp_status launch(const osp_problem *p, const osp_launch *l, double us, osp_error *err)
{
    static const osp_gpu_kernel kernel = {.name = "work", .waits = true};
    const osp_gpu_shape shape = {.grid = {1}, .overlap = l->after_kernel && *l->after_kernel};
    const args a = {l->dst[0], osp_shape_span(&p->dst->shape, 0, p->dst->shape.rank), us};
    if (l->after_kernel)
        *l->after_kernel = true;
    return osp_gpu_launch(l->gpu, &kernel, &shape, &a, sizeof a, l->stream, err);
}

static osp_status launch_fast(const osp_problem *p, void *s, const osp_launch *l, osp_error *err)
{
    (void)s;
    return launch(p, l, 2, err);
}

static osp_status launch_slow(const osp_problem *p, void *s, const osp_launch *l, osp_error *err)
{
    (void)s;
    return launch(p, l, 40, err);
}

static const osp_tactic slow = {.name = "slow", .launch = launch_slow};
static const osp_tactic fast = {.name = "fast", .launch = launch_fast};

// `text`: the problem; whether its launches are to be recorded, and may be.
static void check_choice(const char *text, bool rows, bool refuse_capture)
{
    static const osp_tactic *const list[] = {&slow, &fast, &slow, NULL};
    fake_gpu fake;
    osp_context ctx;
    osp_error err;
    osp_gpu *gpu;
    osp_arena arena;
    osp_problem p;
    osp_tuner *tuner;
    int overlapping = 0;
    fake_context_open(&ctx, &fake, NULL);
    fake.refuse_capture = refuse_capture;
    fake_gpu_kernel(&fake, "work", work, &overlapping);
    fake_gpu_kernel(&fake, osp_kernel_compare_f32.name, compare, NULL);
    assert_int_equal(osp_gpus_open(&ctx, &err), OSP_OK);
    assert_int_equal(osp_gpu_get(&ctx, 0, &gpu, &err), OSP_OK);
    osp_arena_init(&arena, &ctx.mem);
    assert_int_equal(osp_problem_scan(&p, &arena, text, &err), OSP_OK);
    assert_int_equal(osp_tuner_open(&tuner, &ctx, gpu, NULL, "device", &err), OSP_OK);
    const void *constants[1] = {NULL};
    const osp_tactic *chosen;
    const char *reason;
    if (osp_tuner_choose(tuner, list, &p, text, constants, &chosen, &reason, &err))
        fail_msg("%s", err.text);
    assert_ptr_equal(chosen, &fast);
    assert_int_equal(fake.replays > 0, rows);
    assert_int_equal(overlapping > 0, rows);
    osp_tuner_close(&tuner);
    osp_arena_free(&arena);
    osp_gpus_close(&ctx);
    fake_context_close(&ctx, &fake);
}

static void short_launches_in_rows(void **state)
{
    (void)state;
    check_choice("Relu f32:2x8 -> f32:2x8", true, false);
}

static void one_by_one(void **state)
{
    (void)state;
    check_choice("Relu f32:2x8 -> f32:2x8", false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_launches_in_rows),
        cmocka_unit_test(one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
