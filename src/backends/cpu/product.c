// Reading MatMul and Gemm problems.
#include "backends/cpu/product.h"

#include <string.h>

#include "ops/linear.h"

static const char *read_gemm(const osp_problem *p, osp_product *m)
{
    const osp_gemm_attrs *g = p->attrs;
    const osp_shape *a = &p->src[0].shape;
    const osp_operand *c = p->src_count > 2 && p->src[2].dtype ? p->src + 2 : NULL;
    if (g->transA)
        return "the left matrix is transposed";
    m->rows = a->dims[0];
    m->depth = a->dims[1];
    m->columns = p->dst->shape.dims[1];
    m->b_k = g->transB ? 1 : m->columns;
    m->b_n = g->transB ? m->depth : 1;
    m->alpha = g->alpha;
    m->has_bias = c != NULL;
    if (c && (!c->constant || g->beta != 1 || osp_operand_count(c) != m->columns ||
              (c->shape.rank == 2 && c->shape.dims[0] != 1) || !p->src[1].constant))
        return "a third matrix that is no constant row";
    return NULL;
}

static const char *read_matmul(const osp_problem *p, osp_product *m)
{
    const osp_shape *a = &p->src[0].shape, *b = &p->src[1].shape, *out = &p->dst->shape;
    if (a->rank < 2 || b->rank < 2)
        return "a vector";
    m->rows = a->dims[a->rank - 2];
    m->depth = a->dims[a->rank - 1];
    m->columns = b->dims[b->rank - 1];
    m->b_k = m->columns;
    m->b_n = 1;
    m->batch_rank = out->rank - 2;
    int64_t a_step = m->rows * m->depth, b_step = m->depth * m->columns;
    for (int32_t i = m->batch_rank - 1; i >= 0; i--) {
        const int32_t at_a = i - (out->rank - a->rank), at_b = i - (out->rank - b->rank);
        const int64_t da = at_a >= 0 ? a->dims[at_a] : 1, db = at_b >= 0 ? b->dims[at_b] : 1;
        m->dims[i] = out->dims[i];
        m->a_steps[i] = da == out->dims[i] ? a_step : 0;
        m->b_steps[i] = db == out->dims[i] ? b_step : 0;
        a_step *= da;
        b_step *= db;
        m->count *= out->dims[i];
    }
    return NULL;
}

const char *osp_product_read(const osp_problem *p, osp_product *m)
{
    *m = (osp_product){.count = 1, .alpha = 1};
    const char *why = !strcmp(p->op->type, "Gemm") ? read_gemm(p, m) : read_matmul(p, m);
    if (why)
        return why;
    m->b_constant = p->src[1].constant;
    if (m->b_constant && osp_operand_count(p->src + 1) != m->depth * m->columns)
        return "a stack of constant matrices";
    if (m->depth == 0 || osp_operand_count(p->dst) == 0)
        return "empty";
    // One constant matrix for all: the rows of all left matrices follow each other.
    if (m->b_constant && osp_operand_count(p->src) == m->count * m->rows * m->depth) {
        m->rows *= m->count;
        m->count = 1;
        m->batch_rank = 0;
    }
    return NULL;
}

void osp_product_at(const osp_product *m, int64_t i, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int32_t k = m->batch_rank - 1; k >= 0; k--) {
        *a += i % m->dims[k] * m->a_steps[k];
        *b += i % m->dims[k] * m->b_steps[k];
        i /= m->dims[k];
    }
}
