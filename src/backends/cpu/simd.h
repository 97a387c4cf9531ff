// Row kernels: the loops that are worth vector instructions, compiled once for each instruction set
// from the same source (simd_impl.h), and reached through a table.
// Thread rule: pure functions.
#ifndef OSP_BACKENDS_CPU_SIMD_H
#define OSP_BACKENDS_CPU_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What every unary row kernel can compute; OSP_U_* from OSP_U_ACT on are osp_act in order.
typedef enum osp_unary {
    OSP_U_COPY = 0,
    OSP_U_RELU,
    OSP_U_SILU,
    OSP_U_LEAKY_RELU,
    OSP_U_SIGMOID,
    OSP_U_HARD_SIGMOID,
    OSP_U_HARD_SWISH,
    OSP_U_CLIP,
    OSP_U_TANH,
    OSP_U_GELU,
    OSP_U_GELU_TANH,  // as osp_act
    OSP_U_EXP,
    OSP_U_LOG,
    OSP_U_SQRT,
    OSP_U_ERF,
    OSP_U_FLOOR,
    OSP_U_SIN,
    OSP_U_COS,
    OSP_U_COUNT
} osp_unary;

typedef enum osp_binary {
    OSP_B_ADD = 0,
    OSP_B_SUB,
    OSP_B_MUL,
    OSP_B_DIV,
    OSP_B_MIN,
    OSP_B_MAX,
    OSP_B_POW,
    OSP_B_COUNT
} osp_binary;

// A tile of a convolution or matrix product: `rows` pixels by `vectors` vectors of channels.
typedef struct osp_conv_tile {
    const float *const *src;  // for each tap `rows` pointers, src_step apart (0: the same)
    int64_t src_step;
    const int64_t *offsets;   // for each tap: added to the pointers, in elements
    int32_t taps, ic;         // ic: elements in a row for each tap
    const float *weights;     // [taps][ic][vectors * lanes]
    const float *bias;        // [vectors * lanes]
    float *const *dst;        // rows pointers
    const float *const *add;  // rows pointers, or NULL
    int32_t valid;            // channels to be stored
    int32_t act;              // osp_unary
    float alpha, beta;
    bool add_first;  // before the activation
} osp_conv_tile;

typedef struct osp_conv_kernel {
    int32_t rows, vectors;
    float speed;  // share of the peak it reaches, for choosing
    void (*run)(const osp_conv_tile *tile);
} osp_conv_kernel;
enum { OSP_CONV_MAX_ROWS = 28, OSP_CONV_KERNELS = 5 };

// A run of `count` output pixels of a depthwise convolution, `lanes` channels at a time.
typedef struct osp_depthwise_run {
    const float *const *src;  // for each tap the first pixel's address, or NULL: in the padding
    int32_t taps;
    int64_t src_step;      // elements from one output pixel's source to the next one's
    const float *weights;  // [taps][padded channels], then the bias
    int64_t weights_step;
    const float *bias;
    float *dst;
    int64_t dst_step;
    const float *add;  // or NULL
    int64_t add_step;
    int64_t count, channels;
    int32_t act;
    float alpha, beta;
    bool add_first;
} osp_depthwise_run;

// A tile of a Winograd convolution on its way in: 6x6 pixels of the source become 36 rows.
typedef struct osp_winograd_in {
    const float *const *src;    // 36 pixels, line by line; each has `channels`
    float *dst;                 // whole vectors
    int64_t step, vector_step;  // floats from row to row, from vector to vector of a row
    int64_t channels;
} osp_winograd_in;

// Rows of several tiles, of one of the 36 places, times that place's weights.
typedef struct osp_winograd_product {
    const float *src;      // [vectors of channels][tiles][lanes]
    const float *weights;  // [channels][vectors * lanes]
    float *dst;            // tiles, dst_step floats apart
    int64_t dst_step;
    int64_t channels;
} osp_winograd_product;

