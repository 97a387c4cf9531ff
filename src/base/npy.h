// NumPy's .npy files, versions 1 to 3: one array of a type we have. Thread rule: no state.
#ifndef OSP_BASE_NPY_H
#define OSP_BASE_NPY_H

#include "base/context.h"

// True if the bytes begin like a .npy file.
bool osp_npy_is(const uint8_t *bytes, size_t size);

// Reads little-endian float32, float16, int64, int32, uint8, int8 and bool, in C or Fortran order
// (which is transposed on the way). out->data is one block of ctx->mem, 64-byte aligned; the name
// is NULL. FORMAT for a broken file, UNSUPPORTED for another type, LIMIT over limits.tensor_bytes.
osp_status osp_npy_read(osp_context *ctx, const uint8_t *bytes, size_t size, osp_tensor *out,
                        osp_error *err);

// Writes a host tensor, strided ones made dense. UNSUPPORTED for bfloat16, which NumPy lacks.
osp_status osp_npy_write(osp_context *ctx, const char *path, const osp_tensor *tensor,
                         osp_error *err);

#endif
