// ScatterND: a copy of the data with slices replaced, or reduced with updates, in order.
// Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

typedef enum reduction {
    REDUCE_NONE = 0,
    REDUCE_ADD,
    REDUCE_MUL,
    REDUCE_MAX,
    REDUCE_MIN
} reduction;

static osp_status infer(osp_infer *in, osp_error *err)
{
    const osp_scatter_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPE(OSP_DTYPE_INT64), err));
    OSP_TRY(osp_infer_same(in, 0, 2, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    OSP_TRY(osp_infer_rank(in, 1, 1, OSP_MAX_RANK, err));
    if (attrs->reduction < REDUCE_NONE || attrs->reduction > REDUCE_MIN)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: reduction is out of range", type);
    if (attrs->reduction != REDUCE_NONE)
        OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_NUMBER, err));
    const osp_shape *data = &in->inputs[0]->shape, *indices = &in->inputs[1]->shape,
                    *updates = &in->inputs[2]->shape;
    int64_t depth = indices->dims[indices->rank - 1];
    if (depth < 1 || depth > data->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: indices of %lld numbers do not fit %d dimensions",
                 type, (long long)depth, data->rank);
    int32_t lead = indices->rank - 1, tail = data->rank - (int32_t)depth;
    bool fits = updates->rank == lead + tail;
    for (int32_t i = 0; fits && i < updates->rank; i++)
        fits = updates->dims[i] ==
               (i < lead ? indices->dims[i] : data->dims[(int32_t)depth + i - lead]);
    char a[96], b[96], c[96];
    if (!fits)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: updates of shape %s do not fit data %s, indices %s",
                 type, osp_shape_text(updates, a, sizeof a), osp_shape_text(data, b, sizeof b),
                 osp_shape_text(indices, c, sizeof c));
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, *data};
    return OSP_OK;
}

static float reduce_float(int32_t how, float a, float b)
{
    switch (how) {
    case REDUCE_ADD:
        return a + b;
    case REDUCE_MUL:
        return a * b;
    case REDUCE_MAX:
        return a < b || b != b ? b : a;
    default:
        return b < a || b != b ? b : a;
    }
}

// Sums and products wrap around, as narrow integers do.
static int64_t reduce_int(int32_t how, int64_t a, int64_t b)
{
    switch (how) {
    case REDUCE_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case REDUCE_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case REDUCE_MAX:
        return a < b ? b : a;
    default:
        return b < a ? b : a;
    }
}

static void reduce_slice(int32_t how, const osp_view *dst, size_t at, const osp_view *updates,
                         size_t from, size_t count)
{
    osp_dtype t = dst->dtype;
    for (size_t i = 0; i < count; i++)
        if (osp_dtype_is_float(t))
            osp_store_float(t, dst->data, at + i,
                            reduce_float(how, osp_load_float(t, dst->data, at + i),
                                         osp_load_float(t, updates->data, from + i)));
        else
            osp_store_int(t, dst->data, at + i,
                          reduce_int(how, osp_load_int(t, dst->data, at + i),
                                     osp_load_int(t, updates->data, from + i)));
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    const osp_scatter_attrs *attrs = call->attrs;
    const osp_view *data = &call->inputs[0], *indices = &call->inputs[1],
                   *updates = &call->inputs[2], *dst = &call->outputs[0];
    size_t size = osp_dtype_bytes(data->dtype), total = osp_view_count(data);
    if (total == 0 && osp_view_count(updates) == 0)
        return OSP_OK;
    if (total > 0)
        memcpy(dst->data, data->data, total * size);
    int32_t last = indices->shape.rank - 1, depth = (int32_t)indices->shape.dims[last];
    int64_t strides[OSP_MAX_RANK];
    osp_shape_strides(&data->shape, strides);
    size_t tuples = (size_t)osp_shape_span(&indices->shape, 0, last);
    size_t count = (size_t)osp_shape_span(&data->shape, depth, data->shape.rank);
    for (size_t t = 0; t < tuples; t++) {
        size_t at = 0;
        for (int32_t d = 0; d < depth; d++) {
            int64_t length = data->shape.dims[d];
            int64_t given = osp_load_int(indices->dtype, indices->data,
                                         t * (size_t)depth + (size_t)d);
            int64_t index = given < 0 ? given + length : given;
            if (index < 0 || index >= length)
                OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                         "ScatterND: index %lld is out of range for axis %d of size %lld",
                         (long long)given, d, (long long)length);
            at += (size_t)(index * strides[d]);
        }
        if (count == 0)
            continue;
        if (attrs->reduction == REDUCE_NONE)
            memcpy((char *)dst->data + at * size, (const char *)updates->data + t * count * size,
                   count * size);
        else
            reduce_slice(attrs->reduction, dst, at, updates, t * count, count);
    }
    return OSP_OK;
}

static const osp_attr_row rows[] = {
    {"reduction", OSP_ATTR_ENUM, offsetof(osp_scatter_attrs, reduction), 0, "none|add|mul|max|min",
     16, 0},
    {0},
};

const osp_op osp_op_scatter_nd = {
    .type = "ScatterND",
    .domain = "",
    .min_inputs = 3,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_scatter_attrs),
    .attr_table = rows,
    .infer = infer,
    .reference = reference,
};
