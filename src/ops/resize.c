// Resize (opsets 10 to 22) and Upsample (6 to 9): attributes and shapes. The kernel is resample.c.
// Thread rule: no state.
#include "ops/resize.h"

#include <math.h>

#include "ops/view.h"

enum { POLICY_STRETCH = 0, POLICY_NOT_LARGER, POLICY_NOT_SMALLER };

// ---- Shapes -------------------------------------------------------------------------------------

static osp_status check_attrs(const osp_infer *in, const osp_resize_attrs *a, osp_error *err)
{
    const char *type = in->op->type;
    if (a->mode < OSP_RESIZE_NEAREST || a->mode > OSP_RESIZE_CUBIC ||
        a->nearest_mode < OSP_NEAREST_ROUND_PREFER_FLOOR ||
        a->nearest_mode > OSP_NEAREST_OPSET_10 || a->coordinate < OSP_RESIZE_HALF_PIXEL ||
        a->coordinate > OSP_RESIZE_HALF_PIXEL_SYMMETRIC || a->policy < POLICY_STRETCH ||
        a->policy > POLICY_NOT_SMALLER || a->antialias < 0 || a->antialias > 1 ||
        a->exclude_outside < 0 || a->exclude_outside > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: an attribute is out of range", type);
    if (a->antialias && a->mode == OSP_RESIZE_NEAREST)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: antialias needs the mode linear or cubic", type);
    if (!isfinite(a->cubic_coeff_a))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: cubic_coeff_a is not a number", type);
    return osp_infer_types(in, 0, a->mode == OSP_RESIZE_NEAREST ? OSP_TYPES_ALL : OSP_TYPES_NUMBER,
                           err);
}

// The extent of one axis for a scale, as ONNX Runtime rounds it.
static osp_status scale_axis(const osp_infer *in, osp_resize_attrs *a, int32_t axis, float scale,
                             osp_shape *dst, osp_error *err)
{
    float extent = (float)dst->dims[axis] * scale;
    if (!(scale > 0) || !isfinite(scale) || !(extent < 0x1p40f))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the scale %g of axis %d is out of range", in->op->type,
                 (double)scale, axis);
    a->scale[axis] = scale;
    a->resized[axis] = extent;
    if (scale != 1)  // else a float could be too narrow for the extent
        dst->dims[axis] = (int64_t)floorf(extent);
    return OSP_OK;
}

// Extents from sizes; a policy other than stretch takes one scale for all axes.
static osp_status size_axes(const osp_infer *in, osp_resize_attrs *a, const int32_t *axes,
                            int32_t count, const int64_t *sizes, osp_shape *dst, osp_error *err)
{
    const char *type = in->op->type;
    float common = 0;
    for (int32_t i = 0; i < count; i++) {
        int64_t length = dst->dims[axes[i]];
        if (sizes[i] < 0 || sizes[i] > (int64_t)1 << 40 || (length == 0 && sizes[i] > 0))
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s: the size %lld of axis %d, now %lld, is out of range", type,
                     (long long)sizes[i], axes[i], (long long)length);
        float scale = length ? (float)sizes[i] / (float)length : 1;
        bool better = a->policy == POLICY_NOT_LARGER ? scale < common : scale > common;
        common = i == 0 || better ? scale : common;
        a->scale[axes[i]] = scale;
        a->resized[axes[i]] = (float)sizes[i];
        if (a->policy == POLICY_STRETCH)
            dst->dims[axes[i]] = sizes[i];
    }
    for (int32_t i = 0; a->policy != POLICY_STRETCH && i < count; i++) {
        float extent = common * (float)dst->dims[axes[i]];
        if (!(extent < 0x1p40f))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d becomes too large", type, axes[i]);
        a->scale[axes[i]] = common;
        a->resized[axes[i]] = extent;
        dst->dims[axes[i]] = (int64_t)floorf(extent + 0.5f);
    }
    return OSP_OK;
}

static void start_shape(osp_infer *in, osp_resize_attrs *a)
{
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, in->inputs[0]->shape};
    for (int32_t i = 0; i < OSP_MAX_RANK; i++) {
        a->scale[i] = 1;
        a->resized[i] = i < in->inputs[0]->shape.rank ? (float)in->inputs[0]->shape.dims[i] : 0;
        a->roi_start[i] = 0;
        a->roi_end[i] = 1;
    }
}

