// Inside the cuda backend: its families of tactics, and what they share. A family is a .c file with
// the tactics (what a problem may be, and the kernel's arguments worked out at build) and a .cu file
// with the kernels; the structs that both agree on are in kernels.h.
// Thread rule: any thread; a launch enqueues on the stream it is given and touches nothing else.
#ifndef OSP_BACKENDS_CUDA_CUDA_H
#define OSP_BACKENDS_CUDA_CUDA_H

#include "backends/arrays.h"
#include "backends/backend.h"
#include "backends/cuda/kernels.h"

// ---- Dims on the host, and the walk that a kernel makes of them (walk.c) -------------------------

typedef struct osp_cuda_dims {
    int32_t rank;
    int64_t dims[OSP_CUDA_DIMS];
    int64_t strides[OSP_CUDA_OPERANDS][OSP_CUDA_DIMS];
} osp_cuda_dims;

// One more dim, inside all others. `strides`: of `operands` operands; the rest gets 0.
void osp_cuda_dims_add(osp_cuda_dims *d, int64_t dim, const int64_t *strides, int32_t operands);
// Drops dims of 1, sorts by the strides of operand `by` (long steps outside; -1: does not sort), and
// merges dims that all operands walk alike. Leaves at least one dim.
void osp_cuda_dims_settle(osp_cuda_dims *d, int32_t by);
void osp_cuda_walk_of(osp_cuda_walk *w, const osp_cuda_dims *d);
osp_cuda_divisor osp_cuda_divisor_of(int64_t value);
// The dims of rows (osp_rows_of): destination, then sources.
void osp_cuda_dims_of_rows(osp_cuda_dims *d, const osp_rows *rows);

// How many elements of `size` bytes the last dim lets a thread move at once, up to 16 bytes: a power
// of two. Operands in `dense` are moved; those in `fixed` must not move along the last dim.
int64_t osp_cuda_unit(const osp_cuda_dims *d, uint32_t dense, uint32_t fixed, size_t size);
// The same dims in elements that are `unit` times as large.
void osp_cuda_dims_widen(osp_cuda_dims *d, uint32_t dense, int64_t unit);

// ---- What tactics share (walk.c) -----------------------------------------------------------------

// NULL, or why no kernel takes the problem: a slice that falls on no dims, more than 2^31 elements.
const char *osp_cuda_refuse(const osp_problem *p);
bool osp_cuda_is_float(const osp_operand *o);  // float32 or float16
// Steps of a map N,C,H,W; false: its pixels are not equally far from each other.
bool osp_cuda_map_of(const osp_operand *o, osp_gpu_map *out);
osp_status osp_cuda_state(osp_context *ctx, size_t size, void **state, osp_error *err);
void osp_cuda_release(osp_context *ctx, void *state);
// All work of a launch goes through these two, so that kernels which may overlap do.
osp_status osp_cuda_launch(const osp_launch *l, const osp_gpu_kernel *kernel,
                           const osp_gpu_shape *shape, const void *args, size_t bytes,
                           osp_error *err);
osp_status osp_cuda_fill(const osp_launch *l, void *dst, int value, size_t bytes, osp_error *err);
// One thread for each of `items`; nothing where there are none.
osp_status osp_cuda_each(const osp_launch *l, const osp_gpu_kernel *kernel, uint64_t items,
                         uint32_t block, const void *args, size_t bytes, osp_error *err);
static inline bool osp_cuda_aligned(const void *ptr, size_t bytes)
{
    return (uintptr_t)ptr % bytes == 0;
}
// Place of the kernel for elements of `size` bytes: 1, 2, 4, 8, 16.
static inline int32_t osp_cuda_by_size(size_t size)
{
    return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : 4;
}

// ---- Copies (move.c), for tactics that need one ---------------------------------------------------

typedef struct osp_cuda_copy {
    size_t size;
    osp_cuda_copy_args narrow, wide;
    int64_t unit;  // elements of a wide one
    bool turned;   // as a transposition
    osp_cuda_transpose_args transpose;
} osp_cuda_copy;
void osp_cuda_copy_of(osp_cuda_copy *c, const osp_copy *copy);
osp_status osp_cuda_copy_launch(const osp_cuda_copy *c, const osp_launch *l, void *dst,
                                const void *src, osp_error *err);

// ---- Tactics, by family -------------------------------------------------------------------------

extern const osp_tactic osp_cuda_move, osp_cuda_pad, osp_cuda_range, osp_cuda_constant,
    osp_cuda_point, osp_cuda_where, osp_cuda_batch_norm, osp_cuda_softmax, osp_cuda_reduce,
    osp_cuda_layer_norm, osp_cuda_topk, osp_cuda_gather, osp_cuda_scatter, osp_cuda_product,
    osp_cuda_einsum, osp_cuda_attention, osp_cuda_attention_flash, osp_cuda_attention_split,
    osp_cuda_attention_tile, osp_cuda_pool, osp_cuda_pools, osp_cuda_expectation, osp_cuda_box_head,
    osp_cuda_conv_plain, osp_cuda_resize, osp_cuda_resize_nearest, osp_cuda_sample;

// Most shared memory of a block on the largest architecture (sm_90). What a smaller one refuses to
// launch is passed over when tactics are timed.
enum { OSP_CUDA_SHARED_BYTES = 227 * 1024 };

extern const osp_tactic osp_cuda_pixel_conv;

// ---- Tactics, by family -------------------------------------------------------------------------

extern const osp_tactic osp_cuda_conv_mma[14], osp_cuda_conv_direct[9], osp_cuda_conv_wgmma[6],
    osp_cuda_conv_tma[8], osp_cuda_conv_tma_halo[8];
extern const osp_tactic osp_cuda_conv_stem, osp_cuda_conv_depthwise, osp_cuda_conv_depthwise_line;

#endif
