// From a graph after passes to steps: storage, tactics, states, packed weights, planned memory.
#include "plan/compile.h"

#include <stdio.h>
#include <string.h>

#include "backends/problem.h"
#include "base/hash.h"
#include "plan/memory.h"

const osp_tactic osp_tactic_view = {.name = "view"};

void osp_compiled_init(osp_compiled *c, osp_context *ctx, const osp_backend_def *backend,
                       osp_precision precision, int32_t threads)
{
    *c = (osp_compiled){.ctx = ctx, .backend = backend, .precision = precision, .threads = threads};
    osp_arena_init(&c->arena, &ctx->mem);
}

void osp_compiled_free(osp_compiled *c)
{
    if (!c->ctx)
        return;
    for (size_t i = 0; i < c->prepared_count; i++)
        if (c->prepared[i].tactic->release && c->prepared[i].state)
            c->prepared[i].tactic->release(c->ctx, c->prepared[i].state);
    for (size_t i = 0; i < c->packed_count; i++)
        if (c->packed[i].owned)
            osp_mem_free(&c->ctx->mem, (void *)(uintptr_t)c->packed[i].data);
    for (int32_t i = 0; i < c->variant_count; i++)
        osp_graph_free(&c->variants[i].graph);
    osp_mem_free(&c->ctx->mem, c->prepared);
    osp_mem_free(&c->ctx->mem, c->packed);
    osp_arena_free(&c->arena);
    *c = (osp_compiled){0};
}

// ---- Choosing tactics ---------------------------------------------------------------------------

static osp_status make_problem(osp_problem *p, osp_arena *arena, const osp_graph *graph,
                               const osp_node *node, const osp_storage *storage, osp_error *err)
{
    OSP_TRY(osp_problem_of_node(p, arena, graph, node, err));
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        const bool is_src = i < p->src_count;
        const int32_t k = is_src ? i : i - p->src_count;
        const osp_vid v = is_src ? node->inputs[k] : node->outputs[k];
        osp_operand *o = is_src ? p->src + k : p->dst + k;
        if (v == OSP_NO_VALUE || storage[v].root == OSP_NO_VALUE)
            continue;
        o->row = storage[v].row;
        o->pitch = storage[v].pitch;
    }
    return OSP_OK;
}

// The first tactic that accepts; NULL, and the last reason.
static const osp_tactic *first_accepting(const osp_compiled *c, const osp_problem *p,
                                         const char **reason)
{
    *reason = "no kernel for this operator";
    const osp_tactic *const *list = c->backend->tactics(p->op);
    for (; list && *list; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(p) : NULL;
        if (!why)
            return *list;
        *reason = why;
    }
    return NULL;
}

// Asks for the operands of a node to be dense; false: they all are.
static bool want_dense(const osp_node *node, const osp_storage *storage, bool *dense)
{
    bool changed = false;
    for (int32_t i = 0; i < node->input_count + node->output_count; i++) {
        const osp_vid v = i < node->input_count ? node->inputs[i]
                                                : node->outputs[i - node->input_count];
        if (v == OSP_NO_VALUE || storage[v].root == OSP_NO_VALUE || dense[v] ||
            storage[v].row == storage[v].pitch)
            continue;
        dense[v] = changed = true;
    }
    return changed;
}

typedef struct unsupported {
    int32_t count;
    size_t length;
    char text[360];
} unsupported;

static void add_unsupported(unsupported *u, const osp_node *node, const char *reason)
{
    u->count++;
    char one[200];
    const int n = snprintf(one, sizeof one, "%s'%.60s' (%.40s): %.80s", u->count > 1 ? "; " : "",
                           node->name, node->type, reason);
    if (n < 0 || u->length + (size_t)n >= sizeof u->text)
        return;
    memcpy(u->text + u->length, one, (size_t)n + 1);
    u->length += (size_t)n;
}

