// The work of the device in host memory: streams, events, copies, kernels, captures and graphs.
// Thread rule: see fake_gpu.h.
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "fake_internal.h"

#define FAKE fake_gpu *fake = user

// ---- Work: run now, or recorded -----------------------------------------------------------------

static void run_op(fake_gpu *fake, const op *o)
{
    switch (o->kind) {
    case OP_COPY:
        for (size_t y = 0; y < o->rows; y++)
            memmove((char *)o->dst + y * o->dst_pitch, (const char *)o->src + y * o->src_pitch,
                    o->row_bytes);
        break;
    case OP_FILL:
        memset(o->dst, o->value, o->row_bytes);
        break;
    case OP_LAUNCH:
        if (o->kernel < 0)
            fake->busy_us += fake->run_code(o->code, o->args, o->args_bytes, o->shape.grid,
                                            o->shape.block, o->shape.shared_bytes);
        else
            fake->kernels[o->kernel].run(fake->kernels[o->kernel].user, o->args, o->args_bytes,
                                         &o->shape);
        break;
    case OP_CALL:
        o->run(o->user);
        break;
    case OP_RECORD:
        o->event->recorded = true;
        o->event->us = fake->run_code ? fake->busy_us : osp_time_us();
        break;
    }
}

static int enqueue(fake_gpu *fake, void *stream, const op *o)
{
    fake_stream *s = stream;
    if (s && s->magic != STREAM_MAGIC) {
        fake->misuse++;
        return INVALID_HANDLE;
    }
    if (!s || !s->into) {
        run_op(fake, o);
        return 0;
    }
    recording *r = s->into;
    if (r->spoilt)
        return CAPTURE_INVALIDATED;
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 16;
        op *grown = realloc(r->ops, capacity * sizeof *grown);
        if (!grown)
            return OSP_CUDA_OUT_OF_MEMORY;
        r->ops = grown;
        r->capacity = capacity;
    }
    op *kept = &r->ops[r->count];
    *kept = *o;
    kept->lane = s->lane;
    kept->front = s->front;
    if (o->args_bytes) {
        kept->args = malloc(o->args_bytes);
        if (!kept->args)
            return OSP_CUDA_OUT_OF_MEMORY;
        memcpy(kept->args, o->args, o->args_bytes);
    }
    r->count++;
    s->front.ops[s->lane]++;
    return 0;
}

static int copy_rows(void *user, void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                     size_t row_bytes, size_t rows, void *stream)
{
    FAKE;
    if (dst_pitch < row_bytes || src_pitch < row_bytes)
        return INVALID_VALUE;
    if (rows && row_bytes &&
        (!fake_fits(fake, dst, (rows - 1) * dst_pitch + row_bytes) ||
         !fake_fits(fake, src, (rows - 1) * src_pitch + row_bytes)))
        return OSP_CUDA_ILLEGAL_ADDRESS;
    const op o = {.kind = OP_COPY,
                  .dst = dst,
                  .src = src,
                  .dst_pitch = dst_pitch,
                  .src_pitch = src_pitch,
                  .row_bytes = row_bytes,
                  .rows = rows};
    return enqueue(fake, stream, &o);
}

static int copy(void *user, void *dst, const void *src, size_t bytes, void *stream)
{
    return copy_rows(user, dst, bytes, src, bytes, bytes, 1, stream);
}

static int fill(void *user, void *dst, int value, size_t bytes, void *stream)
{
    FAKE;
    if (bytes && !fake_fits(fake, dst, bytes))
        return OSP_CUDA_ILLEGAL_ADDRESS;
    const op o = {.kind = OP_FILL, .dst = dst, .value = value, .row_bytes = bytes};
    return enqueue(fake, stream, &o);
}

