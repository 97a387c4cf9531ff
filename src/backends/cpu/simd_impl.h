// The row kernels, for one instruction set. Included by simd_sse2.c, simd_avx2.c and simd_avx512.c,
// which are compiled for their set and define OSP_SIMD (the table's name), OSP_SIMD_NAME and LANES.
// Plain loops that the compiler vectorises; only the convolution tiles name vectors.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/simd.h"
#include "base/half.h"

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float vec_any __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline __attribute__((always_inline)) vec vec_load(const float *p)
{
    return (vec) * (const vec_any *)p;
}

static inline __attribute__((always_inline)) void vec_store(float *p, vec x)
{
    *(vec_any *)p = x;
}

static inline __attribute__((always_inline)) vec vec_set(float x)
{
    return x - (vec){0};
}

// The larger of each; b where they are not ordered.
static inline __attribute__((always_inline)) vec vec_max(vec a, vec b)
{
#if LANES == 16
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#endif
}

// ---- Scalar mathematics, free of branches -------------------------------------------------------

static inline __attribute__((always_inline)) float pick(int yes, float a, float b)
{
    return yes ? a : b;
}

// 2^f on [-0.5, 0.5]: a fit with relative error below 1e-7.
static inline __attribute__((always_inline)) float exp2_small(float f)
{
    float p = 1.326472663e-3f;
    p = p * f + 9.671512961e-3f;
    p = p * f + 5.550733748e-2f;
    p = p * f + 2.402224208e-1f;
    p = p * f + 6.931469776e-1f;
    return p * f + 1.0f;
}

// e^x; 0 below -87.3, infinity above 88.7.
static inline __attribute__((always_inline)) float fast_exp(float x)
{
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const float low = pick(x < -87.3f, -87.3f, x), both = pick(low > 88.7f, 88.7f, low);
    const float shifted = both * 1.44269504f + magic, n = shifted - magic;
    // ln 2 in two parts keeps the remainder exact.
    const float f = (both - n * 0.693359375f + n * 2.12194440e-4f) * 1.44269504f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;  // the magic's own bits leave at the top
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    const float y = exp2_small(f) * scale;
    return pick(x > 88.7228f, INFINITY, pick(x < -87.3f, 0.0f, y));
}

static inline __attribute__((always_inline)) float fast_sigmoid(float x)
{
    return 1.0f / (1.0f + fast_exp(-x));
}

static inline __attribute__((always_inline)) float fast_tanh(float x)
{
    const float e = fast_exp(-2.0f * fabsf(x)), x2 = x * x;
    const float small = x * (1.0f + x2 * (-0.33333334f + x2 * (0.13333334f - x2 * 0.053968254f)));
    return pick(x2 < 0.01f, small, copysignf((1.0f - e) / (1.0f + e), x));
}

// Abramowitz and Stegun 7.1.26: within 1.5e-7.
static inline __attribute__((always_inline)) float fast_erf(float x)
{
    const float a = fabsf(x), t = 1.0f / (1.0f + 0.3275911f * a);
    const float p = t * (0.254829592f +
                         t * (-0.284496736f +
                              t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return copysignf(1.0f - p * fast_exp(-a * a), x);
}

// Mantissa in [sqrt(1/2), sqrt(2)), then the series of atanh.
static inline __attribute__((always_inline)) float fast_log(float x)
{
    const float scaled = pick(x < 1.17549435e-38f, x * 8388608.0f, x);
    const float extra = pick(x < 1.17549435e-38f, -23.0f, 0.0f);
    uint32_t u;
    memcpy(&u, &scaled, sizeof u);
    const uint32_t shifted = u - 0x3F3504F3u;
    const float e = (float)((int32_t)shifted >> 23) + extra;
    const uint32_t mantissa = (shifted & 0x7FFFFFu) + 0x3F3504F3u;
    float m;
    memcpy(&m, &mantissa, sizeof m);
    const float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    const float p = 2.0f * s *
                    (1.0f +
                     s2 * (0.33333334f + s2 * (0.2f + s2 * (0.14285715f + s2 * 0.11111111f))));
    const float y = e * 0.693359375f + (p - e * 2.12194440e-4f);
    const float zero = pick(x == 0.0f, -INFINITY, pick(x < 0.0f, NAN, y));
    return pick(x == INFINITY || x != x, x, zero);
}

static inline __attribute__((always_inline)) float clamp(float x, float low, float high)
{
    const float up = pick(x < low, low, x);
    return pick(up > high, high, up);
}

#if LANES == 16

// factor * sigmoid(x). The exponent's integer part goes through scalef, the division through an
// estimate and one Newton step: 14 instructions where a general exp and a divide take 30.
static inline __attribute__((always_inline)) vec vec_gate(vec value, vec factor)
{
    const __m512 x = (__m512)value;
    const __m512 z = _mm512_min_ps(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f)),
                                   _mm512_set1_ps(126.0f));
    const __m512 f = _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // [0, 1)
    __m512 p = _mm512_set1_ps(1.877576528e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(8.989340831e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.582631702e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.401536176e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.931530731e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999999251e-1f));
    const __m512 d = _mm512_add_ps(_mm512_scalef_ps(p, z), _mm512_set1_ps(1.0f));
    const __m512 r = _mm512_rcp14_ps(d);
    const __m512 e = _mm512_fnmadd_ps(d, r, _mm512_set1_ps(1.0f));
    const __m512 xr = _mm512_mul_ps((__m512)factor, r);
    return (vec)_mm512_fmadd_ps(xr, e, xr);
}

