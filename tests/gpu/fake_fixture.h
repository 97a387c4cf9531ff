// How tests open and close a fake_gpu, and a context or a runtime that has it for its GPU. A test fails
// where something is left on the device when it is closed, or wrong addresses or handles were met
// before. All of it lies where the test has room for it.
//
// Thread rule: the test's thread.
#ifndef OSP_TESTS_FAKE_FIXTURE_H
#define OSP_TESTS_FAKE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/runtime.h"
#include "fake_gpu.h"

// fake_gpu_free, once that is checked.
static inline void fake_gpu_close(fake_gpu *fake)
{
    assert_int_equal(fake->live, 0);
    assert_int_equal(fake->misuse, 0);
    fake_gpu_free(fake);
}

// A context whose CUDA calls are the device's; its GPUs are not opened. `run_code`: see fake_gpu.h.
static inline void fake_context_open(osp_context *ctx, fake_gpu *fake, fake_code_fn *run_code)
{
    fake_gpu_init(fake);
    fake->run_code = run_code;
    assert_int_equal(osp_context_init(ctx, NULL, NULL), OSP_OK);
    ctx->gpu_calls = &fake->calls;
}

// Its GPUs are closed already. It must have given back its memory, too.
static inline void fake_context_close(osp_context *ctx, fake_gpu *fake)
{
    assert_int_equal(atomic_load(&ctx->mem.live), 0);
    osp_context_free(ctx);
    fake_gpu_close(fake);
}

// A runtime of one thread, with the device for its GPU.
static inline void fake_runtime_open(osp_runtime **runtime, fake_gpu *fake, fake_code_fn *run_code)
{
    osp_error err;
    fake_gpu_init(fake);
    fake->run_code = run_code;
    if (osp_runtime_open_with(runtime, &(osp_options){.threads = 1}, &fake->calls, &err))
        fail_msg("%s", err.text);
}

static inline void fake_runtime_close(osp_runtime **runtime, fake_gpu *fake)
{
    osp_runtime_close(runtime);
    fake_gpu_close(fake);
}

#endif
