// Two arrays compared on the device: the largest difference and the largest value, as floats whose
// bits order as they do. What is no number counts as infinite.
#include <cuda_fp16.h>

#include "gpu/gpu_kernels.h"

namespace {

__device__ float load(const __half *p)
{
    return __half2float(*p);
}
__device__ float load(const float *p)
{
    return *p;
}

template <class T> __global__ void compare(const __grid_constant__ osp_compare_args a)
{
    float difference = 0, value = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < a.rows * a.row;
         i += (int64_t)gridDim.x * blockDim.x) {
        const int64_t at = i / a.row * a.pitch + i % a.row;
        const float x = load(static_cast<const T *>(a.got) + at);
        const float y = load(static_cast<const T *>(a.want) + at);
        const float d = fabsf(x - y);
        difference = fmaxf(difference, d == d ? d : INFINITY);
        value = fmaxf(value, fabsf(y));
    }
    atomicMax(reinterpret_cast<int *>(a.largest), __float_as_int(difference));
    atomicMax(reinterpret_cast<int *>(a.largest) + 1, __float_as_int(value));
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_kernel_compare_f16 = {"compare_f16", (const void *)compare<__half>};
const osp_gpu_kernel osp_kernel_compare_f32 = {"compare_f32", (const void *)compare<float>};
}
