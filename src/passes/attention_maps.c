// Attention over an image reads and writes maps, as convolutions leave them.
//
//     Conv -> N,h*D,H,W -> Reshape N,h,D,HW -> Split -> q, k, v -> Attention -> Reshape N,h*e,H,W
//     =>   Conv, channels sorted by part -> Split over channels -> q, k, v -> Attention of h heads
//
// The convolution's weights are constants, and its result is read by nobody else; its channels change
// places, so that the parts of all heads lie together. Who else reads a part as a map gets it as it
// is, others by a Reshape.
#include <string.h>

#include "ops/conv.h"
#include "ops/internal.h"
#include "ops/move.h"
#include "ops/view.h"
#include "passes/edit.h"

enum { PARTS = 3, CHANNELS = 1, DEPTHS = 2 };  // axes of maps, and of matrices by head

typedef struct match {
    osp_node *attention, *split, *shaped, *conv, *after;
    int64_t heads;
    int64_t sizes[PARTS];   // of the split's outputs
    int32_t order[PARTS];   // q, k, v: which output each is
    osp_shape maps[PARTS];  // N, heads * size, H, W
} match;

static bool is_over_heads(const osp_node *node)
{
    if (!node->type || !node->op || strcmp(node->type, "Attention") != 0)
        return false;
    const osp_attention_attrs *a = node->attrs;
    return !a->heads && a->q_transposed && a->k_transposed && a->v_transposed && a->out_transposed;
}

// A node that only changes a shape, and makes v.
static osp_node *reshape_of(osp_graph *g, const osp_uses *uses, osp_vid v)
{
    osp_node *node = osp_edit_maker(g, uses, v);
    return node && node->op->same_bytes ? node : NULL;
}

static bool find_source(osp_graph *g, const osp_uses *uses, match *m)
{
    m->split = osp_edit_maker(g, uses, m->attention->inputs[0]);
    if (!m->split || !osp_node_is(m->split, "Split") || m->split->output_count != PARTS)
        return false;
    const osp_split_attrs *s = m->split->attrs;
    if (s->resolved_axis != DEPTHS)
        return false;
    for (int32_t i = 0; i < PARTS; i++) {
        m->order[i] = -1;
        m->sizes[i] = s->resolved_sizes[i];
        for (int32_t k = 0; k < PARTS; k++)
            if (m->split->outputs[k] == m->attention->inputs[i])
                m->order[i] = k;
        if (m->order[i] < 0 || uses->is_output[m->attention->inputs[i]])
            return false;
    }
    const osp_vid joined = m->split->inputs[0];
    m->shaped = reshape_of(g, uses, joined);
    if (!m->shaped || uses->count[joined] != 1 || uses->is_output[joined])
        return false;
    const osp_vid map = m->shaped->inputs[0];
    m->conv = osp_edit_maker(g, uses, map);
    return m->conv && osp_node_is(m->conv, "Conv") && uses->count[map] == 1 &&
           !uses->is_output[map];
}

static bool fits(const osp_graph *g, match *m)
{
    const osp_shape *map = &g->values[m->shaped->inputs[0]].shape;
    const osp_shape *by_head = &g->values[m->shaped->outputs[0]].shape;
    const osp_conv_attrs *a = m->conv->attrs;
    const osp_vid bias = m->conv->input_count > 2 ? m->conv->inputs[2] : OSP_NO_VALUE;
    m->heads = by_head->rank == 4 ? by_head->dims[1] : 0;
    if (map->rank != 4 || m->heads < 1 || by_head->dims[0] != map->dims[0] ||
        by_head->dims[DEPTHS] * m->heads != map->dims[CHANNELS] ||
        by_head->dims[3] != map->dims[2] * map->dims[3] || a->group != 1 ||
        !g->values[m->conv->inputs[1]].data || (bias != OSP_NO_VALUE && !g->values[bias].data))
        return false;
    for (int32_t i = 0; i < PARTS; i++) {
        m->maps[i] = *map;
        m->maps[i].dims[CHANNELS] = m->heads * m->sizes[i];
    }
    return osp_shape_equal(&g->values[m->after->outputs[0]].shape, &m->maps[m->order[2]]);
}

static bool find(osp_graph *g, const osp_uses *uses, osp_node *attention, match *m)
{
    m->attention = attention;
    m->after = osp_edit_reader(g, uses, attention->outputs[0]);
    return m->after && m->after->op->same_bytes && find_source(g, uses, m) && fits(g, m);
}

// A constant whose first dim is the convolution's channels, those of each part together.
static osp_vid sorted_by_part(osp_graph *g, const match *m, osp_vid v)
{
    const osp_value value = g->values[v];
    const int64_t channels = value.shape.dims[0], depth = channels / m->heads;
    const size_t bytes = osp_dtype_bytes(value.dtype) *
                         (size_t)osp_shape_span(&value.shape, 1, value.shape.rank);
    char *data = osp_arena_array(&g->arena, (size_t)channels, bytes), *to = data;
    int64_t start = 0;
    for (int32_t i = 0; data && i < PARTS; start += m->sizes[i++])
        for (int64_t head = 0; head < m->heads; head++) {
            const size_t part = (size_t)m->sizes[i] * bytes;
            memcpy(to, (const char *)value.data + (size_t)(head * depth + start) * bytes, part);
            to += part;
        }
    return data ? osp_graph_add_constant(g, "", value.dtype, &value.shape, data) : OSP_NO_VALUE;
}

