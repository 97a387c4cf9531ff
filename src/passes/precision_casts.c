// Rewrites a graph for the nodes that were chosen to be low.
//
// A value that a low node makes keeps its number and becomes low; who needs float32 reads one
// shared Cast of it. A graph output keeps number, name and type, and is that Cast's result. A
// constant is converted where it lies, or into a second one if float32 readers remain.
// Thread rule: one thread for each graph.
#include <string.h>

#include "ops/elementwise.h"
#include "ops/view.h"
#include "passes/precision.h"

typedef struct rewriter {
    const osp_low_plan *plan;
    size_t values, nodes;  // before the rewriting
    bool *made_low;        // by value: its node is low
    bool *want_low, *want_float;
    osp_vid *low_of, *float_of;  // what readers read instead; NO_VALUE: the value itself
} rewriter;

// Cast and Shape read any type.
static bool takes_any(const osp_node *node)
{
    return osp_node_is(node, "Cast") || (node->op && node->op->shape_only);
}

static bool operand_is_low(const rewriter *r, size_t n, int32_t i)
{
    if (!r->plan->low[n])
        return false;
    const uint32_t operands = osp_low_operands(r->plan->graph, r->plan->graph->nodes + n,
                                               r->plan->type);
    return i < 32 ? operands >> i & 1 : operands == UINT32_MAX;
}

static void find_wants(rewriter *r)
{
    const osp_graph *graph = r->plan->graph;
    for (size_t n = 0; n < r->nodes; n++) {
        const osp_node *node = graph->nodes + n;
        for (int32_t i = 0; r->plan->low[n] && i < node->output_count; i++) {
            const osp_vid v = node->outputs[i];
            if (v != OSP_NO_VALUE && graph->values[v].dtype == OSP_DTYPE_FLOAT32)
                r->made_low[v] = true;
        }
        for (int32_t i = 0; node->type && i < node->input_count; i++) {
            const osp_vid v = node->inputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            if (operand_is_low(r, n, i))
                r->want_low[v] = true;
            else if (!takes_any(node) || graph->values[v].data)
                r->want_float[v] = true;
        }
    }
    for (int32_t i = 0; i < graph->output_count; i++)
        r->want_float[graph->outputs[i]] = true;
}

static osp_status add_cast(osp_graph *graph, osp_vid src, osp_vid dst, osp_vid named,
                           osp_error *err)
{
    const osp_cast_attrs attrs = {osp_dtype_to_onnx(graph->values[dst].dtype)};
    const char *name = osp_arena_printf(&graph->arena, "%s.%s", graph->values[named].name,
                                        osp_dtype_name(graph->values[dst].dtype));
    const osp_op *op = osp_op_find("", "Cast");
    if (!op)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "operator Cast is not built in");
    if (!name ||
        !osp_graph_insert_node(graph, graph->node_count, op, name, &src, 1, &dst, 1, &attrs))
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

// A new value like v, of another type.
static osp_status twin(osp_graph *graph, osp_vid v, osp_dtype dtype, osp_vid *out, osp_error *err)
{
    const osp_shape shape = graph->values[v].shape;
    *out = osp_graph_add_value(graph, "", dtype, &shape);
    if (*out == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    graph->values[*out].layout = graph->values[v].layout;
    return OSP_OK;
}

static osp_status convert_constant(rewriter *r, osp_vid v, osp_error *err)
{
    osp_graph *graph = r->plan->graph;
    const osp_dtype type = r->plan->type;
    size_t count;
    if (!osp_shape_count(&graph->values[v].shape, &count))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "constant '%s' is too large", graph->values[v].name);
    const char *src = graph->values[v].data;  // may be unaligned
    uint16_t *data = osp_arena_array(&graph->arena, count, sizeof *data);
    if (!data)
        OSP_FAIL_MEMORY(err);
    for (size_t i = 0; i < count; i++) {
        float x;
        memcpy(&x, src + i * sizeof x, sizeof x);
        osp_store_float(type, data, i, x);
    }
    osp_vid to = v;
    if (r->want_float[v])
        OSP_TRY(twin(graph, v, type, &to, err));
    graph->values[to].dtype = type;
    graph->values[to].data = data;
    r->low_of[v] = to;
    return OSP_OK;
}

