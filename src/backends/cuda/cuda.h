// Inside the cuda backend: its families of tactics, and what they share. A family is a .c file with
// the tactics (what a problem may be, and the kernel's arguments worked out at build), a .cu file
// with the kernels, and the structs that both agree on in a header of plain C.
// Thread rule: any thread; a launch enqueues on the stream it is given and touches nothing else.
#ifndef OSP_BACKENDS_CUDA_CUDA_H
#define OSP_BACKENDS_CUDA_CUDA_H

#include "backends/backend.h"

// Most shared memory of a block on the largest architecture (sm_90). What a smaller one refuses to
// launch is passed over when tactics are timed.
enum { OSP_CUDA_SHARED_BYTES = 227 * 1024 };

// ---- Tactics, by family -------------------------------------------------------------------------

extern const osp_tactic osp_cuda_conv_mma[9], osp_cuda_conv_direct[9];
extern const osp_tactic osp_cuda_conv_stem, osp_cuda_conv_depthwise;

#endif
