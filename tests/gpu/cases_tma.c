// Bulk copies: tiles that lie in an array and beside it, in steps, and through the swizzle, bit for bit;
// and a product whose operands a ring of them brings. So a GPU says whether the copy engine in host
// memory (host_tma.cpp) is like its own. Where the device has none, a line says so.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "kernel_cases.h"
#include "tma_kernels.h"

enum { ROW_BYTES = TMA_ROW_HALVES * 2, PRODUCT_STEPS = 7, PRODUCT_K = PRODUCT_STEPS * 64 };

// An array, innermost dimension first, with gaps behind the lines of its first dimension; and tiles.
typedef struct tma_case {
    const char *what;
    int32_t rank, extent[4], pitch;  // pitch: halves
    int32_t box[4], step[4], at, tiles;
    int32_t corner[TMA_TILES_MOST][4];
} tma_case;

static const tma_case cases[] = {
    {.what = "a matrix",
     .rank = 2,
     .extent = {100, 37},
     .pitch = 112,
     .box = {64, 16},
     .step = {1, 1},
     .tiles = 8,
     .corner = {{0, 0}, {-8, -3}, {64, 30}, {96, 36}, {-56, -15}, {-64, 0}, {0, 37}, {1 << 30, 5}}},
    {.what = "a matrix of narrow rows",
     .rank = 2,
     .extent = {24, 300},
     .pitch = 24,
     .box = {64, 256},
     .step = {1, 1},
     .tiles = 2,
     .corner = {{0, 20}, {8, 100}}},
    {.what = "every third row",
     .rank = 2,
     .extent = {64, 50},
     .pitch = 64,
     .box = {64, 16},
     .step = {1, 3},
     .at = 384,
     .tiles = 4,
     .corner = {{0, 0}, {0, -4}, {8, 40}, {0, -1}}},
    {.what = "images",
     .rank = 4,
     .extent = {72, 9, 7, 3},
     .pitch = 80,
     .box = {64, 5, 4, 1},
     .step = {1, 1, 1, 1},
     .tiles = 6,
     .corner = {{0, 0, 0, 0},
                {0, -1, -1, 1},
                {64, 6, 5, 2},
                {0, -1, 4, 2},
                {0, 0, 0, 3},
                {8, 2, -4, -1}}},
    {.what = "images, every second pixel",
     .rank = 4,
     .extent = {64, 11, 9, 2},
     .pitch = 64,
     .box = {64, 7, 8, 2},
     .step = {1, 2, 2, 1},
     .at = 128,
     .tiles = 4,
     .corner = {{0, 0, 0, 0}, {0, -1, -1, 0}, {0, 6, 3, 1}, {32, -3, 5, -1}}},
};

static int32_t side(const tma_case *c, int i)
{
    return (c->box[i] + c->step[i] - 1) / c->step[i];
}

// Halves from one place to the next along dimension i.
static size_t stride_of(const tma_case *c, int i)
{
    size_t stride = i == 0 ? 1 : (size_t)c->pitch;
    for (int k = 1; k < i; k++)
        stride *= (size_t)c->extent[k];
    return stride;
}

static int32_t rows_of(const tma_case *c)
{
    int32_t rows = 1;
    for (int i = 1; i < c->rank; i++)
        rows *= side(c, i);
    return rows;
}

// What half `column` of row `row` of a tile is.
static uint16_t expected(const tma_case *c, const uint16_t *array, const int32_t *corner, int row,
                         int column)
{
    size_t at = 0;
    for (int i = 0; i < c->rank; i++) {
        int64_t place = (int64_t)corner[i] + column;
        if (i > 0) {
            place = (int64_t)corner[i] + row % side(c, i) * c->step[i];
            row /= side(c, i);
        }
        if (place < 0 || place >= c->extent[i])
            return 0;
        at += (size_t)place * stride_of(c, i);
    }
    return array[at];
}

static void compare(kernel_test *t, const tma_case *c, const uint16_t *array, const uint16_t *got)
{
    for (int i = 0; i < TMA_COPY_WARPS * c->tiles; i++)
        for (int k = 0; k < rows_of(c) * TMA_ROW_HALVES; k++, got++) {
            const int row = k / TMA_ROW_HALVES, column = k % TMA_ROW_HALVES;
            const uint16_t want = expected(c, array, c->corner[i % c->tiles], row, column);
            if (*got == want)
                continue;
            kernel_check(t, false, "%s: tile %d, row %d, half %d: 0x%04x, not 0x%04x", c->what, i,
                         row, column, *got, want);
            return;
        }
    kernel_check(t, true, "%s", c->what);
}

static osp_status launch(kernel_test *t, const osp_gpu_kernel *kernel, uint32_t threads,
                         uint32_t shared_bytes, const void *args, size_t args_bytes, osp_error *err)
{
    const osp_gpu_shape shape = {.block = {threads}, .shared_bytes = shared_bytes};
    OSP_TRY(osp_gpu_launch(t->gpu, kernel, &shape, args, args_bytes, t->stream, err));
    return osp_gpu_stream_wait(t->gpu, t->stream, -1, err);
}

