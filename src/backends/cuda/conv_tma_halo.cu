// Convolution by 3x3 windows of stride 1, channels last, FP16 in and out, FP32 sums: the pixels of a tile
// lie in shared memory with their border, once for all nine taps, and a tap is a view of them. The copy
// engine (tma.cuh) brings 64 channels of all pixels in one load, into two buffers, and the weights of a
// tap in another, into a ring. For sm_90a: elsewhere the body is empty.
//
// A view is no copy: A's tile of 64 rows is 8 x 8 pixels, whose 8 lines are the groups of 8 rows that a
// descriptor names by the distance from one to the next (wgmma_rows). A tap moves the start of the view by
// whole pixels of 128 bytes, and the swizzle, which goes by addresses, is the same for every tap.
//
// Each block reads all weights of its channels from the L2: while a multiprocessor makes its 2,048
// products a cycle, that is 4096 / BM bytes a cycle for BM pixels, 32 for each of them at 128. Hence
// tiles of 256 pixels for what is bound by products.
#include "backends/cuda/conv_tma.cuh"

namespace {

// A's tiles of 64 rows are 8 x 8 pixels, TW / 8 of them beside each other.
template <int TH, int TW, int BN> struct HaloTile {
    static constexpr int BM = TH * TW, GROUPS = OSP_TMA_WARPGROUPS(BM), MT = BM / 64 / GROUPS;
    static constexpr int TAPS = 9, LINE = TW + 2;  // pixels of a line with its border
    static constexpr int A_BYTES = OSP_TMA_HALO_BYTES(TH, TW), B_BYTES = BN * BK * 2;
    static constexpr int PIXEL_BYTES = (TH + 2) * LINE * BK * 2;  // that come
    // From a warpgroup's pixels to the next one's, and from one of its tiles to the next.
    static constexpr int GROUP_STEP = 8 * (MT * 8 / TW) * LINE * BK * 2;
    static constexpr int TILE_STEP = TW == 8 ? 8 * LINE * BK * 2 : 8 * BK * 2;
    static_assert(TW == 8 || TW == MT * 8, "a warpgroup has whole lines of tiles");
    static_assert(B_BYTES % 1024 == 0, "wgmma wants tiles at 1024 bytes");
};

// Weights from 0 on, then the buffers of pixels.
struct Rings {
    Ring weights, pixels;
    int pixels_at;
};

// The chunks of a block, tile after tile.
template <int BN> struct Chunks {
    const osp_tma_plan &plan;
    const int count;  // of a tile
    int tile, chunk;
    Corner at;

    __device__ __forceinline__ explicit Chunks(const osp_tma_args &p)
        : plan(p.plan), count((p.conv.ic + BK - 1) / BK), tile(blockIdx.x), chunk(0),
          at(p.plan, blockIdx.x, BN)
    {
    }

    __device__ __forceinline__ bool left() const
    {
        return tile < plan.tiles;
    }

    __device__ __forceinline__ void next()
    {
        if (++chunk < count)
            return;
        chunk = 0;
        tile += gridDim.x;
        at = Corner(plan, tile, BN);
    }
};

// What the one thread does that loads. The pixels of a chunk come before those weights of the chunk
// before it that wait for its first tap: by then the products that read their buffer are over.
template <int TH, int TW, int BN>
__device__ __forceinline__ void load_tiles(const osp_tma_args &p, const Rings &r, uint32_t shared)
{
    using T = HaloTile<TH, TW, BN>;
    Chunks<BN> weights(p), pixels(p);
    Turn turn, pixel_turn;
    int tap = 0;
    const auto load_weights = [&] {
        uint64_t *const full = r.weights.full + turn.at;
        barrier_wait(r.weights.empty + turn.at, turn.parity ^ 1);
        barrier_expect(full, T::B_BYTES);
        tma_load(shared + turn.at * T::B_BYTES, &p.weights, full,
                 (weights.chunk * T::TAPS + tap) * BK, weights.at.oc);
        turn.next(r.weights.buffers);
        if (++tap == T::TAPS) {
            tap = 0;
            weights.next();
        }
    };
    const auto load_pixels = [&] {
        uint64_t *const full = r.pixels.full + pixel_turn.at;
        barrier_wait(r.pixels.empty + pixel_turn.at, pixel_turn.parity ^ 1);
        barrier_expect(full, T::PIXEL_BYTES);
        tma_load(shared + r.pixels_at + pixel_turn.at * T::A_BYTES, &p.pixels, full,
                 pixels.chunk * BK, pixels.at.x - p.conv.pw, pixels.at.y - p.conv.ph, pixels.at.n);
        pixel_turn.next(r.pixels.buffers);
        pixels.next();
    };
#pragma unroll 1
    for (int i = 0; i < r.weights.buffers; i++)  // no kernel of a run writes them
        load_weights();
    follow();
    load_pixels();
#pragma unroll 1
    while (weights.left()) {
        if (tap == r.weights.buffers && pixels.left())
            load_pixels();
        load_weights();
    }
}

template <int TH, int TW, int BN>
__device__ __forceinline__ void make_tile(const osp_tma_args &p, const Rings &r,
                                          float (&sums)[HaloTile<TH, TW, BN>::MT][BN / 2],
                                          uint32_t base, Turn &turn, Turn &pixel_turn)
{
    using T = HaloTile<TH, TW, BN>;
    const int group = __shfl_sync(0xffffffff, threadIdx.x / OSP_TMA_WARPGROUP, 0);  // of a warp
    const uint64_t pixels =
        osp::wgmma_rows(base + r.pixels_at + group * T::GROUP_STEP, T::LINE * BK * 2);
    const uint64_t weights = osp::wgmma_operand(base);
    int before = -1, pixels_before = -1;  // the buffers whose products are under way
    // All taps of a chunk, `Depth::value` times 16 channels of it.
    const auto multiply_taps = [&](auto depth) {
        turn.agree();
        pixel_turn.agree();
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
#pragma unroll
                for (int m = 0; m < T::MT; m++)
                    osp::wgmma<BN>(sums[m], view + ((m * T::TILE_STEP + k * 32) >> 4),
                                   own + (k * 32 >> 4));
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
    r.weights.release(before);
    r.pixels.release(pixels_before);
}

template <int TH, int TW, int BN>
__device__ __forceinline__ void make_tiles(const osp_tma_args &p, const Rings &r,
                                           unsigned char *shared)
{
    using T = HaloTile<TH, TW, BN>;
    follow();
    Turn turn, pixel_turn;
    for (int tile = blockIdx.x; tile < p.plan.tiles; tile += gridDim.x) {
        float sums[T::MT][BN / 2] = {};
        make_tile<TH, TW, BN>(p, r, sums, shared_address(shared), turn, pixel_turn);
        const Corner at(p.plan, tile, BN);
        const auto place = [&](int row) {
            const int square = row / 64, y = at.y + square / (TW / 8) * 8 + row % 64 / 8;
            return at.pixel(p.conv, y, at.x + square % (TW / 8) * 8 + row % 8);
        };
        finish_tile<T::BM, BN>(p, place, at.oc, sums, shared);
    }
}

template <int TH, int TW, int BN, int BLOCKS>
__global__ void __launch_bounds__(OSP_TMA_THREADS(TH * TW), BLOCKS)
    conv_tma_halo(const __grid_constant__ osp_tma_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using T = HaloTile<TH, TW, BN>;
    constexpr int MULTIPLIERS = T::GROUPS * OSP_TMA_WARPGROUP;
    OSP_WGMMA_SHARED(shared);
    const Ring weights(shared + p.plan.barriers, p.plan.stages);
    const Ring pixels(shared + p.plan.barriers + p.plan.stages * OSP_TMA_BARRIERS, p.plan.halos);
    const Rings rings = {weights, pixels, p.plan.stages * T::B_BYTES};
    if (threadIdx.x == MULTIPLIERS) {
        tma_prefetch(&p.pixels);
        tma_prefetch(&p.weights);
        weights.begin(MULTIPLIERS / 32);
        pixels.begin(MULTIPLIERS / 32);
        barrier_fence_init();
    }
    __syncthreads();
    if (threadIdx.x < MULTIPLIERS)
        make_tiles<TH, TW, BN>(p, rings, shared);
    else if (threadIdx.x == MULTIPLIERS)
        load_tiles<TH, TW, BN>(p, rings, shared_address(shared));
    else
        follow();
#endif
}

}  // namespace

#define X(TH, TW, BN, S, BLOCKS, MODE)                                                             \
    const osp_conv_tma OSP_CONV_TMA_HALO_NAME(TH, TW, BN, S, BLOCKS, MODE) = {                     \
        TH *TW, BN, TW, S, BLOCKS, OSP_TMA_THREADS(TH *TW), OSP_TMA_LOOP_##MODE,                   \
        {"conv_tma_halo " #TH "x" #TW "x" #BN,                                                     \
         OSP_SM90A ? reinterpret_cast<const void *>(conv_tma_halo<TH, TW, BN, BLOCKS>) : nullptr,  \
         true}};
extern "C" {
OSP_CONV_TMA_HALO_ROWS(X)
}
