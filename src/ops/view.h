// What reference kernels share: typed elements, and walking over N-d operands with strides.
// A kernel computes in float or int64 and rounds once when it stores; types differ only here.
// Thread rule: no state.
#ifndef OSP_OPS_VIEW_H
#define OSP_OPS_VIEW_H

#include "base/half.h"
#include "ops/op.h"

static inline bool osp_dtype_is_float(osp_dtype dtype)
{
    return dtype == OSP_DTYPE_FLOAT32 || dtype == OSP_DTYPE_FLOAT16 || dtype == OSP_DTYPE_BFLOAT16;
}

// Elements of a view; infer has checked that the count fits.
static inline size_t osp_view_count(const osp_view *view)
{
    size_t count = 0;
    return osp_shape_count(&view->shape, &count) ? count : 0;
}

// ---- Elements -----------------------------------------------------------------------------------

// Truncates, saturates to the int64 range; NaN is 0. Never undefined.
static inline int64_t osp_float_to_int(double x)
{
    if (x != x)
        return 0;
    if (x >= 0x1p63)
        return INT64_MAX;
    return x < -0x1p63 ? INT64_MIN : (int64_t)x;
}

// Element i of a float or integer array as float.
static inline float osp_load_float(osp_dtype dtype, const void *data, size_t i)
{
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        return ((const float *)data)[i];
    case OSP_DTYPE_FLOAT16:
        return osp_half_to_float(((const uint16_t *)data)[i]);
    case OSP_DTYPE_BFLOAT16:
        return osp_bfloat_to_float(((const uint16_t *)data)[i]);
    case OSP_DTYPE_INT32:
        return (float)((const int32_t *)data)[i];
    case OSP_DTYPE_INT64:
        return (float)((const int64_t *)data)[i];
    case OSP_DTYPE_UINT8:
    case OSP_DTYPE_BOOL:
        return (float)((const uint8_t *)data)[i];
    case OSP_DTYPE_INT8:
        return (float)((const int8_t *)data)[i];
    case OSP_DTYPE_UNKNOWN:
        break;
    }
    return 0;
}

// Element i of an integer or bool array; floats are truncated.
static inline int64_t osp_load_int(osp_dtype dtype, const void *data, size_t i)
{
    switch (dtype) {
    case OSP_DTYPE_INT32:
        return ((const int32_t *)data)[i];
    case OSP_DTYPE_INT64:
        return ((const int64_t *)data)[i];
    case OSP_DTYPE_UINT8:
        return ((const uint8_t *)data)[i];
    case OSP_DTYPE_BOOL:
        return ((const uint8_t *)data)[i] != 0;
    case OSP_DTYPE_INT8:
        return ((const int8_t *)data)[i];
    default:
        return osp_float_to_int((double)osp_load_float(dtype, data, i));
    }
}

// Keeps the low bits, as C and numpy narrow integers; bool is "not zero"; floats are rounded.
static inline void osp_store_int(osp_dtype dtype, void *data, size_t i, int64_t x)
{
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        ((float *)data)[i] = (float)x;
        break;
    case OSP_DTYPE_FLOAT16:
        ((uint16_t *)data)[i] = osp_float_to_half((float)x);
        break;
    case OSP_DTYPE_BFLOAT16:
        ((uint16_t *)data)[i] = osp_float_to_bfloat((float)x);
        break;
    case OSP_DTYPE_INT32: {
        const uint32_t bits = (uint32_t)(uint64_t)x;
        memcpy((int32_t *)data + i, &bits, sizeof bits);
        break;
    }
    case OSP_DTYPE_INT64:
        ((int64_t *)data)[i] = x;
        break;
    case OSP_DTYPE_UINT8:
    case OSP_DTYPE_INT8:
        ((uint8_t *)data)[i] = (uint8_t)(uint64_t)x;
        break;
    case OSP_DTYPE_BOOL:
        ((uint8_t *)data)[i] = x != 0;
        break;
    case OSP_DTYPE_UNKNOWN:
        break;
    }
}

