// The device layer that both GPU backends stand on: devices, memory, streams, events, graphs and
// kernel launches, every call checked. CUDA is reached through one table (gpu_calls.h) and no CUDA
// type shows here, so that the library builds without a toolkit and starts without a driver.
//
// Owns one osp_gpu per device of a runtime; the context holds them (osp_gpus_open), and they live as
// long as it does. What an osp_gpu hands out (memory, streams, events, graphs) belongs to the
// caller, who gives it back to the same osp_gpu.
//
// Errors. A call that CUDA refuses becomes
//     MEMORY       out of device or pinned memory
//     DEVICE       no driver, no such device, a device without code of ours
//     UNSUPPORTED  a stream capture that was refused: run without a graph
//     DEVICE_LOST  illegal address, failed launch, ECC and their like: the context is dead. From then
//                  on every call on this osp_gpu gives DEVICE_LOST at once and touches nothing,
//                  giving back included; the text says to restart the process
//     SYSTEM       anything else
// and the text names the call, CUDA's words and its number. CUDA reports asynchronous failures from
// whichever call comes next, so a text may name a later call than the one at fault.
//
// Thread rule: any thread; one stream, event or graph from one thread at a time. All functions
// marked (scope) need the device to be the thread's current one: between osp_gpu_enter and
// osp_gpu_leave. Nothing here waits but the functions whose names say so.
#ifndef OSP_GPU_GPU_H
#define OSP_GPU_GPU_H

#include "base/context.h"
#include "gpu/gpu_types.h"

typedef struct osp_gpu osp_gpu;
// CUDA's own handles under names of ours: a cudaStream_t may be cast to osp_gpu_stream and back.
typedef struct osp_gpu_stream_handle *osp_gpu_stream;
typedef struct osp_gpu_event_handle *osp_gpu_event;
typedef struct osp_gpu_graph_handle *osp_gpu_graph;  // ready to launch (a cudaGraphExec_t)

// ---- Devices ------------------------------------------------------------------------------------

// Finds the devices through ctx->gpu_calls (NULL: CUDA's own) into ctx->gpus. That there is none is
// no error. Makes no CUDA context. MEMORY only.
osp_status osp_gpus_open(osp_context *ctx, osp_error *err);
void osp_gpus_close(osp_context *ctx);  // all that was handed out has been given back

// Devices there are; 0 before osp_gpus_open.
int32_t osp_gpu_count(const osp_context *ctx);
// Why there are none, in words ("no NVIDIA driver is loaded"); "" where there are some.
const char *osp_gpu_reason(const osp_context *ctx);

// The device of a CUDA ordinal, borrowed from the context. DEVICE with the reason when it is not
// there or cannot run our kernels; DEVICE_LOST.
osp_status osp_gpu_get(osp_context *ctx, int32_t ordinal, osp_gpu **out, osp_error *err);

// Index, name, compute capability, SMs, total memory, rates, PCI id, UUID; `reason` says why our
// kernels do not run on it, "" if they do. .backend is TENSORRT until somebody says otherwise, and
// memory_free_bytes 0: see osp_gpu_memory. i from 0 to osp_gpu_count - 1.
void osp_gpu_describe(const osp_context *ctx, int32_t i, osp_device_info *out);

const osp_device_info *osp_gpu_info(const osp_gpu *gpu);
osp_context *osp_gpu_context(const osp_gpu *gpu);
bool osp_gpu_lost(const osp_gpu *gpu);

// Free and total bytes now; the total is 2 GiB and the free part 0 where they are unknown. Makes
// the device's CUDA context if there is none yet (some 100 ms). Needs no scope.
osp_status osp_gpu_memory(osp_gpu *gpu, uint64_t *free_bytes, uint64_t *total_bytes,
                          osp_error *err);

// ---- The thread's current device ----------------------------------------------------------------

typedef struct osp_gpu_scope {
    int32_t before;  // the caller's device; -1: nothing to restore
} osp_gpu_scope;

