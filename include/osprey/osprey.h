// Osprey: object detectors on GPUs and CPUs from C. The whole public interface, and its manual.
//
// An ONNX file becomes an engine for one device, once; the engine turns images into boxes:
//
//     osp_runtime *rt = NULL;  osp_engine *eng = NULL;  osp_detector *det = NULL;  osp_error err;
//     osp_image img;  osp_detection boxes[300];  size_t count;
//     if (osp_runtime_open(&rt, NULL, &err) || osp_engine_open_cached(&eng, rt, "model.onnx",
//             "cache", "model", NULL, &err) || osp_detector_open(&det, eng, NULL, &err) ||
//         osp_image_read(rt, "photo.jpg", &img, &err))
//         die(err.text);
//     if (osp_detector_run(det, &img, 1, boxes, 300, &count, &err)) die(err.text);
//     for (size_t i = 0; i < count; i++)
//         printf("%d %.2f  %.1f %.1f %.1f %.1f\n", boxes[i].class_id, boxes[i].score,
//                boxes[i].x1, boxes[i].y1, boxes[i].x2, boxes[i].y2);
//     osp_image_free(&img);  osp_detector_close(&det);  osp_engine_close(&eng);
//     osp_runtime_close(&rt);
//
// Rules that hold for every function, unless it says otherwise:
// - A fallible call returns osp_status, 0 on success, and describes a failure in the caller's
//   osp_error (may be NULL). On failure every output argument is NULL, zero or untouched, nothing
//   is leaked, and arguments stay the caller's.
// - Option structs are valid when zeroed: 0 means default or "choose". `reserved` must be zero.
// - Strings are UTF-8. Strings and arrays the library returns belong to the object asked, and live
//   as long as it does. Close functions take the address of the handle, accept NULL in it, and
//   null it. Objects keep what they were made from alive, so the order of closing is free.
// - Threads: a runtime, model or engine may be used from many threads at once; a session or
//   detector from one thread at a time. Closing needs to be the last use.
#ifndef OSPREY_OSPREY_H
#define OSPREY_OSPREY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define OSP_API __attribute__((visibility("default")))
#else
#define OSP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define OSP_VERSION_MAJOR 0
#define OSP_VERSION_MINOR 1
#define OSP_VERSION_PATCH 0
#define OSP_VERSION (OSP_VERSION_MAJOR * 10000 + OSP_VERSION_MINOR * 100 + OSP_VERSION_PATCH)
#define OSP_MAX_RANK 8

// The library's own OSP_VERSION. Compare with the header's: major and minor must agree while the
// major version is 0 (osp_runtime_open checks it through osp_options_version below).
OSP_API int32_t osp_version(void);

// ---- Errors -------------------------------------------------------------------------------------

// Numbers are stable. The comment gives what a caller usually does.
#define OSP_STATUS_MAP(X)                                                                          \
    X(OK, 0, "done")                                                                               \
    X(ERROR_ARGUMENT, 1, "a wrong argument") /* mend the call */                                   \
    X(ERROR_MEMORY, 2, "out of memory")      /* free some, or raise the limit */                   \
    X(ERROR_IO, 3, "a file could not be read or written")                                          \
    X(ERROR_FORMAT, 4, "a malformed file") /* the file is not what it claims */                    \
    X(ERROR_CORRUPT, 5, "a damaged file")  /* a plan's checksum: build it again */                 \
    X(ERROR_STALE, 6, "a plan for another version or device") /* build it again */                 \
    X(ERROR_LIMIT, 7, "over a limit of the options")                                               \
    X(ERROR_UNSUPPORTED, 8, "not supported")       /* operator, format or feature */               \
    X(ERROR_UNTRUSTED, 9, "refused without trust") /* see osp_engine_options.trust */              \
    X(ERROR_DEVICE, 10, "device not available")                                                    \
    X(ERROR_DEVICE_LOST, 11, "device lost")  /* restart the process */                             \
    X(ERROR_BUSY, 12, "all slots are taken") /* wait for a ticket */                               \
    X(ERROR_TIMEOUT, 13, "not finished in time")                                                   \
    X(ERROR_CANCELLED, 14, "cancelled") /* by the progress callback */                             \
    X(ERROR_OVERFLOW, 15, "a result is larger than its buffer")                                    \
    X(ERROR_SYSTEM, 16, "the system or a library refused a call")                                  \
    X(ERROR_INEXACT, 17, "too far from FP32") /* keep nodes in FP32, or allow more */

