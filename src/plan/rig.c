// Trying tactics on a GPU: scratch operands, a check, the time of a launch, cold or in a row.
#include "plan/rig.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/size.h"
#include "gpu/gpu_compare.h"

enum {
    ALIGN = 256,
    FLUSH_BYTES = 128 << 20,  // more than the L2 of any device we know
    PATTERN_BYTES = 1 << 20,
    ROW = 8,               // launches
    WARM_BYTES = 16 << 20  // operands that stay in the L2 beside those of the steps around
};

// ---- Opening ------------------------------------------------------------------------------------

osp_status osp_rig_open(osp_rig *rig, osp_context *ctx, osp_gpu *gpu, osp_error *err)
{
    *rig = (osp_rig){.ctx = ctx, .gpu = gpu};
    OSP_TRY(osp_gpu_stream_open(gpu, &rig->stream, err));
    OSP_TRY(osp_gpu_event_open(gpu, &rig->start, true, err));
    OSP_TRY(osp_gpu_event_open(gpu, &rig->end, true, err));
    OSP_TRY(osp_gpu_alloc(gpu, &rig->flush, FLUSH_BYTES, err));
    return osp_gpu_alloc(gpu, (void **)&rig->largest, 2 * sizeof *rig->largest, err);
}

void osp_rig_close(osp_rig *rig)
{
    osp_gpu_free(rig->gpu, rig->largest);
    osp_gpu_free(rig->gpu, rig->flush);
    osp_gpu_free(rig->gpu, rig->scratch);
    osp_gpu_event_close(rig->gpu, &rig->start);
    osp_gpu_event_close(rig->gpu, &rig->end);
    osp_gpu_stream_close(rig->gpu, &rig->stream);
}

