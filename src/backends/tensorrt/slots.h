// TensorRT's interface as C sees it: typed calls on its objects, and the objects that we hand to it.
//
// NVIDIA ships a C++ interface only. Its objects are {vtable, implementation}; the methods stand in
// the implementation's vtable at places that are fixed within a major version. slots.c has them all,
// in one table; nothing else knows a place. Everything here is for the majors 10 and 11.
// Thread rule: as TensorRT's: a builder or a context from one thread at a time, an engine from many.
#ifndef OSP_TENSORRT_SLOTS_H
#define OSP_TENSORRT_SLOTS_H

#include "base/context.h"

enum { OSP_TRT_MAX_DIMS = 8 };

typedef struct osp_trt_dims {
    int32_t rank;
    int64_t d[OSP_TRT_MAX_DIMS];
} osp_trt_dims;

// What kind of object a pointer means. None is ever defined: they are TensorRT's.
typedef struct osp_trt_runtime osp_trt_runtime;
typedef struct osp_trt_engine osp_trt_engine;
typedef struct osp_trt_context osp_trt_context;
typedef struct osp_trt_builder osp_trt_builder;
typedef struct osp_trt_config osp_trt_config;
typedef struct osp_trt_network osp_trt_network;
typedef struct osp_trt_tensor osp_trt_tensor;
typedef struct osp_trt_profile osp_trt_profile;
typedef struct osp_trt_bytes osp_trt_bytes;  // IHostMemory
typedef struct osp_trt_timings osp_trt_timings;
typedef struct osp_trt_inspector osp_trt_inspector;
typedef struct osp_trt_parser osp_trt_parser;
typedef struct osp_trt_parser_error osp_trt_parser_error;

// Enumerations, by the numbers that both majors share; the two that differ are settled in slots.c.
typedef enum osp_trt_severity {
    OSP_TRT_INTERNAL_ERROR = 0,
    OSP_TRT_ERROR = 1,
    OSP_TRT_WARNING = 2,
    OSP_TRT_INFO = 3,
    OSP_TRT_VERBOSE = 4
} osp_trt_severity;
typedef enum osp_trt_io_mode { OSP_TRT_INPUT = 1, OSP_TRT_OUTPUT = 2 } osp_trt_io_mode;
typedef enum osp_trt_location { OSP_TRT_ON_DEVICE = 0, OSP_TRT_ON_HOST = 1 } osp_trt_location;
typedef enum osp_trt_selector {
    OSP_TRT_MIN = 0,
    OSP_TRT_OPT = 1,
    OSP_TRT_MAX = 2
} osp_trt_selector;
typedef enum osp_trt_flag { OSP_TRT_FLAG_FP16 = 0, OSP_TRT_FLAG_TF32 = 6 } osp_trt_flag;

// Which table of slots is used: 10 or 11; the version is major * 10000 + minor * 100 + patch.
typedef struct osp_trt_api {
    int32_t version;
    int32_t column;  // of the table of slots
} osp_trt_api;

// False: a major that the table does not have.
bool osp_trt_api_init(osp_trt_api *api, int32_t version);

// TensorRT answers some failures with a small number in place of NULL: both are no object.
static inline bool osp_trt_is_object(const void *object)
{
    return (uintptr_t)object >= 4096;
}

// Deletes an object of any kind but a parser's error. NULL is fine.
void osp_trt_delete(void *object);
void osp_trt_parser_delete(const osp_trt_api *api, osp_trt_parser *parser);

osp_trt_engine *osp_trt_runtime_open_engine(const osp_trt_api *api, osp_trt_runtime *runtime,
                                            const void *plan, size_t size);

const void *osp_trt_bytes_data(const osp_trt_api *api, const osp_trt_bytes *bytes);
size_t osp_trt_bytes_size(const osp_trt_api *api, const osp_trt_bytes *bytes);

