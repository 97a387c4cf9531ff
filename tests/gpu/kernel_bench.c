// Median of 50 by device events, warm, going round buffers that are larger than the L2 cache. What is
// timed is a graph of the launches, as a session runs them; the time of an empty graph is printed, not
// subtracted.
#include "kernel_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "gpu/gpu_boxes.h"
#include "gpu/gpu_letterbox.h"

enum { ROUNDS = 50, WARM = 10, BUFFERS = 8, BATCH = 4 };

typedef osp_status enqueue_fn(kernel_test *t, void *user, int buffer, osp_error *err);

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static osp_status capture(kernel_test *t, enqueue_fn *enqueue, void *user, int buffer,
                          osp_gpu_graph *out, osp_error *err)
{
    OSP_TRY(osp_gpu_capture_begin(t->gpu, t->stream, err));
    osp_error ending;
    const osp_status status = enqueue(t, user, buffer, err);
    const osp_status end = osp_gpu_capture_end(t->gpu, t->stream, status ? NULL : out,
                                               status ? &ending : err);
    return status ? status : end;
}

static osp_status measure(kernel_test *t, osp_gpu_graph *graphs, int count, double times[ROUNDS],
                          osp_error *err)
{
    osp_gpu_event start, end;
    OSP_TRY(osp_gpu_event_open(t->gpu, &start, true, err));
    OSP_TRY(osp_gpu_event_open(t->gpu, &end, true, err));
    for (int i = -WARM; i < ROUNDS; i++) {
        double us = 0;
        OSP_TRY(osp_gpu_event_record(t->gpu, start, t->stream, err));
        OSP_TRY(osp_gpu_graph_launch(t->gpu, graphs[(i + WARM) % count], t->stream, err));
        OSP_TRY(osp_gpu_event_record(t->gpu, end, t->stream, err));
        OSP_TRY(osp_gpu_event_wait(t->gpu, end, -1, err));
        OSP_TRY(osp_gpu_event_elapsed(t->gpu, start, end, &us, err));
        if (i >= 0)
            times[i] = us;
    }
    osp_gpu_event_close(t->gpu, &start);
    osp_gpu_event_close(t->gpu, &end);
    return OSP_OK;
}

// `bytes`: what has to be read and written. `limit_us`: 0: none.
static void time_it(kernel_test *t, const char *name, enqueue_fn *enqueue, void *user, int buffers,
                    double bytes, double limit_us)
{
    osp_gpu_graph graphs[BUFFERS] = {0};
    double times[ROUNDS];
    osp_error err;
    osp_status status = OSP_OK;
    for (int i = 0; i < buffers && !status; i++)
        status = capture(t, enqueue, user, i, &graphs[i], &err);
    if (!status)
        status = measure(t, graphs, buffers, times, &err);
    for (int i = 0; i < buffers; i++)
        osp_gpu_graph_close(t->gpu, &graphs[i]);
    if (!kernel_check(t, !status, "%s: %s", name, status ? err.text : ""))
        return;
    qsort(times, ROUNDS, sizeof times[0], by_value);
    const double median = times[ROUNDS / 2];
    printf("%-52s %8.1f us  (%.1f - %.1f)  %7.0f GB/s", name, median, times[ROUNDS / 4],
           times[ROUNDS * 3 / 4], bytes / median / 1e3);
    if (limit_us > 0) {
        printf("  limit %.0f us", limit_us);
        kernel_check(t, median < limit_us, "%s: %.1f us", name, median);
    }
    printf("\n");
}

static osp_status nothing(kernel_test *t, void *user, int buffer, osp_error *err)
{
    return osp_gpu_fill(t->gpu, user, buffer, 4, t->stream, err);
}

// ---- Letterbox ----------------------------------------------------------------------------------

typedef struct letterbox_bench {
    void *pixels[BUFFERS], *input[BUFFERS];
    osp_pixel_format format;
    osp_dtype dtype;
    bool interleaved;
} letterbox_bench;

enum { SRC_W = 1920, SRC_H = 1080, DST = 1280 };

static size_t image_bytes(osp_pixel_format format)
{
    const size_t pixels = (size_t)SRC_W * SRC_H;
    return format == OSP_PIXEL_NV12   ? pixels + pixels / 2
           : format == OSP_PIXEL_RGBA ? 4 * pixels
                                      : 3 * pixels;
}

