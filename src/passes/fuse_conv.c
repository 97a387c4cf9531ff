// A convolution takes its bias, its activation and a residual with it.
//
//     Conv(x, W) -> Add constant of the channels                =>  Conv(x, W, b)
//     Conv(x, W, b) -> act -> Add r                             =>  osprey.FusedConv, residual after
//     Conv(x, W, b) -> Add r -> act                             =>  osprey.FusedConv, residual before
//
// act: Relu, Silu, LeakyRelu, Sigmoid, HardSigmoid, HardSwish, Clip, Tanh, Gelu. Every value
// between is read once and is no graph output. A residual has the shape of the result.
#include <string.h>

#include "ops/internal.h"
#include "passes/edit.h"

typedef struct fuser {
    osp_graph *graph;
    const osp_uses *uses;
    const osp_pass_options *options;
    osp_error *err;
} fuser;

// The activation a node computes; NONE: none, or one that depends on data.
static osp_act activation_of(const osp_graph *graph, const osp_node *node, float *alpha,
                             float *beta)
{
    static const struct {
        const char *type;
        osp_act act;
    } list[] = {{"Relu", OSP_ACT_RELU},
                {"Silu", OSP_ACT_SILU},
                {"LeakyRelu", OSP_ACT_LEAKY_RELU},
                {"Sigmoid", OSP_ACT_SIGMOID},
                {"HardSigmoid", OSP_ACT_HARD_SIGMOID},
                {"HardSwish", OSP_ACT_HARD_SWISH},
                {"Clip", OSP_ACT_CLIP},
                {"Tanh", OSP_ACT_TANH},
                {"Gelu", OSP_ACT_GELU}};
    osp_act act = OSP_ACT_NONE;
    for (size_t i = 0; node && i < sizeof list / sizeof list[0]; i++)
        if (!strcmp(node->type, list[i].type))
            act = list[i].act;
    if (act == OSP_ACT_LEAKY_RELU || act == OSP_ACT_HARD_SIGMOID) {
        const osp_alpha_attrs *a = node->attrs;
        *alpha = a->alpha;
        *beta = a->beta;
    }
    if (act == OSP_ACT_GELU && ((const osp_gelu_attrs *)node->attrs)->approximate)
        act = OSP_ACT_GELU_TANH;
    if (act == OSP_ACT_CLIP) {
        const osp_clip_attrs *a = node->attrs;
        *alpha = a->min;
        *beta = a->max;
        for (int32_t i = 1; i < node->input_count; i++) {
            double bound;
            if (node->inputs[i] == OSP_NO_VALUE)
                continue;
            if (!osp_edit_scalar(graph, node->inputs[i], &bound))
                return OSP_ACT_NONE;
            *(i == 1 ? alpha : beta) = (float)bound;
        }
    }
    return act;
}

// The constant's elements by output channel of dst, if it has one for each or one for all; else NULL.
static const float *by_channel(osp_graph *g, osp_vid c, const osp_shape *dst)
{
    const osp_shape *shape = &g->values[c].shape;
    const int64_t oc = dst->dims[1];
    const int32_t axis = shape->rank - (dst->rank - 1);  // of the channels in c
    const int64_t count = osp_shape_span(shape, 0, shape->rank);
    const bool each = axis >= 0 && axis < shape->rank && shape->dims[axis] == oc && count == oc;
    if (!g->values[c].data || (!each && count != 1))
        return NULL;
    const float *data = osp_edit_floats(g, c);
    if (!data || each)
        return data;
    float *all = osp_arena_array(&g->arena, (size_t)oc, sizeof *all);
    for (int64_t i = 0; all && i < oc; i++)
        all[i] = data[0];
    return all;
}

