// Types that C and CUDA C++ share. Thread rule: no state.
#ifndef OSP_GPU_GPU_TYPES_H
#define OSP_GPU_GPU_TYPES_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

// A kernel takes one plain struct by value. Defined in a .cu file; without a toolkit `function` is
// NULL, and launching gives OSP_ERROR_DEVICE.
typedef struct osp_gpu_kernel {
    const char *name;
    const void *function;
    bool waits;  // keeps the rule of gpu_grid.cuh: its launches may overlap what precedes them
} osp_gpu_kernel;

// An array of FP16 in device memory as the bulk copy engine knows it: osp_gpu_tensor_map_make. Goes by
// value among a kernel's arguments, which are __grid_constant__ then; backends/cuda/tma.cuh loads by it.
typedef struct osp_gpu_tensor_map {
    alignas(64) uint64_t words[16];  // the driver's own
} osp_gpu_tensor_map;

// Where a source image lies in the network's input: the numbers of vision's osp_letterbox.
typedef struct osp_gpu_fit {
    int32_t src_w, src_h;
    int32_t width, height;   // of the resized image inside the input
    int32_t left, top;       // padding
    float scale_x, scale_y;  // width / src_w, height / src_h
} osp_gpu_fit;

// ---- What boxes are made of ---------------------------------------------------------------------

// A map, and its steps from image to image, pixel to pixel, channel to channel in elements.
typedef struct osp_gpu_map {
    const void *data;
    int64_t image, pixel, channel;
} osp_gpu_map;

enum { OSP_HEAD_LEVELS = 8, OSP_HEAD_BINS = 16 };

typedef struct osp_head_level {
    osp_gpu_map sides, classes;
    int32_t first, pixels;  // among all
} osp_head_level;

// The operands of osprey.BoxHead (ops/internal.h) on a device. A row of its result is a pixel: level
// after level, line after line.
typedef struct osp_head_maps {
    const float *places, *strides, *weights;  // weights NULL: distances are given
    osp_head_level level[OSP_HEAD_LEVELS];
    int32_t levels, all, classes, bins;  // all: pixels
    int32_t half_sides, half_classes;    // FP16, else FP32
    int32_t wide_sides, wide_classes;  // 16-byte loads along channels; sides: of OSP_HEAD_BINS bins
} osp_head_maps;

#endif
