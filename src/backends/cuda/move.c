// Operators that only move elements: strided copies, wide where the innermost runs allow, and tiled
// where they are transpositions; Pad and resizing to nearest pixels through tables of offsets that
// are worked out at build; ranges and constants.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/moves.h"
#include "ops/generate.h"
#include "ops/move.h"
#include "ops/resize.h"
#include "ops/view.h"

enum { BLOCK = 256, SHORT_SIDE = 8 };

// ---- Copies -------------------------------------------------------------------------------------

// Tiles pay off when both sides are long enough to fill them.
static bool is_transposition(const osp_copy *c)
{
    const int32_t last = c->rank - 1;
    return c->rank > 1 && c->size <= 8 && c->dst_strides[last] == 1 &&
           c->src_strides[last - 1] == 1 && c->src_strides[last] > 1 &&
           c->dims[last] >= SHORT_SIDE && c->dims[last - 1] >= SHORT_SIDE;
}

static void transpose_of(osp_cuda_transpose_args *t, const osp_copy *c)
{
    const int32_t last = c->rank - 1;
    osp_cuda_dims batch = {0};
    for (int32_t i = 0; i < last - 1; i++)
        osp_cuda_dims_add(&batch, c->dims[i],
                          (const int64_t[]){c->dst_strides[i], c->src_strides[i]}, 2);
    osp_cuda_dims_settle(&batch, -1);
    osp_cuda_walk_of(&t->batch, &batch);
    t->rows = c->dims[last - 1];
    t->columns = c->dims[last];
    t->dst_step = c->dst_strides[last - 1];
    t->src_step = c->src_strides[last];
    t->row_tiles = osp_cuda_divisor_of((t->rows + OSP_CUDA_TILE - 1) / OSP_CUDA_TILE);
    t->column_tiles = osp_cuda_divisor_of((t->columns + OSP_CUDA_TILE - 1) / OSP_CUDA_TILE);
}

void osp_cuda_copy_of(osp_cuda_copy *c, const osp_copy *copy)
{
    *c = (osp_cuda_copy){.size = copy->size, .unit = 1};
    osp_cuda_dims d = {0};
    for (int32_t i = 0; i < copy->rank; i++)
        osp_cuda_dims_add(&d, copy->dims[i],
                          (const int64_t[]){copy->dst_strides[i], copy->src_strides[i]}, 2);
    osp_cuda_walk_of(&c->narrow.walk, &d);
    if (!c->narrow.walk.count)
        return;
    c->turned = is_transposition(copy);
    if (c->turned)
        transpose_of(&c->transpose, copy);
    c->unit = osp_cuda_unit(&d, 3, 0, c->size);
    osp_cuda_dims_widen(&d, 3, c->unit);
    osp_cuda_walk_of(&c->wide.walk, &d);
}

osp_status osp_cuda_copy_launch(const osp_cuda_copy *c, const osp_launch *l, void *dst,
                                const void *src, osp_error *err)
{
    if (!c->narrow.walk.count)
        return OSP_OK;
    if (c->turned) {
        osp_cuda_transpose_args t = c->transpose;
        t.dst = dst;
        t.src = src;
        const osp_gpu_shape shape = {
            .grid = {t.batch.count * t.row_tiles.value * t.column_tiles.value},
            .block = {OSP_CUDA_TILE, 8}};
        return osp_cuda_launch(l, osp_cuda_k_transpose + osp_cuda_by_size(c->size), &shape, &t,
                               sizeof t, err);
    }
    const size_t wide = c->size * (size_t)c->unit;
    const bool aligned = osp_cuda_aligned(dst, wide) && osp_cuda_aligned(src, wide);
    osp_cuda_copy_args a = aligned ? c->wide : c->narrow;
    a.dst = dst;
    a.src = src;
    return osp_cuda_each(l, osp_cuda_k_copy + osp_cuda_by_size(aligned ? wide : c->size),
                         a.walk.count, BLOCK, &a, sizeof a, err);
}

// ---- Movers -------------------------------------------------------------------------------------

