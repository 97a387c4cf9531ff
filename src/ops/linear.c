// MatMul and Gemm. Floats are summed in double, integers in 64 bits, a block of columns at a time,
// so that rows of the second operand are read in order. Thread rule: no state.
#include "ops/linear.h"

#include <stddef.h>

#include "ops/view.h"

void osp_product_floats(const osp_matrix *a, const osp_matrix *b, int64_t m, int64_t n,
                        int64_t count, int64_t k, double sums[OSP_PRODUCT_COLUMNS])
{
    memset(sums, 0, OSP_PRODUCT_COLUMNS * sizeof sums[0]);
    const bool plain = b->dtype == OSP_DTYPE_FLOAT32 && b->column_stride == 1;
    for (int64_t i = 0; i < k; i++) {
        const double x = (double)osp_load_float(
            a->dtype, a->data, (size_t)(a->at + m * a->row_stride + i * a->column_stride));
        const int64_t row = b->at + i * b->row_stride + n * b->column_stride;
        if (plain) {
            const float *y = (const float *)b->data + row;
            for (int64_t j = 0; j < count; j++)
                sums[j] += x * (double)y[j];
        } else {
            for (int64_t j = 0; j < count; j++)
                sums[j] += x * (double)osp_load_float(b->dtype, b->data,
                                                      (size_t)(row + j * b->column_stride));
        }
    }
}

void osp_product_ints(const osp_matrix *a, const osp_matrix *b, int64_t m, int64_t n, int64_t count,
                      int64_t k, uint64_t sums[OSP_PRODUCT_COLUMNS])
{
    memset(sums, 0, OSP_PRODUCT_COLUMNS * sizeof sums[0]);
    for (int64_t i = 0; i < k; i++) {
        const uint64_t x = (uint64_t)osp_load_int(
            a->dtype, a->data, (size_t)(a->at + m * a->row_stride + i * a->column_stride));
        const int64_t row = b->at + i * b->row_stride + n * b->column_stride;
        for (int64_t j = 0; j < count; j++)
            sums[j] += x * (uint64_t)osp_load_int(b->dtype, b->data,
                                                  (size_t)(row + j * b->column_stride));
    }
}

// ---- MatMul -------------------------------------------------------------------------------------

// Both operands as stacks of matrices: a vector on the left is a row, one on the right a column.
typedef struct stack {
    osp_shape a, b;   // batch dims
    osp_shape batch;  // both broadcast together
    int64_t m, k, n;
    bool fits;
} stack;

static stack stack_of(const osp_shape *a, const osp_shape *b)
{
    stack s = {.a = *a, .b = *b};
    const bool row = a->rank == 1, column = b->rank == 1;
    s.m = row ? 1 : a->dims[a->rank - 2];
    s.k = a->dims[a->rank - 1];
    s.n = column ? 1 : b->dims[b->rank - 1];
    s.a.rank -= row ? 1 : 2;
    s.b.rank -= column ? 1 : 2;
    s.fits = s.k == b->dims[column ? 0 : b->rank - 2] && osp_shape_broadcast(&s.a, &s.b, &s.batch);
    return s;
}

static osp_status infer_mat_mul(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT | OSP_TYPES_INT, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    OSP_TRY(osp_infer_rank(in, 1, 1, OSP_MAX_RANK, err));
    const osp_shape *a = &in->inputs[0]->shape, *b = &in->inputs[1]->shape;
    const stack s = stack_of(a, b);
    char ta[96], tb[96];
    if (!s.fits)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "matrices %s and %s do not fit together",
                 osp_shape_text(a, ta, sizeof ta), osp_shape_text(b, tb, sizeof tb));
    osp_shape out = s.batch;
    for (int32_t d = out.rank; d < OSP_MAX_RANK; d++)
        out.dims[d] = 0;
    if (a->rank > 1)
        out.dims[out.rank++] = s.m;
    if (b->rank > 1)
        out.dims[out.rank++] = s.n;
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, out};
    return OSP_OK;
}

