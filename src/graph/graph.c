// Graphs: building, cloning, use lists, rewriting, sorting.
// Owns the arrays of values and nodes; what they point to lies in the graph's arena or in the
// model's mapped file. Thread rule: one thread while a graph is changed.
#include "graph/graph.h"

#include <string.h>

#include "ops/op.h"

void osp_graph_init(osp_graph *graph, osp_context *ctx)
{
    *graph = (osp_graph){.ctx = ctx, .name = "", .producer = ""};
    osp_arena_init(&graph->arena, &ctx->mem);
}

void osp_graph_free(osp_graph *graph)
{
    if (!graph->ctx)
        return;
    osp_mem_free(&graph->ctx->mem, graph->values);
    osp_mem_free(&graph->ctx->mem, graph->nodes);
    osp_arena_free(&graph->arena);
    *graph = (osp_graph){0};
}

const char *osp_graph_meta(const osp_graph *graph, const char *key)
{
    for (int32_t i = 0; i < graph->metadata_count; i++)
        if (!strcmp(graph->metadata[i].key, key))
            return graph->metadata[i].value;
    return NULL;
}

osp_vid osp_graph_add_value(osp_graph *graph, const char *name, osp_dtype dtype,
                            const osp_shape *shape)
{
    if (graph->value_count >= INT32_MAX / 2 ||
        !osp_mem_reserve(&graph->ctx->mem, (void **)&graph->values, &graph->value_capacity,
                         graph->value_count + 1, sizeof *graph->values))
        return OSP_NO_VALUE;
    const char *copy = name[0] ? osp_arena_strndup(&graph->arena, name, strlen(name)) : "";
    if (!copy)
        return OSP_NO_VALUE;
    osp_vid v = (osp_vid)graph->value_count++;
    graph->values[v] = (osp_value){.name = copy, .dtype = dtype, .shape = {.rank = -1}};
    if (shape)
        graph->values[v].shape = *shape;
    return v;
}

osp_vid osp_graph_add_constant(osp_graph *graph, const char *name, osp_dtype dtype,
                               const osp_shape *shape, const void *data)
{
    size_t bytes;
    if (!osp_shape_bytes(shape, dtype, &bytes))
        return OSP_NO_VALUE;
    void *copy = osp_arena_alloc(&graph->arena, bytes);
    if (!copy)
        return OSP_NO_VALUE;
    if (bytes)
        memcpy(copy, data, bytes);
    osp_vid v = osp_graph_add_value(graph, name, dtype, shape);
    if (v != OSP_NO_VALUE)
        graph->values[v].data = copy;
    return v;
}

static osp_vid *copy_ids(osp_graph *graph, const osp_vid *ids, int32_t count)
{
    osp_vid *copy = osp_arena_array(&graph->arena, (size_t)count, sizeof *copy);
    if (copy && count)
        memcpy(copy, ids, (size_t)count * sizeof *copy);
    return copy;
}

osp_node *osp_graph_insert_node(osp_graph *graph, size_t at, const osp_op *op, const char *name,
                                const osp_vid *inputs, int32_t input_count, const osp_vid *outputs,
                                int32_t output_count, const void *attrs)
{
    if (graph->node_count >= graph->ctx->limits.nodes ||
        !osp_mem_reserve(&graph->ctx->mem, (void **)&graph->nodes, &graph->node_capacity,
                         graph->node_count + 1, sizeof *graph->nodes))
        return NULL;
    osp_node node = {
        .op = op,
        .name = osp_arena_strndup(&graph->arena, name, strlen(name)),
        .type = op ? op->type : "",
        .domain = op ? op->domain : "",
        .input_count = input_count,
        .output_count = output_count,
        .inputs = copy_ids(graph, inputs, input_count),
        .outputs = copy_ids(graph, outputs, output_count),
    };
    if (op) {
        node.attrs = osp_arena_alloc(&graph->arena, op->attrs_size);
        if (!node.attrs)
            return NULL;
        if (attrs)
            memcpy(node.attrs, attrs, op->attrs_size);
        else if (op->defaults)
            memcpy(node.attrs, op->defaults, op->attrs_size);
    }
    if (!node.name || !node.inputs || !node.outputs)
        return NULL;
    osp_node *slot = graph->nodes + at;
    memmove(slot + 1, slot, (graph->node_count - at) * sizeof *slot);
    *slot = node;
    graph->node_count++;
    atomic_fetch_add(&graph->ctx->nodes_made, 1);
    return slot;
}

