// Steps on several streams: which of them may run at the same time, worked out here from nothing but
// what the turns say is waited for, and that no two of those meet in memory unless both only read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/move.h"
#include "plan/file.h"
#include "plan/memory.h"
#include "plan_repair.h"

enum { BATCH = 2, PIXELS = 4, NODES_MOST = 60, VALUES_MOST = 128 };

typedef struct fixture {
    osp_context ctx;
    osp_compiled c;
    osp_graph graph;
    int32_t channels[VALUES_MOST];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(osp_context_init(&f->ctx, NULL, NULL), OSP_OK);
    osp_compiled_init(&f->c, &f->ctx, &osp_backend_cuda, OSP_PRECISION_FP32, 1);
    osp_graph_init(&f->graph, &f->ctx);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_graph_free(&f->graph);
    osp_compiled_free(&f->c);
    assert_int_equal(atomic_load(&f->ctx.mem.live), 0);
    osp_context_free(&f->ctx);
    free(f);
    return 0;
}

// ---- Graphs -------------------------------------------------------------------------------------

static osp_vid add_value(fixture *f, int32_t channels)
{
    const osp_shape shape = {4, {BATCH, channels, PIXELS / 2, 2}};
    const osp_vid v = osp_graph_add_value(&f->graph, "v", OSP_DTYPE_FLOAT32, &shape);
    assert_in_range(v, 0, VALUES_MOST - 1);
    f->channels[v] = channels;
    return v;
}

static void add_node(fixture *f, const char *type, const osp_vid *in, int32_t in_count,
                     const osp_vid *out, int32_t out_count, const void *attrs)
{
    assert_non_null(osp_graph_insert_node(&f->graph, f->graph.node_count, osp_op_find("", type),
                                          type, in, in_count, out, out_count, attrs));
}

static osp_vid relu(fixture *f, osp_vid x)
{
    const osp_vid y = add_value(f, f->channels[x]);
    add_node(f, "Relu", &x, 1, &y, 1, NULL);
    return y;
}

static osp_vid concat(fixture *f, const osp_vid *in, int32_t count)
{
    const osp_axis_attrs axis = {.axis = 1, .resolved_axis = 1};
    int32_t channels = 0;
    for (int32_t i = 0; i < count; i++)
        channels += f->channels[in[i]];
    const osp_vid y = add_value(f, channels);
    add_node(f, "Concat", in, count, &y, 1, &axis);
    return y;
}

static void halve(fixture *f, osp_vid x, osp_vid out[2])
{
    const int32_t half = f->channels[x] / 2;
    const osp_split_attrs split = {.axis = 1, .resolved_axis = 1, .resolved_sizes = {half, half}};
    out[0] = add_value(f, half);
    out[1] = add_value(f, half);
    add_node(f, "Split", &x, 1, out, 2, &split);
}

static void set_ends(fixture *f, osp_vid input, const osp_vid *outputs, int32_t count)
{
    osp_graph *g = &f->graph;
    g->inputs = osp_arena_array(&g->arena, 1, sizeof(osp_vid));
    g->outputs = osp_arena_array(&g->arena, (size_t)count, sizeof(osp_vid));
    g->inputs[0] = input;
    memcpy(g->outputs, outputs, (size_t)count * sizeof *outputs);
    g->input_count = 1;
    g->output_count = count;
}

static osp_variant *compile(fixture *f)
{
    osp_error err;
    if (osp_compile_variant(&f->c, &f->graph, BATCH, 0, 0, NULL, &err))
        fail_msg("%s", err.text);
    return f->c.variants + f->c.variant_count - 1;
}

