// See write.h.
#include "onnx/write.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "onnx/encode.h"
#include "onnx/proto.h"
#include "onnx/tensor.h"
#include "ops/op.h"

// From IR version 4 on initializers need not be inputs; 7 is what opset 13 came with.
enum { MIN_IR_VERSION = 7 };

// Values without a name of their own get one that no file can have: names in files are checked, but
// not for this, so the number alone must make it unlikely.
static const char *value_name(const osp_graph *graph, osp_vid v, char *text, size_t size)
{
    if (v == OSP_NO_VALUE)
        return "";
    if (graph->values[v].name[0])
        return graph->values[v].name;
    snprintf(text, size, "osprey.value.%d", v);
    return text;
}

// ---- Attributes ---------------------------------------------------------------------------------

// One list attribute: count first, then the elements where their alignment puts them.
static void encode_list(osp_encoder *e, const osp_attr_row *row, const char *field)
{
    int32_t count;
    memcpy(&count, field, sizeof count);
    const bool ints = row->kind == OSP_ATTR_INTS;
    for (int32_t i = 0; i < count && (uint32_t)i < row->capacity; i++) {
        int64_t number;
        float real;
        if (ints) {
            memcpy(&number, field + offsetof(osp_ints, v) + (size_t)i * sizeof number,
                   sizeof number);
            osp_encode_int(e, ATTR_INTS, number);
        } else {
            memcpy(&real, field + offsetof(osp_floats, v) + (size_t)i * sizeof real, sizeof real);
            osp_encode_float(e, ATTR_FLOATS, real);
        }
    }
    osp_encode_int(e, ATTR_TYPE, ints ? ATTR_TYPE_INTS : ATTR_TYPE_FLOATS);
}

static void encode_enum(osp_encoder *e, const osp_attr_row *row, const char *field)
{
    int32_t index;
    memcpy(&index, field, sizeof index);
    const char *at = row->names;
    while (index-- > 0 && strchr(at, '|'))
        at = strchr(at, '|') + 1;
    osp_encode_bytes(e, ATTR_S, (osp_bytes){at, strcspn(at, "|")});
    osp_encode_int(e, ATTR_TYPE, ATTR_TYPE_STRING);
}

static void encode_scalar(osp_encoder *e, const char *field)
{
    osp_scalar scalar;
    memcpy(&scalar, field, sizeof scalar);
    const int64_t dim = 1;
    const osp_encode_mark tensor = osp_encode_begin(e, ATTR_T);
    osp_encode_tensor(e, "", (osp_dtype)scalar.dtype, 1, &dim,
                      (osp_bytes){scalar.bytes, osp_dtype_bytes((osp_dtype)scalar.dtype)});
    osp_encode_end(e, tensor);
    osp_encode_int(e, ATTR_TYPE, ATTR_TYPE_TENSOR);
}

static void encode_attribute(osp_encoder *e, const osp_attr_row *row, const char *field)
{
    int64_t number;
    float real;
    const osp_encode_mark mark = osp_encode_begin(e, NODE_ATTRIBUTE);
    osp_encode_text(e, ATTR_NAME, row->name);
    switch (row->kind) {
    case OSP_ATTR_INT:
        memcpy(&number, field, sizeof number);
        osp_encode_int(e, ATTR_I, number);
        osp_encode_int(e, ATTR_TYPE, ATTR_TYPE_INT);
        break;
    case OSP_ATTR_FLOAT:
        memcpy(&real, field, sizeof real);
        osp_encode_float(e, ATTR_F, real);
        osp_encode_int(e, ATTR_TYPE, ATTR_TYPE_FLOAT);
        break;
    case OSP_ATTR_INTS:
    case OSP_ATTR_FLOATS:
        encode_list(e, row, field);
        break;
    case OSP_ATTR_ENUM:
        encode_enum(e, row, field);
        break;
    case OSP_ATTR_STRING:
        osp_encode_bytes(e, ATTR_S, (osp_bytes){field, strnlen(field, row->capacity)});
        osp_encode_int(e, ATTR_TYPE, ATTR_TYPE_STRING);
        break;
    case OSP_ATTR_SCALAR:
        encode_scalar(e, field);
        break;
    case OSP_ATTR_IGNORED:
        break;
    }
    osp_encode_end(e, mark);
}

