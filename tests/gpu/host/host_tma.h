// The functions of src/backends/cuda/tma.cuh in host memory (host_tma.cpp); what each does is said
// there. Thread rule: see host_device.h.
#ifndef OSP_TESTS_HOST_TMA_H
#define OSP_TESTS_HOST_TMA_H

#include "gpu/gpu_types.h"
#include "host_device.h"

void host_barrier_init(uint64_t *bar, uint32_t count);
void host_barrier_fence_init();
void host_barrier_arrive(uint64_t *bar, uint32_t expected_bytes);
void host_barrier_wait(uint64_t *bar, uint32_t parity, const char *file, unsigned line);
bool host_tma_elect();
void host_tma_load(uint32_t shared, const osp_gpu_tensor_map *map, uint64_t *bar, int rank,
                   const int *corner);

namespace osp {

inline void barrier_init(uint64_t *bar, uint32_t count)
{
    host_barrier_init(bar, count);
}

inline void barrier_fence_init()
{
    host_barrier_fence_init();
}

inline void barrier_expect(uint64_t *bar, uint32_t bytes)
{
    host_barrier_arrive(bar, bytes);
}

inline void barrier_arrive(uint64_t *bar)
{
    host_barrier_arrive(bar, 0);
}

// Where it is called is told if it never ends.
inline void barrier_wait(uint64_t *bar, uint32_t parity, const char *file = __builtin_FILE(),
                         unsigned line = __builtin_LINE())
{
    host_barrier_wait(bar, parity, file, line);
}

inline bool tma_elect()
{
    return host_tma_elect();
}

inline void tma_load(uint32_t shared, const osp_gpu_tensor_map *map, uint64_t *bar, int c0, int c1)
{
    const int corner[] = {c0, c1};
    host_tma_load(shared, map, bar, 2, corner);
}

inline void tma_load(uint32_t shared, const osp_gpu_tensor_map *map, uint64_t *bar, int c0, int c1,
                     int c2, int c3)
{
    const int corner[] = {c0, c1, c2, c3};
    host_tma_load(shared, map, bar, 4, corner);
}

inline void tma_prefetch(const osp_gpu_tensor_map *)
{
}

}  // namespace osp

#endif
