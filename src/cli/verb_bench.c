// osprey bench: times of the engine alone (tensors already in place) and from uint8 pixels in
// memory to boxes in memory, with two batches in flight; one thread a session, each with its own
// clock. On a GPU the pixels lie in pageable memory and, in another row, in page-locked memory.
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench_profile.h"

enum { FLIGHTS = 2 };

typedef enum what { ENGINE_ONLY, PAGEABLE, PINNED } what;

typedef struct lane {
    pthread_t thread;
    struct bench *bench;
    what what;
    osp_session *session;    // engine only
    osp_detector *detector;  // end to end
    osp_tensor *outputs;
    osp_image *images;            // of the runs in flight: borrowed from the bench
    osp_ticket tickets[FLIGHTS];  // by turn; 0: none
    osp_detection *boxes;
    double *times_us;
    size_t count, capacity;
    double pre_us, infer_us, post_us;
    osp_status status;
    osp_error err;
} lane;

typedef struct bench {
    osp_cli *cli;
    osp_engine *engine;
    osp_engine_info info;
    osp_cli_tensors inputs;
    osp_image *images, *pinned;  // the same pixels; pinned NULL: there is no GPU
    int32_t image_count, batch;
    pthread_barrier_t start;
    lane *lanes;
} bench;

typedef struct times {
    size_t runs;
    double p50_ms, p90_ms, p99_ms, mean_ms, images_per_s, pre_ms, infer_ms, post_ms;
    double busy;  // share of the wall time in which a session's network ran
} times;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool on_gpu(const bench *b)
{
    return b->info.backend == OSP_BACKEND_CUDA || b->info.backend == OSP_BACKEND_TENSORRT;
}

// ---- Lanes --------------------------------------------------------------------------------------

static osp_status finish(lane *l, size_t flight)
{
    const size_t room = (size_t)l->bench->batch * 300;
    const osp_ticket ticket = l->tickets[flight];
    size_t count;
    l->tickets[flight] = 0;
    return ticket ? osp_detector_wait(l->detector, ticket, -1, l->boxes, room, &count, &l->err)
                  : OSP_OK;
}

static osp_status run_once(lane *l, size_t turn)
{
    bench *b = l->bench;
    if (l->session) {
        for (int32_t i = 0; i < b->info.outputs; i++)
            l->outputs[i] = (osp_tensor){0};
        return osp_session_run(l->session, b->inputs.items, b->inputs.count, l->outputs,
                               b->info.outputs, &l->err);
    }
    // The batch before the last is waited for, and this one started.
    const size_t n = (size_t)b->batch, flight = turn % FLIGHTS;
    const osp_image *from = l->what == PINNED ? b->pinned : b->images;
    osp_status status = finish(l, flight);
    for (size_t i = 0; i < n; i++)
        l->images[flight * n + i] = from[(turn * n + i) % (size_t)b->image_count];
    return status ? status
                  : osp_detector_enqueue(l->detector, l->images + flight * n, b->batch,
                                         &l->tickets[flight], &l->err);
}

static void *run_lane(void *user)
{
    lane *l = user;
    const double seconds = l->bench->cli->set.seconds;
    const double warm_until = now_us() + fmin(seconds * 0.2, 1) * 1e6;
    size_t turn = 0;
    do
        l->status = run_once(l, turn++);
    while (!l->status && (turn < 3 || now_us() < warm_until));
    // Every lane comes here, so that none waits for one that failed.
    pthread_barrier_wait(&l->bench->start);
    const double until = now_us() + seconds * 1e6;
    for (double start = now_us(); !l->status && (l->count < 3 || start < until);) {
        l->status = run_once(l, turn++);
        double end = now_us();
        osp_run_stats stats;
        l->times_us = osp_cli_grow(l->times_us, &l->capacity, l->count + 1, sizeof *l->times_us);
        l->times_us[l->count] = end - start;
        if (l->session && on_gpu(l->bench)) {  // without the copies, which a caller may not need
            osp_session_stats(l->session, &stats);
            l->times_us[l->count] = stats.infer_us;
        }
        l->count++;
        if (l->detector) {
            osp_detector_stats(l->detector, &stats);
            l->pre_us += stats.pre_us;
            l->infer_us += stats.infer_us;
            l->post_us += stats.post_us;
        }
        start = end;
    }
    for (size_t i = 0; i < FLIGHTS; i++)
        if (l->tickets[i] && finish(l, i) && !l->status)
            l->status = l->err.code;
    return NULL;
}

