// See standin.h. Compiled once for each major with MAJOR and VERSION; the slots below are written
// down here once more, apart from the library's own table, so that a slip in one of them shows.
#include "standin.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define PICK(in10, in11) (MAJOR == 11 ? (in11) : (in10))
enum { SLOTS = 96, TYPE_UINT8 = 5 };  // TYPE: a DataType of TensorRT

EXPORT standin_control standin_control_of_library;
#define C (&standin_control_of_library)

typedef void (*fn)(void);
typedef struct dims {
    int32_t rank;
    int64_t d[8];
} dims;

typedef enum kind {
    RUNTIME,
    ENGINE,
    CONTEXT,
    BUILDER,
    CONFIG,
    NETWORK,
    TENSOR,
    PROFILE,
    BYTES,
    TIMINGS,
    INSPECTOR,
    PARSER,
    KINDS
} kind;

// What a plan of the stand-in holds, after 32 bytes in which the version is where TensorRT has it.
typedef struct plan {
    char magic[4];
    uint8_t zeros[20], version[8];
    standin_network network;
    int32_t profiles;
    dims shapes[STANDIN_PROFILES_MAX][STANDIN_IO_MAX][3];
} plan;

// A job lives until its context goes: graphs replay it.
typedef struct job {
    struct job *next;
    int32_t ins, outs;
    const void *x;
    float *y;
    bool bytes;  // x is pixels, else floats
    int64_t rows, in_row, out_row;
} job;

typedef struct thing {
    const fn *vtable;  // of the outer object, or the only one
    struct thing *impl;
    const fn *methods;  // the impl's own vtable: `impl` points at this field
    kind kind;
    int32_t children;
    struct thing *parent;
    plan plan;  // engine, builder network, profile (shapes[0])
    const void *data;
    size_t size;
    // context
    int32_t profile;
    bool has_memory, has_profile;
    dims input_shape[STANDIN_IO_MAX];
    void *address[STANDIN_IO_MAX];
    void *allocator[STANDIN_IO_MAX];
    job *jobs;
    // config
    const struct thing *timings;
    void *monitor;
    char text[512];
    // builder: its profiles, which nobody deletes
    struct thing *owned[STANDIN_PROFILES_MAX];
    int32_t owned_count;
} thing;

static fn tables[KINDS][SLOTS];
static fn outer_table[2];

static void misuse(const char *what)
{
    if (!C->misuse++)
        snprintf(C->what, sizeof C->what, "%s", what);
}

