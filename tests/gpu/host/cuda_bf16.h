// In place of CUDA's header when the kernels are compiled for the host: see host_device.h.
// Thread rule: no state.
#ifndef OSP_TESTS_HOST_CUDA_BF16_H
#define OSP_TESTS_HOST_CUDA_BF16_H

#include "host_device.h"
#include "host_math.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 v)
{
    return osp_bfloat_to_float(v.bits);
}

inline __nv_bfloat16 __float2bfloat16_rn(float v)
{
    return {osp_float_to_bfloat(v)};
}

#endif
