// Convolutions that read one value the same way become one convolution with all their channels.
//
//     a = Conv(x, A, b)                              y = Conv(x, [A C], [b d])
//     c = Conv(x, C, d)                   =>         a, c = Split(y)
//
// It reads x once, is one launch instead of two, and makes more tiles. a and c are slices of y, so
// nothing is copied, provided that their readers take slices: only where all of them are
// convolutions is it done. One part may also go into a concatenation, as in every C3 block, where
// the second branch joins what has become of the first:
//
//     p = Concat(u, c);  q = Conv(p, Q)   =>         z = Concat(y, u)               z: | a | c | u |
//                                                    p = Slice(z, c to the end)
//                                                    q = Conv(p, Q')
//
// y is the front of z and p its back; they overlap in c. Q' is Q with its channels in the order of
// this p. The same serves a part of one convolution's split (C2PSA), which then comes last in it:
//
//     y = Conv(x, A);  a, c = Split(y)               y = Conv(x, A');  c, a = Split(y)
//     p = Concat(a, u)                    =>         z = Concat(y, u);  p = Slice(z, a to the end)
//
// Each channel's sum is what it was: rows of weights change their place, none its numbers.
#include <string.h>

#include "ops/internal.h"
#include "ops/move.h"
#include "passes/edit.h"

enum { MOST_PARTS = 8, STEP = 8 };  // STEP: channels that start a slice on 16 bytes, in FP16 too

typedef struct pass {
    osp_graph *graph;
    const osp_uses *uses;
    const osp_pass_options *options;
    size_t values;  // that `uses` knows
    osp_error *err;
} pass;

typedef struct group {
    int32_t count;
    int32_t node[MOST_PARTS];
    int32_t concat;  // that the last part goes into; -1: none
} group;

static const osp_conv_attrs *conv_attrs(const osp_node *node)
{
    if (osp_node_is(node, "Conv"))
        return node->attrs;
    const bool fused = node->op && node->type && !strcmp(node->type, "FusedConv");
    return fused ? &((const osp_fused_conv_attrs *)node->attrs)->conv : NULL;
}

static bool is_constant(const osp_graph *g, osp_vid v)
{
    return v != OSP_NO_VALUE && g->values[v].data;
}

static int64_t channels(const osp_graph *g, osp_vid v)
{
    return g->values[v].shape.dims[1];
}

static osp_vid bias_of(const osp_node *conv)
{
    return conv->input_count > 2 ? conv->inputs[2] : OSP_NO_VALUE;
}

// A convolution whose channels may stand beside others.
static bool is_candidate(const pass *p, const osp_node *node)
{
    const osp_graph *g = p->graph;
    const osp_conv_attrs *a = conv_attrs(node);
    if (!a || a->group != 1 || node->output_count != 1 || !is_constant(g, node->inputs[1]) ||
        (node->input_count > 3 && node->inputs[3] != OSP_NO_VALUE))
        return false;
    const osp_vid bias = bias_of(node), out = node->outputs[0];
    return (bias == OSP_NO_VALUE || is_constant(g, bias)) && (size_t)out < p->values &&
           !p->uses->is_output[out] && g->values[out].shape.rank == 4 &&
           channels(g, out) % STEP == 0;
}

static bool same_window(const osp_window *a, const osp_window *b)
{
    return a->size == b->size && a->stride == b->stride && a->dilation == b->dilation &&
           a->pad_begin == b->pad_begin && a->pad_end == b->pad_end;
}

// Both do the same to the same value, each with its own weights.
static bool same_way(const osp_graph *g, const osp_node *x, const osp_node *y)
{
    const osp_conv_attrs *a = conv_attrs(x), *b = conv_attrs(y);
    if (x->op != y->op || x->inputs[0] != y->inputs[0] || a->spatial != b->spatial ||
        (bias_of(x) == OSP_NO_VALUE) != (bias_of(y) == OSP_NO_VALUE) ||
        g->values[x->inputs[1]].dtype != g->values[y->inputs[1]].dtype ||
        (bias_of(x) != OSP_NO_VALUE && g->values[bias_of(x)].dtype != g->values[bias_of(y)].dtype))
        return false;
    for (int32_t i = 0; i < a->spatial; i++)
        if (!same_window(a->window + i, b->window + i))
            return false;
    if (osp_node_is(x, "Conv"))
        return true;
    const osp_fused_conv_attrs *f = x->attrs, *h = y->attrs;
    return f->act == h->act && f->alpha == h->alpha && f->beta == h->beta;
}

