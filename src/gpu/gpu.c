// Every call of the device layer: asks the table, checks the answer, counts the work.
// Thread rule: see gpu.h.
#include "gpu/gpu.h"

#include <time.h>

#include "base/thread.h"
#include "gpu/gpu_internal.h"

// ---- Errors -------------------------------------------------------------------------------------

bool osp_gpu_error_sticky(int error)
{
    static const int16_t list[] = {
        4,             // the runtime is being unloaded
        OSP_CUDA_ECC,  // memory error that cannot be corrected
        220,           // the same on NVLink
        226,           // the same, contained to this process
        OSP_CUDA_ILLEGAL_ADDRESS,
        702,  // a kernel ran too long
        709,  // the context was destroyed
        710,  // an assertion in a kernel
        714,
        715,
        716,
        717,
        718,  // stack, instruction, alignment, address space, program counter
        OSP_CUDA_LAUNCH_FAILURE,
        721,  // tensor memory left allocated
        999   // unknown
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i] == error)
            return true;
    return false;
}

static osp_status status_of(int error)
{
    switch (error) {
    case OSP_CUDA_OUT_OF_MEMORY:
        return OSP_ERROR_MEMORY;
    case OSP_CUDA_INITIALIZATION:
    case OSP_CUDA_OLD_DRIVER:
    case OSP_CUDA_STUB:
    case OSP_CUDA_DEVICES_UNAVAILABLE:
    case OSP_CUDA_NO_FUNCTION:
    case OSP_CUDA_NO_DEVICE:
    case OSP_CUDA_BAD_DEVICE:
    case OSP_CUDA_NO_IMAGE:
    case OSP_CUDA_SYSTEM_NOT_READY:
    case OSP_CUDA_DRIVER_MISMATCH:
        return OSP_ERROR_DEVICE;
    default:
        return error >= OSP_CUDA_CAPTURE_FIRST && error <= OSP_CUDA_CAPTURE_LAST
                   ? OSP_ERROR_UNSUPPORTED
                   : OSP_ERROR_SYSTEM;
    }
}

osp_status osp_gpu_alive(const osp_gpu *gpu, osp_error *err)
{
    const int error = atomic_load(&gpu->lost);
    if (!error)
        return OSP_OK;
    const char *by = atomic_load(&gpu->lost_by);
    OSP_FAIL(err, OSP_ERROR_DEVICE_LOST,
             "GPU %d (%s) is lost: %s: %s (CUDA error %d): restart the process", gpu->info.index,
             gpu->info.name, by ? by : "a call", gpu->calls->error_text(gpu->calls->user, error),
             error);
}

osp_status osp_gpu_answer(osp_gpu *gpu, int error, const char *call, osp_error *err)
{
    if (!error)
        return OSP_OK;
    if (osp_gpu_error_sticky(error)) {
        int alive = 0;
        if (atomic_compare_exchange_strong(&gpu->lost, &alive, error))
            atomic_store(&gpu->lost_by, call);
        return osp_gpu_alive(gpu, err);
    }
    gpu->calls->last_error(gpu->calls->user);  // or the next to ask would take it for his own
    const osp_status status = status_of(error);
    return osp_error_set(
        err, status, "GPU %d (%s): %s: %s (CUDA error %d)%s", gpu->info.index, gpu->info.name, call,
        gpu->calls->error_text(gpu->calls->user, error), error,
        status == OSP_ERROR_MEMORY ? ": use a smaller batch or size, or free some" : "");
}

// Where a caller has no use for the answer: a sticky error still counts.
static void note(osp_gpu *gpu, int error, const char *call)
{
    (void)osp_gpu_answer(gpu, error, call, NULL);
}

// One call of the table on a device that is alive, its answer checked.
#define CALL(gpu, err, what, name, ...)                                                            \
    do {                                                                                           \
        OSP_TRY(osp_gpu_alive((gpu), (err)));                                                      \
        OSP_TRY(osp_gpu_answer((gpu), (gpu)->calls->name((gpu)->calls->user, __VA_ARGS__), (what), \
                               (err)));                                                            \
    } while (0)

// ---- The thread's current device ----------------------------------------------------------------

osp_status osp_gpu_enter(osp_gpu *gpu, osp_gpu_scope *scope, osp_error *err)
{
    int before = 0;
    scope->before = -1;
    CALL(gpu, err, "asking for the current device", get_device, &before);
    if (before == gpu->info.index)
        return OSP_OK;
    CALL(gpu, err, "choosing the device", set_device, gpu->info.index);
    scope->before = before;
    return OSP_OK;
}