typedef struct osp_winograd_kernel {
    int32_t rows, vectors;  // tiles, vectors of output channels
    float speed;            // share of the peak it reaches, for choosing
    void (*run)(const osp_winograd_product *product);
} osp_winograd_kernel;

// And on its way out: 36 rows become lines x columns (at most 4x4) pixels.
typedef struct osp_winograd_out {
    const float *src;
    int64_t step;
    const float *bias;  // whole vectors
    float *dst;
    int64_t dst_line, dst_pixel;  // floats from line to line, from pixel to pixel
    const float *add;             // or NULL
    int64_t add_line, add_pixel;
    int64_t channels;
    int32_t lines, columns;
    int32_t act;
    float alpha, beta;
    bool add_first;
} osp_winograd_out;

typedef struct osp_simd {
    const char *name;
    int32_t lanes;  // floats in a vector
    osp_conv_kernel conv[OSP_CONV_KERNELS];
    // From padded lines of planes, stride 2: src holds a pointer for each tap (a line), src_step
    // is the column of the first pixel, and ic the columns of the window.
    osp_conv_kernel planes[2];
    void (*depthwise)(const osp_depthwise_run *run);
    void (*winograd_in)(const osp_winograd_in *tile);
    osp_winograd_kernel winograd[OSP_CONV_KERNELS];
    void (*winograd_out)(const osp_winograd_out *tile);
    void (*unary)(osp_unary op, float *dst, const float *src, int64_t n, float alpha, float beta);
    // steps of a and b: 0 or 1
    void (*binary)(osp_binary op, float *dst, const float *a, int64_t a_step, const float *b,
                   int64_t b_step, int64_t n);
    // dst[i] = max or sum * scale over `count` rows
    void (*max_rows)(float *dst, const float *const *src, int32_t count, int64_t n);
    void (*sum_rows)(float *dst, const float *const *src, int32_t count, int64_t n, float scale);
    // dst[i] = sum of weights[k] * src[k * step + i]
    void (*weighted_rows)(float *dst, const float *src, int64_t step, const float *weights,
                          int32_t count, int64_t n);
    float (*max)(const float *src, int64_t n);  // of at least one
    double (*sum)(const float *src, int64_t n);
    // dst[i] = exp(src[i] - shift); returns the sum
    float (*exp_sum)(float *dst, const float *src, int64_t n, float shift);
    void (*scale)(float *dst, const float *src, int64_t n, float factor);
    // Columns of `rows` rows at once: dst and src have rows `step` elements apart
    void (*softmax_columns)(float *dst, int64_t dst_step, const float *src, int64_t src_step,
                            int64_t rows, int64_t n);
    // dst = (src - mean) / sqrt(variance + epsilon) * weight + bias; weight and bias may be NULL
    void (*layer_norm)(float *dst, const float *src, const float *weight, const float *bias,
                       int64_t n, float epsilon, float *mean, float *inv_std);
    // dst[c * dst_step + r] = src[r * src_step + c] for 4-byte elements
    void (*transpose4)(void *dst, int64_t dst_step, const void *src, int64_t src_step, int64_t rows,
                       int64_t columns);
    void (*transpose2)(void *dst, int64_t dst_step, const void *src, int64_t src_step, int64_t rows,
                       int64_t columns);  // and for 2-byte ones
    // dst = a + (b - a) * t, four corners: bilinear rows
    void (*blend4)(float *dst, const float *const src[4], const float weight[4], int64_t n);
    void (*bfloat_to_float)(float *dst, const uint16_t *src, int64_t n);
    void (*float_to_bfloat)(uint16_t *dst, const float *src, int64_t n);
} osp_simd;

enum { OSP_SOFTMAX_COLUMNS = 64 };  // most columns of one softmax_columns call

extern const osp_simd osp_simd_sse2, osp_simd_avx2, osp_simd_avx512;

#endif
