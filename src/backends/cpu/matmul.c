// MatMul and Gemm by the convolution's register tiles: a row of the left matrix is a pixel. The
// right matrix is packed at build where it is constant, and by the threads of a run where not.
#include <stdatomic.h>
#include <string.h>

#include "backends/cpu/direct.h"
#include "backends/cpu/product.h"

typedef struct product {
    osp_product shape;
    osp_direct direct;  // one matrix
    size_t pack_bytes;
} product;

static const char *refuse(const osp_problem *p)
{
    osp_product shape;
    for (int32_t i = 0; i < p->src_count; i++)
        if (p->src[i].dtype && !osp_operand_is(p->src + i, OSP_DTYPE_FLOAT32))
            return "not FP32";
    const char *why = osp_refuse_not_plain(p);
    return why ? why : osp_product_read(p, &shape);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    product *m = osp_mem_calloc(&ctx->mem, 1, sizeof *m);
    if (!m)
        OSP_FAIL_MEMORY(err);
    osp_product_read(p, &m->shape);
    osp_direct *d = &m->direct;
    d->n = d->ih = d->oh = d->kh = d->kw = d->sh = d->sw = d->dh = d->dw = 1;
    d->iw = d->ow = m->shape.rows;
    d->ic = m->shape.depth;
    d->oc = m->shape.columns;
    d->src_pitch = d->ic;
    d->dst_pitch = d->oc;
    const osp_status status = osp_direct_settle(d, ctx, osp_cpu_simd(), err);
    if (status) {
        osp_mem_free(&ctx->mem, m);
        return status;
    }
    m->pack_bytes = osp_direct_packed_bytes(d);
    if (m->shape.b_constant)
        sizes->packed_bytes = m->pack_bytes;
    else
        sizes->workspace_bytes = m->pack_bytes;
    *state = m;
    return OSP_OK;
}

static void pack_blocks(const product *m, const float *b, const float *bias, float *packed,
                        int64_t first, int64_t last)
{
    const osp_direct *d = &m->direct;
    const int64_t steps[2] = {m->shape.b_n, m->shape.b_k};
    osp_direct_pack(d, b, steps, bias, packed, first, last);
    if (m->shape.alpha == 1)
        return;
    const int64_t width = d->kernel->vectors * d->simd->lanes;
    for (int64_t k = first; k < last; k++) {
        float *w = packed + k * d->block_floats + width;  // not the bias
        for (int64_t i = 0; i < d->block_floats - width; i++)
            w[i] *= m->shape.alpha;
    }
}

static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    (void)p;
    const product *m = state;
    pack_blocks(m, src[1], m->shape.has_bias ? src[2] : NULL, packed, 0, m->direct.blocks);
    return OSP_OK;
}

typedef struct job {
    const product *m;
    const float *b;
    float *packed;
} job;

static void pack_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    pack_blocks(j->m, j->b, NULL, j->packed, begin, end);
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    (void)p;
    const product *m = state;
    const osp_direct *d = &m->direct;
    const float *packed = l->packed;
    int64_t last_b = -1;
    for (int64_t i = 0; i < m->shape.count; i++) {
        int64_t a, b;
        osp_product_at(&m->shape, i, &a, &b);
        if (!m->shape.b_constant && b != last_b) {
            job j = {m, (const float *)l->src[1] + b, l->workspace};
            osp_cpu_parallel(l->threads, d->blocks, (double)d->block_floats * 0.3, pack_range, &j);
            packed = l->workspace;
            last_b = b;
        }
        osp_direct_run(d, (const float *)l->src[0] + a, packed, NULL,
                       (float *)l->dst[0] + i * d->ow * d->oc, l->threads);
    }
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    product *m = state;
    osp_mem_free(&ctx->mem, (void *)(uintptr_t)m->direct.zeros);
    osp_mem_free(&ctx->mem, m);
}

// ---- One constant row from the left: a weighted sum of the rows of each right matrix ------------

static const char *refuse_row(const osp_problem *p)
{
    const osp_shape *a = &p->src[0].shape, *b = &p->src[1].shape;
    if (!osp_operand_is(p->src, OSP_DTYPE_FLOAT32) ||
        !osp_operand_is(p->src + 1, OSP_DTYPE_FLOAT32))
        return "not FP32";
    if (!p->src[0].constant || p->src[1].constant || b->rank < 2 || a->rank < 1 ||
        osp_operand_count(p->src) != a->dims[a->rank - 1])
        return "the left operand is no constant row";
    if (osp_operand_count(p->src) == 0 || osp_operand_count(p->dst) == 0)
        return "empty";
    if (osp_shape_span(b, 0, b->rank - 2) != osp_operand_count(p->dst) / b->dims[b->rank - 1])
        return "broadcast";
    return osp_refuse_not_plain(p);
}

typedef struct row_job {
    const osp_simd *simd;
    const float *weights, *src;
    float *dst;
    int64_t k, n, pieces;
} row_job;

enum { ROW_PIECE = 512 };

static void row_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const row_job *j = user;
    for (int64_t i = begin; i < end; i++) {
        const int64_t matrix = i / j->pieces, at = i % j->pieces * ROW_PIECE;
        j->simd->weighted_rows(j->dst + matrix * j->n + at, j->src + matrix * j->k * j->n + at,
                               j->n, j->weights, (int32_t)j->k, osp_i64_min(ROW_PIECE, j->n - at));
    }
}

static osp_status launch_row(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)state;
    (void)err;
    const osp_shape *b = &p->src[1].shape;
    row_job j = {.simd = osp_cpu_simd(),
                 .weights = l->src[0],
                 .src = l->src[1],
                 .dst = l->dst[0],
                 .k = b->dims[b->rank - 2],
                 .n = b->dims[b->rank - 1]};
    j.pieces = (j.n + ROW_PIECE - 1) / ROW_PIECE;
    osp_cpu_parallel(l->threads, osp_operand_count(p->dst) / j.n * j.pieces,
                     (double)(j.k * ROW_PIECE) * 0.05, row_range, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_matmul_row = {.name = "weighted_rows_f32",
                                       .refuse = refuse_row,
                                       .launch = launch_row};

const osp_tactic osp_cpu_matmul_direct = {.name = "direct_f32",
                                          .pack_version = 1,
                                          .refuse = refuse,
                                          .prepare = prepare,
                                          .pack = pack,
                                          .launch = launch,
                                          .release = release};
