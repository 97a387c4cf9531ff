// A session: the buffers to run an engine, slots in flight, and the worker that runs them.
// Thread rule: one thread at a time; the worker is the session's own.
#ifndef OSP_ENGINE_SESSION_H
#define OSP_ENGINE_SESSION_H

#include "engine/engine.h"

enum { OSP_MAX_DEPTH = 64 };

// One run in flight. Taken by enqueue, given back by wait.
typedef struct osp_slot {
    osp_session *session;
    bool taken;
    osp_ticket ticket;
    uint64_t job;
    int32_t variant, n;
    char **staged;      // by io (inputs, then outputs): memory of the slot, for the largest variant
    void **io;          // by io: what the run reads and writes, staged or the caller's
    osp_status status;  // of the finished run
    osp_error error;
    double infer_us;
} osp_slot;

struct osp_session {
    osp_engine *engine;
    osp_arena arena;
    void *memory;              // activations and workspace of the largest variant
    osp_binding *bindings[8];  // by variant
    osp_worker *worker;
    bool in_team;  // has joined the runtime's
    int32_t depth;
    osp_slot *slots;
    osp_ticket next_ticket;
    osp_tensor *bound;  // by io; data NULL: not bound
    bool profile;
    double *step_us[8];  // by variant: summed times
    uint64_t profiled_runs[8];
    osp_run_stats stats;
};

// Memory of the slot that the next enqueue will take, for input `i`: the detector writes pixels
// straight into it. NULL when all slots are taken.
void *osp_session_input_memory(osp_session *session, int32_t i);

#endif
