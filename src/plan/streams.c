// Steps are taken in order. Each goes behind a step that it needs where that is still the last of its
// stream, else on a stream with nothing unfinished before it, else on a new one. What has ended when a
// step starts is kept as the last such step of each stream: a stream's steps end in their order.
#include "plan/streams.h"

typedef struct spread {
    const osp_graph *graph;
    const osp_storage *storage;
    osp_streams *out;
    int32_t most;
    osp_front *made;             // by value: what its readers come after
    osp_front *touched, *moved;  // by root: all steps that use its bytes; those that copy inside it
    int32_t *next;               // by step: the one behind it on its stream; -1: none yet
    osp_front head, tail;        // the first and last step of each stream
} spread;

static const osp_front nothing = {{-1, -1, -1, -1, -1, -1, -1, -1}};

static void join(osp_front *f, const osp_front *other)
{
    for (int32_t k = 0; k < OSP_STREAMS_MOST; k++)
        if (other->step[k] > f->step[k])
            f->step[k] = other->step[k];
}

// All that has ended when `step` of a stream has.
static osp_front after(const spread *s, int32_t stream, int32_t step)
{
    if (step < 0)
        return nothing;
    osp_front f = s->out->turns[step].ended;
    f.step[stream] = step;
    return f;
}

static bool has_place(const spread *s, osp_vid v)
{
    return v != OSP_NO_VALUE && s->storage[v].root != OSP_NO_VALUE;
}

// A concatenation or split of which only a part is a view copies that part onto itself: it writes
// bytes of which other steps know only that they are ready.
static bool copies_inside(const spread *s, const osp_node *node)
{
    for (int32_t i = 0; i < node->output_count; i++)
        for (int32_t k = 0; k < node->input_count; k++)
            if (has_place(s, node->outputs[i]) && has_place(s, node->inputs[k]) &&
                s->storage[node->outputs[i]].root == s->storage[node->inputs[k]].root)
                return true;
    return false;
}

// What the node's step must come after.
static osp_front needs(const spread *s, const osp_node *node, bool inside)
{
    osp_front need = nothing;
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid v = node->inputs[i];
        if (!has_place(s, v))
            continue;
        join(&need, s->made + v);
        join(&need, s->moved + s->storage[v].root);
    }
    for (int32_t i = 0; i < node->output_count; i++) {
        const osp_vid v = node->outputs[i];
        if (has_place(s, v))
            join(&need, (inside ? s->touched : s->moved) + s->storage[v].root);
    }
    return need;
}

// The node's results are there after `done`.
static void note(spread *s, const osp_node *node, const osp_front *done, bool view, bool inside)
{
    for (int32_t i = 0; i < node->input_count; i++)
        if (has_place(s, node->inputs[i]) && !view)
            join(s->touched + s->storage[node->inputs[i]].root, done);
    for (int32_t i = 0; i < node->output_count; i++) {
        const osp_vid v = node->outputs[i];
        if (!has_place(s, v))
            continue;
        join(s->made + v, done);
        if (!view)
            join(s->touched + s->storage[v].root, done);
        if (inside)
            join(s->moved + s->storage[v].root, done);
    }
}

static int32_t choose_stream(const spread *s, const osp_front *need)
{
    int32_t latest = 0;
    osp_front ended = nothing;
    for (int32_t k = 0; k < s->most; k++) {
        const int32_t step = need->step[k];
        if (step >= 0 && step == s->tail.step[k])
            return k;
        if (step > need->step[latest])
            latest = k;
        const osp_front f = after(s, k, step);
        join(&ended, &f);
    }
    if (need->step[latest] < 0)
        return 0;
    for (int32_t k = 0; k < s->most; k++)
        if (ended.step[k] >= s->tail.step[k])  // a new one, too
            return k;
    return latest;
}

// Puts a step on a stream. Of what it needs the latest is waited for first: it may have waited for
// the rest.
static void take_turn(spread *s, int32_t index, int32_t stream, const osp_front *need)
{
    osp_turn *turns = s->out->turns, *turn = turns + index;
    const int32_t before = s->tail.step[stream];
    *turn = (osp_turn){.stream = stream, .event = -1, .wait = nothing};
    turn->ended = after(s, stream, before);
    for (;;) {
        int32_t at = -1;
        for (int32_t k = 0; k < s->most; k++)
            if (need->step[k] > turn->ended.step[k] && (at < 0 || need->step[k] > need->step[at]))
                at = k;
        if (at < 0)
            break;
        osp_turn *other = turns + need->step[at];
        if (other->event < 0)
            other->event = s->out->event_count++;
        turn->wait.step[at] = need->step[at];
        const osp_front ended = after(s, at, need->step[at]);
        join(&turn->ended, &ended);
    }
    turn->first = index;
    for (int32_t k = 0; k < s->most; k++) {
        const int32_t last = turn->ended.step[k];
        const int32_t running = k == stream ? -1 : last < 0 ? s->head.step[k] : s->next[last];
        if (running >= 0 && running < turn->first)
            turn->first = running;
    }
    if (before >= 0)
        s->next[before] = index;
    else
        s->head.step[stream] = index;
    s->next[index] = -1;
    s->tail.step[stream] = index;
    if (stream >= s->out->count)
        s->out->count = stream + 1;
}

static void spread_all(spread *s)
{
    const osp_graph *g = s->graph;
    for (size_t i = 0; i < g->value_count; i++)
        s->made[i] = s->touched[i] = s->moved[i] = nothing;
    for (size_t i = 0; i < g->node_count; i++) {
        const osp_node *node = g->nodes + i;
        const int32_t index = (int32_t)i;
        const bool view = osp_storage_free_node(g, node, s->storage);
        const bool inside = !view && copies_inside(s, node);
        osp_front done = needs(s, node, inside);
        if (view) {
            s->out->turns[i] = (osp_turn){-1, -1, nothing, nothing, index};
        } else {
            const int32_t stream = choose_stream(s, &done);
            take_turn(s, index, stream, &done);
            done = nothing;
            done.step[stream] = index;
        }
        note(s, node, &done, view, inside);
    }
    const osp_front all = s->tail;
    take_turn(s, (int32_t)g->node_count, 0, &all);
}

osp_status osp_streams_spread(osp_streams *out, osp_arena *arena, const osp_graph *graph,
                              const osp_storage *storage, int32_t most, osp_error *err)
{
    *out = (osp_streams){.count = 1};
    if (most <= 1)
        return OSP_OK;
    osp_arena scratch;
    osp_arena_init(&scratch, &graph->ctx->mem);
    spread s = {.graph = graph, .storage = storage, .out = out, .most = most};
    s.head = s.tail = nothing;
    s.made = osp_arena_array(&scratch, graph->value_count, sizeof *s.made);
    s.touched = osp_arena_array(&scratch, graph->value_count, sizeof *s.touched);
    s.moved = osp_arena_array(&scratch, graph->value_count, sizeof *s.moved);
    s.next = osp_arena_array(&scratch, graph->node_count + 1, sizeof *s.next);
    out->turns = osp_arena_array(arena, graph->node_count + 1, sizeof *out->turns);
    const bool ok = s.made && s.touched && s.moved && s.next && out->turns;
    if (ok)
        spread_all(&s);
    osp_arena_free(&scratch);
    if (!ok || out->count == 1)
        *out = (osp_streams){.count = 1};
    if (!ok)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}
