// Elementwise operators: rows of FP32 by the row kernels, bfloat16 through them in blocks, integers
// and booleans by plain loops.
#include "ops/elementwise.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "backends/cpu/row_walk.h"
#include "ops/binary.h"
#include "ops/view.h"

enum { BLOCK = 512 };

// A block of a float or bfloat16 row as floats: in place, or converted into `space`.
static const float *load_block(const osp_simd *simd, osp_dtype dtype, const char *src, int64_t step,
                               int64_t first, int64_t n, float *space)
{
    if (dtype == OSP_DTYPE_FLOAT32) {
        const float *p = (const float *)(const void *)src + first * step;
        if (step <= 1)
            return p;
        for (int64_t i = 0; i < n; i++)
            space[i] = p[i * step];
        return space;
    }
    const uint16_t *p = (const uint16_t *)(const void *)src + first * step;
    if (step == 1)
        simd->bfloat_to_float(space, p, n);
    else
        for (int64_t i = 0; i < (step ? n : 1); i++)
            space[i] = osp_bfloat_to_float(p[i * step]);
    return space;
}

static void store_block(const osp_simd *simd, osp_dtype dtype, char *dst, int64_t step,
                        int64_t first, int64_t n, const float *from)
{
    if (dtype == OSP_DTYPE_FLOAT32) {
        float *p = (float *)(void *)dst + first * step;
        for (int64_t i = 0; p != from && i < n; i++)
            p[i * step] = from[i];
        return;
    }
    uint16_t *p = (uint16_t *)(void *)dst + first * step;
    if (step == 1)
        simd->float_to_bfloat(p, from, n);
    else
        for (int64_t i = 0; i < n; i++)
            p[i * step] = osp_float_to_bfloat(from[i]);
}

static bool is_real(osp_dtype dtype)
{
    return dtype == OSP_DTYPE_FLOAT32 || dtype == OSP_DTYPE_BFLOAT16;
}

// ---- Unary --------------------------------------------------------------------------------------

static const struct {
    const char *type;
    osp_unary op;
    double cost;
} unaries[] = {{"Relu", OSP_U_RELU, 0.3},
               {"LeakyRelu", OSP_U_LEAKY_RELU, 0.3},
               {"Sigmoid", OSP_U_SIGMOID, 1},
               {"Exp", OSP_U_EXP, 1},
               {"Log", OSP_U_LOG, 1},
               {"Sqrt", OSP_U_SQRT, 0.5},
               {"Erf", OSP_U_ERF, 1},
               {"Tanh", OSP_U_TANH, 1},
               {"Sin", OSP_U_SIN, 10},
               {"Cos", OSP_U_COS, 10},
               {"Floor", OSP_U_FLOOR, 0.3},
               {"HardSigmoid", OSP_U_HARD_SIGMOID, 0.3},
               {"HardSwish", OSP_U_HARD_SWISH, 0.3},
               {"Gelu", OSP_U_GELU, 1},
               {"Clip", OSP_U_CLIP, 0.3},
               {"Silu", OSP_U_SILU, 1}};

typedef struct unary {
    const osp_simd *simd;
    osp_rows rows;
    osp_dtype dtype;
    osp_unary op;
    float alpha, beta;
    double cost;
} unary;

static int32_t find_unary(const osp_problem *p)
{
    for (size_t i = 0; i < sizeof unaries / sizeof unaries[0]; i++)
        if (!strcmp(unaries[i].type, p->op->type))
            return (int32_t)i;
    return -1;
}

static const char *refuse_unary(const osp_problem *p)
{
    osp_rows r;
    if (!is_real(p->src->dtype) || p->dst->dtype != p->src->dtype)
        return "neither FP32 nor bfloat16";
    if (!osp_rows_of(&r, p->dst, p->src, 1))
        return "a slice that falls on no dims";
    return find_unary(p) < 0 ? "no row kernel" : NULL;
}

static osp_status prepare_unary(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    unary *u = osp_mem_calloc(&ctx->mem, 1, sizeof *u);
    if (!u)
        OSP_FAIL_MEMORY(err);
    const int32_t i = find_unary(p);
    u->simd = osp_cpu_simd();
    u->dtype = p->src->dtype;
    u->op = unaries[i].op;
    u->cost = unaries[i].cost;
    osp_rows_of(&u->rows, p->dst, p->src, 1);
    if (u->op == OSP_U_LEAKY_RELU || u->op == OSP_U_HARD_SIGMOID) {
        const osp_alpha_attrs *a = p->attrs;
        u->alpha = a->alpha;
        u->beta = a->beta;
    }
    if (u->op == OSP_U_CLIP) {
        const osp_clip_attrs *a = p->attrs;
        u->alpha = a->min;
        u->beta = a->max;
    }
    if (u->op == OSP_U_GELU && ((const osp_gelu_attrs *)p->attrs)->approximate)
        u->op = OSP_U_GELU_TANH;
    *state = u;
    return OSP_OK;
}

