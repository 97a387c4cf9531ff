// Threads: the budget of compute threads that all CPU sessions of a runtime share, and long-lived
// workers that run jobs in order. Thread rule: any thread.
#ifndef OSP_BASE_THREAD_H
#define OSP_BASE_THREAD_H

#include "base/context.h"

// Cores this process may run on, hyper-threads counted once; at least 1.
int32_t osp_physical_cores(void);

enum { OSP_BUDGET_QUEUES = 16 };

typedef struct osp_thread_budget {
    pthread_mutex_t lock;
    pthread_cond_t freed[OSP_BUDGET_QUEUES];  // by turn
    int32_t total, free;
    uint64_t next_turn, turn;  // first come, first served
} osp_thread_budget;

osp_status osp_thread_budget_init(osp_thread_budget *budget, int32_t total, osp_error *err);
void osp_thread_budget_free(osp_thread_budget *budget);
// Blocks until `wanted` (cut to the total) are free and takes them; returns how many.
int32_t osp_thread_budget_take(osp_thread_budget *budget, int32_t wanted);
void osp_thread_budget_give(osp_thread_budget *budget, int32_t count);

// One thread that runs jobs in the order of submission.
typedef struct osp_worker osp_worker;
typedef struct osp_job {
    void (*run)(void *user);
    void *user;
    uint64_t number;  // set by submit: 1, 2, 3, ...
} osp_job;

// `capacity`: jobs that may wait at once. No memory is taken after this call.
osp_status osp_worker_open(osp_worker **out, osp_context *ctx, int32_t capacity, osp_error *err);
void osp_worker_close(osp_worker **worker);  // runs what was submitted, then joins
osp_status osp_worker_submit(osp_worker *worker, osp_job *job);  // OSP_ERROR_BUSY: queue is full
bool osp_worker_done(osp_worker *worker, uint64_t number);
// false: not finished within timeout_ms (negative: for ever).
bool osp_worker_wait(osp_worker *worker, uint64_t number, int64_t timeout_ms);

// Monotonic time in us.
double osp_time_us(void);

#endif
