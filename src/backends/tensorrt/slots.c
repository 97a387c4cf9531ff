// The table of vtable slots of TensorRT 10 and 11, and the calls through it. The numbers were read
// from the public headers of each major and hold for all of its minors: NVIDIA appends within a
// major and reorders between them.
#include "backends/tensorrt/slots.h"

typedef void (*any_fn)(void);

// As TensorRT lays its objects out. Parsers and their errors have no implementation object.
typedef struct object {
    const any_fn *vtable;
    struct object *impl;
} object;

enum { NONE = -1 };

// method, slot in 10, slot in 11
#define METHODS(X)                                                                                 \
    X(RUNTIME_DESERIALIZE, 3, 3)                                                                   \
    X(BYTES_DATA, 2, 2)                                                                            \
    X(BYTES_SIZE, 3, 3)                                                                            \
    X(ENGINE_LAYERS, 3, 3)                                                                         \
    X(ENGINE_CREATE_CONTEXT, 5, 5)                                                                 \
    X(ENGINE_MEMORY_SIZE, 7, NONE)                                                                 \
    X(ENGINE_PROFILES, 10, 8)                                                                      \
    X(ENGINE_CREATE_INSPECTOR, 18, 14)                                                             \
    X(ENGINE_TENSOR_SHAPE, 19, 15)                                                                 \
    X(ENGINE_TENSOR_TYPE, 20, 16)                                                                  \
    X(ENGINE_TENSOR_LOCATION, 21, 17)                                                              \
    X(ENGINE_TENSOR_MODE, 23, 19)                                                                  \
    X(ENGINE_TENSOR_FORMAT, 26, 22)                                                                \
    X(ENGINE_PROFILE_SHAPE, 29, 25)                                                                \
    X(ENGINE_IO_COUNT, 30, 26)                                                                     \
    X(ENGINE_IO_NAME, 31, 27)                                                                      \
    X(ENGINE_MEMORY_SIZE_V2, 52, 44) /* from 10.1 */                                               \
    X(CONTEXT_SET_MEMORY, 10, 10)                                                                  \
    X(CONTEXT_SET_PROFILE, 17, 16)                                                                 \
    X(CONTEXT_SET_INPUT_SHAPE, 21, 20)                                                             \
    X(CONTEXT_SHAPE, 22, 21)                                                                       \
    X(CONTEXT_SET_ADDRESS, 24, 23)                                                                 \
    X(CONTEXT_INFER_SHAPES, 28, 27)                                                                \
    X(CONTEXT_SET_ALLOCATOR, 32, 31)                                                               \
    X(CONTEXT_ENQUEUE, 37, 36)                                                                     \
    X(BUILDER_FAST_FP16, 2, NONE)                                                                  \
    X(BUILDER_CREATE_CONFIG, 7, 5)                                                                 \
    X(BUILDER_CREATE_NETWORK, 8, 6)                                                                \
    X(BUILDER_CREATE_PROFILE, 9, 7)                                                                \
    X(BUILDER_BUILD, 14, 11)                                                                       \
    X(CONFIG_CLEAR_FLAG, 10, 8)                                                                    \
    X(CONFIG_SET_FLAG, 11, 9)                                                                      \
    X(CONFIG_ADD_PROFILE, 25, 23)                                                                  \
    X(CONFIG_SET_VERBOSITY, 27, 25)                                                                \
    X(CONFIG_CREATE_TIMINGS, 40, 29)                                                               \
    X(CONFIG_SET_TIMINGS, 41, 30)                                                                  \
    X(CONFIG_TIMINGS, 42, 31)                                                                      \
    X(CONFIG_SET_MEMORY_LIMIT, 43, 32)                                                             \
    X(CONFIG_SET_LEVEL, 47, 36)                                                                    \
    X(CONFIG_SET_AUX_STREAMS, 54, 43)                                                              \
    X(CONFIG_SET_MONITOR, 56, 45)                                                                  \
    X(NETWORK_INPUTS, 14, 14)                                                                      \
    X(NETWORK_INPUT, 15, 15)                                                                       \
    X(TENSOR_NAME, 3, 3)                                                                           \
    X(TENSOR_DIMS, 5, 5)                                                                           \
    X(PROFILE_SET, 2, 2)                                                                           \
    X(PROFILE_VALID, 9, 7)                                                                         \
    X(TIMINGS_SERIALIZE, 2, 2)                                                                     \
    X(TIMINGS_COMBINE, 3, 3)                                                                       \
    X(INSPECTOR_LAYER, 5, 5)                                                                       \
    X(INSPECTOR_ENGINE, 6, 6)                                                                      \
    X(PARSER_PARSE, 0, 0)                                                                          \
    X(PARSER_ERRORS, 5, 3)                                                                         \
    X(PARSER_ERROR, 6, 4)                                                                          \
    X(PARSER_DELETE, 9, 7)                                                                         \
    X(PARSER_ERROR_TEXT, 1, 1)                                                                     \
    X(PARSER_ERROR_NODE, 6, 6)                                                                     \
    X(PARSER_ERROR_OPERATOR, 7, 7)

