// The functions of src/backends/cuda/wgmma.cuh in host memory (host_wgmma.cpp); what each does is said
// there. Thread rule: see host_device.h.
#ifndef OSP_TESTS_HOST_WGMMA_H
#define OSP_TESTS_HOST_WGMMA_H

#include <cstdint>

// All 128 threads of a group come to each together. Sums change when their group of products is waited
// for. What ends the program: products of threads that brought different operands, that wrote operands
// they did not make visible, or that did not begin; operands that change before they are waited for.
void host_wgmma_see_shared();
void host_wgmma_begin();
void host_wgmma(float *sums, int n, uint64_t a, uint64_t b);
void host_wgmma_commit();
void host_wgmma_wait(unsigned left);

namespace osp {

inline void wgmma_see_shared()
{
    host_wgmma_see_shared();
}

inline void wgmma_begin()
{
    host_wgmma_begin();
}

inline void wgmma_commit()
{
    host_wgmma_commit();
}

template <int PENDING> void wgmma_wait()
{
    host_wgmma_wait(PENDING);
}

template <int COUNT> void wgmma_settle(float (&)[COUNT])
{
}

template <int N> void wgmma(float (&sums)[N / 2], uint64_t a, uint64_t b)
{
    host_wgmma(sums, N, a, b);
}

}  // namespace osp

#endif
