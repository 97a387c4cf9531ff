// libFuzzer: a plan whose checksums are made right again after every mutation, so that only the
// meaning of its fields stands between the bytes and a run. What opens is asked about, run once,
// saved and opened again. The plan's device key becomes this machine's; a key that begins with 0
// stays, and so do the checksums of a plan that begins with a small 'o': the refusals of both are
// within reach too.
#include <stdio.h>

#include "backends/backend.h"
#include "plan_repair.h"
#include "run_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AT_VERSION = 20, AT_BACKEND = 24, AT_KEY = 64 };

static void mend(osp_runtime *runtime, uint8_t *plan, size_t size)
{
    if (!size)
        return;
    if (plan[0] == 'o') {
        plan[0] = 'O';
        return;
    }
    if (size >= OSP_PLAN_HEADER_BYTES && plan[AT_KEY]) {
        const osp_backend_def *backend = osp_backend_by_id(
            (osp_backend)plan_get(plan + AT_BACKEND, 4));
        char key[OSP_DEVICE_KEY_BYTES] = {0};
        if (backend) {
            backend->device_key(osp_runtime_context(runtime), 0, 1, key, sizeof key);
            memcpy(plan + AT_KEY, key, sizeof key);
        }
    }
    plan_repair(plan, size);
}

static void try_plan(osp_runtime *runtime, const uint8_t *plan, size_t size)
{
    osp_engine *engine = NULL;
    osp_error err;
    const bool borrow = size > AT_VERSION && plan[AT_VERSION] & 1;  // no opening reads that field
    const osp_engine_options options = {.borrow = borrow ? OSP_ON : OSP_OFF};
    const osp_status status = osp_engine_open_memory(&engine, runtime, plan, size, &options, &err);
    if (status == OSP_OK) {
        fuzz_ask_engine(engine);
        fuzz_run_engine(engine);
        fuzz_save_and_open(runtime, engine);
        osp_engine_close(&engine);
    } else if (engine || err.code != status || !err.text[0]) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const osp_options options = {
        .limits = {.file_bytes = 1 << 20,
                   .nodes = 2000,
                   .tensor_bytes = 8 << 20,
                   .memory_bytes = 16 << 20,
                   .fold_elements = 1 << 20},
        .threads = 1,
    };
    osp_runtime *runtime = NULL;
    if (osp_runtime_open(&runtime, &options, NULL))
        return 0;
    osp_counters before, after;
    osp_runtime_counters(runtime, &before);
    uint8_t *block = malloc(size + 8), *plan = block + 8;  // the least alignment when borrowed
    if (!block)
        abort();
    if (size)
        memcpy(plan, data, size);
    mend(runtime, plan, size);
    try_plan(runtime, plan, size);
    free(block);
    osp_runtime_counters(runtime, &after);
    if (after.heap_bytes != before.heap_bytes || after.heap_peak_bytes > 128 << 20) {
        fprintf(stderr, "heap: %llu bytes left, %llu at most\n",
                (unsigned long long)(after.heap_bytes - before.heap_bytes),
                (unsigned long long)after.heap_peak_bytes);
        abort();
    }
    osp_runtime_close(&runtime);
    return 0;
}