// What a device of compute capability 9.0 would launch.
static bool launchable(const osp_gpu_shape *shape, size_t args_bytes)
{
    enum { THREADS = 1024, DEPTH = 64, ROWS = 65535, SHARED = 227 * 1024, ARGS = 4096 };
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++)
        threads *= shape->block[i] ? shape->block[i] : 1;
    return threads <= THREADS && shape->block[2] <= DEPTH && shape->grid[0] <= INT32_MAX &&
           shape->grid[1] <= ROWS && shape->grid[2] <= ROWS && shape->shared_bytes <= SHARED &&
           args_bytes <= ARGS;
}

static int launch(void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                  const void *args, size_t args_bytes, void *stream)
{
    FAKE;
    const fake_stream *s = stream;
    if (shape->overlap && fake->refuse_overlap) {
        if (s && s->into)
            s->into->spoilt = true;
        return s && s->into ? CAPTURE_UNSUPPORTED : OSP_CUDA_NOT_SUPPORTED;
    }
    fake->overlaps += shape->overlap;
    op o = {.kind = OP_LAUNCH,
            .kernel = fake->kernel_count - 1,
            .code = kernel,
            .shape = *shape,
            .args = (char *)args,
            .args_bytes = args_bytes};
    while (o.kernel >= 0 && strcmp(fake->kernels[o.kernel].name, kernel->name) != 0)
        o.kernel--;
    if (o.kernel < 0 && !(fake->run_code && kernel->function))
        return OSP_CUDA_NO_FUNCTION;
    return launchable(shape, args_bytes) ? enqueue(fake, stream, &o) : INVALID_CONFIGURATION;
}

int fake_gpu_enqueue(fake_gpu *fake, void *stream, void (*run)(void *user), void *user)
{
    const op o = {.kind = OP_CALL, .run = run, .user = user};
    return enqueue(fake, stream, &o);
}

// ---- Streams and events -------------------------------------------------------------------------

static void hold(fake_gpu *fake, fake_thing *t)
{
    pthread_mutex_lock(&fake->lock);
    t->next = fake->things;
    t->link = &fake->things;
    if (t->next)
        t->next->link = &t->next;
    fake->things = t;
    fake->live++;
    pthread_mutex_unlock(&fake->lock);
}

static void let_go(fake_gpu *fake, fake_thing *t)
{
    pthread_mutex_lock(&fake->lock);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    fake->live--;
    pthread_mutex_unlock(&fake->lock);
}

static int stream_open(void *user, void **out)
{
    FAKE;
    fake_stream *s = calloc(1, sizeof *s);
    if (!s)
        return OSP_CUDA_OUT_OF_MEMORY;
    s->magic = STREAM_MAGIC;
    s->device = fake_gpu_current();
    pthread_mutex_lock(&fake->lock);
    s->next = fake->streams;
    fake->streams = s;
    fake->live++;
    pthread_mutex_unlock(&fake->lock);
    *out = s;
    return 0;
}

static int stream_close(void *user, void *stream)
{
    FAKE;
    pthread_mutex_lock(&fake->lock);
    fake_stream **link = &fake->streams;
    while (*link && *link != stream)
        link = &(*link)->next;
    fake_stream *s = *link;
    if (s) {
        *link = s->next;
        fake->live--;
    } else {
        fake->misuse++;
    }
    pthread_mutex_unlock(&fake->lock);
    free(s);
    return s ? 0 : INVALID_HANDLE;
}

static int stream_query(void *user, void *stream)
{
    FAKE;
    const fake_stream *s = stream;
    if (s && s->into)
        return CAPTURE_UNSUPPORTED;
    return fake->busy ? OSP_CUDA_NOT_READY : 0;
}

static int stream_wait(void *user, void *stream)
{
    (void)user;
    const fake_stream *s = stream;
    return s && s->into ? CAPTURE_UNSUPPORTED : 0;
}

