// bfloat16 by matrix tiles: products of 16 x 16 blocks with FP32 sums, what follows them, and the
// rows that feed them. Two engines do the products, from the same packed weights: AMX tiles, and
// AVX-512 BF16 for processors (or systems) without them.
// Thread rule: pure functions, but for begin and end, which set up the calling thread's tiles.
#ifndef OSP_BACKENDS_CPU_BF16_H
#define OSP_BACKENDS_CPU_BF16_H

#include "backends/cpu/cpu.h"

enum { OSP_BF16_DEPTH = 32, OSP_BF16_SUMS = 64 * 16 };

static inline int64_t osp_bf16_round_up(int64_t x, int64_t unit)
{
    return (x + unit - 1) / unit * unit;
}

// Sums of `rows` blocks of 16 positions by `columns` blocks of 16 channels: 4 x 1 or 2 x 2 at most.
// Rows past the last position are computed too: what they read must be there.
typedef struct osp_bf16_product {
    const char *src;         // of the first position
    int64_t src_step;        // bytes from one position to the next
    const int64_t *offsets;  // of each step, in bytes
    int64_t steps;
    int32_t depth;            // elements of a step: even, at most OSP_BF16_DEPTH
    const uint16_t *weights;  // [step][block of channels][depth / 2][16][2]
    float *sums;              // [16 * rows][16 * columns], 64-byte aligned
} osp_bf16_product;

typedef struct osp_bf16_engine {
    const char *(*refuse)(void);  // NULL: this processor has it
    void (*begin)(int32_t depth);
    void (*product)(const osp_bf16_product *p, int32_t rows, int32_t columns);
    void (*end)(void);
} osp_bf16_engine;

extern const osp_bf16_engine osp_bf16_amx, osp_bf16_avx512;
const osp_bf16_engine *osp_cpu_bf16(void);  // the best one; NULL: none

// From sums to pixels: bias, activation, residual. Positions count through lines of `line`, of
// which the first `columns` are pixels; the others are passed over.
typedef struct osp_bf16_end {
    const float *bias;    // 16 for each block of channels, or NULL
    uint16_t *dst;        // of the first position that is a pixel
    const uint16_t *add;  // likewise, or NULL
    int64_t dst_pitch, add_pitch;
    int64_t column, columns, line;  // column: of the first position
    int64_t positions;              // up to the last pixel
    int32_t channels;               // to be stored
    int32_t act;                    // osp_unary
    float alpha, beta;
    bool add_first;
} osp_bf16_end;
void osp_bf16_finish(const osp_bf16_end *e, const float *sums, int32_t columns);

// `rows` rows of `columns` from a matrix, or from its transpose, each filled up with zeros to `step`,
// and rows of zeros up to `all`. src_pitch: from line to line of the source as it lies.
void osp_bf16_gather_rows(uint16_t *dst, int64_t step, int64_t all, const uint16_t *src,
                          int64_t src_pitch, bool transposed, int64_t rows, int64_t columns);
// The right side of products of two blocks of channels from dense rows of `depth` elements, one row
// for each of `channels`: [channels / 32][depth / 32] weights of a step. Both are multiples of 32.
void osp_bf16_pack_rows(uint16_t *packed, const uint16_t *rows, int64_t channels, int64_t depth);

// The softmax of rows of logits: `logits` holds blocks [n / 32][32][32] as products of 2 x 2 write
// them, of which `rows` rows and n columns count. dst[row] are exp(scale * (logit - largest)), filled
// up with zeros to `depth`; inverse[row] is one over their sum.
void osp_bf16_exp_rows(uint16_t *dst, int64_t depth, float *inverse, const float *logits,
                       int64_t rows, int64_t n, float scale);
// dst = src * factor[row], rows of n, n at most 32
void osp_bf16_scale_rows(uint16_t *dst, int64_t dst_step, const float *src, const float *factors,
                         int64_t rows, int64_t n);
// dst[i] = the largest of `count` rows
void osp_bf16_max_rows(uint16_t *dst, const uint16_t *const *src, int32_t count, int64_t n);

// Pixels of `channels`, cut into pieces of `width` (a multiple of 4, at most 32) that lie
// dst_step elements apart, the last one filled up with zeros.
void osp_bf16_copy_pixels(uint16_t *dst, int64_t dst_step, const uint16_t *src, int64_t src_pitch,
                          int64_t count, int64_t channels, int64_t width);
// Pixels of four channels from up to four planes.
void osp_bf16_join_planes(uint16_t *dst, const uint16_t *src, int64_t src_step, int64_t count,
                          int64_t channels);

// A run of output pixels of a depthwise convolution: as osp_depthwise_run.
typedef struct osp_bf16_depthwise_run {
    const uint16_t *const *src;  // for each tap the first pixel's address, or NULL: in the padding
    int64_t src_step;
    int32_t taps;
    const float *weights;  // [taps][weights_step], of whole vectors of channels
    int64_t weights_step;
    int64_t count;
    osp_bf16_end end;  // of all channels; positions and lines are not looked at
} osp_bf16_depthwise_run;
void osp_bf16_depthwise(const osp_bf16_depthwise_run *r);

#endif