typedef enum osp_status {
#define X(name, value, text) OSP_##name = value,
    OSP_STATUS_MAP(X)
#undef X
} osp_status;

typedef struct osp_error {
    osp_status code;
    char text[508];  // one line: "FILE: what is wrong: what to do"; always terminated
} osp_error;

// A constant phrase for a status ("a malformed file"); "unknown status" for other numbers.
OSP_API const char *osp_status_text(osp_status status);

// ---- Words --------------------------------------------------------------------------------------

// clang-format off
typedef enum osp_switch { OSP_AUTO = 0, OSP_ON = 1, OSP_OFF = 2 } osp_switch;

typedef enum osp_log_level {
    OSP_LOG_ERROR = 1, OSP_LOG_WARNING = 2,  // you are slower, or something else, than you may think
    OSP_LOG_INFO = 3, OSP_LOG_DEBUG = 4
} osp_log_level;

typedef enum osp_backend {  // AUTO: cuda, tensorrt, cpu; each passed over only with a reason
    OSP_BACKEND_AUTO = 0, OSP_BACKEND_REFERENCE = 1, OSP_BACKEND_CPU = 2, OSP_BACKEND_CUDA = 3,
    OSP_BACKEND_TENSORRT = 4
} osp_backend;

typedef enum osp_dtype {  // BOOL: one byte, 0 or 1
    OSP_DTYPE_UNKNOWN = 0, OSP_DTYPE_FLOAT32 = 1, OSP_DTYPE_FLOAT16 = 2, OSP_DTYPE_BFLOAT16 = 3,
    OSP_DTYPE_INT32 = 4, OSP_DTYPE_INT64 = 5, OSP_DTYPE_UINT8 = 6, OSP_DTYPE_INT8 = 7,
    OSP_DTYPE_BOOL = 8
} osp_dtype;

typedef enum osp_precision {  // AUTO: FP32 on the CPU, FP16 on GPUs that have it
    OSP_PRECISION_AUTO = 0, OSP_PRECISION_FP32 = 1, OSP_PRECISION_FP16 = 2, OSP_PRECISION_BF16 = 3
} osp_precision;

typedef enum osp_place { OSP_PLACE_HOST = 0, OSP_PLACE_PINNED = 1, OSP_PLACE_DEVICE = 2 } osp_place;

typedef enum osp_pixel_format {
    OSP_PIXEL_RGB = 0, OSP_PIXEL_BGR = 1, OSP_PIXEL_RGBA = 2, OSP_PIXEL_BGRA = 3,
    OSP_PIXEL_GREY = 4, OSP_PIXEL_NV12 = 5, OSP_PIXEL_I420 = 6
} osp_pixel_format;
typedef enum osp_color_matrix { OSP_COLOR_BT601 = 0, OSP_COLOR_BT709 = 1 } osp_color_matrix;
typedef enum osp_color_range { OSP_RANGE_LIMITED = 0, OSP_RANGE_FULL = 1 } osp_color_range;

