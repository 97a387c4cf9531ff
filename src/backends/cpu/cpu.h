// Inside the cpu backend: threads, instruction sets, and what the tactic families share.
// Thread rule: any thread.
#ifndef OSP_BACKENDS_CPU_CPU_H
#define OSP_BACKENDS_CPU_CPU_H

#include "backends/arrays.h"
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

// ---- Copies (copy.c) -----------------------------------------------------------------------------

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
