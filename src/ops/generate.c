// Range, ConstantOfShape, Shape: their results depend on scalars and shapes alone.
// Thread rule: no state.
#include "ops/generate.h"

#include <math.h>
#include <stddef.h>

#include "ops/view.h"

// ---- Range --------------------------------------------------------------------------------------

static osp_status range_count(const osp_infer *in, int64_t *out, osp_error *err)
{
    int32_t count;
    if (osp_dtype_is_float(in->inputs[0]->dtype)) {
        float v[3] = {0};
        for (int32_t i = 0; i < 3; i++)
            OSP_TRY(osp_infer_floats(in, i, v + i, 1, &count, err));
        const double n = ceil(((double)v[1] - (double)v[0]) / (double)v[2]);
        if (!(fabs(n) < 0x1p53))  // NaN too
            OSP_FAIL(err, OSP_ERROR_FORMAT, "a range from %g to %g by %g has no end", (double)v[0],
                     (double)v[1], (double)v[2]);
        *out = n > 0 ? (int64_t)n : 0;
        return OSP_OK;
    }
    int64_t v[3] = {0};
    for (int32_t i = 0; i < 3; i++)
        OSP_TRY(osp_infer_ints(in, i, v + i, 1, &count, err));
    if (v[2] == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a range by steps of 0 has no end");
    const bool up = v[2] > 0;
    const uint64_t step = up ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    const uint64_t way = up ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    const bool empty = up ? v[1] <= v[0] : v[1] >= v[0];
    const uint64_t n = empty ? 0 : (way - 1) / step + 1;
    *out = n > INT64_MAX ? INT64_MAX : (int64_t)n;
    return OSP_OK;
}

static osp_status infer_range(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPE(OSP_DTYPE_FLOAT32) | OSP_TYPES_INT, err));
    for (int32_t i = 0; i < 3; i++) {
        size_t count;
        OSP_TRY(osp_infer_same(in, 0, i, err));
        if (!osp_shape_count(&in->inputs[i]->shape, &count) || count != 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d must be one number", i);
    }
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, {.rank = 1}};
    return range_count(in, &in->outputs[0].shape.dims[0], err);
}

static osp_status run_range(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *start = call->inputs, *delta = call->inputs + 2,
                   *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    for (size_t i = 0; i < count; i++)
        if (dst->dtype == OSP_DTYPE_FLOAT32)
            osp_store_float(
                dst->dtype, dst->data, i,
                (float)((double)osp_load_float(start->dtype, start->data, 0) +
                        (double)i * (double)osp_load_float(delta->dtype, delta->data, 0)));
        else
            osp_store_int(dst->dtype, dst->data, i,
                          (int64_t)((uint64_t)osp_load_int(start->dtype, start->data, 0) +
                                    i * (uint64_t)osp_load_int(delta->dtype, delta->data, 0)));
    return OSP_OK;
}

const osp_op osp_op_range = {.type = "Range",
                             .domain = "",
                             .min_inputs = 3,
                             .max_inputs = 3,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .shape_inputs = 7,
                             .attrs_size = 1,
                             .infer = infer_range,
                             .reference = run_range};

// ---- ConstantOfShape ----------------------------------------------------------------------------

static const osp_attr_row constant_of_shape_rows[] = {
    {"value", OSP_ATTR_SCALAR, offsetof(osp_constant_of_shape_attrs, value), 0, NULL, 0, 0},
    {0}};

static osp_status infer_constant_of_shape(osp_infer *in, osp_error *err)
{
    const osp_constant_of_shape_attrs *a = in->attrs;
    osp_type *out = in->outputs;
    const int32_t dtype = a->value.dtype ? a->value.dtype : OSP_DTYPE_FLOAT32;
    if (dtype < 0 || dtype > OSP_DTYPE_BOOL)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'value' has no type");
    out->dtype = (osp_dtype)dtype;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPE(OSP_DTYPE_INT64), err));
    OSP_TRY(osp_infer_rank(in, 0, 1, 1, err));
    OSP_TRY(osp_infer_ints(in, 0, out->shape.dims, OSP_MAX_RANK, &out->shape.rank, err));
    for (int32_t d = 0; d < out->shape.rank; d++)
        if (out->shape.dims[d] < 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "dim %d of the shape is %lld", d,
                     (long long)out->shape.dims[d]);
    return OSP_OK;
}

static osp_status run_constant_of_shape(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_constant_of_shape_attrs *a = call->attrs;
    const osp_view *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    for (size_t i = 0; i < count; i++)
        osp_copy_element(dst->data, i, a->value.bytes, 0, osp_dtype_bytes(dst->dtype));
    return OSP_OK;
}

const osp_op osp_op_constant_of_shape = {.type = "ConstantOfShape",
                                         .domain = "",
                                         .min_inputs = 1,
                                         .max_inputs = 1,
                                         .min_outputs = 1,
                                         .max_outputs = 1,
                                         .shape_inputs = 1,
                                         .attrs_size = sizeof(osp_constant_of_shape_attrs),
                                         .attr_table = constant_of_shape_rows,
                                         .infer = infer_constant_of_shape,
                                         .reference = run_constant_of_shape};

// ---- Shape --------------------------------------------------------------------------------------

static const osp_attr_row shape_rows[] = {
    {"start", OSP_ATTR_INT, offsetof(osp_shape_attrs, start), 0, NULL, 15, 0},
    {"end", OSP_ATTR_INT, offsetof(osp_shape_attrs, end), 0, NULL, 15, 0},
    {0}};
static const osp_shape_attrs shape_defaults = {0, INT64_MAX};

static int64_t clamp_axis(int64_t axis, int64_t rank)
{
    return axis < 0 ? osp_i64_max(axis < -rank ? 0 : axis + rank, 0) : osp_i64_min(axis, rank);
}

static osp_status infer_shape(osp_infer *in, osp_error *err)
{
    osp_shape_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const int64_t rank = in->inputs[0]->shape.rank;
    a->start = clamp_axis(a->start, rank);
    a->end = clamp_axis(a->end, rank);
    in->outputs[0] = (osp_type){OSP_DTYPE_INT64,
                                {.rank = 1, .dims = {osp_i64_max(a->end - a->start, 0)}}};
    return OSP_OK;
}

static osp_status run_shape(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_shape_attrs *a = call->attrs;
    const osp_view *dst = osp_call_output(call, 0);
    for (int64_t d = a->start; dst && d < a->end; d++)
        ((int64_t *)dst->data)[d - a->start] = call->inputs[0].shape.dims[d];
    return OSP_OK;
}

const osp_op osp_op_shape = {.type = "Shape",
                             .domain = "",
                             .min_inputs = 1,
                             .max_inputs = 1,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .attrs_size = sizeof(osp_shape_attrs),
                             .attr_table = shape_rows,
                             .defaults = &shape_defaults,
                             .infer = infer_shape,
                             .reference = run_shape,
                             .shape_only = true};
