// Unary operators, Clip and Cast. Floats are computed in float or wider and rounded once.
// Thread rule: no state.
#include "ops/elementwise.h"

#include <float.h>
#include <stddef.h>

#include "ops/view.h"

osp_status osp_infer_unary(osp_infer *in, uint32_t types, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, types, err));
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, in->inputs[0]->shape};
    return OSP_OK;
}

static osp_status infer_float(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPES_FLOAT, err);
}

typedef float (*float_fn)(float x, const void *attrs);

static osp_status run_float(const osp_call *call, float_fn fn)
{
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    for (size_t i = 0; i < count; i++)
        osp_store_float(dst->dtype, dst->data, i,
                        fn(osp_load_float(src->dtype, src->data, i), call->attrs));
    return OSP_OK;
}

// ---- Functions of one float ---------------------------------------------------------------------

static float fn_leaky_relu(float x, const void *attrs)
{
    return osp_activate(OSP_ACT_LEAKY_RELU, ((const osp_alpha_attrs *)attrs)->alpha, 0, x);
}

static float fn_sigmoid(float x, const void *attrs)
{
    (void)attrs;
    return osp_sigmoid(x);
}

static float fn_exp(float x, const void *attrs)
{
    (void)attrs;
    return (float)exp((double)x);
}

static float fn_log(float x, const void *attrs)
{
    (void)attrs;
    return (float)log((double)x);
}

static float fn_sqrt(float x, const void *attrs)
{
    (void)attrs;
    return sqrtf(x);
}

static float fn_erf(float x, const void *attrs)
{
    (void)attrs;
    return (float)erf((double)x);
}

static float fn_tanh(float x, const void *attrs)
{
    (void)attrs;
    return (float)tanh((double)x);
}

static float fn_sin(float x, const void *attrs)
{
    (void)attrs;
    return (float)sin((double)x);
}

static float fn_cos(float x, const void *attrs)
{
    (void)attrs;
    return (float)cos((double)x);
}

static float fn_floor(float x, const void *attrs)
{
    (void)attrs;
    return floorf(x);
}

static float fn_hard_sigmoid(float x, const void *attrs)
{
    const osp_alpha_attrs *a = attrs;
    return osp_activate(OSP_ACT_HARD_SIGMOID, a->alpha, a->beta, x);
}

static float fn_hard_swish(float x, const void *attrs)
{
    (void)attrs;
    return osp_activate(OSP_ACT_HARD_SWISH, 0, 0, x);
}

static float fn_gelu(float x, const void *attrs)
{
    return ((const osp_gelu_attrs *)attrs)->approximate ? osp_gelu_tanh(x) : osp_gelu(x);
}

static const osp_attr_row leaky_relu_rows[] = {
    {"alpha", OSP_ATTR_FLOAT, offsetof(osp_alpha_attrs, alpha), 0, NULL, 0, 0},
    {0}};
static const osp_alpha_attrs leaky_relu_defaults = {0.01f, 0};

static const osp_attr_row hard_sigmoid_rows[] = {
    {"alpha", OSP_ATTR_FLOAT, offsetof(osp_alpha_attrs, alpha), 0, NULL, 0, 0},
    {"beta", OSP_ATTR_FLOAT, offsetof(osp_alpha_attrs, beta), 0, NULL, 0, 0},
    {0}};
static const osp_alpha_attrs hard_sigmoid_defaults = {0.2f, 0.5f};

static const osp_attr_row gelu_rows[] = {
    {"approximate", OSP_ATTR_ENUM, offsetof(osp_gelu_attrs, approximate), 0, "none|tanh", 0, 0},
    {0}};

