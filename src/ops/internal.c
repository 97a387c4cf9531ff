// Operators of domain "osprey": what passes fuse, and its plain meaning. Thread rule: no state.
#include "ops/internal.h"

#include "ops/linear.h"
#include "ops/view.h"

// ---- Silu ---------------------------------------------------------------------------------------

static osp_status infer_silu(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPES_FLOAT, err);
}

// The activation of n elements of src into dst, which may be src.
static void activate(const osp_view *src, const osp_view *dst, osp_act act, float alpha, float beta)
{
    const size_t count = osp_view_count(dst);
    for (size_t i = 0; i < count; i++)
        osp_store_float(dst->dtype, dst->data, i,
                        osp_activate(act, alpha, beta, osp_load_float(src->dtype, src->data, i)));
}

static osp_status run_silu(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *dst = osp_call_output(call, 0);
    if (dst)
        activate(call->inputs, dst, OSP_ACT_SILU, 0, 0);
    return OSP_OK;
}

const osp_op osp_op_silu = {.type = "Silu",
                            .domain = "osprey",
                            .min_inputs = 1,
                            .max_inputs = 1,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attrs_size = 1,
                            .infer = infer_silu,
                            .reference = run_silu};

// ---- FusedConv ----------------------------------------------------------------------------------

static const osp_attr_row fused_conv_rows[] = {
    OSP_CONV_ROWS(offsetof(osp_fused_conv_attrs, conv)),
    {"act", OSP_ATTR_ENUM, offsetof(osp_fused_conv_attrs, act), 0, OSP_ACT_NAMES, 0, 0},
    {"alpha", OSP_ATTR_FLOAT, offsetof(osp_fused_conv_attrs, alpha), 0, NULL, 0, 0},
    {"beta", OSP_ATTR_FLOAT, offsetof(osp_fused_conv_attrs, beta), 0, NULL, 0, 0},
    {"residual", OSP_ATTR_ENUM, offsetof(osp_fused_conv_attrs, residual), 0, "none|before|after", 0,
     0},
    {0}};
static const osp_fused_conv_attrs fused_conv_defaults = {.conv = OSP_CONV_DEFAULTS};

static osp_status infer_fused_conv(osp_infer *in, osp_error *err)
{
    osp_fused_conv_attrs *a = in->attrs;
    const osp_value *inputs[4] = {0};
    osp_value rounded = *in->inputs[0];
    osp_infer as_read = *in;
    for (int32_t i = 1; i < 4; i++)
        inputs[i] = osp_infer_input(in, i);
    if (rounded.dtype == OSP_DTYPE_FLOAT32 && inputs[1]->dtype == OSP_DTYPE_FLOAT16)
        rounded.dtype = OSP_DTYPE_FLOAT16;
    inputs[0] = &rounded;
    as_read.inputs = inputs;
    as_read.input_count = 4;
    OSP_TRY(osp_conv_infer(&as_read, &a->conv, in->outputs, err));
    if (a->act < 0 || a->act >= OSP_ACT_COUNT || a->residual < 0 ||
        a->residual > OSP_RESIDUAL_AFTER)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'act' or 'residual' is out of range");
    const osp_value *residual = osp_infer_input(in, 3);
    if ((residual != NULL) != (a->residual != OSP_RESIDUAL_NONE))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'residual' and input 3 contradict each other");
    if (residual && (residual->dtype != in->outputs[0].dtype ||
                     !osp_shape_equal(&residual->shape, &in->outputs[0].shape)))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "input 3 (residual) is not of the type of the output");
    return OSP_OK;
}

static osp_status run_fused_conv(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_fused_conv_attrs *a = call->attrs;
    const osp_view *dst = osp_call_output(call, 0), *residual = osp_call_input(call, 3);
    if (!dst)
        return OSP_OK;
    osp_conv_reference(&a->conv, call->inputs, call->inputs + 1, osp_call_input(call, 2), dst);
    const size_t count = osp_view_count(dst);
    for (size_t i = 0; i < count; i++) {
        float x = osp_load_float(dst->dtype, dst->data, i);
        const float r = residual ? osp_load_float(residual->dtype, residual->data, i) : 0;
        if (a->residual == OSP_RESIDUAL_BEFORE)
            x += r;
        x = osp_activate((osp_act)a->act, a->alpha, a->beta, x);
        if (a->residual == OSP_RESIDUAL_AFTER)
            x += r;
        osp_store_float(dst->dtype, dst->data, i, x);
    }
    return OSP_OK;
}

