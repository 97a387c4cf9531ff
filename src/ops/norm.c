// Softmax, LayerNormalization, BatchNormalization. Computed in double. Thread rule: no state.
#include "ops/norm.h"

#include <math.h>
#include <stddef.h>

#include "ops/view.h"

// ---- Softmax ------------------------------------------------------------------------------------

enum { SOFTMAX_AXIS = 0 };  // row

static const osp_attr_row softmax_rows[] = {
    [SOFTMAX_AXIS] = {"axis", OSP_ATTR_INT, offsetof(osp_softmax_attrs, axis), 0, NULL, 0, 0},
    {"flatten", OSP_ATTR_INT, offsetof(osp_softmax_attrs, flatten), 0, NULL, OSP_ATTR_INTERNAL, 0},
    {0}};
static const osp_softmax_attrs softmax_defaults = {-1, 0};

static osp_status settle_softmax(void *attrs, int32_t opset, uint64_t given, osp_error *err)
{
    (void)err;
    osp_softmax_attrs *a = attrs;
    if (opset < 13) {
        a->flatten = 1;
        if (!(given >> SOFTMAX_AXIS & 1))
            a->axis = 1;
    }
    return OSP_OK;
}

static osp_status infer_softmax(osp_infer *in, osp_error *err)
{
    osp_softmax_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    const osp_value *src = in->inputs[0];
    int32_t axis;
    // Flattening before dim `rank` leaves rows of one element.
    if (a->flatten == 1 && a->axis == src->shape.rank)
        axis = src->shape.rank;
    else if (!osp_shape_axis(a->axis, src->shape.rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %lld is outside of rank %d", (long long)a->axis,
                 src->shape.rank);
    if (a->flatten < 0 || a->flatten > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "field 'flatten' must be 0 or 1");
    a->axis = axis;
    in->outputs[0] = (osp_type){src->dtype, src->shape};
    return OSP_OK;
}

static void softmax_row(const osp_view *src, const osp_view *dst, size_t base, size_t count,
                        size_t stride)
{
    double most = -HUGE_VAL, sum = 0;
    for (size_t k = 0; k < count; k++) {
        const double x = (double)osp_load_float(src->dtype, src->data, base + k * stride);
        most = x > most ? x : most;
    }
    for (size_t k = 0; k < count; k++)
        sum += exp((double)osp_load_float(src->dtype, src->data, base + k * stride) - most);
    for (size_t k = 0; k < count; k++) {
        const double x = (double)osp_load_float(src->dtype, src->data, base + k * stride);
        osp_store_float(dst->dtype, dst->data, base + k * stride, (float)(exp(x - most) / sum));
    }
}

static osp_status run_softmax(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_softmax_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst || osp_view_count(dst) == 0)
        return OSP_OK;
    const osp_shape *shape = &src->shape;
    const int32_t axis = (int32_t)a->axis;
    const int32_t end = a->flatten ? shape->rank : shape->rank ? axis + 1 : 0;
    const size_t outer = (size_t)osp_shape_span(shape, 0, shape->rank ? axis : 0);
    const size_t count = (size_t)osp_shape_span(shape, axis, end);
    const size_t inner = (size_t)osp_shape_span(shape, end, shape->rank);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++)
            softmax_row(src, dst, o * count * inner + i, count, inner);
    return OSP_OK;
}

const osp_op osp_op_softmax = {.type = "Softmax",
                               .domain = "",
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .min_outputs = 1,
                               .max_outputs = 1,
                               .attrs_size = sizeof(osp_softmax_attrs),
                               .attr_table = softmax_rows,
                               .defaults = &softmax_defaults,
                               .settle = settle_softmax,
                               .infer = infer_softmax,
                               .reference = run_softmax};

// ---- LayerNormalization -------------------------------------------------------------------------

static const osp_attr_row layer_norm_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_layer_norm_attrs, axis), 0, NULL, 0, 0},
    {"epsilon", OSP_ATTR_FLOAT, offsetof(osp_layer_norm_attrs, epsilon), 0, NULL, 0, 0},
    {"stash_type", OSP_ATTR_INT, offsetof(osp_layer_norm_attrs, stash_type), 0, NULL, 0, 0},
    {0}};
