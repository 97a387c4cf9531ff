// The team: one word of state that callers and helpers change, and a lock to sleep on.
#include "base/team.h"

#include "base/thread.h"

// The state: number of the call in the upper bits, then whether it may still be entered, then how
// many helpers are inside.
static const uint64_t inside_mask = 0x7FFF, is_open = 0x8000, one_call = 0x10000;

// Calls of one run follow each other within microseconds; waking a sleeper takes about 50.
static const double spin_us = 50;

typedef struct helper {
    osp_team *team;
    pthread_t thread;
    int32_t index;
} helper;

struct osp_team {
    osp_context *ctx;
    _Alignas(64) atomic_uint_fast64_t state;
    atomic_int sleepers;  // helpers that need waking
    atomic_bool waiting;  // the caller sleeps until `inside` is 0
    atomic_bool closing;
    int32_t threads;  // of this call; as fn and user written only while nobody can enter
    osp_team_fn fn;
    void *user;
    pthread_mutex_t lock;
    pthread_cond_t begun, ended;
    int32_t helper_count;
    helper helpers[];
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static uint64_t call_of(uint64_t state)
{
    return state & ~(one_call - 1);
}

// Until another call than `seen` has come, or, for the caller, until nobody is inside. false: it
// did not happen while spinning.
static bool spin(const osp_team *t, bool caller, uint64_t seen)
{
    double end = 0;
    for (int32_t i = 1;; i++) {
        const uint64_t state = atomic_load(&t->state);
        if (caller ? !(state & inside_mask) : call_of(state) != seen)
            return true;
        if (i % 32 == 0) {
            const double now = osp_time_us();
            end = end == 0 ? now + spin_us : end;
            if (now >= end)
                return false;
        }
        pause_briefly();
    }
}

static void leave(osp_team *t)
{
    const uint64_t before = atomic_fetch_sub(&t->state, 1);
    if ((before & inside_mask) != 1 || !atomic_load(&t->waiting))
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&t->ended);
    pthread_mutex_unlock(&t->lock);
}

// Waits for another call than `seen`; false: the team is being closed.
static bool await_call(osp_team *t, uint64_t seen)
{
    if (!spin(t, false, seen)) {
        pthread_mutex_lock(&t->lock);
        atomic_fetch_add(&t->sleepers, 1);
        while (call_of(atomic_load(&t->state)) == seen)
            pthread_cond_wait(&t->begun, &t->lock);
        atomic_fetch_sub(&t->sleepers, 1);
        pthread_mutex_unlock(&t->lock);
    }
    return !atomic_load(&t->closing);
}

static void *help(void *user)
{
    const helper *h = user;
    osp_team *t = h->team;
    uint64_t seen = 0;
    while (await_call(t, seen)) {
        uint64_t state = atomic_load(&t->state);
        while (state & is_open)
            if (atomic_compare_exchange_weak(&t->state, &state, state + 1)) {
                if (h->index < t->threads)
                    t->fn(t->user, h->index);
                leave(t);
                break;
            }
        seen = call_of(state);
    }
    return NULL;
}

// A new call, open or not; wakes who sleeps.
static void announce(osp_team *t, uint64_t open)
{
    atomic_store(&t->state, call_of(atomic_load(&t->state)) + one_call + open);
    if (!atomic_load(&t->sleepers))
        return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->begun);
    pthread_mutex_unlock(&t->lock);
}

void osp_team_run(osp_team *t, int32_t threads, osp_team_fn fn, void *user)
{
    t->threads = threads;
    t->fn = fn;
    t->user = user;
    announce(t, is_open);
    fn(user, 0);
    atomic_fetch_and(&t->state, ~is_open);
    if (spin(t, true, 0))
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->waiting, true);
    while (atomic_load(&t->state) & inside_mask)
        pthread_cond_wait(&t->ended, &t->lock);
    atomic_store(&t->waiting, false);
    pthread_mutex_unlock(&t->lock);
}

void osp_team_close(osp_team **team)
{
    osp_team *t = *team;
    if (!t)
        return;
    *team = NULL;
    atomic_store(&t->closing, true);
    announce(t, 0);
    for (int32_t i = 0; i < t->helper_count; i++)
        pthread_join(t->helpers[i].thread, NULL);
    pthread_cond_destroy(&t->ended);
    pthread_cond_destroy(&t->begun);
    pthread_mutex_destroy(&t->lock);
    osp_mem_free(&t->ctx->mem, t);
}

osp_status osp_team_open(osp_team **out, osp_context *ctx, int32_t threads, osp_error *err)
{
    *out = NULL;
    const int32_t count = threads > 1 ? threads - 1 : 0;
    osp_team *t = osp_mem_calloc(&ctx->mem, 1, sizeof *t + (size_t)count * sizeof t->helpers[0]);
    if (!t)
        OSP_FAIL_MEMORY(err);
    t->ctx = ctx;
    if (pthread_mutex_init(&t->lock, NULL))
        goto fail;
    if (pthread_cond_init(&t->begun, NULL))
        goto fail_lock;
    if (pthread_cond_init(&t->ended, NULL))
        goto fail_begun;
    for (; t->helper_count < count; t->helper_count++) {
        helper *h = t->helpers + t->helper_count;
        *h = (helper){.team = t, .index = t->helper_count + 1};
        if (pthread_create(&h->thread, NULL, help, h)) {
            osp_team_close(&t);
            goto fail_message;
        }
    }
    *out = t;
    return OSP_OK;

fail_begun:
    pthread_cond_destroy(&t->begun);
fail_lock:
    pthread_mutex_destroy(&t->lock);
fail:
    osp_mem_free(&ctx->mem, t);
fail_message:
    OSP_FAIL(err, OSP_ERROR_SYSTEM, "a thread could not be started: raise the process's limits");
}