// A concatenation of channels that takes v once and is itself read by one convolution alone.
static bool can_join(const pass *p, const osp_node *concat, osp_vid v)
{
    osp_graph *g = p->graph;
    if (!osp_node_is(concat, "Concat") ||
        ((const osp_axis_attrs *)concat->attrs)->resolved_axis != 1)
        return false;
    int32_t times = 0;
    for (int32_t i = 0; i < concat->input_count; i++) {
        times += concat->inputs[i] == v;
        if (g->values[concat->inputs[i]].data || channels(g, concat->inputs[i]) % STEP)
            return false;
    }
    const osp_vid out = concat->outputs[0];
    const osp_node *reader = (size_t)out < p->values ? osp_edit_reader(g, p->uses, out) : NULL;
    const osp_conv_attrs *a = reader ? conv_attrs(reader) : NULL;
    return times == 1 && a && a->group == 1 && reader->inputs[0] == out &&
           is_constant(g, reader->inputs[1]);
}

// Whether all readers of v take slices; *concat: the one concatenation among them, or -1.
static bool readers_take_slices(const pass *p, osp_vid v, int32_t *concat)
{
    *concat = -1;
    for (int32_t i = 0; i < p->uses->count[v]; i++) {
        const int32_t at = p->uses->list[p->uses->first[v] + i];
        const osp_node *reader = p->graph->nodes + at;
        if (conv_attrs(reader))
            continue;
        if (*concat >= 0 || !reader->type || !can_join(p, reader, v))
            return false;
        *concat = at;
    }
    return p->uses->count[v] > 0;
}

// Does the concatenation take another part of the group?
static bool takes_part(const pass *p, const osp_node *concat, const group *all)
{
    for (int32_t i = 0; i < concat->input_count; i++)
        for (int32_t k = 0; k + 1 < all->count; k++)
            if (concat->inputs[i] == p->graph->nodes[all->node[k]].outputs[0])
                return true;
    return false;
}

// All convolutions like the one at `first`; the part that is concatenated comes last.
static void find_group(const pass *p, int32_t first, group *out)
{
    const osp_graph *g = p->graph;
    const osp_vid x = g->nodes[first].inputs[0];
    int32_t joined = -1;
    *out = (group){.concat = -1};
    for (int32_t i = 0; i < p->uses->count[x] && out->count < MOST_PARTS - 1; i++) {
        const int32_t at = p->uses->list[p->uses->first[x] + i];
        const osp_node *node = g->nodes + at;
        int32_t concat;
        if (!node->type || !is_candidate(p, node) || !same_way(g, g->nodes + first, node) ||
            !readers_take_slices(p, node->outputs[0], &concat) || (concat >= 0 && joined >= 0))
            continue;
        if (concat >= 0)
            joined = at, out->concat = concat;
        else
            out->node[out->count++] = at;
    }
    if (joined < 0)
        return;
    out->node[out->count++] = joined;
    if (takes_part(p, g->nodes + out->concat, out))
        out->count = 0;
}

// ---- Constants ----------------------------------------------------------------------------------

static osp_vid add_constant(osp_graph *g, osp_dtype dtype, const osp_shape *shape, void **data)
{
    size_t bytes;
    *data = osp_shape_bytes(shape, dtype, &bytes) ? osp_arena_alloc(&g->arena, bytes) : NULL;
    const osp_vid v = *data ? osp_edit_value(g, dtype, shape) : OSP_NO_VALUE;
    if (v != OSP_NO_VALUE)
        g->values[v].data = *data;
    return v;
}

