// What both ways to find candidates share: a row's best class, whether it passes, and its key.
// Thread rule: device functions without state.
#pragma once
#include <cuda_fp16.h>
#include <float.h>

#include "gpu/gpu_kernels.h"

namespace osp {

constexpr int SCAN = OSP_BOXES_SCAN, WARP = 32;
constexpr unsigned ALL = 0xFFFFFFFFu;

struct Best {
    float score;
    int class_id;
};

// The best of what each of LANES neighbours in a warp has: of equals the first class. Every one gets
// the answer. All lanes come.
template <int LANES> __device__ __forceinline__ Best best_of_lanes(Best best)
{
    for (int step = LANES / 2; step; step /= 2) {
        const float score = __shfl_xor_sync(ALL, best.score, step);
        const int class_id = __shfl_xor_sync(ALL, best.class_id, step);
        if (score > best.score || (score == best.score && class_id < best.class_id))
            best = {score, class_id};
    }
    return best;
}

__device__ __forceinline__ bool wanted(const osp_boxes_args &a, int class_id)
{
    if (!a.class_bits)
        return true;
    return class_id < a.class_count && (a.class_bits[class_id / 8] >> class_id % 8 & 1);
}

// NaN fails the comparison; infinities are no scores.
__device__ __forceinline__ bool passes(const osp_boxes_args &a, const Best &best)
{
    return best.score > a.score_threshold && best.score <= FLT_MAX && wanted(a, best.class_id);
}

// Appends the keys of the lanes that pass. All lanes of a warp come.
__device__ inline void append(const osp_boxes_args &a, int image, int row, const Best &best,
                              bool pass)
{
    const unsigned passing = __ballot_sync(ALL, pass);
    if (!passing)
        return;
    const int lane = threadIdx.x % WARP, leader = __ffs(passing) - 1;
    int base = 0;
    if (lane == leader)
        base = atomicAdd(&a.counts[image], __popc(passing));
    base = __shfl_sync(ALL, base, leader);
    if (!pass)
        return;
    const int64_t first = (int64_t)image * a.rows;
    const int at = base + __popc(passing & ((1u << lane) - 1));
    a.keys[first + at] = (uint64_t)~__float_as_uint(best.score) << 32 | (unsigned)row;
    a.class_of[first + row] = best.class_id;
}

}  // namespace osp
