// Scratch and launches of the box kernels. Thread rule: see gpu_boxes.h.
#include "gpu/gpu_boxes.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "gpu/gpu_kernels.h"

struct osp_gpu_boxes {
    osp_gpu *gpu;
    osp_gpu_boxes_options options;
    void *scratch;
    osp_boxes_args args;  // what does not change between runs
};

static osp_status check_options(const osp_gpu_boxes_options *o, osp_error *err)
{
    const bool counts_classes = o->head == OSP_HEAD_YOLO8 || o->head == OSP_HEAD_YOLO5 ||
                                o->head == OSP_HEAD_DETR_PAIR;
    if (o->head < OSP_HEAD_END2END || o->head > OSP_HEAD_DETR_PAIR)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "boxes: head %d is not a detector's", (int)o->head);
    if (o->dtype != OSP_DTYPE_FLOAT32 && o->dtype != OSP_DTYPE_FLOAT16)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "boxes: outputs of type %s: float32 and float16 are read",
                 osp_dtype_name(o->dtype));
    if (o->batch < 1 || o->batch > 65535 || o->rows < 1 || o->input_w < 1 || o->input_h < 1 ||
        o->max_detections < 1 || (counts_classes && o->classes < 1) ||
        o->classes > OSP_BOXES_CLASSES_MAX || !(o->score_threshold <= 1) ||
        !(o->iou_threshold <= 1) || o->class_count < 0 || o->class_count > OSP_BOXES_CLASSES_MAX)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "boxes: an option is out of range");
    if (o->rows > OSP_GPU_ROWS_MAX)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "boxes: %lld rows: at most %d are decoded on a GPU",
                 (long long)o->rows, (int)OSP_GPU_ROWS_MAX);
    return OSP_OK;
}

// Adds a part of `count` times `bytes` to the scratch, on a line of its own; gives its offset.
static bool add_part(size_t *total, size_t *offset, size_t count, size_t bytes)
{
    size_t size, end;
    if (!osp_size_mul(count, bytes, &size) || !osp_size_add(*total, size, &end))
        return false;
    *offset = *total;
    return osp_size_align(end, 256, total);
}

static int32_t least(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

static void fill_args(osp_boxes_args *a, const osp_gpu_boxes_options *o)
{
    a->rows = (int32_t)o->rows;
    a->classes = o->classes;
    a->head = o->head;
    a->suppress = o->head == OSP_HEAD_YOLO8 || o->head == OSP_HEAD_YOLO5;
    a->agnostic = o->class_agnostic;
    a->limit = least(o->rows, a->suppress ? OSP_BOXES_CANDIDATES : o->max_detections);
    a->capacity = least(a->limit, o->max_detections);
    a->max_detections = o->max_detections;
    a->input_w = (float)o->input_w;
    a->input_h = (float)o->input_h;
    a->score_threshold = o->score_threshold > 0 ? o->score_threshold : 0;
    a->iou_threshold = o->iou_threshold > 0 ? o->iou_threshold : 0;
}

static osp_status make_scratch(osp_gpu_boxes *b, osp_error *err)
{
    const osp_gpu_boxes_options *o = &b->options;
    osp_boxes_args *a = &b->args;
    const size_t n = (size_t)o->batch, rows = (size_t)o->rows;
    const size_t bits = o->class_bits ? ((size_t)o->class_count + 7) / 8 : 0;
    size_t total = 0, counts, filter, keys, sorted, class_of, kept;
    if (!add_part(&total, &counts, n, sizeof *a->counts) || !add_part(&total, &filter, bits, 1) ||
        !add_part(&total, &keys, n * rows, sizeof *a->keys) ||
        !add_part(&total, &sorted, n * (size_t)a->limit, sizeof *a->sorted) ||
        !add_part(&total, &class_of, n * rows, sizeof *a->class_of) ||
        !add_part(&total, &kept, a->suppress ? n * (size_t)a->capacity : 0, sizeof *a->kept))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "boxes: %d images of %lld rows", o->batch,
                 (long long)o->rows);
    OSP_TRY(osp_gpu_alloc(b->gpu, &b->scratch, total, err));
    char *at = b->scratch;
    a->counts = (int32_t *)(at + counts);
    a->keys = (uint64_t *)(at + keys);
    a->sorted = (uint64_t *)(at + sorted);
    a->class_of = (int32_t *)(at + class_of);
    a->kept = (osp_boxes_kept *)(at + kept);
    if (!o->class_bits)
        return OSP_OK;
    a->class_bits = (const uint8_t *)(at + filter);
    a->class_count = o->class_count;
    osp_gpu_stream stream;
    OSP_TRY(osp_gpu_stream_open(b->gpu, &stream, err));
    osp_status status = osp_gpu_copy(b->gpu, at + filter, o->class_bits, bits, stream, err);
    if (!status)
        status = osp_gpu_stream_wait(b->gpu, stream, -1, err);
    osp_gpu_stream_close(b->gpu, &stream);
    return status;
}

