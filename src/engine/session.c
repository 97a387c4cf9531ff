// Sessions: matching the caller's tensors with the engine's, slots, tickets.
#include "engine/session.h"

#include <string.h>

#include "base/strided.h"

static int32_t io_count(const osp_engine *engine)
{
    return engine->info.inputs + engine->info.outputs;
}

static const osp_value *io_value(const osp_variant *v, int32_t io)
{
    const osp_graph *g = &v->graph;
    return g->values + (io < g->input_count ? g->inputs[io] : g->outputs[io - g->input_count]);
}

static const osp_tensor_info *io_info(const osp_engine *engine, int32_t io)
{
    return io < engine->info.inputs ? engine->inputs + io
                                    : engine->outputs + (io - engine->info.inputs);
}

static bool io_batched(const osp_engine *engine, int32_t io)
{
    const osp_tensor_info *info = io_info(engine, io);
    return info->rank > 0 && info->dims[0] == -1;
}

// The worker's part.
static void run_slot(void *user)
{
    osp_slot *slot = user;
    osp_session *s = slot->session;
    osp_runtime *runtime = s->engine->runtime;
    int32_t threads = osp_thread_budget_take(&runtime->budget, runtime->threads);
    double start = osp_time_us();
    slot->status = osp_binding_run(s->bindings[slot->variant], slot->io,
                                   (osp_threads){threads, runtime->team},
                                   s->profile ? s->step_us[slot->variant] : NULL, &slot->error);
    slot->infer_us = osp_time_us() - start;
    osp_thread_budget_give(&runtime->budget, threads);
}

static bool alloc_slots(osp_session *s)
{
    const osp_engine *engine = s->engine;
    const osp_compiled *c = &engine->compiled;
    size_t n = (size_t)io_count(engine);
    s->slots = osp_arena_array(&s->arena, (size_t)s->depth, sizeof *s->slots);
    s->bound = osp_arena_array(&s->arena, n, sizeof *s->bound);
    for (int32_t i = 0; s->slots && i < s->depth; i++) {
        osp_slot *slot = s->slots + i;
        slot->session = s;
        slot->staged = osp_arena_array(&s->arena, n, sizeof *slot->staged);
        slot->io = osp_arena_array(&s->arena, n, sizeof *slot->io);
        for (size_t k = 0; slot->staged && k < n; k++) {
            size_t largest = 0, bytes;
            for (int32_t v = 0; v < c->variant_count; v++) {
                const osp_value *value = io_value(c->variants + v, (int32_t)k);
                if (!osp_shape_bytes(&value->shape, value->dtype, &bytes))
                    return false;
                largest = bytes > largest ? bytes : largest;
            }
            // Arena blocks are aligned to 16; kernels want whole cache lines.
            char *block = osp_arena_alloc(&s->arena, largest + 64);
            if (!block)
                return false;
            slot->staged[k] = block + (-(uintptr_t)block & 63);
        }
        if (!slot->staged || !slot->io)
            return false;
    }
    for (int32_t v = 0; s->profile && v < c->variant_count; v++) {
        s->step_us[v] = osp_arena_array(&s->arena, (size_t)c->variants[v].step_count,
                                        sizeof *s->step_us[v]);
        if (!s->step_us[v])
            return false;
    }
    return s->slots && s->bound;
}

static osp_status check_options(const osp_session_options *o, osp_error *err)
{
    if (o->depth < 0 || o->depth > OSP_MAX_DEPTH)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "depth %d: use 0 (choose) to %d", o->depth,
                 OSP_MAX_DEPTH);
    if (o->stream)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "a CUDA stream was given, but the engine is for the CPU");
    for (size_t i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; i++)
        if (o->reserved[i])
            OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                     "osp_session_options.reserved is not zero: zero the struct");
    return OSP_OK;
}

