// Runtime: opening, devices, file names of engines, host memory. Thread rule: see runtime.h.
#include "engine/runtime.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"

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
    pthread_mutex_destroy(&runtime->team_lock);
    osp_thread_budget_free(&runtime->budget);
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
    snprintf(device->reason, sizeof device->reason,
             "cuda and tensorrt are not part of this library's build");
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
    describe_cpu(&runtime->devices[runtime->device_count++]);
    *out = runtime;
    return OSP_OK;

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

void *osp_host_alloc(osp_runtime *runtime, size_t bytes)
{
    return osp_mem_alloc(&runtime->ctx.mem, bytes);
}

void osp_host_free(osp_runtime *runtime, void *ptr)
{
    osp_mem_free(&runtime->ctx.mem, ptr);
}
