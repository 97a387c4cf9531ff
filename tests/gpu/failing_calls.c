// The table that makes one call fail: see fake_gpu.h.
#include "fake_gpu.h"

// The error of this call, or 0: pass it on.
static int gate(failing_calls *f, bool choosing)
{
    const long number = __atomic_add_fetch(&f->count, 1, __ATOMIC_RELAXED);
    if (f->failed && osp_gpu_error_sticky(f->error)) {
        if (choosing)
            return 0;
        __atomic_add_fetch(&f->after, 1, __ATOMIC_RELAXED);
        return f->error;
    }
    if (number != f->fail_at)
        return 0;
    f->failed = true;
    return f->error;
}

#define INNER ((failing_calls *)user)->inner
#define PASS(name, choosing, params, ...)                                                          \
    static int pass_##name params                                                                  \
    {                                                                                              \
        const int error = gate(user, choosing);                                                    \
        return error ? error : INNER->name(INNER->user, __VA_ARGS__);                              \
    }

PASS(versions, false, (void *user, int *driver, int *runtime), driver, runtime)
PASS(device_count, false, (void *user, int *count), count)
PASS(device_facts, false, (void *user, int device, osp_gpu_facts *out), device, out)
PASS(memory_info, false, (void *user, size_t *a, size_t *b), a, b)
PASS(get_device, true, (void *user, int *device), device)
PASS(set_device, true, (void *user, int device), device)
PASS(alloc, false, (void *user, void **out, size_t bytes), out, bytes)
PASS(free, false, (void *user, void *ptr), ptr)
PASS(host_alloc, false, (void *user, void **out, size_t bytes), out, bytes)
PASS(host_free, false, (void *user, void *ptr), ptr)
PASS(pointer_place, false, (void *user, const void *ptr, int *place, int *device), ptr, place,
     device)
PASS(tensor_map, false, (void *user, const osp_gpu_tiles *tiles, osp_gpu_tensor_map *out), tiles,
     out)
PASS(stream_open, false, (void *user, void **out), out)
PASS(stream_close, false, (void *user, void *stream), stream)
PASS(stream_query, false, (void *user, void *stream), stream)
PASS(stream_wait, false, (void *user, void *stream), stream)
PASS(stream_after, false, (void *user, void *stream, void *event), stream, event)
PASS(event_open, false, (void *user, void **out, int timing), out, timing)
PASS(event_close, false, (void *user, void *event), event)
PASS(event_record, false, (void *user, void *event, void *stream), event, stream)
PASS(event_query, false, (void *user, void *event), event)
PASS(event_wait, false, (void *user, void *event), event)
PASS(event_elapsed, false, (void *user, float *ms, void *start, void *end), ms, start, end)
PASS(copy, false, (void *user, void *dst, const void *src, size_t bytes, void *stream), dst, src,
     bytes, stream)
PASS(copy_rows, false,
     (void *user, void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t row_bytes,
      size_t rows, void *stream),
     dst, dst_pitch, src, src_pitch, row_bytes, rows, stream)
PASS(fill, false, (void *user, void *dst, int value, size_t bytes, void *stream), dst, value, bytes,
     stream)
PASS(launch, false,
     (void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape, const void *args,
      size_t args_bytes, void *stream),
     kernel, shape, args, args_bytes, stream)
PASS(capture_begin, false, (void *user, void *stream), stream)

// CUDA ends a capture even where it says that it failed.
static int pass_capture_end(void *user, void *stream, void **recorded)
{
    const int error = gate(user, false);
    if (!error)
        return INNER->capture_end(INNER->user, stream, recorded);
    void *dropped = NULL;
    if (!INNER->capture_end(INNER->user, stream, &dropped) && dropped)
        INNER->recorded_close(INNER->user, dropped);
    return error;
}

PASS(graph_make, false, (void *user, void **ready, void *recorded), ready, recorded)
PASS(recorded_close, false, (void *user, void *recorded), recorded)
PASS(graph_close, false, (void *user, void *ready), ready)
PASS(graph_launch, false, (void *user, void *ready, void *stream), ready, stream)

static int last_error(void *user)
{
    const failing_calls *f = user;
    return f->failed && osp_gpu_error_sticky(f->error) ? f->error : INNER->last_error(INNER->user);
}

static const char *error_text(void *user, int error)
{
    return INNER->error_text(INNER->user, error);
}

void failing_calls_init(failing_calls *failing, const osp_gpu_calls *inner)
{
    *failing = (failing_calls){.inner = inner};
    failing->calls = (osp_gpu_calls){
        .user = failing,
        .versions = pass_versions,
        .device_count = pass_device_count,
        .device_facts = pass_device_facts,
        .memory_info = pass_memory_info,
        .get_device = pass_get_device,
        .set_device = pass_set_device,
        .alloc = pass_alloc,
        .free = pass_free,
        .host_alloc = pass_host_alloc,
        .host_free = pass_host_free,
        .pointer_place = pass_pointer_place,
        .tensor_map = pass_tensor_map,
        .stream_open = pass_stream_open,
        .stream_close = pass_stream_close,
        .stream_query = pass_stream_query,
        .stream_wait = pass_stream_wait,
        .stream_after = pass_stream_after,
        .event_open = pass_event_open,
        .event_close = pass_event_close,
        .event_record = pass_event_record,
        .event_query = pass_event_query,
        .event_wait = pass_event_wait,
        .event_elapsed = pass_event_elapsed,
        .copy = pass_copy,
        .copy_rows = pass_copy_rows,
        .fill = pass_fill,
        .launch = pass_launch,
        .capture_begin = pass_capture_begin,
        .capture_end = pass_capture_end,
        .graph_make = pass_graph_make,
        .recorded_close = pass_recorded_close,
        .graph_close = pass_graph_close,
        .graph_launch = pass_graph_launch,
        .last_error = last_error,
        .error_text = error_text,
    };
}
