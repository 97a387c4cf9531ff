// Runs on several streams, on a device in host memory with the kernels that the host compiler makes:
// a graph with branches computes the same in whatever order its branches go, and the tuner takes
// several streams where they are faster.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_fixture.h"
#include "host_cuda.h"
#include "ops/move.h"
#include "plan/compile.h"
#include "plan/tune.h"

enum { LEVELS = 3, TOWERS = 2 * LEVELS, DEEP = 4, ELEMENTS = 48 };

static fake_gpu fake;
static double several_us;  // of a kernel in a graph of several streams; 2 in others

static double run_code(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                       const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes)
{
    host_cuda_run(kernel, args, args_bytes, grid, block, shared_bytes);
    return fake.lanes > 1 ? several_us : 2;
}

typedef struct fixture {
    osp_context ctx;
    osp_gpu *gpu;
    osp_compiled c;
    osp_gpu_scope scope;
} fixture;

static osp_vid node(osp_graph *g, const char *type, const osp_vid *in, int32_t count, int64_t rows,
                    const void *attrs)
{
    const osp_shape shape = {2, {rows, ELEMENTS}};
    const osp_vid y = osp_graph_add_value(g, "v", OSP_DTYPE_FLOAT32, &shape);
    assert_non_null(osp_graph_insert_node(g, g->node_count, osp_op_find("", type), type, in, count,
                                          &y, 1, attrs));
    return y;
}

// A trunk of three maps, two towers on each, and one result of all.
static void compile(fixture *f)
{
    static const char *const kinds[] = {"Sigmoid", "Tanh", "Relu"};
    const osp_axis_attrs axis = {.axis = 0, .resolved_axis = 0};
    const osp_shape shape = {2, {1, ELEMENTS}};
    osp_vid level[LEVELS], tower[TOWERS];
    osp_graph g;
    osp_error err;
    osp_graph_init(&g, &f->ctx);
    const osp_vid x = osp_graph_add_value(&g, "x", OSP_DTYPE_FLOAT32, &shape);
    for (int32_t i = 0; i < LEVELS; i++)
        level[i] = node(&g, "Tanh", i ? level + i - 1 : &x, 1, 1, NULL);
    for (int32_t i = 0; i < TOWERS; i++) {
        tower[i] = level[i / 2];
        for (int32_t k = 0; k < DEEP; k++)
            tower[i] = k % 2
                           ? node(&g, "Add", (const osp_vid[]){tower[i], level[i / 2]}, 2, 1, NULL)
                           : node(&g, kinds[(i + k) % 3], tower + i, 1, 1, NULL);
    }
    const osp_vid all = node(&g, "Concat", tower, TOWERS, TOWERS, &axis);
    const osp_vid y = node(&g, "Tanh", &all, 1, TOWERS, NULL);
    g.inputs = osp_arena_array(&g.arena, 1, sizeof(osp_vid));
    g.outputs = osp_arena_array(&g.arena, 1, sizeof(osp_vid));
    g.inputs[0] = x;
    g.outputs[0] = y;
    g.input_count = g.output_count = 1;
    if (osp_compile_variant(&f->c, &g, 1, 0, 0, NULL, &err) || osp_compiled_upload(&f->c, &err))
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_context_open(&f->ctx, &fake, run_code);
    assert_int_equal(osp_gpus_open(&f->ctx, NULL), OSP_OK);
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &f->gpu, NULL), OSP_OK);
    osp_compiled_init(&f->c, &f->ctx, &osp_backend_cuda, OSP_PRECISION_FP32, 1);
    f->c.gpu = f->gpu;
    assert_int_equal(osp_gpu_enter(f->gpu, &f->scope, NULL), OSP_OK);
    compile(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_compiled_free(&f->c);
    osp_gpu_leave(f->gpu, &f->scope);
    osp_gpus_close(&f->ctx);
    fake_context_close(&f->ctx, &fake);
    free(f);
    return 0;
}

