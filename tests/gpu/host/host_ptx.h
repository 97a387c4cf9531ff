// The functions of src/backends/cuda/ptx.cuh in host memory; what each does is said there. The ones
// that a warp does together are done by its last lane. Thread rule: see host_device.h.
#ifndef OSP_TESTS_HOST_PTX_H
#define OSP_TESTS_HOST_PTX_H

#include "cuda_fp16.h"

#define OSP_DYNAMIC_SHARED(TYPE, NAME) TYPE *const NAME = static_cast<TYPE *>(host_dynamic_shared())

// Shared memory as 32-bit addresses, and back (host_shared.cpp). `bytes` at an address must lie in
// shared memory, aligned to `align`.
uint32_t host_shared_address(const void *p);
void *host_shared_at(uint32_t address, uint32_t bytes, uint32_t align);

// A copy shows its bytes when it is waited for; until then there is NaN.
void host_copy_async(uint32_t to, const void *from, uint32_t bytes, bool valid);
void host_copy_commit();
void host_copy_wait(unsigned left);

// host_races.cpp: a barrier of `count` threads of a block.
void host_part_barrier(unsigned part, unsigned count);

// host_ptx.cpp.
void host_load_matrix4(uint32_t (&r)[4], uint32_t address, bool turned);
void host_multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

inline size_t __cvta_generic_to_shared(const void *p)
{
    return host_shared_address(p);
}

namespace osp {

inline uint32_t shared_address(const void *p)
{
    return host_shared_address(p);
}

inline void copy16(uint32_t to, const void *from, bool valid)
{
    host_copy_async(to, from, 16, valid);
}

inline void commit_copies()
{
    host_copy_commit();
}

template <int LEFT> void wait_copies()
{
    host_copy_wait(LEFT);
}

template <int COUNT> void meet_part(int part)
{
    host_part_barrier(part, COUNT);
}

inline void load_matrix4(uint32_t (&r)[4], uint32_t address)
{
    host_load_matrix4(r, address, false);
}

inline void load_matrix4_turned(uint32_t (&r)[4], uint32_t address)
{
    host_load_matrix4(r, address, true);
}

inline void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    host_multiply(d, a, b0, b1);
}

inline float tanh_fast(float x)
{
    return std::tanh(x);
}

inline float exp2_fast(float x)
{
    return std::exp2(x);
}

}  // namespace osp

#endif
