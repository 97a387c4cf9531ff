// Sessions of the tensorrt backend on a device in host memory: variants, graphs, where tensors lie,
// tickets, streams, outputs whose size only the run knows, and every device call failed in turn.
#include "tensorrt_fixture.h"

#include "gpu/gpu_calls.h"

// What lay on a lost device stays there, as does what a failed call should have given back, and the
// fake device's handles are heap memory: no leaks of ours. Our own heap is counted by the runtime.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define LEAKS_ARE_MEANT(yes) ((yes) ? __lsan_disable() : __lsan_enable())
#else
#define LEAKS_ARE_MEANT(yes) ((void)(yes))
#endif

static osp_session *open_session(osp_engine *engine, const osp_session_options *options)
{
    osp_session *session;
    osp_error err;
    if (osp_session_open(&session, engine, options, &err))
        fail_msg("%s", err.text);
    return session;
}

static void run(osp_session *session, const osp_tensor *in, osp_tensor *out)
{
    osp_error err;
    if (osp_session_run(session, in, 1, out, 1, &err))
        fail_msg("%s", err.text);
}

static osp_gpu_counters work_of(const osp_session *session)
{
    osp_gpu_counters counters;
    osp_gpu_count_work(osp_session_device(session), &counters);
    return counters;
}

static void variants_and_graphs(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    float out[4 * OUT];
    const int32_t enqueued = f->standin->enqueued;
    const osp_gpu_counters before = work_of(session);
    osp_counters heap, heap_after;
    osp_runtime_counters(f->runtime, &heap);
    for (int32_t n = 1; n <= 4; n++) {
        osp_tensor in = input_of(f, n);
        osp_tensor to = {.dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {4, 6, 64}, .data = out};
        memset(out, 0, sizeof out);
        run(session, &in, &to);
        assert_int_equal(to.dims[0], n);
        assert_output(f, out, n);
        osp_run_stats stats;
        osp_session_stats(session, &stats);
        assert_int_equal(stats.variant, n == 1 ? 0 : n == 2 ? 1 : 2);
    }
    // Each run replays a graph that opening captured; nothing is allocated.
    const osp_gpu_counters after = work_of(session);
    osp_runtime_counters(f->runtime, &heap_after);
    assert_int_equal(f->standin->enqueued, enqueued);
    assert_int_equal(after.graph_launches - before.graph_launches, 4);
    assert_int_equal(after.allocs, before.allocs);
    assert_int_equal(after.opens, before.opens);
    assert_int_equal(heap_after.heap_bytes, heap.heap_bytes);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void wrong_tensors_are_refused(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    osp_error err;
    osp_ticket ticket;
    osp_tensor in = input_of(f, 5), out = {0};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    in = input_of(f, 1);
    in.place = OSP_PLACE_DEVICE;
    in.device = 3;
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    in = input_of(f, 2);
    osp_tensor small = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {1, 6, 64}, .data = f->images};
    assert_int_equal(osp_session_enqueue(session, &in, 1, &small, 1, &ticket, &err),
                     OSP_ERROR_OVERFLOW);
    assert_int_equal(osp_session_enqueue(session, NULL, 0, NULL, 0, &ticket, &err),
                     OSP_ERROR_ARGUMENT);
    run(session, &in, &out);  // the slot is free again
    assert_output(f, out.data, 2);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

// Memory of the fake device, in the device's scope.
static float *device_floats(osp_session *session, size_t count)
{
    osp_gpu_scope scope;
    void *p;
    assert_int_equal(osp_gpu_enter(osp_session_device(session), &scope, NULL), OSP_OK);
    assert_int_equal(osp_gpu_alloc(osp_session_device(session), &p, count * sizeof(float), NULL),
                     OSP_OK);
    osp_gpu_leave(osp_session_device(session), &scope);
    return p;
}

static void give_back(osp_session *session, float *p)
{
    osp_gpu_scope scope;
    assert_int_equal(osp_gpu_enter(osp_session_device(session), &scope, NULL), OSP_OK);
    osp_gpu_free(osp_session_device(session), p);
    osp_gpu_leave(osp_session_device(session), &scope);
}

static void device_tensors_and_binding(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    float *x = device_floats(session, 4 * PIXELS), *y = device_floats(session, 4 * OUT);
    memcpy(x, f->images, sizeof f->images);
    osp_tensor in = input_of(f, 4);
    in.data = x;
    in.place = OSP_PLACE_DEVICE;
    osp_tensor out = {.name = "output0",
                      .dtype = OSP_DTYPE_FLOAT32,
                      .rank = 3,
                      .dims = {4, 6, 64},
                      .data = y,
                      .place = OSP_PLACE_DEVICE};
    // Unbound: one device copy each way.
    osp_gpu_counters a = work_of(session);
    osp_tensor to = out;
    run(session, &in, &to);
    assert_output(f, y, 4);
    osp_gpu_counters b = work_of(session);
    assert_int_equal(b.copies - a.copies, 2);
    // Bound: none; the graphs are captured anew, once for each slot.
    const osp_tensor both[] = {in, out};
    osp_error err;
    if (osp_session_bind(session, both, 2, &err))
        fail_msg("%s", err.text);
    const int32_t enqueued = f->standin->enqueued;
    for (int i = 0; i < 6; i++) {
        memset(y, 0, 4 * OUT * sizeof *y);
        x[0] = f->images[0] = (float)i;
        osp_ticket ticket;
        assert_int_equal(osp_session_enqueue(session, NULL, 0, NULL, 0, &ticket, NULL), OSP_OK);
        assert_int_equal(osp_session_wait(session, ticket, -1, NULL, 0, NULL), OSP_OK);
        assert_output(f, y, 4);
    }
    const osp_gpu_counters c = work_of(session);
    assert_int_equal(c.copies, b.copies);
    assert_int_equal(f->standin->enqueued - enqueued, 2);
    give_back(session, x);
    give_back(session, y);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void pinned_memory_is_used_in_place(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    float *pinned = osp_host_alloc(f->runtime, sizeof f->images);
    float *result = osp_host_alloc(f->runtime, 4 * OUT * sizeof *result);
    assert_true(pinned && result);
    memcpy(pinned, f->images, sizeof f->images);
    osp_tensor in = input_of(f, 3);
    in.data = pinned;
    in.place = OSP_PLACE_PINNED;
    osp_tensor out = {.dtype = OSP_DTYPE_FLOAT32,
                      .rank = 3,
                      .dims = {4, 6, 64},
                      .data = result,
                      .place = OSP_PLACE_PINNED};
    run(session, &in, &out);
    assert_ptr_equal(out.data, result);
    assert_int_equal(out.dims[0], 3);
    assert_output(f, result, 3);
    osp_host_free(f->runtime, pinned);
    osp_host_free(f->runtime, result);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void strided_tensors(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    // Every second float, in and out.
    static float wide[2 * PIXELS], far[2 * OUT];
    for (int i = 0; i < PIXELS; i++)
        wide[2 * i] = f->images[i];
    osp_tensor in = input_of(f, 1);
    in.data = wide;
    const int64_t in_strides[] = {8 * PIXELS, 8 * SIZE * SIZE, 8 * SIZE, 8};
    memcpy(in.byte_strides, in_strides, sizeof in_strides);
    osp_tensor out = {.dtype = OSP_DTYPE_FLOAT32,
                      .rank = 3,
                      .dims = {1, 6, 64},
                      .byte_strides = {8 * OUT, 8 * 64, 8},
                      .data = far};
    run(session, &in, &out);
    for (int i = 0; i < OUT; i++)
        assert_true(far[2 * i] == 2 * f->images[i] + 1);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void tickets(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    const osp_session_options two = {.depth = 2};
    osp_session *session = open_session(engine, &two);
    osp_tensor in = input_of(f, 1), out = {0};
    osp_ticket a, b, c;
    osp_error err;
    assert_int_equal(osp_session_enqueue(session, &in, 1, NULL, 0, &a, &err), OSP_OK);
    in.data = f->images + PIXELS;
    assert_int_equal(osp_session_enqueue(session, &in, 1, NULL, 0, &b, &err), OSP_OK);
    assert_int_equal(osp_session_enqueue(session, &in, 1, NULL, 0, &c, &err), OSP_ERROR_BUSY);
    f->fake.busy = true;
    assert_int_equal(osp_session_poll(session, a), OSP_ERROR_BUSY);
    assert_int_equal(osp_session_wait(session, a, 5, &out, 1, &err), OSP_ERROR_TIMEOUT);
    f->fake.busy = false;
    assert_int_equal(osp_session_poll(session, a), OSP_OK);
    assert_int_equal(osp_session_wait(session, a, 1000, &out, 1, &err), OSP_OK);
    assert_output(f, out.data, 1);
    assert_int_equal(osp_session_wait(session, b, -1, &out, 1, &err), OSP_OK);
    const float *row = out.data;
    assert_true(row[5] == 2 * f->images[PIXELS + 5] + 1);
    assert_int_equal(osp_session_poll(session, b), OSP_ERROR_ARGUMENT);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void the_callers_stream(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *other = open_session(engine, NULL);
    osp_gpu *gpu = osp_session_device(other);
    osp_gpu_scope scope;
    osp_gpu_stream stream;
    assert_int_equal(osp_gpu_enter(gpu, &scope, NULL), OSP_OK);
    assert_int_equal(osp_gpu_stream_open(gpu, &stream, NULL), OSP_OK);
    osp_gpu_leave(gpu, &scope);
    const osp_session_options options = {.stream = stream};
    osp_session *session = open_session(engine, &options);
    osp_tensor in = input_of(f, 2), out = {0};
    run(session, &in, &out);
    assert_output(f, out.data, 2);
    osp_session_close(&session);
    assert_int_equal(osp_gpu_enter(gpu, &scope, NULL), OSP_OK);
    osp_gpu_stream_close(gpu, &stream);
    osp_gpu_leave(gpu, &scope);
    osp_session_close(&other);
    osp_engine_close(&engine);
}

static void without_graphs(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    f->fake.refuse_capture = true;
    f->log[0] = 0;
    osp_session *session = open_session(engine, NULL);
    const char *told = strstr(f->log, "without a CUDA graph");
    assert_non_null(told);
    assert_null(strstr(told + 1, "without a CUDA graph"));
    osp_tensor in = input_of(f, 4), out = {0};
    run(session, &in, &out);
    run(session, &in, &out);
    assert_output(f, out.data, 4);
    assert_int_equal(work_of(session).graph_launches, 0);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void failing_runs(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session;
    osp_error err;
    f->standin->faults.null_context = true;
    assert_int_equal(osp_session_open(&session, engine, NULL, &err), OSP_ERROR_SYSTEM);
    assert_non_null(strstr(err.text, "no memory for a context"));
    f->standin->faults = (standin_faults){.enqueue_fails = true};
    assert_int_equal(osp_session_open(&session, engine, NULL, &err), OSP_ERROR_SYSTEM);
    assert_non_null(strstr(err.text, "Cuda Runtime"));
    osp_engine_close(&engine);
}

static void open_ended_outputs(void **state)
{
    fixture *f = *state;
    f->standin->network.io[1] = (standin_io){"output0", 0, 0, 3, 0, {-1, STANDIN_OPEN, 6}};
    const osp_engine_options one = {.batches = {2}};
    f->standin->open_rows = 7;
    osp_engine *engine = build_tiny(f, &one);
    osp_tensor_info info;
    assert_int_equal(osp_engine_output(engine, 0, &info), OSP_OK);
    assert_int_equal(info.dims[1], -1);
    osp_session *session = open_session(engine, NULL);
    float room[2 * 300 * 6];
    osp_tensor in = input_of(f, 2), out = {0};
    osp_tensor to = {.dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {2, 300, 6}, .data = room};
    osp_error err;
    for (int64_t rows = 1; rows <= 300; rows += 299) {
        f->standin->open_rows = rows;
        out = (osp_tensor){0};
        run(session, &in, &out);
        assert_int_equal(out.dims[0], 2);
        assert_int_equal(out.dims[1], rows);
        run(session, &in, &to);
        assert_int_equal(to.dims[1], rows);
        assert_true(room[3] == 2 * f->images[3] + 1);
        to.dims[1] = 300;
    }
    f->standin->open_rows = 301;
    out = (osp_tensor){0};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_OVERFLOW);
    assert_non_null(strstr(err.text, "output0"));
    f->standin->open_rows = 20;
    to = (osp_tensor){.dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {2, 10, 6}, .data = room};
    assert_int_equal(osp_session_run(session, &in, 1, &to, 1, &err), OSP_ERROR_OVERFLOW);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

typedef struct hook_calls {
    const fixture *f;
    osp_session *session;
    int put, after;
} hook_calls;

static osp_status put_rows(void *user, int32_t slot, int32_t n, osp_gpu_stream stream,
                           osp_error *err)
{
    hook_calls *calls = user;
    (void)err;
    assert_true(slot >= 0 && slot < 2 && n == 2 && stream);
    float *x = osp_session_device_input(calls->session, slot, 0);
    memcpy(x, calls->f->images, 2 * PIXELS * sizeof *x);
    calls->put++;
    return OSP_OK;
}

static osp_status after_run(void *user, int32_t slot, int32_t variant, const osp_head_maps *maps,
                            osp_gpu_stream stream, osp_error *err)
{
    (void)err;
    assert_null(maps);
    assert_true(slot >= 0 && slot < 2 && variant >= 0 && stream);
    ((hook_calls *)user)->after++;
    return OSP_OK;
}

static void hooks_and_device_memory(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    osp_session *session = open_session(engine, NULL);
    hook_calls calls = {.f = f, .session = session};
    const osp_session_hooks hooks = {.put = put_rows, .after = after_run, .user = &calls};
    osp_session_set_hooks(session, &hooks);
    assert_true(osp_session_on_gpu(session));
    for (int i = 0; i < 4; i++) {
        const int32_t slot = (int32_t)((session->next_ticket - 1) % 2);
        const osp_gpu_counters a = work_of(session);
        osp_ticket ticket;
        assert_int_equal(osp_session_enqueue_device(session, 2, &ticket, NULL), OSP_OK);
        assert_int_equal(osp_session_wait(session, ticket, -1, NULL, 0, NULL), OSP_OK);
        assert_output(f, osp_session_device_output(session, slot, 0), 2);
        assert_int_equal(work_of(session).copies, a.copies);
    }
    assert_int_equal(calls.put, 4);
    assert_int_equal(calls.after, 2);  // once for each slot, into its graph
    osp_session_close(&session);
    osp_engine_close(&engine);
}

// Build, open, run with the call numbered `at` failing; what it came to.
static osp_status whole_life(fixture *f, failing_calls *failing, long at, int error)
{
    failing_calls_init(failing, &f->fake.calls);
    failing->fail_at = at;
    failing->error = error;
    f->runtime->ctx.gpu_calls = &failing->calls;
    osp_gpus_close(&f->runtime->ctx);
    osp_status status = osp_gpus_open(&f->runtime->ctx, NULL);
    const osp_engine_options o = {
        .backend = OSP_BACKEND_TENSORRT, .height = SIZE, .width = SIZE, .batches = {1, 2}};
    osp_model *model = NULL;
    osp_engine *engine = NULL;
    osp_session *session = NULL;
    assert_int_equal(osp_model_open(&model, f->runtime, TINY, NULL), OSP_OK);
    if (!status)
        status = osp_engine_build(&engine, model, &o, NULL);
    if (!status)
        status = osp_session_open(&session, engine, NULL, NULL);
    for (int i = 0; !status && i < 2; i++) {
        osp_tensor in = input_of(f, 2), out = {0};
        status = osp_session_run(session, &in, 1, &out, 1, NULL);
        if (!status)
            assert_output(f, out.data, 2);
    }
    osp_session_close(&session);
    osp_engine_close(&engine);
    osp_model_close(&model);
    return status;
}

static void every_device_call_may_fail(void **state)
{
    fixture *f = *state;
    failing_calls failing;
    static const int errors[] = {OSP_CUDA_OUT_OF_MEMORY, OSP_CUDA_ILLEGAL_ADDRESS};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        const bool sticky = errors[e] == OSP_CUDA_ILLEGAL_ADDRESS;
        long calls = 0;
        osp_counters before, after;
        for (long at = 1;; at++) {
            osp_runtime_counters(f->runtime, &before);
            LEAKS_ARE_MEANT(true);
            const osp_status status = whole_life(f, &failing, at, errors[e]);
            LEAKS_ARE_MEANT(false);
            osp_runtime_counters(f->runtime, &after);
            if (at > 2)
                assert_int_equal(after.heap_bytes, before.heap_bytes);
            calls = failing.count;
            if (!failing.failed)
                break;
            // Giving back and measuring may fail unnoticed; a dead device never answers.
            if (sticky && failing.after > 0 && status == OSP_OK)
                fail_msg("call %ld: an answer after a sticky error", at);
            assert_int_equal(f->standin->live, 0);
            // What was on a lost device cannot be given back, nor what a failed call should have
            // given back.
            if (!sticky)
                assert_true(f->fake.live == 0 || (status == OSP_OK && f->fake.live == 1));
            fake_gpu_free(&f->fake);
            fake_gpu_init(&f->fake);
        }
        assert_true(calls > 50);
    }
    f->runtime->ctx.gpu_calls = &f->fake.calls;
    osp_gpus_close(&f->runtime->ctx);
    assert_int_equal(osp_gpus_open(&f->runtime->ctx, NULL), OSP_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

const struct CMUnitTest session_tests[] = {
    TEST(variants_and_graphs),
    TEST(wrong_tensors_are_refused),
    TEST(device_tensors_and_binding),
    TEST(pinned_memory_is_used_in_place),
    TEST(strided_tensors),
    TEST(tickets),
    TEST(the_callers_stream),
    TEST(without_graphs),
    TEST(failing_runs),
    TEST(open_ended_outputs),
    TEST(hooks_and_device_memory),
    TEST(every_device_call_may_fail),
};
const size_t session_test_count = sizeof session_tests / sizeof *session_tests;
