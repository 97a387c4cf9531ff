// The runtime object: context, thread budget, device table. Counted references: models, engines
// and images keep it alive. Thread rule: any thread.
#ifndef OSP_ENGINE_RUNTIME_H
#define OSP_ENGINE_RUNTIME_H

#include "base/context.h"
#include "base/team.h"
#include "base/thread.h"

enum { OSP_MAX_DEVICES = 64, OSP_TRUSTED_PLANS = 64 };

// Digests of plans that this process built (engine/trust.h).
typedef struct osp_trust_list {
    pthread_mutex_t lock;
    uint64_t count;  // ever added; the latest OSP_TRUSTED_PLANS are there
    uint8_t digest[OSP_TRUSTED_PLANS][32];
} osp_trust_list;

struct osp_runtime {
    osp_context ctx;
    atomic_int references;
    osp_thread_budget budget;
    int32_t threads;
    pthread_mutex_t team_lock;
    osp_team *team;  // of all CPU sessions, which take turns; there while there is one
    int32_t team_users;
    int32_t device_count;
    osp_device_info devices[OSP_MAX_DEVICES];
    osp_trust_list trusted;
};

// osp_runtime_open with another table of CUDA calls than CUDA's own, for tests; it must outlive the
// runtime.
struct osp_gpu_calls;
osp_status osp_runtime_open_with(osp_runtime **out, const osp_options *options,
                                 const struct osp_gpu_calls *calls, osp_error *err);

osp_context *osp_runtime_context(osp_runtime *runtime);
osp_runtime *osp_runtime_retain(osp_runtime *runtime);
void osp_runtime_release(osp_runtime *runtime);
// One more session computes by the team, and one less: the first makes it, the last closes it.
osp_status osp_runtime_join_team(osp_runtime *runtime, osp_error *err);
void osp_runtime_leave_team(osp_runtime *runtime);

// Memory that osp_host_free takes, and that is not page-locked: for what no device reads.
void *osp_host_alloc_plain(osp_runtime *runtime, size_t bytes);

// Memory facts of a device; `total` 0 means unknown and becomes 2 GiB with memory_known false.
void osp_device_set_memory(osp_device_info *device, uint64_t total, uint64_t available);

#endif