// What the outputs of a detector hold; rows of boxes are in pixels of its input, or normalised.
typedef enum osp_head {
    OSP_HEAD_AUTO = 0,      // metadata, else the output's shape; an ambiguous shape is an error
    OSP_HEAD_NONE = 1,      // not a detector
    OSP_HEAD_END2END = 2,   // (N,K,6): x1 y1 x2 y2 score class, in pixels
    OSP_HEAD_YOLO8 = 3,     // (N,4+nc,A): cx cy w h in pixels, class scores
    OSP_HEAD_YOLO5 = 4,     // (N,A,5+nc): cx cy w h in pixels, objectness, class scores
    OSP_HEAD_DETR = 5,      // (N,K,6): cx cy w h normalised, score, class (Ultralytics RT-DETR)
    OSP_HEAD_DETR_PAIR = 6  // (N,K,4) normalised cx cy w h, and (N,K,nc) logits
} osp_head;
typedef enum osp_resize {  // LETTERBOX: keep the aspect, pad with 114, centred
    OSP_RESIZE_AUTO = 0, OSP_RESIZE_LETTERBOX = 1, OSP_RESIZE_STRETCH = 2
} osp_resize;

// How an engine takes its image: as the model does, or as pixels: uint8 N x H x W x 3, RGB, at the
// network's size. AUTO, for engines that detectors run: pixels where that is faster, on cuda in FP16
// where the one input goes straight into a convolution.
typedef enum osp_pixels {
    OSP_PIXELS_MODEL = 0, OSP_PIXELS_AUTO = 1, OSP_PIXELS_UINT8 = 2
} osp_pixels;
// clang-format on

// ---- Runtime: the root object -------------------------------------------------------------------

typedef struct osp_runtime osp_runtime;

// Called from any thread, one call at a time per runtime. `text` lives for the call.
typedef struct osp_logger {
    void (*log)(void *user, osp_log_level level, const char *text);  // NULL: silent
    void *user;
    osp_log_level level;  // 0: warnings and errors
} osp_logger;

// Memory for the library's own data; any thread. All three or none. `alloc` gives memory aligned
// to 16 bytes, or NULL, which surfaces as OSP_ERROR_MEMORY.
typedef struct osp_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void *(*realloc)(void *user, void *old, size_t bytes);
    void (*free)(void *user, void *ptr);
    void *user;
} osp_allocator;

// What one file may cost. 0: the default in brackets.
typedef struct osp_limits {
    uint64_t file_bytes;     // [8 GiB] a model with its external data, or a plan
    uint64_t nodes;          // [200,000] nodes of a graph
    uint64_t nesting;        // [32] depth of messages in a file
    uint64_t tensor_bytes;   // [4 GiB] one tensor
    uint64_t memory_bytes;   // [16 GiB] activations of one session
    uint64_t fold_elements;  // [64 Mi] elements computed while folding constants
    uint64_t image_pixels;   // [256 Mi] width x height of a decoded image
    uint64_t reserved[4];
} osp_limits;

typedef struct osp_options {
    osp_logger logger;
    osp_allocator allocator;
    osp_limits limits;
    int32_t threads;  // compute threads of all CPU sessions together; 0: physical cores
    int32_t reserved32;
    const char *library_dir;  // where to look for TensorRT after the loader's own path; NULL: no
    uint64_t reserved[6];
} osp_options;

// Makes a runtime. `options` may be NULL; it is copied. Fails with OSP_ERROR_ARGUMENT for options
// out of range, OSP_ERROR_MEMORY, or OSP_ERROR_SYSTEM.
OSP_API osp_status osp_runtime_open_version(osp_runtime **out, const osp_options *options,
                                            int32_t header_version, osp_error *err);
#define osp_runtime_open(out, options, err)                                                        \
    osp_runtime_open_version((out), (options), OSP_VERSION, (err))
OSP_API void osp_runtime_close(osp_runtime **runtime);

// Work done on untrusted files since the runtime was opened, and its heap: for tests and metrics.
typedef struct osp_counters {
    uint64_t bytes_read, nodes_made, elements_folded;
    uint64_t heap_bytes, heap_peak_bytes;  // through the allocator of the runtime
} osp_counters;
OSP_API void osp_runtime_counters(const osp_runtime *runtime, osp_counters *out);

