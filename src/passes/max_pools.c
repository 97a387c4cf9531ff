// Three pools in a row, as pyramids of pooling have them, become one node.
//
//     x -> MaxPool -> a -> MaxPool -> b -> MaxPool -> c        =>   x -> osprey.MaxPools -> a, b, c
//
// All alike: square windows of odd size, stride 1, padded to the same size. Others may read a and b.
#include "ops/internal.h"
#include "ops/pool.h"
#include "passes/edit.h"

// The window's size; 0: another kind of pool.
static int64_t same_size(const osp_node *node)
{
    if (!osp_node_is(node, "MaxPool") || node->output_count != 1)
        return 0;
    const osp_pool_attrs *a = node->attrs;
    const osp_window *w = a->window;
    for (int32_t i = 0; i < 2; i++)
        if (a->spatial != 2 || w[i].size != w[0].size || w[i].size % 2 == 0 || w[i].stride != 1 ||
            w[i].dilation != 1 || w[i].pad_begin != w[i].size / 2 || w[i].pad_end != w[i].size / 2)
            return 0;
    return w[0].size;
}

// A pool of the same kind that reads v; -1: none.
static int32_t next_pool(const osp_graph *graph, const osp_uses *uses, osp_vid v, int64_t size)
{
    for (int32_t i = 0; i < uses->count[v]; i++) {
        const int32_t n = uses->list[uses->first[v] + i];
        if (graph->nodes[n].type && same_size(graph->nodes + n) == size)
            return n;
    }
    return -1;
}

static osp_status fuse(osp_graph *graph, const osp_uses *uses, const osp_pass_options *options,
                       int32_t first, osp_error *err)
{
    const osp_max_pools_attrs attrs = {.size = same_size(graph->nodes + first)};
    int32_t nodes[OSP_MAX_POOLS] = {first};
    osp_vid outputs[OSP_MAX_POOLS] = {graph->nodes[first].outputs[0]};
    for (int32_t i = 1; i < OSP_MAX_POOLS; i++) {
        nodes[i] = next_pool(graph, uses, outputs[i - 1], attrs.size);
        if (nodes[i] < 0)
            return OSP_OK;
        outputs[i] = graph->nodes[nodes[i]].outputs[0];
    }
    osp_node *made;
    OSP_TRY(osp_edit_offer(graph, options, "osprey", "MaxPools", graph->nodes[first].name,
                           graph->nodes[first].inputs, 1, outputs, OSP_MAX_POOLS, &attrs, &made,
                           err));
    for (int32_t i = 0; made && i < OSP_MAX_POOLS; i++)
        osp_graph_kill(graph->nodes + nodes[i]);
    return OSP_OK;
}

osp_status osp_pass_max_pools(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++)
        if (graph->nodes[i].type && same_size(graph->nodes + i))
            status = fuse(graph, &uses, options, (int32_t)i, err);
    osp_uses_free(&uses);
    return status;
}
