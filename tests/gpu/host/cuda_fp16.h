// In place of CUDA's header when the kernels are compiled for the host: see host_device.h. Halves are
// their bits; arithmetic is in float, rounded. Thread rule: no state.
#ifndef OSP_TESTS_HOST_CUDA_FP16_H
#define OSP_TESTS_HOST_CUDA_FP16_H

#include "host_device.h"
#include "host_math.h"

struct __half {
    uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
typedef __half half;
typedef __half2 half2;

inline float __half2float(__half v)
{
    return osp_half_to_float(v.bits);
}

inline __half __float2half_rn(float v)
{
    return {osp_float_to_half(v)};
}

inline __half __float2half(float v)
{
    return __float2half_rn(v);
}

inline __half __ushort_as_half(unsigned short v)
{
    return {v};
}

inline unsigned short __half_as_ushort(__half v)
{
    return v.bits;
}

inline float2 __half22float2(__half2 v)
{
    return {__half2float(v.x), __half2float(v.y)};
}

inline __half2 __floats2half2_rn(float x, float y)
{
    return {__float2half_rn(x), __float2half_rn(y)};
}

inline __half2 __float22half2_rn(float2 v)
{
    return __floats2half2_rn(v.x, v.y);
}

inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}

inline __half2 __half2half2(__half x)
{
    return {x, x};
}

inline float __low2float(__half2 v)
{
    return __half2float(v.x);
}

inline float __high2float(__half2 v)
{
    return __half2float(v.y);
}

inline __half __hadd(__half a, __half b)
{
    return __float2half_rn(__half2float(a) + __half2float(b));
}

inline __half __hmul(__half a, __half b)
{
    return __float2half_rn(__half2float(a) * __half2float(b));
}

// A NaN gives way to a number.
inline __half __hmax(__half a, __half b)
{
    return __float2half_rn(std::fmax(__half2float(a), __half2float(b)));
}

inline __half2 __hadd2(__half2 a, __half2 b)
{
    return {__hadd(a.x, b.x), __hadd(a.y, b.y)};
}

inline __half2 __hmul2(__half2 a, __half2 b)
{
    return {__hmul(a.x, b.x), __hmul(a.y, b.y)};
}

inline __half2 __hmax2(__half2 a, __half2 b)
{
    return {__hmax(a.x, b.x), __hmax(a.y, b.y)};
}

// The product is not rounded: a double holds it and the sum.
inline __half __hfma(__half a, __half b, __half c)
{
    return __float2half_rn(
        (float)((double)__half2float(a) * (double)__half2float(b) + (double)__half2float(c)));
}

inline __half2 __hfma2(__half2 a, __half2 b, __half2 c)
{
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}

#endif
