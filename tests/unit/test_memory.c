// The memory planner against brute force: no two buffers that are alive together share a byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "plan/memory.h"

static osp_context ctx;

static int setup(void **state)
{
    (void)state;
    return osp_context_init(&ctx, NULL, NULL) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    const bool leaks = atomic_load(&ctx.mem.live) != 0;
    osp_context_free(&ctx);
    return leaks;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void check(const osp_memory_item *items, size_t count, size_t total)
{
    for (size_t i = 0; i < count; i++) {
        if (!items[i].size)
            continue;
        assert_int_equal(items[i].offset % OSP_MEMORY_ALIGN, 0);
        assert_true(items[i].offset + items[i].size <= total);
        for (size_t k = 0; k < i; k++) {
            const bool together = items[i].first <= items[k].last &&
                                  items[k].first <= items[i].last;
            const bool meet = items[i].offset < items[k].offset + items[k].size &&
                              items[k].offset < items[i].offset + items[i].size;
            assert_false(items[k].size && together && meet);
        }
    }
}

static void random_lives_never_meet(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int32_t round = 0; round < 200; round++) {
        osp_memory_item items[60];
        const size_t count = 1 + next_random(&seed) % 60;
        size_t sum = 0, most = 0;
        for (size_t i = 0; i < count; i++) {
            const int32_t first = (int32_t)(next_random(&seed) % 40);
            items[i] = (osp_memory_item){.size = next_random(&seed) % 5000,
                                         .first = first,
                                         .last = first + (int32_t)(next_random(&seed) % 8)};
            sum += (items[i].size + 63) & ~(size_t)63;
            most = items[i].size > most ? items[i].size : most;
        }
        size_t total, again;
        assert_int_equal(osp_memory_plan(&ctx, items, count, &total, NULL), OSP_OK);
        check(items, count, total);
        assert_true(total >= most && total <= sum);
        assert_int_equal(total % OSP_MEMORY_ALIGN, 0);
        osp_memory_item copy[60];
        for (size_t i = 0; i < count; i++)
            copy[i] = items[i];
        assert_int_equal(osp_memory_plan(&ctx, copy, count, &again, NULL), OSP_OK);
        assert_int_equal(total, again);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(items[i].offset, copy[i].offset);
    }
}

static void a_chain_needs_two_buffers(void **state)
{
    (void)state;
    osp_memory_item items[10];
    for (int32_t i = 0; i < 10; i++)
        items[i] = (osp_memory_item){.size = 1000, .first = i, .last = i + 1};
    size_t total;
    assert_int_equal(osp_memory_plan(&ctx, items, 10, &total, NULL), OSP_OK);
    check(items, 10, total);
    assert_int_equal(total, 2 * 1024);
}

static void nothing_needs_nothing(void **state)
{
    (void)state;
    size_t total = 1;
    assert_int_equal(osp_memory_plan(&ctx, NULL, 0, &total, NULL), OSP_OK);
    assert_int_equal(total, 0);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    osp_memory_item items[2] = {{.size = SIZE_MAX - 10, .first = 0, .last = 1},
                                {.size = SIZE_MAX - 20, .first = 1, .last = 2}};
    size_t total;
    osp_error err;
    assert_int_equal(osp_memory_plan(&ctx, items, 2, &total, &err), OSP_ERROR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives_never_meet),
        cmocka_unit_test(a_chain_needs_two_buffers),
        cmocka_unit_test(nothing_needs_nothing),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
