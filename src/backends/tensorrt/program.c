// One session's runs: a context for each variant, one block of device memory for all of them.
// A run puts addresses into the context and enqueues it; capturing that is the session's affair.
#include <string.h>

#include "backends/tensorrt/tensorrt.h"

typedef struct program {
    const osp_trt_model *model;
    osp_gpu *gpu;
    void *memory;  // of whichever context runs: runs of a session never overlap
    osp_trt_context *contexts[OSP_MAX_VARIANTS];
    // By variant and output, used where only the run knows the size.
    osp_trt_allocator *allocators;
    bool unknown[OSP_MAX_VARIANTS];  // some output is of that kind
} program;

static osp_trt_allocator *allocator_of(const program *p, int32_t variant, int32_t output)
{
    return p->allocators + variant * p->model->outputs + output;
}

// "what happened: TensorRT's words", or the device's own error where it has one.
static osp_status failed(const program *p, osp_gpu_stream stream, const char *what, osp_error *err)
{
    osp_trt_model *m = (osp_trt_model *)(uintptr_t)p->model;  // the sink has a lock of its own
    char text[sizeof m->sink.text];
    osp_trt_sink_take(&m->sink, text, sizeof text);
    OSP_TRY(osp_gpu_check(p->gpu, "TensorRT", stream, err));
    OSP_FAIL(err, OSP_ERROR_SYSTEM, "TensorRT %s%s%s", what, text[0] ? ": " : "", text);
}

static osp_status open_context(program *p, int32_t v, osp_gpu_stream stream, osp_error *err)
{
    const osp_trt_model *m = p->model;
    const osp_trt_api *api = &m->trt.api;
    osp_trt_context *context = osp_trt_engine_open_context(api, m->engine);
    if (!osp_trt_is_object(context))
        return failed(p, NULL, "makes no execution context", err);
    p->contexts[v] = context;
    osp_trt_context_set_memory(api, context, p->memory);
    bool ok = osp_trt_context_set_profile(api, context, m->variants[v].profile, stream);
    for (int32_t i = 0; ok && i < m->inputs; i++) {
        osp_trt_dims dims;
        osp_trt_input_dims(m, i, v, &dims);
        ok = osp_trt_context_set_input_shape(api, context, m->io[i].name, &dims);
    }
    for (int32_t o = 0; ok && o < m->outputs; o++) {
        const osp_whole_io *io = m->io + m->inputs + o;
        osp_trt_allocator_init(allocator_of(p, v, o));
        if (osp_shape_known(&io->shape[v]))
            continue;
        p->unknown[v] = true;
        ok = osp_trt_context_set_allocator(api, context, io->name, allocator_of(p, v, o));
    }
    return ok ? OSP_OK : failed(p, stream, "does not take the shapes of a variant", err);
}

static void close_program(void *state)
{
    program *p = state;
    if (!p)
        return;
    osp_trt_model *m = (osp_trt_model *)(uintptr_t)p->model;
    pthread_mutex_lock(&m->lock);
    for (int32_t v = 0; v < m->variant_count; v++)
        osp_trt_delete(p->contexts[v]);
    pthread_mutex_unlock(&m->lock);
    osp_gpu_free(p->gpu, p->memory);
    osp_mem *mem = &m->ctx->mem;
    osp_mem_free(mem, p->allocators);
    osp_mem_free(mem, p);
}

static osp_status open_program(void **state, osp_gpu *gpu, const void *engine, osp_error *err)
{
    const osp_trt_model *m = engine;
    program *p = osp_mem_calloc(&m->ctx->mem, 1, sizeof *p);
    if (!p)
        OSP_FAIL_MEMORY(err);
    *p = (program){.model = m, .gpu = gpu};
    p->allocators = osp_mem_calloc(&m->ctx->mem, (size_t)m->variant_count * (size_t)m->outputs,
                                   sizeof *p->allocators);
    osp_gpu_stream stream = NULL;
    osp_status status = p->allocators ? osp_gpu_alloc(gpu, &p->memory, (size_t)m->memory_bytes, err)
                                      : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status)
        status = osp_gpu_stream_open(gpu, &stream, err);
    pthread_mutex_t *lock = &((osp_trt_model *)(uintptr_t)m)->lock;
    for (int32_t v = 0; !status && v < m->variant_count; v++) {
        pthread_mutex_lock(lock);
        status = open_context(p, v, stream, err);
        pthread_mutex_unlock(lock);
    }
    if (!status)
        status = osp_gpu_stream_wait(gpu, stream, -1, err);
    osp_gpu_stream_close(gpu, &stream);
    if (status) {
        close_program(p);
        return status;
    }
    *state = p;
    return OSP_OK;
}

// A size that comes out of the run makes TensorRT wait for it, which no graph can hold.
static bool can_capture(const void *state, int32_t variant)
{
    return !((const program *)state)->unknown[variant];
}

static osp_status enqueue(void *state, int32_t v, void *const *io, const size_t *capacity,
                          osp_gpu_stream stream, osp_error *err)
{
    program *p = state;
    const osp_trt_model *m = p->model;
    const osp_trt_api *api = &m->trt.api;
    osp_trt_context *context = p->contexts[v];
    bool ok = true;
    for (int32_t i = 0; ok && i < m->inputs + m->outputs; i++)
        ok = osp_trt_context_set_address(api, context, m->io[i].name, io[i]);
    for (int32_t o = 0; o < m->outputs; o++) {
        osp_trt_allocator *a = allocator_of(p, v, o);
        a->memory = io[m->inputs + o];
        a->capacity_bytes = capacity[m->inputs + o];
        a->wanted_bytes = 0;
        a->shape = (osp_trt_dims){.rank = -1};
    }
    if (ok && osp_trt_context_enqueue(api, context, stream))
        return OSP_OK;
    for (int32_t o = 0; o < m->outputs; o++) {
        const osp_trt_allocator *a = allocator_of(p, v, o);
        if (a->wanted_bytes > a->capacity_bytes)
            OSP_FAIL(err, OSP_ERROR_OVERFLOW,
                     "output '%s' needs %llu bytes, and %llu are kept for an output whose size "
                     "only "
                     "the run knows: export the model with a bound",
                     m->io[m->inputs + o].name, (unsigned long long)a->wanted_bytes,
                     (unsigned long long)a->capacity_bytes);
    }
    return failed(p, stream, "did not start the run", err);
}

static void extents(const void *state, int32_t v, int32_t i, osp_shape *out)
{
    const program *p = state;
    const osp_shape *known = &p->model->io[p->model->inputs + i].shape[v];
    const osp_trt_dims *told = &allocator_of(p, v, i)->shape;
    *out = *known;
    if (!osp_shape_known(known) && told->rank >= 0 && told->rank <= OSP_MAX_RANK) {
        *out = (osp_shape){.rank = told->rank};
        memcpy(out->dims, told->d, (size_t)told->rank * sizeof *out->dims);
    }
}

const osp_gpu_program osp_trt_program = {
    .open = open_program,
    .close = close_program,
    .can_capture = can_capture,
    .enqueue = enqueue,
    .extents = extents,
};
