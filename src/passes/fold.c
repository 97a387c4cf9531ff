// Arithmetic that changes nothing. What is constant is folded by osp_graph_infer already.
//
//     x -> * 1 | / 1 | + 0 | - 0 | ^ 1 -> y     =>     x -> y
//     x -> Concat of one | Split in one -> y    =>     x -> y
//
// The other operand must not broadcast x.
#include "ops/view.h"
#include "passes/edit.h"

// v is a constant all of whose elements are `number`.
static bool is_all(const osp_graph *graph, osp_vid v, int64_t number)
{
    const osp_value *value = graph->values + v;
    size_t count;
    if (!value->data || value->dtype == OSP_DTYPE_BOOL || !osp_shape_count(&value->shape, &count) ||
        count == 0)
        return false;
    const size_t bytes = osp_dtype_bytes(value->dtype);
    const bool is_float = osp_dtype_is_float(value->dtype);
    for (size_t i = 0; i < count; i++) {
        uint64_t element = 0;  // the file's data may lie anywhere
        memcpy(&element, (const char *)value->data + i * bytes, bytes);
        if (is_float ? osp_load_float(value->dtype, &element, 0) != (float)number
                     : osp_load_int(value->dtype, &element, 0) != number)
            return false;
    }
    return true;
}

// The input that output 0 equals; -1: none.
static int32_t kept_input(const osp_graph *graph, const osp_node *node)
{
    static const struct {
        const char *type;
        int64_t neutral;
        bool commutes;
    } list[] = {{"Mul", 1, true},
                {"Div", 1, false},
                {"Add", 0, true},
                {"Sub", 0, false},
                {"Pow", 1, false}};
    if ((osp_node_is(node, "Concat") || osp_node_is(node, "Split")) && node->output_count == 1)
        return node->input_count == 1 || osp_node_is(node, "Split") ? 0 : -1;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (!osp_node_is(node, list[i].type))
            continue;
        if (is_all(graph, node->inputs[1], list[i].neutral))
            return 0;
        return list[i].commutes && is_all(graph, node->inputs[0], list[i].neutral) ? 1 : -1;
    }
    return -1;
}

osp_status osp_pass_fold(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++) {
        osp_node *node = graph->nodes + i;
        const int32_t kept = kept_input(graph, node);
        if (kept < 0)
            continue;
        const osp_value *src = graph->values + node->inputs[kept];
        const osp_value *dst = graph->values + node->outputs[0];
        if (src->dtype != dst->dtype || !osp_shape_equal(&src->shape, &dst->shape) ||
            !osp_edit_bypass(graph, &uses, node, kept))
            continue;
        osp_uses_free(&uses);
        status = osp_graph_uses(&uses, graph, err);
    }
    osp_uses_free(&uses);
    return status;
}
