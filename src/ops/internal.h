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

// FusedConv: source, weights, bias (may be left out), residual (of the destination's type).
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
// last two dims the other way round where its flag is set.
typedef struct osp_attention_attrs {
    float scale;
    int64_t q_transposed, k_transposed, v_transposed, out_transposed;
} osp_attention_attrs;

#endif
