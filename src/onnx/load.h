// ModelProto -> graph. Thread rule: one thread loads; the result may be read from any.
//
// Weights are not copied: constant values point into the model's bytes (raw_data, packed floats) or
// into mapped external files. Only typed data that must be decoded goes into the graph's arena.
// Constant nodes become values. Nodes of operators that are not in ops.def, or that are called by
// functions of the model, stay opaque: type, inputs, outputs and the bytes of their attributes.
#ifndef OSP_ONNX_LOAD_H
#define OSP_ONNX_LOAD_H

#include "graph/graph.h"

// Opsets of ai.onnx that the operators' attribute tables cover. 1 to 5 are taken too where all
// operators are as opset 6 has them.
enum { OSP_OPSET_MIN = 6, OSP_OPSET_MAX = 22 };

// External data files of a model, mapped. Zeroed is empty. Whoever keeps the graph keeps these.
typedef struct osp_onnx_files {
    osp_mem *mem;
    osp_file *list;
    size_t count, capacity;
} osp_onnx_files;
void osp_onnx_files_free(osp_onnx_files *files);

// `graph`: initialised and empty; `files`: zeroed. Both are the caller's to free, on failure too.
// `bytes` must outlive the graph. `dir`: the model's folder, for external data; NULL: refused.
// FORMAT, LIMIT, UNSUPPORTED, IO or MEMORY; errors name node or tensor.
osp_status osp_onnx_load(osp_graph *graph, osp_onnx_files *files, const uint8_t *bytes, size_t size,
                         const char *dir, osp_error *err);

#endif
