// Finds attention: two products with a softmax between them.
//
//     MatMul(q, kT) [* scale] -> Softmax -> MatMul(., v)                   =>  osprey.Attention
//     MatMul(q, kT) [* scale] -> Softmax -> Transpose -> MatMul(vT, .)     =>  the same, transposed
//
// Transpositions of the last two dims before or behind become flags, scalar factors of q and k
// become part of the scale. Leading dims are alike; a mask is not known. The products and the
// softmax are read by nobody else.
#include <string.h>

#include "ops/internal.h"
#include "ops/move.h"
#include "ops/norm.h"
#include "ops/view.h"
#include "passes/edit.h"

typedef struct finder {
    osp_graph *graph;
    const osp_uses *uses;
    const osp_pass_options *options;
    osp_error *err;
} finder;

// A Transpose that swaps the last two dims and keeps the others.
static bool is_swap(const osp_graph *graph, const osp_node *node)
{
    if (!node || !osp_node_is(node, "Transpose"))
        return false;
    const osp_transpose_attrs *a = node->attrs;
    const int32_t rank = graph->values[node->inputs[0]].shape.rank;
    for (int32_t d = 0; d < rank - 2; d++)
        if (a->resolved_perm[d] != d)
            return false;
    return rank >= 2 && a->resolved_perm[rank - 2] == rank - 1;
}

// If the node multiplies by a scalar, what it multiplies, of the same shape as the product; and
// *scale takes the scalar. NO_VALUE: another node.
static osp_vid unscaled(const finder *f, const osp_node *node, double *scale)
{
    double k;
    if (!node || (!osp_node_is(node, "Mul") && !osp_node_is(node, "Div")))
        return OSP_NO_VALUE;
    const bool divides = osp_node_is(node, "Div");
    const int32_t i = osp_edit_scalar(f->graph, node->inputs[1], &k) ? 0 : 1;
    if (i == 1 && (divides || !osp_edit_scalar(f->graph, node->inputs[0], &k)))
        return OSP_NO_VALUE;
    if (k == 0 || !osp_shape_equal(&f->graph->values[node->inputs[i]].shape,
                                   &f->graph->values[node->outputs[0]].shape))
        return OSP_NO_VALUE;
    *scale *= divides ? 1 / k : k;
    return node->inputs[i];
}

// The operand behind transpositions and factors. Nodes that others read too stay for those.
static osp_vid strip(const finder *f, osp_vid v, int64_t *transposed, double *scale)
{
    for (;;) {
        const osp_node *node = osp_edit_maker(f->graph, f->uses, v);
        osp_vid next = OSP_NO_VALUE;
        if (is_swap(f->graph, node)) {
            next = node->inputs[0];
            *transposed = !*transposed;
        } else if (scale) {
            next = unscaled(f, node, scale);
        }
        if (next == OSP_NO_VALUE)
            return v;
        v = next;
    }
}

static bool is_softmax_of_last(const osp_graph *graph, const osp_node *node)
{
    if (!osp_node_is(node, "Softmax"))
        return false;
    const osp_softmax_attrs *a = node->attrs;
    return a->axis == graph->values[node->inputs[0]].shape.rank - 1;
}

// A Cast from a float to a float, as they stand around a softmax that is kept in FP32. The fused
// operator computes its logits no coarser than that.
static bool is_float_cast(const osp_graph *graph, const osp_node *node)
{
    return node && osp_node_is(node, "Cast") &&
           osp_dtype_is_float(graph->values[node->inputs[0]].dtype) &&
           osp_dtype_is_float(graph->values[node->outputs[0]].dtype);
}

// The product that makes the logits, behind factors and casts; NULL: something else does.
static const osp_node *first_product(const finder *f, osp_vid logits, double *scale)
{
    while (f->uses->count[logits] == 1 && !f->uses->is_output[logits]) {
        const osp_node *maker = osp_edit_maker(f->graph, f->uses, logits);
        if (!maker || osp_node_is(maker, "MatMul"))
            return maker;
        const osp_vid v = is_float_cast(f->graph, maker) ? maker->inputs[0]
                                                         : unscaled(f, maker, scale);
        if (v == OSP_NO_VALUE)
            return NULL;
        logits = v;
    }
    return NULL;
}

// The product that reads the softmax's result, *turned: the other way round. NULL: none does.
static osp_node *second_product(const finder *f, osp_vid weights, bool *turned)
{
    *turned = false;
    for (;;) {
        osp_node *reader = osp_edit_reader(f->graph, f->uses, weights);
        if (!reader)
            return NULL;
        if (osp_node_is(reader, "MatMul"))
            return reader->inputs[*turned] == weights ? reader : NULL;
        if (is_swap(f->graph, reader))
            *turned = !*turned;
        else if (!is_float_cast(f->graph, reader))
            return NULL;
        weights = reader->outputs[0];
    }
}

static osp_status find_attention(const finder *f, const osp_node *softmax)
{
    osp_graph *g = f->graph;
    double scale = 1;
    bool turned, done = false;
    const osp_node *first = first_product(f, softmax->inputs[0], &scale);
    osp_node *last = second_product(f, softmax->outputs[0], &turned);
    if (!first || !last)
        return OSP_OK;
    // MatMul reads k as [d, n]. In the second form it reads v as [e, n] and makes [e, m].
    osp_attention_attrs attrs = {
        .k_transposed = 1, .v_transposed = turned, .out_transposed = turned};
    const osp_vid inputs[3] = {strip(f, first->inputs[0], &attrs.q_transposed, &scale),
                               strip(f, first->inputs[1], &attrs.k_transposed, &scale),
                               strip(f, last->inputs[!turned], &attrs.v_transposed, NULL)};
    attrs.scale = (float)scale;
    osp_node *after = osp_edit_reader(g, f->uses, last->outputs[0]);
    if (is_swap(g, after)) {
        attrs.out_transposed = !attrs.out_transposed;
        OSP_TRY(osp_edit_try(g, f->options, after, "osprey", "Attention", inputs, 3, &attrs, &done,
                             f->err));
        attrs.out_transposed = !attrs.out_transposed;
    }
    if (done)
        return OSP_OK;
    return osp_edit_try(g, f->options, last, "osprey", "Attention", inputs, 3, &attrs, &done,
                        f->err);
}

osp_status osp_pass_attention(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    const finder f = {graph, &uses, options, err};
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++)
        if (graph->nodes[i].type && is_softmax_of_last(graph, graph->nodes + i))
            status = find_attention(&f, graph->nodes + i);
    osp_uses_free(&uses);
    return status;
}
