// What the files of the compiler share; plan/compile.h is the interface.
#ifndef OSP_PLAN_COMPILE_PARTS_H
#define OSP_PLAN_COMPILE_PARTS_H

#include "plan/compile.h"

// ---- Choosing (choose.c) ------------------------------------------------------------------------

// The problem of a node with the rows and pitches of its storage. In `arena`.
osp_status osp_compile_problem(osp_problem *p, osp_arena *arena, const osp_graph *graph,
                               const osp_node *node, const osp_storage *storage, osp_error *err);
// The first tactic that accepts; NULL, and the last reason.
const osp_tactic *osp_compile_first_accepting(const osp_compiled *c, const osp_problem *p,
                                              const char **reason);
// Settles storage: slices wherever every node has a tactic that can work with them. UNSUPPORTED
// lists the nodes that no tactic takes even with dense operands.
osp_status osp_compile_storage(osp_compiled *c, osp_variant *v, osp_error *err);

// What a pass asks the backend. Passes take a no for an answer, so a failure to answer is kept.
typedef struct osp_compile_question {
    osp_compiled *compiled;
    osp_status failure;
} osp_compile_question;
// osp_pass_options.accepts; `user` is an osp_compile_question.
bool osp_compile_accepts(void *user, const osp_graph *graph, const osp_node *node);

// ---- After the steps (settle.c) -----------------------------------------------------------------

// After this no constant lies in the model's file, and all that are left are aligned.
osp_status osp_compile_constants(osp_compiled *c, osp_variant *v, bool copy_all, osp_error *err);

#endif