// A sum with a constant after the convolution goes into its bias.
static osp_status take_bias(const fuser *f, osp_node *conv)
{
    osp_graph *g = f->graph;
    const osp_vid out = conv->outputs[0];
    osp_node *sum = osp_edit_reader(g, f->uses, out);
    if (!sum || !osp_node_is(sum, "Add") || !g->values[conv->inputs[1]].data)
        return OSP_OK;
    const osp_vid old = conv->input_count > 2 ? conv->inputs[2] : OSP_NO_VALUE;
    const osp_shape dst = g->values[out].shape, shape = {1, {dst.dims[1]}};
    if (!osp_shape_equal(&g->values[sum->outputs[0]].shape, &dst) ||
        (old != OSP_NO_VALUE && !g->values[old].data))
        return OSP_OK;
    const float *added = by_channel(g, osp_edit_other(sum, out), &dst);
    if (!added)
        return OSP_OK;
    const float *bias = old != OSP_NO_VALUE ? osp_edit_floats(g, old) : NULL;
    float *both = osp_arena_array(&g->arena, (size_t)dst.dims[1], sizeof *both);
    if (!both || (old != OSP_NO_VALUE && !bias))
        OSP_FAIL_MEMORY(f->err);
    for (int64_t i = 0; i < dst.dims[1]; i++)
        both[i] = bias ? bias[i] + added[i] : added[i];
    const osp_vid inputs[3] = {conv->inputs[0], conv->inputs[1],
                               osp_edit_constant(g, "", g->values[out].dtype, &shape, both)};
    if (inputs[2] == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(f->err);
    osp_graph_kill(sum);
    conv->outputs[0] = sum->outputs[0];
    return osp_edit_become(g, conv, "", "Conv", inputs, 3, conv->attrs, f->err);
}

// The other operand of a sum, if it is an activation of the same shape and type.
static osp_vid residual_of(const osp_graph *g, const osp_node *sum, osp_vid v)
{
    const osp_vid other = osp_edit_other(sum, v);
    const osp_value *a = g->values + v, *b = g->values + other;
    const bool fits = other != v && !b->data && a->dtype == b->dtype &&
                      osp_shape_equal(&a->shape, &b->shape);
    return fits ? other : OSP_NO_VALUE;
}

// What a convolution has taken so far.
typedef struct fused {
    osp_fused_conv_attrs attrs;
    osp_vid inputs[4];
} fused;

// Takes one more node, the reader of v; false: it cannot be taken.
static bool take(const osp_graph *g, fused *d, const osp_node *next, osp_vid v)
{
    float alpha = 0, beta = 0;
    const osp_act act = activation_of(g, next, &alpha, &beta);
    if (act && !d->attrs.act && d->attrs.residual != OSP_RESIDUAL_AFTER && next->inputs[0] == v) {
        d->attrs.act = act;
        d->attrs.alpha = alpha;
        d->attrs.beta = beta;
        return true;
    }
    if (!osp_node_is(next, "Add") || d->attrs.residual)
        return false;
    d->inputs[3] = residual_of(g, next, v);
    if (d->inputs[3] == OSP_NO_VALUE)
        return false;
    d->attrs.residual = d->attrs.act ? OSP_RESIDUAL_AFTER : OSP_RESIDUAL_BEFORE;
    return true;
}

// The longest chain that the backend accepts. The last node of it becomes the fused one: there, all
// that it reads has been made.
static osp_status fuse(const fuser *f, osp_node *conv)
{
    osp_graph *g = f->graph;
    osp_node *chain[3] = {conv};  // conv, then at most an activation and a residual
    fused steps[3];
    steps[0] = (fused){.attrs.conv = *(const osp_conv_attrs *)conv->attrs,
                       .inputs = {conv->inputs[0], conv->inputs[1],
                                  conv->input_count > 2 ? conv->inputs[2] : OSP_NO_VALUE,
                                  OSP_NO_VALUE}};
    int32_t length = 0;
    while (length < 2) {
        const osp_vid v = chain[length]->outputs[0];
        osp_node *next = osp_edit_reader(g, f->uses, v);
        steps[length + 1] = steps[length];
        if (!next || !take(g, &steps[length + 1], next, v))
            break;
        chain[++length] = next;
    }
    for (bool done = false; length > 0 && !done; length--) {
        const fused *d = steps + length;
        osp_node *last = chain[length];
        OSP_TRY(osp_edit_try(g, f->options, last, "osprey", "FusedConv", d->inputs,
                             d->attrs.residual ? 4 : 3, &d->attrs, &done, f->err));
        if (!done)
            continue;
        last->name = conv->name;
        for (int32_t i = 0; i < length; i++)
            osp_graph_kill(chain[i]);
    }
    return OSP_OK;
}

osp_status osp_pass_fuse_conv(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_status status = OSP_OK;
    for (int32_t round = 0; round < 2 && !status; round++) {
        osp_uses uses;
        OSP_TRY(osp_graph_uses(&uses, graph, err));
        const fuser f = {graph, &uses, options, err};
        for (size_t i = 0; i < graph->node_count && !status; i++) {
            osp_node *node = graph->nodes + i;
            if (osp_node_is(node, "Conv") && node->output_count == 1)
                status = round ? fuse(&f, node) : take_bias(&f, node);
        }
        osp_uses_free(&uses);
    }
    return status;
}
