// bfloat16 with AVX-512 BF16: products of blocks without AMX, ends of convolutions, depthwise
// convolution, and the copies that feed products. Called only where osp_cpu_has_bf16.
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "backends/cpu/bf16.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

// ---- Products -----------------------------------------------------------------------------------

static const char *refuse(void)
{
    return osp_cpu_has_bf16() ? NULL : "the processor lacks AVX-512 BF16";
}

static void begin(int32_t depth)
{
    (void)depth;
}

static void end(void)
{
}

enum { GROUP = 8 };  // positions whose sums are in registers together

INLINE void product_group(const osp_bf16_product *p, int64_t first, int32_t columns)
{
    __m512 sums[GROUP][2];
    UNROLL for (int32_t m = 0; m < GROUP; m++) UNROLL for (int32_t v = 0; v < columns; v++)
        sums[m][v] = _mm512_setzero_ps();
    const char *w = (const char *)p->weights;
    const int64_t block = 32 * p->depth;
    for (int64_t s = 0; s < p->steps; s++, w += columns * block) {
        const char *a = p->src + p->offsets[s] + first * p->src_step;
        for (int32_t k = 0; k < p->depth / 2; k++) {
            __m512i b[2];
            UNROLL for (int32_t v = 0; v < columns; v++)
                b[v] = _mm512_loadu_si512(w + v * block + k * 64);
            UNROLL for (int32_t m = 0; m < GROUP; m++)
            {
                int32_t pair;
                memcpy(&pair, a + m * p->src_step + 4 * k, sizeof pair);
                const __m512i x = _mm512_set1_epi32(pair);
                UNROLL for (int32_t v = 0; v < columns; v++)
                    sums[m][v] = _mm512_dpbf16_ps(sums[m][v], (__m512bh)x, (__m512bh)b[v]);
            }
        }
    }
    UNROLL for (int32_t m = 0; m < GROUP; m++) UNROLL for (int32_t v = 0; v < columns; v++)
        _mm512_storeu_ps(p->sums + ((first + m) * columns + v) * 16, sums[m][v]);
}

static void product(const osp_bf16_product *p, int32_t rows, int32_t columns)
{
    for (int64_t first = 0; first < 16 * rows; first += GROUP) {
        if (columns == 2)
            product_group(p, first, 2);
        else
            product_group(p, first, 1);
    }
}

const osp_bf16_engine osp_bf16_avx512 = {refuse, begin, product, end};

const osp_bf16_engine *osp_cpu_bf16(void)
{
    return !osp_bf16_amx.refuse() ? &osp_bf16_amx : !refuse() ? &osp_bf16_avx512 : NULL;
}

// ---- Ends ---------------------------------------------------------------------------------------

// 2^z, good to 1e-4, where half the last place of a bfloat16 is 2e-3: a cubic on [0, 1), and scalef
// for the integer part.
INLINE __m512 power_of_two(__m512 z)
{
    const __m512 f = _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(7.802444867e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.260672607e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.958335043e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999252203e-1f));
    return _mm512_scalef_ps(p, z);
}

// x * sigmoid(x), as good; the quotient is the processor's estimate.
INLINE __m512 silu(__m512 x)
{
    const __m512 z = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f));
    const __m512 d = _mm512_add_ps(power_of_two(z), _mm512_set1_ps(1.0f));
    return _mm512_mul_ps(x, _mm512_rcp14_ps(d));
}

