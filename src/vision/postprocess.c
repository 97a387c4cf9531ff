// Candidates above the threshold, sorted, overlaps suppressed where the head needs it, boxes back
// in source pixels. Thread rule: see postprocess.h.
#include "vision/postprocess.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "vision/nms.h"

enum { DETECTIONS_DEFAULT = 300, ROWS_MAX = 1 << 28 };

struct osp_postprocess {
    osp_context *ctx;
    osp_head_info head;
    float input_w, input_h, score_threshold, iou_threshold;
    int32_t max_detections;
    bool class_agnostic, suppress;
    osp_class_filter filter;
    uint8_t *class_bits;
    int64_t rows;                 // room in the scratch
    osp_candidate *keys, *spare;  // `rows` each
    int32_t *class_of;            // by row
    void *kept_memory;
    osp_nms_kept kept;  // only if `suppress`
};

static osp_status check_options(const osp_postprocess_options *o, osp_error *err)
{
    if (o->head.head <= OSP_HEAD_NONE || o->head.head > OSP_HEAD_DETR_PAIR)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "not a detector: its head kind is \"%s\"",
                 osp_head_name(o->head.head) ? osp_head_name(o->head.head) : "unknown");
    if (!(o->score_threshold <= 1))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "score_threshold is %g: use 0 to 1",
                 (double)o->score_threshold);
    if (!(o->iou_threshold <= 1))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "iou_threshold is %g: use 0 to 1",
                 (double)o->iou_threshold);
    if (o->max_detections < 0)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "max_detections is %d", o->max_detections);
    if (o->input_w < 1 || o->input_h < 1 || o->head.rows < 1)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "head: no input size or no rows");
    if (o->head.rows > ROWS_MAX)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "head: %lld rows: at most %d are decoded",
                 (long long)o->head.rows, (int)ROWS_MAX);
    if (o->class_count < 0 || (o->class_count && !o->classes))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "class_count is %d and classes is %s", o->class_count,
                 o->classes ? "given" : "NULL");
    const int32_t top = o->head.classes ? o->head.classes : OSP_HEAD_CLASSES_MAX;
    for (int32_t i = 0; i < o->class_count; i++)
        if (o->classes[i] < 0 || o->classes[i] >= top)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "class %d is not one of the model's: 0 to %d",
                     o->classes[i], top - 1);
    return OSP_OK;
}

static bool make_filter(osp_postprocess *p, const osp_postprocess_options *o)
{
    if (o->class_count == 0)
        return true;
    int32_t top = 0;
    for (int32_t i = 0; i < o->class_count; i++)
        top = o->classes[i] > top ? o->classes[i] : top;
    p->class_bits = osp_mem_calloc(&p->ctx->mem, (size_t)top / 8 + 1, 1);
    if (!p->class_bits)
        return false;
    for (int32_t i = 0; i < o->class_count; i++)
        p->class_bits[o->classes[i] / 8] |= (uint8_t)(1 << o->classes[i] % 8);
    p->filter = (osp_class_filter){p->class_bits, top + 1};
    return true;
}

static void free_scratch(osp_postprocess *p)
{
    osp_mem *mem = &p->ctx->mem;
    osp_mem_free(mem, p->keys);
    osp_mem_free(mem, p->spare);
    osp_mem_free(mem, p->class_of);
    osp_mem_free(mem, p->kept_memory);
    p->keys = p->spare = NULL;
    p->class_of = NULL;
    p->kept_memory = NULL;
    p->rows = 0;
}

static bool make_scratch(osp_postprocess *p, int64_t rows)
{
    osp_mem *mem = &p->ctx->mem;
    const size_t n = (size_t)rows;
    free_scratch(p);
    p->keys = osp_mem_alloc(mem, n * sizeof *p->keys);
    p->spare = osp_mem_alloc(mem, n * sizeof *p->spare);
    p->class_of = osp_mem_alloc(mem, n * sizeof *p->class_of);
    bool made = p->keys && p->spare && p->class_of;
    if (made && p->suppress) {
        const int64_t most = osp_i64_min(rows, OSP_NMS_CANDIDATES_MAX);
        const int32_t capacity = (int32_t)osp_i64_min(most, p->max_detections);
        p->kept_memory = osp_mem_alloc(mem, (size_t)capacity * OSP_NMS_KEPT_BYTES);
        made = p->kept_memory != NULL;
        if (made)
            osp_nms_kept_place(&p->kept, p->kept_memory, capacity);
    }
    if (made)
        p->rows = rows;
    else
        free_scratch(p);
    return made;
}