static int stream_after(void *user, void *stream, void *event)
{
    FAKE;
    fake_stream *s = stream;
    fake_event *e = event;
    if (!e || e->magic != EVENT_MAGIC) {
        fake->misuse++;
        return INVALID_HANDLE;
    }
    if (!s || !e->into)
        return s && s->into ? CAPTURE_UNSUPPORTED : 0;  // cannot wait for what is no part of it
    if (s->into && s->into != e->into)
        return CAPTURE_UNSUPPORTED;
    if (!s->into) {  // the stream joins the capture
        if (e->into->lanes == LANES_MOST)
            return CAPTURE_UNSUPPORTED;
        s->into = e->into;
        s->lane = s->into->lanes++;
        s->front = (fake_front){{0}};
    }
    for (int i = 0; i < LANES_MOST; i++)
        if (e->front.ops[i] > s->front.ops[i])
            s->front.ops[i] = e->front.ops[i];
    return 0;
}

static int event_open(void *user, void **out, int timing)
{
    fake_event *e = calloc(1, sizeof *e);
    if (!e)
        return OSP_CUDA_OUT_OF_MEMORY;
    e->magic = EVENT_MAGIC;
    e->timing = timing;
    hold(user, &e->thing);
    *out = e;
    return 0;
}

static int event_close(void *user, void *event)
{
    FAKE;
    fake_event *e = event;
    if (!e || e->magic != EVENT_MAGIC) {
        fake->misuse++;
        return INVALID_HANDLE;
    }
    e->magic = 0;
    let_go(fake, &e->thing);
    free(e);
    return 0;
}

static int event_record(void *user, void *event, void *stream)
{
    FAKE;
    fake_event *e = event;
    const fake_stream *s = stream;
    if (!e || e->magic != EVENT_MAGIC) {
        fake->misuse++;
        return INVALID_HANDLE;
    }
    const op o = {.kind = OP_RECORD, .event = e};
    const int error = enqueue(fake, stream, &o);
    e->into = s && !error ? s->into : NULL;
    if (e->into)
        e->front = s->front;
    return error;
}

static int event_query(void *user, void *event)
{
    FAKE;
    const fake_event *e = event;
    if (e->into)
        return CAPTURE_UNSUPPORTED;
    return fake->busy && e->recorded ? OSP_CUDA_NOT_READY : 0;
}

static int event_wait(void *user, void *event)
{
    (void)user;
    return ((const fake_event *)event)->into ? CAPTURE_UNSUPPORTED : 0;
}

static int event_elapsed(void *user, float *ms, void *start, void *end)
{
    (void)user;
    const fake_event *a = start, *b = end;
    if (!a->timing || !b->timing || !a->recorded || !b->recorded)
        return INVALID_HANDLE;
    *ms = (float)((b->us - a->us) / 1000);
    return 0;
}

// ---- Graphs: the recording is the graph; ready ones are copies of none -----------------------------

static int capture_begin(void *user, void *stream)
{
    FAKE;
    fake_stream *s = stream;
    if (fake->refuse_capture || !s || s->into)
        return CAPTURE_UNSUPPORTED;
    s->into = calloc(1, sizeof *s->into);
    if (!s->into)
        return OSP_CUDA_OUT_OF_MEMORY;
    s->into->thing.is_recording = true;
    s->into->lanes = 1;
    s->origin = true;
    s->lane = 0;
    s->front = (fake_front){{0}};
    ++*fake_captures();
    hold(fake, &s->into->thing);
    return 0;
}

static int capture_end(void *user, void *stream, void **recorded)
{
    FAKE;
    fake_stream *s = stream;
    if (!s || !s->into || !s->origin)
        return CAPTURE_UNMATCHED;
    recording *r = s->into;
    s->origin = false;
    --*fake_captures();
    pthread_mutex_lock(&fake->lock);
    bool joined = true;
    for (fake_stream *each = fake->streams; each; each = each->next) {
        if (each->into != r)
            continue;
        joined &= each->front.ops[each->lane] <= s->front.ops[each->lane];
        each->into = NULL;
    }
    pthread_mutex_unlock(&fake->lock);
    for (size_t i = 0; i < r->count; i++)
        if (r->ops[i].kind == OP_RECORD)
            r->ops[i].event->into = NULL;
    *recorded = r;
    if (!r->spoilt && joined)
        return 0;
    const bool spoilt = r->spoilt;
    *recorded = NULL;
    let_go(fake, &r->thing);
    fake_recording_drop(r);
    return spoilt ? CAPTURE_INVALIDATED : CAPTURE_UNJOINED;
}

