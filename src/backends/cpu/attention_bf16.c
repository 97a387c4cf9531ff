// Attention in bfloat16 by matrix tiles: keys and values are packed once, then blocks of queries go
// through scores, softmax and sum while they are in the inner caches. Logits and sums are FP32.
#include <string.h>

#include "backends/cpu/bf16.h"
#include "ops/internal.h"

enum { BLOCK_ROWS = 32, UNIT = 32 };

// All dims in elements; those with _up are whole units.
typedef struct attention {
    const osp_bf16_engine *engine;
    int64_t stacked, m, n, d, e;
    int64_t n_up, d_up, e_up;
    bool q_transposed, k_transposed, v_transposed, out_transposed;
    float scale;
    int64_t *offsets;     // of steps, in bytes
    size_t packed_bytes;  // keys and values of one stack
    size_t thread_bytes;
} attention;

static const char *refuse(const osp_problem *p)
{
    if (((const osp_attention_attrs *)p->attrs)->heads)
        return "maps";
    for (int32_t i = 0; i < 4; i++) {
        const osp_operand *o = i < 3 ? p->src + i : p->dst;
        if (!osp_operand_is(o, OSP_DTYPE_BFLOAT16))
            return "not bfloat16";
        if (osp_operand_count(o) == 0)
            return "empty";
    }
    const char *why = osp_refuse_not_plain(p);
    return why ? why : osp_cpu_bf16() ? NULL : "the processor lacks bfloat16";
}

static int64_t dim_of(const osp_shape *s, bool transposed, bool columns)
{
    return s->dims[s->rank - 2 + (columns != transposed)];
}

static void release(osp_context *ctx, void *state)
{
    attention *a = state;
    osp_mem_free(&ctx->mem, a->offsets);
    osp_mem_free(&ctx->mem, a);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    const osp_attention_attrs *t = p->attrs;
    const osp_shape *q = &p->src[0].shape, *k = &p->src[1].shape, *v = &p->src[2].shape;
    attention *a = osp_mem_calloc(&ctx->mem, 1, sizeof *a);
    if (!a)
        OSP_FAIL_MEMORY(err);
    a->engine = osp_cpu_bf16();
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
    a->n_up = osp_bf16_round_up(a->n, UNIT);
    a->d_up = osp_bf16_round_up(a->d, UNIT);
    a->e_up = osp_bf16_round_up(a->e, UNIT);
    const int64_t steps = osp_i64_max(a->n_up, a->d_up) / UNIT;
    a->offsets = osp_mem_calloc(&ctx->mem, (size_t)steps, sizeof *a->offsets);
    if (!a->offsets) {
        release(ctx, a);
        OSP_FAIL_MEMORY(err);
    }
    for (int64_t i = 0; i < steps; i++)
        a->offsets[i] = i * UNIT * 2;
    a->packed_bytes = (size_t)(a->n_up * (a->d_up + a->e_up)) * 2;
    // Packing needs the rows of keys or values; a block its queries, weights, logits and sums.
    const size_t rows = (size_t)(a->n_up * osp_i64_max(a->d_up, a->e_up)) * 2;
    const size_t block = BLOCK_ROWS * (size_t)(a->d_up * 2 + a->n_up * (2 + 4)) +
                         (2 * BLOCK_ROWS * UNIT + BLOCK_ROWS) * sizeof(float);
    a->thread_bytes = (rows > block ? rows : block);
    sizes->workspace_bytes = (size_t)a->stacked * a->packed_bytes +
                             (size_t)threads * a->thread_bytes;
    *state = a;
    return OSP_OK;
}

typedef struct job {
    const attention *a;
    const uint16_t *q, *k, *v;
    uint16_t *out;
    char *packed, *scratch;
    int64_t row_blocks;
} job;

static void pack_stacks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const attention *a = j->a;
    uint16_t *rows = (uint16_t *)(void *)(j->scratch + (size_t)thread * a->thread_bytes);
    for (int64_t i = begin; i < end; i++) {
        uint16_t *packed = (uint16_t *)(void *)(j->packed + (size_t)i * a->packed_bytes);
        osp_bf16_gather_rows(rows, a->d_up, a->n_up, j->k + i * a->n * a->d,
                             a->k_transposed ? a->n : a->d, a->k_transposed, a->n, a->d);
        osp_bf16_pack_rows(packed, rows, a->n_up, a->d_up);
        // Rows of the sum's right side are columns of v.
        osp_bf16_gather_rows(rows, a->n_up, a->e_up, j->v + i * a->n * a->e,
                             a->v_transposed ? a->n : a->e, !a->v_transposed, a->e, a->n);
        osp_bf16_pack_rows(packed + a->n_up * a->d_up, rows, a->e_up, a->n_up);
    }
}

