// MatMul, Gemm, Einsum and Attention: stacks of matrices, whose rows and columns are strides.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/internal.h"
#include "ops/linear.h"

enum { MOST_STACK = 65535 };

// ---- MatMul and Gemm ----------------------------------------------------------------------------

typedef struct product {
    osp_cuda_product_args args;
    bool a_wide, b_wide;  // as far as strides say; addresses are looked at by launch
    bool turned_a, turned_b;
} product;

static const char *refuse_product(const osp_problem *p)
{
    return p->src->dtype == OSP_DTYPE_BFLOAT16 ? "bfloat16" : osp_cuda_refuse(p);
}

// The last two dims are a matrix, the others a stack that broadcasts to dst's. A vector on the left
// is a row, one on the right a column.
static void mat_mul_args(const osp_problem *p, osp_cuda_product_args *g)
{
    const osp_shape *a = &p->src[0].shape, *b = &p->src[1].shape, *out = &p->dst->shape;
    int64_t sa[OSP_MAX_RANK], sb[OSP_MAX_RANK], so[OSP_MAX_RANK];
    osp_operand_strides(p->src, sa);
    osp_operand_strides(p->src + 1, sb);
    osp_operand_strides(p->dst, so);
    const bool row = a->rank == 1, column = b->rank == 1;
    const int32_t a_lead = a->rank - (row ? 1 : 2), b_lead = b->rank - (column ? 1 : 2);
    const int32_t lead = out->rank - !row - !column;
    g->m = row ? 1 : (int32_t)a->dims[a_lead];
    g->k = (int32_t)a->dims[a->rank - 1];
    g->n = column ? 1 : (int32_t)b->dims[b->rank - 1];
    g->a_row = row ? 0 : sa[a_lead];
    g->a_column = sa[a->rank - 1];
    g->b_row = sb[column ? 0 : b_lead];
    g->b_column = column ? 0 : sb[b->rank - 1];
    g->dst_row = row ? 0 : so[lead];
    g->dst_column = column ? 0 : so[out->rank - 1];
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < lead; i++) {
        const int32_t ka = i - (lead - a_lead), kb = i - (lead - b_lead);
        const int64_t dim = out->dims[i];
        osp_cuda_dims_add(&d, dim,
                          (const int64_t[]){so[i], ka >= 0 && a->dims[ka] == dim ? sa[ka] : 0,
                                            kb >= 0 && b->dims[kb] == dim ? sb[kb] : 0},
                          3);
    }
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&g->stack, &d);
    g->alpha = 1;
}

static void gemm_args(const osp_problem *p, osp_cuda_product_args *g)
{
    const osp_gemm_attrs *attrs = p->attrs;
    int64_t sa[OSP_MAX_RANK], sb[OSP_MAX_RANK], so[OSP_MAX_RANK], sc[OSP_MAX_RANK] = {0};
    osp_operand_strides(p->src, sa);
    osp_operand_strides(p->src + 1, sb);
    osp_operand_strides(p->dst, so);
    g->m = (int32_t)p->dst->shape.dims[0];
    g->n = (int32_t)p->dst->shape.dims[1];
    g->k = (int32_t)p->src->shape.dims[!attrs->transA];
    g->a_row = sa[attrs->transA];
    g->a_column = sa[!attrs->transA];
    g->b_row = sb[attrs->transB];
    g->b_column = sb[!attrs->transB];
    g->dst_row = so[0];
    g->dst_column = so[1];
    if (p->src_count > 2 && p->src[2].dtype) {
        const osp_shape *c = &p->src[2].shape;
        osp_operand_strides(p->src + 2, sc);
        if (c->rank > 1 && c->dims[c->rank - 2] != 1)
            g->c_row = sc[c->rank - 2];
        if (c->rank > 0 && c->dims[c->rank - 1] != 1)
            g->c_column = sc[c->rank - 1];
    }
    osp_cuda_dims d = {0};
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&g->stack, &d);
    g->alpha = attrs->alpha;
    g->beta = attrs->beta;
}

