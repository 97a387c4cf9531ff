// The convolutions whose operands the copy engine brings (tma.cuh): what conv_tma.cu, conv_tma_halo.cu
// and conv_tma.c agree on. Plain C, also valid CUDA C++. Thread rule: no state.
//
// A tile of the result is a box of tw x th pixels of one image by BN channels; a window of 1x1 that
// moves by one pixel sees its source as a single line of pixels, so that the boxes waste none. K goes
// by chunks of 64 channels in, the last one padded, and within one by the window's taps. Weights are
// packed in this order: [channels out, padded to whole tiles][chunk][tap][64].
#ifndef OSP_BACKENDS_CUDA_CONV_TMA_H
#define OSP_BACKENDS_CUDA_CONV_TMA_H

#include "backends/cuda/conv_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// How a problem is cut into tiles, and what a block's shared memory holds: the ring of stages from 0
// on, the room through which results leave, the barriers.
typedef struct osp_tma_plan {
    int32_t tw, th, tw_inverse;         // pixels of a tile; 65536 / tw + 1
    int32_t columns, tiles_x, tiles_y;  // tiles of channels out; of an image's pixels
    int32_t tiles;                      // all of them
    int32_t stages, halos;     // buffers; halos: of pixels, where stages are of weights alone
    int32_t result, barriers;  // bytes into shared memory
} osp_tma_plan;

typedef struct osp_tma_args {
    osp_gpu_tensor_map pixels, weights;
    osp_conv_args conv;  // src, weights, taps and k_chunks are not used
    osp_tma_plan plan;
} osp_tma_args;

// Of either kernel. `tw`: pixels of a tile's line; 0: whatever suits the problem. `blocks`: that share
// a multiprocessor. `loop`: blocks stay and make one tile after the other, and the loads of the next
// one run while results leave, by way of a room of their own; else a block makes one tile, and its
// results leave through the ring.
typedef struct osp_conv_tma {
    int32_t bm, bn, tw, stages, blocks, threads, loop;
    osp_gpu_kernel kernel;
} osp_conv_tma;

enum {
    OSP_TMA_WARPGROUP = 128,  // threads
    OSP_TMA_ROOM_PAD = 8,     // halves between rows of the room
    OSP_TMA_BARRIERS = 16     // bytes of a buffer's two
};
#define OSP_TMA_WARPGROUPS(BM) ((BM) > 64 ? 2 : 1)
#define OSP_TMA_THREADS(BM) (OSP_TMA_WARPGROUPS(BM) * OSP_TMA_WARPGROUP + 32)  // and who loads

// X(BM, BN, STAGES, BLOCKS, MODE). Any window.
#define OSP_CONV_TMA_ROWS(X)                                                                       \
    X(128, 128, 3, 2, once)                                                                        \
    X(64, 64, 3, 4, once)                                                                          \
    X(128, 256, 3, 1, loop)                                                                        \
    X(128, 192, 4, 1, loop)                                                                        \
    X(128, 128, 2, 2, loop)                                                                        \
    X(128, 96, 3, 2, loop)                                                                         \
    X(64, 128, 3, 2, loop)                                                                         \
    X(64, 64, 4, 3, loop)
// X(TH, TW, BN, STAGES, BLOCKS, MODE): lines of so many pixels. 3x3 of stride 1.
#define OSP_CONV_TMA_HALO_ROWS(X)                                                                  \
    X(16, 16, 64, 3, 2, once)                                                                      \
    X(16, 16, 48, 4, 2, once)                                                                      \
    X(16, 8, 96, 5, 2, once)                                                                       \
    X(16, 8, 64, 3, 3, once)                                                                       \
    X(16, 8, 48, 4, 3, once)                                                                       \
    X(8, 8, 96, 4, 3, once)                                                                        \
    X(8, 8, 64, 3, 4, once)                                                                        \
    X(16, 8, 64, 3, 2, loop)
// Bytes of the pixels of 64 channels with their border, whole 1024.
#define OSP_TMA_HALO_BYTES(TH, TW)                                                                 \
    ((((TH) + 2) * ((TW) + 2) * OSP_CONV_WGMMA_BK * 2 + 1023) / 1024 * 1024)

#define OSP_TMA_WORD_once ""
#define OSP_TMA_WORD_loop " loop"
#define OSP_TMA_LOOP_once 0
#define OSP_TMA_LOOP_loop 1
#define OSP_CONV_TMA_NAME(BM, BN, S, BLOCKS, MODE) osp_conv_tma_##BM##_##BN##_##MODE
#define OSP_CONV_TMA_HALO_NAME(TH, TW, BN, S, BLOCKS, MODE)                                        \
    osp_conv_tma_halo_##TH##_##TW##_##BN##_##MODE
#define X(...) extern const osp_conv_tma OSP_CONV_TMA_NAME(__VA_ARGS__);
OSP_CONV_TMA_ROWS(X)
#undef X
#define X(...) extern const osp_conv_tma OSP_CONV_TMA_HALO_NAME(__VA_ARGS__);
OSP_CONV_TMA_HALO_ROWS(X)
#undef X

#ifdef __cplusplus
}
#endif
#endif
