// Bulk copies: the copy engine of sm_90 and later fills a tile of shared memory from an array of FP16
// that osp_gpu_tensor_map_make described, and a barrier in shared memory (mbarrier) tells when it is
// there. One thread asks for a tile; no thread works out addresses.
//
// A barrier is 8 bytes. It completes a phase when `count` arrivals have come and all bytes that were
// expected are there; then the next phase begins, with `count` arrivals again. barrier_wait(bar, parity)
// waits for the end of the phase with that parity: 0 is the first one's, 1 the second's, and so on in
// turn. A wait with the parity of the phase before the one that runs goes on at once; so a wait for
// parity 1 on a fresh barrier does, which is how a ring's stages begin as free. A waiter must not be more
// than one phase behind.
//
// The order that a pipeline keeps:
//     one thread: barrier_init..., barrier_fence_init; all: __syncthreads
//     who fills:  barrier_wait(free, turn ^ 1); barrier_expect(full, bytes); tma_load...
//     who reads:  barrier_wait(full, turn); read or wgmma..., wgmma_wait; barrier_arrive(free)
// Each thread that reads waits itself, or meets one that did at a barrier of the block or the warp; each
// whose reads are to be over arrives, or meets, so, one that does. The copy engine writes and wgmma reads
// through the async proxy: between them no fence is needed. What threads store themselves needs one
// (wgmma_see_shared) before wgmma reads it, and before the engine writes over it.
//
// A tile lies as wgmma.cuh has it: rows of 64 halves, 128 bytes, in order of the second dimension, then
// the third and so on, from a multiple of 1024 bytes; chunk c of row r at place c ^ (r % 8). From another
// multiple of 128 bytes the swizzle still goes by addresses: r % 8 is bits 7 to 9 of the row's address.
#pragma once
#include <stdint.h>

#include "gpu/gpu_types.h"

#ifndef __CUDACC__
#include "host_tma.h"
#else

namespace osp {

__device__ __forceinline__ uint32_t barrier_address(const uint64_t *bar)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(bar));
}

// One thread, before anybody else touches it.
__device__ __forceinline__ void barrier_init(uint64_t *bar, uint32_t count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier_address(bar)), "r"(count)
                 : "memory");
}

// The thread that began barriers, behind the last: the copy engine sees them.
__device__ __forceinline__ void barrier_fence_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Arrives once, and the phase that runs waits for so many bytes more. Before the loads that bring them.
__device__ __forceinline__ void barrier_expect(uint64_t *bar, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     barrier_address(bar)),
                 "r"(bytes)
                 : "memory");
}

// What the thread read and wrote before is over for those who wait for the phase.
__device__ __forceinline__ void barrier_arrive(uint64_t *bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier_address(bar)) : "memory");
}

// Until the phase of this parity has ended; sleeps in hardware for a while at each try.
__device__ __forceinline__ void barrier_wait(uint64_t *bar, uint32_t parity)
{
    const uint32_t address = barrier_address(bar);
    uint32_t ended;
    do {
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(ended)
                     : "r"(address), "r"(parity)
                     : "memory");
    } while (!ended);
}

// True for one thread of the warp, always the same; all 32 come here together. Behind a condition that
// is the same in the whole warp the compiler then knows that one thread goes on, which a comparison of
// threadIdx does not tell it, and a load is one instruction rather than a loop.
__device__ __forceinline__ bool tma_elect()
{
    uint32_t chosen;
    asm volatile("{\n.reg .pred p;\n"
                 "elect.sync _|p, 0xffffffff;\n"
                 "selp.u32 %0, 1, 0, p;\n}"
                 : "=r"(chosen));
    return chosen;
}

// A tile with its first corner at these coordinates, innermost first; they may be negative, and the tile
// may reach beyond the array. c0 is a multiple of 8, 16 bytes: else the device stops at an illegal
// instruction. All the tile's bytes count for the barrier, zeros too. `map`: in the kernel's arguments.
__device__ __forceinline__ void tma_load(uint32_t shared, const osp_gpu_tensor_map *map,
                                         uint64_t *bar, int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared),
                 "l"(map), "r"(barrier_address(bar)), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_load(uint32_t shared, const osp_gpu_tensor_map *map,
                                         uint64_t *bar, int c0, int c1, int c2, int c3)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared),
                 "l"(map), "r"(barrier_address(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

// Fetches the description itself. One thread, early.
__device__ __forceinline__ void tma_prefetch(const osp_gpu_tensor_map *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

}  // namespace osp

#endif
