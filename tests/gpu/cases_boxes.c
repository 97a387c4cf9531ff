// The box kernels against src/vision/postprocess.c: every kind of head, type, filter and threshold,
// with ties, no numbers, nothing and everything above the threshold. Bits and order must be equal.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "gpu/gpu_boxes.h"
#include "kernel_cases.h"
#include "vision/postprocess.h"

enum { IMAGES = 3, INPUT = 640 };

typedef struct boxes_case {
    osp_head head;
    osp_dtype dtype;
    int64_t rows;
    int32_t classes;
    float above;      // part of the rows with a score above the threshold
    int32_t levels;   // scores come in so many steps, so that they tie; 0: any
    int32_t centres;  // boxes crowd around so many places; 0: anywhere
    float score_threshold, iou_threshold;
    int32_t max_detections;
    bool agnostic, filter;
    bool odd;   // some values are no numbers, or infinite
    bool same;  // boxes of one place are equal
} boxes_case;

static int64_t row_values(const boxes_case *c)
{
    return c->head == OSP_HEAD_YOLO8       ? 4 + c->classes
           : c->head == OSP_HEAD_YOLO5     ? 5 + c->classes
           : c->head == OSP_HEAD_DETR_PAIR ? 4
                                           : 6;
}

static float odd_value(kernel_test *t)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, -0.0f, 3e38f};
    return values[kernel_random(t) % 5];
}

static float any_score(kernel_test *t, const boxes_case *c)
{
    const bool above = kernel_uniform(t, 0, 1) < c->above;
    float s = above ? kernel_uniform(t, c->score_threshold, 1)
                    : kernel_uniform(t, 0, c->score_threshold);
    if (c->levels) {
        s = floorf(s * (float)c->levels) / (float)c->levels;
        if (above && s <= c->score_threshold)
            s += 1.0f / (float)c->levels;
    }
    return s;
}

// centre and size of a box, in input pixels
static void any_box(kernel_test *t, const boxes_case *c, float out[4])
{
    if (c->same) {
        out[0] = 64 * (float)(1 + kernel_random(t) % (uint32_t)c->centres);
        out[1] = out[2] = out[3] = 64;
    } else if (c->centres) {
        const float at = (float)(kernel_random(t) % (uint32_t)c->centres);
        out[0] = 40 + fmodf(at * 97, INPUT - 80) + kernel_uniform(t, -6, 6);
        out[1] = 40 + fmodf(at * 211, INPUT - 80) + kernel_uniform(t, -6, 6);
        out[2] = 60 + kernel_uniform(t, -8, 8);
        out[3] = 50 + kernel_uniform(t, -8, 8);
    } else {
        out[0] = kernel_uniform(t, -20, INPUT + 20);
        out[1] = kernel_uniform(t, -20, INPUT + 20);
        out[2] = kernel_uniform(t, 1, 200);
        out[3] = kernel_uniform(t, 1, 200);
    }
}

// Values of one row: four of the box, then what the head has; logits to `logits`.
static void fill_row(kernel_test *t, const boxes_case *c, float *row, float *logits)
{
    float box[4];
    const float score = any_score(t, c);
    const int32_t best = (int32_t)(kernel_random(t) % (uint32_t)c->classes);
    any_box(t, c, box);
    memcpy(row, box, sizeof box);
    switch (c->head) {
    case OSP_HEAD_YOLO8:
    case OSP_HEAD_YOLO5: {
        const bool object = c->head == OSP_HEAD_YOLO5;
        float *scores = row + 4 + object;
        for (int32_t k = 0; k < c->classes; k++)
            scores[k] = k == best ? score : kernel_uniform(t, 0, score);
        if (c->levels && c->classes > 1)
            scores[(best + 1) % c->classes] = score;  // equal classes: the first counts
        if (object)
            row[4] = kernel_uniform(t, 0.5f, 1);
        break;
    }
    case OSP_HEAD_END2END:
        row[0] = box[0] - box[2] / 2;
        row[1] = box[1] - box[3] / 2;
        row[2] = box[0] + box[2] / 2;
        row[3] = box[1] + box[3] / 2;
        row[4] = score;
        row[5] = (float)best;
        break;
    default:
        for (int k = 0; k < 4; k++)
            row[k] = box[k] / INPUT;
        if (c->head == OSP_HEAD_DETR) {
            row[4] = score;
            row[5] = (float)best;
        } else {
            for (int32_t k = 0; k < c->classes; k++)
                logits[k] = k == best ? logf(score / (1.00001f - score)) : -9;
        }
        break;
    }
    if (c->odd && kernel_random(t) % 5 == 0)
        row[kernel_random(t) % (uint32_t)row_values(c)] = odd_value(t);
    if (c->odd && logits && kernel_random(t) % 5 == 0)
        logits[kernel_random(t) % (uint32_t)c->classes] = odd_value(t);
}

