// Detectors: letterbox into the session's own input memory, a run, boxes back to source pixels. On a
// GPU all of it happens there (detector_gpu.c), unless an output is of a kind that its kernels lack.
#include <string.h>

#include "base/half.h"
#include "engine/detector_gpu.h"

// What must be remembered of a batch in flight.
typedef struct flight {
    int32_t n;
    osp_letterbox *geometry;  // by image of the batch
    double pre_us;
} flight;

struct osp_detector {
    osp_engine *engine;
    osp_session *session;
    osp_detector_gpu *gpu;  // NULL: pixels and boxes are the host's work
    osp_letterboxer *letterboxer;
    osp_postprocess *post;
    osp_arena arena;
    osp_resize resize;
    int32_t batch;        // images in one run
    float *pixels;        // one image in float32, for engines that take float16
    osp_tensor *outputs;  // scratch: all outputs of the engine
    flight *flights;      // by slot
    osp_run_stats stats;
};

static const char *find_meta(const osp_engine *engine, const char *key)
{
    return osp_graph_meta(&engine->compiled.variants[0].graph, key);
}

static osp_status check_engine(const osp_engine *engine, osp_error *err)
{
    const osp_tensor_info *in = engine->inputs;
    if (engine->info.inputs != 1)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "the model has %d inputs: a detector takes models whose only input is the image",
                 engine->info.inputs);
    const bool pixels = in->dtype == OSP_DTYPE_UINT8;
    if (in->rank != 4 || in->dims[pixels ? 3 : 1] != 3 ||
        (!pixels && in->dtype != OSP_DTYPE_FLOAT32 && in->dtype != OSP_DTYPE_FLOAT16))
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "input '%s' is not an image: a detector takes float N x 3 x H x W, or uint8 N x H "
                 "x "
                 "W x 3",
                 in->name);
    const int64_t height = in->dims[pixels ? 1 : 2], width = in->dims[pixels ? 2 : 3];
    if ((height >= 0 && height != engine->facts.height) ||
        (width >= 0 && width != engine->facts.width))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "input '%s' is not of the size that the plan tells: build it again", in->name);
    return OSP_OK;
}

static osp_status find_head(const osp_detector *d, const osp_detector_options *o,
                            osp_head_info *head, osp_error *err)
{
    const osp_engine *engine = d->engine;
    const osp_head_query query = {
        .head = o->head ? o->head : engine->info.head,
        .outputs = engine->outputs,
        .output_count = engine->info.outputs,
        .input_w = engine->facts.width,
        .input_h = engine->facts.height,
        .names = engine->info.classes,
        .meta_task = find_meta(engine, "task"),
        .meta_head = find_meta(engine, "head"),
        .meta_end2end = find_meta(engine, "end2end"),
    };
    OSP_TRY(osp_head_find(head, &query, err));
    if (head->head == OSP_HEAD_NONE)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "head 'none': this model is not a detector");
    return OSP_OK;
}

static osp_status open_gpu(osp_detector *d, const osp_head_info *head, osp_error *err)
{
    osp_detector_gpu_options options = {.head = *head, .resize = d->resize, .batch = d->batch};
    osp_postprocess_get_settings(d->post, &options.settings);
    const char *why = osp_detector_gpu_refuse(d->session, &options);
    if (!why)
        return osp_detector_gpu_open(&d->gpu, d->session, &options, err);
    if (osp_session_on_gpu(d->session))
        osp_log(&d->engine->runtime->ctx, OSP_LOG_WARNING,
                "pixels and boxes are handled on the host, which costs time: %s", why);
    return OSP_OK;
}

static osp_status open_host(osp_detector *d, osp_error *err)
{
    const osp_engine *engine = d->engine;
    const bool half = engine->inputs->dtype == OSP_DTYPE_FLOAT16;
    OSP_TRY(osp_letterboxer_open(&d->letterboxer, &engine->runtime->ctx, engine->facts.width,
                                 engine->facts.height, err));
    d->outputs = osp_arena_array(&d->arena, (size_t)engine->info.outputs, sizeof *d->outputs);
    if (half)
        d->pixels = osp_arena_array(&d->arena, 3 * (size_t)engine->facts.width,
                                    (size_t)engine->facts.height * sizeof *d->pixels);
    if (!d->outputs || (half && !d->pixels))
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

static osp_status open_parts(osp_detector *d, const osp_detector_options *o, osp_error *err)
{
    const osp_engine *engine = d->engine;
    osp_context *ctx = &engine->runtime->ctx;
    osp_head_info head;
    OSP_TRY(check_engine(engine, err));
    OSP_TRY(find_head(d, o, &head, err));
    d->resize = o->resize ? o->resize : engine->info.resize ? engine->info.resize : head.resize;
    const osp_postprocess_options post = {
        .head = head,
        .input_w = engine->facts.width,
        .input_h = engine->facts.height,
        .score_threshold = o->score_threshold,
        .iou_threshold = o->iou_threshold,
        .max_detections = o->max_detections,
        .class_agnostic = o->class_agnostic == OSP_ON,
        .classes = o->classes,
        .class_count = o->class_count,
    };
    OSP_TRY(osp_postprocess_open(&d->post, ctx, &post, err));
    OSP_TRY(osp_session_open(&d->session, d->engine, &o->session, err));
    d->batch = engine->info.batch_max > 0 ? engine->info.batch_max : 1;
    OSP_TRY(open_gpu(d, &head, err));
    if (!d->gpu)
        OSP_TRY(open_host(d, err));
    d->flights = osp_arena_array(&d->arena, (size_t)d->session->depth, sizeof *d->flights);
    if (!d->flights)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < d->session->depth; i++) {
        d->flights[i].geometry = osp_arena_array(&d->arena, (size_t)d->batch,
                                                 sizeof *d->flights[i].geometry);
        if (!d->flights[i].geometry)
            OSP_FAIL_MEMORY(err);
    }
    return OSP_OK;
}