// ---- Engine -------------------------------------------------------------------------------------
int32_t osp_trt_engine_layers(const osp_trt_api *api, const osp_trt_engine *engine);
// A context whose device memory is ours to give, by osp_trt_context_set_memory.
osp_trt_context *osp_trt_engine_open_context(const osp_trt_api *api, osp_trt_engine *engine);
int64_t osp_trt_engine_memory_bytes(const osp_trt_api *api, const osp_trt_engine *engine);
int32_t osp_trt_engine_profiles(const osp_trt_api *api, const osp_trt_engine *engine);
osp_trt_inspector *osp_trt_engine_open_inspector(const osp_trt_api *api, osp_trt_engine *engine);
int32_t osp_trt_engine_io_count(const osp_trt_api *api, const osp_trt_engine *engine);
const char *osp_trt_engine_io_name(const osp_trt_api *api, const osp_trt_engine *engine, int32_t i);
osp_trt_dims osp_trt_engine_shape(const osp_trt_api *api, const osp_trt_engine *engine,
                                  const char *name);
osp_dtype osp_trt_engine_dtype(const osp_trt_api *api, const osp_trt_engine *engine,
                               const char *name);
osp_trt_location osp_trt_engine_location(const osp_trt_api *api, const osp_trt_engine *engine,
                                         const char *name);
osp_trt_io_mode osp_trt_engine_io_mode(const osp_trt_api *api, const osp_trt_engine *engine,
                                       const char *name);
// 0: linear, which is C order.
int32_t osp_trt_engine_format(const osp_trt_api *api, const osp_trt_engine *engine,
                              const char *name);
osp_trt_dims osp_trt_engine_profile_shape(const osp_trt_api *api, const osp_trt_engine *engine,
                                          const char *name, int32_t profile,
                                          osp_trt_selector selector);

// ---- Execution context --------------------------------------------------------------------------
void osp_trt_context_set_memory(const osp_trt_api *api, osp_trt_context *context, void *memory);
bool osp_trt_context_set_profile(const osp_trt_api *api, osp_trt_context *context, int32_t profile,
                                 void *stream);
bool osp_trt_context_set_input_shape(const osp_trt_api *api, osp_trt_context *context,
                                     const char *name, const osp_trt_dims *dims);
osp_trt_dims osp_trt_context_shape(const osp_trt_api *api, const osp_trt_context *context,
                                   const char *name);
bool osp_trt_context_set_address(const osp_trt_api *api, osp_trt_context *context, const char *name,
                                 void *address);
// How many inputs still lack a shape; 0: all output shapes that can be known are.
int32_t osp_trt_context_infer(const osp_trt_api *api, osp_trt_context *context);
bool osp_trt_context_set_allocator(const osp_trt_api *api, osp_trt_context *context,
                                   const char *name, void *allocator);
bool osp_trt_context_enqueue(const osp_trt_api *api, osp_trt_context *context, void *stream);

// ---- Building -----------------------------------------------------------------------------------
bool osp_trt_builder_fast_fp16(const osp_trt_api *api, const osp_trt_builder *builder);
osp_trt_config *osp_trt_builder_open_config(const osp_trt_api *api, osp_trt_builder *builder);
// Explicit batch always. 11 knows strongly typed networks only.
osp_trt_network *osp_trt_builder_open_network(const osp_trt_api *api, osp_trt_builder *builder,
                                              bool strongly_typed);
osp_trt_profile *osp_trt_builder_open_profile(const osp_trt_api *api, osp_trt_builder *builder);
osp_trt_bytes *osp_trt_builder_build(const osp_trt_api *api, osp_trt_builder *builder,
                                     osp_trt_network *network, osp_trt_config *config);

// FP16 is no flag of 11's, and is left alone there.
void osp_trt_config_set_flag(const osp_trt_api *api, osp_trt_config *config, osp_trt_flag flag,
                             bool on);
int32_t osp_trt_config_add_profile(const osp_trt_api *api, osp_trt_config *config,
                                   const osp_trt_profile *profile);
void osp_trt_config_detail_profiling(const osp_trt_api *api, osp_trt_config *config);
osp_trt_timings *osp_trt_config_open_timings(const osp_trt_api *api, osp_trt_config *config,
                                             const void *blob, size_t size);
