// TEMP
#ifndef OSP_GPU_GPU_KERNELS_H
#define OSP_GPU_GPU_KERNELS_H
#ifdef __cplusplus
extern "C" {
#endif
#include "gpu/gpu_types.h"

// ---- gpu_compare.cu -----------------------------------------------------------------------------

typedef struct osp_compare_args {
    const void *got, *want;
    float *largest;            // {difference, value}
    int64_t rows, row, pitch;  // elements
} osp_compare_args;

extern const osp_gpu_kernel osp_kernel_compare_f16, osp_kernel_compare_f32;

#ifdef __cplusplus
}
#endif
#endif
