// Boxes straight from a detector's maps against the same maps by way of osprey.BoxHead's kernel and
// its output tensor: counts, order and bits must be equal, for every type, layout and number of
// levels, every threshold, and logits that tie, saturate or are no numbers.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/kernels.h"
#include "gpu/gpu_boxes.h"
#include "kernel_cases.h"

enum { IMAGES = 3, INPUT = 640, LAYOUTS = 4, MAPS = 2 * OSP_HEAD_LEVELS };
enum { DENSE, SLICE, ODD_SLICE, PLANES };  // layouts

typedef struct maps_case {
    int32_t levels, rows, classes, bins;  // rows: of the largest level
    int layout;
    bool half_sides, half_classes;
    float score_threshold;
    int32_t max_detections;
    float middle, range;  // of logits
    bool steps;           // logits come in whole numbers, so that they tie
    bool odd, filter, agnostic;
} maps_case;

static const char *describe(const maps_case *c, char text[200])
{
    snprintf(text, 200,
             "maps: %d levels of %d, %d classes, %d bins, layout %d, sides f%d, classes f%d, "
             "threshold %g, max %d, logits %g +- %g%s%s%s%s",
             c->levels, c->rows, c->classes, c->bins, c->layout, c->half_sides ? 16 : 32,
             c->half_classes ? 16 : 32, (double)c->score_threshold, c->max_detections,
             (double)c->middle, (double)c->range, c->steps ? " steps" : "", c->odd ? " odd" : "",
             c->filter ? " filter" : "", c->agnostic ? " agnostic" : "");
    return text;
}

static float odd_value(kernel_test *t)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, -0.0f, 60000, -60000, 88, -88};
    return values[kernel_random(t) % 8];
}

static float any_value(kernel_test *t, const maps_case *c, bool logit)
{
    if (c->odd && kernel_random(t) % 40 == 0)
        return odd_value(t);
    if (!logit)
        return c->bins > 1 ? kernel_uniform(t, -6, 6) : kernel_uniform(t, 0, 12);
    const float x = c->middle + kernel_uniform(t, -c->range, c->range);
    return c->steps ? floorf(x) : x;
}

// A map of random values on the device; NULL on failure.
static void *make_map(kernel_test *t, const maps_case *c, bool logits, int32_t pixels,
                      osp_gpu_map *map)
{
    const bool half = logits ? c->half_classes : c->half_sides;
    const int64_t channels = logits ? c->classes : 4 * (int64_t)c->bins;
    const int64_t pitch = channels + (c->layout == SLICE ? 16 : c->layout == ODD_SLICE ? 3 : 0);
    const size_t count = (size_t)(IMAGES * pixels * pitch);
    *map = (osp_gpu_map){.image = pixels * pitch, .pixel = pitch, .channel = 1};
    if (c->layout == PLANES) {
        map->pixel = 1;
        map->channel = pixels;
    }
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = any_value(t, c, logits);
    void *device = kernel_upload_floats(t, half ? OSP_DTYPE_FLOAT16 : OSP_DTYPE_FLOAT32, values,
                                        count);
    map->data = device;
    free(values);
    return device;
}

static bool is_wide(const osp_gpu_map *map, int32_t channels, bool half)
{
    const int32_t unit = half ? 8 : 4;
    return map->channel == 1 && channels % unit == 0 && map->pixel % unit == 0 &&
           map->image % unit == 0;
}

// Everything of one case that lies on the device.
typedef struct bench {
    osp_head_maps maps;
    void *memory[MAPS], *tables;
    void *whole, *room;  // the output tensor, and memory of its size with NaN in it
    void *fits;
    size_t bytes;
} bench;

