// Helpers of the passes. Thread rule: one thread for each graph.
#include "passes/edit.h"

#include <string.h>

#include "ops/view.h"

bool osp_node_is(const osp_node *node, const char *type)
{
    return node->op && node->type && !node->domain[0] && !strcmp(node->type, type);
}

osp_node *osp_edit_maker(osp_graph *graph, const osp_uses *uses, osp_vid v)
{
    if (v == OSP_NO_VALUE || uses->producer[v] < 0)
        return NULL;
    osp_node *node = graph->nodes + uses->producer[v];
    return node->type && node->op ? node : NULL;
}

osp_node *osp_edit_sole(osp_graph *graph, const osp_uses *uses, osp_vid v, const char *type)
{
    osp_node *node = osp_edit_maker(graph, uses, v);
    if (!node || uses->count[v] != 1 || uses->is_output[v])
        return NULL;
    return !strcmp(node->type, type) ? node : NULL;
}

osp_node *osp_edit_reader(osp_graph *graph, const osp_uses *uses, osp_vid v)
{
    if (uses->count[v] != 1 || uses->is_output[v])
        return NULL;
    osp_node *node = graph->nodes + uses->list[uses->first[v]];
    return node->type && node->op ? node : NULL;
}

bool osp_edit_scalar(const osp_graph *graph, osp_vid v, double *out)
{
    if (v == OSP_NO_VALUE)
        return false;
    const osp_value *value = graph->values + v;
    size_t count;
    if (!value->data || !osp_dtype_is_float(value->dtype) ||
        !osp_shape_count(&value->shape, &count) || count != 1)
        return false;
    uint8_t element[8] = {0};
    memcpy(element, value->data, osp_dtype_bytes(value->dtype));
    float x = 0;
    if (value->dtype == OSP_DTYPE_FLOAT32) {
        memcpy(&x, element, sizeof x);
    } else {
        uint16_t half;
        memcpy(&half, element, sizeof half);
        x = value->dtype == OSP_DTYPE_FLOAT16 ? osp_half_to_float(half) : osp_bfloat_to_float(half);
    }
    *out = (double)x;
    return true;
}

osp_vid osp_edit_other(const osp_node *node, osp_vid v)
{
    return node->inputs[0] == v ? node->inputs[1] : node->inputs[0];
}

// Makes `node` another operator, without inferring it.
static osp_status turn_into(osp_graph *graph, osp_node *node, const char *domain, const char *type,
                            const osp_vid *inputs, int32_t count, const void *attrs, osp_error *err)
{
    const osp_op *op = osp_op_find(domain, type);
    if (!op)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "operator %s is not built in", type);
    osp_vid *copy = osp_arena_array(&graph->arena, (size_t)count, sizeof *copy);
    void *own = osp_arena_alloc(&graph->arena, op->attrs_size);
    if (!copy || !own)
        OSP_FAIL_MEMORY(err);
    memcpy(copy, inputs, (size_t)count * sizeof *copy);
    if (attrs)
        memcpy(own, attrs, op->attrs_size);
    else if (op->defaults)
        memcpy(own, op->defaults, op->attrs_size);
    node->op = op;
    node->type = op->type;
    node->domain = op->domain;
    node->inputs = copy;
    node->input_count = count;
    node->attrs = own;
    node->raw_attrs = (osp_bytes){0};
    return OSP_OK;
}

osp_status osp_edit_become(osp_graph *graph, osp_node *node, const char *domain, const char *type,
                           const osp_vid *inputs, int32_t count, const void *attrs, osp_error *err)
{
    OSP_TRY(turn_into(graph, node, domain, type, inputs, count, attrs, err));
    return osp_node_infer(graph, node, err);
}

osp_status osp_edit_try(osp_graph *graph, const osp_pass_options *options, osp_node *node,
                        const char *domain, const char *type, const osp_vid *inputs, int32_t count,
                        const void *attrs, bool *done, osp_error *err)
{
    *done = false;
    if (node->output_count != 1)
        return OSP_OK;
    osp_node next = *node;
    OSP_TRY(turn_into(graph, &next, domain, type, inputs, count, attrs, err));
    osp_value *dst = graph->values + node->outputs[0];
    const osp_dtype dtype = dst->dtype;
    const osp_shape shape = dst->shape;
    const osp_status status = osp_node_infer(graph, &next, NULL);
    if (status == OSP_ERROR_MEMORY)
        OSP_FAIL_MEMORY(err);
    if (!status && dst->dtype == dtype && osp_shape_equal(&dst->shape, &shape) &&
        (!options || !options->accepts || options->accepts(options->user, graph, &next))) {
        *node = next;
        *done = true;
    }
    dst->dtype = dtype;
    dst->shape = shape;
    return OSP_OK;
}