#define SELF(k)                                                                                    \
    thing *self = (thing *)((char *)impl - offsetof(thing, methods));                              \
    if (self->kind != (k))                                                                         \
    misuse("a method of " #k " on another object")

static void free_thing(thing *t)
{
    for (job *j = t->jobs; j;) {
        job *next = j->next;
        free(j);
        j = next;
    }
    for (int32_t i = 0; i < t->owned_count; i++)
        free(t->owned[i]);
    if (t->children)
        misuse("an object was deleted before what was made from it");
    if (t->parent)
        t->parent->children--;
    if (t->kind == BYTES)
        free((void *)t->data);
    C->live--;
    free(t);
}

static thing *make(kind k, thing *parent)
{
    thing *t = calloc(1, sizeof *t);
    t->vtable = outer_table;
    t->methods = tables[k];
    t->impl = (thing *)(void *)&t->methods;
    t->kind = k;
    t->parent = parent;
    if (parent)
        parent->children++;
    C->live++;
    return t;
}

static void complete_destructor(void *self)
{
    (void)self;
    misuse("the complete object's destructor was called: it frees nothing");
}

static void deleting_destructor(void *self)
{
    free_thing(self);
}

// ---- Logging ------------------------------------------------------------------------------------

static void *the_logger;

static void say(int32_t severity, const char *text)
{
    if (!the_logger)
        return;
    const fn *vtable = *(const fn **)the_logger;
    ((void (*)(void *, int32_t, const char *))vtable[PICK(0, 4)])(the_logger, severity, text);
}

static void take_logger(void *logger)
{
    if (!the_logger)
        the_logger = logger;  // the first one, for good
    else if (the_logger != logger)
        misuse("a second logger");
#if MAJOR == 11
    typedef struct info {
        const char *kind;
        int32_t major, minor;
    } info;
    const fn *vtable = *(const fn **)logger;
    const info i = ((info(*)(const void *))vtable[1])(logger);
    if (strcmp(i.kind, "ILogger") || i.major != 1 || i.minor ||
        ((int32_t(*)(const void *))vtable[0])(logger))
        misuse("the logger's interface");
#endif
}

// ---- Plans and shapes ---------------------------------------------------------------------------

static int32_t find(const standin_network *n, const char *name)
{
    for (int32_t i = 0; i < n->count; i++)
        if (!strcmp(n->io[i].name, name))
            return i;
    misuse("a tensor's name");
    return 0;
}

static dims dims_of(const standin_io *io)
{
    dims d = {.rank = io->rank};
    for (int32_t i = 0; i < io->rank; i++)
        d.d[i] = io->dims[i] < 0 ? -1 : io->dims[i];
    return d;
}

static int64_t count(const dims *d, int32_t from)
{
    int64_t n = 1;
    for (int32_t i = from; i < d->rank; i++)
        n *= d->d[i];
    return n;
}

// ---- Runtime and engine -------------------------------------------------------------------------

static void *runtime_deserialize(void *impl, const void *blob, size_t size)
{
    SELF(RUNTIME);
    const plan *p = blob;
    if ((uintptr_t)blob % 64)
        misuse("deserializeCudaEngine: the plan is not aligned");
    if (C->faults.null_engine || size < sizeof *p || memcmp(p->magic, "ftrt", 4)) {
        say(1, "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magic tag)");
        return NULL;
    }
    if (p->version[0] != MAJOR || p->version[1] != VERSION / 100 % 100) {
        say(1, "The engine plan file is not compatible with this version of TensorRT");
        return NULL;
    }
    C->deserialized++;
    thing *e = make(ENGINE, self);
    memcpy(&e->plan, p, sizeof *p);
    return e;
}

static int32_t engine_layers(void *impl)
{
    SELF(ENGINE);
    (void)self;
    return 2;
}

static void *engine_context(void *impl, int32_t strategy)
{
    SELF(ENGINE);
    if (strategy != 2)
        misuse("createExecutionContext: not user managed");
    if (C->faults.null_context) {
        say(1, "no memory for a context");
        return NULL;
    }
    C->contexts++;
    thing *c = make(CONTEXT, self);
    return c;
}

static int64_t engine_memory(void *impl)
{
    SELF(ENGINE);
    (void)self;
    return 4096;
}

static int32_t engine_profiles(void *impl)
{
    SELF(ENGINE);
    return self->plan.profiles ? self->plan.profiles : 1;
}

static void *engine_inspector(void *impl)
{
    SELF(ENGINE);
    return make(INSPECTOR, self);
}

static dims engine_shape(void *impl, const char *name)
{
    SELF(ENGINE);
    return dims_of(self->plan.network.io + find(&self->plan.network, name));
}

static int32_t engine_type(void *impl, const char *name)
{
    SELF(ENGINE);
    return self->plan.network.io[find(&self->plan.network, name)].dtype;
}

static int32_t engine_location(void *impl, const char *name)
{
    SELF(ENGINE);
    return self->plan.network.io[find(&self->plan.network, name)].host;
}

static int32_t engine_mode(void *impl, const char *name)
{
    SELF(ENGINE);
    return self->plan.network.io[find(&self->plan.network, name)].input ? 1 : 2;
}

static int32_t engine_format(void *impl, const char *name)
{
    SELF(ENGINE);
    find(&self->plan.network, name);
    return 0;
}

static dims engine_profile_shape(void *impl, const char *name, int32_t profile, int32_t selector)
{
    SELF(ENGINE);
    if (profile < 0 || profile >= self->plan.profiles || selector < 0 || selector > 2) {
        misuse("getProfileShape: out of range");
        return (dims){.rank = -1};
    }
    return self->plan.shapes[profile][find(&self->plan.network, name)][selector];
}

static int32_t engine_io_count(void *impl)
{
    SELF(ENGINE);
    return self->plan.network.count;
}

static const char *engine_io_name(void *impl, int32_t i)
{
    SELF(ENGINE);
    return i >= 0 && i < self->plan.network.count ? self->plan.network.io[i].name : NULL;
}

static const char *inspector_layer(void *impl, int32_t i, int32_t format)
{
    SELF(INSPECTOR);
    if (format != 1 || i < 0 || i > 1)
        misuse("getLayerInformation");
    snprintf(self->text, sizeof self->text,
             "{\"Name\": \"layer %d\", \"LayerType\": \"CaskConvolution\",\n\"Inputs\": "
             "[{\"Name\": "
             "\"x\", \"Format/Datatype\": \"Half\"}], \"TacticName\": \"tactic_\\u0041\"}",
             i);
    return self->text;
}

// ---- Contexts -----------------------------------------------------------------------------------

static void context_memory(void *impl, void *memory)
{
    SELF(CONTEXT);
    self->has_memory = memory != NULL;
}

static bool context_profile(void *impl, int32_t profile, void *stream)
{
    SELF(CONTEXT);
    if (!stream)
        misuse("setOptimizationProfileAsync without a stream");
    const int32_t profiles = self->parent->plan.profiles ? self->parent->plan.profiles : 1;
    self->profile = profile;
    self->has_profile = true;
    return profile >= 0 && profile < profiles;
}

static bool context_input(void *impl, const char *name, const dims *d)
{
    SELF(CONTEXT);
    const plan *p = &self->parent->plan;
    const int32_t i = find(&p->network, name);
    self->input_shape[i] = *d;
    for (int32_t k = 0; p->profiles && k < d->rank; k++)
        if (d->d[k] < p->shapes[self->profile][i][0].d[k] ||
            d->d[k] > p->shapes[self->profile][i][2].d[k]) {
            say(1, "setInputShape: outside the profile");
            return false;
        }
    return p->network.io[i].input && d->rank == p->network.io[i].rank;
}

static dims context_shape(void *impl, const char *name)
{
    SELF(CONTEXT);
    const standin_network *n = &self->parent->plan.network;
    const int32_t i = find(n, name);
    if (n->io[i].input)
        return self->input_shape[i];
    dims d = dims_of(n->io + i);
    for (int32_t k = 0; k < d.rank; k++)
        if (n->io[i].dims[k] == -1)
            d.d[k] = self->input_shape[0].d[0];
    return d;
}

static bool context_address(void *impl, const char *name, void *address)
{
    SELF(CONTEXT);
    self->address[find(&self->parent->plan.network, name)] = address;
    if ((uintptr_t)address % 256)
        misuse("an address that is not aligned");
    return address != NULL;
}

static int32_t context_infer(void *impl, int32_t room, const char **names)
{
    SELF(CONTEXT);
    (void)names;
    if (room)
        misuse("inferShapes");
    return self->input_shape[0].rank ? 0 : 1;
}

static bool context_allocator(void *impl, const char *name, void *allocator)
{
    SELF(CONTEXT);
    self->allocator[find(&self->parent->plan.network, name)] = allocator;
    return true;
}

static void run_job(void *user)
{
    const job *j = user;
    for (int64_t r = 0; r < j->rows; r++)
        for (int64_t i = 0; i < j->out_row; i++) {
            const int64_t at = r * j->in_row + i % j->in_row;
            const float x = j->bytes ? (float)((const uint8_t *)j->x)[at]
                                     : ((const float *)j->x)[at];
            j->y[r * j->out_row + i] = 2 * x + 1;
        }
}

// The real size of an output that only the run knows, through our IOutputAllocator.
static bool allocate(thing *self, int32_t i, dims *d)
{
    typedef struct info {
        const char *kind;
        int32_t major, minor;
    } info;
    void *a = self->allocator[i];
    const char *name = self->parent->plan.network.io[i].name;
    if (!a) {
        misuse("an open output without an allocator");
        return false;
    }
    const fn *v = *(const fn **)a;
    if (strcmp(((info(*)(const void *))v[1])(a).kind, "IOutputAllocator"))
        misuse("the allocator's interface");
    for (int32_t k = 0; k < d->rank; k++)
        if (self->parent->plan.network.io[i].dims[k] == STANDIN_OPEN)
            d->d[k] = C->open_rows;
    const uint64_t bytes = (uint64_t)count(d, 0) * 4;
    self->address[i] = ((void *(*)(void *, const char *, void *, uint64_t, uint64_t, void *))v[5])(
        a, name, self->address[i], bytes, 256, NULL);
    if (!self->address[i])
        return false;
    ((void (*)(void *, const char *, const dims *))v[6])(a, name, d);
    return true;
}

static bool context_enqueue(void *impl, void *stream)
{
    SELF(CONTEXT);
    const standin_network *n = &self->parent->plan.network;
    if (!self->has_memory || !self->has_profile || !stream || !self->input_shape[0].rank)
        misuse("enqueueV3 before memory, profile, shapes and stream were given");
    if (C->faults.enqueue_fails) {
        say(1, "enqueueV3: Error Code 1: Cuda Runtime");
        return false;
    }
    for (int32_t i = 0; i < n->count; i++) {
        if (n->io[i].input)
            continue;
        dims d = context_shape(impl, n->io[i].name);
        for (int32_t k = 0; k < d.rank; k++)
            if (d.d[k] < 0 && !allocate(self, i, &d)) {
                say(1, "enqueueV3: no memory for an output");
                return false;
            }
        if (!self->address[i] || !self->address[0]) {
            misuse("enqueueV3 without an address");
            return false;
        }
        job *j = calloc(1, sizeof *j);
        *j = (job){.next = self->jobs,
                   .x = self->address[0],
                   .y = self->address[i],
                   .bytes = n->io[0].dtype == TYPE_UINT8,
                   .rows = d.d[0],
                   .in_row = count(&self->input_shape[0], 1),
                   .out_row = count(&d, 1)};
        self->jobs = j;
        if (C->enqueue(C->user, stream, run_job, j)) {
            say(1, "enqueueV3: the stream refuses");
            return false;
        }
    }
    C->enqueued++;
    return true;
}

// ---- Building -----------------------------------------------------------------------------------

static bool builder_fp16(void *impl)
{
    SELF(BUILDER);
    (void)self;
    return true;
}

static void *builder_config(void *impl)
{
    SELF(BUILDER);
    C->builder_flags = 1u << 6;  // TF32
    C->level = 3;
    C->workspace = 0;
    C->profiles = C->aux_streams = C->verbosity = C->timings_given = 0;
    C->monitored = C->cancelled = false;
    return make(CONFIG, self);
}

static void *builder_network(void *impl, uint32_t flags)
{
    SELF(BUILDER);
    C->network_flags = flags;
    return make(NETWORK, self);
}

static void *builder_profile(void *impl)
{
    SELF(BUILDER);
    if (self->owned_count == STANDIN_PROFILES_MAX) {
        misuse("createOptimizationProfile: too many");
        return NULL;
    }
    thing *p = make(PROFILE, NULL);
    C->live--;
    self->owned[self->owned_count++] = p;
    return p;
}

static bool report(thing *config, int32_t steps)
{
    void *m = config->monitor;
    if (!m)
        return true;
    const fn *v = *(const fn **)m;
    ((void (*)(void *, const char *, const char *, int32_t))v[4])(m, "Building", NULL, steps);
    bool go_on = true;
    for (int32_t i = 0; go_on && i < steps; i++)
        go_on = ((bool (*)(void *, const char *, int32_t))v[5])(m, "Building", i);
    ((void (*)(void *, const char *))v[6])(m, "Building");
    return go_on;
}

static void *builder_build(void *impl, void *network, void *config)
{
    SELF(BUILDER);
    thing *n = network, *c = config;
    if (n->kind != NETWORK || c->kind != CONFIG || n->parent != self || c->parent != self)
        misuse("buildSerializedNetwork: arguments");
    say(3, "building");
    if (!report(c, C->build_steps ? C->build_steps : 4)) {
        C->cancelled = true;
        return NULL;
    }
    if (C->faults.build_fails) {
        say(1, "could not find any implementation for node conv1");
        return NULL;
    }
    C->builds++;
    plan *p = malloc(sizeof *p);
    memset(p, 0, sizeof *p);
    memcpy(p, &n->plan, sizeof *p);
    p->profiles = c->plan.profiles;
    memcpy(p->shapes, c->plan.shapes, sizeof p->shapes);
    memcpy(p->magic, "ftrt", 4);
    p->version[0] = MAJOR;
    p->version[1] = VERSION / 100 % 100;
    p->version[2] = VERSION % 100;
    thing *b = make(BYTES, NULL);
    b->data = p;
    b->size = sizeof *p;
    return b;
}

static void config_clear(void *impl, int32_t flag)
{
    SELF(CONFIG);
    (void)self;
    C->builder_flags &= ~(1u << flag);
}

static void config_set(void *impl, int32_t flag)
{
    SELF(CONFIG);
    (void)self;
    if (MAJOR == 11 && flag == 0)
        misuse("TensorRT 11 has no FP16 flag");
    C->builder_flags |= 1u << flag;
}

static int32_t config_add_profile(void *impl, const void *profile)
{
    SELF(CONFIG);
    const thing *p = profile;
    if (p->kind != PROFILE || self->plan.profiles == STANDIN_PROFILES_MAX)
        misuse("addOptimizationProfile");
    memcpy(self->plan.shapes[self->plan.profiles], p->plan.shapes[0], sizeof p->plan.shapes[0]);
    C->profiles = self->plan.profiles + 1;
    return self->plan.profiles++;
}

static void config_verbosity(void *impl, int32_t v)
{
    SELF(CONFIG);
    (void)self;
    C->verbosity = v;
}

static void *config_create_timings(void *impl, const void *blob, size_t size)
{
    SELF(CONFIG);
    (void)self;
    if (size && (C->faults.bad_timings || memcmp(blob, "timings", 7)))
        return NULL;
    thing *t = make(TIMINGS, NULL);
    t->size = size ? (size_t)((const char *)blob)[7] : 0;  // how many builds are in it
    return t;
}

static bool config_set_timings(void *impl, const void *cache, bool ignore)
{
    SELF(CONFIG);
    self->timings = cache;
    C->timings_given = (int32_t)((const thing *)cache)->size;
    return !ignore;
}

static const void *config_timings(void *impl)
{
    SELF(CONFIG);
    return self->timings;
}

static void config_limit(void *impl, int32_t pool, size_t size)
{
    SELF(CONFIG);
    (void)self;
    if (pool)
        misuse("setMemoryPoolLimit: the pool");
    C->workspace = size;
}

static void config_level(void *impl, int32_t level)
{
    SELF(CONFIG);
    (void)self;
    C->level = level;
}

static void config_aux(void *impl, int32_t n)
{
    SELF(CONFIG);
    (void)self;
    C->aux_streams = n;
}

static void config_monitor(void *impl, void *monitor)
{
    SELF(CONFIG);
    self->monitor = monitor;
    C->monitored = monitor != NULL;
}

static void *timings_save(void *impl)
{
    SELF(TIMINGS);
    thing *b = make(BYTES, NULL);
    char *text = calloc(1, 8);
    memcpy(text, "timings", 7);
    text[7] = (char)(self->size + 1);
    b->data = text;
    b->size = 8;
    return b;
}

static bool timings_combine(void *impl, const void *other, bool ignore)
{
    SELF(TIMINGS);
    (void)self;
    return ((const thing *)other)->kind == TIMINGS && !ignore;
}

static int32_t network_inputs(void *impl)
{
    SELF(NETWORK);
    int32_t n = 0;
    for (int32_t i = 0; i < self->plan.network.count; i++)
        n += self->plan.network.io[i].input;
    return n;
}

static void *network_input(void *impl, int32_t i)
{
    SELF(NETWORK);
    for (int32_t k = 0; k < self->plan.network.count; k++)
        if (self->plan.network.io[k].input && i-- == 0) {
            static thing tensors[STANDIN_IO_MAX];  // never deleted by anybody
            thing *t = tensors + k;
            *t = (thing){.vtable = outer_table, .methods = tables[TENSOR], .kind = TENSOR};
            t->impl = (thing *)(void *)&t->methods;
            t->plan.network = self->plan.network;
            t->profile = k;
            return t;
        }
    misuse("getInput: out of range");
    return NULL;
}

static const char *tensor_name(void *impl)
{
    SELF(TENSOR);
    return self->plan.network.io[self->profile].name;
}

static dims tensor_dims(void *impl)
{
    SELF(TENSOR);
    return dims_of(self->plan.network.io + self->profile);
}

static bool profile_set(void *impl, const char *name, int32_t selector, const dims *d)
{
    SELF(PROFILE);
    const int32_t i = find(&C->network, name);
    self->plan.shapes[0][i][selector] = *d;
    return d->rank == C->network.io[i].rank;
}

static bool profile_valid(void *impl)
{
    SELF(PROFILE);
    return self->plan.shapes[0][0][2].rank > 0;
}

static const void *bytes_data(void *impl)
{
    SELF(BYTES);
    return self->data;
}

static size_t bytes_size(void *impl)
{
    SELF(BYTES);
    return self->size;
}

// ---- The parser: its methods are in its own vtable ----------------------------------------------

static bool parser_parse(void *object, const void *model, size_t size, const char *path)
{
    thing *self = object;
    if (path)
        misuse("the parser was given a path");
    C->onnx_bytes = (int32_t)size;
    memcpy(C->onnx_head, model, size < 16 ? size : 16);
    if (C->faults.parse_error)
        return false;
    self->parent->plan.network = C->network;
    return true;
}

static int32_t parser_errors(void *object)
{
    (void)object;
    return C->faults.parse_error ? 2 : 0;
}

static fn error_table[8];
static struct {
    const fn *vtable;
    int32_t i;
} errors[2];

static const void *parser_error(void *object, int32_t i)
{
    (void)object;
    errors[i].vtable = error_table;
    errors[i].i = i;
    return errors + i;
}

static const char *error_text(void *e)
{
    return e == errors ? "the operator is unknown" : "the axis is out of range";
}

static const char *error_node(void *e)
{
    return e == errors ? "node_1" : "node_2";
}

static const char *error_operator(void *e)
{
    return e == errors ? "Strange" : "Concat";
}

// ---- Tables and entry points --------------------------------------------------------------------

static void trap(void)
{
    misuse("a slot that nobody should call");
}

#define SET(kind, in10, in11, f) tables[kind][PICK(in10, in11)] = (fn)(f)

__attribute__((constructor)) static void fill_tables(void)
{
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < SLOTS; i++)
            tables[k][i] = trap;
    outer_table[0] = (fn)complete_destructor;
    outer_table[1] = (fn)deleting_destructor;
    SET(RUNTIME, 3, 3, runtime_deserialize);
    SET(ENGINE, 3, 3, engine_layers);
    SET(ENGINE, 5, 5, engine_context);
    SET(ENGINE, 10, 8, engine_profiles);
    SET(ENGINE, 18, 14, engine_inspector);
    SET(ENGINE, 19, 15, engine_shape);
    SET(ENGINE, 20, 16, engine_type);
    SET(ENGINE, 21, 17, engine_location);
    SET(ENGINE, 23, 19, engine_mode);
    SET(ENGINE, 26, 22, engine_format);
    SET(ENGINE, 29, 25, engine_profile_shape);
    SET(ENGINE, 30, 26, engine_io_count);
    SET(ENGINE, 31, 27, engine_io_name);
    SET(ENGINE, 52, 44, engine_memory);
    SET(INSPECTOR, 5, 5, inspector_layer);
    SET(CONTEXT, 10, 10, context_memory);
    SET(CONTEXT, 17, 16, context_profile);
    SET(CONTEXT, 21, 20, context_input);
    SET(CONTEXT, 22, 21, context_shape);
    SET(CONTEXT, 24, 23, context_address);
    SET(CONTEXT, 28, 27, context_infer);
    SET(CONTEXT, 32, 31, context_allocator);
    SET(CONTEXT, 37, 36, context_enqueue);
    if (MAJOR == 10)
        tables[BUILDER][2] = (fn)builder_fp16;
    SET(BUILDER, 7, 5, builder_config);
    SET(BUILDER, 8, 6, builder_network);
    SET(BUILDER, 9, 7, builder_profile);
    SET(BUILDER, 14, 11, builder_build);
    SET(CONFIG, 10, 8, config_clear);
    SET(CONFIG, 11, 9, config_set);
    SET(CONFIG, 25, 23, config_add_profile);
    SET(CONFIG, 27, 25, config_verbosity);
    SET(CONFIG, 40, 29, config_create_timings);
    SET(CONFIG, 41, 30, config_set_timings);
    SET(CONFIG, 42, 31, config_timings);
    SET(CONFIG, 43, 32, config_limit);
    SET(CONFIG, 47, 36, config_level);
    SET(CONFIG, 54, 43, config_aux);
    SET(CONFIG, 56, 45, config_monitor);
    SET(NETWORK, 14, 14, network_inputs);
    SET(NETWORK, 15, 15, network_input);
    SET(TENSOR, 3, 3, tensor_name);
    SET(TENSOR, 5, 5, tensor_dims);
    SET(PROFILE, 2, 2, profile_set);
    SET(PROFILE, 9, 7, profile_valid);
    SET(TIMINGS, 2, 2, timings_save);
    SET(TIMINGS, 3, 3, timings_combine);
    SET(BYTES, 2, 2, bytes_data);
    SET(BYTES, 3, 3, bytes_size);
    SET(PARSER, 0, 0, parser_parse);
    SET(PARSER, 5, 3, parser_errors);
    SET(PARSER, 6, 4, parser_error);
    SET(PARSER, 8, 6, complete_destructor);
    SET(PARSER, 9, 7, deleting_destructor);
    for (int i = 0; i < 8; i++)
        error_table[i] = trap;
    error_table[1] = (fn)error_text;
    error_table[6] = (fn)error_node;
    error_table[7] = (fn)error_operator;
}

