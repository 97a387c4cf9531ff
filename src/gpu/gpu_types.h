// Types that C and CUDA C++ share. Thread rule: no state.
#ifndef OSP_GPU_GPU_TYPES_H
#define OSP_GPU_GPU_TYPES_H

#include <stdbool.h>
#include <stdint.h>

// A kernel takes one plain struct by value. Defined in a .cu file; without a toolkit `function` is
// NULL, and launching gives OSP_ERROR_DEVICE.
typedef struct osp_gpu_kernel {
    const char *name;
    const void *function;
    bool waits;  // keeps the rule of gpu_grid.cuh: its launches may overlap what precedes them
} osp_gpu_kernel;

// Where a source image lies in the network's input: the numbers of vision's osp_letterbox.
typedef struct osp_gpu_fit {
    int32_t src_w, src_h;
    int32_t width, height;   // of the resized image inside the input
    int32_t left, top;       // padding
    float scale_x, scale_y;  // width / src_w, height / src_h
} osp_gpu_fit;

#endif
