// Pieces of products on mma.sync m16n8k16: FP16 operands, FP32 sums. For sm_80 and later.
#pragma once
#include "backends/cuda/device.cuh"

namespace osp {

// Four 8 x 8 matrices from shared memory; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const __half *at)
{
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(at);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

// The same, each matrix turned around.
__device__ __forceinline__ void load_turned(uint32_t (&r)[4], const __half *at)
{
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(at);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address));
}

__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 x 16 of A at (row, k) of a tile with `pitch`: [m][k], or [k][m] where TURNED.
template <bool TURNED>
__device__ __forceinline__ void load_a(uint32_t (&r)[4], const __half *tile, int pitch, int row,
                                       int k)
{
    const int lane = threadIdx.x % 32;
    if (TURNED)
        load_turned(r, tile + (k + (lane & 7) + (lane >> 4) * 8) * pitch + row +
                           ((lane >> 3) & 1) * 8);
    else
        load_matrices(r, tile + (row + (lane & 15)) * pitch + k + (lane >> 4) * 8);
}

// 16 x 16 of B at (k, column): [n][k], or [k][n] where TURNED. r[0], r[1] serve columns 0 to 7,
// r[2], r[3] the others.
template <bool TURNED>
__device__ __forceinline__ void load_b(uint32_t (&r)[4], const __half *tile, int pitch, int column,
                                       int k)
{
    const int lane = threadIdx.x % 32;
    if (TURNED)
        load_turned(r, tile + (k + (lane & 15)) * pitch + column + (lane >> 4) * 8);
    else
        load_matrices(r, tile + (column + (lane & 7) + (lane >> 4) * 8) * pitch + k +
                             ((lane >> 3) & 1) * 8);
}

}  // namespace osp
