// What every part of the library is handed: memory, log, limits, work counters. The runtime owns
// one; nothing here is global. Thread rule: any thread.
#ifndef OSP_BASE_CONTEXT_H
#define OSP_BASE_CONTEXT_H

#include <pthread.h>

#include "base/mem.h"

struct osp_gpus;       // src/gpu/gpu.h: the devices
struct osp_gpu_calls;  // src/gpu/gpu_calls.h: the way to CUDA

typedef struct osp_context {
    osp_mem mem;
    osp_limits limits;  // no zeros: defaults filled in
    osp_logger logger;
    char library_dir[1024];    // osp_options.library_dir; "": none
    pthread_mutex_t log_lock;  // callbacks come one at a time
    atomic_uint_fast64_t bytes_read, nodes_made, elements_folded;
    const struct osp_gpu_calls *gpu_calls;  // NULL: CUDA's own; set before osp_gpus_open
    struct osp_gpus *gpus;                  // NULL where there are none
    char gpu_reason[256];                   // why there are none
} osp_context;

// Checks and copies; `options` may be NULL. On failure nothing needs to be freed.
osp_status osp_context_init(osp_context *ctx, const osp_options *options, osp_error *err);
void osp_context_free(osp_context *ctx);

// Silent without a logger or below its level. Not on the run path.
void osp_log(osp_context *ctx, osp_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
