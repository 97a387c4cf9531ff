// Names and sizes of element types. Thread rule: no state.
#include "osprey/osprey.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [OSP_DTYPE_UNKNOWN] = {"unknown", 0}, [OSP_DTYPE_FLOAT32] = {"float32", 4},
    [OSP_DTYPE_FLOAT16] = {"float16", 2}, [OSP_DTYPE_BFLOAT16] = {"bfloat16", 2},
    [OSP_DTYPE_INT32] = {"int32", 4},     [OSP_DTYPE_INT64] = {"int64", 8},
    [OSP_DTYPE_UINT8] = {"uint8", 1},     [OSP_DTYPE_INT8] = {"int8", 1},
    [OSP_DTYPE_BOOL] = {"bool", 1},
};

// Numbers outside the enum, which a C caller may well pass, count as unknown.
static size_t row_of(osp_dtype dtype)
{
    const size_t row = (size_t)dtype;
    return row < sizeof dtypes / sizeof dtypes[0] ? row : OSP_DTYPE_UNKNOWN;
}

size_t osp_dtype_bytes(osp_dtype dtype)
{
    return dtypes[row_of(dtype)].bytes;
}

const char *osp_dtype_name(osp_dtype dtype)
{
    return dtypes[row_of(dtype)].name;
}
