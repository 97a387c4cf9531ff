// Threads by OpenMP: the runtime that oneDNN uses too, so that both share one team. The team
// belongs to the calling thread; its size is set for the time of a run.
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

static void work(share *shares, int64_t team, int64_t me, int64_t piece, osp_range_fn fn,
                 void *user)
{
    for (int64_t k = 0; k < team; k++) {
        share *s = shares + (me + k) % team;
        for (;;) {
            const int64_t begin = atomic_fetch_add_explicit(&s->next, piece, memory_order_relaxed);
            if (begin >= s->end)
                break;
            fn(user, (int32_t)me, begin, osp_i64_min(begin + piece, s->end));
        }
    }
}

void osp_cpu_parallel(int32_t threads, int64_t count, double cost, osp_range_fn fn, void *user)
{
    if (count <= 0)
        return;
    if (threads <= 1 || count == 1 || (double)count * cost < worth_ns) {
        fn(user, 0, 0, count);
        return;
    }
    const int64_t team = osp_i64_min(osp_i64_min(threads, MAX_TEAM), count);
    const double items = piece_ns / cost;
    const int64_t most = (count + team - 1) / team;
    const int64_t piece = items < 1 ? 1 : items < (double)most ? (int64_t)items : most;
    share shares[MAX_TEAM];
    for (int64_t t = 0; t < team; t++) {
        const int64_t begin = count / team * t + osp_i64_min(t, count % team);
        atomic_init(&shares[t].next, begin);
        shares[t].end = begin + count / team + (t < count % team);
    }
    // Fewer threads may come than were asked for: shares are taken all the same.
#pragma omp parallel num_threads((int)team)
    work(shares, team, omp_get_thread_num(), piece, fn, user);
}

int32_t osp_cpu_set_threads(int32_t threads)
{
    const int32_t before = omp_get_max_threads();
    if (threads > 0)
        omp_set_num_threads(threads);
    return before;
}
