// Gather, GatherElements, GatherND. Indices are data: each one is checked when it is used, and
// negative ones count from the end. Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

static osp_status index_error(const char *type, int64_t index, int32_t axis, int64_t length,
                              osp_error *err)
{
    OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s: index %lld is out of range for axis %d of size %lld",
             type, (long long)index, axis, (long long)length);
}

static osp_status axis_infer(osp_infer *in, osp_error *err)
{
    osp_axis_attrs *attrs = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_INT, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    int32_t rank = in->inputs[0]->shape.rank;
    if (!osp_shape_axis(attrs->axis, rank, &attrs->resolved_axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions",
                 in->op->type, (long long)attrs->axis, rank);
    return OSP_OK;
}

static osp_status gather_infer(osp_infer *in, osp_error *err)
{
    const osp_axis_attrs *attrs = in->attrs;
    OSP_TRY(axis_infer(in, err));
    const osp_shape *src = &in->inputs[0]->shape, *indices = &in->inputs[1]->shape;
    if (src->rank - 1 + indices->rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: the result has more than %d dimensions",
                 in->op->type, OSP_MAX_RANK);
    osp_shape dst = {0};
    for (int32_t i = 0; i < attrs->resolved_axis; i++)
        dst.dims[dst.rank++] = src->dims[i];
    for (int32_t i = 0; i < indices->rank; i++)
        dst.dims[dst.rank++] = indices->dims[i];
    for (int32_t i = attrs->resolved_axis + 1; i < src->rank; i++)
        dst.dims[dst.rank++] = src->dims[i];
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, dst};
    return OSP_OK;
}

static osp_status gather_reference(const osp_call *call, osp_error *err)
{
    const osp_axis_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *indices = &call->inputs[1], *dst = &call->outputs[0];
    if (osp_view_count(dst) == 0)
        return OSP_OK;
    int32_t axis = attrs->resolved_axis;
    int64_t length = src->shape.dims[axis];
    size_t outer = (size_t)osp_shape_span(&src->shape, 0, axis), count = osp_view_count(indices);
    size_t piece = (size_t)osp_shape_span(&src->shape, axis + 1, src->shape.rank) *
                   osp_dtype_bytes(src->dtype);
    char *to = dst->data;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < count; i++) {
            int64_t given = osp_load_int(indices->dtype, indices->data, i);
            int64_t index = given < 0 ? given + length : given;
            if (index < 0 || index >= length)
                return index_error("Gather", given, axis, length, err);
            memcpy(to, (const char *)src->data + (o * (size_t)length + (size_t)index) * piece,
                   piece);
            to += piece;
        }
    return OSP_OK;
}

static osp_status elements_infer(osp_infer *in, osp_error *err)
{
    const osp_axis_attrs *attrs = in->attrs;
    OSP_TRY(axis_infer(in, err));
    const osp_shape *src = &in->inputs[0]->shape, *indices = &in->inputs[1]->shape;
    bool fits = src->rank == indices->rank;
    for (int32_t i = 0; fits && i < src->rank; i++)
        fits = i == attrs->resolved_axis || indices->dims[i] <= src->dims[i];
    char a[96], b[96];
    if (!fits)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: indices of shape %s do not fit a source of shape %s",
                 in->op->type, osp_shape_text(indices, a, sizeof a),
                 osp_shape_text(src, b, sizeof b));
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, *indices};
    return OSP_OK;
}

static osp_status elements_reference(const osp_call *call, osp_error *err)
{
    const osp_axis_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *indices = &call->inputs[1], *dst = &call->outputs[0];
    int32_t axis = attrs->resolved_axis;
    int64_t length = src->shape.dims[axis], strides[OSP_MAX_RANK];
    size_t size = osp_dtype_bytes(src->dtype);
    osp_shape_strides(&src->shape, strides);
    int64_t along = strides[axis];
    strides[axis] = 0;
    osp_walk w;
    osp_walk_init(&w, &dst->shape);
    osp_walk_operand(&w, 0, strides);
    for (size_t i = 0; osp_walk_next(&w); i++) {
        int64_t given = osp_load_int(indices->dtype, indices->data, i);
        int64_t index = given < 0 ? given + length : given;
        if (index < 0 || index >= length)
            return index_error("GatherElements", given, axis, length, err);
        osp_copy_element(dst->data, i, src->data, (size_t)(w.at[0] + index * along), size);
    }
    return OSP_OK;
}

