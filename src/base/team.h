// A team of threads that share out one call at a time: the caller and helpers that wait for it,
// first spinning, then asleep. A helper that comes too late is not waited for, only one that has
// begun: a thread that the system has stopped between two calls costs nothing.
// Thread rule: calls to one team come one at a time, from any thread.
#ifndef OSP_BASE_TEAM_H
#define OSP_BASE_TEAM_H

#include "base/context.h"

typedef struct osp_team osp_team;

// Threads that a run may use: `count`, the caller included. team NULL: OpenMP's.
typedef struct osp_threads {
    int32_t count;
    osp_team *team;
} osp_threads;

// `threads` with the caller: threads - 1 are started. SYSTEM where the process may have no more.
osp_status osp_team_open(osp_team **out, osp_context *ctx, int32_t threads, osp_error *err);
void osp_team_close(osp_team **team);  // NULL inside is fine

// Calls fn(user, 0) here, and fn(user, i) for some or all i in [1, threads) on helpers. Returns when
// all that began have ended; what they wrote is visible then. Takes no memory.
typedef void (*osp_team_fn)(void *user, int32_t thread);
void osp_team_run(osp_team *team, int32_t threads, osp_team_fn fn, void *user);

#endif
