// Elementwise operators: one walk over a destination and up to three sources, in vectors where all
// operands are of one float type and dense along the innermost dim, or do not move along it.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "ops/binary.h"
#include "ops/elementwise.h"
#include "ops/norm.h"

enum { BLOCK = 256 };

_Static_assert((int)OSP_FN_RELU == (int)OSP_ACT_RELU && (int)OSP_FN_SILU == (int)OSP_ACT_SILU &&
                   (int)OSP_FN_CLIP == (int)OSP_ACT_CLIP &&
                   (int)OSP_FN_GELU_TANH == (int)OSP_ACT_GELU_TANH &&
                   (int)OSP_FN_EXP == (int)OSP_ACT_COUNT,
               "osp_cuda_fn starts like osp_act");

static const struct {
    const char *type;
    osp_cuda_fn fn;
} functions[] = {{"Cast", OSP_FN_COPY},
                 {"Relu", OSP_FN_RELU},
                 {"Silu", OSP_FN_SILU},
                 {"LeakyRelu", OSP_FN_LEAKY_RELU},
                 {"Sigmoid", OSP_FN_SIGMOID},
                 {"HardSigmoid", OSP_FN_HARD_SIGMOID},
                 {"HardSwish", OSP_FN_HARD_SWISH},
                 {"Clip", OSP_FN_CLIP},
                 {"Tanh", OSP_FN_TANH},
                 {"Gelu", OSP_FN_GELU},
                 {"Exp", OSP_FN_EXP},
                 {"Log", OSP_FN_LOG},
                 {"Sqrt", OSP_FN_SQRT},
                 {"Erf", OSP_FN_ERF},
                 {"Sin", OSP_FN_SIN},
                 {"Cos", OSP_FN_COS},
                 {"Floor", OSP_FN_FLOOR},
                 {"Not", OSP_FN_NOT},
                 {"Add", OSP_FN_ADD},
                 {"Sub", OSP_FN_SUB},
                 {"Mul", OSP_FN_MUL},
                 {"Div", OSP_FN_DIV},
                 {"Pow", OSP_FN_POW},
                 {"Mod", OSP_FN_MOD},
                 {"Min", OSP_FN_MIN},
                 {"Max", OSP_FN_MAX},
                 {"Equal", OSP_FN_EQUAL},
                 {"Less", OSP_FN_LESS},
                 {"Greater", OSP_FN_GREATER},
                 {"And", OSP_FN_AND},
                 {"Xor", OSP_FN_XOR}};

// One launch: of Min and Max with many operands there are several, each on the one before.
typedef struct step {
    osp_cuda_point_args narrow, wide;
    int32_t kernel, wide_kernel;
    int32_t src[3];  // operands; -1: none, -2: the destination
} step;

typedef struct steps {
    int32_t count;
    step list[];
} steps;

static bool takes_attrs(const osp_problem *p)
{
    return p->op->attrs_size == sizeof(osp_broadcast_attrs) && p->src_count == 2;
}

// Sources as they broadcast to the destination.
static osp_operand operand_of(const osp_problem *p, int32_t i)
{
    osp_operand o = i == -2 ? *p->dst : p->src[i];
    if (i == 1 && takes_attrs(p))
        o.shape = osp_broadcast_second(p->attrs, &o.shape);
    return o;
}

static void numbers_of(const osp_problem *p, osp_cuda_point_args *a)
{
    switch (a->fn) {
    case OSP_FN_LEAKY_RELU:
    case OSP_FN_HARD_SIGMOID:
        a->alpha = ((const osp_alpha_attrs *)p->attrs)->alpha;
        a->beta = ((const osp_alpha_attrs *)p->attrs)->beta;
        break;
    case OSP_FN_GELU:
        if (((const osp_gelu_attrs *)p->attrs)->approximate)
            a->fn = OSP_FN_GELU_TANH;
        break;
    case OSP_FN_MOD:
        if (((const osp_mod_attrs *)p->attrs)->fmod)
            a->fn = OSP_FN_FMOD;
        break;
    case OSP_FN_CLIP: {
        const osp_clip_attrs *c = p->attrs;
        // Bounds that are not given leave the type's whole range: infinities stay in it, too.
        const float most = p->src->dtype == OSP_DTYPE_FLOAT16    ? 65504.0f
                           : p->src->dtype == OSP_DTYPE_BFLOAT16 ? 0x1.FEp127f
                                                                 : 0x1.FFFFFEp127f;
        const bool floats = p->src->dtype <= OSP_DTYPE_BFLOAT16;
        a->alpha = floats ? osp_clamp(c->min, -most, most) : c->min;
        a->beta = floats ? osp_clamp(c->max, -most, most) : c->max;
        break;
    }
    default:
        break;
    }
}

