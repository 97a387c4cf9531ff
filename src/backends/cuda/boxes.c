// The ends of detectors: Expectation and BoxHead.
#include "backends/cuda/cuda.h"
#include "ops/internal.h"

enum { BLOCK = 256 };

_Static_assert((int)OSP_HEAD_LEVELS == (int)OSP_BOX_LEVELS, "the kernel takes all levels");

static bool is_table(const osp_operand *o)
{
    return osp_operand_dense(o) && o->layout == OSP_LAYOUT_PLAIN;
}

// ---- Expectation --------------------------------------------------------------------------------

static const char *refuse_expectation(const osp_problem *p)
{
    if (!osp_cuda_is_float(p->src))
        return "neither FP32 nor FP16";
    return is_table(p->src + 1) ? osp_cuda_refuse(p) : "the weights are a slice";
}

static osp_status prepare_expectation(const osp_problem *p, osp_context *ctx, int32_t threads,
                                      void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_expectation_args), state, err));
    osp_cuda_expectation_args *a = *state;
    const osp_shape *s = &p->src->shape;
    const int32_t axis = (int32_t)((const osp_expectation_attrs *)p->attrs)->axis;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < s->rank; i++)
        osp_cuda_dims_add(&d, i == axis ? 1 : s->dims[i], (const int64_t[]){to[i], from[i]}, 2);
    osp_cuda_dims_settle(&d, 0);
    osp_cuda_walk_of(&a->lines, &d);
    a->step = from[axis];
    a->count = (int32_t)s->dims[axis];
    return OSP_OK;
}

