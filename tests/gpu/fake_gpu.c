// The GPU in host memory: see fake_gpu.h.
#include "fake_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

enum {
    INVALID_VALUE = 1,
    INVALID_HANDLE = 400,
    STREAM_MAGIC = 0x57ea,
    EVENT_MAGIC = 0xe7e7,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_UNMATCHED = 903
};

typedef struct fake_block {
    struct fake_block *next;
    char *at;
    size_t bytes;
    int place, device;
} fake_block;

typedef enum op_kind { OP_COPY, OP_FILL, OP_LAUNCH, OP_CALL, OP_RECORD } op_kind;

typedef struct op {
    op_kind kind;
    void *dst;
    const void *src;
    size_t dst_pitch, src_pitch, row_bytes, rows;
    int value;
    int kernel;
    osp_gpu_shape shape;
    char *args;
    size_t args_bytes;
    void (*run)(void *user);
    void *user;
    struct fake_event *event;
} op;

// An event or a recording: first member of each, so that what is left over can be freed.
typedef struct fake_thing {
    struct fake_thing *next, **link;
    bool is_recording;
} fake_thing;

typedef struct recording {
    fake_thing thing;
    op *ops;
    size_t count, capacity;
} recording;

typedef struct fake_stream {
    struct fake_stream *next;
    int magic, device;
    recording *into;  // being captured
    bool origin;      // the capture began here
} fake_stream;

typedef struct fake_event {
    fake_thing thing;
    int magic, timing;
    bool recorded;
    double us;
    recording *into;
} fake_event;

static _Thread_local int current;
static _Thread_local int captures;  // begun on this thread

int fake_gpu_current(void)
{
    return current;
}

#define FAKE fake_gpu *fake = user

static int versions(void *user, int *driver, int *runtime)
{
    FAKE;
    *driver = fake->driver;
    *runtime = 13000;
    return 0;
}

static int device_count(void *user, int *count)
{
    FAKE;
    *count = fake->devices;
    return fake->open_error;
}

static int device_facts(void *user, int device, osp_gpu_facts *out)
{
    FAKE;
    if (device < 0 || device >= fake->devices)
        return OSP_CUDA_BAD_DEVICE;
    *out = fake->facts[device];
    return 0;
}

static int memory_info(void *user, size_t *free_bytes, size_t *total_bytes)
{
    FAKE;
    *total_bytes = fake->memory_bytes;
    *free_bytes = fake->memory_bytes - fake->used_bytes;
    return 0;
}

static int get_device(void *user, int *device)
{
    (void)user;
    *device = current;
    return 0;
}

static int set_device(void *user, int device)
{
    FAKE;
    if (device < 0 || device >= fake->devices)
        return OSP_CUDA_BAD_DEVICE;
    current = device;
    return 0;
}

// ---- Memory -------------------------------------------------------------------------------------

static int take(fake_gpu *fake, void **out, size_t bytes, int place)
{
    if (captures)
        return CAPTURE_UNSUPPORTED;
    if (place == OSP_PLACE_DEVICE && bytes > fake->memory_bytes - fake->used_bytes)
        return OSP_CUDA_OUT_OF_MEMORY;
    fake_block *block = malloc(sizeof *block);
    void *at = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!block || !at) {
        free(block);
        free(at);
        return OSP_CUDA_OUT_OF_MEMORY;
    }
    memset(at, 0xA5, bytes);  // nobody may count on zeros
    pthread_mutex_lock(&fake->lock);
    *block = (fake_block){fake->blocks, at, bytes, place, current};
    fake->blocks = block;
    fake->live++;
    fake->used_bytes += place == OSP_PLACE_DEVICE ? bytes : 0;
    pthread_mutex_unlock(&fake->lock);
    *out = at;
    return 0;
}

static int give(fake_gpu *fake, void *ptr, int place)
{
    if (captures)
        return CAPTURE_UNSUPPORTED;
    pthread_mutex_lock(&fake->lock);
    fake_block **link = &fake->blocks;
    while (*link && ((*link)->at != ptr || (*link)->place != place))
        link = &(*link)->next;
    fake_block *block = *link;
    if (block) {
        *link = block->next;
        fake->live--;
        fake->used_bytes -= place == OSP_PLACE_DEVICE ? block->bytes : 0;
    } else {
        fake->misuse++;
    }
    pthread_mutex_unlock(&fake->lock);
    if (!block)
        return INVALID_VALUE;
    free(block->at);
    free(block);
    return 0;
}