osp_status osp_gpu_boxes_open(osp_gpu_boxes **out, osp_gpu *gpu,
                              const osp_gpu_boxes_options *options, osp_error *err)
{
    *out = NULL;
    OSP_TRY(check_options(options, err));
    osp_gpu_boxes *b = osp_mem_calloc(&osp_gpu_context(gpu)->mem, 1, sizeof *b);
    if (!b)
        OSP_FAIL_MEMORY(err);
    b->gpu = gpu;
    b->options = *options;
    fill_args(&b->args, options);
    const osp_status status = make_scratch(b, err);
    b->options.class_bits = NULL;  // the caller's
    if (status) {
        osp_gpu_boxes_close(&b);
        return status;
    }
    *out = b;
    return OSP_OK;
}

void osp_gpu_boxes_close(osp_gpu_boxes **boxes)
{
    osp_gpu_boxes *b = boxes ? *boxes : NULL;
    if (!b)
        return;
    *boxes = NULL;
    osp_gpu_free(b->gpu, b->scratch);
    osp_mem_free(&osp_gpu_context(b->gpu)->mem, b);
}

// Where the boxes stand in the result, behind the counts.
static size_t boxes_offset(const osp_gpu_boxes *b)
{
    return ((size_t)b->options.batch * sizeof(int32_t) + 63) / 64 * 64;
}

size_t osp_gpu_boxes_result_bytes(const osp_gpu_boxes *b)
{
    return boxes_offset(b) +
           (size_t)b->options.batch * (size_t)b->options.max_detections * sizeof(osp_gpu_box);
}

int32_t osp_gpu_boxes_kept(const osp_gpu_boxes *b, const void *result, int32_t i,
                           const osp_gpu_box **out)
{
    const osp_gpu_box *first = (const osp_gpu_box *)((const char *)result + boxes_offset(b));
    *out = first + (size_t)i * (size_t)b->options.max_detections;
    return ((const int32_t *)result)[i];
}

static uint32_t blocks(int32_t rows, int32_t each)
{
    return ((uint32_t)rows + (uint32_t)each - 1) / (uint32_t)each;
}

static osp_status check_run(const osp_gpu_boxes *b, const osp_gpu_boxes_run *run, osp_error *err)
{
    const osp_gpu_boxes_options *o = &b->options;
    const int64_t rows = run->rows ? run->rows : o->rows;
    if (run->n < 1 || run->n > b->options.batch || !run->boxes || !run->fits || !run->result ||
        (b->options.head == OSP_HEAD_DETR_PAIR && !run->scores))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "boxes: %d images, or an address is missing", run->n);
    if (run->rows < 0 || run->rows > b->options.rows)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "boxes: %lld rows: at most %lld were said",
                 (long long)run->rows, (long long)b->options.rows);
    if (run->maps && (o->head != OSP_HEAD_YOLO8 || o->dtype != OSP_DTYPE_FLOAT32 ||
                      run->maps->classes != o->classes || run->maps->all != rows))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "boxes: the maps are not those of the head");
    return OSP_OK;
}