// One round over all nodes; `again`: a value had to become dense, storage must be assigned anew.
static osp_status check_round(const osp_compiled *c, const osp_variant *v, osp_arena *scratch,
                              bool *dense, bool *again, unsupported *bad, osp_error *err)
{
    *again = false;
    for (size_t i = 0; i < v->graph.node_count; i++) {
        const osp_node *node = v->graph.nodes + i;
        if (!node->op) {
            add_unsupported(bad, node, "unknown operator");
            continue;
        }
        if (c->backend->runs_passes && osp_storage_free_node(&v->graph, node, v->storage))
            continue;
        osp_problem p;
        const char *reason;
        OSP_TRY(make_problem(&p, scratch, &v->graph, node, v->storage, err));
        if (first_accepting(c, &p, &reason))
            continue;
        if (want_dense(node, v->storage, dense))
            *again = true;
        else
            add_unsupported(bad, node, reason);
    }
    return OSP_OK;
}

// Settles storage: slices wherever every node has a tactic that can work with them.
static osp_status settle_storage(osp_compiled *c, osp_variant *v, osp_error *err)
{
    osp_mem *mem = &c->ctx->mem;
    v->storage = osp_arena_array(&c->arena, v->graph.value_count, sizeof *v->storage);
    bool *dense = osp_mem_calloc(mem, v->graph.value_count, sizeof *dense);
    unsupported bad = {0};
    osp_status status = OSP_OK;
    if (!v->storage || !dense)
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    for (bool again = true; again && !status;) {
        osp_arena scratch;
        osp_arena_init(&scratch, mem);
        bad = (unsupported){0};
        status = osp_storage_assign(&v->graph, dense, c->backend->runs_passes, v->storage, err);
        if (!status)
            status = check_round(c, v, &scratch, dense, &again, &bad, err);
        osp_arena_free(&scratch);
    }
    osp_mem_free(mem, dense);
    if (!status && bad.count)
        status = osp_error_set(err, OSP_ERROR_UNSUPPORTED, "backend %s cannot run %d node%s: %s%s",
                               c->backend->name, bad.count, bad.count > 1 ? "s" : "", bad.text,
                               bad.length + 200 > sizeof bad.text ? "; ..." : "");
    return status;
}

// ---- States and packed weights ------------------------------------------------------------------

static bool same_problem(const osp_prepared *a, const osp_tactic *tactic, const osp_problem *p,
                         const char *text)
{
    return a->tactic == tactic && a->problem->op == p->op && !strcmp(a->text, text) &&
           !memcmp(a->problem->attrs, p->attrs, p->op->attrs_size);
}

static osp_status prepare_step(osp_compiled *c, osp_step *step, osp_tactic_sizes *sizes,
                               osp_error *err)
{
    for (size_t i = 0; i < c->prepared_count; i++) {
        const osp_prepared *known = c->prepared + i;
        if (!same_problem(known, step->tactic, &step->problem, step->text))
            continue;
        step->state = known->state;
        *sizes = known->sizes;
        return OSP_OK;
    }
    if (!osp_mem_reserve(&c->ctx->mem, (void **)&c->prepared, &c->prepared_capacity,
                         c->prepared_count + 1, sizeof *c->prepared))
        OSP_FAIL_MEMORY(err);
    *sizes = (osp_tactic_sizes){0};
    if (step->tactic->prepare)
        OSP_TRY(
            step->tactic->prepare(&step->problem, c->ctx, c->threads, &step->state, sizes, err));
    c->prepared[c->prepared_count++] = (osp_prepared){step->tactic, &step->problem, step->text,
                                                      step->state, *sizes};
    return OSP_OK;
}

// Finds equal bytes or keeps these; takes over `bytes`.
static osp_status keep_packed(osp_compiled *c, void *bytes, size_t size, int32_t *index,
                              osp_error *err)
{
    const uint64_t key = osp_hash64(bytes, size, 0);
    for (size_t i = 0; i < c->packed_count; i++) {
        const osp_packed *known = c->packed + i;
        if (known->key != key || known->size != size || memcmp(known->data, bytes, size) != 0)
            continue;
        osp_mem_free(&c->ctx->mem, bytes);
        *index = (int32_t)i;
        return OSP_OK;
    }
    if (!osp_mem_reserve(&c->ctx->mem, (void **)&c->packed, &c->packed_capacity,
                         c->packed_count + 1, sizeof *c->packed)) {
        osp_mem_free(&c->ctx->mem, bytes);
        OSP_FAIL_MEMORY(err);
    }
    *index = (int32_t)c->packed_count;
    c->packed[c->packed_count++] = (osp_packed){key, bytes, size, true};
    return OSP_OK;
}

