// The tensorrt backend's own parts: an engine of TensorRT with its facts, and how it comes about.
// Thread rule: an osp_trt_model is immutable once made; any thread.
#ifndef OSP_TENSORRT_TENSORRT_H
#define OSP_TENSORRT_TENSORRT_H

#include "backends/backend.h"
#include "backends/tensorrt/library.h"

// Which profile of TensorRT's serves a variant, and its inputs' shapes there.
typedef struct osp_trt_variant {
    int32_t profile;
    int32_t batch;
} osp_trt_variant;

typedef struct osp_trt_model {
    osp_context *ctx;
    osp_gpu *gpu;
    osp_trt trt;
    osp_trt_sink sink;  // what TensorRT says while sessions run
    osp_trt_runtime *runtime;
    osp_trt_engine *engine;
    osp_arena arena;
    osp_whole_io *io;  // inputs, then outputs
    int32_t inputs, outputs;
    osp_trt_variant variants[OSP_MAX_VARIANTS];
    int32_t variant_count;
    bool batch_free;
    uint64_t memory_bytes;  // of a context
    pthread_mutex_t lock;   // contexts are made and deleted one at a time; runs take no lock
    void *section;          // the plan, where it was built here; else NULL
    size_t section_size;
} osp_trt_model;

// A model without an engine yet, on a device that CUDA answers for. `major`: see osp_trt_load.
osp_status osp_trt_model_make(osp_trt_model **out, osp_context *ctx, int32_t device, int32_t major,
                              osp_error *err);
void osp_trt_model_close(osp_trt_model *model);

// Deserializes a plan and reads its facts. FORMAT, STALE or DEVICE, with TensorRT's words.
osp_status osp_trt_model_load(osp_trt_model *model, const void *plan, size_t size, osp_error *err);

// Builds request->graph; the plan's bytes are the caller's to free (osp_mem_free).
osp_status osp_trt_build_plan(osp_trt_model *model, const osp_whole_request *request, void **plan,
                              size_t *size, osp_error *err);

// The variants and shapes that an engine's profiles allow (engine_facts.c).
osp_status osp_trt_read_facts(osp_trt_model *model, osp_error *err);
void osp_trt_input_dims(const osp_trt_model *model, int32_t io, int32_t variant, osp_trt_dims *out);

// Timing cache on disk (timings.c). A file that cannot be used costs a warning and time, no more.
osp_trt_timings *osp_trt_timings_open(const osp_trt_model *model, osp_trt_config *config,
                                      const char *path);
void osp_trt_timings_store(const osp_trt_model *model, osp_trt_config *config, const char *path);

extern const osp_gpu_program osp_trt_program;  // program.c

// "tensorrt 10.6.0 cc 9.0 sm 132 NVIDIA H100"
void osp_trt_key(int32_t version, const osp_device_info *device, char *key, size_t size);
// The version that a bare plan says it needs, as far as can be seen without TensorRT; 0: unknown.
int32_t osp_trt_plan_version(const void *plan, size_t size);
bool osp_trt_is_plan(const void *bytes, size_t size);

#endif
