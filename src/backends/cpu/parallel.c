// Sharing a loop out among threads: those of our own team, or OpenMP's where oneDNN computes too,
// so that there are never two teams awake. OpenMP's team belongs to the calling thread; its size is
// set for the time of a run.
#include <omp.h>
#include <stdatomic.h>

#include "backends/cpu/cpu.h"

// Waking a team and meeting again costs about 2 us when it is spinning: work below this many
// nanoseconds is done at once.
static const double worth_ns = 4000;
// A thread takes about this much of its share at a time. Whoever is done first goes on with the
// others' shares, so that a thread that the system has stopped holds up a piece and not a share.
static const double piece_ns = 30000;

enum { MAX_TEAM = 64 };

// What is left of a thread's share, on a cache line of its own.
typedef struct share {
    _Alignas(64) atomic_int_fast64_t next;
    int64_t end;
} share;

typedef struct loop {
    share *shares;
    int64_t team, piece;
    osp_range_fn fn;
    void *user;
} loop;

static void work(void *user, int32_t me)
{
    const loop *l = user;
    for (int64_t k = 0; k < l->team; k++) {
        share *s = l->shares + (me + k) % l->team;
        for (;;) {
            const int64_t begin = atomic_fetch_add_explicit(&s->next, l->piece,
                                                            memory_order_relaxed);
            if (begin >= s->end)
                break;
            l->fn(l->user, me, begin, osp_i64_min(begin + l->piece, s->end));
        }
    }
}

void osp_cpu_parallel(osp_threads threads, int64_t count, double cost, osp_range_fn fn, void *user)
{
    if (count <= 0)
        return;
    if (threads.count <= 1 || count == 1 || (double)count * cost < worth_ns) {
        fn(user, 0, 0, count);
        return;
    }
    const int64_t team = osp_i64_min(osp_i64_min(threads.count, MAX_TEAM), count);
    const int64_t most = (count + team - 1) / team;
    const double items = piece_ns / cost;
    share shares[MAX_TEAM];
    loop l = {.shares = shares, .team = team, .fn = fn, .user = user};
    l.piece = items < 1 ? 1 : items < (double)most ? (int64_t)items : most;
    for (int64_t t = 0; t < team; t++) {
        const int64_t begin = count / team * t + osp_i64_min(t, count % team);
        atomic_init(&shares[t].next, begin);
        shares[t].end = begin + count / team + (t < count % team);
    }
    if (threads.team) {
        osp_team_run(threads.team, (int32_t)team, work, &l);
        return;
    }
    // Fewer threads may come than were asked for: all shares are taken all the same.
#pragma omp parallel num_threads((int)team)
    work(&l, omp_get_thread_num());
}

int32_t osp_cpu_set_threads(int32_t threads)
{
    const int32_t before = omp_get_max_threads();
    if (threads > 0)
        omp_set_num_threads(threads);
    return before;
}
