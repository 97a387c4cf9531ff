// Sessions: opening, matching the caller's tensors with the engine's, slots, tickets. Moving data and
// running is in session_cpu.c and session_gpu.c.
#include "engine/session.h"

#include <string.h>

#include "base/strided.h"

int32_t osp_session_io_count(const osp_engine *engine)
{
    return engine->info.inputs + engine->info.outputs;
}

const osp_tensor_info *osp_session_io_info(const osp_engine *engine, int32_t io)
{
    return io < engine->info.inputs ? engine->inputs + io
                                    : engine->outputs + (io - engine->info.inputs);
}

bool osp_session_io_batched(const osp_engine *engine, int32_t io)
{
    const osp_tensor_info *info = osp_session_io_info(engine, io);
    return engine->facts.batch_free && info->rank > 0 && info->dims[0] == -1;
}

void osp_session_io_shape(const osp_engine *engine, int32_t variant, int32_t io, osp_shape *out)
{
    const osp_variant *v = engine->compiled.variants + variant;
    const osp_graph *g = &v->graph;
    const osp_vid id = io < g->input_count ? g->inputs[io] : g->outputs[io - g->input_count];
    *out = g->values[id].shape;
    if (!osp_shape_known(out))
        osp_output_capacity(&g->values[id].shape, v->batch, out);
}

size_t osp_session_io_bytes(const osp_engine *engine, int32_t variant, int32_t io, int32_t n,
                            size_t *rows_bytes)
{
    size_t bytes = 0;
    osp_shape shape;
    osp_session_io_shape(engine, variant, io, &shape);
    osp_shape_bytes(&shape, osp_session_io_info(engine, io)->dtype, &bytes);
    *rows_bytes = osp_session_io_batched(engine, io)
                      ? bytes / (size_t)engine->compiled.variants[variant].batch * (size_t)n
                      : bytes;
    return bytes;
}

bool osp_session_io_largest(const osp_engine *engine, int32_t io, size_t *bytes)
{
    *bytes = 0;
    for (int32_t v = 0; v < engine->compiled.variant_count; v++) {
        osp_shape shape;
        size_t need;
        osp_session_io_shape(engine, v, io, &shape);
        if (!osp_shape_bytes(&shape, osp_session_io_info(engine, io)->dtype, &need))
            return false;
        *bytes = need > *bytes ? need : *bytes;
    }
    return true;
}

osp_status osp_session_check_room(const osp_engine *engine, const osp_tensor *t, int32_t io,
                                  size_t bytes, osp_error *err)
{
    size_t capacity = 0;
    osp_shape shape = {.rank = t->rank};
    memcpy(shape.dims, t->dims, sizeof shape.dims);
    if (!osp_shape_bytes(&shape, t->dtype, &capacity) || capacity < bytes)
        OSP_FAIL(err, OSP_ERROR_OVERFLOW, "output '%s' needs %zu bytes, its buffer has %zu",
                 osp_session_io_info(engine, io)->name, bytes, capacity);
    return OSP_OK;
}

// ---- Opening ------------------------------------------------------------------------------------

static bool alloc_slots(osp_session *s)
{
    const size_t n = (size_t)osp_session_io_count(s->engine);
    s->slots = osp_arena_array(&s->arena, (size_t)s->depth, sizeof *s->slots);
    s->bound = osp_arena_array(&s->arena, n, sizeof *s->bound);
    for (int32_t i = 0; s->slots && i < s->depth; i++) {
        s->slots[i].session = s;
        s->slots[i].index = i;
        s->slots[i].staged = osp_arena_array(&s->arena, n, sizeof *s->slots[i].staged);
        if (!s->slots[i].staged)
            return false;
    }
    const osp_compiled *c = &s->engine->compiled;
    for (int32_t v = 0; s->profile && v < c->variant_count; v++) {
        s->step_us[v] = osp_arena_array(&s->arena, (size_t)c->variants[v].step_count,
                                        sizeof *s->step_us[v]);
        if (!s->step_us[v])
            return false;
    }
    return s->slots && s->bound;
}