void osp_gpu_leave(osp_gpu *gpu, const osp_gpu_scope *scope)
{
    // What it answers is about the caller's device, not about this one.
    if (scope->before >= 0 && gpu->calls->set_device(gpu->calls->user, scope->before))
        gpu->calls->last_error(gpu->calls->user);
}

// ---- Memory -------------------------------------------------------------------------------------

osp_status osp_gpu_alloc(osp_gpu *gpu, void **out, size_t bytes, osp_error *err)
{
    *out = NULL;
    CALL(gpu, err, "allocating device memory", alloc, out, bytes ? bytes : 1);
    atomic_fetch_add(&gpu->allocs, 1);
    return OSP_OK;
}

void osp_gpu_free(osp_gpu *gpu, void *ptr)
{
    if (!ptr || osp_gpu_lost(gpu))
        return;
    note(gpu, gpu->calls->free(gpu->calls->user, ptr), "freeing device memory");
    atomic_fetch_add(&gpu->frees, 1);
}

osp_status osp_gpu_host_alloc(osp_gpu *gpu, void **out, size_t bytes, osp_error *err)
{
    *out = NULL;
    CALL(gpu, err, "allocating pinned memory", host_alloc, out, bytes ? bytes : 1);
    atomic_fetch_add(&gpu->allocs, 1);
    return OSP_OK;
}

void osp_gpu_host_free(osp_gpu *gpu, void *ptr)
{
    if (!ptr || osp_gpu_lost(gpu))
        return;
    note(gpu, gpu->calls->host_free(gpu->calls->user, ptr), "freeing pinned memory");
    atomic_fetch_add(&gpu->frees, 1);
}

osp_status osp_gpu_place(osp_gpu *gpu, const void *ptr, osp_place *place, int32_t *device,
                         osp_error *err)
{
    int where = OSP_PLACE_HOST, which = -1;
    CALL(gpu, err, "asking where memory lies", pointer_place, ptr, &where, &which);
    *place = (osp_place)where;
    *device = where == OSP_PLACE_DEVICE ? which : -1;
    return OSP_OK;
}

osp_status osp_gpu_tensor_map_make(osp_gpu *gpu, const osp_gpu_tiles *tiles,
                                   osp_gpu_tensor_map *out, osp_error *err)
{
    OSP_TRY(osp_gpu_alive(gpu, err));
    *out = (osp_gpu_tensor_map){0};
    if (gpu->info.cc_major < 9)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "GPU %d (%s) has no bulk copies: they need compute capability 9.0",
                 gpu->info.index, gpu->info.name);
    const int error = gpu->calls->tensor_map(gpu->calls->user, tiles, out);
    if (error == OSP_CUDA_NOT_SUPPORTED) {
        gpu->calls->last_error(gpu->calls->user);
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "GPU %d (%s): its driver does not describe tiles: update it", gpu->info.index,
                 gpu->info.name);
    }
    return osp_gpu_answer(gpu, error, "describing tiles", err);
}

// ---- Waiting ------------------------------------------------------------------------------------

typedef int query_fn(void *user, void *handle);

static osp_status poll_handle(osp_gpu *gpu, query_fn *query, void *handle, const char *call,
                              osp_error *err)
{
    OSP_TRY(osp_gpu_alive(gpu, err));
    const int error = query(gpu->calls->user, handle);
    return error == OSP_CUDA_NOT_READY ? OSP_ERROR_BUSY : osp_gpu_answer(gpu, error, call, err);
}

// Spins while the answer may be near, then sleeps, longer each time up to a millisecond.
static osp_status wait_handle(osp_gpu *gpu, query_fn *query, void *handle, int64_t timeout_ms,
                              const char *call, osp_error *err)
{
    enum { SPIN_US = 200, SLEEP_NS = 20000, SLEEP_MAX_NS = 1000000 };
    const double start = osp_time_us();
    long sleep_ns = SLEEP_NS;
    for (;;) {
        const osp_status status = poll_handle(gpu, query, handle, call, err);
        if (status != OSP_ERROR_BUSY)
            return status;
        const double passed = osp_time_us() - start;
        if (passed >= (double)timeout_ms * 1000)
            OSP_FAIL(err, OSP_ERROR_TIMEOUT, "GPU %d (%s): %s: not finished in %lld ms",
                     gpu->info.index, gpu->info.name, call, (long long)timeout_ms);
        if (passed < SPIN_US)
            continue;
        nanosleep(&(struct timespec){.tv_nsec = sleep_ns}, NULL);
        sleep_ns = sleep_ns * 2 < SLEEP_MAX_NS ? sleep_ns * 2 : SLEEP_MAX_NS;
    }
}

// ---- Streams ------------------------------------------------------------------------------------

