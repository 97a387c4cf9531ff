// The kernels and the struct that each takes: what a .cu file and its launcher in C agree on. Plain
// C, also valid CUDA C++. Strides and offsets are in elements; addresses are filled in by launch.
//
// Indices that come as data (Gather, ScatterND, ...): negative ones count from the end once; what is
// still outside gives zeros, and a scatter drops it. A run cannot report it without waiting for the
// device, and no address is ever formed from it. Integer division by zero gives 0.
// Thread rule: no state.
#ifndef OSP_BACKENDS_CUDA_KERNELS_H
#define OSP_BACKENDS_CUDA_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "gpu/gpu_types.h"
#include "osprey/osprey.h"

// ---- Walking over operands (walk.c) -------------------------------------------------------------

// Division of numbers below 2^31 by a constant: (umulhi(n, mul) + n) >> shift.
typedef struct osp_cuda_divisor {
    uint32_t value, mul, shift;
} osp_cuda_divisor;

enum { OSP_CUDA_DIMS = 16, OSP_CUDA_OPERANDS = 4 };

// `count` items in the order of dims (the last one fastest), with an offset in each operand:
// usually the destination, then sources.
typedef struct osp_cuda_walk {
    int32_t rank;  // at least 1 where count > 0
    uint32_t count;
    osp_cuda_divisor dims[OSP_CUDA_DIMS];
    int64_t strides[OSP_CUDA_OPERANDS][OSP_CUDA_DIMS];
} osp_cuda_walk;

// ---- move.cu ------------------------------------------------------------------------------------

enum { OSP_CUDA_SIZES = 5, OSP_CUDA_TILE = 32 };  // elements of 1, 2, 4, 8, 16 bytes

typedef struct osp_cuda_copy_args {
    void *dst;
    const void *src;
    osp_cuda_walk walk;  // dst, src
} osp_cuda_copy_args;

// A tile of 32 x 32 a block: `rows` lie dense in the source, `columns` dense in the destination.
typedef struct osp_cuda_transpose_args {
    void *dst;
    const void *src;
    osp_cuda_walk batch;  // dst, src
    osp_cuda_divisor row_tiles, column_tiles;
    int64_t rows, columns, dst_step, src_step;  // of a row in dst, of a column in src
} osp_cuda_transpose_args;

// dst[i] = src[sum over d of table_d[i_d]]; a negative entry anywhere: the constant.
typedef struct osp_cuda_table_args {
    void *dst;
    const void *src;
    const void *constant;  // one element, or 16 bytes of copies of it for wide elements
    const int32_t *tables;
    osp_cuda_walk walk;            // dst, and src where a dim has no table
    int32_t table[OSP_CUDA_DIMS];  // where it starts; -1: none
    int32_t shift;  // source offsets are in elements, this many bits finer than dst's
} osp_cuda_table_args;

typedef struct osp_cuda_range_args {
    void *dst;
    const void *start, *delta;
    uint32_t count;
    int32_t dtype;
} osp_cuda_range_args;

extern const osp_gpu_kernel osp_cuda_k_copy[OSP_CUDA_SIZES], osp_cuda_k_transpose[4],
    osp_cuda_k_table[OSP_CUDA_SIZES], osp_cuda_k_range[1];

// ---- pointwise.cu -------------------------------------------------------------------------------