typedef struct part {
    osp_cuda_copy copy;
    int32_t src, dst;
    int64_t src_offset, dst_offset;  // bytes
} part;

typedef struct moves {
    int32_t count;
    part parts[];
} moves;

static const char *refuse_move(const osp_problem *p)
{
    const char *why = osp_cuda_refuse(p);
    // Of a reshape, the rows count and not the dims.
    return why && !p->op->same_bytes ? why : osp_moves_refuse(p);
}

static osp_status prepare_move(const osp_problem *p, osp_context *ctx, int32_t threads,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    osp_moves *m;
    OSP_TRY(osp_moves_of(p, ctx, &m, err));
    const osp_status status = osp_cuda_state(ctx, sizeof(moves) + (size_t)m->count * sizeof(part),
                                             state, err);
    moves *out = *state;
    for (int32_t i = 0; !status && i < m->count; i++) {
        const osp_move *from = m->parts + i;
        const int64_t size = (int64_t)from->copy.size;
        part *to = out->parts + i;
        *to = (part){.src = from->src,
                     .dst = from->dst,
                     .src_offset = from->src_offset * size,
                     .dst_offset = from->dst_offset * size};
        osp_cuda_copy_of(&to->copy, &from->copy);
        out->count++;
    }
    osp_mem_free(&ctx->mem, m);
    return status;
}

static osp_status launch_move(const osp_problem *p, void *state, const osp_launch *l,
                              osp_error *err)
{
    (void)p;
    const moves *m = state;
    for (int32_t i = 0; i < m->count; i++) {
        const part *at = m->parts + i;
        char *dst = l->dst[at->dst];
        const char *src = l->src[at->src];
        if (!dst || !src)
            continue;
        dst += at->dst_offset;
        src += at->src_offset;
        if (dst != src)  // else it is a slice that was written in place
            OSP_TRY(osp_cuda_copy_launch(&at->copy, l, dst, src, err));
    }
    return OSP_OK;
}

const osp_tactic osp_cuda_move = {.name = "move",
                                  .refuse = refuse_move,
                                  .prepare = prepare_move,
                                  .launch = launch_move,
                                  .release = osp_cuda_release};

// ---- Through tables: Pad, and Resize to the nearest pixel ----------------------------------------

// packed: 16 bytes of the constant, then the tables.
enum { CONSTANT_BYTES = 16 };

typedef struct tables {
    size_t size;
    osp_cuda_table_args narrow, wide;
    int64_t unit;
    bool constant_packed;         // else it is source 2
    int32_t axis[OSP_CUDA_DIMS];  // logical axis of each dim of the walk
    int64_t step[OSP_CUDA_DIMS];  // of the source along it
} tables;

static bool is_pad(const osp_problem *p)
{
    return !strcmp(p->op->type, "Pad");
}

// Source position of destination position i of an axis; -1: the constant.
static int64_t position(const osp_problem *p, int32_t axis, int64_t i)
{
    const int64_t in = p->src->shape.dims[axis], out = p->dst->shape.dims[axis];
    if (is_pad(p))
        return osp_pad_source(p->attrs, axis, in, i);
    osp_resize_taps t = {0};
    osp_resize_taps_of(p->attrs, axis, in, out, i, &t);
    return t.outside ? -1 : osp_i64_max(0, osp_i64_min(in - 1, t.first));
}

static bool is_straight(const osp_problem *p, int32_t axis)
{
    if (p->src->shape.dims[axis] != p->dst->shape.dims[axis])
        return false;
    for (int64_t i = 0; i < p->dst->shape.dims[axis]; i++)
        if (position(p, axis, i) != i)
            return false;
    return true;
}

// Axes with long steps of the destination outside. Returns how many there are.
static int32_t order_axes(const osp_problem *p, const int64_t *to, int32_t *axes)
{
    const int32_t rank = p->dst->shape.rank;
    for (int32_t i = 0; i < rank; i++) {
        int32_t k = i;
        for (; k > 0 && to[axes[k - 1]] < to[i]; k--)
            axes[k] = axes[k - 1];
        axes[k] = i;
    }
    return rank;
}

