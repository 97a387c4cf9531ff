// One walk over the structure of a whole ModelProto before anything is made of it: depth, number of
// nodes, and well-formed records at every level, subgraphs included.
#ifndef OSP_ONNX_NESTING_H
#define OSP_ONNX_NESTING_H

#include "onnx/wire.h"

// LIMIT for more than ctx->limits.nesting messages inside each other or more than limits.nodes
// nodes in all graphs together; FORMAT for malformed records.
osp_status osp_onnx_check_nesting(osp_context *ctx, osp_bytes model, osp_error *err);

#endif
