// See nesting.h. The stack is an array that grows up to the limit: no recursion. Raw weights are
// stepped over, not read. Thread rule: no state.
#include "onnx/nesting.h"

#include "onnx/proto.h"

typedef enum kind {
    KIND_NONE = 0,
    KIND_MODEL,
    KIND_GRAPH,
    KIND_NODE,
    KIND_ATTR,
    KIND_TENSOR,
    KIND_SPARSE,
    KIND_ENTRY,
    KIND_FUNCTION,
    KIND_INFO,
    KIND_TYPE,
    KIND_TENSOR_TYPE,
    KIND_ELEMENT_TYPE,
    KIND_SHAPE,
    KIND_DIM,
    KIND_OPSET,
    KIND_TRAINING,
    KIND_COUNT
} kind;

static const char *const kind_names[KIND_COUNT] = {
    [KIND_MODEL] = "ModelProto",
    [KIND_GRAPH] = "GraphProto",
    [KIND_NODE] = "NodeProto",
    [KIND_ATTR] = "AttributeProto",
    [KIND_TENSOR] = "TensorProto",
    [KIND_SPARSE] = "SparseTensorProto",
    [KIND_ENTRY] = "StringStringEntryProto",
    [KIND_FUNCTION] = "FunctionProto",
    [KIND_INFO] = "ValueInfoProto",
    [KIND_TYPE] = "TypeProto",
    [KIND_TENSOR_TYPE] = "TypeProto.Tensor",
    [KIND_ELEMENT_TYPE] = "TypeProto.Sequence",
    [KIND_SHAPE] = "TensorShapeProto",
    [KIND_DIM] = "TensorShapeProto.Dimension",
    [KIND_OPSET] = "OperatorSetIdProto",
    [KIND_TRAINING] = "TrainingInfoProto",
};

// Which fields of a message are messages again.
static const struct {
    uint8_t parent, field, child;
} rows[] = {
    {KIND_MODEL, MODEL_GRAPH, KIND_GRAPH},
    {KIND_MODEL, MODEL_OPSET_IMPORT, KIND_OPSET},
    {KIND_MODEL, MODEL_METADATA, KIND_ENTRY},
    {KIND_MODEL, MODEL_TRAINING, KIND_TRAINING},
    {KIND_MODEL, MODEL_FUNCTIONS, KIND_FUNCTION},
    {KIND_TRAINING, 1, KIND_GRAPH},
    {KIND_TRAINING, 2, KIND_GRAPH},
    {KIND_GRAPH, GRAPH_NODE, KIND_NODE},
    {KIND_GRAPH, GRAPH_INITIALIZER, KIND_TENSOR},
    {KIND_GRAPH, GRAPH_INPUT, KIND_INFO},
    {KIND_GRAPH, GRAPH_OUTPUT, KIND_INFO},
    {KIND_GRAPH, GRAPH_VALUE_INFO, KIND_INFO},
    {KIND_GRAPH, GRAPH_SPARSE_INITIALIZER, KIND_SPARSE},
    {KIND_FUNCTION, FUNCTION_NODE, KIND_NODE},
    {KIND_FUNCTION, FUNCTION_ATTRIBUTE, KIND_ATTR},
    {KIND_NODE, NODE_ATTRIBUTE, KIND_ATTR},
    {KIND_ATTR, ATTR_T, KIND_TENSOR},
    {KIND_ATTR, ATTR_TENSORS, KIND_TENSOR},
    {KIND_ATTR, ATTR_G, KIND_GRAPH},
    {KIND_ATTR, ATTR_GRAPHS, KIND_GRAPH},
    {KIND_ATTR, ATTR_TP, KIND_TYPE},
    {KIND_ATTR, ATTR_TYPE_PROTOS, KIND_TYPE},
    {KIND_ATTR, ATTR_SPARSE, KIND_SPARSE},
    {KIND_ATTR, ATTR_SPARSES, KIND_SPARSE},
    {KIND_TENSOR, TENSOR_EXTERNAL_DATA, KIND_ENTRY},
    {KIND_SPARSE, SPARSE_VALUES, KIND_TENSOR},
    {KIND_SPARSE, SPARSE_INDICES, KIND_TENSOR},
    {KIND_INFO, INFO_TYPE, KIND_TYPE},
    {KIND_TYPE, TYPE_TENSOR, KIND_TENSOR_TYPE},
    {KIND_TYPE, TYPE_SPARSE, KIND_TENSOR_TYPE},
    {KIND_TYPE, TYPE_SEQUENCE, KIND_ELEMENT_TYPE},
    {KIND_TYPE, TYPE_OPTIONAL, KIND_ELEMENT_TYPE},
    {KIND_TYPE, TYPE_MAP, KIND_ELEMENT_TYPE},
    {KIND_ELEMENT_TYPE, 1, KIND_TYPE},  // Sequence, Optional; Map has a number here
    {KIND_ELEMENT_TYPE, 2, KIND_TYPE},  // Map
    {KIND_TENSOR_TYPE, TENSOR_TYPE_SHAPE, KIND_SHAPE},
    {KIND_SHAPE, SHAPE_DIM, KIND_DIM},
};

static kind child_of(kind parent, const osp_wire_field *field)
{
    if (field->type != OSP_WIRE_LENGTH)
        return KIND_NONE;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].parent == parent && rows[i].field == field->number)
            return rows[i].child;
    return KIND_NONE;
}

typedef struct level {
    osp_wire wire;
    kind kind;
} level;

static osp_status walk(osp_context *ctx, level **stack, size_t *capacity, osp_bytes model,
                       osp_error *err)
{
    uint64_t nodes = 0;
    size_t depth = 1;
    if (!osp_mem_reserve(&ctx->mem, (void **)stack, capacity, 16, sizeof **stack))
        OSP_FAIL_MEMORY(err);
    (*stack)[0] = (level){osp_wire_open(model, kind_names[KIND_MODEL]), KIND_MODEL};
    while (depth > 0) {
        level *top = *stack + depth - 1;
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&top->wire, &field, err));
        if (!field.number) {
            depth--;
            continue;
        }
        const kind child = child_of(top->kind, &field);
        if (child == KIND_NONE)
            continue;
        if (child == KIND_NODE && ++nodes > ctx->limits.nodes)
            OSP_FAIL(err, OSP_ERROR_LIMIT, "more than %llu nodes: raise osp_limits.nodes",
                     (unsigned long long)ctx->limits.nodes);
        if (depth >= ctx->limits.nesting)
            OSP_FAIL(err, OSP_ERROR_LIMIT,
                     "messages nested more than %llu deep (%s): raise osp_limits.nesting",
                     (unsigned long long)ctx->limits.nesting, kind_names[child]);
        if (!osp_mem_reserve(&ctx->mem, (void **)stack, capacity, depth + 1, sizeof **stack))
            OSP_FAIL_MEMORY(err);
        (*stack)[depth++] = (level){osp_wire_open(field.bytes, kind_names[child]), child};
    }
    return OSP_OK;
}

osp_status osp_onnx_check_nesting(osp_context *ctx, osp_bytes model, osp_error *err)
{
    level *stack = NULL;
    size_t capacity = 0;
    const osp_status status = walk(ctx, &stack, &capacity, model, err);
    osp_mem_free(&ctx->mem, stack);
    return status;
}
