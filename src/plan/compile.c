// From a graph after passes to steps: states and packed weights of the tactics that choose.c finds.
#include <string.h>

#include "backends/problem.h"
#include "base/hash.h"
#include "plan/compile_parts.h"
#include "plan/tune.h"

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
    osp_compiled_unload(c);
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
    c->packed[c->packed_count++] = (osp_packed){
        .key = key, .data = bytes, .size = size, .owned = true};
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

// The constant operands of a step's node, by source; NULL for activations. In `scratch`.
static osp_status gather_constants(const osp_variant *v, const osp_node *node, osp_arena *scratch,
                                   const void ***out, osp_error *err)
{
    *out = osp_arena_array(scratch, (size_t)node->input_count, sizeof **out);
    if (!*out)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] != OSP_NO_VALUE)
            OSP_TRY(aligned_constant(v->graph.values + node->inputs[i], scratch, *out + i, err));
    return OSP_OK;
}

static osp_status pack_step(osp_compiled *c, const osp_variant *v, osp_step *step, size_t size,
                            osp_error *err)
{
    const osp_node *node = v->graph.nodes + step->node;
    osp_arena scratch;
    osp_arena_init(&scratch, &c->ctx->mem);
    const void **src;
    void *bytes = osp_mem_calloc(&c->ctx->mem, 1, size);
    osp_status status = bytes ? OSP_OK : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status)
        status = gather_constants(v, node, &scratch, &src, err);
    if (!status)
        status = step->tactic->pack(&step->problem, step->state, src, bytes, err);
    osp_arena_free(&scratch);
    if (status) {
        osp_mem_free(&c->ctx->mem, bytes);
        return status;
    }
    return keep_packed(c, bytes, size, &step->packed, err);
}

// The tactic of a new step: the first that accepts or, on a GPU, the fastest.
static osp_status choose_tactic(osp_compiled *c, const osp_variant *v, osp_step *step,
                                osp_error *err)
{
    const char *reason;
    if (!c->tuner) {
        step->tactic = osp_compile_first_accepting(c, &step->problem, &reason);
        return OSP_OK;
    }
    osp_arena scratch;
    osp_arena_init(&scratch, &c->ctx->mem);
    const void **src;
    osp_status status = gather_constants(v, v->graph.nodes + step->node, &scratch, &src, err);
    if (!status)
        status = osp_tuner_choose(c->tuner, c->backend->tactics(step->problem.op), &step->problem,
                                  step->text, src, &step->tactic, &reason, err);
    osp_arena_free(&scratch);
    return status;
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
    int32_t streams;
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
    OSP_TRY(osp_compile_problem(&step->problem, &c->arena, &v->graph, node, v->storage, err));
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
    if (lists->tactics)
        OSP_TRY(named_tactic(c, &step->problem, lists->tactics[index], lists->versions[index],
                             &step->tactic, err));
    else
        OSP_TRY(choose_tactic(c, v, step, err));
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

// ---- Entries ------------------------------------------------------------------------------------

static osp_status compile_variant(osp_compiled *c, osp_variant *v, const plan_lists *lists,
                                  const osp_pass_options *options, osp_error *err)
{
    if (options && c->backend->runs_passes) {
        osp_pass_options own = *options;
        own.accepts = osp_compile_accepts;
        osp_compile_question q = {.compiled = c};
        own.user = &q;
        OSP_TRY(osp_passes_run(&v->graph, c->backend->id, &own, err));
        if (q.failure)
            OSP_FAIL_MEMORY(err);
    }
    OSP_TRY(osp_compile_storage(c, v, err));
    OSP_TRY(make_steps(c, v, lists, err));
    OSP_TRY(osp_compile_constants(c, v, !lists->tactics, err));
    return osp_compile_streams(c, v, lists->tactics ? lists->streams : 1, err);
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
                               int32_t width, int32_t streams, const char *const *tactics,
                               const int32_t *pack_versions, const int32_t *packed, osp_error *err)
{
    const plan_lists lists = {tactics, pack_versions, packed, streams};
    return add_variant(c, graph, batch, height, width, &lists, NULL, err);
}
