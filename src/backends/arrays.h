// Operands as arrays with strides: what the node backends share when they turn shapes, layouts and
// slices into numbers for their loops and kernels. Strides and offsets are in elements.
// Thread rule: no state.
#ifndef OSP_BACKENDS_ARRAYS_H
#define OSP_BACKENDS_ARRAYS_H

#include "backends/tactic.h"

// Element strides of each logical dim (N,C,H,W order for rank 4). false: the rows of a slice do not
// fall on dims.
bool osp_operand_strides(const osp_operand *o, int64_t strides[OSP_MAX_RANK]);

static inline int64_t osp_operand_count(const osp_operand *o)
{
    return osp_shape_span(&o->shape, 0, o->shape.rank);
}

static inline bool osp_operand_is(const osp_operand *o, osp_dtype dtype)
{
    return o->dtype == dtype;
}

// NULL if all operands are dense and plain, else why not.
const char *osp_refuse_not_plain(const osp_problem *p);

// An N-d copy between any strides: dims and strides in the same order.
typedef struct osp_copy {
    int32_t rank;
    int64_t dims[2 * OSP_MAX_RANK];
    int64_t dst_strides[2 * OSP_MAX_RANK], src_strides[2 * OSP_MAX_RANK];
    size_t size;  // of an element
} osp_copy;
void osp_copy_add_dim(osp_copy *c, int64_t dim, int64_t dst_stride, int64_t src_stride);
// Merges and sorts dims, longest steps first. Call once before running.
void osp_copy_settle(osp_copy *c);

// A destination and sources broadcast to it, walked together; no dims of size 1 but a last one.
enum { OSP_WALK_SOURCES = 3 };
typedef struct osp_rows {
    int32_t rank, sources;
    int64_t dims[OSP_MAX_RANK];  // the last one is the row
    int64_t dst[OSP_MAX_RANK];
    int64_t src[OSP_WALK_SOURCES][OSP_MAX_RANK];
    size_t dst_bytes, src_bytes[OSP_WALK_SOURCES];  // of an element
} osp_rows;
// false: strides that fall on no dims.
bool osp_rows_of(osp_rows *r, const osp_operand *dst, const osp_operand *src, int32_t sources);

#endif
