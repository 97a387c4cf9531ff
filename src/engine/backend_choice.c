// Options of a build checked, and the backend chosen with its reasons.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

enum { ORDER_COUNT = 3 };
static const osp_backend auto_order[ORDER_COUNT] = {OSP_BACKEND_CUDA, OSP_BACKEND_TENSORRT,
                                                    OSP_BACKEND_CPU};

static osp_status check_image_input(const osp_image_input *in, osp_error *err)
{
    bool given = false, finite = true;
    for (int i = 0; i < 3; i++) {
        given |= in->mean[i] != 0 || in->scale[i] != 0;
        finite &= isfinite(in->mean[i]) && isfinite(in->scale[i]);
    }
    if ((int)in->format < OSP_PIXELS_MODEL || in->format > OSP_PIXELS_UINT8 || in->reserved32 ||
        !finite)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "image_input: format %d: use an osp_pixels, with finite numbers", (int)in->format);
    if (given && in->format != OSP_PIXELS_UINT8)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "image_input: mean and scale are of pixels: set the format to OSP_PIXELS_UINT8");
    return OSP_OK;
}

osp_status osp_engine_options_check(const osp_engine_options *options, osp_engine_options *out,
                                    osp_error *err)
{
    *out = options ? *options : (osp_engine_options){0};
    const osp_engine_options *o = out;
    if ((int)o->backend < OSP_BACKEND_AUTO || o->backend > OSP_BACKEND_TENSORRT)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "backend %d: use an osp_backend", (int)o->backend);
    if ((int)o->precision < OSP_PRECISION_AUTO || o->precision > OSP_PRECISION_BF16)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "precision %d: use an osp_precision", (int)o->precision);
    if ((int)o->head < 0 || o->head > OSP_HEAD_DETR_PAIR || (int)o->resize < 0 ||
        o->resize > OSP_RESIZE_STRETCH)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "head %d, resize %d: use an osp_head and an osp_resize",
                 (int)o->head, (int)o->resize);
    for (int i = 0; i < 8; i++)
        if (o->batches[i] < 0 || o->batches[i] > 1024)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "batch %d: use 1 to 1024", o->batches[i]);
    if (o->height < 0 || o->width < 0 || o->height > 65536 || o->width > 65536)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "size %dx%d: use 1 to 65536", o->height, o->width);
    if ((o->height == 0) != (o->width == 0))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "size %dx%d: give both height and width", o->height,
                 o->width);
    if (o->fixed_input_count < 0 || o->keep_fp32_count < 0 ||
        (o->fixed_input_count && !o->fixed_inputs) || (o->keep_fp32_count && !o->keep_fp32))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed_inputs or keep_fp32: a count without a list");
    if (o->builder_level < 0 || o->builder_level > 5 || !(o->tolerance >= 0))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "builder_level %d, tolerance %g: use 0 to 5, and 0 or "
                 "more",
                 o->builder_level, (double)o->tolerance);
    OSP_TRY(check_image_input(&o->image_input, err));
    for (size_t i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; i++)
        if (o->reserved[i])
            OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                     "osp_engine_options.reserved is not zero: zero the struct");
    return OSP_OK;
}

const osp_backend_def *osp_backend_by_id(osp_backend id)
{
    static const osp_backend_def *const all[] = {&osp_backend_reference, &osp_backend_cpu,
                                                 &osp_backend_cuda, &osp_backend_tensorrt};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->id == id)
            return all[i];
    return NULL;
}

static const char *backend_name(osp_backend id)
{
    static const char *const names[] = {"auto", "reference", "cpu", "cuda", "tensorrt"};
    return names[id];
}

const osp_device_info *osp_backend_device(const osp_runtime *runtime, const osp_backend_def *def,
                                          int32_t device)
{
    for (int32_t i = 0; def->program && i < runtime->device_count - 1; i++)
        if (runtime->devices[i].index == device)
            return runtime->devices + i;
    return runtime->devices + runtime->device_count - 1;
}

// NULL: usable; else why not.
static const char *why_not(osp_runtime *runtime, osp_backend id, int32_t device, char *reason,
                           size_t size)
{
    const osp_backend_def *def = osp_backend_by_id(id);
    if (!def) {
        snprintf(reason, size, "not part of this library's build");
        return reason;
    }
    return def->probe ? def->probe(&runtime->ctx, device, reason, size) : NULL;
}

void osp_backend_pass_over(osp_runtime *runtime, osp_backend_choice *choice, osp_backend id,
                           const char *why)
{
    const size_t used = strlen(choice->reason);
    osp_log(&runtime->ctx, OSP_LOG_WARNING, "backend %s is passed over: %s", backend_name(id), why);
    snprintf(choice->reason + used, sizeof choice->reason - used, "%s%s: %s", used ? "; " : "",
             backend_name(id), why);
}

osp_status osp_backend_next(osp_runtime *runtime, const osp_engine_options *options,
                            osp_backend_choice *choice, const osp_backend_def **out, osp_error *err)
{
    char text[256];
    *out = NULL;
    if (options->backend != OSP_BACKEND_AUTO) {
        const char *why = why_not(runtime, options->backend, options->device, text, sizeof text);
        if (why)
            OSP_FAIL(err, OSP_ERROR_DEVICE, "backend %s: %s: choose another backend",
                     backend_name(options->backend), why);
        *out = osp_backend_by_id(options->backend);
        return OSP_OK;
    }
    while (choice->next < ORDER_COUNT) {
        const osp_backend id = auto_order[choice->next++];
        const char *why = why_not(runtime, id, options->device, text, sizeof text);
        if (!why) {
            *out = osp_backend_by_id(id);
            return OSP_OK;
        }
        osp_backend_pass_over(runtime, choice, id, why);
    }
    OSP_FAIL(err, OSP_ERROR_DEVICE, "no backend can run here: %s", choice->reason);
}

bool osp_backend_may_pass_over(const osp_engine_options *options, const osp_backend_choice *choice,
                               osp_status status)
{
    return options->backend == OSP_BACKEND_AUTO && choice->next < ORDER_COUNT &&
           (status == OSP_ERROR_UNSUPPORTED || status == OSP_ERROR_DEVICE);
}
