// NodeProto -> nodes of the graph. Thread rule: see load.h.
#include <stdio.h>
#include <string.h>

#include "onnx/loader.h"

static osp_status parse_fields(osp_onnx_node *out, osp_error *err)
{
    osp_wire wire = osp_wire_open(out->message, "NodeProto");
    bool before = false;  // the record before this one is an attribute
    for (;;) {
        osp_wire_field field;
        osp_bytes name;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            return OSP_OK;
        const bool attribute = field.number == NODE_ATTRIBUTE;
        switch (field.number) {
        case NODE_INPUT:
            OSP_TRY(osp_wire_name(&wire, &field, &name, err));
            out->inputs++;
            break;
        case NODE_OUTPUT:
            OSP_TRY(osp_wire_name(&wire, &field, &name, err));
            out->outputs++;
            break;
        case NODE_NAME:
            OSP_TRY(osp_wire_name(&wire, &field, &out->name, err));
            break;
        case NODE_OP_TYPE:
            OSP_TRY(osp_wire_name(&wire, &field, &out->type, err));
            break;
        case NODE_DOMAIN:
            OSP_TRY(osp_wire_name(&wire, &field, &out->domain, err));
            break;
        case NODE_ATTRIBUTE:
            OSP_TRY(osp_wire_expect(&wire, &field, OSP_WIRE_LENGTH, err));
            if (out->attributes == 0)
                out->attrs = field.record;
            else if (before)
                out->attrs.size += field.record.size;
            else
                out->contiguous = false;
            out->attributes++;
            out->attribute_bytes += field.record.size;
            break;
        default:
            break;
        }
        before = attribute;
    }
}

osp_status osp_onnx_node_parse(osp_onnx_node *out, osp_bytes message, size_t index, osp_error *err)
{
    *out = (osp_onnx_node){.name = {"", 0},
                           .type = {"", 0},
                           .domain = {"", 0},
                           .message = message,
                           .contiguous = true};
    const osp_status status = parse_fields(out, err);
    if (status) {
        osp_error_prefix(err, "node %zu", index);
        return status;
    }
    if (out->type.size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "node %zu '%.*s' has no operator: " OSP_REMEDY_EXPORT,
                 index, OSP_SHOW(out->name));
    if (osp_bytes_are(out->domain, "ai.onnx"))
        out->domain = (osp_bytes){"", 0};
    if (out->name.size)
        snprintf(out->label, sizeof out->label, "node '%.*s' (%.*s)", OSP_SHOW(out->name),
                 OSP_SHOW(out->type));
    else
        snprintf(out->label, sizeof out->label, "node '%.*s_%zu'", OSP_SHOW(out->type), index);
    return OSP_OK;
}

bool osp_onnx_node_is_constant(const osp_onnx_node *node)
{
    return node->domain.size == 0 && osp_bytes_are(node->type, "Constant");
}

// Operators that mean in opsets 1 to 5 what they mean in 6 (their since_version is 1 in both). A
// model of these alone needs no converting; ONNX's own test data has such models.
static bool unchanged_since_1(const char *type)
{
    static const char *const types[] = {
        "And",       "AveragePool",   "Constant",
        "Conv",      "ConvTranspose", "Equal",
        "Flatten",   "Gather",        "GlobalAveragePool",
        "Identity",  "Less",          "MatMul",
        "MaxPool",   "Not",           "Pow",
        "ReduceMax", "ReduceMean",    "ReduceSum",
        "Shape",     "Slice",         "Softmax",
        "Squeeze",   "TopK",          "Transpose",
        "Unsqueeze", "Upsample",      "Xor",
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return false;
}

osp_status osp_loader_check_opset(osp_loader *l, const char *type, osp_error *err)
{
    if (!l->has_opset)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "the model imports no operator set of ai.onnx: " OSP_REMEDY_EXPORT);
    const int64_t opset = l->graph->opset;
    if (opset < OSP_OPSET_MIN && !unchanged_since_1(type))
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "operator set %lld is older than %d: convert it with onnx.version_converter",
                 (long long)opset, OSP_OPSET_MIN);
    if (opset > OSP_OPSET_MAX)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "operator set %lld is newer than %d: export with opset %d or lower",
                 (long long)opset, OSP_OPSET_MAX, OSP_OPSET_MAX);
    return OSP_OK;
}

osp_status osp_loader_find_op(osp_loader *l, const osp_onnx_node *node, const osp_op **out,
                              osp_error *err)
{
    *out = NULL;
    // Domain "osprey" is ours alone: its operators are made by passes and never read from a model.
    char type[64];
    if (node->domain.size || node->type.size >= sizeof type)
        return OSP_OK;
    memcpy(type, node->type.data, node->type.size);
    type[node->type.size] = 0;
    const osp_op *op = osp_op_find("", type);
    if (op)
        OSP_TRY(osp_loader_check_opset(l, type, err));
    *out = op;
    return OSP_OK;
}

