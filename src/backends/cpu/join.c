// Operators that only move elements, as strided copies prepared once (backends/moves.h), and Pad with
// a constant.
#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/moves.h"
#include "base/half.h"
#include "ops/move.h"
#include "ops/view.h"

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    (void)p;
    const osp_moves *m = state;
    for (int32_t i = 0; i < m->count; i++) {
        const osp_move *at = m->parts + i;
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

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    osp_moves *m;
    OSP_TRY(osp_moves_of(p, ctx, &m, err));
    *state = m;
    return OSP_OK;
}

const osp_tactic osp_cpu_copy = {.name = "copy",
                                 .refuse = osp_moves_refuse,
                                 .prepare = prepare,
                                 .launch = launch,
                                 .release = release};

// ---- Concat and Split ---------------------------------------------------------------------------

static const char *refuse_join(const osp_problem *p)
{
    const osp_layout layout = p->src->layout;
    for (int32_t i = 0; i < p->src_count; i++)
        if (p->src[i].dtype == p->src->dtype && !p->op->shape_inputs && p->src[i].layout != layout)
            return "layouts differ";
    for (int32_t i = 0; i < p->dst_count; i++)
        if (p->dst[i].dtype && p->dst[i].layout != layout)
            return "layouts differ";
    return osp_refuse_slices(p);
}

const osp_tactic osp_cpu_concat = {.name = "concat",
                                   .refuse = refuse_join,
                                   .prepare = prepare,
                                   .launch = launch,
                                   .release = release};
const osp_tactic osp_cpu_split = {.name = "split",
                                  .refuse = refuse_join,
                                  .prepare = prepare,
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
    return osp_refuse_slices(p);
}

static osp_status prepare_pad(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                              osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    (void)sizes;
    osp_moves *m;
    OSP_TRY(osp_moves_new(ctx, 1, osp_dtype_bytes(p->dst->dtype), &m, err));
    const osp_pad_attrs *a = p->attrs;
    osp_move *at = m->parts;
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