// Copies strings and arrays of one node into `out`'s arena; false: no memory.
static bool clone_node(osp_graph *out, const osp_node *from, osp_node *to)
{
    *to = *from;
    to->inputs = copy_ids(out, from->inputs, from->input_count);
    to->outputs = copy_ids(out, from->outputs, from->output_count);
    to->name = osp_arena_strndup(&out->arena, from->name, strlen(from->name));
    if (!from->op) {
        to->type = osp_arena_strndup(&out->arena, from->type, strlen(from->type));
        to->domain = osp_arena_strndup(&out->arena, from->domain, strlen(from->domain));
    } else {
        to->attrs = osp_arena_alloc(&out->arena, from->op->attrs_size);
        if (to->attrs)
            memcpy(to->attrs, from->attrs, from->op->attrs_size);
    }
    return to->inputs && to->outputs && to->name && to->type && to->domain &&
           (!from->op || to->attrs);
}

static bool clone_values(osp_graph *out, const osp_graph *graph)
{
    if (!osp_mem_reserve(&out->ctx->mem, (void **)&out->values, &out->value_capacity,
                         graph->value_count, sizeof *out->values))
        return false;
    for (size_t i = 0; i < graph->value_count; i++) {
        osp_value *v = out->values + i;
        *v = graph->values[i];
        v->name = v->name[0] ? osp_arena_strndup(&out->arena, v->name, strlen(v->name)) : "";
        if (!v->name)
            return false;
        if (!v->dim_names)
            continue;
        const char **names = osp_arena_array(&out->arena, OSP_MAX_RANK, sizeof *names);
        if (!names)
            return false;
        for (int32_t d = 0; d < OSP_MAX_RANK; d++) {
            const char *name = v->dim_names[d];
            names[d] = name ? osp_arena_strndup(&out->arena, name, strlen(name)) : NULL;
            if (name && !names[d])
                return false;
        }
        v->dim_names = names;
    }
    out->value_count = graph->value_count;
    return true;
}

static bool clone_rest(osp_graph *out, const osp_graph *graph)
{
    if (!osp_mem_reserve(&out->ctx->mem, (void **)&out->nodes, &out->node_capacity,
                         graph->node_count, sizeof *out->nodes))
        return false;
    for (size_t i = 0; i < graph->node_count; i++)
        if (!clone_node(out, graph->nodes + i, out->nodes + i))
            return false;
    out->node_count = graph->node_count;
    out->inputs = copy_ids(out, graph->inputs, graph->input_count);
    out->outputs = copy_ids(out, graph->outputs, graph->output_count);
    out->name = osp_arena_strndup(&out->arena, graph->name, strlen(graph->name));
    out->producer = osp_arena_strndup(&out->arena, graph->producer, strlen(graph->producer));
    out->metadata = osp_arena_array(&out->arena, (size_t)graph->metadata_count,
                                    sizeof *out->metadata);
    if (!out->inputs || !out->outputs || !out->name || !out->producer || !out->metadata)
        return false;
    for (int32_t i = 0; i < graph->metadata_count; i++) {
        const osp_meta *m = graph->metadata + i;
        out->metadata[i].key = osp_arena_strndup(&out->arena, m->key, strlen(m->key));
        out->metadata[i].value = osp_arena_strndup(&out->arena, m->value, strlen(m->value));
        if (!out->metadata[i].key || !out->metadata[i].value)
            return false;
    }
    return true;
}

osp_status osp_graph_clone(osp_graph *out, const osp_graph *graph, osp_error *err)
{
    osp_graph_init(out, graph->ctx);
    out->ir_version = graph->ir_version;
    out->opset = graph->opset;
    out->input_count = graph->input_count;
    out->output_count = graph->output_count;
    out->metadata_count = graph->metadata_count;
    out->raw_model = graph->raw_model;
    if (clone_values(out, graph) && clone_rest(out, graph))
        return OSP_OK;
    osp_graph_free(out);
    OSP_FAIL_MEMORY(err);
}

