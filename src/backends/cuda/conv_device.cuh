// What the convolution kernels share on the device: the end of every output element. sm_80 and
// later.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

#include "backends/cuda/conv_kernels.h"
#include "backends/cuda/ptx.cuh"
#include "ops/act.h"

namespace {

using namespace osp;

// x * sigmoid(x) = h + h * tanh(h) with h = x / 2: one special-function operation.
__device__ __forceinline__ float silu(float x)
{
    const float h = 0.5f * x;
    return fmaf(h, tanh_fast(h), h);
}

__device__ __noinline__ float other_activation(int act, float x, float alpha, float beta)
{
    switch (act) {
    case OSP_ACT_RELU:
        return x < 0 ? 0 : x;
    case OSP_ACT_LEAKY_RELU:
        return x < 0 ? x * alpha : x;
    case OSP_ACT_SIGMOID:
        return 1 / (1 + __expf(-x));
    case OSP_ACT_HARD_SIGMOID:
        return fminf(fmaxf(fmaf(alpha, x, beta), 0.0f), 1.0f);
    case OSP_ACT_HARD_SWISH:
        return x * fminf(fmaxf(fmaf(x, 1 / 6.0f, 0.5f), 0.0f), 1.0f);
    case OSP_ACT_CLIP:
        return fminf(fmaxf(x, alpha), beta);
    case OSP_ACT_TANH:
        return tanhf(x);
    case OSP_ACT_GELU:
        return 0.5f * x * (1 + erff(x * 0.70710678f));
    case OSP_ACT_GELU_TANH:
        return 0.5f * x * (1 + tanhf(0.79788456f * fmaf(0.044715f * x * x, x, x)));
    default:
        return x;
    }
}

__device__ __forceinline__ float activate(const osp_conv_args &p, float x)
{
    if (p.act == OSP_ACT_SILU)
        return silu(x);
    return p.act == OSP_ACT_NONE ? x : other_activation(p.act, x, p.alpha, p.beta);
}

// The end of one element, bias included: activation and residual in their order.
__device__ __forceinline__ float finish(const osp_conv_args &p, float x, float add)
{
    return p.add_first ? activate(p, x + add) : activate(p, x) + add;
}

// Two neighbouring channels of one pixel at element `at` of the residual, or zeros.
__device__ __forceinline__ float2 residual2(const osp_conv_args &p, bool valid, int64_t at)
{
    if (!p.add || !valid)
        return make_float2(0, 0);
    return __half22float2(
        *reinterpret_cast<const __half2 *>(static_cast<const __half *>(p.add) + at));
}

}  // namespace
