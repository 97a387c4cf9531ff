// Convolution by 3x3 windows of stride 1 as conv_wgmma_halo.cu does it, with taps that are views of the
// pixels and their border, but brought by the copy engine (tma.cuh): 64 channels of all pixels in one
// load, in two buffers, and the weights of a tap in another, in a ring. For sm_90a: elsewhere the body
// is empty.
#include "backends/cuda/conv_tma.cuh"

namespace {

template <int TH, int BN> struct HaloTile {
    static constexpr int TAPS = 9, LINE = OSP_CONV_HALO_TW + 2;  // pixels of a line with its border
    static constexpr int BM = TH * OSP_CONV_HALO_TW, MULTIPLIERS = BM / 64 * OSP_TMA_WARPGROUP;
    static constexpr int A_BYTES = OSP_TMA_HALO_BYTES(TH), B_BYTES = BN * BK * 2;
    static constexpr int PIXEL_BYTES = (TH + 2) * LINE * BK * 2;  // that come
    static_assert(B_BYTES % 1024 == 0, "wgmma wants tiles at 1024 bytes");
};

// Weights from 0 on, then the buffers of pixels.
struct Rings {
    Ring weights, pixels;
    int pixels_at;
};

// What the one thread does that loads. The next pixels come before the weights that wait for the first
// tap of these: by then the products that read their buffer are over.
template <int TH, int BN>
__device__ __forceinline__ void load_tile(const osp_tma_args &p, const Rings &r, uint32_t shared)
{
    using T = HaloTile<TH, BN>;
    const Corner at(p.plan, blockIdx.x, BN);
    const int chunks = (p.conv.ic + BK - 1) / BK, stages = r.weights.buffers;
    Turn turn, pixel_turn;
    const auto load_weights = [&](int k) {
        uint64_t *const full = r.weights.full + turn.at;
        barrier_wait(r.weights.empty + turn.at, turn.parity ^ 1);
        barrier_expect(full, T::B_BYTES);
        tma_load(shared + turn.at * T::B_BYTES, &p.weights, full, k * BK, at.oc);
        turn.next(stages);
    };
    const auto load_pixels = [&](int chunk) {
        uint64_t *const full = r.pixels.full + pixel_turn.at;
        barrier_wait(r.pixels.empty + pixel_turn.at, pixel_turn.parity ^ 1);
        barrier_expect(full, T::PIXEL_BYTES);
        tma_load(shared + r.pixels_at + pixel_turn.at * T::A_BYTES, &p.pixels, full, chunk * BK,
                 at.x - p.conv.pw, at.y - p.conv.ph, at.n);
        pixel_turn.next(r.pixels.buffers);
    };
    int k = 0;
    while (k < stages)  // no kernel of a run writes them
        load_weights(k++);
    follow();
    load_pixels(0);
    for (int chunk = 1; chunk < chunks; chunk++) {
        load_pixels(chunk);
#pragma unroll 1  // all this thread does is wait
        for (int tap = 0; tap < T::TAPS; tap++)
            load_weights(k++);
    }
    while (k < chunks * T::TAPS)
        load_weights(k++);
}

template <int TH, int BN>
__device__ __forceinline__ void make_tile(const osp_tma_args &p, const Rings &r,
                                          unsigned char *shared)
{
    using T = HaloTile<TH, BN>;
    const uint32_t base = shared_address(shared);
    const int group = __shfl_sync(0xffffffff, threadIdx.x / OSP_TMA_WARPGROUP, 0);  // of a warp
    const uint64_t pixels =
        osp::wgmma_rows(base + r.pixels_at + group * 8 * T::LINE * BK * 2, T::LINE * BK * 2);
    const uint64_t weights = osp::wgmma_operand(base);
    float sums[1][BN / 2] = {};
    Turn turn, pixel_turn;
    int before = -1, pixels_before = -1;  // the buffers whose products are under way
    // All taps of a chunk, `Depth::value` times 16 channels of it.
    const auto multiply_taps = [&](auto depth) {
        const uint64_t chunk = pixels + pixel_turn.at * (T::A_BYTES >> 4);
        barrier_wait(r.pixels.full + pixel_turn.at, pixel_turn.parity);
#pragma unroll
        for (int tap = 0; tap < T::TAPS; tap++) {
            const uint64_t view = chunk + ((tap / 3 * T::LINE + tap % 3) * BK * 2 >> 4);
            const uint64_t own = weights + turn.at * (T::B_BYTES >> 4);
            barrier_wait(r.weights.full + turn.at, turn.parity);
            osp::wgmma_begin();
#pragma unroll
            for (int k = 0; k < decltype(depth)::value; k++)
                osp::wgmma<BN>(sums[0], view + k * (32 >> 4), own + k * (32 >> 4));
            osp::wgmma_commit();
            osp::wgmma_wait<1>();
            r.weights.release(before);
            if (tap == 0)
                r.pixels.release(pixels_before);
            before = turn.at;
            turn.next(r.weights.buffers);
        }
        pixels_before = pixel_turn.at;
        pixel_turn.next(r.pixels.buffers);
    };
    follow();
    // What is left behind whole chunks is multiplied as far as it goes. The wait before it is for the
    // assembler, which keeps products apart that may or may not be under way.
    const int rest = p.conv.ic % BK;
    const int wholes = p.conv.ic / BK + (rest > BK / 4 * 3);
    for (int chunk = 0; chunk < wholes; chunk++)
        multiply_taps(Depth<BK / 16>());
    osp::wgmma_wait<0>();
    if (rest > 0 && rest <= BK / 2) {
        multiply_taps(Depth<BK / 32>());
        osp::wgmma_wait<0>();
    } else if (rest > 0 && rest <= BK / 4 * 3) {
        multiply_taps(Depth<BK / 64 * 3>());
        osp::wgmma_wait<0>();
    }
    finish_tile<T::BM, BN>(p, Corner(p.plan, blockIdx.x, BN), sums, shared);
}

template <int TH, int BN, int BLOCKS>
__global__ void __launch_bounds__(OSP_TMA_THREADS(TH * OSP_CONV_HALO_TW), BLOCKS)
    conv_tma_halo(const __grid_constant__ osp_tma_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using T = HaloTile<TH, BN>;
    OSP_WGMMA_SHARED(shared);
    unsigned char *const barriers = shared + p.plan.barriers;
    const Ring weights(barriers, p.plan.stages);
    const Rings rings = {weights, Ring(barriers + p.plan.stages * 16, p.conv.ic > BK ? 2 : 1),
                         p.plan.stages * T::B_BYTES};
    if (threadIdx.x == T::MULTIPLIERS) {
        tma_prefetch(&p.pixels);
        tma_prefetch(&p.weights);
        rings.weights.begin(T::MULTIPLIERS / 32);
        rings.pixels.begin(T::MULTIPLIERS / 32);
        barrier_fence_init();
    }
    __syncthreads();
    if (threadIdx.x < T::MULTIPLIERS)
        make_tile<TH, BN>(p, rings, shared);
    else if (threadIdx.x == T::MULTIPLIERS)
        load_tile<TH, BN>(p, rings, shared_address(shared));
    else
        follow();
#endif
}

}  // namespace

#define X(TH, BN, S, BLOCKS)                                                                       \
    const osp_conv_tma OSP_CONV_TMA_HALO_NAME(TH, BN, S, BLOCKS) = {                               \
        TH *OSP_CONV_HALO_TW, BN, S, BLOCKS, OSP_TMA_THREADS(TH *OSP_CONV_HALO_TW), 0,             \
        {"conv_tma_halo " #TH "x8x" #BN,                                                           \
         OSP_SM90A ? reinterpret_cast<const void *>(conv_tma_halo<TH, BN, BLOCKS>) : nullptr,      \
         true}};
extern "C" {
OSP_CONV_TMA_HALO_ROWS(X)
}
