// libFuzzer: a tensor file, .npy or TensorProto by its first bytes, read whole; every element and
// the name are touched, and nothing may stay allocated. What was read is written in both formats and
// must read as the same again.
#include <stdint.h>

#include "base/file.h"
#include "base/npy.h"
#include "onnx/tensor.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static osp_status read_tensor(osp_context *ctx, const uint8_t *data, size_t size,
                              osp_tensor *tensor, osp_error *err)
{
    return osp_npy_is(data, size) ? osp_npy_read(ctx, data, size, tensor, err)
                                  : osp_onnx_tensor_read(ctx, data, size, tensor, err);
}

static void must(bool holds, const char *what, const osp_error *err)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

static void write_and_read(osp_context *ctx, const osp_tensor *tensor, size_t bytes, bool npy)
{
    char path[96];
    osp_error err;
    osp_file file;
    osp_tensor copy;
    (void)fuzz_path(path, npy ? "tensor.npy" : "tensor.pb");
    if (npy && tensor->dtype == OSP_DTYPE_BFLOAT16)
        return;
    must((npy ? osp_npy_write : osp_onnx_tensor_write)(ctx, path, tensor, &err) == OSP_OK,
         "read but not written", &err);
    must(osp_file_map(&file, path, 1 << 24, &err) == OSP_OK, "not mapped", &err);
    must(read_tensor(ctx, file.data, file.size, &copy, &err) == OSP_OK, "written but not read",
         &err);
    must(copy.dtype == tensor->dtype && copy.rank == tensor->rank &&
             !memcmp(copy.dims, tensor->dims, sizeof copy.dims) &&
             !memcmp(copy.data, tensor->data, bytes),
         "written, but another tensor was read", &err);
    osp_mem_free(&ctx->mem, copy.data);
    osp_file_unmap(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const osp_options options = {.limits = {.tensor_bytes = 1 << 20}};
    osp_context ctx;
    if (osp_context_init(&ctx, &options, NULL))
        return 0;
    osp_tensor tensor;
    osp_error err;
    if (read_tensor(&ctx, data, size, &tensor, &err) == OSP_OK) {
        size_t bytes = osp_dtype_bytes(tensor.dtype);
        for (int32_t d = 0; d < tensor.rank; d++)
            bytes *= (size_t)tensor.dims[d];
        volatile unsigned sum = 0;  // volatile: the reads must happen
        for (size_t i = 0; i < bytes; i++)
            sum = sum + ((const uint8_t *)tensor.data)[i];
        for (const char *c = tensor.name; c && *c; c++)
            sum = sum + (unsigned char)*c;
        write_and_read(&ctx, &tensor, bytes, true);
        write_and_read(&ctx, &tensor, bytes, false);
        osp_mem_free(&ctx.mem, tensor.data);
    }
    if (atomic_load(&ctx.mem.live) != 0)
        abort();  // a leak
    osp_context_free(&ctx);
    return 0;
}
