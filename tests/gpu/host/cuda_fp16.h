// CUDA C++ for the host compiler, as much of it as the kernels use: they include this in place of
// CUDA's header when tests/gpu compiles them as C++ (-I tests/gpu/host), and host_cuda.cpp runs them,
// every thread of a block as a fiber. For checking what kernels compute where there is no GPU.
// Thread rule: one kernel at a time (host_cuda.cpp holds a lock).
#ifndef OSP_TESTS_HOST_CUDA_FP16_H
#define OSP_TESTS_HOST_CUDA_FP16_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/half.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static

struct host_dim {
    unsigned x, y, z;
};
extern host_dim host_thread_idx, host_block_idx;
#define threadIdx host_thread_idx
#define blockIdx host_block_idx

// Implemented by host_cuda.cpp.
void host_block_barrier();
// Puts this lane's bits where all lanes of the warp see them; returns the 32 of them.
const uint64_t *host_warp_exchange(uint64_t bits);

inline void __syncthreads()
{
    host_block_barrier();
}

template <typename T> uint64_t host_bits(T v)
{
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    return bits;
}

template <typename T> T host_value(uint64_t bits)
{
    T v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

template <typename T> T __shfl_sync(unsigned, T v, int lane)
{
    return host_value<T>(host_warp_exchange(host_bits(v))[lane & 31]);
}

template <typename T> T __shfl_xor_sync(unsigned, T v, int mask)
{
    const unsigned lane = threadIdx.x & 31;
    return host_value<T>(host_warp_exchange(host_bits(v))[lane ^ (unsigned)mask]);
}

inline unsigned __ballot_sync(unsigned, bool p)
{
    const uint64_t *all = host_warp_exchange(p);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)(all[i] & 1) << i;
    return bits;
}

inline unsigned __reduce_or_sync(unsigned, unsigned v)
{
    const uint64_t *all = host_warp_exchange(v);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)all[i];
    return bits;
}

template <typename T> T atomicAdd(T *p, T v)
{
    const T old = *p;
    *p = old + v;
    return old;
}

inline unsigned atomicOr(unsigned *p, unsigned v)
{
    const unsigned old = *p;
    *p = old | v;
    return old;
}

template <typename T> T __ldg(const T *p)
{
    return *p;
}

inline int __ffs(unsigned v)
{
    return __builtin_ffs((int)v);
}

inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

inline unsigned __dp2a(unsigned a, unsigned b, unsigned c)
{
    return c + (a & 0xFFFF) * (b & 255) + (a >> 16) * (b >> 8 & 255);
}

inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c)
{
    return __dp2a(a, b, c);
}

inline unsigned __dp2a_hi(unsigned a, unsigned b, unsigned c)
{
    return __dp2a(a, b >> 16, c);
}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}

inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector)
{
    const uint64_t bytes = (uint64_t)y << 32 | x;
    unsigned out = 0;
    for (int i = 0; i < 4; i++)
        out |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return out;
}

inline double __dmul_rn(double a, double b)
{
    return a * b;
}

inline double __dsub_rn(double a, double b)
{
    return a - b;
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fsub_rn(float a, float b)
{
    return a - b;
}

inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}

inline float __double2float_rn(double v)
{
    return (float)v;
}

inline int __float2int_rn(float v)
{
    return (int)std::nearbyintf(v);
}

inline unsigned __float_as_uint(float v)
{
    return osp_float_bits(v);
}

inline float __uint_as_float(unsigned v)
{
    return osp_bits_float(v);
}

inline float __int_as_float(int v)
{
    return osp_bits_float((unsigned)v);
}

struct __half {
    uint16_t bits;
};

inline float __half2float(__half v)
{
    return osp_half_to_float(v.bits);
}

inline __half __float2half_rn(float v)
{
    return {osp_float_to_half(v)};
}

using std::isfinite;

template <typename T> T min(T a, T b)
{
    return b < a ? b : a;
}

template <typename T> T max(T a, T b)
{
    return a < b ? b : a;
}

#endif
