// Slice: by attributes up to opset 9, by inputs since. Thread rule: no state.
#include "ops/move.h"

// Python's slice of an axis of `length`: first element, step, count. Any int64 will do but step 0.
static void clamp_slice(int64_t length, int64_t start, int64_t end, int64_t *first, int64_t *step,
                        int64_t *count)
{
    start = start < 0 ? start + length : start;
    end = end < 0 ? end + length : end;
    int64_t low = *step > 0 ? 0 : -1, high = *step > 0 ? length : length - 1;
    start = osp_i64_max(*step > 0 ? low : 0, osp_i64_min(high, start));
    end = osp_i64_max(low, osp_i64_min(high, end));
    int64_t distance = *step > 0 ? end - start : start - end;
    // The step's size as unsigned, since -INT64_MIN is not an int64.
    uint64_t stride = *step > 0 ? (uint64_t)*step : 0 - (uint64_t)*step;
    *first = start;
    *count = length > 0 && distance > 0 ? (int64_t)(((uint64_t)distance - 1) / stride) + 1 : 0;
    if (*count <= 1)
        *step = 1;  // does not matter, and its multiples stay small
    if (*count == 0)
        *first = 0;
}

static osp_status read_lists(osp_infer *in, osp_ints *starts, osp_ints *ends, osp_ints *axes,
                             osp_ints *steps, osp_error *err)
{
    const osp_slice_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    *starts = attrs->starts;
    *ends = attrs->ends;
    *axes = attrs->axes;
    steps->count = -1;
    if (osp_infer_input(in, 1)) {
        OSP_TRY(osp_infer_ints(in, 1, starts->v, 16, &starts->count, err));
        OSP_TRY(osp_infer_ints(in, 2, ends->v, 16, &ends->count, err));
        OSP_TRY(osp_infer_ints(in, 3, axes->v, 16, &axes->count, err));
        OSP_TRY(osp_infer_ints(in, 4, steps->v, 16, &steps->count, err));
    }
    int32_t rank = in->inputs[0]->shape.rank;
    if (starts->count < 0 || ends->count < 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: starts or ends are missing", type);
    if (starts->count > rank || ends->count != starts->count ||
        (axes->count >= 0 && axes->count != starts->count) ||
        (steps->count >= 0 && steps->count != starts->count))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: %d starts, %d ends, %d axes, %d steps (-1: none) for %d dimensions", type,
                 starts->count, ends->count, axes->count, steps->count, rank);
    return OSP_OK;
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_slice_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    osp_ints starts, ends, axes, steps;
    OSP_TRY(read_lists(in, &starts, &ends, &axes, &steps, err));
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, *src};
    for (int32_t i = 0; i < OSP_MAX_RANK; i++) {
        attrs->start[i] = 0;
        attrs->step[i] = 1;
    }
    uint32_t seen = 0;
    for (int32_t i = 0; i < starts.count; i++) {
        int32_t axis;
        if (!osp_shape_axis(axes.count >= 0 ? axes.v[i] : i, src->rank, &axis))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions", type,
                     (long long)axes.v[i], src->rank);
        if (seen >> axis & 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d is given twice", type, axis);
        seen |= 1u << axis;
        attrs->step[axis] = steps.count >= 0 ? steps.v[i] : 1;
        if (attrs->step[axis] == 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the step of axis %d is 0", type, axis);
        clamp_slice(src->dims[axis], starts.v[i], ends.v[i], &attrs->start[axis],
                    &attrs->step[axis], &out->shape.dims[axis]);
    }
    return OSP_OK;
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_slice_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    size_t count = 0, size = osp_dtype_bytes(src->dtype);
    if (!osp_shape_count(&dst->shape, &count) || count == 0)
        return OSP_OK;
    int64_t strides[OSP_MAX_RANK], first = 0;
    osp_shape_strides(&src->shape, strides);
    for (int32_t i = 0; i < src->shape.rank; i++) {
        first += attrs->start[i] * strides[i];
        strides[i] *= attrs->step[i];
    }
    osp_move_strided(dst->data, (const char *)src->data + (size_t)first * size, dst->shape.rank,
                     dst->shape.dims, strides, size);
    return OSP_OK;
}

static const osp_attr_row rows[] = {
    {"axes", OSP_ATTR_INTS, offsetof(osp_slice_attrs, axes), 16, NULL, 0, 9},
    {"ends", OSP_ATTR_INTS, offsetof(osp_slice_attrs, ends), 16, NULL, 0, 9},
    {"starts", OSP_ATTR_INTS, offsetof(osp_slice_attrs, starts), 16, NULL, 0, 9},
    {0},
};
static const osp_slice_attrs defaults = {.starts = {.count = -1},
                                         .ends = {.count = -1},
                                         .axes = {.count = -1}};

const osp_op osp_op_slice = {
    .type = "Slice",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 5,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4,
    .attrs_size = sizeof(osp_slice_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
};
