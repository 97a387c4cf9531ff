// Convolution as an implicit matrix product on mma.sync, channels last, FP16 in and out, FP32 sums.
//
//   rows of A: output pixels; columns of A and rows of B: (tap, channel); columns of B: channels out
//
// A's rows are gathered while they are copied (cp.async, 16 bytes = 8 channels of one tap, zeros in
// the padding); B is packed as [oc][K]. Shared tiles are swizzled by 16-byte chunks, so that
// ldmatrix meets no bank twice. Bias, activation and residual happen on the sums in registers.
// Runs on sm_80 and later.
#include "backends/cuda/conv_device.cuh"

namespace {

template <int BM, int BN, int BK, int WM, int WN, int STAGES>
__global__ void __launch_bounds__(BM / WM * (BN / WN) * 32)
    conv_mma(const __grid_constant__ osp_conv_args p)
{
    constexpr int THREADS = BM / WM * (BN / WN) * 32;
    constexpr int CHUNKS = BK / 8;                // 16-byte chunks in a row of a tile
    constexpr int ROWS_STEP = THREADS / CHUNKS;   // rows copied at once
    constexpr int A_ROWS = BM / ROWS_STEP;        // rows of A each thread copies
    constexpr int B_STEPS = (BN + ROWS_STEP - 1) / ROWS_STEP;
    constexpr int MT = WM / 16, NT = WN / 8;      // mma tiles of a warp
    constexpr int TILE_A = BM * BK * 2, TILE_B = BN * BK * 2, STAGE = TILE_A + TILE_B;
    static_assert(BM % ROWS_STEP == 0 && WN % 16 == 0, "tile shapes");
    OSP_DYNAMIC_SHARED(unsigned char, shared);
    int2 *const taps = reinterpret_cast<int2 *>(shared + STAGES * STAGE);

    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int first_pixel = blockIdx.y * BM, first_oc = blockIdx.x * BN;
    const int col = thread % CHUNKS, row0 = thread / CHUNKS;
    for (int i = thread; i < p.k_chunks; i += THREADS)
        taps[i] = static_cast<const int2 *>(p.taps)[i];

    // What this thread copies of A: for each row the pixel's first tap and which taps are inside.
    int base[A_ROWS];
    uint32_t inside[A_ROWS];
#pragma unroll
    for (int i = 0; i < A_ROWS; i++) {
        const int pixel = first_pixel + row0 + i * ROWS_STEP;
        base[i] = 0;
        inside[i] = 0;
        if (pixel < p.pixels) {
            const int image = p.oh * p.ow;
            const int n = pixel / image, at = pixel - n * image;
            const int oy = at / p.ow, ox = at - oy * p.ow;
            const int iy = oy * p.sh - p.ph, ix = ox * p.sw - p.pw;
            base[i] = ((n * p.ih + iy) * p.iw + ix) * p.src_pitch;
            uint32_t columns = 0;
            for (int x = 0; x < p.kw; x++)
                columns |= (unsigned)(ix + x) < (unsigned)p.iw ? 1u << x : 0;
            for (int y = 0; y < p.kh; y++)
                inside[i] |= (unsigned)(iy + y) < (unsigned)p.ih ? columns << (y * p.kw) : 0;
        }
    }
    const __half *const src = static_cast<const __half *>(p.src);
    const __half *weights = static_cast<const __half *>(p.weights) + (int64_t)(first_oc + row0) * p.k_chunks * 8 + col * 8;
    constexpr int swizzle_shift = CHUNKS == 8 ? 0 : CHUNKS == 4 ? 1 : 2;
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
    __syncthreads();

    const int k_tiles = p.k_chunks / CHUNKS;
    auto fetch = [&](int tile) {
        if (tile < k_tiles) {
            const uint32_t to = shared_base + tile % STAGES * STAGE;
            const int2 tap = taps[tile * CHUNKS + col];
#pragma unroll
            for (int i = 0; i < A_ROWS; i++) {
                const bool valid = inside[i] >> tap.y & 1;
                copy16(to + a_to[i], src + (valid ? base[i] + tap.x : 0), valid);
            }
#pragma unroll
            for (int i = 0; i < B_STEPS; i++)
                if (BN % ROWS_STEP == 0 || row0 + i * ROWS_STEP < BN)
                    copy16(to + b_to[i],
                           weights + (int64_t)i * ROWS_STEP * p.k_chunks * 8 + tile * BK, true);
        }
        commit_copies();
    };
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++)
        fetch(s);

    float sums[MT][NT][4] = {};
    const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;
    for (int tile = 0; tile < k_tiles; tile++) {
        wait_copies<STAGES - 2>();
        __syncthreads();
        fetch(tile + STAGES - 1);
        const uint32_t at = shared_base + tile % STAGES * STAGE;
#pragma unroll
        for (int k = 0; k < BK / 16; k++) {
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

    // Sums to FP16 through shared memory, so that global stores are 16 bytes and whole rows.
    constexpr int PITCH = BN + 8;
    static_assert(BM * PITCH * 2 <= STAGES * STAGE, "the result needs the stages' room");
    __half *const tile_out = reinterpret_cast<__half *>(shared);
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int c = warp_n + j * 8 + lane % 4 * 2;
        const float2 bias = *reinterpret_cast<const float2 *>(p.bias + first_oc + c);
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int r = warp_m + i * 16 + lane / 4 + h * 8;
                const int pixel = first_pixel + r;
                const float2 add = residual2(p, pixel < p.pixels && first_oc + c < p.oc,
                                             (int64_t)pixel * p.add_pitch + first_oc + c);
                const float x = finish(p, sums[i][j][h * 2] + bias.x, add.x);
                const float y = finish(p, sums[i][j][h * 2 + 1] + bias.y, add.y);
                *reinterpret_cast<__half2 *>(tile_out + r * PITCH + c) = __floats2half2_rn(x, y);
            }
    }
    __syncthreads();
    __half *const dst = static_cast<__half *>(p.dst);
    constexpr int OUT_CHUNKS = BN / 8;
    for (int i = thread; i < BM * OUT_CHUNKS; i += THREADS) {
        const int r = i / OUT_CHUNKS, c = i % OUT_CHUNKS * 8, pixel = first_pixel + r;
        if (pixel < p.pixels && first_oc + c < p.oc)
            *reinterpret_cast<uint4 *>(dst + (int64_t)pixel * p.dst_pitch + first_oc + c) =
                *reinterpret_cast<const uint4 *>(tile_out + r * PITCH + c);
    }
}

}  // namespace

#define X(BM, BN, BK, WM, WN, S)                                                                   \
    const osp_conv_mma OSP_CONV_MMA_NAME(BM, BN, BK, WM, WN, S) = {                                \
        "mma " #BM "x" #BN "x" #BK " s" #S, BM, BN, BK, S, BM / WM *(BN / WN) * 32,                \
        {"conv_mma " #BM "x" #BN "x" #BK,                                                          \
         reinterpret_cast<const void *>(conv_mma<BM, BN, BK, WM, WN, S>)}};
extern "C" {
OSP_CONV_MMA_ROWS(X)
}
