// Choosing: which tactic serves a node, which values may be slices, and whether a pass may make a
// node. Thread rule: a compiled engine from one thread at a time while it is built.
#include <stdio.h>
#include <string.h>

#include "backends/problem.h"
#include "ops/view.h"
#include "plan/compile_parts.h"

osp_status osp_compile_problem(osp_problem *p, osp_arena *arena, const osp_graph *graph,
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

const osp_tactic *osp_compile_first_accepting(const osp_compiled *c, const osp_problem *p,
                                              const char **reason)
{
    *reason = "no kernel for this operator";
    const osp_tactic *const *list = c->backend->tactics(p->op);
    for (; list && *list; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(p) : NULL;
        if (!why && (*list)->refuse_device && c->gpu)
            why = (*list)->refuse_device(osp_gpu_info(c->gpu));
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
        OSP_TRY(osp_compile_problem(&p, scratch, &v->graph, node, v->storage, err));
        if (osp_compile_first_accepting(c, &p, &reason))
            continue;
        if (want_dense(node, v->storage, dense))
            *again = true;
        else
            add_unsupported(bad, node, reason);
    }
    return OSP_OK;
}

osp_status osp_compile_storage(osp_compiled *c, osp_variant *v, osp_error *err)
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

// ---- Asked by passes ----------------------------------------------------------------------------

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
        if (o->constant || o->shape.rank != 4 || !osp_dtype_is_float(o->dtype))
            continue;
        o->layout = OSP_LAYOUT_CHANNELS_LAST;
        o->row = o->pitch = o->shape.dims[1];
        any = true;
    }
    return any;
}

bool osp_compile_accepts(void *user, const osp_graph *graph, const osp_node *node)
{
    osp_compile_question *q = user;
    osp_arena scratch;
    osp_arena_init(&scratch, &graph->ctx->mem);
    osp_problem p;
    const char *reason;
    const osp_status status = osp_problem_of_node(&p, &scratch, graph, node, NULL);
    if (status == OSP_ERROR_MEMORY)
        q->failure = status;
    // Better two nodes with kernels than one without.
    const osp_tactic *tactic = status ? NULL
                                      : osp_compile_first_accepting(q->compiled, &p, &reason);
    bool yes = tactic && tactic != &osp_tactic_ref;
    if (!status && !yes && lay_images(&p)) {  // before the layout pass: as it will lie then
        tactic = osp_compile_first_accepting(q->compiled, &p, &reason);
        yes = tactic && tactic != &osp_tactic_ref;
    }
    osp_arena_free(&scratch);
    return yes;
}
