// GridSample: attributes as ONNX has them and what infer resolves from them.
#ifndef OSP_OPS_GRID_SAMPLE_H
#define OSP_OPS_GRID_SAMPLE_H

#include "ops/op.h"

typedef enum osp_sample_mode {
    OSP_SAMPLE_LINEAR = 0,
    OSP_SAMPLE_NEAREST,
    OSP_SAMPLE_CUBIC
} osp_sample_mode;
typedef enum osp_sample_padding {
    OSP_SAMPLE_ZEROS = 0,
    OSP_SAMPLE_BORDER,
    OSP_SAMPLE_REFLECTION
} osp_sample_padding;

typedef struct osp_grid_attrs {
    int64_t align_corners;
    int32_t mode_name, padding;
    int32_t mode;  // resolved: osp_sample_mode
} osp_grid_attrs;

#endif
