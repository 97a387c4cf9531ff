// CUDA C++ for the host compiler, as much of the language as the kernels use: who a thread is,
// barriers, what a warp does together, atomics. The kernels come here through cuda_fp16.h, which they
// include in place of CUDA's own (-I tests/gpu/host); host_cuda.cpp runs them, every thread of a
// block as a fiber. For checking what kernels compute where there is no GPU.
//
// Static shared memory is what a kernel's file has in .bss: the build renames that section to
// host_shared, so that host_shared.cpp can fill it with NaN before every block.
// Thread rule: one kernel at a time (host_cuda.cpp holds a lock).
#ifndef OSP_TESTS_HOST_DEVICE_H
#define OSP_TESTS_HOST_DEVICE_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
};
extern dim3 host_thread_idx, host_block_idx, host_block_dim, host_grid_dim;
extern unsigned host_lane;  // number of the thread in its warp
#define threadIdx host_thread_idx
#define blockIdx host_block_idx
#define blockDim host_block_dim
#define gridDim host_grid_dim

// ---- Threads together (host_cuda.cpp) -----------------------------------------------------------

// Says which kernel, block and thread it is, and what is wrong; ends the program.
[[noreturn]] void host_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

void host_block_barrier();  // both: host_races.cpp
void host_warp_barrier();
void host_give_way();   // lets others on: for a thread that waits by looking again and again
void host_grid_wait();  // this thread has waited for the kernel before (gpu/gpu_grid.cuh)

// All lanes of a warp (or the four warps of a group) come here with the same `work`; the last one
// does it for all of them. lanes[i]: what lane i brought, NULL where it has returned.
typedef void host_work(void *const *lanes);
void host_warp_together(host_work *work, void *mine);
void host_group_together(host_work *work, void *mine);

// Puts this lane's bits where all lanes of the warp see them until their next exchange; lanes that
// have returned show ones.
const uint64_t *host_warp_exchange(uint64_t bits);

// The launch's dynamic shared memory (host_shared.cpp).
void *host_dynamic_shared();

inline void __syncthreads()
{
    host_block_barrier();
}

inline void __syncwarp(unsigned = 0xffffffff)
{
    host_warp_barrier();
}

inline void __threadfence()
{
}

template <typename T> uint64_t host_bits(T v)
{
    uint64_t bits = 0;
    static_assert(sizeof v <= sizeof bits, "what lanes exchange");
    memcpy(&bits, &v, sizeof v);
    return bits;
}

template <typename T> T host_value(uint64_t bits)
{
    T v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

// From a lane of this thread's own part of the warp (`width` lanes); its own value where `from` lies
// outside.
template <typename T> T host_shuffle(T v, int from, int width)
{
    const int lane = (int)host_lane, first = lane & ~(width - 1);
    const uint64_t *all = host_warp_exchange(host_bits(v));
    return host_value<T>(all[from >= first && from < first + width ? from : lane]);
}

template <typename T> T __shfl_sync(unsigned, T v, int lane, int width = 32)
{
    const int first = (int)host_lane & ~(width - 1);
    return host_shuffle(v, first + (lane & (width - 1)), width);
}

// Lanes below the part's end may be read from any part before: CUDA bounds xor on one side only.
template <typename T> T __shfl_xor_sync(unsigned, T v, int mask, int width = 32)
{
    const int from = (int)host_lane ^ mask, end = ((int)host_lane & ~(width - 1)) + width;
    const uint64_t *all = host_warp_exchange(host_bits(v));
    return host_value<T>(all[from < end ? from : (int)host_lane]);
}

template <typename T> T __shfl_up_sync(unsigned, T v, unsigned delta, int width = 32)
{
    return host_shuffle(v, (int)host_lane - (int)delta, width);
}

template <typename T> T __shfl_down_sync(unsigned, T v, unsigned delta, int width = 32)
{
    return host_shuffle(v, (int)host_lane + (int)delta, width);
}

// Votes count those who are still there.
inline unsigned __ballot_sync(unsigned mask, bool p)
{
    const uint64_t *all = host_warp_exchange(p);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)(all[i] == 1) << i;
    return bits & mask;
}

inline int __any_sync(unsigned mask, bool p)
{
    return __ballot_sync(mask, p) != 0;
}

inline int __all_sync(unsigned mask, bool p)
{
    return __ballot_sync(mask, !p) == 0;
}

template <typename T, typename F> T host_reduce(unsigned mask, T v, F f)
{
    const uint64_t *all = host_warp_exchange(host_bits(v));
    for (int i = 0; i < 32; i++)
        if (i != (int)host_lane && mask >> i & 1 && all[i] != UINT64_MAX)
            v = f(v, host_value<T>(all[i]));
    return v;
}

inline unsigned __reduce_or_sync(unsigned mask, unsigned v)
{
    return host_reduce(mask, v, [](unsigned a, unsigned b) { return a | b; });
}

template <typename T> T __reduce_add_sync(unsigned mask, T v)
{
    return host_reduce(mask, v, [](T a, T b) { return (T)((unsigned)a + (unsigned)b); });
}

template <typename T> T __reduce_max_sync(unsigned mask, T v)
{
    return host_reduce(mask, v, [](T a, T b) { return a < b ? b : a; });
}

template <typename T> T __reduce_min_sync(unsigned mask, T v)
{
    return host_reduce(mask, v, [](T a, T b) { return b < a ? b : a; });
}

// ---- Memory -------------------------------------------------------------------------------------

// What an atomic touches must be there, but is no race.
void host_atomic_touch(const void *address, size_t bytes);

template <typename T, typename F>
__attribute__((noinline, no_sanitize("kernel-address"))) T host_atomic(T *p, F f)
{
    host_atomic_touch(p, sizeof *p);
    const T old = *p;
    *p = f(old);
    return old;
}

template <typename T> T atomicAdd(T *p, T v)
{
    return host_atomic(p, [v](T old) { return old + v; });
}

template <typename T> T atomicMax(T *p, T v)
{
    return host_atomic(p, [v](T old) { return old < v ? v : old; });
}

template <typename T> T atomicMin(T *p, T v)
{
    return host_atomic(p, [v](T old) { return v < old ? v : old; });
}

template <typename T> T atomicExch(T *p, T v)
{
    return host_atomic(p, [v](T) { return v; });
}

template <typename T> T atomicCAS(T *p, T expected, T v)
{
    return host_atomic(p, [expected, v](T old) { return old == expected ? v : old; });
}

inline unsigned atomicOr(unsigned *p, unsigned v)
{
    return host_atomic(p, [v](unsigned old) { return old | v; });
}

template <typename T> T __ldg(const T *p)
{
    return *p;
}

template <typename T> T __ldcg(const T *p)
{
    return *p;
}

template <typename T> T __ldcs(const T *p)
{
    return *p;
}

template <typename T> void __stcs(T *p, T v)
{
    *p = v;
}

#endif
