// The table of devices: what there is, why not more, and what each is. Owns the osp_gpu objects.
// Thread rule: see gpu.h; opening and closing from one thread.
#include <stdio.h>
#include <string.h>

#include "gpu/gpu_internal.h"

enum { CC_MIN = 80, DEVICES_MAX = 63, UNKNOWN_MEMORY_SHIFT = 31 };
// Overlapping launches (gpu_grid.cuh): the first architecture that has them, for which, and for all
// later ones, the build has no code without the wait; and the first driver that records them.
enum { CC_OVERLAP = 90, DRIVER_OVERLAP = 12030 };

// Why CUDA counts no devices. `driver` 0: no driver.
static void explain(osp_context *ctx, const osp_gpu_calls *calls, int error, int driver,
                    int runtime)
{
    char *text = ctx->gpu_reason;
    const size_t size = sizeof ctx->gpu_reason;
    if (!osp_gpu_built() && calls == osp_gpu_calls_real())
        snprintf(text, size, "this library was built without CUDA");
    else if (error == OSP_CUDA_OLD_DRIVER && driver == 0)
        snprintf(text, size, "no NVIDIA driver is loaded");
    else if (error == OSP_CUDA_OLD_DRIVER)
        snprintf(text, size,
                 "the NVIDIA driver is too old: it serves CUDA %d.%d, and %d.%d is needed: update "
                 "the driver",
                 driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    else if (error == OSP_CUDA_STUB)
        snprintf(text, size, "the libcuda.so found is the toolkit's stub, not the driver's");
    else if (error == OSP_CUDA_DRIVER_MISMATCH)
        snprintf(text, size,
                 "the NVIDIA driver's library and kernel module differ in version: load the new "
                 "module, or restart the machine");
    else if (error == OSP_CUDA_NO_DEVICE || error == 0)
        snprintf(text, size, "no NVIDIA GPU is there, or CUDA_VISIBLE_DEVICES hides it");
    else
        snprintf(text, size, "CUDA does not start: %s (CUDA error %d)",
                 calls->error_text(calls->user, error), error);
}

// FLOPs a clock and SM of dense FP16 products that are summed in FP32; 0: unknown. NVIDIA rates the
// A100 at 312 TFLOP/s, with 108 SMs at 1.41 GHz, and the H100 SXM at 989, with 132 at 1.83 GHz. 8.6
// and 8.9 do not tell: with FP32 sums, GeForce has half the rate of the other chips of its number.
static double matrix_flops(const osp_gpu_facts *facts)
{
    const int32_t cc = facts->cc_major * 10 + facts->cc_minor;
    return cc == 80 ? 2048 : cc == 90 ? 4096 : 0;
}

static void find_rates(osp_device_info *info, const osp_gpu_facts *facts)
{
    if (facts->memory_clock_khz > 0 && facts->memory_bus_bits > 0)  // two transfers a clock
        info->memory_bytes_per_s = 2e3 * facts->memory_clock_khz * (facts->memory_bus_bits / 8.0);
    if (facts->clock_khz > 0)
        info->fp16_flops_per_s = 1e3 * facts->clock_khz * facts->multiprocessors *
                                 matrix_flops(facts);
}

static void describe(osp_gpu *gpu, int32_t ordinal)
{
    osp_device_info *info = &gpu->info;
    osp_gpu_facts facts;
    memset(&facts, 0, sizeof facts);
    *info = (osp_device_info){.backend = OSP_BACKEND_CUDA, .index = ordinal};
    info->memory_bytes = UINT64_C(1) << UNKNOWN_MEMORY_SHIFT;
    const int error = gpu->calls->device_facts(gpu->calls->user, ordinal, &facts);
    if (error) {
        gpu->calls->last_error(gpu->calls->user);
        snprintf(info->name, sizeof info->name, "GPU %d", ordinal);
        snprintf(info->reason, sizeof info->reason, "it does not answer: %s (CUDA error %d)",
                 gpu->calls->error_text(gpu->calls->user, error), error);
        return;
    }
    snprintf(info->name, sizeof info->name, "%s", facts.name);
    snprintf(info->pci_id, sizeof info->pci_id, "%s", facts.pci_id);
    snprintf(info->uuid, sizeof info->uuid, "%s", facts.uuid);
    info->cc_major = facts.cc_major;
    info->cc_minor = facts.cc_minor;
    info->multiprocessors = facts.multiprocessors;
    info->memory_known = facts.memory_bytes != 0;
    if (info->memory_known)
        info->memory_bytes = facts.memory_bytes;
    find_rates(info, &facts);
    if (facts.cc_major * 10 + facts.cc_minor < CC_MIN)
        snprintf(info->reason, sizeof info->reason,
                 "its compute capability is %d.%d, and %d.%d or later is needed", facts.cc_major,
                 facts.cc_minor, CC_MIN / 10, CC_MIN % 10);
}

// Which devices overlap launches; asked last, since what a call before it failed with matters more.
static void find_overlap(const osp_gpu_calls *calls, struct osp_gpus *gpus)
{
    int driver = 0, runtime = 0;
    if (calls->versions(calls->user, &driver, &runtime)) {
        calls->last_error(calls->user);
        return;
    }
    for (int32_t i = 0; i < gpus->count; i++) {
        const osp_device_info *info = &gpus->gpu[i].info;
        atomic_store(&gpus->gpu[i].overlaps, info->cc_major * 10 + info->cc_minor >= CC_OVERLAP &&
                                                 driver >= DRIVER_OVERLAP);
    }
}

osp_status osp_gpus_open(osp_context *ctx, osp_error *err)
{
    const osp_gpu_calls *calls = ctx->gpu_calls ? ctx->gpu_calls : osp_gpu_calls_real();
    int count = 0, driver = 0, runtime = 0;
    const int error = calls->device_count(calls->user, &count);
    if (error || count < 1) {
        if (calls->versions(calls->user, &driver, &runtime))
            driver = 0;
        calls->last_error(calls->user);
        explain(ctx, calls, error, driver, runtime);
        return OSP_OK;
    }
    count = count < DEVICES_MAX ? count : DEVICES_MAX;
    struct osp_gpus *gpus = osp_mem_calloc(&ctx->mem, 1,
                                           sizeof *gpus + (size_t)count * sizeof *gpus->gpu);
    if (!gpus)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < count; i++) {
        osp_gpu *gpu = gpus->gpu + i;
        gpu->ctx = ctx;
        gpu->calls = calls;
        describe(gpu, i);
    }
    gpus->count = count;
    find_overlap(calls, gpus);
    ctx->gpus = gpus;
    return OSP_OK;
}

