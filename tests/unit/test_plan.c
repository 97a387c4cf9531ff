// Plans from a hostile disk: cut at every length, flipped at every byte, with the checksums as they
// are and with the checksums made right again. Each must open (and then run) or be refused by one
// clear error; nothing may crash, leak, or cost much.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "plan_repair.h"

enum { SIZE = 16 };

typedef struct fixture {
    osp_runtime *runtime;
    uint8_t *plan, *scratch;
    size_t size;
    size_t opened, refused;
} fixture;

static int set_up_for(void **state, osp_backend backend)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const osp_options options = {.threads = 1,
                                 .limits = {.memory_bytes = 16 << 20, .tensor_bytes = 8 << 20}};
    assert_int_equal(osp_runtime_open(&f->runtime, &options, NULL), OSP_OK);
    osp_model *model;
    osp_engine *engine;
    osp_error err;
    const osp_engine_options build = {.backend = backend, .height = SIZE, .width = SIZE};
    assert_int_equal(osp_model_open(&model, f->runtime, TEST_DATA_DIR "/data/tiny.onnx", NULL),
                     OSP_OK);
    if (osp_engine_build(&engine, model, &build, &err))
        fail_msg("%s", err.text);
    void *plan;
    assert_int_equal(osp_engine_save_memory(engine, &plan, &f->size, NULL), OSP_OK);
    f->plan = malloc(f->size);
    f->scratch = malloc(f->size);
    assert_true(f->plan && f->scratch);
    memcpy(f->plan, plan, f->size);
    osp_host_free(f->runtime, plan);
    osp_engine_close(&engine);
    osp_model_close(&model);
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
    osp_runtime_close(&f->runtime);
    free(f->plan);
    free(f->scratch);
    free(f);
    return 0;
}

static void run_it(osp_engine *engine)
{
    osp_session *session;
    osp_error err;
    if (osp_session_open(&session, engine, NULL, &err))
        return;
    osp_tensor_info info;
    osp_tensor in = {0}, out = {0};
    if (osp_engine_input(engine, 0, &info) == OSP_OK && info.rank >= 0) {
        in.dtype = info.dtype;
        in.rank = info.rank;
        size_t count = 1;
        for (int32_t d = 0; d < info.rank; d++) {
            in.dims[d] = info.dims[d] < 0 ? 1 : info.dims[d];
            count *= (size_t)in.dims[d];
        }
        in.data = calloc(count + 1, 8);
        assert_non_null(in.data);
        osp_status status = osp_session_run(session, &in, 1, &out, 1, &err);
        assert_true(status == OSP_OK || err.text[0]);
        free(in.data);
    }
    osp_session_close(&session);
}

// Opens scratch[0..size): right, or refused with one of the statuses a bad plan may have.
static void try_it(fixture *f, size_t size)
{
    osp_engine *engine = NULL;
    osp_error err;
    osp_counters before, after;
    osp_runtime_counters(f->runtime, &before);
    osp_status status = osp_engine_open_memory(&engine, f->runtime, f->scratch, size, NULL, &err);
    if (status == OSP_OK) {
        f->opened++;
        run_it(engine);
        osp_engine_close(&engine);
    } else {
        f->refused++;
        assert_null(engine);
        assert_true(status == OSP_ERROR_FORMAT || status == OSP_ERROR_CORRUPT ||
                    status == OSP_ERROR_STALE || status == OSP_ERROR_LIMIT ||
                    status == OSP_ERROR_UNSUPPORTED ||
                    status == OSP_ERROR_DEVICE);  // of a GPU backend, by now
        assert_true(strlen(err.text) > 10);
    }
    osp_runtime_counters(f->runtime, &after);
    assert_int_equal(after.heap_bytes, before.heap_bytes);
    assert_true(after.heap_peak_bytes < 64 << 20);
}

static void cut_at_every_length(void **state)
{
    fixture *f = *state;
    for (int repaired = 0; repaired < 2; repaired++)
        for (size_t size = 0; size < f->size; size++) {
            memcpy(f->scratch, f->plan, size);
            if (repaired)
                plan_repair(f->scratch, size);
            size_t opened = f->opened;
            try_it(f, size);
            assert_int_equal(f->opened, opened);
        }
}

static void flipped_at_every_byte(void **state)
{
    fixture *f = *state;
    for (size_t at = 0; at < f->size; at++) {
        memcpy(f->scratch, f->plan, f->size);
        f->scratch[at] ^= (uint8_t)(1 << at % 8);
        size_t opened = f->opened;
        try_it(f, f->size);
        assert_int_equal(f->opened, opened);
    }
}

static void flipped_with_right_checksums(void **state)
{
    fixture *f = *state;
    for (size_t at = 0; at < f->size; at++)
        for (int way = 0; way < 2; way++) {
            memcpy(f->scratch, f->plan, f->size);
            f->scratch[at] ^= way ? 0xFF : (uint8_t)(1 << at % 8);
            plan_repair(f->scratch, f->size);
            try_it(f, f->size);
        }
    assert_true(f->opened > 0 && f->refused > 0);
    print_message("%zu bytes: %zu opened, %zu refused\n", f->size, f->opened, f->refused);
}

static void other_device_or_format_is_stale(void **state)
{
    fixture *f = *state;
    static const struct {
        size_t at;
        const char *says;
    } cases[] = {{16, "format"}, {64 + 3, "is for"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(f->scratch, f->plan, f->size);
        f->scratch[cases[i].at] ^= 1;
        plan_repair(f->scratch, f->size);
        osp_engine *engine;
        osp_error err;
        assert_int_equal(
            osp_engine_open_memory(&engine, f->runtime, f->scratch, f->size, NULL, &err),
            OSP_ERROR_STALE);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, set_up_reference, tear_down),                            \
        cmocka_unit_test_setup_teardown(test, set_up_cpu, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(cut_at_every_length),
        ON_BOTH(flipped_at_every_byte),
        ON_BOTH(flipped_with_right_checksums),
        ON_BOTH(other_device_or_format_is_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