void fake_recording_drop(recording *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->ops[i].args);
    free(r->ops);
    free(r);
}

// The recording moves into the graph; what is left of it is empty.
static int graph_make(void *user, void **ready, void *recorded)
{
    recording *r = recorded, *moved = calloc(1, sizeof *moved);
    if (!moved)
        return OSP_CUDA_OUT_OF_MEMORY;
    moved->thing.is_recording = true;
    moved->ops = r->ops;
    moved->count = r->count;
    moved->lanes = r->lanes;
    r->ops = NULL;
    r->count = r->capacity = 0;
    hold(user, &moved->thing);
    *ready = moved;
    return 0;
}

static int recorded_close(void *user, void *recorded)
{
    let_go(user, &((recording *)recorded)->thing);
    fake_recording_drop(recorded);
    return 0;
}

// The next operation of a lane, from `at` on; count: none.
static size_t next_of(const recording *r, int lane, size_t at)
{
    while (at < r->count && r->ops[at].lane != lane)
        at++;
    return at;
}

// As a device might: side streams as far as they come before the first one moves, or behind it.
static void replay_by_lanes(fake_gpu *fake, const recording *r)
{
    size_t at[LANES_MOST];
    fake_front done = {{0}};
    for (int i = 0; i < r->lanes; i++)
        at[i] = next_of(r, i, 0);
    for (size_t ran = 0; ran < r->count; ran++) {
        for (int k = 0; k < r->lanes; k++) {
            const int i = fake->order == FAKE_SIDES_FIRST ? r->lanes - 1 - k : k;
            const op *o = r->ops + at[i];
            bool ready = at[i] < r->count;
            for (int j = 0; ready && j < r->lanes; j++)
                ready = o->front.ops[j] <= done.ops[j];
            if (!ready)
                continue;
            run_op(fake, o);
            done.ops[i]++;
            at[i] = next_of(r, i, at[i] + 1);
            break;
        }
    }
}

static int graph_launch(void *user, void *ready, void *stream)
{
    FAKE;
    const recording *r = ready;
    const fake_stream *s = stream;
    if (s && s->into)
        return CAPTURE_UNSUPPORTED;
    fake->lanes = r->lanes;
    for (size_t i = 0; i < r->count && fake->order == FAKE_AS_RECORDED; i++)
        run_op(fake, &r->ops[i]);
    if (fake->order != FAKE_AS_RECORDED)
        replay_by_lanes(fake, r);
    fake->lanes = 0;
    fake->replays++;
    return 0;
}

void fake_work_calls(osp_gpu_calls *calls)
{
    calls->stream_open = stream_open;
    calls->stream_close = stream_close;
    calls->stream_query = stream_query;
    calls->stream_wait = stream_wait;
    calls->stream_after = stream_after;
    calls->event_open = event_open;
    calls->event_close = event_close;
    calls->event_record = event_record;
    calls->event_query = event_query;
    calls->event_wait = event_wait;
    calls->event_elapsed = event_elapsed;
    calls->copy = copy;
    calls->copy_rows = copy_rows;
    calls->fill = fill;
    calls->launch = launch;
    calls->capture_begin = capture_begin;
    calls->capture_end = capture_end;
    calls->graph_make = graph_make;
    calls->recorded_close = recorded_close;
    calls->graph_close = recorded_close;
    calls->graph_launch = graph_launch;
}
