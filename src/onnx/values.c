// Values of a graph: initializers, inputs, what nodes make, outputs. Each name stands for one value
// made once. Thread rule: see load.h.
#include <string.h>

#include "onnx/loader.h"

// Graph inputs are numbered one after another.
static bool is_input(const osp_loader *l, osp_vid v)
{
    const osp_graph *graph = l->graph;
    return graph->input_count > 0 && v >= graph->inputs[0] &&
           v - graph->inputs[0] < graph->input_count;
}

static const char *maker_of(const osp_loader *l, osp_vid v)
{
    if (l->graph->values[v].data)
        return "an initializer or Constant";
    return is_input(l, v) ? "a graph input" : "another node output";
}

// Adds a value under a name that must be new. `what` names the newcomer.
static osp_status add_value(osp_loader *l, osp_bytes name, const osp_value *facts, const char *what,
                            osp_vid *out, osp_error *err)
{
    if (name.size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s has no name: " OSP_REMEDY_EXPORT, what);
    const osp_vid old = osp_name_table_find(&l->names, l->graph, name);
    if (old != OSP_NO_VALUE)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "value '%.*s' is made twice, by %s and by %s: " OSP_REMEDY_EXPORT, OSP_SHOW(name),
                 maker_of(l, old), what);
    // The name is copied by osp_graph_add_value; this one is only there to be terminated.
    const char *text = osp_bytes_text(&l->scratch, name);
    const osp_vid v = text ? osp_graph_add_value(l->graph, text, facts->dtype, &facts->shape)
                           : OSP_NO_VALUE;
    osp_arena_reset(&l->scratch);
    if (v == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    l->graph->values[v].data = facts->data;
    l->graph->values[v].dim_names = facts->dim_names;
    osp_name_table_add(&l->names, name, v);
    *out = v;
    return OSP_OK;
}

// ---- Types of inputs and outputs ----------------------------------------------------------------

typedef struct info {
    osp_bytes name, type;
    osp_value facts;
} info;

static osp_status read_dim(osp_loader *l, info *in, int32_t d, osp_bytes message, osp_error *err)
{
    int64_t value = -1;
    osp_bytes param = {"", 0};
    osp_wire wire = osp_wire_open(message, "TensorShapeProto.Dimension");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == DIM_VALUE)
            OSP_TRY(osp_wire_int(&wire, &field, &value, err));
        else if (field.number == DIM_PARAM)
            OSP_TRY(osp_wire_name(&wire, &field, &param, err));
    }
    if (value < -1)  // -1 itself is how some exporters write a free dimension
        OSP_FAIL(err, OSP_ERROR_FORMAT, "'%.*s': dim %d is %lld, negative: " OSP_REMEDY_EXPORT,
                 OSP_SHOW(in->name), d, (long long)value);
    in->facts.shape.dims[d] = value;
    if (param.size == 0 || value >= 0)
        return OSP_OK;
    const char **names = (const char **)in->facts.dim_names;
    if (!names)
        names = osp_arena_array(&l->graph->arena, OSP_MAX_RANK, sizeof *names);
    if (!names || !(names[d] = osp_bytes_text(&l->graph->arena, param)))
        OSP_FAIL_MEMORY(err);
    in->facts.dim_names = names;
    return OSP_OK;
}

static osp_status read_shape(osp_loader *l, info *in, osp_bytes message, osp_error *err)
{
    int32_t rank = 0;
    osp_wire wire = osp_wire_open(message, "TensorShapeProto");
    for (;;) {
        osp_wire_field field;
        osp_bytes dim;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != SHAPE_DIM)
            continue;
        OSP_TRY(osp_wire_bytes(&wire, &field, &dim, err));
        if (rank == OSP_MAX_RANK)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "'%.*s' has more than %d dims: reshape it",
                     OSP_SHOW(in->name), OSP_MAX_RANK);
        OSP_TRY(read_dim(l, in, rank, dim, err));
        rank++;
    }
    in->facts.shape.rank = rank;
    return OSP_OK;
}

// Descends TypeProto -> Tensor. Sequences, maps and the like stay UNKNOWN.
static osp_status read_type(osp_loader *l, info *in, osp_error *err)
{
    osp_bytes tensor = {NULL, 0}, shape = {NULL, 0};
    osp_wire_field field;
    osp_wire wire = osp_wire_open(in->type, "TypeProto");
    for (;;) {
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == TYPE_TENSOR)
            OSP_TRY(osp_wire_bytes(&wire, &field, &tensor, err));
    }
    if (!tensor.data)
        return OSP_OK;
    wire = osp_wire_open(tensor, "TypeProto.Tensor");
    for (;;) {
        int64_t elem;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == TENSOR_TYPE_ELEM) {
            OSP_TRY(osp_wire_int(&wire, &field, &elem, err));
            in->facts.dtype = osp_onnx_elem_dtype(elem);
        } else if (field.number == TENSOR_TYPE_SHAPE) {
            OSP_TRY(osp_wire_bytes(&wire, &field, &shape, err));
        }
    }
    return shape.data ? read_shape(l, in, shape, err) : OSP_OK;
}

// The name alone; read_type does the rest for those that need it.
static osp_status read_info(info *in, osp_bytes message, osp_error *err)
{
    *in = (info){.name = {"", 0}, .facts = {.name = "", .shape = {.rank = -1}}};
    osp_wire wire = osp_wire_open(message, "ValueInfoProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            return OSP_OK;
        if (field.number == INFO_NAME)
            OSP_TRY(osp_wire_name(&wire, &field, &in->name, err));
        else if (field.number == INFO_TYPE)
            OSP_TRY(osp_wire_bytes(&wire, &field, &in->type, err));
    }
}

