// Which nodes compute in float16 or bfloat16. The graph keeps its ONNX form, and its inputs and
// outputs keep their types: the same graph can be compiled or written back as a file.
//
//     x -> Conv -> Mul -> Conv -> Softmax -> Conv 16:1 -> Add -> y
//     x -> Cast -> [Conv -> Mul -> Conv] -> Cast -> Softmax -> Conv 16:1 -> Add -> y
//
// - Layers (Conv, ConvTranspose, Gemm, MatMul with constant weights) are always low.
// - Products of two activations and elementwise nodes are low between layers: their result reaches
//   a later one, and they read low values. What comes after the last layer (boxes, scores), and
//   what coordinates of GridSample and scores of TopK are made of, stays float32.
// - Nodes that only move elements follow their source; rounding before or after is the same.
// - All else is float32: Softmax, LayerNormalization, Reduce*, Exp, Pow, Sqrt, shape arithmetic.
//
// Only types are looked at, and shapes of constants, so that a model with free dims can be written.
#include "passes/precision.h"

#include <math.h>
#include <string.h>

#include "ops/view.h"

typedef enum role {
    ROLE_FIXED = 0,  // float32 always
    ROLE_PRODUCT,
    ROLE_FLOW,
    ROLE_MOVE
} role;

enum {
    ALL = -1,
    // A convolution with fewer weights is no layer but a weighted sum, such as the expectation over
    // the 16 bins of a box edge, and gains nothing.
    LAYER_WEIGHTS = 64
};

static const struct {
    const char *type;
    role role;
    int32_t operands;  // as osp_low_operands
} rules[] = {
    {"Conv", ROLE_PRODUCT, 7},
    {"ConvTranspose", ROLE_PRODUCT, 7},
    {"Gemm", ROLE_PRODUCT, 7},
    {"MatMul", ROLE_PRODUCT, 3},
    {"Relu", ROLE_FLOW, 1},
    {"LeakyRelu", ROLE_FLOW, 1},
    {"Sigmoid", ROLE_FLOW, 1},
    {"HardSigmoid", ROLE_FLOW, 1},
    {"HardSwish", ROLE_FLOW, 1},
    {"Tanh", ROLE_FLOW, 1},
    {"Gelu", ROLE_FLOW, 1},
    {"Erf", ROLE_FLOW, 1},
    {"Clip", ROLE_FLOW, 7},
    {"Add", ROLE_FLOW, 3},
    {"Sub", ROLE_FLOW, 3},
    {"Mul", ROLE_FLOW, 3},
    {"Div", ROLE_FLOW, 3},
    {"Min", ROLE_FLOW, ALL},
    {"Max", ROLE_FLOW, ALL},
    {"Where", ROLE_FLOW, 6},
    {"BatchNormalization", ROLE_FLOW, 1},
    {"AveragePool", ROLE_FLOW, 1},
    {"GlobalAveragePool", ROLE_FLOW, 1},
    {"Resize", ROLE_FLOW, 1},
    {"Upsample", ROLE_FLOW, 1},
    {"GridSample", ROLE_FLOW, 1},
    {"MaxPool", ROLE_MOVE, 1},
    {"Pad", ROLE_MOVE, 5},
    {"Concat", ROLE_MOVE, ALL},
    {"Identity", ROLE_MOVE, 1},
    {"Split", ROLE_MOVE, 1},
    {"Slice", ROLE_MOVE, 1},
    {"Reshape", ROLE_MOVE, 1},
    {"Transpose", ROLE_MOVE, 1},
    {"Flatten", ROLE_MOVE, 1},
    {"Squeeze", ROLE_MOVE, 1},
    {"Unsqueeze", ROLE_MOVE, 1},
    {"Gather", ROLE_MOVE, 1},
    {"GatherElements", ROLE_MOVE, 1},
    {"GatherND", ROLE_MOVE, 1},
    {"Tile", ROLE_MOVE, 1},
    {"Expand", ROLE_MOVE, 1},
};