typedef struct osp_device_info {
    osp_backend backend;  // the first backend that AUTO would use on it; CPU for the host
    int32_t index;        // CUDA ordinal; 0 for the CPU
    char name[128];
    int32_t cc_major, cc_minor;  // compute capability; 0 for the CPU
    int32_t multiprocessors;     // SMs; physical cores for the CPU
    uint64_t memory_bytes;       // total; 2 GiB where it is unknown
    uint64_t memory_free_bytes;  // 0 where it is unknown
    bool memory_known;
    char pci_id[32], uuid[48], isa[32];  // "" where there is none
    char reason[256];                    // why a better backend does not run on it, "" if none
    // Rated, at the highest clocks: what no kernel passes and few come near. 0 where unknown, and
    // for the CPU.
    double memory_bytes_per_s;
    double fp16_flops_per_s;  // of dense matrix products of FP16 that are summed in FP32
} osp_device_info;

// Devices are listed at runtime_open: GPUs first, the CPU always last. Out of range: ARGUMENT.
OSP_API int32_t osp_device_count(const osp_runtime *runtime);
OSP_API osp_status osp_device_get(const osp_runtime *runtime, int32_t i, osp_device_info *out,
                                  osp_error *err);

// Writes "{prefix}.cc_{major}.{minor}_sm_{count}.engine" for a GPU, "{prefix}.cpu_{isa}.engine" for
// the CPU, at most `size` bytes with its 0. OSP_ERROR_OVERFLOW when it does not fit.
OSP_API osp_status osp_engine_file_name(const char *prefix, const osp_device_info *device,
                                        char *out, size_t size, osp_error *err);

// ---- Tensors and images -------------------------------------------------------------------------

// Borrowed memory and its shape; converts to DLPack without a copy.
typedef struct osp_tensor {
    const char *name;  // may be NULL where the position says which
    osp_dtype dtype;
    int32_t rank;  // 0..8
    int64_t dims[OSP_MAX_RANK];
    int64_t byte_strides[OSP_MAX_RANK];  // all 0: dense, C order
    void *data;
    osp_place place;
    int32_t device;
} osp_tensor;

// 8-bit pixels. Packed formats use plane[0]; NV12: Y, UV; I420: Y, U, V. Alpha is ignored.
typedef struct osp_image {
    uint8_t *plane[3];
    size_t pitch_bytes[3];  // bytes from one row to the next; 0: rows are dense
    int32_t width, height;
    osp_pixel_format format;
    osp_color_matrix matrix;  // for NV12 and I420
    osp_color_range range;
    osp_place place;
    int32_t device;
    void *owner;  // the library's, where it made the pixels; else NULL
} osp_image;

// Reads a JPEG or PNG as RGB, upright by its EXIF orientation; other formats: OSP_ERROR_UNSUPPORTED
// with the format's name. The pixels are freed by osp_image_free (a zeroed image is fine too).
OSP_API osp_status osp_image_read(osp_runtime *runtime, const char *path, osp_image *out,
                                  osp_error *err);
OSP_API osp_status osp_image_read_memory(osp_runtime *runtime, const void *bytes, size_t size,
                                         osp_image *out, osp_error *err);
// Writes RGB, BGR, RGBA, BGRA or GREY as .jpg (quality 90), .jpeg or .png, by the path's ending.
OSP_API osp_status osp_image_write(osp_runtime *runtime, const char *path, const osp_image *image,
                                   osp_error *err);
OSP_API void osp_image_free(osp_image *image);

// Reads .npy or an ONNX TensorProto (.pb), by content; bfloat16 only from .pb. The tensor owns one
// block that osp_tensor_free releases, its name included (the TensorProto's, or NULL).
OSP_API osp_status osp_tensor_read(osp_runtime *runtime, const char *path, osp_tensor *out,
                                   osp_error *err);
// Writes .npy or .pb by the path's ending. Host tensors only.
OSP_API osp_status osp_tensor_write(osp_runtime *runtime, const char *path,
                                    const osp_tensor *tensor, osp_error *err);
