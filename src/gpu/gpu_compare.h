// Comparing two arrays on a device. Thread rule: no state.
#ifndef OSP_GPU_GPU_COMPARE_H
#define OSP_GPU_GPU_COMPARE_H

#include "gpu/gpu.h"

// Enqueues a comparison of `rows` rows of `row` elements, `pitch` apart, of FP16 or FP32: raises
// largest[0] to the largest difference and largest[1] to the largest value in `want` (device memory,
// two floats, cleared by the caller). UNSUPPORTED for other types.
osp_status osp_gpu_compare(osp_gpu *gpu, osp_dtype dtype, const void *got, const void *want,
                           int64_t rows, int64_t row, int64_t pitch, float *largest,
                           osp_gpu_stream stream, osp_error *err);

#endif