void osp_gpus_close(osp_context *ctx)
{
    osp_mem_free(&ctx->mem, ctx->gpus);
    ctx->gpus = NULL;
}

int32_t osp_gpu_count(const osp_context *ctx)
{
    return ctx->gpus ? ctx->gpus->count : 0;
}

const char *osp_gpu_reason(const osp_context *ctx)
{
    return ctx->gpu_reason;
}

osp_status osp_gpu_get(osp_context *ctx, int32_t ordinal, osp_gpu **out, osp_error *err)
{
    *out = NULL;
    const int32_t count = osp_gpu_count(ctx);
    if (count == 0)
        OSP_FAIL(err, OSP_ERROR_DEVICE, "no GPU: %s", osp_gpu_reason(ctx));
    if (ordinal < 0 || ordinal >= count)
        OSP_FAIL(err, OSP_ERROR_DEVICE, "GPU %d: there %s %d: use %s", ordinal,
                 count == 1 ? "is" : "are", count, count == 1 ? "0" : "one of them");
    osp_gpu *gpu = ctx->gpus->gpu + ordinal;
    if (gpu->info.reason[0])
        OSP_FAIL(err, OSP_ERROR_DEVICE, "GPU %d (%s): %s", ordinal, gpu->info.name,
                 gpu->info.reason);
    OSP_TRY(osp_gpu_alive(gpu, err));
    *out = gpu;
    return OSP_OK;
}

void osp_gpu_describe(const osp_context *ctx, int32_t i, osp_device_info *out)
{
    *out = ctx->gpus->gpu[i].info;
}

const osp_device_info *osp_gpu_info(const osp_gpu *gpu)
{
    return &gpu->info;
}

osp_context *osp_gpu_context(const osp_gpu *gpu)
{
    return gpu->ctx;
}

bool osp_gpu_lost(const osp_gpu *gpu)
{
    return atomic_load(&gpu->lost) != 0;
}

osp_status osp_gpu_memory(osp_gpu *gpu, uint64_t *free_bytes, uint64_t *total_bytes, osp_error *err)
{
    *free_bytes = 0;
    *total_bytes = gpu->info.memory_bytes;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(gpu, &scope, err));
    size_t available = 0, total = 0;
    const int error = gpu->calls->memory_info(gpu->calls->user, &available, &total);
    osp_gpu_leave(gpu, &scope);
    OSP_TRY(osp_gpu_answer(gpu, error, "asking for free memory", err));
    if (total) {
        *free_bytes = available;
        *total_bytes = total;
    }
    return OSP_OK;
}
