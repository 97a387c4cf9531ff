// Timing tactics on a GPU: scratch operands, a check, then the median of a few runs.
//
// Large problems are timed with a cold L2. Small ones find their operands in it when the network
// runs, and their launches hide behind one another: they are timed warm, in a row of launches that
// overlap as a run's do, recorded as a graph so that the processor's own pace does not count.
#include "plan/tune.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/size.h"
#include "gpu/gpu_compare.h"
#include "plan/tune_cache.h"

enum {
    ALIGN = 256,
    FLUSH_BYTES = 128 << 20,  // more than the L2 of any device we know
    PATTERN_BYTES = 1 << 20,
    RUNS = 7,
    ROW = 8,                // launches
    ROW_BELOW_US = 30,      // one launch: what lies between longer ones matters little
    WARM_BYTES = 16 << 20,  // operands that stay in the L2 beside those of the steps around
    OPERANDS = 16
};

struct osp_tuner {
    osp_context *ctx;
    osp_gpu *gpu;
    osp_tune_cache *cache;
    osp_gpu_stream stream;
    osp_gpu_event start, end;
    void *flush;
    char *scratch;  // operands of the problem at hand
    size_t scratch_bytes;
    float *largest;  // device: result of a comparison
};

// One problem's operands in the scratch block.
typedef struct bench {
    osp_tuner *t;
    const osp_problem *p;
    const void *const *constants;
    void *src[OPERANDS], *dst[OPERANDS];
    size_t dst_at[OPERANDS], dst_bytes[OPERANDS], dst_total;
    char *want;  // what the plainest tactic made: dst_total bytes
    char *tail;  // packed weights and workspace of a tactic
    bool warm;   // the operands are few bytes
} bench;

// ---- Opening ------------------------------------------------------------------------------------

static osp_status open_parts(osp_tuner *t, osp_error *err)
{
    OSP_TRY(osp_gpu_stream_open(t->gpu, &t->stream, err));
    OSP_TRY(osp_gpu_event_open(t->gpu, &t->start, true, err));
    OSP_TRY(osp_gpu_event_open(t->gpu, &t->end, true, err));
    OSP_TRY(osp_gpu_alloc(t->gpu, &t->flush, FLUSH_BYTES, err));
    return osp_gpu_alloc(t->gpu, (void **)&t->largest, 2 * sizeof *t->largest, err);
}

