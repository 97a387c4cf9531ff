// The runtime object: context, thread budget, device table. Counted references: models, engines
// and images keep it alive. Thread rule: any thread.
#ifndef OSP_ENGINE_RUNTIME_H
#define OSP_ENGINE_RUNTIME_H

#include "base/context.h"
#include "base/team.h"
#include "base/thread.h"

enum { OSP_MAX_DEVICES = 64 };

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
};

osp_context *osp_runtime_context(osp_runtime *runtime);
osp_runtime *osp_runtime_retain(osp_runtime *runtime);
void osp_runtime_release(osp_runtime *runtime);
// One more session computes by the team, and one less: the first makes it, the last closes it.
osp_status osp_runtime_join_team(osp_runtime *runtime, osp_error *err);
void osp_runtime_leave_team(osp_runtime *runtime);

// Memory facts of a device; `total` 0 means unknown and becomes 2 GiB with memory_known false.
void osp_device_set_memory(osp_device_info *device, uint64_t total, uint64_t available);

#endif
