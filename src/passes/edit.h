// What the passes share: finding patterns and rewriting nodes in place.
//
// A pass looks at the graph through an osp_uses made at its start. Rewriting a node in place, and
// killing others, leaves node numbers as they are; nodes that must be new are appended, and sorted
// in when the pass has ended. Thread rule: one thread for each graph.
#ifndef OSP_PASSES_EDIT_H
#define OSP_PASSES_EDIT_H

#include "passes/passes.h"

// The use lists of an osp_uses know the values that there were when it was made, no later ones.
bool osp_node_is(const osp_node *node, const char *type);  // of ai.onnx
// The node that makes v, if it is of `type` and v is read once and is no graph output; else NULL.
osp_node *osp_edit_sole(osp_graph *graph, const osp_uses *uses, osp_vid v, const char *type);
// The one reader of v, if there is only one and v is no graph output; else NULL.
osp_node *osp_edit_reader(osp_graph *graph, const osp_uses *uses, osp_vid v);
osp_node *osp_edit_maker(osp_graph *graph, const osp_uses *uses, osp_vid v);  // or NULL
// v is a constant of one element (or all elements alike are not looked for); its value.
bool osp_edit_scalar(const osp_graph *graph, osp_vid v, double *out);
// The operand of a two-operand node that is not `v`.
osp_vid osp_edit_other(const osp_node *node, osp_vid v);

// Turns a node into another operator with these inputs and attributes (NULL: defaults), keeps its
// outputs, and infers it. The node's name stays.
osp_status osp_edit_become(osp_graph *graph, osp_node *node, const char *domain, const char *type,
                           const osp_vid *inputs, int32_t count, const void *attrs, osp_error *err);
// The same, but only if the outputs keep their types and shapes and the backend accepts the node.
// *done false: the node is as it was.
osp_status osp_edit_try(osp_graph *graph, const osp_pass_options *options, osp_node *node,
                        const char *domain, const char *type, const osp_vid *inputs, int32_t count,
                        const void *attrs, bool *done, osp_error *err);
// Appends a node that makes these values, which have types and shapes, if it infers to just those and
// the backend accepts it. *made NULL: it was not appended.
osp_status osp_edit_offer(osp_graph *graph, const osp_pass_options *options, const char *domain,
                          const char *type, const char *name, const osp_vid *inputs, int32_t count,
                          const osp_vid *outputs, int32_t output_count, const void *attrs,
                          osp_node **made, osp_error *err);
// A new value of a type and shape; NO_VALUE: no memory.
osp_vid osp_edit_value(osp_graph *graph, osp_dtype dtype, const osp_shape *shape);
// Appends a node with one input and one new output like the input; returns the output.
osp_vid osp_edit_append(osp_graph *graph, const char *domain, const char *type, const char *name,
                        osp_vid input, const void *attrs);
// Lets readers of the node's output 0 read its input `kept` instead, and kills it; names of graph
// outputs stay. false: it has to stay (a graph input or constant as graph output).
bool osp_edit_bypass(osp_graph *graph, const osp_uses *uses, osp_node *node, int32_t kept);
// Elements of a float constant as floats, in the arena; NULL: not one, or no memory.
float *osp_edit_floats(osp_graph *graph, osp_vid v);
// A float constant of that type from floats.
osp_vid osp_edit_constant(osp_graph *graph, const char *name, osp_dtype dtype,
                          const osp_shape *shape, const float *data);

#endif
