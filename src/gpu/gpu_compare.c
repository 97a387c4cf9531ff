// The launcher of the comparing kernels.
#include "gpu/gpu_compare.h"

#include "gpu/gpu_kernels.h"

osp_status osp_gpu_compare(osp_gpu *gpu, osp_dtype dtype, const void *got, const void *want,
                           int64_t rows, int64_t row, int64_t pitch, float *largest,
                           osp_gpu_stream stream, osp_error *err)
{
    if (dtype != OSP_DTYPE_FLOAT16 && dtype != OSP_DTYPE_FLOAT32)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "arrays of that type are not compared");
    const osp_compare_args args = {got, want, largest, rows, row, pitch};
    const osp_gpu_shape shape = {.grid = {512}, .block = {256}};
    return osp_gpu_launch(
        gpu, dtype == OSP_DTYPE_FLOAT16 ? &osp_kernel_compare_f16 : &osp_kernel_compare_f32, &shape,
        &args, sizeof args, stream, err);
}
