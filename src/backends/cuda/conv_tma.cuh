// What the convolutions by bulk copies share: rings of buffers between the thread that loads and the
// warpgroups that multiply, and where a tile lies.
//
// A block has one or two warpgroups and, behind them, one warp whose first lane loads. Each buffer of a
// ring has two barriers: `full`, which the copy engine completes, and `empty`, at which each warp of the
// warpgroups arrives when its products have read the buffer. Nobody else waits for anybody in the loop.
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
};

// The end of the tile at a corner, for all warpgroups together.
template <int BM, int BN>
__device__ __forceinline__ void finish_tile(const osp_tma_args &p, const Corner &at,
                                            float (&sums)[1][BN / 2], unsigned char *shared)
{
    constexpr int THREADS = BM / 64 * OSP_TMA_WARPGROUP;
    osp::wgmma_settle(sums[0]);
    const auto place = [&](int r) {
        const int line = r * p.plan.tw_inverse >> 16;
        const int y = at.y + line, x = at.x + r - line * p.plan.tw;
        const bool inside = line < p.plan.th && y < p.conv.oh && x < p.conv.ow;
        return inside ? (at.n * p.conv.oh + y) * p.conv.ow + x : -1;
    };
    using End = Ending<BM, BN, THREADS, 1, decltype(place), false>;
    static_assert(End::PITCH == BN + OSP_TMA_ROOM_PAD, "the room's rows");
    End::meet();  // whoever still reads what the room holds
    End{p.conv, sums, shared + p.plan.result, place, at.oc}.run();
}

// Products of a chunk: so many times 16 channels.
template <int N> struct Depth {
    static constexpr int value = N;
};

}  // namespace
