// What needs a GPU: the kernels against the CPU path on a real device, faults over real calls, no
// growth of memory. --bench times the kernels instead; --quick leaves out the large cases; --kernels
// (for compute-sanitizer) more than that; --device N chooses. Needs nothing but the C library and an NVIDIA driver, so that one file can be
// carried to the machine. Exit status: 0 good, 1 failed, 2 usage, 5 no GPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_calls.h"
#include "kernel_bench.h"
#include "kernel_cases.h"

enum { DONE = 0, FAILED = 1, USAGE = 2, NO_DEVICE = 5 };

typedef struct arguments {
    bool bench, quick, kernels;
    int32_t device;
} arguments;

static bool parse(int argc, char **argv, arguments *a)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            a->bench = true;
        else if (!strcmp(argv[i], "--quick"))
            a->quick = true;
        else if (!strcmp(argv[i], "--kernels"))
            a->quick = a->kernels = true;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            a->device = (int32_t)strtol(argv[++i], NULL, 10);
        else
            return false;
    }
    return true;
}

// 1,000 times all that a session opens, and device memory as before.
static void no_growth(kernel_test *t)
{
    enum { CYCLES = 1000, WARM = 20 };
    uint64_t before = 0, after = 0, total;
    osp_error err = {0};
    for (int i = 0; i < WARM + CYCLES; i++) {
        osp_gpu_stream stream = NULL;
        osp_gpu_event event = NULL;
        osp_gpu_graph graph = NULL;
        void *device = NULL, *pinned = NULL;
        if (i == WARM)
            kernel_check(t, !osp_gpu_memory(t->gpu, &before, &total, &err), "%s", err.text);
        const bool good = !osp_gpu_stream_open(t->gpu, &stream, &err) &&
                          !osp_gpu_event_open(t->gpu, &event, true, &err) &&
                          !osp_gpu_alloc(t->gpu, &device, (size_t)4 << 20, &err) &&
                          !osp_gpu_host_alloc(t->gpu, &pinned, (size_t)1 << 20, &err) &&
                          !osp_gpu_capture_begin(t->gpu, stream, &err) &&
                          !osp_gpu_copy(t->gpu, device, pinned, 4096, stream, &err) &&
                          !osp_gpu_capture_end(t->gpu, stream, &graph, &err) &&
                          !osp_gpu_graph_launch(t->gpu, graph, stream, &err) &&
                          !osp_gpu_event_record(t->gpu, event, stream, &err) &&
                          !osp_gpu_event_wait(t->gpu, event, 10000, &err);
        if (!good)
            kernel_check(t, false, "cycle %d: %s", i, err.text);
        osp_gpu_graph_close(t->gpu, &graph);
        osp_gpu_event_close(t->gpu, &event);
        osp_gpu_stream_close(t->gpu, &stream);
        osp_gpu_free(t->gpu, device);
        osp_gpu_host_free(t->gpu, pinned);
        if (!good)
            return;
    }
    kernel_check(t, !osp_gpu_memory(t->gpu, &after, &total, &err), "%s", err.text);
    kernel_check(t, after + ((uint64_t)8 << 20) >= before, "%llu bytes of device memory are gone",
                 (unsigned long long)(before - after));
}

static void section(kernel_test *t, const char *name, void (*run)(kernel_test *t))
{
    const int checks = t->checks, failures = t->failures;
    run(t);
    printf("%-12s %6d checks, %d failed\n", name, t->checks - checks, t->failures - failures);
    fflush(stdout);
}

static void faults(kernel_test *t)
{
    kernel_cases_faults(t, osp_gpu_calls_real());
}

static int run(kernel_test *t, const arguments *a)
{
    osp_gpu_scope scope;
    osp_error err;
    if (osp_gpu_enter(t->gpu, &scope, &err) || osp_gpu_stream_open(t->gpu, &t->stream, &err)) {
        printf("%s\n", err.text);
        return FAILED;
    }
    if (a->bench) {
        kernel_bench(t);
    } else {
        section(t, "letterbox", kernel_cases_letterbox);
        section(t, "boxes", kernel_cases_boxes);
        section(t, "maps", kernel_cases_maps);
        section(t, "graphs", kernel_cases_graph);
        section(t, "bulk copies", kernel_cases_tma);
        if (!a->kernels) {
            section(t, "memory", no_growth);
            section(t, "faults", faults);
        }
    }
    osp_gpu_stream_close(t->gpu, &t->stream);
    osp_gpu_leave(t->gpu, &scope);
    printf("%d passed, %d failed\n", t->checks - t->failures, t->failures);
    return t->failures ? FAILED : DONE;
}

int main(int argc, char **argv)
{
    arguments a = {0};
    osp_context ctx;
    osp_error err = {0};
    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "usage: gpu_tests [--bench] [--quick] [--kernels] [--device N]\n");
        return USAGE;
    }
    if (osp_context_init(&ctx, NULL, &err) || osp_gpus_open(&ctx, &err)) {
        printf("%s\n", err.text);
        return FAILED;
    }
    kernel_test t = {.ctx = &ctx, .quick = a.quick};
    int status = NO_DEVICE;
    if (osp_gpu_get(&ctx, a.device, &t.gpu, &err)) {
        fprintf(stderr, "gpu_tests: %s\n", err.text);
    } else {
        const osp_device_info *info = osp_gpu_info(t.gpu);
        printf("%s, compute capability %d.%d, %d SMs, rated %.2f TB/s, %.0f TFLOP/s\n", info->name,
               info->cc_major, info->cc_minor, info->multiprocessors,
               info->memory_bytes_per_s * 1e-12, info->fp16_flops_per_s * 1e-12);
        status = run(&t, &a);
    }
    osp_gpus_close(&ctx);
    osp_context_free(&ctx);
    return status;
}