// All columns of a block: sums of [columns / 32][32][32].
static void multiply(const attention *a, const uint16_t *left, int64_t depth,
                     const uint16_t *packed, int64_t column, float *sums)
{
    const osp_bf16_product product = {.src = (const char *)left,
                                      .src_step = depth * 2,
                                      .offsets = a->offsets,
                                      .steps = depth / UNIT,
                                      .depth = UNIT,
                                      .weights = packed + column * depth,
                                      .sums = sums};
    a->engine->product(&product, 2, 2);
}

static void run_block(const job *j, int64_t stack, int64_t row, int64_t rows, char *scratch)
{
    const attention *a = j->a;
    float *sums = (float *)(void *)scratch, *turned = sums + BLOCK_ROWS * UNIT;
    float *inverse = turned + BLOCK_ROWS * UNIT, *logits = inverse + BLOCK_ROWS;
    uint16_t *weights = (uint16_t *)(void *)(logits + BLOCK_ROWS * a->n_up);
    uint16_t *q = weights + BLOCK_ROWS * a->n_up;
    const uint16_t *packed = (const uint16_t *)(const void *)(j->packed +
                                                              (size_t)stack * a->packed_bytes);
    osp_bf16_gather_rows(q, a->d_up, BLOCK_ROWS,
                         j->q + stack * a->m * a->d + (a->q_transposed ? row : row * a->d),
                         a->q_transposed ? a->m : a->d, a->q_transposed, rows, a->d);
    for (int64_t c = 0; c < a->n_up; c += UNIT)
        multiply(a, q, a->d_up, packed, c, logits + c * BLOCK_ROWS);
    memset(inverse, 0, BLOCK_ROWS * sizeof *inverse);
    osp_bf16_exp_rows(weights, a->n_up, inverse, logits, BLOCK_ROWS, a->n, a->scale);
    packed += a->n_up * a->d_up;
    uint16_t *out = j->out + stack * a->m * a->e;
    for (int64_t c = 0; c < a->e_up; c += UNIT) {
        const int64_t columns = osp_i64_min(UNIT, a->e - c);
        multiply(a, weights, a->n_up, packed, c, sums);
        if (!a->out_transposed) {
            osp_bf16_scale_rows(out + row * a->e + c, a->e, sums, inverse, rows, columns);
            continue;
        }
        for (int64_t r = 0; r < rows; r++)
            osp_simd_avx512.scale(sums + r * UNIT, sums + r * UNIT, UNIT, inverse[r]);
        osp_simd_avx512.transpose4(turned, UNIT, sums, UNIT, BLOCK_ROWS, UNIT);
        for (int64_t i = 0; i < columns; i++)
            osp_simd_avx512.float_to_bfloat(out + (c + i) * a->m + row, turned + i * UNIT, rows);
    }
}

static void run_blocks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const attention *a = j->a;
    a->engine->begin(UNIT);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i % j->row_blocks * BLOCK_ROWS;
        run_block(j, i / j->row_blocks, row, osp_i64_min(BLOCK_ROWS, a->m - row),
                  j->scratch + (size_t)thread * a->thread_bytes);
    }
    a->engine->end();
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    (void)err;
    const attention *a = state;
    job j = {.a = a, .q = l->src[0], .k = l->src[1], .v = l->src[2], .out = l->dst[0]};
    j.packed = l->workspace;
    j.scratch = j.packed + (size_t)a->stacked * a->packed_bytes;
    j.row_blocks = (a->m + BLOCK_ROWS - 1) / BLOCK_ROWS;
    osp_cpu_parallel(l->threads, a->stacked, (double)(a->n_up * (a->d_up + a->e_up)), pack_stacks,
                     &j);
    osp_cpu_parallel(l->threads, a->stacked * j.row_blocks,
                     (double)(BLOCK_ROWS * a->n_up) * (0.3 + 0.002 * (double)(a->d_up + a->e_up)),
                     run_blocks, &j);
    return OSP_OK;
}

const osp_tactic osp_cpu_attention_bf16 = {.name = "blocks_bf16",
                                           .refuse = refuse,
                                           .prepare = prepare,
                                           .launch = launch,
                                           .release = release};
