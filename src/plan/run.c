// Running a variant: a session's addresses for every operand, resolved once, and the loop over
// steps. Thread rule: one thread at a time for each binding.
#include <string.h>

#include "base/thread.h"
#include "plan/compile.h"
#include "plan/memory.h"

typedef struct bound_step {
    const osp_step *step;
    osp_launch launch;
    void **src, **dst;
} bound_step;

// An operand that lies in a graph input or output, whose address may change from run to run.
typedef struct patch {
    void **slot;
    int32_t io;  // inputs, then outputs
    size_t offset;
} patch;

struct osp_binding {
    const osp_compiled *c;
    const osp_variant *v;
    osp_arena arena;
    bound_step *steps;
    int32_t step_count;  // without views
    patch *patches;
    size_t patch_count;
    void **planned, **current;  // by io
    int32_t io_count;
    bool openmp;                          // some step brings OpenMP's threads
    bool after_kernel[OSP_STREAMS_MOST];  // osp_launch's of each stream, while work is enqueued
};

static size_t aligned(size_t n)
{
    return (n + OSP_MEMORY_ALIGN - 1) & ~(size_t)(OSP_MEMORY_ALIGN - 1);
}

size_t osp_variant_memory_bytes(const osp_variant *v)
{
    return aligned(v->activation_bytes) + (size_t)v->streams.count * aligned(v->workspace_bytes);
}

// The io number of a root value that a step reads or writes there; -1: an inner value.
static int32_t io_of(const osp_variant *v, osp_vid root)
{
    const osp_graph *g = &v->graph;
    for (int32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == root)
            return i;
    for (int32_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == root && v->copied_outputs[i] == SIZE_MAX)
            return g->input_count + i;
    return -1;
}

static void bind_operand(osp_binding *b, char *memory, osp_vid id, void **slot)
{
    if (id == OSP_NO_VALUE)
        return;
    const osp_value *value = b->v->graph.values + id;
    const osp_storage *s = b->v->storage + id;
    if (value->data || s->root == OSP_NO_VALUE) {
        *slot = b->v->constants ? b->v->constants[id] : (void *)(uintptr_t)value->data;
        return;
    }
    const int32_t io = io_of(b->v, s->root);
    *slot = memory + b->v->storage[s->root].buffer_offset + s->offset_bytes;
    if (io >= 0)
        b->patches[b->patch_count++] = (patch){slot, io, s->offset_bytes};
}

static osp_status bind_step(osp_binding *b, const osp_step *step, char *memory, osp_error *err)
{
    const osp_node *node = b->v->graph.nodes + step->node;
    bound_step *bound = b->steps + b->step_count;
    bound->step = step;
    bound->src = osp_arena_array(&b->arena, (size_t)node->input_count, sizeof(void *));
    bound->dst = osp_arena_array(&b->arena, (size_t)node->output_count, sizeof(void *));
    if (!bound->src || !bound->dst)
        OSP_FAIL_MEMORY(err);
    const osp_packed *packed = step->packed >= 0 ? b->c->packed + step->packed : NULL;
    for (int32_t i = 0; i < node->input_count; i++)
        if (!packed || !step->problem.src[i].constant)
            bind_operand(b, memory, node->inputs[i], bound->src + i);
    for (int32_t i = 0; i < node->output_count; i++)
        bind_operand(b, memory, node->outputs[i], bound->dst + i);
    bound->launch = (osp_launch){
        .src = bound->src,
        .dst = bound->dst,
        .packed = !packed          ? NULL
                  : packed->device ? packed->device
                                   : packed->data,
        .workspace = memory + aligned(b->v->activation_bytes),
        .gpu = b->c->gpu,
    };
    if (b->v->streams.turns)
        bound->launch.workspace = (char *)bound->launch.workspace +
                                  (size_t)b->v->streams.turns[step->node].stream *
                                      aligned(b->v->workspace_bytes);
    b->step_count++;
    b->openmp |= step->tactic->openmp;
    if (!step->tactic->bind)
        return OSP_OK;
    return step->tactic->bind(&step->problem, b->c->ctx, step->state, bound->launch.packed,
                              &bound->launch.session, err);
}

static osp_status bind_all(osp_binding *b, char *memory, osp_error *err)
{
    const osp_variant *v = b->v;
    const osp_graph *g = &v->graph;
    b->io_count = g->input_count + g->output_count;
    size_t operands = 0;
    for (size_t i = 0; i < g->node_count; i++)
        operands += (size_t)(g->nodes[i].input_count + g->nodes[i].output_count);
    b->steps = osp_arena_array(&b->arena, (size_t)v->step_count, sizeof *b->steps);
    b->patches = osp_arena_array(&b->arena, operands, sizeof *b->patches);
    b->planned = osp_arena_array(&b->arena, (size_t)b->io_count, sizeof(void *));
    b->current = osp_arena_array(&b->arena, (size_t)b->io_count, sizeof(void *));
    if (!b->steps || !b->patches || !b->planned || !b->current)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < b->io_count; i++) {
        const bool is_input = i < g->input_count;
        const int32_t k = is_input ? i : i - g->input_count;
        const osp_vid id = is_input ? g->inputs[k] : g->outputs[k];
        const bool copied = !is_input && v->copied_outputs[k] != SIZE_MAX;
        b->planned[i] = memory + (copied ? v->copied_outputs[k] : v->storage[id].buffer_offset);
    }
    for (int32_t i = 0; i < v->step_count; i++)
        if (v->steps[i].tactic != &osp_tactic_view)
            OSP_TRY(bind_step(b, v->steps + i, memory, err));
    return OSP_OK;
}

