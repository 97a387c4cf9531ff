// The contract of a backend. Node backends (reference, cpu, cuda) supply tactics to the shared
// build in plan/compile.h; whole-model backends (tensorrt) build by themselves. Backends that run on
// a GPU also say how one run is put on a stream; sessions do the rest.
// Backends never include each other.
#ifndef OSP_BACKENDS_BACKEND_H
#define OSP_BACKENDS_BACKEND_H

#include "backends/tactic.h"
#include "gpu/gpu.h"

enum { OSP_MAX_VARIANTS = 8, OSP_DEVICE_KEY_BYTES = 160 };

// ---- Whole-model backends -----------------------------------------------------------------------

// What such a backend is to build. All is borrowed for the call.
typedef struct osp_whole_request {
    int32_t device;
    // ONNX-level and not inferred: fixed inputs are constants, sizes are filled in, and dimensions
    // that are the batch are -1 where that is free. The types of all values are known but for what
    // opaque nodes make. The backend may change the graph.
    osp_graph *graph;
    const int32_t *batches;  // rising; one variant each
    int32_t batch_count;
    bool batch_free;
    osp_precision precision;       // never AUTO
    const char *const *keep_fp32;  // nodes to leave in FP32
    int32_t keep_fp32_count;
    uint64_t workspace_bytes;  // 0: the smaller of 90 % of the device's memory and what is free
    int32_t level;             // 0: the builder's default
    const char *cache_file;    // of timings; NULL: none
    osp_progress progress;
} osp_whole_request;

// One input or output, as the backend's engine has it.
typedef struct osp_whole_io {
    const char *name;
    osp_dtype dtype;
    bool batched;                       // dims[0] is the variant's batch
    osp_shape shape[OSP_MAX_VARIANTS];  // -1: only the run knows
} osp_whole_io;

typedef struct osp_whole_info {
    int32_t inputs, outputs;
    const osp_whole_io *io;  // inputs, then outputs; lives as long as the engine
    int32_t variants;
    int32_t batch[OSP_MAX_VARIANTS];  // rising
    bool batch_free;
    int32_t layers;
    uint64_t session_bytes;  // device memory that a session needs beside its inputs and outputs
    char device_key[OSP_DEVICE_KEY_BYTES];
    osp_bytes section;  // what a plan file keeps; valid until the engine closes. NULL after open
} osp_whole_info;

// An engine is immutable; any thread.
typedef struct osp_whole_def {
    osp_status (*build)(void **engine, osp_context *ctx, const osp_whole_request *request,
                        osp_error *err);
    // `section` was trusted by the caller; `precision` is what the file says of itself.
    osp_status (*open)(void **engine, osp_context *ctx, int32_t device, const void *section,
                       size_t size, osp_error *err);
    void (*close)(void *engine);
    void (*get_info)(const void *engine, osp_whole_info *out);
    // Layer `i` of `layers`, as a JSON value in `text`; UNSUPPORTED when the engine kept none.
    osp_status (*layer)(const void *engine, int32_t i, char *text, size_t size, osp_error *err);
    // Is this a section of the backend without a plan file around it?
    bool (*is_section)(const void *bytes, size_t size);
} osp_whole_def;

// ---- Running on a GPU ---------------------------------------------------------------------------

// How one session's runs get onto a stream. All calls stand between osp_gpu_enter and osp_gpu_leave,
// and come from one thread at a time. `state` belongs to one session, and its runs never overlap:
// their streams wait for each other.
typedef struct osp_gpu_program {
    // `engine`: the whole-model engine, or the osp_compiled of a node backend.
    osp_status (*open)(void **state, osp_gpu *gpu, const void *engine, osp_error *err);
    void (*close)(void *state);
    // May a run of this variant be captured into a graph?
    bool (*can_capture)(const void *state, int32_t variant);
    // Puts a run of the whole variant on `stream`; what it puts on streams of its own leaves that one
    // and comes back to it by events. `io`: device addresses of inputs, then outputs, aligned to 256
    // bytes, with `capacity` bytes each; a graph bakes them in. Allocates nothing after the first run
    // of a variant with these addresses. OVERFLOW, naming the output.
    osp_status (*enqueue)(void *state, int32_t variant, void *const *io, const size_t *capacity,
                          osp_gpu_stream stream, osp_error *err);
    // The same, but where the variant's last step makes output `output` from a detector's maps, that
    // step is left out, and `maps` says where they lie until the next run; else maps->levels is 0.
    // NULL: there are no such steps.
    osp_status (*enqueue_maps)(void *state, int32_t variant, int32_t output, void *const *io,
                               osp_gpu_stream stream, osp_head_maps *maps, osp_error *err);
    // As enqueue, step by step: waits for the run and adds each step's time to step_us (as many as the
    // variant has steps). NULL: it has no steps that could be told apart.
    osp_status (*profile)(void *state, int32_t variant, void *const *io, osp_gpu_stream stream,
                          double *step_us, osp_error *err);
    // The extents of output `i` after the last enqueue, where a dimension was -1. NULL: none is.
    void (*extents)(const void *state, int32_t variant, int32_t i, osp_shape *out);
} osp_gpu_program;

// The program of every node backend that runs on a GPU: the tactics' launches (plan/device.c).
extern const osp_gpu_program osp_compiled_program;

// ---- A backend ----------------------------------------------------------------------------------

typedef struct osp_backend_def {
    osp_backend id;
    const char *name;
    // NULL: usable on that device; else the reason, written to `reason`.
    const char *(*probe)(osp_context *ctx, int32_t device, char *reason, size_t size);
    // What a plan of it is tied to: "cpu avx512_core_bf16 onednn 3.2.0 threads 2".
    void (*device_key)(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size);
    // May a plan with key `plan` be opened on this device? STALE, naming both sides. NULL: only if
    // it equals device_key's.
    osp_status (*check_key)(osp_context *ctx, int32_t device, const char *plan, osp_error *err);
    bool runs_passes;  // false: the graph is compiled as the file has it (reference)
    // It has a convolution in FP16 that reads uint8 pixels, of images whose width is a multiple of
    // this. 0: it has none.
    int32_t pixel_row;
    // Sets the calling thread's number of compute threads, returns the one before. NULL: no matter.
    int32_t (*set_threads)(int32_t threads);
    // The tactics for an operator in order of preference, NULL-terminated; NULL: none. NULL for
    // whole-model backends.
    const osp_tactic *const *(*tactics)(const osp_op *op);
    const osp_whole_def *whole;      // NULL: a node backend
    const osp_gpu_program *program;  // NULL: runs on the CPU
} osp_backend_def;

extern const osp_backend_def osp_backend_reference;
extern const osp_backend_def osp_backend_cpu;
extern const osp_backend_def osp_backend_cuda;
extern const osp_backend_def osp_backend_tensorrt;
const char *osp_cpu_isa_name(void);  // what this processor has: "avx512_amx", for names of plans

// The plain reference kernel as a tactic, named "ref", for dense plain operands.
extern const osp_tactic osp_tactic_ref;

#endif
