// Operators that make tensors from shapes and scalars: attributes.
#ifndef OSP_OPS_GENERATE_H
#define OSP_OPS_GENERATE_H

#include "ops/op.h"

typedef struct osp_constant_of_shape_attrs {
    osp_scalar value;  // not given: float32 0
} osp_constant_of_shape_attrs;

typedef struct osp_shape_attrs {  // of Shape
    int64_t start, end;           // INT64_MAX: to the end. Resolved: within the rank
} osp_shape_attrs;

#endif