// One matrix of the stack into dst from element `at` on.
static void mat_mul_one(const osp_matrix *a, const osp_matrix *b, const stack *s,
                        const osp_view *dst, size_t at)
{
    double sums[OSP_PRODUCT_COLUMNS];
    uint64_t whole[OSP_PRODUCT_COLUMNS];
    const bool floats = osp_dtype_is_float(a->dtype);
    for (int64_t m = 0; m < s->m; m++)
        for (int64_t n = 0; n < s->n; n += OSP_PRODUCT_COLUMNS) {
            const int64_t count = osp_i64_min(OSP_PRODUCT_COLUMNS, s->n - n);
            const size_t to = at + (size_t)(m * s->n + n);
            if (floats)
                osp_product_floats(a, b, m, n, count, s->k, sums);
            else
                osp_product_ints(a, b, m, n, count, s->k, whole);
            for (int64_t j = 0; j < count; j++)
                if (floats)
                    osp_store_float(dst->dtype, dst->data, to + (size_t)j, (float)sums[j]);
                else
                    osp_store_int(dst->dtype, dst->data, to + (size_t)j, (int64_t)whole[j]);
        }
}

static osp_status run_mat_mul(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *a = call->inputs, *b = call->inputs + 1, *dst = osp_call_output(call, 0);
    if (!dst || osp_view_count(dst) == 0)
        return OSP_OK;
    const stack s = stack_of(&a->shape, &b->shape);
    int64_t strides[OSP_MAX_RANK];
    osp_walk w;
    osp_walk_init(&w, &s.batch);
    osp_shape_broadcast_strides(&s.a, &s.batch, strides);
    osp_walk_operand(&w, 0, strides);
    osp_shape_broadcast_strides(&s.b, &s.batch, strides);
    osp_walk_operand(&w, 1, strides);
    for (size_t i = 0; osp_walk_next(&w); i++) {
        const osp_matrix ma = {a->dtype, a->data, w.at[0] * s.m * s.k, s.k, 1};
        const osp_matrix mb = {b->dtype, b->data, w.at[1] * s.k * s.n, s.n, 1};
        mat_mul_one(&ma, &mb, &s, dst, i * (size_t)(s.m * s.n));
    }
    return OSP_OK;
}

static double work_mat_mul(const osp_call *call)
{
    const osp_shape *a = &call->inputs[0].shape;
    return (double)osp_view_count(call->outputs) * (double)a->dims[a->rank - 1];
}

const osp_op osp_op_mat_mul = {.type = "MatMul",
                               .domain = "",
                               .min_inputs = 2,
                               .max_inputs = 2,
                               .min_outputs = 1,
                               .max_outputs = 1,
                               .attrs_size = 1,
                               .infer = infer_mat_mul,
                               .reference = run_mat_mul,
                               .work = work_mat_mul};

// ---- Gemm ---------------------------------------------------------------------------------------

// `broadcast` (6) says that C may be broadcast, which it may be anyway from opset 7 on.
static const osp_attr_row gemm_rows[] = {
    {"alpha", OSP_ATTR_FLOAT, offsetof(osp_gemm_attrs, alpha), 0, NULL, 0, 0},
    {"beta", OSP_ATTR_FLOAT, offsetof(osp_gemm_attrs, beta), 0, NULL, 0, 0},
    {"transA", OSP_ATTR_INT, offsetof(osp_gemm_attrs, transA), 0, NULL, 0, 0},
    {"transB", OSP_ATTR_INT, offsetof(osp_gemm_attrs, transB), 0, NULL, 0, 0},
    {"broadcast", OSP_ATTR_IGNORED, 0, 0, NULL, 0, 6},
    {0}};
static const osp_gemm_attrs gemm_defaults = {1, 1, 0, 0};

