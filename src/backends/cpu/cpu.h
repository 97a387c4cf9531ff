// Inside the cpu backend: threads, instruction sets, and what the tactic families share.
// Thread rule: any thread.
#ifndef OSP_BACKENDS_CPU_CPU_H
#define OSP_BACKENDS_CPU_CPU_H

#include "backends/backend.h"
#include "backends/cpu/simd.h"

// ---- Instruction sets (isa.c) -------------------------------------------------------------------

typedef enum osp_isa { OSP_ISA_SSE2 = 0, OSP_ISA_AVX2 = 1, OSP_ISA_AVX512 = 2 } osp_isa;

osp_isa osp_cpu_isa(void);    // the best this processor and this build have
bool osp_cpu_has_bf16(void);  // AVX-512 BF16 or AMX: bfloat16 pays off
// The row kernels of the best set, or of a given one that the processor has.
const osp_simd *osp_cpu_simd(void);
const osp_simd *osp_cpu_simd_of(osp_isa isa);

// ---- Threads (parallel.c) -----------------------------------------------------------------------

// Shares [0, count) out among `threads`, and calls fn for a piece of it at a time, several pieces
// for each thread. Runs on the calling thread alone when `cost` (in nanoseconds for an item) says
// that waking others is not worth it.
typedef void (*osp_range_fn)(void *user, int32_t thread, int64_t begin, int64_t end);
void osp_cpu_parallel(osp_threads threads, int64_t count, double cost, osp_range_fn fn, void *user);
int32_t osp_cpu_set_threads(int32_t threads);

// ---- Operands -----------------------------------------------------------------------------------

// An operand as an array in memory order, with element strides and no dims of size 1.
// CHANNELS_LAST becomes N,H,W,C.
typedef struct osp_array {
    int32_t rank;
    int64_t dims[OSP_MAX_RANK + 1];
    int64_t strides[OSP_MAX_RANK + 1];
} osp_array;

// Element strides of each logical dim (N,C,H,W order for rank 4). false: the rows of a slice do not
// fall on dims.
bool osp_operand_strides(const osp_operand *o, int64_t strides[OSP_MAX_RANK]);

static inline int64_t osp_operand_count(const osp_operand *o)
{
    return osp_shape_span(&o->shape, 0, o->shape.rank);
}

static inline bool osp_operand_is(const osp_operand *o, osp_dtype dtype)
{
    return o->dtype == dtype;
}

// NULL if all operands are dense and plain, else why not.
const char *osp_refuse_not_plain(const osp_problem *p);

// An N-d copy between any strides (copy.c): dims and element strides in the same order.
typedef struct osp_copy {
    int32_t rank;
    int64_t dims[2 * OSP_MAX_RANK];
    int64_t dst_strides[2 * OSP_MAX_RANK], src_strides[2 * OSP_MAX_RANK];
    size_t size;  // of an element
} osp_copy;
void osp_copy_add_dim(osp_copy *c, int64_t dim, int64_t dst_stride, int64_t src_stride);
// Merges and sorts dims, longest steps first. Call once before running.
void osp_copy_settle(osp_copy *c);
void osp_copy_run(const osp_copy *c, void *dst, const void *src, osp_threads threads);

// ---- Tactics, by family -------------------------------------------------------------------------

extern const osp_tactic osp_cpu_conv_depthwise_bf16, osp_cpu_conv_amx, osp_cpu_conv_avx512,
    osp_cpu_attention_bf16, osp_cpu_matmul_bf16;
extern const osp_tactic osp_cpu_conv_direct_avx512, osp_cpu_conv_direct_avx2,
    osp_cpu_conv_direct_sse2, osp_cpu_conv_winograd_avx512, osp_cpu_conv_winograd_avx2,
    osp_cpu_conv_planes, osp_cpu_conv_depthwise, osp_cpu_conv_dnnl, osp_cpu_deconv_dnnl,
    osp_cpu_matmul_direct, osp_cpu_matmul_row, osp_cpu_pool_rows, osp_cpu_unary, osp_cpu_binary,
    osp_cpu_where, osp_cpu_cast, osp_cpu_not, osp_cpu_copy, osp_cpu_concat, osp_cpu_split,
    osp_cpu_pad, osp_cpu_resize_rows, osp_cpu_softmax, osp_cpu_layer_norm, osp_cpu_reduce,
    osp_cpu_gather, osp_cpu_gather_elements, osp_cpu_gather_nd, osp_cpu_scatter_nd, osp_cpu_topk,
    osp_cpu_grid_sample, osp_cpu_attention;

#endif