typedef enum method {
#define X(name, in10, in11) name,
    METHODS(X)
#undef X
        METHOD_COUNT
} method;

static const int8_t slots[METHOD_COUNT][2] = {
#define X(name, in10, in11) [name] = {in10, in11},
    METHODS(X)
#undef X
};

bool osp_trt_api_init(osp_trt_api *api, int32_t version)
{
    const int32_t major = version / 10000;
    *api = (osp_trt_api){.version = version, .column = major - 10};
    return major == 10 || major == 11;
}

// A method of the implementation behind an object; CALL0 where it takes nothing but the object.
#define IMPL(OBJECT) ((const object *)(OBJECT))->impl
#define METHOD_OF(RESULT, METHOD, OBJECT, TYPES)                                                   \
    ((RESULT(*) TYPES)IMPL(OBJECT)->vtable[slots[METHOD][api->column]])
#define CALL0(RESULT, METHOD, OBJECT)                                                              \
    METHOD_OF(RESULT, METHOD, OBJECT, (void *))((void *)IMPL(OBJECT))
#define CALL(RESULT, METHOD, OBJECT, TYPES, ...)                                                   \
    METHOD_OF(RESULT, METHOD, OBJECT, TYPES)((void *)IMPL(OBJECT), __VA_ARGS__)

// The same of an object that has none.
#define OWN_METHOD(RESULT, SLOT, OBJECT, TYPES)                                                    \
    ((RESULT(*) TYPES)((const object *)(OBJECT))->vtable[SLOT])
#define CALL0_OWN(RESULT, SLOT, OBJECT)                                                            \
    OWN_METHOD(RESULT, SLOT, OBJECT, (void *))((void *)(uintptr_t)(OBJECT))
#define CALL_OWN(RESULT, SLOT, OBJECT, TYPES, ...)                                                 \
    OWN_METHOD(RESULT, SLOT, OBJECT, TYPES)((void *)(uintptr_t)(OBJECT), __VA_ARGS__)

void osp_trt_delete(void *whole)
{
    enum { DELETING_DESTRUCTOR = 1 };
    if (osp_trt_is_object(whole))
        CALL0_OWN(void, DELETING_DESTRUCTOR, whole);
}

void osp_trt_parser_delete(const osp_trt_api *api, osp_trt_parser *parser)
{
    if (osp_trt_is_object(parser))
        CALL0_OWN(void, slots[PARSER_DELETE][api->column], parser);
}

osp_trt_engine *osp_trt_runtime_open_engine(const osp_trt_api *api, osp_trt_runtime *runtime,
                                            const void *plan, size_t size)
{
    return CALL(osp_trt_engine *, RUNTIME_DESERIALIZE, runtime, (void *, const void *, size_t),
                plan, size);
}

const void *osp_trt_bytes_data(const osp_trt_api *api, const osp_trt_bytes *bytes)
{
    return CALL0(const void *, BYTES_DATA, bytes);
}

size_t osp_trt_bytes_size(const osp_trt_api *api, const osp_trt_bytes *bytes)
{
    return CALL0(size_t, BYTES_SIZE, bytes);
}

// ---- Engine -------------------------------------------------------------------------------------

int32_t osp_trt_engine_layers(const osp_trt_api *api, const osp_trt_engine *engine)
{
    return CALL0(int32_t, ENGINE_LAYERS, engine);
}

osp_trt_context *osp_trt_engine_open_context(const osp_trt_api *api, osp_trt_engine *engine)
{
    enum { USER_MANAGED = 2 };
    return CALL(osp_trt_context *, ENGINE_CREATE_CONTEXT, engine, (void *, int32_t), USER_MANAGED);
}

