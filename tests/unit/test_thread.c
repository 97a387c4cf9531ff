// The thread budget hands out whole requests, first come first served; workers run jobs in order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/team.h"
#include "base/thread.h"

typedef struct bench {
    osp_thread_budget budget;
    atomic_int busy, most, runs;
} bench;

static void *lease_many(void *user)
{
    bench *b = user;
    for (int i = 0; i < 200; i++) {
        int32_t got = osp_thread_budget_take(&b->budget, i % 3 + 1);
        int now = atomic_fetch_add(&b->busy, got) + got;
        int most = atomic_load(&b->most);
        while (now > most && !atomic_compare_exchange_weak(&b->most, &most, now)) {
        }
        atomic_fetch_sub(&b->busy, got);
        osp_thread_budget_give(&b->budget, got);
        atomic_fetch_add(&b->runs, 1);
    }
    return NULL;
}

static void budget_is_never_exceeded(void **state)
{
    (void)state;
    bench b = {0};
    assert_int_equal(osp_thread_budget_init(&b.budget, 2, NULL), OSP_OK);
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lease_many, &b), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&b.runs), 6 * 200);
    assert_true(atomic_load(&b.most) <= 2);
    assert_int_equal(b.budget.free, 2);
    // More than there are is cut to the total.
    assert_int_equal(osp_thread_budget_take(&b.budget, 99), 2);
    osp_thread_budget_give(&b.budget, 2);
    osp_thread_budget_free(&b.budget);
}

typedef struct order {
    int seen[8], count;
    pthread_mutex_t gate;
} order;

static void note(void *user)
{
    order *o = user;
    pthread_mutex_lock(&o->gate);
    o->seen[o->count] = o->count;
    o->count++;
    pthread_mutex_unlock(&o->gate);
}

static void worker_runs_in_order_and_reports(void **state)
{
    (void)state;
    osp_context ctx;
    assert_int_equal(osp_context_init(&ctx, NULL, NULL), OSP_OK);
    osp_worker *worker;
    assert_int_equal(osp_worker_open(&worker, &ctx, 2, NULL), OSP_OK);
    order o = {.gate = PTHREAD_MUTEX_INITIALIZER};
    pthread_mutex_lock(&o.gate);  // holds the first job back
    osp_job jobs[3];
    for (int i = 0; i < 3; i++)
        jobs[i] = (osp_job){.run = note, .user = &o};
    assert_int_equal(osp_worker_submit(worker, &jobs[0]), OSP_OK);
    assert_int_equal(osp_worker_submit(worker, &jobs[1]), OSP_OK);
    assert_int_equal(osp_worker_submit(worker, &jobs[2]), OSP_ERROR_BUSY);
    assert_int_equal(jobs[0].number, 1);
    assert_int_equal(jobs[1].number, 2);
    assert_false(osp_worker_done(worker, 1));
    assert_false(osp_worker_wait(worker, 1, 0));
    assert_false(osp_worker_wait(worker, 1, 5));
    pthread_mutex_unlock(&o.gate);
    assert_true(osp_worker_wait(worker, 2, -1));
    assert_int_equal(o.count, 2);
    assert_int_equal(osp_worker_submit(worker, &jobs[2]), OSP_OK);
    osp_worker_close(&worker);  // runs what was submitted
    assert_null(worker);
    assert_int_equal(o.count, 3);
    osp_worker_close(&worker);
    assert_int_equal(atomic_load(&ctx.mem.live), 0);
    osp_context_free(&ctx);
}

// Every call's items are done once, whoever comes; threads are numbered within what was asked for.
typedef struct tally {
    atomic_int next, wrong;
    int items, threads;
    atomic_uchar done[1000];
    int plain;  // written by whoever takes the last item
} tally;

static void take_items(void *user, int32_t thread)
{
    tally *t = user;
    if (thread < 0 || thread >= t->threads)
        atomic_fetch_add(&t->wrong, 1);
    for (int i; (i = atomic_fetch_add(&t->next, 1)) < t->items;) {
        atomic_fetch_add(&t->done[i], 1);
        if (i == t->items - 1)
            t->plain++;
        if (i % 97 == 13)
            usleep(20);
    }
}

static void team_does_all_and_ends(void **state)
{
    (void)state;
    osp_context ctx;
    assert_int_equal(osp_context_init(&ctx, NULL, NULL), OSP_OK);
    for (int32_t size = 1; size <= 4; size++) {
        osp_team *team;
        assert_int_equal(osp_team_open(&team, &ctx, size, NULL), OSP_OK);
        static tally t;
        for (int call = 0; call < 400; call++) {
            t = (tally){.items = 1 + call * 7 % 1000, .threads = 1 + call % size};
            osp_team_run(team, t.threads, take_items, &t);
            assert_int_equal(t.wrong, 0);
            assert_int_equal(t.plain, 1);
            for (int i = 0; i < 1000; i++)
                assert_int_equal(t.done[i], i < t.items);
            if (call % 100 == 50)
                usleep(2000);  // long enough for helpers to fall asleep
        }
        osp_team_close(&team);
        assert_null(team);
    }
    assert_int_equal(atomic_load(&ctx.mem.live), 0);
    osp_context_free(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(team_does_all_and_ends),
        cmocka_unit_test(budget_is_never_exceeded),
        cmocka_unit_test(worker_runs_in_order_and_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
