// The box distances of YOLO heads are expectations over bins; they need no transposition.
//
//     x N,4,16,A -> Transpose to N,16,4,A -> Softmax over 16 -> Conv 16:1, 1x1      (N,1,4,A)
//     x N,4,16,A -> Transpose to N,A,4,16 -> Softmax over 16 -> Transpose to N,16,4,A -> Conv
//     =>   x -> osprey.Expectation(weights 16) -> Reshape                           (N,1,4,A)
//     =>   x -> Softmax over 16 -> MatMul(weights 1,16) -> Reshape      where the backend refuses it
//
// No bias, one group; what lies between is read by nobody else. A Cast before the softmax, as it
// stands in low precision, is not needed by the one and stays before the other.
#include <string.h>

#include "ops/conv.h"
#include "ops/internal.h"
#include "ops/move.h"
#include "ops/norm.h"
#include "passes/edit.h"

enum { BINS = 2 };  // axis of x

typedef struct match {
    osp_vid x;
    osp_node *softmax, *cast, *after;  // cast, and a Transpose after the softmax; NULL: none
} match;

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

// Over one axis.
static bool is_softmax_of(const osp_node *node, int32_t axis)
{
    const osp_softmax_attrs *a = node->attrs;
    return a->axis == axis && (!a->flatten || axis == 3);
}

static bool find(osp_graph *graph, const osp_uses *uses, const osp_node *conv, match *out)
{
    static const int32_t in_order[4] = {0, 1, 2, 3};
    osp_vid v = conv->inputs[0];
    out->after = osp_edit_sole(graph, uses, v, "Transpose");
    out->softmax = osp_edit_sole(graph, uses, out->after ? out->after->inputs[0] : v, "Softmax");
    if (!out->softmax)
        return false;
    v = out->softmax->inputs[0];
    out->cast = osp_edit_sole(graph, uses, v, "Cast");
    const osp_node *before = osp_edit_sole(graph, uses, out->cast ? out->cast->inputs[0] : v,
                                           "Transpose");
    if (!before || graph->values[before->inputs[0]].shape.rank != 4)
        return false;
    out->x = before->inputs[0];
    const int32_t *p = ((const osp_transpose_attrs *)before->attrs)->resolved_perm;
    const osp_node *after = out->after;
    const int32_t *q = after ? ((const osp_transpose_attrs *)after->attrs)->resolved_perm
                             : in_order;
    for (int32_t d = 0; d < 4; d++)
        if (p[d] == BINS && !is_softmax_of(out->softmax, d))
            return false;
    return p[q[0]] == 0 && p[q[1]] == BINS && p[q[2]] == 1;
}

// ---- What comes instead -------------------------------------------------------------------------

static osp_status become_reshape(osp_graph *graph, size_t conv, osp_vid src, osp_error *err)
{
    const osp_shape result = graph->values[graph->nodes[conv].outputs[0]].shape, ints = {1, {4}};
    const osp_vid shape = osp_graph_add_constant(graph, "", OSP_DTYPE_INT64, &ints, result.dims);
    if (shape == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    const osp_vid inputs[2] = {src, shape};
    return osp_edit_become(graph, graph->nodes + conv, "", "Reshape", inputs, 2, NULL, err);
}

static osp_status try_expectation(osp_graph *graph, const osp_pass_options *options, const match *m,
                                  size_t conv, bool *done, osp_error *err)
{
    osp_shape sums = graph->values[m->x].shape;
    const osp_shape row = {1, {sums.dims[BINS]}};
    sums.dims[BINS] = 1;
    const float *weights = osp_edit_floats(graph, graph->nodes[conv].inputs[1]);
    const osp_vid inputs[2] = {
        m->x,
        weights ? osp_edit_constant(graph, "", OSP_DTYPE_FLOAT32, &row, weights) : OSP_NO_VALUE};
    const osp_vid sum = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &sums);
    if (inputs[1] == OSP_NO_VALUE || sum == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    const osp_expectation_attrs attrs = {.axis = BINS};
    osp_node *made;
    OSP_TRY(osp_edit_offer(graph, options, "osprey", "Expectation", graph->nodes[conv].name, inputs,
                           2, &sum, 1, &attrs, &made, err));
    *done = made != NULL;
    return made ? become_reshape(graph, conv, sum, err) : OSP_OK;
}

static osp_status become_product(osp_graph *graph, const match *m, size_t conv, osp_error *err)
{
    osp_vid x = m->x;
    const osp_shape whole = graph->values[x].shape;  // N,4,16,A
    const osp_shape row = {2, {1, whole.dims[BINS]}};
    osp_shape sums = whole;
    sums.dims[BINS] = 1;
    const float *weights = osp_edit_floats(graph, graph->nodes[conv].inputs[1]);
    const osp_vid left = weights ? osp_edit_constant(graph, "", OSP_DTYPE_FLOAT32, &row, weights)
                                 : OSP_NO_VALUE;
    const osp_vid likely = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &whole);
    const osp_vid sum = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &sums);
    if (left == OSP_NO_VALUE || likely == OSP_NO_VALUE || sum == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    if (m->cast) {
        const osp_vid wide = osp_edit_value(graph, OSP_DTYPE_FLOAT32, &whole);
        if (wide == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(err);
        m->cast->inputs[0] = x;
        m->cast->outputs[0] = x = wide;
    }
    const osp_softmax_attrs over = {.axis = BINS};
    m->softmax->outputs[0] = likely;
    if (m->after)
        osp_graph_kill(m->after);
    OSP_TRY(osp_edit_become(graph, m->softmax, "", "Softmax", &x, 1, &over, err));
    const osp_vid product[2] = {left, likely};
    osp_node *made = osp_graph_insert_node(graph, graph->node_count, osp_op_find("", "MatMul"),
                                           graph->nodes[conv].name, product, 2, &sum, 1, NULL);
    if (!made)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(osp_node_infer(graph, made, err));
    return become_reshape(graph, conv, sum, err);
}

osp_status osp_pass_expectation(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++) {
        match m;
        bool done = false;
        if (!is_weighted_sum(graph, graph->nodes + i) || !find(graph, &uses, graph->nodes + i, &m))
            continue;
        status = try_expectation(graph, options, &m, i, &done, err);
        if (!status && !done)  // the array of nodes has not moved
            status = become_product(graph, &m, i, err);
    }
    osp_uses_free(&uses);
    return status;
}
