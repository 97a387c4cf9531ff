// Transpose. Thread rule: no state.
#include "ops/move.h"

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_transpose_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    if (attrs->perm.count >= 0 && attrs->perm.count != src->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute perm has %d values for %d dimensions", type,
                 attrs->perm.count, src->rank);
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, {.rank = src->rank}};
    uint32_t seen = 0;
    for (int32_t i = 0; i < src->rank; i++) {
        int64_t axis = attrs->perm.count >= 0 ? attrs->perm.v[i] : src->rank - 1 - i;
        if (axis < 0 || axis >= src->rank || (seen >> axis & 1))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute perm is not a permutation of %d axes",
                     type, src->rank);
        seen |= 1u << axis;
        attrs->resolved_perm[i] = (int32_t)axis;
        out->shape.dims[i] = src->dims[axis];
    }
    return OSP_OK;
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_transpose_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    int64_t own[OSP_MAX_RANK], strides[OSP_MAX_RANK];
    osp_shape_strides(&src->shape, own);
    for (int32_t i = 0; i < dst->shape.rank; i++)
        strides[i] = own[attrs->resolved_perm[i]];
    osp_move_strided(dst->data, src->data, dst->shape.rank, dst->shape.dims, strides,
                     osp_dtype_bytes(src->dtype));
    return OSP_OK;
}

static const osp_attr_row rows[] = {
    {"perm", OSP_ATTR_INTS, offsetof(osp_transpose_attrs, perm), 16, NULL, 0, 0},
    {0},
};
static const osp_transpose_attrs defaults = {.perm = {.count = -1}};

const osp_op osp_op_transpose = {
    .type = "Transpose",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_transpose_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
};
