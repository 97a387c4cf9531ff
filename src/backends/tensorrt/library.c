// Finding and loading libnvinfer and libnvonnxparser, and the logger of process lifetime.
#include "backends/tensorrt/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

// ---- The logger ---------------------------------------------------------------------------------

// TensorRT keeps the first logger that the process gives it, and its address, for good: this is the
// library's only writable global (scripts/check-symbols). It routes to whoever listens. A process may
// use both majors, each of which wants its own layout.
static struct {
    osp_trt_logger object[2];
    pthread_mutex_t lock;
    osp_trt_sink *sinks;
} osp_trt_the_logger = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void collect(osp_trt_sink *sink, const char *text)
{
    const size_t used = strlen(sink->text);
    snprintf(sink->text + used, sizeof sink->text - used, "%s%s", used ? "; " : "", text);
}

static void deliver(osp_trt_sink *sink, int32_t severity, const char *text)
{
    static const osp_log_level levels[] = {OSP_LOG_ERROR, OSP_LOG_ERROR, OSP_LOG_WARNING,
                                           OSP_LOG_INFO, OSP_LOG_DEBUG};
    const bool known = severity >= 0 && severity <= OSP_TRT_VERBOSE;
    if (severity <= OSP_TRT_ERROR)
        collect(sink, text);
    osp_log(sink->ctx, known ? levels[severity] : OSP_LOG_DEBUG, "TensorRT: %s", text);
}

static void log_message(osp_trt_logger *logger, int32_t severity, const char *text)
{
    (void)logger;
    const pthread_t self = pthread_self();
    pthread_mutex_lock(&osp_trt_the_logger.lock);
    bool found = false;
    for (osp_trt_sink *s = osp_trt_the_logger.sinks; s && !found; s = s->next)
        if (!s->shared && pthread_equal(s->thread, self)) {
            deliver(s, severity, text);
            found = true;
        }
    for (osp_trt_sink *s = osp_trt_the_logger.sinks; s && !found; s = s->next)
        deliver(s, severity, text);
    pthread_mutex_unlock(&osp_trt_the_logger.lock);
}

static osp_trt_logger *the_logger_of(const osp_trt *trt)
{
    return osp_trt_the_logger.object + trt->api.column;
}

void osp_trt_sink_open(osp_trt_sink *sink, const osp_trt *trt, osp_context *ctx, bool shared)
{
    *sink = (osp_trt_sink){.ctx = ctx, .thread = pthread_self(), .shared = shared};
    pthread_mutex_lock(&osp_trt_the_logger.lock);
    osp_trt_logger *object = the_logger_of(trt);
    if (!object->vtable) {
        object->log = log_message;
        osp_trt_logger_init(&trt->api, object);
    }
    sink->next = osp_trt_the_logger.sinks;
    osp_trt_the_logger.sinks = sink;
    pthread_mutex_unlock(&osp_trt_the_logger.lock);
}

void osp_trt_sink_close(osp_trt_sink *sink)
{
    pthread_mutex_lock(&osp_trt_the_logger.lock);
    for (osp_trt_sink **at = &osp_trt_the_logger.sinks; *at; at = &(*at)->next)
        if (*at == sink) {
            *at = sink->next;
            break;
        }
    pthread_mutex_unlock(&osp_trt_the_logger.lock);
}

const char *osp_trt_sink_take(osp_trt_sink *sink, char *text, size_t size)
{
    pthread_mutex_lock(&osp_trt_the_logger.lock);
    snprintf(text, size, "%s", sink->text);
    sink->text[0] = 0;
    pthread_mutex_unlock(&osp_trt_the_logger.lock);
    return text;
}

// ---- Loading ------------------------------------------------------------------------------------

const char *osp_trt_version_text(int32_t version, char *text, size_t size)
{
    snprintf(text, size, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return text;
}

// A symbol as a function: POSIX says that this conversion works.
typedef void (*any_fn)(void);

static any_fn find(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    any_fn function;
    memcpy(&function, &symbol, sizeof function);
    return symbol ? function : NULL;
}

// What is to be told when nothing usable is there: the last thing that was wrong.
typedef struct search {
    osp_trt *out;
    char why[400];
    void *library;
} search;

static void note_open_error(search *s, const char *name)
{
    const char *text = dlerror();
    // "libnvinfer.so.11: cannot open shared object file: No such file or directory" says nothing
    // new; that one of its own libraries is missing, or that it is damaged, does.
    if (text && (strncmp(text, name, strlen(name)) || !strstr(text, "cannot open shared object")))
        snprintf(s->why, sizeof s->why, "%s", text);
}

static bool take(search *s, const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        note_open_error(s, name);
        return false;
    }
    osp_trt *t = s->out;
    const any_fn version = find(library, "getInferLibVersion");
    const any_fn runtime = find(library, "createInferRuntime_INTERNAL");
    const any_fn builder = find(library, "createInferBuilder_INTERNAL");
    Dl_info info = {0};
    void *address;
    memcpy(&address, &version, sizeof address);
    if (version && dladdr(address, &info) && info.dli_fname)
        name = info.dli_fname;
    snprintf(t->file, sizeof t->file, "%s", name);
    if (!version || !runtime || !builder) {
        snprintf(s->why, sizeof s->why, "%s lacks functions of TensorRT", t->file);
        return false;
    }
    const int32_t number = ((int32_t(*)(void))version)();
    if (!osp_trt_api_init(&t->api, number)) {
        char text[24];
        snprintf(s->why, sizeof s->why, "%s is TensorRT %s, and 10 and 11 are supported", t->file,
                 osp_trt_version_text(number, text, sizeof text));
        return false;
    }
    t->create_runtime = (void *(*)(void *, int32_t))runtime;
    t->create_builder = (void *(*)(void *, int32_t))builder;
    s->library = library;
    return true;
}

