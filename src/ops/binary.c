// Operators of two or more operands that broadcast: arithmetic, comparison, logic, Where.
// Floats are computed in float, integers in int64 and narrowed by their low bits (they wrap, as in
// C with unsigned numbers and in numpy). Thread rule: no state.
#include "ops/binary.h"

#include <math.h>
#include <stddef.h>

#include "ops/view.h"

static osp_status fail_broadcast(const osp_shape *a, const osp_shape *b, osp_error *err)
{
    char ta[96], tb[96];
    OSP_FAIL(err, OSP_ERROR_FORMAT, "shapes %s and %s do not broadcast together",
             osp_shape_text(a, ta, sizeof ta), osp_shape_text(b, tb, sizeof tb));
}

// ---- Types --------------------------------------------------------------------------------------

static const osp_attr_row broadcast_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_broadcast_attrs, axis), 0, NULL, 0, 6},
    {"broadcast", OSP_ATTR_INT, offsetof(osp_broadcast_attrs, broadcast), 0, NULL, 0, 6},
    {0}};
static const osp_broadcast_attrs broadcast_defaults = {INT64_MIN, 0, 0};

// Opset 6 and `broadcast`: b lies in a from `axis` on, or at a's end.
static osp_status infer_legacy(osp_broadcast_attrs *attrs, const osp_shape *a, const osp_shape *b,
                               osp_shape *out, osp_error *err)
{
    int64_t start = a->rank - b->rank;
    if (attrs->axis != INT64_MIN) {
        int32_t axis;
        if (!osp_shape_axis(attrs->axis, a->rank, &axis))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %lld is outside of rank %d",
                     (long long)attrs->axis, a->rank);
        start = axis;
    }
    if (start < 0 || start + b->rank > a->rank)
        return fail_broadcast(a, b, err);
    for (int32_t d = 0; d < b->rank; d++)
        if (b->dims[d] != 1 && b->dims[d] != a->dims[start + d])
            return fail_broadcast(a, b, err);
    attrs->trailing = a->rank - start - b->rank;
    *out = *a;
    return OSP_OK;
}

static osp_status infer_shape(osp_infer *in, osp_shape *out, osp_error *err)
{
    osp_broadcast_attrs *attrs = in->attrs;
    const osp_shape *a = &in->inputs[0]->shape, *b = &in->inputs[1]->shape;
    attrs->trailing = 0;
    if (attrs->broadcast < 0 || attrs->broadcast > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'broadcast' must be 0 or 1");
    if (attrs->broadcast)
        return infer_legacy(attrs, a, b, out, err);
    return osp_shape_broadcast(a, b, out) ? OSP_OK : fail_broadcast(a, b, err);
}

static osp_status infer_pair(osp_infer *in, uint32_t types, osp_dtype result, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, types, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    in->outputs[0].dtype = result ? result : in->inputs[0]->dtype;
    return infer_shape(in, &in->outputs[0].shape, err);
}

static osp_status infer_arithmetic(osp_infer *in, osp_error *err)
{
    return infer_pair(in, OSP_TYPES_NUMBER, OSP_DTYPE_UNKNOWN, err);
}

static osp_status infer_equal(osp_infer *in, osp_error *err)
{
    return infer_pair(in, OSP_TYPES_ALL, OSP_DTYPE_BOOL, err);
}

static osp_status infer_less(osp_infer *in, osp_error *err)
{
    return infer_pair(in, OSP_TYPES_NUMBER, OSP_DTYPE_BOOL, err);
}

static osp_status infer_logic(osp_infer *in, osp_error *err)
{
    return infer_pair(in, OSP_TYPE(OSP_DTYPE_BOOL), OSP_DTYPE_BOOL, err);
}

static osp_status infer_pow(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT | OSP_TYPES_INT, err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_NUMBER, err));
    in->outputs[0].dtype = in->inputs[0]->dtype;
    return infer_shape(in, &in->outputs[0].shape, err);
}

// ---- Kernels ------------------------------------------------------------------------------------

typedef float (*float_fn)(float a, float b);
typedef bool (*int_fn)(int64_t a, int64_t b, int64_t *out);  // false: division by zero