static void unary_row(const void *user, char *dst, int64_t dst_step, const char *const *src,
                      const int64_t *steps, int64_t n)
{
    const unary *u = user;
    if (u->dtype == OSP_DTYPE_FLOAT32 && dst_step == 1 && steps[0] == 1) {
        u->simd->unary(u->op, (float *)(void *)dst, (const float *)(const void *)src[0], n,
                       u->alpha, u->beta);
        return;
    }
    float in[BLOCK], out[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t count = osp_i64_min(BLOCK, n - i);
        const float *x = load_block(u->simd, u->dtype, src[0], steps[0], i, count, in);
        u->simd->unary(u->op, out, x, count, u->alpha, u->beta);
        store_block(u->simd, u->dtype, dst, dst_step, i, count, out);
    }
}

static osp_status launch_unary(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    (void)err;
    unary u = *(const unary *)state;
    if (u.op == OSP_U_CLIP) {  // bounds as inputs
        if (p->src_count > 1 && l->src[1])
            u.alpha = osp_load_float(p->src[1].dtype, l->src[1], 0);
        if (p->src_count > 2 && l->src[2])
            u.beta = osp_load_float(p->src[2].dtype, l->src[2], 0);
    }
    osp_rows_run(&u.rows, l->dst[0], l->src, unary_row, &u, u.cost, l->threads);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

const osp_tactic osp_cpu_unary = {.name = "rows",
                                  .refuse = refuse_unary,
                                  .prepare = prepare_unary,
                                  .launch = launch_unary,
                                  .release = release};

// ---- Binary -------------------------------------------------------------------------------------

typedef enum pair_op {
    PAIR_ADD = OSP_B_ADD,
    PAIR_SUB,
    PAIR_MUL,
    PAIR_DIV,
    PAIR_MIN,
    PAIR_MAX,
    PAIR_POW,
    PAIR_EQUAL,
    PAIR_LESS,
    PAIR_AND,
    PAIR_XOR,
    PAIR_MOD,
    PAIR_FMOD
} pair_op;

static const struct {
    const char *type;
    pair_op op;
} pairs[] = {{"Add", PAIR_ADD},     {"Sub", PAIR_SUB},   {"Mul", PAIR_MUL}, {"Div", PAIR_DIV},
             {"Min", PAIR_MIN},     {"Max", PAIR_MAX},   {"Pow", PAIR_POW}, {"Mod", PAIR_MOD},
             {"Equal", PAIR_EQUAL}, {"Less", PAIR_LESS}, {"And", PAIR_AND}, {"Xor", PAIR_XOR}};

typedef struct binary {
    const osp_simd *simd;
    osp_rows rows;
    osp_dtype dtype;
    pair_op op;
    atomic_bool *by_zero;
} binary;

static int32_t find_pair(const osp_problem *p)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (!strcmp(pairs[i].type, p->op->type))
            return (int32_t)pairs[i].op;
    return -1;
}

// Operands with the second one's shape made ready for broadcasting (opset 6).
static void pair_operands(const osp_problem *p, osp_operand out[2])
{
    out[0] = p->src[0];
    out[1] = p->src[1];
    const int32_t op = find_pair(p);
    if (op == PAIR_MIN || op == PAIR_MAX || op == PAIR_MOD || out[1].layout != OSP_LAYOUT_PLAIN)
        return;
    out[1].shape = osp_broadcast_second(p->attrs, &out[1].shape);
}

static const char *refuse_binary(const osp_problem *p)
{
    const int32_t op = find_pair(p);
    if (op < 0 || p->src_count != 2)
        return "not two operands";
    osp_operand src[2];
    osp_rows r;
    pair_operands(p, src);
    if (!osp_rows_of(&r, p->dst, src, 2))
        return "a slice that falls on no dims";
    const osp_dtype t = p->src[0].dtype;
    if (t != p->src[1].dtype)
        return "two types";
    if (is_real(t))
        return op == PAIR_AND || op == PAIR_XOR || op == PAIR_MOD ? "not for floats" : NULL;
    if (op == PAIR_POW)
        return "powers of integers";
    const bool known = t == OSP_DTYPE_INT64 || t == OSP_DTYPE_INT32 || t == OSP_DTYPE_BOOL;
    return known ? NULL : "no loop for this type";
}

