// Convolution as an implicit matrix product, its operands brought by the copy engine (tma.cuh),
// channels last, FP16 in and out, FP32 sums. For sm_90a: elsewhere the body is empty.
//
// A stage holds a tap of 64 channels: the box of pixels that the tap sees, where zeros stand for what
// is outside the image, and the tap's weights. One thread keeps all stages on their way, across the
// tiles of a block that makes several, so that memory is busy while results leave.
#include "backends/cuda/conv_tma.cuh"

namespace {

template <int BM, int BN> struct TmaTile {
    static_assert(BM == OSP_TMA_WARPGROUPS(BM) * 64, "a warpgroup has one tile of 64 rows");
    static constexpr int A_BYTES = BM * BK * 2, STAGE = A_BYTES + BN * BK * 2;
    static_assert(A_BYTES % 1024 == 0 && STAGE % 1024 == 0, "wgmma wants tiles at 1024 bytes");
};

// What the one thread does that loads. Weights, which no kernel of a run writes, need not wait for the
// kernel before.
template <int BM, int BN>
__device__ __forceinline__ void load_tiles(const osp_tma_args &p, const Ring &ring, uint32_t shared)
{
    using T = TmaTile<BM, BN>;
    const uint32_t bytes = (p.plan.tw * p.plan.th + BN) * BK * 2;
    const auto load_weights = [&](int stage, int k, int oc) {
        barrier_expect(ring.full + stage, bytes);
        tma_load(shared + stage * T::STAGE + T::A_BYTES, &p.weights, ring.full + stage, k * BK, oc);
    };
    const int chunks = (p.conv.ic + BK - 1) / BK, depth = chunks * p.conv.kh * p.conv.kw;
    int early = min(ring.buffers, depth);  // stages that have their weights
    const Corner first(p.plan, blockIdx.x, BN);
    for (int s = 0; s < early; s++)
        load_weights(s, s, first.oc);
    follow();
    Turn turn;
    for (int tile = blockIdx.x; tile < p.plan.tiles; tile += gridDim.x) {
        const Corner at(p.plan, tile, BN);
        const int top = at.y * p.conv.sh - p.conv.ph, left = at.x * p.conv.sw - p.conv.pw;
        for (int chunk = 0, k = 0; chunk < chunks; chunk++)
            for (int y = 0; y < p.conv.kh; y++)
                for (int x = 0; x < p.conv.kw; x++, k++) {
                    if (early > 0) {
                        early--;
                    } else {
                        barrier_wait(ring.empty + turn.at, turn.parity ^ 1);
                        load_weights(turn.at, k, at.oc);
                    }
                    tma_load(shared + turn.at * T::STAGE, &p.pixels, ring.full + turn.at,
                             chunk * BK, left + x, top + y, at.n);
                    turn.next(ring.buffers);
                }
    }
}

template <int BM, int BN>
__device__ __forceinline__ void make_tiles(const osp_tma_args &p, const Ring &ring,
                                           unsigned char *shared)
{
    using T = TmaTile<BM, BN>;
    const uint32_t base = shared_address(shared);
    const int group = __shfl_sync(0xffffffff, threadIdx.x / OSP_TMA_WARPGROUP, 0);  // of a warp
    const uint64_t own = osp::wgmma_operand(base + group * 64 * BK * 2);
    const uint64_t all = osp::wgmma_operand(base + T::A_BYTES);
    const int taps = p.conv.kh * p.conv.kw, rest = p.conv.ic % BK;
    const int halves = rest && rest <= BK / 2 ? taps : 0;
    const int wholes = (p.conv.ic + BK - 1) / BK * taps - halves;
    follow();
    Turn turn;
    for (int tile = blockIdx.x; tile < p.plan.tiles; tile += gridDim.x) {
        float sums[1][BN / 2] = {};
        int before = -1;  // the stage whose products are under way
        const auto multiply = [&](int count, auto depth) {
            for (; count > 0; count--) {
                const uint64_t at = turn.at * (T::STAGE >> 4);
                barrier_wait(ring.full + turn.at, turn.parity);
                osp::wgmma_begin();
#pragma unroll
                for (int k = 0; k < decltype(depth)::value; k++)
                    osp::wgmma<BN>(sums[0], own + at + (k * 32 >> 4), all + at + (k * 32 >> 4));
                osp::wgmma_commit();
                osp::wgmma_wait<1>();
                ring.release(before);
                before = turn.at;
                turn.next(ring.buffers);
            }
            osp::wgmma_wait<0>();
        };
        multiply(wholes, Depth<BK / 16>());
        if (halves)  // at most 32 channels at the end, as of 96
            multiply(halves, Depth<BK / 32>());
        ring.release(before);
        const Corner at(p.plan, tile, BN);
        const auto place = [&](int row) {
            const int line = row * p.plan.tw_inverse >> 16;
            const int pixel = at.pixel(p.conv, at.y + line, at.x + row - line * p.plan.tw);
            return line < p.plan.th ? pixel : -1;  // rows behind the box are of none
        };
        finish_tile<BM, BN>(p, place, at.oc, sums, shared);
    }
}

template <int BM, int BN, int BLOCKS>
__global__ void __launch_bounds__(OSP_TMA_THREADS(BM), BLOCKS)
    conv_tma(const __grid_constant__ osp_tma_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    constexpr int MULTIPLIERS = OSP_TMA_WARPGROUPS(BM) * OSP_TMA_WARPGROUP;
    OSP_WGMMA_SHARED(shared);
    const Ring ring(shared + p.plan.barriers, p.plan.stages);
    if (threadIdx.x == MULTIPLIERS) {
        tma_prefetch(&p.pixels);
        tma_prefetch(&p.weights);
        ring.begin(MULTIPLIERS / 32);
        barrier_fence_init();
    }
    __syncthreads();
    if (threadIdx.x < MULTIPLIERS)
        make_tiles<BM, BN>(p, ring, shared);
    else if (threadIdx.x == MULTIPLIERS)
        load_tiles<BM, BN>(p, ring, shared_address(shared));
    else
        follow();
#endif
}

}  // namespace

#define X(BM, BN, S, BLOCKS, MODE)                                                                 \
    const osp_conv_tma OSP_CONV_TMA_NAME(BM, BN, S, BLOCKS, MODE) = {                              \
        BM, BN, 0, S, BLOCKS, OSP_TMA_THREADS(BM), OSP_TMA_LOOP_##MODE,                               \
        {"conv_tma " #BM "x" #BN,                                                                  \
         OSP_SM90A ? reinterpret_cast<const void *>(conv_tma<BM, BN, BLOCKS>) : nullptr, true}};
extern "C" {
OSP_CONV_TMA_ROWS(X)
}
