// Convolution as an implicit matrix product on wgmma, channels last, FP16 in and out, FP32 sums; the
// same product and the same packed weights as conv_mma.cu. For sm_90a: elsewhere the body is empty.
//
// A block makes BM pixels x BN channels out; each warpgroup takes 64 rows and all BN columns, so that one
// wgmma reads 64 x 16 of A for BN columns. Both operands lie in shared
// memory in tiles of 64 halves along K, filled by cp.async in a ring of STAGES; one group of wgmma
// stays in flight over the barrier, so a tile is filled again two turns after it was used.
//
// Blocks are not persistent: two or three of them share an SM, and one's epilogue overlaps the other's
// products without further code. Where the depth is whole tiles, conv_tma.cu is faster; here K runs over
// taps and channels together, so that few channels, or 48 or 96 of them, leave no part of a tile empty.
#include "backends/cuda/conv_wgmma.cuh"

namespace {

// The tiles of K on their way to shared memory: what one thread copies.
template <int BM, int BN, int STAGES, int THREADS> struct Copier {
    static constexpr int ROWS_STEP = THREADS / CHUNKS;  // rows copied at once
    static constexpr int A_ROWS = BM / ROWS_STEP;
    static constexpr int B_ROWS = (BN + ROWS_STEP - 1) / ROWS_STEP;
    static constexpr uint32_t TILE_A = BM * BK * 2, STAGE = TILE_A + BN * BK * 2;
    static_assert(ROWS_STEP % 8 == 0, "a thread's rows share their swizzle");
    static_assert(BM % ROWS_STEP == 0, "whole rows of threads");
    static_assert(TILE_A % 1024 == 0 && STAGE % 1024 == 0, "wgmma wants tiles at 1024 bytes");

    const __half *src, *weights;
    const int2 *taps;  // of this thread's chunk in the next tile
    int2 tap;
    int left;       // tiles of K not yet fetched
    int64_t step;   // halves between the thread's rows of weights
    uint32_t to, end;
    int base[A_ROWS];         // elements from src to the pixel's first tap
    uint32_t inside[A_ROWS];  // which of its taps are in the image

    __device__ __forceinline__ void begin(const osp_conv_args &p, uint32_t shared, int first_pixel,
                                          int first_oc)
    {
        const int col = threadIdx.x % CHUNKS, row = threadIdx.x / CHUNKS;
        src = static_cast<const __half *>(p.src);
        step = (int64_t)ROWS_STEP * p.k_chunks * 8;
        weights = static_cast<const __half *>(p.weights) +
                  (int64_t)(first_oc + row) * p.k_chunks * 8 + col * 8;
        taps = static_cast<const int2 *>(p.taps) + col;
        tap = *taps;
        left = p.k_chunks / CHUNKS;
        to = shared + (row * CHUNKS + (col ^ (row & 7))) * 16;
        end = to + STAGES * STAGE;
        find_pixels<A_ROWS, ROWS_STEP>(p, first_pixel + row, base, inside);
    }

    // The next tile into the next stage of the ring; behind the last one an empty group.
    __device__ __forceinline__ void fetch()
    {
        if (left > 0) {
#pragma unroll
            for (int i = 0; i < A_ROWS; i++) {
                const bool valid = inside[i] >> tap.y & 1;
                copy16(to + i * ROWS_STEP * BK * 2, src + (valid ? base[i] + tap.x : 0), valid);
            }
#pragma unroll
            for (int i = 0; i < B_ROWS; i++)
                if (BN % ROWS_STEP == 0 || i * ROWS_STEP + (int)threadIdx.x / CHUNKS < BN)
                    copy16(to + TILE_A + i * ROWS_STEP * BK * 2, weights + i * step, true);
            weights += BK;
            to = to + STAGE == end ? to + STAGE - STAGES * STAGE : to + STAGE;
            if (--left > 0) {
                taps += CHUNKS;
                tap = *taps;
            }
        }
        commit_copies();
    }
};

template <int BM, int BN, int STAGES, int BLOCKS>
__global__ void __launch_bounds__(BM == 64 ? 128 : 256, BLOCKS)
    conv_wgmma(const __grid_constant__ osp_conv_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    constexpr int THREADS = BM == 64 ? 128 : 256;
    static_assert(BM * 2 == THREADS, "a warpgroup has one tile of 64 rows");
    using Copies = Copier<BM, BN, STAGES, THREADS>;
    static_assert(STAGES >= 3, "one stage is read, one may still be, one is filled");
    OSP_WGMMA_SHARED(shared);
    const uint32_t ring = shared_address(shared);

    const int columns = (p.oc + BN - 1) / BN;
    const int first_pixel = (int)(blockIdx.x / columns) * BM;
    const int first_oc = (int)(blockIdx.x % columns) * BN;
    Copies copies;
    copies.begin(p, ring, first_pixel, first_oc);
    follow();
#pragma unroll
    for (int s = 0; s < STAGES - 2; s++)
        copies.fetch();

    float sums[1][BN / 2] = {};
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);  // the same in a warp
    const uint64_t own = osp::wgmma_operand(ring + group * 64 * BK * 2);
    const uint64_t all = osp::wgmma_operand(ring + Copies::TILE_A);
    const int tiles = p.k_chunks / CHUNKS;
    for (int tile = 0, stage = 0; tile < tiles; tile++) {
        wait_copies<STAGES - 3>();
        osp::wgmma_see_shared();
        __syncthreads();
        const uint64_t at = stage * (Copies::STAGE >> 4);
        osp::wgmma_begin();
#pragma unroll
        for (int k = 0; k < BK / 16; k++)
            osp::wgmma<BN>(sums[0], own + at + k * (32 >> 4), all + at + k * (32 >> 4));
        osp::wgmma_commit();
        copies.fetch();  // over the tile before the last, which all have done with
        osp::wgmma_wait<1>();
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    osp::wgmma_wait<0>();
    osp::wgmma_settle(sums[0]);
    wait_copies<0>();
    __syncthreads();
    const auto place = [&](int r) { return first_pixel + r < p.pixels ? first_pixel + r : -1; };
    Ending<BM, BN, THREADS, 1, decltype(place)>{p, sums, shared, place, first_oc}.run();
#endif
}

}  // namespace

#define X(BM, BN, S, BLOCKS)                                                                       \
    const osp_conv_wgmma OSP_CONV_WGMMA_NAME(BM, BN, S, BLOCKS) = {                                \
        "wgmma " #BM "x" #BN " s" #S, BM, BN, S, BM == 64 ? 128 : 256,                             \
        {"conv_wgmma " #BM "x" #BN,                                                                \
         OSP_SM90A ? reinterpret_cast<const void *>(conv_wgmma<BM, BN, S, BLOCKS>) : nullptr,           \
         true}};
extern "C" {
OSP_CONV_WGMMA_ROWS(X)
}