// ---- The four kinds -----------------------------------------------------------------------------

// Calls `add` for every record of one field of the graph.
static osp_status for_records(osp_loader *l, uint32_t number,
                              osp_status (*add)(osp_loader *l, osp_bytes message, size_t index,
                                                osp_error *err),
                              osp_error *err)
{
    size_t index = 0;
    osp_wire wire = osp_wire_open(l->main_graph, "GraphProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            return OSP_OK;
        if (field.number == number)
            OSP_TRY(add(l, field.bytes, index++, err));
    }
}

static osp_status add_initializer(osp_loader *l, osp_bytes message, size_t index, osp_error *err)
{
    (void)index;
    osp_onnx_tensor t;
    osp_value facts;
    osp_vid v;
    OSP_TRY(osp_onnx_tensor_parse(&t, &l->ctx->limits, message, err));
    OSP_TRY(osp_loader_tensor(l, &l->graph->arena, message, &facts, err));
    return add_value(l, t.name, &facts, "an initializer", &v, err);
}

osp_status osp_loader_add_initializers(osp_loader *l, osp_error *err)
{
    return for_records(l, GRAPH_INITIALIZER, add_initializer, err);
}

// Up to IR version 3 every initializer is listed as an input too; it is a constant all the same.
static osp_status add_input(osp_loader *l, osp_bytes message, size_t index, osp_error *err)
{
    (void)index;
    info in;
    OSP_TRY(read_info(&in, message, err));
    const osp_vid old = osp_name_table_find(&l->names, l->graph, in.name);
    if (old != OSP_NO_VALUE && l->graph->values[old].data)
        return OSP_OK;
    OSP_TRY(read_type(l, &in, err));
    osp_vid v;
    OSP_TRY(add_value(l, in.name, &in.facts, "a graph input", &v, err));
    l->graph->inputs[l->graph->input_count++] = v;
    return OSP_OK;
}

osp_status osp_loader_add_inputs(osp_loader *l, osp_error *err)
{
    l->graph->inputs = osp_arena_array(&l->graph->arena, l->inputs, sizeof *l->graph->inputs);
    if (!l->graph->inputs)
        OSP_FAIL_MEMORY(err);
    return for_records(l, GRAPH_INPUT, add_input, err);
}

static osp_status add_node_outputs(osp_loader *l, osp_bytes message, size_t index, osp_error *err)
{
    osp_onnx_node node;
    OSP_TRY(osp_onnx_node_parse(&node, message, index, err));
    osp_value facts = {.name = "", .shape = {.rank = -1}};
    if (osp_onnx_node_is_constant(&node)) {
        osp_status status = osp_loader_check_opset(l, "Constant", err);
        if (!status)
            status = osp_loader_constant(l, &node, &facts, err);
        osp_arena_reset(&l->scratch);
        if (status) {
            osp_error_prefix(err, "%s", node.label);
            return status;
        }
    }
    osp_wire wire = osp_wire_open(message, "NodeProto");
    for (;;) {
        osp_wire_field field;
        osp_vid v;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            return OSP_OK;
        if (field.number == NODE_OUTPUT && field.bytes.size)
            OSP_TRY(add_value(l, field.bytes, &facts, node.label, &v, err));
    }
}

osp_status osp_loader_add_node_outputs(osp_loader *l, osp_error *err)
{
    return for_records(l, GRAPH_NODE, add_node_outputs, err);
}

// The declared type stays with a value that a node makes, until inference knows better.
static osp_status add_output(osp_loader *l, osp_bytes message, size_t index, osp_error *err)
{
    (void)index;
    osp_graph *graph = l->graph;
    info in;
    OSP_TRY(read_info(&in, message, err));
    const osp_vid v = osp_name_table_find(&l->names, graph, in.name);
    if (v == OSP_NO_VALUE)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "graph output '%.*s' is not made by any node: " OSP_REMEDY_EXPORT,
                 OSP_SHOW(in.name));
    graph->outputs[graph->output_count++] = v;
    osp_value *value = graph->values + v;
    if (value->data || is_input(l, v))
        return OSP_OK;
    OSP_TRY(read_type(l, &in, err));
    value->dtype = in.facts.dtype;
    value->shape = in.facts.shape;
    value->dim_names = in.facts.dim_names;
    return OSP_OK;
}

// A value listed twice would make outputs by name ambiguous.
static osp_status check_distinct(osp_loader *l, osp_error *err)
{
    const osp_graph *graph = l->graph;
    bool *seen = osp_arena_array(&l->scratch, graph->value_count, sizeof *seen);
    if (!seen)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < graph->output_count; i++) {
        const osp_vid v = graph->outputs[i];
        if (seen[v])
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "graph output '%.64s' is listed twice: " OSP_REMEDY_EXPORT,
                     graph->values[v].name);
        seen[v] = true;
    }
    osp_arena_reset(&l->scratch);
    return OSP_OK;
}

osp_status osp_loader_add_outputs(osp_loader *l, osp_error *err)
{
    osp_graph *graph = l->graph;
    if (l->outputs == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the graph has no outputs: " OSP_REMEDY_EXPORT);
    if (l->outputs > graph->value_count)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "the graph has %zu outputs but only %zu values: " OSP_REMEDY_EXPORT, l->outputs,
                 graph->value_count);
    graph->outputs = osp_arena_array(&graph->arena, l->outputs, sizeof *graph->outputs);
    if (!graph->outputs)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(for_records(l, GRAPH_OUTPUT, add_output, err));
    return check_distinct(l, err);
}
