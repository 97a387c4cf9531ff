// Data of GPU sessions on its way: from the caller's tensors to the slot's device memory, and back
// when the run has ended. Pinned memory and device memory are copied directly, other memory passes
// through the slot's own pinned memory; what is bound on the device is not copied at all.
#include <string.h>

#include "base/strided.h"
#include "engine/session_gpu.h"

static bool is_bound(const osp_slot *slot, const osp_tensor *t, int32_t io)
{
    return t == slot->session->bound + io;
}

// A bound address that the network may use itself: whole, on the device, and aligned as ours are.
static bool fits_in_place(const osp_tensor *t, size_t bytes)
{
    osp_shape shape = {.rank = t->rank};
    size_t capacity;
    memcpy(shape.dims, t->dims, sizeof shape.dims);
    return t->place == OSP_PLACE_DEVICE && (uintptr_t)t->data % OSP_IO_ALIGN == 0 &&
           osp_shape_bytes(&shape, t->dtype, &capacity) && capacity >= bytes;
}

static osp_status begin(osp_slot *slot, osp_error *err)
{
    osp_session *s = slot->session;
    osp_gpu_session *g = s->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    const size_t n = (size_t)osp_session_io_count(s->engine);
    memcpy(own->io, own->device, n * sizeof *own->io);
    memset(own->out, 0, n * sizeof *own->out);
    own->copies_in = false;
    if (!g->caller)
        return OSP_OK;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    osp_status status = osp_gpu_event_record(g->gpu, g->caller_now, g->caller, err);
    if (!status)
        status = osp_gpu_stream_after(g->gpu, g->copy_in, g->caller_now, err);
    if (!status)
        status = osp_gpu_stream_after(g->gpu, g->compute, g->caller_now, err);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static osp_status copy_in(osp_slot *slot, int32_t io, const void *src, size_t bytes, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    osp_status status = OSP_OK;
    if (!own->copies_in)
        status = osp_gpu_event_record(g->gpu, own->in_start, g->copy_in, err);
    own->copies_in = true;
    if (!status && bytes)
        status = osp_gpu_copy(g->gpu, own->device[io], src, bytes, g->copy_in, err);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static osp_status put(osp_slot *slot, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    osp_status status = osp_gpu_event_record(g->gpu, own->in_start, g->copy_in, err);
    own->copies_in = true;
    if (!status)
        status = g->hooks.put(g->hooks.user, slot->index, slot->n, g->copy_in, err);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static osp_status take_input(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    size_t rows;
    size_t bytes = osp_session_io_bytes(slot->session->engine, slot->variant, io, slot->n, &rows);
    if (t->data == slot->own.gpu->device[io])
        return OSP_OK;  // already there
    if (is_bound(slot, t, io) && fits_in_place(t, bytes)) {
        slot->own.gpu->io[io] = t->data;
        return OSP_OK;
    }
    if (t->place == OSP_PLACE_DEVICE || (t->place == OSP_PLACE_PINNED && osp_tensor_is_dense(t)))
        return copy_in(slot, io, t->data, rows, err);
    if (!osp_tensor_is_dense(t))
        osp_strided_copy(slot->staged[io], t->data, osp_dtype_bytes(t->dtype), t->rank, t->dims,
                         t->byte_strides);
    else if (t->data != slot->staged[io] && rows)
        memcpy(slot->staged[io], t->data, rows);
    return copy_in(slot, io, slot->staged[io], rows, err);
}

// Does only the run know the size of this output?
static bool is_open_ended(const osp_slot *slot, int32_t io)
{
    const osp_gpu_session *g = slot->session->own.gpu;
    const osp_graph *v = &slot->session->engine->compiled.variants[slot->variant].graph;
    return io >= v->input_count && !g->program->can_capture(g->state, slot->variant) &&
           !osp_shape_known(&v->values[v->outputs[io - v->input_count]].shape);
}

static osp_status take_output(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_engine *engine = slot->session->engine;
    osp_gpu_slot *own = slot->own.gpu;
    size_t rows, bytes = osp_session_io_bytes(engine, slot->variant, io, slot->n, &rows);
    own->out[io] = (osp_out_copy){.dst = slot->staged[io]};
    own->io[io] = own->device[io];
    if (!t->data || is_open_ended(slot, io))
        return OSP_OK;
    OSP_TRY(osp_session_check_room(engine, t, io, rows, err));
    if (is_bound(slot, t, io) && fits_in_place(t, bytes)) {
        own->io[io] = t->data;
        own->out[io] = (osp_out_copy){.dst = t->data, .copied = true};
    } else if (t->place == OSP_PLACE_DEVICE ||
               (t->place == OSP_PLACE_PINNED && osp_tensor_is_dense(t))) {
        own->out[io].dst = t->data;
    }
    return OSP_OK;
}

// Real extents of an output of the slot's run, and its bytes.
static size_t output_bytes(const osp_slot *slot, int32_t io, osp_shape *extents)
{
    size_t rows = 0;
    const osp_engine *engine = slot->session->engine;
    osp_session_io_shape(engine, slot->variant, io, extents);
    if (!is_open_ended(slot, io)) {
        osp_session_io_bytes(engine, slot->variant, io, slot->n, &rows);
        return rows;
    }
    const osp_shape *told = slot->own.gpu->extents + io;
    if (told->rank < 0 || !osp_shape_bytes(told, osp_session_io_info(engine, io)->dtype, &rows) ||
        rows > slot->own.gpu->capacity[io])
        return 0;
    *extents = *told;
    return rows;
}

static osp_status copy_outputs(osp_slot *slot, bool all, osp_error *err)
{
    osp_session *s = slot->session;
    osp_gpu_session *g = s->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    for (int32_t io = s->engine->info.inputs; io < osp_session_io_count(s->engine); io++) {
        osp_out_copy *out = own->out + io;
        osp_shape extents;
        if (!out->dst && all)
            out->dst = slot->staged[io];
        if (!out->dst || out->copied)
            continue;
        const size_t bytes = output_bytes(slot, io, &extents);
        if (bytes)
            OSP_TRY(osp_gpu_copy(g->gpu, out->dst, own->io[io], bytes, g->copy_out, err));
        out->copied = true;
    }
    return OSP_OK;
}

static osp_status start_work(osp_slot *slot, bool all, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    OSP_TRY(osp_gpu_event_record(g->gpu, own->in_done, g->copy_in, err));
    OSP_TRY(osp_gpu_stream_after(g->gpu, g->compute, own->in_done, err));
    OSP_TRY(osp_gpu_event_record(g->gpu, own->run_start, g->compute, err));
    OSP_TRY(osp_session_gpu_compute(slot, err));
    OSP_TRY(osp_gpu_event_record(g->gpu, own->run_done, g->compute, err));
    OSP_TRY(osp_gpu_stream_after(g->gpu, g->copy_out, own->run_done, err));
    OSP_TRY(copy_outputs(slot, all, err));
    OSP_TRY(osp_gpu_event_record(g->gpu, own->done, g->copy_out, err));
    if (g->caller)
        OSP_TRY(osp_gpu_stream_after(g->gpu, g->caller, own->done, err));
    return OSP_OK;
}

static osp_status start(osp_slot *slot, bool all, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    const osp_status status = start_work(slot, all, err);
    if (status) {
        // What did start must not write into memory that is about to be used again.
        osp_error ignored;
        (void)osp_gpu_stream_wait(g->gpu, g->copy_in, -1, &ignored);
        (void)osp_gpu_stream_wait(g->gpu, g->compute, -1, &ignored);
        (void)osp_gpu_stream_wait(g->gpu, g->copy_out, -1, &ignored);
    }
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static void measure(osp_slot *slot)
{
    osp_gpu *gpu = slot->session->own.gpu->gpu;
    osp_gpu_slot *own = slot->own.gpu;
    double in = 0, out = 0;
    slot->infer_us = 0;
    (void)osp_gpu_event_elapsed(gpu, own->run_start, own->run_done, &slot->infer_us, NULL);
    (void)osp_gpu_event_elapsed(gpu, own->run_done, own->done, &out, NULL);
    if (own->copies_in)
        (void)osp_gpu_event_elapsed(gpu, own->in_start, own->in_done, &in, NULL);
    slot->copy_us = in + out;
}

static osp_status wait_gpu(osp_slot *slot, int64_t timeout_ms, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    const osp_status status = osp_gpu_event_wait(g->gpu, slot->own.gpu->done, timeout_ms, err);
    if (!status)
        measure(slot);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static bool done(osp_slot *slot)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_scope scope;
    osp_error ignored;
    if (osp_gpu_enter(g->gpu, &scope, &ignored))
        return true;  // wait will say what is wrong
    const osp_status status = osp_gpu_event_poll(g->gpu, slot->own.gpu->done, &ignored);
    osp_gpu_leave(g->gpu, &scope);
    return status != OSP_ERROR_BUSY;
}

// An output that was not named when the run started is fetched now.
static osp_status fetch(osp_slot *slot, void *dst, int32_t io, size_t bytes, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    osp_status status = OSP_OK;
    if (bytes)
        status = osp_gpu_copy(g->gpu, dst, slot->own.gpu->io[io], bytes, g->copy_out, err);
    if (!status)
        status = osp_gpu_stream_wait(g->gpu, g->copy_out, -1, err);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static osp_status give(osp_slot *slot, const osp_tensor *t, int32_t io, osp_shape *extents,
                       void **data, osp_error *err)
{
    osp_out_copy *out = slot->own.gpu->out + io;
    const size_t bytes = output_bytes(slot, io, extents);
    const bool device = t->data && t->place == OSP_PLACE_DEVICE;
    *data = NULL;
    if (t->data)
        OSP_TRY(osp_session_check_room(slot->session->engine, t, io, bytes, err));
    if (device && out->copied && out->dst == t->data)
        return OSP_OK;
    if (device)
        return fetch(slot, t->data, io, bytes, err);
    if (out->copied && t->data && out->dst == t->data) {
        *data = t->data;
        return OSP_OK;
    }
    if (!out->copied || out->dst != slot->staged[io])
        OSP_TRY(fetch(slot, slot->staged[io], io, bytes, err));
    *data = slot->staged[io];
    return OSP_OK;
}

const osp_session_ops osp_session_gpu = {
    .open = osp_session_gpu_open,
    .close = osp_session_gpu_close,
    .begin = begin,
    .put = put,
    .take_input = take_input,
    .take_output = take_output,
    .start = start,
    .wait = wait_gpu,
    .done = done,
    .give = give,
};
