// The convolution that reads an image in float32 rounds it by itself.
//
//     x float32 -> Cast to float16 -> Conv | FusedConv         =>   x -> FusedConv
//
// Runs last, when layouts are settled: which kernels can do so depends on them. Nobody else reads the
// Cast's result.
#include <string.h>

#include "ops/internal.h"
#include "passes/edit.h"

static bool rounds_to_half(const osp_graph *graph, const osp_node *node)
{
    return node && graph->values[node->inputs[0]].dtype == OSP_DTYPE_FLOAT32 &&
           graph->values[node->outputs[0]].dtype == OSP_DTYPE_FLOAT16;
}

static osp_status visit(osp_graph *graph, const osp_uses *uses, const osp_pass_options *options,
                        osp_node *conv, osp_error *err)
{
    osp_node *cast = osp_edit_sole(graph, uses, conv->inputs[0], "Cast");
    if (!rounds_to_half(graph, cast))
        return OSP_OK;
    osp_vid inputs[4] = {cast->inputs[0], OSP_NO_VALUE, OSP_NO_VALUE, OSP_NO_VALUE};
    for (int32_t i = 1; i < 4 && i < conv->input_count; i++)
        inputs[i] = conv->inputs[i];
    const osp_fused_conv_attrs attrs =
        osp_node_is(conv, "Conv")
            ? (osp_fused_conv_attrs){.conv = *(const osp_conv_attrs *)conv->attrs}
            : *(const osp_fused_conv_attrs *)conv->attrs;
    bool done;
    OSP_TRY(osp_edit_try(graph, options, conv, "osprey", "FusedConv", inputs,
                         inputs[3] == OSP_NO_VALUE ? 3 : 4, &attrs, &done, err));
    if (done)
        osp_graph_kill(cast);
    return OSP_OK;
}

osp_status osp_pass_rounding(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++) {
        osp_node *node = graph->nodes + i;
        if (node->op && node->type &&
            (osp_node_is(node, "Conv") || !strcmp(node->type, "FusedConv")))
            status = visit(graph, &uses, options, node, err);
    }
    osp_uses_free(&uses);
    return status;
}
