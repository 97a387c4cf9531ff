// Elements as floats, several of them in one load, and the logistic function: what the kernels here
// and those of the cuda backend share. Thread rule: device functions without state.
#pragma once
#include <cuda_fp16.h>

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

// FAST: some 20 bits, for results that are rounded to FP16.
template <bool FAST> __device__ __forceinline__ float over_sigmoid(float x, float numerator)
{
    return FAST ? __fdividef(numerator, 1.0f + __expf(-x)) : numerator / (1.0f + expf(-x));
}

}  // namespace osp
