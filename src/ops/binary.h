// Binary operators: their attributes, and the operand that opset 6 broadcast by attribute.
#ifndef OSP_OPS_BINARY_H
#define OSP_OPS_BINARY_H

#include "ops/op.h"

// Add Sub Mul Div Pow Equal Less And Xor. Up to opset 6 the second operand is broadcast into the
// first one's shape at `axis`; infer turns that into `trailing`, the number of ones that the second
// shape needs at its end for the broadcasting of later opsets.
typedef struct osp_broadcast_attrs {
    int64_t axis;       // INT64_MIN: not given
    int64_t broadcast;  // 1: by attribute
    int64_t trailing;   // resolved
} osp_broadcast_attrs;

typedef struct osp_mod_attrs {
    int64_t fmod;
} osp_mod_attrs;

// The second operand's shape, ready for plain broadcasting.
static inline osp_shape osp_broadcast_second(const osp_broadcast_attrs *attrs, const osp_shape *b)
{
    osp_shape shape = *b;
    for (int64_t i = 0; i < attrs->trailing && shape.rank < OSP_MAX_RANK; i++)
        shape.dims[shape.rank++] = 1;
    return shape;
}

#endif
