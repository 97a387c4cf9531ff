// Convolution tiles: part of simd_impl.h.
//
// A tile keeps rows x vectors sums in registers. For each tap and input channel it loads the
// weights of all its output channels, and each pixel's value once, spread over a vector. Pixels
// are found through pointers, so that a tile may run over the ends of lines, and its padding be
// a line of zeros; no source is copied.

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

// Activation by number, for the epilogues; SiLU and ReLU are the ones that must be fast.
static inline __attribute__((always_inline)) vec vec_activate(vec value, int32_t act, float alpha,
                                                              float beta)
{
    if (act == OSP_U_COPY)
        return value;
    if (act == OSP_U_SILU)
        return vec_silu(value);
    float x[LANES];
    vec_store(x, value);
    if (act == OSP_U_RELU)
        for (int32_t i = 0; i < LANES; i++)
            x[i] = pick(x[i] < 0.0f, 0.0f, x[i]);
    else
        unary_row((osp_unary)act, x, x, LANES, alpha, beta);
    return vec_load(x);
}

// What follows the sums of a tile. The common ends are compiled into the tile, in registers.
#define FINISH_TILE(ROWS, VECTORS, EXPRESSION)                                                     \
    UNROLL for (int32_t m = 0; m < ROWS; m++)                                                      \
    {                                                                                              \
        UNROLL for (int32_t v = 0; v < VECTORS; v++)                                               \
        {                                                                                          \
            const int32_t count = t->valid - v * LANES;                                            \
            const vec x = sums[m][v];                                                              \
            vec_store_some(t->dst[m] + v * LANES, (EXPRESSION), count);                            \
        }                                                                                          \
    }

// Any other end, out of line: `sums` in memory, `vectors` to a row.
static void finish_other(const osp_conv_tile *t, const vec *sums, int32_t rows, int32_t vectors)
{
    for (int32_t m = 0; m < rows; m++)
        for (int32_t v = 0; v < vectors; v++) {
            const int32_t count = t->valid - v * LANES;
            const vec add = t->add ? vec_load_some(t->add[m] + v * LANES, count) : (vec){0};
            vec x = sums[m * vectors + v];
            if (t->add_first)
                x += add;
            x = vec_activate(x, t->act, t->alpha, t->beta);
            if (!t->add_first)
                x += add;
            vec_store_some(t->dst[m] + v * LANES, x, count);
        }
}

#ifndef __clang__  // `total` is read only after `flushed`, which the compiler cannot see
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// Sums are flushed into `total` after this many terms: a long sum in one float rounds worse.
enum { TERMS = 128 };

#define FLUSH_SUMS(ROWS, VECTORS)                                                                  \
    UNROLL for (int32_t m = 0; m < ROWS; m++) UNROLL for (int32_t v = 0; v < VECTORS; v++)         \
    {                                                                                              \
        total[m][v] = flushed ? total[m][v] + sums[m][v] : sums[m][v];                             \
        sums[m][v] = (vec){0};                                                                     \
    }