// Runs the variant as it is now, as a graph where `graph` says so.
static void run(fixture *f, bool graph, float *out)
{
    float x[ELEMENTS];
    void *state, *io[2];
    osp_gpu_stream stream;
    osp_gpu_graph recorded = NULL;
    osp_error err;
    for (int i = 0; i < ELEMENTS; i++)
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    const osp_gpu_program *program = &osp_compiled_program;
    assert_int_equal(osp_gpu_stream_open(f->gpu, &stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, &io[0], sizeof x, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, &io[1], TOWERS * sizeof x, &err), OSP_OK);
    assert_int_equal(osp_gpu_copy(f->gpu, io[0], x, sizeof x, stream, &err), OSP_OK);
    assert_int_equal(program->open(&state, f->gpu, &f->c, &err), OSP_OK);
    if (graph) {
        assert_int_equal(osp_gpu_capture_begin(f->gpu, stream, &err), OSP_OK);
        assert_int_equal(program->enqueue(state, 0, io, NULL, stream, &err), OSP_OK);
        if (osp_gpu_capture_end(f->gpu, stream, &recorded, &err))
            fail_msg("%s", err.text);
        assert_int_equal(osp_gpu_graph_launch(f->gpu, recorded, stream, &err), OSP_OK);
    } else {
        assert_int_equal(program->enqueue(state, 0, io, NULL, stream, &err), OSP_OK);
    }
    assert_int_equal(osp_gpu_copy(f->gpu, out, io[1], TOWERS * sizeof x, stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_wait(f->gpu, stream, -1, &err), OSP_OK);
    osp_gpu_graph_close(f->gpu, &recorded);
    program->close(state);
    osp_gpu_free(f->gpu, io[0]);
    osp_gpu_free(f->gpu, io[1]);
    osp_gpu_stream_close(f->gpu, &stream);
}

static void every_order_computes_the_same(void **state)
{
    fixture *f = *state;
    float want[TOWERS * ELEMENTS], got[TOWERS * ELEMENTS];
    run(f, false, want);
    for (int32_t most = 1; most <= OSP_STREAMS_MOST; most++) {
        assert_int_equal(osp_compile_streams(&f->c, f->c.variants, most, NULL), OSP_OK);
        assert_int_equal(f->c.variants->streams.count, most < TOWERS ? most : TOWERS);
        run(f, false, got);
        assert_memory_equal(got, want, sizeof want);
        for (int order = FAKE_AS_RECORDED; order <= FAKE_SIDES_LAST; order++) {
            fake.order = order;
            memset(got, 0, sizeof got);
            run(f, true, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
}

// Launches overlap within a stream; the first on a side stream and one that waits for others do not.
static void launches_overlap_within_a_stream(void **state)
{
    fixture *f = *state;
    float out[TOWERS * ELEMENTS];
    const uint64_t all = LEVELS + TOWERS * DEEP + 1;
    run(f, true, out);
    assert_int_equal(fake.overlaps, all - 1);
    fake.overlaps = 0;
    assert_int_equal(osp_compile_streams(&f->c, f->c.variants, OSP_STREAMS_MOST, NULL), OSP_OK);
    run(f, true, out);
    assert_int_equal(fake.overlaps, all - TOWERS - 1);
}

// The streams that a build with this timing cache ends with; how often it replayed a graph.
static int32_t tuned_streams(fixture *f, const char *cache, double us, uint64_t *replays)
{
    osp_tuner *tuner;
    osp_error err;
    several_us = us;
    const uint64_t before = fake.replays;
    assert_int_equal(osp_tuner_open(&tuner, &f->ctx, f->gpu, cache, "device", &err), OSP_OK);
    if (osp_tuner_streams(tuner, &f->c, &err))
        fail_msg("%s", err.text);
    osp_tuner_close(&tuner);
    *replays = fake.replays - before;
    return f->c.variants->streams.count;
}

static void several_streams_where_they_are_faster(void **state)
{
    fixture *f = *state;
    uint64_t replays;
    for (int faster = 0; faster < 2; faster++) {
        char cache[] = "/tmp/osprey-timings-XXXXXX";
        const int fd = mkstemp(cache);
        assert_true(fd >= 0);
        close(fd);
        unlink(cache);
        const int32_t want = faster ? TOWERS : 1;
        assert_int_equal(tuned_streams(f, cache, faster ? 1 : 3, &replays), want);
        assert_true(replays > 2);
        // The cache knows, whatever would be measured now.
        assert_int_equal(tuned_streams(f, cache, faster ? 3 : 1, &replays), want);
        assert_int_equal(replays, 0);
        unlink(cache);
    }
    // A gain within the noise is none, and neither is one that cannot be recorded.
    assert_int_equal(tuned_streams(f, NULL, 1.99, &replays), 1);
    fake.refuse_capture = true;
    assert_int_equal(tuned_streams(f, NULL, 1, &replays), 1);
    assert_int_equal(replays, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_order_computes_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(launches_overlap_within_a_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_streams_where_they_are_faster, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
