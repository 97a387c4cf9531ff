// Attention, FP32: keys and values are packed for the register tiles once, then blocks of queries
// go through scores, softmax and sum while they are in the inner caches.
#include "backends/cpu/direct.h"
#include "ops/internal.h"

enum { BLOCK_ROWS = 48 };

typedef struct attention {
    osp_direct scores, sums;  // of one block of rows
    int64_t stacked, m, n, d, e;
    bool q_transposed, k_transposed, v_transposed, out_transposed;
    float scale;
    size_t k_floats, v_floats;  // packed, of one stack
    size_t thread_floats;       // scratch of a thread
} attention;

static const char *refuse(const osp_problem *p)
{
    if (((const osp_attention_attrs *)p->attrs)->heads)
        return "maps";
    for (int32_t i = 0; i < 3; i++)
        if (!osp_operand_is(p->src + i, OSP_DTYPE_FLOAT32))
            return "not FP32";
    for (int32_t i = 0; i < 3; i++)
        if (osp_operand_count(p->src + i) == 0)
            return "empty";
    return osp_refuse_not_plain(p);
}

static int64_t dim_of(const osp_shape *s, bool transposed, bool columns)
{
    return s->dims[s->rank - 2 + (columns != transposed)];
}

static osp_status settle(osp_direct *d, osp_context *ctx, int64_t rows, int64_t ic, int64_t oc,
                         osp_error *err)
{
    *d = (osp_direct){.n = 1,
                      .ih = 1,
                      .oh = 1,
                      .iw = rows,
                      .ow = rows,
                      .ic = ic,
                      .oc = oc,
                      .kh = 1,
                      .kw = 1,
                      .sh = 1,
                      .sw = 1,
                      .dh = 1,
                      .dw = 1,
                      .src_pitch = ic,
                      .dst_pitch = oc};
    return osp_direct_settle(d, ctx, osp_cpu_simd(), err);
}

static void release(osp_context *ctx, void *state)
{
    attention *a = state;
    osp_mem_free(&ctx->mem, (void *)(uintptr_t)a->scores.zeros);
    osp_mem_free(&ctx->mem, (void *)(uintptr_t)a->sums.zeros);
    osp_mem_free(&ctx->mem, a);
}

// Floats, rounded up to whole cache lines.
static size_t lines(int64_t floats)
{
    return ((size_t)floats + 15) & ~(size_t)15;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    const osp_attention_attrs *t = p->attrs;
    const osp_shape *q = &p->src[0].shape, *k = &p->src[1].shape, *v = &p->src[2].shape;
    attention *a = osp_mem_calloc(&ctx->mem, 1, sizeof *a);
    if (!a)
        OSP_FAIL_MEMORY(err);
    a->q_transposed = t->q_transposed != 0;
    a->k_transposed = t->k_transposed != 0;
    a->v_transposed = t->v_transposed != 0;
    a->out_transposed = t->out_transposed != 0;
    a->scale = t->scale;
    a->stacked = osp_shape_span(q, 0, q->rank - 2);
    a->m = dim_of(q, a->q_transposed, false);
    a->d = dim_of(q, a->q_transposed, true);
    a->n = dim_of(k, a->k_transposed, false);
    a->e = dim_of(v, a->v_transposed, true);
    osp_status status = settle(&a->scores, ctx, BLOCK_ROWS, a->d, a->n, err);
    if (!status)
        status = settle(&a->sums, ctx, BLOCK_ROWS, a->n, a->e, err);
    if (status) {
        release(ctx, a);
        return status;
    }
    a->k_floats = lines(a->scores.blocks * a->scores.block_floats);
    a->v_floats = lines(a->sums.blocks * a->sums.block_floats);
    a->thread_floats = lines(BLOCK_ROWS * a->d) + lines(BLOCK_ROWS * a->n) +
                       lines(BLOCK_ROWS * a->e);
    sizes->workspace_bytes = sizeof(float) * ((size_t)a->stacked * (a->k_floats + a->v_floats) +
                                              (size_t)threads * a->thread_floats);
    *state = a;
    return OSP_OK;
}

