// Trying tactics for gpu_tactics, in the rig that the library's tuner uses (plan/rig.h).
// Thread rule: one thread.
#include "gpu_run.h"

#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "base/half.h"

// ---- Opening ------------------------------------------------------------------------------------

// TB/s of a copy, read and written.
static osp_status measure_copy(gpu_run *r, osp_error *err)
{
    enum { BYTES = 512 << 20, COPIES = 10 };
    osp_rig *rig = &r->rig;
    double us[COPIES];
    void *a = NULL, *b = NULL;
    osp_status status = osp_gpu_alloc(r->gpu, &a, BYTES, err);
    if (!status)
        status = osp_gpu_alloc(r->gpu, &b, BYTES, err);
    for (int i = 0; !status && i < COPIES; i++) {
        status = osp_gpu_event_record(r->gpu, rig->start, rig->stream, err);
        if (!status)
            status = osp_gpu_copy(r->gpu, b, a, BYTES, rig->stream, err);
        if (!status)
            status = osp_gpu_event_record(r->gpu, rig->end, rig->stream, err);
        if (!status)
            status = osp_gpu_event_wait(r->gpu, rig->end, -1, err);
        if (!status)
            status = osp_gpu_event_elapsed(r->gpu, rig->start, rig->end, us + i, err);
    }
    osp_gpu_free(r->gpu, a);
    osp_gpu_free(r->gpu, b);
    if (!status)
        r->tbps = 2.0 * BYTES / osp_median(us, COPIES) * 1e-6;
    return status;
}

osp_status gpu_run_open(gpu_run *r, osp_error *err)
{
    r->last = &r->first;
    OSP_TRY(osp_gpu_enter(r->gpu, &r->scope, err));
    r->entered = true;
    OSP_TRY(osp_rig_open(&r->rig, r->ctx, r->gpu, err));
    if (r->check_only)
        return OSP_OK;
    const char *name = osp_gpu_info(r->gpu)->name;
    if (r->tflops == 0 && (strstr(name, "H100") || strstr(name, "H200")))
        r->tflops = 790;
    return r->tbps > 0 ? OSP_OK : measure_copy(r, err);
}

void gpu_run_close(gpu_run *r)
{
    while (r->first) {
        gpu_case *c = r->first;
        r->first = c->next;
        for (int32_t i = 0; i < OSP_RIG_OPERANDS; i++)
            free(c->constants[i]);
        osp_arena_free(&c->arena);
        free(c->text);
        free(c);
    }
    if (!r->entered)
        return;
    if (r->rig.gpu)
        osp_rig_close(&r->rig);
    osp_gpu_leave(r->gpu, &r->scope);
}

// ---- Cases --------------------------------------------------------------------------------------

// Attributes are settled by inference, and destinations must be what it says.
static osp_status settle(gpu_run *r, osp_problem *p, osp_error *err)
{
    osp_value values[OSP_RIG_OPERANDS] = {{0}};
    const osp_value *inputs[OSP_RIG_OPERANDS] = {0};
    osp_type types[OSP_RIG_OPERANDS] = {{0}};
    if (p->src_count > OSP_RIG_OPERANDS || p->dst_count > OSP_RIG_OPERANDS || !p->dst_count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a problem has 1 to %d operands on each side",
                 OSP_RIG_OPERANDS);
    for (int32_t i = 0; i < p->src_count; i++) {
        values[i] = (osp_value){.name = "", .dtype = p->src[i].dtype, .shape = p->src[i].shape};
        inputs[i] = p->src[i].dtype ? values + i : NULL;
    }
    osp_infer in = {r->ctx, p->op, (void *)(uintptr_t)p->attrs, p->src_count, p->dst_count,
                    inputs, types};
    OSP_TRY(p->op->infer(&in, err));
    for (int32_t i = 0; i < p->dst_count; i++)
        if (p->dst[i].dtype && (p->dst[i].dtype != types[i].dtype ||
                                !osp_shape_equal(&p->dst[i].shape, &types[i].shape)))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "destination %d is not what %s makes of its sources", i,
                     p->op->type);
    return OSP_OK;
}