static osp_status prepare_binary(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    binary *b = osp_mem_calloc(&ctx->mem, 1, sizeof *b);
    if (!b)
        OSP_FAIL_MEMORY(err);
    osp_operand src[2];
    pair_operands(p, src);
    osp_rows_of(&b->rows, p->dst, src, 2);
    b->simd = osp_cpu_simd();
    b->dtype = p->src->dtype;
    b->op = (pair_op)find_pair(p);
    if (b->op == PAIR_MOD && ((const osp_mod_attrs *)p->attrs)->fmod)
        b->op = PAIR_FMOD;
    *state = b;
    return OSP_OK;
}

static void compare_floats(pair_op op, uint8_t *dst, int64_t dst_step, const float *a,
                           int64_t a_step, const float *b, int64_t b_step, int64_t n)
{
    if (op == PAIR_EQUAL)
        for (int64_t i = 0; i < n; i++)
            dst[i * dst_step] = a[i * a_step] == b[i * b_step];
    else
        for (int64_t i = 0; i < n; i++)
            dst[i * dst_step] = a[i * a_step] < b[i * b_step];
}

static void real_row(const binary *u, char *dst, int64_t dst_step, const char *const *src,
                     const int64_t *steps, int64_t n)
{
    const bool compares = u->op == PAIR_EQUAL || u->op == PAIR_LESS;
    if (!compares && u->dtype == OSP_DTYPE_FLOAT32 && dst_step == 1 && steps[0] <= 1 &&
        steps[1] <= 1) {
        u->simd->binary((osp_binary)u->op, (float *)(void *)dst,
                        (const float *)(const void *)src[0], steps[0],
                        (const float *)(const void *)src[1], steps[1], n);
        return;
    }
    float x[BLOCK], y[BLOCK], out[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t count = osp_i64_min(BLOCK, n - i);
        const float *a = load_block(u->simd, u->dtype, src[0], steps[0], i, count, x);
        const float *b = load_block(u->simd, u->dtype, src[1], steps[1], i, count, y);
        const int64_t a_step = steps[0] ? 1 : 0, b_step = steps[1] ? 1 : 0;
        if (compares) {
            compare_floats(u->op, (uint8_t *)dst + i * dst_step, dst_step, a, a_step, b, b_step,
                           count);
            continue;
        }
        u->simd->binary((osp_binary)u->op, out, a, a_step, b, b_step, count);
        store_block(u->simd, u->dtype, dst, dst_step, i, count, out);
    }
}

// One integer result; wraps. false: division by zero.
static inline bool int_pair(pair_op op, int64_t a, int64_t b, int64_t *out)
{
    switch (op) {
    case PAIR_ADD:
        *out = (int64_t)((uint64_t)a + (uint64_t)b);
        return true;
    case PAIR_SUB:
        *out = (int64_t)((uint64_t)a - (uint64_t)b);
        return true;
    case PAIR_MUL:
        *out = (int64_t)((uint64_t)a * (uint64_t)b);
        return true;
    case PAIR_MIN:
        *out = osp_i64_min(a, b);
        return true;
    case PAIR_MAX:
        *out = osp_i64_max(a, b);
        return true;
    case PAIR_EQUAL:
        *out = a == b;
        return true;
    case PAIR_LESS:
        *out = a < b;
        return true;
    case PAIR_AND:
        *out = a && b;
        return true;
    case PAIR_XOR:
        *out = !a != !b;
        return true;
    case PAIR_DIV:
        *out = b == -1 ? (int64_t)(0 - (uint64_t)a) : b ? a / b : 0;
        return b != 0;
    case PAIR_MOD:
    case PAIR_FMOD: {
        const int64_t rest = b == -1 || b == 0 ? 0 : a % b;
        const bool other_sign = rest != 0 && (rest < 0) != (b < 0);
        *out = op == PAIR_MOD && other_sign ? rest + b : rest;
        return b != 0;
    }
    case PAIR_POW:
        break;
    }
    return true;
}

static void int_row(const binary *u, char *dst, int64_t dst_step, const char *const *src,
                    const int64_t *steps, int64_t n)
{
    const bool compares = u->op == PAIR_EQUAL || u->op == PAIR_LESS;
    const osp_dtype out = compares ? OSP_DTYPE_BOOL : u->dtype;
    bool fine = true;
    for (int64_t i = 0; i < n; i++) {
        int64_t r = 0;
        fine &= int_pair(u->op, osp_load_int(u->dtype, src[0], (size_t)(i * steps[0])),
                         osp_load_int(u->dtype, src[1], (size_t)(i * steps[1])), &r);
        osp_store_int(out, dst, (size_t)(i * dst_step), r);
    }
    if (!fine)
        atomic_store(u->by_zero, true);
}

static void binary_row(const void *user, char *dst, int64_t dst_step, const char *const *src,
                       const int64_t *steps, int64_t n)
{
    const binary *u = user;
    if (is_real(u->dtype))
        real_row(u, dst, dst_step, src, steps, n);
    else
        int_row(u, dst, dst_step, src, steps, n);
}

