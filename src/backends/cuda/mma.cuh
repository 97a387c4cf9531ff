// Pieces of products on mma.sync m16n8k16: FP16 operands, FP32 sums. For sm_80 and later.
#pragma once
#include "backends/cuda/device.cuh"
#include "backends/cuda/ptx.cuh"

namespace osp {

// 16 x 16 of A at (row, k) of a tile with `pitch`: [m][k], or [k][m] where TURNED.
template <bool TURNED>
__device__ __forceinline__ void load_a(uint32_t (&r)[4], const __half *tile, int pitch, int row,
                                       int k)
{
    const int lane = threadIdx.x % 32;
    if (TURNED) {
        tile += (k + (lane & 7) + (lane >> 4) * 8) * pitch + row + ((lane >> 3) & 1) * 8;
        load_matrix4_turned(r, shared_address(tile));
    } else {
        tile += (row + (lane & 15)) * pitch + k + (lane >> 4) * 8;
        load_matrix4(r, shared_address(tile));
    }
}

// 16 x 16 of B at (k, column): [n][k], or [k][n] where TURNED. r[0], r[1] serve columns 0 to 7,
// r[2], r[3] the others.
template <bool TURNED>
__device__ __forceinline__ void load_b(uint32_t (&r)[4], const __half *tile, int pitch, int column,
                                       int k)
{
    const int lane = threadIdx.x % 32;
    if (TURNED) {
        tile += (k + (lane & 15)) * pitch + column + (lane >> 4) * 8;
        load_matrix4_turned(r, shared_address(tile));
    } else {
        tile += (column + (lane & 7) + (lane >> 4) * 8) * pitch + k + ((lane >> 3) & 1) * 8;
        load_matrix4(r, shared_address(tile));
    }
}

}  // namespace osp
