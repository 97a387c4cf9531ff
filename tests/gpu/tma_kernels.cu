// See tma_kernels.h. The copies are for sm_90 and later, the products for sm_90a; the bodies are empty
// elsewhere.
#include "backends/cuda/ptx.cuh"
#include "backends/cuda/tma.cuh"
#include "backends/cuda/wgmma.cuh"
#include "tma_kernels.h"

namespace {

using namespace osp;

template <int FAULT>
__global__ void __launch_bounds__(TMA_COPY_THREADS) tma_copy(const __grid_constant__ tma_copy_args p)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
    OSP_WGMMA_SHARED(shared);
    __shared__ uint64_t full, vacant;
    unsigned char *const tile = shared + p.at;
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0), chunks = p.rows * 8;
    uint4 *const out = static_cast<uint4 *>(p.out) + warp * p.tiles * chunks;
    if (threadIdx.x == 0) {
        tma_prefetch(&p.map);
        barrier_init(&full, 1);
        barrier_init(&vacant, FAULT == TMA_COPY_ONE_FREES ? 1 : TMA_COPY_WARPS);
        barrier_fence_init();
    }
    __syncthreads();
    for (int i = 0; i < p.tiles; i++) {
        if (warp == 0 && tma_elect()) {
            const int *const c = p.corner[i];
            const uint32_t to = shared_address(tile);
            barrier_wait(&vacant, i % 2 ^ 1);
            barrier_expect(&full, p.rows * 128);
            if (p.rank == 2)
                tma_load(to, &p.map, &full, c[0] + (FAULT == TMA_COPY_ODD ? 4 : 0), c[1]);
            else
                tma_load(to, &p.map, &full, c[0], c[1], c[2], c[3]);
        }
        if (FAULT != TMA_COPY_EARLY)
            barrier_wait(&full, i % 2);
        for (int k = threadIdx.x % 32; k < chunks; k += 32) {
            const int r = k / 8, turn = (p.at / 128 + r) % 8;
            out[i * chunks + k] = reinterpret_cast<const uint4 *>(tile + r * 128)[k % 8 ^ turn];
        }
        if (FAULT != TMA_COPY_UNSYNCED)
            __syncwarp();
        if (threadIdx.x % 32 == 0 && (FAULT != TMA_COPY_ONE_FREES || warp == 0))
            barrier_arrive(&vacant);
    }
#endif
}

struct Ring {
    uint64_t full[TMA_STAGES], vacant[TMA_STAGES];
};

template <int FAULT>
__device__ __forceinline__ void fill(const tma_product_args &p, Ring &ring, uint32_t shared)
{
    constexpr int BYTES = 2 * TMA_TILE_BYTES;
    for (int i = 0; i < (FAULT == TMA_LEFT ? TMA_STAGES : p.steps); i++) {
        const int stage = i % TMA_STAGES;
        uint64_t *const full = &ring.full[stage];
        const uint32_t to = shared + stage * BYTES;
        if (FAULT != TMA_FILL_EARLY && FAULT != TMA_TWICE)
            barrier_wait(&ring.vacant[stage], i / TMA_STAGES % 2 ^ 1);
        if (FAULT == TMA_FILL_EARLY)
            barrier_wait(full, i / TMA_STAGES % 2 ^ 1);
        barrier_expect(full, FAULT == TMA_TOO_FEW    ? BYTES / 2
                             : FAULT == TMA_TOO_MANY ? BYTES + 128
                                                     : BYTES);
        tma_load(to, &p.a, full, i * 64, 0);
        tma_load(to + TMA_TILE_BYTES, &p.b, full, i * 64, 0);
    }
}

template <int FAULT>
__device__ __forceinline__ void multiply_all(const tma_product_args &p, Ring &ring,
                                             unsigned char *shared)
{
    float sums[32] = {};
    const bool speaks = threadIdx.x % 32 == 0;
    for (int i = 0; i < p.steps; i++) {
        const int stage = i % TMA_STAGES;
        unsigned char *const tile = shared + stage * 2 * TMA_TILE_BYTES;
        const uint64_t a = wgmma_operand(shared_address(tile));
        const uint64_t b = wgmma_operand(shared_address(tile) + TMA_TILE_BYTES);
        if (FAULT != TMA_READ_EARLY && (FAULT != TMA_ONE_WAITS || threadIdx.x == 0))
            barrier_wait(&ring.full[stage], i / TMA_STAGES % 2);
        if (FAULT == TMA_STORED && threadIdx.x == 0)
            *reinterpret_cast<uint32_t *>(tile) = 0;
        wgmma_begin();
#pragma unroll
        for (int k = 0; k < 4; k++)
            wgmma<64>(sums, a + k * 2, b + k * 2);
        wgmma_commit();
        wgmma_wait<1>();  // the stage before is free now
        if (FAULT == TMA_FREE_EARLY && speaks)
            barrier_arrive(&ring.vacant[stage]);
        if (FAULT != TMA_NEVER_FREE && FAULT != TMA_FREE_EARLY && i > 0 && speaks)
            barrier_arrive(&ring.vacant[(i - 1) % TMA_STAGES]);
    }
    wgmma_wait<0>();
    wgmma_settle(sums);
    const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
    for (int j = 0; j < 32; j++)
        p.out[(row + j / 2 % 2 * 8) * TMA_SIDE + j / 4 * 8 + column + j % 2] = sums[j];
}

template <int FAULT>
__global__ void __launch_bounds__(TMA_PRODUCT_THREADS)
    tma_product(const __grid_constant__ tma_product_args p)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    OSP_WGMMA_SHARED(shared);
    __shared__ Ring ring;
    if (threadIdx.x == 0) {
        for (int s = 0; s < TMA_STAGES; s++) {
            barrier_init(&ring.full[s], 1);
            barrier_init(&ring.vacant[s], 4);
        }
        if (FAULT != TMA_NOT_FENCED)
            barrier_fence_init();
    }
    if (FAULT == TMA_STORED_UNDER && threadIdx.x == 1)
        *reinterpret_cast<uint32_t *>(shared) = 0;
    if (FAULT != TMA_NOT_MET)
        __syncthreads();
    if (__shfl_sync(0xffffffff, threadIdx.x / 32, 0) == 4) {
        if (tma_elect())
            fill<FAULT>(p, ring, shared_address(shared));
    } else if (FAULT != TMA_LEFT && FAULT != TMA_TWICE) {
        multiply_all<FAULT>(p, ring, shared);
    }
#endif
}

}  // namespace

#define X(NAME)                                                                                    \
    {"tma_product " #NAME,                                                                         \
     OSP_SM90A ? reinterpret_cast<const void *>(tma_product<TMA_##NAME>) : nullptr, false},
#define Y(NAME) {"tma " #NAME, reinterpret_cast<const void *>(tma_copy<TMA_##NAME>), false},
extern "C" {
#ifdef __CUDACC__
const osp_gpu_kernel osp_test_tma_copy[] = {Y(COPY_NONE)};
const osp_gpu_kernel osp_test_tma_product[] = {X(NONE)};
#else
const osp_gpu_kernel osp_test_tma_copy[] = {TMA_COPY_FAULTS(Y)};
const osp_gpu_kernel osp_test_tma_product[] = {TMA_FAULTS(X)};
#endif
}