OSP_API void osp_tensor_free(osp_runtime *runtime, osp_tensor *tensor);
OSP_API size_t osp_dtype_bytes(osp_dtype dtype);      // 0 for unknown
OSP_API const char *osp_dtype_name(osp_dtype dtype);  // "float32", ...

// Page-locked memory where a GPU is present, plain memory elsewhere; aligned to 64 bytes.
OSP_API void *osp_host_alloc(osp_runtime *runtime, size_t bytes);  // NULL when out of memory
OSP_API void osp_host_free(osp_runtime *runtime, void *ptr);

// ---- Model: a parsed ONNX file ------------------------------------------------------------------

typedef struct osp_model osp_model;

// Reads a model; external data only from inside the file's folder. FORMAT, LIMIT, IO or MEMORY.
OSP_API osp_status osp_model_open(osp_model **out, osp_runtime *runtime, const char *path,
                                  osp_error *err);
// The same from memory, which is copied. External data is refused.
OSP_API osp_status osp_model_open_memory(osp_model **out, osp_runtime *runtime, const void *bytes,
                                         size_t size, osp_error *err);
OSP_API void osp_model_close(osp_model **model);

// One input or output of a model or engine. A free dimension is -1.
typedef struct osp_tensor_info {
    const char *name;
    osp_dtype dtype;
    int32_t rank;  // -1: unknown
    int64_t dims[OSP_MAX_RANK];
    const char *dim_names[OSP_MAX_RANK];  // NULL where it has none
    bool determines_shapes;               // must be given as a fixed input
} osp_tensor_info;

typedef struct osp_model_info {
    int32_t inputs, outputs, nodes;
    int64_t opset, ir_version;
    uint64_t weight_bytes;
    const char *producer, *graph_name;
    int32_t metadata;  // number of pairs
} osp_model_info;

OSP_API void osp_model_get_info(const osp_model *model, osp_model_info *out);
OSP_API osp_status osp_model_input(const osp_model *model, int32_t i, osp_tensor_info *out);
OSP_API osp_status osp_model_output(const osp_model *model, int32_t i, osp_tensor_info *out);
OSP_API osp_status osp_model_metadata(const osp_model *model, int32_t i, const char **key,
                                      const char **value);
// How often each operator occurs: "type" or "domain.type", for i from 0 until ARGUMENT.
OSP_API osp_status osp_model_operator(const osp_model *model, int32_t i, const char **name,
                                      int32_t *count, bool *known);

// ---- Engine: a model compiled for one device ----------------------------------------------------

typedef struct osp_engine osp_engine;

typedef struct osp_progress {
    // `done` of `total` steps of `phase`; return false to cancel. Called from the calling thread.
    bool (*step)(void *user, const char *phase, int32_t done, int32_t total);
    void *user;
} osp_progress;

// The engine turns pixels into what the model wants: (pixel - mean) * scale, by channel R, G, B.
typedef struct osp_image_input {
    osp_pixels format;
    int32_t reserved32;
    float mean[3], scale[3];  // only with UINT8; all scales 0: 1/255
} osp_image_input;

typedef struct osp_engine_options {
    osp_backend backend;
    int32_t device;  // CUDA ordinal
    osp_precision precision;
    int32_t batches[8];     // one variant each; all 0: 1, 2, 4 on a GPU, 1 on the CPU, where free
    int32_t height, width;  // where the model leaves them free; 0: 1280
    uint64_t workspace_bytes;  // 0: the smaller of 90 % of the device's memory and what is free
    int32_t builder_level;     // tensorrt: 1..5; 0: its default
    float tolerance;  // refuse above this difference from FP32 (osp_engine_difference); 0: never
    const char *cache_file;        // timing cache; NULL: none
    const char *const *keep_fp32;  // names of nodes to leave in FP32; tensorrt: then all types are
                                   // settled here, and TensorRT 10 chooses none (strongly typed)
    int32_t keep_fp32_count;
    int32_t fixed_input_count;
    const osp_tensor *fixed_inputs;  // by name: inputs that determine shapes; copied
    osp_head head;
    osp_resize resize;
    osp_switch trust;   // open a plan that TensorRT will treat as code
    osp_switch borrow;  // open_memory: keep using the caller's bytes until the engine closes
    osp_progress progress;
    osp_image_input image_input;  // detectors take any; a session's caller gives what it says
    uint64_t reserved[2];
} osp_engine_options;