// 16-byte loads: lines and matrices of the stack start at multiples of 8.
static bool is_wide(const osp_cuda_walk *stack, int32_t operand, int64_t dense, int64_t pitch)
{
    bool yes = dense == 1 && pitch % 8 == 0;
    for (int32_t i = 0; i < stack->rank; i++)
        yes &= stack->strides[operand][i] % 8 == 0;
    return yes;
}

static osp_status prepare_product(const osp_problem *p, osp_context *ctx, int32_t threads,
                                  void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(product), state, err));
    product *s = *state;
    osp_cuda_product_args *g = &s->args;
    if (!strcmp(p->op->type, "Gemm"))
        gemm_args(p, g);
    else
        mat_mul_args(p, g);
    g->dtype = (int32_t)p->dst->dtype;
    s->turned_a = g->a_row == 1 && g->a_column != 1;
    s->turned_b = g->b_column == 1 && g->b_row != 1;
    s->a_wide = s->turned_a ? is_wide(&g->stack, 1, g->a_row, g->a_column)
                            : is_wide(&g->stack, 1, g->a_column, g->a_row);
    s->b_wide = s->turned_b ? is_wide(&g->stack, 2, g->b_column, g->b_row)
                            : is_wide(&g->stack, 2, g->b_row, g->b_column);
    return OSP_OK;
}

static uint32_t tiles(int64_t extent)
{
    return (uint32_t)((extent + OSP_PRODUCT_TILE - 1) / OSP_PRODUCT_TILE);
}

static osp_status launch_product(const osp_problem *p, void *state, const osp_launch *l,
                                 osp_error *err)
{
    const product *s = state;
    osp_cuda_product_args a = s->args;
    if (!a.m || !a.n || !a.stack.count)
        return OSP_OK;
    a.dst = l->dst[0];
    a.a = l->src[0];
    a.b = l->src[1];
    a.c = p->src_count > 2 && p->src[2].dtype ? l->src[2] : NULL;
    a.a_wide = s->a_wide && osp_cuda_aligned(a.a, 16);
    a.b_wide = s->b_wide && osp_cuda_aligned(a.b, 16);
    const bool half = p->dst->dtype == OSP_DTYPE_FLOAT16;
    const int32_t kernel = half ? OSP_PRODUCT_F16 + 2 * s->turned_a + s->turned_b
                           : p->dst->dtype == OSP_DTYPE_FLOAT32 ? OSP_PRODUCT_F32
                                                                : OSP_PRODUCT_INT;
    for (; a.first < a.stack.count; a.first += MOST_STACK) {
        const uint32_t left = a.stack.count - a.first;
        const osp_gpu_shape shape = {
            .grid = {tiles(a.m), tiles(a.n), left < MOST_STACK ? left : MOST_STACK},
            .block = {half ? OSP_PRODUCT_THREADS_F16 : OSP_PRODUCT_THREADS_F32}};
        OSP_TRY(osp_cuda_launch(l, osp_cuda_k_product + kernel, &shape, &a, sizeof a, err));
    }
    return OSP_OK;
}

const osp_tactic osp_cuda_product = {.name = "product",
                                     .refuse = refuse_product,
                                     .prepare = prepare_product,
                                     .launch = launch_product,
                                     .release = osp_cuda_release};

// ---- Einsum -------------------------------------------------------------------------------------

static const char *read_equation(const osp_problem *p, osp_einsum *e)
{
    const osp_shape *shapes[OSP_EINSUM_OPERANDS];
    if (p->src_count > OSP_EINSUM_OPERANDS)
        return "too many operands";
    for (int32_t i = 0; i < p->src_count; i++)
        shapes[i] = &p->src[i].shape;
    return osp_einsum_read(e, ((const osp_einsum_attrs *)p->attrs)->equation, shapes, p->src_count);
}

