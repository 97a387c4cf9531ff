// Lets a concatenation take the whole of what was split, so that it can be a view.
//
//     Split(x) -> a, b;  Concat(..., a, b, ...)   =>   Concat(..., x, ...)     (same axis, all parts)
//
// a and b stay for other readers. This is the shape of every C2f block: without it a and b would be
// slices of x and could not be slices of the concatenation too.
#include <string.h>

#include "ops/move.h"
#include "passes/edit.h"

// All outputs of one split, in order, from input `at` on.
static const osp_node *whole_split(osp_graph *graph, const osp_uses *uses, const osp_node *concat,
                                   int32_t at)
{
    const osp_node *split = osp_edit_maker(graph, uses, concat->inputs[at]);
    if (!split || !osp_node_is(split, "Split") || at + split->output_count > concat->input_count)
        return NULL;
    const osp_axis_attrs *a = concat->attrs;
    const osp_split_attrs *s = split->attrs;
    if (a->resolved_axis != s->resolved_axis || graph->values[split->inputs[0]].data)
        return NULL;
    for (int32_t i = 0; i < split->output_count; i++)
        if (split->outputs[i] != concat->inputs[at + i])
            return NULL;
    return split;
}

osp_status osp_pass_views(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    for (size_t i = 0; i < graph->node_count; i++) {
        osp_node *node = graph->nodes + i;
        if (!osp_node_is(node, "Concat"))
            continue;
        for (int32_t k = 0; k < node->input_count; k++) {
            const osp_node *split = whole_split(graph, &uses, node, k);
            if (!split)
                continue;
            const int32_t drop = split->output_count - 1;
            node->inputs[k] = split->inputs[0];
            for (int32_t j = k + 1; j + drop < node->input_count; j++)
                node->inputs[j] = node->inputs[j + drop];
            node->input_count -= drop;
        }
    }
    osp_uses_free(&uses);
    return OSP_OK;
}
