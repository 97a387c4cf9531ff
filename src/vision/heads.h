// What a detector's output tensors mean: which kind of head wrote them, and reading rows of it.
// Owns nothing. Thread rule: pure functions.
#ifndef OSP_VISION_HEADS_H
#define OSP_VISION_HEADS_H

#include "base/error.h"

enum {
    OSP_HEAD_ROWS_DEFAULT = 300,  // rows where the model does not say
    OSP_HEAD_CLASSES_MAX = 1 << 20
};

// What is known of a model. Strings are metadata values, NULL where there are none.
typedef struct osp_head_query {
    osp_head head;  // AUTO: find out
    const osp_tensor_info *outputs;
    int32_t output_count;
    int32_t input_w, input_h;
    int32_t names;             // number of class names; 0: unknown
    const char *meta_task;     // "task": "detect", ...
    const char *meta_head;     // "head": a class name of Ultralytics, or one of our kinds' names
    const char *meta_end2end;  // "end2end": "True" or "False"
} osp_head_query;

typedef struct osp_head_info {
    osp_head head;
    osp_resize resize;      // that the kind expects: STRETCH for DETR, LETTERBOX for all others
    int32_t boxes, scores;  // index of the output with each; the same one but for DETR_PAIR
    int64_t rows;           // K or A; OSP_HEAD_ROWS_DEFAULT where it is unknown
    int32_t classes;        // 0: unknown (kinds that write class numbers, without names)
} osp_head_info;

// Explicit kind, else metadata, else shapes. OSP_ERROR_ARGUMENT: the outputs do not fit the kind
// asked for, or several kinds fit (the text lists them); OSP_ERROR_UNSUPPORTED: another task than
// detection, or no kind fits. HEAD_NONE gives HEAD_NONE.
osp_status osp_head_find(osp_head_info *out, const osp_head_query *query, osp_error *err);

// "end2end", "yolo8", "yolo5", "detr", "detr-pair", "none", "auto"; NULL for other numbers.
const char *osp_head_name(osp_head head);

// One image's part of the outputs: dense float32 on the host.
typedef struct osp_head_view {
    osp_head head;
    const float *boxes, *scores;  // scores: DETR_PAIR only
    int64_t rows;
    int32_t classes;         // of YOLO8, YOLO5, DETR_PAIR: as the shape has it
    float input_w, input_h;  // DETR kinds are normalised by it
} osp_head_view;

// One row that passed: its score and place. Ascending keys are falling scores, then rising rows.
typedef uint64_t osp_candidate;

// Which classes pass: bit set of `count` classes; NULL bits: all.
typedef struct osp_class_filter {
    const uint8_t *bits;
    int32_t count;
} osp_class_filter;

// Writes a key for every row whose best class has a score above `threshold` (at least 0) and passes
// the filter, in the order of rows, and the class to class_of[row]. Both have room for view->rows.
// Rows with a score or class that is no number are passed over. Returns how many.
int64_t osp_head_scan(const osp_head_view *view, float threshold, const osp_class_filter *filter,
                      osp_candidate *keys, int32_t *class_of);

// The row's box as x1 y1 x2 y2 in input pixels; false if any of it is no finite number.
bool osp_head_box(const osp_head_view *view, int64_t row, float box[4]);

// Scores are finite and positive, so that their bits order as they do.
osp_candidate osp_candidate_make(float score, uint32_t row);
float osp_candidate_score(osp_candidate key);
static inline uint32_t osp_candidate_row(osp_candidate key)
{
    return (uint32_t)key;
}

#endif