static osp_status check_options(const osp_engine *engine, const osp_session_options *o,
                                osp_error *err)
{
    if (o->depth < 0 || o->depth > OSP_MAX_DEPTH)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "depth %d: use 0 (choose) to %d", o->depth,
                 OSP_MAX_DEPTH);
    if (o->stream && !engine->compiled.backend->program)
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
    OSP_TRY(check_options(engine, options, err));
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
    s->ops = engine->compiled.backend->program ? &osp_session_gpu : &osp_session_cpu;
    s->depth = options->depth ? options->depth : 2;
    s->profile = options->profile == OSP_ON;
    s->next_ticket = 1;
    osp_arena_init(&s->arena, &ctx->mem);
    osp_status status = alloc_slots(s) ? s->ops->open(s, options, err)
                                       : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
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
    s->ops->close(s);
    osp_mem *mem = &s->engine->runtime->ctx.mem;
    osp_arena_free(&s->arena);
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
        if (!strcmp(osp_session_io_info(engine, first + i)->name, t->name))
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
    const osp_tensor_info *info = osp_session_io_info(engine, io);
    if (t->place == OSP_PLACE_DEVICE && !engine->compiled.backend->program)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' lies on a device, but the engine is for the CPU",
                 what, info->name);
    if (t->place == OSP_PLACE_DEVICE && t->device != engine->info.device)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' lies on device %d, the engine is for device %d",
                 what, info->name, t->device, engine->info.device);
    if (t->place == OSP_PLACE_DEVICE && t->data && !osp_tensor_is_dense(t))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' on the device is strided: make it dense", what,
                 info->name);
    if (output && !t->data)
        return OSP_OK;
    if (t->dtype != info->dtype)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' is %s, the engine has %s%s", what, info->name,
                 osp_dtype_name(t->dtype), osp_dtype_name(info->dtype),
                 !output && info->dtype == OSP_DTYPE_UINT8 &&
                         engine->info.image_input == OSP_PIXELS_UINT8
                     ? ": give pixels, or build with image_input as the model has it"
                     : "");
    if (t->rank < 0 || t->rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s '%s' has rank %d: use 0 to 8", what, info->name,
                 t->rank);
    return OSP_OK;
}

static osp_status check_input_shape(const osp_engine *engine, const osp_tensor *t, int32_t io,
                                    int32_t *n, osp_error *err)
{
    const osp_tensor_info *info = osp_session_io_info(engine, io);
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
    if (osp_session_io_batched(engine, io))
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

static bool is_given(const osp_engine *engine, const osp_tensor *inputs, int32_t count, int32_t io)
{
    for (int32_t i = 0; i < count; i++)
        if (find_io(engine, false, inputs + i, i) == io)
            return true;
    return false;
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
    }
    for (int32_t io = 0; io < engine->info.inputs; io++) {
        if (is_given(engine, inputs, count, io))
            continue;
        if (!s->bound[io].data)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "input '%s' is missing: give or bind it",
                     osp_session_io_info(engine, io)->name);
        OSP_TRY(check_input_shape(engine, s->bound + io, io, &n, err));
    }
    slot->n = n ? n : engine->compiled.variants[0].batch;
    slot->variant = choose_variant(engine, slot->n);
    OSP_TRY(s->ops->begin(slot, err));
    for (int32_t io = 0; io < engine->info.inputs; io++)
        if (s->bound[io].data && !is_given(engine, inputs, count, io))
            OSP_TRY(s->ops->take_input(slot, s->bound + io, io, err));
    for (int32_t i = 0; i < count; i++)
        OSP_TRY(s->ops->take_input(slot, inputs + i, find_io(engine, false, inputs + i, i), err));
    return OSP_OK;
}

