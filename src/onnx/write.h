// Graph -> ModelProto. Thread rule: the graph must not change meanwhile.
#ifndef OSP_ONNX_WRITE_H
#define OSP_ONNX_WRITE_H

#include "graph/graph.h"

// Writes an ONNX-level graph as a model: constants as initializers with raw_data, attributes as the
// file had them (raw_attrs), or else by the operator's table. UNSUPPORTED for nodes of the domain
// "osprey" and for values of types we do not have, both by name. The file appears whole or not at
// all.
osp_status osp_onnx_write(const osp_graph *graph, const char *path, osp_error *err);

// The same into one block of the graph's memory, weights included, which the caller frees.
osp_status osp_onnx_write_memory(const osp_graph *graph, void **out, size_t *size, osp_error *err);

#endif