static osp_status prepare_tables(const osp_problem *p, osp_context *ctx, int32_t threads,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    OSP_TRY(osp_cuda_state(ctx, sizeof(tables), state, err));
    tables *t = *state;
    int64_t from[OSP_MAX_RANK], to[OSP_MAX_RANK], entries = 0;
    int32_t axes[OSP_MAX_RANK] = {0};
    osp_operand_strides(p->src, from);
    osp_operand_strides(p->dst, to);
    osp_cuda_dims d = {0};
    const int32_t rank = order_axes(p, to, axes);
    for (int32_t i = 0; i < rank; i++) {
        const int32_t axis = axes[i];
        osp_cuda_dims_add(&d, p->dst->shape.dims[axis], (const int64_t[]){to[axis], from[axis]}, 2);
        t->axis[i] = axis;
        t->step[i] = from[axis];
        t->narrow.table[i] = -1;
        if (is_straight(p, axis))
            continue;
        t->narrow.table[i] = (int32_t)entries;
        entries += p->dst->shape.dims[axis];
    }
    t->size = osp_dtype_bytes(p->dst->dtype);
    if (rank == 0)
        osp_cuda_dims_add(&d, 1, (const int64_t[]){0, 0}, 2), t->narrow.table[0] = -1;
    osp_cuda_walk_of(&t->narrow.walk, &d);
    t->constant_packed = !(is_pad(p) && p->src_count > 2 && p->src[2].dtype &&
                           osp_operand_count(p->src + 2) > 0 && !p->src[2].constant);
    t->wide = t->narrow;
    t->unit = t->constant_packed && t->narrow.table[d.rank - 1] < 0 && t->narrow.walk.count
                  ? osp_cuda_unit(&d, 3, 0, t->size)
                  : 1;
    // Offsets of the source stay in elements: only the destination's are in wide ones.
    osp_cuda_dims_widen(&d, 1, t->unit);
    d.strides[1][d.rank - 1] *= t->unit;
    osp_cuda_walk_of(&t->wide.walk, &d);
    for (int64_t u = t->unit; u > 1; u /= 2)
        t->wide.shift++;
    sizes->packed_bytes = CONSTANT_BYTES + (size_t)entries * sizeof(int32_t);
    return OSP_OK;
}

static void pack_constant(const osp_problem *p, const void *const *src, uint8_t *out)
{
    const size_t size = osp_dtype_bytes(p->dst->dtype);
    int64_t element = 0;
    if (is_pad(p) && p->src_count > 2 && p->src[2].dtype && src[2] &&
        osp_operand_count(p->src + 2) > 0)
        memcpy(&element, src[2], size);
    else
        osp_store_float(p->dst->dtype, &element, 0,
                        is_pad(p) ? ((const osp_pad_attrs *)p->attrs)->value
                                  : ((const osp_resize_attrs *)p->attrs)->extrapolation_value);
    for (size_t i = 0; i < CONSTANT_BYTES; i += size)
        memcpy(out + i, &element, size);
}

static osp_status pack_tables(const osp_problem *p, void *state, const void *const *src,
                              void *packed, osp_error *err)
{
    (void)err;
    const tables *t = state;
    pack_constant(p, src, packed);
    int32_t *out = (int32_t *)(void *)((char *)packed + CONSTANT_BYTES);
    for (int32_t i = 0; i < t->narrow.walk.rank; i++)
        for (uint32_t k = 0;
             t->narrow.table[i] >= 0 && k < t->narrow.walk.dims[i].value && t->narrow.walk.count;
             k++) {
            const int64_t at = position(p, t->axis[i], k);
            out[t->narrow.table[i] + (int64_t)k] = at < 0 ? -1 : (int32_t)(at * t->step[i]);
        }
    return OSP_OK;
}

