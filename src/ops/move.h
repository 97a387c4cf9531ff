// Operators that only move elements: their attributes, and the strided copy they share.
// Fields marked "resolved" are written by infer; the others are what the file has.
// Thread rule: no state.
#ifndef OSP_OPS_MOVE_H
#define OSP_OPS_MOVE_H

#include <stddef.h>
#include <string.h>

#include "ops/op.h"

typedef struct osp_axis_attrs {  // Concat, Flatten, Gather, GatherElements
    int64_t axis;
    int32_t resolved_axis;
} osp_axis_attrs;

typedef struct osp_split_attrs {
    int64_t axis, num_outputs;  // 0: not given
    struct {
        int32_t count;
        int64_t v[64];
    } split;  // up to opset 12
    int32_t resolved_axis;
    int64_t resolved_sizes[64];  // of the outputs along the axis
} osp_split_attrs;

typedef struct osp_slice_attrs {
    osp_ints starts, ends, axes;  // up to opset 9
    // Resolved: dst[i] = src[start + i * step] on each axis.
    int64_t start[OSP_MAX_RANK], step[OSP_MAX_RANK];
} osp_slice_attrs;

typedef enum osp_pad_mode {
    OSP_PAD_CONSTANT = 0,
    OSP_PAD_REFLECT,
    OSP_PAD_EDGE,
    OSP_PAD_WRAP
} osp_pad_mode;

typedef struct osp_pad_attrs {
    int32_t mode;  // osp_pad_mode
    float value;   // up to opset 10
    osp_ints pads;
    int64_t before[OSP_MAX_RANK], after[OSP_MAX_RANK];  // resolved; negative: cropped
} osp_pad_attrs;
// Source position of destination position i on an axis of `length`; -1: the constant.
int64_t osp_pad_source(const osp_pad_attrs *attrs, int32_t axis, int64_t length, int64_t i);

typedef struct osp_transpose_attrs {
    osp_ints perm;
    int32_t resolved_perm[OSP_MAX_RANK];  // dst axis i is src axis resolved_perm[i]
} osp_transpose_attrs;

typedef struct osp_reshape_attrs {
    int64_t allowzero;
} osp_reshape_attrs;

typedef struct osp_squeeze_attrs {  // Squeeze, Unsqueeze
    osp_ints axes;                  // up to opset 12
} osp_squeeze_attrs;

typedef struct osp_topk_attrs {
    int64_t axis, largest, sorted;
    int64_t k;  // up to opset 9; -1: not given
    int32_t resolved_axis;
} osp_topk_attrs;

typedef struct osp_gather_nd_attrs {
    int64_t batch_dims;
} osp_gather_nd_attrs;

typedef struct osp_scatter_attrs {
    int32_t reduction;  // 0: none
} osp_scatter_attrs;

// Copies `count` elements of `size` bytes that lie `stride` elements apart.
static inline void osp_move_line(char *dst, const char *src, int64_t count, int64_t stride,
                                 size_t size)
{
    if (stride == 1) {
        memcpy(dst, src, (size_t)count * size);
        return;
    }
    const ptrdiff_t step = (ptrdiff_t)stride * (ptrdiff_t)size;
    for (int64_t i = 0; i < count; i++)
        memcpy(dst + (size_t)i * size, src + i * step, size);
}

// dst (dense, extents dims[0..rank-1], rank <= 16) from src with any element strides.
static inline void osp_move_strided(void *dst, const void *src, int32_t rank, const int64_t *dims,
                                    const int64_t *strides, size_t size)
{
    for (int32_t d = 0; d < rank; d++)
        if (dims[d] <= 0)
            return;
    int64_t index[16] = {0};
    const int64_t line = rank ? dims[rank - 1] : 1, stride = rank ? strides[rank - 1] : 1;
    char *to = dst;
    ptrdiff_t at = 0;  // element offset in src
    for (;;) {
        osp_move_line(to, (const char *)src + at * (ptrdiff_t)size, line, stride, size);
        to += (size_t)line * size;
        int32_t d = rank - 2;
        for (; d >= 0; d--) {
            at += (ptrdiff_t)strides[d];
            if (++index[d] < dims[d])
                break;
            at -= (ptrdiff_t)strides[d] * (ptrdiff_t)dims[d];
            index[d] = 0;
        }
        if (d < 0)
            return;
    }
}

#endif