// A descriptor whose kernel is fn_<id>.
#define FLOAT_OP(id, onnx, rows, attrs_bytes, default_attrs)                                       \
    static osp_status run_##id(const osp_call *call, osp_error *err)                               \
    {                                                                                              \
        (void)err;                                                                                 \
        return run_float(call, fn_##id);                                                           \
    }                                                                                              \
    const osp_op osp_op_##id = {.type = onnx,                                                      \
                                .domain = "",                                                      \
                                .min_inputs = 1,                                                   \
                                .max_inputs = 1,                                                   \
                                .min_outputs = 1,                                                  \
                                .max_outputs = 1,                                                  \
                                .attrs_size = attrs_bytes,                                         \
                                .attr_table = rows,                                                \
                                .defaults = default_attrs,                                         \
                                .infer = infer_float,                                              \
                                .reference = run_##id};

FLOAT_OP(leaky_relu, "LeakyRelu", leaky_relu_rows, sizeof(osp_alpha_attrs), &leaky_relu_defaults)
FLOAT_OP(sigmoid, "Sigmoid", NULL, 1, NULL)
FLOAT_OP(exp, "Exp", NULL, 1, NULL)
FLOAT_OP(log, "Log", NULL, 1, NULL)
FLOAT_OP(sqrt, "Sqrt", NULL, 1, NULL)
FLOAT_OP(erf, "Erf", NULL, 1, NULL)
FLOAT_OP(tanh, "Tanh", NULL, 1, NULL)
FLOAT_OP(sin, "Sin", NULL, 1, NULL)
FLOAT_OP(cos, "Cos", NULL, 1, NULL)
FLOAT_OP(floor, "Floor", NULL, 1, NULL)
FLOAT_OP(hard_sigmoid, "HardSigmoid", hard_sigmoid_rows, sizeof(osp_alpha_attrs),
         &hard_sigmoid_defaults)
FLOAT_OP(hard_swish, "HardSwish", NULL, 1, NULL)
FLOAT_OP(gelu, "Gelu", gelu_rows, sizeof(osp_gelu_attrs), NULL)

// ---- Relu, Not, Identity ------------------------------------------------------------------------

static osp_status infer_relu(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPES_FLOAT | OSP_TYPES_INT | OSP_TYPE(OSP_DTYPE_INT8), err);
}

static osp_status run_relu(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    for (size_t i = 0; i < count; i++)
        if (osp_dtype_is_float(src->dtype))
            osp_store_float(
                dst->dtype, dst->data, i,
                osp_activate(OSP_ACT_RELU, 0, 0, osp_load_float(src->dtype, src->data, i)));
        else
            osp_store_int(dst->dtype, dst->data, i,
                          osp_i64_max(0, osp_load_int(src->dtype, src->data, i)));
    return OSP_OK;
}

const osp_op osp_op_relu = {.type = "Relu",
                            .domain = "",
                            .min_inputs = 1,
                            .max_inputs = 1,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attrs_size = 1,
                            .infer = infer_relu,
                            .reference = run_relu};

static osp_status infer_not(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPE(OSP_DTYPE_BOOL), err);
}

static osp_status run_not(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)dst->data)[i] = !((const uint8_t *)src->data)[i];
    return OSP_OK;
}

const osp_op osp_op_not = {.type = "Not",
                           .domain = "",
                           .min_inputs = 1,
                           .max_inputs = 1,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attrs_size = 1,
                           .infer = infer_not,
                           .reference = run_not};

static osp_status infer_identity(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPES_ALL, err);
}

static osp_status run_identity(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t bytes = dst ? osp_view_count(dst) * osp_dtype_bytes(dst->dtype) : 0;
    if (bytes)
        memcpy(dst->data, src->data, bytes);
    return OSP_OK;
}

const osp_op osp_op_identity = {.type = "Identity",
                                .domain = "",
                                .min_inputs = 1,
                                .max_inputs = 1,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attrs_size = 1,
                                .infer = infer_identity,
                                .reference = run_identity,
                                .same_bytes = true};

// ---- Clip ---------------------------------------------------------------------------------------

static const osp_attr_row clip_rows[] = {
    {"min", OSP_ATTR_FLOAT, offsetof(osp_clip_attrs, min), 0, NULL, 0, 10},
    {"max", OSP_ATTR_FLOAT, offsetof(osp_clip_attrs, max), 0, NULL, 0, 10},
    {0}};
static const osp_clip_attrs clip_defaults = {-FLT_MAX, FLT_MAX};

static osp_status infer_clip(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_unary(in, OSP_TYPES_NUMBER, err));
    for (int32_t i = 1; i < 3; i++) {
        size_t count;
        if (!osp_infer_input(in, i))
            continue;
        OSP_TRY(osp_infer_same(in, 0, i, err));
        if (!osp_shape_count(&in->inputs[i]->shape, &count) || count != 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d (%s) must be one number", i,
                     i == 1 ? "min" : "max");
    }
    return OSP_OK;
}

// The bound as a float, or what leaves the type's whole range.
static float clip_float(const osp_call *call, int32_t i, float bound)
{
    const osp_view *view = osp_call_input(call, i);
    if (view)
        return osp_load_float(view->dtype, view->data, 0);
    const osp_dtype dtype = call->inputs[0].dtype;
    const float most = dtype == OSP_DTYPE_FLOAT16    ? 65504.0f
                       : dtype == OSP_DTYPE_BFLOAT16 ? 0x1.FEp127f
                                                     : FLT_MAX;
    return osp_clamp(bound, -most, most);
}