typedef struct chooser {
    osp_low_plan plan;
    const osp_pass_options *options;
    osp_arena arena;
    // By node.
    role *roles;  // FIXED also where a type or the user rules it out
    uint32_t *operands;
    bool *layer, *low;
    // By value.
    bool *steady;  // made of constants alone
    bool *feeds;   // a later layer computes with it
    bool *exact;   // indices or coordinates come of it
} chooser;

static int32_t rule_of(const osp_node *node)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (osp_node_is(node, rules[i].type))
            return (int32_t)i;
    return -1;
}

uint32_t osp_low_operands(const osp_graph *graph, const osp_node *node, osp_dtype type)
{
    const int32_t rule = rule_of(node);
    if (rule < 0)
        return 0;
    // Statistics have types of their own since opset 15; passes fold older ones into weights.
    if (osp_node_is(node, "BatchNormalization") && graph->opset < 15)
        return 0;
    const uint32_t operands = (uint32_t)rules[rule].operands;
    // Eight bits are few for a sum's start: convolutions take a float32 bias with bfloat16.
    const bool bias_stays = type == OSP_DTYPE_BFLOAT16 &&
                            (osp_node_is(node, "Conv") || osp_node_is(node, "ConvTranspose"));
    return bias_stays ? operands & 3 : operands;
}

// Operand i of a node if it is one that would be low, else NO_VALUE.
static osp_vid operand(const chooser *c, size_t n, int32_t i)
{
    const bool takes = i < 32 ? c->operands[n] >> i & 1 : c->operands[n] == UINT32_MAX;
    return takes ? c->plan.graph->nodes[n].inputs[i] : OSP_NO_VALUE;
}

static bool is_float32(const osp_graph *graph, osp_vid v)
{
    return v != OSP_NO_VALUE && graph->values[v].dtype == OSP_DTYPE_FLOAT32;
}

// ---- Facts --------------------------------------------------------------------------------------

static role role_of(const chooser *c, size_t n)
{
    const osp_graph *graph = c->plan.graph;
    const osp_node *node = graph->nodes + n;
    if (!c->operands[n] || !node->output_count || !is_float32(graph, node->outputs[0]) ||
        node->input_count < node->op->min_inputs)
        return ROLE_FIXED;
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid v = operand(c, n, i);
        if (v != OSP_NO_VALUE && !is_float32(graph, v))
            return ROLE_FIXED;
    }
    // A quotient by a constant is a product, by anything else it is a norm.
    if (osp_node_is(node, "Div") && !c->steady[node->inputs[1]])
        return ROLE_FIXED;
    // Of a GELU written in pieces: erf of a scaled activation. Others are arithmetic.
    const osp_node *maker = osp_node_is(node, "Erf")
                                ? osp_edit_maker(c->plan.graph, c->plan.uses, node->inputs[0])
                                : node;
    if (!maker || (maker != node && !osp_node_is(maker, "Mul") && !osp_node_is(maker, "Div")))
        return ROLE_FIXED;
    return rules[rule_of(node)].role;
}

static osp_status pin_nodes(const chooser *c, osp_error *err)
{
    const osp_graph *graph = c->plan.graph;
    for (int32_t k = 0; k < c->options->keep_fp32_count; k++) {
        const char *name = c->options->keep_fp32[k];
        bool found = false;
        for (size_t n = 0; name && name[0] && n < graph->node_count; n++)
            if (graph->nodes[n].type && !strcmp(graph->nodes[n].name, name)) {
                c->roles[n] = ROLE_FIXED;
                found = true;
            }
        if (!found)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                     "keep_fp32: no node is named '%.120s': give a node's name as the model has it "
                     "(one that was computed while building cannot be named)",
                     name ? name : "");
    }
    return OSP_OK;
}

// A constant operand that is a layer's weights.
static bool is_weights(const chooser *c, osp_vid v)
{
    size_t count;
    if (v == OSP_NO_VALUE || !c->steady[v])
        return false;
    return !osp_shape_count(&c->plan.graph->values[v].shape, &count) || count > LAYER_WEIGHTS;
}

