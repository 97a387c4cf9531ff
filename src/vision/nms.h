// Ordering candidates and suppressing overlaps. Owns nothing: scratch comes from the caller.
// Thread rule: pure functions.
#ifndef OSP_VISION_NMS_H
#define OSP_VISION_NMS_H

#include "vision/heads.h"

enum { OSP_NMS_CANDIDATES_MAX = 30000 };  // by score; as Ultralytics

// Sorts keys ascending: falling scores, equal ones by row. Keys must come with rising rows, as
// osp_head_scan gives them. `spare` has room for `count` keys. Linear in count; takes no memory.
void osp_candidates_sort(osp_candidate *keys, osp_candidate *spare, int64_t count);

// Boxes kept so far, as columns for vector loops. All arrays have room for `capacity` entries.
typedef struct osp_nms_kept {
    float *x1, *y1, *x2, *y2, *area;
    int32_t *class_id;
    osp_candidate *key;
    int32_t count, capacity;
} osp_nms_kept;

// Bytes of one entry of all arrays together.
#define OSP_NMS_KEPT_BYTES (5 * sizeof(float) + sizeof(int32_t) + sizeof(osp_candidate))

// Points the arrays into `memory` of capacity * OSP_NMS_KEPT_BYTES bytes, aligned to 8.
void osp_nms_kept_place(osp_nms_kept *kept, void *memory, int32_t capacity);

// Adds the box unless it overlaps a kept one of its class (of any class if `agnostic`) by an IoU
// above the threshold. The caller offers boxes by falling score, and stops when all room is taken.
void osp_nms_offer(osp_nms_kept *kept, osp_candidate key, int32_t class_id, const float box[4],
                   float iou_threshold, bool agnostic);

#endif
