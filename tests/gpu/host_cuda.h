// The library's kernels in host memory: see host/host_device.h. Plain C.
// Thread rule: any thread; one kernel at a time.
#ifndef OSP_TESTS_HOST_CUDA_H
#define OSP_TESTS_HOST_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stddef.h>

#include "gpu/gpu_types.h"

// Runs a kernel whose `function` is the host compiler's. An extent of 0 is 1. What a kernel may not do
// (see host_cuda.cpp) ends the program, with its name.
void host_cuda_run(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                   const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes);

#ifdef __cplusplus
}
#endif
#endif