static osp_status take_outputs(osp_slot *slot, const osp_tensor *outputs, int32_t count,
                               osp_error *err)
{
    osp_session *s = slot->session;
    for (int32_t io = s->engine->info.inputs; io < osp_session_io_count(s->engine); io++)
        if (s->bound[io].data)
            OSP_TRY(s->ops->take_output(slot, s->bound + io, io, err));
    for (int32_t i = 0; i < count; i++) {
        int32_t io = find_io(s->engine, true, outputs + i, i);
        OSP_TRY(check_tensor(s->engine, outputs + i, io, true, err));
        OSP_TRY(s->ops->take_output(slot, outputs + i, io, err));
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

static osp_status busy(const osp_session *s, osp_error *err)
{
    OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket", s->depth);
}

static osp_status start(osp_slot *slot, bool all, osp_ticket *ticket, osp_error *err)
{
    osp_session *s = slot->session;
    OSP_TRY(s->ops->start(slot, all, err));
    slot->ticket = *ticket = s->next_ticket++;
    slot->taken = true;
    return OSP_OK;
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
        return busy(s, err);
    OSP_TRY(take_inputs(slot, inputs, input_count, err));
    OSP_TRY(take_outputs(slot, outputs, output_count, err));
    return start(slot, output_count == 0, ticket, err);
}

osp_status osp_session_enqueue_device(osp_session *s, int32_t n, osp_ticket *ticket, osp_error *err)
{
    *ticket = 0;
    osp_slot *slot = next_slot(s);
    if (!slot)
        return busy(s, err);
    if (n < 1 || n > s->engine->info.batch_max)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%d rows: the engine takes 1 to %d at once", n,
                 s->engine->info.batch_max);
    slot->n = n;
    slot->variant = choose_variant(s->engine, n);
    OSP_TRY(s->ops->begin(slot, err));
    OSP_TRY(s->ops->put(slot, err));
    return start(slot, false, ticket, err);
}

static osp_slot *slot_of(osp_session *s, osp_ticket ticket)
{
    if (!ticket)
        return NULL;
    osp_slot *slot = s->slots + (ticket - 1) % (uint64_t)s->depth;
    return slot->taken && slot->ticket == ticket ? slot : NULL;
}

// Hands output `io` of a finished slot to the caller's tensor.
static osp_status give_output(osp_slot *slot, osp_tensor *t, int32_t io, osp_error *err)
{
    const osp_session *s = slot->session;
    const osp_tensor_info *info = osp_session_io_info(s->engine, io);
    osp_shape extents;
    void *data;
    OSP_TRY(s->ops->give(slot, t, io, &extents, &data, err));
    if (osp_session_io_batched(s->engine, io))
        extents.dims[0] = slot->n;
    osp_tensor result = *t;
    result.dtype = info->dtype;
    result.rank = extents.rank;
    memcpy(result.dims, extents.dims, sizeof result.dims);
    if (!t->data) {
        result.data = data;
        result.place = s->ops == &osp_session_gpu ? OSP_PLACE_PINNED : OSP_PLACE_HOST;
        result.device = 0;
        memset(result.byte_strides, 0, sizeof result.byte_strides);
    } else if (data == t->data) {
        memset(result.byte_strides, 0, sizeof result.byte_strides);
    } else if (data) {
        size_t bytes = 0;
        osp_shape_bytes(&extents, info->dtype, &bytes);
        OSP_TRY(osp_session_check_room(s->engine, t, io, bytes, err));
        if (osp_tensor_is_dense(&result))
            memcpy(result.data, data, bytes);
        else
            osp_strided_scatter(result.data, data, osp_dtype_bytes(result.dtype), result.rank,
                                result.dims, result.byte_strides);
    }
    *t = result;
    return OSP_OK;
}

static osp_status finish(osp_slot *slot, osp_tensor *outputs, int32_t count, osp_error *err)
{
    osp_session *s = slot->session;
    if (s->profile)
        s->profiled_runs[slot->variant]++;
    s->stats = (osp_run_stats){.infer_us = slot->infer_us,
                               .copy_us = slot->copy_us,
                               .variant = slot->variant,
                               .n = slot->n};
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
    osp_status status = s->ops->wait(slot, timeout_ms, err);
    if (status == OSP_ERROR_TIMEOUT)
        OSP_FAIL(err, OSP_ERROR_TIMEOUT, "the run did not finish in %lld ms: wait again",
                 (long long)timeout_ms);
    if (!status)
        status = finish(slot, outputs, output_count, err);
    slot->taken = false;
    return status;
}

void osp_session_wait_all(osp_session *s)
{
    osp_error ignored;
    for (int32_t i = 0; s && i < s->depth; i++) {
        if (s->slots[i].taken)
            (void)s->ops->wait(s->slots + i, -1, &ignored);
        s->slots[i].taken = false;
    }
}

osp_status osp_session_poll(osp_session *s, osp_ticket ticket)
{
    osp_slot *slot = s ? slot_of(s, ticket) : NULL;
    if (!slot)
        return OSP_ERROR_ARGUMENT;
    return s->ops->done(slot) ? OSP_OK : OSP_ERROR_BUSY;
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
        const osp_tensor before = s->bound[io];
        s->bound[io] = *t;
        s->bound[io].name = NULL;
        osp_status status = s->ops->bind ? s->ops->bind(s, io, err) : OSP_OK;
        if (status) {
            s->bound[io] = before;
            return status;
        }
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
    if (!s->step_us[v] || i < 0 || i >= s->engine->compiled.variants[v].step_count ||
        !s->profiled_runs[v])
        return OSP_ERROR_ARGUMENT;
    *us = s->step_us[v][i] / (double)s->profiled_runs[v];
    return OSP_OK;
}
