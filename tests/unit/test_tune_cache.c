// The timing cache: what is put in is there again, other devices' lines stay, damage is passed over.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "plan/tune_cache.h"

typedef struct fixture {
    osp_context ctx;
    char path[64];
} fixture;

static int set_up(void **state)
{
    static fixture f;
    snprintf(f.path, sizeof f.path, "/tmp/osprey_timings_%d", (int)getpid());
    unlink(f.path);
    assert_int_equal(osp_context_init(&f.ctx, NULL, NULL), OSP_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    char lock[80];
    unlink(f->path);
    snprintf(lock, sizeof lock, "%s.lock", f->path);
    unlink(lock);
    assert_int_equal(atomic_load(&f->ctx.mem.live), 0);
    osp_context_free(&f->ctx);
    return 0;
}

static osp_tune_cache *open_cache(fixture *f, const char *key)
{
    osp_tune_cache *cache;
    assert_int_equal(osp_tune_cache_open(&cache, &f->ctx, f->path, key, NULL), OSP_OK);
    return cache;
}

static void keeps_what_was_put(void **state)
{
    fixture *f = *state;
    osp_tune_cache *cache = open_cache(f, "device a");
    osp_tune_cache_put(cache, "conv n1 ic8", "mma", 1, 12.5);
    osp_tune_cache_put(cache, "conv n1 ic8", "direct", 2, 11);  // measured again
    osp_tune_cache_put(cache, "conv n2 ic8", "mma", 1, 3);
    assert_true(osp_tune_cache_has(cache, "conv n1 ic8", "direct", 2));
    osp_tune_cache_close(&cache);
    assert_null(cache);
    cache = open_cache(f, "device a");
    assert_true(osp_tune_cache_has(cache, "conv n1 ic8", "direct", 2));
    assert_true(osp_tune_cache_has(cache, "conv n2 ic8", "mma", 1));
    assert_false(osp_tune_cache_has(cache, "conv n1 ic8", "mma", 1));
    assert_false(osp_tune_cache_has(cache, "conv n1 ic8", "direct", 3));  // packed another way
    osp_tune_cache_close(&cache);
}

static void keeps_other_devices(void **state)
{
    fixture *f = *state;
    osp_tune_cache *a = open_cache(f, "device a"), *b = open_cache(f, "device b");
    osp_tune_cache_put(a, "p", "mma", 1, 1);
    osp_tune_cache_put(b, "p", "direct", 1, 1);
    osp_tune_cache_close(&a);
    osp_tune_cache_close(&b);  // opened before a wrote
    a = open_cache(f, "device a");
    b = open_cache(f, "device b");
    assert_true(osp_tune_cache_has(a, "p", "mma", 1));
    assert_false(osp_tune_cache_has(a, "p", "direct", 1));
    assert_true(osp_tune_cache_has(b, "p", "direct", 1));
    osp_tune_cache_close(&a);
    osp_tune_cache_close(&b);
}

static void passes_over_damage(void **state)
{
    fixture *f = *state;
    static const char *const files[] = {"", "something else\n", "osprey timings 1\n\t\t\t\t\n\n",
                                        "osprey timings 1\ndevice a\tmma\tx\t1\tp\ndevice "
                                        "a\tmma\t1\ty\tp\ndevice a\tmma\t1\t2\tp"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file = fopen(f->path, "w");
        assert_non_null(file);
        fputs(files[i], file);
        fclose(file);
        osp_tune_cache *cache = open_cache(f, "device a");
        assert_false(osp_tune_cache_has(cache, "p", "mma", 1));
        osp_tune_cache_put(cache, "q", "mma", 1, 2);
        osp_tune_cache_close(&cache);
        cache = open_cache(f, "device a");
        assert_true(osp_tune_cache_has(cache, "q", "mma", 1));
        osp_tune_cache_close(&cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_was_put, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_other_devices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(passes_over_damage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