// The constant in memory that is aligned for its type: itself, or a copy in `scratch`.
static osp_status aligned_constant(const osp_value *value, osp_arena *scratch, const void **out,
                                   osp_error *err)
{
    *out = value->data;
    const size_t unit = osp_dtype_bytes(value->dtype);
    size_t bytes;
    if (!value->data || (uintptr_t)value->data % unit == 0)
        return OSP_OK;
    if (!osp_shape_bytes(&value->shape, value->dtype, &bytes))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "value '%s' is too large", value->name);
    void *copy = osp_arena_alloc(scratch, bytes);
    if (!copy)
        OSP_FAIL_MEMORY(err);
    memcpy(copy, value->data, bytes);
    *out = copy;
    return OSP_OK;
}

static osp_status pack_step(osp_compiled *c, const osp_variant *v, osp_step *step, size_t size,
                            osp_error *err)
{
    const osp_node *node = v->graph.nodes + step->node;
    osp_arena scratch;
    osp_arena_init(&scratch, &c->ctx->mem);
    const void **src = osp_arena_array(&scratch, (size_t)node->input_count, sizeof *src);
    void *bytes = osp_mem_calloc(&c->ctx->mem, 1, size);
    osp_status status = OSP_OK;
    if (!src || !bytes)
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    for (int32_t i = 0; i < node->input_count && !status; i++)
        if (node->inputs[i] != OSP_NO_VALUE)
            status = aligned_constant(v->graph.values + node->inputs[i], &scratch, src + i, err);
    if (!status)
        status = step->tactic->pack(&step->problem, step->state, src, bytes, err);
    osp_arena_free(&scratch);
    if (status) {
        osp_mem_free(&c->ctx->mem, bytes);
        return status;
    }
    return keep_packed(c, bytes, size, &step->packed, err);
}

// Weights from a plan: as large as this library would make them, and laid out the same way.
static osp_status check_packed(const osp_compiled *c, const osp_step *step, size_t size,
                               osp_error *err)
{
    if ((size > 0) != (step->packed >= 0) || step->packed < -1 ||
        (step->packed >= 0 && (size_t)step->packed >= c->packed_count))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "step %d (%s) has no such packed weights", step->node,
                 step->tactic->name);
    if (step->packed < 0)
        return OSP_OK;
    const osp_packed *packed = c->packed + step->packed;
    if (packed->size != size)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "step %d (%s): %zu bytes of packed weights, this library needs %zu: build it "
                 "again",
                 step->node, step->tactic->name, packed->size, size);
    return step->tactic->check ? step->tactic->check(&step->problem, step->state, packed->data, err)
                               : OSP_OK;
}

// ---- Steps --------------------------------------------------------------------------------------

typedef struct plan_lists {  // of a plan that is opened; all NULL when building
    const char *const *tactics;
    const int32_t *versions, *packed;
} plan_lists;

static osp_status named_tactic(const osp_compiled *c, const osp_problem *p, const char *name,
                               int32_t version, const osp_tactic **out, osp_error *err)
{
    const osp_tactic *const *list = c->backend->tactics(p->op);
    for (; list && *list; list++) {
        if (strcmp((*list)->name, name) != 0)
            continue;
        if ((*list)->pack_version != version)
            OSP_FAIL(err, OSP_ERROR_STALE,
                     "tactic %s is of version %d, the plan's of version %d: build it again", name,
                     (*list)->pack_version, version);
        const char *why = (*list)->refuse ? (*list)->refuse(p) : NULL;
        if (why)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "tactic %s refuses its problem: %s", name, why);
        *out = *list;
        return OSP_OK;
    }
    OSP_FAIL(err, OSP_ERROR_STALE, "this library has no tactic '%s' for %s: build it again", name,
             p->op->type);
}

