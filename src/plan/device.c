// A compiled engine on a GPU: its constants there, and how a session's runs are put on a stream.
// Thread rule: upload and unload as building; a program from one thread at a time.
#include <string.h>

#include "base/size.h"
#include "plan/compile.h"

enum { DEVICE_ALIGN = 256 };

// ---- Constants ----------------------------------------------------------------------------------

// Adds a block's place; false: the sum overflows.
static bool place(size_t bytes, size_t *total, size_t *at)
{
    *at = *total;
    return osp_size_align(bytes ? bytes : 1, DEVICE_ALIGN, &bytes) &&
           osp_size_add(*total, bytes, total);
}

static osp_status copy_constant(osp_compiled *c, void *dst, const void *src, size_t bytes,
                                osp_gpu_stream stream, osp_error *err)
{
    return bytes ? osp_gpu_copy(c->gpu, dst, src, bytes, stream, err) : OSP_OK;
}

// Twice: without a block it only adds up, with one it copies.
static osp_status walk_constants(osp_compiled *c, char *block, size_t *total, osp_gpu_stream stream,
                                 osp_error *err)
{
    size_t at, bytes = 0;
    bool fits = true;
    *total = 0;
    for (size_t i = 0; i < c->packed_count; i++) {
        osp_packed *packed = c->packed + i;
        fits &= place(packed->size, total, &at);
        if (!block)
            continue;
        packed->device = block + at;
        OSP_TRY(copy_constant(c, block + at, packed->data, packed->size, stream, err));
    }
    for (int32_t i = 0; i < c->variant_count; i++) {
        osp_variant *v = c->variants + i;
        for (size_t k = 0; k < v->graph.value_count; k++) {
            const osp_value *value = v->graph.values + k;
            if (!value->data)
                continue;
            if (!osp_shape_bytes(&value->shape, value->dtype, &bytes) ||
                !place(bytes, total, &at)) {
                fits = false;
                continue;
            }
            if (!block)
                continue;
            v->constants[k] = block + at;
            OSP_TRY(copy_constant(c, block + at, value->data, bytes, stream, err));
        }
    }
    if (!fits)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "the weights are too large for a device");
    return OSP_OK;
}

static osp_status upload(osp_compiled *c, osp_error *err)
{
    size_t total;
    osp_gpu_stream stream = NULL;
    for (int32_t i = 0; i < c->variant_count; i++) {
        osp_variant *v = c->variants + i;
        v->constants = osp_arena_array(&c->arena, v->graph.value_count, sizeof *v->constants);
        if (!v->constants)
            OSP_FAIL_MEMORY(err);
    }
    OSP_TRY(walk_constants(c, NULL, &total, NULL, err));
    OSP_TRY(osp_gpu_alloc(c->gpu, &c->device_block, total, err));
    OSP_TRY(osp_gpu_stream_open(c->gpu, &stream, err));
    osp_status status = walk_constants(c, c->device_block, &total, stream, err);
    if (!status)
        status = osp_gpu_stream_wait(c->gpu, stream, -1, err);
    osp_gpu_stream_close(c->gpu, &stream);
    return status;
}

osp_status osp_compiled_upload(osp_compiled *c, osp_error *err)
{
    osp_gpu_scope scope;
    if (c->device_block)
        return OSP_OK;
    OSP_TRY(osp_gpu_enter(c->gpu, &scope, err));
    const osp_status status = upload(c, err);
    osp_gpu_leave(c->gpu, &scope);
    return status;
}

void osp_compiled_unload(osp_compiled *c)
{
    osp_gpu_scope scope;
    if (!c->device_block || osp_gpu_enter(c->gpu, &scope, NULL))
        return;
    osp_gpu_free(c->gpu, c->device_block);
    c->device_block = NULL;
    osp_gpu_leave(c->gpu, &scope);
}

// ---- A session's runs ---------------------------------------------------------------------------

typedef struct program {
    const osp_compiled *c;
    void *memory;  // activations and workspace of the largest variant: runs never overlap
    osp_binding *bindings[OSP_MAX_VARIANTS];
    osp_side_streams sides;  // as many as the variant with the most wants
    int32_t event_count;
    osp_gpu_event *marks;  // one more than the longest variant has steps; NULL until a profile
    int32_t mark_count;
} program;

static void close_program(void *state)
{
    program *p = state;
    if (!p)
        return;
    for (int32_t i = 0; i < p->c->variant_count; i++)
        osp_binding_free(&p->bindings[i]);
    for (int32_t i = 1; i < OSP_STREAMS_MOST; i++)
        osp_gpu_stream_close(p->c->gpu, &p->sides.streams[i]);
    for (int32_t i = 0; i < p->event_count; i++)
        osp_gpu_event_close(p->c->gpu, &p->sides.events[i]);
    osp_mem_free(&p->c->ctx->mem, p->sides.events);
    for (int32_t i = 0; i < p->mark_count; i++)
        osp_gpu_event_close(p->c->gpu, &p->marks[i]);
    osp_mem_free(&p->c->ctx->mem, p->marks);
    osp_gpu_free(p->c->gpu, p->memory);
    osp_mem_free(&p->c->ctx->mem, p);
}

