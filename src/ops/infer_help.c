// What the families' infer functions share: checks with messages that name input, type and
// operator, and constant inputs as numbers. Thread rule: no state.
#include <stdio.h>
#include <string.h>

#include "ops/view.h"

static const osp_value *need_input(const osp_infer *in, int32_t i, osp_error *err)
{
    const osp_value *value = osp_infer_input(in, i);
    if (!value)
        osp_error_set(err, OSP_ERROR_FORMAT, "input %d is missing", i);
    return value;
}

osp_status osp_infer_types(const osp_infer *in, int32_t i, uint32_t types, osp_error *err)
{
    const osp_value *value = need_input(in, i, err);
    if (!value)
        return OSP_ERROR_FORMAT;
    if (types >> value->dtype & 1)
        return OSP_OK;
    char list[128];
    size_t used = 0;
    list[0] = 0;
    for (int32_t d = OSP_DTYPE_FLOAT32; d <= OSP_DTYPE_BOOL; d++)
        if (types >> d & 1) {
            const int n = snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                   osp_dtype_name((osp_dtype)d));
            used = osp_i64_min((int64_t)sizeof list - 1, (int64_t)used + (n > 0 ? n : 0));
        }
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "input %d is %s: %s takes %s", i,
             osp_dtype_name(value->dtype), in->op->type, list);
}

osp_status osp_infer_same(const osp_infer *in, int32_t i, int32_t j, osp_error *err)
{
    const osp_value *a = need_input(in, i, err), *b = need_input(in, j, err);
    if (!a || !b)
        return OSP_ERROR_FORMAT;
    if (a->dtype != b->dtype)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d is %s but input %d is %s: they must be alike", i,
                 osp_dtype_name(a->dtype), j, osp_dtype_name(b->dtype));
    return OSP_OK;
}

osp_status osp_infer_rank(const osp_infer *in, int32_t i, int32_t low, int32_t high, osp_error *err)
{
    const osp_value *value = need_input(in, i, err);
    if (!value)
        return OSP_ERROR_FORMAT;
    char text[96];
    if (value->shape.rank >= low && value->shape.rank <= high)
        return OSP_OK;
    osp_shape_text(&value->shape, text, sizeof text);
    if (low == high)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d has shape %s: its rank must be %d", i, text, low);
    OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d has shape %s: its rank must be %d to %d", i, text,
             low, high);
}

// Input i as a constant of rank <= 1 with at most `capacity` elements; *count -1: left out.
static osp_status constant_list(const osp_infer *in, int32_t i, uint32_t types, int32_t capacity,
                                int32_t *count, osp_error *err)
{
    const osp_value *value = osp_infer_input(in, i);
    *count = -1;
    if (!value)
        return OSP_OK;
    OSP_TRY(osp_infer_types(in, i, types, err));
    OSP_TRY(osp_infer_rank(in, i, 0, 1, err));
    size_t n;
    if (!osp_shape_count(&value->shape, &n) || n > (size_t)capacity)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d has %lld elements: at most %d fit", i,
                 (long long)value->shape.dims[0], capacity);
    if (!value->data)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "input %d must be constant", i);
    *count = (int32_t)n;
    return OSP_OK;
}

osp_status osp_infer_ints(const osp_infer *in, int32_t i, int64_t *v, int32_t capacity,
                          int32_t *count, osp_error *err)
{
    OSP_TRY(constant_list(in, i, OSP_TYPES_INT, capacity, count, err));
    for (int32_t k = 0; k < *count; k++) {
        const osp_value *value = in->inputs[i];
        const size_t bytes = osp_dtype_bytes(value->dtype);
        int64_t element = 0;  // data may be unaligned
        memcpy(&element, (const char *)value->data + (size_t)k * bytes, bytes);
        v[k] = osp_load_int(value->dtype, &element, 0);
    }
    return OSP_OK;
}

osp_status osp_infer_floats(const osp_infer *in, int32_t i, float *v, int32_t capacity,
                            int32_t *count, osp_error *err)
{
    OSP_TRY(constant_list(in, i, OSP_TYPES_FLOAT, capacity, count, err));
    for (int32_t k = 0; k < *count; k++) {
        const osp_value *value = in->inputs[i];
        const size_t bytes = osp_dtype_bytes(value->dtype);
        uint64_t element = 0;  // the widest type
        memcpy(&element, (const char *)value->data + (size_t)k * bytes, bytes);
        v[k] = osp_load_float(value->dtype, &element, 0);
    }
    return OSP_OK;
}
