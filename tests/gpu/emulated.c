// The fake device with the kernels of host_cuda.cpp, behind a runtime.
#include "emulated.h"

#include <stdio.h>

#include "engine/runtime.h"
#include "host_cuda.h"

enum { FLUSH_BYTES = 128 << 20 };

static fake_gpu device;
static osp_gpu_calls calls;

// The tuner writes this much before each run so that the L2 is cold; there is none to be emptied.
static int alloc(void *user, void **out, size_t bytes)
{
    return device.calls.alloc(user, out, bytes == FLUSH_BYTES ? 1 : bytes);
}

static int fill(void *user, void *dst, int value, size_t bytes, void *stream)
{
    return bytes == FLUSH_BYTES ? 0 : device.calls.fill(user, dst, value, bytes, stream);
}

osp_status emulated_open(osp_runtime **out, const osp_options *options, osp_error *err)
{
    fake_gpu_init(&device);
    device.run_code = host_cuda_run;
    calls = device.calls;
    calls.alloc = alloc;
    calls.fill = fill;
    const osp_status status = osp_runtime_open_with(out, options, &calls, err);
    if (status)
        fake_gpu_free(&device);
    return status;
}

fake_gpu *emulated_device(void)
{
    return &device;
}

bool emulated_close(osp_runtime **runtime)
{
    osp_runtime_close(runtime);
    const bool good = device.live == 0 && device.misuse == 0;
    if (!good)
        printf("%d things not given back, %d wrong addresses or handles\n", device.live,
               device.misuse);
    fake_gpu_free(&device);
    return good;
}
