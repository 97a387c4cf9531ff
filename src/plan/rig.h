// A rig to try tactics in on a GPU: a problem's operands in scratch memory, each tactic's result
// compared with the plainest one's, and the time of one launch, with a cold L2 or
// in a row of its like. The tuner chooses by it
// and bench/kernels prints from it, so that both measure the same.
// Thread rule: one rig from one thread at a time, in a scope of its device.
#ifndef OSP_PLAN_RIG_H
#define OSP_PLAN_RIG_H

#include "backends/tactic.h"

enum {
    OSP_RIG_OPERANDS = 16,  // most sources, and most destinations
    OSP_RIG_TACTICS = 64    // most that accept a problem
};

typedef struct osp_rig {
    osp_context *ctx;
    osp_gpu *gpu;
    osp_gpu_stream stream;
    osp_gpu_event start, end;
    void *flush;
    char *scratch;  // operands of the problem at hand
    size_t scratch_bytes;
    float *largest;  // device: result of a comparison
} osp_rig;

// DEVICE, MEMORY. A rig that failed to open is closed like any other.
osp_status osp_rig_open(osp_rig *rig, osp_context *ctx, osp_gpu *gpu, osp_error *err);
void osp_rig_close(osp_rig *rig);

// The tactics of a list (NULL-terminated) that take the problem on this device, into out[OSP_RIG_TACTICS];
// returns their number. *reason: why the last of the others does not. Any thread.
int32_t osp_rig_accepting(const osp_gpu *gpu, const osp_tactic *const *list, const osp_problem *p,
                          const osp_tactic **out, const char **reason);

// One problem in the rig. Sources hold values in [-1, 1), integers 0 and 1, or the constants.
typedef struct osp_rig_case {
    osp_rig *rig;
    const osp_problem *p;
    const void *const *constants;  // by source; NULL for activations
    void *src[OSP_RIG_OPERANDS], *dst[OSP_RIG_OPERANDS];
    size_t dst_at[OSP_RIG_OPERANDS], dst_bytes[OSP_RIG_OPERANDS], dst_total;
    char *want;  // what the plainest tactic made: dst_total bytes
    char *tail;  // packed weights and workspace of a tactic
    bool warm;   // set by place: the operands are few bytes, which stay in the L2 during a run
} osp_rig_case;

// Lays out the operands of `c->p` in the rig's scratch memory, with room for any of the tactics;
// what was there before is lost. The caller has set the first three members.
osp_status osp_rig_place(osp_rig_case *c, const osp_tactic *const *tactics, int32_t count,
                         osp_error *err);
// The rig's memory becomes the caller's, who frees it by osp_gpu_free; the case stays as it is.
void *osp_rig_take(osp_rig *rig);

typedef struct osp_trial {
    const osp_tactic *tactic;
    void *state;
    osp_tactic_sizes sizes;
    void *packed;  // host
    osp_launch launch;
} osp_trial;

// Prepares a tactic and packs its weights behind the operands; those of the one before are lost. To be
// ended whatever comes of it.
osp_status osp_trial_begin(osp_rig_case *c, const osp_tactic *tactic, osp_trial *x, osp_error *err);
void osp_trial_end(osp_rig_case *c, osp_trial *x);

// Runs `plain` and keeps its result as the one to compare with.
osp_status osp_rig_expect(osp_rig_case *c, const osp_tactic *plain, osp_error *err);
// The largest difference from it, as a share of the largest value in it; what is no number is as far
// off as can be. SYSTEM where that is more than rounding explains, with the difference in the text.
osp_status osp_trial_check(osp_rig_case *c, const osp_trial *x, double *worst, osp_error *err);
// Microseconds of one launch after the L2 was filled with other things.
osp_status osp_trial_run(osp_rig_case *c, const osp_trial *x, double *us, osp_error *err);
// Records a row of launches that overlap as a run's do; NULL in *row: launches of this tactic, or on
// this device, are not recorded. Closed by osp_gpu_graph_close.
osp_status osp_trial_record(osp_rig_case *c, const osp_trial *x, osp_gpu_graph *row,
                            osp_error *err);
// Microseconds of one of its launches, on the average.
osp_status osp_trial_run_row(osp_rig_case *c, osp_gpu_graph row, double *us, osp_error *err);
// Sorts `times`; their median.
double osp_median(double *times, int32_t count);

#endif
