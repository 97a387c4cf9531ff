// Moves transpositions to where they only rename an order that the bytes have already, once images
// lie channels last.
//
//     Reshape NCHW to N,C,HW -> Transpose to N,HW,C    =>   Transpose to N,H,W,C -> Reshape
//     Transpose N,HW,C to N,C,HW -> Reshape to NCHW    =>   Reshape to N,H,W,C -> Transpose
#include <string.h>

#include "ops/move.h"
#include "passes/edit.h"

static bool swaps_last_two(const osp_node *node)
{
    const osp_transpose_attrs *a = node->attrs;
    return a->resolved_perm[0] == 0 && a->resolved_perm[1] == 2 && a->resolved_perm[2] == 1;
}

// a is N,C,H,W and b is N,C,HW.
static bool flattens_image(const osp_graph *g, osp_vid a, osp_vid b)
{
    const osp_shape *x = &g->values[a].shape, *y = &g->values[b].shape;
    return x->rank == 4 && y->rank == 3 && x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1] &&
           x->dims[2] * x->dims[3] == y->dims[2];
}

static osp_vid shape_constant(osp_graph *graph, const osp_shape *to)
{
    const osp_shape shape = {1, {to->rank}};
    return osp_graph_add_constant(graph, "", OSP_DTYPE_INT64, &shape, to->dims);
}

// The last of two nodes becomes `type`, reading a new node of `first_type`.
static osp_status swap(osp_graph *graph, osp_node *first, size_t second, bool reshape_first,
                       const int64_t perm[4], const osp_shape *middle, const osp_shape *to,
                       osp_error *err)
{
    const osp_vid src = first->inputs[0];
    const osp_vid between = osp_edit_value(graph, graph->values[src].dtype, middle);
    const osp_vid shape = shape_constant(graph, to);
    if (between == OSP_NO_VALUE || shape == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    osp_transpose_attrs transpose = {.perm = {.count = 4}};
    memcpy(transpose.perm.v, perm, 4 * sizeof *perm);
    const osp_vid reshape_in[2] = {reshape_first ? src : between, shape};
    const osp_vid transpose_in = reshape_first ? between : src;
    const char *name = first->name;
    osp_node *made = reshape_first
                         ? osp_graph_insert_node(graph, graph->node_count,
                                                 osp_op_find("", "Reshape"), name, reshape_in, 2,
                                                 &between, 1, NULL)
                         : osp_graph_insert_node(graph, graph->node_count,
                                                 osp_op_find("", "Transpose"), name, &transpose_in,
                                                 1, &between, 1, &transpose);
    if (!made)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(osp_node_infer(graph, made, err));
    osp_node *last = graph->nodes + second;  // the array may have moved
    return reshape_first
               ? osp_edit_become(graph, last, "", "Transpose", &transpose_in, 1, &transpose, err)
               : osp_edit_become(graph, last, "", "Reshape", reshape_in, 2, NULL, err);
}

static osp_status visit(osp_graph *graph, const osp_uses *uses, size_t i, osp_error *err)
{
    static const int64_t to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
    osp_node *node = graph->nodes + i;
    osp_node *before = osp_edit_maker(graph, uses, node->inputs[0]);
    if (!before || before->output_count != 1)
        return OSP_OK;
    const osp_vid src = before->inputs[0], mid = before->outputs[0], dst = node->outputs[0];
    const osp_shape *s = &graph->values[src].shape, *d = &graph->values[dst].shape;
    if (graph->values[src].data)
        return OSP_OK;
    if (osp_node_is(node, "Transpose") && before->op->same_bytes &&
        flattens_image(graph, src, mid) && swaps_last_two(node)) {
        const osp_shape last = {4, {s->dims[0], s->dims[2], s->dims[3], s->dims[1]}};
        const osp_shape to = *d;
        return swap(graph, before, i, false, to_last, &last, &to, err);
    }
    if (node->op->same_bytes && osp_node_is(before, "Transpose") &&
        flattens_image(graph, dst, mid) && swaps_last_two(before)) {
        const osp_shape last = {4, {d->dims[0], d->dims[2], d->dims[3], d->dims[1]}};
        return swap(graph, before, i, true, to_first, &last, &last, err);
    }
    return OSP_OK;
}

osp_status osp_pass_transposes(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++)
        if (graph->nodes[i].op && graph->nodes[i].type && graph->nodes[i].input_count > 0 &&
            graph->nodes[i].output_count == 1)
            status = visit(graph, &uses, i, err);
    osp_uses_free(&uses);
    return status;
}
