// The reference backend: every operator by its own plain kernel, the graph as the file has it.
// Slow and obvious; the oracle of the others. Thread rule: see tactic.h.
#include "backends/backend.h"

#include <stdio.h>
#include <string.h>

static const char *refuse(const osp_problem *p)
{
    if (!p->op->reference)
        return "the operator has no reference kernel";
    if (p->src_count > OSP_MAX_OPERANDS || p->dst_count > OSP_MAX_OPERANDS)
        return "more than 64 operands";
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        const osp_operand *o = i < p->src_count ? p->src + i : p->dst + (i - p->src_count);
        if (o->dtype && (o->layout != OSP_LAYOUT_PLAIN || !osp_operand_dense(o)))
            return "an operand is not plain and dense";
    }
    return NULL;
}

static osp_view view_of(const osp_operand *o, void *data)
{
    return o->dtype ? (osp_view){o->dtype, o->shape, data} : (osp_view){0};
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)state;
    osp_view src[OSP_MAX_OPERANDS], dst[OSP_MAX_OPERANDS];
    for (int32_t i = 0; i < p->src_count; i++)
        src[i] = view_of(p->src + i, l->src[i]);
    for (int32_t i = 0; i < p->dst_count; i++)
        dst[i] = view_of(p->dst + i, l->dst[i]);
    const osp_call call = {p->attrs, p->src_count, p->dst_count, src, dst};
    return p->op->reference(&call, err);
}

const osp_tactic osp_tactic_ref = {.name = "ref", .refuse = refuse, .launch = launch};

static const char *probe(osp_context *ctx, int32_t device, char *reason, size_t size)
{
    (void)ctx;
    (void)device;
    (void)reason;
    (void)size;
    return NULL;
}

static void device_key(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size)
{
    (void)ctx;
    (void)device;
    (void)threads;
    snprintf(key, size, "reference");
}

static const osp_tactic *const *tactics(const osp_op *op)
{
    static const osp_tactic *const list[] = {&osp_tactic_ref, NULL};
    (void)op;
    return list;
}

const osp_backend_def osp_backend_reference = {
    .id = OSP_BACKEND_REFERENCE,
    .name = "reference",
    .probe = probe,
    .device_key = device_key,
    .tactics = tactics,
};
