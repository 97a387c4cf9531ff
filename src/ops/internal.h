// Operators of domain "osprey", which only passes make: attributes.
#ifndef OSP_OPS_INTERNAL_H
#define OSP_OPS_INTERNAL_H

#include "ops/conv.h"
#include "ops/elementwise.h"

typedef enum osp_residual {
    OSP_RESIDUAL_NONE = 0,
    OSP_RESIDUAL_BEFORE,  // act(conv + bias + residual)
    OSP_RESIDUAL_AFTER    // act(conv + bias) + residual
} osp_residual;

// FusedConv: source, weights, bias (may be left out), residual (of the destination's type). The
// source may be float32 where the weights are float16: it is rounded to their type as it is read.
typedef struct osp_fused_conv_attrs {
    osp_conv_attrs conv;
    int32_t act;        // osp_act
    float alpha, beta;  // of it
    int32_t residual;   // osp_residual
} osp_fused_conv_attrs;

// PixelConv: act(conv((pixel - mean) * scale, weights) + bias), the padding 0 after the scale. Source
// uint8 N,H,W,C, weights as Conv's, bias (may be left out); the result has the weights' type.
typedef struct osp_pixel_conv_attrs {
    osp_conv_attrs conv;     // of one group
    int32_t act;             // osp_act
    float alpha, beta;       // of it
    osp_floats mean, scale;  // by channel
} osp_pixel_conv_attrs;

// Attention: softmax(scale * q kT) v over the last two dims, the leading ones being alike.
// q is [..., m, d], k [..., n, d], v [..., n, e], the result [..., m, e]; each of them with its
// last two dims the other way round where its flag is set. With `heads` all are maps instead, [N,
// heads * d, H, W], read as [N, heads, d, H * W]: all flags are set, by what a map is.
typedef struct osp_attention_attrs {
    float scale;
    int64_t q_transposed, k_transposed, v_transposed, out_transposed;
    int64_t heads;  // 0: no maps
} osp_attention_attrs;
// The matrices of one operand: [..., rows, columns] or the other way round, as its flag says.
osp_shape osp_attention_matrices(const osp_attention_attrs *attrs, const osp_shape *operand);

// MaxPools: three MaxPools in a row, each of the one before: square windows of `size` (odd), stride 1,
// padded to the source's size. All three results are outputs.
typedef struct osp_max_pools_attrs {
    int64_t size;
} osp_max_pools_attrs;
enum { OSP_MAX_POOLS = 3 };

// Expectation: source of any float type, weights (float32, one for each index of `axis`). The sum of
// the weights, each as likely as the softmax of the source along `axis` says; that dim becomes 1.
// Always float32.
typedef struct osp_expectation_attrs {
    int64_t axis;  // resolved: not negative
} osp_expectation_attrs;

typedef enum osp_box_form {
    OSP_BOX_XYWH = 0,  // centre and size
    OSP_BOX_XYXY       // two corners
} osp_box_form;

// BoxHead: what anchor-free detectors end in. Inputs: for each level its distances [N, 4*K, H, W] to
// the left, upper, right and lower side, all of one float type; for each level its class logits
// [N, C, H, W], again of one float type; float32 places [2, A] of all A pixels, level after level, and
// strides [A]; and, unless K is 1, weights [K]: then a distance is the expectation over its K logits.
// The result is [N, 4 + C, A] in float32: boxes, (place -+ distance) * stride in the given form, and
// sigmoids of the logits; or turned, [N, A, 4 + C].
typedef struct osp_box_head_attrs {
    int64_t levels;
    int32_t form;  // osp_box_form
    int64_t turned;
} osp_box_head_attrs;
enum { OSP_BOX_LEVELS = 8 };  // at most

#endif
