// Inference over a graph, and constant folding on the way.
//
// Nodes are taken in order. Each one's inputs must be typed by then; its operator writes the types
// of its outputs, and if all that they depend on is constant (for Shape: known), the reference
// kernel makes them constants and the node goes. What folding may cost is bounded before it runs.
// Thread rule: the graph belongs to the caller for the time of the call.
#include <stdio.h>
#include <string.h>

#include "ops/fold.h"

enum { MOST_OPERANDS = 4096 };  // of a node: an input costs a file two bytes, a view costs 88

// What is known of a value. All but PENDING and UNKNOWN have a type and a concrete shape.
typedef enum value_state {
    STATE_PENDING = 0,  // its node has not been reached
    STATE_UNKNOWN,      // made by an opaque node, or from such
    STATE_INPUT,        // graph input
    STATE_CONSTANT,
    STATE_COMPUTED,
    STATE_OVER_BUDGET  // would be constant, but for limits.fold_elements
} value_state;

typedef struct inference {
    osp_graph *graph;
    uint8_t *states;           // by value; NULL: a single node is inferred
    const osp_value **inputs;  // of the node at hand
    osp_type *outputs;
    int32_t input_room, output_room;
    osp_fold_budget budget;
} inference;

static const char *node_name(const osp_graph *graph, const osp_node *node)
{
    if (node->name[0])
        return node->name;
    for (int32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE)
            return graph->values[node->outputs[i]].name;
    return "";
}

static void blame(osp_error *err, const osp_graph *graph, const osp_node *node)
{
    osp_error_prefix(err, "node '%.120s' (%.40s)", node_name(graph, node), node->type);
}

// ---- One node -----------------------------------------------------------------------------------

static bool ids_fit(const osp_graph *graph, const osp_vid *ids, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (ids[i] != OSP_NO_VALUE && (ids[i] < 0 || (size_t)ids[i] >= graph->value_count))
            return false;
    return true;
}

static osp_status check_counts(const osp_node *node, osp_error *err)
{
    const osp_op *op = node->op;
    int32_t given = 0;
    if (node->input_count > MOST_OPERANDS || node->output_count > MOST_OPERANDS)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%d inputs and %d outputs: at most %d of each are supported",
                 node->input_count, node->output_count, MOST_OPERANDS);
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != OSP_NO_VALUE)
            given = i + 1;
    if (op->max_inputs >= 0 && given > op->max_inputs)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%d inputs are given: %s takes at most %d", given, op->type,
                 op->max_inputs);
    for (int32_t i = 0; i < op->min_inputs || (op->max_inputs < 0 && i < node->input_count); i++)
        if (i >= node->input_count || node->inputs[i] == OSP_NO_VALUE)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d is missing: %s needs %d", i, op->type,
                     op->min_inputs);
    if (node->output_count < op->min_outputs ||
        (op->max_outputs >= 0 && node->output_count > op->max_outputs))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%d outputs are asked for: %s has %d to %d",
                 node->output_count, op->type, op->min_outputs, op->max_outputs);
    return OSP_OK;
}

static osp_status check_shape_inputs(const inference *f, const osp_node *node, osp_error *err)
{
    for (int32_t i = 0; i < node->input_count && i < 32; i++) {
        const osp_vid v = node->inputs[i];
        if (!(node->op->shape_inputs >> i & 1) || v == OSP_NO_VALUE || f->graph->values[v].data)
            continue;
        const char *name = f->graph->values[v].name;
        const value_state state = f->states ? (value_state)f->states[v] : STATE_COMPUTED;
        if (state == STATE_OVER_BUDGET)
            OSP_FAIL(err, OSP_ERROR_LIMIT,
                     "input '%.80s' determines shapes, and computing it takes more than the limit "
                     "of %llu folded elements: raise osp_limits.fold_elements",
                     name, (unsigned long long)f->graph->ctx->limits.fold_elements);
        if (state == STATE_INPUT)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "input '%.80s' determines shapes: give it as a fixed input "
                     "(--fixed-input %.80s=FILE)",
                     name, name);
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "input '%.80s' determines shapes but is computed from the data of the run: export "
                 "the model with constant shapes",
                 name);
    }
    return OSP_OK;
}