// Whether one launch may be in vectors, and its walk then.
static void widen(step *s, const osp_cuda_dims *dims, int32_t sources)
{
    osp_cuda_dims d = *dims;
    const int32_t last = d.rank - 1;
    const size_t size = osp_dtype_bytes((osp_dtype)s->narrow.dst_dtype);
    uint32_t dense = 1, fixed = 0;
    for (int32_t k = 0; k < sources; k++)
        if (d.strides[k + 1][last] == 1)
            dense |= 2u << k;
        else
            fixed |= 2u << k;
    const int64_t vector = 16 / (int64_t)size;
    if (!s->narrow.walk.count || osp_cuda_unit(&d, dense, fixed, size) != vector)
        return;
    s->wide = s->narrow;
    d.dims[last] /= vector;
    for (int32_t k = 0; k <= sources; k++)
        d.strides[k][last] *= vector;
    osp_cuda_walk_of(&s->wide.walk, &d);
    for (int32_t k = 0; k < sources; k++)
        s->wide.dense[k] = (int32_t)(dense >> (k + 1) & 1);
    s->wide_kernel = s->narrow.dst_dtype == OSP_DTYPE_FLOAT32 ? OSP_POINT_F32X4 : OSP_POINT_F16X8;
}

static void make_step(const osp_problem *p, step *s, osp_cuda_fn fn, const int32_t src[3])
{
    *s = (step){.narrow = {.fn = fn, .dst_dtype = (int32_t)p->dst->dtype}};
    osp_operand operands[3];
    int32_t sources = 0;
    bool alike = osp_cuda_is_float(p->dst);
    for (int32_t k = 0; k < 3; k++) {
        s->src[k] = src[k];
        if (src[k] == -1)  // walked like the destination's first element, and not read
            operands[k] = (osp_operand){.dtype = OSP_DTYPE_UINT8, .row = 1, .pitch = 1};
        else
            operands[k] = operand_of(p, src[k]);
        s->narrow.dtype[k] = (int32_t)operands[k].dtype;
        if (src[k] == -1)
            continue;
        sources = k + 1;
        alike &= operands[k].dtype == p->dst->dtype;
    }
    numbers_of(p, &s->narrow);
    osp_rows rows;
    osp_rows_of(&rows, p->dst, operands, sources);
    osp_cuda_dims d;
    osp_cuda_dims_of_rows(&d, &rows);
    osp_cuda_walk_of(&s->narrow.walk, &d);
    s->kernel = !alike                               ? OSP_POINT_ANY
                : p->dst->dtype == OSP_DTYPE_FLOAT32 ? OSP_POINT_F32
                                                     : OSP_POINT_F16;
    s->wide_kernel = -1;
    if (alike)
        widen(s, &d, sources);
}

static const char *refuse(const osp_problem *p)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (!strcmp(functions[i].type, p->op->type))
            return osp_cuda_refuse(p);
    return "no function of elements";
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    osp_cuda_fn fn = OSP_FN_COPY;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (!strcmp(functions[i].type, p->op->type))
            fn = functions[i].fn;
    const bool extreme = fn == OSP_FN_MIN || fn == OSP_FN_MAX;
    const int32_t count = extreme && p->src_count > 2 ? p->src_count - 1 : 1;
    OSP_TRY(osp_cuda_state(ctx, sizeof(steps) + (size_t)count * sizeof(step), state, err));
    steps *s = *state;
    s->count = count;
    for (int32_t i = 0; i < count; i++) {
        int32_t src[3] = {-1, -1, -1};
        for (int32_t k = 0; k < 3 && k < p->src_count; k++)
            src[k] = p->src[k].dtype ? k : -1;
        if (extreme) {
            src[0] = i ? -2 : 0;
            src[1] = p->src_count > 1 ? i + 1 : -1;
            src[2] = -1;
        }
        make_step(p, s->list + i, extreme && p->src_count == 1 ? OSP_FN_COPY : fn, src);
    }
    return OSP_OK;
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    const steps *list = state;
    for (int32_t i = 0; i < list->count; i++) {
        const step *s = list->list + i;
        const void *src[3];
        bool wide = s->wide_kernel >= 0 && osp_cuda_aligned(l->dst[0], 16);
        for (int32_t k = 0; k < 3; k++) {
            src[k] = s->src[k] == -1 ? NULL : s->src[k] == -2 ? l->dst[0] : l->src[s->src[k]];
            wide &= !s->wide.dense[k] || osp_cuda_aligned(src[k], 16);
        }
        osp_cuda_point_args a = wide ? s->wide : s->narrow;
        a.dst = l->dst[0];
        memcpy(a.src, src, sizeof a.src);
        OSP_TRY(osp_cuda_each(l, osp_cuda_k_point + (wide ? s->wide_kernel : s->kernel),
                              a.walk.count, BLOCK, &a, sizeof a, err));
    }
    return OSP_OK;
}