static const osp_layer_norm_attrs layer_norm_defaults = {-1, 1e-5f, 1};

static osp_status infer_layer_norm(osp_infer *in, osp_error *err)
{
    osp_layer_norm_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    const osp_value *src = in->inputs[0];
    int32_t axis;
    if (!osp_shape_axis(a->axis, src->shape.rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %lld is outside of rank %d", (long long)a->axis,
                 src->shape.rank);
    if (a->stash_type != 1)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "attribute 'stash_type' is %lld: only 1 (float) is supported",
                 (long long)a->stash_type);
    a->axis = axis;
    for (int32_t i = 1; i < 3; i++) {
        osp_shape joined;
        if (!osp_infer_input(in, i))
            continue;
        OSP_TRY(osp_infer_types(in, i, OSP_TYPES_FLOAT, err));
        OSP_TRY(osp_infer_rank(in, i, 0, src->shape.rank, err));
        if (!osp_shape_broadcast(&src->shape, &in->inputs[i]->shape, &joined) ||
            !osp_shape_equal(&joined, &src->shape))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d (%s) does not broadcast to the source", i,
                     i == 1 ? "scale" : "bias");
    }
    in->outputs[0] = (osp_type){src->dtype, src->shape};
    osp_type statistics = {OSP_DTYPE_FLOAT32, src->shape};
    for (int32_t d = axis; d < src->shape.rank; d++)
        statistics.shape.dims[d] = 1;
    in->outputs[1] = in->outputs[2] = statistics;
    return OSP_OK;
}

// Mean, and the inverse of the standard deviation, of a run of elements.
static void moments(const osp_view *src, size_t base, size_t count, double epsilon, double *mean,
                    double *inverse)
{
    double sum = 0, square = 0;
    for (size_t k = 0; k < count; k++)
        sum += (double)osp_load_float(src->dtype, src->data, base + k);
    *mean = sum / (double)count;
    for (size_t k = 0; k < count; k++) {
        const double d = (double)osp_load_float(src->dtype, src->data, base + k) - *mean;
        square += d * d;
    }
    *inverse = 1 / sqrt(square / (double)count + epsilon);
}

static osp_status run_layer_norm(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_layer_norm_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *scale = call->inputs + 1, *bias = osp_call_input(call, 2);
    const osp_view *dst = osp_call_output(call, 0), *mean = osp_call_output(call, 1);
    const osp_view *deviation = osp_call_output(call, 2);
    const int32_t axis = src->shape.rank ? (int32_t)a->axis : 0;
    const size_t outer = (size_t)osp_shape_span(&src->shape, 0, axis);
    const size_t count = (size_t)osp_shape_span(&src->shape, axis, src->shape.rank);
    osp_walk w;
    osp_walk_init(&w, &src->shape);
    osp_walk_broadcast(&w, 0, &scale->shape);
    if (bias)
        osp_walk_broadcast(&w, 1, &bias->shape);
    for (size_t o = 0; o < outer; o++) {
        double middle, inverse;
        moments(src, o * count, count, (double)a->epsilon, &middle, &inverse);
        if (mean)
            osp_store_float(mean->dtype, mean->data, o, (float)middle);
        if (deviation)
            osp_store_float(deviation->dtype, deviation->data, o, (float)inverse);
        for (size_t k = 0; k < count && osp_walk_next(&w); k++) {
            const size_t i = o * count + k;
            double y = ((double)osp_load_float(src->dtype, src->data, i) - middle) * inverse;
            y *= (double)osp_load_float(scale->dtype, scale->data, (size_t)w.at[0]);
            if (bias)
                y += (double)osp_load_float(bias->dtype, bias->data, (size_t)w.at[1]);
            if (dst)
                osp_store_float(dst->dtype, dst->data, i, (float)y);
        }
    }
    return OSP_OK;
}

const osp_op osp_op_layer_normalization = {.type = "LayerNormalization",
                                           .domain = "",
                                           .min_inputs = 2,
                                           .max_inputs = 3,
                                           .min_outputs = 1,
                                           .max_outputs = 3,
                                           .attrs_size = sizeof(osp_layer_norm_attrs),
                                           .attr_table = layer_norm_rows,
                                           .defaults = &layer_norm_defaults,
                                           .infer = infer_layer_norm,
                                           .reference = run_layer_norm};

