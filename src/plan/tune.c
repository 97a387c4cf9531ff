// Choosing tactics on a GPU: those that accept a problem are checked and timed in a rig. At the end
// whole runs are timed, on one stream and on several.
//
// Large problems are timed with a cold L2. Small ones find their operands in it when the network
// runs, and their launches hide behind one another: they are timed warm, in a row of launches that
// overlap as a run's do, recorded as a graph so that the processor's own pace does not count.
#include "plan/tune.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/thread.h"
#include "plan/rig.h"
#include "plan/tune_cache.h"

enum {
    RUNS = 7,
    TACTIC_US = 20000,  // of the processor's clock: one that took so long is not run again
    ROW_BELOW_US = 30,  // what lies between longer launches matters little
    WARM_UPS = 3,
    WHOLE_RUNS = WARM_UPS + 21,
    WHOLE_US = 300000,  // after which there are no more of them
    LONG_US = 500000    // one that takes so long fills the device by itself
};

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

// Median of RUNS, or of as many as TACTIC_US allow; a tactic twice as slow as the best so far is not worth
// more than one.
static osp_status time_trial(osp_rig_case *c, const osp_trial *x, double best, double *us,
                             osp_error *err)
{
    double times[RUNS], start = osp_time_us();
    osp_gpu_graph row = NULL;
    osp_status status = osp_trial_run(c, x, times, err);
    if (!status && c->warm && times[0] < ROW_BELOW_US)
        status = osp_trial_record(c, x, &row, err);
    int32_t count = row ? 0 : 1;
    for (; !status && count < RUNS && (count != 1 || times[0] <= 2 * best); count++) {
        if (count > 0 && osp_time_us() - start > TACTIC_US)
            break;
        status = row ? osp_trial_run_row(c, row, times + count, err)
                     : osp_trial_run(c, x, times + count, err);
    }
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

// ---- Streams ------------------------------------------------------------------------------------

// A variant as a session would run it, on zeros.
typedef struct whole {
    const osp_rig *rig;
    int32_t variant;
    void *state;  // of the program
    void *zeros, **io;
    osp_gpu_graph graph;
} whole;

static void close_whole(whole *w)
{
    osp_gpu_graph_close(w->rig->gpu, &w->graph);
    osp_compiled_program.close(w->state);
    osp_gpu_free(w->rig->gpu, w->zeros);
    osp_mem_free(&w->rig->ctx->mem, w->io);
}

// All inputs are one block, since nobody writes them; outputs lie where the plan has them.
static osp_status open_whole(whole *w, const osp_compiled *c, osp_error *err)
{
    const osp_graph *g = &c->variants[w->variant].graph;
    const osp_rig *rig = w->rig;
    size_t most = 1, bytes = 0;
    w->io = osp_mem_calloc(&rig->ctx->mem, (size_t)g->input_count + (size_t)g->output_count,
                           sizeof *w->io);
    if (!w->io)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < g->input_count; i++) {
        const osp_value *v = g->values + g->inputs[i];
        if (osp_shape_bytes(&v->shape, v->dtype, &bytes) && bytes > most)
            most = bytes;
    }
    OSP_TRY(osp_gpu_alloc(rig->gpu, &w->zeros, most, err));
    OSP_TRY(osp_gpu_fill(rig->gpu, w->zeros, 0, most, rig->stream, err));
    for (int32_t i = 0; i < g->input_count; i++)
        w->io[i] = w->zeros;
    return osp_compiled_program.open(&w->state, rig->gpu, c, err);
}

// Runs the graph, or the steps one by one where there is none yet, and waits.
static osp_status run_whole(const whole *w, double *us, osp_error *err)
{
    const osp_rig *rig = w->rig;
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->start, rig->stream, err));
    OSP_TRY(w->graph ? osp_gpu_graph_launch(rig->gpu, w->graph, rig->stream, err)
                     : osp_compiled_program.enqueue(w->state, w->variant, w->io, NULL, rig->stream,
                                                    err));
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->end, rig->stream, err));
    OSP_TRY(osp_gpu_event_wait(rig->gpu, rig->end, -1, err));
    return osp_gpu_event_elapsed(rig->gpu, rig->start, rig->end, us, err);
}