static osp_status launch_tables(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)p;
    const tables *t = state;
    const size_t wide = t->size * (size_t)t->unit;
    const bool aligned = osp_cuda_aligned(l->dst[0], wide) && osp_cuda_aligned(l->src[0], wide);
    osp_cuda_table_args a = aligned ? t->wide : t->narrow;
    a.dst = l->dst[0];
    a.src = l->src[0];
    a.constant = t->constant_packed ? l->packed : l->src[2];
    a.tables = (const int32_t *)(const void *)((const char *)l->packed + CONSTANT_BYTES);
    return osp_cuda_each(l, osp_cuda_k_table + osp_cuda_by_size(aligned ? wide : t->size),
                         a.walk.count, BLOCK, &a, sizeof a, err);
}

const osp_tactic osp_cuda_pad = {.name = "pad",
                                 .refuse = osp_cuda_refuse,
                                 .prepare = prepare_tables,
                                 .pack = pack_tables,
                                 .launch = launch_tables,
                                 .release = osp_cuda_release};

static const char *refuse_nearest(const osp_problem *p)
{
    const osp_resize_attrs *a = p->attrs;
    if (a->mode != OSP_RESIZE_NEAREST)
        return "several pixels give one";
    return osp_cuda_refuse(p);
}

const osp_tactic osp_cuda_resize_nearest = {.name = "resize_nearest",
                                            .refuse = refuse_nearest,
                                            .prepare = prepare_tables,
                                            .pack = pack_tables,
                                            .launch = launch_tables,
                                            .release = osp_cuda_release};

// ---- Range, ConstantOfShape, Shape --------------------------------------------------------------

static osp_status launch_range(const osp_problem *p, void *state, const osp_launch *l,
                               osp_error *err)
{
    (void)state;
    const osp_cuda_range_args a = {.dst = l->dst[0],
                                   .start = l->src[0],
                                   .delta = l->src[2],
                                   .count = (uint32_t)osp_operand_count(p->dst),
                                   .dtype = (int32_t)p->dst->dtype};
    return osp_cuda_each(l, osp_cuda_k_range, a.count, BLOCK, &a, sizeof a, err);
}

static const char *refuse_generated(const osp_problem *p)
{
    return osp_operand_dense(p->dst) ? osp_cuda_refuse(p) : "the destination is a slice";
}

const osp_tactic osp_cuda_range = {.name = "range",
                                   .refuse = refuse_generated,
                                   .launch = launch_range};

static bool is_shape(const osp_problem *p)
{
    return !strcmp(p->op->type, "Shape");
}

static osp_status prepare_constant(const osp_problem *p, osp_context *ctx, int32_t threads,
                                   void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    OSP_TRY(osp_cuda_state(ctx, sizeof(osp_cuda_copy), state, err));
    osp_copy c = {.size = osp_dtype_bytes(p->dst->dtype)};
    osp_copy_add_dim(&c, osp_operand_count(p->dst), 1, is_shape(p) ? 1 : 0);
    osp_copy_settle(&c);
    osp_cuda_copy_of(*state, &c);
    sizes->packed_bytes = OSP_MAX_RANK * sizeof(int64_t);
    return OSP_OK;
}

static osp_status pack_constant_of(const osp_problem *p, void *state, const void *const *src,
                                   void *packed, osp_error *err)
{
    (void)state;
    (void)src;
    (void)err;
    memset(packed, 0, OSP_MAX_RANK * sizeof(int64_t));
    if (is_shape(p)) {
        const osp_shape_attrs *a = p->attrs;
        for (int64_t d = a->start; d < a->end; d++)
            memcpy((int64_t *)packed + (d - a->start), &p->src->shape.dims[d], sizeof(int64_t));
    } else {
        memcpy(packed, ((const osp_constant_of_shape_attrs *)p->attrs)->value.bytes, 8);
    }
    return OSP_OK;
}

static osp_status launch_constant(const osp_problem *p, void *state, const osp_launch *l,
                                  osp_error *err)
{
    (void)p;
    return osp_cuda_copy_launch(state, l, l->dst[0], l->packed, err);
}

const osp_tactic osp_cuda_constant = {.name = "constant",
                                      .refuse = refuse_generated,
                                      .prepare = prepare_constant,
                                      .pack = pack_constant_of,
                                      .launch = launch_constant,
                                      .release = osp_cuda_release};