// A logit up to which no score is above the threshold. The kernel's sigmoid may round as it likes by
// up to 2^-12 of its value: the fast one of a logit of -88, where it is worst, is 2^-16 off.
static float logit_bound(float threshold)
{
    const double p = (double)threshold * (1 - 0x1p-12);
    return p > 0 ? (float)log(p / (1 - p)) : -INFINITY;
}

static osp_status enqueue_scan(const osp_gpu_boxes *b, const osp_gpu_boxes_run *run,
                               const osp_boxes_args *args, const osp_gpu_shape *by_rows,
                               osp_gpu_stream stream, osp_error *err)
{
    const osp_head_maps *m = run->maps;
    if (!m)
        return osp_gpu_launch(b->gpu,
                              b->options.dtype == OSP_DTYPE_FLOAT16 ? &osp_kernel_boxes_scan_f16
                                                                    : &osp_kernel_boxes_scan_f32,
                              by_rows, args, sizeof *args, stream, err);
    const osp_boxes_maps_args with = {.boxes = *args,
                                      .maps = *m,
                                      .out = (float *)(uintptr_t)run->boxes,
                                      .logit_bound = logit_bound(args->score_threshold)};
    const osp_gpu_shape shape = {
        .grid = {blocks(args->rows, OSP_BOXES_SCAN / OSP_BOXES_SHARE), (uint32_t)run->n},
        .block = {OSP_BOXES_SCAN}};
    return osp_gpu_launch(b->gpu, osp_kernel_boxes_scan_maps + 2 * m->half_sides + m->half_classes,
                          &shape, &with, sizeof with, stream, err);
}

osp_status osp_gpu_boxes_enqueue(osp_gpu_boxes *b, const osp_gpu_boxes_run *run,
                                 osp_gpu_stream stream, osp_error *err)
{
    OSP_TRY(check_run(b, run, err));
    osp_boxes_args args = b->args;
    args.rows = run->rows ? (int32_t)run->rows : args.rows;
    args.boxes = run->boxes;
    args.scores = run->scores;
    args.fits = run->fits;
    args.result_counts = run->result;
    args.result = (float *)((char *)run->result + boxes_offset(b));
    const bool half = b->options.dtype == OSP_DTYPE_FLOAT16;
    const uint32_t n = (uint32_t)run->n;
    const osp_gpu_shape by_rows = {.grid = {blocks(args.rows, OSP_BOXES_SCAN), n},
                                   .block = {OSP_BOXES_SCAN}};
    const osp_gpu_shape by_chunks = {.grid = {blocks(args.rows, OSP_BOXES_CHUNK), n},
                                     .block = {OSP_BOXES_THREADS}};
    const osp_gpu_shape by_images = {.grid = {n}, .block = {OSP_BOXES_THREADS}};
    const size_t size = sizeof args;
    OSP_TRY(osp_gpu_fill(b->gpu, args.counts, 0, n * sizeof *args.counts, stream, err));
    OSP_TRY(enqueue_scan(b, run, &args, &by_rows, stream, err));
    OSP_TRY(osp_gpu_launch(b->gpu, &osp_kernel_boxes_sort, &by_chunks, &args, size, stream, err));
    if (args.rows > OSP_BOXES_CHUNK)
        OSP_TRY(
            osp_gpu_launch(b->gpu, &osp_kernel_boxes_merge, &by_rows, &args, size, stream, err));
    return osp_gpu_launch(b->gpu, half ? &osp_kernel_boxes_keep_f16 : &osp_kernel_boxes_keep_f32,
                          &by_images, &args, size, stream, err);
}