static osp_status make_step(osp_compiled *c, osp_variant *v, int32_t index, const plan_lists *lists,
                            osp_error *err)
{
    osp_step *step = v->steps + index;
    const osp_node *node = v->graph.nodes + index;
    *step = (osp_step){.node = index, .packed = -1, .text = ""};
    OSP_TRY(make_problem(&step->problem, &c->arena, &v->graph, node, v->storage, err));
    char text[OSP_PROBLEM_TEXT_BYTES];
    osp_problem_print(&step->problem, text, sizeof text);
    step->text = osp_arena_strndup(&c->arena, text, strlen(text));
    if (!step->text)
        OSP_FAIL_MEMORY(err);
    const bool view = c->backend->runs_passes && osp_storage_free_node(&v->graph, node, v->storage);
    if (view != (lists->tactics && !strcmp(lists->tactics[index], osp_tactic_view.name)) &&
        lists->tactics)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "node '%s': its step does not fit its storage", node->name);
    if (view) {
        step->tactic = &osp_tactic_view;
        return lists->packed && lists->packed[index] != -1
                   ? osp_error_set(err, OSP_ERROR_FORMAT, "node '%s': a view with weights",
                                   node->name)
                   : OSP_OK;
    }
    osp_problem_cost(&step->problem, &step->flops, &step->bytes);
    const char *reason;
    if (lists->tactics)
        OSP_TRY(named_tactic(c, &step->problem, lists->tactics[index], lists->versions[index],
                             &step->tactic, err));
    else
        step->tactic = first_accepting(c, &step->problem, &reason);
    osp_tactic_sizes sizes = {0};
    osp_status status = prepare_step(c, step, &sizes, err);
    step->workspace_bytes = sizes.workspace_bytes;
    if (lists->packed)
        step->packed = lists->packed[index];
    if (!status && lists->packed)
        status = check_packed(c, step, sizes.packed_bytes, err);
    else if (!status && sizes.packed_bytes)
        status = pack_step(c, v, step, sizes.packed_bytes, err);
    if (status)
        osp_error_prefix(err, "node '%s' (%s)", node->name, node->type);
    return status;
}

static osp_status make_steps(osp_compiled *c, osp_variant *v, const plan_lists *lists,
                             osp_error *err)
{
    v->steps = osp_arena_array(&c->arena, v->graph.node_count, sizeof *v->steps);
    if (!v->steps)
        OSP_FAIL_MEMORY(err);
    v->step_count = (int32_t)v->graph.node_count;
    for (int32_t i = 0; i < v->step_count; i++) {
        OSP_TRY(make_step(c, v, i, lists, err));
        if (v->steps[i].workspace_bytes > v->workspace_bytes)
            v->workspace_bytes = v->steps[i].workspace_bytes;
    }
    return OSP_OK;
}

// ---- Constants ----------------------------------------------------------------------------------

// Marks the constants that some launch, inference or output still reads.
static void mark_needed(const osp_variant *v, bool *needed)
{
    const osp_graph *g = &v->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const osp_node *node = g->nodes + i;
        for (int32_t k = 0; k < node->input_count; k++)
            if (node->inputs[k] != OSP_NO_VALUE)
                needed[node->inputs[k]] |= v->steps[i].packed < 0 ||
                                           (k < 32 && node->op->shape_inputs >> k & 1);
    }
    for (int32_t i = 0; i < g->output_count; i++)
        needed[g->outputs[i]] = true;
}

// After this no constant lies in the model's file, and all that are left are aligned.
static osp_status settle_constants(osp_compiled *c, osp_variant *v, bool copy_all, osp_error *err)
{
    osp_graph *g = &v->graph;
    bool *needed = osp_mem_calloc(&c->ctx->mem, g->value_count, sizeof *needed);
    if (!needed)
        OSP_FAIL_MEMORY(err);
    mark_needed(v, needed);
    osp_status status = OSP_OK;
    for (size_t i = 0; i < g->value_count && !status; i++) {
        osp_value *value = g->values + i;
        if (value->dropped && needed[i])
            status = osp_error_set(err, OSP_ERROR_FORMAT, "constant '%s' is missing", value->name);
        if (!value->data)
            continue;
        size_t bytes = 0;
        if (!needed[i]) {
            value->data = NULL;
            value->dropped = true;
        } else if (copy_all || (uintptr_t)value->data % 8) {
            osp_shape_bytes(&value->shape, value->dtype, &bytes);
            char *copy = osp_arena_alloc(&g->arena, bytes + 63);
            if (!copy) {
                status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
                break;
            }
            copy += -(uintptr_t)copy & 63;
            if (bytes)
                memcpy(copy, value->data, bytes);
            value->data = copy;
        }
    }
    osp_mem_free(&c->ctx->mem, needed);
    return status;
}