// Places, strides and weights, in one piece.
static void make_tables(kernel_test *t, bench *b)
{
    osp_head_maps *m = &b->maps;
    const size_t all = (size_t)m->all, count = 3 * all + (size_t)m->bins;
    float *tables = malloc(count * sizeof *tables);
    for (size_t i = 0; i < 2 * all; i++)
        tables[i] = kernel_uniform(t, 0, 80);
    for (size_t i = 2 * all; i < 3 * all; i++)
        tables[i] = (float)(8 << kernel_random(t) % 3);
    for (int32_t i = 0; i < m->bins; i++)
        tables[3 * all + (size_t)i] = (float)i;
    b->tables = kernel_upload(t, tables, count * sizeof *tables);
    m->places = b->tables;
    m->strides = m->places + 2 * all;
    m->weights = m->bins > 1 ? m->places + 3 * all : NULL;
    free(tables);
}

static void open_bench(kernel_test *t, const maps_case *c, bench *b)
{
    osp_gpu_fit fits[IMAGES];
    *b = (bench){.maps = {.levels = c->levels,
                          .classes = c->classes,
                          .bins = c->bins,
                          .half_sides = c->half_sides,
                          .half_classes = c->half_classes,
                          .wide_sides = c->bins == OSP_HEAD_BINS,
                          .wide_classes = true}};
    osp_head_maps *m = &b->maps;
    for (int32_t i = 0; i < c->levels; i++) {
        osp_head_level *l = m->level + i;
        l->first = m->all;
        l->pixels = c->rows / (1 << 2 * i) + 1;
        m->all += l->pixels;
        b->memory[i] = make_map(t, c, false, l->pixels, &l->sides);
        b->memory[c->levels + i] = make_map(t, c, true, l->pixels, &l->classes);
        m->wide_sides &= is_wide(&l->sides, 4 * c->bins, c->half_sides);
        m->wide_classes &= is_wide(&l->classes, c->classes, c->half_classes);
    }
    make_tables(t, b);
    b->bytes = (size_t)IMAGES * (size_t)(4 + c->classes) * (size_t)m->all * sizeof(float);
    float *nothing = malloc(b->bytes);
    memset(nothing, 0xff, b->bytes);
    b->whole = kernel_upload(t, nothing, b->bytes);
    b->room = kernel_upload(t, nothing, b->bytes);
    free(nothing);
    for (int i = 0; i < IMAGES; i++)
        fits[i] = (osp_gpu_fit){900 - 217 * i, 731, INPUT, INPUT, 3 * i, 5, 0.7f, 0.9f};
    b->fits = kernel_upload(t, fits, sizeof fits);
}

static void close_bench(kernel_test *t, bench *b)
{
    for (int i = 0; i < MAPS; i++)
        osp_gpu_free(t->gpu, b->memory[i]);
    osp_gpu_free(t->gpu, b->tables);
    osp_gpu_free(t->gpu, b->whole);
    osp_gpu_free(t->gpu, b->room);
    osp_gpu_free(t->gpu, b->fits);
}

osp_status kernel_box_head(kernel_test *t, const osp_head_maps *m, uint32_t images, void *dst,
                           osp_error *err)
{
    osp_cuda_box_head_args a = {.dst = dst,
                                .maps = *m,
                                .dst_image = (int64_t)(4 + m->classes) * m->all,
                                .dst_row = m->all,
                                .dst_pixel = 1};
    int32_t block = 0;
    for (int32_t i = 0; i < m->levels; i++) {
        a.block[i] = block;
        block += (m->level[i].pixels + OSP_HEAD_PIXELS - 1) / OSP_HEAD_PIXELS;
    }
    const int32_t jobs = 2 + (m->classes + OSP_HEAD_CLASSES - 1) / OSP_HEAD_CLASSES;
    const osp_gpu_shape shape = {.grid = {(uint32_t)block, images},
                                 .block = {OSP_HEAD_PIXELS, (uint32_t)(jobs < 8 ? jobs : 8)}};
    return osp_gpu_launch(t->gpu, osp_cuda_k_box_head + 2 * m->half_sides + m->half_classes, &shape,
                          &a, sizeof a, t->stream, err);
}

