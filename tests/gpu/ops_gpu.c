// The device of ops_on_gpu: CUDA's. Thread rule: one thread.
#include "ops_run.h"

size_t ops_device(osp_context *ctx)
{
    (void)ctx;
    return (size_t)1 << 30;
}

bool ops_device_done(void)
{
    return true;
}
