// Batches go through a ring of slots: read by the pool, enqueued and waited for by the main thread,
// drawn and written by the pool. The main thread alone prints.
#include "detect_run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_pool.h"

enum {
    FLIGHTS = 2,          // batches enqueued at once: the detector's depth
    SLOTS = FLIGHTS + 2,  // one more being read, and one being written
    FILE_THREADS = 16
};

typedef struct picture {
    const osp_cli_detection *detection;
    osp_image image;
    osp_error error;  // code OSP_OK: read
    osp_cli_found found;
    char *path;  // of the picture to write; NULL: none
    osp_error write_error;
} picture;

typedef struct slot {
    osp_cli_group reading, writing;
    picture *pictures;
    osp_image *images;  // those that were read, together
    osp_detection *boxes;
    int32_t count, good;
    osp_ticket ticket;
} slot;

typedef struct pipeline {
    osp_cli_detection *d;
    osp_cli_pool *pool;
    slot slots[SLOTS];
    int32_t batches, read, run, finished;  // batches that came so far
    int *bad;
} pipeline;

// ---- On the pool --------------------------------------------------------------------------------

static void read_picture(void *user)
{
    picture *p = user;
    osp_image_read(p->detection->cli->runtime, p->found.source, &p->image, &p->error);
}

static void write_picture(void *user)
{
    picture *p = user;
    const osp_cli_detection *d = p->detection;
    if (!osp_image_draw(&p->image, p->found.boxes, p->found.count, d->print.names,
                        d->print.name_count, &p->write_error))
        osp_image_write(d->cli->runtime, p->path, &p->image, &p->write_error);
}

// ---- Slots --------------------------------------------------------------------------------------

// Waits for a slot's writing and empties it.
static int empty_slot(pipeline *l, slot *s)
{
    int status = OSP_CLI_DONE;
    osp_cli_pool_wait(l->pool, &s->reading);
    osp_cli_pool_wait(l->pool, &s->writing);
    for (int32_t i = 0; i < s->count; i++) {
        picture *p = s->pictures + i;
        if (p->write_error.code && !status)
            status = osp_cli_fail_output(p->path, &p->write_error);
        osp_image_free(&p->image);
        free(p->path);
        *p = (picture){0};
    }
    s->count = s->good = 0;
    s->ticket = 0;
    return status;
}

static int start_reading(pipeline *l, slot *s)
{
    const osp_cli_detection *d = l->d;
    const int32_t first = l->read++ * d->batch;
    const int status = empty_slot(l, s);
    const int32_t rest = d->images.count - first;
    s->count = rest < d->batch ? rest : d->batch;
    for (int32_t i = 0; i < s->count; i++) {
        picture *p = s->pictures + i;
        p->detection = d;
        p->found.source = d->images.items[first + i];
        osp_cli_pool_submit(l->pool, &s->reading, read_picture, p);
    }
    return status;
}

static int start_running(pipeline *l, slot *s)
{
    l->run++;
    osp_cli_pool_wait(l->pool, &s->reading);
    for (int32_t i = 0; i < s->count; i++) {
        picture *p = s->pictures + i;
        if (p->error.code) {
            *l->bad = osp_cli_fail(p->found.source, &p->error);
            p->found.error = p->error.text;
            continue;
        }
        p->found.width = p->image.width;
        p->found.height = p->image.height;
        s->images[s->good++] = p->image;
    }
    osp_error err;
    if (s->good && osp_detector_enqueue(l->d->detector, s->images, s->good, &s->ticket, &err))
        return osp_cli_fail(l->d->cli->set.file, &err);
    return OSP_CLI_DONE;
}

// ---- Results ------------------------------------------------------------------------------------

// Pictures keep their names; formats that cannot be written become .jpg.
static char *picture_path(osp_cli_detection *d, const char *source)
{
    const char *base = osp_cli_base_name(source), *dot = strrchr(base, '.');
    char *stem = osp_cli_stem(base);
    const bool keep = dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") ||
                              !strcasecmp(dot, ".jpeg"));
    char *wanted = osp_cli_text("%s%s", stem, keep ? dot : ".jpg");
    char *name = osp_cli_unique(&d->taken, wanted);
    char *path = osp_cli_text("%s/%s", d->cli->set.output, name);
    free(name);
    free(wanted);
    free(stem);
    return path;
}

