// The engine as its users see it: names and sizes of the system this replaces, variants, sessions,
// tickets, saving and caching. Every check runs on the reference and on the cpu backend.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"

enum { SIZE = 32, PIXELS = 3 * SIZE * SIZE, OUT = 6 * 8 * 8 };  // tiny.onnx: 6 x (32/4)^2

static const char tiny[] = TEST_DATA_DIR "/data/tiny.onnx";

typedef struct fixture {
    uint64_t heap_at_open;
    osp_runtime *runtime;
    osp_backend backend;
    float images[4 * PIXELS];
    char log[4096];
} fixture;

static void keep_log(void *user, osp_log_level level, const char *text)
{
    fixture *f = user;
    (void)level;
    size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof f->log - used, "%s\n", text);
}

static int set_up_for(void **state, osp_backend backend)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->backend = backend;
    const osp_options options = {.logger = {keep_log, f, OSP_LOG_WARNING}, .threads = 2};
    assert_int_equal(osp_runtime_open(&f->runtime, &options, NULL), OSP_OK);
    osp_counters counters;
    osp_runtime_counters(f->runtime, &counters);
    f->heap_at_open = counters.heap_bytes;
    uint32_t seed = 1;
    for (int i = 0; i < 4 * PIXELS; i++) {
        seed = seed * 1664525 + 1013904223;
        f->images[i] = (float)(seed >> 8) / (float)(1 << 24);
    }
    *state = f;
    return 0;
}

static int set_up_reference(void **state)
{
    return set_up_for(state, OSP_BACKEND_REFERENCE);
}

static int set_up_cpu(void **state)
{
    return set_up_for(state, OSP_BACKEND_CPU);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_counters counters;
    osp_runtime_counters(f->runtime, &counters);
    osp_runtime *keep = f->runtime;
    osp_runtime_retain(keep);
    osp_runtime_close(&f->runtime);
    // All that is left is the runtime itself.
    osp_runtime_counters(keep, &counters);
    assert_int_equal(counters.heap_bytes, f->heap_at_open);
    osp_runtime_release(keep);
    free(f);
    return 0;
}

static osp_engine *build(fixture *f, osp_engine_options options)
{
    osp_model *model;
    osp_engine *engine = NULL;
    osp_error err;
    options.backend = f->backend;
    assert_int_equal(osp_model_open(&model, f->runtime, tiny, &err), OSP_OK);
    if (osp_engine_build(&engine, model, &options, &err))
        fail_msg("%s", err.text);
    osp_model_close(&model);
    return engine;
}

static osp_tensor images(fixture *f, int n)
{
    return (osp_tensor){
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {n, 3, SIZE, SIZE}, .data = f->images};
}

static void names_files_as_the_old_system(void **state)
{
    (void)state;
    osp_device_info gpu = {
        .backend = OSP_BACKEND_CUDA, .cc_major = 8, .cc_minor = 6, .multiprocessors = 128};
    char name[64];
    assert_int_equal(osp_engine_file_name("azaion", &gpu, name, sizeof name, NULL), OSP_OK);
    assert_string_equal(name, "azaion.cc_8.6_sm_128.engine");
    assert_int_equal(osp_engine_file_name("azaion", &gpu, name, 27, NULL), OSP_ERROR_OVERFLOW);
    assert_int_equal(osp_engine_file_name("azaion", &gpu, name, 28, NULL), OSP_OK);
}

static void unknown_memory_is_2_gib(void **state)
{
    (void)state;
    osp_device_info device = {0};
    osp_device_set_memory(&device, 0, 0);
    assert_true(device.memory_bytes == UINT64_C(2) << 30);
    assert_false(device.memory_known);
    osp_device_set_memory(&device, UINT64_C(8) << 30, UINT64_C(5) << 30);
    assert_true(device.memory_known && device.memory_bytes == UINT64_C(8) << 30);
}

static void unknown_outputs_hold_300_by_6(void **state)
{
    (void)state;
    osp_shape capacity;
    const osp_shape unknown = {.rank = 3, .dims = {4, -1, -1}};
    osp_output_capacity(&unknown, 4, &capacity);
    assert_true(capacity.dims[0] == 4 && capacity.dims[1] == 300 && capacity.dims[2] == 6);
    const osp_shape nothing = {.rank = -1};
    osp_output_capacity(&nothing, 2, &capacity);
    assert_true(capacity.rank == 3 && capacity.dims[0] == 2 && capacity.dims[1] == 300 &&
                capacity.dims[2] == 6);
    const osp_shape known = {.rank = 3, .dims = {1, 84, 8400}};
    osp_output_capacity(&known, 1, &capacity);
    assert_true(osp_shape_equal(&known, &capacity));
}