// The first ones are osp_act.
typedef enum osp_cuda_fn {
    OSP_FN_COPY = 0,  // Cast too
    OSP_FN_RELU,
    OSP_FN_SILU,
    OSP_FN_LEAKY_RELU,
    OSP_FN_SIGMOID,
    OSP_FN_HARD_SIGMOID,
    OSP_FN_HARD_SWISH,
    OSP_FN_CLIP,  // bounds from sources 1 and 2 where they are there
    OSP_FN_TANH,
    OSP_FN_GELU,
    OSP_FN_GELU_TANH,
    OSP_FN_EXP,
    OSP_FN_LOG,
    OSP_FN_SQRT,
    OSP_FN_ERF,
    OSP_FN_SIN,
    OSP_FN_COS,
    OSP_FN_FLOOR,
    OSP_FN_NOT,
    OSP_FN_ADD,
    OSP_FN_SUB,
    OSP_FN_MUL,
    OSP_FN_DIV,
    OSP_FN_POW,
    OSP_FN_MOD,
    OSP_FN_FMOD,
    OSP_FN_MIN,
    OSP_FN_MAX,
    OSP_FN_EQUAL,
    OSP_FN_LESS,
    OSP_FN_GREATER,
    OSP_FN_AND,
    OSP_FN_XOR
} osp_cuda_fn;

typedef struct osp_cuda_point_args {
    void *dst;
    const void *src[3];  // NULL: not there
    osp_cuda_walk walk;  // dst, sources; of vectors where the kernel takes vectors
    int32_t fn;
    float alpha, beta;
    int32_t dst_dtype, dtype[3];
    int32_t dense[3];  // vectors: the source has vectors too; else one element for all of them
} osp_cuda_point_args;

enum { OSP_POINT_F32X4, OSP_POINT_F32, OSP_POINT_F16X8, OSP_POINT_F16, OSP_POINT_ANY };
extern const osp_gpu_kernel osp_cuda_k_point[5];
// By size of an element (1, 2, 4, 8); source 0 is the condition.
extern const osp_gpu_kernel osp_cuda_k_where[4];

typedef struct osp_cuda_batch_norm_args {
    void *dst;
    const void *src, *parameters[4];  // scale, bias, mean, variance
    osp_cuda_walk walk;               // dst, src, parameters
    int32_t dtype, parameter_dtype[4];
    float epsilon;
} osp_cuda_batch_norm_args;
extern const osp_gpu_kernel osp_cuda_k_batch_norm[1];

// ---- lines.cu: one number, or a whole line, from each line of a tensor --------------------------

// Who works on a line: ROWS: blockDim.x threads, blockDim.y lines a block (1 unless blockDim.x is
// 32). COLUMNS: 32 neighbouring lines a block, blockDim.y threads each.
typedef struct osp_cuda_lines {
    osp_cuda_walk outer;  // lines: dst, src, ...
    osp_cuda_walk inner;  // elements of one: dst, src, ...
} osp_cuda_lines;

typedef enum osp_cuda_reduction { OSP_LINE_MAX, OSP_LINE_MEAN, OSP_LINE_SUM } osp_cuda_reduction;

typedef struct osp_cuda_line_args {
    void *dst;
    const void *src;
    osp_cuda_lines lines;
    int32_t dtype, kind;  // osp_cuda_reduction
} osp_cuda_line_args;

typedef struct osp_cuda_layer_norm_args {
    void *dst;
    const void *src, *scale, *bias;  // bias NULL: none
    float *mean, *deviation;         // NULL: not wanted
    osp_cuda_lines lines;            // dst, src, scale, bias
    int32_t dtype, scale_dtype, bias_dtype;
    float epsilon;
} osp_cuda_layer_norm_args;

// Each ROWS, then COLUMNS. Reductions: float32, float16, any integer.
extern const osp_gpu_kernel osp_cuda_k_softmax[4];  // float32, float16
extern const osp_gpu_kernel osp_cuda_k_reduce[6];
extern const osp_gpu_kernel osp_cuda_k_layer_norm[1];  // ROWS only

// ---- boxes.cu -----------------------------------------------------------------------------------

typedef struct osp_cuda_expectation_args {
    float *dst;
    const void *src;
    const float *weights;
    osp_cuda_walk lines;  // dst, src
    int64_t step;         // of src along a line
    int32_t count;
} osp_cuda_expectation_args;
extern const osp_gpu_kernel osp_cuda_k_expectation[2];  // of float32, of float16

