// The row kernels compiled for AVX2. Nothing here runs before isa.c has found the processor able.
#define OSP_SIMD osp_simd_avx2
#define OSP_SIMD_NAME "avx2"
#define LANES 8
#include "backends/cpu/simd_impl.h"