static void default_variants(void **state)
{
    fixture *f = *state;
    int32_t batches[8];
    assert_int_equal(osp_default_batches(true, batches), 3);
    assert_true(batches[0] == 1 && batches[1] == 2 && batches[2] == 4);
    assert_int_equal(osp_default_batches(false, batches), 1);
    assert_int_equal(batches[0], 1);

    osp_engine *engine = build(f, (osp_engine_options){0});
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    int32_t height, width;
    osp_engine_input_size(engine, &height, &width);
    assert_true(height == 1280 && width == 1280);
    assert_true(info.variants == 1 && info.batch_min == 1 && info.batch_max == 1);
    assert_int_equal(info.classes, 2);
    assert_string_equal(osp_engine_class_name(engine, 1), "far");
    assert_null(osp_engine_class_name(engine, 2));
    osp_engine_close(&engine);
    assert_null(engine);
}

static void auto_says_why(void **state)
{
    fixture *f = *state;
    osp_engine_options options = {.height = SIZE, .width = SIZE};
    osp_model *model;
    osp_engine *engine;
    osp_error err;
    assert_int_equal(osp_model_open(&model, f->runtime, tiny, NULL), OSP_OK);
    assert_int_equal(osp_engine_build(&engine, model, &options, &err), OSP_OK);
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    if (info.backend == OSP_BACKEND_CPU) {  // on a machine without a usable GPU
        assert_non_null(strstr(info.reason, "cuda"));
        assert_non_null(strstr(info.reason, "tensorrt"));
        assert_non_null(strstr(f->log, "cuda is passed over"));
        options.backend = OSP_BACKEND_CUDA;  // named: never falls back
        osp_engine *none = NULL;
        assert_int_equal(osp_engine_build(&none, model, &options, &err), OSP_ERROR_DEVICE);
        assert_null(none);
        assert_non_null(strstr(err.text, "cuda"));
    }
    osp_engine_close(&engine);
    osp_model_close(&model);
}

static void wrong_sizes_say_how_to_export(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(f, (osp_engine_options){.height = SIZE, .width = SIZE});
    osp_session *session;
    osp_error err;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    osp_tensor in = images(f, 1), out = {0};
    in.dims[3] = SIZE / 2;
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(err.text, "images"));
    in = images(f, 2);  // the only variant has batch 1
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    in = images(f, 1);
    in.dtype = OSP_DTYPE_UINT8;
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    in = images(f, 1);
    in.name = "pictures";
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(err.text, "pictures"));
    assert_int_equal(osp_session_run(session, NULL, 0, &out, 1, &err), OSP_ERROR_ARGUMENT);
    assert_non_null(strstr(err.text, "missing"));
    osp_session_close(&session);
    osp_engine_close(&engine);
}