int64_t osp_trt_engine_memory_bytes(const osp_trt_api *api, const osp_trt_engine *engine)
{
    enum { HAS_V2 = 100100 };
    if (api->version < HAS_V2)
        return (int64_t)CALL0(size_t, ENGINE_MEMORY_SIZE, engine);
    return CALL0(int64_t, ENGINE_MEMORY_SIZE_V2, engine);
}

int32_t osp_trt_engine_profiles(const osp_trt_api *api, const osp_trt_engine *engine)
{
    return CALL0(int32_t, ENGINE_PROFILES, engine);
}

osp_trt_inspector *osp_trt_engine_open_inspector(const osp_trt_api *api, osp_trt_engine *engine)
{
    return CALL0(osp_trt_inspector *, ENGINE_CREATE_INSPECTOR, engine);
}

int32_t osp_trt_engine_io_count(const osp_trt_api *api, const osp_trt_engine *engine)
{
    return CALL0(int32_t, ENGINE_IO_COUNT, engine);
}

const char *osp_trt_engine_io_name(const osp_trt_api *api, const osp_trt_engine *engine, int32_t i)
{
    return CALL(const char *, ENGINE_IO_NAME, engine, (void *, int32_t), i);
}

osp_trt_dims osp_trt_engine_shape(const osp_trt_api *api, const osp_trt_engine *engine,
                                  const char *name)
{
    return CALL(osp_trt_dims, ENGINE_TENSOR_SHAPE, engine, (void *, const char *), name);
}

osp_dtype osp_trt_engine_dtype(const osp_trt_api *api, const osp_trt_engine *engine,
                               const char *name)
{
    static const osp_dtype of[] = {
        [0] = OSP_DTYPE_FLOAT32,  [1] = OSP_DTYPE_FLOAT16, [2] = OSP_DTYPE_INT8,
        [3] = OSP_DTYPE_INT32,    [4] = OSP_DTYPE_BOOL,    [5] = OSP_DTYPE_UINT8,
        [7] = OSP_DTYPE_BFLOAT16, [8] = OSP_DTYPE_INT64,
    };
    const int32_t type = CALL(int32_t, ENGINE_TENSOR_TYPE, engine, (void *, const char *), name);
    return type >= 0 && (size_t)type < sizeof of / sizeof *of ? of[type] : OSP_DTYPE_UNKNOWN;
}

osp_trt_location osp_trt_engine_location(const osp_trt_api *api, const osp_trt_engine *engine,
                                         const char *name)
{
    return CALL(osp_trt_location, ENGINE_TENSOR_LOCATION, engine, (void *, const char *), name);
}

osp_trt_io_mode osp_trt_engine_io_mode(const osp_trt_api *api, const osp_trt_engine *engine,
                                       const char *name)
{
    return CALL(osp_trt_io_mode, ENGINE_TENSOR_MODE, engine, (void *, const char *), name);
}

int32_t osp_trt_engine_format(const osp_trt_api *api, const osp_trt_engine *engine,
                              const char *name)
{
    return CALL(int32_t, ENGINE_TENSOR_FORMAT, engine, (void *, const char *), name);
}

osp_trt_dims osp_trt_engine_profile_shape(const osp_trt_api *api, const osp_trt_engine *engine,
                                          const char *name, int32_t profile,
                                          osp_trt_selector selector)
{
    return CALL(osp_trt_dims, ENGINE_PROFILE_SHAPE, engine,
                (void *, const char *, int32_t, int32_t), name, profile, (int32_t)selector);
}

// ---- Execution context --------------------------------------------------------------------------

void osp_trt_context_set_memory(const osp_trt_api *api, osp_trt_context *context, void *memory)
{
    CALL(void, CONTEXT_SET_MEMORY, context, (void *, void *), memory);
}

bool osp_trt_context_set_profile(const osp_trt_api *api, osp_trt_context *context, int32_t profile,
                                 void *stream)
{
    return CALL(bool, CONTEXT_SET_PROFILE, context, (void *, int32_t, void *), profile, stream);
}

bool osp_trt_context_set_input_shape(const osp_trt_api *api, osp_trt_context *context,
                                     const char *name, const osp_trt_dims *dims)
{
    return CALL(bool, CONTEXT_SET_INPUT_SHAPE, context,
                (void *, const char *, const osp_trt_dims *), name, dims);
}

