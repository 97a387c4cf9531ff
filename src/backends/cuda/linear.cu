// Stacks of matrix products with any strides: FP32 in register tiles, FP16 on tensor cores with FP32
// sums, integers one by one; and Einsum, one thread an element.
#include "backends/cuda/mma.cuh"
#include "backends/cuda/tiles.cuh"

namespace {

using namespace osp;

static_assert(TILE == OSP_PRODUCT_TILE, "the launcher counts tiles");

// Where a block works: a tile of one matrix of the stack.
struct Place {
    int m0, n0;
    int64_t at[4];  // dst, a, b, c
    __device__ explicit Place(const osp_cuda_product_args &p)
        : m0(blockIdx.x * TILE), n0(blockIdx.y * TILE)
    {
        locate(p.stack, p.first + blockIdx.z, at);
    }
};

__device__ __forceinline__ float finish(const osp_cuda_product_args &p, const Place &b, int m, int n,
                                        float sum)
{
    const float y = p.alpha * sum;
    return p.c ? y + p.beta * load_float(p.dtype, p.c, b.at[3] + m * p.c_row + n * p.c_column) : y;
}

__global__ void __launch_bounds__(OSP_PRODUCT_THREADS_F32)
    product_f32(const __grid_constant__ osp_cuda_product_args args)
{
    follow();
    constexpr int K = TILE_K;
    __shared__ float tile_a[TILE_K][TILE_PITCH], tile_b[TILE_K][TILE_PITCH];
    const Place place(args);
    const float *a = (const float *)args.a + place.at[1], *b = (const float *)args.b + place.at[2];
    const int t = threadIdx.x, row = t / 16 * 4, column = t % 16 * 4;
    const bool a_rows = args.a_column == 1, b_rows = args.b_column == 1;
    float sums[4][4] = {};
    for (int k0 = 0; k0 < args.k; k0 += K) {
#pragma unroll
        for (int i = 0; i < TILE * K / OSP_PRODUCT_THREADS_F32; i++) {
            const int e = t + i * OSP_PRODUCT_THREADS_F32;
            const int m = a_rows ? e / K : e % TILE, ka = a_rows ? e % K : e / TILE;
            const int n = b_rows ? e % TILE : e / K, kb = b_rows ? e / TILE : e % K;
            tile_a[ka][m] = place.m0 + m < args.m && k0 + ka < args.k
                                ? a[(place.m0 + m) * args.a_row + (k0 + ka) * args.a_column]
                                : 0;
            tile_b[kb][n] = place.n0 + n < args.n && k0 + kb < args.k
                                ? b[(k0 + kb) * args.b_row + (place.n0 + n) * args.b_column]
                                : 0;
        }
        __syncthreads();
        multiply_tiles(sums, tile_a, tile_b, row, column);
        __syncthreads();
    }
    float *dst = (float *)args.dst + place.at[0];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int m = place.m0 + row + i, n = place.n0 + column + j;
            if (m < args.m && n < args.n)
                dst[m * args.dst_row + n * args.dst_column] = finish(args, place, m, n, sums[i][j]);
        }
}

// 8 elements along the dense side of an operand: lines lie `pitch` apart, `x` runs to `width`.
__device__ __forceinline__ uint4 fetch(const __half *data, bool wide, int64_t line, int64_t lines,
                                       int64_t pitch, int64_t x, int64_t width, int64_t step)
{
    union {
        uint4 all;
        __half v[8];
    } chunk;
    chunk.all = make_uint4(0, 0, 0, 0);
    if (line >= lines)
        return chunk.all;
    data += line * pitch;
    if (wide && x + 8 <= width)
        return *(const uint4 *)(data + x);
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (x + i < width)
            chunk.v[i] = data[(x + i) * step];
    return chunk.all;
}

// A_TURNED: a is dense along m and its tile is [k][m]; B_TURNED: b is dense along n, [k][n].
template <bool A_TURNED, bool B_TURNED>
__global__ void __launch_bounds__(OSP_PRODUCT_THREADS_F16)
    product_f16(const __grid_constant__ osp_cuda_product_args args)
{
    follow();
    constexpr int K = 32, LONG = TILE + 8, SHORT = K + 8;
    constexpr int A_PITCH = A_TURNED ? LONG : SHORT, B_PITCH = B_TURNED ? LONG : SHORT;
    constexpr int STEPS = TILE * K / 8 / OSP_PRODUCT_THREADS_F16;
    __shared__ __align__(16) __half tile_a[(A_TURNED ? K : TILE) * A_PITCH];
    __shared__ __align__(16) __half tile_b[(B_TURNED ? K : TILE) * B_PITCH];
    const Place place(args);
    const __half *a = (const __half *)args.a + place.at[1];
    const __half *b = (const __half *)args.b + place.at[2];
    const int t = threadIdx.x, warp = t / 32, lane = t % 32;
    const int warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
    uint4 next_a[STEPS], next_b[STEPS];
    auto load = [&](int k0) {
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            const int e = t + i * OSP_PRODUCT_THREADS_F16;
            const int short_line = e / (K / 8), short_x = e % (K / 8) * 8;
            const int long_line = e / (TILE / 8), long_x = e % (TILE / 8) * 8;
            next_a[i] = A_TURNED ? fetch(a, args.a_wide, k0 + long_line, args.k, args.a_column,
                                         place.m0 + long_x, args.m, args.a_row)
                                 : fetch(a, args.a_wide, place.m0 + short_line, args.m, args.a_row,
                                         k0 + short_x, args.k, args.a_column);
            next_b[i] = B_TURNED ? fetch(b, args.b_wide, k0 + long_line, args.k, args.b_row,
                                         place.n0 + long_x, args.n, args.b_column)
                                 : fetch(b, args.b_wide, place.n0 + short_line, args.n,
                                         args.b_column, k0 + short_x, args.k, args.b_row);
        }
    };
    float sums[2][4][4] = {};
    load(0);
    for (int k0 = 0; k0 < args.k; k0 += K) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            const int e = t + i * OSP_PRODUCT_THREADS_F16;
            const int in_long = e / (TILE / 8) * LONG + e % (TILE / 8) * 8;
            const int in_short = e / (K / 8) * SHORT + e % (K / 8) * 8;
            *(uint4 *)(tile_a + (A_TURNED ? in_long : in_short)) = next_a[i];
            *(uint4 *)(tile_b + (B_TURNED ? in_long : in_short)) = next_b[i];
        }
        __syncthreads();
        if (k0 + K < args.k)
            load(k0 + K);