static void spread(fixture *f, osp_variant *v, int32_t most)
{
    osp_error err;
    if (osp_compile_streams(&f->c, v, most, &err))
        fail_msg("%s", err.text);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

// Operators at random, of which some are views, some copy, and some copy a part of what is a view
// otherwise (a concatenation with the graph's input in it).
static void random_graph(fixture *f, uint32_t *seed)
{
    const osp_vid input = add_value(f, 4);
    osp_vid last = input;
    const int32_t nodes = 8 + (int32_t)(next_random(seed) % 32);
    for (int32_t i = 0; i < nodes; i++) {
        const osp_vid count = (osp_vid)f->graph.value_count;
        const osp_vid a = (osp_vid)(next_random(seed) % (uint32_t)count);
        const osp_vid b = (osp_vid)(next_random(seed) % (uint32_t)count);
        const uint32_t kind = next_random(seed) % 6;
        osp_vid halves[2];
        if (kind == 0 && a != b && f->channels[a] + f->channels[b] <= 8) {
            last = concat(f, (const osp_vid[]){a, b}, 2);
        } else if (kind == 1 && f->channels[a] % 2 == 0) {
            halve(f, a, halves);
            last = halves[1];
        } else if (kind == 2 && f->channels[a] == f->channels[b]) {
            const osp_vid y = add_value(f, f->channels[a]);
            add_node(f, "Add", (const osp_vid[]){a, b}, 2, &y, 1, NULL);
            last = y;
        } else {
            last = relu(f, a);
        }
    }
    set_ends(f, input, (const osp_vid[]){last, 1}, last == 1 ? 1 : 2);
}

// ---- Who may run with whom ----------------------------------------------------------------------

// By step: bits of the steps that have ended when it starts. The end of the run is a step, too.
static void find_before(const osp_variant *v, uint64_t *before)
{
    int32_t tail[OSP_STREAMS_MOST];
    memset(tail, 0xff, sizeof tail);
    for (int32_t i = 0; i <= v->step_count; i++) {
        const osp_turn *turn = v->streams.turns + i;
        before[i] = 0;
        if (turn->stream < 0)
            continue;
        assert_in_range(turn->stream, 0, v->streams.count - 1);
        const int32_t previous = tail[turn->stream];
        if (previous >= 0)
            before[i] |= before[previous] | UINT64_C(1) << previous;
        bool waits = false;
        for (int32_t k = 0; k < OSP_STREAMS_MOST; k++) {
            const int32_t w = turn->wait.step[k];
            if (w < 0)
                continue;
            assert_true(w < i && v->streams.turns[w].stream == k && k != turn->stream);
            assert_in_range(v->streams.turns[w].event, 0, v->streams.event_count - 1);
            before[i] |= before[w] | UINT64_C(1) << w;
            waits = true;
        }
        assert_true(turn->stream == 0 || previous >= 0 || waits);  // joins the capture
        tail[turn->stream] = i;
    }
}

static bool works(const osp_variant *v, int32_t step)
{
    return v->streams.turns[step].stream >= 0;
}

static bool at_once(const uint64_t *before, int32_t a, int32_t b)
{
    return !(before[b] >> a & 1);  // a < b
}

// Marks the bytes of a value's elements in the activations.
static void mark(const osp_variant *v, osp_vid id, char *bytes)
{
    const osp_storage *s = v->storage + id;
    if (s->root == OSP_NO_VALUE)
        return;
    const int64_t count = osp_shape_span(&v->graph.values[id].shape, 0, 4);
    for (int64_t e = 0; e < count; e++) {
        const size_t at = v->storage[s->root].buffer_offset + s->offset_bytes +
                          (size_t)(e / s->row * s->pitch + e % s->row) * sizeof(float);
        assert_true(at + sizeof(float) <= v->activation_bytes);
        memset(bytes + at, 1, sizeof(float));
    }
}

static void mark_step(const osp_variant *v, int32_t step, char *reads, char *writes)
{
    const osp_node *node = v->graph.nodes + step;
    memset(reads, 0, v->activation_bytes);
    memset(writes, 0, v->activation_bytes);
    for (int32_t i = 0; i < node->input_count; i++)
        mark(v, node->inputs[i], reads);
    for (int32_t i = 0; i < node->output_count; i++)
        mark(v, node->outputs[i], writes);
}

static void check_memory(const osp_variant *v, const uint64_t *before)
{
    const size_t n = v->activation_bytes;
    char *bytes = malloc(4 * n);
    assert_non_null(bytes);
    char *reads_a = bytes, *writes_a = bytes + n, *reads_b = bytes + 2 * n,
         *writes_b = bytes + 3 * n;
    for (int32_t b = 0; b < v->step_count; b++) {
        if (!works(v, b))
            continue;
        mark_step(v, b, reads_b, writes_b);
        for (int32_t a = 0; a < b; a++) {
            if (!works(v, a) || !at_once(before, a, b))
                continue;
            mark_step(v, a, reads_a, writes_a);
            for (size_t i = 0; i < n; i++)
                if ((writes_a[i] && (reads_b[i] || writes_b[i])) || (writes_b[i] && reads_a[i]))
                    fail_msg("steps %d and %d meet at byte %zu of %zu", a, b, i, n);
        }
    }
    free(bytes);
}

// Streams of the variant; what the turns say of themselves is compared with what follows from them.
static int32_t check(const osp_variant *v)
{
    uint64_t before[NODES_MOST + 1], events = 0;
    assert_in_range(v->step_count, 1, NODES_MOST);
    if (!v->streams.turns) {
        assert_int_equal(v->streams.count, 1);
        assert_int_equal(v->streams.event_count, 0);
        return 1;
    }
    find_before(v, before);
    for (int32_t i = 0; i <= v->step_count; i++) {
        const osp_turn *turn = v->streams.turns + i;
        int32_t first = i;
        for (int32_t a = i - 1; works(v, i) && a >= 0; a--)
            if (works(v, a) && at_once(before, a, i))
                first = a;
        assert_int_equal(turn->first, first);
        for (int32_t k = 0; works(v, i) && k < OSP_STREAMS_MOST; k++) {
            int32_t ended = -1;
            for (int32_t a = 0; a < i; a++)
                if (v->streams.turns[a].stream == k && before[i] >> a & 1)
                    ended = a;
            assert_int_equal(turn->ended.step[k], ended);
        }
        if (turn->event >= 0) {
            assert_false(events >> turn->event & 1);
            events |= UINT64_C(1) << turn->event;
        }
    }
    for (int32_t i = 0; i < v->step_count; i++)
        assert_true(!works(v, i) || before[v->step_count] >> i & 1);
    check_memory(v, before);
    return v->streams.count;
}

// ---- Tests --------------------------------------------------------------------------------------

static void random_graphs_never_meet(void **state)
{
    uint32_t seed = 11;
    int32_t several = 0;
    (void)state;
    for (int32_t round = 0; round < 60; round++) {
        void *own;
        set_up(&own);
        fixture *f = own;
        random_graph(f, &seed);
        osp_variant *v = compile(f);
        for (int32_t most = 1; most <= OSP_STREAMS_MOST; most++) {
            spread(f, v, most);
            const int32_t used = check(v);
            assert_true(used <= most);
            several += used > 1;
            // A plan holds how many were used: the same turns come of that.
            const osp_streams kept = v->streams;
            const size_t bytes = osp_variant_memory_bytes(v);
            spread(f, v, used);
            assert_int_equal(v->streams.count, used);
            assert_int_equal(osp_variant_memory_bytes(v), bytes);
            if (kept.turns)
                assert_memory_equal(v->streams.turns, kept.turns,
                                    ((size_t)v->step_count + 1) * sizeof *kept.turns);
        }
        tear_down(&own);
    }
    assert_true(several > 100);
}

static void a_chain_has_one_stream(void **state)
{
    fixture *f = *state;
    const osp_vid x = add_value(f, 4);
    const osp_vid y = relu(f, relu(f, relu(f, x)));
    set_ends(f, x, &y, 1);
    osp_variant *v = compile(f);
    const size_t bytes = osp_variant_memory_bytes(v);
    spread(f, v, OSP_STREAMS_MOST);
    assert_null(v->streams.turns);
    assert_int_equal(v->streams.count, 1);
    assert_int_equal(osp_variant_memory_bytes(v), bytes);
}

// A trunk of three maps and two towers on each, which end in one concatenation.
enum { LEVELS = 3, TOWERS = 2 * LEVELS };

static osp_variant *compile_towers(fixture *f)
{
    const osp_vid x = add_value(f, 1);
    osp_vid level[LEVELS], tower[TOWERS];
    for (int32_t i = 0; i < LEVELS; i++)
        level[i] = relu(f, i ? level[i - 1] : x);
    for (int32_t i = 0; i < TOWERS; i++)
        tower[i] = relu(f, relu(f, level[i / 2]));
    const osp_vid y = relu(f, concat(f, tower, TOWERS));
    set_ends(f, x, &y, 1);
    return compile(f);
}

static void towers_run_beside_each_other(void **state)
{
    fixture *f = *state;
    osp_variant *v = compile_towers(f);
    spread(f, v, OSP_STREAMS_MOST);
    assert_int_equal(check(v), TOWERS);
    // Behind each level, and behind each tower but that which the end goes on from.
    assert_int_equal(v->streams.event_count, LEVELS + TOWERS - 1);
    const osp_turn *turns = v->streams.turns;
    assert_int_equal(turns[LEVELS].stream, 1);  // the first level's, since the trunk went on
    assert_int_equal(turns[LEVELS].wait.step[0], 0);
    assert_int_equal(turns[LEVELS + 1].stream, 1);
    assert_int_equal(turns[LEVELS + 8].stream, 0);  // behind the last level
    assert_int_equal(turns[LEVELS + 8].event, -1);
    int32_t waits = 0;
    for (int32_t k = 0; k < OSP_STREAMS_MOST; k++)
        waits += turns[v->step_count - 1].wait.step[k] >= 0;
    assert_int_equal(waits, TOWERS - 1);
    // With too few streams some towers follow others.
    for (int32_t most = 2; most < TOWERS; most++) {
        spread(f, v, most);
        assert_int_equal(check(v), most);
    }
}

// Two steps at once have a workspace each.
static void each_stream_has_a_workspace(void **state)
{
    fixture *f = *state;
    const osp_vid x = add_value(f, 4);
    const osp_vid a = relu(f, x), b = relu(f, a), c = relu(f, a);
    set_ends(f, x, (const osp_vid[]){b, c}, 2);
    osp_variant *v = compile(f);
    v->workspace_bytes = 100;
    spread(f, v, OSP_STREAMS_MOST);
    assert_int_equal(check(v), 2);
    const size_t line = OSP_MEMORY_ALIGN;
    assert_int_equal(osp_variant_memory_bytes(v),
                     (v->activation_bytes + line - 1) / line * line + 2 * 2 * line);
}

// A plan with so many streams; `streams` of the variant that comes of it, or 0 and what was wrong.
static int32_t reopen(fixture *f, uint8_t *plan, size_t size, uint32_t at, uint32_t streams,
                      osp_status *status)
{
    osp_compiled c;
    osp_plan_facts facts;
    plan_put(plan + at, streams, 4);
    plan_repair(plan, size);
    osp_compiled_init(&c, &f->ctx, &osp_backend_cuda, OSP_PRECISION_FP32, 1);
    *status = osp_plan_decode(&c, &facts, plan, size, 0, "device", NULL);
    const int32_t count = *status ? 0 : check(c.variants);
    osp_compiled_free(&c);
    return count;
}

static void a_plan_holds_the_streams(void **state)
{
    fixture *f = *state;
    const osp_plan_facts facts = {.reason = ""};
    osp_arena arena;
    osp_bytes *parts;
    size_t count, size = 0, at = 0;
    osp_status status;
    spread(f, compile_towers(f), OSP_STREAMS_MOST);
    osp_arena_init(&arena, &f->ctx.mem);
    assert_int_equal(osp_plan_encode(&f->c, &facts, "device", &arena, &parts, &count, NULL),
                     OSP_OK);
    for (size_t i = 0; i < count; i++)
        size += parts[i].size;
    uint8_t *plan = osp_arena_alloc(&arena, size), *to = plan;
    assert_non_null(plan);
    for (size_t i = 0; i < count; to += parts[i++].size)
        memcpy(to, parts[i].data, parts[i].size);
    for (uint32_t i = OSP_PLAN_HEADER_BYTES; i + 16 <= size && !at; i++)  // batch, size, streams
        if (plan_get(plan + i, 8) == BATCH && plan_get(plan + i + 8, 8) == (uint64_t)TOWERS << 32)
            at = i + 12;
    assert_true(at > 0);
    for (uint32_t n = 1; n <= OSP_STREAMS_MOST; n++) {
        const int32_t used = reopen(f, plan, size, (uint32_t)at, n, &status);
        assert_int_equal(status, OSP_OK);
        assert_int_equal(used, n < TOWERS ? n : TOWERS);
    }
    const uint32_t wrong[] = {0, OSP_STREAMS_MOST + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        reopen(f, plan, size, (uint32_t)at, wrong[i], &status);
        assert_int_equal(status, OSP_ERROR_FORMAT);
    }
    osp_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_never_meet),
        cmocka_unit_test_setup_teardown(a_chain_has_one_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(towers_run_beside_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plan_holds_the_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_stream_has_a_workspace, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
