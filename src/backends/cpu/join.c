// Operators that only move elements, each as a few strided copies prepared once: Concat, Split,
// Slice, Transpose, Expand, Tile, Reshape and its kin, Reorder, Identity, Pad with a constant.
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/half.h"
#include "ops/move.h"
#include "ops/view.h"

typedef struct part {
    osp_copy copy;
    int32_t src, dst;
    int64_t src_offset, dst_offset;  // elements
} part;

typedef struct moves {
    int32_t count;
    part parts[];
} moves;

static bool is(const osp_problem *p, const char *type)
{
    return !strcmp(p->op->type, type);
}

static const char *refuse_strides(const osp_problem *p)
{
    int64_t strides[OSP_MAX_RANK];
    for (int32_t i = 0; i < p->src_count; i++)
        if (p->src[i].dtype && !osp_operand_strides(p->src + i, strides))
            return "a source slice falls on no dims";
    for (int32_t i = 0; i < p->dst_count; i++)
        if (p->dst[i].dtype && !osp_operand_strides(p->dst + i, strides))
            return "a destination slice falls on no dims";
    return NULL;
}

static osp_status new_moves(osp_context *ctx, int32_t count, size_t size, moves **out,
                            osp_error *err)
{
    *out = osp_mem_calloc(&ctx->mem, 1, sizeof **out + (size_t)count * sizeof(part));
    if (!*out)
        OSP_FAIL_MEMORY(err);
    (*out)->count = count;
    for (int32_t i = 0; i < count; i++)
        (*out)->parts[i].copy.size = size;
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    (void)p;
    const moves *m = state;
    for (int32_t i = 0; i < m->count; i++) {
        const part *at = m->parts + i;
        const int64_t size = (int64_t)at->copy.size;
        char *dst = l->dst[at->dst];
        const char *src = l->src[at->src];
        if (!dst || !src)
            continue;
        dst += at->dst_offset * size;
        src += at->src_offset * size;
        if (dst != src)  // else it is a slice that was written in place
            osp_copy_run(&at->copy, dst, src, l->threads);
    }
    return OSP_OK;
}

// ---- One source, one destination, index by index ------------------------------------------------

static const char *refuse_copy(const osp_problem *p)
{
    const osp_operand *src = p->src, *dst = p->dst;
    if (src->dtype != dst->dtype)
        return "types differ";
    const bool reshaped = p->op->same_bytes && !osp_shape_equal(&src->shape, &dst->shape);
    if (reshaped && (src->layout != OSP_LAYOUT_PLAIN || dst->layout != OSP_LAYOUT_PLAIN))
        return "a reshape of channels last";
    if (reshaped && !osp_operand_dense(src) && !osp_operand_dense(dst) && src->row != dst->row)
        return "a reshape between two kinds of slices";
    return refuse_strides(p);
}

// Dims and strides of a reshape: rows of whichever side is a slice.
static void reshape_dims(const osp_problem *p, osp_copy *c)
{
    const osp_operand *src = p->src, *dst = p->dst;
    const int64_t count = osp_operand_count(dst);
    const int64_t row = !osp_operand_dense(src) ? src->row : dst->row;
    if (!count || !row) {
        osp_copy_add_dim(c, 0, 1, 1);
        return;
    }
    osp_copy_add_dim(c, count / row, osp_operand_dense(dst) ? row : dst->pitch,
                     osp_operand_dense(src) ? row : src->pitch);
    osp_copy_add_dim(c, row, 1, 1);
}

static void tile_dims(const osp_problem *p, const int64_t *to, const int64_t *from, osp_copy *c)
{
    const osp_shape *s = &p->src->shape, *d = &p->dst->shape;
    for (int32_t i = 0; i < d->rank; i++) {
        const int64_t dim = s->dims[i];
        osp_copy_add_dim(c, dim ? d->dims[i] / dim : 0, to[i] * dim, 0);
        osp_copy_add_dim(c, dim, to[i], from[i]);
    }
}

static osp_status prepare_copy(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    moves *m;
    OSP_TRY(new_moves(ctx, 1, osp_dtype_bytes(p->dst->dtype), &m, err));
    part *at = m->parts;
    const osp_shape *s = &p->src->shape, *d = &p->dst->shape;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    if (p->op->same_bytes && !osp_shape_equal(s, d)) {
        reshape_dims(p, &at->copy);
    } else if (is(p, "Tile")) {
        tile_dims(p, to, from, &at->copy);
    } else {
        for (int32_t i = 0; i < d->rank; i++) {
            int64_t step = 0;
            if (is(p, "Transpose")) {
                const osp_transpose_attrs *a = p->attrs;
                step = from[a->resolved_perm[i]];
            } else if (is(p, "Slice")) {
                const osp_slice_attrs *a = p->attrs;
                at->src_offset += a->start[i] * from[i];
                step = a->step[i] * from[i];
            } else {  // as it is, or broadcast
                const int32_t k = i - (d->rank - s->rank);
                step = k >= 0 && s->dims[k] == d->dims[i] ? from[k] : 0;
            }
            osp_copy_add_dim(&at->copy, d->dims[i], to[i], step);
        }
    }
    osp_copy_settle(&at->copy);
    *state = m;
    return OSP_OK;
}

const osp_tactic osp_cpu_copy = {.name = "copy",
                                 .refuse = refuse_copy,
                                 .prepare = prepare_copy,
                                 .launch = launch,
                                 .release = release};

// ---- Concat and Split ---------------------------------------------------------------------------