// Makes the device current for this thread. Scopes nest. On failure there is nothing to leave.
osp_status osp_gpu_enter(osp_gpu *gpu, osp_gpu_scope *scope, osp_error *err);
// Puts the caller's device back, on a lost device too.
void osp_gpu_leave(osp_gpu *gpu, const osp_gpu_scope *scope);

// ---- Memory (scope) -----------------------------------------------------------------------------

// Device memory, aligned to 256 bytes; 0 bytes give a unique pointer.
osp_status osp_gpu_alloc(osp_gpu *gpu, void **out, size_t bytes, osp_error *err);
void osp_gpu_free(osp_gpu *gpu, void *ptr);  // NULL is fine; waits for work that uses it
// Page-locked host memory that every device reaches at the same address.
osp_status osp_gpu_host_alloc(osp_gpu *gpu, void **out, size_t bytes, osp_error *err);
void osp_gpu_host_free(osp_gpu *gpu, void *ptr);
// Where an address that a caller gave lies; for device memory also on which device (else -1).
// Memory that CUDA does not know is OSP_PLACE_HOST.
osp_status osp_gpu_place(osp_gpu *gpu, const void *ptr, osp_place *place, int32_t *device,
                         osp_error *err);

// ---- Tiles (scope) ------------------------------------------------------------------------------

enum { OSP_GPU_TILE_RANK_MAX = 5 };

// An array of FP16 and the tiles that kernels load from it, innermost dimension first. A tile is what
// its box walks over from any corner, every step[i]-th element: ceil(box[i] / step[i]) along i. Elements
// outside the array are zeros in it.
typedef struct osp_gpu_tiles {
    const void *data;                        // device memory, a multiple of 16 bytes
    int32_t rank;                            // 2 to 5
    uint64_t extent[OSP_GPU_TILE_RANK_MAX];  // 1 to 2^32
    uint64_t stride[OSP_GPU_TILE_RANK_MAX];  // bytes, multiples of 16 below 2^40; [0]: not read, 2
    uint32_t box[OSP_GPU_TILE_RANK_MAX];     // [0]: 64, the 128 bytes of the swizzle; else 1 to 256
    uint32_t step[OSP_GPU_TILE_RANK_MAX];    // 1 to 8; [0]: 1
} osp_gpu_tiles;

// Describes the array for the copy engine, with the 128-byte swizzle of tma.cuh; the array need not be
// filled yet. Work of the host alone. UNSUPPORTED: a device before compute capability 9.0, or a driver
// that has no such call.
osp_status osp_gpu_tensor_map_make(osp_gpu *gpu, const osp_gpu_tiles *tiles,
                                   osp_gpu_tensor_map *out, osp_error *err);

// ---- Streams (scope) ----------------------------------------------------------------------------

// Does not synchronise with the legacy default stream.
osp_status osp_gpu_stream_open(osp_gpu *gpu, osp_gpu_stream *out, osp_error *err);
void osp_gpu_stream_close(osp_gpu *gpu, osp_gpu_stream *stream);  // nulls it; NULL is fine
// OSP_OK: all done; OSP_ERROR_BUSY: not yet (err untouched). Never blocks.
osp_status osp_gpu_stream_poll(osp_gpu *gpu, osp_gpu_stream stream, osp_error *err);
// Blocks until all is done; negative timeout: for ever. OSP_ERROR_TIMEOUT.
osp_status osp_gpu_stream_wait(osp_gpu *gpu, osp_gpu_stream stream, int64_t timeout_ms,
                               osp_error *err);
// The stream's later work starts after the event. Does not block.
osp_status osp_gpu_stream_after(osp_gpu *gpu, osp_gpu_stream stream, osp_gpu_event event,
                                osp_error *err);

// ---- Events (scope) -----------------------------------------------------------------------------

osp_status osp_gpu_event_open(osp_gpu *gpu, osp_gpu_event *out, bool timing, osp_error *err);
void osp_gpu_event_close(osp_gpu *gpu, osp_gpu_event *event);  // nulls it; NULL is fine
osp_status osp_gpu_event_record(osp_gpu *gpu, osp_gpu_event event, osp_gpu_stream stream,
                                osp_error *err);