static osp_status launch_binary(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    binary b = *(const binary *)state;
    atomic_bool by_zero = false;
    b.by_zero = &by_zero;
    osp_rows_run(&b.rows, l->dst[0], l->src, binary_row, &b, is_real(b.dtype) ? 0.3 : 3,
                 l->threads);
    if (atomic_load(&by_zero))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "integer division by zero");
    return OSP_OK;
}

const osp_tactic osp_cpu_binary = {.name = "rows",
                                   .refuse = refuse_binary,
                                   .prepare = prepare_binary,
                                   .launch = launch_binary,
                                   .release = release};

// ---- Where, Not, Cast ---------------------------------------------------------------------------

typedef struct select {
    osp_rows rows;
    osp_dtype from, to;
    const osp_simd *simd;
} select;

static const char *refuse_where(const osp_problem *p)
{
    osp_rows r;
    return osp_rows_of(&r, p->dst, p->src, 3) ? NULL : "a slice that falls on no dims";
}

static osp_status prepare_rows(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    select *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    osp_rows_of(&s->rows, p->dst, p->src, p->src_count);
    s->from = p->src->dtype;
    s->to = p->dst->dtype;
    s->simd = osp_cpu_simd();
    *state = s;
    return OSP_OK;
}

static void where_row(const void *user, char *dst, int64_t dst_step, const char *const *src,
                      const int64_t *steps, int64_t n)
{
    const size_t bytes = ((const select *)user)->rows.dst_bytes;
    for (int64_t i = 0; i < n; i++) {
        const int32_t k = src[0][i * steps[0]] ? 1 : 2;
        osp_copy_element(dst, (size_t)(i * dst_step), src[k], (size_t)(i * steps[k]), bytes);
    }
}

static osp_status launch_where(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    (void)err;
    (void)p;
    const select *s = state;
    osp_rows_run(&s->rows, l->dst[0], l->src, where_row, s, 2, l->threads);
    return OSP_OK;
}

const osp_tactic osp_cpu_where = {.name = "rows",
                                  .refuse = refuse_where,
                                  .prepare = prepare_rows,
                                  .launch = launch_where,
                                  .release = release};

static const char *refuse_one(const osp_problem *p)
{
    osp_rows r;
    return osp_rows_of(&r, p->dst, p->src, 1) ? NULL : "a slice that falls on no dims";
}

static void cast_row(const void *user, char *dst, int64_t dst_step, const char *const *src,
                     const int64_t *steps, int64_t n)
{
    const select *s = user;
    if (dst_step == 1 && steps[0] == 1 && s->from == OSP_DTYPE_FLOAT32 &&
        s->to == OSP_DTYPE_BFLOAT16) {
        s->simd->float_to_bfloat((uint16_t *)(void *)dst, (const float *)(const void *)src[0], n);
        return;
    }
    if (dst_step == 1 && steps[0] == 1 && s->from == OSP_DTYPE_BFLOAT16 &&
        s->to == OSP_DTYPE_FLOAT32) {
        s->simd->bfloat_to_float((float *)(void *)dst, (const uint16_t *)(const void *)src[0], n);
        return;
    }
    const bool from_float = osp_dtype_is_float(s->from);
    for (int64_t i = 0; i < n; i++) {
        const size_t to = (size_t)(i * dst_step), from = (size_t)(i * steps[0]);
        if (from_float)
            osp_store_float(s->to, dst, to, osp_load_float(s->from, src[0], from));
        else
            osp_store_int(s->to, dst, to, osp_load_int(s->from, src[0], from));
    }
}

static osp_status launch_cast(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    (void)err;
    (void)p;
    const select *s = state;
    osp_rows_run(&s->rows, l->dst[0], l->src, cast_row, s, 1, l->threads);
    return OSP_OK;
}

const osp_tactic osp_cpu_cast = {.name = "rows",
                                 .refuse = refuse_one,
                                 .prepare = prepare_rows,
                                 .launch = launch_cast,
                                 .release = release};

static void not_row(const void *user, char *dst, int64_t dst_step, const char *const *src,
                    const int64_t *steps, int64_t n)
{
    (void)user;
    for (int64_t i = 0; i < n; i++)
        dst[i * dst_step] = !src[0][i * steps[0]];
}

static osp_status launch_not(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    (void)p;
    const select *s = state;
    osp_rows_run(&s->rows, l->dst[0], l->src, not_row, s, 1, l->threads);
    return OSP_OK;
}

const osp_tactic osp_cpu_not = {.name = "rows",
                                .refuse = refuse_one,
                                .prepare = prepare_rows,
                                .launch = launch_not,
                                .release = release};
