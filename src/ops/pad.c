// Pad: constant, reflect, edge and wrap; negative pads crop. Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

// The pads as begin... end... over all axes or those of input 3.
static osp_status read_pads(osp_infer *in, osp_error *err)
{
    osp_pad_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    int32_t rank = in->inputs[0]->shape.rank, axis_count = -1;
    osp_ints pads = attrs->pads;
    int64_t axes[OSP_MAX_RANK];
    if (osp_infer_input(in, 1))
        OSP_TRY(osp_infer_ints(in, 1, pads.v, 16, &pads.count, err));
    if (pads.count < 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: pads are missing", type);
    OSP_TRY(osp_infer_ints(in, 3, axes, OSP_MAX_RANK, &axis_count, err));
    int32_t count = axis_count >= 0 ? axis_count : rank;
    if (pads.count != 2 * count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %d pads for %d axes", type, pads.count, count);
    memset(attrs->before, 0, sizeof attrs->before);
    memset(attrs->after, 0, sizeof attrs->after);
    uint32_t seen = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t axis = i;
        if (axis_count >= 0 && (rank == 0 || !osp_shape_axis(axes[i], rank, &axis)))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions", type,
                     (long long)axes[i], rank);
        if (seen >> axis & 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d is given twice", type, axis);
        seen |= 1u << axis;
        attrs->before[axis] = pads.v[i];
        attrs->after[axis] = pads.v[count + i];
    }
    return OSP_OK;
}

// What negative pads leave of an axis: [*from, *to).
static void cropped(const osp_pad_attrs *attrs, int32_t axis, int64_t length, int64_t *from,
                    int64_t *to)
{
    *from = osp_i64_max(0, -attrs->before[axis]);
    *to = length - osp_i64_max(0, -attrs->after[axis]);
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_pad_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    if (attrs->mode < OSP_PAD_CONSTANT || attrs->mode > OSP_PAD_WRAP)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: mode is out of range", type);
    OSP_TRY(read_pads(in, err));
    const osp_value *value = osp_infer_input(in, 2);
    if (value) {
        size_t count;
        OSP_TRY(osp_infer_same(in, 0, 2, err));
        if (!osp_shape_count(&value->shape, &count) || count > 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the constant value must be one element", type);
    }
    const osp_shape *src = &in->inputs[0]->shape;
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, *src};
    for (int32_t i = 0; i < src->rank; i++) {
        int64_t before = attrs->before[i], after = attrs->after[i], length = src->dims[i];
        const int64_t most = (int64_t)1 << 40;
        if (before < -most || before > most || after < -most || after > most || length > most ||
            before + after + length < 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s: pads %lld and %lld do not fit axis %d of size %lld", type,
                     (long long)before, (long long)after, i, (long long)length);
        out->shape.dims[i] = before + after + length;
        int64_t from, to;
        cropped(attrs, i, length, &from, &to);
        if (attrs->mode != OSP_PAD_CONSTANT && out->shape.dims[i] > 0 && from >= to)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d has nothing to repeat", type, i);
    }
    return OSP_OK;
}

int64_t osp_pad_source(const osp_pad_attrs *attrs, int32_t axis, int64_t length, int64_t i)
{
    int64_t p = i - attrs->before[axis], from, to;
    if (attrs->mode == OSP_PAD_CONSTANT)
        return p >= 0 && p < length ? p : -1;
    cropped(attrs, axis, length, &from, &to);
    if (p >= from && p < to)
        return p;
    if (attrs->mode == OSP_PAD_EDGE)
        return p < from ? from : to - 1;
    // Reflections do not repeat the edge: they have a period of twice the steps between the edges.
    int64_t period = attrs->mode == OSP_PAD_WRAP ? to - from : 2 * (to - from - 1);
    if (period == 0)
        return from;
    p = (p - from) % period;
    p = p < 0 ? p + period : p;
    return from + (p < to - from ? p : period - p);
}

// One element of the constant: input 2, the attribute, or zero.
static void constant_element(const osp_call *call, osp_dtype dtype, uint8_t element[8])
{
    const osp_pad_attrs *attrs = call->attrs;
    const osp_view *value = osp_call_input(call, 2);
    memset(element, 0, 8);
    if (value && osp_view_count(value) > 0) {
        memcpy(element, value->data, osp_dtype_bytes(dtype));
    } else {
        union {
            int64_t whole;
            uint8_t bytes[8];
        } slot = {0};
        osp_store_float(dtype, &slot, 0, attrs->value);
        memcpy(element, slot.bytes, 8);
    }
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_pad_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    size_t size = osp_dtype_bytes(src->dtype);
    uint8_t constant[8];
    constant_element(call, dst->dtype, constant);
    int64_t strides[OSP_MAX_RANK];
    osp_shape_strides(&src->shape, strides);
    // Lines of the last axis, one after the other.
    int32_t last = dst->shape.rank - 1;
    osp_walk w;
    osp_shape lines = dst->shape;
    if (last >= 0 && lines.dims[last] > 0)
        lines.dims[last] = 1;
    osp_walk_init(&w, &lines);
    int64_t count = last >= 0 ? dst->shape.dims[last] : 1;
    for (size_t line = 0; osp_walk_next(&w); line++) {
        int64_t base = 0;
        bool outside = false;
        for (int32_t d = 0; d < last; d++) {
            int64_t p = osp_pad_source(attrs, d, src->shape.dims[d], w.index[d]);
            outside = outside || p < 0;
            base += p * strides[d];
        }
        for (int64_t i = 0; i < count; i++) {
            int64_t p = outside    ? -1
                        : last < 0 ? 0
                                   : osp_pad_source(attrs, last, src->shape.dims[last], i);
            size_t to = line * (size_t)count + (size_t)i;
            if (p < 0)
                osp_copy_element(dst->data, to, constant, 0, size);
            else
                osp_copy_element(dst->data, to, src->data, (size_t)(base + p), size);
        }
    }
    return OSP_OK;
}

static const osp_attr_row rows[] = {
    {"mode", OSP_ATTR_ENUM, offsetof(osp_pad_attrs, mode), 0, "constant|reflect|edge|wrap", 0, 0},
    {"pads", OSP_ATTR_INTS, offsetof(osp_pad_attrs, pads), 16, NULL, 0, 10},
    {"value", OSP_ATTR_FLOAT, offsetof(osp_pad_attrs, value), 0, NULL, 0, 10},
    {0},
};
static const osp_pad_attrs defaults = {.pads = {.count = -1}};

const osp_op osp_op_pad = {
    .type = "Pad",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 4,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1 | 1u << 3,
    .attrs_size = sizeof(osp_pad_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
};
