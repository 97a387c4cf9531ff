// Choosing tactics on a GPU: those that accept a problem are checked and timed in a rig.
//
// Large problems are timed with a cold L2. Small ones find their operands in it when the network
// runs, and their launches hide behind one another: they are timed warm, in a row of launches that
// overlap as a run's do, recorded as a graph so that the processor's own pace does not count.
#include "plan/tune.h"

#include "plan/rig.h"
#include "plan/tune_cache.h"

enum { RUNS = 7, ROW_BELOW_US = 30 };  // what lies between longer launches matters little

struct osp_tuner {
    osp_rig rig;
    osp_tune_cache *cache;
};

osp_status osp_tuner_open(osp_tuner **out, osp_context *ctx, osp_gpu *gpu, const char *cache_file,
                          const char *device_key, osp_error *err)
{
    osp_gpu_scope scope;
    *out = NULL;
    osp_tuner *t = osp_mem_calloc(&ctx->mem, 1, sizeof *t);
    if (!t)
        OSP_FAIL_MEMORY(err);
    t->rig = (osp_rig){.ctx = ctx, .gpu = gpu};
    osp_status status = osp_tune_cache_open(&t->cache, ctx, cache_file, device_key, err);
    if (!status)
        status = osp_gpu_enter(gpu, &scope, err);
    if (!status) {
        status = osp_rig_open(&t->rig, ctx, gpu, err);
        osp_gpu_leave(gpu, &scope);
    }
    *out = t;
    if (status)
        osp_tuner_close(out);
    return status;
}

void osp_tuner_close(osp_tuner **tuner)
{
    osp_tuner *t = *tuner;
    osp_gpu_scope scope;
    if (!t)
        return;
    *tuner = NULL;
    osp_gpu *gpu = t->rig.gpu;
    osp_context *ctx = t->rig.ctx;
    osp_tune_cache_close(&t->cache);
    if (!osp_gpu_enter(gpu, &scope, NULL)) {
        osp_rig_close(&t->rig);
        osp_gpu_leave(gpu, &scope);
    }
    osp_mem_free(&ctx->mem, t);
}

// Median of RUNS; a tactic twice as slow as the best so far is not worth more than one.
static osp_status time_trial(osp_rig_case *c, const osp_trial *x, double best, double *us,
                             osp_error *err)
{
    double times[RUNS];
    osp_gpu_graph row = NULL;
    osp_status status = osp_trial_run(c, x, times, err);
    if (!status && c->warm && times[0] < ROW_BELOW_US)
        status = osp_trial_record(c, x, &row, err);
    int32_t count = row ? 0 : 1;
    for (; !status && count < RUNS && (count != 1 || times[0] <= 2 * best); count++)
        status = row ? osp_trial_run_row(c, row, times + count, err)
                     : osp_trial_run(c, x, times + count, err);
    osp_gpu_graph_close(c->rig->gpu, &row);
    *us = osp_median(times, count);
    return status;
}

// A tactic that this device refuses to launch (too much shared memory), or whose result is off, is
// no candidate; a lost device ends it all.
static osp_status try_tactic(osp_rig_case *c, const osp_tactic *tactic, const char *text,
                             double *best, const osp_tactic **out, osp_error *err)
{
    osp_trial x;
    osp_error why;
    double worst = 0, us = 0;
    osp_status status = osp_trial_begin(c, tactic, &x, &why);
    if (!status)
        status = osp_trial_check(c, &x, &worst, &why);
    if (!status)
        status = time_trial(c, &x, *best, &us, &why);
    osp_trial_end(c, &x);
    if (status == OSP_ERROR_DEVICE_LOST || status == OSP_ERROR_MEMORY) {
        if (err)
            *err = why;
        return status;
    }
    if (status) {
        osp_log(c->rig->ctx, OSP_LOG_WARNING, "tactic %s is passed over for '%s': %s", tactic->name,
                text, why.text);
        return OSP_OK;
    }
    osp_log(c->rig->ctx, OSP_LOG_DEBUG, "%9.2f us %s: %s", us, tactic->name, text);
    if (us < *best) {
        *best = us;
        *out = tactic;
    }
    return OSP_OK;
}

static osp_status tune(osp_rig_case *c, const osp_tactic *const *candidates, int32_t count,
                       const char *text, const osp_tactic **out, double *best, osp_error *err)
{
    *best = 1e30;
    *out = candidates[count - 1];
    OSP_TRY(osp_rig_place(c, candidates, count, err));
    OSP_TRY(osp_rig_expect(c, candidates[count - 1], err));
    for (int32_t i = 0; i < count; i++)
        OSP_TRY(try_tactic(c, candidates[i], text, best, out, err));
    return OSP_OK;
}

osp_status osp_tuner_choose(osp_tuner *t, const osp_tactic *const *list, const osp_problem *p,
                            const char *text, const void *const *constants, const osp_tactic **out,
                            const char **reason, osp_error *err)
{
    const osp_tactic *candidates[OSP_RIG_TACTICS];
    const int32_t count = osp_rig_accepting(t->rig.gpu, list, p, candidates, reason);
    *out = count ? candidates[0] : NULL;
    if (count <= 1 || p->src_count > OSP_RIG_OPERANDS || p->dst_count > OSP_RIG_OPERANDS)
        return OSP_OK;
    for (int32_t i = 0; i < count; i++)
        if (osp_tune_cache_has(t->cache, text, candidates[i]->name, candidates[i]->pack_version)) {
            *out = candidates[i];
            return OSP_OK;
        }
    osp_rig_case c = {.rig = &t->rig, .p = p, .constants = constants};
    osp_gpu_scope scope;
    double best;
    OSP_TRY(osp_gpu_enter(t->rig.gpu, &scope, err));
    const osp_status status = tune(&c, candidates, count, text, out, &best, err);
    osp_gpu_leave(t->rig.gpu, &scope);
    if (!status)
        osp_tune_cache_put(t->cache, text, (*out)->name, (*out)->pack_version, best);
    return status;
}