typedef struct job {
    const attention *a;
    const float *q, *k, *v;
    float *out, *packed_k, *packed_v, *scratch;
    int64_t row_blocks;
} job;

static void pack_stacks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const attention *a = j->a;
    const int64_t k_steps[2] = {a->k_transposed ? 1 : a->d, a->k_transposed ? a->n : 1};
    const int64_t v_steps[2] = {a->v_transposed ? a->n : 1, a->v_transposed ? 1 : a->e};
    for (int64_t i = begin; i < end; i++) {
        float *k = j->packed_k + (size_t)i * a->k_floats;
        osp_direct_pack(&a->scores, j->k + i * a->n * a->d, k_steps, NULL, k, 0, a->scores.blocks);
        a->scores.simd->scale(k, k, a->scores.blocks * a->scores.block_floats, a->scale);
        osp_direct_pack(&a->sums, j->v + i * a->n * a->e, v_steps, NULL,
                        j->packed_v + (size_t)i * a->v_floats, 0, a->sums.blocks);
    }
}

static void run_block(const job *j, int64_t stack, int64_t row, int64_t rows, float *scratch)
{
    const attention *a = j->a;
    const osp_simd *simd = a->scores.simd;
    float *q = scratch, *scores = q + lines(BLOCK_ROWS * a->d);
    float *out = scores + lines(BLOCK_ROWS * a->n);
    const float *from = j->q + stack * a->m * a->d;
    if (a->q_transposed)
        simd->transpose4(q, a->d, from + row, a->m, a->d, rows);
    const osp_threads alone = {.count = 1};
    osp_direct d = a->scores;
    d.ow = d.iw = rows;
    osp_direct_run(&d, a->q_transposed ? q : from + row * a->d,
                   j->packed_k + (size_t)stack * a->k_floats, NULL, scores, alone);
    for (int64_t r = 0; r < rows; r++) {
        float *line = scores + r * a->n;
        const float sum = simd->exp_sum(line, line, a->n, simd->max(line, a->n));
        simd->scale(line, line, a->n, 1.0f / sum);
    }
    float *to = j->out + stack * a->m * a->e;
    d = a->sums;
    d.ow = d.iw = rows;
    osp_direct_run(&d, scores, j->packed_v + (size_t)stack * a->v_floats, NULL,
                   a->out_transposed ? out : to + row * a->e, alone);
    if (a->out_transposed)
        simd->transpose4(to + row, a->m, out, a->e, rows, a->e);
}

static void run_blocks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const attention *a = j->a;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i % j->row_blocks * BLOCK_ROWS;
        run_block(j, i / j->row_blocks, row, osp_i64_min(BLOCK_ROWS, a->m - row),
                  j->scratch + (size_t)thread * a->thread_floats);
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    (void)err;
    const attention *a = state;
    job j = {.a = a, .q = l->src[0], .k = l->src[1], .v = l->src[2], .out = l->dst[0]};
    j.packed_k = l->workspace;
    j.packed_v = j.packed_k + (size_t)a->stacked * a->k_floats;
    j.scratch = j.packed_v + (size_t)a->stacked * a->v_floats;
    j.row_blocks = (a->m + BLOCK_ROWS - 1) / BLOCK_ROWS;
    osp_cpu_parallel(l->threads, a->stacked, (double)(a->k_floats + a->v_floats), pack_stacks, &j);
    osp_cpu_parallel(l->threads, a->stacked * j.row_blocks,
                     (double)(BLOCK_ROWS * a->n) * (double)(a->d + a->e) * 0.02, run_blocks, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_attention = {.name = "blocks_f32",
                                      .refuse = refuse,
                                      .prepare = prepare,
                                      .launch = launch,
                                      .release = release};
