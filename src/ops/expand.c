// Expand and Tile. Thread rule: no state.
#include "ops/move.h"

static osp_status expand_infer(osp_infer *in, osp_error *err)
{
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    osp_shape want = {0};
    OSP_TRY(osp_infer_ints(in, 1, want.dims, OSP_MAX_RANK, &want.rank, err));
    for (int32_t i = 0; i < want.rank; i++)
        if (want.dims[i] < 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the wanted shape has the dimension %lld", type,
                     (long long)want.dims[i]);
    const osp_shape *src = &in->inputs[0]->shape;
    char a[96], b[96];
    if (!osp_shape_broadcast(src, &want, &in->outputs[0].shape))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %s does not broadcast to %s", type,
                 osp_shape_text(src, a, sizeof a), osp_shape_text(&want, b, sizeof b));
    in->outputs[0].dtype = in->inputs[0]->dtype;
    return OSP_OK;
}

static osp_status expand_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    int64_t strides[OSP_MAX_RANK];
    osp_shape_broadcast_strides(&src->shape, &dst->shape, strides);
    osp_move_strided(dst->data, src->data, dst->shape.rank, dst->shape.dims, strides,
                     osp_dtype_bytes(src->dtype));
    return OSP_OK;
}

static osp_status tile_infer(osp_infer *in, osp_error *err)
{
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    int64_t repeats[OSP_MAX_RANK];
    int32_t count = 0;
    OSP_TRY(osp_infer_ints(in, 1, repeats, OSP_MAX_RANK, &count, err));
    if (count != src->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %d repeats for %d dimensions", type, count, src->rank);
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, {.rank = src->rank}};
    for (int32_t i = 0; i < count; i++)
        if (repeats[i] < 0 || !osp_i64_mul(repeats[i], src->dims[i], &in->outputs[0].shape.dims[i]))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %lld repeats of axis %d are out of range", type,
                     (long long)repeats[i], i);
    return OSP_OK;
}

// Each axis becomes two: which copy (stride 0), and where in the source.
static osp_status tile_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    int64_t own[OSP_MAX_RANK], dims[2 * OSP_MAX_RANK] = {0}, strides[2 * OSP_MAX_RANK] = {0};
    osp_shape_strides(&src->shape, own);
    for (int32_t i = 0; i < src->shape.rank; i++) {
        int64_t length = src->shape.dims[i];
        dims[2 * i] = length ? dst->shape.dims[i] / length : 0;
        strides[2 * i] = 0;
        dims[2 * i + 1] = length;
        strides[2 * i + 1] = own[i];
    }
    osp_move_strided(dst->data, src->data, 2 * src->shape.rank, dims, strides,
                     osp_dtype_bytes(src->dtype));
    return OSP_OK;
}

const osp_op osp_op_expand = {
    .type = "Expand",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = 1,
    .infer = expand_infer,
    .reference = expand_reference,
};

const osp_op osp_op_tile = {
    .type = "Tile",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = 1,
    .infer = tile_infer,
    .reference = tile_reference,
};
