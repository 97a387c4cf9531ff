// The kernels against the CPU path, on whatever device a table of calls leads to: a GPU (gpu_tests)
// or the device in host memory (test_gpu_kernels). Failures are printed and counted.
#ifndef OSP_TESTS_KERNEL_CASES_H
#define OSP_TESTS_KERNEL_CASES_H

#include "gpu/gpu.h"

typedef struct kernel_test {
    osp_context *ctx;
    osp_gpu *gpu;  // entered
    osp_gpu_stream stream;
    bool quick;  // small cases only: the device is slow
    int checks, failures;
    uint64_t random;
} kernel_test;

void kernel_cases_letterbox(kernel_test *t);
void kernel_cases_boxes(kernel_test *t);
void kernel_cases_maps(kernel_test *t);
void kernel_cases_graph(kernel_test *t);  // both kernels in a captured graph, replayed on new data

void kernel_cases_tma(kernel_test *t);  // bulk copies
// One of osp_test_tma_copy, of osp_test_tma_product (tma_kernels.h), the result checked.
void kernel_tma_copy(kernel_test *t, const osp_gpu_kernel *kernel);
void kernel_tma_product(kernel_test *t, const osp_gpu_kernel *kernel);

// Both kernels on a context of their own over `inner`, with every call of theirs failed in turn.
void kernel_cases_faults(kernel_test *t, const struct osp_gpu_calls *inner);

// The tensor that osprey.BoxHead makes of the maps of `images` images: enqueues it. `dst` has room.
osp_status kernel_box_head(kernel_test *t, const osp_head_maps *maps, uint32_t images, void *dst,
                           osp_error *err);

// Counts a check; a false one prints what was wrong and returns false.
bool kernel_check(kernel_test *t, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Device memory with these bytes in it; NULL on failure, which is counted.
void *kernel_upload(kernel_test *t, const void *bytes, size_t size);
// The same with float32 values as `dtype` has them: float32 or float16.
void *kernel_upload_floats(kernel_test *t, osp_dtype dtype, const float *values, size_t count);
bool kernel_download(kernel_test *t, void *bytes, const void *device, size_t size);

uint32_t kernel_random(kernel_test *t);  // 32 bits, the same ones every time
float kernel_uniform(kernel_test *t, float low, float high);

#endif
