// The convolution kernels and the struct that they take: what the .cu files and the tactics agree
// on. Plain C, also valid CUDA C++. All of them: 2-D, channels last, FP16 with FP32 sums.
// Thread rule: no state.
#ifndef OSP_BACKENDS_CUDA_CONV_KERNELS_H
#define OSP_BACKENDS_CUDA_CONV_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "gpu/gpu_types.h"

// Pitches are elements from pixel to pixel.
typedef struct osp_conv_args {
    const void *src, *weights, *add;  // weights as the kernel's family packs them
    const float *bias;                // padded like the weights' rows, zeros where there is none
    void *dst;
    const void
        *taps;  // mma: by chunk of 8 channels {elements from the pixel's first tap, its index}
                // stem: osp_stem_pair, 8 a step
    int32_t n, ic, ih, iw, oh, ow, oc, kh, kw, sh, sw, ph, pw;
    int32_t src_pitch, dst_pitch, add_pitch;
    int32_t k_chunks;  // mma, direct: of 8 along K, padded; stem: steps of 16 along K
    int32_t pixels;    // n * oh * ow
    int32_t act;       // osp_act
    float alpha, beta;
    int32_t add_first;  // the residual comes before the activation
} osp_conv_args;

enum {
    OSP_CONV_MAX_TAPS = 31,  // one bit each, and one that is never set
    OSP_CONV_NO_TAP = 31,
    OSP_STEM_SUMS = 8,  // blocks of 16 pixels of a row by 8 channels that a warp makes
    OSP_STEM_ROWS = 4,  // warps of a block, one row each
    // Of FP16 and then of float32 planes; of any rows and then of even ones at stride 2; of 16 and
    // then of 32 channels out at a time.
    OSP_STEM_KERNELS = 8,
    OSP_DEPTHWISE_THREADS = 256,
    OSP_DEPTHWISE_PIXELS = 4  // of a line that a thread makes, four channels each
};

// Two neighbours in a row of the window: the source's channel, where they are from the pixel's first
// row and column, and which of them count (16 bits each; none: the pair is padding).
typedef struct osp_stem_pair {
    int32_t channel, y, x;
    uint32_t mask;
} osp_stem_pair;

// Implicit matrix product: rows of pixels by channels out.
typedef struct osp_conv_mma {
    const char *name;
    int32_t bm, bn, bk, stages, kw, threads;
    osp_gpu_kernel kernel;
} osp_conv_mma;

// The same product by warpgroups, for sm_90a alone: `function` is NULL in a build without it.
typedef struct osp_conv_wgmma {
    const char *name;
    int32_t bm, bn, stages, threads;
    osp_gpu_kernel kernel;
} osp_conv_wgmma;

// Direct 3x3 with the halo of a tile of output pixels in shared memory.
typedef struct osp_conv_direct {
    const char *name;
    int32_t ic, bn, th, tw, stride, threads, shared_bytes;
    osp_gpu_kernel kernel;
} osp_conv_direct;

// Tile shapes: X(BM, BN, BK, WM, WN, STAGES, KW): a block's pixels, channels out and depth, a warp's
// pixels and channels, stages of the copy pipeline, groups of warps that share the depth of a stage.
#define OSP_CONV_MMA_ROWS(X)                                                                       \
    X(128, 128, 64, 64, 64, 3, 1)                                                                  \
    X(128, 128, 32, 64, 32, 4, 1)                                                                  \
    X(64, 128, 64, 32, 64, 4, 1)                                                                   \
    X(128, 64, 32, 64, 32, 4, 1)                                                                   \
    X(64, 64, 64, 32, 32, 4, 1)                                                                    \
    X(64, 64, 32, 32, 32, 4, 1)                                                                    \
    X(32, 64, 64, 16, 32, 4, 1)                                                                    \
    X(128, 32, 32, 32, 32, 4, 1)                                                                   \
    X(64, 16, 32, 16, 16, 4, 1)                                                                    \
    X(64, 64, 128, 32, 32, 3, 2)                                                                   \
    X(32, 64, 128, 16, 32, 4, 2)                                                                   \
    X(32, 32, 128, 16, 32, 4, 4)                                                                   \
    X(16, 64, 128, 16, 32, 4, 4)                                                                   \
    X(16, 32, 64, 16, 32, 4, 2)
// X(BM, BN, STAGES, BLOCKS): a block's pixels and channels out, stages of the copy pipeline, blocks
// that share a multiprocessor. A depth of 64 for all.
#define OSP_CONV_WGMMA_ROWS(X)                                                                     \
    X(128, 128, 3, 2)                                                                              \
    X(128, 96, 4, 2)                                                                               \
    X(128, 48, 3, 3)                                                                               \
    X(64, 128, 4, 2)                                                                               \
    X(64, 96, 4, 2)                                                                                \
    X(64, 64, 4, 3)
enum { OSP_CONV_WGMMA_BK = 64 };
// X(IC, BN, TH, TW, STRIDE, WARPS_M, WARPS_N)
#define OSP_CONV_DIRECT_ROWS(X)                                                                    \
    X(8, 16, 16, 16, 1, 8, 1)                                                                      \
    X(16, 16, 16, 16, 1, 8, 1)                                                                     \
    X(16, 32, 16, 16, 1, 8, 1)                                                                     \
    X(16, 32, 16, 16, 2, 8, 1)                                                                     \
    X(32, 16, 16, 16, 1, 8, 1)                                                                     \
    X(32, 32, 16, 16, 1, 8, 1)                                                                     \
    X(64, 16, 8, 16, 1, 4, 1)                                                                      \
    X(64, 32, 8, 16, 1, 4, 1)                                                                      \
    X(64, 64, 16, 16, 1, 8, 1)

#define OSP_CONV_MMA_NAME(BM, BN, BK, WM, WN, S, KW) osp_conv_mma_##BM##_##BN##_##BK
#define OSP_CONV_WGMMA_NAME(BM, BN, S, BLOCKS) osp_conv_wgmma_##BM##_##BN
#define OSP_CONV_DIRECT_NAME(IC, BN, TH, TW, S, WM, WN) osp_conv_direct_##IC##_##BN##_##S
#define X(...) extern const osp_conv_mma OSP_CONV_MMA_NAME(__VA_ARGS__);
OSP_CONV_MMA_ROWS(X)
#undef X
#define X(...) extern const osp_conv_direct OSP_CONV_DIRECT_NAME(__VA_ARGS__);
OSP_CONV_DIRECT_ROWS(X)
#undef X
#define X(...) extern const osp_conv_wgmma OSP_CONV_WGMMA_NAME(__VA_ARGS__);
OSP_CONV_WGMMA_ROWS(X)
#undef X

// From planes of few channels (images). Weights by lane, as matrix instructions take them: [groups of
// channels][k_chunks][blocks of 8 of the group][32 lanes][4]. Grid over columns, rows, images.
extern const osp_gpu_kernel osp_kernel_conv_stem[OSP_STEM_KERNELS];
// One channel in and out of each group. Weights [kh * kw][oc]; one thread for 8 channels of a pixel.
// _3: of 3 x 3.
extern const osp_gpu_kernel osp_kernel_conv_depthwise, osp_kernel_conv_depthwise_3,
    osp_kernel_conv_depthwise_line;

#ifdef __cplusplus
}
#endif
#endif
