// The tensorrt backend as the rest of the library sees it: is it usable, what its plans are tied
// to, and building and opening engines.
#include <stdio.h>
#include <string.h>

#include "backends/tensorrt/tensorrt.h"

static const char *probe(osp_context *ctx, int32_t device, char *reason, size_t size)
{
    osp_gpu *gpu;
    osp_trt trt;
    osp_error why;
    if (osp_gpu_get(ctx, device, &gpu, &why) || osp_trt_load(&trt, ctx, 0, &why)) {
        snprintf(reason, size, "%s", why.text);
        return reason;
    }
    return NULL;
}

void osp_trt_key(int32_t version, const osp_device_info *device, char *key, size_t size)
{
    char text[24];
    snprintf(key, size, "tensorrt %s cc %d.%d sm %d %s",
             osp_trt_version_text(version, text, sizeof text), device->cc_major, device->cc_minor,
             device->multiprocessors, device->name);
}

// "" where there is no such device or no TensorRT.
static void device_key(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size)
{
    (void)threads;
    osp_gpu *gpu;
    osp_trt trt;
    osp_error ignored;
    key[0] = 0;
    if (!osp_gpu_get(ctx, device, &gpu, &ignored) && !osp_trt_load(&trt, ctx, 0, &ignored))
        osp_trt_key(trt.api.version, osp_gpu_info(gpu), key, size);
}

// TensorRT opens plans of its own version only, on GPUs of the same compute capability; it runs
// them on one with another number of SMs, perhaps slower than one tuned there.
static osp_status check_key(osp_context *ctx, int32_t device, const char *plan, osp_error *err)
{
    int major, minor, patch, cc_major, cc_minor;
    if (sscanf(plan, "tensorrt %d.%d.%d cc %d.%d", &major, &minor, &patch, &cc_major, &cc_minor) !=
        5)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the plan's device key makes no sense: build it again");
    osp_gpu *gpu;
    osp_trt trt;
    OSP_TRY(osp_gpu_get(ctx, device, &gpu, err));
    OSP_TRY(osp_trt_load(&trt, ctx, major, err));
    char here[OSP_DEVICE_KEY_BYTES], text[24];
    const osp_device_info *info = osp_gpu_info(gpu);
    osp_trt_key(trt.api.version, info, here, sizeof here);
    if (major * 10000 + minor * 100 + patch != trt.api.version)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "the plan was built by TensorRT %d.%d.%d, and %s is %s: build it again", major,
                 minor, patch, trt.file, osp_trt_version_text(trt.api.version, text, sizeof text));
    if (cc_major != info->cc_major || cc_minor != info->cc_minor)
        OSP_FAIL(err, OSP_ERROR_STALE, "the plan is for '%s', this device is '%s': build it again",
                 plan, here);
    if (strcmp(plan, here))
        osp_log(ctx, OSP_LOG_WARNING,
                "the plan was built on '%s' and runs on '%s': one built here may be faster", plan,
                here);
    return OSP_OK;
}

// ---- Engines ------------------------------------------------------------------------------------

static osp_status build(void **engine, osp_context *ctx, const osp_whole_request *request,
                        osp_error *err)
{
    osp_trt_model *m;
    OSP_TRY(osp_trt_model_make(&m, ctx, request->device, 0, err));
    osp_status status = osp_trt_build_plan(m, request, &m->section, &m->section_size, err);
    if (!status)
        status = osp_trt_model_load(m, m->section, m->section_size, err);
    if (status) {
        osp_trt_model_close(m);
        return status;
    }
    *engine = m;
    return OSP_OK;
}

static osp_status open_plan(void **engine, osp_context *ctx, int32_t device, const void *section,
                            size_t size, osp_error *err)
{
    osp_trt_model *m;
    OSP_TRY(osp_trt_model_make(&m, ctx, device, osp_trt_plan_version(section, size) / 10000, err));
    const osp_status status = osp_trt_model_load(m, section, size, err);
    if (status) {
        osp_trt_model_close(m);
        return status;
    }
    *engine = m;
    return OSP_OK;
}

static void close_model(void *engine)
{
    osp_trt_model_close(engine);
}

static void get_info(const void *engine, osp_whole_info *out)
{
    const osp_trt_model *m = engine;
    *out = (osp_whole_info){
        .inputs = m->inputs,
        .outputs = m->outputs,
        .io = m->io,
        .variants = m->variant_count,
        .batch_free = m->batch_free,
        .layers = osp_trt_engine_layers(&m->trt.api, m->engine),
        .session_bytes = m->memory_bytes,
        .section = {m->section, m->section_size},
    };
    for (int32_t v = 0; v < m->variant_count; v++)
        out->batch[v] = m->variants[v].batch;
    osp_trt_key(m->trt.api.version, osp_gpu_info(m->gpu), out->device_key, sizeof out->device_key);
}

static osp_status layer(const void *engine, int32_t i, char *text, size_t size, osp_error *err)
{
    const osp_trt_model *m = engine;
    const osp_trt_api *api = &m->trt.api;
    osp_trt_inspector *inspector = osp_trt_engine_open_inspector(api, m->engine);
    const char *json = osp_trt_is_object(inspector) ? osp_trt_inspector_layer(api, inspector, i)
                                                    : NULL;
    osp_status status = OSP_OK;
    if (!json || !json[0])
        status = osp_error_set(err, OSP_ERROR_UNSUPPORTED, "TensorRT tells nothing of layer %d", i);
    else if (snprintf(text, size, "%s", json) >= (int)size)
        status = osp_error_set(err, OSP_ERROR_OVERFLOW, "layer %d has %zu bytes of text", i,
                               strlen(json));
    osp_trt_delete(inspector);
    return status;
}

static const osp_whole_def whole = {
    .build = build,
    .open = open_plan,
    .close = close_model,
    .get_info = get_info,
    .layer = layer,
    .is_section = osp_trt_is_plan,
};

const osp_backend_def osp_backend_tensorrt = {
    .id = OSP_BACKEND_TENSORRT,
    .name = "tensorrt",
    .probe = probe,
    .device_key = device_key,
    .check_key = check_key,
    .whole = &whole,
    .program = &osp_trt_program,
};
