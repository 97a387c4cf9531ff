// Attention: softmax(scale * q kT) v. In one pass over the keys, with the softmax kept up to date as
// keys come: FP16 on tensor cores, FP32 in register tiles; what is deeper than those take in two
// passes, a warp a query.
#include "backends/cuda/mma.cuh"

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

// ---- One pass, FP16 -----------------------------------------------------------------------------

constexpr int ROWS = OSP_ATTENTION_ROWS, KEYS = 64, THREADS = 128;

// Lines [first, first + 64) of a matrix into [line][PITCH - 8], zeros where there are none. `wide`:
// 16-byte loads are aligned along the dense side.
template <int PITCH>
__device__ __forceinline__ void fill(__half *tile, const __half *data, bool wide, int first, int lines,
                                     int width, int64_t row, int64_t column)
{
    constexpr int WIDTH = PITCH - 8;
    const bool along_lines = row == 1;  // neighbouring threads read neighbours in memory
    const __half zero = __float2half_rn(0);
    for (int c = threadIdx.x; c < 64 * WIDTH / 8; c += THREADS) {
        const int line = along_lines ? c % 8 * 8 : c / (WIDTH / 8);
        const int x = along_lines ? c / 8 : c % (WIDTH / 8) * 8;
        const __half *from = data + (first + line) * row + x * column;
        const bool whole = along_lines ? first + line + 8 <= lines && x < width
                                       : first + line < lines && x + 8 <= width;
        union {
            uint4 all;
            __half v[8];
        } chunk;
        if (wide && whole) {
            chunk.all = *(const uint4 *)from;
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++)
                chunk.v[i] = first + line + (along_lines ? i : 0) < lines &&
                                     x + (along_lines ? 0 : i) < width
                                 ? from[along_lines ? i : i * column]
                                 : zero;
        }
        if (along_lines)
#pragma unroll
            for (int i = 0; i < 8; i++)
                tile[(line + i) * PITCH + x] = chunk.v[i];
        else
            *(uint4 *)(tile + line * PITCH + x) = chunk.all;
    }
}

__device__ __forceinline__ uint32_t pack(float a, float b)
{
    const __half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *)&h;
}

// D, E: depths of queries and of values, rounded up. A warp has 16 queries.
template <int D, int E>
__global__ void __launch_bounds__(THREADS)
    attention_flash(const __grid_constant__ osp_cuda_attention_args args)
{
    follow();
    constexpr int D_PITCH = D + 8, E_PITCH = E + 8, WIDER = D > E ? D_PITCH : E_PITCH;
    __shared__ __align__(16) __half queries[ROWS * D_PITCH];
    __shared__ __align__(16) __half others[KEYS * WIDER];  // keys, then values
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t stack = divide(blockIdx.x, args.row_blocks);
    const int m0 = (int)(blockIdx.x - stack * args.row_blocks.value) * ROWS;
    int64_t at[4];
    locate(args.stack, stack, at);
    const __half *k = (const __half *)args.k + at[2], *v = (const __half *)args.v + at[3];
    fill<D_PITCH>(queries, (const __half *)args.q + at[1], args.q_wide, m0, args.m, args.d,
                  args.q_row, args.q_column);
    __syncthreads();
    uint32_t fq[D / 16][4];
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        load_a<false>(fq[i], queries, D_PITCH, warp * 16, i * 16);
    float sums[E / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, total[2] = {};
    const float scale = args.scale * 1.44269504088896340736f;  // to powers of two
    for (int n0 = 0; n0 < args.n; n0 += KEYS) {
        __syncthreads();
        fill<D_PITCH>(others, k, args.k_wide, n0, args.n, args.d, args.k_row, args.k_column);
        __syncthreads();
        float scores[KEYS / 8][4] = {};
#pragma unroll
        for (int i = 0; i < D / 16; i++)
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) {
                uint32_t fk[4];
                load_b<false>(fk, others, D_PITCH, j * 16, i * 16);
                multiply(scores[2 * j], fq[i], fk[0], fk[1]);
                multiply(scores[2 * j + 1], fq[i], fk[2], fk[3]);
            }
        __syncthreads();
        fill<E_PITCH>(others, v, args.v_wide, n0, args.n, args.e, args.v_row, args.v_column);
        // A thread has two rows: lane / 4, and 8 further; four threads share them.
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float high = most[h];
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &x = scores[j][2 * h + e];
                    x = n0 + j * 8 + lane % 4 * 2 + e < args.n ? x * scale : -INFINITY;
                    high = fmaxf(high, x);
                }
            high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 1));
            high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 2));
            const float fade = exp2f(most[h] - high);
            most[h] = high;
            float sum = 0;
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &x = scores[j][2 * h + e];
                    x = exp2f(x - high);
                    sum += x;
                }
            total[h] = total[h] * fade + sum;
#pragma unroll
            for (int j = 0; j < E / 8; j++) {
                sums[j][2 * h] *= fade;
                sums[j][2 * h + 1] *= fade;
            }
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < KEYS / 16; i++) {
            const uint32_t fp[4] = {pack(scores[2 * i][0], scores[2 * i][1]),
                                    pack(scores[2 * i][2], scores[2 * i][3]),
                                    pack(scores[2 * i + 1][0], scores[2 * i + 1][1]),
                                    pack(scores[2 * i + 1][2], scores[2 * i + 1][3])};
#pragma unroll
            for (int j = 0; j < E / 16; j++) {
                uint32_t fv[4];
                load_b<true>(fv, others, E_PITCH, j * 16, i * 16);
                multiply(sums[2 * j], fp, fv[0], fv[1]);
                multiply(sums[2 * j + 1], fp, fv[2], fv[3]);
            }
        }
    }
    __half *dst = (__half *)args.dst + at[0];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = total[h] + __shfl_xor_sync(0xffffffffu, total[h], 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const int m = m0 + warp * 16 + lane / 4 + h * 8;
        if (m >= args.m)
            continue;
#pragma unroll
        for (int j = 0; j < E / 8; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int column = j * 8 + lane % 4 * 2 + e;
                if (column < args.e)
                    dst[m * args.dst_row + column * args.dst_column] =
                        __float2half_rn(sums[j][2 * h + e] / sum);
            }
    }
}

}  // namespace

#define FLASH(D, E)                                                                                \
    {                                                                                              \
        "attention_flash_" #D "_" #E, (const void *)attention_flash<D, E>, true                       \
    }

extern "C" {
const osp_gpu_kernel osp_cuda_k_attention[2] = {{"attention_f32", (const void *)attention<float>, true},
                                                {"attention_f16", (const void *)attention<__half>, true}};
const osp_gpu_kernel osp_cuda_k_attention_tile[1] = {
    {"attention_tile", (const void *)attention_tile, true}};
const osp_gpu_kernel osp_cuda_k_attention_flash[9] = {
    FLASH(32, 32),  FLASH(32, 64),  FLASH(32, 128),  FLASH(64, 32),  FLASH(64, 64),
    FLASH(64, 128), FLASH(128, 32), FLASH(128, 64), FLASH(128, 128)};
}
