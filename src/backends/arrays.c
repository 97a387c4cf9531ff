// Operands as strides: broadcasting, slices and layouts become element strides, and dims that all
// operands walk alike become one. Thread rule: no state.
#include "backends/arrays.h"

#include <string.h>

bool osp_operand_strides(const osp_operand *o, int64_t strides[OSP_MAX_RANK])
{
    const osp_shape *s = &o->shape;
    memset(strides, 0, OSP_MAX_RANK * sizeof *strides);
    if (o->layout == OSP_LAYOUT_CHANNELS_LAST) {
        strides[1] = 1;
        strides[3] = o->pitch;
        strides[2] = s->dims[3] * o->pitch;
        strides[0] = s->dims[2] * strides[2];
        return true;
    }
    int64_t step = 1;
    bool stepped = osp_operand_dense(o);
    for (int32_t d = s->rank - 1; d >= 0; d--) {
        if (!stepped && step == o->row) {
            step = o->pitch;
            stepped = true;
        }
        strides[d] = step;
        step *= s->dims[d];
    }
    return stepped || step == o->row;
}

const char *osp_refuse_not_plain(const osp_problem *p)
{
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        const osp_operand *o = i < p->src_count ? p->src + i : p->dst + (i - p->src_count);
        if (o->dtype && (o->layout != OSP_LAYOUT_PLAIN || !osp_operand_dense(o)))
            return "an operand is not plain and dense";
    }
    return NULL;
}

void osp_copy_add_dim(osp_copy *c, int64_t dim, int64_t dst_stride, int64_t src_stride)
{
    c->dims[c->rank] = dim;
    c->dst_strides[c->rank] = dst_stride;
    c->src_strides[c->rank++] = src_stride;
}

static void drop_dim(osp_copy *c, int32_t at)
{
    c->rank--;
    for (int32_t d = at; d < c->rank; d++) {
        c->dims[d] = c->dims[d + 1];
        c->dst_strides[d] = c->dst_strides[d + 1];
        c->src_strides[d] = c->src_strides[d + 1];
    }
}

static void swap_dims(osp_copy *c, int32_t a, int32_t b)
{
    int64_t *const lists[] = {c->dims, c->dst_strides, c->src_strides};
    for (int32_t i = 0; i < 3; i++) {
        const int64_t t = lists[i][a];
        lists[i][a] = lists[i][b];
        lists[i][b] = t;
    }
}

void osp_copy_settle(osp_copy *c)
{
    bool empty = false;
    for (int32_t d = c->rank - 1; d >= 0; d--) {
        empty |= c->dims[d] == 0;
        if (c->dims[d] == 1)
            drop_dim(c, d);
    }
    if (empty) {
        c->rank = 1;
        c->dims[0] = 0;
        return;
    }
    // Long destination steps outside: writes are in order.
    for (int32_t i = 1; i < c->rank; i++)
        for (int32_t k = i; k > 0 && c->dst_strides[k - 1] < c->dst_strides[k]; k--)
            swap_dims(c, k - 1, k);
    for (int32_t d = c->rank - 2; d >= 0; d--)
        if (c->dst_strides[d] == c->dims[d + 1] * c->dst_strides[d + 1] &&
            c->src_strides[d] == c->dims[d + 1] * c->src_strides[d + 1]) {
            c->dims[d + 1] *= c->dims[d];
            drop_dim(c, d);
        }
    if (c->rank == 0)
        osp_copy_add_dim(c, 1, 1, 1);
    // A transposition: the dim that is dense in the source comes last but one.
    const int32_t last = c->rank - 1;
    if (c->rank > 1 && c->src_strides[last] != 1 && c->dst_strides[last] == 1)
        for (int32_t d = last - 1; d >= 0; d--)
            if (c->src_strides[d] == 1) {
                for (int32_t k = d; k < last - 1; k++)
                    swap_dims(c, k, k + 1);
                break;
            }
}

// ---- Rows ---------------------------------------------------------------------------------------

static void drop_row_dim(osp_rows *r, int32_t at)
{
    r->rank--;
    for (int32_t d = at; d < r->rank; d++) {
        r->dims[d] = r->dims[d + 1];
        r->dst[d] = r->dst[d + 1];
        for (int32_t k = 0; k < r->sources; k++)
            r->src[k][d] = r->src[k][d + 1];
    }
}

static void swap_row_dims(osp_rows *r, int32_t a, int32_t b)
{
    int64_t *const lists[] = {r->dims, r->dst, r->src[0], r->src[1], r->src[2]};
    for (int32_t i = 0; i < 2 + r->sources; i++) {
        const int64_t t = lists[i][a];
        lists[i][a] = lists[i][b];
        lists[i][b] = t;
    }
}

static bool mergeable(const osp_rows *r, int32_t d)
{
    bool yes = r->dst[d] == r->dims[d + 1] * r->dst[d + 1];
    for (int32_t k = 0; k < r->sources; k++)
        yes &= r->src[k][d] == r->dims[d + 1] * r->src[k][d + 1];
    return yes;
}

bool osp_rows_of(osp_rows *r, const osp_operand *dst, const osp_operand *src, int32_t sources)
{
    *r = (osp_rows){.rank = dst->shape.rank, .sources = sources};
    memcpy(r->dims, dst->shape.dims, sizeof r->dims);
    r->dst_bytes = osp_dtype_bytes(dst->dtype);
    bool yes = osp_operand_strides(dst, r->dst);
    for (int32_t k = 0; k < sources; k++) {
        int64_t strides[OSP_MAX_RANK];
        yes &= osp_operand_strides(src + k, strides);
        r->src_bytes[k] = osp_dtype_bytes(src[k].dtype);
        const int32_t lead = r->rank - src[k].shape.rank;
        for (int32_t d = 0; d < r->rank; d++) {
            const bool there = d >= lead && src[k].shape.dims[d - lead] == r->dims[d];
            r->src[k][d] = there ? strides[d - lead] : 0;
        }
    }
    for (int32_t d = r->rank - 1; d >= 0; d--)
        if (r->dims[d] == 1)
            drop_row_dim(r, d);
    for (int32_t i = 1; i < r->rank; i++)
        for (int32_t k = i; k > 0 && r->dst[k - 1] < r->dst[k]; k--)
            swap_row_dims(r, k - 1, k);
    for (int32_t d = r->rank - 2; d >= 0; d--)
        if (mergeable(r, d)) {
            r->dims[d + 1] *= r->dims[d];
            drop_row_dim(r, d);
        }
    if (r->rank == 0) {
        r->rank = 1;
        r->dims[0] = 1;
        r->dst[0] = 1;
        for (int32_t k = 0; k < sources; k++)
            r->src[k][0] = 1;
    }
    return yes;
}