static const char *refuse_einsum(const osp_problem *p)
{
    osp_einsum e;
    const char *why = read_equation(p, &e);
    if (why)
        return why;
    if (e.sum_rank > OSP_CUDA_LABELS)
        return "sums over more than 24 labels";
    why = osp_refuse_not_plain(p);
    return why ? why : osp_cuda_refuse(p);
}

static osp_status prepare_einsum(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_einsum_args), state, err));
    osp_cuda_einsum_args *a = *state;
    osp_einsum e = {0};
    read_equation(p, &e);
    osp_operand_strides(p->dst, a->out_strides);
    a->terms = e.operands;
    a->dtype = (int32_t)p->dst->dtype;
    a->out_rank = e.out_rank;
    a->sum_rank = e.sum_rank;
    a->count = (uint32_t)osp_operand_count(p->dst);
    a->sums = 1;
    for (int32_t d = 0; d < e.out_rank; d++) {
        a->out[d] = osp_cuda_divisor_of(e.extent[e.out[d]]);
        for (int32_t k = 0; k < e.operands; k++)
            a->out_steps[k][d] = e.stride[k][e.out[d]];
    }
    for (int32_t d = 0; d < e.sum_rank; d++) {
        a->sum[d] = (int32_t)e.extent[e.sum[d]];
        a->sums *= a->sum[d];
        for (int32_t k = 0; k < e.operands; k++)
            a->sum_steps[k][d] = e.stride[k][e.sum[d]];
    }
    return OSP_OK;
}

static osp_status launch_einsum(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    osp_cuda_einsum_args a = *(const osp_cuda_einsum_args *)state;
    a.dst = l->dst[0];
    for (int32_t i = 0; i < p->src_count; i++)
        a.src[i] = l->src[i];
    return osp_cuda_each(l, osp_cuda_k_einsum, a.count, 256, &a, sizeof a, err);
}

const osp_tactic osp_cuda_einsum = {.name = "einsum",
                                    .refuse = refuse_einsum,
                                    .prepare = prepare_einsum,
                                    .launch = launch_einsum,
                                    .release = osp_cuda_release};

// ---- Attention ----------------------------------------------------------------------------------

static const char *refuse_attention(const osp_problem *p)
{
    const osp_attention_attrs *a = p->attrs;
    osp_gpu_map map;
    if (!osp_cuda_is_float(p->dst))
        return "neither FP32 nor FP16";
    const char *why = osp_cuda_refuse(p);
    for (int32_t i = 0; !why && a->heads && i < 4; i++)
        if (!osp_cuda_map_of(i < 3 ? p->src + i : p->dst, &map))
            why = "the pixels of a map are not equally far from each other";
    return why;
}

// The matrices of one operand, with their strides.
static osp_shape matrices_of(const osp_attention_attrs *attrs, const osp_operand *o,
                             int64_t *strides)
{
    const osp_shape shape = osp_attention_matrices(attrs, &o->shape);
    osp_gpu_map map;
    osp_operand_strides(o, strides);
    if (attrs->heads && osp_cuda_map_of(o, &map)) {
        strides[0] = map.image;
        strides[1] = map.channel * shape.dims[2];
        strides[2] = map.channel;
        strides[3] = map.pixel;
    }
    return shape;
}

// Rows and columns of one operand, the other way round where it is transposed.
static osp_shape sides(const osp_attention_attrs *attrs, const osp_operand *o, int64_t transposed,
                       int32_t *rows, int32_t *columns, int64_t *row, int64_t *column,
                       int64_t *strides)
{
    const osp_shape shape = matrices_of(attrs, o, strides);
    const int32_t last = shape.rank - 1, r = last - 1 + (transposed != 0), c = 2 * last - 1 - r;
    *rows = (int32_t)shape.dims[r];
    *columns = (int32_t)shape.dims[c];
    *row = strides[r];
    *column = strides[c];
    return shape;
}

// Whichever side is dense.
static bool rows_are_wide(const osp_cuda_walk *stack, int32_t operand, int64_t row, int64_t column)
{
    return row == 1 ? is_wide(stack, operand, row, column) : is_wide(stack, operand, column, row);
}

