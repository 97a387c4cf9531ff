// Transposition of 4-byte elements: part of simd_impl.h.

enum { TRANSPOSE_BLOCK = 16 };

#if LANES == 16
// 16 x 16 in registers: unpack by 1, by 2, then move quarters.
static void transpose_block(uint32_t *dst, int64_t dst_step, const uint32_t *src, int64_t src_step)
{
    __m512i a[16], b[16];
    UNROLL for (int32_t i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(src + i * src_step);
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
    UNROLL for (int32_t i = 0; i < 16; i++) _mm512_storeu_si512(dst + i * dst_step, a[i]);
}
#else
static void transpose_block(uint32_t *dst, int64_t dst_step, const uint32_t *src, int64_t src_step)
{
    for (int32_t c = 0; c < TRANSPOSE_BLOCK; c++)
        for (int32_t r = 0; r < TRANSPOSE_BLOCK; r++)
            dst[c * dst_step + r] = src[r * src_step + c];
}
#endif

static void transpose4(void *dst_any, int64_t dst_step, const void *src_any, int64_t src_step,
                       int64_t rows, int64_t columns)
{
    uint32_t *dst = dst_any;
    const uint32_t *src = src_any;
    int64_t r = 0;
    for (; r + TRANSPOSE_BLOCK <= rows; r += TRANSPOSE_BLOCK) {
        int64_t c = 0;
        for (; c + TRANSPOSE_BLOCK <= columns; c += TRANSPOSE_BLOCK)
            transpose_block(dst + c * dst_step + r, dst_step, src + r * src_step + c, src_step);
        for (; c < columns; c++)
            for (int64_t k = 0; k < TRANSPOSE_BLOCK; k++)
                dst[c * dst_step + r + k] = src[(r + k) * src_step + c];
    }
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            dst[c * dst_step + r] = src[r * src_step + c];
}