static int alloc_device(void *user, void **out, size_t bytes)
{
    return take(user, out, bytes, OSP_PLACE_DEVICE);
}

static int free_device(void *user, void *ptr)
{
    return give(user, ptr, OSP_PLACE_DEVICE);
}

static int host_alloc(void *user, void **out, size_t bytes)
{
    return take(user, out, bytes, OSP_PLACE_PINNED);
}

static int host_free(void *user, void *ptr)
{
    return give(user, ptr, OSP_PLACE_PINNED);
}

// The block that holds an address, or NULL: plain host memory.
static const fake_block *block_of(fake_gpu *fake, const void *ptr)
{
    const char *at = ptr;
    const fake_block *b = fake->blocks;
    while (b && (at < b->at || at >= b->at + (b->bytes ? b->bytes : 1)))
        b = b->next;
    return b;
}

static int pointer_place(void *user, const void *ptr, int *place, int *device)
{
    FAKE;
    pthread_mutex_lock(&fake->lock);
    const fake_block *b = block_of(fake, ptr);
    *place = b ? b->place : OSP_PLACE_HOST;
    *device = b ? b->device : -1;
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

// An address in one of our blocks must lie in it with all its bytes.
static bool fits(fake_gpu *fake, const void *ptr, size_t bytes)
{
    pthread_mutex_lock(&fake->lock);
    const fake_block *b = block_of(fake, ptr);
    const bool good = !b || (size_t)(b->at + b->bytes - (const char *)ptr) >= bytes;
    fake->misuse += !good;
    pthread_mutex_unlock(&fake->lock);
    return good;
}

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
        fake->kernels[o->kernel].run(fake->kernels[o->kernel].user, o->args, o->args_bytes,
                                     &o->shape);
        break;
    case OP_CALL:
        o->run(o->user);
        break;
    case OP_RECORD:
        o->event->recorded = true;
        o->event->us = osp_time_us();
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
    if (o->args_bytes) {
        kept->args = malloc(o->args_bytes);
        if (!kept->args)
            return OSP_CUDA_OUT_OF_MEMORY;
        memcpy(kept->args, o->args, o->args_bytes);
    }
    r->count++;
    return 0;
}

static int copy_rows(void *user, void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                     size_t row_bytes, size_t rows, void *stream)
{
    FAKE;
    if (dst_pitch < row_bytes || src_pitch < row_bytes)
        return INVALID_VALUE;
    if (rows && row_bytes &&
        (!fits(fake, dst, (rows - 1) * dst_pitch + row_bytes) ||
         !fits(fake, src, (rows - 1) * src_pitch + row_bytes)))
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
    if (bytes && !fits(fake, dst, bytes))
        return OSP_CUDA_ILLEGAL_ADDRESS;
    const op o = {.kind = OP_FILL, .dst = dst, .value = value, .row_bytes = bytes};
    return enqueue(fake, stream, &o);
}

static int launch(void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                  const void *args, size_t args_bytes, void *stream)
{
    FAKE;
    for (int i = 0; i < fake->kernel_count; i++) {
        if (strcmp(fake->kernels[i].name, kernel->name) != 0)
            continue;
        const op o = {.kind = OP_LAUNCH,
                      .kernel = i,
                      .shape = *shape,
                      .args = (char *)args,
                      .args_bytes = args_bytes};
        return enqueue(fake, stream, &o);
    }
    return OSP_CUDA_NO_FUNCTION;
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
    s->device = current;
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
    const fake_event *e = event;
    if (!e || e->magic != EVENT_MAGIC) {
        fake->misuse++;
        return INVALID_HANDLE;
    }
    if (s && e->into)
        s->into = e->into;  // the stream joins the capture
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
    e->into = s ? s->into : NULL;
    const op o = {.kind = OP_RECORD, .event = e};
    return enqueue(fake, stream, &o);
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
    s->origin = true;
    captures++;
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
    captures--;
    pthread_mutex_lock(&fake->lock);
    for (fake_stream *each = fake->streams; each; each = each->next)
        if (each->into == r)
            each->into = NULL;
    pthread_mutex_unlock(&fake->lock);
    for (size_t i = 0; i < r->count; i++)
        if (r->ops[i].kind == OP_RECORD)
            r->ops[i].event->into = NULL;
    *recorded = r;
    return 0;
}

