// Threads by OpenMP: the runtime that oneDNN uses too, so that both share one team. The team
// belongs to the calling thread; its size is set for the time of a run.
#include <omp.h>

#include "backends/cpu/cpu.h"

// Waking a team and meeting again costs about 2 us when it is spinning: work below this many
// nanoseconds is done at once.
static const double worth_ns = 4000;

void osp_cpu_parallel(int32_t threads, int64_t count, double cost, osp_range_fn fn, void *user)
{
    if (count <= 0)
        return;
    if (threads <= 1 || count == 1 || (double)count * cost < worth_ns) {
        fn(user, 0, 0, count);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        const int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
        const int64_t begin = count / team * me + osp_i64_min(me, count % team);
        const int64_t size = count / team + (me < count % team);
        if (size > 0)
            fn(user, (int32_t)me, begin, begin + size);
    }
}

int32_t osp_cpu_set_threads(int32_t threads)
{
    const int32_t before = omp_get_max_threads();
    if (threads > 0)
        omp_set_num_threads(threads);
    return before;
}
