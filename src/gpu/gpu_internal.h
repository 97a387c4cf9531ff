// What the files of the device layer share. Thread rule: see gpu.h.
#ifndef OSP_GPU_GPU_INTERNAL_H
#define OSP_GPU_GPU_INTERNAL_H

#include "gpu/gpu_calls.h"

struct osp_gpu {
    osp_context *ctx;
    const osp_gpu_calls *calls;
    osp_device_info info;
    atomic_bool overlaps;         // launches may; ended for good once it is refused
    atomic_int lost;              // CUDA's number of the error that ended it; 0: alive
    const char *_Atomic lost_by;  // the call that reported it
    atomic_uint_fast64_t allocs, frees, opens, launches, graph_launches, copies, copied_bytes;
    atomic_uint_fast64_t waits;
};

struct osp_gpus {
    int32_t count;
    osp_gpu gpu[];  // `count` of them
};

// Turns CUDA's answer to `call` into a status; a sticky error marks the device lost.
osp_status osp_gpu_answer(osp_gpu *gpu, int error, const char *call, osp_error *err);

// DEVICE_LOST with its text when the device is lost, else OSP_OK.
osp_status osp_gpu_alive(const osp_gpu *gpu, osp_error *err);

#endif
