// Compiling: an inferred graph becomes steps with tactics, packed weights and planned memory.
// Shared by all node backends (reference and cpu now, cuda later). The result is immutable, may be
// used from many threads, and is all that a plan file stores: the graph after passes, the tactics'
// names, the packed weights. Everything else here is recomputed when a plan is opened.
#ifndef OSP_PLAN_COMPILE_H
#define OSP_PLAN_COMPILE_H

#include "backends/backend.h"
#include "passes/passes.h"
#include "plan/streams.h"

// There is one step for each node, in the graph's order.
typedef struct osp_step {
    int32_t node;              // of the graph
    const osp_tactic *tactic;  // &osp_tactic_view: nothing to do, results lie where they belong
    osp_problem problem;
    void *state;     // made by tactic->prepare; equal problems share one
    int32_t packed;  // index into osp_compiled.packed; -1: none
    size_t workspace_bytes;
    const char *text;  // canonical problem text
    double flops, bytes;
} osp_step;

typedef struct osp_variant {
    int32_t batch, height, width;  // 0: the model fixes it, or has no such thing
    osp_graph graph;               // after passes
    osp_storage *storage;          // by value
    osp_step *steps;
    int32_t step_count;       // graph.node_count
    size_t activation_bytes;  // of a session: all buffers, planned
    size_t workspace_bytes;   // the largest of the steps; each stream has so much
    osp_streams streams;      // which steps may run at the same time
    // By value: where launches find a constant. NULL: in value->data.
    void **constants;
    // Outputs that no step writes (constants, inputs, repeated ones) have a place of their own
    // among the activations and are copied there; for others SIZE_MAX.
    size_t *copied_outputs;
} osp_variant;

typedef struct osp_packed {
    uint64_t key;      // hash of the bytes: equal bytes, one copy, across variants too
    const void *data;  // 64-byte aligned where packed here; 8 in a mapped plan
    size_t size;
    bool owned;          // packed here, in memory of its own
    const void *device;  // its copy there; NULL: launches read `data`
} osp_packed;

// What `prepare` made, once for each tactic and problem.
typedef struct osp_prepared {
    const osp_tactic *tactic;
    const osp_problem *problem;
    const char *text;
    void *state;
    osp_tactic_sizes sizes;
} osp_prepared;

typedef struct osp_compiled {
    osp_context *ctx;
    const osp_backend_def *backend;
    osp_precision precision;
    int32_t threads;  // the budget that tactics are prepared for
    osp_arena arena;
    osp_variant variants[8];
    int32_t variant_count;
    osp_packed *packed;
    size_t packed_count, packed_capacity;
    osp_prepared *prepared;
    size_t prepared_count, prepared_capacity;
    // Whole-model backends: what their library reads, borrowed, and graphs that have no nodes, only
    // inputs and outputs (plan/whole.h).
    osp_bytes section;
    osp_gpu *gpu;             // NULL: runs on the CPU
    struct osp_tuner *tuner;  // while building; NULL: the first tactic that accepts is taken
    void *device_block;       // packed weights and other constants
} osp_compiled;

extern const osp_tactic osp_tactic_view;

void osp_compiled_init(osp_compiled *c, osp_context *ctx, const osp_backend_def *backend,
                       osp_precision precision, int32_t threads);
void osp_compiled_free(osp_compiled *c);

// Compiles one more variant. `graph` is inferred and ONNX-level; it is moved in (freed here on
// failure too). All nodes that no tactic accepts are listed in one UNSUPPORTED error, with reasons.
// Constants that were packed are marked `dropped`, others copied: after this the graph no longer
// needs the model's file.
osp_status osp_compile_variant(osp_compiled *c, osp_graph *graph, int32_t batch, int32_t height,
                               int32_t width, const osp_pass_options *options, osp_error *err);

// Restores a variant from a plan: graph after passes (moved in, inferred here again), one tactic
// name and one index into c->packed (or -1) for each node. Whatever does not fit is FORMAT (or
// STALE for a tactic or pack version that this library does not have).
osp_status osp_compile_restore(osp_compiled *c, osp_graph *graph, int32_t batch, int32_t height,
                               int32_t width, int32_t streams, const char *const *tactics,
                               const int32_t *pack_versions, const int32_t *packed, osp_error *err);

// Spreads a variant's steps over at most `streams` streams (1: one after the other, as compiled) and
// plans its memory for that. Bindings of it must be made anew.
osp_status osp_compile_streams(osp_compiled *c, osp_variant *v, int32_t streams, osp_error *err);

// ---- On a GPU (plan/device.c) -------------------------------------------------------------------

// Once all variants are there: copies packed weights and the other constants to the device, in one
// block that lives as long as `c`; nothing the second time. Blocks.
osp_status osp_compiled_upload(osp_compiled *c, osp_error *err);
void osp_compiled_unload(osp_compiled *c);  // osp_compiled_free does it, too

// ---- Running (plan/run.c) -----------------------------------------------------------------------

// One variant in one session: addresses of all operands, and the tactics' session state.
typedef struct osp_binding osp_binding;

// `memory`: activation_bytes, then workspace_bytes for each stream, all rounded up to 64; 64-byte
// aligned; it stays the caller's and may be shared by bindings that never run at the same time. `c`
// must outlive it.
osp_status osp_variant_bind(osp_binding **out, const osp_compiled *c, const osp_variant *v,
                            void *memory, osp_error *err);
void osp_binding_free(osp_binding **binding);
size_t osp_variant_memory_bytes(const osp_variant *v);

// Runs all steps. `io`: addresses of graph inputs then outputs (dense, C order); NULL, or an entry
// NULL: the planned buffer is used. `step_us` (step_count, may be NULL) is added to. Allocates
// nothing. One thread at a time for each binding; always the same thread is best. Where a step
// brings OpenMP's threads, the team is left alone and all steps use those.
osp_status osp_binding_run(osp_binding *binding, void *const *io, osp_threads threads,
                           double *step_us, osp_error *err);
// What a run on several streams needs beside its own, borrowed.
typedef struct osp_side_streams {
    osp_gpu_stream streams[OSP_STREAMS_MOST];  // but the first, which stands for the run's own
    osp_gpu_event *events;                     // variant.streams.event_count
} osp_side_streams;

// The same on a GPU: enqueues all steps on `stream`, within a scope of the device. `sides`: where the
// variant has several streams, the others, which leave `stream` and come back to it by events; NULL:
// all runs on `stream`. `marks` (one more than there are nodes, events with timing; may be NULL) are
// recorded before the first step and after the step of each node; with them `sides` is not used.
osp_status osp_binding_enqueue(osp_binding *binding, void *const *io, osp_gpu_stream stream,
                               const osp_side_streams *sides, osp_gpu_event *marks, osp_error *err);
// The same without the last step, where it makes output `output` from a detector's maps: they lie where
// `maps` says until the next run with this memory. Else all steps run, and maps->levels is 0.
osp_status osp_binding_enqueue_maps(osp_binding *binding, int32_t output, void *const *io,
                                    osp_gpu_stream stream, const osp_side_streams *sides,
                                    osp_head_maps *maps, osp_error *err);
// Planned address of graph input or output i (dense, C order).
void *osp_binding_input(const osp_binding *binding, int32_t i);
void *osp_binding_output(const osp_binding *binding, int32_t i);

#endif