osp_trt_dims osp_trt_context_shape(const osp_trt_api *api, const osp_trt_context *context,
                                   const char *name)
{
    return CALL(osp_trt_dims, CONTEXT_SHAPE, context, (void *, const char *), name);
}

bool osp_trt_context_set_address(const osp_trt_api *api, osp_trt_context *context, const char *name,
                                 void *address)
{
    return CALL(bool, CONTEXT_SET_ADDRESS, context, (void *, const char *, void *), name, address);
}

int32_t osp_trt_context_infer(const osp_trt_api *api, osp_trt_context *context)
{
    return CALL(int32_t, CONTEXT_INFER_SHAPES, context, (void *, int32_t, const char **), 0, NULL);
}

bool osp_trt_context_set_allocator(const osp_trt_api *api, osp_trt_context *context,
                                   const char *name, void *allocator)
{
    return CALL(bool, CONTEXT_SET_ALLOCATOR, context, (void *, const char *, void *), name,
                allocator);
}

bool osp_trt_context_enqueue(const osp_trt_api *api, osp_trt_context *context, void *stream)
{
    return CALL(bool, CONTEXT_ENQUEUE, context, (void *, void *), stream);
}

// ---- Building -----------------------------------------------------------------------------------

bool osp_trt_builder_fast_fp16(const osp_trt_api *api, const osp_trt_builder *builder)
{
    if (slots[BUILDER_FAST_FP16][api->column] == NONE)
        return true;  // 11 runs on no GPU that lacks it
    return CALL0(bool, BUILDER_FAST_FP16, builder);
}

osp_trt_config *osp_trt_builder_open_config(const osp_trt_api *api, osp_trt_builder *builder)
{
    return CALL0(osp_trt_config *, BUILDER_CREATE_CONFIG, builder);
}

osp_trt_network *osp_trt_builder_open_network(const osp_trt_api *api, osp_trt_builder *builder,
                                              bool strongly_typed)
{
    enum { EXPLICIT_10 = 1 << 0, STRONG_10 = 1 << 1, STRONG_11 = 1 << 0 };
    const uint32_t flags = api->column == 1 ? STRONG_11
                                            : EXPLICIT_10 | (strongly_typed ? STRONG_10 : 0);
    return CALL(osp_trt_network *, BUILDER_CREATE_NETWORK, builder, (void *, uint32_t), flags);
}

osp_trt_profile *osp_trt_builder_open_profile(const osp_trt_api *api, osp_trt_builder *builder)
{
    return CALL0(osp_trt_profile *, BUILDER_CREATE_PROFILE, builder);
}

osp_trt_bytes *osp_trt_builder_build(const osp_trt_api *api, osp_trt_builder *builder,
                                     osp_trt_network *network, osp_trt_config *config)
{
    return CALL(osp_trt_bytes *, BUILDER_BUILD, builder, (void *, void *, void *), network, config);
}

void osp_trt_config_set_flag(const osp_trt_api *api, osp_trt_config *config, osp_trt_flag flag,
                             bool on)
{
    if (flag == OSP_TRT_FLAG_FP16 && api->column == 1)
        return;
    if (on)
        CALL(void, CONFIG_SET_FLAG, config, (void *, int32_t), (int32_t)flag);
    else
        CALL(void, CONFIG_CLEAR_FLAG, config, (void *, int32_t), (int32_t)flag);
}

int32_t osp_trt_config_add_profile(const osp_trt_api *api, osp_trt_config *config,
                                   const osp_trt_profile *profile)
{
    return CALL(int32_t, CONFIG_ADD_PROFILE, config, (void *, const void *), profile);
}

void osp_trt_config_detail_profiling(const osp_trt_api *api, osp_trt_config *config)
{
    enum { DETAILED = 2 };
    CALL(void, CONFIG_SET_VERBOSITY, config, (void *, int32_t), DETAILED);
}

osp_trt_timings *osp_trt_config_open_timings(const osp_trt_api *api, osp_trt_config *config,
                                             const void *blob, size_t size)
{
    return CALL(osp_trt_timings *, CONFIG_CREATE_TIMINGS, config, (void *, const void *, size_t),
                blob, size);
}