static osp_status launch_expectation(const osp_problem *p, void *state, const osp_launch *l,
                                     osp_error *err)
{
    osp_cuda_expectation_args a = *(const osp_cuda_expectation_args *)state;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.weights = l->src[1];
    return osp_cuda_each(l, osp_cuda_k_expectation + (p->src->dtype == OSP_DTYPE_FLOAT16),
                         a.lines.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_expectation = {.name = "expectation",
                                         .refuse = refuse_expectation,
                                         .prepare = prepare_expectation,
                                         .launch = launch_expectation,
                                         .release = osp_cuda_release};

// ---- BoxHead ------------------------------------------------------------------------------------

typedef struct head {
    osp_cuda_box_head_args args;
    osp_gpu_shape shape;
} head;

static int32_t levels_of(const osp_problem *p)
{
    return (int32_t)((const osp_box_head_attrs *)p->attrs)->levels;
}

static const char *refuse_box_head(const osp_problem *p)
{
    const int32_t levels = levels_of(p);
    osp_gpu_map map;
    const char *why = osp_cuda_refuse(p);
    if (why)
        return why;
    if (!osp_cuda_is_float(p->src) || !osp_cuda_is_float(p->src + levels))
        return "neither FP32 nor FP16";
    for (int32_t i = 0; i < 2 * levels; i++)
        if (p->src[i].constant || !osp_cuda_map_of(p->src + i, &map))
            return "a map is constant, or its pixels are not equally far from each other";
    for (int32_t i = 2 * levels; i < p->src_count; i++)
        if (!is_table(p->src + i))
            return "a table is a slice";
    return p->dst->shape.dims[0] > 65535 ? "too many images" : NULL;
}

// All lie so that 16 bytes of channels are aligned where the map is.
static bool is_wide(const osp_problem *p, int32_t first, int32_t count)
{
    const int64_t unit = 16 / (int64_t)osp_dtype_bytes(p->src[first].dtype);
    bool wide = p->src[first].shape.dims[1] % unit == 0;
    for (int32_t i = first; i < first + count; i++) {
        osp_gpu_map m;
        osp_cuda_map_of(p->src + i, &m);
        wide &= m.channel == 1 && m.pixel % unit == 0 && m.image % unit == 0;
    }
    return wide;
}

static osp_status prepare_box_head(const osp_problem *p, osp_context *ctx, int32_t threads,
                                   void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    OSP_TRY(osp_cuda_state(ctx, sizeof(head), state, err));
    head *s = *state;
    osp_cuda_box_head_args *a = &s->args;
    const osp_box_head_attrs *attrs = p->attrs;
    const osp_shape *dst = &p->dst->shape;
    const int32_t levels = levels_of(p);
    int64_t to[OSP_MAX_RANK];
    osp_operand_strides(p->dst, to);
    osp_head_maps *m = &a->maps;
    int32_t first = 0, block = 0;
    for (int32_t i = 0; i < levels; i++) {
        const int32_t pixels = (int32_t)osp_shape_span(&p->src[i].shape, 2, 4);
        m->level[i] = (osp_head_level){.first = first, .pixels = pixels};
        osp_cuda_map_of(p->src + i, &m->level[i].sides);
        osp_cuda_map_of(p->src + levels + i, &m->level[i].classes);
        a->block[i] = block;
        first += pixels;
        block += (pixels + OSP_HEAD_PIXELS - 1) / OSP_HEAD_PIXELS;
    }
    m->levels = levels;
    m->all = first;
    m->classes = (int32_t)p->src[levels].shape.dims[1];
    m->bins = (int32_t)p->src->shape.dims[1] / 4;
    m->half_sides = p->src->dtype == OSP_DTYPE_FLOAT16;
    m->half_classes = p->src[levels].dtype == OSP_DTYPE_FLOAT16;
    m->wide_sides = m->bins == OSP_HEAD_BINS && is_wide(p, 0, levels);
    m->wide_classes = is_wide(p, levels, levels);
    a->corners = attrs->form == OSP_BOX_XYXY;
    a->dst_image = to[0];
    a->dst_row = to[attrs->turned ? 2 : 1];
    a->dst_pixel = to[attrs->turned ? 1 : 2];
    a->wide_dst = a->dst_row == 1 && a->dst_pixel % 4 == 0 && a->dst_image % 4 == 0;
    const int32_t jobs = 2 + (m->classes + OSP_HEAD_CLASSES - 1) / OSP_HEAD_CLASSES;
    s->shape = (osp_gpu_shape){.grid = {(uint32_t)block, (uint32_t)dst->dims[0]},
                               .block = {OSP_HEAD_PIXELS, (uint32_t)(jobs < 8 ? jobs : 8)}};
    return OSP_OK;
}

// Fills in the addresses of a launch.
static void point_maps(osp_head_maps *m, const osp_problem *p, const osp_launch *l)
{
    for (int32_t i = 0; i < m->levels; i++) {
        m->level[i].sides.data = l->src[i];
        m->level[i].classes.data = l->src[m->levels + i];
        m->wide_sides &= osp_cuda_aligned(l->src[i], 16);
        m->wide_classes &= osp_cuda_aligned(l->src[m->levels + i], 16);
    }
    m->places = l->src[2 * m->levels];
    m->strides = l->src[2 * m->levels + 1];
    m->weights = p->src_count > 2 * m->levels + 2 ? l->src[2 * m->levels + 2] : NULL;
}

static osp_status launch_box_head(const osp_problem *p, void *state, const osp_launch *l,
                                  osp_error *err)
{
    const head *s = state;
    if (osp_operand_count(p->dst) == 0)
        return OSP_OK;
    osp_cuda_box_head_args a = s->args;
    a.dst = l->dst[0];
    a.wide_dst &= osp_cuda_aligned(a.dst, 16);
    point_maps(&a.maps, p, l);
    return osp_cuda_launch(l, osp_cuda_k_box_head + 2 * a.maps.half_sides + a.maps.half_classes,
                           &s->shape, &a, sizeof a, err);
}

static bool box_head_maps(const osp_problem *p, const void *state, const osp_launch *l,
                          osp_head_maps *out)
{
    const osp_box_head_attrs *attrs = p->attrs;
    if (attrs->form != OSP_BOX_XYWH || attrs->turned || osp_operand_count(p->dst) == 0)
        return false;
    *out = ((const head *)state)->args.maps;
    point_maps(out, p, l);
    return true;
}

const osp_tactic osp_cuda_box_head = {.name = "box_head",
                                      .refuse = refuse_box_head,
                                      .prepare = prepare_box_head,
                                      .launch = launch_box_head,
                                      .maps = box_head_maps,
                                      .release = osp_cuda_release};