static inline __attribute__((always_inline)) void vec_store_some(float *p, vec x, int32_t count)
{
    const __mmask16 mask = count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
    _mm512_mask_storeu_ps(p, mask, (__m512)x);
}

static inline __attribute__((always_inline)) vec vec_load_some(const float *p, int32_t count)
{
    const __mmask16 mask = count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
    return (vec)_mm512_maskz_loadu_ps(mask, p);
}
#else
static inline __attribute__((always_inline)) vec vec_gate(vec value, vec factor)
{
    float x[LANES];
    vec_store(x, value);
    for (int32_t i = 0; i < LANES; i++)
        x[i] = fast_sigmoid(x[i]);
    return vec_load(x) * factor;
}

static inline __attribute__((always_inline)) void vec_store_some(float *p, vec x, int32_t count)
{
    if (count >= LANES)
        vec_store(p, x);
    else if (count > 0)
        memcpy(p, &x, (size_t)count * sizeof *p);
}

static inline __attribute__((always_inline)) vec vec_load_some(const float *p, int32_t count)
{
    vec x = {0};
    if (count >= LANES)
        return vec_load(p);
    if (count > 0)
        memcpy(&x, p, (size_t)count * sizeof *p);
    return x;
}
#endif

static inline __attribute__((always_inline)) vec vec_silu(vec x)
{
    return vec_gate(x, x);
}

// dst = sigmoid(src), times src if `self`.
static void gate_row(float *dst, const float *src, int64_t n, bool self)
{
    const vec one = vec_set(1.0f);
    for (int64_t i = 0; i < n; i += LANES) {
        const int32_t count = (int32_t)(n - i < LANES ? n - i : LANES);
        const vec x = vec_load_some(src + i, count);
        vec_store_some(dst + i, vec_gate(x, self ? x : one), count);
    }
}

#define UNARY_LOOP(expression)                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const float x = src[i];                                                                    \
        dst[i] = (expression);                                                                     \
    }                                                                                              \
    break

static void unary_row(osp_unary op, float *dst, const float *src, int64_t n, float alpha,
                      float beta)
{
    switch (op) {
    case OSP_U_COPY:
        if (n && dst != src)
            memmove(dst, src, (size_t)n * sizeof *dst);
        break;
    case OSP_U_RELU:
        UNARY_LOOP(pick(x < 0.0f, 0.0f, x));
    case OSP_U_SILU:
        gate_row(dst, src, n, true);
        break;
    case OSP_U_LEAKY_RELU:
        UNARY_LOOP(pick(x < 0.0f, alpha * x, x));
    case OSP_U_SIGMOID:
        gate_row(dst, src, n, false);
        break;
    case OSP_U_HARD_SIGMOID:
        UNARY_LOOP(clamp(alpha * x + beta, 0.0f, 1.0f));
    case OSP_U_HARD_SWISH:
        UNARY_LOOP(x * clamp(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f));
    case OSP_U_CLIP:
        UNARY_LOOP(clamp(x, alpha, beta));
    case OSP_U_TANH:
        UNARY_LOOP(fast_tanh(x));
    case OSP_U_GELU:
        UNARY_LOOP(0.5f * x * (1.0f + fast_erf(x * 0.70710678f)));
    case OSP_U_GELU_TANH:
        UNARY_LOOP(0.5f * x * (1.0f + fast_tanh(0.79788456f * (x + 0.044715f * x * x * x))));
    case OSP_U_EXP:
        UNARY_LOOP(fast_exp(x));
    case OSP_U_LOG:
        UNARY_LOOP(fast_log(x));
    case OSP_U_SQRT:
        UNARY_LOOP(sqrtf(x));
    case OSP_U_ERF:
        UNARY_LOOP(fast_erf(x));
    case OSP_U_FLOOR:
        UNARY_LOOP(floorf(x));
    case OSP_U_SIN:
        UNARY_LOOP(sinf(x));
    case OSP_U_COS:
        UNARY_LOOP(cosf(x));
    case OSP_U_COUNT:
        break;
    }
}