static size_t field_bytes(const osp_attr_row *row)
{
    switch (row->kind) {
    case OSP_ATTR_INT:
        return sizeof(int64_t);
    case OSP_ATTR_FLOAT:
        return sizeof(float);
    case OSP_ATTR_INTS:
        return offsetof(osp_ints, v) + row->capacity * sizeof(int64_t);
    case OSP_ATTR_FLOATS:
        return offsetof(osp_floats, v) + row->capacity * sizeof(float);
    case OSP_ATTR_ENUM:
        return sizeof(int32_t);
    case OSP_ATTR_STRING:
        return row->capacity;
    case OSP_ATTR_SCALAR:
        return sizeof(osp_scalar);
    case OSP_ATTR_IGNORED:
        break;
    }
    return 0;
}

// True where the field holds the default, which then need not be written.
static bool is_default(const osp_op *op, const osp_attr_row *row, const char *field)
{
    const size_t bytes = field_bytes(row);
    if (op->defaults)
        return memcmp(field, (const char *)op->defaults + row->offset, bytes) == 0;
    for (size_t i = 0; i < bytes; i++)
        if (field[i])
            return false;
    return true;
}

// Attributes of a node that a pass made. `axis` is written always: Concat must have it.
static osp_status encode_by_table(osp_encoder *e, const osp_graph *graph, const osp_node *node,
                                  osp_error *err)
{
    const osp_attr_row *row = node->op->attr_table;
    for (; row && row->name; row++) {
        const char *field = (const char *)node->attrs + row->offset;
        if (row->since == OSP_ATTR_INTERNAL || row->kind == OSP_ATTR_IGNORED)
            continue;
        const bool has = graph->opset >= row->since && (!row->until || graph->opset <= row->until);
        const bool plain = is_default(node->op, row, field);
        if (has && (!plain || strcmp(row->name, "axis") == 0))
            encode_attribute(e, row, field);
        else if (!has && !plain)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "node '%s' (%s): attribute '%s' does not exist in opset %lld: convert the "
                     "model to a newer one",
                     node->name, node->type, row->name, (long long)graph->opset);
    }
    return OSP_OK;
}

// ---- The graph ----------------------------------------------------------------------------------

static osp_status encode_node(osp_encoder *e, const osp_graph *graph, const osp_node *node,
                              osp_error *err)
{
    char text[48];
    if (strcmp(node->domain, "osprey") == 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "node '%s' (%s) has no ONNX form: write the graph before it is fused", node->name,
                 node->type);
    const osp_encode_mark mark = osp_encode_begin(e, GRAPH_NODE);
    for (int32_t i = 0; i < node->input_count; i++)
        osp_encode_text(e, NODE_INPUT, value_name(graph, node->inputs[i], text, sizeof text));
    for (int32_t i = 0; i < node->output_count; i++)
        osp_encode_text(e, NODE_OUTPUT, value_name(graph, node->outputs[i], text, sizeof text));
    osp_encode_text(e, NODE_NAME, node->name);
    osp_encode_text(e, NODE_OP_TYPE, node->type);
    if (node->raw_attrs.data)
        osp_encode_records(e, node->raw_attrs);
    else if (node->op)
        OSP_TRY(encode_by_table(e, graph, node, err));
    if (node->domain[0])
        osp_encode_text(e, NODE_DOMAIN, node->domain);
    osp_encode_end(e, mark);
    return OSP_OK;
}

static osp_status encode_info(osp_encoder *e, const osp_graph *graph, uint32_t field, osp_vid v,
                              osp_error *err)
{
    const osp_value *value = graph->values + v;
    char text[48];
    const char *name = value_name(graph, v, text, sizeof text);
    if (value->dtype == OSP_DTYPE_UNKNOWN)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "'%s' has a type that cannot be written", name);
    const osp_encode_mark info = osp_encode_begin(e, field);
    osp_encode_text(e, INFO_NAME, name);
    const osp_encode_mark type = osp_encode_begin(e, INFO_TYPE);
    const osp_encode_mark tensor = osp_encode_begin(e, TYPE_TENSOR);
    osp_encode_int(e, TENSOR_TYPE_ELEM, osp_onnx_dtype_elem(value->dtype));
    if (value->shape.rank >= 0) {
        const osp_encode_mark shape = osp_encode_begin(e, TENSOR_TYPE_SHAPE);
        for (int32_t d = 0; d < value->shape.rank; d++) {
            const osp_encode_mark dim = osp_encode_begin(e, SHAPE_DIM);
            if (value->shape.dims[d] >= 0)
                osp_encode_int(e, DIM_VALUE, value->shape.dims[d]);
            else if (value->dim_names && value->dim_names[d])
                osp_encode_text(e, DIM_PARAM, value->dim_names[d]);
            osp_encode_end(e, dim);
        }
        osp_encode_end(e, shape);
    }
    osp_encode_end(e, tensor);
    osp_encode_end(e, type);
    osp_encode_end(e, info);
    return OSP_OK;
}