// n rows in a larger variant are the rows that single runs give.
static void rows_do_not_depend_on_the_variant(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(
        f, (osp_engine_options){.height = SIZE, .width = SIZE, .batches = {4, 1, 4}});
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    assert_true(info.variants == 2 && info.batch_min == 1 && info.batch_max == 4);
    osp_session *session;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    float single[3][OUT];
    for (int i = 0; i < 3; i++) {
        osp_tensor in = images(f, 1), out = {0};
        in.data = f->images + i * PIXELS;
        assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
        assert_true(out.rank == 3 && out.dims[0] == 1 && out.dims[1] == 6 && out.dims[2] == 64);
        memcpy(single[i], out.data, sizeof single[i]);
    }
    osp_tensor in = images(f, 3), out = {0};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
    assert_int_equal(out.dims[0], 3);
    osp_run_stats stats;
    osp_session_stats(session, &stats);
    assert_true(stats.variant == 1 && stats.n == 3 && stats.infer_us > 0);
    for (int i = 0; i < 3 * OUT; i++)
        assert_float_equal(((const float *)out.data)[i], (&single[0][0])[i], 2e-5);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void caller_buffers_strides_and_overflow(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(f, (osp_engine_options){.height = SIZE, .width = SIZE});
    osp_session *session;
    osp_error err;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    osp_tensor in = images(f, 1), out = {0};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
    float expected[OUT];
    memcpy(expected, out.data, sizeof expected);

    // The same pixels, interleaved (H,W,C) and described by strides.
    static float interleaved[PIXELS];
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < SIZE * SIZE; p++)
            interleaved[p * 3 + c] = f->images[c * SIZE * SIZE + p];
    in.data = interleaved;
    in.byte_strides[0] = PIXELS * 4;
    in.byte_strides[1] = 4;
    in.byte_strides[2] = SIZE * 12;
    in.byte_strides[3] = 12;
    static float buffer[OUT + 7];
    out = (osp_tensor){.name = "output0",
                       .dtype = OSP_DTYPE_FLOAT32,
                       .rank = 1,
                       .dims = {OUT + 7},
                       .data = buffer};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_OK);
    assert_true(out.rank == 3 && out.dims[1] == 6 && out.data == buffer);
    assert_memory_equal(buffer, expected, sizeof expected);

    out = (osp_tensor){.dtype = OSP_DTYPE_FLOAT32, .rank = 1, .dims = {OUT - 1}, .data = buffer};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, &err), OSP_ERROR_OVERFLOW);
    assert_non_null(strstr(err.text, "output0"));

    // Bound tensors need not be given.
    in = images(f, 1);
    in.name = "images";
    assert_int_equal(osp_session_bind(session, &in, 1, NULL), OSP_OK);
    out = (osp_tensor){0};
    assert_int_equal(osp_session_run(session, NULL, 0, &out, 1, NULL), OSP_OK);
    assert_memory_equal(out.data, expected, sizeof expected);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void tickets(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(f, (osp_engine_options){.height = SIZE, .width = SIZE});
    osp_session *session;
    osp_error err;
    const osp_session_options options = {.depth = 2};
    assert_int_equal(osp_session_open(&session, engine, &options, NULL), OSP_OK);
    osp_tensor in[3], out = {0};
    osp_ticket ticket[3];
    for (int i = 0; i < 3; i++) {
        in[i] = images(f, 1);
        in[i].data = f->images + i * PIXELS;
    }
    assert_int_equal(osp_session_enqueue(session, &in[0], 1, NULL, 0, &ticket[0], NULL), OSP_OK);
    assert_int_equal(osp_session_enqueue(session, &in[1], 1, NULL, 0, &ticket[1], NULL), OSP_OK);
    assert_int_equal(osp_session_enqueue(session, &in[2], 1, NULL, 0, &ticket[2], &err),
                     OSP_ERROR_BUSY);
    assert_int_equal(osp_session_poll(session, 12345), OSP_ERROR_ARGUMENT);
    assert_int_equal(osp_session_wait(session, ticket[1], -1, &out, 1, NULL), OSP_OK);
    float second[OUT];
    memcpy(second, out.data, sizeof second);
    assert_int_equal(osp_session_poll(session, ticket[0]), OSP_OK);  // they finish in order
    out = (osp_tensor){0};
    assert_int_equal(osp_session_wait(session, ticket[0], 0, &out, 1, NULL), OSP_OK);
    assert_memory_not_equal(out.data, second, sizeof second);
    assert_int_equal(osp_session_wait(session, ticket[0], 0, &out, 1, NULL), OSP_ERROR_ARGUMENT);
    out = (osp_tensor){0};
    assert_int_equal(osp_session_run(session, &in[1], 1, &out, 1, NULL), OSP_OK);
    assert_memory_equal(out.data, second, sizeof second);
    // Closing with a run in flight is clean.
    assert_int_equal(osp_session_enqueue(session, &in[2], 1, NULL, 0, &ticket[2], NULL), OSP_OK);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

static void plans_in_memory_and_files(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build(
        f, (osp_engine_options){.height = SIZE, .width = SIZE, .batches = {1, 2}});
    void *plan;
    size_t size;
    osp_error err;
    assert_int_equal(osp_engine_save_memory(engine, &plan, &size, NULL), OSP_OK);
    osp_session *session;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    osp_tensor in = images(f, 2), out = {0};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
    float expected[2 * OUT];
    memcpy(expected, out.data, sizeof expected);
    osp_session_close(&session);
    osp_engine_close(&engine);

    char path[] = "/tmp/osprey-test-XXXXXX";
    assert_non_null(mkdtemp(path));
    char file[64];
    snprintf(file, sizeof file, "%s/tiny.plan", path);
    for (int way = 0; way < 3; way++) {
        const osp_engine_options borrow = {.borrow = OSP_ON};
        osp_status status = OSP_OK;
        if (way == 0)
            status = osp_engine_open_memory(&engine, f->runtime, plan, size, NULL, &err);
        if (way == 1)
            status = osp_engine_open_memory(&engine, f->runtime, plan, size, &borrow, &err);
        if (way == 2)
            status = osp_engine_open(&engine, f->runtime, file, NULL, &err);
        if (status)
            fail_msg("%s", err.text);
        if (way == 1)
            assert_int_equal(osp_engine_save(engine, file, &err), OSP_OK);
        osp_engine_info info;
        osp_engine_get_info(engine, &info);
        assert_true(info.variants == 2 && info.batch_free && info.classes == 2);
        assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
        out = (osp_tensor){0};
        assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
        assert_memory_equal(out.data, expected, sizeof expected);
        osp_session_close(&session);
        osp_engine_close(&engine);
    }
    osp_plan_info info;
    assert_int_equal(osp_plan_get_info(f->runtime, file, &info, &err), OSP_OK);
    assert_true(info.backend == f->backend && info.variants == 2 && info.bytes == size);
    osp_host_free(f->runtime, plan);
    unlink(file);
    rmdir(path);
}

// y = Relu(x), beside an initializer of a type that the library lacks (FLOAT8E4M3FN), unused: such a
// model builds, and its plan opens.
static void unused_constants_of_other_types(void **state)
{
    static const char onnx[] =
        "\x08\x08"                                            // IR version
        ":\x3f\x0a\x0c\x0a\x01x\x12\x01y\"\x04Relu\x12\x01g"  // the graph: node, name,
        "*\x0a\x08\x01\x10\x11"
        "B\x01sJ\x01\x00"                                                 // initializer s,
        "Z\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x03"  // input x: float32 [3],
        "b\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x03"  // output y alike
        "B\x04\x0a\x00\x10\x11";                                          // opset 17
    fixture *f = *state;
    const osp_engine_options options = {.backend = f->backend};
    osp_engine *engine;
    osp_error err;
    if (osp_engine_build_memory(&engine, f->runtime, onnx, sizeof onnx - 1, &options, &err))
        fail_msg("%s", err.text);
    void *plan;
    size_t size;
    assert_int_equal(osp_engine_save_memory(engine, &plan, &size, NULL), OSP_OK);
    osp_engine_close(&engine);
    if (osp_engine_open_memory(&engine, f->runtime, plan, size, NULL, &err))
        fail_msg("%s", err.text);
    osp_session *session;
    assert_int_equal(osp_session_open(&session, engine, NULL, NULL), OSP_OK);
    float x[3] = {-1, 0, 2}, y[3];
    osp_tensor in = {.data = x, .dtype = OSP_DTYPE_FLOAT32, .rank = 1, .dims = {3}};
    osp_tensor out = {.data = y, .dtype = OSP_DTYPE_FLOAT32, .rank = 1, .dims = {3}};
    assert_int_equal(osp_session_run(session, &in, 1, &out, 1, NULL), OSP_OK);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 2);
    osp_session_close(&session);
    osp_engine_close(&engine);
    osp_host_free(f->runtime, plan);
}

