// Runtime: opening, devices, file names of engines, host memory. Thread rule: see runtime.h.
#include "engine/runtime.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"
#include "base/size.h"
#include "gpu/gpu.h"

int32_t osp_version(void)
{
    return OSP_VERSION;
}

osp_context *osp_runtime_context(osp_runtime *runtime)
{
    return &runtime->ctx;
}

osp_runtime *osp_runtime_retain(osp_runtime *runtime)
{
    atomic_fetch_add(&runtime->references, 1);
    return runtime;
}

void osp_runtime_release(osp_runtime *runtime)
{
    if (atomic_fetch_sub(&runtime->references, 1) != 1)
        return;
    // The runtime lies in memory of its own allocator: keep that until the block is gone.
    pthread_mutex_destroy(&runtime->trusted.lock);
    pthread_mutex_destroy(&runtime->team_lock);
    osp_thread_budget_free(&runtime->budget);
    osp_gpus_close(&runtime->ctx);
    osp_context_free(&runtime->ctx);
    osp_mem mem;
    osp_mem_init(&mem, &runtime->ctx.mem.fn);
    osp_mem_free(&mem, runtime);
}

osp_status osp_runtime_join_team(osp_runtime *runtime, osp_error *err)
{
    osp_status status = OSP_OK;
    pthread_mutex_lock(&runtime->team_lock);
    if (!runtime->team)
        status = osp_team_open(&runtime->team, &runtime->ctx, runtime->threads, err);
    if (!status)
        runtime->team_users++;
    pthread_mutex_unlock(&runtime->team_lock);
    return status;
}

void osp_runtime_leave_team(osp_runtime *runtime)
{
    pthread_mutex_lock(&runtime->team_lock);
    if (--runtime->team_users == 0)
        osp_team_close(&runtime->team);
    pthread_mutex_unlock(&runtime->team_lock);
}

void osp_device_set_memory(osp_device_info *device, uint64_t total, uint64_t available)
{
    device->memory_known = total != 0;
    device->memory_bytes = total ? total : UINT64_C(2) << 30;
    device->memory_free_bytes = total ? available : 0;
}

// The name and the vector extensions that decide speed here.
static void describe_cpu(osp_device_info *device)
{
    *device = (osp_device_info){.backend = OSP_BACKEND_CPU};
    snprintf(device->name, sizeof device->name, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        snprintf(device->name, sizeof device->name, "%.*s", (int)strcspn(colon + 2, "\n"),
                 colon + 2);
        break;
    }
    if (f)
        fclose(f);
    device->multiprocessors = osp_physical_cores();
    long pages = sysconf(_SC_PHYS_PAGES), available = sysconf(_SC_AVPHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    osp_device_set_memory(device, pages > 0 ? (uint64_t)pages * (uint64_t)page : 0,
                          available > 0 ? (uint64_t)available * (uint64_t)page : 0);
    snprintf(device->isa, sizeof device->isa, "%s", osp_cpu_isa_name());
}

// GPUs first, then the CPU, which says why there is no GPU.
static void list_devices(osp_runtime *runtime)
{
    osp_context *ctx = &runtime->ctx;
    const int32_t gpus = osp_gpu_count(ctx) < OSP_MAX_DEVICES - 1 ? osp_gpu_count(ctx)
                                                                  : OSP_MAX_DEVICES - 1;
    for (int32_t i = 0; i < gpus; i++)
        osp_gpu_describe(ctx, i, &runtime->devices[runtime->device_count++]);
    osp_device_info *cpu = &runtime->devices[runtime->device_count++];
    describe_cpu(cpu);
    if (gpus == 0)
        snprintf(cpu->reason, sizeof cpu->reason, "no GPU: %.240s", osp_gpu_reason(ctx));
}

osp_status osp_runtime_open_version(osp_runtime **out, const osp_options *options,
                                    int32_t header_version, osp_error *err)
{
    osp_error_clear(err);
    if (!out)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_runtime_open: out is NULL");
    *out = NULL;
    if (header_version / 100 != OSP_VERSION / 100)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "compiled against osprey.h %d but running with libosprey %d: rebuild the program",
                 header_version, OSP_VERSION);
    return osp_runtime_open_with(out, options, NULL, err);
}

