// GPU sessions: runs of an osp_gpu_program in flight, pipelined over three streams.
//
//     copy in    |in 1|in 2|in 3|
//     compute         |run 1 |run 2 |run 3 |
//     copy out                |out 1|out 2|out 3|
//
// Each slot has pinned host memory and device memory for every input and output, and events that
// join the streams; nothing waits but osp_session_wait. The work on the compute stream is captured
// into one graph for each slot and variant, addresses included, and captured anew when an address
// changes. A run allocates nothing.
#include <string.h>

#include "base/strided.h"
#include "engine/session.h"

enum { IO_ALIGN = 256 };

// Where an output goes when the run has ended.
typedef struct out_copy {
    void *dst;    // NULL: nowhere, unless it is asked for
    bool copied;  // enqueued: `dst` has it once the slot is done
} out_copy;

typedef struct captured {
    osp_gpu_graph graph;
    void **io;  // the addresses in it
} captured;

typedef struct osp_gpu_slot {
    void **device;       // by io: the slot's own memory
    void **io;           // by io: what this run reads and writes
    size_t *capacity;    // by io: bytes that the variant may use of it
    out_copy *out;       // by io
    osp_shape *extents;  // by io: of outputs whose size only the run knew
    captured graphs[OSP_MAX_VARIANTS];
    osp_gpu_event in_start, in_done, run_start, run_done, done;
    bool copies_in;
} gpu_slot;

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
} gpu_session;

// ---- Opening and closing ------------------------------------------------------------------------

// Where each slot's inputs and outputs lie in one block; the sum of all.
static osp_status lay_out(osp_session *s, size_t *offsets, size_t *total, osp_error *err)
{
    const int32_t n = osp_session_io_count(s->engine);
    *total = 0;
    for (int32_t k = 0; k < n; k++) {
        size_t bytes;
        offsets[k] = *total;
        if (!osp_session_io_largest(s->engine, k, &bytes) ||
            !osp_size_align(bytes ? bytes : 1, IO_ALIGN, &bytes) ||
            !osp_size_add(*total, bytes, total))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "'%s' is too large for a session",
                     osp_session_io_info(s->engine, k)->name);
    }
    return OSP_OK;
}

static bool alloc_tables(osp_session *s, osp_slot *slot)
{
    const size_t n = (size_t)osp_session_io_count(s->engine);
    gpu_slot *own = osp_arena_alloc(&s->arena, sizeof *own);
    slot->own.gpu = own;
    if (!own)
        return false;
    own->device = osp_arena_array(&s->arena, n, sizeof *own->device);
    own->io = osp_arena_array(&s->arena, n, sizeof *own->io);
    own->capacity = osp_arena_array(&s->arena, n, sizeof *own->capacity);
    own->out = osp_arena_array(&s->arena, n, sizeof *own->out);
    own->extents = osp_arena_array(&s->arena, n, sizeof *own->extents);
    bool ok = own->device && own->io && own->capacity && own->out && own->extents;
    for (int32_t v = 0; v < s->engine->compiled.variant_count; v++) {
        own->graphs[v].io = osp_arena_array(&s->arena, n, sizeof *own->graphs[v].io);
        ok = ok && own->graphs[v].io;
    }
    return ok;
}

// All slots' memory: one block on the device, zeroed, and one pinned.
static osp_status alloc_memory(osp_session *s, osp_error *err)
{
    gpu_session *g = s->own.gpu;
    const int32_t n = osp_session_io_count(s->engine);
    size_t *offsets = osp_arena_array(&s->arena, (size_t)n, sizeof *offsets), bytes, total;
    if (!offsets)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(lay_out(s, offsets, &bytes, err));
    if (!osp_size_mul(bytes, (size_t)s->depth, &total))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%d slots are too large for a session", s->depth);
    OSP_TRY(osp_gpu_alloc(g->gpu, &g->device_block, total, err));
    OSP_TRY(osp_gpu_host_alloc(g->gpu, &g->host_block, total, err));
    OSP_TRY(osp_gpu_fill(g->gpu, g->device_block, 0, total, g->compute, err));
    memset(g->host_block, 0, total);
    for (int32_t i = 0; i < s->depth; i++)
        for (int32_t k = 0; k < n; k++) {
            gpu_slot *own = s->slots[i].own.gpu;
            const size_t at = (size_t)i * bytes + offsets[k];
            own->device[k] = own->io[k] = (char *)g->device_block + at;
            s->slots[i].staged[k] = (char *)g->host_block + at;
        }
    return OSP_OK;
}