static void cache_builds_once(void **state)
{
    fixture *f = *state;
    char dir[] = "/tmp/osprey-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    osp_engine_options options = {.backend = f->backend, .height = SIZE, .width = SIZE};
    osp_engine *engine;
    osp_engine_info info;
    osp_error err;
    for (int i = 0; i < 3; i++) {
        options.height = i == 2 ? 2 * SIZE : SIZE;  // another option, another engine
        if (osp_engine_open_cached(&engine, f->runtime, tiny, dir, "net", &options, &err))
            fail_msg("%s", err.text);
        osp_engine_get_info(engine, &info);
        assert_int_equal(info.from_cache, i == 1);
        osp_engine_close(&engine);
    }
    // A damaged plan is built again, and the log says so.
    char command[128];
    snprintf(command, sizeof command, "for p in %s/net*; do echo x >>$p; done", dir);
    assert_int_equal(system(command), 0);
    options.height = SIZE;
    assert_int_equal(osp_engine_open_cached(&engine, f->runtime, tiny, dir, "net", &options, NULL),
                     OSP_OK);
    osp_engine_get_info(engine, &info);
    assert_false(info.from_cache);
    assert_non_null(strstr(f->log, "building it again"));
    osp_engine_close(&engine);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, set_up_reference, tear_down),                            \
        cmocka_unit_test_setup_teardown(test, set_up_cpu, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_files_as_the_old_system),
        cmocka_unit_test(unknown_memory_is_2_gib),
        cmocka_unit_test(unknown_outputs_hold_300_by_6),
        ON_BOTH(default_variants),
        ON_BOTH(auto_says_why),
        ON_BOTH(wrong_sizes_say_how_to_export),
        ON_BOTH(rows_do_not_depend_on_the_variant),
        ON_BOTH(caller_buffers_strides_and_overflow),
        ON_BOTH(tickets),
        ON_BOTH(plans_in_memory_and_files),
        ON_BOTH(unused_constants_of_other_types),
        ON_BOTH(cache_builds_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