// A low node makes v.
static osp_status lower_result(rewriter *r, osp_vid v, osp_error *err)
{
    osp_graph *graph = r->plan->graph;
    osp_vid other;
    if (!r->plan->uses->is_output[v]) {
        graph->values[v].dtype = r->plan->type;
        if (!r->want_float[v])
            return OSP_OK;
        OSP_TRY(twin(graph, v, OSP_DTYPE_FLOAT32, &other, err));
        r->float_of[v] = other;
        return add_cast(graph, v, other, v, err);
    }
    OSP_TRY(twin(graph, v, r->plan->type, &other, err));
    r->low_of[v] = other;
    const osp_node *maker = graph->nodes + r->plan->uses->producer[v];
    for (int32_t i = 0; i < maker->output_count; i++)
        if (maker->outputs[i] == v)
            maker->outputs[i] = other;
    return add_cast(graph, other, v, v, err);
}

// A low node reads v, which is made in float32.
static osp_status lower_source(rewriter *r, osp_vid v, osp_error *err)
{
    osp_graph *graph = r->plan->graph;
    if (graph->values[v].data)
        return convert_constant(r, v, err);
    const osp_node *maker = osp_edit_maker(graph, r->plan->uses, v);
    if (maker && osp_node_is(maker, "Cast") &&
        graph->values[maker->inputs[0]].dtype == r->plan->type && !r->made_low[maker->inputs[0]]) {
        r->low_of[v] = maker->inputs[0];  // there and back again
        return OSP_OK;
    }
    OSP_TRY(twin(graph, v, r->plan->type, &r->low_of[v], err));
    return add_cast(graph, v, r->low_of[v], v, err);
}

static void redirect(const rewriter *r)
{
    const osp_graph *graph = r->plan->graph;
    for (size_t n = 0; n < r->nodes; n++) {
        const osp_node *node = graph->nodes + n;
        for (int32_t i = 0; node->type && i < node->input_count; i++) {
            const osp_vid v = node->inputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            const osp_vid to = operand_is_low(r, n, i)             ? r->low_of[v]
                               : takes_any(node) && r->made_low[v] ? OSP_NO_VALUE
                                                                   : r->float_of[v];
            if (to != OSP_NO_VALUE)
                node->inputs[i] = to;
        }
    }
}

static osp_status rewrite(rewriter *r, osp_error *err)
{
    find_wants(r);
    for (osp_vid v = 0; (size_t)v < r->values; v++)
        r->low_of[v] = r->float_of[v] = OSP_NO_VALUE;
    for (osp_vid v = 0; (size_t)v < r->values; v++) {
        if (r->made_low[v])
            OSP_TRY(lower_result(r, v, err));
        else if (r->want_low[v])
            OSP_TRY(lower_source(r, v, err));
    }
    redirect(r);
    return OSP_OK;
}

osp_status osp_low_apply(const osp_low_plan *plan, osp_error *err)
{
    osp_arena arena;
    osp_arena_init(&arena, &plan->graph->ctx->mem);
    rewriter r = {
        .plan = plan, .values = plan->graph->value_count, .nodes = plan->graph->node_count};
    r.made_low = osp_arena_array(&arena, r.values, sizeof(bool));
    r.want_low = osp_arena_array(&arena, r.values, sizeof(bool));
    r.want_float = osp_arena_array(&arena, r.values, sizeof(bool));
    r.low_of = osp_arena_array(&arena, r.values, sizeof *r.low_of);
    r.float_of = osp_arena_array(&arena, r.values, sizeof *r.float_of);
    osp_status status = OSP_OK;
    if (!r.made_low || !r.want_low || !r.want_float || !r.low_of || !r.float_of)
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    else
        status = rewrite(&r, err);
    osp_arena_free(&arena);
    return status;
}
