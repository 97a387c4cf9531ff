// The transforms of Winograd's F(4x4, 3x3) convolution: part of simd_impl.h.
//
// In one dimension six inputs d give four outputs y of a window g of three by six products:
// y = A ((G g) * (B d)), from the values of polynomials at 0, +a, -a, +b, -b and infinity. With
// a^2 = 1/2 and b^2 = 2 all entries are small and errors grow 1.8 times over plain FP32 sums
// (points 1 and 2: 4 times). In two dimensions each matrix is applied along lines and columns.
// conv_winograd.c holds G.

#define WINOGRAD_A 0.70710678f
#define WINOGRAD_B 1.41421356f

// r = B d
static inline __attribute__((always_inline)) void winograd_source(vec r[6], const vec d[6])
{
    const vec two_half = vec_set(2.5f), half = vec_set(0.5f), two = vec_set(2.0f);
    const vec even_a = d[4] - two * d[2], odd_a = vec_set(WINOGRAD_A) * (d[3] - two * d[1]);
    const vec even_b = d[4] - half * d[2], odd_b = vec_set(WINOGRAD_B) * (d[3] - half * d[1]);
    r[0] = (d[0] + d[4]) - two_half * d[2];
    r[1] = even_a + odd_a;
    r[2] = even_a - odd_a;
    r[3] = even_b + odd_b;
    r[4] = even_b - odd_b;
    r[5] = (d[1] + d[5]) - two_half * d[3];
}

// y = A m
static inline __attribute__((always_inline)) void winograd_result(vec y[4], const vec m[6])
{
    const vec sum_a = m[1] + m[2], sum_b = m[3] + m[4];
    const vec odd_a = vec_set(WINOGRAD_A) * (m[1] - m[2]);
    const vec odd_b = vec_set(WINOGRAD_B) * (m[3] - m[4]);
    y[0] = m[0] + (sum_a + sum_b);
    y[1] = odd_a + odd_b;
    y[2] = vec_set(0.5f) * sum_a + vec_set(2.0f) * sum_b;
    y[3] = (m[5] + vec_set(0.5f) * odd_a) + vec_set(2.0f) * odd_b;
}

static void winograd_in(const osp_winograd_in *t)
{
    float *dst = t->dst;
    for (int64_t c = 0; c < t->channels; c += LANES, dst += t->vector_step) {
        const int32_t count = (int32_t)(t->channels - c < LANES ? t->channels - c : LANES);
        vec lines[6][6];
        UNROLL for (int32_t y = 0; y < 6; y++)
        {
            vec d[6], r[6];
            if (count == LANES) {
                UNROLL for (int32_t x = 0; x < 6; x++) d[x] = vec_load(t->src[y * 6 + x] + c);
            } else {
                UNROLL for (int32_t x = 0; x < 6; x++)
                    d[x] = vec_load_some(t->src[y * 6 + x] + c, count);
            }
            winograd_source(r, d);
            UNROLL for (int32_t x = 0; x < 6; x++) lines[x][y] = r[x];
        }
        UNROLL for (int32_t x = 0; x < 6; x++)
        {
            vec r[6];
            winograd_source(r, lines[x]);
            UNROLL for (int32_t y = 0; y < 6; y++) vec_store(dst + (y * 6 + x) * t->step, r[y]);
        }
    }
}

