// Engines of whole-model backends, from each place that they come from. All functions fill an empty
// engine of osp_engine_make up to the point where osp_engine_describe takes over; on failure
// osp_engine_close gives back what there is. Thread rule: one thread for each engine.
#ifndef OSP_ENGINE_WHOLE_ENGINE_H
#define OSP_ENGINE_WHOLE_ENGINE_H

#include "base/json.h"
#include "engine/engine.h"

osp_status osp_engine_build_whole(osp_engine *engine, const osp_whole_request *request,
                                  osp_error *err);

// After osp_plan_decode has found the section. `private_dir`: see osp_trust_check.
osp_status osp_engine_open_whole(osp_engine *engine, osp_switch trust, const char *private_dir,
                                 osp_error *err);

// A plan without a file of ours around it, perhaps behind the length and JSON of Ultralytics.
typedef struct osp_bare_plan {
    const osp_backend_def *backend;
    osp_json_span metadata;  // size 0: none
    osp_bytes section;
} osp_bare_plan;
// True if some backend knows the bytes for its own.
bool osp_bare_plan_find(const void *bytes, size_t size, osp_bare_plan *out);
osp_status osp_engine_open_bare(osp_engine *engine, const osp_bare_plan *plan, osp_switch trust,
                                osp_error *err);

// osp_engine_step for layers of the backend's engine; any thread.
osp_status osp_engine_whole_step(osp_engine *engine, int32_t i, osp_step_info *out);

#endif
