// Shapes, and the only copy of shape arithmetic: kernels are handed its results.
// All functions check for overflow and return false when a size does not fit.
#ifndef OSP_GRAPH_SHAPE_H
#define OSP_GRAPH_SHAPE_H

#include "base/context.h"
#include "base/size.h"

typedef struct osp_shape {
    int32_t rank;                // 0..8; -1: unknown
    int64_t dims[OSP_MAX_RANK];  // -1: unknown; those past the rank are 0
} osp_shape;

// Element count of a known shape (1 for rank 0). false: unknown or too large.
bool osp_shape_count(const osp_shape *shape, size_t *count);
bool osp_shape_bytes(const osp_shape *shape, osp_dtype dtype, size_t *bytes);
bool osp_shape_known(const osp_shape *shape);
bool osp_shape_equal(const osp_shape *a, const osp_shape *b);
// Product of dims [from, to).
int64_t osp_shape_span(const osp_shape *shape, int32_t from, int32_t to);
// C-order element strides; 0 along dims of size 1 when `broadcast` (for operands of *out's rank).
void osp_shape_strides(const osp_shape *shape, int64_t strides[OSP_MAX_RANK]);
// Element strides of `shape` seen as `to` by ONNX (multidirectional) broadcasting.
void osp_shape_broadcast_strides(const osp_shape *shape, const osp_shape *to,
                                 int64_t strides[OSP_MAX_RANK]);
// *out = a and b broadcast together; false if they do not fit.
bool osp_shape_broadcast(const osp_shape *a, const osp_shape *b, osp_shape *out);
// -rank..rank-1 to 0..rank-1; false if out of range. For rank 0, allows 0 and -1 as 0.
bool osp_shape_axis(int64_t axis, int32_t rank, int32_t *out);
// "2x3x4", "scalar", "?" into text (at least 96 bytes); returns text.
const char *osp_shape_text(const osp_shape *shape, char *text, size_t size);

typedef enum osp_auto_pad {
    OSP_PAD_NOTSET = 0,
    OSP_PAD_SAME_UPPER,
    OSP_PAD_SAME_LOWER,
    OSP_PAD_VALID
} osp_auto_pad;

// One spatial axis of a convolution or pooling window.
typedef struct osp_window {
    int64_t size, stride, dilation;
    int64_t pad_begin, pad_end;  // in; for SAME_* out: the pads that were chosen
} osp_window;

// Output extent of one axis. `ceil`: ONNX ceil_mode (a last window that would start in the end
// padding is dropped). false: bad window, or the kernel is larger than the padded input.
bool osp_shape_window(int64_t in, osp_auto_pad auto_pad, bool ceil, osp_window *window,
                      int64_t *out);
// Output extent of one axis of ConvTranspose without an explicit output shape.
bool osp_shape_transposed(int64_t in, int64_t output_padding, const osp_window *window,
                          int64_t *out);

#endif