static osp_status nd_infer(osp_infer *in, osp_error *err)
{
    const osp_gather_nd_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_INT, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    OSP_TRY(osp_infer_rank(in, 1, 1, OSP_MAX_RANK, err));
    const osp_shape *src = &in->inputs[0]->shape, *indices = &in->inputs[1]->shape;
    int64_t batch = attrs->batch_dims, depth = indices->dims[indices->rank - 1];
    if (batch < 0 || batch >= src->rank || batch >= indices->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: batch_dims %lld is out of range", type,
                 (long long)batch);
    if (depth < 1 || depth > src->rank - batch)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: indices of %lld numbers do not fit %d dimensions with %lld of the batch",
                 type, (long long)depth, src->rank, (long long)batch);
    for (int32_t i = 0; i < batch; i++)
        if (src->dims[i] != indices->dims[i])
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s: batch dimension %d is %lld in the source and %lld in the indices", type,
                     i, (long long)src->dims[i], (long long)indices->dims[i]);
    int32_t tail = (int32_t)(batch + depth);
    if (indices->rank - 1 + src->rank - tail > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: the result has more than %d dimensions", type,
                 OSP_MAX_RANK);
    osp_shape dst = {0};
    for (int32_t i = 0; i < indices->rank - 1; i++)
        dst.dims[dst.rank++] = indices->dims[i];
    for (int32_t i = tail; i < src->rank; i++)
        dst.dims[dst.rank++] = src->dims[i];
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, dst};
    return OSP_OK;
}

static osp_status nd_reference(const osp_call *call, osp_error *err)
{
    const osp_gather_nd_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *indices = &call->inputs[1], *dst = &call->outputs[0];
    if (osp_view_count(dst) == 0)
        return OSP_OK;
    int32_t batch = (int32_t)attrs->batch_dims, last = indices->shape.rank - 1;
    int32_t depth = (int32_t)indices->shape.dims[last];
    int64_t strides[OSP_MAX_RANK];
    osp_shape_strides(&src->shape, strides);
    size_t tuples = (size_t)osp_shape_span(&indices->shape, 0, last);
    size_t per_batch = (size_t)osp_shape_span(&indices->shape, batch, last);
    size_t batch_size = (size_t)osp_shape_span(&src->shape, batch, src->shape.rank);
    size_t size = osp_dtype_bytes(src->dtype);
    size_t piece = (size_t)osp_shape_span(&src->shape, batch + depth, src->shape.rank) * size;
    for (size_t t = 0; t < tuples; t++) {
        size_t at = t / per_batch * batch_size;
        for (int32_t d = 0; d < depth; d++) {
            int64_t length = src->shape.dims[batch + d];
            int64_t given = osp_load_int(indices->dtype, indices->data,
                                         t * (size_t)depth + (size_t)d);
            int64_t index = given < 0 ? given + length : given;
            if (index < 0 || index >= length)
                return index_error("GatherND", given, batch + d, length, err);
            at += (size_t)(index * strides[batch + d]);
        }
        memcpy((char *)dst->data + t * piece, (const char *)src->data + at * size, piece);
    }
    return OSP_OK;
}

static const osp_attr_row axis_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_axis_attrs, axis), 0, NULL, 0, 0},
    {0},
};
static const osp_attr_row nd_rows[] = {
    {"batch_dims", OSP_ATTR_INT, offsetof(osp_gather_nd_attrs, batch_dims), 0, NULL, 12, 0},
    {0},
};

const osp_op osp_op_gather = {
    .type = "Gather",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_axis_attrs),
    .attr_table = axis_rows,
    .infer = gather_infer,
    .reference = gather_reference,
};

const osp_op osp_op_gather_elements = {
    .type = "GatherElements",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_axis_attrs),
    .attr_table = axis_rows,
    .infer = elements_infer,
    .reference = elements_reference,
};

const osp_op osp_op_gather_nd = {
    .type = "GatherND",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_gather_nd_attrs),
    .attr_table = nd_rows,
    .infer = nd_infer,
    .reference = nd_reference,
};
