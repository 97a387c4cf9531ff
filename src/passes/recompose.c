// Finds operators that exporters write in pieces.
//
//     Mul(x, Sigmoid(x))                                                 =>  osprey.Silu(x)
//     Mul(x, HardSigmoid(x)), alpha 1/6, beta 1/2                        =>  HardSwish(x)
//     x/sqrt(2) -> Erf -> +1 -> product with x and 0.5, in any order     =>  Gelu(x)
//     d = x - mean(x);  d / sqrt(mean(d^2) + e)  [* w + b]               =>  LayerNormalization
//
// What lies between is read by nobody else, and the backend accepts what comes instead.
#include <math.h>
#include <string.h>

#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "passes/edit.h"

typedef struct finder {
    osp_graph *graph;
    const osp_uses *uses;
    const osp_pass_options *options;
    osp_error *err;
} finder;

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-3 * fabs(b);  // float16 constants are that coarse
}

// ---- Silu, HardSwish ----------------------------------------------------------------------------

static bool is_swish_gate(const osp_node *node)
{
    const osp_alpha_attrs *a = node->attrs;
    return near((double)a->alpha, 1.0 / 6) && near((double)a->beta, 0.5);
}

static osp_status find_swish(const finder *f, osp_node *node, bool *done)
{
    *done = false;
    for (int32_t i = 0; i < 2 && !*done; i++) {
        const osp_vid v = node->inputs[i], x = node->inputs[1 - i];
        const osp_node *gate = osp_edit_sole(f->graph, f->uses, v, "Sigmoid");
        if (gate && gate->inputs[0] == x)
            return osp_edit_try(f->graph, f->options, node, "osprey", "Silu", &x, 1, NULL, done,
                                f->err);
        gate = osp_edit_sole(f->graph, f->uses, v, "HardSigmoid");
        if (gate && gate->inputs[0] == x && is_swish_gate(gate))
            return osp_edit_try(f->graph, f->options, node, "", "HardSwish", &x, 1, NULL, done,
                                f->err);
    }
    return OSP_OK;
}

// ---- Gelu ---------------------------------------------------------------------------------------

// Collects the factors of a product tree of Mul nodes that are read once; at most 4.
static int32_t factors_of(const finder *f, const osp_node *root, osp_vid *factors)
{
    osp_vid stack[8];
    int32_t depth = 0, count = 0;
    stack[depth++] = root->inputs[0];
    stack[depth++] = root->inputs[1];
    while (depth) {
        const osp_vid v = stack[--depth];
        const osp_node *inner = osp_edit_sole(f->graph, f->uses, v, "Mul");
        if (inner && depth + 2 <= 4) {
            stack[depth++] = inner->inputs[0];
            stack[depth++] = inner->inputs[1];
        } else {
            if (count == 4)
                return -1;
            factors[count++] = v;
        }
    }
    return count;
}

// x if v is 1 + erf(x / sqrt 2).
static osp_vid gelu_gate(const finder *f, osp_vid v)
{
    const osp_node *sum = osp_edit_sole(f->graph, f->uses, v, "Add");
    double k;
    for (int32_t i = 0; sum && i < 2; i++) {
        const osp_node *erf = osp_edit_sole(f->graph, f->uses, sum->inputs[i], "Erf");
        if (!erf || !osp_edit_scalar(f->graph, sum->inputs[1 - i], &k) || k != 1)
            continue;
        const osp_node *scaled = osp_edit_sole(f->graph, f->uses, erf->inputs[0], "Div");
        if (!scaled)
            scaled = osp_edit_sole(f->graph, f->uses, erf->inputs[0], "Mul");
        if (!scaled)
            continue;
        if (osp_node_is(scaled, "Div") && osp_edit_scalar(f->graph, scaled->inputs[1], &k) &&
            near(k, 1.41421356))
            return scaled->inputs[0];
        for (int32_t j = 0; osp_node_is(scaled, "Mul") && j < 2; j++)
            if (osp_edit_scalar(f->graph, scaled->inputs[j], &k) && near(k, 0.70710678))
                return scaled->inputs[1 - j];
    }
    return OSP_NO_VALUE;
}

static osp_status find_gelu(const finder *f, osp_node *node)
{
    osp_vid factors[4], x = OSP_NO_VALUE;
    const int32_t count = factors_of(f, node, factors);
    if (count != 3)
        return OSP_OK;
    bool half = false, self = false;
    for (int32_t i = 0; i < count; i++)
        if (x == OSP_NO_VALUE)
            x = gelu_gate(f, factors[i]);
    for (int32_t i = 0; i < count; i++) {
        double k;
        half |= osp_edit_scalar(f->graph, factors[i], &k) && k == 0.5;
        self |= factors[i] == x;
    }
    if (x == OSP_NO_VALUE || !half || !self)
        return OSP_OK;
    bool done;
    return osp_edit_try(f->graph, f->options, node, "", "Gelu", &x, 1, NULL, &done, f->err);
}

// ---- LayerNormalization -------------------------------------------------------------------------

// The first axis of a mean over all dims from it to the last, kept as ones; -1: another mean.
static int32_t mean_axis(const finder *f, const osp_node *mean)
{
    if (!mean || !osp_node_is(mean, "ReduceMean"))
        return -1;
    const osp_reduce_attrs *a = mean->attrs;
    const int32_t rank = f->graph->values[mean->inputs[0]].shape.rank;
    int32_t axis = rank;
    while (axis > 0 && a->mask >> (axis - 1) & 1)
        axis--;
    const bool only = axis < rank && (a->mask & ((1u << axis) - 1)) == 0;
    return only && a->keepdims ? axis : -1;
}

