// ModelProto -> graph: see load.h. The order of work: one walk bounds nesting and node count, then
// everything is counted and held to its limit, and only then is memory taken.
#include "onnx/load.h"

#include <string.h>

#include "onnx/loader.h"
#include "onnx/nesting.h"

// A model's metadata are a handful of pairs; a record takes two bytes of the file.
enum { MAX_METADATA = 4096 };

static osp_status read_opset(osp_loader *l, osp_bytes message, bool *foreign, osp_error *err)
{
    osp_bytes domain = {"", 0};
    int64_t version = 0;
    osp_wire wire = osp_wire_open(message, "OperatorSetIdProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == OPSET_DOMAIN)
            OSP_TRY(osp_wire_name(&wire, &field, &domain, err));
        else if (field.number == OPSET_VERSION)
            OSP_TRY(osp_wire_int(&wire, &field, &version, err));
    }
    *foreign = domain.size && !osp_bytes_are(domain, "ai.onnx");
    if (*foreign)
        return OSP_OK;
    if (version < 1 || version > INT32_MAX)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "operator set %lld of ai.onnx: " OSP_REMEDY_EXPORT,
                 (long long)version);
    if (l->has_opset && l->graph->opset != version)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "operator sets %lld and %lld of ai.onnx: " OSP_REMEDY_EXPORT,
                 (long long)l->graph->opset, (long long)version);
    l->has_opset = true;
    l->graph->opset = version;
    return OSP_OK;
}

// Nodes that call a function of the model stay opaque, unless it replaces an operator we would run
// by its usual meaning.
static osp_status read_function(osp_bytes message, osp_error *err)
{
    osp_bytes name = {"", 0}, domain = {"", 0};
    osp_wire wire = osp_wire_open(message, "FunctionProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == FUNCTION_NAME)
            OSP_TRY(osp_wire_name(&wire, &field, &name, err));
        else if (field.number == FUNCTION_DOMAIN)
            OSP_TRY(osp_wire_name(&wire, &field, &domain, err));
    }
    if (domain.size == 0 || osp_bytes_are(domain, "ai.onnx"))
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "the model redefines the operator '%.*s' by a function: inline its functions "
                 "(onnx.inliner)",
                 OSP_SHOW(name));
    return OSP_OK;
}

static osp_status read_metadata(osp_loader *l, osp_bytes message, osp_error *err)
{
    osp_graph *graph = l->graph;
    osp_bytes key = {"", 0}, value = {"", 0};
    osp_wire wire = osp_wire_open(message, "StringStringEntryProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == ENTRY_KEY)
            OSP_TRY(osp_wire_name(&wire, &field, &key, err));
        else if (field.number == ENTRY_VALUE)
            OSP_TRY(osp_wire_text(&wire, &field, OSP_WIRE_TEXT, &value, err));
    }
    osp_meta *meta = graph->metadata + graph->metadata_count;
    meta->key = osp_bytes_text(&graph->arena, key);
    meta->value = osp_bytes_text(&graph->arena, value);
    if (!meta->key || !meta->value)
        OSP_FAIL_MEMORY(err);
    graph->metadata_count++;
    return OSP_OK;
}

