// Constant folding of single nodes. Constants of the file may be unaligned: those are copied for
// the time of the call. Thread rule: as osp_graph_infer.
#include "ops/fold.h"

osp_fold_budget osp_fold_budget_of(const osp_graph *graph)
{
    const double limit = (double)graph->ctx->limits.fold_elements;
    double constants = 0;
    for (size_t v = 0; v < graph->value_count; v++) {
        const osp_value *value = graph->values + v;
        size_t bytes;
        if (value->data && osp_shape_bytes(&value->shape, value->dtype, &bytes))
            constants += (double)bytes;
    }
    return (osp_fold_budget){limit, limit / 2 + 4 * constants};
}

static bool is_aligned(const osp_value *value)
{
    return (uintptr_t)value->data % osp_dtype_bytes(value->dtype) == 0;
}

// Operands of a node as the reference kernel wants them, while it is folded.
typedef struct fold {
    osp_view *views;  // inputs, then outputs
    void **copies;    // aligned copies of unaligned constants, by input
    osp_call call;
} fold;

static void fold_free(osp_mem *mem, const osp_node *node, fold *d)
{
    for (int32_t i = 0; d->copies && i < node->input_count; i++)
        osp_mem_free(mem, d->copies[i]);
    osp_mem_free(mem, d->copies);
    osp_mem_free(mem, d->views);
}

// Shapes only: enough for the estimate of the work.
static bool fold_shapes(osp_graph *graph, const osp_node *node, fold *d)
{
    const size_t count = (size_t)node->input_count + (size_t)node->output_count;
    d->views = osp_mem_calloc(&graph->ctx->mem, count, sizeof *d->views);
    d->copies = osp_mem_calloc(&graph->ctx->mem, (size_t)node->input_count + 1, sizeof(void *));
    if (!d->views || !d->copies)
        return false;
    osp_view *outputs = d->views + node->input_count;
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != OSP_NO_VALUE) {
            const osp_value *value = graph->values + node->inputs[i];
            d->views[i] = (osp_view){value->dtype, value->shape, NULL};
        }
    for (int32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE) {
            const osp_value *value = graph->values + node->outputs[i];
            outputs[i] = (osp_view){value->dtype, value->shape, NULL};
        }
    d->call = (osp_call){node->attrs, node->input_count, node->output_count, d->views, outputs};
    return true;
}

static bool fold_data(osp_graph *graph, const osp_node *node, fold *d)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == OSP_NO_VALUE)
            continue;
        const osp_value *value = graph->values + node->inputs[i];
        size_t bytes;
        d->views[i].data = (void *)(uintptr_t)value->data;  // kernels only read it
        if (!value->data || is_aligned(value))
            continue;
        if (!osp_shape_bytes(&value->shape, value->dtype, &bytes) ||
            !(d->copies[i] = osp_mem_alloc(&graph->ctx->mem, bytes)))
            return false;
        memcpy(d->copies[i], value->data, bytes);
        d->views[i].data = d->copies[i];
    }
    for (int32_t i = 0; i < node->output_count; i++) {
        osp_view *out = d->views + node->input_count + i;
        size_t bytes;
        if (out->dtype && (!osp_shape_bytes(&out->shape, out->dtype, &bytes) ||
                           !(out->data = osp_arena_alloc(&graph->arena, bytes))))
            return false;
    }
    return true;
}

static double fold_work(const osp_node *node, const fold *d)
{
    double in = 0, out = 0;
    for (int32_t i = 0; i < node->input_count; i++)
        if (d->views[i].dtype && !node->op->shape_only)
            in += (double)osp_view_count(d->views + i);
    for (int32_t i = 0; i < node->output_count; i++)
        if (d->call.outputs[i].dtype)
            out += (double)osp_view_count(d->call.outputs + i);
    const double steps = node->op->work ? node->op->work(&d->call) : 0;
    const double most = in > out ? in : out;
    return steps > most ? steps : most;
}

static double fold_bytes(const osp_node *node, const fold *d)
{
    double sum = 0;
    for (int32_t i = 0; i < node->output_count; i++)
        sum += (double)osp_view_count(d->call.outputs + i) *
               (double)osp_dtype_bytes(d->call.outputs[i].dtype);
    return sum;
}

static osp_status fold_run(osp_graph *graph, const osp_node *node, fold *d, osp_fold_budget *budget,
                           bool *folded, osp_error *err)
{
    if (!fold_shapes(graph, node, d))
        OSP_FAIL_MEMORY(err);
    const double steps = fold_work(node, d), bytes = fold_bytes(node, d);
    if (!(steps <= budget->steps && bytes <= budget->bytes))
        return OSP_OK;
    budget->steps -= steps;
    budget->bytes -= bytes;
    atomic_fetch_add(&graph->ctx->elements_folded, (uint_fast64_t)steps);
    if (!fold_data(graph, node, d))
        OSP_FAIL_MEMORY(err);
    const osp_status status = node->op->reference(&d->call, err);
    if (status == OSP_ERROR_ARGUMENT && err)
        err->code = OSP_ERROR_FORMAT;  // a bad index or divisor is the file's, not the caller's
    if (status)
        return status == OSP_ERROR_ARGUMENT ? OSP_ERROR_FORMAT : status;
    for (int32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE)
            graph->values[node->outputs[i]].data = d->call.outputs[i].data;
    *folded = true;
    return OSP_OK;
}

osp_status osp_fold_node(osp_graph *graph, const osp_node *node, osp_fold_budget *budget,
                         bool *folded, osp_error *err)
{
    *folded = false;
    if (node->op->same_bytes && node->output_count == 1 && node->outputs[0] != OSP_NO_VALUE) {
        // The bytes of a constant under another shape: no copy.
        graph->values[node->outputs[0]].data = graph->values[node->inputs[0]].data;
        *folded = true;
        return OSP_OK;
    }
    fold d = {0};
    const osp_status status = fold_run(graph, node, &d, budget, folded, err);
    fold_free(&graph->ctx->mem, node, &d);
    return status;
}
