// How far an engine of less than FP32 lies from the same graph in FP32, measured when it is built.
// Thread rule: as building, one thread.
#ifndef OSP_ENGINE_FP32_CHECK_H
#define OSP_ENGINE_FP32_CHECK_H

#include "engine/engine.h"

// Above this share of an output's range the log warns where no tolerance is set.
#define OSP_DIFFERENCE_WARNING 0.05

// Chosen rows come in another order, or are others, where two scores are as good as equal: positions
// of such outputs say nothing. Each graph output that depends on a choice (TopK, NonMaxSuppression,
// NonZero, ArgMax) is replaced by the values that choices read: floats that depend on none, entering a
// node that chooses or works on what was chosen. The graph is inferred,
// or its values' types are known.
osp_status osp_graph_expose_choices(osp_graph *graph, osp_error *err);

// Runs both on the same seeded input, one row where the batch is free. `low` and `fp32` have the same
// inputs and outputs. Differences go to `engine`, into its info and its log. INEXACT above `tolerance`
// (0: any is fine), naming the output.
osp_status osp_engine_compare_fp32(osp_engine *engine, osp_engine *low, osp_engine *fp32,
                                   double tolerance, osp_error *err);

#endif