osp_status osp_session_open(osp_session **out, osp_engine *engine,
                            const osp_session_options *options, osp_error *err)
{
    static const osp_session_options none;
    osp_error_clear(err);
    if (!out || !engine)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_session_open: an argument is NULL");
    *out = NULL;
    if (!options)
        options = &none;
    OSP_TRY(check_options(options, err));
    osp_context *ctx = &engine->runtime->ctx;
    if (engine->info.activation_bytes > ctx->limits.memory_bytes)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 "a session needs %llu bytes of activations: raise "
                 "osp_limits.memory_bytes, or take a smaller size",
                 (unsigned long long)engine->info.activation_bytes);
    osp_session *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    s->engine = osp_engine_retain(engine);
    s->depth = options->depth ? options->depth : 2;
    s->profile = options->profile == OSP_ON;
    s->next_ticket = 1;
    osp_arena_init(&s->arena, &ctx->mem);
    s->memory = osp_mem_alloc(&ctx->mem, (size_t)engine->info.activation_bytes);
    osp_status status = OSP_OK;
    if (!s->memory || !alloc_slots(s))
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    const osp_compiled *c = &engine->compiled;
    for (int32_t v = 0; !status && v < c->variant_count; v++)
        status = osp_variant_bind(&s->bindings[v], c, c->variants + v, s->memory, err);
    if (!status && c->backend->set_threads) {
        status = osp_runtime_join_team(engine->runtime, err);
        s->in_team = !status;
    }
    if (!status)
        status = osp_worker_open(&s->worker, ctx, s->depth, err);
    if (status) {
        osp_session_close(&s);
        return status;
    }
    *out = s;
    return OSP_OK;
}

void osp_session_close(osp_session **session)
{
    if (!session || !*session)
        return;
    osp_session *s = *session;
    *session = NULL;
    osp_worker_close(&s->worker);
    if (s->in_team)
        osp_runtime_leave_team(s->engine->runtime);
    osp_mem *mem = &s->engine->runtime->ctx.mem;
    for (int32_t v = 0; v < s->engine->compiled.variant_count; v++)
        osp_binding_free(&s->bindings[v]);
    osp_arena_free(&s->arena);
    osp_mem_free(mem, s->memory);
    osp_engine_close(&s->engine);
    osp_mem_free(mem, s);
}

// ---- Matching the caller's tensors --------------------------------------------------------------

// The index among the engine's inputs or outputs that tensor `position` of a list means, or -1.
static int32_t find_io(const osp_engine *engine, bool outputs, const osp_tensor *t,
                       int32_t position)
{
    int32_t count = outputs ? engine->info.outputs : engine->info.inputs;
    int32_t first = outputs ? engine->info.inputs : 0;
    if (!t->name)
        return position < count ? first + position : -1;
    for (int32_t i = 0; i < count; i++)
        if (!strcmp(io_info(engine, first + i)->name, t->name))
            return first + i;
    return -1;
}

static osp_status check_tensor(const osp_engine *engine, const osp_tensor *t, int32_t io,
                               bool output, osp_error *err)
{
    const char *what = output ? "output" : "input";
    if (io < 0)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s': the engine has no such %s", what,
                 t->name ? t->name : "(by position)", what);
    const osp_tensor_info *info = io_info(engine, io);
    if (t->place == OSP_PLACE_DEVICE)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' lies on a device, but the engine is for the CPU",
                 what, info->name);
    if (output && !t->data)
        return OSP_OK;
    if (t->dtype != info->dtype)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' is %s, the engine has %s", what, info->name,
                 osp_dtype_name(t->dtype), osp_dtype_name(info->dtype));
    if (t->rank < 0 || t->rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' has rank %d: use 0 to 8", what, info->name,
                 t->rank);
    return OSP_OK;
}