int32_t osp_rig_accepting(const osp_gpu *gpu, const osp_tactic *const *list, const osp_problem *p,
                          const osp_tactic **out, const char **reason)
{
    int32_t count = 0;
    for (; *list && count < OSP_RIG_TACTICS; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(p) : NULL;
        if (!why && (*list)->refuse_device)
            why = (*list)->refuse_device(osp_gpu_info(gpu));
        if (why)
            *reason = why;
        else
            out[count++] = *list;
    }
    return count;
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
static osp_status reserve(osp_rig *rig, size_t bytes, osp_error *err)
{
    if (bytes <= rig->scratch_bytes)
        return OSP_OK;
    osp_gpu_free(rig->gpu, rig->scratch);
    rig->scratch = NULL;
    rig->scratch_bytes = 0;
    OSP_TRY(osp_gpu_alloc(rig->gpu, (void **)&rig->scratch, bytes, err));
    rig->scratch_bytes = bytes;
    return OSP_OK;
}

// Values in [-1, 1), other in each operand; integers are 0 and 1.
static osp_status fill_operand(osp_rig *rig, const osp_operand *o, char *to, size_t bytes,
                               uint32_t seed, osp_error *err)
{
    const size_t size = osp_dtype_bytes(o->dtype);
    const size_t head = bytes < PATTERN_BYTES ? bytes : PATTERN_BYTES;
    char *pattern = osp_mem_calloc(&rig->ctx->mem, 1, head ? head : 1);
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
    osp_status status = head ? osp_gpu_copy(rig->gpu, to, pattern, head, rig->stream, err) : OSP_OK;
    for (size_t done = head; !status && done < bytes;) {
        const size_t more = bytes - done < done ? bytes - done : done;
        status = osp_gpu_copy(rig->gpu, to + done, to, more, rig->stream, err);
        done += more;
    }
    if (!status)
        status = osp_gpu_stream_wait(rig->gpu, rig->stream, -1, err);
    osp_mem_free(&rig->ctx->mem, pattern);
    return status;
}

// Lays out all operands, twice the destinations, and `tail` bytes behind them.
static osp_status lay_out(osp_rig_case *c, size_t tail, osp_error *err)
{
    const osp_problem *p = c->p;
    size_t total = 0, src_at[OSP_RIG_OPERANDS];
    for (int32_t i = 0; i < p->src_count; i++) {
        src_at[i] = total;
        total += p->src[i].dtype ? aligned(operand_bytes(p->src + i)) : 0;
    }
    const size_t dst_from = total;
    c->dst_total = 0;
    for (int32_t i = 0; i < p->dst_count; i++) {
        c->dst_at[i] = c->dst_total;
        c->dst_bytes[i] = p->dst[i].dtype ? operand_bytes(p->dst + i) : 0;
        c->dst_total += aligned(c->dst_bytes[i]);
    }
    OSP_TRY(reserve(c->rig, total + 2 * c->dst_total + tail, err));
    char *at = c->rig->scratch;
    for (int32_t i = 0; i < p->src_count; i++) {
        c->src[i] = p->src[i].dtype ? at + src_at[i] : NULL;
        const size_t bytes = p->src[i].dtype ? operand_bytes(p->src + i) : 0;
        if (c->constants[i])
            OSP_TRY(
                osp_gpu_copy(c->rig->gpu, c->src[i], c->constants[i], bytes, c->rig->stream, err));
        else if (bytes)
            OSP_TRY(fill_operand(c->rig, p->src + i, c->src[i], bytes, 7u + (uint32_t)i, err));
    }
    for (int32_t i = 0; i < p->dst_count; i++)
        c->dst[i] = p->dst[i].dtype ? at + dst_from + c->dst_at[i] : NULL;
    c->warm = total + c->dst_total <= WARM_BYTES;
    c->want = at + dst_from + c->dst_total;
    c->tail = c->want + c->dst_total;
    return OSP_OK;
}

// The most that any tactic wants behind the operands, so that these need not move.
static osp_status widest_tail(osp_rig_case *c, const osp_tactic *const *tactics, int32_t count,
                              size_t *out, osp_error *err)
{
    *out = 0;
    for (int32_t i = 0; i < count; i++) {
        void *state = NULL;
        osp_tactic_sizes sizes = {0};
        if (tactics[i]->prepare)
            OSP_TRY(tactics[i]->prepare(c->p, c->rig->ctx, 1, &state, &sizes, err));
        if (tactics[i]->release && state)
            tactics[i]->release(c->rig->ctx, state);
        const size_t bytes = aligned(sizes.packed_bytes) + sizes.workspace_bytes;
        *out = bytes > *out ? bytes : *out;
    }
    return OSP_OK;
}

osp_status osp_rig_place(osp_rig_case *c, const osp_tactic *const *tactics, int32_t count,
                         osp_error *err)
{
    size_t tail;
    OSP_TRY(widest_tail(c, tactics, count, &tail, err));
    return lay_out(c, tail, err);
}

void *osp_rig_take(osp_rig *rig)
{
    void *scratch = rig->scratch;
    rig->scratch = NULL;
    rig->scratch_bytes = 0;
    return scratch;
}

// ---- One tactic ---------------------------------------------------------------------------------

void osp_trial_end(osp_rig_case *c, osp_trial *x)
{
    if (x->tactic->release && x->state)
        x->tactic->release(c->rig->ctx, x->state);
    osp_mem_free(&c->rig->ctx->mem, x->packed);
}

osp_status osp_trial_begin(osp_rig_case *c, const osp_tactic *tactic, osp_trial *x, osp_error *err)
{
    osp_rig *rig = c->rig;
    *x = (osp_trial){.tactic = tactic};
    if (tactic->prepare)
        OSP_TRY(tactic->prepare(c->p, rig->ctx, 1, &x->state, &x->sizes, err));
    const size_t packed = aligned(x->sizes.packed_bytes);
    x->launch = (osp_launch){.src = c->src,
                             .dst = c->dst,
                             .packed = x->sizes.packed_bytes ? c->tail : NULL,
                             .workspace = c->tail + packed,
                             .gpu = rig->gpu,
                             .stream = rig->stream};
    if (!x->sizes.packed_bytes)
        return OSP_OK;
    x->packed = osp_mem_calloc(&rig->ctx->mem, 1, x->sizes.packed_bytes);
    if (!x->packed)
        OSP_FAIL_MEMORY(err);
    OSP_TRY(tactic->pack(c->p, x->state, c->constants, x->packed, err));
    OSP_TRY(osp_gpu_copy(rig->gpu, c->tail, x->packed, x->sizes.packed_bytes, rig->stream, err));
    return osp_gpu_stream_wait(rig->gpu, rig->stream, -1, err);
}

osp_status osp_trial_run(osp_rig_case *c, const osp_trial *x, double *us, osp_error *err)
{
    osp_rig *rig = c->rig;
    OSP_TRY(osp_gpu_fill(rig->gpu, rig->flush, 0, FLUSH_BYTES, rig->stream, err));
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->start, rig->stream, err));
    OSP_TRY(x->tactic->launch(c->p, x->state, &x->launch, err));
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->end, rig->stream, err));
    OSP_TRY(osp_gpu_event_wait(rig->gpu, rig->end, -1, err));
    return osp_gpu_event_elapsed(rig->gpu, rig->start, rig->end, us, err);
}

