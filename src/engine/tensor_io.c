// The public tensor files: .npy and ONNX TensorProto (.pb), told apart by their content when read
// and by the path's ending when written. Thread rule: any thread.
#include <string.h>

#include "base/npy.h"
#include "engine/runtime.h"
#include "onnx/tensor.h"

static osp_status read_bytes(osp_context *ctx, const osp_file *file, osp_tensor *out,
                             osp_error *err)
{
    if (osp_npy_is(file->data, file->size))
        return osp_npy_read(ctx, file->data, file->size, out, err);
    if (file->size >= 4 && memcmp(file->data, "PK\3\4", 4) == 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "a .npz or zip archive: save one array with numpy.save");
    return osp_onnx_tensor_read(ctx, file->data, file->size, out, err);
}

osp_status osp_tensor_read(osp_runtime *runtime, const char *path, osp_tensor *out, osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !path || !out)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_tensor_read: %s is NULL",
                 !runtime ? "runtime"
                 : !path  ? "path"
                          : "out");
    *out = (osp_tensor){0};
    osp_context *ctx = osp_runtime_context(runtime);
    osp_file file;
    osp_status status = osp_file_map(&file, path, ctx->limits.file_bytes, err);
    if (!status) {
        status = read_bytes(ctx, &file, out, err);
        osp_file_unmap(&file);
    }
    if (status)
        osp_error_prefix(err, "%s", path);
    return status;
}

static bool ends_with(const char *path, const char *ending)
{
    const size_t length = strlen(path), wanted = strlen(ending);
    return length >= wanted && strcmp(path + length - wanted, ending) == 0;
}

osp_status osp_tensor_write(osp_runtime *runtime, const char *path, const osp_tensor *tensor,
                            osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !path || !tensor)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_tensor_write: %s is NULL",
                 !runtime ? "runtime"
                 : !path  ? "path"
                          : "tensor");
    osp_context *ctx = osp_runtime_context(runtime);
    osp_status status;
    if (ends_with(path, ".npy"))
        status = osp_npy_write(ctx, path, tensor, err);
    else if (ends_with(path, ".pb"))
        status = osp_onnx_tensor_write(ctx, path, tensor, err);
    else
        status = osp_error_set(err, OSP_ERROR_UNSUPPORTED,
                               "not a tensor file's name: end it in .npy or .pb");
    if (status)
        osp_error_prefix(err, "%s", path);
    return status;
}

void osp_tensor_free(osp_runtime *runtime, osp_tensor *tensor)
{
    if (!runtime || !tensor)
        return;
    osp_mem_free(&osp_runtime_context(runtime)->mem, tensor->data);
    *tensor = (osp_tensor){0};
}