// One kernel: `N` input channels share one look at each pixel's pointer.
#define CONV_TILE(NAME, ROWS, VECTORS, N)                                                          \
    static void NAME(const osp_conv_tile *t)                                                       \
    {                                                                                              \
        vec sums[ROWS][VECTORS], total[ROWS][VECTORS];                                             \
        bool flushed = false;                                                                      \
        int64_t room = TERMS;                                                                      \
        UNROLL for (int32_t v = 0; v < VECTORS; v++)                                               \
        {                                                                                          \
            const vec b = vec_load(t->bias + v * LANES);                                           \
            UNROLL for (int32_t m = 0; m < ROWS; m++) sums[m][v] = b;                              \
        }                                                                                          \
        const float *w = t->weights;                                                               \
        for (int32_t tap = 0; tap < t->taps; tap++) {                                              \
            const float *const *src = t->src + tap * t->src_step;                                  \
            int64_t c = t->offsets[tap];                                                           \
            const int64_t tap_end = c + t->ic;                                                     \
            while (c < tap_end) {                                                                  \
                const int64_t end = tap_end - c < room ? tap_end : c + room;                       \
                const int64_t last = end - (N) + 1;                                                \
                room -= end - c;                                                                   \
                for (; c < last; c += (N), w += (N) * (VECTORS)*LANES) {                           \
                    vec b[N][VECTORS];                                                             \
                    UNROLL for (int32_t u = 0; u < (N); u++)                                       \
                        UNROLL for (int32_t v = 0; v < VECTORS; v++)                               \
                            b[u][v] = vec_load(w + (u * (VECTORS) + v) * LANES);                   \
                    UNROLL for (int32_t m = 0; m < ROWS; m++)                                      \
                    {                                                                              \
                        const float *p = src[m] + c;                                               \
                        UNROLL for (int32_t u = 0; u < (N); u++)                                   \
                        {                                                                          \
                            const vec a = vec_set(p[u]);                                           \
                            UNROLL for (int32_t v = 0; v < VECTORS; v++)                           \
                                sums[m][v] += a * b[u][v];                                         \
                        }                                                                          \
                    }                                                                              \
                }                                                                                  \
                for (; (N) > 1 && c < end; c++, w += (VECTORS)*LANES) {                            \
                    vec b[VECTORS];                                                                \
                    UNROLL for (int32_t v = 0; v < VECTORS; v++) b[v] = vec_load(w + v * LANES);   \
                    UNROLL for (int32_t m = 0; m < ROWS; m++)                                      \
                    {                                                                              \
                        const vec a = vec_set(src[m][c]);                                          \
                        UNROLL for (int32_t v = 0; v < VECTORS; v++) sums[m][v] += a * b[v];       \
                    }                                                                              \
                }                                                                                  \
                if (room == 0) {                                                                   \
                    FLUSH_SUMS(ROWS, VECTORS)                                                      \
                    flushed = true;                                                                \
                    room = TERMS;                                                                  \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        if (flushed) {                                                                             \
            UNROLL for (int32_t m = 0; m < ROWS; m++) UNROLL for (int32_t v = 0; v < VECTORS; v++) \
                sums[m][v] += total[m][v];                                                         \
        }                                                                                          \
        if (t->act == OSP_U_SILU && !t->add) {                                                     \
            FINISH_TILE(ROWS, VECTORS, vec_silu(x))                                                \
        } else if (t->act == OSP_U_SILU && !t->add_first) {                                        \
            FINISH_TILE(ROWS, VECTORS, vec_silu(x) + vec_load_some(t->add[m] + v * LANES, count))  \
        } else if (t->act == OSP_U_COPY && !t->add) {                                              \
            FINISH_TILE(ROWS, VECTORS, x)                                                          \
        } else {                                                                                   \
            finish_other(t, sums[0], ROWS, VECTORS);                                               \
        }                                                                                          \
    }

// Rows x vectors fill the registers: 32 with AVX-512, 16 before. Speeds are shares of the peak
// measured on 64 channels 3x3 (bench/kernels/conv_tiles).
#if LANES == 16
CONV_TILE(tile_1, 26, 1, 4)
CONV_TILE(tile_2, 13, 2, 2)
CONV_TILE(tile_3, 8, 3, 2)
CONV_TILE(tile_4, 6, 4, 1)
CONV_TILE(tile_5, 5, 5, 1)
#define CONV_KERNELS                                                                               \
    {                                                                                              \
        {26, 1, 0.70f, tile_1}, {13, 2, 0.93f, tile_2}, {8, 3, 0.95f, tile_3},                     \
            {6, 4, 1.0f, tile_4},                                                                  \
        {                                                                                          \
            5, 5, 0.97f, tile_5                                                                    \
        }                                                                                          \
    }
#else
CONV_TILE(tile_1, 12, 1, 2)
CONV_TILE(tile_2, 6, 2, 1)
CONV_TILE(tile_3, 4, 3, 1)
#define CONV_KERNELS                                                                               \
    {                                                                                              \
        {12, 1, 0.7f, tile_1}, {6, 2, 0.95f, tile_2},                                              \
        {                                                                                          \
            4, 3, 1.0f, tile_3                                                                     \
        }                                                                                          \
    }
#endif

// ---- Planes -------------------------------------------------------------------------------------

// Two columns on, the next pixel reads the same value: compilers would keep all pixels' values for
// that, in memory, which is slower than to load them anew (1200 us against 710 for 3x640x640 to 16 channels).
#define HIDE(POINTER) __asm__("" : "+r"(POINTER))

// The same from planes: pixels are 2 elements apart in a line, and a tap is a line of kw = t->ic
// columns. No pointers to pixels: the source of each is at a constant distance from the first.
#define PLANES_TILE(NAME, ROWS, VECTORS)                                                           \
    static void NAME(const osp_conv_tile *t)                                                       \
    {                                                                                              \
        vec sums[ROWS][VECTORS];                                                                   \
        UNROLL for (int32_t v = 0; v < VECTORS; v++)                                               \
        {                                                                                          \
            const vec b = vec_load(t->bias + v * LANES);                                           \
            UNROLL for (int32_t m = 0; m < ROWS; m++) sums[m][v] = b;                              \
        }                                                                                          \
        const float *w = t->weights;                                                               \
        for (int32_t tap = 0; tap < t->taps; tap++) {                                              \
            const float *p = t->src[tap] + t->src_step;                                            \
            for (int32_t x = 0; x < t->ic; x++, p++, w += (VECTORS)*LANES) {                       \
                HIDE(p);                                                                           \
                vec b[VECTORS];                                                                    \
                UNROLL for (int32_t v = 0; v < VECTORS; v++) b[v] = vec_load(w + v * LANES);       \
                UNROLL for (int32_t m = 0; m < ROWS; m++)                                          \
                {                                                                                  \
                    const vec a = vec_set(p[2 * m]);                                               \
                    UNROLL for (int32_t v = 0; v < VECTORS; v++) sums[m][v] += a * b[v];           \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        if (t->act == OSP_U_SILU) {                                                                \
            FINISH_TILE(ROWS, VECTORS, vec_silu(x))                                                \
        } else {                                                                                   \
            finish_other(t, sums[0], ROWS, VECTORS);                                               \
        }                                                                                          \
    }

#if LANES == 16
PLANES_TILE(planes_1, 26, 1)
PLANES_TILE(planes_2, 13, 2)
#define PLANES_KERNELS                                                                             \
    {                                                                                              \
        {26, 1, 0.9f, planes_1},                                                                   \
        {                                                                                          \
            13, 2, 0.95f, planes_2                                                                 \
        }                                                                                          \
    }
#else
PLANES_TILE(planes_1, 12, 1)
PLANES_TILE(planes_2, 6, 2)
#define PLANES_KERNELS                                                                             \
    {                                                                                              \
        {12, 1, 0.9f, planes_1},                                                                   \
        {                                                                                          \
            6, 2, 0.95f, planes_2                                                                  \
        }                                                                                          \
    }
#endif

// ---- Depthwise ----------------------------------------------------------------------------------

// Pixels whose sums are in registers together.
enum { DEPTHWISE_PIXELS = 8 };

static inline __attribute__((always_inline)) void depthwise_end(const osp_depthwise_run *r, vec x,
                                                                int64_t pixel, int64_t c)
{
    const int32_t count = (int32_t)(r->channels - c < LANES ? r->channels - c : LANES);
    float *dst = r->dst + pixel * r->dst_step + c;
    if (!r->add && r->act == OSP_U_SILU) {
        vec_store_some(dst, vec_silu(x), count);
        return;
    }
    const vec add = r->add ? vec_load_some(r->add + pixel * r->add_step + c, count) : (vec){0};
    if (r->add_first)
        x += add;
    x = vec_activate(x, r->act, r->alpha, r->beta);
    if (!r->add_first)
        x += add;
    vec_store_some(dst, x, count);
}

// One vector of channels of up to DEPTHWISE_PIXELS pixels.
static inline __attribute__((always_inline)) void depthwise_block(const osp_depthwise_run *r,
                                                                  int64_t pixel, int64_t c,
                                                                  int32_t pixels)
{
    const int32_t count = (int32_t)(r->channels - c < LANES ? r->channels - c : LANES);
    vec sums[DEPTHWISE_PIXELS];
    const vec bias = vec_load(r->bias + c);
    UNROLL for (int32_t k = 0; k < pixels; k++) sums[k] = bias;
    const float *w = r->weights + c;
    for (int32_t tap = 0; tap < r->taps; tap++, w += r->weights_step) {
        if (!r->src[tap])
            continue;
        const vec weight = vec_load(w);
        const float *src = r->src[tap] + pixel * r->src_step + c;
        if (count == LANES) {
            UNROLL for (int32_t k = 0; k < pixels; k++)
                sums[k] += weight * vec_load(src + k * r->src_step);
        } else {
            UNROLL for (int32_t k = 0; k < pixels; k++)
                sums[k] += weight * vec_load_some(src + k * r->src_step, count);
        }
    }
    UNROLL for (int32_t k = 0; k < pixels; k++) depthwise_end(r, sums[k], pixel + k, c);
}

// Pixels outside, channels inside: the lines of a window stay in the innermost cache.
static void depthwise_run(const osp_depthwise_run *r)
{
    int64_t pixel = 0;
    for (; pixel + DEPTHWISE_PIXELS <= r->count; pixel += DEPTHWISE_PIXELS)
        for (int64_t c = 0; c < r->channels; c += LANES)
            depthwise_block(r, pixel, c, DEPTHWISE_PIXELS);
    for (; pixel < r->count; pixel++)
        for (int64_t c = 0; c < r->channels; c += LANES)
            depthwise_block(r, pixel, c, 1);
}
