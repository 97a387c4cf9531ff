// The ordered list of passes. Fusion ends here: nothing matches patterns at run time.
// Thread rule: one thread for each graph.
#include "passes/passes.h"

#define CPU (1u << OSP_BACKEND_CPU)
#define CUDA (1u << OSP_BACKEND_CUDA)

const osp_pass osp_passes[] = {
    {"fold", CPU | CUDA, osp_pass_fold},
    {"batch_norm", CPU | CUDA, osp_pass_batch_norm},
    {"precision", CPU | CUDA, osp_pass_precision},
    {"identity", CPU | CUDA, osp_pass_identity},
    {"recompose", CPU | CUDA, osp_pass_recompose},
    {"attention", CPU | CUDA, osp_pass_attention},
    {"attention_maps", CPU | CUDA, osp_pass_attention_maps},
    {"expectation", CPU | CUDA, osp_pass_expectation},
    {"box_head", CPU | CUDA, osp_pass_box_head},
    {"max_pools", CPU | CUDA, osp_pass_max_pools},
    {"transposes", CPU | CUDA, osp_pass_transposes},
    {"fuse_conv", CPU | CUDA, osp_pass_fuse_conv},
    {"pixel_conv", CPU | CUDA, osp_pass_pixel_conv},
    {"views", CPU | CUDA, osp_pass_views},
    {"siblings", CUDA, osp_pass_siblings},
    {"layout", CPU | CUDA, osp_pass_layout},
    {"rounding", CPU | CUDA, osp_pass_rounding},
};
const size_t osp_pass_count = sizeof osp_passes / sizeof osp_passes[0];

// Working state of an ordering; one arena.
typedef struct order {
    int32_t *producer;  // by value: the node that makes it, or -1
    int32_t *stack;     // nodes that wait for the one above them
    uint8_t *state;     // by node: 0 not seen, 1 on the stack, 2 placed
    osp_node *sorted;
    size_t placed;
} order;

// The first producer of node n that is not placed yet; -1: none; -2: it waits for n: a cycle.
static int32_t missing_producer(const osp_graph *graph, const order *o, int32_t n)
{
    const osp_node *node = graph->nodes + n;
    for (int32_t i = 0; i < node->input_count; i++) {
        const int32_t p = node->inputs[i] == OSP_NO_VALUE ? -1 : o->producer[node->inputs[i]];
        if (p >= 0 && o->state[p] != 2)
            return o->state[p] ? -2 : p;
    }
    return -1;
}

// Places node n after all that it needs; false: a cycle.
static bool place(const osp_graph *graph, order *o, int32_t n)
{
    size_t depth = 0;
    o->stack[depth++] = n;
    o->state[n] = 1;
    while (depth) {
        const int32_t top = o->stack[depth - 1], p = missing_producer(graph, o, top);
        if (p == -2)
            return false;
        if (p >= 0) {
            o->state[p] = 1;
            o->stack[depth++] = p;
            continue;
        }
        o->state[top] = 2;
        o->sorted[o->placed++] = graph->nodes[top];
        depth--;
    }
    return true;
}

// Nodes keep their order, but for what a pass has appended: that comes just before its first
// reader, so that values live no longer than they must. A cycle is left for osp_graph_sort to name.
static osp_status settle_order(osp_graph *graph, osp_error *err)
{
    osp_arena arena;
    osp_arena_init(&arena, &graph->ctx->mem);
    order o = {
        .producer = osp_arena_array(&arena, graph->value_count, sizeof *o.producer),
        .stack = osp_arena_array(&arena, graph->node_count, sizeof *o.stack),
        .state = osp_arena_array(&arena, graph->node_count, sizeof *o.state),
        .sorted = osp_arena_array(&arena, graph->node_count, sizeof *o.sorted),
    };
    if (!o.producer || !o.stack || !o.state || !o.sorted) {
        osp_arena_free(&arena);
        OSP_FAIL_MEMORY(err);
    }
    for (size_t v = 0; v < graph->value_count; v++)
        o.producer[v] = -1;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int32_t i = 0; i < graph->nodes[n].output_count; i++)
            if (graph->nodes[n].outputs[i] != OSP_NO_VALUE)
                o.producer[graph->nodes[n].outputs[i]] = (int32_t)n;
    bool acyclic = true;
    for (size_t n = 0; n < graph->node_count && acyclic; n++)
        if (!o.state[n])
            acyclic = place(graph, &o, (int32_t)n);
    for (size_t n = 0; n < graph->node_count && acyclic; n++)
        graph->nodes[n] = o.sorted[n];
    osp_arena_free(&arena);
    return osp_graph_sort(graph, err);
}

osp_status osp_pass_run(const osp_pass *pass, osp_graph *graph, const osp_pass_options *options,
                        osp_error *err)
{
    const osp_status status = pass->run(graph, options, err);
    if (status) {
        osp_error_prefix(err, "pass %s", pass->name);
        return status;
    }
    size_t kept = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i].type)  // not killed
            graph->nodes[kept++] = graph->nodes[i];
    graph->node_count = kept;
    OSP_TRY(settle_order(graph, err));
    return osp_graph_sweep(graph, err);  // dead code goes at once
}

osp_status osp_passes_run(osp_graph *graph, osp_backend backend, const osp_pass_options *options,
                          osp_error *err)
{
    for (size_t i = 0; i < osp_pass_count; i++)
        if (osp_passes[i].backends >> backend & 1)
            OSP_TRY(osp_pass_run(osp_passes + i, graph, options, err));
    // Passes may leave nodes whose inputs are all constant: a plan has none.
    return osp_graph_infer(graph, false, err);
}