// Input `k` of all parts, one behind the other along dim 0.
static osp_vid join_rows(osp_graph *g, const group *parts, int32_t k)
{
    osp_shape shape = {0};
    for (int32_t i = 0; i < parts->count; i++) {
        const osp_shape *own = &g->values[g->nodes[parts->node[i]].inputs[k]].shape;
        const int64_t rows = shape.dims[0];
        shape = *own;
        shape.dims[0] = rows + own->dims[0];
    }
    void *data;
    const osp_dtype dtype = g->values[g->nodes[parts->node[0]].inputs[k]].dtype;
    const osp_vid all = add_constant(g, dtype, &shape, &data);
    for (int32_t i = 0; all != OSP_NO_VALUE && i < parts->count; i++) {
        const osp_value *own = g->values + g->nodes[parts->node[i]].inputs[k];
        size_t bytes = 0;
        osp_shape_bytes(&own->shape, dtype, &bytes);
        memcpy(data, own->data, bytes);
        data = (char *)data + bytes;
    }
    return all;
}

// Weights whose channels in, from `start` on, `count` of them, come before all others.
static osp_vid move_to_front(osp_graph *g, osp_vid weights, int64_t start, int64_t count)
{
    const osp_value *w = g->values + weights;
    const osp_shape shape = w->shape;
    const osp_dtype dtype = w->dtype;
    const char *from = w->data;
    const size_t channel = (size_t)osp_shape_span(&shape, 2, shape.rank) * osp_dtype_bytes(dtype);
    const size_t row = (size_t)shape.dims[1] * channel, before = (size_t)start * channel;
    const size_t moved = (size_t)count * channel;
    void *data;
    const osp_vid out = add_constant(g, dtype, &shape, &data);
    char *to = data;
    for (int64_t o = 0; out != OSP_NO_VALUE && o < shape.dims[0]; o++, from += row, to += row) {
        memcpy(to, from + before, moved);
        memcpy(to + moved, from, before);
        memcpy(to + moved + before, from + before + moved, row - before - moved);
    }
    return out;
}

static osp_vid add_numbers(osp_graph *g, const int64_t *numbers, int32_t count)
{
    const osp_shape shape = {1, {count}};
    return osp_graph_add_constant(g, "", OSP_DTYPE_INT64, &shape, numbers);
}

// ---- Nodes --------------------------------------------------------------------------------------