// One file name, on the loader's path and then in the folder of the options.
static bool look_for(search *s, osp_context *ctx, const char *name)
{
    if (take(s, name))
        return true;
    char path[sizeof ctx->library_dir + 32];
    if (!ctx->library_dir[0] ||
        snprintf(path, sizeof path, "%s/%s", ctx->library_dir, name) >= (int)sizeof path)
        return false;
    return take(s, path);
}

osp_status osp_trt_load(osp_trt *out, osp_context *ctx, int32_t major, osp_error *err)
{
    // After the two that can be used, names that only serve to say what is there.
    static const char *const names[] = {"libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so",
                                        "libnvinfer.so.12", "libnvinfer.so.9",  "libnvinfer.so.8"};
    enum { USABLE = 2, NAMES = sizeof names / sizeof names[0] };
    *out = (osp_trt){0};
    search s = {.out = out};
    if (major == 10 && look_for(&s, ctx, names[1]))
        return OSP_OK;
    for (size_t i = 0; i < NAMES && (i < USABLE || !s.why[0]); i++)
        if (look_for(&s, ctx, names[i]))
            return OSP_OK;
    *out = (osp_trt){0};
    if (s.why[0])
        OSP_FAIL(err, OSP_ERROR_DEVICE, "TensorRT cannot be used: %s", s.why);
    OSP_FAIL(err, OSP_ERROR_DEVICE,
             "TensorRT is not there: no libnvinfer.so.11 or .10 on the loader's path%s%s: install "
             "it, or name its folder (library_dir, --library-dir)",
             ctx->library_dir[0] ? " or in " : "", ctx->library_dir);
}

// ---- Root objects -------------------------------------------------------------------------------

static osp_status refused(const osp_trt *trt, osp_trt_sink *sink, const char *what, osp_error *err)
{
    char version[24], text[sizeof sink->text];
    osp_trt_sink_take(sink, text, sizeof text);
    OSP_FAIL(err, OSP_ERROR_DEVICE, "TensorRT %s makes no %s%s%s",
             osp_trt_version_text(trt->api.version, version, sizeof version), what,
             text[0] ? ": " : "", text);
}

osp_status osp_trt_open_runtime(const osp_trt *trt, osp_trt_sink *sink, osp_trt_runtime **out,
                                osp_error *err)
{
    *out = trt->create_runtime(the_logger_of(trt), trt->api.version);
    if (osp_trt_is_object(*out))
        return OSP_OK;
    *out = NULL;
    return refused(trt, sink, "runtime", err);
}

osp_status osp_trt_open_builder(const osp_trt *trt, osp_trt_sink *sink, osp_trt_builder **out,
                                osp_error *err)
{
    *out = trt->create_builder(the_logger_of(trt), trt->api.version);
    if (osp_trt_is_object(*out))
        return OSP_OK;
    *out = NULL;
    return refused(trt, sink, "builder", err);
}

osp_status osp_trt_open_parser(const osp_trt *trt, osp_trt_network *network, osp_trt_sink *sink,
                               osp_trt_parser **out, osp_error *err)
{
    char name[32], path[sizeof trt->file + sizeof name];
    const char *slash = strrchr(trt->file, '/');
    snprintf(name, sizeof name, "libnvonnxparser.so.%d", trt->api.version / 10000);
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - trt->file) : 0, trt->file,
             name);
    *out = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        OSP_FAIL(err, OSP_ERROR_DEVICE,
                 "TensorRT's ONNX parser cannot be loaded: %s: install it "
                 "beside libnvinfer",
                 why ? why : path);
    }
    const any_fn create = find(library, "createNvOnnxParser_INTERNAL");
    if (!create)
        OSP_FAIL(err, OSP_ERROR_DEVICE, "%s lacks functions of TensorRT's ONNX parser", path);
    typedef void *create_fn(void *, void *, int32_t);
    *out = ((create_fn *)create)(network, the_logger_of(trt), trt->api.version);
    if (osp_trt_is_object(*out))
        return OSP_OK;
    *out = NULL;
    return refused(trt, sink, "parser", err);
}