// ---- Memory -------------------------------------------------------------------------------------

static void note_use(osp_memory_item *items, const osp_storage *storage, osp_vid v, int32_t step)
{
    if (v == OSP_NO_VALUE || storage[v].root == OSP_NO_VALUE)
        return;
    osp_memory_item *item = items + storage[v].root;
    if (!item->size) {
        item->size = storage[storage[v].root].buffer_bytes;
        if (!item->size)
            item->size = 1;
        item->first = item->last = step;
    }
    if (step < item->first)
        item->first = step;
    if (step > item->last)
        item->last = step;
}

// True for the k-th output if no step writes the buffer that it alone owns.
static bool is_copied_output(const osp_variant *v, int32_t k)
{
    const osp_graph *g = &v->graph;
    const osp_vid out = g->outputs[k];
    for (int32_t i = 0; i < k; i++)
        if (g->outputs[i] == out)
            return true;
    for (int32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == out)
            return true;
    return g->values[out].data != NULL;
}

static osp_status plan_memory(osp_compiled *c, osp_variant *v, osp_error *err)
{
    const osp_graph *g = &v->graph;
    const size_t values = g->value_count, count = values + (size_t)g->output_count;
    v->copied_outputs = osp_arena_array(&c->arena, (size_t)g->output_count, sizeof(size_t));
    osp_memory_item *items = osp_mem_calloc(&c->ctx->mem, count, sizeof *items);
    osp_status status = OSP_OK;
    if (!v->copied_outputs || !items) {
        osp_mem_free(&c->ctx->mem, items);
        OSP_FAIL_MEMORY(err);
    }
    // Inputs and outputs live through the whole run: the caller reads and writes them around it.
    for (int32_t i = 0; i < g->input_count; i++) {
        note_use(items, v->storage, g->inputs[i], 0);
        note_use(items, v->storage, g->inputs[i], v->step_count);
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        note_use(items, v->storage, g->outputs[i], 0);
        note_use(items, v->storage, g->outputs[i], v->step_count);
        size_t bytes = 0;
        const osp_value *value = g->values + g->outputs[i];
        if (is_copied_output(v, i) && osp_shape_bytes(&value->shape, value->dtype, &bytes))
            items[values + (size_t)i] = (osp_memory_item){bytes, 0, v->step_count, 0};
    }
    for (int32_t s = 0; s < v->step_count; s++) {
        const osp_node *node = g->nodes + s;
        for (int32_t k = 0; k < node->input_count; k++)
            note_use(items, v->storage, node->inputs[k], s);
        for (int32_t k = 0; k < node->output_count; k++)
            note_use(items, v->storage, node->outputs[k], s);
    }
    status = osp_memory_plan(c->ctx, items, count, &v->activation_bytes, err);
    for (size_t i = 0; i < values; i++)
        v->storage[i].buffer_offset = items[i].offset;
    for (int32_t i = 0; i < g->output_count; i++)
        v->copied_outputs[i] = is_copied_output(v, i) ? items[values + (size_t)i].offset : SIZE_MAX;
    osp_mem_free(&c->ctx->mem, items);
    const uint64_t limit = c->ctx->limits.memory_bytes;
    if (!status && (v->activation_bytes > limit || v->workspace_bytes > limit))
        status = osp_error_set(err, OSP_ERROR_LIMIT,
                               "a session needs %zu bytes, over the limit of %llu "
                               "(osp_limits.memory_bytes)",
                               v->activation_bytes + v->workspace_bytes, (unsigned long long)limit);
    return status;
}

// ---- Entries ------------------------------------------------------------------------------------

// What a pass asks the backend. Passes take a no for an answer, so a failure to answer is kept.
typedef struct question {
    osp_compiled *compiled;
    osp_status failure;
} question;