static osp_status prepare_attention(const osp_problem *p, osp_context *ctx, void **state,
                                    int32_t block_rows, osp_error *err)
{
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_attention_args), state, err));
    osp_cuda_attention_args *a = *state;
    const osp_attention_attrs *attrs = p->attrs;
    int64_t so[OSP_MAX_RANK], sq[OSP_MAX_RANK], sk[OSP_MAX_RANK], sv[OSP_MAX_RANK];
    sides(attrs, p->src, attrs->q_transposed, &a->m, &a->d, &a->q_row, &a->q_column, sq);
    sides(attrs, p->src + 1, attrs->k_transposed, &a->n, &a->d, &a->k_row, &a->k_column, sk);
    sides(attrs, p->src + 2, attrs->v_transposed, &a->n, &a->e, &a->v_row, &a->v_column, sv);
    const osp_shape dst = sides(attrs, p->dst, attrs->out_transposed, &a->m, &a->e, &a->dst_row,
                                &a->dst_column, so);
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < dst.rank - 2; i++)
        osp_cuda_dims_add(&d, dst.dims[i], (const int64_t[]){so[i], sq[i], sk[i], sv[i]}, 4);
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&a->stack, &d);
    a->q_wide = rows_are_wide(&a->stack, 1, a->q_row, a->q_column);
    a->k_wide = rows_are_wide(&a->stack, 2, a->k_row, a->k_column);
    a->v_wide = rows_are_wide(&a->stack, 3, a->v_row, a->v_column);
    a->dst_wide = a->dst_column == 1 && a->dst_row % 2 == 0;
    for (int32_t i = 0; i < a->stack.rank; i++)
        a->dst_wide &= a->stack.strides[0][i] % 2 == 0;
    a->row_blocks = osp_cuda_divisor_of((a->m + block_rows - 1) / block_rows);
    a->scale = attrs->scale;
    return OSP_OK;
}

static osp_status launch_attention(const osp_cuda_attention_args *args,
                                   const osp_gpu_kernel *kernel, uint32_t threads,
                                   uint32_t shared_bytes, const osp_launch *l, osp_error *err)
{
    osp_cuda_attention_args a = *args;
    if (!a.m || !a.e || !a.stack.count)
        return OSP_OK;
    a.dst = l->dst[0];
    a.q = l->src[0];
    a.k = l->src[1];
    a.v = l->src[2];
    a.q_wide &= osp_cuda_aligned(a.q, 16);
    a.k_wide &= osp_cuda_aligned(a.k, 16);
    a.v_wide &= osp_cuda_aligned(a.v, 16);
    a.dst_wide &= osp_cuda_aligned(a.dst, 4);
    const osp_gpu_shape shape = {.grid = {a.stack.count * a.row_blocks.value},
                                 .block = {threads},
                                 .shared_bytes = shared_bytes};
    return osp_cuda_launch(l, kernel, &shape, &a, sizeof a, err);
}

static osp_status prepare_plain(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    return prepare_attention(p, ctx, state, OSP_ATTENTION_WARPS, err);
}

static osp_status launch_plain(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    return launch_attention(state, osp_cuda_k_attention + (p->dst->dtype == OSP_DTYPE_FLOAT16),
                            32 * OSP_ATTENTION_WARPS, 0, l, err);
}

const osp_tactic osp_cuda_attention = {.name = "attention",
                                       .refuse = refuse_attention,
                                       .prepare = prepare_plain,
                                       .launch = launch_plain,
                                       .release = osp_cuda_release};

// Why no kernel of one pass takes it: deeper than `most`, or without any key.
static const char *refuse_one_pass(const osp_problem *p, osp_dtype dtype, int32_t most)
{
    const osp_attention_attrs *a = p->attrs;
    if (p->dst->dtype != dtype)
        return "another type";
    const osp_shape q = osp_attention_matrices(a, &p->src->shape);
    const osp_shape v = osp_attention_matrices(a, &p->src[2].shape);
    if (q.dims[q.rank - 1 - (a->q_transposed != 0)] > most ||
        v.dims[v.rank - 1 - (a->v_transposed != 0)] > most)
        return "too deep";
    return v.dims[v.rank - 2 + (a->v_transposed != 0)] == 0 ? "no keys" : refuse_attention(p);
}

