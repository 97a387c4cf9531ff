// After the steps are known: which constants stay, and where each buffer lies among the activations.
// Thread rule: as choose.c.
#include <string.h>

#include "plan/compile_parts.h"
#include "plan/memory.h"

// ---- Constants ----------------------------------------------------------------------------------

// Marks the constants that some launch, inference or output still reads.
static void mark_needed(const osp_variant *v, bool *needed)
{
    const osp_graph *g = &v->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const osp_node *node = g->nodes + i;
        for (int32_t k = 0; k < node->input_count; k++)
            if (node->inputs[k] != OSP_NO_VALUE)
                needed[node->inputs[k]] |= v->steps[i].packed < 0 ||
                                           (k < 32 && node->op->shape_inputs >> k & 1);
    }
    for (int32_t i = 0; i < g->output_count; i++)
        needed[g->outputs[i]] = true;
}

osp_status osp_compile_constants(osp_compiled *c, osp_variant *v, bool copy_all, osp_error *err)
{
    osp_graph *g = &v->graph;
    bool *needed = osp_mem_calloc(&c->ctx->mem, g->value_count, sizeof *needed);
    if (!needed)
        OSP_FAIL_MEMORY(err);
    mark_needed(v, needed);
    osp_status status = OSP_OK;
    for (size_t i = 0; i < g->value_count && !status; i++) {
        osp_value *value = g->values + i;
        if (value->dropped && needed[i])
            status = osp_error_set(err, OSP_ERROR_FORMAT, "constant '%s' is missing", value->name);
        if (!value->data)
            continue;
        size_t bytes = 0;
        if (!needed[i]) {
            // No tactic packs a type that the library lacks: nothing uses such a constant at all.
            value->data = NULL;
            value->dropped = value->dtype != OSP_DTYPE_UNKNOWN;
        } else if (copy_all || (uintptr_t)value->data % 8) {
            osp_shape_bytes(&value->shape, value->dtype, &bytes);
            char *copy = osp_arena_alloc(&g->arena, bytes + 63);
            if (!copy) {
                status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
                break;
            }
            copy += -(uintptr_t)copy & 63;
            if (bytes)
                memcpy(copy, value->data, bytes);
            value->data = copy;
        }
    }
    osp_mem_free(&c->ctx->mem, needed);
    return status;
}

// ---- Memory -------------------------------------------------------------------------------------

static void note_use(osp_memory_item *items, const osp_storage *storage, osp_vid v, int32_t step)
{
    if (v == OSP_NO_VALUE || storage[v].root == OSP_NO_VALUE)
        return;
    osp_memory_item *item = items + storage[v].root;
    if (!item->size) {
        item->size = storage[storage[v].root].buffer_bytes;
        if (!item->size)
            item->size = 1;
        item->first = item->last = step;
    }
    if (step < item->first)
        item->first = step;
    if (step > item->last)
        item->last = step;
}

static void note_step(osp_memory_item *items, const osp_variant *v, int32_t step, int32_t at)
{
    const osp_node *node = v->graph.nodes + step;
    for (int32_t k = 0; k < node->input_count; k++)
        note_use(items, v->storage, node->inputs[k], at);
    for (int32_t k = 0; k < node->output_count; k++)
        note_use(items, v->storage, node->outputs[k], at);
}

// True for the k-th output if no step writes the buffer that it alone owns.
static bool is_copied_output(const osp_variant *v, int32_t k)
{
    const osp_graph *g = &v->graph;
    const osp_vid out = g->outputs[k];
    for (int32_t i = 0; i < k; i++)
        if (g->outputs[i] == out)
            return true;
    for (int32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == out)
            return true;
    return g->values[out].data != NULL;
}

static osp_status plan_memory(osp_compiled *c, osp_variant *v, osp_error *err)
{
    const osp_graph *g = &v->graph;
    const size_t values = g->value_count, count = values + (size_t)g->output_count;
    v->copied_outputs = osp_arena_array(&c->arena, (size_t)g->output_count, sizeof(size_t));
    osp_memory_item *items = osp_mem_calloc(&c->ctx->mem, count, sizeof *items);
    osp_status status = OSP_OK;
    if (!v->copied_outputs || !items) {
        osp_mem_free(&c->ctx->mem, items);
        OSP_FAIL_MEMORY(err);
    }
    // Inputs and outputs live through the whole run: the caller reads and writes them around it.
    for (int32_t i = 0; i < g->input_count; i++) {
        note_use(items, v->storage, g->inputs[i], 0);
        note_use(items, v->storage, g->inputs[i], v->step_count);
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        note_use(items, v->storage, g->outputs[i], 0);
        note_use(items, v->storage, g->outputs[i], v->step_count);
        size_t bytes = 0;
        const osp_value *value = g->values + g->outputs[i];
        if (is_copied_output(v, i) && osp_shape_bytes(&value->shape, value->dtype, &bytes))
            items[values + (size_t)i] = (osp_memory_item){bytes, 0, v->step_count, 0};
    }
    // A step's buffers are alive from the first step on that may still run when it starts.
    for (int32_t s = 0; s < v->step_count; s++) {
        note_step(items, v, s, s);
        note_step(items, v, s, osp_streams_first(&v->streams, s));
    }
    status = osp_memory_plan(c->ctx, items, count, &v->activation_bytes, err);
    for (size_t i = 0; i < values; i++)
        v->storage[i].buffer_offset = items[i].offset;
    for (int32_t i = 0; i < g->output_count; i++)
        v->copied_outputs[i] = is_copied_output(v, i) ? items[values + (size_t)i].offset : SIZE_MAX;
    osp_mem_free(&c->ctx->mem, items);
    const uint64_t limit = c->ctx->limits.memory_bytes;
    if (!status &&
        (v->activation_bytes > limit || v->workspace_bytes > limit / (uint64_t)v->streams.count))
        status = osp_error_set(err, OSP_ERROR_LIMIT,
                               "a session needs %zu bytes, over the limit of %llu "
                               "(osp_limits.memory_bytes)",
                               v->activation_bytes + v->workspace_bytes * (size_t)v->streams.count,
                               (unsigned long long)limit);
    return status;
}

osp_status osp_compile_streams(osp_compiled *c, osp_variant *v, int32_t streams, osp_error *err)
{
    OSP_TRY(osp_streams_spread(&v->streams, &c->arena, &v->graph, v->storage, streams, err));
    return plan_memory(c, v, err);
}