bool osp_trt_config_set_timings(const osp_trt_api *api, osp_trt_config *config,
                                const osp_trt_timings *timings)
{
    enum { IGNORE_MISMATCH = false };
    return CALL(bool, CONFIG_SET_TIMINGS, config, (void *, const void *, bool), timings,
                IGNORE_MISMATCH);
}

const osp_trt_timings *osp_trt_config_timings(const osp_trt_api *api, const osp_trt_config *config)
{
    return CALL0(const osp_trt_timings *, CONFIG_TIMINGS, config);
}

void osp_trt_config_set_workspace(const osp_trt_api *api, osp_trt_config *config, size_t bytes)
{
    enum { WORKSPACE = 0 };
    CALL(void, CONFIG_SET_MEMORY_LIMIT, config, (void *, int32_t, size_t), WORKSPACE, bytes);
}

void osp_trt_config_set_level(const osp_trt_api *api, osp_trt_config *config, int32_t level)
{
    CALL(void, CONFIG_SET_LEVEL, config, (void *, int32_t), level);
}

void osp_trt_config_set_aux_streams(const osp_trt_api *api, osp_trt_config *config, int32_t count)
{
    CALL(void, CONFIG_SET_AUX_STREAMS, config, (void *, int32_t), count);
}

void osp_trt_config_set_progress(const osp_trt_api *api, osp_trt_config *config, void *monitor)
{
    CALL(void, CONFIG_SET_MONITOR, config, (void *, void *), monitor);
}

int32_t osp_trt_network_inputs(const osp_trt_api *api, const osp_trt_network *network)
{
    return CALL0(int32_t, NETWORK_INPUTS, network);
}

osp_trt_tensor *osp_trt_network_input(const osp_trt_api *api, const osp_trt_network *network,
                                      int32_t i)
{
    return CALL(osp_trt_tensor *, NETWORK_INPUT, network, (void *, int32_t), i);
}

const char *osp_trt_tensor_name(const osp_trt_api *api, const osp_trt_tensor *tensor)
{
    return CALL0(const char *, TENSOR_NAME, tensor);
}

osp_trt_dims osp_trt_tensor_dims(const osp_trt_api *api, const osp_trt_tensor *tensor)
{
    return CALL0(osp_trt_dims, TENSOR_DIMS, tensor);
}

bool osp_trt_profile_set(const osp_trt_api *api, osp_trt_profile *profile, const char *name,
                         osp_trt_selector selector, const osp_trt_dims *dims)
{
    return CALL(bool, PROFILE_SET, profile, (void *, const char *, int32_t, const osp_trt_dims *),
                name, (int32_t)selector, dims);
}

bool osp_trt_profile_valid(const osp_trt_api *api, const osp_trt_profile *profile)
{
    return CALL0(bool, PROFILE_VALID, profile);
}

osp_trt_bytes *osp_trt_timings_save(const osp_trt_api *api, const osp_trt_timings *timings)
{
    return CALL0(osp_trt_bytes *, TIMINGS_SERIALIZE, timings);
}

bool osp_trt_timings_combine(const osp_trt_api *api, osp_trt_timings *timings,
                             const osp_trt_timings *from)
{
    return CALL(bool, TIMINGS_COMBINE, timings, (void *, const void *, bool), from, false);
}

enum { JSON = 1 };

const char *osp_trt_inspector_layer(const osp_trt_api *api, const osp_trt_inspector *inspector,
                                    int32_t layer)
{
    return CALL(const char *, INSPECTOR_LAYER, inspector, (void *, int32_t, int32_t), layer, JSON);
}

const char *osp_trt_inspector_all(const osp_trt_api *api, const osp_trt_inspector *inspector)
{
    return CALL(const char *, INSPECTOR_ENGINE, inspector, (void *, int32_t), JSON);
}

bool osp_trt_parser_parse(const osp_trt_api *api, osp_trt_parser *parser, const void *model,
                          size_t size)
{
    // No path: the parser opens no file.
    return CALL_OWN(bool, slots[PARSER_PARSE][api->column], parser,
                    (void *, const void *, size_t, const char *), model, size, NULL);
}

int32_t osp_trt_parser_errors(const osp_trt_api *api, const osp_trt_parser *parser)
{
    return CALL0_OWN(int32_t, slots[PARSER_ERRORS][api->column], parser);
}