osp_status osp_gpu_stream_open(osp_gpu *gpu, osp_gpu_stream *out, osp_error *err)
{
    void *handle = NULL;
    *out = NULL;
    CALL(gpu, err, "making a stream", stream_open, &handle);
    *out = handle;
    atomic_fetch_add(&gpu->opens, 1);
    return OSP_OK;
}

void osp_gpu_stream_close(osp_gpu *gpu, osp_gpu_stream *stream)
{
    if (*stream && !osp_gpu_lost(gpu))
        note(gpu, gpu->calls->stream_close(gpu->calls->user, *stream), "closing a stream");
    *stream = NULL;
}

osp_status osp_gpu_stream_poll(osp_gpu *gpu, osp_gpu_stream stream, osp_error *err)
{
    return poll_handle(gpu, gpu->calls->stream_query, stream, "a stream's work", err);
}

osp_status osp_gpu_stream_wait(osp_gpu *gpu, osp_gpu_stream stream, int64_t timeout_ms,
                               osp_error *err)
{
    atomic_fetch_add(&gpu->waits, 1);
    if (timeout_ms >= 0)
        return wait_handle(gpu, gpu->calls->stream_query, stream, timeout_ms, "a stream's work",
                           err);
    CALL(gpu, err, "a stream's work", stream_wait, stream);
    return OSP_OK;
}

osp_status osp_gpu_stream_after(osp_gpu *gpu, osp_gpu_stream stream, osp_gpu_event event,
                                osp_error *err)
{
    CALL(gpu, err, "making a stream wait", stream_after, stream, event);
    return OSP_OK;
}

// ---- Events -------------------------------------------------------------------------------------

osp_status osp_gpu_event_open(osp_gpu *gpu, osp_gpu_event *out, bool timing, osp_error *err)
{
    void *handle = NULL;
    *out = NULL;
    CALL(gpu, err, "making an event", event_open, &handle, timing);
    *out = handle;
    atomic_fetch_add(&gpu->opens, 1);
    return OSP_OK;
}

void osp_gpu_event_close(osp_gpu *gpu, osp_gpu_event *event)
{
    if (*event && !osp_gpu_lost(gpu))
        note(gpu, gpu->calls->event_close(gpu->calls->user, *event), "closing an event");
    *event = NULL;
}

osp_status osp_gpu_event_record(osp_gpu *gpu, osp_gpu_event event, osp_gpu_stream stream,
                                osp_error *err)
{
    CALL(gpu, err, "recording an event", event_record, event, stream);
    return OSP_OK;
}

osp_status osp_gpu_event_poll(osp_gpu *gpu, osp_gpu_event event, osp_error *err)
{
    return poll_handle(gpu, gpu->calls->event_query, event, "work before an event", err);
}

osp_status osp_gpu_event_wait(osp_gpu *gpu, osp_gpu_event event, int64_t timeout_ms, osp_error *err)
{
    atomic_fetch_add(&gpu->waits, 1);
    if (timeout_ms >= 0)
        return wait_handle(gpu, gpu->calls->event_query, event, timeout_ms, "work before an event",
                           err);
    CALL(gpu, err, "work before an event", event_wait, event);
    return OSP_OK;
}

osp_status osp_gpu_event_elapsed(osp_gpu *gpu, osp_gpu_event start, osp_gpu_event end, double *us,
                                 osp_error *err)
{
    float ms = 0;
    *us = 0;
    CALL(gpu, err, "the time between events", event_elapsed, &ms, start, end);
    *us = (double)ms * 1000;
    return OSP_OK;
}

// ---- Work ---------------------------------------------------------------------------------------

static void count_copy(osp_gpu *gpu, size_t bytes)
{
    atomic_fetch_add(&gpu->copies, 1);
    atomic_fetch_add(&gpu->copied_bytes, bytes);
}

osp_status osp_gpu_copy(osp_gpu *gpu, void *dst, const void *src, size_t bytes,
                        osp_gpu_stream stream, osp_error *err)
{
    CALL(gpu, err, "copying", copy, dst, src, bytes, stream);
    count_copy(gpu, bytes);
    return OSP_OK;
}

osp_status osp_gpu_copy_rows(osp_gpu *gpu, void *dst, size_t dst_pitch, const void *src,
                             size_t src_pitch, size_t row_bytes, size_t rows, osp_gpu_stream stream,
                             osp_error *err)
{
    CALL(gpu, err, "copying rows", copy_rows, dst, dst_pitch, src, src_pitch, row_bytes, rows,
         stream);
    count_copy(gpu, row_bytes * rows);
    return OSP_OK;
}

