// Instructions that CUDA C++ has no name for, one small function each; no other file holds asm but
// gpu/gpu_grid.cuh and, for sm_90 and sm_90a, tma.cuh and wgmma.cuh. Where the host compiler makes the
// kernels (tests/gpu), host_ptx.h has the same functions in plain C++. sm_80 and later.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

#ifndef __CUDACC__
#include "host_ptx.h"
#else

// The launch's dynamic shared memory as an array: a declaration in a kernel's body.
#define OSP_DYNAMIC_SHARED(TYPE, NAME) extern __shared__ __align__(128) TYPE NAME[]

namespace osp {

__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes, or zeros, on the way to shared memory. They are there for this thread after wait_copies,
// for others after a barrier behind it.
__device__ __forceinline__ void copy16(uint32_t to, const void *from, bool valid)
{
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

// Ends a group of copies of this thread.
__device__ __forceinline__ void commit_copies()
{
    asm volatile("cp.async.commit_group;");
}

// Until all groups but the last LEFT are there.
template <int LEFT> __device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT));
}

// A barrier beside __syncthreads, of a part of the block: COUNT threads, whole warps, from part * COUNT
// on. `part`: up to 14, of the own thread.
template <int COUNT> __device__ __forceinline__ void meet_part(int part)
{
    asm volatile("bar.sync %0, %1;" ::"r"(part + 1), "n"(COUNT) : "memory");
}

// Four 8 x 8 matrices from shared memory; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrix4(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

// The same, each matrix turned around.
__device__ __forceinline__ void load_matrix4_turned(uint32_t (&r)[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

// d += a b of a warp, m16n8k16: FP16 operands, FP32 sums.
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// One special-function operation, some 11 bits.
__device__ __forceinline__ float tanh_fast(float x)
{
    float t;
    asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(x));
    return t;
}

// The same; powers of two, some 22 bits.
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

}  // namespace osp

#endif