const osp_trt_parser_error *osp_trt_parser_error_at(const osp_trt_api *api,
                                                    const osp_trt_parser *parser, int32_t i)
{
    return CALL_OWN(const osp_trt_parser_error *, slots[PARSER_ERROR][api->column], parser,
                    (void *, int32_t), i);
}

static const char *error_part(const osp_trt_parser_error *error, method which)
{
    const char *text = CALL0_OWN(const char *, slots[which][0], error);
    return text ? text : "";
}

const char *osp_trt_parser_error_text(const osp_trt_parser_error *error)
{
    return error_part(error, PARSER_ERROR_TEXT);
}

const char *osp_trt_parser_error_node(const osp_trt_parser_error *error)
{
    return error_part(error, PARSER_ERROR_NODE);
}

const char *osp_trt_parser_error_operator(const osp_trt_parser_error *error)
{
    return error_part(error, PARSER_ERROR_OPERATOR);
}

// ---- Objects of ours ----------------------------------------------------------------------------

typedef struct interface_info {
    const char *kind;
    int32_t major, minor;
} interface_info;

static int32_t api_language(const void *self)
{
    (void)self;
    return 0;
}

// Both destructors: what we hand over stays ours.
static void keep(void *self)
{
    (void)self;
}

static interface_info logger_info(const void *self)
{
    (void)self;
    return (interface_info){"ILogger", 1, 0};
}

static void logger_log(void *self, int32_t severity, const char *text)
{
    osp_trt_logger *logger = self;
    logger->log(logger, severity, text ? text : "");
}

void osp_trt_logger_init(const osp_trt_api *api, osp_trt_logger *logger)
{
    static const any_fn in10[] = {(any_fn)logger_log, (any_fn)keep, (any_fn)keep};
    static const any_fn in11[] = {(any_fn)api_language, (any_fn)logger_info, (any_fn)keep,
                                  (any_fn)keep, (any_fn)logger_log};
    logger->vtable = api->column == 1 ? in11 : in10;
}

static interface_info monitor_info(const void *self)
{
    (void)self;
    return (interface_info){"IProgressMonitor", 1, 0};
}

static void monitor_start(void *self, const char *phase, const char *parent, int32_t steps)
{
    osp_trt_monitor *monitor = self;
    monitor->start(monitor, phase ? phase : "", parent, steps);
}

static bool monitor_step(void *self, const char *phase, int32_t step)
{
    osp_trt_monitor *monitor = self;
    return monitor->step(monitor, phase ? phase : "", step);
}

static void monitor_finish(void *self, const char *phase)
{
    osp_trt_monitor *monitor = self;
    monitor->finish(monitor, phase ? phase : "");
}

void osp_trt_monitor_init(osp_trt_monitor *monitor)
{
    static const any_fn vtable[] = {
        (any_fn)api_language,  (any_fn)monitor_info, (any_fn)keep,          (any_fn)keep,
        (any_fn)monitor_start, (any_fn)monitor_step, (any_fn)monitor_finish};
    monitor->vtable = vtable;
}

static interface_info allocator_info(const void *self)
{
    (void)self;
    return (interface_info){"IOutputAllocator", 1, 0};
}

static void *allocator_reallocate(void *self, const char *name, void *current, uint64_t bytes,
                                  uint64_t alignment)
{
    (void)name;
    (void)current;
    osp_trt_allocator *a = self;
    if (bytes > a->wanted_bytes)
        a->wanted_bytes = bytes;
    const bool aligned = !alignment || (uintptr_t)a->memory % alignment == 0;
    return bytes <= a->capacity_bytes && aligned ? a->memory : NULL;
}

static void *allocator_reallocate_async(void *self, const char *name, void *current, uint64_t bytes,
                                        uint64_t alignment, void *stream)
{
    (void)stream;
    return allocator_reallocate(self, name, current, bytes, alignment);
}

static void allocator_shape(void *self, const char *name, const osp_trt_dims *dims)
{
    (void)name;
    ((osp_trt_allocator *)self)->shape = *dims;
}

void osp_trt_allocator_init(osp_trt_allocator *allocator)
{
    static const any_fn vtable[] = {
        (any_fn)api_language,   (any_fn)allocator_info,       (any_fn)keep,
        (any_fn)keep,           (any_fn)allocator_reallocate, (any_fn)allocator_reallocate_async,
        (any_fn)allocator_shape};
    allocator->vtable = vtable;
}