bool osp_trt_config_set_timings(const osp_trt_api *api, osp_trt_config *config,
                                const osp_trt_timings *timings);
const osp_trt_timings *osp_trt_config_timings(const osp_trt_api *api, const osp_trt_config *config);
void osp_trt_config_set_workspace(const osp_trt_api *api, osp_trt_config *config, size_t bytes);
void osp_trt_config_set_level(const osp_trt_api *api, osp_trt_config *config, int32_t level);
void osp_trt_config_set_aux_streams(const osp_trt_api *api, osp_trt_config *config, int32_t count);
void osp_trt_config_set_progress(const osp_trt_api *api, osp_trt_config *config, void *monitor);

int32_t osp_trt_network_inputs(const osp_trt_api *api, const osp_trt_network *network);
osp_trt_tensor *osp_trt_network_input(const osp_trt_api *api, const osp_trt_network *network,
                                      int32_t i);
const char *osp_trt_tensor_name(const osp_trt_api *api, const osp_trt_tensor *tensor);
osp_trt_dims osp_trt_tensor_dims(const osp_trt_api *api, const osp_trt_tensor *tensor);

bool osp_trt_profile_set(const osp_trt_api *api, osp_trt_profile *profile, const char *name,
                         osp_trt_selector selector, const osp_trt_dims *dims);
bool osp_trt_profile_valid(const osp_trt_api *api, const osp_trt_profile *profile);

osp_trt_bytes *osp_trt_timings_save(const osp_trt_api *api, const osp_trt_timings *timings);
bool osp_trt_timings_combine(const osp_trt_api *api, osp_trt_timings *timings,
                             const osp_trt_timings *from);

// JSON; the texts live until the inspector's next call.
const char *osp_trt_inspector_layer(const osp_trt_api *api, const osp_trt_inspector *inspector,
                                    int32_t layer);
const char *osp_trt_inspector_all(const osp_trt_api *api, const osp_trt_inspector *inspector);

bool osp_trt_parser_parse(const osp_trt_api *api, osp_trt_parser *parser, const void *model,
                          size_t size);
int32_t osp_trt_parser_errors(const osp_trt_api *api, const osp_trt_parser *parser);
const osp_trt_parser_error *osp_trt_parser_error_at(const osp_trt_api *api,
                                                    const osp_trt_parser *parser, int32_t i);
// Parts of an error; none is NULL.
const char *osp_trt_parser_error_text(const osp_trt_parser_error *error);
const char *osp_trt_parser_error_node(const osp_trt_parser_error *error);
const char *osp_trt_parser_error_operator(const osp_trt_parser_error *error);

// ---- Objects of ours ----------------------------------------------------------------------------
// Each begins with a field for the vtable that the init function fills. TensorRT never deletes them.
// None of the functions may unwind or come back late: TensorRT calls them from its own frames.

typedef struct osp_trt_logger {
    const void *vtable;
    void (*log)(struct osp_trt_logger *logger, int32_t severity, const char *text);
} osp_trt_logger;
void osp_trt_logger_init(const osp_trt_api *api, osp_trt_logger *logger);

typedef struct osp_trt_monitor {
    const void *vtable;
    void (*start)(struct osp_trt_monitor *monitor, const char *phase, const char *parent,
                  int32_t steps);
    bool (*step)(struct osp_trt_monitor *monitor, const char *phase, int32_t step);
    void (*finish)(struct osp_trt_monitor *monitor, const char *phase);
} osp_trt_monitor;
void osp_trt_monitor_init(osp_trt_monitor *monitor);

// Where an output whose size only the run knows may go.
typedef struct osp_trt_allocator {
    const void *vtable;
    void *memory;
    uint64_t capacity_bytes;
    uint64_t wanted_bytes;  // the largest asked for since the run began
    osp_trt_dims shape;     // as told by the run
} osp_trt_allocator;
void osp_trt_allocator_init(osp_trt_allocator *allocator);

#endif
