// The tuner: of the tactics that accept a problem, the fastest on the device at hand; and whether a
// run gains by several streams. Each tactic is checked
// against the last in the list before it is timed (the lists end with the plainest). What was found
// is kept by name in a timing cache, so that a problem is tuned once for each device.
// Thread rule: one tuner from one thread at a time.
#ifndef OSP_PLAN_TUNE_H
#define OSP_PLAN_TUNE_H

#include "plan/compile.h"

typedef struct osp_tuner osp_tuner;

// `cache_file`: read if it is there; NULL: none. `device_key` goes into each of its lines. A damaged
// file is passed over with a warning. DEVICE, MEMORY.
osp_status osp_tuner_open(osp_tuner **out, osp_context *ctx, osp_gpu *gpu, const char *cache_file,
                          const char *device_key, osp_error *err);
// Joins what is new with what the file has by now, and writes it; a failure is a warning.
void osp_tuner_close(osp_tuner **tuner);

// `list`: NULL-terminated, those that refuse are passed over. `constants`: by source, NULL for
// activations. NULL in *out: none accepts, and *reason says why the last one does not.
osp_status osp_tuner_choose(osp_tuner *tuner, const osp_tactic *const *list, const osp_problem *p,
                            const char *text, const void *const *constants, const osp_tactic **out,
                            const char **reason, osp_error *err);

// Whether each variant of `c`, complete by now, runs faster with its steps on several streams: settles
// the streams and the memory of all. Uploads the constants. What cannot be tried stays on one stream.
osp_status osp_tuner_streams(osp_tuner *tuner, osp_compiled *c, osp_error *err);

#endif