static osp_status check_input_shape(const osp_engine *engine, const osp_tensor *t, int32_t io,
                                    int32_t *n, osp_error *err)
{
    const osp_tensor_info *info = io_info(engine, io);
    bool fits = t->rank == info->rank;
    for (int32_t d = 0; fits && d < t->rank; d++)
        fits = info->dims[d] == -1 ? t->dims[d] >= 1 && t->dims[d] <= engine->info.batch_max &&
                                         (!*n || t->dims[d] == *n)
                                   : t->dims[d] == info->dims[d];
    if (!fits) {
        char have[128], want[128];
        osp_shape a = {.rank = t->rank}, b = {.rank = info->rank};
        memcpy(a.dims, t->dims, sizeof a.dims);
        memcpy(b.dims, info->dims, sizeof b.dims);
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "input '%s' is %s, the engine takes %s%s: build the engine for that size",
                 info->name, osp_shape_text(&a, have, sizeof have),
                 osp_shape_text(&b, want, sizeof want),
                 engine->facts.batch_free ? " (? is the batch, the same for all inputs)" : "");
    }
    if (io_batched(engine, io))
        *n = (int32_t)t->dims[0];
    size_t bytes;
    osp_shape shape = {.rank = t->rank};
    memcpy(shape.dims, t->dims, sizeof shape.dims);
    if (osp_shape_bytes(&shape, t->dtype, &bytes) && bytes && !t->data)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "input '%s' has no data", info->name);
    return OSP_OK;
}

static int32_t choose_variant(const osp_engine *engine, int32_t n)
{
    int32_t v = 0;
    while (engine->facts.batch_free && engine->compiled.variants[v].batch < n)
        v++;
    return v;
}

// Bytes of one io in a variant, and of its first n rows.
static size_t io_bytes(const osp_engine *engine, const osp_variant *v, int32_t io, int32_t n,
                       size_t *rows_bytes)
{
    size_t bytes = 0;
    const osp_value *value = io_value(v, io);
    osp_shape_bytes(&value->shape, value->dtype, &bytes);
    *rows_bytes = io_batched(engine, io) ? bytes / (size_t)v->batch * (size_t)n : bytes;
    return bytes;
}

// Points the slot's io at the caller's memory where that is dense and whole, else copies.
static void take_input(osp_slot *slot, const osp_tensor *t, int32_t io)
{
    const osp_engine *engine = slot->session->engine;
    const osp_variant *v = engine->compiled.variants + slot->variant;
    size_t rows, bytes = io_bytes(engine, v, io, slot->n, &rows);
    if (rows == bytes && osp_tensor_is_dense(t) && ((uintptr_t)t->data & 15) == 0) {
        slot->io[io] = t->data;
        return;
    }
    slot->io[io] = slot->staged[io];
    if (osp_tensor_is_dense(t) && t->data != slot->staged[io])
        memcpy(slot->staged[io], t->data, rows);
    else if (!osp_tensor_is_dense(t))
        osp_strided_copy(slot->staged[io], t->data, osp_dtype_bytes(t->dtype), t->rank, t->dims,
                         t->byte_strides);
    memset(slot->staged[io] + rows, 0, bytes - rows);
}

static osp_status take_output(osp_slot *slot, const osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_engine *engine = slot->session->engine;
    const osp_variant *v = engine->compiled.variants + slot->variant;
    size_t rows, bytes = io_bytes(engine, v, io, slot->n, &rows), capacity = 0;
    osp_shape shape = {.rank = t->rank};
    memcpy(shape.dims, t->dims, sizeof shape.dims);
    if (!osp_shape_bytes(&shape, t->dtype, &capacity) || capacity < rows)
        OSP_FAIL(err, OSP_ERROR_OVERFLOW, "output '%s' needs %zu bytes, its buffer has %zu",
                 io_info(engine, io)->name, rows, capacity);
    if (rows == bytes && osp_tensor_is_dense(t) && ((uintptr_t)t->data & 15) == 0)
        slot->io[io] = t->data;
    return OSP_OK;
}

static osp_status take_inputs(osp_slot *slot, const osp_tensor *inputs, int32_t count,
                              osp_error *err)
{
    osp_session *s = slot->session;
    const osp_engine *engine = s->engine;
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t io = find_io(engine, false, inputs + i, i);
        OSP_TRY(check_tensor(engine, inputs + i, io, false, err));
        OSP_TRY(check_input_shape(engine, inputs + i, io, &n, err));
        slot->io[io] = inputs[i].data ? inputs[i].data : slot->staged[io];
    }
    for (int32_t io = 0; io < engine->info.inputs; io++) {
        if (slot->io[io])
            continue;
        if (!s->bound[io].data)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "input '%s' is missing: give or bind it",
                     io_info(engine, io)->name);
        OSP_TRY(check_input_shape(engine, s->bound + io, io, &n, err));
    }
    slot->n = n ? n : engine->compiled.variants[0].batch;
    slot->variant = choose_variant(engine, slot->n);
    for (int32_t io = 0; io < engine->info.inputs; io++)
        if (s->bound[io].data)
            take_input(slot, s->bound + io, io);
    for (int32_t i = 0; i < count; i++)
        take_input(slot, inputs + i, find_io(engine, false, inputs + i, i));
    return OSP_OK;
}

