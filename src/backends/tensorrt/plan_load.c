// An engine of TensorRT from its plan, whoever wrote that.
#include <stdio.h>
#include <string.h>

#include "backends/tensorrt/tensorrt.h"

// A plan begins with these four bytes; the version of the library that wrote it stands at byte 24
// (NVIDIA/TensorRT#3073): a hint which library to ask, and words for when it says no.
static const char plan_magic[4] = {'f', 't', 'r', 't'};

bool osp_trt_is_plan(const void *bytes, size_t size)
{
    return size >= 32 && !memcmp(bytes, plan_magic, sizeof plan_magic);
}

int32_t osp_trt_plan_version(const void *plan, size_t size)
{
    enum { AT_VERSION = 24 };
    const uint8_t *v = (const uint8_t *)plan + AT_VERSION;
    if (!osp_trt_is_plan(plan, size) || v[0] < 8 || v[0] > 30 || v[1] > 99 || v[2] > 99)
        return 0;
    return v[0] * 10000 + v[1] * 100 + v[2];
}

osp_status osp_trt_model_make(osp_trt_model **out, osp_context *ctx, int32_t device, int32_t major,
                              osp_error *err)
{
    osp_gpu *gpu;
    uint64_t free_bytes, total_bytes;
    osp_trt trt;
    OSP_TRY(osp_gpu_get(ctx, device, &gpu, err));
    // TensorRT's create functions misbehave where CUDA does not work: this makes CUDA's context.
    OSP_TRY(osp_gpu_memory(gpu, &free_bytes, &total_bytes, err));
    OSP_TRY(osp_trt_load(&trt, ctx, major, err));
    osp_trt_model *m = osp_mem_calloc(&ctx->mem, 1, sizeof *m);
    if (!m)
        OSP_FAIL_MEMORY(err);
    if (pthread_mutex_init(&m->lock, NULL)) {
        osp_mem_free(&ctx->mem, m);
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
    }
    m->ctx = ctx;
    m->gpu = gpu;
    m->trt = trt;
    osp_arena_init(&m->arena, &ctx->mem);
    osp_trt_sink_open(&m->sink, &m->trt, ctx, true);
    *out = m;
    return OSP_OK;
}

void osp_trt_model_close(osp_trt_model *m)
{
    if (!m)
        return;
    osp_error ignored;
    osp_gpu_scope scope;
    // On a lost device TensorRT's own calls fail; its host memory is still given back.
    const bool inside = osp_gpu_enter(m->gpu, &scope, &ignored) == OSP_OK;
    osp_trt_delete(m->engine);
    osp_trt_delete(m->runtime);
    if (inside)
        osp_gpu_leave(m->gpu, &scope);
    osp_trt_sink_close(&m->sink);
    pthread_mutex_destroy(&m->lock);
    osp_arena_free(&m->arena);
    osp_mem_free(&m->ctx->mem, m->section);
    osp_mem_free(&m->ctx->mem, m);
}

// TensorRT refuses plans of other versions and devices in words of its own, some of them numbers.
static osp_status not_opened(osp_trt_model *m, osp_trt_sink *sink, const void *plan, size_t size,
                             osp_error *err)
{
    char text[sizeof sink->text], here[24], there[24];
    osp_trt_sink_take(sink, text, sizeof text);
    const int32_t version = osp_trt_plan_version(plan, size);
    if (version && version / 100 != m->trt.api.version / 100)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "the plan was written by TensorRT %s, and %s is %s: build it again%s%s",
                 osp_trt_version_text(version, there, sizeof there), m->trt.file,
                 osp_trt_version_text(m->trt.api.version, here, sizeof here), text[0] ? ": " : "",
                 text);
    const bool stale = strstr(text, "ersion") || strstr(text, "incompatible") ||
                       strstr(text, "compute capability");
    OSP_FAIL(err, stale ? OSP_ERROR_STALE : OSP_ERROR_FORMAT,
             "TensorRT %s does not open the plan%s%s: build it again",
             osp_trt_version_text(m->trt.api.version, here, sizeof here), text[0] ? ": " : "",
             text);
}

static osp_status load(osp_trt_model *m, const void *plan, size_t size, osp_error *err)
{
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(m->gpu, &scope, err));
    osp_trt_sink sink;
    osp_trt_sink_open(&sink, &m->trt, m->ctx, false);
    osp_status status = osp_trt_open_runtime(&m->trt, &sink, &m->runtime, err);
    if (!status) {
        // Whether a plan may bring host code is left as TensorRT has it: it may not.
        m->engine = osp_trt_runtime_open_engine(&m->trt.api, m->runtime, plan, size);
        if (!osp_trt_is_object(m->engine)) {
            m->engine = NULL;
            status = osp_gpu_check(m->gpu, "TensorRT, opening a plan,", NULL, err);
            if (!status)
                status = not_opened(m, &sink, plan, size, err);
        }
    }
    osp_trt_sink_close(&sink);
    if (!status)
        status = osp_trt_read_facts(m, err);
    osp_gpu_leave(m->gpu, &scope);
    return status;
}

osp_status osp_trt_model_load(osp_trt_model *m, const void *plan, size_t size, osp_error *err)
{
    // Behind a prefix a plan may stand at any address. Nothing says that TensorRT reads it there.
    enum { ALIGN = 64 };
    if ((uintptr_t)plan % ALIGN == 0)
        return load(m, plan, size, err);
    void *copy = osp_mem_alloc(&m->ctx->mem, size);
    if (!copy)
        OSP_FAIL_MEMORY(err);
    const osp_status status = load(m, memcpy(copy, plan, size), size, err);
    osp_mem_free(&m->ctx->mem, copy);
    return status;
}