static osp_status infer_gemm(osp_infer *in, osp_error *err)
{
    osp_gemm_attrs *g = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT | OSP_TYPES_INT, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    OSP_TRY(osp_infer_rank(in, 0, 2, 2, err));
    OSP_TRY(osp_infer_rank(in, 1, 2, 2, err));
    g->transA = g->transA != 0;
    g->transB = g->transB != 0;
    const osp_shape *a = &in->inputs[0]->shape, *b = &in->inputs[1]->shape;
    char ta[96], tb[96];
    if (a->dims[!g->transA] != b->dims[g->transB])
        OSP_FAIL(err, OSP_ERROR_FORMAT, "matrices %s%s and %s%s do not fit together",
                 osp_shape_text(a, ta, sizeof ta), g->transA ? " (transposed)" : "",
                 osp_shape_text(b, tb, sizeof tb), g->transB ? " (transposed)" : "");
    const osp_shape out = {.rank = 2, .dims = {a->dims[g->transA], b->dims[!g->transB]}};
    if (osp_infer_input(in, 2)) {
        osp_shape joined;
        OSP_TRY(osp_infer_same(in, 0, 2, err));
        if (!osp_shape_broadcast(&out, &in->inputs[2]->shape, &joined) ||
            !osp_shape_equal(&joined, &out))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input 2 of shape %s does not broadcast to %s",
                     osp_shape_text(&in->inputs[2]->shape, ta, sizeof ta),
                     osp_shape_text(&out, tb, sizeof tb));
    }
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, out};
    return OSP_OK;
}

static osp_status run_gemm(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_gemm_attrs *g = call->attrs;
    const osp_view *a = call->inputs, *b = call->inputs + 1, *c = osp_call_input(call, 2);
    const osp_view *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const int64_t rows = dst->shape.dims[0], columns = dst->shape.dims[1];
    const int64_t k = a->shape.dims[!g->transA];
    const osp_matrix ma = {a->dtype, a->data, 0, g->transA ? 1 : k, g->transA ? rows : 1};
    const osp_matrix mb = {b->dtype, b->data, 0, g->transB ? 1 : columns, g->transB ? k : 1};
    int64_t at_c[OSP_MAX_RANK] = {0};
    if (c)
        osp_shape_broadcast_strides(&c->shape, &dst->shape, at_c);
    const bool floats = osp_dtype_is_float(a->dtype);
    double sums[OSP_PRODUCT_COLUMNS];
    uint64_t whole[OSP_PRODUCT_COLUMNS];
    for (int64_t m = 0; m < rows; m++)
        for (int64_t n = 0; n < columns; n++) {
            const int64_t j = n % OSP_PRODUCT_COLUMNS;
            const int64_t count = osp_i64_min(OSP_PRODUCT_COLUMNS, columns - n);
            if (j == 0 && floats)
                osp_product_floats(&ma, &mb, m, n, count, k, sums);
            else if (j == 0)
                osp_product_ints(&ma, &mb, m, n, count, k, whole);
            const size_t at = (size_t)(m * columns + n), from = (size_t)(m * at_c[0] + n * at_c[1]);
            if (floats) {
                double y = (double)g->alpha * sums[j];
                if (c)
                    y += (double)g->beta * (double)osp_load_float(c->dtype, c->data, from);
                osp_store_float(dst->dtype, dst->data, at, (float)y);
            } else {
                uint64_t y = (uint64_t)osp_float_to_int((double)g->alpha) * whole[j];
                if (c)
                    y += (uint64_t)osp_float_to_int((double)g->beta) *
                         (uint64_t)osp_load_int(c->dtype, c->data, from);
                osp_store_int(dst->dtype, dst->data, at, (int64_t)y);
            }
        }
    return OSP_OK;
}

static double work_gemm(const osp_call *call)
{
    const osp_gemm_attrs *g = call->attrs;
    return (double)osp_view_count(call->outputs) * (double)call->inputs[0].shape.dims[!g->transA];
}

const osp_op osp_op_gemm = {.type = "Gemm",
                            .domain = "",
                            .min_inputs = 2,
                            .max_inputs = 3,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attrs_size = sizeof(osp_gemm_attrs),
                            .attr_table = gemm_rows,
                            .defaults = &gemm_defaults,
                            .infer = infer_gemm,
                            .reference = run_gemm,
                            .work = work_gemm};