static osp_status run_letterbox(kernel_test *t, void *user, int buffer, osp_error *err)
{
    const letterbox_bench *b = user;
    osp_image images[BATCH];
    osp_gpu_fit fits[BATCH];
    for (int i = 0; i < BATCH; i++) {
        uint8_t *at = (uint8_t *)b->pixels[buffer] + (size_t)i * image_bytes(b->format);
        images[i] = (osp_image){.plane = {at, at + (size_t)SRC_W * SRC_H},
                                .width = SRC_W,
                                .height = SRC_H,
                                .format = b->format,
                                .place = OSP_PLACE_DEVICE};
        fits[i] = (osp_gpu_fit){SRC_W, SRC_H, DST, 720, 0, 280, DST / (float)SRC_W, 720.0f / SRC_H};
    }
    const osp_gpu_letterbox job = {.images = images,
                                   .fits = fits,
                                   .n = BATCH,
                                   .dst_w = DST,
                                   .dst_h = DST,
                                   .dtype = b->dtype,
                                   .interleaved = b->interleaved,
                                   .dst = b->input[buffer]};
    return osp_gpu_letterbox_run(t->gpu, &job, t->stream, err);
}

static void bench_letterbox(kernel_test *t)
{
    static const struct {
        osp_pixel_format format;
        osp_dtype dtype;
        bool interleaved;
        const char *name;
        double limit_us;
    } rows[] = {
        {OSP_PIXEL_RGB, OSP_DTYPE_FLOAT16, false, "letterbox 4 x 1920x1080 RGB to 1280 float16",
         60},
        {OSP_PIXEL_RGB, OSP_DTYPE_FLOAT32, false, "letterbox 4 x 1920x1080 RGB to 1280 float32",
         60},
        {OSP_PIXEL_RGB, OSP_DTYPE_UINT8, false, "letterbox 4 x 1920x1080 RGB to 1280 uint8", 60},
        {OSP_PIXEL_RGB, OSP_DTYPE_UINT8, true, "letterbox 4 x 1920x1080 RGB to 1280 pixels", 60},
        {OSP_PIXEL_RGBA, OSP_DTYPE_FLOAT16, false, "letterbox 4 x 1920x1080 RGBA to 1280 float16",
         60},
        {OSP_PIXEL_NV12, OSP_DTYPE_FLOAT16, false, "letterbox 4 x 1920x1080 NV12 to 1280 float16",
         60},
        {OSP_PIXEL_NV12, OSP_DTYPE_UINT8, true, "letterbox 4 x 1920x1080 NV12 to 1280 pixels", 60},
    };
    letterbox_bench b;
    osp_error err = {0};
    const size_t in = BATCH * image_bytes(OSP_PIXEL_RGBA), out = (size_t)BATCH * 3 * DST * DST * 4;
    bool good = true;
    memset(&b, 0, sizeof b);
    for (int i = 0; i < BUFFERS && good; i++)
        good = !osp_gpu_alloc(t->gpu, &b.pixels[i], in, &err) &&
               !osp_gpu_alloc(t->gpu, &b.input[i], out, &err) &&
               !osp_gpu_fill(t->gpu, b.pixels[i], 77 + i, in, t->stream, &err);
    if (kernel_check(t, good, "letterbox: %s", err.text))
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            b.format = rows[k].format;
            b.dtype = rows[k].dtype;
            b.interleaved = rows[k].interleaved;
            const double bytes = (double)(BATCH * image_bytes(b.format)) +
                                 (double)BATCH * 3 * DST * DST * (double)osp_dtype_bytes(b.dtype);
            time_it(t, rows[k].name, run_letterbox, &b, BUFFERS, bytes, rows[k].limit_us);
        }
    for (int i = 0; i < BUFFERS; i++) {
        osp_gpu_free(t->gpu, b.pixels[i]);
        osp_gpu_free(t->gpu, b.input[i]);
    }
}

// ---- Boxes --------------------------------------------------------------------------------------

enum { ROWS = 33600, CLASSES = 80, HEADS = 3 };

typedef struct boxes_bench {
    osp_gpu_boxes *boxes;
    void *head[HEADS], *fits, *result;
} boxes_bench;

static osp_status run_boxes(kernel_test *t, void *user, int buffer, osp_error *err)
{
    const boxes_bench *b = user;
    const osp_gpu_boxes_run run = {
        .boxes = b->head[buffer], .n = BATCH, .fits = b->fits, .result = b->result};
    return osp_gpu_boxes_enqueue(b->boxes, &run, t->stream, err);
}

