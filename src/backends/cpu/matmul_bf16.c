// MatMul and Gemm in bfloat16 by matrix tiles. The right matrix is packed at build where it is
// constant, and by the threads of a run where not; blocks of rows of the left one are read where
// they lie if their depth fills whole steps, else from a copy.
#include "backends/cpu/bf16.h"
#include "backends/cpu/product.h"
#include "ops/view.h"

enum { UNIT = 32, MOST_ROWS = 128 };

typedef struct product {
    const osp_bf16_engine *engine;
    osp_product shape;
    int64_t depth_up, groups;  // whole units of depth; groups of 32 columns
    int64_t block_rows;
    int64_t *offsets;  // of steps, in bytes
    size_t thread_bytes;
} product;

static const char *refuse(const osp_problem *p)
{
    for (int32_t i = 0; i < 2; i++)
        if (!osp_operand_is(p->src + i, OSP_DTYPE_BFLOAT16))
            return "not bfloat16";
    if (!osp_operand_is(p->dst, OSP_DTYPE_BFLOAT16))
        return "not bfloat16";
    if (p->src[0].constant)
        return "the left matrix is constant";
    osp_product shape;
    const char *why = osp_refuse_not_plain(p);
    if (!why)
        why = osp_product_read(p, &shape);
    if (!why && shape.alpha != 1)
        why = "a factor";
    return why ? why : osp_cpu_bf16() ? NULL : "the processor lacks bfloat16";
}

static void release(osp_context *ctx, void *state)
{
    product *m = state;
    osp_mem_free(&ctx->mem, m->offsets);
    osp_mem_free(&ctx->mem, m);
}

static size_t weights_bytes(const product *m)
{
    return (size_t)(m->groups * UNIT * m->depth_up) * sizeof(uint16_t);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    product *m = osp_mem_calloc(&ctx->mem, 1, sizeof *m);
    if (!m)
        OSP_FAIL_MEMORY(err);
    osp_product_read(p, &m->shape);
    m->engine = osp_cpu_bf16();
    m->depth_up = osp_bf16_round_up(m->shape.depth, UNIT);
    m->groups = osp_bf16_round_up(m->shape.columns, UNIT) / UNIT;
    m->block_rows = osp_i64_min(MOST_ROWS,
                                osp_bf16_round_up((m->shape.rows + threads - 1) / threads, UNIT));
    m->thread_bytes = (size_t)(m->block_rows * m->depth_up) * sizeof(uint16_t);
    m->offsets = osp_mem_calloc(&ctx->mem, (size_t)(m->depth_up / UNIT), sizeof *m->offsets);
    if (!m->offsets) {
        release(ctx, m);
        OSP_FAIL_MEMORY(err);
    }
    for (int64_t i = 0; i < m->depth_up / UNIT; i++)
        m->offsets[i] = i * UNIT * 2;
    sizes->workspace_bytes = (size_t)threads * m->thread_bytes;
    if (m->shape.b_constant)
        sizes->packed_bytes = (size_t)(m->groups * UNIT) * sizeof(float) + weights_bytes(m);
    else
        sizes->workspace_bytes += weights_bytes(m);
    *state = m;
    return OSP_OK;
}

typedef struct job {
    const product *m;
    const uint16_t *a, *b;
    const float *bias;
    uint16_t *packed, *dst;
    char *scratch;
} job;

// `rows` holds 32 rows of depth_up.
static void pack_group(const product *m, const uint16_t *b, uint16_t *packed, int64_t group,
                       uint16_t *rows)
{
    const osp_product *s = &m->shape;
    const int64_t first = group * UNIT, count = osp_i64_min(UNIT, s->columns - first);
    const bool turned = s->b_n == 1;  // columns of b are rows here
    osp_bf16_gather_rows(rows, m->depth_up, UNIT, b + first * s->b_n, turned ? s->b_k : s->b_n,
                         turned, count, s->depth);
    osp_bf16_pack_rows(packed + first * m->depth_up, rows, UNIT, m->depth_up);
}

static void pack_groups(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    for (int64_t g = begin; g < end; g++)
        pack_group(j->m, j->b, j->packed, g,
                   (uint16_t *)(void *)(j->scratch + (size_t)thread * j->m->thread_bytes));
}

