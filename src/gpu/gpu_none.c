// In place of cuda_calls.c and the kernels where there is no CUDA toolkit to build with: no device
// is ever found, and every call refuses. Thread rule: no state.
#include "gpu/gpu_calls.h"

static int versions(void *user, int *driver, int *runtime)
{
    (void)user;
    *driver = *runtime = 0;
    return OSP_CUDA_NO_DEVICE;
}

static int device_count(void *user, int *count)
{
    (void)user;
    *count = 0;
    return OSP_CUDA_NO_DEVICE;
}

static int last_error(void *user)
{
    (void)user;
    return OSP_CUDA_NO_DEVICE;
}

static const char *error_text(void *user, int error)
{
    (void)user;
    (void)error;
    return "built without CUDA";
}

const osp_gpu_calls *osp_gpu_calls_real(void)
{
    // Without a device there is no osp_gpu, and nothing else is ever called.
    static const osp_gpu_calls calls = {.versions = versions,
                                        .device_count = device_count,
                                        .last_error = last_error,
                                        .error_text = error_text};
    return &calls;
}

bool osp_gpu_built(void)
{
    return false;
}
