// Transposition of 4-byte and 2-byte elements: part of simd_impl.h.

enum { TRANSPOSE_BLOCK = 16 };

#if LANES == 16
// 16 x 16 in registers: unpack by 1, by 2, then move quarters.
static inline __attribute__((always_inline)) void transpose_registers(__m512i a[16])
{
    __m512i b[16];
    UNROLL for (int32_t i = 0; i < 16; i += 2)
    {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int32_t i = 0; i < 16; i += 4)
    {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    UNROLL for (int32_t i = 0; i < 4; i++)
    {
        b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
        b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
        b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    }
    UNROLL for (int32_t i = 0; i < 8; i++)
    {
        a[i] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88);
        a[i + 8] = _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd);
    }
}

static void transpose_block(uint32_t *dst, int64_t dst_step, const uint32_t *src, int64_t src_step)
{
    __m512i a[16];
    UNROLL for (int32_t i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(src + i * src_step);
    transpose_registers(a);
    UNROLL for (int32_t i = 0; i < 16; i++) _mm512_storeu_si512(dst + i * dst_step, a[i]);
}

static void transpose_block2(uint16_t *dst, int64_t dst_step, const uint16_t *src, int64_t src_step)
{
    __m512i a[16];
    UNROLL for (int32_t i = 0; i < 16; i++) a[i] = _mm512_cvtepu16_epi32(
        _mm256_loadu_si256((const __m256i_u *)(const void *)(src + i * src_step)));
    transpose_registers(a);
    UNROLL for (int32_t i = 0; i < 16; i++)
        _mm256_storeu_si256((__m256i_u *)(void *)(dst + i * dst_step), _mm512_cvtepi32_epi16(a[i]));
}
#else
static void transpose_block(uint32_t *dst, int64_t dst_step, const uint32_t *src, int64_t src_step)
{
    for (int32_t c = 0; c < TRANSPOSE_BLOCK; c++)
        for (int32_t r = 0; r < TRANSPOSE_BLOCK; r++)
            dst[c * dst_step + r] = src[r * src_step + c];
}

static void transpose_block2(uint16_t *dst, int64_t dst_step, const uint16_t *src, int64_t src_step)
{
    for (int32_t c = 0; c < TRANSPOSE_BLOCK; c++)
        for (int32_t r = 0; r < TRANSPOSE_BLOCK; r++)
            dst[c * dst_step + r] = src[r * src_step + c];
}
#endif

#define TRANSPOSE(NAME, TYPE, BLOCK)                                                               \
    static void NAME(void *dst_any, int64_t dst_step, const void *src_any, int64_t src_step,       \
                     int64_t rows, int64_t columns)                                                \
    {                                                                                              \
        TYPE *dst = dst_any;                                                                       \
        const TYPE *src = src_any;                                                                 \
        int64_t r = 0;                                                                             \
        for (; r + TRANSPOSE_BLOCK <= rows; r += TRANSPOSE_BLOCK) {                                \
            int64_t c = 0;                                                                         \
            for (; c + TRANSPOSE_BLOCK <= columns; c += TRANSPOSE_BLOCK)                           \
                BLOCK(dst + c * dst_step + r, dst_step, src + r * src_step + c, src_step);         \
            for (; c < columns; c++)                                                               \
                for (int64_t k = 0; k < TRANSPOSE_BLOCK; k++)                                      \
                    dst[c * dst_step + r + k] = src[(r + k) * src_step + c];                       \
        }                                                                                          \
        for (; r < rows; r++)                                                                      \
            for (int64_t c = 0; c < columns; c++)                                                  \
                dst[c * dst_step + r] = src[r * src_step + c];                                     \
    }
TRANSPOSE(transpose4, uint32_t, transpose_block)
TRANSPOSE(transpose2, uint16_t, transpose_block2)
