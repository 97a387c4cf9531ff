// Products of a warpgroup: wgmma m64nNk16 on sm_90a, FP16 operands in shared memory, FP32 sums in
// registers. All 128 threads call each function together.
//
// An operand's tile is rows (pixels of A, channels out of B) of 64 halves, 128 bytes, one after the
// other, starting at a multiple of 1024 bytes; the 16-byte chunk c of row r lies at place c ^ (r % 8),
// the 128-byte swizzle that the hardware undoes.
//
// The order that a pipeline keeps:
//     fill the tile by cp.async; wait for the own copies; wgmma_see_shared; __syncthreads
//     wgmma_begin; wgmma...; wgmma_commit
//     wgmma_wait<N> before a tile that the N + 1st last group reads is filled again
//     wgmma_wait<0>, then wgmma_settle, before the sums are read
// Such copies write through the generic proxy and wgmma reads through the async one, hence the fence in
// wgmma_see_shared, by the threads that wrote. The way back needs none: a finished wgmma is followed
// by one. Bulk copies (tma.cuh) are of the async proxy themselves.
#pragma once
#include <stdint.h>

#ifndef __CUDACC__
#include "host_wgmma.h"
#define OSP_SM90A 1  // else the build says whether it makes code for it
#endif

// A block's dynamic shared memory, where tiles may start.
#ifdef __CUDACC__
#define OSP_WGMMA_SHARED(NAME) extern __shared__ __align__(1024) unsigned char NAME[]
#else
#define OSP_WGMMA_SHARED(NAME) OSP_DYNAMIC_SHARED(unsigned char, NAME)
#endif

namespace osp {

// Rows from `address` on, groups of 8 `step` bytes apart. The row at a multiple of 1024 bytes counts as
// row 0 of the swizzle, wherever the operand starts: it goes by addresses. The offset along K has no
// meaning under this swizzle.
__device__ __forceinline__ uint64_t wgmma_rows(uint32_t address, uint32_t step)
{
    return (uint64_t)(address >> 4) | (uint64_t)1 << 16 | (uint64_t)(step >> 4) << 32 |
           (uint64_t)1 << 62;
}

// A tile at `address`, a multiple of 1024.
__device__ __forceinline__ uint64_t wgmma_operand(uint32_t address)
{
    return wgmma_rows(address, 1024);
}

#ifdef __CUDACC__

__device__ __forceinline__ void wgmma_see_shared()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void wgmma_begin()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until at most PENDING groups are unfinished.
template <int PENDING> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Keeps reads of the sums behind the wait before it.
template <int COUNT> __device__ __forceinline__ void wgmma_settle(float (&sums)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        asm volatile("" : "+f"(sums[i])::"memory");
}

// sums += A * B^T: 64 rows of A, N rows of B, 16 halves of each. Thread t of the warpgroup holds
// of row t / 32 * 16 + t % 32 / 4 + h * 8 the columns j * 8 + t % 4 * 2 + e in sums[j * 4 + h * 2 + e].
template <int N> __device__ void wgmma(float (&sums)[N / 2], uint64_t a, uint64_t b);

#define OSP_WGMMA_16(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P)                               \
    "%" #A ", %" #B ", %" #C ", %" #D ", %" #E ", %" #F ", %" #G ", %" #H ", %" #I ", %" #J        \
    ", %" #K ", %" #L ", %" #M ", %" #N ", %" #O ", %" #P
#define OSP_WGMMA_R0 OSP_WGMMA_16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define OSP_WGMMA_R1 OSP_WGMMA_16(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
#define OSP_WGMMA_R2 OSP_WGMMA_16(32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47)
#define OSP_WGMMA_R3 OSP_WGMMA_16(48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63)
#define OSP_WGMMA_R4 OSP_WGMMA_16(64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79)
#define OSP_WGMMA_R5 OSP_WGMMA_16(80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95)
#define OSP_WGMMA_R6                                                                               \
    OSP_WGMMA_16(96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111)
#define OSP_WGMMA_R7                                                                               \
    OSP_WGMMA_16(112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127)
#define OSP_WGMMA_4(I) "+f"(sums[I]), "+f"(sums[I + 1]), "+f"(sums[I + 2]), "+f"(sums[I + 3])
#define OSP_WGMMA_S(I)                                                                             \
    OSP_WGMMA_4(16 * I), OSP_WGMMA_4(16 * I + 4), OSP_WGMMA_4(16 * I + 8), OSP_WGMMA_4(16 * I + 12)

// A, B: numbers of the operands behind the sums. The sums are added to (p), neither operand is
// negated (1, 1), and K is the inner dim of both (0, 0).
#define OSP_WGMMA(N, REGISTERS, A, B, ...)                                                         \
    template <>                                                                                    \
    __device__ __forceinline__ void wgmma<N>(float (&sums)[N / 2], uint64_t a, uint64_t b)         \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 "                     \
                     "{" REGISTERS "}, %" #A ", %" #B ", p, 1, 1, 0, 0;\n}"                        \
                     : __VA_ARGS__                                                                 \
                     : "l"(a), "l"(b));                                                            \
    }

OSP_WGMMA(48, OSP_WGMMA_R0 ", %16, %17, %18, %19, %20, %21, %22, %23", 24, 25, OSP_WGMMA_S(0),
          OSP_WGMMA_4(16), OSP_WGMMA_4(20))
OSP_WGMMA(64, OSP_WGMMA_R0 ", " OSP_WGMMA_R1, 32, 33, OSP_WGMMA_S(0), OSP_WGMMA_S(1))
OSP_WGMMA(96, OSP_WGMMA_R0 ", " OSP_WGMMA_R1 ", " OSP_WGMMA_R2, 48, 49, OSP_WGMMA_S(0),
          OSP_WGMMA_S(1), OSP_WGMMA_S(2))
OSP_WGMMA(128, OSP_WGMMA_R0 ", " OSP_WGMMA_R1 ", " OSP_WGMMA_R2 ", " OSP_WGMMA_R3, 64, 65,
          OSP_WGMMA_S(0), OSP_WGMMA_S(1), OSP_WGMMA_S(2), OSP_WGMMA_S(3))
OSP_WGMMA(192,
          OSP_WGMMA_R0 ", " OSP_WGMMA_R1 ", " OSP_WGMMA_R2 ", " OSP_WGMMA_R3 ", " OSP_WGMMA_R4
                       ", " OSP_WGMMA_R5,
          96, 97, OSP_WGMMA_S(0), OSP_WGMMA_S(1), OSP_WGMMA_S(2), OSP_WGMMA_S(3), OSP_WGMMA_S(4),
          OSP_WGMMA_S(5))
OSP_WGMMA(256,
          OSP_WGMMA_R0 ", " OSP_WGMMA_R1 ", " OSP_WGMMA_R2 ", " OSP_WGMMA_R3 ", " OSP_WGMMA_R4
                       ", " OSP_WGMMA_R5 ", " OSP_WGMMA_R6 ", " OSP_WGMMA_R7,
          128, 129, OSP_WGMMA_S(0), OSP_WGMMA_S(1), OSP_WGMMA_S(2), OSP_WGMMA_S(3), OSP_WGMMA_S(4),
          OSP_WGMMA_S(5), OSP_WGMMA_S(6), OSP_WGMMA_S(7))

#undef OSP_WGMMA

#endif

}  // namespace osp