static osp_status open_lane(bench *b, lane *l, what w, osp_error *err)
{
    l->bench = b;
    l->what = w;
    if (w == ENGINE_ONLY) {
        l->outputs = osp_cli_alloc((size_t)b->info.outputs, sizeof *l->outputs);
        return osp_session_open(&l->session, b->engine, NULL, err);
    }
    const osp_cli_settings *set = &b->cli->set;
    const osp_detector_options options = {
        .score_threshold = osp_cli_threshold(set->conf),
        .iou_threshold = osp_cli_threshold(set->iou),
        .head = (osp_head)set->head,
        .resize = (osp_resize)set->resize,
    };
    l->images = osp_cli_alloc((size_t)b->batch * FLIGHTS, sizeof *l->images);
    l->boxes = osp_cli_alloc((size_t)b->batch * 300, sizeof *l->boxes);
    return osp_detector_open(&l->detector, b->engine, &options, err);
}

static void close_lanes(bench *b, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        osp_session_close(&b->lanes[i].session);
        osp_detector_close(&b->lanes[i].detector);
        free(b->lanes[i].outputs);
        free(b->lanes[i].images);
        free(b->lanes[i].boxes);
        free(b->lanes[i].times_us);
    }
    free(b->lanes);
    b->lanes = NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double q)
{
    return sorted[(size_t)fmin((double)count - 1, floor(q * (double)count))];
}

