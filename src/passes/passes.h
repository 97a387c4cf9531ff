// Passes: plain functions over an inferred graph, in one ordered array (passes.c).
// Each leaves a graph that is inferred and sorted again. Thread rule: one thread for each graph.
#ifndef OSP_PASSES_PASSES_H
#define OSP_PASSES_PASSES_H

#include "ops/op.h"

typedef struct osp_pass_options {
    osp_precision precision;       // AUTO: FP32
    const char *const *keep_fp32;  // names of nodes
    int32_t keep_fp32_count;
    // Can the backend run this node with these layouts and types? NULL: yes. Asked by passes that
    // change a node's layouts or make an internal node.
    bool (*accepts)(void *user, const osp_graph *graph, const osp_node *node);
    void *user;
} osp_pass_options;

typedef struct osp_pass {
    const char *name;
    uint32_t backends;  // bit (1 << osp_backend) each
    osp_status (*run)(osp_graph *graph, const osp_pass_options *options, osp_error *err);
} osp_pass;

extern const osp_pass osp_passes[];
extern const size_t osp_pass_count;

// All passes of a backend, in order.
osp_status osp_passes_run(osp_graph *graph, osp_backend backend, const osp_pass_options *options,
                          osp_error *err);

// One pass, then sweep and sort.
osp_status osp_pass_run(const osp_pass *pass, osp_graph *graph, const osp_pass_options *options,
                        osp_error *err);

osp_status osp_pass_fold(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_batch_norm(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_precision(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_identity(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_recompose(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_expectation(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_box_head(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_max_pools(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_transposes(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_fuse_conv(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_pixel_conv(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_attention(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_attention_maps(osp_graph *graph, const osp_pass_options *options,
                                   osp_error *err);
osp_status osp_pass_views(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_siblings(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_layout(osp_graph *graph, const osp_pass_options *options, osp_error *err);
osp_status osp_pass_rounding(osp_graph *graph, const osp_pass_options *options, osp_error *err);

#endif