osp_status osp_runtime_open_with(osp_runtime **out, const osp_options *options,
                                 const struct osp_gpu_calls *calls, osp_error *err)
{
    *out = NULL;
    osp_context ctx;
    OSP_TRY(osp_context_init(&ctx, options, err));
    osp_runtime *runtime = osp_mem_calloc(&ctx.mem, 1, sizeof *runtime);
    osp_context_free(&ctx);  // only its allocator was needed
    if (!runtime)
        OSP_FAIL_MEMORY(err);
    osp_status status = osp_context_init(&runtime->ctx, options, err);
    if (status)
        goto fail;
    atomic_init(&runtime->ctx.mem.live, atomic_load(&ctx.mem.live));
    atomic_init(&runtime->ctx.mem.peak, atomic_load(&ctx.mem.peak));
    atomic_init(&runtime->references, 1);
    runtime->threads = options && options->threads ? options->threads : osp_physical_cores();
    status = osp_thread_budget_init(&runtime->budget, runtime->threads, err);
    if (status)
        goto fail_context;
    if (pthread_mutex_init(&runtime->team_lock, NULL)) {
        status = osp_error_set(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
        goto fail_budget;
    }
    if (pthread_mutex_init(&runtime->trusted.lock, NULL)) {
        status = osp_error_set(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
        goto fail_team;
    }
    runtime->ctx.gpu_calls = calls;
    status = osp_gpus_open(&runtime->ctx, err);
    if (status)
        goto fail_trusted;
    list_devices(runtime);
    *out = runtime;
    return OSP_OK;

fail_trusted:
    pthread_mutex_destroy(&runtime->trusted.lock);
fail_team:
    pthread_mutex_destroy(&runtime->team_lock);
fail_budget:
    osp_thread_budget_free(&runtime->budget);
fail_context:
    osp_context_free(&runtime->ctx);
fail:
    osp_mem_free(&ctx.mem, runtime);
    return status;
}

void osp_runtime_close(osp_runtime **runtime)
{
    if (!runtime || !*runtime)
        return;
    osp_runtime_release(*runtime);
    *runtime = NULL;
}

void osp_runtime_counters(const osp_runtime *runtime, osp_counters *out)
{
    const osp_context *ctx = &runtime->ctx;
    *out = (osp_counters){
        .bytes_read = atomic_load(&ctx->bytes_read),
        .nodes_made = atomic_load(&ctx->nodes_made),
        .elements_folded = atomic_load(&ctx->elements_folded),
        .heap_bytes = atomic_load(&ctx->mem.live),
        .heap_peak_bytes = atomic_load(&ctx->mem.peak),
    };
}

int32_t osp_device_count(const osp_runtime *runtime)
{
    return runtime->device_count;
}

osp_status osp_device_get(const osp_runtime *runtime, int32_t i, osp_device_info *out,
                          osp_error *err)
{
    if (i < 0 || i >= runtime->device_count)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "device %d: there are %d", i, runtime->device_count);
    *out = runtime->devices[i];
    osp_gpu *gpu;
    uint64_t available, total;
    // Asked for now, and not when the runtime was opened: it changes, and asking makes a context.
    if (i < osp_gpu_count(&runtime->ctx) && !out->reason[0] &&
        !osp_gpu_get((osp_context *)&runtime->ctx, i, &gpu, NULL) &&
        !osp_gpu_memory(gpu, &available, &total, NULL))
        osp_device_set_memory(out, total, available);
    return OSP_OK;
}

osp_status osp_engine_file_name(const char *prefix, const osp_device_info *device, char *out,
                                size_t size, osp_error *err)
{
    if (!prefix || !device || !out)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_file_name: an argument is NULL");
    int length = device->backend == OSP_BACKEND_CPU || device->backend == OSP_BACKEND_REFERENCE
                     ? snprintf(out, size, "%s.cpu_%s.engine", prefix, device->isa)
                     : snprintf(out, size, "%s.cc_%d.%d_sm_%d.engine", prefix, device->cc_major,
                                device->cc_minor, device->multiprocessors);
    if (length < 0 || (size_t)length >= size) {
        if (size)
            out[0] = 0;
        OSP_FAIL(err, OSP_ERROR_OVERFLOW, "an engine's file name needs %d bytes", length + 1);
    }
    return OSP_OK;
}

// Before each block of osp_host_alloc: where it came from.
typedef struct host_header {
    osp_gpu *gpu;  // NULL: plain memory
} host_header;

enum { HOST_HEADER_BYTES = 64 };  // keeps the block on a cache line

static void *pinned_alloc(osp_gpu *gpu, size_t bytes)
{
    osp_gpu_scope scope;
    void *block = NULL;
    if (osp_gpu_enter(gpu, &scope, NULL))
        return NULL;
    if (osp_gpu_host_alloc(gpu, &block, bytes, NULL))
        block = NULL;
    osp_gpu_leave(gpu, &scope);
    return block;
}

void *osp_host_alloc(osp_runtime *runtime, size_t bytes)
{
    osp_gpu *gpu = NULL;
    size_t total;
    if (!osp_size_add(bytes, HOST_HEADER_BYTES, &total))
        return NULL;
    const bool pinned = osp_gpu_count(&runtime->ctx) > 0 &&
                        !osp_gpu_get(&runtime->ctx, 0, &gpu, NULL);
    char *block = pinned ? pinned_alloc(gpu, total) : NULL;
    if (!block)  // a limit on pinned memory is no reason to have none
        return osp_host_alloc_plain(runtime, bytes);
    *(host_header *)block = (host_header){gpu};
    return block + HOST_HEADER_BYTES;
}

void *osp_host_alloc_plain(osp_runtime *runtime, size_t bytes)
{
    size_t total;
    char *block = osp_size_add(bytes, HOST_HEADER_BYTES, &total)
                      ? osp_mem_alloc(&runtime->ctx.mem, total)
                      : NULL;
    if (!block)
        return NULL;
    *(host_header *)block = (host_header){NULL};
    return block + HOST_HEADER_BYTES;
}

void osp_host_free(osp_runtime *runtime, void *ptr)
{
    if (!ptr)
        return;
    char *block = (char *)ptr - HOST_HEADER_BYTES;
    osp_gpu *gpu = ((host_header *)block)->gpu;
    osp_gpu_scope scope;
    if (!gpu) {
        osp_mem_free(&runtime->ctx.mem, block);
    } else if (!osp_gpu_enter(gpu, &scope, NULL)) {
        osp_gpu_host_free(gpu, block);
        osp_gpu_leave(gpu, &scope);
    }
}