static osp_status learn(chooser *c, osp_error *err)
{
    const osp_graph *graph = c->plan.graph;
    for (size_t v = 0; v < graph->value_count; v++)
        c->steady[v] = graph->values[v].data != NULL;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        if (!node->type)
            continue;
        bool steady = node->op && node->input_count > 0;
        for (int32_t i = 0; i < node->input_count; i++)
            steady &= node->inputs[i] == OSP_NO_VALUE || c->steady[node->inputs[i]];
        for (int32_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] != OSP_NO_VALUE)
                c->steady[node->outputs[i]] = steady;
        c->operands[n] = osp_low_operands(graph, node, c->plan.type);
        c->roles[n] = role_of(c, n);
    }
    return pin_nodes(c, err);
}

// ---- Range --------------------------------------------------------------------------------------

// The first element of a float32 constant that float16 would make infinite, or 0.
static float beyond_half(const osp_value *value)
{
    size_t count;
    if (!value->data || !osp_shape_count(&value->shape, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        float x;
        memcpy(&x, (const char *)value->data + i * sizeof x, sizeof x);
        if (isfinite(x) && fabsf(x) > 65504.0f)
            return x;
    }
    return 0;
}

// Makes a node low, unless one of its constants does not fit.
static void admit(chooser *c, size_t n)
{
    const osp_graph *graph = c->plan.graph;
    const osp_node *node = graph->nodes + n;
    for (int32_t i = 0; c->plan.type == OSP_DTYPE_FLOAT16 && i < node->input_count; i++) {
        const osp_vid v = operand(c, n, i);
        const float x = v == OSP_NO_VALUE ? 0 : beyond_half(graph->values + v);
        if (x == 0)
            continue;
        osp_log(graph->ctx, OSP_LOG_WARNING,
                "node '%s' (%s) stays float32: input %d holds %g, and float16 ends at 65504",
                node->name, node->type, i, (double)x);
        c->roles[n] = ROLE_FIXED;
        return;
    }
    c->low[n] = true;
}

// ---- Decisions ----------------------------------------------------------------------------------

static void find_layers(chooser *c)
{
    const osp_graph *graph = c->plan.graph;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        if (c->roles[n] != ROLE_PRODUCT || c->steady[node->outputs[0]])
            continue;
        if (is_weights(c, node->inputs[1]) || is_weights(c, node->inputs[0]))
            admit(c, n);
        c->layer[n] = c->low[n];
    }
}

// Backwards: which values later layers need, and which ones indices and coordinates come of.
static void look_ahead(chooser *c)
{
    const osp_graph *graph = c->plan.graph;
    for (size_t n = graph->node_count; n-- > 0;) {
        const osp_node *node = graph->nodes + n;
        bool feeds = c->layer[n], exact = false;
        if (!node->type)
            continue;
        for (int32_t i = 0; i < node->output_count && !c->layer[n]; i++)
            if (is_float32(graph, node->outputs[i])) {
                feeds |= c->feeds[node->outputs[i]];
                exact |= c->exact[node->outputs[i]];
            }
        for (int32_t i = 0; i < node->input_count; i++) {
            const osp_vid v = node->inputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            const bool picks = (osp_node_is(node, "TopK") && i == 0) ||
                               (osp_node_is(node, "GridSample") && i == 1);
            c->feeds[v] |= feeds;
            c->exact[v] |= picks || (exact && !(osp_node_is(node, "GridSample") && i == 0));
        }
    }
}

// How many of a node's operands are computed, and how many of those by low nodes.
static void count_operands(const chooser *c, size_t n, int32_t *computed, int32_t *low)
{
    const osp_node *node = c->plan.graph->nodes + n;
    *computed = *low = 0;
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid v = operand(c, n, i);
        if (v == OSP_NO_VALUE || c->steady[v])
            continue;
        const int32_t maker = c->plan.uses->producer[v];
        ++*computed;
        *low += maker >= 0 && c->low[maker];
    }
}