static osp_walk pair_walk(const osp_shape *a, const osp_shape *b, const osp_shape *out)
{
    osp_walk w;
    osp_walk_init(&w, out);
    osp_walk_broadcast(&w, 0, a);
    osp_walk_broadcast(&w, 1, b);
    return w;
}

static osp_status run_pair(const osp_view *a, const osp_view *b, const osp_shape *b_shape,
                           const osp_view *dst, float_fn on_floats, int_fn on_ints, osp_error *err)
{
    osp_walk w = pair_walk(&a->shape, b_shape, &dst->shape);
    if (osp_dtype_is_float(a->dtype)) {
        for (size_t i = 0; osp_walk_next(&w); i++)
            osp_store_float(dst->dtype, dst->data, i,
                            on_floats(osp_load_float(a->dtype, a->data, (size_t)w.at[0]),
                                      osp_load_float(b->dtype, b->data, (size_t)w.at[1])));
        return OSP_OK;
    }
    for (size_t i = 0; osp_walk_next(&w); i++) {
        int64_t result;
        if (!on_ints(osp_load_int(a->dtype, a->data, (size_t)w.at[0]),
                     osp_load_int(b->dtype, b->data, (size_t)w.at[1]), &result))
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "integer division by zero at element %zu", i);
        osp_store_int(dst->dtype, dst->data, i, result);
    }
    return OSP_OK;
}

static osp_status run_broadcast(const osp_call *call, float_fn on_floats, int_fn on_ints,
                                osp_error *err)
{
    const osp_view *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const osp_shape second = osp_broadcast_second(call->attrs, &call->inputs[1].shape);
    return run_pair(call->inputs, call->inputs + 1, &second, dst, on_floats, on_ints, err);
}

static float float_add(float a, float b)
{
    return a + b;
}

static bool int_add(int64_t a, int64_t b, int64_t *out)
{
    *out = (int64_t)((uint64_t)a + (uint64_t)b);
    return true;
}

static float float_sub(float a, float b)
{
    return a - b;
}

static bool int_sub(int64_t a, int64_t b, int64_t *out)
{
    *out = (int64_t)((uint64_t)a - (uint64_t)b);
    return true;
}

static float float_mul(float a, float b)
{
    return a * b;
}

static bool int_mul(int64_t a, int64_t b, int64_t *out)
{
    *out = (int64_t)((uint64_t)a * (uint64_t)b);
    return true;
}

static float float_div(float a, float b)
{
    return a / b;
}

static bool int_div(int64_t a, int64_t b, int64_t *out)
{
    if (b == 0)
        return false;
    *out = b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    return true;
}

static float float_pow(float a, float b)
{
    return (float)pow((double)a, (double)b);
}

static float float_mod(float a, float b)
{
    return fmodf(a, b);
}

// The sign of the divisor, as in Python.
static bool int_mod(int64_t a, int64_t b, int64_t *out)
{
    if (b == 0)
        return false;
    const int64_t rest = b == -1 ? 0 : a % b;
    *out = rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    return true;
}

// The sign of the dividend, as in C.
static bool int_fmod(int64_t a, int64_t b, int64_t *out)
{
    if (b == 0)
        return false;
    *out = b == -1 ? 0 : a % b;
    return true;
}

// NaN wins, as in numpy and ONNX Runtime.
static float float_min(float a, float b)
{
    return a != a || a < b ? a : b;
}

static bool int_min(int64_t a, int64_t b, int64_t *out)
{
    *out = osp_i64_min(a, b);
    return true;
}

static float float_max(float a, float b)
{
    return a != a || a > b ? a : b;
}

static bool int_max(int64_t a, int64_t b, int64_t *out)
{
    *out = osp_i64_max(a, b);
    return true;
}

static float float_equal(float a, float b)
{
    return a == b;
}

static bool int_equal(int64_t a, int64_t b, int64_t *out)
{
    *out = a == b;
    return true;
}

static float float_less(float a, float b)
{
    return a < b;
}

static bool int_less(int64_t a, int64_t b, int64_t *out)
{
    *out = a < b;
    return true;
}

static float float_greater(float a, float b)
{
    return float_less(b, a);
}

static bool int_greater(int64_t a, int64_t b, int64_t *out)
{
    return int_less(b, a, out);
}

static bool int_and(int64_t a, int64_t b, int64_t *out)
{
    *out = a && b;
    return true;
}