#define BINARY_LOOP(expression)                                                                    \
    if (a_step && b_step) {                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float x = a[i], y = b[i];                                                        \
            dst[i] = (expression);                                                                 \
        }                                                                                          \
    } else if (a_step) {                                                                           \
        const float y = b[0];                                                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float x = a[i];                                                                  \
            dst[i] = (expression);                                                                 \
        }                                                                                          \
    } else {                                                                                       \
        const float x = a[0];                                                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float y = b[i * b_step];                                                         \
            dst[i] = (expression);                                                                 \
        }                                                                                          \
    }                                                                                              \
    break

static void binary_row(osp_binary op, float *dst, const float *a, int64_t a_step, const float *b,
                       int64_t b_step, int64_t n)
{
    switch (op) {
    case OSP_B_ADD:
        BINARY_LOOP(x + y);
    case OSP_B_SUB:
        BINARY_LOOP(x - y);
    case OSP_B_MUL:
        BINARY_LOOP(x * y);
    case OSP_B_DIV:
        BINARY_LOOP(x / y);
    case OSP_B_MIN:
        BINARY_LOOP(pick(x < y || x != x, x, y));
    case OSP_B_MAX:
        BINARY_LOOP(pick(x > y || x != x, x, y));
    case OSP_B_POW:
        if (!b_step && b[0] == 2.0f) {
            BINARY_LOOP(x * x + 0.0f * y);
        }
        BINARY_LOOP(powf(x, y));
    case OSP_B_COUNT:
        break;
    }
}

static void max_rows(float *dst, const float *const *src, int32_t count, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        vec m0 = vec_load(src[0] + i), m1 = vec_load(src[0] + i + LANES);
        vec m2 = vec_load(src[0] + i + 2 * LANES), m3 = vec_load(src[0] + i + 3 * LANES);
        for (int32_t k = 1; k < count; k++) {
            const float *from = src[k] + i;
            m0 = vec_max(vec_load(from), m0);
            m1 = vec_max(vec_load(from + LANES), m1);
            m2 = vec_max(vec_load(from + 2 * LANES), m2);
            m3 = vec_max(vec_load(from + 3 * LANES), m3);
        }
        vec_store(dst + i, m0);
        vec_store(dst + i + LANES, m1);
        vec_store(dst + i + 2 * LANES, m2);
        vec_store(dst + i + 3 * LANES, m3);
    }
    for (; i < n; i++) {
        float m = src[0][i];
        for (int32_t k = 1; k < count; k++)
            m = pick(src[k][i] > m, src[k][i], m);
        dst[i] = m;
    }
}

static void sum_rows(float *dst, const float *const *src, int32_t count, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[0][i];
    for (int32_t k = 1; k < count; k++)
        for (int64_t i = 0; i < n; i++)
            dst[i] += src[k][i];
    for (int64_t i = 0; i < n; i++)
        dst[i] *= scale;
}

static void weighted_rows(float *dst, const float *src, int64_t step, const float *weights,
                          int32_t count, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        const float *from = src + i;
        for (int32_t k = 0; k < count; k++, from += step) {
            const vec w = vec_set(weights[k]);
            s0 += w * vec_load(from);
            s1 += w * vec_load(from + LANES);
            s2 += w * vec_load(from + 2 * LANES);
            s3 += w * vec_load(from + 3 * LANES);
        }
        vec_store(dst + i, s0);
        vec_store(dst + i + LANES, s1);
        vec_store(dst + i + 2 * LANES, s2);
        vec_store(dst + i + 3 * LANES, s3);
    }
    for (; i < n; i++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++)
            sum += weights[k] * src[k * step + i];
        dst[i] = sum;
    }
}

static float max_row(const float *src, int64_t n)
{
    float m = src[0];
    int64_t i = 0;
    if (n >= LANES) {
        vec v = vec_load(src);
        for (i = LANES; i + LANES <= n; i += LANES)
            v = vec_max(vec_load(src + i), v);
        for (int32_t k = 0; k < LANES; k++)
            m = pick(v[k] > m, v[k], m);
    }
    for (; i < n; i++)
        m = pick(src[i] > m, src[i], m);
    return m;
}