// An output is a sum over all weights of its channel.
static double work_fused_conv(const osp_call *call)
{
    const osp_shape *weights = &call->inputs[1].shape;
    return (double)osp_view_count(call->outputs) *
           (double)osp_shape_span(weights, 1, weights->rank);
}

const osp_op osp_op_fused_conv = {.type = "FusedConv",
                                  .domain = "osprey",
                                  .min_inputs = 2,
                                  .max_inputs = 4,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attrs_size = sizeof(osp_fused_conv_attrs),
                                  .attr_table = fused_conv_rows,
                                  .defaults = &fused_conv_defaults,
                                  .infer = infer_fused_conv,
                                  .reference = run_fused_conv,
                                  .work = work_fused_conv};

// ---- Attention ----------------------------------------------------------------------------------

static const osp_attr_row attention_rows[] = {
    {"scale", OSP_ATTR_FLOAT, offsetof(osp_attention_attrs, scale), 0, NULL, 0, 0},
    {"q_transposed", OSP_ATTR_INT, offsetof(osp_attention_attrs, q_transposed), 0, NULL, 0, 0},
    {"k_transposed", OSP_ATTR_INT, offsetof(osp_attention_attrs, k_transposed), 0, NULL, 0, 0},
    {"v_transposed", OSP_ATTR_INT, offsetof(osp_attention_attrs, v_transposed), 0, NULL, 0, 0},
    {"out_transposed", OSP_ATTR_INT, offsetof(osp_attention_attrs, out_transposed), 0, NULL, 0, 0},
    {"heads", OSP_ATTR_INT, offsetof(osp_attention_attrs, heads), 0, NULL, 0, 0},
    {0}};
static const osp_attention_attrs attention_defaults = {.scale = 1};

// Rows and columns of the last two dims, the other way round if `transposed`.
static void sides(const osp_shape *shape, int64_t transposed, int64_t *rows, int64_t *columns)
{
    *rows = shape->dims[shape->rank - 2 + (transposed != 0)];
    *columns = shape->dims[shape->rank - 1 - (transposed != 0)];
}

osp_shape osp_attention_matrices(const osp_attention_attrs *attrs, const osp_shape *operand)
{
    const int64_t *d = operand->dims;
    return attrs->heads ? (osp_shape){4, {d[0], attrs->heads, d[1] / attrs->heads, d[2] * d[3]}}
                        : *operand;
}

static osp_status check_attention(osp_attention_attrs *a, const osp_infer *in, int32_t i,
                                  osp_error *err)
{
    const osp_shape *s = &in->inputs[i]->shape;
    OSP_TRY(osp_infer_same(in, 0, i, err));
    OSP_TRY(osp_infer_rank(in, i, a->heads ? 4 : 2, a->heads ? 4 : OSP_MAX_RANK, err));
    if (a->heads && (s->dims[1] < a->heads || s->dims[1] % a->heads))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%lld channels of input %d do not fit %lld heads",
                 (long long)s->dims[1], i, (long long)a->heads);
    if (s->rank != in->inputs[0]->shape.rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the inputs' ranks differ");
    for (int32_t d = 0; d < (a->heads ? 1 : s->rank - 2); d++)
        if (s->dims[d] != in->inputs[0]->shape.dims[d])
            OSP_FAIL(err, OSP_ERROR_FORMAT, "dim %d of input %d differs from input 0's", d, i);
    return OSP_OK;
}

static osp_status infer_attention(osp_infer *in, osp_error *err)
{
    osp_attention_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    int64_t *const flags[] = {&a->q_transposed, &a->k_transposed, &a->v_transposed,
                              &a->out_transposed};
    for (size_t i = 0; i < 4; i++)
        if (*flags[i] != 0 && *flags[i] != 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "a flag of the attributes must be 0 or 1");
        else if (a->heads)
            *flags[i] = 1;
    if (a->heads < 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'heads' must not be negative");
    for (int32_t i = 0; i < 3; i++)
        OSP_TRY(check_attention(a, in, i, err));
    int64_t m, n, d, kd, vn, e;
    osp_shape of[3];
    for (int32_t i = 0; i < 3; i++)
        of[i] = osp_attention_matrices(a, &in->inputs[i]->shape);
    sides(&of[0], a->q_transposed, &m, &d);
    sides(&of[1], a->k_transposed, &n, &kd);
    sides(&of[2], a->v_transposed, &vn, &e);
    if (kd != d || vn != n)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "queries, keys and values do not fit together");
    osp_shape out = in->inputs[0]->shape;
    if (a->heads) {
        out.dims[1] = a->heads * e;
    } else {
        out.dims[out.rank - 2] = a->out_transposed ? e : m;
        out.dims[out.rank - 1] = a->out_transposed ? m : e;
    }
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, out};
    return OSP_OK;
}