static int64_t clip_int(const osp_call *call, int32_t i, float bound)
{
    const osp_view *view = osp_call_input(call, i);
    return view ? osp_load_int(view->dtype, view->data, 0) : osp_float_to_int((double)bound);
}

static osp_status run_clip(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_clip_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    if (osp_dtype_is_float(src->dtype)) {
        const float low = clip_float(call, 1, a->min), high = clip_float(call, 2, a->max);
        for (size_t i = 0; i < count; i++)
            osp_store_float(dst->dtype, dst->data, i,
                            osp_clamp(osp_load_float(src->dtype, src->data, i), low, high));
        return OSP_OK;
    }
    const int64_t low = clip_int(call, 1, a->min), high = clip_int(call, 2, a->max);
    for (size_t i = 0; i < count; i++) {
        const int64_t x = osp_load_int(src->dtype, src->data, i);
        osp_store_int(dst->dtype, dst->data, i, osp_i64_min(high, osp_i64_max(low, x)));
    }
    return OSP_OK;
}

const osp_op osp_op_clip = {.type = "Clip",
                            .domain = "",
                            .min_inputs = 1,
                            .max_inputs = 3,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attrs_size = sizeof(osp_clip_attrs),
                            .attr_table = clip_rows,
                            .defaults = &clip_defaults,
                            .infer = infer_clip,
                            .reference = run_clip};

// ---- Cast ---------------------------------------------------------------------------------------

static const struct {
    uint8_t code, dtype;
} onnx_types[] = {{1, OSP_DTYPE_FLOAT32},  {2, OSP_DTYPE_UINT8},    {3, OSP_DTYPE_INT8},
                  {6, OSP_DTYPE_INT32},    {7, OSP_DTYPE_INT64},    {9, OSP_DTYPE_BOOL},
                  {10, OSP_DTYPE_FLOAT16}, {16, OSP_DTYPE_BFLOAT16}};

osp_dtype osp_dtype_from_onnx(int64_t code)
{
    for (size_t i = 0; i < sizeof onnx_types / sizeof onnx_types[0]; i++)
        if (onnx_types[i].code == code)
            return (osp_dtype)onnx_types[i].dtype;
    return OSP_DTYPE_UNKNOWN;
}

int64_t osp_dtype_to_onnx(osp_dtype dtype)
{
    for (size_t i = 0; i < sizeof onnx_types / sizeof onnx_types[0]; i++)
        if (onnx_types[i].dtype == dtype)
            return onnx_types[i].code;
    return 0;
}

// `saturate` (19) is for float8 alone.
static const osp_attr_row cast_rows[] = {
    {"to", OSP_ATTR_INT, offsetof(osp_cast_attrs, to), 0, NULL, 0, 0},
    {"saturate", OSP_ATTR_IGNORED, 0, 0, NULL, 19, 0},
    {0}};

static osp_status infer_cast(osp_infer *in, osp_error *err)
{
    const osp_cast_attrs *a = in->attrs;
    const osp_dtype to = osp_dtype_from_onnx(a->to);
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_ALL, err));
    if (!to)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "attribute 'to' is %lld%s: known are float (1), uint8 (2), int8 (3), int32 (6), "
                 "int64 (7), bool (9), float16 (10), bfloat16 (16)",
                 (long long)a->to, a->to == 11 ? " (double)" : "");
    in->outputs[0] = (osp_type){to, in->inputs[0]->shape};
    return OSP_OK;
}

// Floats become integers by truncation and saturation, integers narrow by their low bits.
static osp_status run_cast(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t count = dst ? osp_view_count(dst) : 0;
    const bool from_float = osp_dtype_is_float(src->dtype);
    for (size_t i = 0; i < count; i++)
        if (from_float)
            osp_store_float(dst->dtype, dst->data, i, osp_load_float(src->dtype, src->data, i));
        else
            osp_store_int(dst->dtype, dst->data, i, osp_load_int(src->dtype, src->data, i));
    return OSP_OK;
}

const osp_op osp_op_cast = {.type = "Cast",
                            .domain = "",
                            .min_inputs = 1,
                            .max_inputs = 1,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attrs_size = sizeof(osp_cast_attrs),
                            .attr_table = cast_rows,
                            .infer = infer_cast,
                            .reference = run_cast};
