// Copies between strided and dense tensors, and their checks. Thread rule: no state.
#ifndef OSP_BASE_STRIDED_H
#define OSP_BASE_STRIDED_H

#include "base/context.h"

// Copies elements of `elem` bytes, at `strides` bytes from each other along each dim, to a dense
// block in C order.
void osp_strided_copy(void *dst, const void *src, size_t elem, int32_t rank, const int64_t *dims,
                      const int64_t *strides);

// The other way: dense elements to places `strides` bytes apart.
void osp_strided_scatter(void *dst, const void *src, size_t elem, int32_t rank, const int64_t *dims,
                         const int64_t *strides);

// True if all strides are 0, which means dense, or those of C order.
bool osp_tensor_is_dense(const osp_tensor *tensor);

// The dense elements of a host tensor: its own memory, or a block of ours.
typedef struct osp_dense {
    const void *data;
    size_t bytes;
    void *block;  // NULL: data is the tensor's
} osp_dense;

// ARGUMENT for an unknown type, a bad rank or dim, device memory, data NULL.
osp_status osp_dense_make(osp_dense *out, osp_context *ctx, const osp_tensor *tensor,
                          osp_error *err);
void osp_dense_free(osp_dense *dense, osp_context *ctx);

#endif