static osp_status open_events(osp_session *s, osp_error *err)
{
    osp_gpu *gpu = s->own.gpu->gpu;
    for (int32_t i = 0; i < s->depth; i++) {
        gpu_slot *own = s->slots[i].own.gpu;
        osp_gpu_event *const all[] = {&own->in_start, &own->in_done, &own->run_start,
                                      &own->run_done, &own->done};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            OSP_TRY(osp_gpu_event_open(gpu, all[k], true, err));
    }
    return osp_gpu_event_open(gpu, &s->own.gpu->caller_now, false, err);
}

static osp_status compute(osp_slot *slot, osp_error *err);

// The first run of a variant may allocate and is slow; then each slot's graph is captured.
static osp_status warm_up(osp_session *s, osp_error *err)
{
    gpu_session *g = s->own.gpu;
    for (int32_t v = 0; v < s->engine->compiled.variant_count; v++)
        for (int32_t i = 0; i < s->depth; i++) {
            osp_slot *slot = s->slots + i;
            slot->variant = v;
            slot->n = s->engine->compiled.variants[v].batch;
            if (i == 0) {
                OSP_TRY(compute(slot, err));  // plain
                OSP_TRY(osp_gpu_stream_wait(g->gpu, g->compute, -1, err));
            }
            if (g->program->can_capture(g->state, v) && !g->refused)
                OSP_TRY(compute(slot, err));
        }
    return osp_gpu_stream_wait(g->gpu, g->compute, -1, err);
}

static osp_status open_parts(osp_session *s, osp_error *err)
{
    gpu_session *g = s->own.gpu;
    const osp_engine *engine = s->engine;
    OSP_TRY(osp_gpu_stream_open(g->gpu, &g->copy_in, err));
    OSP_TRY(osp_gpu_stream_open(g->gpu, &g->compute, err));
    OSP_TRY(osp_gpu_stream_open(g->gpu, &g->copy_out, err));
    OSP_TRY(open_events(s, err));
    OSP_TRY(alloc_memory(s, err));
    OSP_TRY(g->program->open(&g->state, g->gpu,
                             engine->whole ? engine->whole : (const void *)&engine->compiled, err));
    return warm_up(s, err);
}

static osp_status open_gpu(osp_session *s, const osp_session_options *options, osp_error *err)
{
    gpu_session *g = osp_arena_alloc(&s->arena, sizeof *g);
    bool ok = g != NULL;
    for (int32_t i = 0; ok && i < s->depth; i++)
        ok = alloc_tables(s, s->slots + i);
    if (!ok)
        OSP_FAIL_MEMORY(err);
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_get(&s->engine->runtime->ctx, s->engine->info.device, &g->gpu, err));
    g->program = s->engine->compiled.backend->program;
    g->caller = options->stream;
    OSP_TRY(osp_gpu_enter(g->gpu, &scope, err));
    s->own.gpu = g;  // from here on close has something to do
    const osp_status status = open_parts(s, err);
    osp_gpu_leave(g->gpu, &scope);
    return status;
}

static void drop_graphs(osp_session *s)
{
    for (int32_t i = 0; i < s->depth; i++)
        for (int32_t v = 0; v < OSP_MAX_VARIANTS; v++)
            osp_gpu_graph_close(s->own.gpu->gpu, &s->slots[i].own.gpu->graphs[v].graph);
}