static double sum_row(const float *src, int64_t n)
{
    double total = 0;
    while (n > 0) {  // blocks keep the rounding of long sums small
        const int64_t block = n < 1024 ? n : 1024;
        vec v = {0};
        int64_t i = 0;
        for (; i + LANES <= block; i += LANES)
            v += vec_load(src + i);
        float rest = 0;
        for (; i < block; i++)
            rest += src[i];
        for (int32_t k = 0; k < LANES; k++)
            rest += v[k];
        total += (double)rest;
        src += block;
        n -= block;
    }
    return total;
}

static float exp_sum(float *dst, const float *src, int64_t n, float shift)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = fast_exp(src[i] - shift);
    return (float)sum_row(dst, n);
}

static void scale_row(float *dst, const float *src, int64_t n, float factor)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[i] * factor;
}

static void softmax_columns(float *dst, int64_t dst_step, const float *src, int64_t src_step,
                            int64_t rows, int64_t n)
{
    float high[OSP_SOFTMAX_COLUMNS], sum[OSP_SOFTMAX_COLUMNS];
    for (int64_t i = 0; i < n; i++) {
        high[i] = src[i];
        sum[i] = 0;
    }
    for (int64_t r = 1; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            high[i] = pick(src[r * src_step + i] > high[i], src[r * src_step + i], high[i]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            const float e = fast_exp(src[r * src_step + i] - high[i]);
            dst[r * dst_step + i] = e;
            sum[i] += e;
        }
    for (int64_t i = 0; i < n; i++)
        sum[i] = 1.0f / sum[i];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            dst[r * dst_step + i] *= sum[i];
}

static void layer_norm_row(float *dst, const float *src, const float *weight, const float *bias,
                           int64_t n, float epsilon, float *mean_out, float *inv_out)
{
    const float mean = (float)(sum_row(src, n) / (double)n);
    float squares = 0;
    {
        vec v = {0};
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            const vec d = vec_load(src + i) - vec_set(mean);
            v += d * d;
        }
        for (; i < n; i++)
            squares += (src[i] - mean) * (src[i] - mean);
        for (int32_t k = 0; k < LANES; k++)
            squares += v[k];
    }
    const float inv = 1.0f / sqrtf(squares / (float)n + epsilon);
    if (weight && bias)
        for (int64_t i = 0; i < n; i++)
            dst[i] = (src[i] - mean) * inv * weight[i] + bias[i];
    else
        for (int64_t i = 0; i < n; i++)
            dst[i] = (src[i] - mean) * inv * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
    *mean_out = mean;
    *inv_out = inv;
}

static void blend4(float *dst, const float *const src[4], const float weight[4], int64_t n)
{
    const float *a = src[0], *b = src[1], *c = src[2], *d = src[3];
    const float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
    for (int64_t i = 0; i < n; i++)
        dst[i] = a[i] * wa + b[i] * wb + (c[i] * wc + d[i] * wd);
}

static void bfloat_to_float(float *dst, const uint16_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = (uint32_t)src[i] << 16;
        memcpy(dst + i, &u, sizeof u);
    }
}

static void float_to_bfloat(uint16_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, src + i, sizeof u);
        const uint32_t rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
        dst[i] = (uint16_t)((u & 0x7FFFFFFF) > 0x7F800000 ? (u >> 16 | 0x40) : rounded);
    }
}

#include "backends/cpu/simd_conv.h"
#include "backends/cpu/simd_transpose.h"
#include "backends/cpu/simd_winograd.h"

const osp_simd OSP_SIMD = {
    .name = OSP_SIMD_NAME,
    .lanes = LANES,
    .conv = CONV_KERNELS,
    .planes = PLANES_KERNELS,
    .depthwise = depthwise_run,
    .winograd_in = winograd_in,
    .winograd = WINOGRAD_KERNELS,
    .winograd_out = winograd_out,
    .unary = unary_row,
    .binary = binary_row,
    .max_rows = max_rows,
    .sum_rows = sum_rows,
    .weighted_rows = weighted_rows,
    .max = max_row,
    .sum = sum_row,
    .exp_sum = exp_sum,
    .scale = scale_row,
    .softmax_columns = softmax_columns,
    .layer_norm = layer_norm_row,
    .transpose4 = transpose4,
    .transpose2 = transpose2,
    .blend4 = blend4,
    .bfloat_to_float = bfloat_to_float,
    .float_to_bfloat = float_to_bfloat,
};
