// The run path allocates nothing: malloc, its relatives and mmap are interposed for the whole
// process (oneDNN and the C library's OpenMP included) and counted while an engine runs.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "osprey/osprey.h"

static atomic_bool counting;
static atomic_long count;

static void note(void)
{
    if (atomic_load(&counting))
        atomic_fetch_add(&count, 1);
}

// glibc keeps its allocator reachable under these names.
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *ptr, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

void *malloc(size_t bytes)
{
    note();
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    note();
    return __libc_calloc(n, bytes);
}

void *realloc(void *ptr, size_t bytes)
{
    note();
    return __libc_realloc(ptr, bytes);
}

void *memalign(size_t align, size_t bytes)
{
    note();
    return __libc_memalign(align, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    note();
    return __libc_memalign(align, bytes);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    note();
    *out = __libc_memalign(align, bytes);
    return *out ? 0 : 12;
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    note();
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

static void run_allocates_nothing(osp_backend backend, const char *path, int32_t size,
                                  osp_precision precision)
{
    osp_counters before, after;
    osp_runtime *runtime;
    osp_model *model;
    osp_engine *engine;
    osp_detector *detector;
    osp_error err = {0};
    const osp_options options = {.threads = 2};
    const osp_engine_options build = {
        .backend = backend, .height = size, .width = size, .precision = precision};
    if (osp_runtime_open(&runtime, &options, &err) || osp_model_open(&model, runtime, path, &err) ||
        osp_engine_build(&engine, model, &build, &err) ||
        osp_detector_open(&detector, engine, NULL, &err))
        fail_msg("%s", err.text);
    const size_t pitch = 200 * 3;
    uint8_t *pixels = malloc(pitch * 100);
    assert_non_null(pixels);
    for (size_t i = 0; i < pitch * 100; i++)
        pixels[i] = (uint8_t)(i * 31);
    const osp_image image = {.plane = {pixels}, .width = 200, .height = 100};
    osp_detection boxes[300];
    size_t found;
    assert_int_equal(osp_detector_run(detector, &image, 1, boxes, 300, &found, &err), OSP_OK);
    osp_runtime_counters(runtime, &before);
    atomic_store(&count, 0);
    atomic_store(&counting, true);
    free(malloc(1));  // the count is alive
    osp_status status = OSP_OK;
    for (int i = 0; i < 5 && !status; i++)
        status = osp_detector_run(detector, &image, 1, boxes, 300, &found, &err);
    atomic_store(&counting, false);
    assert_int_equal(status, OSP_OK);
    osp_runtime_counters(runtime, &after);
    assert_int_equal(after.heap_bytes, before.heap_bytes);
    assert_int_equal(after.heap_peak_bytes, before.heap_peak_bytes);
    assert_int_equal(atomic_load(&count), 1);
    free(pixels);
    osp_detector_close(&detector);
    osp_engine_close(&engine);
    osp_model_close(&model);
    osp_runtime_close(&runtime);
}

static const char head[] = TEST_DATA_DIR "/data/heads/end2end_nc3.onnx";
static const char aerial[] = TEST_DATA_DIR "/../models/osprey-aerial.onnx";

static void reference_head(void **state)
{
    (void)state;
    run_allocates_nothing(OSP_BACKEND_REFERENCE, head, 64, OSP_PRECISION_FP32);
}

static void cpu_aerial_fp32(void **state)
{
    (void)state;
    run_allocates_nothing(OSP_BACKEND_CPU, aerial, 160, OSP_PRECISION_FP32);
}

static void cpu_aerial_bf16(void **state)
{
    (void)state;
    run_allocates_nothing(OSP_BACKEND_CPU, aerial, 160, OSP_PRECISION_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_head),
        cmocka_unit_test(cpu_aerial_fp32),
        cmocka_unit_test(cpu_aerial_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