// The highest logit is that of the highest product.
static const char *refuse_half(const osp_problem *p, int32_t most)
{
    const osp_attention_attrs *a = p->attrs;
    return a->scale > 0 ? refuse_one_pass(p, OSP_DTYPE_FLOAT16, most) : "a scale not above 0";
}

static const char *refuse_flash(const osp_problem *p)
{
    return refuse_half(p, OSP_ATTENTION_DEPTH);
}

static const char *refuse_split(const osp_problem *p)
{
    return refuse_half(p, 64);
}

static const char *refuse_tile(const osp_problem *p)
{
    return refuse_one_pass(p, OSP_DTYPE_FLOAT32, OSP_ATTENTION_DEPTH_F32);
}

// Rows of a block of attention_flash, its threads and shared memory, from the numbers of its template.
typedef struct flash_shape {
    int32_t row_warps, key_warps, stages;
} flash_shape;
static const flash_shape whole_rows = {OSP_ATTENTION_FLASH}, split_keys = {OSP_ATTENTION_SPLIT};

static int32_t depth_class(int32_t depth)
{
    return depth <= 32 ? 0 : depth <= 64 ? 1 : 2;
}

static uint32_t flash_bytes(const flash_shape *s, int32_t d, int32_t e)
{
    const int32_t rows = 16 * s->row_warps;
    const int32_t round = OSP_ATTENTION_TILE(OSP_ATTENTION_KEYS, d) +
                          OSP_ATTENTION_TILE(OSP_ATTENTION_KEYS, e);
    return (uint32_t)(s->key_warps * s->stages * round + OSP_ATTENTION_TILE(rows, d)) *
           (uint32_t)sizeof(uint16_t);
}

static osp_status launch_one_pass(const osp_cuda_attention_args *a, const flash_shape *s,
                                  const osp_gpu_kernel *kernels, int32_t classes,
                                  const osp_launch *l, osp_error *err)
{
    const int32_t d = depth_class(a->d), e = depth_class(a->e);
    return launch_attention(a, kernels + classes * d + e,
                            (uint32_t)(32 * s->row_warps * s->key_warps),
                            flash_bytes(s, 32 << d, 32 << e), l, err);
}

static osp_status prepare_flash(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    return prepare_attention(p, ctx, state, 16 * whole_rows.row_warps, err);
}

static osp_status launch_flash(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    (void)p;
    return launch_one_pass(state, &whole_rows, osp_cuda_k_attention_flash, 3, l, err);
}

const osp_tactic osp_cuda_attention_flash = {.name = "attention_flash_f16",
                                             .refuse = refuse_flash,
                                             .prepare = prepare_flash,
                                             .launch = launch_flash,
                                             .release = osp_cuda_release};

static osp_status prepare_split(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    return prepare_attention(p, ctx, state, 16 * split_keys.row_warps, err);
}

static osp_status launch_split(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    (void)p;
    return launch_one_pass(state, &split_keys, osp_cuda_k_attention_split, 2, l, err);
}

const osp_tactic osp_cuda_attention_split = {.name = "attention_split_f16",
                                             .refuse = refuse_split,
                                             .prepare = prepare_split,
                                             .launch = launch_split,
                                             .release = osp_cuda_release};

static osp_status prepare_tile(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    return prepare_attention(p, ctx, state, OSP_ATTENTION_ROWS, err);
}

static osp_status launch_tile(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    (void)p;
    return launch_attention(state, osp_cuda_k_attention_tile, 256, 0, l, err);
}

const osp_tactic osp_cuda_attention_tile = {.name = "attention_tile_f32",
                                            .refuse = refuse_tile,
                                            .prepare = prepare_tile,
                                            .launch = launch_tile,
                                            .release = osp_cuda_release};