static osp_status check_size(const osp_graph *graph, const char *name, osp_dtype dtype,
                             const osp_shape *shape, osp_error *err)
{
    size_t bytes;
    char text[96];
    if (osp_shape_bytes(shape, dtype, &bytes) && bytes <= graph->ctx->limits.tensor_bytes)
        return OSP_OK;
    OSP_FAIL(err, OSP_ERROR_LIMIT,
             "tensor '%.80s' of shape %s is larger than the limit of %llu bytes: raise "
             "osp_limits.tensor_bytes",
             name, osp_shape_text(shape, text, sizeof text),
             (unsigned long long)graph->ctx->limits.tensor_bytes);
}

// Types the outputs of a node whose inputs are all typed.
static osp_status infer_node(inference *f, osp_node *node, osp_error *err)
{
    osp_graph *graph = f->graph;
    const osp_op *op = node->op;
    OSP_TRY(check_counts(node, err));
    OSP_TRY(check_shape_inputs(f, node, err));
    for (int32_t i = 0; i < node->input_count; i++)
        f->inputs[i] = node->inputs[i] == OSP_NO_VALUE ? NULL : graph->values + node->inputs[i];
    memset(f->outputs, 0, (size_t)f->output_room * sizeof *f->outputs);
    osp_infer in = {graph->ctx,         op,        node->attrs, node->input_count,
                    node->output_count, f->inputs, f->outputs};
    OSP_TRY(op->infer(&in, err));
    for (int32_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i] == OSP_NO_VALUE)
            continue;
        osp_value *value = graph->values + node->outputs[i];
        OSP_TRY(check_size(graph, value->name, f->outputs[i].dtype, &f->outputs[i].shape, err));
        value->dtype = f->outputs[i].dtype;
        value->shape = f->outputs[i].shape;
    }
    return OSP_OK;
}

static int32_t output_need(const osp_node *node)
{
    const int32_t most = node->op ? node->op->max_outputs : 0;
    return most > node->output_count ? most : node->output_count;
}

static bool make_room(inference *f, int32_t inputs, int32_t outputs)
{
    osp_mem *mem = &f->graph->ctx->mem;
    f->input_room = inputs;
    f->output_room = outputs;
    f->inputs = osp_mem_calloc(mem, (size_t)inputs + 1, sizeof *f->inputs);
    f->outputs = osp_mem_calloc(mem, (size_t)outputs + 1, sizeof *f->outputs);
    return f->inputs && f->outputs;
}

static void free_room(inference *f)
{
    osp_mem *mem = &f->graph->ctx->mem;
    osp_mem_free(mem, f->inputs);
    osp_mem_free(mem, f->outputs);
    osp_mem_free(mem, f->states);
}

osp_status osp_node_infer(osp_graph *graph, osp_node *node, osp_error *err)
{
    if (!node->op)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "node '%.120s' (%.40s): the operator is not known",
                 node_name(graph, node), node->type);
    inference f = {.graph = graph};
    osp_status status = OSP_OK;
    if (!ids_fit(graph, node->inputs, node->input_count) ||
        !ids_fit(graph, node->outputs, node->output_count))
        status = osp_error_set(err, OSP_ERROR_FORMAT, "a value's number is out of range");
    else if (!make_room(&f, node->input_count, output_need(node)))
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    for (int32_t i = 0; !status && i < node->input_count; i++) {
        const osp_vid v = node->inputs[i];
        if (v != OSP_NO_VALUE &&
            (!graph->values[v].dtype || !osp_shape_known(&graph->values[v].shape)))
            status = osp_error_set(err, OSP_ERROR_FORMAT, "input '%.80s' has no shape yet",
                                   graph->values[v].name);
    }
    if (!status)
        status = infer_node(&f, node, err);
    if (status && status != OSP_ERROR_MEMORY)
        blame(err, graph, node);
    free_room(&f);
    return status;
}

