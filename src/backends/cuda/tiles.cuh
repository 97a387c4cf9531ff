// FP32 products in register tiles: 256 threads make 64 x 64 sums, 4 x 4 each, from two tiles in shared
// memory, both with the inner dim outside.
#pragma once

namespace osp {

constexpr int TILE = 64, TILE_K = 16, TILE_PITCH = TILE + 4;

// Adds the product of both tiles to the sums of rows `row` and columns `column` to 3 further. Each
// tile is summed by itself first: long sums keep their digits.
__device__ __forceinline__ void multiply_tiles(float (&sums)[4][4],
                                               const float (&a)[TILE_K][TILE_PITCH],
                                               const float (&b)[TILE_K][TILE_PITCH], int row,
                                               int column)
{
    float part[4][4] = {};
#pragma unroll
    for (int k = 0; k < TILE_K; k++) {
        const float4 x = *(const float4 *)&a[k][row];
        const float4 y = *(const float4 *)&b[k][column];
        const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                part[i][j] = fmaf(xs[i], ys[j], part[i][j]);
    }
#pragma unroll
    for (int i = 0; i < 16; i++)
        sums[i / 4][i % 4] += part[i / 4][i % 4];
}

}  // namespace osp