static void compare(kernel_test *t, const maps_case *c, const osp_gpu_boxes *boxes,
                    const void *want, const void *got, int32_t *kept)
{
    char text[200];
    for (int32_t i = 0; i < IMAGES; i++) {
        const osp_gpu_box *a, *b;
        const int32_t n = osp_gpu_boxes_kept(boxes, want, i, &a);
        const int32_t made = osp_gpu_boxes_kept(boxes, got, i, &b);
        *kept += n;
        if (kernel_check(t, made == n, "%s: image %d: %d boxes, not %d", describe(c, text), i, made,
                         n)) {
            int32_t k = 0;
            while (k < n && !memcmp(a + k, b + k, sizeof *a))
                k++;
            kernel_check(t, k == n, "%s: image %d: box %d of %d differs", describe(c, text), i, k,
                         n);
        }
    }
}

// Of the whole tensor, and twice of the maps. Returns how many boxes were kept.
static int32_t run_both(kernel_test *t, const maps_case *c, const bench *b, osp_gpu_boxes *boxes)
{
    const size_t bytes = osp_gpu_boxes_result_bytes(boxes);
    osp_gpu_boxes_run run = {.boxes = b->whole, .n = IMAGES, .fits = b->fits};
    char *result[2] = {NULL, NULL}, text[200];
    int32_t kept = 0;
    osp_error err;
    osp_status status = kernel_box_head(t, &b->maps, IMAGES, b->whole, &err);
    for (int i = 0; i < 2 && !status; i++)
        status = osp_gpu_host_alloc(t->gpu, (void **)&result[i], bytes, &err);
    for (int i = 0; i < 3 && !status; i++) {
        run.result = result[i > 0];
        run.maps = i ? &b->maps : NULL;
        run.boxes = i ? b->room : b->whole;
        status = osp_gpu_boxes_enqueue(boxes, &run, t->stream, &err);
    }
    if (!status)
        status = osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
    if (kernel_check(t, !status, "%s: %s", describe(c, text), status ? err.text : ""))
        compare(t, c, boxes, result[0], result[1], &kept);
    for (int i = 0; i < 2; i++)
        osp_gpu_host_free(t->gpu, result[i]);
    return kept;
}

// Maps of another head are refused before anything is enqueued.
static void refuse_others(kernel_test *t, const bench *b, osp_gpu_boxes *boxes)
{
    osp_head_maps more = b->maps, wider = b->maps;
    more.all++;
    wider.classes++;
    osp_gpu_boxes_run run = {.boxes = b->room, .n = 1, .fits = b->fits, .result = b->room};
    const osp_head_maps *const others[] = {&more, &wider};
    for (int i = 0; i < 2; i++) {
        run.maps = others[i];
        kernel_check(t, osp_gpu_boxes_enqueue(boxes, &run, t->stream, NULL) == OSP_ERROR_ARGUMENT,
                     "maps of another head are taken");
    }
}

static int32_t run_case(kernel_test *t, const maps_case *c)
{
    const uint8_t bits[] = {0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55};
    bench b;
    osp_gpu_boxes *boxes;
    osp_error err;
    int32_t kept = 0;
    char text[200];
    open_bench(t, c, &b);
    const osp_gpu_boxes_options options = {.head = OSP_HEAD_YOLO8,
                                           .dtype = OSP_DTYPE_FLOAT32,
                                           .batch = IMAGES,
                                           .rows = b.maps.all,
                                           .classes = c->classes,
                                           .input_w = INPUT,
                                           .input_h = INPUT,
                                           .score_threshold = c->score_threshold,
                                           .iou_threshold = 0.5f,
                                           .max_detections = c->max_detections,
                                           .class_agnostic = c->agnostic,
                                           .class_bits = c->filter ? bits : NULL,
                                           .class_count = c->filter ? 8 * (int)sizeof bits : 0};
    const osp_status status = osp_gpu_boxes_open(&boxes, t->gpu, &options, &err);
    if (kernel_check(t, !status, "%s: %s", describe(c, text), status ? err.text : "")) {
        kept = run_both(t, c, &b, boxes);
        refuse_others(t, &b, boxes);
    }
    osp_gpu_boxes_close(&boxes);
    close_bench(t, &b);
    return kept;
}

