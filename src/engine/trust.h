// Which TensorRT plans may be opened: TensorRT treats a plan as code. Thread rule: any thread.
#ifndef OSP_ENGINE_TRUST_H
#define OSP_ENGINE_TRUST_H

#include "base/file.h"
#include "engine/runtime.h"

// Remembers a plan that this process built, by its SHA-256.
void osp_trust_built(osp_runtime *runtime, osp_bytes plan);

// OSP_OK where the caller vouches for the plan (`trust` is OSP_ON), this process built it, or it was
// read from `private_dir` (NULL: from elsewhere), which must be the user's own folder of mode 0700.
// Else UNTRUSTED, with what to do.
osp_status osp_trust_check(osp_runtime *runtime, osp_bytes plan, osp_switch trust,
                           const char *private_dir, osp_error *err);

#endif