const osp_tactic osp_cuda_point = {.name = "point",
                                   .refuse = refuse,
                                   .prepare = prepare,
                                   .launch = launch,
                                   .release = osp_cuda_release};

// ---- Where --------------------------------------------------------------------------------------

static osp_status prepare_where(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_point_args), state, err));
    osp_rows rows;
    osp_cuda_dims d;
    osp_rows_of(&rows, p->dst, p->src, 3);
    osp_cuda_dims_of_rows(&d, &rows);
    osp_cuda_walk_of(&((osp_cuda_point_args *)*state)->walk, &d);
    return OSP_OK;
}

static osp_status launch_where(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    osp_cuda_point_args a = *(const osp_cuda_point_args *)state;
    a.dst = l->dst[0];
    for (int32_t k = 0; k < 3; k++)
        a.src[k] = l->src[k];
    return osp_cuda_each(l, osp_cuda_k_where + osp_cuda_by_size(osp_dtype_bytes(p->dst->dtype)),
                         a.walk.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_where = {.name = "where",
                                   .refuse = osp_cuda_refuse,
                                   .prepare = prepare_where,
                                   .launch = launch_where,
                                   .release = osp_cuda_release};

// ---- BatchNormalization -------------------------------------------------------------------------

static const char *refuse_batch_norm(const osp_problem *p)
{
    for (int32_t i = 1; i < 5; i++)
        if (!osp_operand_dense(p->src + i))
            return "a parameter is a slice";
    return osp_cuda_refuse(p);
}

static osp_status prepare_batch_norm(const osp_problem *p, osp_context *ctx, int32_t threads,
                                     void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_batch_norm_args), state, err));
    osp_cuda_batch_norm_args *a = *state;
    const osp_batch_norm_attrs *attrs = p->attrs;
    const osp_shape *s = &p->dst->shape;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], of[OSP_MAX_RANK] = {0};
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    for (int32_t i = s->rank - 1; i > 0; i--)
        of[i] = attrs->spatial ? i == 1 : osp_shape_span(s, i + 1, s->rank);
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < s->rank; i++)
        osp_cuda_dims_add(&d, s->dims[i], (const int64_t[]){to[i], from[i], of[i]}, 3);
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&a->walk, &d);
    a->dtype = (int32_t)p->dst->dtype;
    a->epsilon = attrs->epsilon;
    for (int32_t i = 0; i < 4; i++)
        a->parameter_dtype[i] = (int32_t)p->src[i + 1].dtype;
    return OSP_OK;
}

static osp_status launch_batch_norm(const osp_problem *p, void *state, const osp_launch *l,
                                    osp_error *err)
{
    (void)p;
    osp_cuda_batch_norm_args a = *(const osp_cuda_batch_norm_args *)state;
    a.dst = l->dst[0];
    a.src = l->src[0];
    for (int32_t i = 0; i < 4; i++)
        a.parameters[i] = l->src[i + 1];
    return osp_cuda_each(l, osp_cuda_k_batch_norm, a.walk.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_batch_norm = {.name = "batch_norm",
                                        .refuse = refuse_batch_norm,
                                        .prepare = prepare_batch_norm,
                                        .launch = launch_batch_norm,
                                        .release = osp_cuda_release};