static osp_status copy_name(osp_loader *l, const osp_wire *wire, const osp_wire_field *field,
                            const char **out, osp_error *err)
{
    osp_bytes name;
    OSP_TRY(osp_wire_name(wire, field, &name, err));
    *out = osp_bytes_text(&l->graph->arena, name);
    if (!*out)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

static osp_status read_model_field(osp_loader *l, const osp_wire *wire, const osp_wire_field *field,
                                   size_t *metadata, osp_error *err)
{
    osp_bytes message = field->bytes;
    bool keep = false;
    switch (field->number) {
    case MODEL_IR_VERSION:
        return osp_wire_int(wire, field, &l->graph->ir_version, err);
    case MODEL_PRODUCER_NAME:
        return copy_name(l, wire, field, &l->graph->producer, err);
    case MODEL_GRAPH:
        OSP_TRY(osp_wire_bytes(wire, field, &message, err));
        if (l->main_graph.data)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "the model has two graphs: " OSP_REMEDY_EXPORT);
        l->main_graph = message;
        return OSP_OK;
    case MODEL_OPSET_IMPORT:
        OSP_TRY(osp_wire_bytes(wire, field, &message, err));
        OSP_TRY(read_opset(l, message, &keep, err));
        l->kept_bytes += keep ? field->record.size : 0;
        return OSP_OK;
    case MODEL_METADATA:
        if (++*metadata > MAX_METADATA)
            OSP_FAIL(err, OSP_ERROR_LIMIT, "more than %d metadata entries: remove some",
                     MAX_METADATA);
        return osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err);
    case MODEL_FUNCTIONS:
        OSP_TRY(osp_wire_bytes(wire, field, &message, err));
        l->kept_bytes += field->record.size;
        return read_function(message, err);
    default:
        return OSP_OK;
    }
}

// Copies functions and the opsets of other domains, which writing back needs.
static osp_status keep_record(osp_loader *l, uint8_t *kept, const osp_wire_field *field,
                              osp_error *err)
{
    osp_bytes *raw = &l->graph->raw_model;
    bool keep = field->number == MODEL_FUNCTIONS;
    if (field->number == MODEL_OPSET_IMPORT)
        OSP_TRY(read_opset(l, field->bytes, &keep, err));
    if (keep && field->record.size <= l->kept_bytes - raw->size) {
        memcpy(kept + raw->size, field->record.data, field->record.size);
        raw->size += field->record.size;
    }
    return OSP_OK;
}

static osp_status read_model(osp_loader *l, osp_error *err)
{
    size_t metadata = 0;
    osp_wire_field field;
    osp_wire wire = osp_wire_open(l->model, "ModelProto");
    for (;;) {
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        OSP_TRY(read_model_field(l, &wire, &field, &metadata, err));
    }
    if (!l->main_graph.data)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "no graph in it: not an ONNX model, or a damaged one: "
                 "export or fetch it again");
    if (l->graph->ir_version < 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "IR version %lld: " OSP_REMEDY_EXPORT,
                 (long long)l->graph->ir_version);
    l->graph->metadata = osp_arena_array(&l->graph->arena, metadata, sizeof(osp_meta));
    uint8_t *kept = osp_arena_alloc(&l->graph->arena, l->kept_bytes);
    if (!l->graph->metadata || !kept)
        OSP_FAIL_MEMORY(err);
    l->graph->raw_model = (osp_bytes){kept, 0};
    wire = osp_wire_open(l->model, "ModelProto");
    for (;;) {
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            return OSP_OK;
        if (field.number == MODEL_METADATA && (size_t)l->graph->metadata_count < metadata)
            OSP_TRY(read_metadata(l, field.bytes, err));
        else
            OSP_TRY(keep_record(l, kept, &field, err));
    }
}

// ---- The graph ----------------------------------------------------------------------------------

static osp_status refuse_sparse(osp_bytes message, osp_error *err)
{
    osp_bytes values = {"", 0}, name = {"", 0};
    osp_wire_field field;
    osp_wire wire = osp_wire_open(message, "SparseTensorProto");
    for (;;) {
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == SPARSE_VALUES)
            OSP_TRY(osp_wire_bytes(&wire, &field, &values, err));
    }
    wire = osp_wire_open(values, "TensorProto");
    for (;;) {
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == TENSOR_NAME)
            OSP_TRY(osp_wire_name(&wire, &field, &name, err));
    }
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "the initializer '%.*s' is sparse: store it dense",
             OSP_SHOW(name));
}

static osp_status count_node(osp_loader *l, osp_bytes message, size_t *reads, osp_error *err)
{
    osp_onnx_node node;
    OSP_TRY(osp_onnx_node_parse(&node, message, l->nodes, err));
    l->nodes++;
    l->node_outputs += node.outputs;
    *reads += node.inputs;
    return OSP_OK;
}

