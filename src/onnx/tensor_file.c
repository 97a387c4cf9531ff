// Whole tensors from and to .pb files: see tensor.h. Thread rule: no state.
#include "onnx/tensor.h"

#include <string.h>

#include "base/strided.h"
#include "onnx/encode.h"
#include "onnx/proto.h"

osp_status osp_onnx_tensor_read(osp_context *ctx, const uint8_t *bytes, size_t size,
                                osp_tensor *out, osp_error *err)
{
    *out = (osp_tensor){0};
    if (size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the file is empty: give a .npy or TensorProto file");
    osp_onnx_tensor t;
    OSP_TRY(osp_onnx_tensor_parse(&t, &ctx->limits, (osp_bytes){bytes, size}, err));
    char text[96];
    if (t.dtype == OSP_DTYPE_UNKNOWN)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: convert the tensor to float32 or int64",
                 osp_onnx_elem_text(t.elem, text, sizeof text));
    if (t.external)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "its data lies in another file: write it in one");
    const size_t name_bytes = t.name.size ? t.name.size + 1 : 0;
    size_t total;
    char *block = osp_size_add(t.bytes, name_bytes, &total) ? osp_mem_alloc(&ctx->mem, total)
                                                            : NULL;
    if (!block)
        OSP_FAIL_MEMORY(err);
    const osp_status status = osp_onnx_tensor_fill(&t, block, err);
    if (status) {
        osp_mem_free(&ctx->mem, block);
        return status;
    }
    *out = (osp_tensor){.dtype = t.dtype, .rank = t.shape.rank, .data = block};
    memcpy(out->dims, t.shape.dims, sizeof out->dims);
    if (name_bytes) {
        char *name = block + t.bytes;
        memcpy(name, t.name.data, t.name.size);
        name[t.name.size] = 0;
        out->name = name;
    }
    atomic_fetch_add(&ctx->bytes_read, size);
    return OSP_OK;
}

osp_status osp_onnx_tensor_write(osp_context *ctx, const char *path, const osp_tensor *tensor,
                                 osp_error *err)
{
    osp_dense dense;
    OSP_TRY(osp_dense_make(&dense, ctx, tensor, err));
    osp_encoder e;
    osp_encoder_init(&e, &ctx->mem);
    osp_encode_tensor(&e, tensor->name ? tensor->name : "", tensor->dtype, tensor->rank,
                      tensor->dims, (osp_bytes){dense.data, dense.bytes});
    osp_status status = osp_encoder_write(&e, path, err);
    osp_encoder_free(&e);
    osp_dense_free(&dense, ctx);
    return status;
}
