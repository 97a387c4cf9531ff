// Unary operators: their attributes, and activations as functions, which the fused convolution and
// other backends' plain loops share. Thread rule: no state.
#ifndef OSP_OPS_ELEMENTWISE_H
#define OSP_OPS_ELEMENTWISE_H

#include <math.h>

#include "ops/act.h"
#include "ops/op.h"

typedef struct osp_alpha_attrs {  // LeakyRelu, HardSigmoid
    float alpha, beta;
} osp_alpha_attrs;

typedef struct osp_gelu_attrs {
    int32_t approximate;  // 0 none, 1 tanh
} osp_gelu_attrs;

// Bounds of Clip up to opset 10. Inputs 1 and 2 take their place where they are given.
typedef struct osp_clip_attrs {
    float min, max;
} osp_clip_attrs;

typedef struct osp_cast_attrs {
    int64_t to;  // TensorProto.DataType; osp_dtype_from_onnx says which of ours
} osp_cast_attrs;

// TensorProto.DataType to ours and back; UNKNOWN and 0 where there is none.
osp_dtype osp_dtype_from_onnx(int64_t code);
int64_t osp_dtype_to_onnx(osp_dtype dtype);

// NaN passes through all of them, and -0 through relu, as in ONNX Runtime.
static inline float osp_clamp(float x, float low, float high)
{
    const float up = x < low ? low : x;
    return up > high ? high : up;
}

static inline float osp_sigmoid(float x)
{
    return (float)(1 / (1 + exp(-(double)x)));
}

static inline float osp_gelu(float x)
{
    return (float)(0.5 * (double)x * (1 + erf((double)x * 0.70710678118654752440)));
}

static inline float osp_gelu_tanh(float x)
{
    const double d = (double)x;
    return (float)(0.5 * d * (1 + tanh(0.79788456080286535588 * (d + 0.044715 * d * d * d))));
}

// alpha, beta: slope of leaky_relu; alpha * x + beta of hard_sigmoid; bounds of clip.
static inline float osp_activate(osp_act act, float alpha, float beta, float x)
{
    switch (act) {
    case OSP_ACT_RELU:
        return x < 0 ? 0 : x;
    case OSP_ACT_SILU:
        return (float)((double)x / (1 + exp(-(double)x)));
    case OSP_ACT_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case OSP_ACT_SIGMOID:
        return osp_sigmoid(x);
    case OSP_ACT_HARD_SIGMOID:
        return osp_clamp(alpha * x + beta, 0, 1);
    case OSP_ACT_HARD_SWISH:
        return x * osp_clamp(x / 6 + 0.5f, 0, 1);
    case OSP_ACT_CLIP:
        return osp_clamp(x, alpha, beta);
    case OSP_ACT_TANH:
        return tanhf(x);
    case OSP_ACT_GELU:
        return osp_gelu(x);
    case OSP_ACT_GELU_TANH:
        return osp_gelu_tanh(x);
    case OSP_ACT_NONE:
    case OSP_ACT_COUNT:
        break;
    }
    return x;
}

// Input 0 is of `types`; output 0 is like it.
osp_status osp_infer_unary(osp_infer *in, uint32_t types, osp_error *err);

#endif