// Compiles a model. `options` may be NULL. A backend named by the user never falls back; AUTO goes on
// to the next where one cannot run the model (UNSUPPORTED; one error lists all nodes that it cannot
// run) or turns out to be unusable (DEVICE), and to none after any other error: memory that is short
// for the moment must not decide how fast an engine is for good. Seconds of work on a GPU.
// FP16 and BF16 engines are compared with FP32, see osp_engine_difference; INEXACT over the tolerance.
OSP_API osp_status osp_engine_build(osp_engine **out, osp_model *model,
                                    const osp_engine_options *options, osp_error *err);
OSP_API osp_status osp_engine_build_memory(osp_engine **out, osp_runtime *runtime, const void *onnx,
                                           size_t size, const osp_engine_options *options,
                                           osp_error *err);
// Opens a plan, one of ours or a bare one of TensorRT, with or without the prefix of Ultralytics; for
// TensorRT's, UNTRUSTED unless this process built it or `trust` is ON. Checks, in this order: magic (FORMAT), header, version and device (STALE), checksum
// (CORRUPT), then the meaning of every field (FORMAT). Only device, trust, borrow and progress of
// the options are read. open_memory copies the bytes unless told to borrow.
OSP_API osp_status osp_engine_open(osp_engine **out, osp_runtime *runtime, const char *path,
                                   const osp_engine_options *options, osp_error *err);
OSP_API osp_status osp_engine_open_memory(osp_engine **out, osp_runtime *runtime, const void *plan,
                                          size_t size, const osp_engine_options *options,
                                          osp_error *err);
// Opens DIR/<osp_engine_file_name(prefix)>-<hash of model and options> if it is there and fresh,
// else builds and saves it, under a lock file. `prefix` NULL: the model's file name. What TensorRT
// made is opened without `trust` where DIR is the user's own and has mode 0700; else UNTRUSTED.
OSP_API osp_status osp_engine_open_cached(osp_engine **out, osp_runtime *runtime,
                                          const char *model_path, const char *dir,
                                          const char *prefix, const osp_engine_options *options,
                                          osp_error *err);
// Writes the plan: to a temporary file, synced, then renamed.
OSP_API osp_status osp_engine_save(const osp_engine *engine, const char *path, osp_error *err);
// The plan in one block that the caller frees with osp_host_free.
OSP_API osp_status osp_engine_save_memory(const osp_engine *engine, void **plan, size_t *size,
                                          osp_error *err);
OSP_API void osp_engine_close(osp_engine **engine);

typedef struct osp_engine_info {
    osp_backend backend;
    osp_precision precision;
    int32_t device;
    const char *reason;      // why better backends were passed over; "" if none
    const char *device_key;  // what a plan of it is tied to
    int32_t batch_min, batch_opt, batch_max;
    bool batch_free;                                      // any n from 1 to batch_max may be run
    int32_t inputs, outputs, variants, steps, steps_ref;  // steps_ref: by the plain kernels
    uint64_t weight_bytes, activation_bytes;  // activations of the largest variant, a session each
    uint64_t plan_bytes;                      // 0 before it was saved or opened
    double build_ms, open_ms;
    osp_head head;
    osp_resize resize;
    int32_t classes;                // number of class names; 0: unknown
    bool from_cache;                // osp_engine_open_cached found it
    osp_pixels image_input;         // never AUTO
    double difference;              // the largest that osp_engine_difference tells of,
    const char *difference_output;  // and whose it is; NULL: not compared
    uint64_t reserved[1];
} osp_engine_info;

