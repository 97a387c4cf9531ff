// The convolution that reads pixels: what pixel_conv.cu and pixel_conv.c agree on. Plain C, also valid
// CUDA C++. Thread rule: no state.
//
// A window's products are ordered along K by its rows: `run` bytes for each, which begin `lead` bytes
// into a line of the halo. Weights are packed as the operands of the matrix instructions want them:
// by 16 channels out, by step of 16 along K, by half of the channels, by lane, two words.
#ifndef OSP_BACKENDS_CUDA_PIXEL_KERNELS_H
#define OSP_BACKENDS_CUDA_PIXEL_KERNELS_H

#include "backends/cuda/conv_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct osp_pixel_args {
    osp_conv_args conv;    // src uint8; src_pitch, taps and k_chunks are not used
    int32_t lead;          // from the start of a line of the halo to the first window, minus `skip`
    int32_t skip;          // bytes before a window that are read and weigh nothing
    int32_t run;           // bytes of a row of a window, with those skipped, even
    int32_t lines, pitch;  // of the halo: lines, and bytes of one, whole 16
    float factor;          // of the sums of halfs 2^-24 * pixel, before the bias
} osp_pixel_args;

enum {
    OSP_PIXEL_TILE_H = 8,  // of a block, output pixels
    OSP_PIXEL_TILE_W = 32,
    OSP_PIXEL_THREADS = 128,
    OSP_PIXEL_OC = 16,  // channels out that a warp makes at once
    OSP_PIXEL_CHANNELS = 3,
    OSP_PIXEL_ROW = 16  // rows of pixels are read in whole 16 of them
};

// X(STEPS): steps of 16 along K. 3x3, 6x6 (and 5x5), 7x7.
#define OSP_PIXEL_ROWS(X) X(2) X(7) X(10)
typedef struct osp_pixel_kernel {
    int32_t steps;
    osp_gpu_kernel even, odd;  // columns an even or an odd number of bytes apart
} osp_pixel_kernel;
enum { OSP_PIXEL_KERNELS = 3 };
extern const osp_pixel_kernel osp_cuda_k_pixel_conv[OSP_PIXEL_KERNELS];

#ifdef __cplusplus
}
#endif
#endif
