// Convolutions and matrix products by register tiles: the plan that both share.
// Thread rule: a plan is read-only once made.
#ifndef OSP_BACKENDS_CPU_DIRECT_H
#define OSP_BACKENDS_CPU_DIRECT_H

#include "backends/cpu/cpu.h"

enum { OSP_DIRECT_MAX_TAPS = 160 };

// A two-dimensional convolution of pixels whose channels are together (or, `planar`, of planes).
// A matrix product is one with 1x1 taps: a row is a pixel.
typedef struct osp_direct {
    int64_t n, ih, iw, ic, oh, ow, oc;
    int64_t kh, kw, sh, sw, ph, pw, dh, dw;
    int64_t src_pitch, dst_pitch, add_pitch;  // elements from pixel to pixel
    bool planar;                              // src is dense N,C,H,W
    int32_t act;                              // osp_unary
    float alpha, beta;
    bool add_first;
    // Chosen by osp_direct_settle:
    const osp_simd *simd;
    const osp_conv_kernel *kernel;
    int32_t taps, tap_ic;
    int64_t blocks, block_floats;  // of output channels; packed floats in each, bias included
    int64_t offsets[OSP_DIRECT_MAX_TAPS];
    const float *zeros;  // ic of them: what padding reads
} osp_direct;

// NULL, or why it cannot be done so.
const char *osp_direct_refuse(const osp_direct *d);
// Chooses the tile. `zeros` are the caller's to free.
osp_status osp_direct_settle(osp_direct *d, osp_context *ctx, const osp_simd *simd, osp_error *err);

static inline size_t osp_direct_packed_bytes(const osp_direct *d)
{
    return (size_t)(d->blocks * d->block_floats) * sizeof(float);
}

// Weight of output channel o, input channel c, tap t: weights[o * steps[0] + c * steps[1] + t].
// `bias` may be NULL. Blocks [first, last).
void osp_direct_pack(const osp_direct *d, const float *weights, const int64_t steps[2],
                     const float *bias, float *packed, int64_t first, int64_t last);

void osp_direct_run(const osp_direct *d, const float *src, const float *packed, const float *add,
                    float *dst, osp_threads threads);

#endif
