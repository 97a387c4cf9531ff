// The library's kernels in host memory: see host/cuda_fp16.h. Plain C.
#ifndef OSP_TESTS_HOST_CUDA_H
#define OSP_TESTS_HOST_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stdbool.h>

#include "gpu/gpu_types.h"

// Runs a kernel whose `function` is the host compiler's; false: its arguments are not known.
bool host_cuda_run(const osp_gpu_kernel *kernel, const void *args, const uint32_t grid[3],
                   const uint32_t block[3]);

#ifdef __cplusplus
}
#endif
#endif
