// Convolution by 3x3 windows of stride 1 on wgmma, channels last, FP16 in and out, FP32 sums; packed
// weights as in conv_mma.cu. For sm_90a: elsewhere the body is empty.
//
// An implicit product reads each pixel once for every tap, nine times from the L2; here a block copies
// its TH x 8 pixels with their border to shared memory, 64 channels at a time, and the taps are views
// of that: A's rows are the pixels, 128 bytes each, eight beside one another and then one line of the
// border's width further, so that a tap is another start of the same operand. The 128-byte swizzle goes
// by addresses and does not mind. Weights come in tiles of one tap and 64 channels, in a ring of
// STAGES; the pixels of the next 64 channels are copied while the taps of these are multiplied.
#include "backends/cuda/conv_wgmma.cuh"

namespace {

constexpr int TW = OSP_CONV_HALO_TW, TAPS = 9;
constexpr int LINE = TW + 2;  // pixels of a line of a block, with its border

template <int TH, int BN, int STAGES> struct HaloTile {
    static constexpr int BM = TH * TW, THREADS = BM == 64 ? 128 : 256;
    static constexpr int PIXELS = (TH + 2) * LINE;
    static constexpr int STEP = THREADS / CHUNKS;  // pixels, or rows of weights, copied at once
    static constexpr int A_STEPS = (PIXELS + STEP - 1) / STEP;
    static constexpr int A_BYTES = (PIXELS * BK * 2 + 1023) / 1024 * 1024, B_BYTES = BN * BK * 2;
    static constexpr int B_AT = 2 * A_BYTES, BYTES = B_AT + STAGES * B_BYTES;
    // The next pixels are copied in the taps after the first, and are waited for with the weights of
    // those: STAGES - 2 taps later.
    static constexpr int PER_TAP = (A_STEPS + TAPS - 2) / (TAPS - 1);
    static_assert((A_STEPS + PER_TAP - 1) / PER_TAP <= TAPS - (STAGES - 2), "pixels come in time");
    static_assert(STEP % 8 == 0 && B_BYTES % 1024 == 0, "a thread's rows share their swizzle");
};

template <int N> struct Depth {
    static constexpr int value = N;
};

// The first of a block's pixels in the result.
struct Corner {
    int n, y, x;
};

// What one thread copies.
template <int TH, int BN, int STAGES> struct HaloCopier {
    using T = HaloTile<TH, BN, STAGES>;
    static constexpr int B_STEPS = (BN + T::STEP - 1) / T::STEP;
    const __half *src, *weights;  // of this thread's chunk
    int64_t step;                 // halves between the thread's rows of weights
    int ic;                       // behind this thread's chunk
    int left, tap, channel;       // of the next weights: tiles, their tap, their first channel
    uint32_t to_a, to_b, stage;
    int base[T::A_STEPS];  // elements from src to a pixel; -1: outside the image or the tile

    __device__ __forceinline__ void begin(const osp_conv_args &p, uint32_t shared, const Corner &at,
                                          int first_oc)
    {
        const int col = threadIdx.x % CHUNKS, row = threadIdx.x / CHUNKS;
        ic = p.ic - col * 8;  // beyond it this thread copies zeros
        src = static_cast<const __half *>(p.src) + col * 8;
        weights = static_cast<const __half *>(p.weights) +
                  (int64_t)(first_oc + row) * p.k_chunks * 8 + col * 8;
        step = (int64_t)T::STEP * p.k_chunks * 8;
        left = (p.ic + BK - 1) / BK * TAPS;
        tap = channel = 0;
        to_a = shared + (row * CHUNKS + (col ^ (row & 7))) * 16;
        to_b = to_a + T::B_AT;
        stage = 0;
#pragma unroll
        for (int i = 0; i < T::A_STEPS; i++) {
            const int pixel = row + i * T::STEP;
            const int iy = at.y - p.ph + pixel / LINE, ix = at.x - p.pw + pixel % LINE;
            const bool inside = pixel < T::PIXELS && (unsigned)iy < (unsigned)p.ih &&
                                (unsigned)ix < (unsigned)p.iw;
            base[i] = inside ? ((at.n * p.ih + iy) * p.iw + ix) * p.src_pitch : -1;
        }
    }

    // Step i of the pixels of 64 channels.
    __device__ __forceinline__ void fetch_pixels(int i, int first_channel)
    {
        const bool valid = base[i] >= 0 && first_channel < ic;
        const uint32_t to = to_a + first_channel / BK % 2 * T::A_BYTES + i * T::STEP * BK * 2;
        if (T::PIXELS % T::STEP == 0 || i * T::STEP + (int)threadIdx.x / CHUNKS < T::PIXELS)
            copy16(to, src + (valid ? base[i] + first_channel : 0), valid);
    }

    // The next weights into the next stage; behind the last ones nothing.
    __device__ __forceinline__ void fetch_weights(int all)
    {
        if (left <= 0)
            return;
        left--;
        const bool valid = channel < ic;
        const __half *const from = weights + (valid ? tap * all + channel : 0);
#pragma unroll
        for (int i = 0; i < B_STEPS; i++)
            if (BN % T::STEP == 0 || i * T::STEP + (int)threadIdx.x / CHUNKS < BN)
                copy16(to_b + stage * T::B_BYTES + i * T::STEP * BK * 2,
                       valid ? from + i * step : src, valid);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        if (++tap == TAPS) {
            tap = 0;
            channel += BK;
        }
    }
};

template <int TH, int BN, int STAGES, int BLOCKS>
__global__ void __launch_bounds__(TH == 8 ? 128 : 256, BLOCKS)
    conv_wgmma_halo(const __grid_constant__ osp_conv_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using T = HaloTile<TH, BN, STAGES>;
    constexpr int MT = T::BM / 64 / (T::THREADS / 128);  // wgmma tiles of a warpgroup
    static_assert(STAGES >= 3, "one stage is read, one may still be, one is filled");
    static_assert(T::BM * (BN + 8) * 2 <= T::BYTES, "the result needs the stages' room");
    OSP_WGMMA_SHARED(shared);
    const uint32_t base = shared_address(shared);

    const int columns = (p.oc + BN - 1) / BN, tiles_x = (p.ow + TW - 1) / TW;
    const int tiles_y = (p.oh + TH - 1) / TH, tile = blockIdx.x / columns;
    const int first_oc = (int)(blockIdx.x % columns) * BN, line = tile / tiles_x;
    const Corner at = {line / tiles_y, line % tiles_y * TH, tile % tiles_x * TW};
    HaloCopier<TH, BN, STAGES> copies;
    copies.begin(p, base, at, first_oc);
    follow();
#pragma unroll
    for (int i = 0; i < T::A_STEPS; i++)
        copies.fetch_pixels(i, 0);
#pragma unroll
    for (int s = 0; s < STAGES - 2; s++) {
        copies.fetch_weights(p.ic);
        commit_copies();
    }

    float sums[MT][BN / 2] = {};
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);  // the same in a warp
    const uint64_t pixels = osp::wgmma_rows(base + group * MT * 8 * LINE * BK * 2, LINE * BK * 2);
    const uint64_t weights = osp::wgmma_operand(base + T::B_AT);
    int stage = 0;
    // All taps of the channels from one on, `Depth::value` times 16 of them.
    auto multiply_taps = [&](int channel, auto depth) {
        const uint64_t half = channel / BK % 2 * (T::A_BYTES >> 4);
#pragma unroll
        for (int tap = 0; tap < TAPS; tap++) {
            const uint64_t view = pixels + half + ((tap / 3 * LINE + tap % 3) * BK * 2 >> 4);
            const uint64_t own = weights + stage * (T::B_BYTES >> 4);
            wait_copies<STAGES - 3>();
            osp::wgmma_see_shared();
            __syncthreads();
            osp::wgmma_begin();
#pragma unroll
            for (int k = 0; k < decltype(depth)::value; k++)
#pragma unroll
                for (int m = 0; m < MT; m++)
                    osp::wgmma<BN>(sums[m], view + ((m * 8 * LINE * BK * 2 + k * 32) >> 4),
                                   own + (k * 32 >> 4));
            osp::wgmma_commit();
            // In the first tap the product before it may still read what would be overwritten.
#pragma unroll
            for (int i = (tap - 1) * T::PER_TAP; i < tap * T::PER_TAP; i++)
                if (i >= 0 && i < T::A_STEPS && channel + BK < p.ic)
                    copies.fetch_pixels(i, channel + BK);
            copies.fetch_weights(p.ic);
            commit_copies();
            osp::wgmma_wait<1>();
            stage = stage + 1 == STAGES ? 0 : stage + 1;
        }
    };
    // At most 32 channels at the end (as of 96) are half a tile. The wait before them is for the
    // assembler, which keeps products apart that may or may not be under way.
    const int rest = p.ic % BK, end = rest && rest <= BK / 2 ? p.ic - rest : p.ic;
    for (int channel = 0; channel < end; channel += BK)
        multiply_taps(channel, Depth<BK / 16>());
    osp::wgmma_wait<0>();
    if (end < p.ic) {
        multiply_taps(end, Depth<BK / 32>());
        osp::wgmma_wait<0>();
    }
#pragma unroll
    for (int m = 0; m < MT; m++)
        osp::wgmma_settle(sums[m]);
    wait_copies<0>();
    __syncthreads();
    const auto place = [&](int r) {
        const int y = at.y + r / TW, x = at.x + r % TW;
        return y < p.oh && x < p.ow ? (at.n * p.oh + y) * p.ow + x : -1;
    };
    Ending<T::BM, BN, T::THREADS, MT, decltype(place)>{p, sums, shared, place, first_oc}.run();
#endif
}

}  // namespace

#define X(TH, BN, S, BLOCKS)                                                                       \
    const osp_conv_halo OSP_CONV_HALO_NAME(TH, BN, S, BLOCKS) = {                                  \
        "wgmma halo " #TH "x8x" #BN " s" #S, TH, BN, HaloTile<TH, BN, S>::THREADS,                 \
        HaloTile<TH, BN, S>::BYTES,                                                                \
        {"conv_wgmma_halo " #TH "x8x" #BN,                                                         \
         OSP_SM90A ? reinterpret_cast<const void *>(conv_wgmma_halo<TH, BN, S, BLOCKS>)            \
                   : nullptr,                                                                      \
         true}};
extern "C" {
OSP_CONV_HALO_ROWS(X)
}