static osp_status count_field(osp_loader *l, const osp_wire *wire, const osp_wire_field *field,
                              size_t *reads, osp_error *err)
{
    switch (field->number) {
    case GRAPH_NODE:
        OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err));
        return count_node(l, field->bytes, reads, err);
    case GRAPH_NAME:
        return copy_name(l, wire, field, &l->graph->name, err);
    case GRAPH_INITIALIZER:
        l->initializers++;
        return osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err);
    case GRAPH_INPUT:
        l->inputs++;
        return osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err);
    case GRAPH_OUTPUT:
        l->outputs++;
        return osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err);
    case GRAPH_SPARSE_INITIALIZER:
        OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err));
        return refuse_sparse(field->bytes, err);
    default:
        return OSP_OK;
    }
}

// Counts what the graph will take and holds it to the limits; then reserves it exactly.
static osp_status size_graph(osp_loader *l, osp_error *err)
{
    const uint64_t limit = l->ctx->limits.nodes;
    size_t reads = 0;
    osp_wire wire = osp_wire_open(l->main_graph, "GraphProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        OSP_TRY(count_field(l, &wire, &field, &reads, err));
    }
    // Networks have about three values a node, and far fewer nodes than the limit. Values are held
    // to it too, because a record of two bytes would cost more than a hundred in memory.
    const size_t values = l->initializers + l->inputs + l->node_outputs;
    if (values / 2 > limit + 1000 || reads / 16 > limit + 1000)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 "%zu values and %zu node inputs for %zu nodes: raise osp_limits.nodes", values,
                 reads, l->nodes);
    osp_graph *graph = l->graph;
    graph->values = osp_mem_alloc(&l->ctx->mem, values * sizeof *graph->values);
    graph->nodes = osp_mem_alloc(&l->ctx->mem, l->nodes * sizeof *graph->nodes);
    graph->value_capacity = graph->values ? values : 0;
    graph->node_capacity = graph->nodes ? l->nodes : 0;
    if (!graph->values || !graph->nodes)
        OSP_FAIL_MEMORY(err);
    return osp_name_table_init(&l->names, &l->ctx->mem, values, err);
}

static osp_status load(osp_loader *l, osp_error *err)
{
    OSP_TRY(osp_onnx_check_nesting(l->ctx, l->model, err));
    OSP_TRY(read_model(l, err));
    OSP_TRY(size_graph(l, err));
    OSP_TRY(osp_loader_add_initializers(l, err));
    OSP_TRY(osp_loader_add_inputs(l, err));
    const size_t before = l->graph->value_count;
    OSP_TRY(osp_loader_add_node_outputs(l, err));
    l->node_outputs = l->graph->value_count - before;  // without those left out
    OSP_TRY(osp_loader_add_nodes(l, err));
    return osp_loader_add_outputs(l, err);
}

osp_status osp_onnx_load(osp_graph *graph, osp_onnx_files *files, const uint8_t *bytes, size_t size,
                         const char *dir, osp_error *err)
{
    static const char lfs[] = "version https://git-lfs";
    if (size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the file is empty: export or fetch it again");
    if (size >= sizeof lfs - 1 && memcmp(bytes, lfs, sizeof lfs - 1) == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a Git LFS pointer and not the model: run git lfs pull");
    if (size > graph->ctx->limits.file_bytes)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%zu bytes: raise osp_limits.file_bytes", size);
    osp_loader l = {
        .ctx = graph->ctx,
        .graph = graph,
        .files = files,
        .dir = dir,
        .file_bytes = size,
        .model = {bytes, size},
    };
    osp_arena_init(&l.scratch, &l.ctx->mem);
    atomic_fetch_add(&l.ctx->bytes_read, size);
    const osp_status status = load(&l, err);
    osp_arena_free(&l.scratch);
    osp_name_table_free(&l.names);
    osp_mem_free(&l.ctx->mem, l.file_names);
    return status;
}
