// The row kernels compiled for SSE2. Nothing here runs before isa.c has found the processor able.
#define OSP_SIMD osp_simd_sse2
#define OSP_SIMD_NAME "sse2"
#define LANES 4
#include "backends/cpu/simd_impl.h"