// A block for 32 pixels of a level. threadIdx.x: the pixel; threadIdx.y goes over the jobs: the boxes
// of either axis, then OSP_HEAD_CLASSES classes each.
enum { OSP_HEAD_PIXELS = 32, OSP_HEAD_CLASSES = 16 };
typedef struct osp_cuda_box_head_args {
    float *dst;
    osp_head_maps maps;
    int32_t block[OSP_HEAD_LEVELS];  // the first one of each level
    int64_t dst_image, dst_row, dst_pixel;
    int32_t corners;   // boxes are two corners
    int32_t wide_dst;  // 16-byte stores along rows
} osp_cuda_box_head_args;
// Distances in float32, float16, each with classes in float32, float16.
extern const osp_gpu_kernel osp_cuda_k_box_head[4];

// ---- topk.cu ------------------------------------------------------------------------------------

enum { OSP_TOPK_THREADS = 1024, OSP_TOPK_SHARED = 2048 };  // pairs that are sorted in shared memory

typedef struct osp_cuda_topk_pair {
    uint64_t key;   // larger is better
    uint32_t last;  // ~index: of equals the lower index is larger
    uint32_t pad;
} osp_cuda_topk_pair;

// One block a line. workspace: per line `capacity` pairs.
typedef struct osp_cuda_topk_args {
    const void *src;
    void *values;      // NULL: not wanted
    int64_t *indices;  // NULL: not wanted
    osp_cuda_topk_pair *workspace;
    osp_cuda_walk outer;  // src, values, indices
    int64_t src_step, values_step, indices_step;
    uint32_t length, k, capacity;  // capacity: a power of two, at least k
    int32_t dtype, largest;
} osp_cuda_topk_args;
extern const osp_gpu_kernel osp_cuda_k_topk[1];

// ---- index.cu -----------------------------------------------------------------------------------

// Gather and its kin: dst[i] = src[at + sum over k of index_k * step_k].
typedef struct osp_cuda_gather_args {
    void *dst;
    const void *src, *indices;
    osp_cuda_walk walk;  // dst, src without the indexed dims, indices
    int32_t depth;       // numbers of an index
    int32_t wide;        // indices are int64, else int32
    int64_t index_step;  // from one number of an index to the next
    int64_t step[8], length[8];
} osp_cuda_gather_args;

// ScatterND after the copy of the data. `winner`: per slice the last tuple that goes there, or NULL
// where updates are reduced: then one thread takes all tuples of its element, in their order.
typedef struct osp_cuda_scatter_args {
    void *dst;
    const void *updates;
    const int64_t *indices;
    int32_t *winner;
    uint32_t tuples, count;  // count: elements of a slice
    int32_t depth, dtype, how;
    int64_t index_pitch, index_step;
    int64_t step[8], length[8], slice_step[8];  // of dst, its extents, and of numbers of slices
    osp_cuda_walk slice;                        // dst, updates
    osp_cuda_walk lead;                         // tuples: indices, updates
} osp_cuda_scatter_args;
extern const osp_gpu_kernel osp_cuda_k_gather[OSP_CUDA_SIZES];
extern const osp_gpu_kernel osp_cuda_k_scatter_mark[1], osp_cuda_k_scatter_move[4],
    osp_cuda_k_scatter_reduce[1];

// ---- linear.cu ----------------------------------------------------------------------------------

enum { OSP_PRODUCT_TILE = 64, OSP_PRODUCT_THREADS_F32 = 256, OSP_PRODUCT_THREADS_F16 = 128 };

// dst = alpha * a b + beta * c for each matrix of a stack. Rows and columns by strides.
typedef struct osp_cuda_product_args {
    void *dst;
    const void *a, *b, *c;  // c NULL: none
    osp_cuda_walk stack;    // dst, a, b, c
    uint32_t first;         // matrix of the stack that block z 0 makes
    int32_t m, n, k;
    int64_t a_row, a_column, b_row, b_column, c_row, c_column, dst_row, dst_column;
    float alpha, beta;
    int32_t dtype;
    int32_t a_wide, b_wide;  // F16: 16-byte loads along the dense side are aligned
} osp_cuda_product_args;

