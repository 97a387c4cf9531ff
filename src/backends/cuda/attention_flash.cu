// Attention in FP16, in one pass over the keys on tensor cores, with the softmax kept up to date as
// keys come.
//
// A block has 16 * ROW_WARPS queries, and KEY_WARPS groups of warps that share the keys among them,
// 64 at a time, each with a softmax of its own; at the end the groups' sums are put together. Keys and
// values of the next round are on their way (cp.async) while those of this one are multiplied. Groups do
// not wait for each other, so that one's exponentials may run beside the other's products.
//
// What bounds it, for 2 heads of 32 and 64 deep: 1600 keys, batch 4: 200 blocks of 64 queries on 132
// SMs; a round of 64 keys is 48 matrix instructions a warp (some 400 cycles of its quarter of an SM),
// 32 exponentials a thread (250 cycles): 25 rounds are 10 us where two groups overlap, and each round
// would wait 1 us for memory twice if it asked only then. At batch 1 and 400 keys there are 14 blocks
// of 64 queries: there a block has 16, and each of its 8 warps one round of the keys.
#include "backends/cuda/mma.cuh"

namespace {

using namespace osp;

constexpr int KEYS = OSP_ATTENTION_KEYS;

// A tile of LINES lines of WIDTH elements in shared memory: [line][WIDTH + 8], or, where the matrix is
// dense from line to line, turned: [x][LINES + 8]. Either way ldmatrix finds rows in other banks.
template <int WIDTH, int LINES> struct Tile {
    __half *data;
    bool turned;

    __device__ __forceinline__ __half *at(int line, int x) const
    {
        return data + (turned ? x * (LINES + 8) + line : line * (WIDTH + 8) + x);
    }

    // Lines [first, first + LINES) of a matrix of `lines` x `width`, by THREADS threads of which this
    // is number `thread`; zeros where there are none. `wide`: 16-byte loads are aligned along the
    // dense side. Complete when the copies are.
    template <int THREADS>
    __device__ __forceinline__ void fill(const __half *matrix, bool wide, int thread, int first,
                                         int lines, int width, int64_t row, int64_t column) const
    {
        constexpr int CHUNKS = WIDTH / 8, STEP = THREADS / CHUNKS;  // of a line; lines at a time
        if (wide && !turned && width == WIDTH && LINES % STEP == 0) {
            const int line = thread / CHUNKS, x = thread % CHUNKS * 8;
            const __half *from = matrix + (first + line) * row + x;
            const uint32_t to = shared_address(data + line * (WIDTH + 8) + x);
#pragma unroll
            for (int i = 0; i < LINES / STEP; i++) {
                const bool valid = first + line + i * STEP < lines;
                copy16(to + i * STEP * (WIDTH + 8) * 2, valid ? from + i * STEP * row : matrix, valid);
            }
            return;
        }
        const __half zero = __float2half_rn(0);
#pragma unroll 1
        for (int c = thread; c < LINES * WIDTH / 8; c += THREADS) {
            const int line = turned ? c % (LINES / 8) * 8 : c / (WIDTH / 8);
            const int x = turned ? c / (LINES / 8) : c % (WIDTH / 8) * 8;
            const __half *from = matrix + (first + line) * row + x * column;
            const int left = turned ? lines - first - line : width - x;  // along the chunk
            const bool none = turned ? x >= width : first + line >= lines;
            if (wide && !none && left >= 8) {
                copy16(shared_address(at(line, x)), from, true);
                continue;
            }
            union {
                uint4 all;
                __half v[8];
            } chunk;
#pragma unroll
            for (int i = 0; i < 8; i++)
                chunk.v[i] = none || i >= left ? zero : from[i * (turned ? row : column)];
            *(uint4 *)at(line, x) = chunk.all;
        }
    }

    // 16 x 16 of it as A of a product, lines being m and x being k.
    __device__ __forceinline__ void load_a(uint32_t (&r)[4], int line, int x) const
    {
        if (turned)
            osp::load_a<true>(r, data, LINES + 8, line, x);
        else
            osp::load_a<false>(r, data, WIDTH + 8, line, x);
    }

    // As B, lines being n and x being k.
    __device__ __forceinline__ void load_b(uint32_t (&r)[4], int line, int x) const
    {
        if (turned)
            osp::load_b<true>(r, data, LINES + 8, line, x);
        else
            osp::load_b<false>(r, data, WIDTH + 8, line, x);
    }

    // As B, lines being k and x being n.
    __device__ __forceinline__ void load_b_across(uint32_t (&r)[4], int line, int x) const
    {
        if (turned)
            osp::load_b<false>(r, data, LINES + 8, x, line);
        else
            osp::load_b<true>(r, data, WIDTH + 8, x, line);
    }
};

__device__ __forceinline__ uint32_t pack(float a, float b)
{
    return bits_of(__floats2half2_rn(a, b));
}

// 16 queries of a warp: sums over keys, and the softmax's highest product and total so far, of which a
// thread has two rows: lane / 4, and 8 further. Four threads share them; totals are each one's own.
// A logit is a product times `scale`, which is above 0, and to the power of two.
template <int E> struct Sums {
    float sum[E / 8][4], most[2], total[2];
};

// Takes in KEYS keys from number n0 on.
template <int D, int E>
__device__ __forceinline__ void attend(Sums<E> &s, const uint32_t (&q)[D / 16][4],
                                       const Tile<D, KEYS> &k, const Tile<E, KEYS> &v, int n0, int n,
                                       float scale)
{
    const int lane = threadIdx.x % 32;
    float scores[KEYS / 8][4] = {};
#pragma unroll
    for (int i = 0; i < D / 16; i++)
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) {
            uint32_t b[4];
            k.load_b(b, j * 16, i * 16);
            multiply(scores[2 * j], q[i], b[0], b[1]);
            multiply(scores[2 * j + 1], q[i], b[2], b[3]);
        }
    if (n0 + KEYS > n)
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (n0 + j * 8 + lane % 4 * 2 + i % 2 >= n)
                    scores[j][i] = -INFINITY;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float high = s.most[h], sum = 0;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            high = fmaxf(high, fmaxf(scores[j][2 * h], scores[j][2 * h + 1]));
        high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 1));
        high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 2));
        const float fade = exp2_fast((s.most[h] - high) * scale), base = -high * scale;
        s.most[h] = high;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float &x = scores[j][2 * h + e];
                x = exp2_fast(fmaf(x, scale, base));
                sum += x;
            }
        s.total[h] = fmaf(s.total[h], fade, sum);
