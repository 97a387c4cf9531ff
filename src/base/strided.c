// See strided.h. Thread rule: no state.
#include "base/strided.h"

#include <string.h>

#include "base/size.h"

// Walks the strided side beside the dense one; `gather` says which way bytes go.
static void walk(char *strided, char *dense, bool gather, size_t elem, int32_t rank,
                 const int64_t *dims, const int64_t *strides)
{
    int64_t index[OSP_MAX_RANK] = {0};
    for (int32_t d = 0; d < rank; d++)
        if (dims[d] == 0)
            return;
    int64_t at = 0;  // an offset: pointers must not leave the tensor, not even for a moment
    for (;;) {
        memcpy(gather ? dense : strided + at, gather ? strided + at : dense, elem);
        dense += elem;
        int32_t d = rank - 1;
        for (; d >= 0; d--) {
            if (++index[d] < dims[d]) {
                at += strides[d];
                break;
            }
            at -= strides[d] * (dims[d] - 1);
            index[d] = 0;
        }
        if (d < 0)
            return;
    }
}

void osp_strided_copy(void *dst, const void *src, size_t elem, int32_t rank, const int64_t *dims,
                      const int64_t *strides)
{
    walk((char *)(uintptr_t)src, dst, true, elem, rank, dims, strides);
}

void osp_strided_scatter(void *dst, const void *src, size_t elem, int32_t rank, const int64_t *dims,
                         const int64_t *strides)
{
    walk(dst, (char *)(uintptr_t)src, false, elem, rank, dims, strides);
}

bool osp_tensor_is_dense(const osp_tensor *t)
{
    bool none = true;
    for (int32_t d = 0; d < t->rank; d++)
        none &= t->byte_strides[d] == 0;
    if (none)
        return true;
    int64_t step = (int64_t)osp_dtype_bytes(t->dtype);
    for (int32_t d = t->rank - 1; d >= 0; d--) {
        if (t->dims[d] != 1 && t->byte_strides[d] != step)
            return false;
        step *= t->dims[d];
    }
    return true;
}

osp_status osp_dense_make(osp_dense *out, osp_context *ctx, const osp_tensor *tensor,
                          osp_error *err)
{
    *out = (osp_dense){0};
    const size_t elem = osp_dtype_bytes(tensor->dtype);
    if (!elem || tensor->rank < 0 || tensor->rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "a tensor of dtype %d and rank %d: fill in the struct",
                 (int)tensor->dtype, tensor->rank);
    if (tensor->place == OSP_PLACE_DEVICE)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "a tensor in device memory: copy it to the host first");
    size_t bytes = elem;
    bool empty = false;
    for (int32_t d = 0; d < tensor->rank; d++) {
        empty |= tensor->dims[d] == 0;
        if (tensor->dims[d] < 0 ||
            (tensor->dims[d] && !osp_size_mul(bytes, (size_t)tensor->dims[d], &bytes)) ||
            bytes > PTRDIFF_MAX)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "dim %d of a tensor is %lld: negative or too large",
                     d, (long long)tensor->dims[d]);
    }
    if (empty)
        bytes = 0;
    if (!tensor->data && bytes)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "a tensor without data");
    out->bytes = bytes;
    out->data = tensor->data;
    if (bytes == 0 || osp_tensor_is_dense(tensor))
        return OSP_OK;
    out->data = out->block = osp_mem_alloc(&ctx->mem, bytes);
    if (!out->block)
        OSP_FAIL_MEMORY(err);
    osp_strided_copy(out->block, tensor->data, elem, tensor->rank, tensor->dims,
                     tensor->byte_strides);
    return OSP_OK;
}

void osp_dense_free(osp_dense *dense, osp_context *ctx)
{
    osp_mem_free(&ctx->mem, dense->block);
    *dense = (osp_dense){0};
}
