// CPU sessions: every run is a job of the session's own worker, which leases threads of the runtime's
// budget. Inputs and outputs that are dense and whole are used in place, others go through memory of
// the slot.
#include <string.h>

#include "base/strided.h"
#include "engine/session.h"

typedef struct osp_cpu_slot {
    uint64_t job;
    void **io;          // by io: what the run reads and writes, staged or the caller's
    osp_status status;  // of the finished run
    osp_error error;
} cpu_slot;

typedef struct osp_cpu_session {
    void *memory;                             // activations and workspace of the largest variant
    osp_binding *bindings[OSP_MAX_VARIANTS];  // by variant
    osp_worker *worker;
    bool in_team;  // has joined the runtime's
} cpu_session;

// The worker's part.
static void run_slot(void *user)
{
    osp_slot *slot = user;
    osp_session *s = slot->session;
    cpu_slot *own = slot->own.cpu;
    osp_runtime *runtime = s->engine->runtime;
    int32_t threads = osp_thread_budget_take(&runtime->budget, runtime->threads);
    double start = osp_time_us();
    own->status = osp_binding_run(s->own.cpu->bindings[slot->variant], own->io,
                                  (osp_threads){threads, runtime->team},
                                  s->profile ? s->step_us[slot->variant] : NULL, &own->error);
    slot->infer_us = osp_time_us() - start;
    osp_thread_budget_give(&runtime->budget, threads);
}

static bool alloc_slot(osp_session *s, osp_slot *slot)
{
    const size_t n = (size_t)osp_session_io_count(s->engine);
    slot->own.cpu = osp_arena_alloc(&s->arena, sizeof *slot->own.cpu);
    void **io = osp_arena_array(&s->arena, n, sizeof *io);
    if (!slot->own.cpu || !io)
        return false;
    slot->own.cpu->io = io;
    for (size_t k = 0; k < n; k++) {
        size_t largest;
        if (!osp_session_io_largest(s->engine, (int32_t)k, &largest))
            return false;
        // Arena blocks are aligned to 16; kernels want whole cache lines.
        char *block = osp_arena_alloc(&s->arena, largest + 64);
        if (!block)
            return false;
        slot->staged[k] = block + (-(uintptr_t)block & 63);
    }
    return true;
}

static bool alloc_all(osp_session *s)
{
    osp_mem *mem = &s->engine->runtime->ctx.mem;
    s->own.cpu = osp_arena_alloc(&s->arena, sizeof *s->own.cpu);
    if (!s->own.cpu)
        return false;
    s->own.cpu->memory = osp_mem_alloc(mem, (size_t)s->engine->info.activation_bytes);
    bool ok = s->own.cpu->memory != NULL;
    for (int32_t i = 0; ok && i < s->depth; i++)
        ok = alloc_slot(s, s->slots + i);
    return ok;
}

static osp_status open_cpu(osp_session *s, const osp_session_options *options, osp_error *err)
{
    (void)options;
    const osp_compiled *c = &s->engine->compiled;
    if (!alloc_all(s))
        OSP_FAIL_MEMORY(err);
    for (int32_t v = 0; v < c->variant_count; v++)
        OSP_TRY(osp_variant_bind(&s->own.cpu->bindings[v], c, c->variants + v, s->own.cpu->memory,
                                 err));
    if (c->backend->set_threads) {
        OSP_TRY(osp_runtime_join_team(s->engine->runtime, err));
        s->own.cpu->in_team = true;
    }
    return osp_worker_open(&s->own.cpu->worker, &s->engine->runtime->ctx, s->depth, err);
}

static void close_cpu(osp_session *s)
{
    if (!s->own.cpu)
        return;
    osp_worker_close(&s->own.cpu->worker);
    if (s->own.cpu->in_team)
        osp_runtime_leave_team(s->engine->runtime);
    for (int32_t v = 0; v < s->engine->compiled.variant_count; v++)
        osp_binding_free(&s->own.cpu->bindings[v]);
    osp_mem_free(&s->engine->runtime->ctx.mem, s->own.cpu->memory);
}

static osp_status begin(osp_slot *slot, osp_error *err)
{
    (void)err;
    const osp_engine *engine = slot->session->engine;
    for (int32_t io = 0; io < osp_session_io_count(engine); io++)
        slot->own.cpu->io[io] = slot->staged[io];
    return OSP_OK;
}

// Points the slot's io at the caller's memory where that is dense and whole, else copies.
static osp_status take_input(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    (void)err;
    size_t rows;
    size_t bytes = osp_session_io_bytes(slot->session->engine, slot->variant, io, slot->n, &rows);
    if (rows == bytes && osp_tensor_is_dense(t) && ((uintptr_t)t->data & 15) == 0) {
        slot->own.cpu->io[io] = t->data;
        return OSP_OK;
    }
    slot->own.cpu->io[io] = slot->staged[io];
    if (osp_tensor_is_dense(t) && t->data != slot->staged[io])
        memcpy(slot->staged[io], t->data, rows);
    else if (!osp_tensor_is_dense(t))
        osp_strided_copy(slot->staged[io], t->data, osp_dtype_bytes(t->dtype), t->rank, t->dims,
                         t->byte_strides);
    memset(slot->staged[io] + rows, 0, bytes - rows);
    return OSP_OK;
}

static osp_status take_output(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_engine *engine = slot->session->engine;
    size_t rows, bytes = osp_session_io_bytes(engine, slot->variant, io, slot->n, &rows);
    if (!t->data)
        return OSP_OK;
    OSP_TRY(osp_session_check_room(engine, t, io, rows, err));
    if (rows == bytes && osp_tensor_is_dense(t) && ((uintptr_t)t->data & 15) == 0)
        slot->own.cpu->io[io] = t->data;
    return OSP_OK;
}

static osp_status start(osp_slot *slot, bool all, osp_error *err)
{
    (void)all;
    osp_session *s = slot->session;
    osp_error_clear(&slot->own.cpu->error);
    osp_job job = {.run = run_slot, .user = slot};
    if (osp_worker_submit(s->own.cpu->worker, &job))
        OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket", s->depth);
    slot->own.cpu->job = job.number;
    return OSP_OK;
}

static osp_status wait_cpu(osp_slot *slot, int64_t timeout_ms, osp_error *err)
{
    if (!osp_worker_wait(slot->session->own.cpu->worker, slot->own.cpu->job, timeout_ms))
        return OSP_ERROR_TIMEOUT;
    if (slot->own.cpu->status && err)
        *err = slot->own.cpu->error;
    return slot->own.cpu->status;
}

static bool done(osp_slot *slot)
{
    return osp_worker_done(slot->session->own.cpu->worker, slot->own.cpu->job);
}

static osp_status give(osp_slot *slot, const osp_tensor *t, int32_t io, osp_shape *extents,
                       void **data, osp_error *err)
{
    (void)t;
    (void)err;
    osp_session_io_shape(slot->session->engine, slot->variant, io, extents);
    *data = slot->own.cpu->io[io];
    return OSP_OK;
}

const osp_session_ops osp_session_cpu = {
    .open = open_cpu,
    .close = close_cpu,
    .begin = begin,
    .take_input = take_input,
    .take_output = take_output,
    .start = start,
    .wait = wait_cpu,
    .done = done,
    .give = give,
};
