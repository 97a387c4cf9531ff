// Resize and Upsample: attributes as ONNX has them, and what infer resolves from them.
#ifndef OSP_OPS_RESIZE_H
#define OSP_OPS_RESIZE_H

#include <stddef.h>

#include "ops/op.h"

typedef enum osp_resize_mode {
    OSP_RESIZE_NEAREST = 0,
    OSP_RESIZE_LINEAR,
    OSP_RESIZE_CUBIC
} osp_resize_mode;

typedef enum osp_resize_nearest {
    OSP_NEAREST_ROUND_PREFER_FLOOR = 0,
    OSP_NEAREST_ROUND_PREFER_CEIL,
    OSP_NEAREST_FLOOR,
    OSP_NEAREST_CEIL,
    OSP_NEAREST_OPSET_10  // up on axes that shrink, else down: what ONNX's tests of it expect
} osp_resize_nearest;

typedef enum osp_resize_coordinate {
    OSP_RESIZE_HALF_PIXEL = 0,
    OSP_RESIZE_PYTORCH_HALF_PIXEL,
    OSP_RESIZE_ALIGN_CORNERS,
    OSP_RESIZE_ASYMMETRIC,
    OSP_RESIZE_TF_HALF_PIXEL_FOR_NN,
    OSP_RESIZE_TF_CROP_AND_RESIZE,
    OSP_RESIZE_HALF_PIXEL_SYMMETRIC
} osp_resize_coordinate;

typedef struct osp_resize_attrs {
    osp_ints axes;
    int64_t antialias, exclude_outside;
    float cubic_coeff_a, extrapolation_value;
    int32_t mode, nearest_mode, coordinate, policy;
    // Resolved, by axis of the source:
    float scale[OSP_MAX_RANK];
    float resized[OSP_MAX_RANK];  // extent of the destination before it is rounded down
    float roi_start[OSP_MAX_RANK], roi_end[OSP_MAX_RANK];
} osp_resize_attrs;

// Where one destination position of an axis takes its value from.
typedef struct osp_resize_taps {
    int64_t first, count;   // source positions, before they are clamped to the axis
    double weight[4];       // of up to four taps; for more they are computed when needed
    double point, squeeze;  // centre of the filter, and its scale: 1, or less with antialias
    double norm;            // the weights' sum is divided out
    bool outside;           // the element is the extrapolation value
} osp_resize_taps;

// The taps of destination position `o` of an axis of `out` positions, from one of `in`.
void osp_resize_taps_of(const osp_resize_attrs *a, int32_t axis, int64_t in, int64_t out, int64_t o,
                        osp_resize_taps *t);
double osp_resize_weight(const osp_resize_attrs *a, const osp_resize_taps *t, int64_t in,
                         int64_t i);

// All of dst from src, by the resolved fields. Any type in the mode nearest, else numbers.
void osp_resample(const osp_resize_attrs *attrs, const osp_view *src, const osp_view *dst);
// Taps that it adds up; for antialias about what the filter covers of the source.
double osp_resample_work(const osp_resize_attrs *attrs, const osp_call *call);

#endif