static void close_gpu(osp_session *s)
{
    gpu_session *g = s->own.gpu;
    osp_gpu_scope scope;
    osp_error ignored;
    if (!g)
        return;
    const bool inside = osp_gpu_enter(g->gpu, &scope, &ignored) == OSP_OK;
    osp_gpu_stream *const streams[] = {&g->copy_in, &g->compute, &g->copy_out};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (*streams[i])
            (void)osp_gpu_stream_wait(g->gpu, *streams[i], -1, &ignored);
    drop_graphs(s);
    for (int32_t i = 0; i < s->depth; i++) {
        gpu_slot *own = s->slots[i].own.gpu;
        osp_gpu_event *const all[] = {&own->in_start, &own->in_done, &own->run_start,
                                      &own->run_done, &own->done};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            osp_gpu_event_close(g->gpu, all[k]);
    }
    osp_gpu_event_close(g->gpu, &g->caller_now);
    if (g->state)
        g->program->close(g->state);
    osp_gpu_free(g->gpu, g->device_block);
    osp_gpu_host_free(g->gpu, g->host_block);
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        osp_gpu_stream_close(g->gpu, streams[i]);
    if (inside)
        osp_gpu_leave(g->gpu, &scope);
}

// ---- The compute stream -------------------------------------------------------------------------

static osp_status run_plain(osp_slot *slot, osp_error *err)
{
    gpu_session *g = slot->session->own.gpu;
    gpu_slot *own = slot->own.gpu;
    const osp_session_hooks *h = &g->hooks;
    const osp_engine *engine = slot->session->engine;
    size_t rows;
    for (int32_t k = 0; k < osp_session_io_count(engine); k++)
        own->capacity[k] = osp_session_io_bytes(engine, slot->variant, k, slot->n, &rows);
    OSP_TRY(g->program->enqueue(g->state, slot->variant, own->io, own->capacity, g->compute, err));
    if (h->after)
        OSP_TRY(h->after(h->user, slot->index, slot->variant, g->compute, err));
    return OSP_OK;
}

// UNSUPPORTED: the stream or something on it does not let itself be captured.
static osp_status capture(osp_slot *slot, captured *c, osp_error *err)
{
    gpu_session *g = slot->session->own.gpu;
    gpu_slot *own = slot->own.gpu;
    osp_error ended;
    osp_gpu_graph_close(g->gpu, &c->graph);
    OSP_TRY(osp_gpu_capture_begin(g->gpu, g->compute, err));
    const osp_status status = run_plain(slot, err);
    // After failed work the capture is dropped, and its own error matters if the device is gone.
    const osp_status end = osp_gpu_capture_end(g->gpu, g->compute, status ? NULL : &c->graph,
                                               &ended);
    if (end == OSP_ERROR_DEVICE_LOST || (end && !status)) {
        if (err)
            *err = ended;
        return end;
    }
    if (status == OSP_ERROR_SYSTEM)  // a library that cannot be captured says no more than that
        return OSP_ERROR_UNSUPPORTED;
    OSP_TRY(status);
    memcpy(c->io, own->io, (size_t)osp_session_io_count(slot->session->engine) * sizeof *c->io);
    return OSP_OK;
}

static bool has_graph(const osp_slot *slot)
{
    const captured *c = slot->own.gpu->graphs + slot->variant;
    const size_t n = (size_t)osp_session_io_count(slot->session->engine);
    return c->graph && !memcmp(c->io, slot->own.gpu->io, n * sizeof *c->io);
}

// Runs without a graph where capture was refused, where the run's own size must be known, and the
// first time.
static osp_status compute(osp_slot *slot, osp_error *err)
{
    osp_session *s = slot->session;
    gpu_session *g = s->own.gpu;
    const int32_t v = slot->variant;
    const bool capturable = g->program->can_capture(g->state, v);
    if (capturable && g->warm[v] && !g->refused && !has_graph(slot)) {
        osp_error why;
        const osp_status status = capture(slot, slot->own.gpu->graphs + v, &why);
        if (status == OSP_ERROR_UNSUPPORTED) {
            g->refused = true;
            osp_log(&s->engine->runtime->ctx, OSP_LOG_INFO,
                    "the engine runs without a CUDA graph, which costs time: %s", why.text);
        } else if (status) {
            if (err)
                *err = why;
            return status;
        }
    }
    if (has_graph(slot))
        return osp_gpu_graph_launch(g->gpu, slot->own.gpu->graphs[v].graph, g->compute, err);
    OSP_TRY(run_plain(slot, err));
    g->warm[v] = true;
    for (int32_t i = 0; !capturable && i < s->engine->info.outputs; i++)
        g->program->extents(g->state, v, i, slot->own.gpu->extents + s->engine->info.inputs + i);
    return OSP_OK;
}

