// One batch: its images are packed into pinned memory, copied in one go, resized by one launch into
// the network's input; behind the network kernels write the boxes that are kept to pinned memory. Where
// a network ends in the kind of head that they know (osprey.BoxHead), they take its place and decode
// only what passes the threshold: then the output's memory holds nothing else.
#include "engine/detector_gpu.h"

#include <string.h>

#include "base/pixels.h"
#include "base/size.h"
#include "gpu/gpu_boxes.h"
#include "gpu/gpu_letterbox.h"

// What a slot of the session needs beside its inputs and outputs.
typedef struct stage {
    void *pinned, *device;  // pixels of a batch; grown to the largest there was
    size_t bytes;
    osp_gpu_fit *fits;  // device, by image: where the boxes' kernels find them
    void *result;       // pinned: the boxes
} stage;

struct osp_detector_gpu {
    osp_session *session;
    osp_gpu *gpu;
    osp_context *ctx;
    osp_detector_gpu_options options;
    osp_gpu_boxes *boxes;
    stage *stages;  // by slot
    bool in_team;   // has joined the runtime's: one thread does not copy as fast as a GPU computes
    // Of the batch that is being enqueued.
    const osp_image *images;
    osp_image *placed;  // the same, with addresses of the device
    size_t *places;     // of each in the staging memory
    osp_gpu_fit *fits;
};

// ---- Opening ------------------------------------------------------------------------------------

const char *osp_detector_gpu_refuse(const osp_session *session,
                                    const osp_detector_gpu_options *options)
{
    const osp_head_info *head = &options->head;
    const bool counts_classes = head->head == OSP_HEAD_YOLO8 || head->head == OSP_HEAD_YOLO5 ||
                                head->head == OSP_HEAD_DETR_PAIR;
    if (!osp_session_on_gpu(session))
        return "the engine does not run on a GPU";
    if (head->rows > OSP_GPU_ROWS_MAX)
        return "it has more rows than the kernels take";
    if (counts_classes && head->classes < 1)
        return "the number of its classes is not known";
    const osp_tensor_info *boxes = session->engine->outputs + head->boxes;
    const osp_tensor_info *scores = session->engine->outputs + head->scores;
    if (boxes->dtype != scores->dtype ||
        (boxes->dtype != OSP_DTYPE_FLOAT32 && boxes->dtype != OSP_DTYPE_FLOAT16))
        return "its outputs are neither float32 nor float16";
    for (int32_t d = 1; d < boxes->rank; d++)
        if (boxes->dims[d] < 0)
            return "only a run knows the size of its output";
    return NULL;
}

static osp_gpu_boxes_options boxes_options(const osp_detector_gpu *d)
{
    const osp_engine *engine = d->session->engine;
    const osp_postprocess_settings *s = &d->options.settings;
    return (osp_gpu_boxes_options){
        .head = d->options.head.head,
        .dtype = engine->outputs[d->options.head.boxes].dtype,
        .batch = d->options.batch,
        .rows = d->options.head.rows,
        .classes = d->options.head.classes,
        .input_w = engine->facts.width,
        .input_h = engine->facts.height,
        .score_threshold = s->score_threshold,
        .iou_threshold = s->iou_threshold,
        .max_detections = s->max_detections,
        .class_agnostic = s->class_agnostic,
        .class_bits = s->filter.bits,
        .class_count = s->filter.count,
    };
}