// ---- Running a node -----------------------------------------------------------------------------

enum { FEW = 16 };  // operands of most nodes; more take a block from the heap

osp_status osp_node_run(const osp_graph *graph, const osp_node *node, const osp_view *views,
                        osp_error *err)
{
    osp_view few[FEW];
    osp_view *operands = few;
    const size_t count = (size_t)node->input_count + (size_t)node->output_count;
    if (count > FEW) {
        operands = osp_mem_calloc(&graph->ctx->mem, count, sizeof *operands);
        if (!operands)
            OSP_FAIL_MEMORY(err);
    }
    const osp_view none = {0};
    for (int32_t i = 0; i < node->input_count; i++)
        operands[i] = node->inputs[i] == OSP_NO_VALUE ? none : views[node->inputs[i]];
    osp_view *outputs = operands + node->input_count;
    for (int32_t i = 0; i < node->output_count; i++)
        outputs[i] = node->outputs[i] == OSP_NO_VALUE ? none : views[node->outputs[i]];
    const osp_call call = {node->attrs, node->input_count, node->output_count, operands, outputs};
    const osp_status status = node->op->reference(&call, err);
    if (status)
        blame(err, graph, node);
    if (operands != few)
        osp_mem_free(&graph->ctx->mem, operands);
    return status;
}

// ---- The graph ----------------------------------------------------------------------------------

static osp_status refuse_opaque(const osp_graph *graph, osp_error *err)
{
    char text[400];
    size_t used = 0, count = 0, left = 0;
    text[0] = 0;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        if (node->op || !node->type)
            continue;
        count++;
        char one[160];
        snprintf(one, sizeof one, "%s'%.60s' (%.40s%s%.40s)", used ? ", " : "",
                 node_name(graph, node), node->domain, node->domain[0] ? "." : "", node->type);
        const size_t length = strlen(one);
        if (left || used + length >= sizeof text) {
            left++;
            continue;
        }
        memcpy(text + used, one, length + 1);
        used += length;
    }
    if (!count)
        return OSP_OK;
    if (left)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "%zu nodes have operators that are not known: %s, and "
                 "%zu more",
                 count, text, left);
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%zu node%s an operator that is not known: %s", count,
             count == 1 ? " has" : "s have", text);
}

// Values that nodes make are pending; graph inputs, constants and what a plan has packed are there.
static osp_status start_states(inference *f, bool allow_opaque, osp_error *err)
{
    osp_graph *graph = f->graph;
    f->states = osp_mem_calloc(&graph->ctx->mem, graph->value_count + 1, 1);
    if (!f->states)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < graph->input_count; i++)
        f->states[graph->inputs[i]] = STATE_INPUT;
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        if (!ids_fit(graph, node->inputs, node->input_count) ||
            !ids_fit(graph, node->outputs, node->output_count))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "node %zu names a value that does not exist", n);
        for (int32_t i = 0; node->type && i < node->output_count; i++) {
            const osp_vid v = node->outputs[i];
            if (v == OSP_NO_VALUE)
                continue;
            if (f->states[v] || graph->values[v].data)
                OSP_FAIL(err, OSP_ERROR_FORMAT, "value '%.120s' is made more than once",
                         graph->values[v].name);
            f->states[v] = STATE_UNKNOWN;  // marks it as made by a node, until the next loop
        }
    }
    for (size_t v = 0; v < graph->value_count; v++) {
        const osp_value *value = graph->values + v;
        const bool input = f->states[v] == STATE_INPUT;
        if (f->states[v] == STATE_UNKNOWN) {
            f->states[v] = STATE_PENDING;
            continue;
        }
        if (!value->dtype || !osp_shape_known(&value->shape)) {
            if (input && !(allow_opaque && !value->dtype)) {
                char text[96];
                osp_shape_text(&value->shape, text, sizeof text);
                OSP_FAIL(err, value->dtype ? OSP_ERROR_ARGUMENT : OSP_ERROR_UNSUPPORTED,
                         "graph input '%.120s' is %s of shape %s: %s", value->name,
                         value->dtype ? osp_dtype_name(value->dtype) : "of an unknown type", text,
                         value->dtype ? "give it a size" : "its type is not supported");
            }
            f->states[v] = input ? STATE_UNKNOWN : STATE_PENDING;
            continue;
        }
        OSP_TRY(check_size(graph, value->name, value->dtype, &value->shape, err));
        f->states[v] = value->data ? STATE_CONSTANT : input ? STATE_INPUT : STATE_COMPUTED;
    }
    return OSP_OK;
}

