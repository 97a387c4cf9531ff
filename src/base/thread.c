// The thread budget (a fair counting semaphore), workers (a ring of jobs), the clock.
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

double osp_time_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

// The lowest-numbered hyper-thread of a core stands for it. Without topology files every CPU does.
static bool stands_for_core(int cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    if (!f)
        return true;
    int first = cpu;
    bool known = fscanf(f, "%d", &first) == 1;
    fclose(f);
    return !known || first == cpu;
}

int32_t osp_physical_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    int32_t cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && stands_for_core(cpu))
            cores++;
    return cores > 0 ? cores : 1;
}

osp_status osp_thread_budget_init(osp_thread_budget *budget, int32_t total, osp_error *err)
{
    *budget = (osp_thread_budget){.total = total, .free = total};
    if (pthread_mutex_init(&budget->lock, NULL))
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
    for (int32_t i = 0; i < OSP_BUDGET_QUEUES; i++)
        if (pthread_cond_init(&budget->freed[i], NULL)) {
            while (i-- > 0)
                pthread_cond_destroy(&budget->freed[i]);
            pthread_mutex_destroy(&budget->lock);
            OSP_FAIL(err, OSP_ERROR_SYSTEM, "a condition variable could not be made");
        }
    return OSP_OK;
}

void osp_thread_budget_free(osp_thread_budget *budget)
{
    for (int32_t i = 0; i < OSP_BUDGET_QUEUES; i++)
        pthread_cond_destroy(&budget->freed[i]);
    pthread_mutex_destroy(&budget->lock);
}

// Only those in whose queue the next in line waits: the others would wake for nothing, in the way
// of the threads that compute.
static void wake_next(osp_thread_budget *budget)
{
    pthread_cond_broadcast(&budget->freed[budget->turn % OSP_BUDGET_QUEUES]);
}

int32_t osp_thread_budget_take(osp_thread_budget *budget, int32_t wanted)
{
    if (wanted > budget->total)
        wanted = budget->total;
    pthread_mutex_lock(&budget->lock);
    uint64_t mine = budget->next_turn++;
    while (budget->turn != mine || budget->free < wanted)
        pthread_cond_wait(&budget->freed[mine % OSP_BUDGET_QUEUES], &budget->lock);
    budget->turn++;
    budget->free -= wanted;
    if (budget->free > 0)  // the next in line may fit beside this one
        wake_next(budget);
    pthread_mutex_unlock(&budget->lock);
    return wanted;
}

void osp_thread_budget_give(osp_thread_budget *budget, int32_t count)
{
    pthread_mutex_lock(&budget->lock);
    budget->free += count;
    wake_next(budget);
    pthread_mutex_unlock(&budget->lock);
}

struct osp_worker {
    osp_context *ctx;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t submitted, finished;
    uint64_t submitted_count, finished_count;
    bool closing;
    int32_t capacity;
    osp_job jobs[];  // ring: job n lies at (n - 1) % capacity
};

static void *work(void *user)
{
    osp_worker *w = user;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->finished_count == w->submitted_count && !w->closing)
            pthread_cond_wait(&w->submitted, &w->lock);
        if (w->finished_count == w->submitted_count)
            break;
        osp_job job = w->jobs[w->finished_count % (uint64_t)w->capacity];
        pthread_mutex_unlock(&w->lock);
        job.run(job.user);
        pthread_mutex_lock(&w->lock);
        w->finished_count++;
        pthread_cond_broadcast(&w->finished);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

// Condition variables on the monotonic clock, so that timeouts survive a change of date.
static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return false;
    bool ok = !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) &&
              !pthread_cond_init(condition, &attr);
    pthread_condattr_destroy(&attr);
    return ok;
}

osp_status osp_worker_open(osp_worker **out, osp_context *ctx, int32_t capacity, osp_error *err)
{
    *out = NULL;
    osp_worker *w = osp_mem_calloc(&ctx->mem, 1, sizeof *w + (size_t)capacity * sizeof w->jobs[0]);
    if (!w)
        OSP_FAIL_MEMORY(err);
    w->ctx = ctx;
    w->capacity = capacity;
    if (pthread_mutex_init(&w->lock, NULL))
        goto fail;
    if (!init_condition(&w->submitted))
        goto fail_lock;
    if (!init_condition(&w->finished))
        goto fail_submitted;
    if (pthread_create(&w->thread, NULL, work, w))
        goto fail_finished;
    *out = w;
    return OSP_OK;

fail_finished:
    pthread_cond_destroy(&w->finished);
fail_submitted:
    pthread_cond_destroy(&w->submitted);
fail_lock:
    pthread_mutex_destroy(&w->lock);
fail:
    osp_mem_free(&ctx->mem, w);
    OSP_FAIL(err, OSP_ERROR_SYSTEM, "a thread could not be started: raise the process's limits");
}

void osp_worker_close(osp_worker **worker)
{
    osp_worker *w = *worker;
    if (!w)
        return;
    *worker = NULL;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->submitted);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->finished);
    pthread_cond_destroy(&w->submitted);
    pthread_mutex_destroy(&w->lock);
    osp_mem_free(&w->ctx->mem, w);
}

osp_status osp_worker_submit(osp_worker *w, osp_job *job)
{
    pthread_mutex_lock(&w->lock);
    bool room = w->submitted_count - w->finished_count < (uint64_t)w->capacity;
    if (room) {
        w->jobs[w->submitted_count % (uint64_t)w->capacity] = *job;
        job->number = ++w->submitted_count;
        pthread_cond_signal(&w->submitted);
    }
    pthread_mutex_unlock(&w->lock);
    return room ? OSP_OK : OSP_ERROR_BUSY;
}

bool osp_worker_done(osp_worker *w, uint64_t number)
{
    pthread_mutex_lock(&w->lock);
    bool done = w->finished_count >= number;
    pthread_mutex_unlock(&w->lock);
    return done;
}

bool osp_worker_wait(osp_worker *w, uint64_t number, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (timeout_ms > 0) {
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += timeout_ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&w->lock);
    int wait = 0;
    while (w->finished_count < number && wait != ETIMEDOUT) {
        if (timeout_ms < 0)
            pthread_cond_wait(&w->finished, &w->lock);
        else
            wait = pthread_cond_timedwait(&w->finished, &w->lock, &until);
    }
    bool done = w->finished_count >= number;
    pthread_mutex_unlock(&w->lock);
    return done;
}