typedef struct outputs {
    osp_tensor tensors[2];
    float *values[2];
    size_t counts[2];
} outputs;

static void fill_outputs(kernel_test *t, const boxes_case *c, outputs *o)
{
    const int64_t values = row_values(c);
    const bool pair = c->head == OSP_HEAD_DETR_PAIR, planes = c->head == OSP_HEAD_YOLO8;
    o->counts[0] = (size_t)(IMAGES * c->rows * values);
    o->counts[1] = pair ? (size_t)(IMAGES * c->rows * c->classes) : 0;
    float *row = malloc((size_t)values * sizeof *row);
    for (int k = 0; k < 2; k++)
        o->values[k] = malloc((o->counts[k] + 1) * sizeof(float));
    for (int64_t i = 0; i < IMAGES * c->rows; i++) {
        fill_row(t, c, row, pair ? o->values[1] + i * c->classes : NULL);
        const int64_t image = i / c->rows, r = i % c->rows;
        for (int64_t v = 0; v < values; v++)
            o->values[0][planes ? (image * values + v) * c->rows + r : i * values + v] = row[v];
    }
    free(row);
    if (c->dtype == OSP_DTYPE_FLOAT16)  // both sides see what a half can hold
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < o->counts[k]; i++)
                o->values[k][i] = osp_half_to_float(osp_float_to_half(o->values[k][i]));
    for (int k = 0; k < 2; k++)
        o->tensors[k] = (osp_tensor){.dtype = OSP_DTYPE_FLOAT32,
                                     .rank = 3,
                                     .dims = {IMAGES, planes ? values : c->rows,
                                              k        ? c->classes
                                              : planes ? c->rows
                                                       : values},
                                     .data = o->values[k]};
}

static size_t expected_boxes(kernel_test *t, const boxes_case *c, const outputs *o,
                             const osp_letterbox *geometry, const int32_t *kept_classes,
                             int32_t kept_count, osp_detection *out, size_t capacity)
{
    const osp_postprocess_options options = {
        .head = {.head = c->head,
                 .boxes = 0,
                 .scores = c->head == OSP_HEAD_DETR_PAIR,
                 .rows = c->rows,
                 .classes = c->classes},
        .input_w = INPUT,
        .input_h = INPUT,
        .score_threshold = c->score_threshold > 0 ? c->score_threshold : -1,
        .iou_threshold = c->iou_threshold > 0 ? c->iou_threshold : -1,
        .max_detections = c->max_detections,
        .class_agnostic = c->agnostic,
        .classes = kept_classes,
        .class_count = kept_count};
    osp_postprocess *post;
    osp_error err;
    size_t found = 0;
    osp_status status = osp_postprocess_open(&post, t->ctx, &options, &err);
    if (!status)
        status = osp_postprocess_run(post, o->tensors, 2, IMAGES, geometry, 0, out, capacity,
                                     &found, &err);
    kernel_check(t, !status, "the CPU's boxes: %s", status ? err.text : "");
    osp_postprocess_close(&post);
    return found;
}

static const char *describe(const boxes_case *c, char text[200])
{
    snprintf(text, 200,
             "head %d %s rows %lld classes %d above %g levels %d centres %d iou %g max %d%s%s%s",
             (int)c->head, osp_dtype_name(c->dtype), (long long)c->rows, c->classes,
             (double)c->above, c->levels, c->centres, (double)c->iou_threshold, c->max_detections,
             c->agnostic ? " agnostic" : "", c->filter ? " filter" : "", c->odd ? " odd" : "");
    return text;
}

static void compare_result(kernel_test *t, const boxes_case *c, const osp_gpu_boxes *boxes,
                           const void *result, const osp_detection *wanted, size_t count)
{
    char text[200];
    size_t at = 0;
    describe(c, text);
    for (int32_t i = 0; i < IMAGES; i++) {
        const osp_gpu_box *made;
        const int32_t kept = osp_gpu_boxes_kept(boxes, result, i, &made);
        size_t want = 0;
        while (at + want < count && wanted[at + want].image == i)
            want++;
        if (kernel_check(t, (size_t)kept == want, "%s: image %d: %d boxes, not %zu", text, i, kept,
                         want)) {
            size_t k = 0;
            while (k < want && !memcmp(&made[k], &wanted[at + k], sizeof *made))
                k++;
            kernel_check(t, k == want, "%s: image %d: box %zu of %zu differs: score %g, not %g",
                         text, i, k, want, k < want ? (double)made[k].score : 0,
                         k < want ? (double)wanted[at + k].score : 0);
        }
        at += want;
    }
}

