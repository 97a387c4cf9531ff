// The tensorrt backend on a real GPU: what needs a program of our own beside `osprey`. Run by
// check_gpu.py; each check is a word:
//     trt_tests time PLAN            a run's time on the device, one CUDA graph, bound tensors
//     trt_tests cycles PLAN N        open, run, close, N times: no memory is lost
//     trt_tests threads PLAN S       8 threads with a session each, S seconds: right answers
//     trt_tests faults PLAN          every device call failed in turn, for real errors and sticky ones
//     trt_tests cancel MODEL         a build that its progress callback stops
// The folder of TensorRT's libraries is in OSPREY_LIBRARY_DIR. Prints one JSON line; exits with 0 if
// all is well, 5 without a GPU.
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/session.h"
#include "fake_gpu.h"

static void die(const char *what, const osp_error *err)
{
    fprintf(stderr, "trt_tests: %s: %s\n", what, err ? err->text : "failed");
    exit(err && err->code == OSP_ERROR_DEVICE ? 5 : 1);
}

static void to_stderr(void *user, osp_log_level level, const char *text)
{
    (void)user;
    if (level <= OSP_LOG_WARNING)
        fprintf(stderr, "  %s\n", text);
}

static osp_status open_runtime(osp_runtime **out, const osp_gpu_calls *calls, bool quiet,
                               osp_error *err)
{
    const osp_options options = {.logger = {quiet ? NULL : to_stderr, NULL, OSP_LOG_WARNING},
                                 .threads = 1,
                                 .library_dir = getenv("OSPREY_LIBRARY_DIR")};
    return osp_runtime_open_with(out, &options, calls, err);
}

static osp_status open_plan(osp_engine **out, osp_runtime *runtime, const char *path,
                            osp_error *err)
{
    const osp_engine_options options = {.trust = OSP_ON};
    return osp_engine_open(out, runtime, path, &options, err);
}

static void open_both(osp_runtime *runtime, const char *path, osp_engine **engine,
                      osp_session **session)
{
    osp_error err;
    if (open_plan(engine, runtime, path, &err) || osp_session_open(session, *engine, NULL, &err))
        die(path, &err);
}

// The first input, filled with a pattern; the caller frees .data by osp_host_free.
static osp_tensor make_input(osp_runtime *runtime, const osp_engine *engine, int32_t n)
{
    osp_tensor_info info;
    if (osp_engine_input(engine, 0, &info))
        die("the engine has no input", NULL);
    osp_tensor t = {
        .name = info.name, .dtype = info.dtype, .rank = info.rank, .place = OSP_PLACE_PINNED};
    size_t count = 1;
    for (int32_t d = 0; d < info.rank; d++) {
        t.dims[d] = info.dims[d] < 0 ? n : info.dims[d];
        count *= (size_t)t.dims[d];
    }
    float *x = osp_host_alloc(runtime, count * sizeof *x);
    if (!x || info.dtype != OSP_DTYPE_FLOAT32)
        die("the input is not float32, or there is no memory", NULL);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((i * 2654435761u >> 16) & 1023) / 1023;
    t.data = x;
    return t;
}

static size_t bytes_of(const osp_tensor *t)
{
    size_t bytes = osp_dtype_bytes(t->dtype);
    for (int32_t d = 0; d < t->rank; d++)
        bytes *= (size_t)t->dims[d];
    return bytes;
}

// The first output, in the session's memory.
static osp_tensor run_once(osp_session *session, const osp_tensor *in)
{
    osp_error err;
    osp_tensor out = {0};
    if (osp_session_run(session, in, 1, &out, 1, &err))
        die("a run", &err);
    return out;
}

// ---- time ---------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// A copy in device memory, so that a run needs none.
static void bind_on_device(osp_session *session, const osp_tensor *host, bool output)
{
    osp_gpu *gpu = osp_session_device(session);
    osp_gpu_scope scope;
    osp_error err;
    osp_tensor t = *host;
    osp_gpu_stream stream = NULL;
    if (osp_gpu_enter(gpu, &scope, &err) || osp_gpu_alloc(gpu, &t.data, bytes_of(host), &err) ||
        (!output && osp_gpu_copy(gpu, t.data, host->data, bytes_of(host), stream, &err)) ||
        osp_gpu_stream_wait(gpu, stream, -1, &err))
        die("device memory", &err);
    osp_gpu_leave(gpu, &scope);
    t.place = OSP_PLACE_DEVICE;
    if (osp_session_bind(session, &t, 1, &err))
        die("binding", &err);
}