// `above` of the rows of each image have one class above 0.25. spread: of centres, in pixels; small:
// crowded. one: all of one class.
static void fill_head(kernel_test *t, float *head, int above, float spread, bool one)
{
    const size_t image = (size_t)(4 + CLASSES) * ROWS;
    for (int i = 0; i < BATCH; i++) {
        float *p = head + (size_t)i * image;
        for (int r = 0; r < ROWS; r++) {
            p[r] = 640 + kernel_uniform(t, -spread, spread);
            p[ROWS + r] = 640 + kernel_uniform(t, -spread, spread);
            p[2 * ROWS + r] = kernel_uniform(t, 20, 120);
            p[3 * ROWS + r] = kernel_uniform(t, 20, 120);
            for (int c = 0; c < CLASSES; c++)
                p[(size_t)(4 + c) * ROWS + (size_t)r] = kernel_uniform(t, 0, 0.2f);
            const int c = one ? 0 : (int)(kernel_random(t) % CLASSES);
            // every `ROWS / above`th row, spread evenly
            if ((int64_t)r * above / ROWS != (int64_t)(r + 1) * above / ROWS)
                p[(size_t)(4 + c) * ROWS + (size_t)r] = kernel_uniform(t, 0.26f, 0.99f);
        }
    }
}

static bool open_boxes(kernel_test *t, boxes_bench *b, osp_error *err)
{
    const osp_gpu_fit fits[BATCH] = {{1280, 1280, 1280, 1280, 0, 0, 1, 1},
                                     {1920, 1080, 1280, 720, 0, 280, 2.0f / 3, 2.0f / 3},
                                     {1280, 1280, 1280, 1280, 0, 0, 1, 1},
                                     {640, 640, 1280, 1280, 0, 0, 2, 2}};
    const osp_gpu_boxes_options options = {.head = OSP_HEAD_YOLO8,
                                           .dtype = OSP_DTYPE_FLOAT32,
                                           .batch = BATCH,
                                           .rows = ROWS,
                                           .classes = CLASSES,
                                           .input_w = 1280,
                                           .input_h = 1280,
                                           .score_threshold = 0.25f,
                                           .iou_threshold = 0.7f,
                                           .max_detections = 300};
    memset(b, 0, sizeof *b);
    b->fits = kernel_upload(t, fits, sizeof fits);
    return !osp_gpu_boxes_open(&b->boxes, t->gpu, &options, err) &&
           !osp_gpu_host_alloc(t->gpu, &b->result, osp_gpu_boxes_result_bytes(b->boxes), err);
}

static void close_boxes(kernel_test *t, boxes_bench *b)
{
    for (int i = 0; i < HEADS; i++)
        osp_gpu_free(t->gpu, b->head[i]);
    osp_gpu_free(t->gpu, b->fits);
    osp_gpu_host_free(t->gpu, b->result);
    osp_gpu_boxes_close(&b->boxes);
}

static void print_kept(const boxes_bench *b)
{
    const osp_gpu_box *list;
    printf("    kept of the first image: %d\n", osp_gpu_boxes_kept(b->boxes, b->result, 0, &list));
}

static void bench_boxes(kernel_test *t, const char *name, int above, float spread, bool one,
                        double limit_us)
{
    const size_t bytes = (size_t)BATCH * (4 + CLASSES) * ROWS * sizeof(float);
    boxes_bench b;
    osp_error err = {0};
    float *head = malloc(bytes);
    const bool good = open_boxes(t, &b, &err);
    for (int i = 0; i < HEADS; i++) {
        fill_head(t, head, above, spread, one);
        b.head[i] = kernel_upload(t, head, bytes);
    }
    free(head);
    if (kernel_check(t, good, "boxes: %s", err.text)) {
        time_it(t, name, run_boxes, &b, HEADS, (double)bytes, limit_us);
        print_kept(&b);
    }
    close_boxes(t, &b);
}

// ---- Boxes from maps ----------------------------------------------------------------------------

// Three levels of FP16 maps, channels last.
typedef struct maps_bench {
    boxes_bench boxes;
    osp_head_maps maps[HEADS];
    void *sides, *classes[HEADS], *tables;
    bool directly;  // else by the output tensor
} maps_bench;

static osp_status run_maps(kernel_test *t, void *user, int buffer, osp_error *err)
{
    const maps_bench *b = user;
    const osp_gpu_boxes_run run = {.boxes = b->boxes.head[0],
                                   .maps = b->directly ? b->maps + buffer : NULL,
                                   .n = BATCH,
                                   .fits = b->boxes.fits,
                                   .result = b->boxes.result};
    if (!b->directly)
        OSP_TRY(kernel_box_head(t, b->maps + buffer, BATCH, b->boxes.head[0], err));
    return osp_gpu_boxes_enqueue(b->boxes.boxes, &run, t->stream, err);
}