OSP_API void osp_engine_get_info(const osp_engine *engine, osp_engine_info *out);
// Height and width of the image input; 1280 x 1280 where the model leaves them free and no option
// said otherwise.
OSP_API void osp_engine_input_size(const osp_engine *engine, int32_t *height, int32_t *width);
OSP_API osp_status osp_engine_input(const osp_engine *engine, int32_t i, osp_tensor_info *out);
OSP_API osp_status osp_engine_output(const osp_engine *engine, int32_t i, osp_tensor_info *out);
// What less than FP32 costs, measured when the engine was built (by backends cpu and cuda, and by
// tensorrt where a tolerance is set; an opened plan tells nothing): one row of seeded random input
// through this engine and through the same graph in FP32 on the same device. For float output `i`, the
// largest difference as a share of the range of FP32's values; infinite where one is finite and the
// other is not. Outputs whose rows are chosen (TopK, NMS) may hold others in another order where scores
// are as good as equal, so the values that they are chosen from are compared in their place. It tells
// of the arithmetic, not of mAP. ARGUMENT past the end.
OSP_API osp_status osp_engine_difference(const osp_engine *engine, int32_t i, const char **output,
                                         double *of_range);
OSP_API const char *osp_engine_class_name(const osp_engine *engine, int32_t class_id);  // or NULL

typedef struct osp_step_info {
    const char *name;  // of the node it came from
    const char *op;
    const char *tactic;
    const char *problem;  // one line of text
    double flops, bytes;  // multiply-adds count two; source, weights and destination once each
} osp_step_info;
// Step `i` of variant `variant`; ARGUMENT past the end.
OSP_API osp_status osp_engine_step(const osp_engine *engine, int32_t variant, int32_t i,
                                   osp_step_info *out);

// Reads a plan's header without a device or its checksum: for inspection.
typedef struct osp_plan_info {
    osp_backend backend;
    osp_precision precision;
    int32_t format, writer_version, variants, steps;
    char device_key[160];
    uint64_t bytes;
} osp_plan_info;
OSP_API osp_status osp_plan_get_info(osp_runtime *runtime, const char *path, osp_plan_info *out,
                                     osp_error *err);

// Writes a model back as ONNX, in another precision if asked: Casts are inserted, weights are
// converted, FP32 stays where range needs it and for the nodes that `options` pins.
OSP_API osp_status osp_model_write(osp_model *model, const char *path,
                                   const osp_engine_options *options, osp_error *err);

// ---- Session: raw tensors -----------------------------------------------------------------------

typedef struct osp_session_options {
    void *stream;        // the caller's CUDA stream; NULL: own streams
    int32_t depth;       // slots in flight; 0: 2
    osp_switch profile;  // ON: time every step (and run slower)
    uint64_t reserved[4];
} osp_session_options;

typedef uint64_t osp_ticket;
typedef struct osp_session osp_session;

OSP_API osp_status osp_session_open(osp_session **out, osp_engine *engine,
                                    const osp_session_options *options, osp_error *err);
OSP_API void osp_session_close(osp_session **session);

// Runs once. Tensors are matched by name, or by position where the name is NULL. dims[0] of the
// inputs states n where the engine's batch is free: the smallest variant that holds it runs, and n
// rows come back. An output with data is written there: its dims are the capacity (rank 0 and a
// larger tensor: OSP_ERROR_OVERFLOW) and become the real extents; one with data NULL is pointed at
// the session's memory, valid until the next call on the session. Fewer outputs than the engine
// has may be asked for.
OSP_API osp_status osp_session_run(osp_session *session, const osp_tensor *inputs,
                                   int32_t input_count, osp_tensor *outputs, int32_t output_count,
                                   osp_error *err);
// Starts a run and returns at once. Input and output tensors (not the structs) are borrowed until
// the ticket was waited for. OSP_ERROR_BUSY: all slots are taken. Tickets finish in order.
OSP_API osp_status osp_session_enqueue(osp_session *session, const osp_tensor *inputs,
                                       int32_t input_count, const osp_tensor *outputs,
                                       int32_t output_count, osp_ticket *ticket, osp_error *err);