#pragma unroll
        for (int k = 0; k < K; k += 16) {
            uint32_t fa[2][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                load_a<A_TURNED>(fa[i], tile_a, A_PITCH, warp_m + i * 16, k);
                load_b<B_TURNED>(fb[i], tile_b, B_PITCH, warp_n + i * 16, k);
            }
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    multiply(sums[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
    __half *dst = (__half *)args.dst + place.at[0];
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int m = place.m0 + warp_m + i * 16 + lane / 4 + e / 2 * 8;
                const int n = place.n0 + warp_n + j * 8 + lane % 4 * 2 + e % 2;
                if (m < args.m && n < args.n)
                    dst[m * args.dst_row + n * args.dst_column] =
                        __float2half_rn(finish(args, place, m, n, sums[i][j][e]));
            }
}

__global__ void __launch_bounds__(256)
    product_int(const __grid_constant__ osp_cuda_product_args args)
{
    follow();
    const Place place(args);
    for (int e = threadIdx.x; e < TILE * TILE; e += blockDim.x) {
        const int m = place.m0 + e / TILE, n = place.n0 + e % TILE;
        if (m >= args.m || n >= args.n)
            continue;
        uint64_t sum = 0;
        for (int k = 0; k < args.k; k++)
            sum += (uint64_t)load_int(args.dtype, args.a,
                                      place.at[1] + m * args.a_row + k * args.a_column) *
                   (uint64_t)load_int(args.dtype, args.b,
                                      place.at[2] + k * args.b_row + n * args.b_column);
        sum *= (uint64_t)whole((double)args.alpha);
        if (args.c)
            sum += (uint64_t)whole((double)args.beta) *
                   (uint64_t)load_int(args.dtype, args.c,
                                      place.at[3] + m * args.c_row + n * args.c_column);
        store_int(args.dtype, args.dst, place.at[0] + m * args.dst_row + n * args.dst_column,
                  (int64_t)sum);
    }
}

__global__ void __launch_bounds__(256) einsum(const __grid_constant__ osp_cuda_einsum_args args)
{
    follow();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.count)
        return;
    int64_t at[OSP_CUDA_TERMS] = {}, to = 0;
    for (int d = args.out_rank - 1; d >= 0; d--) {
        const uint32_t q = divide(i, args.out[d]), r = i - q * args.out[d].value;
        to += r * args.out_strides[d];
        for (int k = 0; k < args.terms; k++)
            at[k] += r * args.out_steps[k][d];
        i = q;
    }
    const bool floats = is_float(args.dtype);
    int32_t index[OSP_CUDA_LABELS] = {};
    float sum = 0;
    uint64_t sum_int = 0;
    for (int64_t s = 0; s < args.sums; s++) {
        if (floats) {
            float product = 1;
            for (int k = 0; k < args.terms; k++)
                product *= load_float(args.dtype, args.src[k], at[k]);
            sum += product;
        } else {
            uint64_t product = 1;
            for (int k = 0; k < args.terms; k++)
                product *= (uint64_t)load_int(args.dtype, args.src[k], at[k]);
            sum_int += product;
        }
        for (int d = args.sum_rank - 1; d >= 0; d--) {
            const bool more = ++index[d] < args.sum[d];
            for (int k = 0; k < args.terms; k++)
                at[k] += (more ? 1 : 1 - args.sum[d]) * args.sum_steps[k][d];
            if (more)
                break;
            index[d] = 0;
        }
    }
    if (floats)
        store_float(args.dtype, args.dst, to, sum);
    else
        store_int(args.dtype, args.dst, to, (int64_t)sum_int);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_product[OSP_PRODUCT_KERNELS] = {
    {"product_f32", (const void *)product_f32, true},
    {"product_int", (const void *)product_int, true},
    {"product_f16", (const void *)product_f16<false, false>, true},
    {"product_f16_n", (const void *)product_f16<false, true>, true},
    {"product_f16_m", (const void *)product_f16<true, false>, true},
    {"product_f16_mn", (const void *)product_f16<true, true>, true}};
const osp_gpu_kernel osp_cuda_k_einsum[1] = {{"einsum", (const void *)einsum, true}};
}
