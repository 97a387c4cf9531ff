// gpu_tactics on a real GPU: see gpu_tactics.c. Thread rule: one thread.
#include "gpu_tactics.h"

#include <stdio.h>

#include "gpu/gpu.h"

int main(int argc, char **argv)
{
    osp_context ctx;
    osp_error err;
    if (osp_context_init(&ctx, NULL, &err) || osp_gpus_open(&ctx, &err)) {
        fprintf(stderr, "gpu_tactics: %s\n", err.text);
        return 1;
    }
    const int status = gpu_tactics(&ctx, argc, argv);
    osp_gpus_close(&ctx);
    osp_context_free(&ctx);
    return status;
}