static osp_status take_outputs(osp_slot *slot, const osp_tensor *outputs, int32_t count,
                               osp_error *err)
{
    osp_session *s = slot->session;
    for (int32_t io = s->engine->info.inputs; io < io_count(s->engine); io++) {
        slot->io[io] = slot->staged[io];
        if (s->bound[io].data)
            OSP_TRY(take_output(slot, s->bound + io, io, err));
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t io = find_io(s->engine, true, outputs + i, i);
        OSP_TRY(check_tensor(s->engine, outputs + i, io, true, err));
        if (outputs[i].data)
            OSP_TRY(take_output(slot, outputs + i, io, err));
    }
    return OSP_OK;
}

// ---- Tickets ------------------------------------------------------------------------------------

static osp_slot *next_slot(osp_session *s)
{
    osp_slot *slot = s->slots + (s->next_ticket - 1) % (uint64_t)s->depth;
    return slot->taken ? NULL : slot;
}

void *osp_session_input_memory(osp_session *session, int32_t i)
{
    osp_slot *slot = next_slot(session);
    return slot ? slot->staged[i] : NULL;
}

osp_status osp_session_enqueue(osp_session *s, const osp_tensor *inputs, int32_t input_count,
                               const osp_tensor *outputs, int32_t output_count, osp_ticket *ticket,
                               osp_error *err)
{
    osp_error_clear(err);
    if (!s || !ticket || input_count < 0 || output_count < 0 || (input_count && !inputs) ||
        (output_count && !outputs))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_session_enqueue: an argument is NULL or negative");
    *ticket = 0;
    osp_slot *slot = next_slot(s);
    if (!slot)
        OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket", s->depth);
    memset(slot->io, 0, (size_t)io_count(s->engine) * sizeof *slot->io);
    OSP_TRY(take_inputs(slot, inputs, input_count, err));
    OSP_TRY(take_outputs(slot, outputs, output_count, err));
    osp_error_clear(&slot->error);
    osp_job job = {.run = run_slot, .user = slot};
    if (osp_worker_submit(s->worker, &job))
        OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket", s->depth);
    slot->job = job.number;
    slot->ticket = *ticket = s->next_ticket++;
    slot->taken = true;
    return OSP_OK;
}

static osp_slot *slot_of(osp_session *s, osp_ticket ticket)
{
    if (!ticket)
        return NULL;
    osp_slot *slot = s->slots + (ticket - 1) % (uint64_t)s->depth;
    return slot->taken && slot->ticket == ticket ? slot : NULL;
}

// Hands output `io` of a finished slot to the caller's tensor.
static osp_status give_output(const osp_slot *slot, osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_engine *engine = slot->session->engine;
    const osp_variant *v = engine->compiled.variants + slot->variant;
    const osp_value *value = io_value(v, io);
    osp_tensor result = {
        .name = t->name, .dtype = value->dtype, .rank = value->shape.rank, .data = slot->io[io]};
    memcpy(result.dims, value->shape.dims, sizeof result.dims);
    if (io_batched(engine, io))
        result.dims[0] = slot->n;
    if (!t->data || t->data == slot->io[io]) {
        *t = result;
        return OSP_OK;
    }
    size_t rows, capacity = 0;
    io_bytes(engine, v, io, slot->n, &rows);
    osp_shape shape = {.rank = t->rank};
    memcpy(shape.dims, t->dims, sizeof shape.dims);
    if (!osp_shape_bytes(&shape, t->dtype, &capacity) || capacity < rows)
        OSP_FAIL(err, OSP_ERROR_OVERFLOW, "output '%s' needs %zu bytes, its buffer has %zu",
                 io_info(engine, io)->name, rows, capacity);
    void *data = t->data;
    int64_t strides[OSP_MAX_RANK];
    memcpy(strides, t->byte_strides, sizeof strides);
    *t = result;
    t->data = data;
    memcpy(t->byte_strides, strides, sizeof strides);
    if (osp_tensor_is_dense(t))
        memcpy(t->data, slot->io[io], rows);
    else
        osp_strided_scatter(t->data, slot->io[io], osp_dtype_bytes(t->dtype), t->rank, t->dims,
                            t->byte_strides);
    return OSP_OK;
}

