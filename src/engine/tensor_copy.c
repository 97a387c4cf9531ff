// Strided copies by an odometer over all dimensions but the last.
#include "engine/tensor_copy.h"

#include <string.h>

bool osp_tensor_is_dense(const osp_tensor *t)
{
    int64_t expected = (int64_t)osp_dtype_bytes(t->dtype);
    bool none = true, dense = true;
    for (int32_t d = t->rank - 1; d >= 0; d--) {
        none &= t->byte_strides[d] == 0;
        dense &= t->dims[d] == 1 || t->byte_strides[d] == expected;
        expected *= t->dims[d];
    }
    return none || dense;
}

// Walks the strided side `t` beside the dense side; `to_dense` says which way bytes go.
static void copy(const osp_tensor *t, char *dense, bool to_dense)
{
    size_t element = osp_dtype_bytes(t->dtype), total = element;
    for (int32_t d = 0; d < t->rank; d++)
        total *= (size_t)t->dims[d];
    if (!total)
        return;
    if (osp_tensor_is_dense(t)) {
        memcpy(to_dense ? dense : t->data, to_dense ? t->data : dense, total);
        return;
    }
    int64_t index[OSP_MAX_RANK] = {0};
    char *at = t->data;
    int32_t last = t->rank - 1;
    for (;;) {
        char *row = at;
        for (int64_t i = 0; i < t->dims[last]; i++) {
            memcpy(to_dense ? dense : row, to_dense ? row : dense, element);
            dense += element;
            row += t->byte_strides[last];
        }
        int32_t d = last - 1;
        for (; d >= 0; d--) {
            at += t->byte_strides[d];
            if (++index[d] < t->dims[d])
                break;
            at -= t->byte_strides[d] * t->dims[d];
            index[d] = 0;
        }
        if (d < 0)
            return;
    }
}

void osp_tensor_gather(void *dst, const osp_tensor *src)
{
    copy(src, dst, true);
}

void osp_tensor_scatter(const osp_tensor *dst, const void *src)
{
    copy(dst, (char *)(uintptr_t)src, false);
}
