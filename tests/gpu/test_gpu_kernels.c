// The kernels, compiled for the host, on the device in host memory: what they compute, without a GPU.
#include <stdio.h>
#include <string.h>

#include "fake_gpu.h"
#include "gpu/gpu_kernels.h"
#include "host_cuda.h"
#include "kernel_cases.h"

static const osp_gpu_kernel *const kernels[] = {
    &osp_kernel_letterbox_u8,   &osp_kernel_letterbox_f16,  &osp_kernel_letterbox_f32,
    &osp_kernel_boxes_scan_f16, &osp_kernel_boxes_scan_f32, &osp_kernel_boxes_sort,
    &osp_kernel_boxes_merge,    &osp_kernel_boxes_keep_f16, &osp_kernel_boxes_keep_f32,
};

static void run(void *kernel, const void *args, size_t bytes, const osp_gpu_shape *shape)
{
    (void)bytes;
    host_cuda_run(kernel, args, shape->grid, shape->block);
}

int main(void)
{
    fake_gpu fake;
    osp_context ctx;
    osp_error err;
    kernel_test t = {.ctx = &ctx, .quick = true};
    fake_gpu_init(&fake);
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
        fake_gpu_kernel(&fake, kernels[i]->name, run, (void *)kernels[i]);
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
