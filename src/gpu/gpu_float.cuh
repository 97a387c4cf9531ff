// Elements as floats, several of them in one load, and the logistic function: what the kernels here
// and those of the cuda backend share. Thread rule: device functions without state.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

namespace osp {

__device__ __forceinline__ float as_float(float x)
{
    return x;
}
__device__ __forceinline__ float as_float(__half x)
{
    return __half2float(x);
}

// V elements in one load or store.
template <typename T, int V> struct alignas(sizeof(T) * V) Vector {
    T v[V];
};

// Two numbers as the bits of one register, and back. Several are moved at once as uint2 or uint4 made of
// these: a structure of __half2 the compiler moves piece by piece.
__device__ __forceinline__ uint32_t bits_of(__half2 x)
{
    return *reinterpret_cast<const uint32_t *>(&x);
}
__device__ __forceinline__ __half2 halves_of(uint32_t x)
{
    return *reinterpret_cast<const __half2 *>(&x);
}

// FAST: some 20 bits, for results that are rounded to FP16.
template <bool FAST> __device__ __forceinline__ float over_sigmoid(float x, float numerator)
{
    return FAST ? __fdividef(numerator, 1.0f + __expf(-x)) : numerator / (1.0f + expf(-x));
}

}  // namespace osp
