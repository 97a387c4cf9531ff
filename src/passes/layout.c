// Images lie channels last (N,H,W,C) between the nodes that profit from it.
//
//     x -> Conv -> Relu -> Reshape -> y
//     =>   x -> Reorder -> [Conv -> Relu]nhwc -> Reorder -> Reshape -> y
//
// Convolutions, pooling, resizing and attention over maps ask for it; elementwise nodes, Concat, Split, Slice and Pad
// follow their inputs; everything else, and graph inputs and outputs, stay plain. Nodes are visited
// in order; a value that is wanted the other way gets one Reorder, which all its readers share.
// A Transpose and a BoxHead may read either layout. Whether a node can work so is asked of the backend.
#include <string.h>

#include "ops/internal.h"
#include "ops/move.h"
#include "ops/view.h"
#include "passes/edit.h"

typedef struct pass {
    osp_graph *graph;
    const osp_pass_options *options;
    osp_vid *twin;  // by value: the same in the other layout; NO_VALUE: not made
    size_t room;    // of twin
    bool *is_output;
    osp_error *err;
} pass;

static bool in_list(const osp_node *node, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(*list, node->type))
            return true;
    return false;
}

static bool is_image(const osp_value *v)
{
    return v->shape.rank == 4 && osp_dtype_is_float(v->dtype);
}

typedef enum manner { PLAIN, ASKS, FOLLOWS } manner;

static manner manner_of(const osp_graph *g, const osp_node *node)
{
    static const char *const asks[] = {
        "Conv",   "FusedConv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool",
        "Resize", "Upsample",  "MaxPools",      NULL};
    static const char *const follows[] = {
        "Relu", "LeakyRelu", "Sigmoid", "Exp",         "Log",       "Sqrt", "Erf",  "Tanh",
        "Sin",  "Cos",       "Floor",   "HardSigmoid", "HardSwish", "Gelu", "Clip", "Silu",
        "Cast", "Identity",  "Add",     "Sub",         "Mul",       "Div",  "Pow",  "Min",
        "Max",  "Concat",    "Split",   "Slice",       "Pad",       NULL};
    if (!node->op || node->output_count < 1 || node->outputs[0] == OSP_NO_VALUE ||
        !is_image(g->values + node->outputs[0]) || node->inputs[0] == OSP_NO_VALUE)
        return PLAIN;
    if (!strcmp(node->type, "PixelConv"))  // its source is none of these images, and stays as it is
        return ASKS;
    const bool maps = !strcmp(node->type, "Attention") &&
                      ((const osp_attention_attrs *)node->attrs)->heads != 0;
    if (maps || in_list(node, asks))
        return is_image(g->values + node->inputs[0]) ? ASKS : PLAIN;
    if (!in_list(node, follows))
        return PLAIN;
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != OSP_NO_VALUE &&
            g->values[node->inputs[i]].layout == OSP_LAYOUT_CHANNELS_LAST)
            return FOLLOWS;
    return PLAIN;
}

static bool grow_twins(pass *p)
{
    const size_t need = p->graph->value_count;
    if (need <= p->room)
        return true;
    const size_t before = p->room;
    size_t capacity = before;
    if (!osp_mem_reserve(&p->graph->ctx->mem, (void **)&p->twin, &capacity, need, sizeof *p->twin))
        return false;
    for (size_t i = before; i < capacity; i++)
        p->twin[i] = OSP_NO_VALUE;
    p->room = capacity;
    return true;
}

// v in `layout`: itself, its twin, or a new twin made by a Reorder. NO_VALUE: no memory.
static osp_vid in_layout(pass *p, osp_vid v, osp_layout layout)
{
    if (p->graph->values[v].layout == layout)
        return v;
    if (!grow_twins(p))
        return OSP_NO_VALUE;
    if (p->twin[v] != OSP_NO_VALUE)
        return p->twin[v];
    const osp_vid out = osp_edit_append(p->graph, "osprey", "Reorder", "reorder", v, NULL);
    if (out == OSP_NO_VALUE || !grow_twins(p))
        return OSP_NO_VALUE;
    p->graph->values[out].layout = layout;
    p->twin[v] = out;
    p->twin[out] = v;
    return out;
}

// Must input i lie like the output? Activations of images do; constants and small operands that
// are broadcast are read as they are.
static bool goes_along(const osp_graph *g, const osp_node *node, int32_t i)
{
    const osp_value *v = g->values + node->inputs[i];
    if (!is_image(v))
        return false;
    const bool joins = osp_node_is(node, "Concat"), attends = !strcmp(node->type, "Attention");
    const bool weights = i > 0 && i < 3 && !attends && manner_of(g, node) == ASKS;
    if (weights || (v->data && !joins))
        return false;
    if (i == 0 || joins || attends || !strcmp(node->type, "FusedConv"))
        return true;
    return v->layout == OSP_LAYOUT_CHANNELS_LAST ||
           osp_shape_equal(&v->shape, &g->values[node->outputs[0]].shape);
}

// Few channels in planes, as images come: the convolution may read them as they are.
static bool reads_planes(const pass *p, const osp_node *node)
{
    const osp_value *src = p->graph->values + node->inputs[0];
    return (!strcmp(node->type, "Conv") || !strcmp(node->type, "FusedConv")) &&
           src->layout == OSP_LAYOUT_PLAIN && src->shape.dims[1] <= 4;
}

