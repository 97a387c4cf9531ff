// What the kernels share: walking, elements of any type, activations.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "backends/cuda/kernels.h"
#include "gpu/gpu_float.cuh"
#include "gpu/gpu_grid.cuh"

namespace osp {

__device__ __forceinline__ uint32_t divide(uint32_t n, const osp_cuda_divisor &d)
{
    return (__umulhi(n, d.mul) + n) >> d.shift;
}

// Offsets of item i in the first K operands.
template <int K>
__device__ __forceinline__ void locate(const osp_cuda_walk &w, uint32_t i, int64_t (&at)[K])
{
#pragma unroll
    for (int k = 0; k < K; k++)
        at[k] = 0;
    for (int d = w.rank - 1; d > 0; d--) {
        const uint32_t q = divide(i, w.dims[d]), r = i - q * w.dims[d].value;
#pragma unroll
        for (int k = 0; k < K; k++)
            at[k] += r * w.strides[k][d];
        i = q;
    }
#pragma unroll
    for (int k = 0; k < K; k++)
        at[k] += i * w.strides[k][0];
}

// As many bytes as an element, for movers.
template <int SIZE> struct Bytes;
template <> struct Bytes<1> { using type = uint8_t; };
template <> struct Bytes<2> { using type = uint16_t; };
template <> struct Bytes<4> { using type = uint32_t; };
template <> struct Bytes<8> { using type = uint64_t; };
template <> struct Bytes<16> { using type = uint4; };

// ---- Elements -----------------------------------------------------------------------------------

template <typename T> __device__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}
template <> __device__ __forceinline__ __half from_float<__half>(float x)
{
    return __float2half_rn(x);
}

__device__ __forceinline__ bool is_float(int dtype)
{
    return dtype == OSP_DTYPE_FLOAT32 || dtype == OSP_DTYPE_FLOAT16 || dtype == OSP_DTYPE_BFLOAT16;
}

// Truncates and saturates; NaN is 0.
__device__ __forceinline__ int64_t whole(double x)
{
    if (x != x)
        return 0;
    if (x >= 9223372036854775808.0)
        return INT64_MAX;
    return x < -9223372036854775808.0 ? INT64_MIN : (int64_t)x;
}

__device__ inline float load_float(int dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        return ((const float *)data)[i];
    case OSP_DTYPE_FLOAT16:
        return __half2float(((const __half *)data)[i]);
    case OSP_DTYPE_BFLOAT16:
        return __bfloat162float(((const __nv_bfloat16 *)data)[i]);
    case OSP_DTYPE_INT32:
        return (float)((const int32_t *)data)[i];
    case OSP_DTYPE_INT64:
        return (float)((const int64_t *)data)[i];
    case OSP_DTYPE_INT8:
        return (float)((const int8_t *)data)[i];
    default:
        return (float)((const uint8_t *)data)[i];
    }
}

__device__ inline int64_t load_int(int dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case OSP_DTYPE_INT32:
        return ((const int32_t *)data)[i];
    case OSP_DTYPE_INT64:
        return ((const int64_t *)data)[i];
    case OSP_DTYPE_UINT8:
        return ((const uint8_t *)data)[i];
    case OSP_DTYPE_BOOL:
        return ((const uint8_t *)data)[i] != 0;
    case OSP_DTYPE_INT8:
        return ((const int8_t *)data)[i];
    default:
        return whole((double)load_float(dtype, data, i));
    }
}

// Integers keep their low bits; bool is "not zero".
__device__ inline void store_int(int dtype, void *data, int64_t i, int64_t x)
{
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        ((float *)data)[i] = (float)x;
        break;
    case OSP_DTYPE_FLOAT16:
        ((__half *)data)[i] = __float2half_rn((float)x);
        break;
    case OSP_DTYPE_BFLOAT16:
        ((__nv_bfloat16 *)data)[i] = __float2bfloat16_rn((float)x);
        break;
    case OSP_DTYPE_INT32:
        ((uint32_t *)data)[i] = (uint32_t)x;
        break;
    case OSP_DTYPE_INT64:
        ((int64_t *)data)[i] = x;
        break;
    case OSP_DTYPE_BOOL:
        ((uint8_t *)data)[i] = x != 0;
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)x;
        break;
    }
}

// Rounds to the type; integers are truncated and saturated to their own range, NaN is 0.
__device__ inline void store_float(int dtype, void *data, int64_t i, float x)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        ((float *)data)[i] = x;
        return;
    case OSP_DTYPE_FLOAT16:
        ((__half *)data)[i] = __float2half_rn(x);
        return;
    case OSP_DTYPE_BFLOAT16:
        ((__nv_bfloat16 *)data)[i] = __float2bfloat16_rn(x);
        return;
    case OSP_DTYPE_BOOL:
        ((uint8_t *)data)[i] = x != 0;  // NaN is true
        return;
    case OSP_DTYPE_INT32:
        low = INT32_MIN, high = INT32_MAX;
        break;
    case OSP_DTYPE_UINT8:
        low = 0, high = UINT8_MAX;
        break;
    case OSP_DTYPE_INT8:
        low = INT8_MIN, high = INT8_MAX;
        break;
    default:
        break;
    }
    const int64_t n = whole((double)x);
    store_int(dtype, data, i, n < low ? low : n > high ? high : n);
}

// dst[to] = src[from], bit by bit.
__device__ inline void copy_element(int dtype, void *dst, int64_t to, const void *src, int64_t from)
{
    switch (dtype) {
    case OSP_DTYPE_INT64:
        ((uint64_t *)dst)[to] = ((const uint64_t *)src)[from];
        break;
    case OSP_DTYPE_FLOAT32:
    case OSP_DTYPE_INT32:
        ((uint32_t *)dst)[to] = ((const uint32_t *)src)[from];
        break;
    case OSP_DTYPE_FLOAT16:
    case OSP_DTYPE_BFLOAT16:
        ((uint16_t *)dst)[to] = ((const uint16_t *)src)[from];
        break;
    default:
        ((uint8_t *)dst)[to] = ((const uint8_t *)src)[from];
        break;
    }
}

// ---- Activations --------------------------------------------------------------------------------

// NaN passes through, and -0 through relu.
__device__ __forceinline__ float clamp(float x, float low, float high)
{
    const float up = x < low ? low : x;
    return up > high ? high : up;
}

__device__ __forceinline__ float gelu_tanh(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * (x + 0.044715f * x * x * x)));
}

// The functions of osp_act.
template <bool FAST>
__device__ __forceinline__ float activate(int fn, float alpha, float beta, float x)
{
    switch (fn) {
    case OSP_FN_RELU:
        return x < 0 ? 0 : x;
    case OSP_FN_SILU:
        return over_sigmoid<FAST>(x, x);
    case OSP_FN_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case OSP_FN_SIGMOID:
        return over_sigmoid<FAST>(x, 1.0f);
    case OSP_FN_HARD_SIGMOID:
        return clamp(alpha * x + beta, 0, 1);
    case OSP_FN_HARD_SWISH:
        return x * clamp(x / 6 + 0.5f, 0, 1);
    case OSP_FN_CLIP:
        return clamp(x, alpha, beta);
    case OSP_FN_TANH:
        return tanhf(x);
    case OSP_FN_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
    case OSP_FN_GELU_TANH:
        return gelu_tanh(x);
    default:
        return x;
    }
}

}  // namespace osp