// As the two of a stream. An event that was never recorded is done.
osp_status osp_gpu_event_poll(osp_gpu *gpu, osp_gpu_event event, osp_error *err);
osp_status osp_gpu_event_wait(osp_gpu *gpu, osp_gpu_event event, int64_t timeout_ms,
                              osp_error *err);
// Between two events with timing that are done.
osp_status osp_gpu_event_elapsed(osp_gpu *gpu, osp_gpu_event start, osp_gpu_event end, double *us,
                                 osp_error *err);

// ---- Work on a stream (scope): nothing blocks, addresses are borrowed until the work is done -----

// Between any two places; pageable host memory makes CUDA stage and perhaps block.
osp_status osp_gpu_copy(osp_gpu *gpu, void *dst, const void *src, size_t bytes,
                        osp_gpu_stream stream, osp_error *err);
// `rows` rows of `row_bytes` each; pitches in bytes, at least row_bytes.
osp_status osp_gpu_copy_rows(osp_gpu *gpu, void *dst, size_t dst_pitch, const void *src,
                             size_t src_pitch, size_t row_bytes, size_t rows, osp_gpu_stream stream,
                             osp_error *err);
osp_status osp_gpu_fill(osp_gpu *gpu, void *dst, int value, size_t bytes, osp_gpu_stream stream,
                        osp_error *err);

typedef struct osp_gpu_shape {
    uint32_t grid[3], block[3];  // 0 counts as 1
    uint32_t shared_bytes;       // dynamic shared memory
    // The work before it on the stream is a kernel of this library, which need not have ended before
    // this one starts. Without effect where the kernel does not wait by itself or the device cannot.
    bool overlap;
} osp_gpu_shape;

// args: copied during the call.
osp_status osp_gpu_launch(osp_gpu *gpu, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                          const void *args, size_t args_bytes, osp_gpu_stream stream,
                          osp_error *err);
// Whether launches may overlap: sm_90 and later, with a driver that has not refused it.
bool osp_gpu_overlaps(const osp_gpu *gpu);
void osp_gpu_overlap_end(osp_gpu *gpu);  // from now on none does

// ---- Graphs (scope) -----------------------------------------------------------------------------

// From begin to end, work on `stream`, and on streams that joined it by events, is recorded and not
// run. Begin and end on one thread; other threads are not disturbed. UNSUPPORTED: capture refused.
osp_status osp_gpu_capture_begin(osp_gpu *gpu, osp_gpu_stream stream, osp_error *err);
// Ends the capture in any case, after failed work too. out NULL: what was recorded is dropped.
osp_status osp_gpu_capture_end(osp_gpu *gpu, osp_gpu_stream stream, osp_gpu_graph *out,
                               osp_error *err);
osp_status osp_gpu_graph_launch(osp_gpu *gpu, osp_gpu_graph graph, osp_gpu_stream stream,
                                osp_error *err);
void osp_gpu_graph_close(osp_gpu *gpu, osp_gpu_graph *graph);  // nulls it; NULL is fine

// ---- For code that uses the device without this layer (a loaded library) -------------------------

// Tells whether such code left an error behind: takes CUDA's last error and polls the stream (NULL:
// does not). OSP_OK also while work is still running. `what` names the code in the text.
osp_status osp_gpu_check(osp_gpu *gpu, const char *what, osp_gpu_stream stream, osp_error *err);

// What was done on the device through this layer since the runtime was opened.
typedef struct osp_gpu_counters {
    uint64_t allocs, frees;  // device and pinned memory
    uint64_t opens;          // streams, events, graphs
    uint64_t launches, graph_launches, copies, copied_bytes;
    uint64_t waits;  // calls that may block
} osp_gpu_counters;
void osp_gpu_count_work(const osp_gpu *gpu, osp_gpu_counters *out);

#endif