static osp_status read_axes(const osp_infer *in, const osp_resize_attrs *a, int32_t *axes,
                            int32_t *count, osp_error *err)
{
    int32_t rank = in->inputs[0]->shape.rank;
    *count = a->axes.count >= 0 ? a->axes.count : rank;
    uint32_t seen = 0;
    for (int32_t i = 0; i < *count; i++) {
        axes[i < rank ? i : 0] = i;
        if (i >= rank || (a->axes.count >= 0 && !osp_shape_axis(a->axes.v[i], rank, &axes[i])) ||
            (seen >> axes[i] & 1))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute axes does not fit %d dimensions",
                     in->op->type, rank);
        seen |= 1u << axes[i];
    }
    return OSP_OK;
}

static osp_status read_roi(const osp_infer *in, osp_resize_attrs *a, const int32_t *axes,
                           int32_t count, osp_error *err)
{
    float roi[2 * OSP_MAX_RANK];
    int32_t given = 0;
    OSP_TRY(osp_infer_floats(in, 1, roi, 2 * OSP_MAX_RANK, &given, err));
    if (given != 2 * count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: tf_crop_and_resize needs a roi of %d numbers",
                 in->op->type, 2 * count);
    for (int32_t i = 0; i < 2 * count; i++)
        if (!isfinite(roi[i]))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: number %d of the roi is not finite", in->op->type,
                     i);
    for (int32_t i = 0; i < count; i++) {
        a->roi_start[axes[i]] = roi[i];
        a->roi_end[axes[i]] = roi[count + i];
    }
    return OSP_OK;
}