static osp_status sort_channels(osp_graph *g, const match *m, osp_error *err)
{
    osp_node *conv = m->conv;
    const bool biased = conv->input_count > 2 && conv->inputs[2] != OSP_NO_VALUE;
    const osp_vid inputs[3] = {conv->inputs[0], sorted_by_part(g, m, conv->inputs[1]),
                               biased ? sorted_by_part(g, m, conv->inputs[2]) : OSP_NO_VALUE};
    if (inputs[1] == OSP_NO_VALUE || (biased && inputs[2] == OSP_NO_VALUE))
        OSP_FAIL_MEMORY(err);
    return osp_edit_become(g, conv, "", "Conv", inputs, biased ? 3 : 2, conv->attrs, err);
}

// What else reads part v, which is map `map` now: as that map, or by a Reshape.
static osp_status redirect(osp_graph *g, const osp_uses *uses, osp_vid v, osp_vid map,
                           osp_error *err)
{
    bool wanted = uses->is_output[v];
    for (int32_t i = 0; i < uses->count[v]; i++) {
        osp_node *reader = g->nodes + uses->list[uses->first[v] + i];
        if (!reader->type)  // killed, the old attention too
            continue;
        const osp_vid out = reader->outputs[0];
        if (!reader->op || !reader->op->same_bytes || uses->is_output[out] ||
            !osp_shape_equal(&g->values[out].shape, &g->values[map].shape)) {
            wanted = true;
            continue;
        }
        osp_graph_replace(g, out, map);
        osp_graph_kill(reader);
    }
    if (!wanted)
        return OSP_OK;
    const osp_shape shape = g->values[v].shape, ints = {1, {shape.rank}};
    const osp_vid inputs[2] = {map,
                               osp_graph_add_constant(g, "", OSP_DTYPE_INT64, &ints, shape.dims)};
    if (inputs[1] == OSP_NO_VALUE ||
        !osp_graph_insert_node(g, g->node_count, osp_op_find("", "Reshape"), "", inputs, 2, &v, 1,
                               NULL))
        OSP_FAIL_MEMORY(err);
    return osp_node_infer(g, g->nodes + g->node_count - 1, err);
}

static osp_status split_channels(osp_graph *g, const match *m, osp_vid map, const osp_vid *parts,
                                 osp_error *err)
{
    const osp_shape ints = {1, {PARTS}};
    int64_t sizes[PARTS];
    for (int32_t i = 0; i < PARTS; i++)
        sizes[i] = m->maps[i].dims[CHANNELS];
    const osp_split_attrs attrs = {.axis = CHANNELS, .split = {.count = -1}};
    const osp_vid inputs[2] = {map, osp_graph_add_constant(g, "", OSP_DTYPE_INT64, &ints, sizes)};
    if (inputs[1] == OSP_NO_VALUE ||
        !osp_graph_insert_node(g, g->node_count, osp_op_find("", "Split"), "", inputs, 2, parts,
                               PARTS, &attrs))
        OSP_FAIL_MEMORY(err);
    return osp_node_infer(g, g->nodes + g->node_count - 1, err);
}

static osp_status rewrite(osp_graph *g, const osp_uses *uses, const osp_pass_options *options,
                          const match *m, osp_error *err)
{
    const osp_attention_attrs attrs = {
        .scale = ((const osp_attention_attrs *)m->attention->attrs)->scale, .heads = m->heads};
    const osp_vid map = m->shaped->inputs[0];
    osp_vid parts[PARTS], old[PARTS], inputs[PARTS];
    for (int32_t i = 0; i < PARTS; i++) {
        old[i] = m->split->outputs[i];
        parts[i] = osp_edit_value(g, g->values[map].dtype, &m->maps[i]);
        if (parts[i] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(err);
    }
    for (int32_t i = 0; i < PARTS; i++)
        inputs[i] = parts[m->order[i]];
    bool done;
    OSP_TRY(osp_edit_try(g, options, m->after, "osprey", "Attention", inputs, PARTS, &attrs, &done,
                         err));
    if (!done)
        return OSP_OK;
    m->after->name = m->attention->name;
    OSP_TRY(sort_channels(g, m, err));
    osp_graph_kill(m->split);
    osp_graph_kill(m->shaped);
    osp_graph_kill(m->attention);
    for (int32_t i = 0; i < PARTS; i++)  // from here on the array of nodes may move
        OSP_TRY(redirect(g, uses, old[i], parts[i], err));
    return split_channels(g, m, map, parts, err);
}

osp_status osp_pass_attention_maps(osp_graph *graph, const osp_pass_options *options,
                                   osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++) {
        match m;
        if (is_over_heads(graph->nodes + i) && find(graph, &uses, graph->nodes + i, &m))
            status = rewrite(graph, &uses, options, &m, err);
    }
    osp_uses_free(&uses);
    return status;
}