static bool int_xor(int64_t a, int64_t b, int64_t *out)
{
    *out = !a != !b;
    return true;
}

#define BROADCAST_OP(id, onnx, infer_fn, on_floats, on_ints)                                       \
    static osp_status run_##id(const osp_call *call, osp_error *err)                               \
    {                                                                                              \
        return run_broadcast(call, on_floats, on_ints, err);                                       \
    }                                                                                              \
    const osp_op osp_op_##id = {.type = onnx,                                                      \
                                .domain = "",                                                      \
                                .min_inputs = 2,                                                   \
                                .max_inputs = 2,                                                   \
                                .min_outputs = 1,                                                  \
                                .max_outputs = 1,                                                  \
                                .attrs_size = sizeof(osp_broadcast_attrs),                         \
                                .attr_table = broadcast_rows,                                      \
                                .defaults = &broadcast_defaults,                                   \
                                .infer = infer_fn,                                                 \
                                .reference = run_##id};

BROADCAST_OP(add, "Add", infer_arithmetic, float_add, int_add)
BROADCAST_OP(sub, "Sub", infer_arithmetic, float_sub, int_sub)
BROADCAST_OP(mul, "Mul", infer_arithmetic, float_mul, int_mul)
BROADCAST_OP(div, "Div", infer_arithmetic, float_div, int_div)
BROADCAST_OP(equal, "Equal", infer_equal, float_equal, int_equal)
BROADCAST_OP(less, "Less", infer_less, float_less, int_less)
BROADCAST_OP(greater, "Greater", infer_less, float_greater, int_greater)
BROADCAST_OP(and, "And", infer_logic, NULL, int_and)
BROADCAST_OP(xor, "Xor", infer_logic, NULL, int_xor)

// ---- Pow: the exponent has a type of its own ----------------------------------------------------

static osp_status run_pow(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *a = call->inputs, *b = call->inputs + 1, *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const osp_shape second = osp_broadcast_second(call->attrs, &b->shape);
    if (osp_dtype_is_float(a->dtype))
        return run_pair(a, b, &second, dst, float_pow, NULL, err);
    const bool ints = !osp_dtype_is_float(b->dtype);
    osp_walk w = pair_walk(&a->shape, &second, &dst->shape);
    for (size_t i = 0; osp_walk_next(&w); i++) {
        const double base = (double)osp_load_int(a->dtype, a->data, (size_t)w.at[0]);
        const double power = ints ? (double)osp_load_int(b->dtype, b->data, (size_t)w.at[1])
                                  : (double)osp_load_float(b->dtype, b->data, (size_t)w.at[1]);
        const int64_t result = osp_float_to_int(pow(base, power));
        const int64_t low = dst->dtype == OSP_DTYPE_INT32 ? INT32_MIN : INT64_MIN;
        const int64_t high = dst->dtype == OSP_DTYPE_INT32 ? INT32_MAX : INT64_MAX;
        osp_store_int(dst->dtype, dst->data, i, osp_i64_max(low, osp_i64_min(high, result)));
    }
    return OSP_OK;
}

const osp_op osp_op_pow = {.type = "Pow",
                           .domain = "",
                           .min_inputs = 2,
                           .max_inputs = 2,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attrs_size = sizeof(osp_broadcast_attrs),
                           .attr_table = broadcast_rows,
                           .defaults = &broadcast_defaults,
                           .infer = infer_pow,
                           .reference = run_pow};

// ---- Mod ----------------------------------------------------------------------------------------

static const osp_attr_row mod_rows[] = {
    {"fmod", OSP_ATTR_INT, offsetof(osp_mod_attrs, fmod), 0, NULL, 0, 0},
    {0}};

static osp_status infer_mod(osp_infer *in, osp_error *err)
{
    const osp_mod_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_NUMBER, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    const osp_value *x = in->inputs[0], *y = in->inputs[1];
    if (a->fmod < 0 || a->fmod > 1 || (osp_dtype_is_float(x->dtype) && !a->fmod))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'fmod' is %lld: it must be %s",
                 (long long)a->fmod, osp_dtype_is_float(x->dtype) ? "1 for floats" : "0 or 1");
    in->outputs[0].dtype = x->dtype;
    if (!osp_shape_broadcast(&x->shape, &y->shape, &in->outputs[0].shape))
        return fail_broadcast(&x->shape, &y->shape, err);
    return OSP_OK;
}