static osp_status record_whole(whole *w, osp_error *err)
{
    const osp_rig *rig = w->rig;
    OSP_TRY(osp_gpu_capture_begin(rig->gpu, rig->stream, err));
    const osp_status status = osp_compiled_program.enqueue(w->state, w->variant, w->io, NULL,
                                                           rig->stream, err);
    const osp_status end = osp_gpu_capture_end(rig->gpu, rig->stream, status ? NULL : &w->graph,
                                               status ? NULL : err);
    return status ? status : end;
}

// Median of a variant's graph, as sessions replay it; UNSUPPORTED where a run is long anyway.
static osp_status time_whole(const osp_rig *rig, const osp_compiled *c, int32_t variant, double *us,
                             osp_error *err)
{
    double times[WHOLE_RUNS], start = osp_time_us();
    whole w = {.rig = rig, .variant = variant};
    osp_status status = open_whole(&w, c, err);
    if (!status)
        status = run_whole(&w, us, err);
    if (!status && osp_time_us() - start > LONG_US)
        status = osp_error_set(err, OSP_ERROR_UNSUPPORTED, "its runs are long");
    if (!status)
        status = record_whole(&w, err);
    int32_t count = 0;
    start = osp_time_us();
    while (!status && count < WHOLE_RUNS && (!count || osp_time_us() - start < WHOLE_US))
        status = run_whole(&w, times + count++, err);
    close_whole(&w);
    const int32_t warm = count > WARM_UPS ? WARM_UPS : 0;
    if (!status)
        *us = osp_median(times + warm, count - warm);
    return status;
}

// How the timing cache knows a run: its steps, their tactics and where they would lie.
static void name_run(const osp_variant *v, char *text, size_t size)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < v->step_count; i++) {
        const osp_step *s = v->steps + i;
        hash = osp_hash64(s->text, strlen(s->text), hash);
        hash = osp_hash64(s->tactic->name, strlen(s->tactic->name), hash);
        hash = osp_hash64(v->streams.turns + i, sizeof *v->streams.turns, hash);
    }
    snprintf(text, size, "run of %d steps %016llx", v->step_count, (unsigned long long)hash);
}

// Leaves the variant on as many streams as it has now, or on one.
static osp_status choose_streams(osp_tuner *t, osp_compiled *c, int32_t variant, osp_error *err)
{
    osp_variant *v = c->variants + variant;
    char text[64], name[32];
    osp_error why;
    double several = 0, one = 0;
    name_run(v, text, sizeof text);
    snprintf(name, sizeof name, "streams %d", v->streams.count);
    if (osp_tune_cache_has(t->cache, text, name, 0))
        return OSP_OK;
    const bool known = osp_tune_cache_has(t->cache, text, "streams 1", 0);
    osp_status status = known ? OSP_OK : time_whole(&t->rig, c, variant, &several, &why);
    const int32_t count = v->streams.count;
    OSP_TRY(osp_compile_streams(c, v, 1, err));
    if (!known && !status)
        status = time_whole(&t->rig, c, variant, &one, &why);
    if (status == OSP_ERROR_DEVICE_LOST) {
        if (err)
            *err = why;
        return status;
    }
    if (status)
        osp_log(c->ctx, OSP_LOG_DEBUG, "one stream, untried: %s", why.text);
    if (known || status)
        return OSP_OK;
    const bool better = several < one * 0.98;  // less is within the noise
    osp_log(c->ctx, OSP_LOG_DEBUG, "%9.2f us on one stream, %.2f us on %d", one, several, count);
    osp_tune_cache_put(t->cache, text, better ? name : "streams 1", 0, better ? several : one);
    return better ? osp_compile_streams(c, v, count, err) : OSP_OK;
}

osp_status osp_tuner_streams(osp_tuner *t, osp_compiled *c, osp_error *err)
{
    osp_gpu_scope scope;
    OSP_TRY(osp_compiled_upload(c, err));
    OSP_TRY(osp_gpu_enter(t->rig.gpu, &scope, err));
    osp_status status = OSP_OK;
    for (int32_t i = 0; i < c->variant_count && !status; i++) {
        osp_variant *v = c->variants + i;
        status = osp_compile_streams(c, v, OSP_STREAMS_MOST, err);
        if (status == OSP_ERROR_LIMIT)  // it takes more memory
            status = osp_compile_streams(c, v, 1, err);
        if (!status && v->streams.turns)
            status = choose_streams(t, c, i, err);
    }
    osp_gpu_leave(t->rig.gpu, &scope);
    return status;
}
