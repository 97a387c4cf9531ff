// A session: slots in flight, and the memory to run an engine. session.c has what all sessions share
// (matching the caller's tensors, tickets); session_cpu.c, session_gpu.c and session_moves.c move data
// and run.
// Thread rule: one thread at a time; the worker of a CPU session is the session's own.
#ifndef OSP_ENGINE_SESSION_H
#define OSP_ENGINE_SESSION_H

#include "engine/engine.h"

enum { OSP_MAX_DEPTH = 64 };

// One run in flight. Taken by enqueue, given back by wait.
typedef struct osp_slot {
    osp_session *session;
    int32_t index;
    bool taken;
    osp_ticket ticket;
    int32_t variant, n;
    char **staged;  // by io (inputs, then outputs): the slot's host memory, for any variant
    double infer_us, copy_us;
    union {
        struct osp_cpu_slot *cpu;
        struct osp_gpu_slot *gpu;
    } own;
} osp_slot;

// How a session runs. `slot` has its variant and n when anything but open is called with it.
typedef struct osp_session_ops {
    osp_status (*open)(osp_session *session, const osp_session_options *options, osp_error *err);
    void (*close)(osp_session *session);  // after a failed open, too
    osp_status (*bind)(osp_session *session, int32_t io, osp_error *err);  // s->bound[io]; NULL: ok
    // One after another for each run: begin, the inputs (or put), the outputs that were named, start.
    osp_status (*begin)(osp_slot *slot, osp_error *err);
    osp_status (*put)(osp_slot *slot, osp_error *err);  // all inputs, by the hook; NULL: no hooks
    osp_status (*take_input)(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err);
    osp_status (*take_output)(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err);
    // `all`: no output was named, so any may be asked for later.
    osp_status (*start)(osp_slot *slot, bool all, osp_error *err);
    // OSP_OK: the run has ended well. TIMEOUT. Else what the run failed of.
    osp_status (*wait)(osp_slot *slot, int64_t timeout_ms, osp_error *err);
    bool (*done)(osp_slot *slot);
    // Output `io` of a finished slot: its extents, and host memory that holds it (perhaps the
    // caller's own, t->data). `t` lies on the device: the data is brought there, and *data is NULL.
    osp_status (*give)(osp_slot *slot, const osp_tensor *t, int32_t io, osp_shape *extents,
                       void **data, osp_error *err);
} osp_session_ops;

struct osp_session {
    osp_engine *engine;
    const osp_session_ops *ops;
    osp_arena arena;
    int32_t depth;
    osp_slot *slots;
    osp_ticket next_ticket;
    osp_tensor *bound;  // by io; data NULL: not bound
    bool profile;
    double *step_us[OSP_MAX_VARIANTS];  // by variant: summed times
    uint64_t profiled_runs[OSP_MAX_VARIANTS];
    osp_run_stats stats;
    union {
        struct osp_cpu_session *cpu;
        struct osp_gpu_session *gpu;
    } own;
};

extern const osp_session_ops osp_session_cpu, osp_session_gpu;

// ---- What both kinds use ------------------------------------------------------------------------

int32_t osp_session_io_count(const osp_engine *engine);
const osp_tensor_info *osp_session_io_info(const osp_engine *engine, int32_t io);
bool osp_session_io_batched(const osp_engine *engine, int32_t io);
// Extents of one io in a variant; what only a run knows counts as its buffer's capacity.
void osp_session_io_shape(const osp_engine *engine, int32_t variant, int32_t io, osp_shape *out);
// Bytes of one io in a variant, and of its first n rows.
size_t osp_session_io_bytes(const osp_engine *engine, int32_t variant, int32_t io, int32_t n,
                            size_t *rows_bytes);
// Bytes of the variant that needs the most. false: they overflow.
bool osp_session_io_largest(const osp_engine *engine, int32_t io, size_t *bytes);
// OVERFLOW unless `t` has room for `bytes`.
osp_status osp_session_check_room(const osp_engine *engine, const osp_tensor *t, int32_t io,
                                  size_t bytes, osp_error *err);

// Waits for all tickets, and gives their slots free: for an end in the middle.
void osp_session_wait_all(osp_session *session);

// Memory of the slot that the next enqueue will take, for input `i`: the detector writes pixels
// straight into it. Host memory, pinned where there is a GPU. NULL when all slots are taken.
void *osp_session_input_memory(osp_session *session, int32_t i);

// ---- For pixels and boxes on the GPU (session_gpu.c) --------------------------------------------
// Slots are numbered 0 to depth - 1; ticket t has slot (t - 1) % depth, and the next enqueue takes
// that of session->next_ticket.

bool osp_session_on_gpu(const osp_session *session);
osp_gpu *osp_session_device(const osp_session *session);
// Device addresses, the same for the life of the session: they may be baked into graphs.
void *osp_session_device_input(const osp_session *session, int32_t slot, int32_t i);
void *osp_session_device_output(const osp_session *session, int32_t slot, int32_t i);
// What a detector adds to a run.
typedef struct osp_session_hooks {
    // Puts n rows into the slot's device input by work on `stream` (the copy-in stream, after the
    // caller's). Not part of a graph: it may depend on anything.
    osp_status (*put)(void *user, int32_t slot, int32_t n, osp_gpu_stream stream, osp_error *err);
    // Work behind the network on the compute stream, part of the graph where there is one: so it may
    // depend on slot and variant, and on device memory, but on nothing else that changes. `maps`:
    // NULL, or what output `output` would be made of, which then was not made.
    osp_status (*after)(void *user, int32_t slot, int32_t variant, const osp_head_maps *maps,
                        osp_gpu_stream stream, osp_error *err);
    void *user;
    bool takes_maps;  // of the network's end, where there are any
    int32_t output;
} osp_session_hooks;
// Both are called between osp_gpu_enter and osp_gpu_leave. Before the first enqueue; NULL takes
// them away. Graphs are captured anew.
void osp_session_set_hooks(osp_session *session, const osp_session_hooks *hooks);
// Starts a run of `n` rows that the hook `put` brings; outputs stay on the device. BUSY: all slots
// are taken.
osp_status osp_session_enqueue_device(osp_session *session, int32_t n, osp_ticket *ticket,
                                      osp_error *err);

#endif