// Products of ROWS tiles in one of the 36 places. A vector of channels of all tiles lies together,
// so that every value is at a constant distance from one pointer.
#define WINOGRAD_PRODUCT(NAME, ROWS, VECTORS, N)                                                   \
    static void NAME(const osp_winograd_product *t)                                                \
    {                                                                                              \
        vec sums[ROWS][VECTORS] = {0}, total[ROWS][VECTORS];                                       \
        const float *w = t->weights, *p = t->src;                                                  \
        bool flushed = false;                                                                      \
        for (int64_t c = 0; c < t->channels; c += LANES, p += (ROWS)*LANES) {                      \
            const int64_t count = t->channels - c < LANES ? t->channels - c : LANES;               \
            int64_t k = 0;                                                                         \
            for (; k + (N) <= count; k += (N), w += (N) * (VECTORS)*LANES) {                       \
                vec b[N][VECTORS];                                                                 \
                UNROLL for (int32_t u = 0; u < (N); u++)                                           \
                    UNROLL for (int32_t v = 0; v < VECTORS; v++)                                   \
                        b[u][v] = vec_load(w + (u * (VECTORS) + v) * LANES);                       \
                UNROLL for (int32_t m = 0; m < ROWS; m++) UNROLL for (int32_t u = 0; u < (N); u++) \
                {                                                                                  \
                    const vec a = vec_set(p[m * LANES + k + u]);                                   \
                    UNROLL for (int32_t v = 0; v < VECTORS; v++) sums[m][v] += a * b[u][v];        \
                }                                                                                  \
            }                                                                                      \
            for (; (N) > 1 && k < count; k++, w += (VECTORS)*LANES)                                \
                UNROLL for (int32_t m = 0; m < ROWS; m++)                                          \
                    UNROLL for (int32_t v = 0; v < VECTORS; v++)                                   \
                        sums[m][v] += vec_set(p[m * LANES + k]) * vec_load(w + v * LANES);         \
            if ((c + LANES) % TERMS == 0) {                                                        \
                FLUSH_SUMS(ROWS, VECTORS)                                                          \
                flushed = true;                                                                    \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int32_t m = 0; m < ROWS; m++) UNROLL for (int32_t v = 0; v < VECTORS; v++)     \
            vec_store(t->dst + m * t->dst_step + v * LANES,                                        \
                      flushed ? sums[m][v] + total[m][v] : sums[m][v]);                            \
    }

// As the tiles of the direct kernels.
#if LANES == 16
WINOGRAD_PRODUCT(product_1, 26, 1, 4)
WINOGRAD_PRODUCT(product_2, 13, 2, 2)
WINOGRAD_PRODUCT(product_3, 8, 3, 2)
WINOGRAD_PRODUCT(product_4, 6, 4, 1)
WINOGRAD_PRODUCT(product_5, 5, 5, 1)
#define WINOGRAD_KERNELS                                                                           \
    {                                                                                              \
        {26, 1, 0.85f, product_1}, {13, 2, 0.95f, product_2}, {8, 3, 0.95f, product_3},            \
            {6, 4, 1.0f, product_4},                                                               \
        {                                                                                          \
            5, 5, 0.97f, product_5                                                                 \
        }                                                                                          \
    }
#else
WINOGRAD_PRODUCT(product_1, 12, 1, 2)
WINOGRAD_PRODUCT(product_2, 6, 2, 1)
WINOGRAD_PRODUCT(product_3, 4, 3, 1)
#define WINOGRAD_KERNELS                                                                           \
    {                                                                                              \
        {12, 1, 0.7f, product_1}, {6, 2, 0.95f, product_2},                                        \
        {                                                                                          \
            4, 3, 1.0f, product_3                                                                  \
        }                                                                                          \
    }
#endif

// The four pixels of line y and channels from c on, each with its end.
static inline __attribute__((always_inline)) void winograd_end(const osp_winograd_out *t,
                                                               const vec pixels[4], int32_t y,
                                                               int64_t c, int32_t count)
{
    float *dst = t->dst + y * t->dst_line + c;
    if (t->act == OSP_U_SILU && !t->add) {
        UNROLL for (int32_t x = 0; x < 4; x++) if (x < t->columns)
            vec_store_some(dst + x * t->dst_pixel, vec_silu(pixels[x]), count);
        return;
    }
    UNROLL for (int32_t x = 0; x < 4; x++)
    {
        if (x >= t->columns)
            continue;
        const float *from = t->add ? t->add + y * t->add_line + x * t->add_pixel + c : NULL;
        const vec add = from ? vec_load_some(from, count) : (vec){0};
        vec value = pixels[x];
        if (t->add_first)
            value += add;
        value = vec_activate(value, t->act, t->alpha, t->beta);
        if (!t->add_first)
            value += add;
        vec_store_some(dst + x * t->dst_pixel, value, count);
    }
}

static void winograd_out(const osp_winograd_out *t)
{
    for (int64_t c = 0; c < t->channels; c += LANES) {
        const int32_t count = (int32_t)(t->channels - c < LANES ? t->channels - c : LANES);
        const vec bias = vec_load(t->bias + c);
        vec lines[4][6];
        UNROLL for (int32_t x = 0; x < 6; x++)
        {
            vec m[6], r[4];
            UNROLL for (int32_t y = 0; y < 6; y++)
                m[y] = vec_load(t->src + (y * 6 + x) * t->step + c);
            winograd_result(r, m);
            UNROLL for (int32_t y = 0; y < 4; y++) lines[y][x] = r[y];
        }
        for (int32_t y = 0; y < t->lines; y++) {
            vec r[4];
            winograd_result(r, lines[y]);
            UNROLL for (int32_t x = 0; x < 4; x++) r[x] += bias;
            winograd_end(t, r, y, c, count);
        }
    }
}