static osp_status open_parts(osp_detector_gpu *d, osp_error *err)
{
    const osp_gpu_boxes_options options = boxes_options(d);
    const size_t fits = (size_t)d->options.batch * sizeof(osp_gpu_fit);
    OSP_TRY(osp_gpu_boxes_open(&d->boxes, d->gpu, &options, err));
    // Rows of a variant that no image fills: a box of one pixel, so that nothing is divided by 0.
    for (int32_t i = 0; i < d->options.batch; i++)
        d->fits[i] = (osp_gpu_fit){1, 1, 1, 1, 0, 0, 1, 1};
    for (int32_t i = 0; i < d->session->depth; i++) {
        stage *s = d->stages + i;
        OSP_TRY(osp_gpu_alloc(d->gpu, (void **)&s->fits, fits, err));
        OSP_TRY(osp_gpu_host_alloc(d->gpu, &s->result, osp_gpu_boxes_result_bytes(d->boxes), err));
        OSP_TRY(osp_gpu_copy(d->gpu, s->fits, d->fits, fits, NULL, err));
    }
    return osp_gpu_stream_wait(d->gpu, NULL, -1, err);
}

static osp_status put(void *user, int32_t slot, int32_t n, osp_gpu_stream stream, osp_error *err);
static osp_status after(void *user, int32_t slot, int32_t variant, const osp_head_maps *maps,
                        osp_gpu_stream stream, osp_error *err);

osp_status osp_detector_gpu_open(osp_detector_gpu **out, osp_session *session,
                                 const osp_detector_gpu_options *options, osp_error *err)
{
    osp_context *ctx = &session->engine->runtime->ctx;
    osp_gpu_scope scope;
    *out = NULL;
    osp_detector_gpu *d = osp_mem_calloc(&ctx->mem, 1, sizeof *d);
    if (!d)
        OSP_FAIL_MEMORY(err);
    *d = (osp_detector_gpu){
        .session = session, .gpu = osp_session_device(session), .ctx = ctx, .options = *options};
    d->stages = osp_mem_calloc(&ctx->mem, (size_t)session->depth, sizeof *d->stages);
    d->placed = osp_mem_calloc(&ctx->mem, (size_t)options->batch, sizeof *d->placed);
    d->places = osp_mem_calloc(&ctx->mem, (size_t)options->batch, sizeof *d->places);
    d->fits = osp_mem_calloc(&ctx->mem, (size_t)options->batch, sizeof *d->fits);
    osp_status status = d->stages && d->placed && d->places && d->fits
                            ? osp_runtime_join_team(session->engine->runtime, err)
                            : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    d->in_team = !status;
    if (!status)
        status = osp_gpu_enter(d->gpu, &scope, err);
    if (!status) {
        status = open_parts(d, err);
        osp_gpu_leave(d->gpu, &scope);
    }
    if (status) {
        osp_detector_gpu_close(&d);
        return status;
    }
    osp_session_set_hooks(session,
                          &(osp_session_hooks){.put = put,
                                               .after = after,
                                               .user = d,
                                               .takes_maps = options->head.head == OSP_HEAD_YOLO8,
                                               .output = options->head.boxes});
    *out = d;
    return OSP_OK;
}

void osp_detector_gpu_close(osp_detector_gpu **detector)
{
    osp_detector_gpu *d = *detector;
    osp_gpu_scope scope;
    if (!d)
        return;
    *detector = NULL;
    if (!osp_gpu_enter(d->gpu, &scope, NULL)) {
        for (int32_t i = 0; d->stages && i < d->session->depth; i++) {
            osp_gpu_host_free(d->gpu, d->stages[i].pinned);
            osp_gpu_host_free(d->gpu, d->stages[i].result);
            osp_gpu_free(d->gpu, d->stages[i].device);
            osp_gpu_free(d->gpu, d->stages[i].fits);
        }
        osp_gpu_boxes_close(&d->boxes);
        osp_gpu_leave(d->gpu, &scope);
    }
    if (d->in_team)
        osp_runtime_leave_team(d->session->engine->runtime);
    osp_mem_free(&d->ctx->mem, d->stages);
    osp_mem_free(&d->ctx->mem, d->placed);
    osp_mem_free(&d->ctx->mem, d->places);
    osp_mem_free(&d->ctx->mem, d->fits);
    osp_mem_free(&d->ctx->mem, d);
}

// ---- Pixels -------------------------------------------------------------------------------------

