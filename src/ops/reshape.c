// Reshape, Flatten, Squeeze, Unsqueeze: another shape for the same elements. Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

static osp_status reshape_infer(osp_infer *in, osp_error *err)
{
    const osp_reshape_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    osp_shape dst = {0};
    OSP_TRY(osp_infer_ints(in, 1, dst.dims, OSP_MAX_RANK, &dst.rank, err));
    if (attrs->allowzero < 0 || attrs->allowzero > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: allowzero must be 0 or 1", type);
    int32_t free_axis = -1;
    size_t have, known = 1, count;
    for (int32_t i = 0; i < dst.rank; i++) {
        if (dst.dims[i] == 0 && !attrs->allowzero) {
            if (i >= src->rank)
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         "%s: 0 at place %d copies a dimension that the source does not have", type,
                         i);
            dst.dims[i] = src->dims[i];
        }
        if (dst.dims[i] == -1 && free_axis < 0)
            free_axis = i;
        else if (dst.dims[i] < 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the wanted shape has %s", type,
                     dst.dims[i] == -1 ? "-1 twice" : "a negative dimension");
        else if (!osp_size_mul(known, (size_t)dst.dims[i], &known))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "%s: the wanted shape is too large", type);
    }
    if (!osp_shape_count(src, &have))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%s: the source is too large", type);
    if (free_axis >= 0 && known > 0 && have % known == 0)
        dst.dims[free_axis] = (int64_t)(have / known);
    char a[96], b[96];
    if (!osp_shape_count(&dst, &count) || count != have)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %s does not reshape to %s", type,
                 osp_shape_text(src, a, sizeof a), osp_shape_text(&dst, b, sizeof b));
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, dst};
    return OSP_OK;
}

static osp_status flatten_infer(osp_infer *in, osp_error *err)
{
    osp_axis_attrs *attrs = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    // Unlike elsewhere, the rank itself is an axis: everything goes to the first dimension.
    int64_t axis = attrs->axis < 0 ? attrs->axis + src->rank : attrs->axis;
    if (axis < 0 || axis > src->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions",
                 in->op->type, (long long)attrs->axis, src->rank);
    attrs->resolved_axis = (int32_t)axis;
    in->outputs[0] = (osp_type){in->inputs[0]->dtype,
                                {.rank = 2,
                                 .dims = {osp_shape_span(src, 0, (int32_t)axis),
                                          osp_shape_span(src, (int32_t)axis, src->rank)}}};
    return OSP_OK;
}

// The axes of input 1 or of the attribute as a set of bits; count -1: not given. `grow`: they are
// axes of the destination, which has that many more than `rank`.
static osp_status axes_set(const osp_infer *in, int32_t rank, bool grow, uint32_t *set,
                           int32_t *count, osp_error *err)
{
    const osp_squeeze_attrs *attrs = in->attrs;
    osp_ints axes = {.count = -1};
    if (osp_infer_input(in, 1))
        OSP_TRY(osp_infer_ints(in, 1, axes.v, 16, &axes.count, err));
    else
        axes = attrs->axes;
    *set = 0;
    *count = axes.count;
    if (grow && axes.count > 0)
        rank += axes.count;
    if (rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: more than %d dimensions", in->op->type,
                 OSP_MAX_RANK);
    for (int32_t i = 0; i < axes.count; i++) {
        int32_t axis;
        if (rank == 0 || !osp_shape_axis(axes.v[i], rank, &axis))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions",
                     in->op->type, (long long)axes.v[i], rank);
        if (grow && (*set >> axis & 1))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d is given twice", in->op->type, axis);
        *set |= 1u << axis;
    }
    return OSP_OK;
}

static osp_status squeeze_infer(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    uint32_t set;
    int32_t count;  // no axes: all of size 1, as ONNX Runtime takes an empty list too
    OSP_TRY(axes_set(in, src->rank, false, &set, &count, err));
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, {0}};
    for (int32_t i = 0; i < src->rank; i++) {
        bool drop = count <= 0 ? src->dims[i] == 1 : (set >> i & 1) != 0;
        if (drop && src->dims[i] != 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d has %lld elements, not 1", in->op->type, i,
                     (long long)src->dims[i]);
        if (!drop)
            out->shape.dims[out->shape.rank++] = src->dims[i];
    }
    return OSP_OK;
}

static osp_status unsqueeze_infer(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    uint32_t set;
    int32_t count;
    OSP_TRY(axes_set(in, src->rank, true, &set, &count, err));
    if (count < 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axes are missing", in->op->type);
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, {.rank = src->rank + count}};
    for (int32_t i = 0, from = 0; i < out->shape.rank; i++)
        out->shape.dims[i] = set >> i & 1 ? 1 : src->dims[from++];
    return OSP_OK;
}

static osp_status copy_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    size_t bytes = osp_view_count(src) * osp_dtype_bytes(src->dtype);
    if (bytes > 0)
        memcpy(dst->data, src->data, bytes);
    return OSP_OK;
}

static const osp_attr_row reshape_rows[] = {
    {"allowzero", OSP_ATTR_INT, offsetof(osp_reshape_attrs, allowzero), 0, NULL, 14, 0},
    {0},
};
static const osp_attr_row flatten_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_axis_attrs, axis), 0, NULL, 0, 0},
    {0},
};
static const osp_axis_attrs flatten_defaults = {.axis = 1};
static const osp_attr_row squeeze_rows[] = {
    {"axes", OSP_ATTR_INTS, offsetof(osp_squeeze_attrs, axes), 16, NULL, 0, 12},
    {0},
};
static const osp_squeeze_attrs squeeze_defaults = {.axes = {.count = -1}};

const osp_op osp_op_reshape = {
    .type = "Reshape",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(osp_reshape_attrs),
    .attr_table = reshape_rows,
    .infer = reshape_infer,
    .reference = copy_reference,
    .same_bytes = true,
};

const osp_op osp_op_flatten = {
    .type = "Flatten",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_axis_attrs),
    .attr_table = flatten_rows,
    .defaults = &flatten_defaults,
    .infer = flatten_infer,
    .reference = copy_reference,
    .same_bytes = true,
};

const osp_op osp_op_squeeze = {
    .type = "Squeeze",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(osp_squeeze_attrs),
    .attr_table = squeeze_rows,
    .defaults = &squeeze_defaults,
    .infer = squeeze_infer,
    .reference = copy_reference,
    .same_bytes = true,
};

const osp_op osp_op_unsqueeze = {
    .type = "Unsqueeze",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(osp_squeeze_attrs),
    .attr_table = squeeze_rows,
    .defaults = &squeeze_defaults,
    .infer = unsqueeze_infer,
    .reference = copy_reference,
    .same_bytes = true,
};