// Twice: into device memory and copied; into pinned memory, after another run on the same scratch.
static void run_kernels(kernel_test *t, const boxes_case *c, osp_gpu_boxes *boxes,
                        osp_gpu_boxes_run *run, const osp_detection *wanted, size_t count)
{
    const size_t bytes = osp_gpu_boxes_result_bytes(boxes);
    osp_error err;
    void *device = NULL, *pinned = NULL, *host = calloc(1, bytes);
    char text[200];
    osp_gpu_counters before, after;
    osp_status status = osp_gpu_alloc(t->gpu, &device, bytes, &err);
    if (!status)
        status = osp_gpu_host_alloc(t->gpu, &pinned, bytes, &err);
    if (!status)  // only what is kept gets written, and all of it is copied back
        status = osp_gpu_fill(t->gpu, device, 0, bytes, t->stream, &err);
    osp_gpu_count_work(t->gpu, &before);
    run->result = device;
    if (!status)
        status = osp_gpu_boxes_enqueue(boxes, run, t->stream, &err);
    if (kernel_check(t, !status, "%s: %s", describe(c, text), status ? err.text : "") &&
        kernel_download(t, host, device, bytes))
        compare_result(t, c, boxes, host, wanted, count);
    run->result = pinned;
    if (!status)
        status = osp_gpu_boxes_enqueue(boxes, run, t->stream, &err);
    if (!status)
        status = osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
    if (kernel_check(t, !status, "%s: %s", describe(c, text), status ? err.text : ""))
        compare_result(t, c, boxes, pinned, wanted, count);
    osp_gpu_count_work(t->gpu, &after);
    kernel_check(t, before.allocs == after.allocs && before.opens == after.opens,
                 "%s: a run allocates", describe(c, text));
    osp_gpu_free(t->gpu, device);
    osp_gpu_host_free(t->gpu, pinned);
    free(host);
}

static void run_case(kernel_test *t, const boxes_case *c)
{
    outputs o;
    osp_letterbox geometry[IMAGES];
    osp_gpu_fit fits[IMAGES];
    uint8_t bits[32] = {0};
    int32_t kept_classes[256], kept_count = 0;
    osp_gpu_boxes *boxes;
    osp_error err;
    char text[200];
    fill_outputs(t, c, &o);
    for (int i = 0; i < IMAGES; i++) {
        const osp_letterbox g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, 300 + 731 * i,
                                                  900 - 217 * i, INPUT, INPUT);
        geometry[i] = g;
        fits[i] = (osp_gpu_fit){g.src_w, g.src_h, g.width,   g.height,
                                g.left,  g.top,   g.scale_x, g.scale_y};
    }
    for (int32_t k = 0; c->filter && k < c->classes && k < 256; k += 2) {
        kept_classes[kept_count++] = k;
        bits[k / 8] |= (uint8_t)(1 << k % 8);
    }
    const size_t capacity = (size_t)(IMAGES * c->rows);
    osp_detection *wanted = malloc(capacity * sizeof *wanted);
    const size_t count = expected_boxes(t, c, &o, geometry, kept_classes, kept_count, wanted,
                                        capacity);
    const int64_t spare = c->classes % 2 ? 17 : 0;  // opened for more rows than come
    const osp_gpu_boxes_options options = {
        .head = c->head,
        .dtype = c->dtype,
        .batch = IMAGES + 1,
        .rows = c->rows + spare,
        .classes = c->classes,
        .input_w = INPUT,
        .input_h = INPUT,
        .score_threshold = c->score_threshold,
        .iou_threshold = c->iou_threshold,
        .max_detections = c->max_detections,
        .class_agnostic = c->agnostic,
        .class_bits = c->filter ? bits : NULL,
        .class_count = c->filter ? kept_classes[kept_count - 1] + 1 : 0};
    const osp_status status = osp_gpu_boxes_open(&boxes, t->gpu, &options, &err);
    if (kernel_check(t, !status, "%s: %s", describe(c, text), status ? err.text : "")) {
        void *device[2] = {0};
        for (int k = 0; k < 2; k++)
            if (o.counts[k])
                device[k] = kernel_upload_floats(t, c->dtype, o.values[k], o.counts[k]);
        void *device_fits = kernel_upload(t, fits, sizeof fits);
        osp_gpu_boxes_run run = {.boxes = device[0],
                                 .scores = device[1],
                                 .n = IMAGES,
                                 .rows = spare ? c->rows : 0,
                                 .fits = device_fits};
        run_kernels(t, c, boxes, &run, wanted, count);
        osp_gpu_free(t->gpu, device[0]);
        osp_gpu_free(t->gpu, device[1]);
        osp_gpu_free(t->gpu, device_fits);
        osp_gpu_boxes_close(&boxes);
    }
    free(wanted);
    free(o.values[0]);
    free(o.values[1]);
}