static osp_status check_options(const osp_detector_options *o, osp_error *err)
{
    if ((int)o->head < 0 || o->head > OSP_HEAD_DETR_PAIR || (int)o->resize < 0 ||
        o->resize > OSP_RESIZE_STRETCH || o->max_detections < 0 || o->class_count < 0 ||
        (o->class_count && !o->classes))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_detector_options: a field is out of range");
    bool zero = o->reserved32 == 0;
    for (size_t i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; i++)
        zero &= o->reserved[i] == 0;
    if (!zero)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "osp_detector_options.reserved is not zero: zero the struct");
    return OSP_OK;
}

osp_status osp_detector_open(osp_detector **out, osp_engine *engine,
                             const osp_detector_options *options, osp_error *err)
{
    static const osp_detector_options none;
    osp_error_clear(err);
    if (!out || !engine)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_detector_open: an argument is NULL");
    *out = NULL;
    if (!options)
        options = &none;
    OSP_TRY(check_options(options, err));
    osp_mem *mem = &engine->runtime->ctx.mem;
    osp_detector *d = osp_mem_calloc(mem, 1, sizeof *d);
    if (!d)
        OSP_FAIL_MEMORY(err);
    d->engine = osp_engine_retain(engine);
    osp_arena_init(&d->arena, mem);
    osp_status status = open_parts(d, options, err);
    if (status) {
        osp_detector_close(&d);
        return status;
    }
    *out = d;
    return OSP_OK;
}

void osp_detector_close(osp_detector **detector)
{
    if (!detector || !*detector)
        return;
    osp_detector *d = *detector;
    *detector = NULL;
    osp_mem *mem = &d->engine->runtime->ctx.mem;
    osp_session_wait_all(d->session);
    osp_detector_gpu_close(&d->gpu);
    osp_session_close(&d->session);
    osp_letterboxer_close(&d->letterboxer);
    osp_postprocess_close(&d->post);
    osp_arena_free(&d->arena);
    osp_engine_close(&d->engine);
    osp_mem_free(mem, d);
}

// Pixels of one image as the network takes them, at row i of the input.
static osp_status put_image(osp_detector *d, const osp_image *image, void *input, int32_t i,
                            osp_letterbox *geometry, osp_error *err)
{
    const osp_dtype dtype = d->engine->inputs->dtype;
    const size_t count = 3 * (size_t)d->engine->facts.width * (size_t)d->engine->facts.height;
    if (!d->pixels)
        return osp_letterboxer_run(
            d->letterboxer, image, d->resize,
            dtype == OSP_DTYPE_UINT8 ? OSP_LETTERBOX_U8_HWC : OSP_LETTERBOX_F32_CHW,
            (char *)input + (size_t)i * count * osp_dtype_bytes(dtype), geometry, err);
    OSP_TRY(osp_letterboxer_run(d->letterboxer, image, d->resize, OSP_LETTERBOX_F32_CHW, d->pixels,
                                geometry, err));
    uint16_t *dst = (uint16_t *)input + (size_t)i * count;
    for (size_t p = 0; p < count; p++)
        dst[p] = osp_float_to_half(d->pixels[p]);
    return OSP_OK;
}

static flight *flight_of(osp_detector *d, osp_ticket ticket)
{
    return d->flights + (ticket - 1) % (uint64_t)d->session->depth;
}