// F16 + 2 where a is dense along m, + 1 where b is dense along n.
enum { OSP_PRODUCT_F32, OSP_PRODUCT_INT, OSP_PRODUCT_F16, OSP_PRODUCT_KERNELS = 6 };
extern const osp_gpu_kernel osp_cuda_k_product[OSP_PRODUCT_KERNELS];

enum { OSP_CUDA_TERMS = 8, OSP_CUDA_LABELS = 24 };
typedef struct osp_cuda_einsum_args {
    void *dst;
    const void *src[OSP_CUDA_TERMS];
    int32_t terms, dtype, out_rank, sum_rank;
    uint32_t count;
    osp_cuda_divisor out[8];
    int64_t out_strides[8];
    int64_t out_steps[OSP_CUDA_TERMS][8];
    int64_t sums;  // products of one element
    int32_t sum[OSP_CUDA_LABELS];
    int64_t sum_steps[OSP_CUDA_TERMS][OSP_CUDA_LABELS];
} osp_cuda_einsum_args;
extern const osp_gpu_kernel osp_cuda_k_einsum[1];

// ---- attention.cu, attention_flash.cu ------------------------------------------------------------

typedef struct osp_cuda_attention_args {
    void *dst;
    const void *q, *k, *v;
    osp_cuda_walk stack;          // dst, q, k, v
    osp_cuda_divisor row_blocks;  // of one matrix
    int32_t m, n, d, e;
    int64_t q_row, q_column, k_row, k_column, v_row, v_column, dst_row, dst_column;
    int32_t q_wide, k_wide, v_wide;  // 16-byte loads along the dense side are aligned
    int32_t dst_wide;                // neighbours of a row of the result are, and aligned by pairs
    float scale;
} osp_cuda_attention_args;

enum {
    OSP_ATTENTION_ROWS = 64,       // queries of a block in FP32
    OSP_ATTENTION_DEPTH = 128,     // largest d and e in FP16
    OSP_ATTENTION_DEPTH_F32 = 64,  // and in FP32
    OSP_ATTENTION_KEYS = 64,       // at a time
    OSP_ATTENTION_WARPS = 8        // queries of a block of the plain one
};
// One pass in FP16: warps with 16 queries each, groups of them that share the keys, and rounds of keys
// in shared memory. OSP_ATTENTION_SPLIT: for few queries.
#define OSP_ATTENTION_FLASH 4, 2, 2
#define OSP_ATTENTION_SPLIT 1, 8, 1
// Elements in shared memory of so many lines of that depth, as rows or turned, each row 8 longer.
#define OSP_ATTENTION_TILE(LINES, DEPTH)                                                           \
    ((LINES) * (DEPTH) + 8 * ((LINES) > (DEPTH) ? (LINES) : (DEPTH)))
enum { OSP_ATTENTION_F32, OSP_ATTENTION_F16 };
extern const osp_gpu_kernel osp_cuda_k_attention[2], osp_cuda_k_attention_tile[1];
// Depths 32, 64 and 128 of queries, each with values of 32, 64 and 128; the other: up to 64.
extern const osp_gpu_kernel osp_cuda_k_attention_flash[9], osp_cuda_k_attention_split[4];

// ---- window.cu, conv_plain.cu -------------------------------------------------------------------

typedef struct osp_cuda_window {
    int32_t size, stride, dilation, pad;
    int32_t in, out;
    int32_t end;  // in + padding at the end
} osp_cuda_window;

enum { OSP_POOL_MAX, OSP_POOL_AVERAGE, OSP_POOL_AVERAGE_PADDED };

// The five dims of pools in the order of the walk, which has no strides of its own.
enum { OSP_DIM_N, OSP_DIM_C, OSP_DIM_Z, OSP_DIM_Y, OSP_DIM_X, OSP_WINDOW_DIMS };