// ---- Moving data --------------------------------------------------------------------------------

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
    return t->place == OSP_PLACE_DEVICE && (uintptr_t)t->data % IO_ALIGN == 0 &&
           osp_shape_bytes(&shape, t->dtype, &capacity) && capacity >= bytes;
}

static osp_status begin(osp_slot *slot, osp_error *err)
{
    osp_session *s = slot->session;
    gpu_session *g = s->own.gpu;
    gpu_slot *own = slot->own.gpu;
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
    gpu_session *g = slot->session->own.gpu;
    gpu_slot *own = slot->own.gpu;
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
    gpu_session *g = slot->session->own.gpu;
    gpu_slot *own = slot->own.gpu;
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
    const gpu_session *g = slot->session->own.gpu;
    const osp_graph *v = &slot->session->engine->compiled.variants[slot->variant].graph;
    return io >= v->input_count && !g->program->can_capture(g->state, slot->variant) &&
           !osp_shape_known(&v->values[v->outputs[io - v->input_count]].shape);
}

static osp_status take_output(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_engine *engine = slot->session->engine;
    gpu_slot *own = slot->own.gpu;
    size_t rows, bytes = osp_session_io_bytes(engine, slot->variant, io, slot->n, &rows);
    own->out[io] = (out_copy){.dst = slot->staged[io]};
    own->io[io] = own->device[io];
    if (!t->data || is_open_ended(slot, io))
        return OSP_OK;
    OSP_TRY(osp_session_check_room(engine, t, io, rows, err));
    if (is_bound(slot, t, io) && fits_in_place(t, bytes)) {
        own->io[io] = t->data;
        own->out[io] = (out_copy){.dst = t->data, .copied = true};
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
    gpu_session *g = s->own.gpu;
    gpu_slot *own = slot->own.gpu;
    for (int32_t io = s->engine->info.inputs; io < osp_session_io_count(s->engine); io++) {
        out_copy *out = own->out + io;
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
    gpu_session *g = slot->session->own.gpu;
    gpu_slot *own = slot->own.gpu;
    OSP_TRY(osp_gpu_event_record(g->gpu, own->in_done, g->copy_in, err));
    OSP_TRY(osp_gpu_stream_after(g->gpu, g->compute, own->in_done, err));
    OSP_TRY(osp_gpu_event_record(g->gpu, own->run_start, g->compute, err));
    OSP_TRY(compute(slot, err));
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
    gpu_session *g = slot->session->own.gpu;
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
    gpu_slot *own = slot->own.gpu;
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
    gpu_session *g = slot->session->own.gpu;
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
    gpu_session *g = slot->session->own.gpu;
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
    gpu_session *g = slot->session->own.gpu;
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
    out_copy *out = slot->own.gpu->out + io;
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
    .open = open_gpu,
    .close = close_gpu,
    .begin = begin,
    .put = put,
    .take_input = take_input,
    .take_output = take_output,
    .start = start,
    .wait = wait_gpu,
    .done = done,
    .give = give,
};

// ---- For pixels and boxes on the GPU ------------------------------------------------------------

bool osp_session_on_gpu(const osp_session *s)
{
    return s->ops == &osp_session_gpu;
}

osp_gpu *osp_session_device(const osp_session *s)
{
    return s->own.gpu->gpu;
}

void *osp_session_device_input(const osp_session *s, int32_t slot, int32_t i)
{
    return s->slots[slot].own.gpu->device[i];
}

void *osp_session_device_output(const osp_session *s, int32_t slot, int32_t i)
{
    return s->slots[slot].own.gpu->device[s->engine->info.inputs + i];
}

void osp_session_set_hooks(osp_session *s, const osp_session_hooks *hooks)
{
    static const osp_session_hooks none;
    osp_gpu_scope scope;
    osp_error ignored;
    s->own.gpu->hooks = hooks ? *hooks : none;
    if (osp_gpu_enter(s->own.gpu->gpu, &scope, &ignored))
        return;
    drop_graphs(s);
    osp_gpu_leave(s->own.gpu->gpu, &scope);
}
