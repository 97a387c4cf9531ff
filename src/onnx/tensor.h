// TensorProto: checked, then seen in place or decoded; and whole tensors from and to .pb files.
// Thread rule: no state.
#ifndef OSP_ONNX_TENSOR_H
#define OSP_ONNX_TENSOR_H

#include "graph/shape.h"
#include "onnx/wire.h"

typedef struct osp_onnx_tensor {
    osp_bytes name;   // may be empty
    int32_t elem;     // TensorProto.DataType as the file has it
    osp_dtype dtype;  // UNKNOWN for types we do not have
    osp_shape shape;
    size_t count, bytes;  // elements; their size in memory (0 for UNKNOWN)
    osp_bytes dense;      // the elements in the file; data NULL: use osp_onnx_tensor_fill
    bool external;        // the data lies in another file: `message` says where
    osp_bytes message;    // all of the TensorProto
} osp_onnx_tensor;

// "float32" and so on; "data type 11 (double)" for those we do not have, into text.
const char *osp_onnx_elem_text(int32_t elem, char *text, size_t size);
osp_dtype osp_onnx_elem_dtype(int64_t elem);
int32_t osp_onnx_dtype_elem(osp_dtype dtype);  // 0 for UNKNOWN

// Reads and checks: dims not negative, their product within limits.tensor_bytes, as many elements
// in the file as the dims say. Errors name the tensor. Nothing is allocated.
osp_status osp_onnx_tensor_parse(osp_onnx_tensor *out, const osp_limits *limits, osp_bytes message,
                                 osp_error *err);
// Decodes the elements, dense or typed, into dst (`bytes` long). Not for external tensors.
osp_status osp_onnx_tensor_fill(const osp_onnx_tensor *tensor, void *dst, osp_error *err);
// True if `data` holds a byte other than 0 and 1, which a bool must not.
bool osp_onnx_bools_dirty(const void *data, size_t count);
void osp_onnx_bools_clean(void *data, size_t count);

// A .pb file's bytes as a tensor: one block of ctx->mem that starts at out->data and holds the name
// too (NULL where the file has none). External data: UNSUPPORTED.
osp_status osp_onnx_tensor_read(osp_context *ctx, const uint8_t *bytes, size_t size,
                                osp_tensor *out, osp_error *err);
// Writes a dense host tensor as a TensorProto with raw_data.
osp_status osp_onnx_tensor_write(osp_context *ctx, const char *path, const osp_tensor *tensor,
                                 osp_error *err);

#endif
