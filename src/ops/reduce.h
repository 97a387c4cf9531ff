// Reductions: attributes.
#ifndef OSP_OPS_REDUCE_H
#define OSP_OPS_REDUCE_H

#include "ops/op.h"

typedef struct osp_reduce_attrs {
    osp_ints axes;  // resolved: what is reduced, ascending, none negative
    int64_t keepdims;
    int64_t noop_with_empty_axes;
    uint32_t mask;  // resolved: bit d: dim d is reduced
} osp_reduce_attrs;

#endif