// Bytes that a batch takes in the staging memory: all that does not lie on the device.
static osp_status count_bytes(const osp_detector_gpu *d, int32_t n, size_t *total, osp_error *err)
{
    *total = 0;
    for (int32_t i = 0; i < n; i++) {
        const osp_image *image = d->images + i;
        const osp_status status = osp_image_check_anywhere(image, err);
        if (status) {
            osp_error_prefix(err, "image %d", i);
            return status;
        }
        if (image->place != OSP_PLACE_DEVICE &&
            !osp_size_add(*total, osp_gpu_image_bytes(image), total))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "image %d: the batch is too large", i);
    }
    return OSP_OK;
}

static osp_status grow(osp_detector_gpu *d, stage *s, size_t bytes, osp_error *err)
{
    if (bytes <= s->bytes)
        return OSP_OK;
    osp_gpu_host_free(d->gpu, s->pinned);
    osp_gpu_free(d->gpu, s->device);
    s->pinned = s->device = NULL;
    s->bytes = 0;
    OSP_TRY(osp_gpu_host_alloc(d->gpu, &s->pinned, bytes, err));
    OSP_TRY(osp_gpu_alloc(d->gpu, &s->device, bytes, err));
    s->bytes = bytes;
    return OSP_OK;
}

// Pageable images that the team packs, each by whoever comes first.
typedef struct packing {
    osp_detector_gpu *d;
    const stage *stage;
    int32_t n;
    atomic_int next;
} packing;

static void pack_images(void *user, int32_t thread)
{
    packing *p = user;
    (void)thread;
    for (int32_t i; (i = atomic_fetch_add(&p->next, 1)) < p->n;) {
        osp_detector_gpu *d = p->d;
        if (d->images[i].place == OSP_PLACE_HOST)
            osp_gpu_image_pack(d->images + i, (uint8_t *)p->stage->pinned + d->places[i],
                               (uint8_t *)p->stage->device + d->places[i], d->placed + i);
    }
}

// Fills d->placed: pageable pixels by the staging memory, in one copy, pinned ones straight.
static osp_status place_images(osp_detector_gpu *d, const stage *s, int32_t n,
                               osp_gpu_stream stream, osp_error *err)
{
    osp_runtime *runtime = d->session->engine->runtime;
    packing p = {.d = d, .stage = s, .n = n};
    int32_t packed = 0;
    size_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        d->placed[i] = d->images[i];
        d->places[i] = at;
        packed += d->images[i].place == OSP_PLACE_HOST;
        at += d->images[i].place == OSP_PLACE_HOST ? osp_gpu_image_bytes(d->images + i) : 0;
    }
    if (packed > 1) {
        const int32_t threads = osp_thread_budget_take(&runtime->budget, runtime->threads);
        osp_team_run(runtime->team, threads < packed ? threads : packed, pack_images, &p);
        osp_thread_budget_give(&runtime->budget, threads);
    } else {
        pack_images(&p, 0);
    }
    if (at)
        OSP_TRY(osp_gpu_copy(d->gpu, s->device, s->pinned, at, stream, err));
    for (int32_t i = 0; i < n; i++) {
        if (d->images[i].place != OSP_PLACE_PINNED)
            continue;
        OSP_TRY(osp_gpu_image_copy(d->gpu, d->images + i, (uint8_t *)s->device + at, d->placed + i,
                                   stream, err));
        at += osp_gpu_image_bytes(d->images + i);
    }
    return OSP_OK;
}