INLINE __m512 widen(__m256i x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

INLINE __m256i narrow(__m512 x)
{
    return (__m256i)_mm512_cvtneps_pbh(x);
}

INLINE __mmask16 mask_of(int64_t count)
{
    return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

INLINE __mmask32 wide_mask(int64_t count)
{
    return count >= 32 ? 0xFFFFFFFFu : count <= 0 ? 0 : (1u << count) - 1;
}

typedef enum add_place { ADD_NONE, ADD_FIRST, ADD_LAST } add_place;

INLINE __m512 activate(__m512 x, int32_t act, const osp_bf16_end *e)
{
    if (act == OSP_U_COPY)
        return x;
    if (act == OSP_U_RELU)  // keeps NaN
        return _mm512_max_ps(_mm512_setzero_ps(), x);
    if (act == OSP_U_SILU)
        return silu(x);
    float line[16];
    _mm512_storeu_ps(line, x);
    osp_simd_avx512.unary((osp_unary)act, line, line, 16, e->alpha, e->beta);
    return _mm512_loadu_ps(line);
}

// One vector of channels of one pixel.
INLINE __m512 finish_vector(const osp_bf16_end *e, __m512 x, const uint16_t *add, __mmask16 mask,
                            int32_t act, add_place place)
{
    const __m512 more = place == ADD_NONE ? _mm512_setzero_ps()
                                          : widen(_mm256_maskz_loadu_epi16(mask, add));
    if (place == ADD_FIRST)
        x = _mm512_add_ps(x, more);
    x = activate(x, act, e);
    if (place == ADD_LAST)
        x = _mm512_add_ps(x, more);
    return x;
}

INLINE void finish_rows(const osp_bf16_end *e, const float *sums, int32_t columns, int32_t act,
                        add_place place)
{
    __m512 bias[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __mmask16 mask[2];
    for (int32_t v = 0; v < columns; v++) {
        if (e->bias)
            bias[v] = _mm512_loadu_ps(e->bias + 16 * v);
        mask[v] = mask_of(e->channels - 16 * v);
    }
    const __mmask32 both = wide_mask(e->channels);
    uint16_t *dst = e->dst;
    const uint16_t *add = e->add;
    int64_t column = e->column;
    for (int64_t m = 0; m < e->positions;) {
        int64_t last = m + osp_i64_max(0, e->columns - column);
        last = osp_i64_min(last, e->positions);
        for (; m < last; m++, column++) {
            __m512 x[2];
            UNROLL for (int32_t v = 0; v < columns; v++) x[v] = finish_vector(
                e, _mm512_add_ps(_mm512_load_ps(sums + (m * columns + v) * 16), bias[v]),
                place == ADD_NONE ? NULL : add + 16 * v, mask[v], act, place);
            if (columns == 2)  // one store for the pixel
                _mm512_mask_storeu_epi16(dst, both, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
            else
                _mm256_mask_storeu_epi16(dst, mask[0], narrow(x[0]));
            dst += e->dst_pitch;
            if (place != ADD_NONE)
                add += e->add_pitch;
        }
        m += e->line - column;
        column = 0;
    }
}

INLINE void finish_act(const osp_bf16_end *e, const float *sums, int32_t columns, int32_t act)
{
    if (!e->add)
        finish_rows(e, sums, columns, act, ADD_NONE);
    else if (e->add_first)
        finish_rows(e, sums, columns, act, ADD_FIRST);
    else
        finish_rows(e, sums, columns, act, ADD_LAST);
}

INLINE void finish_columns(const osp_bf16_end *e, const float *sums, int32_t columns)
{
    if (e->act == OSP_U_SILU)
        finish_act(e, sums, columns, OSP_U_SILU);
    else if (e->act == OSP_U_COPY)
        finish_act(e, sums, columns, OSP_U_COPY);
    else if (e->act == OSP_U_RELU)
        finish_act(e, sums, columns, OSP_U_RELU);
    else
        finish_act(e, sums, columns, e->act);
}

void osp_bf16_finish(const osp_bf16_end *e, const float *sums, int32_t columns)
{
    if (columns == 2)
        finish_columns(e, sums, 2);
    else
        finish_columns(e, sums, 1);
}

// ---- Copies -------------------------------------------------------------------------------------

void osp_bf16_copy_pixels(uint16_t *dst, int64_t dst_step, const uint16_t *src, int64_t src_pitch,
                          int64_t count, int64_t channels, int64_t width)
{
    if (channels == width && src_pitch == width) {
        memcpy(dst, src, (size_t)(count * width) * sizeof *dst);
        return;
    }
    const int64_t whole = channels / width, rest = channels % width;
    const __mmask32 all = wide_mask(width), some = wide_mask(rest);
    for (int64_t x = 0; x < count; x++, src += src_pitch, dst += width) {
        uint16_t *to = dst;
        const uint16_t *from = src;
        for (int64_t k = 0; k < whole; k++, to += dst_step, from += width)
            _mm512_mask_storeu_epi16(to, all, _mm512_maskz_loadu_epi16(all, from));
        if (rest)
            _mm512_mask_storeu_epi16(to, all, _mm512_maskz_loadu_epi16(some, from));
    }
}

void osp_bf16_join_planes(uint16_t *dst, const uint16_t *src, int64_t src_step, int64_t count,
                          int64_t channels)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (int64_t x = 0; x < count; x += 16) {
        const __mmask16 mask = mask_of(count - x);
        __m512i plane[4];
        for (int64_t c = 0; c < 4; c++)
            plane[c] = c < channels ? _mm512_cvtepu16_epi32(
                                          _mm256_maskz_loadu_epi16(mask, src + c * src_step + x))
                                    : _mm512_setzero_si512();
        const __m512i first = _mm512_or_si512(plane[0], _mm512_slli_epi32(plane[1], 16));
        const __m512i second = _mm512_or_si512(plane[2], _mm512_slli_epi32(plane[3], 16));
        const int64_t left = 2 * (count - x);  // pairs
        _mm512_mask_storeu_epi32(dst + 4 * x, mask_of(left),
                                 _mm512_permutex2var_epi32(first, low, second));
        _mm512_mask_storeu_epi32(dst + 4 * x + 32, mask_of(left - 16),
                                 _mm512_permutex2var_epi32(first, high, second));
    }
}

void osp_bf16_gather_rows(uint16_t *dst, int64_t step, int64_t all, const uint16_t *src,
                          int64_t src_pitch, bool transposed, int64_t rows, int64_t columns)
{
    if (all > rows || step > columns)
        memset(dst, 0, (size_t)(all * step) * sizeof *dst);
    if (transposed)
        osp_simd_avx512.transpose2(dst, step, src, src_pitch, columns, rows);
    else
        for (int64_t r = 0; r < rows; r++)
            memcpy(dst + r * step, src + r * src_pitch, (size_t)columns * sizeof *dst);
}

void osp_bf16_pack_rows(uint16_t *packed, const uint16_t *rows, int64_t channels, int64_t depth)
{
    for (int64_t o = 0; o < channels; o += 32)
        for (int64_t k = 0; k < depth; k += OSP_BF16_DEPTH)
            for (int64_t b = 0; b < 32; b += 16, packed += 16 * OSP_BF16_DEPTH)
                osp_simd_avx512.transpose4(packed, 16, rows + (o + b) * depth + k, depth / 2, 16,
                                           OSP_BF16_DEPTH / 2);
}

// ---- Rows ---------------------------------------------------------------------------------------

void osp_bf16_exp_rows(uint16_t *dst, int64_t depth, float *inverse, const float *logits,
                       int64_t rows, int64_t n, float scale)
{
    // A negative scale turns the largest into the smallest: it goes in first.
    const __m512 factor = _mm512_set1_ps(scale * 1.44269504f);
    for (int64_t r = 0; r < rows; r++, dst += depth) {
        const float *line = logits + 32 * r;
        __m512 high = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
        for (int64_t i = 0; i < n; i += 16) {
            const float *from = line + i / 32 * 32 * 32 + i % 32;
            const __m512 z = _mm512_mul_ps(_mm512_loadu_ps(from), factor);
            high = _mm512_mask_max_ps(high, mask_of(n - i), high, z);
        }
        const __m512 shift = _mm512_set1_ps(_mm512_reduce_max_ps(high));
        for (int64_t i = 0; i < depth; i += 16) {
            const float *from = line + i / 32 * 32 * 32 + i % 32;
            const __mmask16 mask = mask_of(n - i);
            const __m512 z = _mm512_fmsub_ps(_mm512_loadu_ps(from), factor, shift);
            const __m512 e = _mm512_maskz_mov_ps(mask, power_of_two(z));
            total = _mm512_add_ps(total, e);
            _mm256_storeu_si256((__m256i_u *)(void *)(dst + i), narrow(e));
        }
        inverse[r] = 1.0f / _mm512_reduce_add_ps(total);
    }
}

void osp_bf16_scale_rows(uint16_t *dst, int64_t dst_step, const float *src, const float *factors,
                         int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++, dst += dst_step, src += 32) {
        const __m512 factor = _mm512_set1_ps(factors[r]);
        for (int64_t i = 0; i < n; i += 16)
            _mm256_mask_storeu_epi16(dst + i, mask_of(n - i),
                                     narrow(_mm512_mul_ps(_mm512_loadu_ps(src + i), factor)));
    }
}

void osp_bf16_max_rows(uint16_t *dst, const uint16_t *const *src, int32_t count, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 mask = mask_of(n - i);
        __m512 high = widen(_mm256_maskz_loadu_epi16(mask, src[0] + i));
        for (int32_t k = 1; k < count; k++)  // a NaN on the right stays
            high = _mm512_max_ps(widen(_mm256_maskz_loadu_epi16(mask, src[k] + i)), high);
        _mm256_mask_storeu_epi16(dst + i, mask, narrow(high));
    }
}

// ---- Depthwise ----------------------------------------------------------------------------------

// One vector of channels of `pixels` pixels.
INLINE void depthwise_block(const osp_bf16_depthwise_run *r, int64_t pixel, int64_t c,
                            int32_t pixels, int32_t act, add_place place)
{
    const osp_bf16_end *e = &r->end;
    const __mmask16 mask = mask_of(e->channels - c);
    __m512 sums[GROUP];
    const __m512 bias = _mm512_loadu_ps(e->bias + c);
    UNROLL for (int32_t k = 0; k < pixels; k++) sums[k] = bias;
    const float *w = r->weights + c;
    for (int32_t tap = 0; tap < r->taps; tap++, w += r->weights_step) {
        if (!r->src[tap])
            continue;
        const __m512 weight = _mm512_loadu_ps(w);
        const uint16_t *src = r->src[tap] + pixel * r->src_step + c;
        UNROLL for (int32_t k = 0; k < pixels; k++) sums[k] = _mm512_fmadd_ps(
            widen(_mm256_maskz_loadu_epi16(mask, src + k * r->src_step)), weight, sums[k]);
    }
    UNROLL for (int32_t k = 0; k < pixels; k++)
    {
        const uint16_t *add = place == ADD_NONE ? NULL : e->add + (pixel + k) * e->add_pitch + c;
        _mm256_mask_storeu_epi16(e->dst + (pixel + k) * e->dst_pitch + c, mask,
                                 narrow(finish_vector(e, sums[k], add, mask, act, place)));
    }
}

INLINE void depthwise_run(const osp_bf16_depthwise_run *r, int32_t act, add_place place)
{
    int64_t pixel = 0;
    for (; pixel + GROUP <= r->count; pixel += GROUP)
        for (int64_t c = 0; c < r->end.channels; c += 16)
            depthwise_block(r, pixel, c, GROUP, act, place);
    for (; pixel < r->count; pixel++)
        for (int64_t c = 0; c < r->end.channels; c += 16)
            depthwise_block(r, pixel, c, 1, act, place);
}

void osp_bf16_depthwise(const osp_bf16_depthwise_run *r)
{
    const osp_bf16_end *e = &r->end;
    if (e->act == OSP_U_SILU && !e->add)
        depthwise_run(r, OSP_U_SILU, ADD_NONE);
    else if (e->act == OSP_U_COPY && !e->add)
        depthwise_run(r, OSP_U_COPY, ADD_NONE);
    else
        depthwise_run(r, e->act, !e->add ? ADD_NONE : e->add_first ? ADD_FIRST : ADD_LAST);
}