osp_status osp_graph_uses(osp_uses *out, const osp_graph *graph, osp_error *err)
{
    *out = (osp_uses){0};
    osp_arena_init(&out->arena, &graph->ctx->mem);
    size_t values = graph->value_count, reads = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        reads += (size_t)graph->nodes[n].input_count;
    out->producer = osp_arena_array(&out->arena, values, sizeof *out->producer);
    out->first = osp_arena_array(&out->arena, values, sizeof *out->first);
    out->count = osp_arena_array(&out->arena, values, sizeof *out->count);
    out->list = osp_arena_array(&out->arena, reads, sizeof *out->list);
    out->is_output = osp_arena_array(&out->arena, values, sizeof *out->is_output);
    if (!out->producer || !out->first || !out->count || !out->list || !out->is_output) {
        osp_uses_free(out);
        OSP_FAIL_MEMORY(err);
    }
    for (size_t v = 0; v < values; v++)
        out->producer[v] = -1;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        if (!node->type)  // killed
            continue;
        for (int32_t i = 0; i < node->output_count; i++)
            if (node->outputs[i] != OSP_NO_VALUE)
                out->producer[node->outputs[i]] = (int32_t)n;
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != OSP_NO_VALUE)
                out->count[node->inputs[i]]++;
    }
    int32_t at = 0;
    for (size_t v = 0; v < values; v++) {
        out->first[v] = at;
        at += out->count[v];
        out->count[v] = 0;
    }
    for (size_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 0; graph->nodes[n].type && i < graph->nodes[n].input_count; i++) {
            osp_vid v = graph->nodes[n].inputs[i];
            if (v != OSP_NO_VALUE)
                out->list[out->first[v] + out->count[v]++] = (int32_t)n;
        }
    for (int32_t i = 0; i < graph->output_count; i++)
        out->is_output[graph->outputs[i]] = true;
    return OSP_OK;
}

void osp_uses_free(osp_uses *uses)
{
    if (uses->arena.mem)
        osp_arena_free(&uses->arena);
    *uses = (osp_uses){0};
}

void osp_graph_replace(osp_graph *graph, osp_vid from, osp_vid to)
{
    for (size_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 0; i < graph->nodes[n].input_count; i++)
            if (graph->nodes[n].inputs[i] == from)
                graph->nodes[n].inputs[i] = to;
    for (int32_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i] == from)
            graph->outputs[i] = to;
}

void osp_graph_kill(osp_node *node)
{
    node->type = NULL;
}

osp_status osp_graph_sweep(osp_graph *graph, osp_error *err)
{
    bool *needed = osp_mem_calloc(&graph->ctx->mem, graph->value_count, sizeof *needed);
    if (!needed)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < graph->output_count; i++)
        needed[graph->outputs[i]] = true;
    for (size_t n = graph->node_count; n-- > 0;) {
        osp_node *node = graph->nodes + n;
        bool live = false;
        for (int32_t i = 0; node->type && i < node->output_count; i++)
            live |= node->outputs[i] != OSP_NO_VALUE && needed[node->outputs[i]];
        if (!live) {
            osp_graph_kill(node);
            continue;
        }
        for (int32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] != OSP_NO_VALUE)
                needed[node->inputs[i]] = true;
    }
    size_t kept = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n].type)
            graph->nodes[kept++] = graph->nodes[n];
    graph->node_count = kept;
    osp_mem_free(&graph->ctx->mem, needed);
    return OSP_OK;
}

// Working state of a sort: Kahn's algorithm with a queue, which keeps the file's order where it
// can. One block.
typedef struct sorter {
    int32_t *producer;         // by value
    int32_t *missing;          // by node: inputs not made yet
    int32_t *first, *readers;  // by value: who waits for it
    int32_t *queue;
    osp_arena arena;
} sorter;

static bool sorter_alloc(sorter *s, const osp_graph *graph)
{
    size_t reads = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        reads += (size_t)graph->nodes[n].input_count;
    osp_arena_init(&s->arena, &graph->ctx->mem);
    s->producer = osp_arena_array(&s->arena, graph->value_count, sizeof(int32_t));
    s->missing = osp_arena_array(&s->arena, graph->node_count, sizeof(int32_t));
    s->first = osp_arena_array(&s->arena, graph->value_count + 1, sizeof(int32_t));
    s->readers = osp_arena_array(&s->arena, reads, sizeof(int32_t));
    s->queue = osp_arena_array(&s->arena, graph->node_count, sizeof(int32_t));
    return s->producer && s->missing && s->first && s->readers && s->queue;
}

