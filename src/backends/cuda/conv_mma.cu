// Convolution as an implicit matrix product on mma.sync, channels last, FP16 in and out, FP32 sums.
//
//   rows of A: output pixels; columns of A and rows of B: (tap, channel); columns of B: channels out
//
// A's rows are gathered while they are copied (cp.async, 16 bytes = 8 channels of one tap, zeros in
// the padding); B is packed as [oc][K]. Shared tiles are swizzled by 16-byte chunks, so that
// ldmatrix meets no bank twice. Bias, activation and residual happen on the sums in registers.
//
// Small maps make few tiles, and then the way along K is what takes time. With KW > 1 a tile has KW
// groups of warps; each takes its own part of the depth of every stage, and the first group adds up
// what they found, always in the same order: stages are KW times as deep, and there are KW times
// fewer of them to wait for. Runs on sm_80 and later.
#include "backends/cuda/conv_device.cuh"

namespace {

template <int BM, int BN, int BK, int WM, int WN, int STAGES, int KW>
__global__ void __launch_bounds__(BM / WM * (BN / WN) * KW * 32)
    conv_mma(const __grid_constant__ osp_conv_args p)
{
    constexpr int WARPS = BM / WM * (BN / WN);    // of a group
    constexpr int THREADS = WARPS * KW * 32;
    constexpr int CHUNKS = BK / 8;                // 16-byte chunks in a row of a tile
    constexpr int ROWS_STEP = THREADS / CHUNKS;   // rows copied at once
    constexpr int A_ROWS = BM / ROWS_STEP;        // rows of A each thread copies
    constexpr int B_STEPS = (BN + ROWS_STEP - 1) / ROWS_STEP;
    constexpr int MT = WM / 16, NT = WN / 8;      // mma tiles of a warp
    constexpr int K_STEPS = BK / 16 / KW;         // of a group in a stage
    constexpr int TILE_A = BM * BK * 2, TILE_B = BN * BK * 2, STAGE = TILE_A + TILE_B;
    static_assert(BM % ROWS_STEP == 0 && WN % 16 == 0 && K_STEPS * KW * 16 == BK, "tile shapes");
    OSP_DYNAMIC_SHARED(unsigned char, shared);
    int2 *const taps = reinterpret_cast<int2 *>(shared + STAGES * STAGE);
    float *const bias = reinterpret_cast<float *>(taps + p.k_chunks);

    const int thread = threadIdx.x, lane = thread % 32;
    const int warp = thread / 32 % WARPS, group = thread / 32 / WARPS;
    const int first_pixel = blockIdx.y * BM, first_oc = blockIdx.x * BN;
    const int col = thread % CHUNKS, row0 = thread / CHUNKS;
    for (int i = thread; i < p.k_chunks; i += THREADS)
        taps[i] = static_cast<const int2 *>(p.taps)[i];

    // What this thread copies of A: for each row the pixel's first tap and which taps are inside.
    int base[A_ROWS];
    uint32_t inside[A_ROWS];
    find_pixels<A_ROWS, ROWS_STEP>(p, first_pixel + row0, base, inside);
    const __half *const src = static_cast<const __half *>(p.src);
    const __half *const weights = static_cast<const __half *>(p.weights) +
                                  (int64_t)(first_oc + row0) * p.k_chunks * 8 + col * 8;
    constexpr int swizzle_shift = CHUNKS >= 8 ? 0 : CHUNKS == 4 ? 1 : 2;
    uint32_t a_to[A_ROWS], b_to[B_STEPS];
#pragma unroll
    for (int i = 0; i < A_ROWS; i++) {
        const int r = row0 + i * ROWS_STEP;
        a_to[i] = (r * CHUNKS + (col ^ ((r >> swizzle_shift) & (CHUNKS - 1)))) * 16;
    }
#pragma unroll
    for (int i = 0; i < B_STEPS; i++) {
        const int r = row0 + i * ROWS_STEP;
        b_to[i] = TILE_A + (r * CHUNKS + (col ^ ((r >> swizzle_shift) & (CHUNKS - 1)))) * 16;
    }
    const uint32_t shared_base = shared_address(shared);

    const int k_tiles = p.k_chunks / CHUNKS;
    auto fetch_b = [&](int tile) {
        const uint32_t to = shared_base + tile % STAGES * STAGE;
#pragma unroll
        for (int i = 0; i < B_STEPS; i++)
            if (tile < k_tiles && (BN % ROWS_STEP == 0 || row0 + i * ROWS_STEP < BN))
                copy16(to + b_to[i],
                       weights + (int64_t)i * ROWS_STEP * p.k_chunks * 8 + tile * BK, true);
    };
    auto fetch_a = [&](int tile) {
        if (tile >= k_tiles)
            return;
        const uint32_t to = shared_base + tile % STAGES * STAGE;
        const int2 tap = taps[tile * CHUNKS + col];
#pragma unroll
        for (int i = 0; i < A_ROWS; i++) {
            const bool valid = inside[i] >> tap.y & 1;
            copy16(to + a_to[i], src + (valid ? base[i] + tap.x : 0), valid);
        }
    };
    // The bias and the first weights are on their way before the source is complete; they belong to
    // the first group of copies, which then holds more than its own stage.
    if (thread < BN / 4)
        copy16(shared_address(bias + thread * 4), p.bias + first_oc + thread * 4, true);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++)
        fetch_b(s);
    follow();
    __syncthreads();  // taps
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        fetch_a(s);
        commit_copies();
    }

    float sums[MT][NT][4] = {};
    const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;
    for (int tile = 0; tile < k_tiles; tile++) {
        wait_copies<STAGES - 2>();
        __syncthreads();
        fetch_a(tile + STAGES - 1);
        fetch_b(tile + STAGES - 1);
        commit_copies();
        const uint32_t at = shared_base + tile % STAGES * STAGE;
#pragma unroll
        for (int step = 0; step < K_STEPS; step++) {
            const int k = KW == 1 ? step : group * K_STEPS + step;
            uint32_t a[MT][4], b[NT / 2][4];
#pragma unroll
            for (int i = 0; i < MT; i++) {
                const int r = warp_m + i * 16 + (lane & 15), c = k * 2 + (lane >> 4);
                load_matrix4(a[i], at + (r * CHUNKS + (c ^ ((r >> swizzle_shift) & (CHUNKS - 1)))) * 16);
            }
#pragma unroll
            for (int j = 0; j < NT / 2; j++) {
                const int r = warp_n + j * 16 + (lane & 7) + ((lane >> 4) << 3);
                const int c = k * 2 + ((lane >> 3) & 1);
                load_matrix4(b[j], at + TILE_A +
                                       (r * CHUNKS + (c ^ ((r >> swizzle_shift) & (CHUNKS - 1)))) * 16);
            }
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int j = 0; j < NT; j++)
                    multiply(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }
    wait_copies<0>();
    __syncthreads();

    // Groups after the first leave their sums where the stages were, one lane beside the other.
    constexpr int PARTS = (KW - 1) * BM * BN * 4, GROUP_FLOATS = WARPS * MT * NT * 4 * 32;
    if (KW > 1) {
        float *const parts = reinterpret_cast<float *>(shared) + warp * MT * NT * 4 * 32 + lane;
        if (group > 0)
#pragma unroll
            for (int i = 0; i < MT * NT * 4; i++)
                parts[(group - 1) * GROUP_FLOATS + i * 32] = sums[i / 4 / NT][i / 4 % NT][i % 4];
        __syncthreads();
        if (group == 0)
#pragma unroll
            for (int i = 0; i < MT * NT * 4; i++)
#pragma unroll
                for (int g = 0; g < KW - 1; g++)
                    sums[i / 4 / NT][i / 4 % NT][i % 4] += parts[g * GROUP_FLOATS + i * 32];
    }

    // Sums to FP16 through shared memory, so that global stores are 16 bytes and whole rows.
    constexpr int PITCH = BN + 8;
    static_assert(PARTS + BM * PITCH * 2 <= STAGES * STAGE, "the result needs the stages' room");
    __half *const tile_out = reinterpret_cast<__half *>(shared + PARTS);
    if (group == 0)
#pragma unroll
        for (int i = 0; i < MT; i++) {
            const int r = warp_m + i * 16 + lane / 4, c = warp_n + lane % 4 * 2;
            const int64_t at = (int64_t)(first_pixel + r) * p.add_pitch + first_oc + c;
            const int left = p.oc - first_oc - c;
            finish_tiles(p, sums[i], bias + c, {at, at + 8 * p.add_pitch},
                         {first_pixel + r < p.pixels ? left : 0,
                          first_pixel + r + 8 < p.pixels ? left : 0});
#pragma unroll
            for (int j = 0; j < NT * 2; j++)
                *reinterpret_cast<__half2 *>(tile_out + (r + j % 2 * 8) * PITCH + c + j / 2 * 8) =
                    __floats2half2_rn(sums[i][j / 2][j % 2 * 2], sums[i][j / 2][j % 2 * 2 + 1]);
        }
    __syncthreads();
    __half *const dst = static_cast<__half *>(p.dst);
    constexpr int OUT_CHUNKS = BN / 8, STORES = (BM * OUT_CHUNKS + THREADS - 1) / THREADS;
#pragma unroll
    for (int k = 0; k < STORES; k++) {
        const int i = k * THREADS + thread;
        const int r = i / OUT_CHUNKS, c = i % OUT_CHUNKS * 8, pixel = first_pixel + r;
        if (r < BM && pixel < p.pixels && first_oc + c < p.oc)
            *reinterpret_cast<uint4 *>(dst + (int64_t)pixel * p.dst_pitch + first_oc + c) =
                *reinterpret_cast<const uint4 *>(tile_out + r * PITCH + c);
    }
}

}  // namespace

#define X(BM, BN, BK, WM, WN, S, KW)                                                               \
    const osp_conv_mma OSP_CONV_MMA_NAME(BM, BN, BK, WM, WN, S, KW) = {                            \
        "mma " #BM "x" #BN "x" #BK " s" #S " k" #KW, BM, BN, BK, S, KW,                            \
        BM / WM *(BN / WN) * KW * 32,                                                              \
        {"conv_mma " #BM "x" #BN "x" #BK,                                                          \
         reinterpret_cast<const void *>(conv_mma<BM, BN, BK, WM, WN, S, KW>), true}};
extern "C" {
OSP_CONV_MMA_ROWS(X)
}