EXPORT int32_t getInferLibVersion(void);
EXPORT int32_t getInferLibVersion(void)
{
    return VERSION;
}

static void *create(kind k, void *logger, int32_t version)
{
    take_logger(logger);
    if (version != VERSION)
        misuse("a version that is not the library's");
    if (C->faults.small_pointer || C->faults.null_runtime) {
        say(1, "CUDA initialization failure with error: 35");
        return C->faults.small_pointer ? (void *)0x200 : NULL;
    }
    return make(k, NULL);
}

EXPORT void *createInferRuntime_INTERNAL(void *logger, int32_t version);
EXPORT void *createInferRuntime_INTERNAL(void *logger, int32_t version)
{
    return create(RUNTIME, logger, version);
}

EXPORT void *createInferBuilder_INTERNAL(void *logger, int32_t version);
EXPORT void *createInferBuilder_INTERNAL(void *logger, int32_t version)
{
    return create(BUILDER, logger, version);
}

// For libnvonnxparser, which is a library of its own (standin_parser.c).
EXPORT void *standin_make_parser(void *network, void *logger, int32_t version)
{
    take_logger(logger);
    if (version != VERSION || ((thing *)network)->kind != NETWORK)
        misuse("createNvOnnxParser_INTERNAL: arguments");
    thing *p = make(PARSER, network);
    p->vtable = tables[PARSER];
    return p;
}