static osp_status open_sides(program *p, osp_error *err)
{
    const osp_compiled *c = p->c;
    int32_t streams = 1, events = 0;
    for (int32_t i = 0; i < c->variant_count; i++) {
        const osp_streams *s = &c->variants[i].streams;
        streams = s->count > streams ? s->count : streams;
        events = s->event_count > events ? s->event_count : events;
    }
    for (int32_t i = 1; i < streams; i++)
        OSP_TRY(osp_gpu_stream_open(c->gpu, &p->sides.streams[i], err));
    if (!events)
        return OSP_OK;
    p->sides.events = osp_mem_calloc(&c->ctx->mem, (size_t)events, sizeof *p->sides.events);
    if (!p->sides.events)
        OSP_FAIL_MEMORY(err);
    for (; p->event_count < events; p->event_count++)
        OSP_TRY(osp_gpu_event_open(c->gpu, &p->sides.events[p->event_count], false, err));
    return OSP_OK;
}

static osp_status open_program(void **state, osp_gpu *gpu, const void *engine, osp_error *err)
{
    const osp_compiled *c = engine;
    size_t most = 0;
    *state = NULL;
    program *p = osp_mem_calloc(&c->ctx->mem, 1, sizeof *p);
    if (!p)
        OSP_FAIL_MEMORY(err);
    p->c = c;
    for (int32_t i = 0; i < c->variant_count; i++) {
        const size_t bytes = osp_variant_memory_bytes(c->variants + i);
        most = bytes > most ? bytes : most;
    }
    osp_status status = osp_gpu_alloc(gpu, &p->memory, most, err);
    if (!status)
        status = open_sides(p, err);
    for (int32_t i = 0; !status && i < c->variant_count; i++)
        status = osp_variant_bind(&p->bindings[i], c, c->variants + i, p->memory, err);
    if (status) {
        close_program(p);
        return status;
    }
    *state = p;
    return OSP_OK;
}

static bool can_capture(const void *state, int32_t variant)
{
    (void)state;
    (void)variant;
    return true;
}

static osp_status enqueue(void *state, int32_t variant, void *const *io, const size_t *capacity,
                          osp_gpu_stream stream, osp_error *err)
{
    (void)capacity;  // of static sizes: the session has room for them
    program *p = state;
    return osp_binding_enqueue(p->bindings[variant], io, stream, &p->sides, NULL, err);
}

static osp_status enqueue_maps(void *state, int32_t variant, int32_t output, void *const *io,
                               osp_gpu_stream stream, osp_head_maps *maps, osp_error *err)
{
    program *p = state;
    return osp_binding_enqueue_maps(p->bindings[variant], output, io, stream, &p->sides, maps, err);
}

static osp_status open_marks(program *p, osp_error *err)
{
    const osp_compiled *c = p->c;
    int32_t most = 0;
    for (int32_t i = 0; i < c->variant_count; i++)
        most = c->variants[i].step_count > most ? c->variants[i].step_count : most;
    p->marks = osp_mem_calloc(&c->ctx->mem, (size_t)most + 1, sizeof *p->marks);
    if (!p->marks)
        OSP_FAIL_MEMORY(err);
    for (; p->mark_count <= most; p->mark_count++)
        OSP_TRY(osp_gpu_event_open(c->gpu, &p->marks[p->mark_count], true, err));
    return OSP_OK;
}

static osp_status profile(void *state, int32_t variant, void *const *io, osp_gpu_stream stream,
                          double *step_us, osp_error *err)
{
    program *p = state;
    if (!p->marks)
        OSP_TRY(open_marks(p, err));
    OSP_TRY(osp_binding_enqueue(p->bindings[variant], io, stream, NULL, p->marks, err));
    OSP_TRY(osp_gpu_stream_wait(p->c->gpu, stream, -1, err));
    for (int32_t i = 0; i < p->c->variants[variant].step_count; i++) {
        double us = 0;
        OSP_TRY(osp_gpu_event_elapsed(p->c->gpu, p->marks[i], p->marks[i + 1], &us, err));
        step_us[i] += us;
    }
    return OSP_OK;
}

const osp_gpu_program osp_compiled_program = {
    .open = open_program,
    .close = close_program,
    .can_capture = can_capture,
    .enqueue = enqueue,
    .enqueue_maps = enqueue_maps,
    .profile = profile,
};
