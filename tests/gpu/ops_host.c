// The device of ops_on_host: in host memory, and the kernels are the host compiler's.
// Thread rule: one thread.
#include <stdio.h>

#include "fake_gpu.h"
#include "host_cuda.h"
#include "ops_run.h"

static fake_gpu fake;

size_t ops_device(osp_context *ctx)
{
    fake_gpu_init(&fake);
    fake.run_code = host_cuda_run;
    ctx->gpu_calls = &fake.calls;
    return (size_t)1 << 27;
}

bool ops_device_done(void)
{
    const bool good = fake.live == 0 && fake.misuse == 0;
    if (!good)
        printf("%d things not given back, %d wrong addresses or handles\n", fake.live, fake.misuse);
    fake_gpu_free(&fake);
    return good;
}
