// The intermediate representation: values (tensors) and nodes, in topological order.
//
// A model's graph is as its file says: input dims may be free (-1), only constants have shapes.
// For each variant the graph is cloned, its inputs get their sizes, and osp_graph_infer gives every
// value a concrete type and shape, folding what is constant on the way. Passes then rewrite the
// clone. Values are named by index (osp_vid) so that clones and plans need no pointers.
// Thread rule: a graph that nobody changes may be read from any thread.
#ifndef OSP_GRAPH_GRAPH_H
#define OSP_GRAPH_GRAPH_H

#include "base/file.h"
#include "graph/shape.h"

typedef int32_t osp_vid;
enum { OSP_NO_VALUE = -1 };

typedef struct osp_op osp_op;  // ops/op.h

// How a rank-4 value lies in memory; shapes stay N,C,H,W in either. The reference backend ignores it.
typedef enum osp_layout {
    OSP_LAYOUT_PLAIN = 0,          // C order
    OSP_LAYOUT_CHANNELS_LAST = 1,  // N,H,W,C; set by the layout pass
} osp_layout;

typedef struct osp_value {
    const char *name;  // unique in the graph, never NULL; "" only for internal values
    osp_dtype dtype;
    osp_shape shape;
    const void *data;  // dense constant (maybe not aligned: it can lie in the mapped file), or NULL
    osp_layout layout;
    bool dropped;                  // a constant whose data lives on only in a tactic's packed form
    const char *const *dim_names;  // OSP_MAX_RANK names (NULL: none), or NULL; inputs, outputs
} osp_value;

typedef struct osp_node {
    const osp_op *op;                  // NULL: an operator that is not in ops.def (opaque)
    const char *name, *type, *domain;  // never NULL; domain "" is ai.onnx
    int32_t input_count, output_count;
    osp_vid *inputs, *outputs;  // OSP_NO_VALUE: left out
    void *attrs;                // op->attrs_size bytes; NULL for opaque nodes
    osp_bytes raw_attrs;        // the attributes as in the file (fields 5 of NodeProto, with their
                                // tags), for opaque nodes and for writing; may be empty
} osp_node;

typedef struct osp_meta {
    const char *key, *value;
} osp_meta;

typedef struct osp_graph {
    osp_context *ctx;
    osp_arena arena;  // everything below that is not in the mapped file lies here
    const char *name, *producer;
    int64_t ir_version, opset;  // opset of ai.onnx
    osp_value *values;
    size_t value_count, value_capacity;
    osp_node *nodes;  // topological order
    size_t node_count, node_capacity;
    osp_vid *inputs, *outputs;
    int32_t input_count, output_count;
    osp_meta *metadata;
    int32_t metadata_count;
    osp_bytes raw_model;  // ModelProto records kept for writing back: opsets of other domains,
                          // functions; may be empty
} osp_graph;

void osp_graph_init(osp_graph *graph, osp_context *ctx);
void osp_graph_free(osp_graph *graph);  // values and nodes arrays, and the arena
// A deep copy but for constant data and raw attributes, which stay where they are.
osp_status osp_graph_clone(osp_graph *out, const osp_graph *graph, osp_error *err);

// The value of a metadata key, or NULL.
const char *osp_graph_meta(const osp_graph *graph, const char *key);

// Appends. OSP_NO_VALUE / NULL: out of memory, or over the limit of nodes. `name` is copied.
osp_vid osp_graph_add_value(osp_graph *graph, const char *name, osp_dtype dtype,
                            const osp_shape *shape);
// A constant whose data is copied into the arena.
osp_vid osp_graph_add_constant(osp_graph *graph, const char *name, osp_dtype dtype,
                               const osp_shape *shape, const void *data);
// Inserts before position `at` (node_count: at the end). Arrays are copied; attrs zero, or a copy.
osp_node *osp_graph_insert_node(osp_graph *graph, size_t at, const osp_op *op, const char *name,
                                const osp_vid *inputs, int32_t input_count, const osp_vid *outputs,
                                int32_t output_count, const void *attrs);

// Who makes and who reads each value; made anew after a change. Arena of its own.
typedef struct osp_uses {
    int32_t *producer;       // node that makes value v, or -1
    int32_t *first, *count;  // readers of v: nodes list[first[v]] .. (a node once per input slot)
    int32_t *list;
    bool *is_output;  // graph output
    osp_arena arena;
} osp_uses;
osp_status osp_graph_uses(osp_uses *out, const osp_graph *graph, osp_error *err);
void osp_uses_free(osp_uses *uses);

// Every read of `from`, graph outputs included, becomes one of `to`.
void osp_graph_replace(osp_graph *graph, osp_vid from, osp_vid to);
// Drops nodes marked dead (type NULL set by osp_graph_kill) and nodes none of whose outputs is
// needed for a graph output; values keep their numbers.
void osp_graph_kill(osp_node *node);
osp_status osp_graph_sweep(osp_graph *graph, osp_error *err);
// Sorts nodes topologically (stable). FORMAT for a cycle or a value nobody makes, named.
osp_status osp_graph_sort(osp_graph *graph, osp_error *err);

#endif