static osp_status sorter_fill(sorter *s, const osp_graph *graph, osp_error *err)
{
    for (size_t v = 0; v < graph->value_count; v++)
        s->producer[v] = graph->values[v].data || graph->values[v].dropped ? -2 : -1;
    for (int32_t i = 0; i < graph->input_count; i++)
        s->producer[graph->inputs[i]] = -2;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        for (int32_t i = 0; i < node->output_count; i++) {
            osp_vid v = node->outputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            if (s->producer[v] != -1)
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         "value '%s' is made twice, the second time by node '%s' (%s): "
                         "export the model again",
                         graph->values[v].name, node->name, node->type);
            s->producer[v] = (int32_t)n;
        }
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        for (int32_t i = 0; i < node->input_count; i++) {
            osp_vid v = node->inputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            if (s->producer[v] == -1)
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         "node '%s' (%s) reads '%s', which nothing makes: export the model again",
                         node->name, node->type, graph->values[v].name);
            if (s->producer[v] >= 0) {
                s->missing[n]++;
                s->first[v + 1]++;
            }
        }
    }
    for (size_t v = 0; v < graph->value_count; v++)
        s->first[v + 1] += s->first[v];
    return OSP_OK;
}

static void sorter_link(sorter *s, const osp_graph *graph)
{
    // first[v] walks forward while its readers are written, and is walked back after.
    for (size_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 0; i < graph->nodes[n].input_count; i++) {
            osp_vid v = graph->nodes[n].inputs[i];
            if (v != OSP_NO_VALUE && s->producer[v] >= 0)
                s->readers[s->first[v]++] = (int32_t)n;
        }
    for (size_t v = graph->value_count; v > 0; v--)
        s->first[v] = s->first[v - 1];
    s->first[0] = 0;
}

static bool is_sorted(const sorter *s, const osp_graph *graph)
{
    for (size_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 0; i < graph->nodes[n].input_count; i++) {
            osp_vid v = graph->nodes[n].inputs[i];
            if (v != OSP_NO_VALUE && s->producer[v] >= (int32_t)n)
                return false;
        }
    return true;
}

static osp_status reorder(sorter *s, osp_graph *graph, osp_error *err)
{
    size_t head = 0, tail = 0;
    for (size_t n = 0; n < graph->node_count; n++)
        if (!s->missing[n])
            s->queue[tail++] = (int32_t)n;
    while (head < tail) {
        const osp_node *node = graph->nodes + s->queue[head++];
        for (int32_t i = 0; i < node->output_count; i++) {
            osp_vid v = node->outputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            for (int32_t r = s->first[v]; r < s->first[v + 1]; r++)
                if (--s->missing[s->readers[r]] == 0)
                    s->queue[tail++] = s->readers[r];
        }
    }
    if (tail < graph->node_count) {
        size_t stuck = 0;
        while (!s->missing[stuck])
            stuck++;
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "node '%s' (%s) is part of a cycle or behind one: export the model again",
                 graph->nodes[stuck].name, graph->nodes[stuck].type);
    }
    osp_node *sorted = osp_mem_calloc(&graph->ctx->mem, graph->node_count, sizeof *sorted);
    if (!sorted)
        OSP_FAIL_MEMORY(err);
    for (size_t n = 0; n < graph->node_count; n++)
        sorted[n] = graph->nodes[s->queue[n]];
    osp_mem_free(&graph->ctx->mem, graph->nodes);
    graph->nodes = sorted;
    graph->node_capacity = graph->node_count;
    return OSP_OK;
}

osp_status osp_graph_sort(osp_graph *graph, osp_error *err)
{
    sorter s = {0};
    osp_status status = OSP_ERROR_MEMORY;
    if (!sorter_alloc(&s, graph))
        osp_error_set(err, status, "out of memory");
    else
        status = sorter_fill(&s, graph, err);
    if (!status && !is_sorted(&s, graph)) {
        sorter_link(&s, graph);
        status = reorder(&s, graph, err);
    }
    for (int32_t i = 0; !status && i < graph->output_count; i++)
        if (s.producer[graph->outputs[i]] == -1)
            status = osp_error_set(err, OSP_ERROR_FORMAT,
                                   "output '%s' is made by no node: export the model again",
                                   graph->values[graph->outputs[i]].name);
    osp_arena_free(&s.arena);
    return status;
}
