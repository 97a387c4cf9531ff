// The kernels, compiled for the host, on the device in host memory: what they compute, without a GPU.
#include <stdio.h>

#include "fake_gpu.h"
#include "host_cuda.h"
#include "kernel_cases.h"

int main(void)
{
    fake_gpu fake;
    osp_context ctx;
    osp_error err;
    kernel_test t = {.ctx = &ctx, .quick = true};
    fake_gpu_init(&fake);
    fake.run_code = host_cuda_run;
    host_cuda_memory(fake_gpu_block, &fake);
    osp_gpu_scope scope;
    if (osp_context_init(&ctx, NULL, &err))
        return 1;
    ctx.gpu_calls = &fake.calls;
    if (osp_gpus_open(&ctx, &err) || osp_gpu_get(&ctx, 0, &t.gpu, &err) ||
        osp_gpu_enter(t.gpu, &scope, &err) || osp_gpu_stream_open(t.gpu, &t.stream, &err)) {
        printf("%s\n", err.text);
        return 1;
    }
    kernel_cases_letterbox(&t);
    kernel_cases_boxes(&t);
    kernel_cases_maps(&t);
    kernel_cases_graph(&t);
    osp_gpu_stream_close(t.gpu, &t.stream);
    osp_gpu_leave(t.gpu, &scope);
    osp_gpus_close(&ctx);
    kernel_check(&t, fake.live == 0, "%d things were not given back", fake.live);
    kernel_cases_faults(&t, &fake.calls);
    kernel_check(&t, fake.misuse == 0, "%d wrong addresses or handles", fake.misuse);
    osp_context_free(&ctx);
    fake_gpu_free(&fake);
    printf("%d checks, %d failed\n", t.checks, t.failures);
    return t.failures != 0;
}
