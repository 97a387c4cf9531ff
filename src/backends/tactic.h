// Problem and tactic: what is to be computed, and one way to do it.
//
// A problem is one node with everything a kernel may depend on: operator, attributes, and for each
// operand its type, shape, layout and strides. Its canonical line of text
// (docs/problem-text.md, backends/problem.h) is test case, benchmark line, cache key and bug report.
// A tactic is a const table entry; adding one is one line. Thread rule: tactics have no state of
// their own; what `prepare` makes belongs to the engine and is read-only in `launch`; what `bind`
// makes belongs to one session.
#ifndef OSP_BACKENDS_TACTIC_H
#define OSP_BACKENDS_TACTIC_H

#include "base/team.h"
#include "gpu/gpu.h"
#include "ops/op.h"

enum { OSP_MAX_OPERANDS = 64 };

// How an operand lies in memory: rows of `row` elements, `pitch` elements from one to the next
// (element e of the dense order of its layout is at e / row * pitch + e % row). CHANNELS_LAST: a
// row is a pixel and row is C; PLAIN: a row is some trailing dims. Dense: row == pitch.
typedef struct osp_operand {
    osp_dtype dtype;  // UNKNOWN: left out
    osp_shape shape;  // logical, N,C,H,W for rank 4
    osp_layout layout;
    int64_t row, pitch;
    bool constant;  // known at build (weights), else an activation; always dense and plain
} osp_operand;

typedef struct osp_problem {
    const osp_op *op;
    const void *attrs;
    int32_t src_count, dst_count;  // as the node's inputs and outputs
    osp_operand *src, *dst;
} osp_problem;

typedef struct osp_tactic_sizes {
    size_t packed_bytes;     // constants in the form `launch` wants; shared, stored in the plan.
                             // 0: constants are handed to `launch` as they are
    size_t workspace_bytes;  // scratch of one launch
} osp_tactic_sizes;

// What a launch is given. Pointers are to the first element of each operand; NULL: left out, or a
// constant that was packed.
typedef struct osp_launch {
    void *const *src;
    void *const *dst;
    const void *packed;
    void *workspace;      // 64-byte aligned
    void *session;        // made by `bind`
    osp_threads threads;  // that may compute
    // On a GPU: all pointers are of the device, and `launch` only enqueues. The thread is in a scope
    // of the device.
    osp_gpu *gpu;
    osp_gpu_stream stream;
    // Whether the last work on the stream is a kernel of this run, so that the next one may overlap
    // it; launches keep it up to date. NULL: nothing overlaps.
    bool *after_kernel;
} osp_launch;

typedef struct osp_tactic {
    const char *name;      // algorithm, type, tile, stages
    int32_t pack_version;  // goes up when the packed form changes: older plans become stale
    bool openmp;           // brings OpenMP's threads with it: then all steps use those
    const char *(*refuse)(const osp_problem *p);  // NULL: accepts; else a constant reason
    // NULL: every device of the backend; else NULL or a constant reason why not on this one. Asked
    // where tactics are chosen; of a plan the device key answers for it.
    const char *(*refuse_device)(const osp_device_info *device);
    // All but launch may be NULL where there is nothing to do.
    osp_status (*prepare)(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err);
    // `src`: the constant operands (dense, C order, aligned to the element; NULL for activations).
    osp_status (*pack)(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err);
    // Packed bytes from a plan (size already compared): STALE when another version of a library
    // would lay them out differently.
    osp_status (*check)(const osp_problem *p, void *state, const void *packed, osp_error *err);
    osp_status (*bind)(const osp_problem *p, osp_context *ctx, void *state, const void *packed,
                       void **session, osp_error *err);
    osp_status (*launch)(const osp_problem *p, void *state, const osp_launch *launch,
                         osp_error *err);
    // Of a head whose result is centre, size and scores [N, 4 + C, A]: where its operands lie, so that
    // boxes can be made without it. false: this one's result is of another form.
    bool (*maps)(const osp_problem *p, const void *state, const osp_launch *launch,
                 osp_head_maps *out);
    void (*unbind)(osp_context *ctx, void *session);
    void (*release)(osp_context *ctx, void *state);
} osp_tactic;

static inline bool osp_operand_dense(const osp_operand *o)
{
    return o->row == o->pitch;
}

#endif
