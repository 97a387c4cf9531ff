// Bilinear rows in fixed point, in plain C and for AVX2. Thread rule: pure functions.
#include "vision/letterbox_rows.h"

static void across_from(int16_t *dst, size_t stride, const uint8_t *src, const osp_row_taps *taps,
                        int channels, int32_t first)
{
    for (int32_t i = first; i < taps->count; i++) {
        const uint8_t *p = src + taps->offset[i], *q = p + taps->step;
        const int w0 = taps->weight[i * OSP_ROW_TAP_WORDS];
        const int w1 = taps->weight[i * OSP_ROW_TAP_WORDS + 1];
        for (int c = 0; c < channels; c++)
            dst[(size_t)c * stride + (size_t)i] = (int16_t)((p[c] * w0 + q[c] * w1) >> 4);
    }
}

static void across_plain(int16_t *dst, size_t stride, const uint8_t *src, const osp_row_taps *taps,
                         int channels)
{
    across_from(dst, stride, src, taps, channels, 0);
}

static inline int down_one(int s0, int s1, int w0, int w1)
{
    return ((s0 * w0 >> 16) + (s1 * w1 >> 16) + 2) >> 2;  // at most 255: w0 + w1 is 2048
}

static void down_u8_plain(uint8_t *dst, const int16_t *row0, const int16_t *row1, int w0, int w1,
                          int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        dst[i] = (uint8_t)down_one(row0[i], row1[i], w0, w1);
}

static void down_f32_plain(float *dst, const int16_t *row0, const int16_t *row1, int w0, int w1,
                           int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        dst[i] = (float)down_one(row0[i], row1[i], w0, w1) / 255.0f;
}

static const osp_row_ops plain = {across_plain, down_u8_plain, down_f32_plain};

const osp_row_ops *osp_row_ops_plain(void)
{
    return &plain;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

// Two columns: both pixels of each as pairs of words (p q) per channel, times their weights.
AVX2 static inline __m256i two_columns(const uint8_t *src, const osp_row_taps *taps, int32_t i,
                                       __m256i pairs)
{
    const __m128i a = _mm_loadl_epi64((const __m128i *)(src + taps->offset[i]));
    const __m128i b = _mm_loadl_epi64((const __m128i *)(src + taps->offset[i + 1]));
    const __m256i words = _mm256_shuffle_epi8(_mm256_set_m128i(b, a), pairs);
    const __m256i weights = _mm256_loadu_si256(
        (const __m256i *)(taps->weight + i * OSP_ROW_TAP_WORDS));
    return _mm256_srai_epi32(_mm256_madd_epi16(words, weights), 4);
}

// Eight columns at a time, then four 4x4 transposes of words in registers.
AVX2 static void across_avx2(int16_t *dst, size_t stride, const uint8_t *src,
                             const osp_row_taps *taps, int channels)
{
    if (channels == 1) {
        across_from(dst, stride, src, taps, 1, 0);
        return;
    }
    const char n = (char)0x80, s = (char)taps->step;  // n: a zero byte
    const __m256i pairs = _mm256_setr_epi8(
        0, n, s, n, 1, n, (char)(s + 1), n, 2, n, (char)(s + 2), n, n, n, n, n,  //
        0, n, s, n, 1, n, (char)(s + 1), n, 2, n, (char)(s + 2), n, n, n, n, n);
    int32_t i = 0;
    for (; i + 8 <= taps->wide; i += 8) {
        const __m256i v01 = two_columns(src, taps, i, pairs);
        const __m256i v23 = two_columns(src, taps, i + 2, pairs);
        const __m256i v45 = two_columns(src, taps, i + 4, pairs);
        const __m256i v67 = two_columns(src, taps, i + 6, pairs);
        const __m256i a = _mm256_packs_epi32(v01, v23);  // columns 0 2 | 1 3, channels within
        const __m256i b = _mm256_packs_epi32(v45, v67);  // 4 6 | 5 7
        const __m256i u = _mm256_unpacklo_epi16(a, b);   // 0 4 by channel | 1 5
        const __m256i v = _mm256_unpackhi_epi16(a, b);   // 2 6 | 3 7
        const __m256i rg = _mm256_unpacklo_epi16(u, v);  // r 0 2 4 6, g 0 2 4 6 | 1 3 5 7
        const __m256i bx = _mm256_unpackhi_epi16(u, v);
        const __m128i even = _mm256_castsi256_si128(rg), odd = _mm256_extracti128_si256(rg, 1);
        const __m128i third = _mm_unpacklo_epi16(_mm256_castsi256_si128(bx),
                                                 _mm256_extracti128_si256(bx, 1));
        _mm_storeu_si128((__m128i *)(dst + i), _mm_unpacklo_epi16(even, odd));
        _mm_storeu_si128((__m128i *)(dst + stride + i), _mm_unpackhi_epi16(even, odd));
        _mm_storeu_si128((__m128i *)(dst + 2 * stride + i), third);
    }
    across_from(dst, stride, src, taps, channels, i);
}

AVX2 static inline __m256i down_16(const int16_t *row0, const int16_t *row1, __m256i w0, __m256i w1)
{
    const __m256i s0 = _mm256_mulhi_epi16(_mm256_loadu_si256((const __m256i *)row0), w0);
    const __m256i s1 = _mm256_mulhi_epi16(_mm256_loadu_si256((const __m256i *)row1), w1);
    return _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(s0, s1), _mm256_set1_epi16(2)), 2);
}

AVX2 static void down_u8_avx2(uint8_t *dst, const int16_t *row0, const int16_t *row1, int w0,
                              int w1, int32_t count)
{
    const __m256i v0 = _mm256_set1_epi16((short)w0), v1 = _mm256_set1_epi16((short)w1);
    int32_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m256i v = down_16(row0 + i, row1 + i, v0, v1);
        _mm_storeu_si128((__m128i *)(dst + i), _mm_packus_epi16(_mm256_castsi256_si128(v),
                                                                _mm256_extracti128_si256(v, 1)));
    }
    down_u8_plain(dst + i, row0 + i, row1 + i, w0, w1, count - i);
}

AVX2 static void down_f32_avx2(float *dst, const int16_t *row0, const int16_t *row1, int w0, int w1,
                               int32_t count)
{
    const __m256i v0 = _mm256_set1_epi16((short)w0), v1 = _mm256_set1_epi16((short)w1);
    const __m256 scale = _mm256_set1_ps(255.0f);
    int32_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m256i v = down_16(row0 + i, row1 + i, v0, v1);
        const __m256i lo = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(v));
        const __m256i hi = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(v, 1));
        _mm256_storeu_ps(dst + i, _mm256_div_ps(_mm256_cvtepi32_ps(lo), scale));
        _mm256_storeu_ps(dst + i + 8, _mm256_div_ps(_mm256_cvtepi32_ps(hi), scale));
    }
    down_f32_plain(dst + i, row0 + i, row1 + i, w0, w1, count - i);
}

static const osp_row_ops avx2 = {across_avx2, down_u8_avx2, down_f32_avx2};

const osp_row_ops *osp_row_ops_pick(void)
{
    return __builtin_cpu_supports("avx2") ? &avx2 : &plain;
}
#else
const osp_row_ops *osp_row_ops_pick(void)
{
    return &plain;
}
#endif