typedef struct osp_cuda_pool_args {
    void *dst;  // NULL: not wanted
    const void *src;
    int64_t *indices;  // NULL: not wanted
    uint32_t count;
    osp_cuda_divisor dims[OSP_WINDOW_DIMS];
    int32_t role[OSP_WINDOW_DIMS];  // OSP_DIM_N and so on, by dim
    int64_t dst_step[OSP_WINDOW_DIMS], src_step[OSP_WINDOW_DIMS], index_step[OSP_WINDOW_DIMS];
    osp_cuda_window window[3];  // z, y, x
    int32_t channels, kind, dtype, column_major;
} osp_cuda_pool_args;
enum { OSP_POOL_F32, OSP_POOL_F32X4, OSP_POOL_F16, OSP_POOL_F16X8, OSP_POOL_BYTE };
extern const osp_gpu_kernel osp_cuda_k_pool[5];

// Three pools in a row of windows of OSP_POOLS_SIZE, channels last. A block makes a square of all three
// results for as many channels as 16 bytes hold.
enum { OSP_POOLS_SIZE = 5, OSP_POOLS_TILE = 20, OSP_POOLS_THREADS = 256 };
typedef struct osp_cuda_pools_args {
    void *dst[3];  // NULL: not wanted
    const void *src;
    int64_t src_image, src_pixel, dst_image[3], dst_pixel[3];
    int32_t height, width, tiles_x;
} osp_cuda_pools_args;
extern const osp_gpu_kernel osp_cuda_k_pools[2];  // of float32, of float16

// Pixels are n, z, y, x; sums run over taps and channels of the group, whichever is `inner` fastest.
typedef struct osp_cuda_conv_args {
    void *dst;
    const void *src, *weights, *bias, *add;  // bias, add: NULL: none
    osp_cuda_window window[3];               // z, y, x
    int64_t src_step[OSP_WINDOW_DIMS], dst_step[OSP_WINDOW_DIMS], add_step[OSP_WINDOW_DIMS];
    int64_t weights_group, weights_oc, weights_ic;
    uint32_t pixels;
    int32_t group, group_ic, group_oc, taps;
    int32_t transposed, channels_last;  // channels_last: channels are inner
    int32_t bias_dtype, act, residual;  // osp_residual
    float alpha, beta;
    osp_cuda_divisor out[3], kernel[3], stride[3];  // z, y, x; stride of transposed windows
    osp_cuda_divisor inner, all_oc;
} osp_cuda_conv_args;
enum { OSP_CONV_TILE_F32, OSP_CONV_TILE_F16, OSP_CONV_EACH_F32, OSP_CONV_EACH_F16 };
extern const osp_gpu_kernel osp_cuda_k_conv_plain[4];

// ---- resample.cu --------------------------------------------------------------------------------

// Axes with several taps; the others are walked. Tables: per position of an axis `taps` offsets
// (the first one negative: outside) and as many weights.
typedef struct osp_cuda_resize_args {
    void *dst;
    const void *src;
    const int32_t *offsets;
    const float *weights;         // of float types
    const double *exact_weights;  // of integers
    osp_cuda_walk walk;           // dst, and src where a dim has no table
    int32_t taps[8], table[8];    // by dim of the walk; table -1: none
    float extrapolation;
    int32_t dtype;
} osp_cuda_resize_args;
extern const osp_gpu_kernel osp_cuda_k_resize[2];  // of floats, of integers

typedef struct osp_cuda_sample_args {
    void *dst;
    const void *src, *grid;
    osp_cuda_walk walk;  // points, then channels or the other way: dst, src, grid
    int32_t length[3];   // z, y, x
    int64_t step[3];     // of the source
    int64_t grid_step;   // from one number of a point to the next
    int32_t dims, mode, padding, align_corners, dtype, grid_dtype;
} osp_cuda_sample_args;
extern const osp_gpu_kernel osp_cuda_k_sample[1];

#ifdef __cplusplus
}
#endif

#endif
