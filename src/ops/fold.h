// Constant folding: one node's reference kernel into the graph's arena, within a budget.
//
// A small bad file must not cost much: steps are bounded by limits.fold_elements, and the bytes
// that folding may keep by half of that plus four times the model's own constants, so that casts
// and transposes of large weights fold, but tensors made from nothing do not pile up.
// Thread rule: as osp_graph_infer.
#ifndef OSP_OPS_FOLD_H
#define OSP_OPS_FOLD_H

#include "ops/view.h"

typedef struct osp_fold_budget {
    double steps, bytes;  // left
} osp_fold_budget;

osp_fold_budget osp_fold_budget_of(const osp_graph *graph);

// All that the node depends on is constant, its outputs are typed. *folded: they have data now;
// else it would have cost more than the budget has, and nothing was changed.
osp_status osp_fold_node(osp_graph *graph, const osp_node *node, osp_fold_budget *budget,
                         bool *folded, osp_error *err);

#endif