static int report(pipeline *l, slot *s, picture *p)
{
    osp_cli_detection *d = l->d;
    const osp_cli_found *found = &p->found;
    int status = osp_cli_results_add(&d->print, found);
    if (!status)
        status = osp_cli_results_add(&d->file, found);
    if (status || found->error)
        return status;
    if (d->print.format == OSP_CLI_FORMAT_NONE)
        osp_cli_results_print(&d->print, found);
    d->read_count++;
    d->box_count += found->count;
    for (size_t i = 0; i < found->count; i++)
        if (found->boxes[i].class_id >= 0 && found->boxes[i].class_id < d->names.count)
            d->per_class[found->boxes[i].class_id]++;
    if (d->cli->set.output && !d->cli->set.no_draw) {
        p->path = picture_path(d, found->source);
        osp_cli_pool_submit(l->pool, &s->writing, write_picture, p);
    }
    return OSP_CLI_DONE;
}

static int finish(pipeline *l, slot *s)
{
    osp_cli_detection *d = l->d;
    osp_error err;
    size_t count = 0, at = 0;
    l->finished++;
    if (s->ticket) {
        const size_t capacity = (size_t)s->good * (size_t)d->max_detections;
        if (osp_detector_wait(d->detector, s->ticket, -1, s->boxes, capacity, &count, &err))
            return osp_cli_fail(d->cli->set.file, &err);
        osp_run_stats stats;
        osp_detector_stats(d->detector, &stats);
        d->total.pre_us += stats.pre_us;
        d->total.infer_us += stats.infer_us + stats.copy_us;
        d->total.post_us += stats.post_us;
    }
    int status = OSP_CLI_DONE;
    for (int32_t i = 0, good = 0; !status && i < s->count; i++) {
        picture *p = s->pictures + i;
        p->found.boxes = s->boxes + at;
        while (!p->found.error && at < count && s->boxes[at].image == good) {
            at++;
            p->found.count++;
        }
        good += !p->found.error;
        status = report(l, s, p);
    }
    return status;
}

// ---- The loop -----------------------------------------------------------------------------------

static int step(pipeline *l)
{
    if (l->read < l->batches && l->read - l->finished < SLOTS - 1)
        return start_reading(l, l->slots + l->read % SLOTS);
    if (l->run < l->read && l->run - l->finished < FLIGHTS)
        return start_running(l, l->slots + l->run % SLOTS);
    return finish(l, l->slots + l->finished % SLOTS);
}

// Threads for files: a GPU leaves the processor to them, a CPU engine needs it for itself.
static int32_t file_threads(const osp_engine *engine)
{
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    if (info.backend == OSP_BACKEND_CPU || info.backend == OSP_BACKEND_REFERENCE)
        return 1;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores < FILE_THREADS ? (int32_t)cores : FILE_THREADS;
}

int osp_cli_detection_run(osp_cli_detection *d, int *bad)
{
    pipeline l = {.d = d, .bad = bad, .pool = osp_cli_pool_open(file_threads(d->engine))};
    l.batches = (d->images.count + d->batch - 1) / d->batch;
    const size_t batch = (size_t)d->batch, most = batch * (size_t)d->max_detections;
    for (int32_t i = 0; i < SLOTS; i++) {
        l.slots[i].pictures = osp_cli_alloc(batch, sizeof(picture));
        l.slots[i].images = osp_cli_alloc(batch, sizeof(osp_image));
        l.slots[i].boxes = osp_cli_alloc(most, sizeof(osp_detection));
    }
    osp_progress progress = osp_cli_progress(d->cli);
    if (d->print.format == OSP_CLI_FORMAT_NONE)
        progress.step = NULL;  // the tables show how far it is
    int status = OSP_CLI_DONE;
    while (!status && l.finished < l.batches) {
        if (progress.step)
            progress.step(NULL, "images", l.finished * d->batch, d->images.count);
        status = step(&l);
    }
    if (progress.step)
        osp_cli_progress_clear();
    // What is still in flight borrows pictures: the detector goes before they do.
    osp_detector_close(&d->detector);
    for (int32_t i = 0; i < SLOTS; i++) {
        const int written = empty_slot(&l, l.slots + i);
        status = status ? status : written;
        free(l.slots[i].pictures);
        free(l.slots[i].images);
        free(l.slots[i].boxes);
    }
    osp_cli_pool_close(&l.pool);
    return status;
}