osp_status osp_tuner_open(osp_tuner **out, osp_context *ctx, osp_gpu *gpu, const char *cache_file,
                          const char *device_key, osp_error *err)
{
    osp_gpu_scope scope;
    *out = NULL;
    osp_tuner *t = osp_mem_calloc(&ctx->mem, 1, sizeof *t);
    if (!t)
        OSP_FAIL_MEMORY(err);
    t->ctx = ctx;
    t->gpu = gpu;
    osp_status status = osp_tune_cache_open(&t->cache, ctx, cache_file, device_key, err);
    if (!status)
        status = osp_gpu_enter(gpu, &scope, err);
    if (!status) {
        status = open_parts(t, err);
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
    osp_tune_cache_close(&t->cache);
    if (!osp_gpu_enter(t->gpu, &scope, NULL)) {
        osp_gpu_free(t->gpu, t->largest);
        osp_gpu_free(t->gpu, t->flush);
        osp_gpu_free(t->gpu, t->scratch);
        osp_gpu_event_close(t->gpu, &t->start);
        osp_gpu_event_close(t->gpu, &t->end);
        osp_gpu_stream_close(t->gpu, &t->stream);
        osp_gpu_leave(t->gpu, &scope);
    }
    osp_mem_free(&t->ctx->mem, t);
}

// ---- Operands -----------------------------------------------------------------------------------

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static int64_t operand_rows(const osp_operand *o)
{
    size_t count = 0;
    osp_shape_count(&o->shape, &count);
    return o->row ? (int64_t)count / o->row : 0;
}

static size_t operand_bytes(const osp_operand *o)
{
    return (size_t)operand_rows(o) * (size_t)o->pitch * osp_dtype_bytes(o->dtype);
}

// Room for `bytes` in the scratch block; what was in it is lost.
static osp_status reserve(osp_tuner *t, size_t bytes, osp_error *err)
{
    if (bytes <= t->scratch_bytes)
        return OSP_OK;
    osp_gpu_free(t->gpu, t->scratch);
    t->scratch = NULL;
    t->scratch_bytes = 0;
    OSP_TRY(osp_gpu_alloc(t->gpu, (void **)&t->scratch, bytes, err));
    t->scratch_bytes = bytes;
    return OSP_OK;
}

// Values in [-1, 1), other in each operand; integers are 0 and 1.
static osp_status fill_operand(osp_tuner *t, const osp_operand *o, char *to, size_t bytes,
                               uint32_t seed, osp_error *err)
{
    const size_t size = osp_dtype_bytes(o->dtype);
    const size_t head = bytes < PATTERN_BYTES ? bytes : PATTERN_BYTES;
    char *pattern = osp_mem_calloc(&t->ctx->mem, 1, head ? head : 1);
    if (!pattern)
        OSP_FAIL_MEMORY(err);
    for (size_t i = 0; i < head / size; i++) {
        seed = seed * 1664525u + 1013904223u;
        const float x = (float)(int32_t)seed * (1.0f / 2147483648.0f);
        const uint16_t half = osp_float_to_half(x);
        if (o->dtype == OSP_DTYPE_FLOAT32)
            memcpy(pattern + i * size, &x, size);
        else if (o->dtype == OSP_DTYPE_FLOAT16)
            memcpy(pattern + i * size, &half, size);
        else
            pattern[i * size] = (char)(seed >> 31);
    }
    osp_status status = head ? osp_gpu_copy(t->gpu, to, pattern, head, t->stream, err) : OSP_OK;
    for (size_t done = head; !status && done < bytes;) {
        const size_t more = bytes - done < done ? bytes - done : done;
        status = osp_gpu_copy(t->gpu, to + done, to, more, t->stream, err);
        done += more;
    }
    if (!status)
        status = osp_gpu_stream_wait(t->gpu, t->stream, -1, err);
    osp_mem_free(&t->ctx->mem, pattern);
    return status;
}

// Lays out all operands, twice the destinations, and `tail` bytes behind them.
static osp_status lay_out(bench *b, size_t tail, osp_error *err)
{
    const osp_problem *p = b->p;
    size_t total = 0, src_at[OPERANDS];
    for (int32_t i = 0; i < p->src_count; i++) {
        src_at[i] = total;
        total += p->src[i].dtype ? aligned(operand_bytes(p->src + i)) : 0;
    }
    const size_t dst_from = total;
    b->dst_total = 0;
    for (int32_t i = 0; i < p->dst_count; i++) {
        b->dst_at[i] = b->dst_total;
        b->dst_bytes[i] = p->dst[i].dtype ? operand_bytes(p->dst + i) : 0;
        b->dst_total += aligned(b->dst_bytes[i]);
    }
    OSP_TRY(reserve(b->t, total + 2 * b->dst_total + tail, err));
    char *at = b->t->scratch;
    for (int32_t i = 0; i < p->src_count; i++) {
        b->src[i] = p->src[i].dtype ? at + src_at[i] : NULL;
        const size_t bytes = p->src[i].dtype ? operand_bytes(p->src + i) : 0;
        if (b->constants[i])
            OSP_TRY(osp_gpu_copy(b->t->gpu, b->src[i], b->constants[i], bytes, b->t->stream, err));
        else if (bytes)
            OSP_TRY(fill_operand(b->t, p->src + i, b->src[i], bytes, 7u + (uint32_t)i, err));
    }
    for (int32_t i = 0; i < p->dst_count; i++)
        b->dst[i] = p->dst[i].dtype ? at + dst_from + b->dst_at[i] : NULL;
    b->warm = total + b->dst_total <= WARM_BYTES;
    b->want = at + dst_from + b->dst_total;
    b->tail = b->want + b->dst_total;
    return OSP_OK;
}

// ---- One tactic ---------------------------------------------------------------------------------

typedef struct trial {
    const osp_tactic *tactic;
    void *state;
    osp_tactic_sizes sizes;
    void *packed;  // host
    osp_launch launch;
} trial;

static void end_trial(bench *b, trial *x)
{
    if (x->tactic->release && x->state)
        x->tactic->release(b->t->ctx, x->state);
    osp_mem_free(&b->t->ctx->mem, x->packed);
}

static osp_status begin_trial(bench *b, const osp_tactic *tactic, trial *x, osp_error *err)
{
    osp_tuner *t = b->t;
    *x = (trial){.tactic = tactic};
    if (tactic->prepare)
        OSP_TRY(tactic->prepare(b->p, t->ctx, 1, &x->state, &x->sizes, err));
    const size_t packed = aligned(x->sizes.packed_bytes);
    x->launch = (osp_launch){.src = b->src,
                             .dst = b->dst,
                             .packed = x->sizes.packed_bytes ? b->tail : NULL,
                             .workspace = b->tail + packed,
                             .gpu = t->gpu,
                             .stream = t->stream};
    if (!x->sizes.packed_bytes)
        return OSP_OK;
    x->packed = osp_mem_calloc(&t->ctx->mem, 1, x->sizes.packed_bytes);
    if (!x->packed)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(tactic->pack(b->p, x->state, b->constants, x->packed, err));
    OSP_TRY(osp_gpu_copy(t->gpu, b->tail, x->packed, x->sizes.packed_bytes, t->stream, err));
    return osp_gpu_stream_wait(t->gpu, t->stream, -1, err);
}

// One launch with a cold L2 or, of a row, the mean of one.
static osp_status run_once(bench *b, const trial *x, osp_gpu_graph row, double *us, osp_error *err)
{
    osp_tuner *t = b->t;
    if (!row)
        OSP_TRY(osp_gpu_fill(t->gpu, t->flush, 0, FLUSH_BYTES, t->stream, err));
    OSP_TRY(osp_gpu_event_record(t->gpu, t->start, t->stream, err));
    OSP_TRY(row ? osp_gpu_graph_launch(t->gpu, row, t->stream, err)
                : x->tactic->launch(b->p, x->state, &x->launch, err));
    OSP_TRY(osp_gpu_event_record(t->gpu, t->end, t->stream, err));
    OSP_TRY(osp_gpu_event_wait(t->gpu, t->end, -1, err));
    OSP_TRY(osp_gpu_event_elapsed(t->gpu, t->start, t->end, us, err));
    *us /= row ? ROW : 1;
    return OSP_OK;
}

// NULL in *out: launches of this tactic, or on this device, are not recorded.
static osp_status record_row(bench *b, const trial *x, osp_gpu_graph *out, osp_error *err)
{
    osp_tuner *t = b->t;
    bool after_kernel = false;
    osp_launch launch = x->launch;
    launch.after_kernel = &after_kernel;
    *out = NULL;
    osp_status status = osp_gpu_capture_begin(t->gpu, t->stream, err);
    if (!status) {
        for (int i = 0; i < ROW && !status; i++)
            status = x->tactic->launch(b->p, x->state, &launch, err);
        osp_error ended;
        const osp_status end = osp_gpu_capture_end(t->gpu, t->stream, status ? NULL : out, &ended);
        if (end == OSP_ERROR_DEVICE_LOST || (end && !status)) {
            status = end;
            if (err)
                *err = ended;
        }
    }
    return status == OSP_ERROR_UNSUPPORTED || status == OSP_ERROR_SYSTEM ? OSP_OK : status;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median of RUNS; a tactic twice as slow as the best so far is not worth more than one.
static osp_status time_trial(bench *b, const trial *x, double best, double *us, osp_error *err)
{
    double times[RUNS];
    osp_gpu_graph row = NULL;
    osp_status status = run_once(b, x, NULL, times, err);
    if (!status && b->warm && times[0] < ROW_BELOW_US)
        status = record_row(b, x, &row, err);
    int count = row ? 0 : 1;
    for (; !status && count < RUNS && (count != 1 || times[0] <= 2 * best); count++)
        status = run_once(b, x, row, times + count, err);
    osp_gpu_graph_close(b->t->gpu, &row);
    qsort(times, (size_t)count, sizeof *times, ascending);
    *us = times[count / 2];
    return status;
}

// Difference from what the plainest made, as a share of the largest value.
static osp_status check_trial(bench *b, const trial *x, double *worst, osp_error *err)
{
    osp_tuner *t = b->t;
    *worst = 0;
    OSP_TRY(osp_gpu_fill(t->gpu, b->dst[0], 0xff, b->dst_total, t->stream, err));
    OSP_TRY(x->tactic->launch(b->p, x->state, &x->launch, err));
    for (int32_t i = 0; i < b->p->dst_count; i++) {
        const osp_operand *o = b->p->dst + i;
        float largest[2];
        if (o->dtype != OSP_DTYPE_FLOAT16 && o->dtype != OSP_DTYPE_FLOAT32)
            continue;
        OSP_TRY(osp_gpu_fill(t->gpu, t->largest, 0, sizeof largest, t->stream, err));
        OSP_TRY(osp_gpu_compare(t->gpu, o->dtype, b->dst[i], b->want + b->dst_at[i],
                                operand_rows(o), o->row, o->pitch, t->largest, t->stream, err));
        OSP_TRY(osp_gpu_copy(t->gpu, largest, t->largest, sizeof largest, t->stream, err));
        OSP_TRY(osp_gpu_stream_wait(t->gpu, t->stream, -1, err));
        const double d = largest[1] > 0 ? (double)largest[0] / (double)largest[1]
                                        : (double)largest[0];
        *worst = d > *worst ? d : *worst;
    }
    return OSP_OK;
}

static osp_status make_wanted(bench *b, const osp_tactic *plain, osp_error *err)
{
    trial x;
    osp_status status = begin_trial(b, plain, &x, err);
    if (!status)
        status = plain->launch(b->p, x.state, &x.launch, err);
    if (!status)
        status = osp_gpu_copy(b->t->gpu, b->want, b->dst[0], b->dst_total, b->t->stream, err);
    if (!status)
        status = osp_gpu_stream_wait(b->t->gpu, b->t->stream, -1, err);
    end_trial(b, &x);
    return status;
}

// ---- Choosing -----------------------------------------------------------------------------------

static double tolerance(const osp_problem *p)
{
    return p->dst[0].dtype == OSP_DTYPE_FLOAT16 ? 1e-2 : 1e-4;
}

// A tactic that this device refuses to launch (too much shared memory), or whose result is off, is
// no candidate; a lost device ends it all.
static osp_status try_tactic(bench *b, const osp_tactic *tactic, const char *text, double *best,
                             const osp_tactic **out, osp_error *err)
{
    trial x;
    osp_error why;
    double worst = 0, us = 0;
    osp_status status = begin_trial(b, tactic, &x, &why);
    if (!status)
        status = check_trial(b, &x, &worst, &why);
    if (!status && worst > tolerance(b->p))
        status = osp_error_set(&why, OSP_ERROR_SYSTEM, "its result is off by %g of the range",
                               worst);
    if (!status)
        status = time_trial(b, &x, *best, &us, &why);
    end_trial(b, &x);
    if (status == OSP_ERROR_DEVICE_LOST || status == OSP_ERROR_MEMORY) {
        if (err)
            *err = why;
        return status;
    }
    if (status) {
        osp_log(b->t->ctx, OSP_LOG_WARNING, "tactic %s is passed over for '%s': %s", tactic->name,
                text, why.text);
        return OSP_OK;
    }
    osp_log(b->t->ctx, OSP_LOG_DEBUG, "%9.2f us %s: %s", us, tactic->name, text);
    if (us < *best) {
        *best = us;
        *out = tactic;
    }
    return OSP_OK;
}

// The most that any candidate wants behind the operands, so that these need not move.
static osp_status widest_tail(bench *b, const osp_tactic *const *candidates, int32_t count,
                              size_t *out, osp_error *err)
{
    *out = 0;
    for (int32_t i = 0; i < count; i++) {
        void *state = NULL;
        osp_tactic_sizes sizes = {0};
        if (candidates[i]->prepare)
            OSP_TRY(candidates[i]->prepare(b->p, b->t->ctx, 1, &state, &sizes, err));
        if (candidates[i]->release && state)
            candidates[i]->release(b->t->ctx, state);
        const size_t bytes = aligned(sizes.packed_bytes) + sizes.workspace_bytes;
        *out = bytes > *out ? bytes : *out;
    }
    return OSP_OK;
}

static osp_status tune(bench *b, const osp_tactic *const *candidates, int32_t count,
                       const char *text, const osp_tactic **out, osp_error *err)
{
    size_t tail;
    double best = 1e30;
    *out = candidates[count - 1];
    OSP_TRY(widest_tail(b, candidates, count, &tail, err));
    OSP_TRY(lay_out(b, tail, err));
    OSP_TRY(make_wanted(b, candidates[count - 1], err));
    for (int32_t i = 0; i < count; i++)
        OSP_TRY(try_tactic(b, candidates[i], text, &best, out, err));
    osp_tune_cache_put(b->t->cache, text, (*out)->name, (*out)->pack_version, best);
    return OSP_OK;
}

osp_status osp_tuner_choose(osp_tuner *t, const osp_tactic *const *list, const osp_problem *p,
                            const char *text, const void *const *constants, const osp_tactic **out,
                            const char **reason, osp_error *err)
{
    enum { MOST = 64 };
    const osp_tactic *candidates[MOST];
    int32_t count = 0;
    *out = NULL;
    for (; *list && count < MOST; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(p) : NULL;
        if (why)
            *reason = why;
        else
            candidates[count++] = *list;
    }
    if (!count)
        return OSP_OK;
    *out = candidates[0];
    if (count == 1 || p->src_count > OPERANDS || p->dst_count > OPERANDS)
        return OSP_OK;
    for (int32_t i = 0; i < count; i++)
        if (osp_tune_cache_has(t->cache, text, candidates[i]->name, candidates[i]->pack_version)) {
            *out = candidates[i];
            return OSP_OK;
        }
    bench b = {.t = t, .p = p, .constants = constants};
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_enter(t->gpu, &scope, err));
    const osp_status status = tune(&b, candidates, count, text, out, err);
    osp_gpu_leave(t->gpu, &scope);
    return status;
}