osp_status osp_gpu_fill(osp_gpu *gpu, void *dst, int value, size_t bytes, osp_gpu_stream stream,
                        osp_error *err)
{
    CALL(gpu, err, "filling memory", fill, dst, value, bytes, stream);
    return OSP_OK;
}

// What a driver may say to an attribute that it does not know or cannot record.
static bool refuses_overlap(int error)
{
    return error == OSP_CUDA_INVALID_VALUE || error == OSP_CUDA_NOT_SUPPORTED ||
           (error >= OSP_CUDA_CAPTURE_FIRST && error <= OSP_CUDA_CAPTURE_LAST);
}

osp_status osp_gpu_launch(osp_gpu *gpu, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                          const void *args, size_t args_bytes, osp_gpu_stream stream,
                          osp_error *err)
{
    osp_gpu_shape own = *shape;
    own.overlap = shape->overlap && kernel->waits && osp_gpu_overlaps(gpu);
    OSP_TRY(osp_gpu_alive(gpu, err));
    int error = gpu->calls->launch(gpu->calls->user, kernel, &own, args, args_bytes, stream);
    if (own.overlap && refuses_overlap(error)) {
        gpu->calls->last_error(gpu->calls->user);
        osp_gpu_overlap_end(gpu);
        own.overlap = false;
        error = gpu->calls->launch(gpu->calls->user, kernel, &own, args, args_bytes, stream);
    }
    OSP_TRY(osp_gpu_answer(gpu, error, kernel->name, err));
    atomic_fetch_add(&gpu->launches, 1);
    return OSP_OK;
}

bool osp_gpu_overlaps(const osp_gpu *gpu)
{
    return atomic_load(&gpu->overlaps);
}

void osp_gpu_overlap_end(osp_gpu *gpu)
{
    atomic_store(&gpu->overlaps, false);
}

// ---- Graphs -------------------------------------------------------------------------------------

osp_status osp_gpu_capture_begin(osp_gpu *gpu, osp_gpu_stream stream, osp_error *err)
{
    CALL(gpu, err, "starting a capture", capture_begin, stream);
    return OSP_OK;
}

osp_status osp_gpu_capture_end(osp_gpu *gpu, osp_gpu_stream stream, osp_gpu_graph *out,
                               osp_error *err)
{
    void *recorded = NULL, *ready = NULL;
    if (out)
        *out = NULL;
    CALL(gpu, err, "ending a capture", capture_end, stream, &recorded);
    int error = 0;
    if (out)
        error = gpu->calls->graph_make(gpu->calls->user, &ready, recorded);
    const osp_status status = osp_gpu_answer(gpu, error, "making a graph", err);
    if (recorded && !osp_gpu_lost(gpu))
        note(gpu, gpu->calls->recorded_close(gpu->calls->user, recorded), "closing a capture");
    if (status || !out)
        return status;
    *out = ready;
    atomic_fetch_add(&gpu->opens, 1);
    return OSP_OK;
}

osp_status osp_gpu_graph_launch(osp_gpu *gpu, osp_gpu_graph graph, osp_gpu_stream stream,
                                osp_error *err)
{
    CALL(gpu, err, "launching a graph", graph_launch, graph, stream);
    atomic_fetch_add(&gpu->graph_launches, 1);
    return OSP_OK;
}

void osp_gpu_graph_close(osp_gpu *gpu, osp_gpu_graph *graph)
{
    if (*graph && !osp_gpu_lost(gpu))
        note(gpu, gpu->calls->graph_close(gpu->calls->user, *graph), "closing a graph");
    *graph = NULL;
}

// ---- Others -------------------------------------------------------------------------------------

osp_status osp_gpu_check(osp_gpu *gpu, const char *what, osp_gpu_stream stream, osp_error *err)
{
    OSP_TRY(osp_gpu_alive(gpu, err));
    OSP_TRY(osp_gpu_answer(gpu, gpu->calls->last_error(gpu->calls->user), what, err));
    if (!stream)
        return OSP_OK;
    const osp_status status = poll_handle(gpu, gpu->calls->stream_query, stream, what, err);
    return status == OSP_ERROR_BUSY ? OSP_OK : status;
}

void osp_gpu_count_work(const osp_gpu *gpu, osp_gpu_counters *out)
{
    *out = (osp_gpu_counters){
        .allocs = atomic_load(&gpu->allocs),
        .frees = atomic_load(&gpu->frees),
        .opens = atomic_load(&gpu->opens),
        .launches = atomic_load(&gpu->launches),
        .graph_launches = atomic_load(&gpu->graph_launches),
        .copies = atomic_load(&gpu->copies),
        .copied_bytes = atomic_load(&gpu->copied_bytes),
        .waits = atomic_load(&gpu->waits),
    };
}
