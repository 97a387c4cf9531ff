// Removes what changes nothing.
//
//     x -> Identity | Cast to its own type | Reshape, Expand, Tile, Slice, Pad, Resize to its own
//       shape | Transpose in order | -> y                         =>   x -> y
//     x -> Transpose p -> Transpose q -> y                        =>   x -> Transpose q(p) -> y
//     x -> Transpose that moves only dims of 1 -> y               =>   x -> Reshape -> y
//     x -> Reshape, Flatten, Squeeze, Unsqueeze -> another -> y   =>   x -> Reshape -> y
//     x -> Cast to a wider float -> Cast back -> y                =>   x -> y
#include <string.h>

#include "ops/move.h"
#include "ops/resize.h"
#include "ops/view.h"
#include "passes/edit.h"

static bool same_shape(const osp_graph *graph, const osp_node *node)
{
    const osp_value *src = graph->values + node->inputs[0], *dst = graph->values + node->outputs[0];
    return src->dtype == dst->dtype && osp_shape_equal(&src->shape, &dst->shape);
}

static bool in_order(const osp_node *node, int32_t rank)
{
    const osp_transpose_attrs *a = node->attrs;
    for (int32_t d = 0; d < rank; d++)
        if (a->resolved_perm[d] != d)
            return false;
    return true;
}

// Every index kept, none the other way round.
static bool whole_slice(const osp_node *node, int32_t rank)
{
    const osp_slice_attrs *a = node->attrs;
    for (int32_t d = 0; d < rank; d++)
        if (a->step[d] < 0)
            return false;
    return true;
}

// Resampled one to one, at the source's own places.
static bool is_unscaled(const osp_node *node, int32_t rank)
{
    const osp_resize_attrs *a = node->attrs;
    for (int32_t d = 0; d < rank; d++)
        if (a->scale[d] != 1)
            return false;
    return a->coordinate != OSP_RESIZE_TF_CROP_AND_RESIZE &&
           a->coordinate != OSP_RESIZE_TF_HALF_PIXEL_FOR_NN;
}

static bool pads_nothing(const osp_node *node, int32_t rank)
{
    const osp_pad_attrs *a = node->attrs;
    for (int32_t d = 0; d < rank; d++)
        if (a->before[d] != 0 || a->after[d] != 0)
            return false;
    return true;
}

static bool does_nothing(const osp_graph *graph, const osp_node *node)
{
    if (!node->op || !node->type || node->output_count != 1 || node->input_count < 1 ||
        !same_shape(graph, node))
        return false;
    const int32_t rank = graph->values[node->inputs[0]].shape.rank;
    if (osp_node_is(node, "Transpose"))
        return in_order(node, rank);
    if (osp_node_is(node, "Slice"))
        return whole_slice(node, rank);
    if (osp_node_is(node, "Pad"))
        return pads_nothing(node, rank);
    if (osp_node_is(node, "Resize") || osp_node_is(node, "Upsample"))
        return is_unscaled(node, rank);
    return node->op->same_bytes || osp_node_is(node, "Cast") || osp_node_is(node, "Expand") ||
           osp_node_is(node, "Tile");
}

static osp_status join_transposes(osp_graph *graph, const osp_uses *uses, osp_node *second,
                                  osp_error *err)
{
    const osp_node *first = osp_edit_maker(graph, uses, second->inputs[0]);
    if (!first || !osp_node_is(first, "Transpose"))
        return OSP_OK;
    const osp_transpose_attrs *p = first->attrs, *q = second->attrs;
    osp_transpose_attrs both = {.perm = {.count = graph->values[first->inputs[0]].shape.rank}};
    for (int32_t d = 0; d < both.perm.count; d++)
        both.perm.v[d] = p->resolved_perm[q->resolved_perm[d]];
    return osp_edit_become(graph, second, "", "Transpose", first->inputs, 1, &both, err);
}

// The node becomes a Reshape of `src` to the shape that it has.
static osp_status become_reshape(osp_graph *graph, osp_node *node, osp_vid src, osp_error *err)
{
    const osp_shape dst = graph->values[node->outputs[0]].shape, shape = {1, {dst.rank}};
    size_t count;
    if (!osp_shape_count(&dst, &count) || count == 0)  // a 0 in the shape would mean "as before"
        return OSP_OK;
    const osp_vid to = osp_graph_add_constant(graph, "", OSP_DTYPE_INT64, &shape, dst.dims);
    if (to == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    const osp_vid inputs[2] = {src, to};
    return osp_edit_become(graph, node, "", "Reshape", inputs, 2, NULL, err);
}

// Dims larger than 1 keep their order: the bytes stay where they are.
static bool keeps_bytes(const osp_graph *graph, const osp_node *transpose)
{
    const osp_transpose_attrs *a = transpose->attrs;
    const osp_shape *src = &graph->values[transpose->inputs[0]].shape;
    int32_t last = -1;
    for (int32_t d = 0; d < src->rank; d++) {
        if (src->dims[a->resolved_perm[d]] == 1)
            continue;
        if (a->resolved_perm[d] < last)
            return false;
        last = a->resolved_perm[d];
    }
    return true;
}

static bool is_reshape(const osp_node *node)
{
    return node && node->op && node->type && node->op->same_bytes;
}

// Reads past a Cast that only widened what this one narrows again.
static bool undoes_cast(const osp_graph *graph, const osp_node *first, const osp_node *second)
{
    if (!first || !osp_node_is(first, "Cast") || !osp_node_is(second, "Cast"))
        return false;
    const osp_dtype from = graph->values[first->inputs[0]].dtype;
    const osp_dtype wide = graph->values[first->outputs[0]].dtype;
    return graph->values[second->outputs[0]].dtype == from && osp_dtype_is_float(from) &&
           wide == OSP_DTYPE_FLOAT32;
}

static osp_status simplify(osp_graph *graph, const osp_uses *uses, osp_node *node, osp_error *err)
{
    const osp_node *first = osp_edit_maker(graph, uses, node->inputs[0]);
    if (osp_node_is(node, "Transpose")) {
        OSP_TRY(join_transposes(graph, uses, node, err));
        if (keeps_bytes(graph, node) && !does_nothing(graph, node))
            OSP_TRY(become_reshape(graph, node, node->inputs[0], err));
        first = osp_edit_maker(graph, uses, node->inputs[0]);
    }
    if (is_reshape(node) && is_reshape(first))
        return become_reshape(graph, node, first->inputs[0], err);
    if (undoes_cast(graph, first, node))
        node->inputs[0] = first->inputs[0];
    return OSP_OK;
}

osp_status osp_pass_identity(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++) {
        osp_node *node = graph->nodes + i;
        if (!node->type || !node->op || node->input_count < 1 || node->output_count != 1 ||
            node->inputs[0] == OSP_NO_VALUE)
            continue;
        status = simplify(graph, &uses, node, err);
        if (status || !does_nothing(graph, node) || !osp_edit_bypass(graph, &uses, node, 0))
            continue;
        osp_uses_free(&uses);
        status = osp_graph_uses(&uses, graph, err);
    }
    osp_uses_free(&uses);
    return status;
}