#pragma unroll
        for (int j = 0; j < E / 8; j++) {
            s.sum[j][2 * h] *= fade;
            s.sum[j][2 * h + 1] *= fade;
        }
    }
#pragma unroll
    for (int i = 0; i < KEYS / 16; i++) {
        const uint32_t p[4] = {pack(scores[2 * i][0], scores[2 * i][1]),
                               pack(scores[2 * i][2], scores[2 * i][3]),
                               pack(scores[2 * i + 1][0], scores[2 * i + 1][1]),
                               pack(scores[2 * i + 1][2], scores[2 * i + 1][3])};
#pragma unroll
        for (int j = 0; j < E / 16; j++) {
            uint32_t b[4];
            v.load_b_across(b, i * 16, j * 16);
            multiply(s.sum[2 * j], p, b[0], b[1]);
            multiply(s.sum[2 * j + 1], p, b[2], b[3]);
        }
    }
}

// Columns [8 * j, 8 * j + 8) of the thread's two rows, from row m on.
__device__ __forceinline__ void store(const osp_cuda_attention_args &args, __half *dst, int m, int j,
                                      const float (&x)[4])
{
    const int column = j * 8 + threadIdx.x % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (m + h * 8 >= args.m)
            continue;
        __half *to = dst + (m + h * 8) * args.dst_row + column * args.dst_column;
        if (args.dst_wide && column + 1 < args.e) {
            *(__half2 *)to = __floats2half2_rn(x[2 * h], x[2 * h + 1]);
            continue;
        }
#pragma unroll
        for (int e = 0; e < 2; e++)
            if (column + e < args.e)
                to[e * args.dst_column] = __float2half_rn(x[2 * h + e]);
    }
}