// Turns the activations of images channels last; false: there are none, or some lie so already.
static bool lay_images(osp_problem *p)
{
    bool any = false;
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++)
        if ((i < p->src_count ? p->src + i : p->dst + (i - p->src_count))->layout ==
            OSP_LAYOUT_CHANNELS_LAST)
            return false;
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        osp_operand *o = i < p->src_count ? p->src + i : p->dst + (i - p->src_count);
        if (o->constant || o->shape.rank != 4)
            continue;
        o->layout = OSP_LAYOUT_CHANNELS_LAST;
        o->row = o->pitch = o->shape.dims[1];
        any = true;
    }
    return any;
}

static bool accepts_node(void *user, const osp_graph *graph, const osp_node *node)
{
    question *q = user;
    osp_arena scratch;
    osp_arena_init(&scratch, &graph->ctx->mem);
    osp_problem p;
    const char *reason;
    const osp_status status = osp_problem_of_node(&p, &scratch, graph, node, NULL);
    if (status == OSP_ERROR_MEMORY)
        q->failure = status;
    // Better two nodes with kernels than one without.
    const osp_tactic *tactic = status ? NULL : first_accepting(q->compiled, &p, &reason);
    bool yes = tactic && tactic != &osp_tactic_ref;
    if (!status && !yes && lay_images(&p)) {  // before the layout pass: as it will lie then
        tactic = first_accepting(q->compiled, &p, &reason);
        yes = tactic && tactic != &osp_tactic_ref;
    }
    osp_arena_free(&scratch);
    return yes;
}

static osp_status compile_variant(osp_compiled *c, osp_variant *v, const plan_lists *lists,
                                  const osp_pass_options *options, osp_error *err)
{
    if (options && c->backend->runs_passes) {
        osp_pass_options own = *options;
        own.accepts = accepts_node;
        question q = {.compiled = c};
        own.user = &q;
        OSP_TRY(osp_passes_run(&v->graph, c->backend->id, &own, err));
        if (q.failure)
            OSP_FAIL_MEMORY(err);
    }
    OSP_TRY(settle_storage(c, v, err));
    OSP_TRY(make_steps(c, v, lists, err));
    OSP_TRY(settle_constants(c, v, !lists->tactics, err));
    return plan_memory(c, v, err);
}

static osp_status add_variant(osp_compiled *c, osp_graph *graph, int32_t batch, int32_t height,
                              int32_t width, const plan_lists *lists,
                              const osp_pass_options *options, osp_error *err)
{
    const int32_t room = (int32_t)(sizeof c->variants / sizeof c->variants[0]);
    if (c->variant_count >= room) {
        osp_graph_free(graph);
        OSP_FAIL(err, OSP_ERROR_LIMIT, "an engine has at most %d variants", room);
    }
    osp_variant *v = c->variants + c->variant_count;
    *v = (osp_variant){.batch = batch, .height = height, .width = width, .graph = *graph};
    *graph = (osp_graph){0};
    const int32_t before = c->backend->set_threads ? c->backend->set_threads(c->threads) : 0;
    const size_t nodes = v->graph.node_count;
    osp_status status = lists->tactics ? osp_graph_infer(&v->graph, false, err) : OSP_OK;
    if (!status && v->graph.node_count != nodes)
        status = osp_error_set(err, OSP_ERROR_FORMAT, "a plan with foldable nodes");
    if (!status)
        status = compile_variant(c, v, lists, options, err);
    if (c->backend->set_threads)
        c->backend->set_threads(before);
    if (status) {
        osp_graph_free(&v->graph);
        return status;
    }
    c->variant_count++;
    return OSP_OK;
}

osp_status osp_compile_variant(osp_compiled *c, osp_graph *graph, int32_t batch, int32_t height,
                               int32_t width, const osp_pass_options *options, osp_error *err)
{
    const plan_lists none = {0};
    return add_variant(c, graph, batch, height, width, &none, options, err);
}

osp_status osp_compile_restore(osp_compiled *c, osp_graph *graph, int32_t batch, int32_t height,
                               int32_t width, const char *const *tactics,
                               const int32_t *pack_versions, const int32_t *packed, osp_error *err)
{
    const plan_lists lists = {tactics, pack_versions, packed};
    return add_variant(c, graph, batch, height, width, &lists, NULL, err);
}