// Constants that somebody reads.
static osp_status encode_initializers(osp_encoder *e, const osp_graph *graph, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    for (size_t v = 0; v < graph->value_count && !status; v++) {
        const osp_value *value = graph->values + v;
        size_t bytes;
        char text[48];
        if (!value->data || (uses.count[v] == 0 && !uses.is_output[v]))
            continue;
        const char *name = value_name(graph, (osp_vid)v, text, sizeof text);
        if (!osp_shape_bytes(&value->shape, value->dtype, &bytes)) {
            status = osp_error_set(err, OSP_ERROR_UNSUPPORTED,
                                   "constant '%s' has a type that cannot be written", name);
            break;
        }
        const osp_encode_mark mark = osp_encode_begin(e, GRAPH_INITIALIZER);
        osp_encode_tensor(e, name, value->dtype, value->shape.rank, value->shape.dims,
                          (osp_bytes){value->data, bytes});
        osp_encode_end(e, mark);
    }
    osp_uses_free(&uses);
    return status;
}

static osp_status encode_graph(osp_encoder *e, const osp_graph *graph, osp_error *err)
{
    const osp_encode_mark mark = osp_encode_begin(e, MODEL_GRAPH);
    for (size_t n = 0; n < graph->node_count; n++)
        OSP_TRY(encode_node(e, graph, graph->nodes + n, err));
    osp_encode_text(e, GRAPH_NAME, graph->name[0] ? graph->name : "graph");
    OSP_TRY(encode_initializers(e, graph, err));
    for (int32_t i = 0; i < graph->input_count; i++)
        OSP_TRY(encode_info(e, graph, GRAPH_INPUT, graph->inputs[i], err));
    for (int32_t i = 0; i < graph->output_count; i++)
        OSP_TRY(encode_info(e, graph, GRAPH_OUTPUT, graph->outputs[i], err));
    osp_encode_end(e, mark);
    return OSP_OK;
}

static osp_status encode_model(osp_encoder *e, const osp_graph *graph, osp_error *err)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", OSP_VERSION_MAJOR, OSP_VERSION_MINOR,
             OSP_VERSION_PATCH);
    osp_encode_int(e, MODEL_IR_VERSION, osp_i64_max(graph->ir_version, MIN_IR_VERSION));
    osp_encode_text(e, MODEL_PRODUCER_NAME, "osprey");
    osp_encode_text(e, MODEL_PRODUCER_VERSION, version);
    OSP_TRY(encode_graph(e, graph, err));
    if (graph->opset > 0) {  // 0: all nodes are of other domains
        const osp_encode_mark opset = osp_encode_begin(e, MODEL_OPSET_IMPORT);
        osp_encode_text(e, OPSET_DOMAIN, "");
        osp_encode_int(e, OPSET_VERSION, graph->opset);
        osp_encode_end(e, opset);
    }
    osp_encode_records(e, graph->raw_model);
    for (int32_t i = 0; i < graph->metadata_count; i++) {
        const osp_encode_mark entry = osp_encode_begin(e, MODEL_METADATA);
        osp_encode_text(e, ENTRY_KEY, graph->metadata[i].key);
        osp_encode_text(e, ENTRY_VALUE, graph->metadata[i].value);
        osp_encode_end(e, entry);
    }
    return OSP_OK;
}

osp_status osp_onnx_write(const osp_graph *graph, const char *path, osp_error *err)
{
    osp_encoder e;
    osp_encoder_init(&e, &graph->ctx->mem);
    osp_status status = encode_model(&e, graph, err);
    if (!status)
        status = osp_encoder_write(&e, path, err);
    osp_encoder_free(&e);
    return status;
}

osp_status osp_onnx_write_memory(const osp_graph *graph, void **out, size_t *size, osp_error *err)
{
    osp_encoder e;
    osp_encoder_init(&e, &graph->ctx->mem);
    osp_status status = encode_model(&e, graph, err);
    if (!status)
        status = osp_encoder_join(&e, out, size, err);
    osp_encoder_free(&e);
    return status;
}
