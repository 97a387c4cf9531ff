// The cuda backend: which tactics serve which operator, in order of preference, and what a plan of
// it depends on. There is no plain kernel at the end of the lists: a node that no tactic takes is an
// error that names it.
#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"

typedef struct row {
    const char *type, *domain;
    const osp_tactic *const *list;  // NULL-terminated
} row;

#define DIRECT(I) &osp_cuda_conv_direct[I]
#define MMA(I) &osp_cuda_conv_mma[I]
static const osp_tactic *const convolutions[] = {
    &osp_cuda_conv_depthwise, &osp_cuda_conv_stem, DIRECT(0), DIRECT(1), DIRECT(2), DIRECT(3),
    DIRECT(4), DIRECT(5), DIRECT(6), DIRECT(7), DIRECT(8), MMA(0), MMA(1), MMA(2), MMA(3), MMA(4),
    MMA(5), MMA(6), MMA(7), MMA(8), NULL};

static const row rows[] = {
    {"Conv", "", convolutions},
    {"FusedConv", "osprey", convolutions},
};

static const osp_tactic *const *tactics(const osp_op *op)
{
    static const osp_tactic *const none[] = {NULL};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(rows[i].type, op->type) && !strcmp(rows[i].domain, op->domain))
            return rows[i].list;
    return none;
}

static const char *probe(osp_context *ctx, int32_t device, char *reason, size_t size)
{
    osp_gpu *gpu;
    osp_error err;
    if (!osp_gpu_get(ctx, device, &gpu, &err))
        return NULL;
    snprintf(reason, size, "%s", err.text);
    return reason;
}

static void device_key(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size)
{
    (void)threads;
    osp_gpu *gpu;
    key[0] = 0;
    if (osp_gpu_get(ctx, device, &gpu, NULL))
        return;
    const osp_device_info *info = osp_gpu_info(gpu);
    snprintf(key, size, "cuda cc %d.%d sm %d %.80s", info->cc_major, info->cc_minor,
             info->multiprocessors, info->name);
}

const osp_backend_def osp_backend_cuda = {
    .id = OSP_BACKEND_CUDA,
    .name = "cuda",
    .probe = probe,
    .device_key = device_key,
    .runs_passes = true,
    .tactics = tactics,
    .program = &osp_compiled_program,
};