osp_status osp_trial_record(osp_rig_case *c, const osp_trial *x, osp_gpu_graph *row, osp_error *err)
{
    osp_rig *rig = c->rig;
    bool after_kernel = false;
    osp_launch launch = x->launch;
    launch.after_kernel = &after_kernel;
    *row = NULL;
    osp_status status = osp_gpu_capture_begin(rig->gpu, rig->stream, err);
    if (!status) {
        for (int i = 0; i < ROW && !status; i++)
            status = x->tactic->launch(c->p, x->state, &launch, err);
        osp_error ended;
        const osp_status end = osp_gpu_capture_end(rig->gpu, rig->stream, status ? NULL : row,
                                                   &ended);
        if (end == OSP_ERROR_DEVICE_LOST || (end && !status)) {
            status = end;
            if (err)
                *err = ended;
        }
    }
    return status == OSP_ERROR_UNSUPPORTED || status == OSP_ERROR_SYSTEM ? OSP_OK : status;
}

osp_status osp_trial_run_row(osp_rig_case *c, osp_gpu_graph row, double *us, osp_error *err)
{
    osp_rig *rig = c->rig;
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->start, rig->stream, err));
    OSP_TRY(osp_gpu_graph_launch(rig->gpu, row, rig->stream, err));
    OSP_TRY(osp_gpu_event_record(rig->gpu, rig->end, rig->stream, err));
    OSP_TRY(osp_gpu_event_wait(rig->gpu, rig->end, -1, err));
    OSP_TRY(osp_gpu_event_elapsed(rig->gpu, rig->start, rig->end, us, err));
    *us /= ROW;
    return OSP_OK;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double osp_median(double *times, int32_t count)
{
    qsort(times, (size_t)count, sizeof *times, ascending);
    return times[count / 2];
}

osp_status osp_trial_check(osp_rig_case *c, const osp_trial *x, double *worst, osp_error *err)
{
    const double most = c->p->dst[0].dtype == OSP_DTYPE_FLOAT16 ? 1e-2 : 1e-4;
    osp_rig *rig = c->rig;
    *worst = 0;
    OSP_TRY(osp_gpu_fill(rig->gpu, c->dst[0], 0xff, c->dst_total, rig->stream, err));
    OSP_TRY(x->tactic->launch(c->p, x->state, &x->launch, err));
    for (int32_t i = 0; i < c->p->dst_count; i++) {
        const osp_operand *o = c->p->dst + i;
        float largest[2];
        if (o->dtype != OSP_DTYPE_FLOAT16 && o->dtype != OSP_DTYPE_FLOAT32)
            continue;
        OSP_TRY(osp_gpu_fill(rig->gpu, rig->largest, 0, sizeof largest, rig->stream, err));
        OSP_TRY(osp_gpu_compare(rig->gpu, o->dtype, c->dst[i], c->want + c->dst_at[i],
                                operand_rows(o), o->row, o->pitch, rig->largest, rig->stream, err));
        OSP_TRY(osp_gpu_copy(rig->gpu, largest, rig->largest, sizeof largest, rig->stream, err));
        OSP_TRY(osp_gpu_stream_wait(rig->gpu, rig->stream, -1, err));
        const double d = largest[1] > 0 ? (double)largest[0] / (double)largest[1]
                                        : (double)largest[0];
        *worst = d > *worst ? d : *worst;
    }
    if (*worst > most)
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "its result is off by %g of the range", *worst);
    return OSP_OK;
}

osp_status osp_rig_expect(osp_rig_case *c, const osp_tactic *plain, osp_error *err)
{
    osp_trial x;
    osp_status status = osp_trial_begin(c, plain, &x, err);
    if (!status)
        status = plain->launch(c->p, x.state, &x.launch, err);
    if (!status)
        status = osp_gpu_copy(c->rig->gpu, c->want, c->dst[0], c->dst_total, c->rig->stream, err);
    if (!status)
        status = osp_gpu_stream_wait(c->rig->gpu, c->rig->stream, -1, err);
    osp_trial_end(c, &x);
    return status;
}
