// A GPU session's own parts, shared by session_gpu.c (opening, the compute stream) and
// session_moves.c (bringing data there and back). Thread rule: as the session.
#ifndef OSP_ENGINE_SESSION_GPU_H
#define OSP_ENGINE_SESSION_GPU_H

#include "engine/session.h"

enum { OSP_IO_ALIGN = 256 };

// Where an output goes when the run has ended.
typedef struct osp_out_copy {
    void *dst;    // NULL: nowhere, unless it is asked for
    bool copied;  // enqueued: `dst` has it once the slot is done
} osp_out_copy;

typedef struct osp_captured {
    osp_gpu_graph graph;
    void **io;  // the addresses in it
} osp_captured;

typedef struct osp_gpu_slot {
    void **device;       // by io: the slot's own memory
    void **io;           // by io: what this run reads and writes
    size_t *capacity;    // by io: bytes that the variant may use of it
    osp_out_copy *out;   // by io
    osp_shape *extents;  // by io: of outputs whose size only the run knew
    osp_captured graphs[OSP_MAX_VARIANTS];
    osp_gpu_event in_start, in_done, run_start, run_done, done;
    bool copies_in;
} osp_gpu_slot;

typedef struct osp_gpu_session {
    osp_gpu *gpu;
    const osp_gpu_program *program;
    void *state;  // the program's
    osp_gpu_stream copy_in, compute, copy_out;
    osp_gpu_stream caller;     // NULL: none
    osp_gpu_event caller_now;  // where the caller's stream was at enqueue
    void *device_block, *host_block;
    osp_session_hooks hooks;
    bool warm[OSP_MAX_VARIANTS];
    bool refused;  // capture: runs go without a graph
} osp_gpu_session;

osp_status osp_session_gpu_open(osp_session *session, const osp_session_options *options,
                                osp_error *err);
void osp_session_gpu_close(osp_session *session);
// Puts the slot's run on the compute stream, as a graph where that can be (scope).
osp_status osp_session_gpu_compute(osp_slot *slot, osp_error *err);

#endif