// Puts the groups' sums together through shared memory, a share of the columns each, and stores.
template <int E, int ROW_WARPS, int KEY_WARPS>
__device__ __forceinline__ void join(const osp_cuda_attention_args &args, const Sums<E> &s,
                                     float scale, float *shared, __half *dst, int m)
{
    constexpr int PART = E / 8 * 4 + 4;  // numbers of a lane: sums, highest and totals
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int group = warp / ROW_WARPS, rows = warp % ROW_WARPS;
    float *own = shared + (group * ROW_WARPS + rows) * PART * 32 + lane;
#pragma unroll
    for (int j = 0; j < E / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            own[(j * 4 + i) * 32] = s.sum[j][i];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        own[(E / 2 + h) * 32] = s.most[h];
        own[(E / 2 + 2 + h) * 32] = s.total[h];
    }
    __syncthreads();
    const float *first = shared + rows * PART * 32 + lane;
    float weight[KEY_WARPS][2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float high = -INFINITY, total = 0;
#pragma unroll
        for (int g = 0; g < KEY_WARPS; g++)
            high = fmaxf(high, first[(g * ROW_WARPS * PART + E / 2 + h) * 32]);
#pragma unroll
        for (int g = 0; g < KEY_WARPS; g++) {
            const float *part = first + g * ROW_WARPS * PART * 32;
            weight[g][h] = exp2_fast((part[(E / 2 + h) * 32] - high) * scale);
            total = fmaf(weight[g][h], part[(E / 2 + 2 + h) * 32], total);
        }
        const float inverse = __fdividef(1.0f, total);
#pragma unroll
        for (int g = 0; g < KEY_WARPS; g++)
            weight[g][h] *= inverse;
    }
    for (int j = group; j < E / 8; j += KEY_WARPS) {
        float x[4] = {};
#pragma unroll
        for (int g = 0; g < KEY_WARPS; g++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                x[i] = fmaf(weight[g][i / 2], first[(g * ROW_WARPS * PART + j * 4 + i) * 32], x[i]);
        store(args, dst, m, j, x);
    }
}

// D, E: depths of queries and of values, rounded up. STAGES: rounds of keys in shared memory.
template <int D, int E, int ROW_WARPS, int KEY_WARPS, int STAGES>
__global__ void __launch_bounds__(32 * ROW_WARPS *KEY_WARPS, D == 32 && E <= 64 && STAGES > 1 ? 2 : 1)
    attention_flash(const __grid_constant__ osp_cuda_attention_args args)
{
    follow();
    constexpr int ROWS = 16 * ROW_WARPS, THREADS = 32 * ROW_WARPS;
    constexpr int KEY_TILE = OSP_ATTENTION_TILE(KEYS, D), VALUE_TILE = OSP_ATTENTION_TILE(KEYS, E);
    constexpr int ROUND = KEY_TILE + VALUE_TILE;
    OSP_DYNAMIC_SHARED(__half, memory);
    const int warp = threadIdx.x / 32, group = warp / ROW_WARPS, thread = threadIdx.x % THREADS;
    const uint32_t stack = divide(blockIdx.x, args.row_blocks);
    const int m0 = (int)(blockIdx.x - stack * args.row_blocks.value) * ROWS;
    int64_t at[4];
    locate(args.stack, stack, at);
    const __half *key = (const __half *)args.k + at[2], *value = (const __half *)args.v + at[3];
    __half *rounds = memory + group * STAGES * ROUND;
    const auto fetch = [&](int round) {
        const int n0 = (round * KEY_WARPS + group) * KEYS;
        __half *to = rounds + round % STAGES * ROUND;
        if (n0 < args.n) {
            Tile<D, KEYS>{to, args.k_row == 1}.template fill<THREADS>(
                key, args.k_wide, thread, n0, args.n, args.d, args.k_row, args.k_column);
            Tile<E, KEYS>{to + KEY_TILE, args.v_row == 1}.template fill<THREADS>(
                value, args.v_wide, thread, n0, args.n, args.e, args.v_row, args.v_column);
        }
        commit_copies();
    };
    const Tile<D, ROWS> queries = {memory + KEY_WARPS * STAGES * ROUND, args.q_row == 1};
    queries.template fill<THREADS * KEY_WARPS>((const __half *)args.q + at[1], args.q_wide,
                                               threadIdx.x, m0, args.m, args.d, args.q_row,
                                               args.q_column);
    fetch(0);
    const int last = (args.n + KEYS * KEY_WARPS - 1) / (KEYS * KEY_WARPS);
    Sums<E> s = {{}, {-INFINITY, -INFINITY}, {}};
    uint32_t q[D / 16][4];
    const float scale = args.scale * 1.44269504088896340736f;  // to powers of two
    wait_copies<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        queries.load_a(q[i], warp % ROW_WARPS * 16, i * 16);
    for (int round = 0; round < last; round++) {
        if (round > 0) {
            wait_copies<0>();
            meet_part<THREADS>(group);  // behind it no stage but this round's is read
        }
        if (STAGES > 1 && round + 1 < last)
            fetch(round + 1);
        const int n0 = (round * KEY_WARPS + group) * KEYS;
        __half *from = rounds + round % STAGES * ROUND;
        if (n0 < args.n)
            attend<D, E>(s, q, {from, args.k_row == 1}, {from + KEY_TILE, args.v_row == 1}, n0,
                         args.n, scale);
        if (STAGES == 1 && round + 1 < last) {
            meet_part<THREADS>(group);
            fetch(round + 1);
        }
    }
    __syncthreads();  // the sums take the room of keys and values
#pragma unroll
    for (int h = 0; h < 2; h++) {
        s.total[h] += __shfl_xor_sync(0xffffffffu, s.total[h], 1);
        s.total[h] += __shfl_xor_sync(0xffffffffu, s.total[h], 2);
    }
    join<E, ROW_WARPS, KEY_WARPS>(args, s, scale, (float *)memory, (__half *)args.dst + at[0],
                                  m0 + warp % ROW_WARPS * 16 + (int)threadIdx.x % 32 / 4);
}

}  // namespace

#define FLASH(D, E)                                                                                \
    {                                                                                              \
        "attention_flash_" #D "_" #E, (const void *)attention_flash<D, E, OSP_ATTENTION_FLASH>,     \
        true                                                                                       \
    }
#define SPLIT(D, E)                                                                                \
    {                                                                                              \
        "attention_split_" #D "_" #E, (const void *)attention_flash<D, E, OSP_ATTENTION_SPLIT>,     \
        true                                                                                       \
    }

extern "C" {
const osp_gpu_kernel osp_cuda_k_attention_flash[9] = {
    FLASH(32, 32),  FLASH(32, 64),  FLASH(32, 128),  FLASH(64, 32),  FLASH(64, 64),
    FLASH(64, 128), FLASH(128, 32), FLASH(128, 64), FLASH(128, 128)};
const osp_gpu_kernel osp_cuda_k_attention_split[4] = {SPLIT(32, 32), SPLIT(32, 64), SPLIT(64, 32),
                                                      SPLIT(64, 64)};
}
