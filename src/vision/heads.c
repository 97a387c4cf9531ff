// Reading rows of every head kind. Scores are compared as Ultralytics does: strictly above the
// threshold, the best class only, the first of equal classes. Thread rule: pure functions.
#include "vision/heads.h"

#include <float.h>
#include <math.h>

#include "base/half.h"
#include "base/sigmoid.h"

enum { BLOCK = 1024 };  // rows whose running maxima stay in the first cache

osp_candidate osp_candidate_make(float score, uint32_t row)
{
    return (uint64_t)~osp_float_bits(score) << 32 | row;
}

float osp_candidate_score(osp_candidate key)
{
    return osp_bits_float(~(uint32_t)(key >> 32));
}

static bool passes(const osp_class_filter *filter, int32_t class_id)
{
    if (!filter || !filter->bits)
        return true;
    return class_id < filter->count && (filter->bits[class_id / 8] >> class_id % 8 & 1);
}

typedef struct sink {
    float threshold;
    const osp_class_filter *filter;
    osp_candidate *keys;
    int32_t *class_of;
    int64_t count;
} sink;

// NaN fails the comparison; infinities are no scores.
static void offer(sink *s, int64_t row, float score, int32_t class_id)
{
    if (!(score > s->threshold) || score > FLT_MAX || !passes(s->filter, class_id))
        return;
    s->keys[s->count++] = osp_candidate_make(score, (uint32_t)row);
    s->class_of[row] = class_id;
}

// Rows of six: four of the box, score, class number.
static void scan_sixes(sink *s, const osp_head_view *view)
{
    const float *p = view->boxes;
    for (int64_t row = 0; row < view->rows; row++, p += 6) {
        const float class_id = p[5];
        if (class_id > -0.5f && class_id < (float)OSP_HEAD_CLASSES_MAX - 0.5f)
            offer(s, row, p[4], (int32_t)lrintf(class_id));
    }
}

// Planes of rows: the best class by running maxima, a block of rows at a time.
static void scan_planes(sink *s, const osp_head_view *view)
{
    float best[BLOCK];
    int32_t class_id[BLOCK];
    const int64_t rows = view->rows;
    for (int64_t from = 0; from < rows; from += BLOCK) {
        const int n = (int)(rows - from < BLOCK ? rows - from : BLOCK);
        for (int i = 0; i < n; i++) {
            best[i] = -INFINITY;
            class_id[i] = 0;
        }
        for (int32_t c = 0; c < view->classes; c++) {
            const float *score = view->boxes + (4 + (int64_t)c) * rows + from;
            for (int i = 0; i < n; i++) {
                const bool more = score[i] > best[i];
                best[i] = more ? score[i] : best[i];
                class_id[i] = more ? c : class_id[i];
            }
        }
        for (int i = 0; i < n; i++)
            offer(s, from + i, best[i], class_id[i]);
    }
}

static int32_t best_of(const float *scores, int32_t count)
{
    float best = -INFINITY;
    int32_t at = 0;
    for (int32_t c = 0; c < count; c++)
        if (scores[c] > best) {
            best = scores[c];
            at = c;
        }
    return at;
}

static void scan_objectness(sink *s, const osp_head_view *view)
{
    const float *p = view->boxes;
    for (int64_t row = 0; row < view->rows; row++, p += 5 + view->classes) {
        if (!(p[4] > s->threshold))
            continue;
        const int32_t c = best_of(p + 5, view->classes);
        offer(s, row, p[4] * p[5 + c], c);
    }
}

static void scan_logits(sink *s, const osp_head_view *view)
{
    const float *p = view->scores;
    for (int64_t row = 0; row < view->rows; row++, p += view->classes) {
        const int32_t c = best_of(p, view->classes);
        offer(s, row, osp_sigmoid(p[c]), c);
    }
}

int64_t osp_head_scan(const osp_head_view *view, float threshold, const osp_class_filter *filter,
                      osp_candidate *keys, int32_t *class_of)
{
    sink s = {threshold > 0 ? threshold : 0, filter, keys, class_of, 0};
    switch (view->head) {
    case OSP_HEAD_END2END:
    case OSP_HEAD_DETR:
        scan_sixes(&s, view);
        break;
    case OSP_HEAD_YOLO8:
        scan_planes(&s, view);
        break;
    case OSP_HEAD_YOLO5:
        scan_objectness(&s, view);
        break;
    case OSP_HEAD_DETR_PAIR:
        scan_logits(&s, view);
        break;
    default:
        break;
    }
    return s.count;
}

// Centre and size to corners, in Ultralytics' order of operations.
static void corners(float box[4], float cx, float cy, float w, float h)
{
    box[0] = cx - w / 2;
    box[1] = cy - h / 2;
    box[2] = cx + w / 2;
    box[3] = cy + h / 2;
}

bool osp_head_box(const osp_head_view *view, int64_t row, float box[4])
{
    const float *p = view->boxes;
    switch (view->head) {
    case OSP_HEAD_YOLO8: {
        const int64_t n = view->rows;
        corners(box, p[row], p[n + row], p[2 * n + row], p[3 * n + row]);
        break;
    }
    case OSP_HEAD_YOLO5:
        p += row * (5 + view->classes);
        corners(box, p[0], p[1], p[2], p[3]);
        break;
    case OSP_HEAD_DETR:
    case OSP_HEAD_DETR_PAIR:
        p += row * (view->head == OSP_HEAD_DETR ? 6 : 4);
        corners(box, p[0] * view->input_w, p[1] * view->input_h, p[2] * view->input_w,
                p[3] * view->input_h);
        break;
    default:
        for (int i = 0; i < 4; i++)
            box[i] = p[row * 6 + i];
        break;
    }
    return isfinite(box[0]) && isfinite(box[1]) && isfinite(box[2]) && isfinite(box[3]);
}