static osp_status put(void *user, int32_t slot, int32_t n, osp_gpu_stream stream, osp_error *err)
{
    osp_detector_gpu *d = user;
    const osp_engine *engine = d->session->engine;
    stage *s = d->stages + slot;
    OSP_TRY(place_images(d, s, n, stream, err));
    for (int32_t i = 0; i < n; i++) {
        const osp_letterbox fit = osp_letterbox_fit(d->options.resize, d->images[i].width,
                                                    d->images[i].height, engine->facts.width,
                                                    engine->facts.height);
        d->fits[i] = (osp_gpu_fit){.src_w = fit.src_w,
                                   .src_h = fit.src_h,
                                   .width = fit.width,
                                   .height = fit.height,
                                   .left = fit.left,
                                   .top = fit.top,
                                   .scale_x = fit.scale_x,
                                   .scale_y = fit.scale_y};
    }
    const osp_gpu_letterbox job = {
        .images = d->placed,
        .fits = d->fits,
        .n = n,
        .dst_w = engine->facts.width,
        .dst_h = engine->facts.height,
        .dtype = engine->inputs->dtype,
        .interleaved = engine->inputs->dtype == OSP_DTYPE_UINT8,
        .dst = osp_session_device_input(d->session, slot, 0),
        .fits_out = s->fits,
    };
    return osp_gpu_letterbox_run(d->gpu, &job, stream, err);
}

static osp_status after(void *user, int32_t slot, int32_t variant, const osp_head_maps *maps,
                        osp_gpu_stream stream, osp_error *err)
{
    const osp_detector_gpu *d = user;
    const osp_head_info *head = &d->options.head;
    const osp_engine *engine = d->session->engine;
    const int32_t batch = engine->info.batch_free ? engine->compiled.variants[variant].batch
                                                  : d->options.batch;
    const osp_gpu_boxes_run run = {
        .boxes = osp_session_device_output(d->session, slot, head->boxes),
        .maps = maps,
        .scores = osp_session_device_output(d->session, slot, head->scores),
        .n = batch,
        .fits = d->stages[slot].fits,
        .result = d->stages[slot].result,
    };
    return osp_gpu_boxes_enqueue(d->boxes, &run, stream, err);
}

// ---- Running ------------------------------------------------------------------------------------

osp_status osp_detector_gpu_enqueue(osp_detector_gpu *d, const osp_image *images, int32_t n,
                                    osp_ticket *ticket, osp_error *err)
{
    const osp_session *session = d->session;
    const uint64_t slot = (session->next_ticket - 1) % (uint64_t)session->depth;
    osp_gpu_scope scope;
    size_t bytes;
    if (session->slots[slot].taken)
        OSP_FAIL(err, OSP_ERROR_BUSY, "all %d slots are taken: wait for a ticket", session->depth);
    d->images = images;
    OSP_TRY(count_bytes(d, n, &bytes, err));
    OSP_TRY(osp_gpu_enter(d->gpu, &scope, err));
    const osp_status status = grow(d, d->stages + slot, bytes, err);
    osp_gpu_leave(d->gpu, &scope);
    return status ? status : osp_session_enqueue_device(d->session, n, ticket, err);
}

osp_status osp_detector_gpu_collect(const osp_detector_gpu *d, osp_ticket ticket, int32_t n,
                                    int32_t first, osp_detection *out, size_t capacity,
                                    size_t *found, osp_error *err)
{
    const stage *s = d->stages + (ticket - 1) % (uint64_t)d->session->depth;
    for (int32_t i = 0; i < n; i++) {
        const osp_gpu_box *kept;
        const int32_t count = osp_gpu_boxes_kept(d->boxes, s->result, i, &kept);
        for (int32_t k = 0; k < count; k++) {
            if (*found == capacity)
                OSP_FAIL(err, OSP_ERROR_OVERFLOW,
                         "more than %zu boxes: give room for max_detections of each image",
                         capacity);
            const osp_gpu_box *b = kept + k;
            out[(*found)++] = (osp_detection){.x1 = b->x1,
                                              .y1 = b->y1,
                                              .x2 = b->x2,
                                              .y2 = b->y2,
                                              .score = b->score,
                                              .class_id = b->class_id,
                                              .image = first + i};
        }
    }
    return OSP_OK;
}
