// Concat and Split. Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

enum { SPLIT_MAX = 64 };

static osp_status concat_infer(osp_infer *in, osp_error *err)
{
    osp_axis_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    const osp_shape *first = &in->inputs[0]->shape;
    int32_t axis;
    if (attrs->axis == INT64_MIN)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute axis is missing", type);
    if (!osp_shape_axis(attrs->axis, first->rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions", type,
                 (long long)attrs->axis, first->rank);
    attrs->resolved_axis = axis;
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, *first};
    for (int32_t i = 1; i < in->input_count; i++) {
        OSP_TRY(osp_infer_same(in, 0, i, err));
        const osp_shape *shape = &in->inputs[i]->shape;
        bool fits = shape->rank == first->rank;
        for (int32_t d = 0; fits && d < shape->rank; d++)
            fits = d == axis || shape->dims[d] == first->dims[d];
        char a[96], b[96];
        if (!fits)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: input %d of shape %s does not join %s on axis %d",
                     type, i, osp_shape_text(shape, a, sizeof a),
                     osp_shape_text(first, b, sizeof b), axis);
        if (!osp_i64_add(out->shape.dims[axis], shape->dims[axis], &out->shape.dims[axis]))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "%s: the result is too large", type);
    }
    return OSP_OK;
}

static osp_status concat_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_axis_attrs *attrs = call->attrs;
    const osp_view *dst = &call->outputs[0];
    if (osp_view_count(dst) == 0)
        return OSP_OK;
    int32_t axis = attrs->resolved_axis, rank = dst->shape.rank;
    size_t size = osp_dtype_bytes(dst->dtype);
    size_t outer = (size_t)osp_shape_span(&dst->shape, 0, axis);
    size_t pitch = (size_t)osp_shape_span(&dst->shape, axis, rank) * size, at = 0;
    for (int32_t i = 0; i < call->input_count; i++) {
        const osp_view *src = &call->inputs[i];
        size_t piece = (size_t)osp_shape_span(&src->shape, axis, rank) * size;
        for (size_t o = 0; piece > 0 && o < outer; o++)
            memcpy((char *)dst->data + o * pitch + at, (const char *)src->data + o * piece, piece);
        at += piece;
    }
    return OSP_OK;
}

// Equal parts; with num_outputs (opset 18) the last one may be smaller.
static osp_status split_evenly(const osp_infer *in, int64_t length, int64_t *sizes, osp_error *err)
{
    const osp_split_attrs *attrs = in->attrs;
    int64_t parts = in->output_count;
    if (attrs->num_outputs && attrs->num_outputs != parts)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: num_outputs is %lld, but the node has %lld outputs",
                 in->op->type, (long long)attrs->num_outputs, (long long)parts);
    if (!attrs->num_outputs && length % parts)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %lld elements do not split into %lld equal parts",
                 in->op->type, (long long)length, (long long)parts);
    int64_t size = length / parts + (length % parts != 0);
    for (int64_t i = 0; i < parts; i++)
        sizes[i] = osp_i64_max(0, osp_i64_min(size, length - i * size));
    return OSP_OK;
}

static osp_status split_infer(osp_infer *in, osp_error *err)
{
    osp_split_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    const osp_shape *src = &in->inputs[0]->shape;
    int32_t axis;
    if (!osp_shape_axis(attrs->axis, src->rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions", type,
                 (long long)attrs->axis, src->rank);
    attrs->resolved_axis = axis;
    if (in->output_count > SPLIT_MAX)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: more than %d outputs", type, SPLIT_MAX);
    int64_t *sizes = attrs->resolved_sizes, sum = 0;
    memset(sizes, 0, sizeof attrs->resolved_sizes);
    int32_t count = attrs->split.count;
    if (osp_infer_input(in, 1))
        OSP_TRY(osp_infer_ints(in, 1, sizes, SPLIT_MAX, &count, err));
    else if (count >= 0)
        memcpy(sizes, attrs->split.v, sizeof attrs->resolved_sizes);
    if (count < 0)
        OSP_TRY(split_evenly(in, src->dims[axis], sizes, err));
    else if (count != in->output_count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %d sizes for %d outputs", type, count,
                 in->output_count);
    for (int32_t i = 0; i < in->output_count; i++) {
        if (sizes[i] < 0 || !osp_i64_add(sum, sizes[i], &sum))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: size %lld of output %d is out of range", type,
                     (long long)sizes[i], i);
        in->outputs[i] = (osp_type){in->inputs[0]->dtype, *src};
        in->outputs[i].shape.dims[axis] = sizes[i];
    }
    if (sum != src->dims[axis])
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the sizes add up to %lld, axis %d has %lld", type,
                 (long long)sum, axis, (long long)src->dims[axis]);
    return OSP_OK;
}

// Parts that nobody wants have no shape in the call: the sizes are infer's.
static osp_status split_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_split_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0];
    int32_t axis = attrs->resolved_axis, rank = src->shape.rank;
    size_t size = osp_dtype_bytes(src->dtype);
    if (osp_view_count(src) == 0)
        return OSP_OK;
    size_t outer = (size_t)osp_shape_span(&src->shape, 0, axis);
    size_t inner = (size_t)osp_shape_span(&src->shape, axis + 1, rank) * size;
    size_t pitch = (size_t)src->shape.dims[axis] * inner, at = 0;
    for (int32_t i = 0; i < call->output_count; i++) {
        const osp_view *dst = &call->outputs[i];
        size_t piece = (size_t)attrs->resolved_sizes[i] * inner;
        for (size_t o = 0; dst->data && piece > 0 && o < outer; o++)
            memcpy((char *)dst->data + o * piece, (const char *)src->data + o * pitch + at, piece);
        at += piece;
    }
    return OSP_OK;
}

static const osp_attr_row concat_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_axis_attrs, axis), 0, NULL, 0, 0},
    {0},
};
static const osp_axis_attrs concat_defaults = {.axis = INT64_MIN};
static const osp_attr_row split_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_split_attrs, axis), 0, NULL, 0, 0},
    {"num_outputs", OSP_ATTR_INT, offsetof(osp_split_attrs, num_outputs), 0, NULL, 18, 0},
    {"split", OSP_ATTR_INTS, offsetof(osp_split_attrs, split), SPLIT_MAX, NULL, 0, 12},
    {0},
};
static const osp_split_attrs split_defaults = {.split = {.count = -1}};

const osp_op osp_op_concat = {
    .type = "Concat",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_axis_attrs),
    .attr_table = concat_rows,
    .defaults = &concat_defaults,
    .infer = concat_infer,
    .reference = concat_reference,
};

const osp_op osp_op_split = {
    .type = "Split",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = SPLIT_MAX,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(osp_split_attrs),
    .attr_table = split_rows,
    .defaults = &split_defaults,
    .infer = split_infer,
    .reference = split_reference,
};