static bool is_square_of(const finder *f, const osp_node *node, osp_vid d)
{
    double k;
    if (!node || node->inputs[0] != d)
        return false;
    return (osp_node_is(node, "Pow") && osp_edit_scalar(f->graph, node->inputs[1], &k) && k == 2) ||
           (osp_node_is(node, "Mul") && node->inputs[1] == d);
}

// x if d / s is a layer norm without weight; fills the attributes.
static osp_vid norm_source(const finder *f, const osp_node *quotient, osp_layer_norm_attrs *attrs)
{
    const osp_vid d = quotient->inputs[0];
    const osp_node *centred = osp_edit_maker(f->graph, f->uses, d);
    const osp_node *root = osp_edit_sole(f->graph, f->uses, quotient->inputs[1], "Sqrt");
    if (!centred || !osp_node_is(centred, "Sub") || !root || f->uses->is_output[d])
        return OSP_NO_VALUE;
    const osp_node *mean = osp_edit_sole(f->graph, f->uses, centred->inputs[1], "ReduceMean");
    const int32_t axis = mean_axis(f, mean);
    if (axis < 0 || mean->inputs[0] != centred->inputs[0])
        return OSP_NO_VALUE;
    const osp_node *sum = osp_edit_sole(f->graph, f->uses, root->inputs[0], "Add");
    for (int32_t i = 0; sum && i < 2; i++) {
        double epsilon;
        const osp_node *variance = osp_edit_sole(f->graph, f->uses, sum->inputs[i], "ReduceMean");
        if (mean_axis(f, variance) != axis ||
            !osp_edit_scalar(f->graph, sum->inputs[1 - i], &epsilon))
            continue;
        const osp_node *square = osp_edit_maker(f->graph, f->uses, variance->inputs[0]);
        if (!is_square_of(f, square, d) || f->uses->count[variance->inputs[0]] != 1 ||
            f->uses->count[d] != (osp_node_is(square, "Mul") ? 3 : 2))
            continue;
        *attrs = (osp_layer_norm_attrs){axis, (float)epsilon, 1};
        return centred->inputs[0];
    }
    return OSP_NO_VALUE;
}

// A constant with just the shape that is normalised.
static bool fits_norm(const finder *f, osp_vid v, osp_vid x, int32_t axis)
{
    const osp_value *c = f->graph->values + v, *src = f->graph->values + x;
    if (!c->data || c->shape.rank != src->shape.rank - axis)
        return false;
    for (int32_t i = 0; i < c->shape.rank; i++)
        if (c->shape.dims[i] != src->shape.dims[axis + i])
            return false;
    return true;
}

static osp_status find_layer_norm(const finder *f, osp_node *quotient)
{
    osp_graph *g = f->graph;
    osp_layer_norm_attrs attrs;
    const osp_vid x = norm_source(f, quotient, &attrs);
    if (x == OSP_NO_VALUE)
        return OSP_OK;
    const int32_t axis = (int32_t)attrs.axis;
    osp_vid inputs[3] = {x, OSP_NO_VALUE, OSP_NO_VALUE};
    osp_node *last = quotient;
    osp_node *next = osp_edit_reader(g, f->uses, last->outputs[0]);
    if (next && osp_node_is(next, "Mul") &&
        fits_norm(f, osp_edit_other(next, last->outputs[0]), x, axis)) {
        inputs[1] = osp_edit_other(next, last->outputs[0]);
        last = next;
        next = osp_edit_reader(g, f->uses, last->outputs[0]);
    }
    if (inputs[1] != OSP_NO_VALUE && next && osp_node_is(next, "Add") &&
        fits_norm(f, osp_edit_other(next, last->outputs[0]), x, axis)) {
        inputs[2] = osp_edit_other(next, last->outputs[0]);
        last = next;
    }
    if (inputs[1] == OSP_NO_VALUE) {  // the operator wants a weight
        osp_shape shape = {.rank = g->values[x].shape.rank - axis};
        memcpy(shape.dims, g->values[x].shape.dims + axis, (size_t)shape.rank * sizeof(int64_t));
        const int64_t count = osp_shape_span(&shape, 0, shape.rank);
        float *ones = osp_arena_array(&g->arena, (size_t)count, sizeof *ones);
        for (int64_t i = 0; ones && i < count; i++)
            ones[i] = 1;
        inputs[1] = ones ? osp_edit_constant(g, "", g->values[x].dtype, &shape, ones)
                         : OSP_NO_VALUE;
        if (inputs[1] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(f->err);
    }
    bool done;
    return osp_edit_try(g, f->options, last, "", "LayerNormalization", inputs,
                        inputs[2] == OSP_NO_VALUE ? 2 : 3, &attrs, &done, f->err);
}

osp_status osp_pass_recompose(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    const finder f = {graph, &uses, options, err};
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++) {
        osp_node *node = graph->nodes + i;
        bool done = false;
        if (osp_node_is(node, "Mul"))
            status = find_swish(&f, node, &done);
        if (!status && !done && osp_node_is(node, "Mul"))
            status = find_gelu(&f, node);
        if (!status && osp_node_is(node, "Div"))
            status = find_layer_norm(&f, node);
    }
    osp_uses_free(&uses);
    return status;
}
