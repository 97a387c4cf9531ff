// What the convolution kernels share on the device: the end of every output element. sm_80 and
// later.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

#include "backends/cuda/conv_kernels.h"
#include "backends/cuda/ptx.cuh"
#include "gpu/gpu_grid.cuh"
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

// Where pixels `first`, `first + STEP`... of the result begin in the source: elements from src to their
// first taps, and which of their taps are in the image, a bit each; none for pixels that are not there.
template <int COUNT, int STEP>
__device__ __forceinline__ void find_pixels(const osp_conv_args &p, int first, int (&base)[COUNT],
                                            uint32_t (&inside)[COUNT])
{
    if (p.kh * p.kw == 1 && p.oh == p.ih && p.ow == p.iw && p.ph == 0 && p.pw == 0) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {  // each pixel is its own: most layers of a network
            const bool there = first + i * STEP < p.pixels;
            base[i] = there ? (first + i * STEP) * p.src_pitch : 0;
            inside[i] = there;
        }
        return;
    }
    uint32_t lines = 0;  // the first tap of each line of the window
    for (int y = 0; y < p.kh; y++)
        lines |= 1u << (y * p.kw);
    int n = first / (p.oh * p.ow);
    const int at = first - n * p.oh * p.ow;
    int oy = at / p.ow, ox = at - oy * p.ow;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const int iy = oy * p.sh - p.ph, ix = ox * p.sw - p.pw;
        const bool there = first + i * STEP < p.pixels;
        base[i] = there ? ((n * p.ih + iy) * p.iw + ix) * p.src_pitch : 0;
        // Taps [left, right) of lines [top, bottom): a bit for each of a line's, at each line.
        const int left = min(max(-ix, 0), p.kw), right = max(min(p.kw, p.iw - ix), left);
        const int top = min(max(-iy, 0), p.kh), bottom = max(min(p.kh, p.ih - iy), top);
        inside[i] = there ? ((1u << right) - (1u << left)) *
                                (lines & ((1u << (bottom * p.kw)) - (1u << (top * p.kw))))
                          : 0;
        for (ox += STEP; ox >= p.ow; ox -= p.ow)
            if (++oy == p.oh) {
                oy = 0;
                n++;
            }
    }
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

// The same for N times four sums of a thread. All at once, so that each choice is made once and
// special functions overlap. add[i][k]: channels 2k and 2k + 1 beside x[i]; read only where there is
// a residual.
template <int N>
__device__ __forceinline__ void finish(const osp_conv_args &p, float (&x)[N][4],
                                       const __half2 (&add)[N][2])
{
    auto add_residual = [&] {
#pragma unroll
        for (int i = 0; i < N * 2; i++) {
            const float2 r = __half22float2(add[i / 2][i % 2]);
            x[i / 2][i % 2 * 2] += r.x;
            x[i / 2][i % 2 * 2 + 1] += r.y;
        }
    };
    if (p.add && p.add_first)
        add_residual();
    if (p.act == OSP_ACT_SILU) {
#pragma unroll
        for (int i = 0; i < N * 4; i++)
            x[i / 4][i % 4] = silu(x[i / 4][i % 4]);
    } else if (p.act != OSP_ACT_NONE) {
#pragma unroll
        for (int i = 0; i < N * 4; i++)
            x[i / 4][i % 4] = other_activation(p.act, x[i / 4][i % 4], p.alpha, p.beta);
    }
    if (p.add && !p.add_first)
        add_residual();
}

// The same for a row of N m16n8 tiles of products: this lane has rows lane / 4 and 8 below, and
// channels 8 j and 8 j + 1 from its first one on. bias: of the first, in shared memory. at[h]: the
// first channel's element of the residual; columns[h]: channels that are there from it on, 0 where
// the row is outside.
template <int N>
__device__ __forceinline__ void finish_tiles(const osp_conv_args &p, float (&x)[N][4],
                                             const float *bias, const int64_t (&at)[2],
                                             const int (&columns)[2])
{
    __half2 add[N][2];
    if (p.add) {  // all loads before the first is needed
#pragma unroll
        for (int j = 0; j < N * 2; j++)
            add[j / 2][j % 2] =
                j / 2 * 8 < columns[j % 2]
                    ? *reinterpret_cast<const __half2 *>(static_cast<const __half *>(p.add) +
                                                         at[j % 2] + j / 2 * 8)
                    : __floats2half2_rn(0, 0);
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
        const float2 b = *reinterpret_cast<const float2 *>(bias + j * 8);
        x[j][0] += b.x;
        x[j][1] += b.y;
        x[j][2] += b.x;
        x[j][3] += b.y;
    }
    finish(p, x, add);
}

}  // namespace
