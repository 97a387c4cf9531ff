// What the convolutions by wgmma share: the depth of their tiles, and how sums become results.
#pragma once
#include "backends/cuda/conv_device.cuh"
#include "backends/cuda/wgmma.cuh"

namespace {

constexpr int BK = OSP_CONV_WGMMA_BK, CHUNKS = BK / 8;  // a tile's halves and chunks along K

// The end of a block's sums. The residual comes, and the results go, through a tile in shared memory, so
// that accesses to global memory are 16 bytes and whole rows. What depends on the problem is decided
// once for all sums, since they are too many to decide for each. WHOLE: the THREADS are all of the block;
// else they are its first ones.
template <int BM, int BN, int THREADS, int MT, typename Place, bool WHOLE = true> struct Ending {
    static constexpr int PITCH = BN + 8, ROW_CHUNKS = BN / 8;
    const osp_conv_args &p;
    float (&sums)[MT][BN / 2];
    unsigned char *const shared;
    const Place place;  // the pixel of a row; -1: none
    const int first_oc;

    static __device__ __forceinline__ void meet()
    {
        if (WHOLE)
            __syncthreads();
        else
            meet_part<THREADS>(0);
    }

    // Calls each(m, i, at): sums[m][i] and its right neighbour belong to the pair at `at`.
    template <typename F> __device__ __forceinline__ void pairs(F each)
    {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int row = warp / 4 * MT * 64 + warp % 4 * 16 + lane / 4;
        __half *const from = reinterpret_cast<__half *>(shared) + row * PITCH + lane % 4 * 2;
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < BN / 2; i += 2)
                each(m, i,
                     reinterpret_cast<__half2 *>(from + (m * 64 + i / 2 % 2 * 8) * PITCH + i / 4 * 8));
    }

    // Calls each(at, pixel, oc) for the tile's 16-byte chunks that are part of the result.
    template <typename F> __device__ __forceinline__ void chunks(F each)
    {
        for (int i = threadIdx.x; i < BM * ROW_CHUNKS; i += THREADS) {
            const int r = i / ROW_CHUNKS, c = i % ROW_CHUNKS * 8, pixel = place(r);
            if (pixel >= 0 && first_oc + c < p.oc)
                each(shared + (r * PITCH + c) * 2, (int64_t)pixel, first_oc + c);
        }
    }

    __device__ __forceinline__ void fetch_residual()
    {
        const __half *const add = static_cast<const __half *>(p.add);
        chunks([&](unsigned char *at, int64_t pixel, int oc) {
            copy16(shared_address(at), add + pixel * p.add_pitch + oc, true);
        });
        commit_copies();
        wait_copies<0>();
        meet();
    }

    __device__ __forceinline__ void add_bias()
    {
        const float *const bias = p.bias + first_oc + threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < BN / 8; j++) {
            const float2 b = *reinterpret_cast<const float2 *>(bias + j * 8);
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    sums[m][j * 4 + i] += i % 2 ? b.y : b.x;
        }
    }

    __device__ __forceinline__ void add_residual()
    {
        pairs([&](int m, int i, const __half2 *at) {
            const float2 add = __half22float2(*at);
            sums[m][i] += add.x;
            sums[m][i + 1] += add.y;
        });
    }

    __device__ __forceinline__ void activate_all()
    {
#pragma unroll
        for (int i = 0; p.act == OSP_ACT_SILU && i < MT * BN / 2; i++)
            sums[i / (BN / 2)][i % (BN / 2)] = silu(sums[i / (BN / 2)][i % (BN / 2)]);
        if (p.act == OSP_ACT_SILU || p.act == OSP_ACT_NONE)
            return;
#pragma unroll
        for (int i = 0; i < MT * BN / 2; i++) {
            float &x = sums[i / (BN / 2)][i % (BN / 2)];
            x = other_activation(p.act, x, p.alpha, p.beta);
        }
    }

    __device__ __forceinline__ void run()
    {
        if (p.add)
            fetch_residual();
        add_bias();
        if (p.add && p.add_first)
            add_residual();
        activate_all();
        if (p.add && !p.add_first)
            add_residual();
        pairs([&](int m, int i, __half2 *at) {
            *at = __floats2half2_rn(sums[m][i], sums[m][i + 1]);
        });
        meet();
        __half *const dst = static_cast<__half *>(p.dst);
        chunks([&](const unsigned char *at, int64_t pixel, int oc) {
            *reinterpret_cast<uint4 *>(dst + pixel * p.dst_pitch + oc) =
                *reinterpret_cast<const uint4 *>(at);
        });
    }
};

}  // namespace