static void collect(const bench *b, int32_t sessions, double wall_us, times *out)
{
    size_t count = 0, at = 0;
    for (int32_t i = 0; i < sessions; i++)
        count += b->lanes[i].count;
    double *all = osp_cli_alloc(count, sizeof *all);
    *out = (times){.runs = count};
    for (int32_t i = 0; i < sessions; i++) {
        const lane *l = &b->lanes[i];
        memcpy(all + at, l->times_us, l->count * sizeof *all);
        at += l->count;
        out->pre_ms += l->pre_us / 1000 / (double)count;
        out->infer_ms += l->infer_us / 1000 / (double)count;
        out->busy += l->infer_us / wall_us;
        out->post_ms += l->post_us / 1000 / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        out->mean_ms += all[i] / 1000 / (double)count;
    qsort(all, count, sizeof *all, by_value);
    out->p50_ms = quantile(all, count, 0.50) / 1000;
    out->p90_ms = quantile(all, count, 0.90) / 1000;
    out->p99_ms = quantile(all, count, 0.99) / 1000;
    out->images_per_s = (double)count * b->batch / wall_us * 1e6;
    free(all);
}

static int measure(bench *b, what w, times *out)
{
    const int32_t sessions = b->cli->set.sessions;
    osp_error err;
    b->lanes = osp_cli_alloc((size_t)sessions, sizeof *b->lanes);
    osp_status status = OSP_OK;
    for (int32_t i = 0; !status && i < sessions; i++)
        status = open_lane(b, &b->lanes[i], w, &err);
    if (status) {
        close_lanes(b, sessions);
        return osp_cli_fail(b->cli->set.file, &err);
    }
    pthread_barrier_init(&b->start, NULL, (unsigned)sessions + 1);
    for (int32_t i = 0; i < sessions; i++) {
        if (pthread_create(&b->lanes[i].thread, NULL, run_lane, &b->lanes[i]) == 0)
            continue;
        osp_cli_say("%s: no more threads: ask for fewer --sessions", b->cli->set.file);
        exit(OSP_CLI_FAILED);  // the lanes that run wait at the barrier for ever
    }
    pthread_barrier_wait(&b->start);
    double start = now_us();
    for (int32_t i = 0; i < sessions; i++)
        pthread_join(b->lanes[i].thread, NULL);
    double wall = now_us() - start;
    pthread_barrier_destroy(&b->start);
    int failed = OSP_CLI_DONE;
    for (int32_t i = 0; !failed && i < sessions; i++)
        if (b->lanes[i].status)
            failed = osp_cli_fail(b->cli->set.file, &b->lanes[i].err);
    if (!failed)
        collect(b, sessions, wall, out);
    close_lanes(b, sessions);
    return failed;
}

// ---- Images -------------------------------------------------------------------------------------

static int load_images(bench *b)
{
    enum { MOST = 64 };  // decoded, they may be large
    osp_cli_list paths = {0};
    osp_error err;
    int status = osp_cli_images(&b->cli->set.images, 1, &paths);
    b->images = osp_cli_alloc(MOST, sizeof *b->images);
    for (int32_t i = 0; !status && i < paths.count && b->image_count < MOST; i++) {
        if (osp_image_read(b->cli->runtime, paths.items[i], &b->images[b->image_count], &err))
            status = osp_cli_fail(paths.items[i], &err);
        else
            b->image_count++;
    }
    osp_cli_list_free(&paths);
    if (!status && on_gpu(b))
        b->pinned = osp_cli_alloc(MOST, sizeof *b->pinned);
    for (int32_t i = 0; b->pinned && !status && i < b->image_count; i++) {
        const size_t bytes = (size_t)b->images[i].width * (size_t)b->images[i].height * 3;
        b->pinned[i] = b->images[i];
        b->pinned[i].place = OSP_PLACE_PINNED;
        b->pinned[i].plane[0] = osp_host_alloc(b->cli->runtime, bytes);
        if (b->pinned[i].plane[0])
            memcpy(b->pinned[i].plane[0], b->images[i].plane[0], bytes);
        else
            status = osp_cli_usage("%s: no page-locked memory for the images", b->cli->set.file);
    }
    return status;
}

// ---- Report -------------------------------------------------------------------------------------

static void times_json(osp_cli_json *json, const char *key, const times *t, bool end_to_end)
{
    osp_cli_json_open(json, key, '{');
    osp_cli_json_uint(json, "runs", t->runs);
    osp_cli_json_real(json, "p50_ms", t->p50_ms, 6);
    osp_cli_json_real(json, "p90_ms", t->p90_ms, 6);
    osp_cli_json_real(json, "p99_ms", t->p99_ms, 6);
    osp_cli_json_real(json, "mean_ms", t->mean_ms, 6);
    osp_cli_json_real(json, "images_per_s", t->images_per_s, 6);
    if (end_to_end) {
        osp_cli_json_real(json, "pre_ms", t->pre_ms, 6);
        osp_cli_json_real(json, "infer_ms", t->infer_ms, 6);
        osp_cli_json_real(json, "post_ms", t->post_ms, 6);
        osp_cli_json_real(json, "busy", t->busy, 4);
    }
    osp_cli_json_close(json, '}');
}

static uint64_t peak_rss_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

static void report_json(const bench *b, const times all[3], const osp_cli_profile *profile)
{
    osp_cli_json json;
    osp_cli_json_init(&json, stdout);
    osp_cli_json_open(&json, NULL, '{');
    osp_cli_json_string(&json, "file", b->cli->set.file);
    osp_cli_engine_json(&json, b->engine);
    osp_cli_json_int(&json, "batch", b->batch);
    osp_cli_json_int(&json, "sessions", b->cli->set.sessions);
    osp_cli_json_real(&json, "seconds", b->cli->set.seconds, 6);
    osp_cli_json_uint(&json, "peak_rss_bytes", peak_rss_bytes());
    times_json(&json, "engine", &all[ENGINE_ONLY], false);
    if (b->image_count)
        times_json(&json, "end_to_end", &all[PAGEABLE], true);
    if (b->pinned)
        times_json(&json, "end_to_end_pinned", &all[PINNED], true);
    if (profile->count)
        osp_cli_profile_json(&json, profile);
    osp_cli_json_close(&json, '}');
    osp_cli_json_end(&json);
}

static void add_times(osp_cli_table *table, const char *name, const times *t)
{
    osp_cli_table_add(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%zu", name, t->p50_ms, t->p90_ms,
                      t->p99_ms, t->mean_ms, t->images_per_s, t->runs);
}

static void print_parts(const char *name, const times *t)
{
    printf("%s: %.2f ms to prepare, %.2f to infer (%.0f %% of the time), %.2f to finish\n", name,
           t->pre_ms, t->infer_ms, 100 * t->busy, t->post_ms);
}

static void report_text(const bench *b, const times all[3], const osp_cli_profile *profile)
{
    char rss[32];
    printf("%s\n", b->cli->set.file);
    osp_cli_engine_print(b->engine);
    printf("  %-12s build %.0f ms, open %.0f ms, peak memory %s%s\n", "times", b->info.build_ms,
           b->info.open_ms, osp_cli_bytes_text(peak_rss_bytes(), rss),
           b->info.from_cache ? ", from the engine cache" : "");
    printf("  %-12s batch %d, %d session%s, %g s each\n", "measured", b->batch,
           b->cli->set.sessions, b->cli->set.sessions == 1 ? "" : "s", b->cli->set.seconds);
    if (profile->count)
        osp_cli_profile_rated(profile);
    putchar('\n');
    osp_cli_table table;
    osp_cli_table_init(&table, "lrrrrrr");
    osp_cli_table_add(&table, "ms a run\tp50\tp90\tp99\tmean\timages/s\truns");
    add_times(&table, "engine only", &all[ENGINE_ONLY]);
    if (b->image_count)
        add_times(&table, "end to end", &all[PAGEABLE]);
    if (b->pinned)
        add_times(&table, "end to end, pinned", &all[PINNED]);
    osp_cli_table_print(&table, "");
    if (b->image_count)
        print_parts("end to end", &all[PAGEABLE]);
    if (b->pinned)
        print_parts("end to end, pinned", &all[PINNED]);
    if (profile->count)
        osp_cli_profile_print(profile);
}

static int run_bench(bench *b)
{
    osp_cli *cli = b->cli;
    times all[3] = {{0}};
    osp_cli_profile profile = {0};
    osp_engine_get_info(b->engine, &b->info);
    b->batch = b->info.batch_max > 0 ? b->info.batch_max : 1;
    osp_progress progress = osp_cli_progress(cli);
    const int32_t phases = 1 + 2 * (cli->set.images != NULL) + cli->set.profile;
    int32_t phase = 0;
    int status = cli->set.images ? load_images(b) : OSP_CLI_DONE;
    if (!status)
        status = osp_cli_inputs(cli, b->engine, b->batch, &b->inputs);
    if (!status && progress.step)
        progress.step(NULL, "measuring", phase++, phases);
    if (!status)
        status = measure(b, ENGINE_ONLY, &all[ENGINE_ONLY]);
    for (int w = PAGEABLE; !status && b->image_count && w <= PINNED; w++) {
        if (progress.step)
            progress.step(NULL, "measuring", phase++, phases);
        if (w == PAGEABLE || b->pinned)
            status = measure(b, (what)w, &all[w]);
    }
    if (!status && cli->set.profile)
        status = osp_cli_profile_run(cli, b->engine, &b->inputs, &profile);
    if (progress.step)
        osp_cli_progress_clear();
    if (!status && cli->set.json)
        report_json(b, all, &profile);
    else if (!status)
        report_text(b, all, &profile);
    free(profile.rows);
    return status;
}

int osp_cli_bench(osp_cli *cli)
{
    bench b = {.cli = cli};
    osp_engine_options options;
    int status = osp_cli_engine_options(cli, &options);
    if (!status)
        status = osp_cli_engine_open(cli, cli->set.file, &options, &b.engine);
    if (!status)
        status = run_bench(&b);
    for (int32_t i = 0; i < b.image_count; i++)
        osp_image_free(&b.images[i]);
    for (int32_t i = 0; b.pinned && i < b.image_count; i++)
        osp_host_free(cli->runtime, b.pinned[i].plane[0]);
    free(b.pinned);
    free(b.images);
    osp_cli_tensors_free(&b.inputs);
    osp_engine_close(&b.engine);
    return status;
}
