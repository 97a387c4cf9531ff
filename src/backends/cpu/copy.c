// N-d copies between any strides: what Transpose, Slice, Expand, Tile, Reorder and gaps in slices
// come down to.
#include <string.h>

#include "backends/cpu/cpu.h"

typedef struct job {
    const osp_copy *c;
    char *dst;
    const char *src;
    int32_t split;  // the dim that threads share
    int32_t inner;  // dims from here on are done by one call
    const osp_simd *simd;
} job;

static void copy_line(const osp_copy *c, char *dst, const char *src, int64_t count)
{
    const int32_t last = c->rank - 1;
    const int64_t to = c->dst_strides[last], from = c->src_strides[last];
    if (to == 1 && from == 1) {
        memcpy(dst, src, (size_t)count * c->size);
        return;
    }
#define LINE(TYPE)                                                                                 \
    for (int64_t i = 0; i < count; i++)                                                            \
        ((TYPE *)(void *)dst)[i * to] = ((const TYPE *)(const void *)src)[i * from];               \
    break
    switch (c->size) {
    case 1:
        LINE(uint8_t);
    case 2:
        LINE(uint16_t);
    case 4:
        LINE(uint32_t);
    default:
        LINE(uint64_t);
    }
#undef LINE
}

static bool is_transposition(const osp_copy *c)
{
    const int32_t last = c->rank - 1;
    return c->rank > 1 && c->dst_strides[last] == 1 && c->src_strides[last - 1] == 1 &&
           c->src_strides[last] > 1;
}

// dst[x * dst_step + y] = src[y * src_step + x] in blocks, for any element.
static void transpose_any(const osp_copy *c, char *dst, const char *src, int64_t columns,
                          int64_t rows)
{
    const int32_t last = c->rank - 1;
    const int64_t to = c->dst_strides[last - 1], from = c->src_strides[last];
    enum { BLOCK = 16 };
#define TRANSPOSE(TYPE)                                                                            \
    for (int64_t y0 = 0; y0 < rows; y0 += BLOCK)                                                   \
        for (int64_t x = 0; x < columns; x++)                                                      \
            for (int64_t y = y0; y < y0 + BLOCK && y < rows; y++)                                  \
                ((TYPE *)(void *)dst)[x * to + y] = ((                                             \
                    const TYPE *)(const void *)src)[y * from + x];                                 \
    break
    switch (c->size) {
    case 1:
        TRANSPOSE(uint8_t);
    default:
        TRANSPOSE(uint64_t);
    }
#undef TRANSPOSE
}

// All of dims [d, rank) with dim `split` cut to [begin, end).
static void copy_part(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const osp_copy *c = j->c;
    int64_t index[2 * OSP_MAX_RANK] = {0}, low[2 * OSP_MAX_RANK] = {0}, dims[2 * OSP_MAX_RANK];
    memcpy(dims, c->dims, sizeof dims);
    low[j->split] = begin;
    dims[j->split] = end;
    int64_t to = begin * c->dst_strides[j->split], from = begin * c->src_strides[j->split];
    index[j->split] = begin;
    const int32_t last = c->rank - 1;
    for (;;) {
        char *dst = j->dst + to * (int64_t)c->size;
        const char *src = j->src + from * (int64_t)c->size;
        if (j->inner == last)
            copy_line(c, dst, src, dims[last] - low[last]);
        else if (c->size == 2 || c->size == 4)
            (c->size == 2 ? j->simd->transpose2 : j->simd->transpose4)(
                dst, c->dst_strides[last - 1], src, c->src_strides[last], dims[last] - low[last],
                dims[last - 1] - low[last - 1]);
        else
            transpose_any(c, dst, src, dims[last - 1] - low[last - 1], dims[last] - low[last]);
        int32_t d = j->inner - 1;
        for (; d >= 0; d--) {
            to += c->dst_strides[d];
            from += c->src_strides[d];
            if (++index[d] < dims[d])
                break;
            to -= (dims[d] - low[d]) * c->dst_strides[d];
            from -= (dims[d] - low[d]) * c->src_strides[d];
            index[d] = low[d];
        }
        if (d < 0)
            return;
    }
}

void osp_copy_run(const osp_copy *c, void *dst, const void *src, osp_threads threads)
{
    if (c->rank == 1 && c->dims[0] == 0)
        return;
    job j = {.c = c, .dst = dst, .src = src, .simd = osp_cpu_simd()};
    j.inner = is_transposition(c) ? c->rank - 2 : c->rank - 1;
    double count = 1;
    for (int32_t d = 0; d < c->rank; d++)
        count *= (double)c->dims[d];
    // The outermost dim that is long enough for all threads, else the longest.
    for (int32_t d = 1; d < c->rank && c->dims[j.split] < 2 * threads.count; d++)
        if (c->dims[d] > c->dims[j.split])
            j.split = d;
    const double cost = count / (double)c->dims[j.split] * (double)c->size / 8;
    osp_cpu_parallel(threads, c->dims[j.split], cost, copy_part, &j);
}