static void set_states(inference *f, const osp_node *node, value_state state)
{
    for (int32_t i = 0; i < node->output_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE)
            f->states[node->outputs[i]] = (uint8_t)state;
}

// One node in its turn: skip, type, fold.
static osp_status visit(inference *f, osp_node *node, osp_error *err)
{
    bool unknown = !node->op, constant = true, over_budget = false;
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid v = node->inputs[i];
        if (v == OSP_NO_VALUE)
            continue;
        const value_state state = (value_state)f->states[v];
        if (state == STATE_PENDING)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input '%.80s' is not made before it is used",
                     f->graph->values[v].name);
        unknown |= state == STATE_UNKNOWN;
        constant &= state == STATE_CONSTANT || state == STATE_OVER_BUDGET;
        over_budget |= state == STATE_OVER_BUDGET;
    }
    if (unknown) {
        set_states(f, node, STATE_UNKNOWN);
        return OSP_OK;
    }
    OSP_TRY(infer_node(f, node, err));
    bool folded = false;
    const bool may_fold = (constant && !over_budget && node->input_count) || node->op->shape_only;
    if (may_fold)
        OSP_TRY(osp_fold_node(f->graph, node, &f->budget, &folded, err));
    value_state made = STATE_COMPUTED;
    if (folded)
        made = STATE_CONSTANT;
    else if (constant || may_fold)
        made = STATE_OVER_BUDGET;
    set_states(f, node, made);
    if (folded)
        osp_graph_kill(node);
    return OSP_OK;
}

static osp_status infer_all(inference *f, bool allow_opaque, osp_error *err)
{
    osp_graph *graph = f->graph;
    int32_t inputs = 0, outputs = 0;
    OSP_TRY(start_states(f, allow_opaque, err));
    for (size_t n = 0; n < graph->node_count; n++) {
        const osp_node *node = graph->nodes + n;
        inputs = node->input_count > inputs ? node->input_count : inputs;
        outputs = output_need(node) > outputs ? output_need(node) : outputs;
    }
    if (!make_room(f, inputs, outputs))
        OSP_FAIL_MEMORY(err);
    for (size_t n = 0; n < graph->node_count; n++) {
        osp_node *node = graph->nodes + n;
        if (!node->type)
            continue;
        const osp_status status = visit(f, node, err);
        if (status) {
            if (status != OSP_ERROR_MEMORY)
                blame(err, graph, node);
            return status;
        }
    }
    for (int32_t i = 0; i < graph->output_count; i++)
        if (f->states[graph->outputs[i]] == STATE_PENDING)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "graph output '%.120s' is made by no node",
                     graph->values[graph->outputs[i]].name);
    return osp_graph_sweep(graph, err);
}

osp_status osp_graph_infer(osp_graph *graph, bool allow_opaque, osp_error *err)
{
    if (!ids_fit(graph, graph->inputs, graph->input_count) ||
        !ids_fit(graph, graph->outputs, graph->output_count))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the graph names a value that does not exist");
    for (int32_t i = 0; i < graph->input_count + graph->output_count; i++)
        if ((i < graph->input_count ? graph->inputs[i] : graph->outputs[i - graph->input_count]) ==
            OSP_NO_VALUE)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "an input or output of the graph has no value");
    if (!allow_opaque)
        OSP_TRY(refuse_opaque(graph, err));
    inference f = {.graph = graph, .budget = osp_fold_budget_of(graph)};
    const osp_status status = infer_all(&f, allow_opaque, err);
    free_room(&f);
    return status;
}
