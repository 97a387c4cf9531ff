// The box distances of YOLO heads are expectations over bins; they need no transposition.
//
//     x N,4,16,A -> Transpose to N,16,4,A -> Softmax over 16 -> Conv 16:1, 1x1      (N,1,4,A)
//     =>   x -> Softmax over 16 -> MatMul(weights 1,16) -> Reshape                  (N,1,4,A)
//
// No bias, one group; the softmax and the transposed value are read by nobody else. A Cast before the
// softmax, as it stands in low precision, stays before it.
#include <string.h>

#include "ops/conv.h"
#include "ops/move.h"
#include "ops/norm.h"
#include "passes/edit.h"

// A 1x1 convolution to one channel with constant weights and nothing else.
static bool is_weighted_sum(const osp_graph *g, const osp_node *node)
{
    if (!osp_node_is(node, "Conv") || (node->input_count > 2 && node->inputs[2] != OSP_NO_VALUE))
        return false;
    const osp_conv_attrs *a = node->attrs;
    const osp_value *w = g->values + node->inputs[1], *src = g->values + node->inputs[0];
    if (!w->data || src->dtype != OSP_DTYPE_FLOAT32 || w->shape.rank != 4 ||
        w->shape.dims[0] != 1 || w->shape.dims[1] != src->shape.dims[1] || a->spatial != 2)
        return false;
    for (int32_t i = 0; i < 2; i++)
        if (a->window[i].size != 1 || a->window[i].stride != 1 || a->window[i].pad_begin ||
            a->window[i].pad_end)
            return false;
    return true;
}

static bool swaps_middle(const osp_node *node)
{
    const osp_transpose_attrs *a = node->attrs;
    static const int32_t wanted[4] = {0, 2, 1, 3};
    return !memcmp(a->resolved_perm, wanted, sizeof wanted);
}

static osp_status rewrite(osp_graph *graph, osp_node *softmax, osp_node *cast, osp_vid x,
                          size_t conv, osp_error *err)
{
    const osp_shape whole = graph->values[x].shape;  // N,4,16,A
    const osp_shape result = graph->values[graph->nodes[conv].outputs[0]].shape;
    const osp_shape row = {2, {1, whole.dims[2]}}, ints = {1, {4}};
    osp_shape sums = whole;
    sums.dims[2] = 1;
    const osp_vid weights_in = graph->nodes[conv].inputs[1];
    const float *weights = osp_edit_floats(graph, weights_in);
    const osp_vid left = weights ? osp_edit_constant(graph, "", OSP_DTYPE_FLOAT32, &row, weights)
                                 : OSP_NO_VALUE;
    const osp_vid shape = osp_graph_add_constant(graph, "", OSP_DTYPE_INT64, &ints, result.dims);
    const osp_vid likely = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &whole);
    const osp_vid sum = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &sums);
    if (left == OSP_NO_VALUE || shape == OSP_NO_VALUE || likely == OSP_NO_VALUE ||
        sum == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    if (cast) {
        const osp_vid wide = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &whole);
        if (wide == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(err);
        cast->inputs[0] = x;
        cast->outputs[0] = x = wide;
    }
    const osp_softmax_attrs over = {.axis = 2};
    softmax->outputs[0] = likely;
    OSP_TRY(osp_edit_become(graph, softmax, "", "Softmax", &x, 1, &over, err));
    const osp_vid product[2] = {left, likely}, reshape[2] = {sum, shape};
    osp_node *made = osp_graph_insert_node(graph, graph->node_count, osp_op_find("", "MatMul"),
                                           graph->nodes[conv].name, product, 2, &sum, 1, NULL);
    if (!made)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(osp_node_infer(graph, made, err));
    return osp_edit_become(graph, graph->nodes + conv, "", "Reshape", reshape, 2, NULL, err);
}

osp_status osp_pass_expectation(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++) {
        if (!is_weighted_sum(graph, graph->nodes + i))
            continue;
        osp_node *softmax = osp_edit_sole(graph, &uses, graph->nodes[i].inputs[0], "Softmax");
        if (!softmax || ((const osp_softmax_attrs *)softmax->attrs)->axis != 1 ||
            ((const osp_softmax_attrs *)softmax->attrs)->flatten)
            continue;
        osp_node *cast = osp_edit_sole(graph, &uses, softmax->inputs[0], "Cast");
        const osp_node *turned = osp_edit_sole(
            graph, &uses, cast ? cast->inputs[0] : softmax->inputs[0], "Transpose");
        if (turned && graph->values[turned->inputs[0]].shape.rank == 4 && swaps_middle(turned))
            status = rewrite(graph, softmax, cast, turned->inputs[0], i, err);
    }
    osp_uses_free(&uses);
    return status;
}
