// The timing cache: which tactic was the fastest for a problem on a device. In a file a line each:
//
//     DEVICE KEY <tab> TACTIC <tab> PACK VERSION <tab> US <tab> PROBLEM TEXT
//
// Lines of other devices are kept as they are. Thread rule: one thread each; a lock file keeps
// processes apart.
#ifndef OSP_PLAN_TUNE_CACHE_H
#define OSP_PLAN_TUNE_CACHE_H

#include "base/context.h"

typedef struct osp_tune_cache osp_tune_cache;

// `path` NULL: nothing is read or written. A file that is none of ours is a warning, and replaced.
osp_status osp_tune_cache_open(osp_tune_cache **out, osp_context *ctx, const char *path,
                               const char *device_key, osp_error *err);
// Reads the file again, adds what is new, writes it whole. Failures are warnings.
void osp_tune_cache_close(osp_tune_cache **cache);
bool osp_tune_cache_has(const osp_tune_cache *cache, const char *text, const char *tactic,
                        int32_t pack_version);
// Without memory it is forgotten.
void osp_tune_cache_put(osp_tune_cache *cache, const char *text, const char *tactic,
                        int32_t pack_version, double us);

#endif