static osp_status resize_infer(osp_infer *in, osp_error *err)
{
    osp_resize_attrs *a = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(check_attrs(in, a, err));
    start_shape(in, a);
    int32_t axes[OSP_MAX_RANK] = {0}, count, scale_count = -1, size_count = -1;
    OSP_TRY(read_axes(in, a, axes, &count, err));
    float scales[OSP_MAX_RANK];
    int64_t sizes[OSP_MAX_RANK];
    // Opset 10 has two inputs, the source and scales; since then a roi stands between them.
    int32_t scales_input = in->input_count == 2 ? 1 : 2;
    OSP_TRY(osp_infer_floats(in, scales_input, scales, OSP_MAX_RANK, &scale_count, err));
    OSP_TRY(osp_infer_ints(in, 3, sizes, OSP_MAX_RANK, &size_count, err));
    if ((scale_count > 0) == (size_count > 0) && count > 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: needs either scales or sizes", type);
    if (a->coordinate == OSP_RESIZE_TF_CROP_AND_RESIZE && in->input_count > 2)
        OSP_TRY(read_roi(in, a, axes, count, err));
    int32_t given = scale_count > 0 ? scale_count : osp_i64_max(size_count, 0) > 0 ? size_count : 0;
    if (given != count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %d scales or sizes for %d axes", type, given, count);
    osp_shape *dst = &in->outputs[0].shape;
    if (size_count > 0)
        return size_axes(in, a, axes, count, sizes, dst, err);
    for (int32_t i = 0; i < count; i++)
        OSP_TRY(scale_axis(in, a, axes[i], scales[i], dst, err));
    return OSP_OK;
}

// ---- Resize ---------------------------------------------------------------------------------------

static osp_status resize_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    osp_resample(call->attrs, &call->inputs[0], &call->outputs[0]);
    return OSP_OK;
}

static double resize_work(const osp_call *call)
{
    return osp_resample_work(call->attrs, call);
}

// Opset 10 knew one coordinate mode, and rounded as OSP_NEAREST_OPSET_10 says. Its name in the
// table serves the plan and the text form; no file has it.
static osp_status resize_settle(void *attrs, int32_t opset, uint64_t given, osp_error *err)
{
    (void)given;
    (void)err;
    osp_resize_attrs *a = attrs;
    if (opset < 11) {
        a->coordinate = OSP_RESIZE_ASYMMETRIC;
        a->nearest_mode = OSP_NEAREST_OPSET_10;
    }
    return OSP_OK;
}

static const osp_attr_row resize_rows[] = {
    {"antialias", OSP_ATTR_INT, offsetof(osp_resize_attrs, antialias), 0, NULL, 18, 0},
    {"axes", OSP_ATTR_INTS, offsetof(osp_resize_attrs, axes), 16, NULL, 18, 0},
    {"coordinate_transformation_mode", OSP_ATTR_ENUM, offsetof(osp_resize_attrs, coordinate), 0,
     "half_pixel|pytorch_half_pixel|align_corners|asymmetric|tf_half_pixel_for_nn|"
     "tf_crop_and_resize|half_pixel_symmetric",
     11, 0},
    {"cubic_coeff_a", OSP_ATTR_FLOAT, offsetof(osp_resize_attrs, cubic_coeff_a), 0, NULL, 11, 0},
    {"exclude_outside", OSP_ATTR_INT, offsetof(osp_resize_attrs, exclude_outside), 0, NULL, 11, 0},
    {"extrapolation_value", OSP_ATTR_FLOAT, offsetof(osp_resize_attrs, extrapolation_value), 0,
     NULL, 11, 0},
    {"keep_aspect_ratio_policy", OSP_ATTR_ENUM, offsetof(osp_resize_attrs, policy), 0,
     "stretch|not_larger|not_smaller", 18, 0},
    {"mode", OSP_ATTR_ENUM, offsetof(osp_resize_attrs, mode), 0, "nearest|linear|cubic", 0, 0},
    {"nearest_mode", OSP_ATTR_ENUM, offsetof(osp_resize_attrs, nearest_mode), 0,
     "round_prefer_floor|round_prefer_ceil|floor|ceil|opset_10", 11, 0},
    {0},
};
static const osp_resize_attrs resize_defaults = {.axes = {.count = -1}, .cubic_coeff_a = -0.75f};

const osp_op osp_op_resize = {
    .type = "Resize",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 4,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1 | 1u << 2 | 1u << 3,
    .attrs_size = sizeof(osp_resize_attrs),
    .attr_table = resize_rows,
    .defaults = &resize_defaults,
    .settle = resize_settle,
    .infer = resize_infer,
    .reference = resize_reference,
    .work = resize_work,
};

// ---- Upsample -----------------------------------------------------------------------------------

typedef struct upsample_attrs {
    osp_resize_attrs resize;          // all of it resolved by infer
    osp_floats scales;                // opsets 7 and 8
    float height_scale, width_scale;  // opset 6
    int32_t mode;
} upsample_attrs;

static osp_status upsample_infer(osp_infer *in, osp_error *err)
{
    upsample_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    if (attrs->mode < 0 || attrs->mode > 2)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: mode is out of range", type);
    attrs->resize = (osp_resize_attrs){.axes = {.count = -1},
                                       .mode = attrs->mode ? OSP_RESIZE_LINEAR : OSP_RESIZE_NEAREST,
                                       .nearest_mode = OSP_NEAREST_FLOOR,
                                       .coordinate = OSP_RESIZE_ASYMMETRIC};
    OSP_TRY(check_attrs(in, &attrs->resize, err));
    start_shape(in, &attrs->resize);
    int32_t rank = in->inputs[0]->shape.rank, count = attrs->scales.count;
    float scales[16];
    memcpy(scales, attrs->scales.v, sizeof scales);
    if (osp_infer_input(in, 1)) {
        OSP_TRY(osp_infer_floats(in, 1, scales, OSP_MAX_RANK, &count, err));
    } else if (count < 0 && rank == 4) {
        scales[0] = scales[1] = 1;
        scales[2] = attrs->height_scale;
        scales[3] = attrs->width_scale;
        count = 4;
    }
    if (count != rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: %d scales for %d dimensions", type, count, rank);
    for (int32_t i = 0; i < rank; i++) {
        if (!(scales[i] >= 1))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the scale %g of axis %d is below 1", type,
                     (double)scales[i], i);
        OSP_TRY(scale_axis(in, &attrs->resize, i, scales[i], &in->outputs[0].shape, err));
    }
    return OSP_OK;
}

static osp_status upsample_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const upsample_attrs *attrs = call->attrs;
    osp_resample(&attrs->resize, &call->inputs[0], &call->outputs[0]);
    return OSP_OK;
}

static double upsample_work(const osp_call *call)
{
    const upsample_attrs *attrs = call->attrs;
    return osp_resample_work(&attrs->resize, call);
}

static const osp_attr_row upsample_rows[] = {
    {"height_scale", OSP_ATTR_FLOAT, offsetof(upsample_attrs, height_scale), 0, NULL, 0, 6},
    {"mode", OSP_ATTR_ENUM, offsetof(upsample_attrs, mode), 0, "nearest|linear|bilinear", 0, 0},
    {"scales", OSP_ATTR_FLOATS, offsetof(upsample_attrs, scales), 16, NULL, 7, 8},
    {"width_scale", OSP_ATTR_FLOAT, offsetof(upsample_attrs, width_scale), 0, NULL, 0, 6},
    {0},
};
static const upsample_attrs upsample_defaults = {.scales = {.count = -1}};

const osp_op osp_op_upsample = {
    .type = "Upsample",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(upsample_attrs),
    .attr_table = upsample_rows,
    .defaults = &upsample_defaults,
    .infer = upsample_infer,
    .reference = upsample_reference,
    .work = upsample_work,
};