static osp_status check_arity(const osp_op *op, const osp_vid *inputs, int32_t input_count,
                              int32_t output_count, osp_error *err)
{
    if (input_count < op->min_inputs || (op->max_inputs >= 0 && input_count > op->max_inputs))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "has %d inputs, not %d to %d: " OSP_REMEDY_EXPORT,
                 input_count, op->min_inputs, op->max_inputs < 0 ? INT32_MAX : op->max_inputs);
    if (output_count < op->min_outputs || (op->max_outputs >= 0 && output_count > op->max_outputs))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "has %d outputs, not %d to %d: " OSP_REMEDY_EXPORT,
                 output_count, op->min_outputs, op->max_outputs < 0 ? INT32_MAX : op->max_outputs);
    for (int32_t i = 0; i < op->min_inputs; i++)
        if (inputs[i] == OSP_NO_VALUE)
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "leaves out input %d, which it needs: " OSP_REMEDY_EXPORT, i);
    return OSP_OK;
}

// Numbers of the node's inputs and outputs, into the scratch arena. `made`: one past the last value
// that the nodes so far have made.
static osp_status resolve(osp_loader *l, const osp_onnx_node *node, osp_vid *made, osp_vid *inputs,
                          osp_vid *outputs, osp_error *err)
{
    size_t in = 0, out = 0;
    osp_vid last = *made;
    osp_wire wire = osp_wire_open(node->message, "NodeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        const bool input = field.number == NODE_INPUT && in < node->inputs;
        const bool output = field.number == NODE_OUTPUT && out < node->outputs;
        if (!input && !output)
            continue;
        osp_vid v = OSP_NO_VALUE;
        if (field.bytes.size) {
            v = osp_name_table_find(&l->names, l->graph, field.bytes);
            if (v == OSP_NO_VALUE)
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         "reads '%.*s', which nothing makes: " OSP_REMEDY_EXPORT,
                         OSP_SHOW(field.bytes));
        }
        if (input)
            inputs[in++] = v;
        else
            outputs[out++] = v;
        if (input && v >= *made && !l->graph->values[v].data)
            l->unsorted = true;
        if (output && v >= last)
            last = v + 1;
    }
    *made = last;
    return OSP_OK;
}

// Type and domain of an opaque node; its attributes for writing back.
static osp_status complete_node(osp_loader *l, const osp_onnx_node *from, osp_node *node,
                                osp_error *err)
{
    if (!node->op) {
        node->type = osp_bytes_text(&l->graph->arena, from->type);
        node->domain = osp_bytes_text(&l->graph->arena, from->domain);
        if (!node->type || !node->domain)
            OSP_FAIL_MEMORY(err);
    }
    return osp_loader_raw_attributes(l, from, &node->raw_attrs, err);
}

static osp_status add_node(osp_loader *l, const osp_onnx_node *from, size_t index, osp_vid *made,
                           osp_error *err)
{
    osp_arena *scratch = &l->scratch;
    osp_vid *inputs = osp_arena_array(scratch, from->inputs, sizeof *inputs);
    osp_vid *outputs = osp_arena_array(scratch, from->outputs, sizeof *outputs);
    char *name = from->name.size
                     ? osp_bytes_text(scratch, from->name)
                     : osp_arena_printf(scratch, "%.*s_%zu", OSP_SHOW(from->type), index);
    if (!inputs || !outputs || !name)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(resolve(l, from, made, inputs, outputs, err));
    const osp_op *op;
    OSP_TRY(osp_loader_find_op(l, from, &op, err));
    void *attrs = NULL;
    const int32_t in = (int32_t)from->inputs, out = (int32_t)from->outputs;
    if (op) {
        osp_attr *list;
        size_t count;
        OSP_TRY(check_arity(op, inputs, in, out, err));
        OSP_TRY(osp_loader_attributes(l, from, &list, &count, err));
        attrs = osp_arena_alloc(scratch, op->attrs_size);
        if (!attrs)
            OSP_FAIL_MEMORY(err);
        const int64_t opset = osp_i64_max(l->graph->opset, OSP_OPSET_MIN);
        OSP_TRY(osp_attrs_parse(op, (int32_t)opset, list, count, attrs, err));
    }
    osp_node *node = osp_graph_insert_node(l->graph, l->graph->node_count, op, name, inputs, in,
                                           outputs, out, attrs);
    if (!node)
        OSP_FAIL_MEMORY(err);
    return complete_node(l, from, node, err);
}

osp_status osp_loader_add_nodes(osp_loader *l, osp_error *err)
{
    osp_vid made = (osp_vid)(l->graph->value_count - l->node_outputs);
    size_t index = 0;
    osp_wire wire = osp_wire_open(l->main_graph, "GraphProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != GRAPH_NODE)
            continue;
        osp_onnx_node node;
        OSP_TRY(osp_onnx_node_parse(&node, field.bytes, index, err));
        if (!osp_onnx_node_is_constant(&node)) {
            const osp_status status = add_node(l, &node, index, &made, err);
            osp_arena_reset(&l->scratch);
            if (status) {
                osp_error_prefix(err, "%s", node.label);
                return status;
            }
        }
        index++;
    }
    return l->unsorted ? osp_graph_sort(l->graph, err) : OSP_OK;
}