static int time_runs(osp_runtime *runtime, const char *path)
{
    enum { RUNS = 2000, WARM = 200 };
    static double us[RUNS];
    osp_error err;
    osp_engine *engine = NULL;
    osp_session *session = NULL;
    open_both(runtime, path, &engine, &session);
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    osp_tensor in = make_input(runtime, engine, info.batch_max);
    bind_on_device(session, &in, false);
    for (int32_t i = 0; i < info.outputs; i++) {
        osp_tensor_info io;
        osp_engine_output(engine, i, &io);
        osp_tensor out = {.name = io.name, .dtype = io.dtype, .rank = io.rank};
        for (int32_t d = 0; d < io.rank; d++)
            out.dims[d] = io.dims[d] >= 0 ? io.dims[d] : d == 0 ? info.batch_max : 300;
        bind_on_device(session, &out, true);
    }
    for (int i = -WARM; i < RUNS; i++) {
        osp_ticket ticket;
        osp_run_stats stats;
        if (osp_session_enqueue(session, NULL, 0, NULL, 0, &ticket, &err) ||
            osp_session_wait(session, ticket, -1, NULL, 0, &err))
            die("a run", &err);
        osp_session_stats(session, &stats);
        if (i >= 0)
            us[i] = stats.infer_us;
    }
    qsort(us, RUNS, sizeof *us, by_value);
    osp_gpu_counters work;
    osp_gpu_count_work(osp_session_device(session), &work);
    printf("{\"p50_us\": %.3f, \"p10_us\": %.3f, \"batch\": %d, \"graph_launches\": %llu}\n",
           us[RUNS / 2], us[RUNS / 10], info.batch_max, (unsigned long long)work.graph_launches);
    osp_host_free(runtime, in.data);
    osp_session_close(&session);
    osp_engine_close(&engine);
    return work.graph_launches < RUNS;
}

// ---- cycles -------------------------------------------------------------------------------------

// What the process holds through malloc, whoever asked for it: TensorRT and the driver, too. 0 where
// the C library does not say.
static int64_t malloc_bytes(void)
{
#if defined __GLIBC__ && __GLIBC__ * 100 + __GLIBC_MINOR__ >= 233
    const struct mallinfo2 info = mallinfo2();
    return (int64_t)(info.uordblks + info.hblkhd);
#else
    return 0;
#endif
}

// All mappings but malloc's first heap, which comes and goes with the blocks at its end.
static int64_t mapped_bytes(void)
{
    int64_t sum = 0;
    char line[512];
    FILE *f = fopen("/proc/self/maps", "r");
    if (!f)
        die("/proc/self/maps", NULL);
    while (fgets(line, sizeof line, f)) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2 && !strstr(line, "[heap]"))
            sum += (int64_t)(to - from);
    }
    fclose(f);
    return sum;
}

// Pages that no file backs, without those that malloc has but does not need.
static int64_t page_bytes(void)
{
    long resident = 0, shared = 0;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld %ld", &resident, &shared) != 2)
        die("/proc/self/statm", NULL);
    fclose(f);
    return (int64_t)(resident - shared) * sysconf(_SC_PAGESIZE);
}

static uint64_t free_memory(osp_runtime *runtime)
{
    osp_gpu *gpu;
    uint64_t available = 0, total;
    osp_error err;
    if (osp_gpu_get(&runtime->ctx, 0, &gpu, &err) || osp_gpu_memory(gpu, &available, &total, &err))
        die("device memory", &err);
    return available;
}

static void one_cycle(osp_runtime *runtime, const char *path)
{
    osp_engine *engine = NULL;
    osp_session *session = NULL;
    open_both(runtime, path, &engine, &session);
    osp_tensor in = make_input(runtime, engine, 1);
    run_once(session, &in);
    osp_host_free(runtime, in.data);
    osp_session_close(&session);
    osp_engine_close(&engine);
}

enum { QUARTERS = 4 };

// Bytes in use. HEAP: through our allocator.
typedef enum kind { DEVICE, HEAP, MALLOC, MAPPED, PAGES, KINDS } kind;
typedef struct memory {
    int64_t of[KINDS];
} memory;

static memory look(osp_runtime *runtime)
{
    osp_counters counters;
    osp_runtime_counters(runtime, &counters);
    return (memory){{[DEVICE] = -(int64_t)free_memory(runtime),
                     [HEAP] = (int64_t)counters.heap_bytes,
                     [MALLOC] = malloc_bytes(),
                     [MAPPED] = mapped_bytes(),
                     [PAGES] = page_bytes()}};
}