// A case in all types and layouts, or each type in one layout, by turns.
static int32_t run_kinds(kernel_test *t, const maps_case *c, bool all, size_t turn)
{
    int32_t kept = 0;
    for (int kind = 0; kind < 4 * LAYOUTS; kind++) {
        maps_case one = *c;
        if (!all && kind >> 2 != (int)(turn + (size_t)kind) % LAYOUTS)
            continue;
        one.half_sides = kind & 1;
        one.half_classes = kind >> 1 & 1;
        one.layout = kind >> 2;
        kept += run_case(t, &one);
    }
    return kept;
}

void kernel_cases_maps(kernel_test *t)
{
    static const maps_case cases[] = {
        {.levels = 3, .rows = 100, .classes = 80, .bins = 16, .middle = -5, .range = 6},
        {.levels = 3, .rows = 100, .classes = 1, .bins = 16, .middle = 0, .range = 4},
        {.levels = 1, .rows = 63, .classes = 8, .bins = 1, .middle = -2, .range = 4},
        {.levels = 2, .rows = 40, .classes = 5, .bins = 8, .middle = -2, .range = 4, .odd = true},
        // Most logits of a pixel saturate to one score, or tie; the first class counts.
        {.levels = 3, .rows = 60, .classes = 80, .bins = 16, .middle = 60, .range = 60},
        {.levels = 3,
         .rows = 60,
         .classes = 80,
         .bins = 16,
         .middle = 0,
         .range = 3,
         .steps = true,
         .agnostic = true},
        {.levels = 3,
         .rows = 90,
         .classes = 80,
         .bins = 16,
         .middle = -5,
         .range = 7,
         .odd = true,
         .filter = true},
    };
    static const float thresholds[] = {0.25f, 0, 1, 1e-6f, 0.5f, 0.9999f, 1e-38f};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t k = 0; k < sizeof thresholds / sizeof thresholds[0]; k++) {
            maps_case c = cases[i];
            if (t->quick && k > 2 && i % 2)
                continue;
            c.score_threshold = thresholds[k];
            c.max_detections = k == 4 ? 5 : 300;
            const int32_t kept = run_kinds(t, &c, !t->quick && k < 3, i + k);
            // A threshold of 1 lets nothing pass, and 0.25 something.
            kernel_check(t,
                         k == 0   ? kept > 0
                         : k == 2 ? kept == 0
                                  : true,
                         "case %zu: %d boxes pass %g", i, kept, (double)thresholds[k]);
        }
    for (int32_t levels = 1; levels <= OSP_HEAD_LEVELS; levels++) {
        const maps_case c = {.levels = levels,
                             .rows = 90,
                             .classes = 16,
                             .bins = 16,
                             .middle = -3,
                             .range = 5,
                             .score_threshold = 0.25f,
                             .max_detections = 300};
        kernel_check(t, run_kinds(t, &c, false, (size_t)levels) > 0, "%d levels: no box", levels);
    }
    // Several chunks of keys, and more candidates than suppression looks at.
    maps_case large = {.levels = 3,
                       .rows = 4000,
                       .classes = 2,
                       .bins = 1,
                       .half_classes = true,
                       .range = 4,
                       .score_threshold = 0.1f,
                       .max_detections = 20};
    kernel_check(t, run_case(t, &large) > 0, "several chunks: no box");
    large.rows = 40000;
    large.score_threshold = 0;
    if (!t->quick)
        kernel_check(t, run_case(t, &large) > 0, "more candidates than are looked at: no box");
}