osp_status osp_variant_bind(osp_binding **out, const osp_compiled *c, const osp_variant *v,
                            void *memory, osp_error *err)
{
    *out = NULL;
    osp_binding *b = osp_mem_calloc(&c->ctx->mem, 1, sizeof *b);
    if (!b)
        OSP_FAIL_MEMORY(err);
    b->c = c;
    b->v = v;
    osp_arena_init(&b->arena, &c->ctx->mem);
    osp_status status = bind_all(b, memory, err);
    if (status)
        osp_binding_free(&b);
    *out = b;
    return status;
}

void osp_binding_free(osp_binding **binding)
{
    osp_binding *b = *binding;
    if (!b)
        return;
    for (int32_t i = 0; i < b->step_count; i++) {
        const osp_tactic *tactic = b->steps[i].step->tactic;
        if (tactic->unbind && b->steps[i].launch.session)
            tactic->unbind(b->c->ctx, b->steps[i].launch.session);
    }
    osp_arena_free(&b->arena);
    osp_mem_free(&b->c->ctx->mem, b);
    *binding = NULL;
}

// Outputs that no step writes: constants, graph inputs, and outputs listed before.
static osp_status copy_outputs(const osp_binding *b, osp_gpu_stream stream, osp_error *err)
{
    const osp_graph *g = &b->v->graph;
    for (int32_t k = 0; k < g->output_count; k++) {
        if (b->v->copied_outputs[k] == SIZE_MAX)
            continue;
        const osp_vid id = g->outputs[k];
        const osp_value *value = g->values + id;
        const int32_t io = io_of(b->v, id);
        const void *from = value->data ? value->data : io >= 0 ? b->current[io] : NULL;
        void *to = b->current[g->input_count + k];
        size_t bytes = 0;
        if (!from || !osp_shape_bytes(&value->shape, value->dtype, &bytes) || !bytes)
            continue;
        if (value->data && b->v->constants)
            from = b->v->constants[id];
        if (b->c->gpu)
            OSP_TRY(osp_gpu_copy(b->c->gpu, to, from, bytes, stream, err));
        else
            memcpy(to, from, bytes);
    }
    return OSP_OK;
}

static void point_io(osp_binding *b, void *const *io)
{
    for (int32_t i = 0; i < b->io_count; i++)
        b->current[i] = io && io[i] ? io[i] : b->planned[i];
    for (size_t i = 0; i < b->patch_count; i++)
        *b->patches[i].slot = (char *)b->current[b->patches[i].io] + b->patches[i].offset;
}

// Nothing to compute: every output has a dim of 0, whatever the other dims are. A tactic that walks
// along those would walk for nothing, as long as a hostile plan likes.
static bool is_empty(const osp_problem *p)
{
    for (int32_t i = 0; i < p->dst_count; i++) {
        const osp_operand *o = p->dst + i;
        bool empty = !o->dtype;  // left out
        for (int32_t d = 0; d < o->shape.rank; d++)
            empty |= o->shape.dims[d] == 0;
        if (!empty)
            return false;
    }
    return true;
}

static osp_status launch_step(const osp_binding *b, bound_step *s, osp_error *err)
{
    if (is_empty(&s->step->problem))
        return OSP_OK;
    const osp_status status = s->step->tactic->launch(&s->step->problem, s->step->state, &s->launch,
                                                      err);
    if (status)
        osp_error_prefix(err, "node '%s' (%s)", b->v->graph.nodes[s->step->node].name,
                         b->v->graph.nodes[s->step->node].type);
    return status;
}

osp_status osp_binding_run(osp_binding *b, void *const *io, osp_threads threads, double *step_us,
                           osp_error *err)
{
    const osp_backend_def *backend = b->c->backend;
    point_io(b, io);
    if (b->openmp)
        threads.team = NULL;
    const int32_t before = backend->set_threads ? backend->set_threads(threads.count) : 0;
    osp_status status = OSP_OK;
    for (int32_t i = 0; i < b->step_count && !status; i++) {
        bound_step *s = b->steps + i;
        const double start = step_us ? osp_time_us() : 0;
        s->launch.threads = threads;
        status = launch_step(b, s, err);
        if (step_us)
            step_us[s->step->node] += osp_time_us() - start;
    }
    if (backend->set_threads)
        backend->set_threads(before);
    return status ? status : copy_outputs(b, NULL, err);
}

