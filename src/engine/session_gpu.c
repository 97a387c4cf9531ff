// GPU sessions: runs of an osp_gpu_program in flight, pipelined over three streams.
//
//     copy in    |in 1|in 2|in 3|
//     compute         |run 1 |run 2 |run 3 |
//     copy out                |out 1|out 2|out 3|
//
// Each slot has pinned host memory and device memory for every input and output, and events that
// join the streams; nothing waits but osp_session_wait. The work on the compute stream is captured
// into one graph for each slot and variant, addresses included, and captured anew when an address
// changes. A run allocates nothing. Data moves in session_moves.c.
#include <string.h>

#include "engine/session_gpu.h"

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
            !osp_size_align(bytes ? bytes : 1, OSP_IO_ALIGN, &bytes) ||
            !osp_size_add(*total, bytes, total))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "'%s' is too large for a session",
                     osp_session_io_info(s->engine, k)->name);
    }
    return OSP_OK;
}

static bool alloc_tables(osp_session *s, osp_slot *slot)
{
    const size_t n = (size_t)osp_session_io_count(s->engine);
    osp_gpu_slot *own = osp_arena_alloc(&s->arena, sizeof *own);
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
    osp_gpu_session *g = s->own.gpu;
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
            osp_gpu_slot *own = s->slots[i].own.gpu;
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
        osp_gpu_slot *own = s->slots[i].own.gpu;
        osp_gpu_event *const all[] = {&own->in_start, &own->in_done, &own->run_start,
                                      &own->run_done, &own->done};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            OSP_TRY(osp_gpu_event_open(gpu, all[k], true, err));
    }
    return osp_gpu_event_open(gpu, &s->own.gpu->caller_now, false, err);
}

// The first run of a variant may allocate and is slow; then each slot's graph is captured.
static osp_status warm_up(osp_session *s, osp_error *err)
{
    osp_gpu_session *g = s->own.gpu;
    for (int32_t v = 0; v < s->engine->compiled.variant_count; v++)
        for (int32_t i = 0; i < s->depth; i++) {
            osp_slot *slot = s->slots + i;
            slot->variant = v;
            slot->n = s->engine->compiled.variants[v].batch;
            if (i == 0) {
                OSP_TRY(osp_session_gpu_compute(slot, err));  // plain
                OSP_TRY(osp_gpu_stream_wait(g->gpu, g->compute, -1, err));
            }
            if (g->program->can_capture(g->state, v) && !g->refused && !s->profile)
                OSP_TRY(osp_session_gpu_compute(slot, err));
        }
    return osp_gpu_stream_wait(g->gpu, g->compute, -1, err);
}

static osp_status open_parts(osp_session *s, osp_error *err)
{
    osp_gpu_session *g = s->own.gpu;
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

osp_status osp_session_gpu_open(osp_session *s, const osp_session_options *options, osp_error *err)
{
    osp_gpu_session *g = osp_arena_alloc(&s->arena, sizeof *g);
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

void osp_session_gpu_close(osp_session *s)
{
    osp_gpu_session *g = s->own.gpu;
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
        osp_gpu_slot *own = s->slots[i].own.gpu;
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
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    const osp_session_hooks *h = &g->hooks;
    const osp_engine *engine = slot->session->engine;
    size_t rows;
    for (int32_t k = 0; k < osp_session_io_count(engine); k++)
        own->capacity[k] = osp_session_io_bytes(engine, slot->variant, k, slot->n, &rows);
    osp_head_maps maps = {.levels = 0};
    if (h->takes_maps && g->program->enqueue_maps)
        OSP_TRY(g->program->enqueue_maps(g->state, slot->variant, h->output, own->io, g->compute,
                                         &maps, err));
    else
        OSP_TRY(
            g->program->enqueue(g->state, slot->variant, own->io, own->capacity, g->compute, err));
    if (h->after)
        OSP_TRY(h->after(h->user, slot->index, slot->variant, maps.levels ? &maps : NULL,
                         g->compute, err));
    return OSP_OK;
}

// Records the run after a capture has begun, and ends it.
static osp_status record(osp_slot *slot, osp_captured *c, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_error ended;
    const osp_status status = run_plain(slot, err);
    // After failed work the capture is dropped, and its own error matters if the device is gone.
    const osp_status end = osp_gpu_capture_end(g->gpu, g->compute, status ? NULL : &c->graph,
                                               &ended);
    if (end == OSP_ERROR_DEVICE_LOST || (end && !status)) {
        if (err)
            *err = ended;
        return end;
    }
    // A library that cannot be captured says no more than SYSTEM.
    return status == OSP_ERROR_SYSTEM ? OSP_ERROR_UNSUPPORTED : status;
}

// UNSUPPORTED: the stream or something on it does not let itself be captured.
static osp_status capture(osp_slot *slot, osp_captured *c, osp_error *err)
{
    osp_gpu_session *g = slot->session->own.gpu;
    osp_gpu_slot *own = slot->own.gpu;
    const bool overlapped = osp_gpu_overlaps(g->gpu) && !slot->session->engine->whole;
    osp_gpu_graph_close(g->gpu, &c->graph);
    OSP_TRY(osp_gpu_capture_begin(g->gpu, g->compute, err));
    osp_status status = record(slot, c, err);
    if (overlapped && (status == OSP_ERROR_UNSUPPORTED || status == OSP_ERROR_SYSTEM)) {
        osp_gpu_overlap_end(g->gpu);  // a driver that runs such launches may not record them
        OSP_TRY(osp_gpu_capture_begin(g->gpu, g->compute, err));
        status = record(slot, c, err);
    }
    OSP_TRY(status);
    memcpy(c->io, own->io, (size_t)osp_session_io_count(slot->session->engine) * sizeof *c->io);
    return OSP_OK;
}

static bool has_graph(const osp_slot *slot)
{
    const osp_captured *c = slot->own.gpu->graphs + slot->variant;
    const size_t n = (size_t)osp_session_io_count(slot->session->engine);
    return c->graph && !memcmp(c->io, slot->own.gpu->io, n * sizeof *c->io);
}

// Runs without a graph where capture was refused, where the run's own size must be known, and the
// first time.
osp_status osp_session_gpu_compute(osp_slot *slot, osp_error *err)
{
    osp_session *s = slot->session;
    osp_gpu_session *g = s->own.gpu;
    const int32_t v = slot->variant;
    const bool capturable = g->program->can_capture(g->state, v);
    if (s->profile && g->program->profile && g->warm[v])
        return g->program->profile(g->state, v, slot->own.gpu->io, g->compute, s->step_us[v], err);
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