static void drop(recording *r)
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
    r->ops = NULL;
    r->count = r->capacity = 0;
    hold(user, &moved->thing);
    *ready = moved;
    return 0;
}

static int recorded_close(void *user, void *recorded)
{
    let_go(user, &((recording *)recorded)->thing);
    drop(recorded);
    return 0;
}

static int graph_launch(void *user, void *ready, void *stream)
{
    FAKE;
    const recording *r = ready;
    const fake_stream *s = stream;
    if (s && s->into)
        return CAPTURE_UNSUPPORTED;
    for (size_t i = 0; i < r->count; i++)
        run_op(fake, &r->ops[i]);
    fake->replays++;
    return 0;
}

static int last_error(void *user)
{
    (void)user;
    return 0;
}

static const char *error_text(void *user, int error)
{
    (void)user;
    return error == OSP_CUDA_OUT_OF_MEMORY ? "out of memory" : "an error of the fake device";
}

// ---- Setting up ---------------------------------------------------------------------------------

void fake_gpu_init(fake_gpu *fake)
{
    *fake = (fake_gpu){.devices = 1, .driver = 13000, .memory_bytes = (size_t)8 << 30};
    for (int i = 0; i < FAKE_DEVICES_MAX; i++) {
        osp_gpu_facts *f = &fake->facts[i];
        f->cc_major = 9;
        f->multiprocessors = 132;
        f->memory_bytes = fake->memory_bytes;
        snprintf(f->name, sizeof f->name, "Fake GPU");
        snprintf(f->pci_id, sizeof f->pci_id, "00000000:%02x:00.0", i + 1);
        snprintf(f->uuid, sizeof f->uuid, "GPU-00000000-0000-0000-0000-%012x", i + 1);
    }
    pthread_mutex_init(&fake->lock, NULL);
    current = 0;
    captures = 0;
    fake->calls = (osp_gpu_calls){
        .user = fake,
        .versions = versions,
        .device_count = device_count,
        .device_facts = device_facts,
        .memory_info = memory_info,
        .get_device = get_device,
        .set_device = set_device,
        .alloc = alloc_device,
        .free = free_device,
        .host_alloc = host_alloc,
        .host_free = host_free,
        .pointer_place = pointer_place,
        .stream_open = stream_open,
        .stream_close = stream_close,
        .stream_query = stream_query,
        .stream_wait = stream_wait,
        .stream_after = stream_after,
        .event_open = event_open,
        .event_close = event_close,
        .event_record = event_record,
        .event_query = event_query,
        .event_wait = event_wait,
        .event_elapsed = event_elapsed,
        .copy = copy,
        .copy_rows = copy_rows,
        .fill = fill,
        .launch = launch,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .graph_make = graph_make,
        .recorded_close = recorded_close,
        .graph_close = recorded_close,
        .graph_launch = graph_launch,
        .last_error = last_error,
        .error_text = error_text,
    };
}

void fake_gpu_kernel(fake_gpu *fake, const char *name, fake_kernel_fn *run, void *user)
{
    if (fake->kernel_count == FAKE_KERNELS_MAX)
        return;
    const int i = fake->kernel_count++;
    fake->kernels[i].name = name;
    fake->kernels[i].run = run;
    fake->kernels[i].user = user;
}

void fake_gpu_free(fake_gpu *fake)
{
    while (fake->blocks) {
        fake_block *next = fake->blocks->next;
        free(fake->blocks->at);
        free(fake->blocks);
        fake->blocks = next;
    }
    while (fake->streams) {
        fake_stream *next = fake->streams->next;
        free(fake->streams);
        fake->streams = next;
    }
    while (fake->things) {
        fake_thing *next = fake->things->next;
        if (fake->things->is_recording)
            drop((recording *)fake->things);
        else
            free(fake->things);
        fake->things = next;
    }
    pthread_mutex_destroy(&fake->lock);
}