static float threshold(float asked, float standard)
{
    return asked == 0 ? standard : asked < 0 ? 0 : asked;
}

osp_status osp_postprocess_open(osp_postprocess **out, osp_context *ctx,
                                const osp_postprocess_options *o, osp_error *err)
{
    *out = NULL;
    OSP_TRY(check_options(o, err));
    osp_postprocess *p = osp_mem_calloc(&ctx->mem, 1, sizeof *p);
    if (!p)
        OSP_FAIL_MEMORY(err);
    p->ctx = ctx;
    p->head = o->head;
    p->input_w = (float)o->input_w;
    p->input_h = (float)o->input_h;
    p->score_threshold = threshold(o->score_threshold, 0.25f);
    p->iou_threshold = threshold(o->iou_threshold, 0.7f);
    p->max_detections = o->max_detections ? o->max_detections : DETECTIONS_DEFAULT;
    p->class_agnostic = o->class_agnostic;
    p->suppress = o->head.head == OSP_HEAD_YOLO8 || o->head.head == OSP_HEAD_YOLO5;
    *out = p;
    if (make_filter(p, o) && make_scratch(p, o->head.rows))
        return OSP_OK;
    osp_postprocess_close(out);
    OSP_FAIL_MEMORY(err);
}

void osp_postprocess_get_settings(const osp_postprocess *p, osp_postprocess_settings *out)
{
    *out = (osp_postprocess_settings){
        .score_threshold = p->score_threshold,
        .iou_threshold = p->iou_threshold,
        .max_detections = p->max_detections,
        .class_agnostic = p->class_agnostic,
        .filter = p->filter,
    };
}

void osp_postprocess_close(osp_postprocess **post)
{
    osp_postprocess *p = post ? *post : NULL;
    if (!p)
        return;
    osp_mem *mem = &p->ctx->mem;
    osp_mem_free(mem, p->class_bits);
    free_scratch(p);
    osp_mem_free(mem, p);
    *post = NULL;
}

static osp_status check_tensor(const osp_tensor *t, int32_t n, osp_error *err)
{
    if (t->dtype != OSP_DTYPE_FLOAT32 || t->rank != 3 || !t->data ||
        (t->place != OSP_PLACE_HOST && t->place != OSP_PLACE_PINNED))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "output \"%s\": expected a float32 tensor of rank 3 on the host",
                 t->name ? t->name : "");
    int64_t stride = (int64_t)sizeof(float);
    for (int k = 2; k >= 0; k--) {
        if (t->byte_strides[k] && t->byte_strides[k] != stride && t->dims[k] > 1)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "output \"%s\": its strides are not dense",
                     t->name ? t->name : "");
        if (t->dims[k] < 0 || !osp_i64_mul(stride, t->dims[k], &stride))
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "output \"%s\": bad extents", t->name ? t->name : "");
    }
    if (t->dims[0] < n)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "output \"%s\": %lld images, expected %d",
                 t->name ? t->name : "", (long long)t->dims[0], n);
    return OSP_OK;
}

// Values of one row (or planes of all), besides the rows' own axis.
static int64_t row_values(const osp_head_info *head)
{
    switch (head->head) {
    case OSP_HEAD_YOLO8:
        return 4 + (int64_t)head->classes;
    case OSP_HEAD_YOLO5:
        return 5 + (int64_t)head->classes;
    case OSP_HEAD_DETR_PAIR:
        return 4;
    default:
        return 6;
    }
}