static osp_status append(const pass *p, const char *type, const char *name, const osp_vid *inputs,
                         int32_t input_count, const osp_vid *outputs, int32_t output_count,
                         const void *attrs)
{
    osp_graph *g = p->graph;
    for (int32_t i = 0; i < input_count; i++)
        if (inputs[i] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(p->err);
    osp_node *node = osp_graph_insert_node(g, g->node_count, osp_op_find("", type), name, inputs,
                                           input_count, outputs, output_count, attrs);
    if (!node)
        OSP_FAIL_MEMORY(p->err);
    return osp_node_infer(g, node, p->err);
}

// y; NO_VALUE without an error: the backend does not take it.
static osp_status join_convs(const pass *p, const group *parts, osp_vid *out)
{
    osp_graph *g = p->graph;
    const osp_node *first = g->nodes + parts->node[0];
    osp_shape shape = g->values[first->outputs[0]].shape;
    shape.dims[1] = 0;
    for (int32_t i = 0; i < parts->count; i++)
        shape.dims[1] += channels(g, g->nodes[parts->node[i]].outputs[0]);
    const bool has_bias = bias_of(first) != OSP_NO_VALUE;
    const osp_vid inputs[3] = {first->inputs[0], join_rows(g, parts, 1),
                               has_bias ? join_rows(g, parts, 2) : OSP_NO_VALUE};
    const osp_vid y = osp_edit_value(g, g->values[first->outputs[0]].dtype, &shape);
    if (inputs[1] == OSP_NO_VALUE || (has_bias && inputs[2] == OSP_NO_VALUE) || y == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(p->err);
    osp_node *node = osp_graph_insert_node(g, g->node_count, first->op, first->name, inputs,
                                           has_bias || first->input_count > 2 ? 3 : 2, &y, 1,
                                           first->attrs);
    if (!node)
        OSP_FAIL_MEMORY(p->err);
    OSP_TRY(osp_node_infer(g, node, p->err));
    const osp_pass_options *o = p->options;
    const bool yes = !o || !o->accepts || o->accepts(o->user, g, node);
    *out = yes ? y : OSP_NO_VALUE;
    if (!yes)
        osp_graph_kill(node);
    return OSP_OK;
}

static osp_status split(const pass *p, osp_vid y, const osp_vid *parts, int32_t count)
{
    static const osp_split_attrs attrs = {.axis = 1, .split = {.count = -1}};
    int64_t sizes[MOST_PARTS];
    for (int32_t i = 0; i < count; i++)
        sizes[i] = channels(p->graph, parts[i]);
    const osp_vid inputs[2] = {y, add_numbers(p->graph, sizes, count)};
    return append(p, "Split", "split", inputs, 2, parts, count, &attrs);
}

// Makes z and p, and lets the convolution read p in its new order. `c`: the part in it.
static osp_status join_concat(const pass *p, int32_t at, osp_vid y, osp_vid c)
{
    static const osp_axis_attrs on_channels = {.axis = 1};
    osp_graph *g = p->graph;
    osp_node *concat = g->nodes + at;
    osp_node *reader = osp_edit_reader(g, p->uses, concat->outputs[0]);
    const char *name = concat->name;
    osp_shape shape = g->values[concat->outputs[0]].shape;
    const osp_dtype dtype = g->values[c].dtype;
    const int64_t from = channels(g, y) - channels(g, c);
    osp_vid *inputs = osp_arena_array(&g->arena, (size_t)concat->input_count, sizeof *inputs);
    const osp_vid back = osp_edit_value(g, dtype, &shape);
    shape.dims[1] += from;
    const osp_vid z = osp_edit_value(g, dtype, &shape);
    if (!inputs || back == OSP_NO_VALUE || z == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(p->err);
    int32_t count = 0;
    int64_t start = 0, before = 0;
    inputs[count++] = y;
    for (int32_t i = 0; i < concat->input_count; start += channels(g, concat->inputs[i]), i++)
        if (concat->inputs[i] == c)
            before = start;
        else
            inputs[count++] = concat->inputs[i];
    reader->inputs[0] = back;
    if (before) {
        reader->inputs[1] = move_to_front(g, reader->inputs[1], before, channels(g, c));
        if (reader->inputs[1] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(p->err);
    }
    osp_graph_kill(concat);
    OSP_TRY(append(p, "Concat", name, inputs, count, &z, 1, &on_channels));
    const int64_t axis = 1;
    const osp_vid slice[4] = {z, add_numbers(g, &from, 1), add_numbers(g, shape.dims + 1, 1),
                              add_numbers(g, &axis, 1)};
    return append(p, "Slice", "slice", slice, 4, &back, 1, NULL);
}

static osp_status merge(const pass *p, const group *parts)
{
    osp_vid y;
    OSP_TRY(join_convs(p, parts, &y));
    if (y == OSP_NO_VALUE)
        return OSP_OK;
    osp_vid outputs[MOST_PARTS];
    for (int32_t i = 0; i < parts->count; i++) {
        outputs[i] = p->graph->nodes[parts->node[i]].outputs[0];
        osp_graph_kill(p->graph->nodes + parts->node[i]);
    }
    OSP_TRY(split(p, y, outputs, parts->count));
    return parts->concat >= 0 ? join_concat(p, parts->concat, y, outputs[parts->count - 1])
                              : OSP_OK;
}

// ---- A part of a split --------------------------------------------------------------------------

// The one part of a convolution's split that goes into a concatenation (and else only where slices
// are taken); -1: none. The convolution's result is read by the split alone.
static int32_t joining_part(const pass *p, const osp_node *node, int32_t *concat)
{
    osp_graph *g = p->graph;
    if (!osp_node_is(node, "Split") || node->output_count > MOST_PARTS ||
        ((const osp_split_attrs *)node->attrs)->resolved_axis != 1 ||
        (size_t)node->inputs[0] >= p->values || p->uses->count[node->inputs[0]] != 1)
        return -1;
    const osp_node *conv = osp_edit_maker(g, p->uses, node->inputs[0]);
    if (!conv || !is_candidate(p, conv))
        return -1;
    int32_t found = -1;
    for (int32_t i = 0; i < node->output_count; i++) {
        const osp_vid v = node->outputs[i];
        int32_t at;
        if (v == OSP_NO_VALUE || (size_t)v >= p->values || p->uses->is_output[v] ||
            channels(g, v) % STEP)
            return -1;
        const bool slices = readers_take_slices(p, v, &at);
        for (int32_t k = 0; !slices && k < p->uses->count[v]; k++)  // another concatenation
            if (osp_node_is(g->nodes + p->uses->list[p->uses->first[v] + k], "Concat"))
                return -1;
        if (!slices || at < 0)
            continue;
        if (found >= 0)
            return -1;
        found = i;
        *concat = at;
    }
    return found;
}

// Rows of a constant, those from `start` on, `count` of them, behind all others.
static osp_vid move_rows_back(osp_graph *g, osp_vid v, int64_t start, int64_t count)
{
    const osp_value *value = g->values + v;
    const osp_shape shape = value->shape;
    const char *from = value->data;
    const size_t row = (size_t)osp_shape_span(&shape, 1, shape.rank) *
                       osp_dtype_bytes(value->dtype);
    const size_t before = (size_t)start * row, moved = (size_t)count * row;
    const size_t after = (size_t)shape.dims[0] * row - before - moved;
    void *data;
    const osp_vid out = add_constant(g, value->dtype, &shape, &data);
    if (out == OSP_NO_VALUE)
        return out;
    memcpy(data, from, before);
    memcpy((char *)data + before, from + before + moved, after);
    memcpy((char *)data + before + after, from + before, moved);
    return out;
}

static osp_status join_part(const pass *p, osp_node *node, int32_t part, int32_t concat)
{
    osp_graph *g = p->graph;
    const osp_vid y = node->inputs[0], own = node->outputs[part];
    osp_node *conv = osp_edit_maker(g, p->uses, y);
    int64_t start = 0;
    int32_t count = 0;
    osp_vid parts[MOST_PARTS];
    for (int32_t i = 0; i < node->output_count; i++) {
        start += i < part ? channels(g, node->outputs[i]) : 0;
        if (i != part)
            parts[count++] = node->outputs[i];
    }
    parts[count++] = own;
    for (int32_t k = 1; k < 3 && part + 1 < count; k++) {
        if (k >= conv->input_count || conv->inputs[k] == OSP_NO_VALUE)
            continue;
        conv->inputs[k] = move_rows_back(g, conv->inputs[k], start, channels(g, own));
        if (conv->inputs[k] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(p->err);
    }
    osp_graph_kill(node);
    OSP_TRY(split(p, y, parts, count));
    return join_concat(p, concat, y, own);
}

osp_status osp_pass_siblings(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    const pass p = {graph, &uses, options, graph->value_count, err};
    const size_t count = graph->node_count;  // what is appended has no siblings
    osp_status status = OSP_OK;
    for (size_t i = 0; i < count && !status; i++) {
        osp_node *node = graph->nodes + i;
        group parts;
        int32_t concat;
        const int32_t part = joining_part(&p, node, &concat);
        if (part >= 0) {
            status = join_part(&p, node, part, concat);
            continue;
        }
        if (!node->type || !is_candidate(&p, node) || (size_t)node->inputs[0] >= p.values)
            continue;
        find_group(&p, (int32_t)i, &parts);
        if (parts.count > 1)
            status = merge(&p, &parts);
    }
    osp_uses_free(&uses);
    return status;
}
