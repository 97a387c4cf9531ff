// The library's kernels in host memory: see host/host_device.h. Plain C.
// Thread rule: any thread; one kernel at a time.
#ifndef OSP_TESTS_HOST_CUDA_H
#define OSP_TESTS_HOST_CUDA_H

#ifdef __cplusplus
extern "C" {
#endif

#include <stdbool.h>
#include <stddef.h>

#include "gpu/gpu_types.h"

// Runs a kernel whose `function` is the host compiler's. An extent of 0 is 1. What a kernel may not do
// (see host_cuda.cpp) ends the program, with its name. Returns a time in microseconds that says how
// often its threads met, the same on every machine.
double host_cuda_run(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                     const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes);

// The block of memory that an address lies in, [*from, *to); false: in none.
typedef bool host_find_fn(void *user, const void *at, const char **from, const char **to);

// From now on kernels may touch what `find` finds, and nothing else. NULL: anything, as at first.
void host_cuda_memory(host_find_fn *find, void *user);

#ifdef __cplusplus
}
#endif
#endif
