// The two halves of the precision pass: precision.c decides which nodes compute in the low type,
// precision_casts.c rewrites the graph for it. Thread rule: one thread for each graph.
#ifndef OSP_PASSES_PRECISION_H
#define OSP_PASSES_PRECISION_H

#include "passes/edit.h"

typedef struct osp_low_plan {
    osp_graph *graph;
    const osp_uses *uses;
    osp_dtype type;   // float16 or bfloat16
    const bool *low;  // by node: computes in `type`
} osp_low_plan;

// Bit i: operand i has the type that the node computes in. 0: not an operator that can be low.
uint32_t osp_low_operands(const osp_graph *graph, const osp_node *node, osp_dtype type);

// Converts constants, changes types and inserts Casts. The nodes are no longer sorted afterwards.
osp_status osp_low_apply(const osp_low_plan *plan, osp_error *err);

#endif
