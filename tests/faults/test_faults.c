// Fails every allocation and every fallible library call of each job in turn. Each time: the right
// error or the right result, nothing leaked, and the next run correct.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "osprey/osprey.h"
#include "shim.h"

enum { SIZE = 32, PIXELS = 3 * SIZE * SIZE };

static const char model_path[] = TEST_DATA_DIR "/data/tiny.onnx";
static const char head_path[] = TEST_DATA_DIR "/data/heads/end2end_nc3.onnx";

typedef struct fixture {
    char dir[32], plan[64], image[64], tensor[64];
    float pixels[PIXELS];
    float expected[6 * 8 * 8];
    osp_backend backend;
    osp_precision precision;
    long live;    // allocations of the library not freed yet
    bool expect;  // compare with `expected`; else fill it
} fixture;

static void *counted_alloc(void *user, size_t bytes)
{
    void *ptr = malloc(bytes);
    if (ptr)
        __atomic_add_fetch(&((fixture *)user)->live, 1, __ATOMIC_RELAXED);
    return ptr;
}

static void *counted_realloc(void *user, void *old, size_t bytes)
{
    (void)user;
    return realloc(old, bytes);
}

static void counted_free(void *user, void *ptr)
{
    if (ptr)
        __atomic_sub_fetch(&((fixture *)user)->live, 1, __ATOMIC_RELAXED);
    free(ptr);
}

static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

// The first failure of a job ends it.
#define STEP(call)                                                                                 \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status)                                                                                \
            goto done;                                                                             \
    } while (0)

static osp_status open_runtime(fixture *f, osp_runtime **runtime, osp_error *err)
{
    const osp_options options = {.allocator = {counted_alloc, counted_realloc, counted_free, f},
                                 .threads = 1};
    return osp_runtime_open(runtime, &options, err);
}

static osp_status run_engine(fixture *f, osp_engine *engine, osp_error *err)
{
    osp_session *session = NULL;
    osp_tensor in = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {1, 3, SIZE, SIZE}, .data = f->pixels};
    osp_tensor out = {0};
    osp_status status;
    STEP(osp_session_open(&session, engine, NULL, err));
    STEP(osp_session_run(session, &in, 1, &out, 1, err));
    if (f->expect)
        assert_memory_equal(out.data, f->expected, sizeof f->expected);
    else
        memcpy(f->expected, out.data, sizeof f->expected);
done:
    osp_session_close(&session);
    return status;
}

static osp_status load_build_run(fixture *f, osp_error *err)
{
    osp_runtime *runtime = NULL;
    osp_model *model = NULL;
    osp_engine *engine = NULL;
    const osp_engine_options options = {
        .backend = f->backend, .precision = f->precision, .height = SIZE, .width = SIZE};
    osp_status status;
    STEP(open_runtime(f, &runtime, err));
    STEP(osp_model_open(&model, runtime, model_path, err));
    STEP(osp_engine_build(&engine, model, &options, err));
    STEP(run_engine(f, engine, err));
done:
    osp_engine_close(&engine);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
    return status;
}

static osp_status save_and_open(fixture *f, osp_error *err)
{
    osp_runtime *runtime = NULL;
    osp_engine *engine = NULL, *copy = NULL;
    osp_status status;
    STEP(open_runtime(f, &runtime, err));
    STEP(osp_engine_open(&engine, runtime, f->plan, NULL, err));
    STEP(osp_engine_save(engine, f->plan, err));
    STEP(osp_engine_open(&copy, runtime, f->plan, NULL, err));
    STEP(run_engine(f, copy, err));
done:
    osp_engine_close(&engine);
    osp_engine_close(&copy);
    osp_runtime_close(&runtime);
    return status;
}

static osp_status open_cached(fixture *f, osp_error *err)
{
    osp_runtime *runtime = NULL;
    osp_engine *engine = NULL;
    const osp_engine_options options = {
        .backend = f->backend, .precision = f->precision, .height = SIZE, .width = SIZE};
    osp_status status;
    STEP(open_runtime(f, &runtime, err));
    STEP(osp_engine_open_cached(&engine, runtime, model_path, f->dir, NULL, &options, err));
    STEP(run_engine(f, engine, err));
done:
    osp_engine_close(&engine);
    osp_runtime_close(&runtime);
    return status;
}