// Matrix `i` of a stack, rows before columns.
static osp_matrix matrix_of(const osp_view *view, int64_t transposed, int64_t i, int64_t rows,
                            int64_t columns)
{
    return (osp_matrix){view->dtype, view->data, i * rows * columns, transposed ? 1 : columns,
                        transposed ? rows : 1};
}

typedef struct attention {
    osp_matrix q, k, v, out;
    int64_t m, n, d, e;
    double scale;
} attention;

static double logit(const attention *t, int64_t m, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < t->d; i++)
        sum += (double)osp_load_float(
                   t->q.dtype, t->q.data,
                   (size_t)(t->q.at + m * t->q.row_stride + i * t->q.column_stride)) *
               (double)osp_load_float(
                   t->k.dtype, t->k.data,
                   (size_t)(t->k.at + n * t->k.row_stride + i * t->k.column_stride));
    return sum * t->scale;
}

// Nothing is allocated, so the logits are computed once for the softmax's range, and once more for
// each block of columns.
static void attention_row(const attention *t, void *dst, int64_t m)
{
    double most = -HUGE_VAL, total = 0;
    for (int64_t n = 0; n < t->n; n++) {
        const double x = logit(t, m, n), higher = x > most ? x : most;
        total = total * exp(most - higher) + exp(x - higher);
        most = higher;
    }
    for (int64_t first = 0; first < t->e; first += OSP_PRODUCT_COLUMNS) {
        double sums[OSP_PRODUCT_COLUMNS] = {0};
        const int64_t count = osp_i64_min(OSP_PRODUCT_COLUMNS, t->e - first);
        for (int64_t n = 0; n < t->n; n++) {
            const double p = exp(logit(t, m, n) - most) / total;
            const int64_t row = t->v.at + n * t->v.row_stride + first * t->v.column_stride;
            for (int64_t j = 0; j < count; j++)
                sums[j] += p * (double)osp_load_float(t->v.dtype, t->v.data,
                                                      (size_t)(row + j * t->v.column_stride));
        }
        for (int64_t j = 0; j < count; j++)
            osp_store_float(
                t->out.dtype, dst,
                (size_t)(t->out.at + m * t->out.row_stride + (first + j) * t->out.column_stride),
                (float)sums[j]);
    }
}

static osp_status run_attention(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_attention_attrs *a = call->attrs;
    const osp_view *in = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst || osp_view_count(dst) == 0)
        return OSP_OK;
    attention t = {.scale = (double)a->scale};
    osp_shape of[3];
    for (int32_t i = 0; i < 3; i++)
        of[i] = osp_attention_matrices(a, &in[i].shape);
    sides(&of[0], a->q_transposed, &t.m, &t.d);
    sides(&of[1], a->k_transposed, &t.n, &t.d);
    sides(&of[2], a->v_transposed, &t.n, &t.e);
    const int64_t stacked = osp_shape_span(&of[0], 0, of[0].rank - 2);
    for (int64_t i = 0; i < stacked; i++) {
        t.q = matrix_of(in, a->q_transposed, i, t.m, t.d);
        t.k = matrix_of(in + 1, a->k_transposed, i, t.n, t.d);
        t.v = matrix_of(in + 2, a->v_transposed, i, t.n, t.e);
        t.out = matrix_of(dst, a->out_transposed, i, t.m, t.e);
        for (int64_t m = 0; m < t.m; m++)
            attention_row(&t, dst->data, m);
    }
    return OSP_OK;
}

static double work_attention(const osp_call *call)
{
    const osp_attention_attrs *a = call->attrs;
    const osp_shape v = osp_attention_matrices(a, &call->inputs[2].shape);
    int64_t n, e;
    sides(&v, a->v_transposed, &n, &e);
    return (double)osp_view_count(call->inputs) * (double)n +
           (double)osp_view_count(call->outputs) * (double)n;
}

const osp_op osp_op_attention = {.type = "Attention",
                                 .domain = "osprey",
                                 .min_inputs = 3,
                                 .max_inputs = 3,
                                 .min_outputs = 1,
                                 .max_outputs = 1,
                                 .attrs_size = sizeof(osp_attention_attrs),
                                 .attr_table = attention_rows,
                                 .defaults = &attention_defaults,
                                 .infer = infer_attention,
                                 .reference = run_attention,
                                 .work = work_attention};