void kernel_cases_boxes(kernel_test *t)
{
    static const boxes_case variants[] = {
        {.rows = 300, .classes = 3, .above = 0.3f, .iou_threshold = 0.7f, .max_detections = 300},
        {.rows = 300, .classes = 80, .above = 0, .iou_threshold = 0.7f, .max_detections = 300},
        {.rows = 1, .classes = 1, .above = 1, .iou_threshold = 0.7f, .max_detections = 300},
        {.rows = 777,
         .classes = 1,
         .above = 1,
         .centres = 9,
         .iou_threshold = 0.5f,
         .max_detections = 5},
        {.rows = 1500,
         .classes = 5,
         .above = 1,
         .levels = 7,
         .centres = 40,
         .iou_threshold = 0.6f,
         .max_detections = 300},
        {.rows = 1500,
         .classes = 5,
         .above = 0.9f,
         .centres = 90,
         .iou_threshold = 0.45f,
         .max_detections = 300,
         .agnostic = true},
        {.rows = 900,
         .classes = 20,
         .above = 0.8f,
         .levels = 50,
         .centres = 60,
         .iou_threshold = 0.7f,
         .max_detections = 100,
         .filter = true},
        {.rows = 1100,
         .classes = 4,
         .above = 0.7f,
         .levels = 20,
         .centres = 50,
         .iou_threshold = 0.7f,
         .max_detections = 300,
         .odd = true},
        {.rows = 600,
         .classes = 2,
         .above = 0.6f,
         .centres = 30,
         .iou_threshold = 0,
         .max_detections = 100000},
        // An overlap of exactly the threshold is none: boxes that are equal all stay.
        {.rows = 90,
         .classes = 2,
         .above = 1,
         .centres = 8,
         .iou_threshold = 1,
         .max_detections = 300,
         .same = true},
        // Several chunks of keys, more candidates than room, and tiles that suppress all.
        {.rows = 9000,
         .classes = 2,
         .above = 0.95f,
         .levels = 300,
         .centres = 25,
         .iou_threshold = 0.7f,
         .max_detections = 300},
        {.rows = 4097, .classes = 1, .above = 1, .iou_threshold = 1, .max_detections = 4000},
        {.rows = 33600,
         .classes = 80,
         .above = 0.03f,
         .iou_threshold = 0.7f,
         .max_detections = 300},
        {.rows = 33600, .classes = 80, .above = 1, .iou_threshold = 0.7f, .max_detections = 300},
        {.rows = 40000,
         .classes = 1,
         .above = 1,
         .levels = 1000,
         .centres = 7,
         .iou_threshold = 0.7f,
         .max_detections = 300,
         .odd = true},
        {.rows = 134400,
         .classes = 3,
         .above = 0.5f,
         .centres = 400,
         .iou_threshold = 0.7f,
         .max_detections = 1000},
    };
    for (size_t k = 0; k < sizeof variants / sizeof variants[0]; k++)
        for (int head = OSP_HEAD_END2END; head <= OSP_HEAD_DETR_PAIR; head++)
            for (int half = 0; half < 2; half++) {
                boxes_case c = variants[k];
                // On a slow device: the large ones once, for the head with most to do.
                if (t->quick && c.rows > 2000 && (c.rows > 10000 || head != OSP_HEAD_YOLO8 || half))
                    continue;
                c.head = (osp_head)head;
                c.dtype = half ? OSP_DTYPE_FLOAT16 : OSP_DTYPE_FLOAT32;
                c.score_threshold = k % 4 == 3 ? 0 : 0.25f;
                run_case(t, &c);
            }
}