// What TensorRT and the driver keep for good they may take in one quarter; what leaks grows in each, and
// by 32 bytes a cycle, malloc's smallest block. On which of malloc's pages the blocks lie is chance, so
// that pages come and go: half a KB a cycle is allowed.
static bool leaks(kind k, const int64_t grown[QUARTERS], int count)
{
    const int64_t most = k == MALLOC ? (int64_t)(count / QUARTERS) * 16 : 0;
    int64_t sum = 0;
    int quarters = 0;
    for (int q = 0; q < QUARTERS; q++) {
        sum += grown[q];
        quarters += grown[q] > most;
    }
    return k == PAGES ? sum > (int64_t)count * 512 : quarters > (k == HEAP ? 0 : 1);
}

static int cycles(osp_runtime *runtime, const char *path, int count)
{
    static const char *const names[KINDS] = {"device", "heap", "malloc", "mapped", "pages"};
    // What TensorRT and the driver keep for good is there after so many.
    const int warm = count / 2;
    for (int i = 0; i < warm; i++)
        one_cycle(runtime, path);
    int64_t grown[KINDS][QUARTERS];
    memory before = look(runtime);
    for (int q = 0; q < QUARTERS; q++) {
        for (int i = count * q / QUARTERS; i < count * (q + 1) / QUARTERS; i++)
            one_cycle(runtime, path);
        const memory now = look(runtime);
        for (int k = 0; k < KINDS; k++)
            grown[k][q] = now.of[k] - before.of[k];
        before = now;
    }
    printf("{\"cycles\": %d, \"warm\": %d, \"grown_bytes\": {", count, warm);
    int failed = 0;
    for (int k = 0; k < KINDS; k++) {
        printf("%s\"%s\": [", k ? ", " : "", names[k]);
        for (int q = 0; q < QUARTERS; q++)
            printf("%s%lld", q ? ", " : "", (long long)grown[k][q]);
        printf("]");
        if (leaks((kind)k, grown[k], count)) {
            fprintf(stderr, "trt_tests: %s grows by %lld, %lld, %lld, %lld bytes\n", names[k],
                    (long long)grown[k][0], (long long)grown[k][1], (long long)grown[k][2],
                    (long long)grown[k][3]);
            failed = 1;
        }
    }
    printf("}}\n");
    return failed;
}

// ---- threads ------------------------------------------------------------------------------------

typedef struct worker {
    pthread_t thread;
    osp_engine *engine;
    osp_runtime *runtime;
    const void *expected;
    size_t bytes;
    double seconds;
    long runs, wrong;
} worker;

static void *work(void *user)
{
    worker *w = user;
    osp_session *session = NULL;
    osp_error err;
    if (osp_session_open(&session, w->engine, NULL, &err))
        die("a session", &err);
    osp_tensor in = make_input(w->runtime, w->engine, 1);
    const double end = osp_time_us() + w->seconds * 1e6;
    while (osp_time_us() < end) {
        osp_tensor out = {0};
        if (osp_session_run(session, &in, 1, &out, 1, &err))
            die("a run", &err);
        w->wrong += memcmp(out.data, w->expected, w->bytes) != 0;
        w->runs++;
    }
    osp_host_free(w->runtime, in.data);
    osp_session_close(&session);
    return NULL;
}

static int threads(osp_runtime *runtime, const char *path, double seconds)
{
    enum { THREADS = 8 };
    static worker workers[THREADS];
    osp_engine *engine = NULL;
    osp_session *session = NULL;
    open_both(runtime, path, &engine, &session);
    osp_tensor in = make_input(runtime, engine, 1), out = run_once(session, &in);
    const size_t bytes = bytes_of(&out);
    void *expected = malloc(bytes);
    if (!expected)
        die("memory", NULL);
    memcpy(expected, out.data, bytes);
    long runs = 0, wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.engine = engine,
                              .runtime = runtime,
                              .expected = expected,
                              .bytes = bytes,
                              .seconds = seconds};
        if (pthread_create(&workers[i].thread, NULL, work, workers + i))
            die("a thread", NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        runs += workers[i].runs;
        wrong += workers[i].wrong;
    }
    printf("{\"threads\": %d, \"seconds\": %g, \"runs\": %ld, \"wrong\": %ld}\n", (int)THREADS,
           seconds, runs, wrong);
    free(expected);
    osp_host_free(runtime, in.data);
    osp_session_close(&session);
    osp_engine_close(&engine);
    return wrong || !runs;
}

