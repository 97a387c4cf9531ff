// Convolution and its relatives: attributes as ONNX has them, what infer resolves from them, and
// the kernel that Conv, ConvTranspose and the fused convolution share. Thread rule: no state.
#ifndef OSP_OPS_CONV_H
#define OSP_OPS_CONV_H

#include <stddef.h>

#include "ops/op.h"

enum { OSP_MAX_SPATIAL = 3 };
#define OSP_AUTO_PAD_NAMES "NOTSET|SAME_UPPER|SAME_LOWER|VALID"  // in the order of osp_auto_pad

typedef struct osp_conv_attrs {
    osp_ints kernel_shape, strides, dilations, pads;
    int64_t group;
    int32_t auto_pad;
    // Resolved by infer:
    int32_t spatial;                     // 1..3
    osp_window window[OSP_MAX_SPATIAL];  // of the spatial axes in order, pads chosen
} osp_conv_attrs;

// Rows of an attribute table for an osp_conv_attrs that lies at `base` in the operator's struct.
// clang-format off
#define OSP_CONV_ROW(base, name, kind, capacity, names)                                            \
    {#name, kind, (uint32_t)((base) + offsetof(osp_conv_attrs, name)), capacity, names, 0, 0}
#define OSP_CONV_ROWS(base)                                                                        \
    OSP_CONV_ROW(base, auto_pad, OSP_ATTR_ENUM, 0, OSP_AUTO_PAD_NAMES),                            \
    OSP_CONV_ROW(base, dilations, OSP_ATTR_INTS, 16, NULL),                                        \
    OSP_CONV_ROW(base, group, OSP_ATTR_INT, 0, NULL),                                              \
    OSP_CONV_ROW(base, kernel_shape, OSP_ATTR_INTS, 16, NULL),                                     \
    OSP_CONV_ROW(base, pads, OSP_ATTR_INTS, 16, NULL),                                             \
    OSP_CONV_ROW(base, strides, OSP_ATTR_INTS, 16, NULL)
#define OSP_CONV_DEFAULTS                                                                          \
    {.kernel_shape = {.count = -1}, .strides = {.count = -1}, .dilations = {.count = -1},          \
     .pads = {.count = -1}, .group = 1}
// clang-format on

typedef struct osp_conv_transpose_attrs {
    osp_conv_attrs conv;  // pads resolved, those of output_shape too
    osp_ints output_padding, output_shape;
} osp_conv_transpose_attrs;

// Checks inputs 0 (source), 1 (weights) and 2 (bias, may be left out) of any operator that starts
// like Conv, resolves `attrs` and writes the destination's type.
osp_status osp_conv_infer(const osp_infer *in, osp_conv_attrs *attrs, osp_type *out,
                          osp_error *err);
// The bias (input 2) has the source's type, or is float32 where the source is bfloat16.
osp_status osp_conv_bias_type(const osp_infer *in, osp_error *err);
// Any float type, sums in double, rounded once. `bias` may be NULL. A float32 source of float16
// weights is rounded to float16 as it is read.
void osp_conv_reference(const osp_conv_attrs *attrs, const osp_view *src, const osp_view *weights,
                        const osp_view *bias, const osp_view *dst);

// Windows of `spatial` axes from lists as convolutions and pools have them; one that is not given
// is 1 (pads: 0). `kernel` holds `spatial` extents. Checks the lengths of the lists only.
osp_status osp_windows_read(const osp_infer *in, int32_t spatial, const int64_t *kernel,
                            const osp_ints *strides, const osp_ints *dilations,
                            const osp_ints *pads, osp_window *windows, osp_error *err);
// Extents of the spatial axes of dst from those of src, for convolutions and pools.
osp_status osp_windows_apply(const osp_infer *in, int32_t spatial, int32_t auto_pad, bool ceil,
                             osp_window *windows, const osp_shape *src, osp_shape *dst,
                             osp_error *err);

// A windowed problem with its spatial axes lifted to three: missing leading ones have extent 1.
typedef struct osp_lifted {
    int64_t in[3], out[3];
    osp_window window[3];
} osp_lifted;
void osp_lift(osp_lifted *out, int32_t spatial, const osp_window *windows, const osp_shape *src,
              const osp_shape *dst);

// What the shared kernel works on. Weights of output channel o and input channel i of a group,
// tap t: data[base of the group + o * oc_stride + i * ic_stride + t].
typedef struct osp_conv_work {
    osp_lifted at;
    const osp_view *src, *weights, *bias, *dst;
    int64_t n, group, group_ic, group_oc, taps;
    int64_t group_stride, oc_stride, ic_stride;
    bool transposed;
    bool rounds;  // the source, to float16
} osp_conv_work;
void osp_conv_compute(const osp_conv_work *work);

#endif