// Sets the layouts of all operands that go along; asks; and takes it back if it is refused.
static bool accepted(const pass *p, const osp_node *node, bool planes)
{
    osp_graph *g = p->graph;
    enum { MOST = 128 };
    osp_layout before[MOST] = {OSP_LAYOUT_PLAIN};
    const int32_t count = node->input_count + node->output_count;
    if (count > MOST)
        return false;
    for (int32_t i = 0; i < count; i++) {
        const bool is_input = i < node->input_count;
        const osp_vid v = is_input ? node->inputs[i] : node->outputs[i - node->input_count];
        if (v == OSP_NO_VALUE)
            continue;
        before[i] = g->values[v].layout;
        if (is_input ? goes_along(g, node, i) && !(planes && i == 0) : is_image(g->values + v))
            g->values[v].layout = OSP_LAYOUT_CHANNELS_LAST;
    }
    const bool yes = !p->options->accepts || p->options->accepts(p->options->user, g, node);
    for (int32_t i = count - 1; i >= 0; i--) {  // downwards: a value may stand there twice
        const osp_vid v = i < node->input_count ? node->inputs[i]
                                                : node->outputs[i - node->input_count];
        if (v != OSP_NO_VALUE)
            g->values[v].layout = before[i];
    }
    return yes;
}

// The node at `at` works channels last.
static osp_status turn(pass *p, size_t at, bool planes)
{
    osp_graph *g = p->graph;
    for (int32_t i = 0; i < g->nodes[at].input_count; i++) {
        const osp_node *node = g->nodes + at;
        if (node->inputs[i] == OSP_NO_VALUE || (planes && i == 0) || !goes_along(g, node, i))
            continue;
        const osp_vid v = in_layout(p, node->inputs[i], OSP_LAYOUT_CHANNELS_LAST);
        if (v == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(p->err);
        g->nodes[at].inputs[i] = v;  // the array of nodes may have moved
    }
    for (int32_t k = 0; k < g->nodes[at].output_count; k++) {
        const osp_vid out = g->nodes[at].outputs[k];
        if (out == OSP_NO_VALUE || !is_image(g->values + out))
            continue;
        if (!p->is_output[out]) {
            g->values[out].layout = OSP_LAYOUT_CHANNELS_LAST;
            continue;
        }
        // A graph output stays plain: the node makes a twin of it, which others may read too.
        const osp_shape shape = g->values[out].shape;
        const osp_vid twin = osp_edit_value(g, g->values[out].dtype, &shape);
        if (twin == OSP_NO_VALUE || !grow_twins(p))
            OSP_FAIL_MEMORY(p->err);
        g->values[twin].layout = OSP_LAYOUT_CHANNELS_LAST;
        p->twin[out] = twin;
        p->twin[twin] = out;
        g->nodes[at].outputs[k] = twin;
        if (!osp_graph_insert_node(g, g->node_count, osp_op_find("osprey", "Reorder"), "reorder",
                                   &twin, 1, &out, 1, NULL))
            OSP_FAIL_MEMORY(p->err);
    }
    return OSP_OK;
}

// Works on any strides, and what it makes is no image.
static bool reads_any(const osp_node *node)
{
    return osp_node_is(node, "Transpose") || (node->op && !strcmp(node->type, "BoxHead"));
}

static osp_status stay_plain(pass *p, size_t at)
{
    osp_graph *g = p->graph;
    if (reads_any(g->nodes + at))
        return OSP_OK;
    for (int32_t i = 0; i < g->nodes[at].input_count; i++) {
        const osp_vid in = g->nodes[at].inputs[i];
        if (in == OSP_NO_VALUE || g->values[in].layout == OSP_LAYOUT_PLAIN)
            continue;
        const osp_vid v = in_layout(p, in, OSP_LAYOUT_PLAIN);
        if (v == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(p->err);
        g->nodes[at].inputs[i] = v;
    }
    return OSP_OK;
}

static osp_status visit(pass *p, size_t at)
{
    const osp_node *node = p->graph->nodes + at;
    // N,H,W,C renamed to N,C,H,W: the bytes are channels last already.
    if (osp_node_is(node, "Transpose") && is_image(p->graph->values + node->outputs[0]) &&
        p->graph->values[node->inputs[0]].layout == OSP_LAYOUT_PLAIN &&
        !p->is_output[node->outputs[0]]) {
        const osp_transpose_attrs *a = node->attrs;
        const int32_t *q = a->resolved_perm;
        if (q[0] == 0 && q[1] == 3 && q[2] == 1 && q[3] == 2) {
            p->graph->values[node->outputs[0]].layout = OSP_LAYOUT_CHANNELS_LAST;
            return OSP_OK;
        }
    }
    if (manner_of(p->graph, node) == PLAIN)
        return stay_plain(p, at);
    if (reads_planes(p, node) && accepted(p, node, true))
        return turn(p, at, true);
    return accepted(p, node, false) ? turn(p, at, false) : stay_plain(p, at);
}

osp_status osp_pass_layout(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    pass p = {.graph = graph, .options = options, .err = err};
    p.is_output = osp_mem_calloc(&graph->ctx->mem, graph->value_count, sizeof *p.is_output);
    osp_status status = OSP_OK;
    if (!p.is_output || !grow_twins(&p))
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    for (int32_t i = 0; !status && i < graph->output_count; i++)
        p.is_output[graph->outputs[i]] = true;
    const size_t count = graph->node_count;  // appended Reorders need no visit
    for (size_t i = 0; i < count && !status; i++)
        status = visit(&p, i);
    osp_mem_free(&graph->ctx->mem, p.twin);
    osp_mem_free(&graph->ctx->mem, p.is_output);
    return status;
}