static osp_status detect_and_draw(fixture *f, osp_error *err)
{
    osp_runtime *runtime = NULL;
    osp_model *model = NULL;
    osp_engine *engine = NULL;
    osp_detector *detector = NULL;
    osp_image image = {0};
    osp_detection boxes[300];
    size_t count = 0;
    const bool pixels = f->backend == OSP_BACKEND_REFERENCE;  // floats on the other
    const osp_engine_options options = {
        .backend = f->backend,
        .image_input = {.format = pixels ? OSP_PIXELS_UINT8 : OSP_PIXELS_MODEL}};
    osp_status status;
    STEP(open_runtime(f, &runtime, err));
    STEP(osp_model_open(&model, runtime, head_path, err));
    STEP(osp_engine_build(&engine, model, &options, err));
    STEP(osp_detector_open(&detector, engine, NULL, err));
    STEP(osp_image_read(runtime, f->image, &image, err));
    STEP(osp_detector_run(detector, &image, 1, boxes, 300, &count, err));
    assert_true(count > 0);
    STEP(osp_image_draw(&image, boxes, count, NULL, 0, err));
    STEP(osp_image_write(runtime, f->image, &image, err));
done:
    osp_image_free(&image);
    osp_detector_close(&detector);
    osp_engine_close(&engine);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
    return status;
}

static osp_status tensors_and_models(fixture *f, osp_error *err)
{
    osp_runtime *runtime = NULL;
    osp_model *model = NULL;
    osp_tensor tensor = {0};
    osp_status status;
    STEP(open_runtime(f, &runtime, err));
    STEP(osp_tensor_read(runtime, f->tensor, &tensor, err));
    assert_int_equal(tensor.dims[3], SIZE);
    STEP(osp_tensor_write(runtime, f->tensor, &tensor, err));
    STEP(osp_model_open(&model, runtime, model_path, err));
    char path[96];
    snprintf(path, sizeof path, "%s/copy.onnx", f->dir);
    STEP(osp_model_write(model, path, NULL, err));
done:
    if (runtime)
        osp_tensor_free(runtime, &tensor);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
    return status;
}

typedef osp_status (*job)(fixture *f, osp_error *err);

// What a failure of a call may be told as.
static bool fits(const char *call, osp_status status)
{
    if (!strcmp(call, "malloc"))
        return status == OSP_ERROR_MEMORY;
    if (!strncmp(call, "pthread", 7))
        return status == OSP_ERROR_SYSTEM;
    if (!strncmp(call, "dnnl", 4))
        return status == OSP_ERROR_SYSTEM || status == OSP_ERROR_MEMORY ||
               status == OSP_ERROR_UNSUPPORTED || status == OSP_ERROR_STALE;
    if (!strncmp(call, "jpeg", 4) || !strncmp(call, "spng", 4))
        return status == OSP_ERROR_SYSTEM || status == OSP_ERROR_MEMORY ||
               status == OSP_ERROR_FORMAT || status == OSP_ERROR_CORRUPT ||
               status == OSP_ERROR_IO || status == OSP_ERROR_UNSUPPORTED;
    return status == OSP_ERROR_IO || status == OSP_ERROR_SYSTEM || status == OSP_ERROR_MEMORY;
}

