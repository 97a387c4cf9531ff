// Movers as strided copies, worked out once at build. Thread rule: no state.
#include "backends/moves.h"

#include <string.h>

#include "ops/move.h"

static bool is(const osp_problem *p, const char *type)
{
    return !strcmp(p->op->type, type);
}

const char *osp_refuse_slices(const osp_problem *p)
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

osp_status osp_moves_new(osp_context *ctx, int32_t count, size_t size, osp_moves **out,
                         osp_error *err)
{
    *out = osp_mem_calloc(&ctx->mem, 1, sizeof **out + (size_t)count * sizeof(osp_move));
    if (!*out)
        OSP_FAIL_MEMORY(err);
    (*out)->count = count;
    for (int32_t i = 0; i < count; i++)
        (*out)->parts[i].copy.size = size;
    return OSP_OK;
}

static bool is_reshape(const osp_problem *p)
{
    return p->op->same_bytes && !osp_shape_equal(&p->src->shape, &p->dst->shape);
}

const char *osp_moves_refuse(const osp_problem *p)
{
    const osp_operand *src = p->src, *dst = p->dst;
    for (int32_t i = 0; i < p->dst_count; i++)
        if (dst[i].dtype && src->dtype != dst[i].dtype)
            return "types differ";
    if (is_reshape(p)) {
        if (src->layout != OSP_LAYOUT_PLAIN || dst->layout != OSP_LAYOUT_PLAIN)
            return "a reshape of channels last";
        if (!osp_operand_dense(src) && !osp_operand_dense(dst) && src->row != dst->row)
            return "a reshape between two kinds of slices";
        return NULL;
    }
    return osp_refuse_slices(p);
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

// One source, one destination, index by index.
static void copy_dims(const osp_problem *p, osp_move *at)
{
    const osp_shape *s = &p->src->shape, *d = &p->dst->shape;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK];
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    if (is_reshape(p)) {
        reshape_dims(p, &at->copy);
        return;
    }
    if (is(p, "Tile")) {
        tile_dims(p, to, from, &at->copy);
        return;
    }
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

// All dims of `part` between two operands of the same rank.
static void join_dims(osp_move *at, const osp_shape *part, const int64_t *to, const int64_t *from)
{
    for (int32_t d = 0; d < part->rank; d++)
        osp_copy_add_dim(&at->copy, part->dims[d], to[d], from[d]);
}

static void concat_dims(const osp_problem *p, osp_moves *m)
{
    const int32_t axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], start = 0;
    osp_operand_strides(p->dst, to);
    for (int32_t i = 0; i < p->src_count; i++) {
        osp_move *at = m->parts + i;
        at->src = i;
        at->dst_offset = start * to[axis];
        osp_operand_strides(p->src + i, from);
        join_dims(at, &p->src[i].shape, to, from);
        start += p->src[i].shape.dims[axis];
    }
}

static void split_dims(const osp_problem *p, osp_moves *m)
{
    const osp_split_attrs *a = p->attrs;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], start = 0;
    osp_operand_strides(p->src, from);
    for (int32_t i = 0; i < p->dst_count; i++) {
        osp_move *at = m->parts + i;
        at->dst = i;
        at->src_offset = start * from[a->resolved_axis];
        start += a->resolved_sizes[i];
        if (!p->dst[i].dtype) {  // left out
            osp_copy_add_dim(&at->copy, 0, 1, 1);
            continue;
        }
        osp_operand_strides(p->dst + i, to);
        join_dims(at, &p->dst[i].shape, to, from);
    }
}

osp_status osp_moves_of(const osp_problem *p, osp_context *ctx, osp_moves **out, osp_error *err)
{
    const bool concat = is(p, "Concat"), split = is(p, "Split");
    const int32_t count = concat ? p->src_count : split ? p->dst_count : 1;
    OSP_TRY(osp_moves_new(ctx, count, osp_dtype_bytes(p->src->dtype), out, err));
    if (concat)
        concat_dims(p, *out);
    else if (split)
        split_dims(p, *out);
    else
        copy_dims(p, (*out)->parts);
    for (int32_t i = 0; i < count; i++)
        osp_copy_settle(&(*out)->parts[i].copy);
    return OSP_OK;
}
