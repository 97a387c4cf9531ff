// Problems: built from a node, and their canonical line of text (docs/problem-text.md).
// Thread rule: any thread; an arena from one thread at a time.
#ifndef OSP_BACKENDS_PROBLEM_H
#define OSP_BACKENDS_PROBLEM_H

#include "backends/tactic.h"

enum { OSP_PROBLEM_TEXT_BYTES = 4096 };

// The problem of a node whose operands are all dense; arrays lie in `arena`. The caller sets rows
// and pitches of slices. MEMORY.
osp_status osp_problem_of_node(osp_problem *out, osp_arena *arena, const osp_graph *graph,
                               const osp_node *node, osp_error *err);

// Writes the line; returns its length like snprintf does.
size_t osp_problem_print(const osp_problem *p, char *out, size_t size);
// Its inverse, for any terminated text; what it makes lies in `arena`. FORMAT says where the text
// is wrong. Attributes are as written: what they mean is checked by osp_problem_infer.
osp_status osp_problem_scan(osp_problem *out, osp_arena *arena, const char *text, osp_error *err);

// Multiply-adds count two; source, weights and destination once each.
void osp_problem_cost(const osp_problem *p, double *flops, double *bytes);

#endif
