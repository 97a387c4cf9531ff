// A compiled model: immutable after building or opening, shared by reference count.
#ifndef OSP_ENGINE_ENGINE_H
#define OSP_ENGINE_ENGINE_H

#include "engine/model.h"
#include "plan/file.h"
#include "vision/names.h"

// One output beside FP32 (fp32_check.c).
typedef struct osp_difference {
    const char *output;
    double of_range;
} osp_difference;

struct osp_engine {
    osp_runtime *runtime;
    atomic_int references;
    osp_arena arena;  // names, infos, facts
    osp_compiled compiled;
    osp_plan_facts facts;
    osp_engine_info info;
    char device_key[OSP_DEVICE_KEY_BYTES];
    osp_tensor_info *inputs, *outputs;
    osp_file file;    // the plan, mapped; weights are used in place
    void *bytes;      // the plan, copied from memory
    osp_names names;  // of classes, from the metadata
    osp_difference *differences;
    int32_t difference_count;
    // Whole-model backends: their engine, and what it says of itself.
    void *whole;
    uint64_t session_bytes;
    int32_t whole_layers;
    bool makeshift;         // AUTO's, for want of a better backend's device: not to be kept
    osp_step_info *layers;  // by layer, read when first asked for; `name` NULL: not yet
    pthread_mutex_t layer_lock;
};

enum { OSP_DEFAULT_SIZE = 1280, OSP_DEFAULT_ROWS = 300, OSP_DEFAULT_COLUMNS = 6 };

osp_engine *osp_engine_retain(osp_engine *engine);

// A fresh engine for a backend; released by osp_engine_close.
osp_status osp_engine_make(osp_engine **out, osp_runtime *runtime, const osp_backend_def *backend,
                           osp_precision precision, int32_t device, osp_error *err);
// Fills infos, class names and head from the compiled variants and facts.
osp_status osp_engine_describe(osp_engine *engine, osp_error *err);

// After building or opening: constants to the device, where the backend runs on one.
osp_status osp_engine_upload(osp_engine *engine, osp_error *err);

// Checks ranges and reserved fields; `options` NULL gives zeros.
osp_status osp_engine_options_check(const osp_engine_options *options, osp_engine_options *out,
                                    osp_error *err);
// The device of a backend: an entry of the runtime's table.
const osp_device_info *osp_backend_device(const osp_runtime *runtime, const osp_backend_def *def,
                                          int32_t device);

// Backends in the order in which they are tried for a model; zeroed at first.
typedef struct osp_backend_choice {
    size_t next;        // place in AUTO's order
    char reason[1024];  // why those before were passed over
} osp_backend_choice;

// The next backend that can run on the device; a named one is its own only choice. DEVICE, with all
// reasons, when there is none left.
osp_status osp_backend_next(osp_runtime *runtime, const osp_engine_options *options,
                            osp_backend_choice *choice, const osp_backend_def **out,
                            osp_error *err);
// May a build that failed with `status` go on to the next backend? AUTO's may, where the backend
// cannot run the model (UNSUPPORTED) or turns out not to be usable (DEVICE). All else, memory that
// is short above all, may be otherwise in a minute: it is an error and never makes a slower engine.
bool osp_backend_may_pass_over(const osp_engine_options *options, const osp_backend_choice *choice,
                               osp_status status);
// Records and logs why a backend is not used.
void osp_backend_pass_over(osp_runtime *runtime, osp_backend_choice *choice, osp_backend id,
                           const char *why);
const osp_backend_def *osp_backend_by_id(osp_backend id);

// The variants of a model with a free batch where no option says otherwise; returns how many.
int32_t osp_default_batches(bool gpu, int32_t batches[8]);

// Buffer capacity for an output that shape inference left unknown: 300 rows, 6 columns.
void osp_output_capacity(const osp_shape *shape, int32_t batch, osp_shape *out);

#endif
