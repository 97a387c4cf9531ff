// What the convolutions by bulk copies share: rings of buffers between the thread that loads and the
// warpgroups that multiply, and where a tile lies.
//
// A block has one or two warpgroups and, behind them, one warp whose first lane loads. Each buffer of
// a ring has two barriers: `full`, which the copy engine completes, and `empty`, at which each warp of
// the warpgroups arrives when its products have read the buffer. Nobody else waits for anybody.
#pragma once
#include "backends/cuda/conv_tma.h"
#include "backends/cuda/conv_wgmma.cuh"
#include "backends/cuda/tma.cuh"

namespace {

// A place in a ring, and the parity of its turn there.
struct Turn {
    int at = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void next(int buffers)
    {
        if (++at == buffers) {
            at = 0;
            parity ^= 1;
        }
    }

    // All lanes have the same place; now the compiler knows, and makes descriptors once for a warp.
    __device__ __forceinline__ void agree()
    {
        at = __shfl_sync(0xffffffff, at, 0);
    }
};

struct Ring {
    uint64_t *full, *empty;
    int buffers;

    __device__ __forceinline__ Ring(unsigned char *at, int count)
        : full(reinterpret_cast<uint64_t *>(at)), empty(full + count), buffers(count)
    {
    }

    // One thread; the block meets behind it.
    __device__ __forceinline__ void begin(int warps) const
    {
        for (int i = 0; i < buffers; i++) {
            barrier_init(full + i, 1);
            barrier_init(empty + i, warps);
        }
    }

    // This warp has done with a buffer; -1: there is none.
    __device__ __forceinline__ void release(int at) const
    {
        if (at >= 0 && threadIdx.x % 32 == 0)
            barrier_arrive(empty + at);
    }
};

// The first pixel and channel of a tile. Tiles of the same pixels come one after the other, so that
// blocks beside each other read them once from memory.
struct Corner {
    int n, y, x, oc;

    __device__ __forceinline__ Corner(const osp_tma_plan &plan, int tile, int bn)
    {
        const int box = tile / plan.columns, line = box / plan.tiles_x;
        oc = (tile - box * plan.columns) * bn;
        x = (box - line * plan.tiles_x) * plan.tw;
        n = line / plan.tiles_y;
        y = (line - n * plan.tiles_y) * plan.th;
    }

    // Of the result, in the corner's image; -1: outside.
    __device__ __forceinline__ int pixel(const osp_conv_args &p, int at_y, int at_x) const
    {
        return at_y < p.oh && at_x < p.ow ? (n * p.oh + at_y) * p.ow + at_x : -1;
    }
};

// The end of a tile from channel first_oc on, for all warpgroups together. place: as Ending's.
template <int BM, int BN, int MT, typename Place>
__device__ __forceinline__ void finish_tile(const osp_tma_args &p, const Place &place, int first_oc,
                                            float (&sums)[MT][BN / 2], unsigned char *shared)
{
    using End = Ending<BM, BN, OSP_TMA_WARPGROUPS(BM) * OSP_TMA_WARPGROUP, MT, Place, false>;
    static_assert(End::PITCH == BN + OSP_TMA_ROOM_PAD, "the room's rows");
#pragma unroll
    for (int m = 0; m < MT; m++)
        osp::wgmma_settle(sums[m]);
    End::meet();  // whoever still reads what the room holds
    End{p.conv, sums, shared + p.plan.result, place, first_oc}.run();
}

// Products of a chunk: so many times 16 channels.
template <int N> struct Depth {
    static constexpr int value = N;
};

}  // namespace
