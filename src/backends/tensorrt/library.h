// TensorRT's libraries, loaded at run time, and the one logger that TensorRT is given.
//
// A library is never unloaded: TensorRT keeps the logger, starts threads and registers exit handlers,
// and loading the same file again costs nothing. So an osp_trt owns nothing and may be copied.
// Thread rule: any thread.
#ifndef OSP_TENSORRT_LIBRARY_H
#define OSP_TENSORRT_LIBRARY_H

#include <pthread.h>

#include "backends/tensorrt/slots.h"

typedef struct osp_trt {
    osp_trt_api api;
    char file[256];  // where libnvinfer was found
    void *(*create_runtime)(void *logger, int32_t version);
    void *(*create_builder)(void *logger, int32_t version);
} osp_trt;

// Looks for libnvinfer on the loader's path, then in ctx->library_dir; `major` 10 or 11 is tried
// first, 0: the newest first. DEVICE, with what was found instead, where there is no usable one.
osp_status osp_trt_load(osp_trt *out, osp_context *ctx, int32_t major, osp_error *err);

// "10.6.0" into text (at least 24 bytes); returns text.
const char *osp_trt_version_text(int32_t version, char *text, size_t size);

// The root objects. The device must be current and its CUDA context made: without one TensorRT 10
// and 11 answer with a pointer that is none. DEVICE, with TensorRT's words.
struct osp_trt_sink;
osp_status osp_trt_open_runtime(const osp_trt *trt, struct osp_trt_sink *sink,
                                osp_trt_runtime **out, osp_error *err);
osp_status osp_trt_open_builder(const osp_trt *trt, struct osp_trt_sink *sink,
                                osp_trt_builder **out, osp_error *err);
// Loads libnvonnxparser from where libnvinfer was found, or by the loader's path.
osp_status osp_trt_open_parser(const osp_trt *trt, osp_trt_network *network,
                               struct osp_trt_sink *sink, osp_trt_parser **out, osp_error *err);

// ---- What TensorRT says -------------------------------------------------------------------------

// Collects the errors that TensorRT logs while something of ours is under way, and passes everything
// on to the runtime's logger. TensorRT does not say what a message is about: one from a thread that
// has a sink of its own goes there, others to all sinks.
typedef struct osp_trt_sink {
    osp_context *ctx;
    struct osp_trt_sink *next;
    pthread_t thread;
    bool shared;  // belongs to no thread: an engine's, whose sessions run anywhere
    char text[384];
} osp_trt_sink;

// `sink` must stay where it is until it is closed.
void osp_trt_sink_open(osp_trt_sink *sink, const osp_trt *trt, osp_context *ctx, bool shared);
void osp_trt_sink_close(osp_trt_sink *sink);
// The errors since the last call, "" for none; returns `text`.
const char *osp_trt_sink_take(osp_trt_sink *sink, char *text, size_t size);

#endif