// Weights that keep results in range: values in [-1, 1) over the root of what a result sums up.
static osp_status make_constants(gpu_case *c, osp_error *err)
{
    for (int32_t i = 0; i < c->p.src_count; i++) {
        const osp_operand *o = c->p.src + i;
        size_t count = 0;
        if (!o->constant || !osp_shape_count(&o->shape, &count))
            continue;
        const size_t size = osp_dtype_bytes(o->dtype);
        const size_t sums = o->shape.rank > 1 ? count / (size_t)o->shape.dims[0] : 1;
        float scale = 1;
        while ((float)sums * scale * scale > 1)
            scale /= 2;
        uint32_t seed = 11u + (uint32_t)i;
        char *data = c->constants[i] = calloc(count ? count : 1, size);
        if (!data)
            OSP_FAIL_MEMORY(err);
        for (size_t k = 0; k < count; k++) {
            seed = seed * 1664525u + 1013904223u;
            const float x = scale * (float)(int32_t)seed * (1.0f / 2147483648.0f);
            const uint16_t half = osp_float_to_half(x);
            if (o->dtype == OSP_DTYPE_FLOAT32)
                memcpy(data + k * size, &x, size);
            else if (o->dtype == OSP_DTYPE_FLOAT16)
                memcpy(data + k * size, &half, size);
        }
    }
    return OSP_OK;
}

gpu_case *gpu_run_add(gpu_run *r, const char *text, int32_t count, osp_error *err)
{
    gpu_case *c = calloc(1, sizeof *c);
    if (!c || !(c->text = strdup(text))) {
        free(c);
        osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
        return NULL;
    }
    *r->last = c;
    r->last = &c->next;
    c->count = count;
    c->best = -1;
    osp_arena_init(&c->arena, &r->ctx->mem);
    if (osp_problem_scan(&c->p, &c->arena, text, err) || settle(r, &c->p, err) ||
        make_constants(c, err))
        return NULL;
    osp_problem_cost(&c->p, &c->flops, &c->bytes);
    const double moving = r->tbps > 0 ? c->bytes / r->tbps * 1e-6 : 0;
    const double computing = r->tflops > 0 ? c->flops / r->tflops * 1e-6 : 0;
    c->floor_us = moving > computing ? moving : computing;
    return c;
}

// Median of the run's times, with one run before them that does not count.
static osp_status time_trial(gpu_run *r, osp_rig_case *in, const osp_trial *x, double *us,
                             osp_error *err)
{
    double *times = calloc((size_t)r->runs, sizeof *times);
    if (!times)
        OSP_FAIL_MEMORY(err);
    osp_status status = osp_trial_run(in, x, us, err);
    for (int32_t i = 0; !status && i < r->runs; i++)
        status = osp_trial_run(in, x, times + i, err);
    if (!status)
        *us = osp_median(times, r->runs);
    free(times);
    return status;
}

static osp_status try_tactic(gpu_run *r, gpu_case *c, osp_rig_case *in, const osp_tactic *tactic,
                             osp_error *err)
{
    gpu_tried *t = c->tries + c->tried++;
    osp_trial x;
    *t = (gpu_tried){.tactic = tactic};
    osp_status status = osp_trial_begin(in, tactic, &x, err);
    if (!status)
        status = osp_trial_check(in, &x, &t->worst, err);
    if (!status && !r->check_only)
        status = time_trial(r, in, &x, &t->us, err);
    osp_trial_end(in, &x);
    r->tried++;
    if (status == OSP_ERROR_DEVICE_LOST || status == OSP_ERROR_MEMORY)
        return status;
    if (status) {
        t->why = *err;
        r->wrong++;
    } else if (!r->check_only && (c->best < 0 || t->us < c->tries[c->best].us)) {
        c->best = c->tried - 1;
    }
    return OSP_OK;
}

static osp_rig_case in_rig(gpu_run *r, gpu_case *c)
{
    return (osp_rig_case){
        .rig = &r->rig, .p = &c->p, .constants = (const void *const *)c->constants};
}

