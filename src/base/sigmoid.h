// The logistic function with the same bits on the CPU and on a GPU: each has an expf of its own,
// which differ in the last bit. Written in operations that both round alike; compile without fused
// multiply-add (-ffp-contract=off, -fmad=false). Plain C, also CUDA C++. Thread rule: pure.
#ifndef OSP_BASE_SIGMOID_H
#define OSP_BASE_SIGMOID_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define OSP_ANYWHERE static inline __host__ __device__
#else
#define OSP_ANYWHERE static inline
#endif

// e^v rounded to float, for |v| < 700: 2^n times the Taylor series of the rest, in double. The error
// is below 0.50001 units of the last place.
OSP_ANYWHERE float osp_exp_rounded(double v)
{
    const double log2e = 1.4426950408889634, ln2_high = 0.6931471803691238,
                 ln2_low = 1.9082149292705877e-10;
    const int n = (int)(v * log2e + (v < 0 ? -0.5 : 0.5));
    const double r = (v - n * ln2_high) - n * ln2_low;
    double sum = 1;
    for (int k = 13; k >= 1; k--)  // |r| < 0.35: the next term is below 2^-60
        sum = 1 + sum * r / k;
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return (float)(sum * power);
}

// 1 / (1 + e^-x) in float; NaN stays.
OSP_ANYWHERE float osp_sigmoid(float x)
{
    if (!(x < 104))
        return x != x ? x : 1;
    if (x < -89)  // e^-x is beyond float
        return 0;
    return 1 / (1 + osp_exp_rounded(-(double)x));
}

#endif
