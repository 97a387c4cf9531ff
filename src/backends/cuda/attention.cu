// Attention: softmax(scale * q kT) v. FP32 in register tiles, in one pass over the keys, with the
// softmax kept up to date as keys come; what is deeper than those take in two passes, a warp a query.
// FP16: attention_flash.cu.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

// ---- Two passes ---------------------------------------------------------------------------------

template <typename T> struct Plain {
    const osp_cuda_attention_args &p;
    const T *q, *k, *v;

    __device__ float logit(int64_t n) const
    {
        float sum = 0;
        for (int i = 0; i < p.d; i++)
            sum = fmaf(as_float(q[i * p.q_column]), as_float(k[n * p.k_row + i * p.k_column]), sum);
        return sum * p.scale;
    }
};

__device__ __forceinline__ float warp_max(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

__device__ __forceinline__ float warp_sum(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

template <typename T>
__global__ void __launch_bounds__(32 * OSP_ATTENTION_WARPS)
    attention(const __grid_constant__ osp_cuda_attention_args args)
{
    follow();
    const int lane = threadIdx.x % 32;
    const uint32_t stack = divide(blockIdx.x, args.row_blocks);
    const int64_t m = (int64_t)(blockIdx.x - stack * args.row_blocks.value) * OSP_ATTENTION_WARPS +
                      threadIdx.x / 32;
    if (m >= args.m)
        return;
    int64_t at[4];
    locate(args.stack, stack, at);
    const Plain<T> plain = {args, (const T *)args.q + at[1] + m * args.q_row,
                            (const T *)args.k + at[2], (const T *)args.v + at[3]};
    float most = -INFINITY, total = 0;
    for (int n = lane; n < args.n; n += 32) {
        const float x = plain.logit(n), higher = x > most ? x : most;
        total = total * expf(most - higher) + expf(x - higher);
        most = higher;
    }
    const float all = warp_max(most);
    total = warp_sum(most == -INFINITY ? 0 : total * expf(most - all));
    for (int first = 0; first < args.e; first += 128) {
        float sums[4] = {};
        for (int n0 = 0; n0 < args.n; n0 += 32) {
            const float mine = n0 + lane < args.n ? expf(plain.logit(n0 + lane) - all) / total : 0;
            for (int i = 0; i < 32 && n0 + i < args.n; i++) {
                const float weight = __shfl_sync(0xffffffffu, mine, i);
                const T *row = plain.v + (int64_t)(n0 + i) * args.v_row;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const int e = first + j * 32 + lane;
                    if (e < args.e)
                        sums[j] = fmaf(weight, as_float(row[e * args.v_column]), sums[j]);
                }
            }
        }
        T *dst = (T *)args.dst + at[0] + m * args.dst_row;
        for (int j = 0; j < 4; j++)
            if (first + j * 32 + lane < args.e)
                dst[(first + j * 32 + lane) * args.dst_column] = from_float<T>(sums[j]);
    }
}

// ---- One pass, FP32 -----------------------------------------------------------------------------

constexpr int DEEP = OSP_ATTENTION_DEPTH_F32, FEW = 32;  // FEW: keys at a time

// Lines [first, first + COUNT) of a matrix: to [x][line], or to [line][x] where TURNED; zeros where
// there are none.
template <int COUNT, bool TURNED>
__device__ __forceinline__ void fill_f32(float *tile, const float *data, int first, int lines, int width,
                                         int64_t row, int64_t column)
{
    const bool along_lines = row == 1;
    for (int e = threadIdx.x; e < COUNT * DEEP; e += 256) {
        const int line = along_lines ? e % COUNT : e / DEEP, x = along_lines ? e / COUNT : e % DEEP;
        tile[TURNED ? line * (DEEP + 4) + x : x * (COUNT + 4) + line] =
            first + line < lines && x < width ? data[(first + line) * row + x * column] : 0;
    }
}

// Among the 16 threads of four queries.
template <typename F> __device__ __forceinline__ float sixteen(float x, F f)
{
    for (int step = 8; step > 0; step /= 2)
        x = f(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// A thread has 4 queries, of them 2 scores at a time and 4 columns of the result.
__global__ void __launch_bounds__(256)
    attention_tile(const __grid_constant__ osp_cuda_attention_args args)
{
    follow();
    __shared__ float queries[DEEP][64 + 4], others[DEEP * (FEW + 4)], weights[FEW][64 + 4];
    const uint32_t stack = divide(blockIdx.x, args.row_blocks);
    const int m0 = (int)(blockIdx.x - stack * args.row_blocks.value) * OSP_ATTENTION_ROWS;
    const int row = threadIdx.x / 16 * 4, part = threadIdx.x % 16;
    int64_t at[4];
    locate(args.stack, stack, at);
    fill_f32<64, false>(&queries[0][0], (const float *)args.q + at[1], m0, args.m, args.d, args.q_row,
                        args.q_column);
    float sums[4][4] = {}, total[4] = {}, most[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        most[i] = -INFINITY;
    for (int n0 = 0; n0 < args.n; n0 += FEW) {
        __syncthreads();
        fill_f32<FEW, false>(others, (const float *)args.k + at[2], n0, args.n, args.d, args.k_row,
                             args.k_column);
        __syncthreads();
        float scores[4][2] = {};
        for (int d = 0; d < args.d; d++) {
            const float4 x = *(const float4 *)&queries[d][row];
            const float2 y = *(const float2 *)&others[d * (FEW + 4) + part * 2];
            const float xs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[i][0] = fmaf(xs[i], y.x, scores[i][0]);
                scores[i][1] = fmaf(xs[i], y.y, scores[i][1]);
            }
        }
        __syncthreads();
        fill_f32<FEW, true>(others, (const float *)args.v + at[3], n0, args.n, args.e, args.v_row,
                            args.v_column);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float high = most[i];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                scores[i][j] = n0 + part * 2 + j < args.n ? scores[i][j] * args.scale : -INFINITY;
                high = fmaxf(high, scores[i][j]);
            }
            high = sixteen(high, [](float a, float b) { return fmaxf(a, b); });
            const float fade = expf(most[i] - high);
            most[i] = high;
            total[i] *= fade;
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const float weight = expf(scores[i][j] - high);
                weights[part * 2 + j][row + i] = weight;
                total[i] += weight;
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
                sums[i][j] *= fade;
        }
        __syncthreads();
#pragma unroll 8
        for (int n = 0; n < FEW; n++) {
            const float4 x = *(const float4 *)&weights[n][row];
            const float4 y = *(const float4 *)&others[n * (DEEP + 4) + part * 4];
            const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sums[i][j] = fmaf(xs[i], ys[j], sums[i][j]);
        }
    }
    float *dst = (float *)args.dst + at[0];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float sum = sixteen(total[i], [](float a, float b) { return a + b; });
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (m0 + row + i < args.m && part * 4 + j < args.e)
                dst[(m0 + row + i) * args.dst_row + (part * 4 + j) * args.dst_column] =
                    sums[i][j] / sum;
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_attention[2] = {{"attention_f32", (const void *)attention<float>, true},
                                                {"attention_f16", (const void *)attention<__half>, true}};
const osp_gpu_kernel osp_cuda_k_attention_tile[1] = {
    {"attention_tile", (const void *)attention_tile, true}};
}