osp_status osp_edit_offer(osp_graph *graph, const osp_pass_options *options, const char *domain,
                          const char *type, const char *name, const osp_vid *inputs, int32_t count,
                          const osp_vid *outputs, int32_t output_count, const void *attrs,
                          osp_node **made, osp_error *err)
{
    *made = NULL;
    osp_node node = {.name = name, .output_count = output_count};
    OSP_TRY(turn_into(graph, &node, domain, type, inputs, count, attrs, err));
    osp_type *types = osp_arena_array(&graph->arena, (size_t)output_count, sizeof *types);
    node.outputs = osp_arena_array(&graph->arena, (size_t)output_count, sizeof *node.outputs);
    if (!types || !node.outputs)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < output_count; i++) {
        node.outputs[i] = outputs[i];
        types[i] = (osp_type){graph->values[outputs[i]].dtype, graph->values[outputs[i]].shape};
    }
    const osp_status status = osp_node_infer(graph, &node, NULL);
    if (status == OSP_ERROR_MEMORY)
        OSP_FAIL_MEMORY(err);
    bool fits = !status;
    for (int32_t i = 0; i < output_count; i++) {
        osp_value *dst = graph->values + outputs[i];
        fits &= dst->dtype == types[i].dtype && osp_shape_equal(&dst->shape, &types[i].shape);
        dst->dtype = types[i].dtype;
        dst->shape = types[i].shape;
    }
    if (!fits || (options && options->accepts && !options->accepts(options->user, graph, &node)))
        return OSP_OK;
    *made = osp_graph_insert_node(graph, graph->node_count, node.op, name, inputs, count, outputs,
                                  output_count, node.attrs);
    if (!*made)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

osp_vid osp_edit_value(osp_graph *graph, osp_dtype dtype, const osp_shape *shape)
{
    return osp_graph_add_value(graph, "", dtype, shape);
}

osp_vid osp_edit_append(osp_graph *graph, const char *domain, const char *type, const char *name,
                        osp_vid input, const void *attrs)
{
    const osp_op *op = osp_op_find(domain, type);
    const osp_shape shape = graph->values[input].shape;
    const osp_vid out = osp_edit_value(graph, graph->values[input].dtype, &shape);
    if (!op || out == OSP_NO_VALUE)
        return OSP_NO_VALUE;
    if (!osp_graph_insert_node(graph, graph->node_count, op, name, &input, 1, &out, 1, attrs))
        return OSP_NO_VALUE;
    return out;
}

bool osp_edit_bypass(osp_graph *graph, const osp_uses *uses, osp_node *node, int32_t kept)
{
    const osp_vid src = node->inputs[kept], dst = node->outputs[0];
    if (!uses->is_output[dst]) {
        osp_graph_replace(graph, dst, src);
        osp_graph_kill(node);
        return true;
    }
    // The output keeps its name: whoever makes src makes dst instead.
    osp_node *maker = osp_edit_maker(graph, uses, src);
    if (!maker || uses->is_output[src])
        return false;
    for (int32_t i = 0; i < maker->output_count; i++)
        if (maker->outputs[i] == src)
            maker->outputs[i] = dst;
    osp_graph_kill(node);
    osp_graph_replace(graph, src, dst);
    return true;
}

float *osp_edit_floats(osp_graph *graph, osp_vid v)
{
    const osp_value *value = graph->values + v;
    size_t count;
    if (!value->data || !osp_dtype_is_float(value->dtype) ||
        !osp_shape_count(&value->shape, &count))
        return NULL;
    const size_t bytes = osp_dtype_bytes(value->dtype);
    float *out = osp_arena_array(&graph->arena, count, sizeof *out);
    for (size_t i = 0; out && i < count; i++) {
        uint64_t element = 0;  // the file's data may lie anywhere
        memcpy(&element, (const char *)value->data + i * bytes, bytes);
        out[i] = osp_load_float(value->dtype, &element, 0);
    }
    return out;
}

osp_vid osp_edit_constant(osp_graph *graph, const char *name, osp_dtype dtype,
                          const osp_shape *shape, const float *data)
{
    if (dtype == OSP_DTYPE_FLOAT32)
        return osp_graph_add_constant(graph, name, dtype, shape, data);
    size_t count;
    if (!osp_shape_count(shape, &count))
        return OSP_NO_VALUE;
    uint16_t *half = osp_arena_array(&graph->arena, count, sizeof *half);
    const osp_vid v = half ? osp_graph_add_value(graph, name, dtype, shape) : OSP_NO_VALUE;
    if (v == OSP_NO_VALUE)
        return v;
    for (size_t i = 0; i < count; i++)
        osp_store_float(dtype, half, i, data[i]);
    graph->values[v].data = half;
    return v;
}