// ---- faults -------------------------------------------------------------------------------------

// OSP_OK means that an answer came out.
static osp_status life(const osp_gpu_calls *calls, const char *path)
{
    osp_error err;
    osp_runtime *runtime = NULL;
    osp_engine *engine = NULL;
    osp_session *session = NULL;
    osp_status status = open_runtime(&runtime, calls, true, &err);
    if (!status)
        status = open_plan(&engine, runtime, path, &err);
    if (!status)
        status = osp_session_open(&session, engine, NULL, &err);
    if (!status) {
        osp_tensor_info info;
        static float pixels[8 << 20];
        osp_engine_input(engine, 0, &info);
        osp_tensor out = {0}, in = {.dtype = info.dtype, .rank = info.rank, .data = pixels};
        for (int32_t d = 0; d < info.rank; d++)
            in.dims[d] = info.dims[d] < 0 ? 1 : info.dims[d];
        status = bytes_of(&in) > sizeof pixels ? OSP_ERROR_LIMIT
                                               : osp_session_run(session, &in, 1, &out, 1, &err);
    }
    osp_session_close(&session);
    osp_engine_close(&engine);
    osp_runtime_close(&runtime);
    return status;
}

static int faults(const char *path)
{
    static const int errors[] = {OSP_CUDA_OUT_OF_MEMORY, OSP_CUDA_ILLEGAL_ADDRESS};
    long calls[2] = {0}, answered_dead = 0, refused = 0;
    for (int e = 0; e < 2; e++)
        for (long at = 1;; at++) {
            failing_calls failing;
            failing_calls_init(&failing, osp_gpu_calls_real());
            failing.fail_at = at;
            failing.error = errors[e];
            const osp_status status = life(&failing.calls, path);
            calls[e] = failing.count;
            if (!failing.failed)
                break;
            refused += status != OSP_OK;
            answered_dead += e == 1 && failing.after > 0 && status == OSP_OK;
        }
    printf("{\"calls\": %ld, \"refused\": %ld, \"answers_after_a_sticky_error\": %ld}\n", calls[0],
           refused, answered_dead);
    return answered_dead || calls[0] < 20;
}

// ---- cancel -------------------------------------------------------------------------------------

static bool stop_soon(void *user, const char *phase, int32_t done, int32_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    return ++*(int *)user < 3;
}

static int cancel(osp_runtime *runtime, const char *path)
{
    int steps = 0;
    osp_error err;
    osp_model *model;
    osp_engine *engine = NULL;
    const osp_engine_options options = {.backend = OSP_BACKEND_TENSORRT,
                                        .height = 320,
                                        .width = 320,
                                        .builder_level = 1,
                                        .batches = {1},
                                        .progress = {stop_soon, &steps}};
    if (osp_model_open(&model, runtime, path, &err))
        die(path, &err);
    const osp_status status = osp_engine_build(&engine, model, &options, &err);
    printf("{\"status\": \"%s\", \"steps\": %d}\n", osp_status_text(status), steps);
    osp_model_close(&model);
    if (!status)
        osp_engine_close(&engine);
    return status != OSP_ERROR_CANCELLED;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: trt_tests time|cycles|threads|faults|cancel FILE [NUMBER]\n");
        return 2;
    }
    const char *what = argv[1], *file = argv[2];
    const double number = argc > 3 ? strtod(argv[3], NULL) : 0;
    osp_runtime *runtime;
    osp_error err;
    if (open_runtime(&runtime, NULL, false, &err))
        die("the runtime", &err);
    if (!osp_gpu_count(&runtime->ctx)) {
        fprintf(stderr, "trt_tests: no GPU: %s\n", osp_gpu_reason(&runtime->ctx));
        osp_runtime_close(&runtime);
        return 5;
    }
    int failed = 2;
    if (!strcmp(what, "time"))
        failed = time_runs(runtime, file);
    else if (!strcmp(what, "cycles"))
        failed = cycles(runtime, file, number ? (int)number : 1000);
    else if (!strcmp(what, "threads"))
        failed = threads(runtime, file, number ? number : 60);
    else if (!strcmp(what, "faults"))
        failed = faults(file);
    else if (!strcmp(what, "cancel"))
        failed = cancel(runtime, file);
    osp_runtime_close(&runtime);
    return failed;
}
