// What this processor has. Asked from the processor each time: there is nothing to remember.
#include "backends/cpu/bf16.h"

osp_isa osp_cpu_isa(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return OSP_ISA_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? OSP_ISA_AVX2
                                                                           : OSP_ISA_SSE2;
}

bool osp_cpu_has_bf16(void)
{
    return osp_cpu_isa() == OSP_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
}

const osp_simd *osp_cpu_simd_of(osp_isa isa)
{
    return isa == OSP_ISA_AVX512 ? &osp_simd_avx512
           : isa == OSP_ISA_AVX2 ? &osp_simd_avx2
                                 : &osp_simd_sse2;
}

const osp_simd *osp_cpu_simd(void)
{
    return osp_cpu_simd_of(osp_cpu_isa());
}

const char *osp_cpu_isa_name(void)
{
    static const char *const names[] = {"sse2", "avx2", "avx512"};
    if (!osp_bf16_amx.refuse())
        return "avx512_amx";
    return osp_cpu_has_bf16() ? "avx512_bf16" : names[osp_cpu_isa()];
}