static osp_status run_mod(const osp_call *call, osp_error *err)
{
    const osp_view *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    return run_pair(call->inputs, call->inputs + 1, &call->inputs[1].shape, dst, float_mod,
                    ((const osp_mod_attrs *)call->attrs)->fmod ? int_fmod : int_mod, err);
}

const osp_op osp_op_mod = {.type = "Mod",
                           .domain = "",
                           .min_inputs = 2,
                           .max_inputs = 2,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attrs_size = sizeof(osp_mod_attrs),
                           .attr_table = mod_rows,
                           .infer = infer_mod,
                           .reference = run_mod};

// ---- Min, Max: any number of operands -----------------------------------------------------------

static osp_status infer_extreme(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_NUMBER, err));
    osp_type *out = in->outputs;
    *out = (osp_type){in->inputs[0]->dtype, in->inputs[0]->shape};
    for (int32_t i = 1; i < in->input_count; i++) {
        OSP_TRY(osp_infer_same(in, 0, i, err));
        if (!osp_shape_broadcast(&out->shape, &in->inputs[i]->shape, &out->shape))
            return fail_broadcast(&out->shape, &in->inputs[i]->shape, err);
    }
    return OSP_OK;
}

// One operand after the other into dst: neither function rounds.
static osp_status run_extreme(const osp_call *call, float_fn on_floats, int_fn on_ints,
                              osp_error *err)
{
    const osp_view *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    OSP_TRY(
        run_pair(call->inputs, call->inputs, &call->inputs[0].shape, dst, on_floats, on_ints, err));
    for (int32_t i = 1; i < call->input_count; i++)
        OSP_TRY(
            run_pair(dst, call->inputs + i, &call->inputs[i].shape, dst, on_floats, on_ints, err));
    return OSP_OK;
}

#define EXTREME_OP(id, onnx)                                                                       \
    static osp_status run_##id(const osp_call *call, osp_error *err)                               \
    {                                                                                              \
        return run_extreme(call, float_##id, int_##id, err);                                       \
    }                                                                                              \
    const osp_op osp_op_##id = {.type = onnx,                                                      \
                                .domain = "",                                                      \
                                .min_inputs = 1,                                                   \
                                .max_inputs = -1,                                                  \
                                .min_outputs = 1,                                                  \
                                .max_outputs = 1,                                                  \
                                .attrs_size = 1,                                                   \
                                .infer = infer_extreme,                                            \
                                .reference = run_##id};

EXTREME_OP(min, "Min")
EXTREME_OP(max, "Max")

// ---- Where --------------------------------------------------------------------------------------

static osp_status infer_where(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPE(OSP_DTYPE_BOOL), err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_ALL, err));
    OSP_TRY(osp_infer_same(in, 1, 2, err));
    const osp_shape *c = &in->inputs[0]->shape, *x = &in->inputs[1]->shape;
    const osp_shape *y = &in->inputs[2]->shape;
    osp_type *out = in->outputs;
    out->dtype = in->inputs[1]->dtype;
    if (!osp_shape_broadcast(x, y, &out->shape))
        return fail_broadcast(x, y, err);
    if (!osp_shape_broadcast(c, &out->shape, &out->shape))
        return fail_broadcast(c, &out->shape, err);
    return OSP_OK;
}

static osp_status run_where(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *in = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const size_t bytes = osp_dtype_bytes(dst->dtype);
    osp_walk w;
    osp_walk_init(&w, &dst->shape);
    for (int32_t k = 0; k < 3; k++)
        osp_walk_broadcast(&w, k, &in[k].shape);
    for (size_t i = 0; osp_walk_next(&w); i++) {
        const int32_t k = ((const uint8_t *)in[0].data)[w.at[0]] ? 1 : 2;
        osp_copy_element(dst->data, i, in[k].data, (size_t)w.at[k], bytes);
    }
    return OSP_OK;
}

const osp_op osp_op_where = {.type = "Where",
                             .domain = "",
                             .min_inputs = 3,
                             .max_inputs = 3,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .attrs_size = 1,
                             .infer = infer_where,
                             .reference = run_where};