// The array begins 16 bytes into its memory: no more is asked of it.
static void check_case(kernel_test *t, const osp_gpu_kernel *kernel, const tma_case *c)
{
    enum { OFFSET = 8 };
    const size_t count = stride_of(c, c->rank), rows = (size_t)rows_of(c);
    const size_t out_bytes = TMA_COPY_WARPS * (size_t)c->tiles * rows * ROW_BYTES;
    uint16_t *array = calloc(OFFSET + count, sizeof *array), *got = malloc(out_bytes);
    for (size_t i = 0; i < OFFSET + count; i++)
        array[i] = (uint16_t)kernel_random(t);
    char *src = kernel_upload(t, array, (OFFSET + count) * 2);
    memset(got, 0xEE, out_bytes);
    tma_copy_args args = {.out = kernel_upload(t, got, out_bytes),
                          .tiles = c->tiles,
                          .rank = c->rank,
                          .rows = (int32_t)rows,
                          .at = c->at};
    memcpy(args.corner, c->corner, sizeof args.corner);
    osp_gpu_tiles tiles = {.data = src + OFFSET * 2, .rank = c->rank};
    for (int i = 0; i < c->rank; i++) {
        tiles.extent[i] = (uint64_t)c->extent[i];
        tiles.stride[i] = stride_of(c, i) * 2;
        tiles.box[i] = (uint32_t)c->box[i];
        tiles.step[i] = (uint32_t)c->step[i];
    }
    osp_error err;
    osp_status status = osp_gpu_tensor_map_make(t->gpu, &tiles, &args.map, &err);
    if (!status)
        status = launch(t, kernel, TMA_COPY_THREADS, (uint32_t)(c->at + rows_of(c) * ROW_BYTES),
                        &args, sizeof args, &err);
    if (kernel_check(t, !status, "%s: %s", c->what, status ? err.text : "") &&
        kernel_download(t, got, args.out, out_bytes))
        compare(t, c, array + OFFSET, got);
    osp_gpu_free(t->gpu, src);
    osp_gpu_free(t->gpu, args.out);
    free(array);
    free(got);
}

// ---- A product ----------------------------------------------------------------------------------

static osp_status map_matrix(kernel_test *t, const void *data, osp_gpu_tensor_map *out,
                             osp_error *err)
{
    const osp_gpu_tiles tiles = {.data = data,
                                 .rank = 2,
                                 .extent = {PRODUCT_K, TMA_SIDE},
                                 .stride = {2, PRODUCT_K * 2},
                                 .box = {TMA_ROW_HALVES, TMA_SIDE},
                                 .step = {1, 1}};
    return osp_gpu_tensor_map_make(t->gpu, &tiles, out, err);
}

void kernel_tma_product(kernel_test *t, const osp_gpu_kernel *kernel)
{
    enum { COUNT = TMA_SIDE * PRODUCT_K, RESULTS = TMA_SIDE * TMA_SIDE };
    float *values = malloc(sizeof *values * 2 * COUNT), got[RESULTS] = {0};
    for (int i = 0; i < 2 * COUNT; i++)  // small whole numbers: all sums are exact
        values[i] = (float)(kernel_random(t) % 15) - 7;
    void *a = kernel_upload_floats(t, OSP_DTYPE_FLOAT16, values, COUNT);
    void *b = kernel_upload_floats(t, OSP_DTYPE_FLOAT16, values + COUNT, COUNT);
    tma_product_args args = {.out = kernel_upload(t, got, sizeof got), .steps = PRODUCT_STEPS};
    osp_error err;
    osp_status status = map_matrix(t, a, &args.a, &err);
    if (!status)
        status = map_matrix(t, b, &args.b, &err);
    if (!status)
        status = launch(t, kernel, TMA_PRODUCT_THREADS, TMA_PRODUCT_SHARED, &args, sizeof args,
                        &err);
    bool good = kernel_check(t, !status, "%s: %s", kernel->name, status ? err.text : "") &&
                kernel_download(t, got, args.out, sizeof got);
    for (int i = 0; good && i < RESULTS; i++) {
        float want = 0;
        for (int k = 0; k < PRODUCT_K; k++)
            want += values[i / TMA_SIDE * PRODUCT_K + k] *
                    values[COUNT + i % TMA_SIDE * PRODUCT_K + k];
        good = kernel_check(t, got[i] == want, "%s: (%d, %d): %g, not %g", kernel->name,
                            i / TMA_SIDE, i % TMA_SIDE, (double)got[i], (double)want);
    }
    osp_gpu_free(t->gpu, a);
    osp_gpu_free(t->gpu, b);
    osp_gpu_free(t->gpu, args.out);
    free(values);
}

void kernel_tma_copy(kernel_test *t, const osp_gpu_kernel *kernel)
{
    check_case(t, kernel, &cases[0]);
}

void kernel_cases_tma(kernel_test *t)
{
    const osp_device_info *info = osp_gpu_info(t->gpu);
    if (info->cc_major < 9) {
        printf("no bulk copies: compute capability %d.%d\n", info->cc_major, info->cc_minor);
        return;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_case(t, &osp_test_tma_copy[TMA_COPY_NONE], &cases[i]);
    if (info->cc_major == 9 && osp_test_tma_product[TMA_NONE].function)
        kernel_tma_product(t, &osp_test_tma_product[TMA_NONE]);
    else
        printf("no products by wgmma: no sm_90a\n");
}
