// Grids that overlap: the one place where a kernel meets programmatic dependent launch.
//
// A launch with osp_gpu_shape.overlap may start while the kernel before it on the stream still runs:
// its blocks become resident, and their set-up hides the 1.3 us that lie between two kernels
// otherwise. What makes that correct is one rule for every kernel whose descriptor says `waits`:
//
//     Each thread calls wait_for_previous() once, before it returns and before it reads or writes
//     global memory. Earlier it may only read what no kernel of a run writes: packed weights.
//     Nothing that a run writes is read by __ldg: the compiler may move such a load over the wait.
//
// The wait returns when all grids that this one depends on have ended and all they wrote is visible
// here. By the rule a grid ends only after its own wait has returned, so when B has ended, all before
// B has ended too: waiting for the predecessor is waiting for everything earlier on the stream. That
// covers what is read (a value made many kernels ago) and what is overwritten alike (memory that the
// planner gives to another value as soon as its last reader has run).
//
// A kernel without the rule is launched without overlap: it starts when its predecessor has ended,
// as ever, and its successor may overlap it all the same, since a grid that never calls
// let_next_start() lets it start when all its blocks have ended, and the wait covers the rest. So do
// copies, fills, events and the first kernel of a run bound a chain: what follows them is launched
// without overlap (osp_cuda_launch).
//
// let_next_start() allows the successor to become resident once every block of this grid has called
// it or ended; all blocks of this one are resident by then, so the two cannot starve each other.
// It promises nothing about memory, so it comes as early as possible. It stands behind the wait, so
// that at most two grids are resident at a time.
//
// Both are nothing before sm_90, where no launch overlaps. Where the host compiler makes the kernels
// (tests/gpu), the wait is counted, and a kernel whose descriptor promises it must have come by once
// in each thread. Thread rule: device functions, called by all threads of a grid.
#pragma once
#ifndef __CUDACC__
#include "host_device.h"
#endif

namespace osp {

__device__ __forceinline__ void wait_for_previous()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#elif !defined(__CUDACC__)
    host_grid_wait();
#endif
}

__device__ __forceinline__ void let_next_start()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Both, for a kernel that has nothing to prepare.
__device__ __forceinline__ void follow()
{
    wait_for_previous();
    let_next_start();
}

}  // namespace osp