// Waits at most `timeout_ms` (negative: for ever) for a ticket and fills `outputs` as run does.
// OSP_ERROR_TIMEOUT leaves the ticket waiting. A ticket can be waited for once.
OSP_API osp_status osp_session_wait(osp_session *session, osp_ticket ticket, int64_t timeout_ms,
                                    osp_tensor *outputs, int32_t output_count, osp_error *err);
// OSP_OK: finished; OSP_ERROR_BUSY: not yet; ARGUMENT: no such ticket. Never blocks.
OSP_API osp_status osp_session_poll(osp_session *session, osp_ticket ticket);
// Fixes the addresses of inputs and outputs until the session closes, so that a GPU needs no copy.
OSP_API osp_status osp_session_bind(osp_session *session, const osp_tensor *tensors, int32_t count,
                                    osp_error *err);

// Times of the last finished run, in us; step times only with `profile`.
typedef struct osp_run_stats {
    double pre_us, copy_us, infer_us, post_us;
    int32_t variant, n;
} osp_run_stats;
OSP_API void osp_session_stats(const osp_session *session, osp_run_stats *out);
// Mean time of step `i` of the variant last run, over all profiled runs of it; ARGUMENT past the
// end or without profile.
OSP_API osp_status osp_session_step_us(const osp_session *session, int32_t i, double *us);

// ---- Detector: images in, boxes out -------------------------------------------------------------

typedef struct osp_detection {
    float x1, y1, x2, y2;  // pixels of the source image, clipped to it
    float score;
    int32_t class_id;
    int32_t image;  // index into the images of the call
    int32_t reserved32;
    float reserved[4];  // for masks, key points, angles
} osp_detection;

typedef struct osp_detector_options {
    float score_threshold;      // 0: 0.25; negative: 0
    float iou_threshold;        // 0: 0.7; negative: 0
    int32_t max_detections;     // an image; 0: 300
    osp_head head;              // AUTO: as the engine says
    osp_resize resize;          // AUTO: stretch for DETR heads, letterbox for all others
    osp_switch class_agnostic;  // ON: NMS across classes
    const int32_t *classes;     // keep only these; copied
    int32_t class_count;        // 0: all
    int32_t reserved32;
    osp_session_options session;
    uint64_t reserved[4];
} osp_detector_options;

typedef struct osp_detector osp_detector;

OSP_API osp_status osp_detector_open(osp_detector **out, osp_engine *engine,
                                     const osp_detector_options *options, osp_error *err);
OSP_API void osp_detector_close(osp_detector **detector);
// Detects in `n` images of any sizes (in batches as the engine has them). Boxes are ordered by
// image, then by falling score; at most `capacity`, else OSP_ERROR_OVERFLOW with what fitted.
OSP_API osp_status osp_detector_run(osp_detector *detector, const osp_image *images, int32_t n,
                                    osp_detection *out, size_t capacity, size_t *count,
                                    osp_error *err);
// The same in two halves; n at most the engine's largest batch. Images are borrowed until waited.
OSP_API osp_status osp_detector_enqueue(osp_detector *detector, const osp_image *images, int32_t n,
                                        osp_ticket *ticket, osp_error *err);
OSP_API osp_status osp_detector_wait(osp_detector *detector, osp_ticket ticket, int64_t timeout_ms,
                                     osp_detection *out, size_t capacity, size_t *count,
                                     osp_error *err);
OSP_API void osp_detector_stats(const osp_detector *detector, osp_run_stats *out);

// Draws boxes with "name score" labels into RGB, BGR, RGBA or BGRA pixels on the host. `names` may
// be NULL (class numbers are drawn) or hold `name_count` entries.
OSP_API osp_status osp_image_draw(osp_image *image, const osp_detection *boxes, size_t count,
                                  const char *const *names, int32_t name_count, osp_error *err);

#ifdef __cplusplus
}
#endif
#endif