// Rounds to the type; integers are truncated and saturated to their own range, NaN is 0.
static inline void osp_store_float(osp_dtype dtype, void *data, size_t i, float x)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    switch (dtype) {
    case OSP_DTYPE_FLOAT32:
        ((float *)data)[i] = x;
        return;
    case OSP_DTYPE_FLOAT16:
        ((uint16_t *)data)[i] = osp_float_to_half(x);
        return;
    case OSP_DTYPE_BFLOAT16:
        ((uint16_t *)data)[i] = osp_float_to_bfloat(x);
        return;
    case OSP_DTYPE_BOOL:
        ((uint8_t *)data)[i] = x != 0;  // NaN is true
        return;
    case OSP_DTYPE_INT32:
        low = INT32_MIN, high = INT32_MAX;
        break;
    case OSP_DTYPE_UINT8:
        low = 0, high = UINT8_MAX;
        break;
    case OSP_DTYPE_INT8:
        low = INT8_MIN, high = INT8_MAX;
        break;
    default:
        break;
    }
    const int64_t whole = osp_float_to_int((double)x);
    osp_store_int(dtype, data, i, osp_i64_max(low, osp_i64_min(high, whole)));
}

// dst[i] = src[j], both of `bytes` an element (osp_dtype_bytes).
static inline void osp_copy_element(void *dst, size_t i, const void *src, size_t j, size_t bytes)
{
    memcpy((char *)dst + i * bytes, (const char *)src + j * bytes, bytes);
}

// ---- Walking ------------------------------------------------------------------------------------

// Visits every index of a shape in C order, keeping the element offset of up to four operands:
//
//     osp_walk w;
//     osp_walk_init(&w, &dst->shape);
//     osp_walk_operand(&w, 0, strides_of_a);
//     osp_walk_operand(&w, 1, strides_of_b);
//     for (size_t i = 0; osp_walk_next(&w); i++)
//         ... dst i, a at w.at[0], b at w.at[1], indices w.index[d] ...
//
// Shapes with a dim of 0 are not visited; rank 0 is visited once. Strides may be 0 or negative.
enum { OSP_WALK_OPERANDS = 4 };

typedef struct osp_walk {
    osp_shape shape;
    int64_t index[OSP_MAX_RANK];
    int64_t stride[OSP_WALK_OPERANDS][OSP_MAX_RANK];
    int64_t at[OSP_WALK_OPERANDS];
    bool started, empty;
} osp_walk;

static inline void osp_walk_init(osp_walk *w, const osp_shape *shape)
{
    *w = (osp_walk){.shape = *shape};
    for (int32_t d = 0; d < shape->rank; d++)
        w->empty |= shape->dims[d] <= 0;
}

static inline void osp_walk_operand(osp_walk *w, int32_t k, const int64_t strides[OSP_MAX_RANK])
{
    memcpy(w->stride[k], strides, (size_t)w->shape.rank * sizeof strides[0]);
}

// Operand k is `shape` broadcast to the walk's shape.
static inline void osp_walk_broadcast(osp_walk *w, int32_t k, const osp_shape *shape)
{
    int64_t strides[OSP_MAX_RANK] = {0};
    osp_shape_broadcast_strides(shape, &w->shape, strides);
    osp_walk_operand(w, k, strides);
}

static inline bool osp_walk_next(osp_walk *w)
{
    if (!w->started) {
        w->started = true;
        return !w->empty;
    }
    for (int32_t d = w->shape.rank - 1; d >= 0; d--) {
        if (++w->index[d] < w->shape.dims[d]) {
            for (int32_t k = 0; k < OSP_WALK_OPERANDS; k++)
                w->at[k] += w->stride[k][d];
            return true;
        }
        w->index[d] = 0;
        for (int32_t k = 0; k < OSP_WALK_OPERANDS; k++)
            w->at[k] -= w->stride[k][d] * (w->shape.dims[d] - 1);
    }
    return false;
}

#endif
