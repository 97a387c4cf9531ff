// What the cases share: see kernel_cases.h.
#include "kernel_cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"

bool kernel_check(kernel_test *t, bool good, const char *format, ...)
{
    enum { PRINTED = 20 };
    t->checks++;
    if (good)
        return true;
    if (t->failures++ < PRINTED) {
        va_list args;
        va_start(args, format);
        printf("FAILED: ");
        vprintf(format, args);
        printf("\n");
        va_end(args);
    }
    return false;
}

void *kernel_upload(kernel_test *t, const void *bytes, size_t size)
{
    osp_error err;
    void *device = NULL;
    osp_status status = osp_gpu_alloc(t->gpu, &device, size, &err);
    if (!status)
        status = osp_gpu_copy(t->gpu, device, bytes, size, t->stream, &err);
    if (!status)
        status = osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
    kernel_check(t, !status, "upload of %zu bytes: %s", size, status ? err.text : "");
    return device;
}

void *kernel_upload_floats(kernel_test *t, osp_dtype dtype, const float *values, size_t count)
{
    if (dtype == OSP_DTYPE_FLOAT32)
        return kernel_upload(t, values, count * sizeof *values);
    uint16_t *halves = malloc(count * sizeof *halves);
    for (size_t i = 0; i < count; i++)
        halves[i] = osp_float_to_half(values[i]);
    void *device = kernel_upload(t, halves, count * sizeof *halves);
    free(halves);
    return device;
}

bool kernel_download(kernel_test *t, void *bytes, const void *device, size_t size)
{
    osp_error err;
    osp_status status = osp_gpu_copy(t->gpu, bytes, device, size, t->stream, &err);
    if (!status)
        status = osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
    return kernel_check(t, !status, "download of %zu bytes: %s", size, status ? err.text : "");
}

uint32_t kernel_random(kernel_test *t)
{
    t->random = t->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t x = t->random;
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t)(x >> 32);
}

float kernel_uniform(kernel_test *t, float low, float high)
{
    return low + (high - low) * (float)(kernel_random(t) >> 8) * 0x1p-24f;
}
