// Where values live: which ones own a buffer, and which are slices of another's.
//
// A concatenation's inputs are written straight into its output, a split's outputs read straight
// from its input, and reshapes cost nothing, wherever the bytes allow it. A value is a slice of at
// most one parent; everything else is copied by the node's own step. The result depends on nothing
// but the graph and `dense`, so it is recomputed when a plan is opened. Thread rule: any thread.
#ifndef OSP_PLAN_STORAGE_H
#define OSP_PLAN_STORAGE_H

#include "graph/graph.h"

// Inside the buffer of its root value. Element e of the value (dense order of its layout) is
// e / row * pitch + e % row elements after offset_bytes.
typedef struct osp_storage {
    osp_vid root;          // itself where it owns its buffer; OSP_NO_VALUE: constant or unused
    size_t offset_bytes;   // from the start of the root's buffer
    int64_t row, pitch;    // elements; equal: dense
    size_t buffer_bytes;   // of a root
    size_t buffer_offset;  // of a root, inside the activations of a session (memory planner);
                           // graph inputs and outputs too, unless the caller's memory is used
} osp_storage;

// `storage` and `dense` have graph->value_count entries. dense[v]: some reader or the writer of v
// needs its elements without gaps. `alias` false: every value owns its buffer.
osp_status osp_storage_assign(const osp_graph *graph, const bool *dense, bool alias,
                              osp_storage *storage, osp_error *err);

// True if the node has nothing to do: each of its results already lies where it belongs.
bool osp_storage_free_node(const osp_graph *graph, const osp_node *node,
                           const osp_storage *storage);

#endif
