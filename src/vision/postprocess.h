// From a detector's output tensors to boxes in source pixels: what the detector calls after a run.
// An osp_postprocess owns the scratch for one image; a run takes memory only if there are more rows
// than ever before, which happens where the model did not state them. Thread rule: one from one
// thread at a time.
#ifndef OSP_VISION_POSTPROCESS_H
#define OSP_VISION_POSTPROCESS_H

#include "vision/heads.h"
#include "vision/letterbox.h"
#include "vision/names.h"

typedef struct osp_postprocess osp_postprocess;

// Zeroes mean what they mean in osp_detector_options.
typedef struct osp_postprocess_options {
    osp_head_info head;  // from osp_head_find; HEAD_NONE is refused
    int32_t input_w, input_h;
    float score_threshold;   // 0: 0.25; negative: 0. A score must be above it
    float iou_threshold;     // 0: 0.7; negative: 0. An overlap above it is suppressed
    int32_t max_detections;  // an image; 0: 300
    bool class_agnostic;
    const int32_t *classes;  // keep only these; copied
    int32_t class_count;     // 0: all
} osp_postprocess_options;

// OSP_ERROR_ARGUMENT for options out of range: a class the head cannot have, thresholds that are no
// numbers or above 1, HEAD_NONE.
osp_status osp_postprocess_open(osp_postprocess **out, osp_context *ctx,
                                const osp_postprocess_options *options, osp_error *err);
void osp_postprocess_close(osp_postprocess **post);

// What the options came to: defaults filled in, the classes as bits.
typedef struct osp_postprocess_settings {
    float score_threshold, iou_threshold;
    int32_t max_detections;
    bool class_agnostic;
    osp_class_filter filter;  // the osp_postprocess's own
} osp_postprocess_settings;
void osp_postprocess_get_settings(const osp_postprocess *post, osp_postprocess_settings *out);

// Decodes the first n images of `outputs` (the engine's outputs in its order, all `count` of them;
// host, dense, float32). geometry[i] is that of image i, whose detections get .image = first + i.
// Appends at out[*found], by image, then by falling score (equal ones by row), and raises *found;
// *found never passes `capacity`: OSP_ERROR_OVERFLOW with what fitted. OSP_ERROR_ARGUMENT:
// tensors of another type, shape or place than the head has.
osp_status osp_postprocess_run(osp_postprocess *post, const osp_tensor *outputs, int32_t count,
                               int32_t n, const osp_letterbox *geometry, int32_t first,
                               osp_detection *out, size_t capacity, size_t *found, osp_error *err);

#endif