// Forwards: a node goes on in the type of what it reads.
static void go_on(chooser *c)
{
    const osp_graph *graph = c->plan.graph;
    for (size_t n = 0; n < graph->node_count; n++) {
        int32_t computed, low;
        if (c->low[n] || c->roles[n] == ROLE_FIXED)
            continue;
        const osp_vid dst = graph->nodes[n].outputs[0];
        const bool inside = c->feeds[dst] && !c->exact[dst];
        count_operands(c, n, &computed, &low);
        const bool all = low > 0 && low == computed;
        if (c->roles[n] == ROLE_MOVE ? all || (low && inside)
                                     : inside && (all || (low && c->roles[n] == ROLE_PRODUCT)))
            admit(c, n);
    }
}

// Every reader of v computes with it in the low type, and there is one.
static bool only_low_readers(const chooser *c, osp_vid v)
{
    const osp_uses *uses = c->plan.uses;
    if (uses->is_output[v] || !uses->count[v])
        return false;
    for (int32_t k = 0; k < uses->count[v]; k++) {
        const size_t n = (size_t)uses->list[uses->first[v] + k];
        bool takes = false;
        for (int32_t i = 0; c->low[n] && i < c->plan.graph->nodes[n].input_count; i++)
            takes |= operand(c, n, i) == v;
        if (!takes)
            return false;
    }
    return true;
}

// Backwards: Casts before low nodes move up through what only moves elements.
static void lift_casts(chooser *c)
{
    const osp_graph *graph = c->plan.graph;
    for (size_t n = graph->node_count; n-- > 0;) {
        const osp_node *node = graph->nodes + n;
        if (c->low[n] || c->roles[n] != ROLE_MOVE || c->steady[node->outputs[0]])
            continue;
        bool lifts = true;
        for (int32_t i = 0; i < node->output_count; i++)
            if (is_float32(graph, node->outputs[i]))
                lifts &= only_low_readers(c, node->outputs[i]);
        if (lifts)
            admit(c, n);
    }
}

static osp_status choose(chooser *c, osp_error *err)
{
    const size_t nodes = c->plan.graph->node_count, values = c->plan.graph->value_count;
    c->roles = osp_arena_array(&c->arena, nodes, sizeof *c->roles);
    c->operands = osp_arena_array(&c->arena, nodes, sizeof *c->operands);
    c->layer = osp_arena_array(&c->arena, nodes, sizeof(bool));
    c->low = osp_arena_array(&c->arena, nodes, sizeof(bool));
    c->steady = osp_arena_array(&c->arena, values, sizeof(bool));
    c->feeds = osp_arena_array(&c->arena, values, sizeof(bool));
    c->exact = osp_arena_array(&c->arena, values, sizeof(bool));
    if (!c->roles || !c->operands || !c->layer || !c->low || !c->steady || !c->feeds || !c->exact)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(learn(c, err));
    find_layers(c);
    look_ahead(c);
    go_on(c);
    lift_casts(c);
    c->plan.low = c->low;
    return osp_low_apply(&c->plan, err);
}

osp_status osp_pass_precision(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    chooser c = {.plan = {.graph = graph}, .options = options};
    if (options->precision == OSP_PRECISION_FP16)
        c.plan.type = OSP_DTYPE_FLOAT16;
    else if (options->precision == OSP_PRECISION_BF16)
        c.plan.type = OSP_DTYPE_BFLOAT16;
    else
        return OSP_OK;
    OSP_TRY(osp_graph_sort(graph, err));
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    c.plan.uses = &uses;
    osp_arena_init(&c.arena, &graph->ctx->mem);
    osp_status status = choose(&c, err);
    osp_arena_free(&c.arena);
    osp_uses_free(&uses);
    if (!status)
        status = osp_graph_sort(graph, err);
    return status;
}
