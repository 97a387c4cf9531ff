// ReduceMax, ReduceMean, ReduceSum. Sums are in double or int64 and rounded once. An empty set
// gives the lowest value, and 0 for mean and sum, as in ONNX Runtime. Thread rule: no state.
#include "ops/reduce.h"

#include <math.h>
#include <stddef.h>

#include "ops/view.h"

// ---- Types --------------------------------------------------------------------------------------

// The axes became an input at 13 for sums, at 18 for the others.
#define AXES OSP_ATTR_INTS, offsetof(osp_reduce_attrs, axes), 16, NULL
#define KEEP OSP_ATTR_INT, offsetof(osp_reduce_attrs, keepdims), 0, NULL
#define NOOP OSP_ATTR_INT, offsetof(osp_reduce_attrs, noop_with_empty_axes), 0, NULL
static const osp_attr_row sum_rows[] = {{"axes", AXES, 0, 12},
                                        {"keepdims", KEEP, 0, 0},
                                        {"noop_with_empty_axes", NOOP, 13, 0},
                                        {0}};
static const osp_attr_row other_rows[] = {{"axes", AXES, 0, 17},
                                          {"keepdims", KEEP, 0, 0},
                                          {"noop_with_empty_axes", NOOP, 18, 0},
                                          {0}};
static const osp_reduce_attrs reduce_defaults = {.axes = {.count = -1}, .keepdims = 1};

// Axes from the input or the attribute, as a mask.
static osp_status resolve_axes(const osp_infer *in, osp_reduce_attrs *a, osp_error *err)
{
    const int32_t rank = in->inputs[0]->shape.rank;
    osp_ints axes = a->axes;
    if (osp_infer_input(in, 1))
        OSP_TRY(osp_infer_ints(in, 1, axes.v, 16, &axes.count, err));
    a->mask = 0;
    for (int32_t i = 0; i < axes.count; i++) {
        int32_t axis;
        if (!osp_shape_axis(axes.v[i], rank, &axis))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %lld is outside of rank %d", (long long)axes.v[i],
                     rank);
        if (a->mask >> axis & 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %d is given twice", axis);
        a->mask |= 1u << axis;
    }
    if (axes.count <= 0 && !a->noop_with_empty_axes)
        a->mask = (1u << rank) - 1;
    a->axes = (osp_ints){0};
    for (int32_t d = 0; d < rank; d++)
        if (a->mask >> d & 1)
            a->axes.v[a->axes.count++] = d;
    return OSP_OK;
}

static osp_status infer_reduce(osp_infer *in, uint32_t types, osp_error *err)
{
    osp_reduce_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, types, err));
    if (a->keepdims < 0 || a->keepdims > 1 || a->noop_with_empty_axes < 0 ||
        a->noop_with_empty_axes > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "attributes 'keepdims' and 'noop_with_empty_axes' must be 0 or 1");
    OSP_TRY(resolve_axes(in, a, err));
    const osp_value *src = in->inputs[0];
    osp_type *out = in->outputs;
    *out = (osp_type){.dtype = src->dtype};
    for (int32_t d = 0; d < src->shape.rank; d++)
        if (!(a->mask >> d & 1))
            out->shape.dims[out->shape.rank++] = src->shape.dims[d];
        else if (a->keepdims)
            out->shape.dims[out->shape.rank++] = 1;
    return OSP_OK;
}

static osp_status infer_sum(osp_infer *in, osp_error *err)
{
    return infer_reduce(in, OSP_TYPES_FLOAT | OSP_TYPES_INT, err);
}

static osp_status infer_max(osp_infer *in, osp_error *err)
{
    return infer_reduce(in, OSP_TYPES_ALL, err);
}

// ---- Kernels ------------------------------------------------------------------------------------

typedef enum reduction { REDUCE_MAX, REDUCE_MEAN, REDUCE_SUM } reduction;