// ---- MaxPools -----------------------------------------------------------------------------------

static const osp_attr_row max_pools_rows[] = {
    {"size", OSP_ATTR_INT, offsetof(osp_max_pools_attrs, size), 0, NULL, 0, 0},
    {0}};
static const osp_max_pools_attrs max_pools_defaults = {.size = 5};

static osp_status infer_max_pools(osp_infer *in, osp_error *err)
{
    const osp_max_pools_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 4, 4, err));
    if (a->size < 1 || a->size > 255 || a->size % 2 == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'size' must be an odd number up to 255");
    for (int32_t i = 0; i < OSP_MAX_POOLS; i++)
        in->outputs[i] = (osp_type){in->inputs[0]->dtype, in->inputs[0]->shape};
    return OSP_OK;
}

// The largest element within `reach` of a pixel of a plane, as one MaxPool after the other finds it:
// the first of equals, and a NaN gives way.
static size_t largest_near(const osp_view *src, size_t plane, int64_t y, int64_t x, int64_t reach)
{
    const int64_t height = src->shape.dims[2], width = src->shape.dims[3];
    const int64_t left = osp_i64_max(0, x - reach), right = osp_i64_min(width - 1, x + reach);
    size_t best = plane + (size_t)(osp_i64_max(0, y - reach) * width + left);
    float top = osp_load_float(src->dtype, src->data, best);
    for (int64_t v = osp_i64_max(0, y - reach); v <= osp_i64_min(height - 1, y + reach); v++)
        for (int64_t u = left; u <= right; u++) {
            const size_t at = plane + (size_t)(v * width + u);
            const float value = osp_load_float(src->dtype, src->data, at);
            if (value > top || top != top) {
                best = at;
                top = value;
            }
        }
    return best;
}

static osp_status run_max_pools(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_max_pools_attrs *a = call->attrs;
    const osp_view *src = call->inputs;
    const int64_t height = src->shape.dims[2], width = src->shape.dims[3];
    const size_t planes = (size_t)osp_shape_span(&src->shape, 0, 2),
                 bytes = osp_dtype_bytes(src->dtype);
    for (int32_t i = 0; i < OSP_MAX_POOLS; i++) {
        const osp_view *dst = osp_call_output(call, i);
        for (size_t c = 0; dst && c < planes; c++)
            for (int64_t p = 0; p < height * width; p++) {
                const size_t plane = c * (size_t)(height * width);
                osp_copy_element(
                    dst->data, plane + (size_t)p, src->data,
                    largest_near(src, plane, p / width, p % width, (i + 1) * (a->size / 2)), bytes);
            }
    }
    return OSP_OK;
}

static double work_max_pools(const osp_call *call)
{
    const double side = (double)((const osp_max_pools_attrs *)call->attrs)->size * OSP_MAX_POOLS;
    return (double)osp_view_count(call->inputs) * side * side;
}

const osp_op osp_op_max_pools = {.type = "MaxPools",
                                 .domain = "osprey",
                                 .min_inputs = 1,
                                 .max_inputs = 1,
                                 .min_outputs = OSP_MAX_POOLS,
                                 .max_outputs = OSP_MAX_POOLS,
                                 .attrs_size = sizeof(osp_max_pools_attrs),
                                 .attr_table = max_pools_rows,
                                 .defaults = &max_pools_defaults,
                                 .infer = infer_max_pools,
                                 .reference = run_max_pools,
                                 .work = work_max_pools};

// ---- Reorder ------------------------------------------------------------------------------------

// Another layout of the same values. Layouts belong to values, which kernels see in C order: here
// it is a copy.
static osp_status infer_reorder(osp_infer *in, osp_error *err)
{
    return osp_infer_unary(in, OSP_TYPES_ALL, err);
}

static osp_status run_reorder(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    const size_t bytes = dst ? osp_view_count(dst) * osp_dtype_bytes(dst->dtype) : 0;
    if (bytes)
        memcpy(dst->data, src->data, bytes);
    return OSP_OK;
}

const osp_op osp_op_reorder = {.type = "Reorder",
                               .domain = "osprey",
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .min_outputs = 1,
                               .max_outputs = 1,
                               .attrs_size = 1,
                               .infer = infer_reorder,
                               .reference = run_reorder};
