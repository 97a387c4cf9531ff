// float16 and bfloat16 as bit patterns, rounded to nearest even, NaN and infinity kept.
#ifndef OSP_BASE_HALF_H
#define OSP_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t osp_float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float osp_bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float osp_half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, frac = h & 1023;
    if (exponent == 31)
        return osp_bits_float(sign | 0x7F800000 | frac << 13);
    if (exponent)
        return osp_bits_float(sign | (exponent + 112) << 23 | frac << 13);
    float x = (float)frac * 0x1p-24f;  // subnormal or zero
    return sign ? -x : x;
}

static inline uint16_t osp_float_to_half(float x)
{
    uint32_t u = osp_float_bits(x), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    if (a > 0x7F800000)
        return (uint16_t)(sign | 0x7E00);
    if (a >= 0x477FF000)  // 65520 and above round to infinity
        return (uint16_t)(sign | 0x7C00);
    if (a < 0x38800000) {  // below 2^-14: adding 0.5 aligns and rounds the subnormal's bits
        uint32_t r = osp_float_bits(osp_bits_float(a) + 0.5f);
        return (uint16_t)(sign | (r - 0x3F000000));
    }
    uint32_t rounded = a + 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static inline float osp_bfloat_to_float(uint16_t b)
{
    return osp_bits_float((uint32_t)b << 16);
}

static inline uint16_t osp_float_to_bfloat(float x)
{
    uint32_t u = osp_float_bits(x);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

#endif