static void fail_each_call_of(fixture *f, job run)
{
    osp_error err = {0};
    f->expect = false;
    if (run(f, &err))  // warms up what libraries keep for the process
        fail_msg("%s", err.text);
    f->expect = true;
    int files = open_files();
    shim_arm(0);
    assert_int_equal(run(f, &err), OSP_OK);
    uint64_t calls = shim_calls();
    assert_true(calls > 10);
    uint64_t harmless = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        memset(&err, 0, sizeof err);
        shim_arm(nth);
        osp_status status = run(f, &err);
        const char *call = shim_failed();
        shim_disarm();
        if (!call)  // fewer calls this time: threads may share work
            continue;
        if (status == OSP_OK) {
            harmless++;
        } else {
            if (!fits(call, status) || err.code != status || strlen(err.text) < 5)
                fail_msg("call %llu, %s, gave status %d: %s", (unsigned long long)nth, call, status,
                         err.text);
        }
        if (f->live)
            fail_msg("call %llu, %s: %ld blocks leaked", (unsigned long long)nth, call, f->live);
        if (open_files() != files)
            fail_msg("call %llu, %s: a file stays open", (unsigned long long)nth, call);
        if (nth % 16 == 0 && run(f, &err))
            fail_msg("after call %llu, %s: the next run failed: %s", (unsigned long long)nth, call,
                     err.text);
    }
    assert_int_equal(run(f, &err), OSP_OK);
    print_message("%llu calls failed in turn, %llu of them without harm\n",
                  (unsigned long long)calls, (unsigned long long)harmless);
}

#define JOB(name)                                                                                  \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        fail_each_call_of(*state, name);                                                           \
    }
JOB(load_build_run)
JOB(save_and_open)
JOB(open_cached)
JOB(detect_and_draw)
JOB(tensors_and_models)

static void write_image(fixture *f, osp_runtime *runtime, const char *name)
{
    static uint8_t pixels[48 * 40 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7);
    const osp_image image = {.plane = {pixels}, .width = 48, .height = 40};
    snprintf(f->image, sizeof f->image, "%s/%s", f->dir, name);
    assert_int_equal(osp_image_write(runtime, f->image, &image, NULL), OSP_OK);
}

static int set_up_for(void **state, osp_backend backend, osp_precision precision, const char *image)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->backend = backend;
    f->precision = precision;
    strcpy(f->dir, "/tmp/osprey-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->plan, sizeof f->plan, "%s/tiny.plan", f->dir);
    snprintf(f->tensor, sizeof f->tensor, "%s/input.npy", f->dir);
    for (int i = 0; i < PIXELS; i++)
        f->pixels[i] = (float)(i * 37 % 101) / 101;
    osp_runtime *runtime;
    osp_model *model;
    osp_engine *engine;
    const osp_engine_options options = {
        .backend = backend, .precision = precision, .height = SIZE, .width = SIZE};
    assert_int_equal(open_runtime(f, &runtime, NULL), OSP_OK);
    assert_int_equal(osp_model_open(&model, runtime, model_path, NULL), OSP_OK);
    assert_int_equal(osp_engine_build(&engine, model, &options, NULL), OSP_OK);
    assert_int_equal(osp_engine_save(engine, f->plan, NULL), OSP_OK);
    const osp_tensor tensor = {
        .dtype = OSP_DTYPE_FLOAT32, .rank = 4, .dims = {1, 3, SIZE, SIZE}, .data = f->pixels};
    assert_int_equal(osp_tensor_write(runtime, f->tensor, &tensor, NULL), OSP_OK);
    write_image(f, runtime, image);
    osp_engine_close(&engine);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
    assert_int_equal(f->live, 0);
    *state = f;
    return 0;
}

static int cpu_and_jpeg(void **state)
{
    return set_up_for(state, OSP_BACKEND_CPU, OSP_PRECISION_FP32, "image.jpg");
}

// Where the processor has bfloat16, this goes through oneDNN.
static int bf16_and_png(void **state)
{
    return set_up_for(state, OSP_BACKEND_CPU, OSP_PRECISION_BF16, "image.png");
}

static int reference_and_png(void **state)
{
    return set_up_for(state, OSP_BACKEND_REFERENCE, OSP_PRECISION_FP32, "image.png");
}

static int tear_down(void **state)
{
    fixture *f = *state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

#define ON_ALL(name)                                                                               \
    cmocka_unit_test_setup_teardown(test_##name, cpu_and_jpeg, tear_down),                         \
        cmocka_unit_test_setup_teardown(test_##name, bf16_and_png, tear_down),                     \
        cmocka_unit_test_setup_teardown(test_##name, reference_and_png, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(load_build_run),  ON_ALL(save_and_open),      ON_ALL(open_cached),
        ON_ALL(detect_and_draw), ON_ALL(tensors_and_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
