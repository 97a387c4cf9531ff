// Pooling: attributes as ONNX has them and what infer resolves from them.
#ifndef OSP_OPS_POOL_H
#define OSP_OPS_POOL_H

#include "ops/conv.h"

typedef struct osp_pool_attrs {
    osp_ints kernel_shape, strides, dilations, pads;
    int64_t ceil_mode;
    int64_t storage_order;      // MaxPool's Indices: 0 row major, 1 column major
    int64_t count_include_pad;  // AveragePool
    int32_t auto_pad;
    // Resolved by infer:
    int32_t spatial;                     // 1..3
    osp_window window[OSP_MAX_SPATIAL];  // of the spatial axes in order, pads chosen
} osp_pool_attrs;

#endif