// Checks the tensors against the head and describes image 0 of them.
static osp_status make_view(const osp_postprocess *p, const osp_tensor *outputs, int32_t count,
                            int32_t n, osp_head_view *view, osp_error *err)
{
    const osp_head_info *head = &p->head;
    if (head->boxes < 0 || head->boxes >= count || head->scores < 0 || head->scores >= count)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%d outputs are fewer than the head has", count);
    const osp_tensor *boxes = &outputs[head->boxes], *scores = &outputs[head->scores];
    OSP_TRY(check_tensor(boxes, n, err));
    const int rows_axis = head->head == OSP_HEAD_YOLO8 ? 2 : 1;
    const int64_t rows = boxes->dims[rows_axis];
    bool good = boxes->dims[3 - rows_axis] == row_values(head);
    if (head->head == OSP_HEAD_DETR_PAIR) {
        OSP_TRY(check_tensor(scores, n, err));
        good = good && scores->dims[1] == rows && scores->dims[2] == head->classes;
    }
    if (!good)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "output \"%s\": its shape (%lld,%lld,%lld) is not head "
                 "\"%s\" with %d classes",
                 boxes->name ? boxes->name : "", (long long)boxes->dims[0],
                 (long long)boxes->dims[1], (long long)boxes->dims[2], osp_head_name(head->head),
                 head->classes);
    if (rows > ROWS_MAX)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "output \"%s\": %lld rows: at most %d are decoded",
                 boxes->name ? boxes->name : "", (long long)rows, (int)ROWS_MAX);
    *view = (osp_head_view){.head = head->head,
                            .boxes = boxes->data,
                            .scores = scores->data,
                            .rows = rows,
                            .classes = head->classes,
                            .input_w = p->input_w,
                            .input_h = p->input_h};
    return OSP_OK;
}

typedef struct target {
    const osp_letterbox *geometry;
    int32_t image;
    osp_detection *out;
    size_t capacity, *found;
} target;

static bool append(const target *t, osp_candidate key, int32_t class_id, const float box[4])
{
    if (*t->found >= t->capacity)
        return false;
    float source[4];
    osp_letterbox_unmap(t->geometry, box, source);
    t->out[(*t->found)++] = (osp_detection){.x1 = source[0],
                                            .y1 = source[1],
                                            .x2 = source[2],
                                            .y2 = source[3],
                                            .score = osp_candidate_score(key),
                                            .class_id = class_id,
                                            .image = t->image};
    return true;
}

// Heads that leave nothing to suppress: the best rows. False: no room.
static bool take_best(const osp_postprocess *p, const osp_head_view *view, int64_t count,
                      const target *t)
{
    float box[4];
    int32_t taken = 0;
    for (int64_t i = 0; i < count && taken < p->max_detections; i++) {
        const uint32_t row = osp_candidate_row(p->keys[i]);
        if (!osp_head_box(view, row, box))
            continue;
        if (!append(t, p->keys[i], p->class_of[row], box))
            return false;
        taken++;
    }
    return true;
}

static bool take_unsuppressed(osp_postprocess *p, const osp_head_view *view, int64_t count,
                              const target *t)
{
    float box[4];
    osp_nms_kept *kept = &p->kept;
    kept->count = 0;
    count = osp_i64_min(count, OSP_NMS_CANDIDATES_MAX);
    for (int64_t i = 0; i < count && kept->count < kept->capacity; i++) {
        const uint32_t row = osp_candidate_row(p->keys[i]);
        const int32_t before = kept->count;
        if (!osp_head_box(view, row, box))
            continue;
        osp_nms_offer(kept, p->keys[i], p->class_of[row], box, p->iou_threshold, p->class_agnostic);
        if (kept->count > before && !append(t, p->keys[i], p->class_of[row], box))
            return false;
    }
    return true;
}

osp_status osp_postprocess_run(osp_postprocess *p, const osp_tensor *outputs, int32_t count,
                               int32_t n, const osp_letterbox *geometry, int32_t first,
                               osp_detection *out, size_t capacity, size_t *found, osp_error *err)
{
    osp_head_view view;
    OSP_TRY(make_view(p, outputs, count, n, &view, err));
    if (view.rows > p->rows && !make_scratch(p, view.rows))
        OSP_FAIL_MEMORY(err);
    const int64_t box_step = view.rows * row_values(&p->head);
    const int64_t score_step = p->head.head == OSP_HEAD_DETR_PAIR ? view.rows * view.classes
                                                                  : box_step;
    for (int32_t i = 0; i < n; i++) {
        const int64_t passed = osp_head_scan(&view, p->score_threshold, &p->filter, p->keys,
                                             p->class_of);
        osp_candidates_sort(p->keys, p->spare, passed);
        const target t = {&geometry[i], first + i, out, capacity, found};
        const bool room = p->suppress ? take_unsuppressed(p, &view, passed, &t)
                                      : take_best(p, &view, passed, &t);
        if (!room)
            OSP_FAIL(err, OSP_ERROR_OVERFLOW,
                     "more than %zu detections: give a larger array, or lower max_detections",
                     capacity);
        view.boxes += box_step;
        view.scores += score_step;
    }
    return OSP_OK;
}
