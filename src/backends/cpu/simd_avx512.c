// The row kernels compiled for AVX-512. Nothing here runs before isa.c has found the processor able.
#define OSP_SIMD osp_simd_avx512
#define OSP_SIMD_NAME "avx512"
#define LANES 16
#include "backends/cpu/simd_impl.h"
