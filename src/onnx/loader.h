// Inside load.c, values.c, nodes.c, attributes.c, external.c only: the state of one load.
#ifndef OSP_ONNX_LOADER_H
#define OSP_ONNX_LOADER_H

#include "onnx/load.h"
#include "onnx/name_table.h"
#include "onnx/proto.h"
#include "onnx/tensor.h"
#include "ops/op.h"

#define OSP_REMEDY_EXPORT "export the model again"

// A name from a file in a message: use with "%.*s".
#define OSP_SHOW(bytes) (int)((bytes).size < 64 ? (bytes).size : 64), (const char *)(bytes).data

typedef struct osp_loader {
    osp_context *ctx;
    osp_graph *graph;
    osp_onnx_files *files;
    const char **file_names;  // of files->list; in the graph's arena
    size_t file_names_capacity;
    const char *dir;
    uint64_t file_bytes;  // of the model and its external data so far
    osp_name_table names;
    osp_arena scratch;  // for one node, emptied after it
    osp_bytes model, main_graph;
    size_t kept_bytes;  // of graph->raw_model
    bool has_opset;
    size_t nodes, initializers, inputs, outputs;  // records in the file
    size_t node_outputs;
    bool unsorted;  // some node reads what a later one makes
} osp_loader;

// One NodeProto, seen in place.
typedef struct osp_onnx_node {
    osp_bytes name, type, domain;  // domain "ai.onnx" is ""
    osp_bytes message, attrs;      // attrs: from the first attribute record to the last
    bool contiguous;               // nothing else lies between them
    size_t inputs, outputs, attributes, attribute_bytes;
    char label[160];  // "node 'x' (Conv)", for messages
} osp_onnx_node;

static inline bool osp_bytes_are(osp_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

// A terminated copy in `arena`, NULL without memory.
static inline char *osp_bytes_text(osp_arena *arena, osp_bytes bytes)
{
    return osp_arena_strndup(arena, bytes.data, bytes.size);
}

// nodes.c
osp_status osp_onnx_node_parse(osp_onnx_node *out, osp_bytes message, size_t index, osp_error *err);
// The descriptor, or NULL for an opaque node.
osp_status osp_loader_find_op(osp_loader *l, const osp_onnx_node *node, const osp_op **out,
                              osp_error *err);
bool osp_onnx_node_is_constant(const osp_onnx_node *node);
// Is an operator of ai.onnx known at the model's opset?
osp_status osp_loader_check_opset(osp_loader *l, const char *type, osp_error *err);
osp_status osp_loader_add_nodes(osp_loader *l, osp_error *err);

// values.c: initializers, graph inputs, what nodes make, graph outputs; in this order.
osp_status osp_loader_add_initializers(osp_loader *l, osp_error *err);
osp_status osp_loader_add_inputs(osp_loader *l, osp_error *err);
osp_status osp_loader_add_node_outputs(osp_loader *l, osp_error *err);
osp_status osp_loader_add_outputs(osp_loader *l, osp_error *err);

// attributes.c
// All attributes of a node, decoded into the loader's scratch arena.
osp_status osp_loader_attributes(osp_loader *l, const osp_onnx_node *node, osp_attr **out,
                                 size_t *count, osp_error *err);
// The value of a Constant node.
osp_status osp_loader_constant(osp_loader *l, const osp_onnx_node *node, osp_value *out,
                               osp_error *err);
// The bytes of all attributes in one piece.
osp_status osp_loader_raw_attributes(osp_loader *l, const osp_onnx_node *node, osp_bytes *out,
                                     osp_error *err);

// external.c
// Points *data at the bytes of an external tensor.
osp_status osp_loader_external(osp_loader *l, const osp_onnx_tensor *tensor, const void **data,
                               osp_error *err);
// dtype, shape and data of a tensor wherever its elements lie; decoded ones go into `arena`. Never
// NULL data, not even for an empty tensor: that is what marks a constant.
osp_status osp_loader_tensor(osp_loader *l, osp_arena *arena, osp_bytes message, osp_value *out,
                             osp_error *err);

#endif
