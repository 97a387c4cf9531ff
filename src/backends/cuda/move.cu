// Movers: strided copies, tiled transpositions, copies through tables, and ranges.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

template <int SIZE>
__global__ void __launch_bounds__(256) copy(const __grid_constant__ osp_cuda_copy_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[2];
    locate(args.walk, i, at);
    ((T *)args.dst)[at[0]] = ((const T *)args.src)[at[1]];
}

template <int SIZE>
__global__ void __launch_bounds__(256)
    transpose(const __grid_constant__ osp_cuda_transpose_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    constexpr int TILE = OSP_CUDA_TILE;
    __shared__ T tile[TILE][TILE + 1];
    uint32_t block = blockIdx.x;
    uint32_t q = divide(block, args.column_tiles);
    const int64_t column0 = (int64_t)(block - q * args.column_tiles.value) * TILE;
    block = q;
    q = divide(block, args.row_tiles);
    const int64_t row0 = (int64_t)(block - q * args.row_tiles.value) * TILE;
    int64_t at[2];
    locate(args.batch, q, at);
    T *dst = (T *)args.dst + at[0];
    const T *src = (const T *)args.src + at[1];
#pragma unroll
    for (int y = threadIdx.y; y < TILE; y += 8)
        if (row0 + threadIdx.x < args.rows && column0 + y < args.columns)
            tile[y][threadIdx.x] = src[(column0 + y) * args.src_step + row0 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int y = threadIdx.y; y < TILE; y += 8)
        if (row0 + y < args.rows && column0 + threadIdx.x < args.columns)
            dst[(row0 + y) * args.dst_step + column0 + threadIdx.x] = tile[threadIdx.x][y];
}

template <int SIZE>
__global__ void __launch_bounds__(256) table(const __grid_constant__ osp_cuda_table_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t to = 0, from = 0;
    bool inside = true;
    for (int d = args.walk.rank - 1; d >= 0; d--) {
        const uint32_t q = divide(i, args.walk.dims[d]), r = i - q * args.walk.dims[d].value;
        to += r * args.walk.strides[0][d];
        if (args.table[d] < 0) {
            from += r * args.walk.strides[1][d];
        } else {
            const int32_t offset = args.tables[args.table[d] + r];
            inside = inside && offset >= 0;
            from += offset;
        }
        i = q;
    }
    ((T *)args.dst)[to] = inside ? ((const T *)args.src)[from >> args.shift]
                                 : *(const T *)args.constant;
}

__global__ void __launch_bounds__(256) range(const __grid_constant__ osp_cuda_range_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.count)
        return;
    if (is_float(args.dtype))
        store_float(args.dtype, args.dst, i,
                    (float)((double)load_float(args.dtype, args.start, 0) +
                            (double)i * (double)load_float(args.dtype, args.delta, 0)));
    else
        store_int(args.dtype, args.dst, i,
                  (int64_t)((uint64_t)load_int(args.dtype, args.start, 0) +
                            i * (uint64_t)load_int(args.dtype, args.delta, 0)));
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_copy[OSP_CUDA_SIZES] = {{"copy_1", (const void *)copy<1>, true},
                                                        {"copy_2", (const void *)copy<2>, true},
                                                        {"copy_4", (const void *)copy<4>, true},
                                                        {"copy_8", (const void *)copy<8>, true},
                                                        {"copy_16", (const void *)copy<16>, true}};
const osp_gpu_kernel osp_cuda_k_transpose[4] = {{"transpose_1", (const void *)transpose<1>, true},
                                                {"transpose_2", (const void *)transpose<2>, true},
                                                {"transpose_4", (const void *)transpose<4>, true},
                                                {"transpose_8", (const void *)transpose<8>, true}};
const osp_gpu_kernel osp_cuda_k_table[OSP_CUDA_SIZES] = {{"table_1", (const void *)table<1>, true},
                                                         {"table_2", (const void *)table<2>, true},
                                                         {"table_4", (const void *)table<4>, true},
                                                         {"table_8", (const void *)table<8>, true},
                                                         {"table_16", (const void *)table<16>, true}};
const osp_gpu_kernel osp_cuda_k_range[1] = {{"range", (const void *)range, true}};
}