static osp_status enqueue_host(osp_detector *d, const osp_image *images, int32_t n,
                               osp_ticket *ticket, osp_error *err)
{
    void *input = osp_session_input_memory(d->session, 0);
    if (!input)
        OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket",
                 d->session->depth);
    flight *f = flight_of(d, d->session->next_ticket);
    for (int32_t i = 0; i < n; i++) {
        osp_status status = put_image(d, images + i, input, i, f->geometry + i, err);
        if (status) {
            osp_error_prefix(err, "image %d", i);
            return status;
        }
    }
    osp_tensor in = {.dtype = d->engine->inputs->dtype, .rank = 4, .data = input};
    memcpy(in.dims, d->engine->inputs->dims, sizeof in.dims);
    if (d->engine->info.batch_free) {
        in.dims[0] = n;
    } else if (n < d->batch) {  // a fixed batch: the rest is there but means nothing
        size_t row = 3 * (size_t)d->engine->facts.width * (size_t)d->engine->facts.height *
                     osp_dtype_bytes(in.dtype);
        memset((char *)input + (size_t)n * row, 0, (size_t)(d->batch - n) * row);
    }
    return osp_session_enqueue(d->session, &in, 1, NULL, 0, ticket, err);
}

osp_status osp_detector_enqueue(osp_detector *d, const osp_image *images, int32_t n,
                                osp_ticket *ticket, osp_error *err)
{
    osp_error_clear(err);
    if (!d || !images || !ticket)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_detector_enqueue: an argument is NULL");
    *ticket = 0;
    if (n < 1 || n > d->batch)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%d images: the engine takes 1 to %d at once", n,
                 d->batch);
    const double start = osp_time_us();
    OSP_TRY(d->gpu ? osp_detector_gpu_enqueue(d->gpu, images, n, ticket, err)
                   : enqueue_host(d, images, n, ticket, err));
    flight *f = flight_of(d, *ticket);
    f->n = n;
    f->pre_us = osp_time_us() - start;
    return OSP_OK;
}

// `first`: index of the batch's first image; boxes are appended at out[*count].
static osp_status collect(osp_detector *d, osp_ticket ticket, int64_t timeout_ms, int32_t first,
                          osp_detection *out, size_t capacity, size_t *count, osp_error *err)
{
    const flight *f = flight_of(d, ticket);
    const int32_t outputs = d->gpu ? 0 : d->engine->info.outputs;
    if (outputs)
        memset(d->outputs, 0, (size_t)outputs * sizeof *d->outputs);
    OSP_TRY(osp_session_wait(d->session, ticket, timeout_ms, d->outputs, outputs, err));
    const double start = osp_time_us();
    const osp_status status = d->gpu ? osp_detector_gpu_collect(d->gpu, ticket, f->n, first, out,
                                                                capacity, count, err)
                                     : osp_postprocess_run(d->post, d->outputs, outputs, f->n,
                                                           f->geometry, first, out, capacity, count,
                                                           err);
    osp_run_stats stats;
    osp_session_stats(d->session, &stats);
    d->stats.pre_us += f->pre_us;
    d->stats.copy_us += stats.copy_us;
    d->stats.infer_us += stats.infer_us;
    d->stats.post_us += osp_time_us() - start;
    d->stats.variant = stats.variant;
    d->stats.n += f->n;
    return status;
}

osp_status osp_detector_wait(osp_detector *d, osp_ticket ticket, int64_t timeout_ms,
                             osp_detection *out, size_t capacity, size_t *count, osp_error *err)
{
    osp_error_clear(err);
    if (!d || !ticket || !count || (capacity && !out))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_detector_wait: an argument is NULL or no ticket");
    *count = 0;
    d->stats = (osp_run_stats){0};
    return collect(d, ticket, timeout_ms, 0, out, capacity, count, err);
}

osp_status osp_detector_run(osp_detector *d, const osp_image *images, int32_t n, osp_detection *out,
                            size_t capacity, size_t *count, osp_error *err)
{
    osp_error_clear(err);
    if (!d || !count || n < 0 || (n && !images) || (capacity && !out))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_detector_run: an argument is NULL or negative");
    *count = 0;
    d->stats = (osp_run_stats){0};
    // As many batches in flight as there are slots; results in their order.
    osp_status status = OSP_OK;
    int32_t started = 0, finished = 0;  // images
    const osp_ticket base = d->session->next_ticket;
    while (!status && finished < n) {
        const int32_t rest = n - started < d->batch ? n - started : d->batch;
        osp_ticket ticket = base + (uint64_t)(finished / d->batch);
        const int32_t flying = (started - finished + d->batch - 1) / d->batch;
        if (rest && flying < d->session->depth) {
            status = osp_detector_enqueue(d, images + started, rest, &ticket, err);
            started += status ? 0 : rest;
            if (status != OSP_ERROR_BUSY || !flying)  // the caller's own tickets may take slots
                continue;
            ticket = base + (uint64_t)(finished / d->batch);
        }
        status = collect(d, ticket, -1, finished, out, capacity, count, err);
        finished += d->batch;
    }
    // After a failure: what this call has started borrows the images.
    for (; status && finished < started; finished += d->batch)
        (void)osp_session_wait(d->session, base + (uint64_t)(finished / d->batch), -1, NULL, 0,
                               NULL);
    return status;
}

void osp_detector_stats(const osp_detector *d, osp_run_stats *out)
{
    *out = d->stats;
}