// ---- BatchNormalization -------------------------------------------------------------------------

// `is_test` says up to opset 6 what `training_mode` says from 14 on; in between, it is training
// when more outputs than one are asked for.
static const osp_attr_row batch_norm_rows[] = {
    {"epsilon", OSP_ATTR_FLOAT, offsetof(osp_batch_norm_attrs, epsilon), 0, NULL, 0, 0},
    {"training_mode", OSP_ATTR_INT, offsetof(osp_batch_norm_attrs, training_mode), 0, NULL, 14, 0},
    {"spatial", OSP_ATTR_INT, offsetof(osp_batch_norm_attrs, spatial), 0, NULL, 0, 8},
    {"momentum", OSP_ATTR_IGNORED, 0, 0, NULL, 0, 0},
    {"is_test", OSP_ATTR_INT, offsetof(osp_batch_norm_attrs, training_mode), 0, NULL, 0, 6},
    {0}};
static const osp_batch_norm_attrs batch_norm_defaults = {1e-5f, 0, 1};

static osp_status settle_batch_norm(void *attrs, int32_t opset, uint64_t given, osp_error *err)
{
    (void)given;
    (void)err;
    osp_batch_norm_attrs *a = attrs;
    if (opset < 7)
        a->training_mode = a->training_mode == 0;  // it held is_test, 0 where it is not given
    return OSP_OK;
}

static osp_status infer_batch_norm(osp_infer *in, osp_error *err)
{
    const osp_batch_norm_attrs *a = in->attrs;
    if (a->training_mode != 0 || in->output_count > 1)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "batch normalization in training mode is not supported: export the model for "
                 "inference");
    if (a->spatial < 0 || a->spatial > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'spatial' must be 0 or 1");
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    const osp_shape *shape = &in->inputs[0]->shape;
    const int64_t channels = shape->rank < 2 ? 1
                             : a->spatial    ? shape->dims[1]
                                             : osp_shape_span(shape, 1, shape->rank);
    for (int32_t i = 1; i < 5; i++) {
        size_t count;
        OSP_TRY(osp_infer_types(in, i, OSP_TYPES_FLOAT, err));
        if (!osp_shape_count(&in->inputs[i]->shape, &count) || (int64_t)count != channels)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d has %zu elements: %lld are needed", i, count,
                     (long long)channels);
    }
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, *shape};
    return OSP_OK;
}

static double statistic(const osp_call *call, int32_t i, size_t c)
{
    return (double)osp_load_float(call->inputs[i].dtype, call->inputs[i].data, c);
}

static osp_status run_batch_norm(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_batch_norm_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    const size_t channels = osp_view_count(call->inputs + 1);
    if (!count || !channels)
        return OSP_OK;
    const int32_t rank = src->shape.rank;
    const size_t inner = a->spatial && rank > 2 ? (size_t)osp_shape_span(&src->shape, 2, rank) : 1;
    for (size_t i = 0; i < count; i += inner) {
        const size_t c = i / inner % channels;
        const double factor = statistic(call, 1, c) /
                              sqrt(statistic(call, 4, c) + (double)a->epsilon);
        const double mean = statistic(call, 3, c), bias = statistic(call, 2, c);
        for (size_t k = i; k < i + inner; k++) {
            const double x = (double)osp_load_float(src->dtype, src->data, k);
            osp_store_float(dst->dtype, dst->data, k, (float)((x - mean) * factor + bias));
        }
    }
    return OSP_OK;
}

const osp_op osp_op_batch_normalization = {.type = "BatchNormalization",
                                           .domain = "",
                                           .min_inputs = 5,
                                           .max_inputs = 5,
                                           .min_outputs = 1,
                                           .max_outputs = 5,
                                           .attrs_size = sizeof(osp_batch_norm_attrs),
                                           .attr_table = batch_norm_rows,
                                           .defaults = &batch_norm_defaults,
                                           .settle = settle_batch_norm,
                                           .infer = infer_batch_norm,
                                           .reference = run_batch_norm};