// Makes `stream` wait for whatever the turn comes after on other streams.
static osp_status wait_for_others(osp_binding *b, const osp_turn *turn, osp_gpu_stream stream,
                                  const osp_side_streams *sides, osp_error *err)
{
    const osp_streams *s = &b->v->streams;
    for (int32_t k = 0; k < s->count; k++) {
        if (turn->wait.step[k] < 0)
            continue;
        const int32_t event = s->turns[turn->wait.step[k]].event;
        OSP_TRY(osp_gpu_stream_after(b->c->gpu, stream, sides->events[event], err));
        b->after_kernel[turn->stream] = false;
    }
    return OSP_OK;
}

// On the turn's stream. Launches overlap within a stream only: what waits for another one starts when
// that has ended, and a side stream begins with such a step. Steps from the count-th on are not
// launched, but have been waited for as if they were.
static osp_status enqueue_beside(osp_binding *b, int32_t count, osp_gpu_stream own,
                                 const osp_side_streams *sides, osp_error *err)
{
    const osp_turn *turns = b->v->streams.turns;
    for (int32_t i = 0; i < b->step_count; i++) {
        bound_step *s = b->steps + i;
        const osp_turn *turn = turns + s->step->node;
        s->launch.stream = turn->stream ? sides->streams[turn->stream] : own;
        s->launch.after_kernel = &b->after_kernel[turn->stream];
        OSP_TRY(wait_for_others(b, turn, s->launch.stream, sides, err));
        if (i < count)
            OSP_TRY(launch_step(b, s, err));
        if (turn->event >= 0)
            OSP_TRY(
                osp_gpu_event_record(b->c->gpu, sides->events[turn->event], s->launch.stream, err));
    }
    return wait_for_others(b, turns + b->v->step_count, own, sides, err);
}

static osp_status enqueue_in_a_row(osp_binding *b, int32_t count, osp_gpu_stream stream,
                                   osp_gpu_event *marks, osp_error *err)
{
    osp_gpu *gpu = b->c->gpu;
    int32_t marked = 0;
    if (marks)
        OSP_TRY(osp_gpu_event_record(gpu, marks[marked++], stream, err));
    for (int32_t i = 0; i < count; i++) {
        bound_step *s = b->steps + i;
        while (marks && marked <= s->step->node)  // views before it
            OSP_TRY(osp_gpu_event_record(gpu, marks[marked++], stream, err));
        s->launch.stream = stream;
        s->launch.after_kernel = marks ? NULL : b->after_kernel;  // timed steps stand alone
        OSP_TRY(launch_step(b, s, err));
        if (marks)
            OSP_TRY(osp_gpu_event_record(gpu, marks[marked++], stream, err));
    }
    while (marks && marked <= b->v->step_count)  // views at the end
        OSP_TRY(osp_gpu_event_record(gpu, marks[marked++], stream, err));
    return OSP_OK;
}

// The first `count` steps. The addresses of inputs and outputs are in place.
static osp_status enqueue_steps(osp_binding *b, int32_t count, osp_gpu_stream stream,
                                const osp_side_streams *sides, osp_gpu_event *marks, osp_error *err)
{
    memset(b->after_kernel, 0, sizeof b->after_kernel);
    OSP_TRY(sides && b->v->streams.turns && !marks
                ? enqueue_beside(b, count, stream, sides, err)
                : enqueue_in_a_row(b, count, stream, marks, err));
    return copy_outputs(b, stream, err);
}

osp_status osp_binding_enqueue(osp_binding *b, void *const *io, osp_gpu_stream stream,
                               const osp_side_streams *sides, osp_gpu_event *marks, osp_error *err)
{
    point_io(b, io);
    return enqueue_steps(b, b->step_count, stream, sides, marks, err);
}

// Whether the last step makes the output from a detector's maps; then they are in *maps. Only then
// has no step after it taken their memory.
static bool find_maps(const osp_binding *b, int32_t output, osp_head_maps *maps)
{
    if (!b->step_count)
        return false;
    const bound_step *s = b->steps + b->step_count - 1;
    const osp_graph *g = &b->v->graph;
    return s->step->tactic->maps && g->nodes[s->step->node].outputs[0] == g->outputs[output] &&
           b->v->copied_outputs[output] == SIZE_MAX &&
           s->step->tactic->maps(&s->step->problem, s->step->state, &s->launch, maps);
}

osp_status osp_binding_enqueue_maps(osp_binding *b, int32_t output, void *const *io,
                                    osp_gpu_stream stream, const osp_side_streams *sides,
                                    osp_head_maps *maps, osp_error *err)
{
    point_io(b, io);
    const bool found = find_maps(b, output, maps);
    if (!found)
        maps->levels = 0;
    return enqueue_steps(b, b->step_count - found, stream, sides, NULL, err);
}

void *osp_binding_input(const osp_binding *b, int32_t i)
{
    return b->planned[i];
}

void *osp_binding_output(const osp_binding *b, int32_t i)
{
    return b->planned[b->v->graph.input_count + i];
}