osp_status gpu_run_case(gpu_run *r, gpu_case *c, osp_error *err)
{
    const osp_tactic *all[OSP_RIG_TACTICS];
    const char *reason = "the cuda backend has no tactic for this operator";
    const int32_t count = osp_rig_accepting(r->gpu, osp_backend_cuda.tactics(c->p.op), &c->p, all,
                                            &reason);
    if (!count)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "no tactic takes it: %s", reason);
    osp_rig_case in = in_rig(r, c);
    OSP_TRY(osp_rig_place(&in, all, count, err));
    OSP_TRY(osp_rig_expect(&in, all[count - 1], err));
    for (int32_t i = 0; i < count; i++)
        if (!r->only || i + 1 == count || !strncmp(all[i]->name, r->only, strlen(r->only)))
            OSP_TRY(try_tactic(r, c, &in, all[i], err));
    r->count++;
    if (c->best >= 0) {
        r->best_us += c->count * c->tries[c->best].us;
        r->floor_us += c->count * c->floor_us;
    }
    return OSP_OK;
}

// ---- One graph ----------------------------------------------------------------------------------

// One launch in the graph, with operands of its own.
typedef struct member {
    osp_rig_case in;
    osp_trial x;
    void *block;
} member;

static osp_status make_member(gpu_run *r, gpu_case *c, member *m, osp_error *err)
{
    const osp_tactic *tactic = c->tries[c->best].tactic;
    m->in = in_rig(r, c);
    OSP_TRY(osp_rig_place(&m->in, &tactic, 1, err));
    const osp_status status = osp_trial_begin(&m->in, tactic, &m->x, err);
    m->block = osp_rig_take(&r->rig);
    return status;
}

static osp_status record(gpu_run *r, const member *members, osp_gpu_graph *graph, osp_error *err)
{
    osp_status status = osp_gpu_capture_begin(r->gpu, r->rig.stream, err);
    if (status)
        return status;
    for (int32_t i = 0; !status && i < r->launches; i++)
        status = members[i].x.tactic->launch(members[i].in.p, members[i].x.state,
                                             &members[i].x.launch, err);
    osp_error ending;
    const osp_status ended = osp_gpu_capture_end(r->gpu, r->rig.stream, status ? NULL : graph,
                                                 &ending);
    if (!status && ended)
        *err = ending;
    return status ? status : ended;
}

static osp_status time_graph(gpu_run *r, osp_gpu_graph graph, osp_error *err)
{
    osp_rig *rig = &r->rig;
    double *times = calloc((size_t)r->runs, sizeof *times);
    if (!times)
        OSP_FAIL_MEMORY(err);
    osp_status status = OSP_OK;
    for (int32_t i = -2; !status && i < r->runs; i++) {  // two to warm up
        status = osp_gpu_event_record(r->gpu, rig->start, rig->stream, err);
        if (!status)
            status = osp_gpu_graph_launch(r->gpu, graph, rig->stream, err);
        if (!status)
            status = osp_gpu_event_record(r->gpu, rig->end, rig->stream, err);
        if (!status)
            status = osp_gpu_event_wait(r->gpu, rig->end, -1, err);
        if (!status)
            status = osp_gpu_event_elapsed(r->gpu, rig->start, rig->end, times + (i < 0 ? 0 : i),
                                           err);
    }
    if (!status)
        r->graph_us = osp_median(times, r->runs);
    free(times);
    return status;
}

osp_status gpu_run_graph(gpu_run *r, osp_error *err)
{
    int32_t total = 0;
    for (const gpu_case *c = r->first; c; c = c->next)
        total += c->best < 0 ? 0 : c->count;
    member *members = calloc(total ? (size_t)total : 1, sizeof *members);
    if (!members)
        OSP_FAIL_MEMORY(err);
    osp_gpu_graph graph = NULL;
    osp_status status = OSP_OK;
    for (gpu_case *c = r->first; !status && c; c = c->next)
        for (int32_t i = 0; !status && c->best >= 0 && i < c->count; i++)
            status = make_member(r, c, members + r->launches++, err);
    if (!status)
        status = record(r, members, &graph, err);
    if (!status)
        status = time_graph(r, graph, err);
    osp_gpu_graph_close(r->gpu, &graph);
    for (int32_t i = 0; i < r->launches; i++) {
        if (members[i].x.tactic)
            osp_trial_end(&members[i].in, &members[i].x);
        osp_gpu_free(r->gpu, members[i].block);
    }
    free(members);
    return status;
}