// Bias in FP32, zero where there is none, then the weights by groups.
static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const product *m = state;
    const osp_product *s = &m->shape;
    const uint16_t *b = src[1];
    float *bias = packed;
    for (int64_t i = 0; s->has_bias && i < s->columns; i++)
        bias[i] = osp_load_float(p->src[2].dtype, src[2], (size_t)i);
    uint16_t *weights = (uint16_t *)(void *)(bias + m->groups * UNIT);
    for (int64_t o = 0; o < s->columns; o++)
        for (int64_t k = 0; k < s->depth; k++) {
            // [group of 32][step][block of 16][pair][column][of the pair]
            const int64_t block = (o / UNIT * m->depth_up / UNIT + k / UNIT) * 2 + o % UNIT / 16;
            weights[((block * UNIT / 2 + k % UNIT / 2) * 16 + o % 16) * 2 + k % 2] =
                b[k * s->b_k + o * s->b_n];
        }
    return OSP_OK;
}

static void run_block(const job *j, int64_t row, int64_t rows, uint16_t *copy)
{
    const product *m = j->m;
    const osp_product *s = &m->shape;
    const uint16_t *left = j->a + row * s->depth;
    // Products read whole blocks of 16 rows.
    const bool in_place = s->depth == m->depth_up && row + (rows + 15) / 16 * 16 <= s->rows;
    if (!in_place) {
        osp_bf16_gather_rows(copy, m->depth_up, (rows + 15) / 16 * 16, left, s->depth, false, rows,
                             s->depth);
        left = copy;
    }
    _Alignas(64) float sums[OSP_BF16_SUMS];
    osp_bf16_product product = {.src_step = m->depth_up * 2,
                                .offsets = m->offsets,
                                .steps = m->depth_up / UNIT,
                                .depth = UNIT,
                                .sums = sums};
    osp_bf16_end end = {.dst_pitch = s->columns, .columns = MOST_ROWS, .line = MOST_ROWS};
    for (int64_t c = 0; c < s->columns; c += UNIT) {
        product.weights = j->packed + c * m->depth_up;
        end.bias = j->bias ? j->bias + c : NULL;
        end.channels = (int32_t)osp_i64_min(UNIT, s->columns - c);
        for (int64_t r = 0; r < rows; r += UNIT) {
            end.positions = osp_i64_min(UNIT, rows - r);
            end.dst = j->dst + (row + r) * s->columns + c;
            product.src = (const char *)(left + r * m->depth_up);
            m->engine->product(&product, end.positions > 16 ? 2 : 1, 2);
            osp_bf16_finish(&end, sums, 2);
        }
    }
}

static void run_blocks(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const product *m = j->m;
    uint16_t *copy = (uint16_t *)(void *)(j->scratch + (size_t)thread * m->thread_bytes);
    m->engine->begin(UNIT);
    for (int64_t i = begin; i < end; i++)
        run_block(j, i * m->block_rows,
                  osp_i64_min(m->block_rows, m->shape.rows - i * m->block_rows), copy);
    m->engine->end();
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    (void)p;
    const product *m = state;
    const osp_product *s = &m->shape;
    job j = {.m = m, .scratch = l->workspace};
    if (s->b_constant) {
        j.bias = l->packed;
        j.packed = (uint16_t *)(uintptr_t)(const void *)(j.bias + m->groups * UNIT);
    } else {
        j.packed = (uint16_t *)(void *)(j.scratch + (size_t)l->threads.count * m->thread_bytes);
    }
    const double block_ns = (double)(m->block_rows * m->groups * UNIT) *
                            (0.05 + 0.001 * (double)m->depth_up);
    int64_t last_b = -1;
    for (int64_t i = 0; i < s->count; i++) {
        int64_t a, b;
        osp_product_at(s, i, &a, &b);
        j.a = (const uint16_t *)l->src[0] + a;
        j.dst = (uint16_t *)l->dst[0] + i * s->rows * s->columns;
        if (!s->b_constant && b != last_b) {
            j.b = (const uint16_t *)l->src[1] + b;
            osp_cpu_parallel(l->threads, m->groups, (double)(UNIT * m->depth_up) * 0.5, pack_groups,
                             &j);
            last_b = b;
        }
        osp_cpu_parallel(l->threads, (s->rows + m->block_rows - 1) / m->block_rows, block_ns,
                         run_blocks, &j);
    }
    return OSP_OK;
}

const osp_tactic osp_cpu_matmul_bf16 = {.name = "tiles_bf16",
                                        .pack_version = 1,
                                        .refuse = refuse,
                                        .prepare = prepare,
                                        .pack = pack,
                                        .launch = launch,
                                        .release = release};