// A walk over the reduced (or the kept) dims of src, operand 0 being src.
static osp_walk part_walk(const osp_shape *shape, uint32_t mask)
{
    int64_t strides[OSP_MAX_RANK];
    osp_shape_strides(shape, strides);
    osp_shape part = *shape;
    for (int32_t d = 0; d < shape->rank; d++)
        if (!(mask >> d & 1))
            part.dims[d] = 1;
    osp_walk w;
    osp_walk_init(&w, &part);
    osp_walk_operand(&w, 0, strides);
    return w;
}

static float reduce_floats(const osp_view *src, int64_t base, osp_walk w, reduction kind)
{
    double sum = 0, count = 0, most = -HUGE_VAL;
    while (osp_walk_next(&w)) {
        const double x = (double)osp_load_float(src->dtype, src->data, (size_t)(base + w.at[0]));
        sum += x;
        count++;
        if (x > most || x != x)  // NaN stays: no comparison with it is true
            most = x;
    }
    if (kind == REDUCE_MAX)
        return (float)most;
    return (float)(kind == REDUCE_SUM || count == 0 ? sum : sum / count);
}

static int64_t reduce_ints(const osp_view *src, int64_t base, osp_walk w, reduction kind)
{
    static const int64_t lowest[] = {[OSP_DTYPE_INT32] = INT32_MIN,
                                     [OSP_DTYPE_INT64] = INT64_MIN,
                                     [OSP_DTYPE_INT8] = INT8_MIN,
                                     [OSP_DTYPE_UINT8] = 0,
                                     [OSP_DTYPE_BOOL] = 0};
    uint64_t sum = 0;
    int64_t count = 0, most = lowest[src->dtype];
    while (osp_walk_next(&w)) {
        const int64_t x = osp_load_int(src->dtype, src->data, (size_t)(base + w.at[0]));
        sum += (uint64_t)x;
        count++;
        most = osp_i64_max(most, x);
    }
    if (kind == REDUCE_MAX)
        return most;
    return kind == REDUCE_SUM || count == 0 ? (int64_t)sum : (int64_t)sum / count;
}

static osp_status run_reduce(const osp_call *call, reduction kind)
{
    const osp_reduce_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    // A kept dim of 0 leaves nothing to write; a reduced one leaves empty sets.
    osp_walk kept = part_walk(&src->shape, ~a->mask);
    const osp_walk inner = part_walk(&src->shape, a->mask);
    for (size_t i = 0; osp_walk_next(&kept); i++)
        if (osp_dtype_is_float(src->dtype))
            osp_store_float(dst->dtype, dst->data, i, reduce_floats(src, kept.at[0], inner, kind));
        else
            osp_store_int(dst->dtype, dst->data, i, reduce_ints(src, kept.at[0], inner, kind));
    return OSP_OK;
}

#define REDUCE_OP(id, onnx, kind, rows, infer_fn)                                                  \
    static osp_status run_##id(const osp_call *call, osp_error *err)                               \
    {                                                                                              \
        (void)err;                                                                                 \
        return run_reduce(call, kind);                                                             \
    }                                                                                              \
    const osp_op osp_op_##id = {.type = onnx,                                                      \
                                .domain = "",                                                      \
                                .min_inputs = 1,                                                   \
                                .max_inputs = 2,                                                   \
                                .min_outputs = 1,                                                  \
                                .max_outputs = 1,                                                  \
                                .shape_inputs = 1u << 1,                                           \
                                .attrs_size = sizeof(osp_reduce_attrs),                            \
                                .attr_table = rows,                                                \
                                .defaults = &reduce_defaults,                                      \
                                .infer = infer_fn,                                                 \
                                .reference = run_##id};

REDUCE_OP(reduce_max, "ReduceMax", REDUCE_MAX, other_rows, infer_max)
REDUCE_OP(reduce_mean, "ReduceMean", REDUCE_MEAN, other_rows, infer_sum)
REDUCE_OP(reduce_sum, "ReduceSum", REDUCE_SUM, sum_rows, infer_sum)