static void fill_maps(kernel_test *t, maps_bench *b, int buffer, int above)
{
    enum { BINS = OSP_HEAD_BINS, COUNT = BATCH * ROWS * CLASSES };
    static const int32_t pixels[] = {25600, 6400, 1600};
    osp_head_maps *m = b->maps + buffer;
    uint16_t *logits = malloc(COUNT * sizeof *logits);
    for (size_t i = 0; i < COUNT; i++)
        logits[i] = osp_float_to_half(kernel_uniform(t, -9, -2));
    for (int i = 0; i < BATCH * above; i++)
        logits[kernel_random(t) % COUNT] = osp_float_to_half(kernel_uniform(t, -1, 4));
    b->classes[buffer] = kernel_upload(t, logits, COUNT * sizeof *logits);
    free(logits);
    *m = (osp_head_maps){.places = b->tables,
                         .strides = (const float *)b->tables + 2 * ROWS,
                         .weights = (const float *)b->tables + 3 * ROWS,
                         .levels = 3,
                         .all = ROWS,
                         .classes = CLASSES,
                         .bins = BINS,
                         .half_sides = true,
                         .half_classes = true,
                         .wide_sides = true,
                         .wide_classes = true};
    int32_t first = 0;
    for (int i = 0; i < 3; i++) {
        m->level[i] = (osp_head_level){
            .sides = {(uint16_t *)b->sides + (int64_t)BATCH * first * 4 * BINS,
                      (int64_t)pixels[i] * 4 * BINS, 4 * BINS, 1},
            .classes = {(uint16_t *)b->classes[buffer] + (int64_t)BATCH * first * CLASSES,
                        (int64_t)pixels[i] * CLASSES, CLASSES, 1},
            .first = first,
            .pixels = pixels[i]};
        first += pixels[i];
    }
}

static void bench_maps(kernel_test *t, int above)
{
    const size_t bytes = (size_t)BATCH * (4 + CLASSES) * ROWS * sizeof(float);
    const size_t sides = (size_t)BATCH * ROWS * 4 * OSP_HEAD_BINS;
    maps_bench b = {.directly = false};
    osp_error err = {0};
    char name[64];
    const bool good = open_boxes(t, &b.boxes, &err);
    uint16_t *values = malloc(sides * sizeof *values);
    for (size_t i = 0; i < sides; i++)
        values[i] = osp_float_to_half(kernel_uniform(t, -6, 6));
    b.sides = kernel_upload(t, values, sides * sizeof *values);
    free(values);
    float *tables = malloc((3 * ROWS + OSP_HEAD_BINS) * sizeof *tables);
    for (int i = 0; i < 3 * ROWS + OSP_HEAD_BINS; i++)
        tables[i] = i < 2 * ROWS   ? kernel_uniform(t, 0, 160)
                    : i < 3 * ROWS ? 8
                                   : (float)(i - 3 * ROWS);
    b.tables = kernel_upload(t, tables, (3 * ROWS + OSP_HEAD_BINS) * sizeof *tables);
    free(tables);
    for (int i = 0; i < HEADS; i++)
        fill_maps(t, &b, i, above);
    const bool room = good && !osp_gpu_alloc(t->gpu, &b.boxes.head[0], bytes, &err);
    for (int i = 0; i < 2 && kernel_check(t, room, "boxes from maps: %s", err.text); i++) {
        b.directly = i;
        snprintf(name, sizeof name, "maps 4 x 33,600 x 80, %d above, %s", above,
                 i ? "directly" : "by the output");
        time_it(t, name, run_maps, &b, HEADS, (double)BATCH * ROWS * CLASSES * 2, 0);
        print_kept(&b.boxes);
    }
    osp_gpu_free(t->gpu, b.sides);
    osp_gpu_free(t->gpu, b.tables);
    for (int i = 0; i < HEADS; i++)
        osp_gpu_free(t->gpu, b.classes[i]);
    close_boxes(t, &b.boxes);
}

void kernel_bench(kernel_test *t)
{
    void *word = kernel_upload(t, "abc", 4);
    time_it(t, "a graph that fills four bytes", nothing, word, BUFFERS, 4, 0);
    osp_gpu_free(t->gpu, word);
    bench_letterbox(t);
    bench_boxes(t, "boxes 4 x 33,600 x 80, 1,000 above", 1000, 600, false, 150);
    bench_boxes(t, "boxes 4 x 33,600 x 80, 30,000 above", 30000, 600, false, 400);
    bench_boxes(t, "boxes 4 x 33,600 x 80, 30,000 above, crowded", 30000, 60, false, 0);
    bench_boxes(t, "boxes 4 x 33,600 x 80, 30,000 above, one class", 30000, 600, true, 0);
    bench_boxes(t, "boxes 4 x 33,600 x 80, 30,000 above, one place", 30000, 30, true, 0);
    bench_maps(t, 1000);
    bench_maps(t, 30000);
}