static const char *refuse_layouts(const osp_problem *p)
{
    for (int32_t i = 0; i < p->dst_count; i++)
        if (p->dst[i].dtype && p->dst[i].layout != p->src->layout)
            return "layouts differ";
    return refuse_strides(p);
}

static const char *refuse_concat(const osp_problem *p)
{
    for (int32_t i = 0; i < p->src_count; i++)
        if (p->src[i].layout != p->dst->layout)
            return "layouts differ";
    return refuse_strides(p);
}

// Copies `part_of`'s dims between two operands of the same rank.
static void join_dims(part *at, const osp_shape *dims, const int64_t *to, const int64_t *from)
{
    for (int32_t d = 0; d < dims->rank; d++)
        osp_copy_add_dim(&at->copy, dims->dims[d], to[d], from[d]);
    osp_copy_settle(&at->copy);
}

static osp_status prepare_concat(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    moves *m;
    OSP_TRY(new_moves(ctx, p->src_count, osp_dtype_bytes(p->dst->dtype), &m, err));
    const int32_t axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], start = 0;
    osp_operand_strides(p->dst, to);
    for (int32_t i = 0; i < p->src_count; i++) {
        part *at = m->parts + i;
        at->src = i;
        at->dst_offset = start * to[axis];
        osp_operand_strides(p->src + i, from);
        join_dims(at, &p->src[i].shape, to, from);
        start += p->src[i].shape.dims[axis];
    }
    *state = m;
    return OSP_OK;
}

static osp_status prepare_split(const osp_problem *p, osp_context *ctx, int32_t threads,
                                void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    moves *m;
    OSP_TRY(new_moves(ctx, p->dst_count, osp_dtype_bytes(p->src->dtype), &m, err));
    const int32_t axis = ((const osp_split_attrs *)p->attrs)->resolved_axis;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], start = 0;
    osp_operand_strides(p->src, from);
    for (int32_t i = 0; i < p->dst_count; i++) {
        part *at = m->parts + i;
        at->dst = i;
        if (!p->dst[i].dtype)
            continue;
        at->src_offset = start * from[axis];
        osp_operand_strides(p->dst + i, to);
        join_dims(at, &p->dst[i].shape, to, from);
        start += p->dst[i].shape.dims[axis];
    }
    *state = m;
    return OSP_OK;
}

static const char *refuse_split(const osp_problem *p)
{
    for (int32_t i = 0; i < p->dst_count; i++)
        if (!p->dst[i].dtype)
            return "an output is left out";
    return refuse_layouts(p);
}

const osp_tactic osp_cpu_concat = {.name = "concat",
                                   .refuse = refuse_concat,
                                   .prepare = prepare_concat,
                                   .launch = launch,
                                   .release = release};
const osp_tactic osp_cpu_split = {.name = "split",
                                  .refuse = refuse_split,
                                  .prepare = prepare_split,
                                  .launch = launch,
                                  .release = release};

// ---- Pad with a constant ------------------------------------------------------------------------

static const char *refuse_pad(const osp_problem *p)
{
    const osp_pad_attrs *a = p->attrs;
    if (a->mode != OSP_PAD_CONSTANT)
        return "not padded by a constant";
    if (!osp_operand_is(p->src, OSP_DTYPE_FLOAT32) && !osp_operand_is(p->src, OSP_DTYPE_BFLOAT16))
        return "neither FP32 nor bfloat16";
    if (p->src->layout != p->dst->layout)
        return "layouts differ";
    if (!osp_operand_dense(p->dst))
        return "the destination is a slice";
    return refuse_strides(p);
}

static osp_status prepare_pad(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                              osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    moves *m;
    OSP_TRY(new_moves(ctx, 1, osp_dtype_bytes(p->dst->dtype), &m, err));
    const osp_pad_attrs *a = p->attrs;
    part *at = m->parts;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    for (int32_t d = 0; d < p->src->shape.rank; d++) {
        const int64_t skip = a->before[d] < 0 ? -a->before[d] : 0;
        const int64_t cut = a->after[d] < 0 ? -a->after[d] : 0;
        at->src_offset += skip * from[d];
        at->dst_offset += (a->before[d] > 0 ? a->before[d] : 0) * to[d];
        osp_copy_add_dim(&at->copy, osp_i64_max(0, p->src->shape.dims[d] - skip - cut), to[d],
                         from[d]);
    }
    osp_copy_settle(&at->copy);
    *state = m;
    return OSP_OK;
}

typedef struct fill {
    void *dst;
    osp_dtype dtype;
    float value;
} fill;

static void fill_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const fill *f = user;
    if (f->dtype == OSP_DTYPE_FLOAT32) {
        for (int64_t i = begin; i < end; i++)
            ((float *)f->dst)[i] = f->value;
        return;
    }
    const uint16_t value = osp_float_to_bfloat(f->value);
    for (int64_t i = begin; i < end; i++)
        ((uint16_t *)f->dst)[i] = value;
}

static osp_status launch_pad(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    const osp_pad_attrs *a = p->attrs;
    fill f = {l->dst[0], p->dst->dtype, a->value};
    if (p->src_count > 2 && p->src[2].dtype && l->src[2])
        f.value = osp_load_float(p->src[2].dtype, l->src[2], 0);
    osp_cpu_parallel(l->threads, osp_operand_count(p->dst), 0.3, fill_range, &f);
    return launch(p, state, l, err);
}

const osp_tactic osp_cpu_pad = {.name = "pad_constant",
                                .refuse = refuse_pad,
                                .prepare = prepare_pad,
                                .launch = launch_pad,
                                .release = release};
