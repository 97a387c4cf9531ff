// CUDA's vectors and arithmetic functions for the host compiler: see host_device.h.
// Thread rule: no state.
#ifndef OSP_TESTS_HOST_MATH_H
#define OSP_TESTS_HOST_MATH_H

#include <cmath>
#include <cstdint>

#include "base/half.h"

// ---- Vectors, aligned as CUDA's -----------------------------------------------------------------

struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

inline int2 make_int2(int x, int y)
{
    return {x, y};
}

inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}

inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

inline float2 make_float2(float x, float y)
{
    return {x, y};
}

inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

// ---- Integers -----------------------------------------------------------------------------------

inline int __ffs(unsigned v)
{
    return __builtin_ffs((int)v);
}

inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

inline int __clz(int v)
{
    return v ? __builtin_clz((unsigned)v) : 32;
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}

inline unsigned __dp2a(unsigned a, unsigned b, unsigned c)
{
    return c + (a & 0xFFFF) * (b & 255) + (a >> 16) * (b >> 8 & 255);
}

inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c)
{
    return __dp2a(a, b, c);
}

inline unsigned __dp2a_hi(unsigned a, unsigned b, unsigned c)
{
    return __dp2a(a, b >> 16, c);
}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}

inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector)
{
    const uint64_t bytes = (uint64_t)y << 32 | x;
    unsigned out = 0;
    for (int i = 0; i < 4; i++)
        out |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return out;
}

template <typename T> T min(T a, T b)
{
    return b < a ? b : a;
}

template <typename T> T max(T a, T b)
{
    return a < b ? b : a;
}

// ---- Floats -------------------------------------------------------------------------------------

inline double __dmul_rn(double a, double b)
{
    return a * b;
}

inline double __dsub_rn(double a, double b)
{
    return a - b;
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline float __fsub_rn(float a, float b)
{
    return a - b;
}

inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}

// CUDA's fast ones: as exact here as the host has them.
inline float __fdividef(float a, float b)
{
    return a / b;
}

inline float __frcp_rn(float a)
{
    return 1 / a;
}

inline float __expf(float x)
{
    return std::exp(x);
}

inline float __logf(float x)
{
    return std::log(x);
}

inline float rsqrtf(float x)
{
    return 1 / std::sqrt(x);
}

inline float __double2float_rn(double v)
{
    return (float)v;
}

inline int __float2int_rn(float v)
{
    return (int)std::nearbyintf(v);
}

inline unsigned __float_as_uint(float v)
{
    return osp_float_bits(v);
}

inline int __float_as_int(float v)
{
    return (int)osp_float_bits(v);
}

inline float __uint_as_float(unsigned v)
{
    return osp_bits_float(v);
}

inline float __int_as_float(int v)
{
    return osp_bits_float((unsigned)v);
}

using std::isfinite;

#endif