static osp_status finish(osp_slot *slot, osp_tensor *outputs, int32_t count, osp_error *err)
{
    osp_session *s = slot->session;
    slot->taken = false;
    if (slot->status) {
        if (err)
            *err = slot->error;
        return slot->status;
    }
    if (s->profile)
        s->profiled_runs[slot->variant]++;
    s->stats = (osp_run_stats){.infer_us = slot->infer_us, .variant = slot->variant, .n = slot->n};
    for (int32_t i = 0; i < count; i++) {
        int32_t io = find_io(s->engine, true, outputs + i, i);
        OSP_TRY(check_tensor(s->engine, outputs + i, io, true, err));
        OSP_TRY(give_output(slot, outputs + i, io, err));
    }
    return OSP_OK;
}

osp_status osp_session_wait(osp_session *s, osp_ticket ticket, int64_t timeout_ms,
                            osp_tensor *outputs, int32_t output_count, osp_error *err)
{
    osp_error_clear(err);
    osp_slot *slot = s ? slot_of(s, ticket) : NULL;
    if (!slot || output_count < 0 || (output_count && !outputs))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_session_wait: no such ticket, or outputs is NULL");
    if (!osp_worker_wait(s->worker, slot->job, timeout_ms))
        OSP_FAIL(err, OSP_ERROR_TIMEOUT, "the run did not finish in %lld ms: wait again",
                 (long long)timeout_ms);
    return finish(slot, outputs, output_count, err);
}

osp_status osp_session_poll(osp_session *s, osp_ticket ticket)
{
    osp_slot *slot = s ? slot_of(s, ticket) : NULL;
    if (!slot)
        return OSP_ERROR_ARGUMENT;
    return osp_worker_done(s->worker, slot->job) ? OSP_OK : OSP_ERROR_BUSY;
}

osp_status osp_session_run(osp_session *s, const osp_tensor *inputs, int32_t input_count,
                           osp_tensor *outputs, int32_t output_count, osp_error *err)
{
    osp_ticket ticket;
    OSP_TRY(osp_session_enqueue(s, inputs, input_count, outputs, output_count, &ticket, err));
    return osp_session_wait(s, ticket, -1, outputs, output_count, err);
}

osp_status osp_session_bind(osp_session *s, const osp_tensor *tensors, int32_t count,
                            osp_error *err)
{
    osp_error_clear(err);
    if (!s || count < 0 || (count && !tensors))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_session_bind: an argument is NULL or negative");
    for (int32_t i = 0; i < count; i++) {
        const osp_tensor *t = tensors + i;
        if (!t->name || !t->data)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "bound tensor %d needs a name and data", i);
        int32_t io = find_io(s->engine, false, t, 0);
        if (io < 0)
            io = find_io(s->engine, true, t, 0);
        OSP_TRY(check_tensor(s->engine, t, io, io >= s->engine->info.inputs, err));
        s->bound[io] = *t;
        s->bound[io].name = NULL;
    }
    return OSP_OK;
}

void osp_session_stats(const osp_session *s, osp_run_stats *out)
{
    *out = s->stats;
}

osp_status osp_session_step_us(const osp_session *s, int32_t i, double *us)
{
    int32_t v = s->stats.variant;
    if (!s->profile || i < 0 || i >= s->engine->compiled.variants[v].step_count ||
        !s->profiled_runs[v])
        return OSP_ERROR_ARGUMENT;
    *us = s->step_us[v][i] / (double)s->profiled_runs[v];
    return OSP_OK;
}
