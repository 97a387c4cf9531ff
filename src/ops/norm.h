// Softmax and normalisations: attributes.
#ifndef OSP_OPS_NORM_H
#define OSP_OPS_NORM_H

#include "ops/op.h"

typedef struct osp_softmax_attrs {
    int64_t axis;     // resolved: not negative
    int64_t flatten;  // up to opset 12: over all dims from `axis` on
} osp_softmax_attrs;

typedef struct osp_layer_norm_attrs {
    int64_t axis;  // resolved: not negative
    float epsilon;
    int64_t stash_type;
} osp_layer_norm_attrs;

typedef struct osp_batch_norm_attrs {
    float epsilon;
    int64_t training_mode;  // refused
    int64_t spatial;        // 0 (up to opset 8): statistics of each element of a sample
} osp_batch_norm_attrs;

#endif
