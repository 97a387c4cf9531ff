// From a model to an engine: one graph for each variant, inference, the shared compiler, and the
// comparison with FP32.
#include <stdio.h>
#include <string.h>

#include "engine/builder.h"
#include "engine/fp32_check.h"
#include "engine/whole_engine.h"
#include "ops/op.h"
#include "plan/tune.h"

// The whole model at one batch, inferred.
static osp_status make_variant(const osp_builder *b, osp_graph *g, int32_t batch, bool allow_opaque,
                               osp_error *err)
{
    OSP_TRY(osp_graph_clone(g, &b->model->graph, err));
    osp_status status = osp_builder_size_inputs(b, g, batch, err);
    if (!status)
        status = osp_graph_infer(g, allow_opaque, err);
    if (!status && b->exposed)
        status = osp_graph_expose_choices(g, err);
    if (status)
        osp_graph_free(g);
    return status;
}

osp_status osp_model_specialise(osp_graph *out, osp_model *model, const osp_engine_options *options,
                                osp_error *err)
{
    osp_builder b = {.model = model, .options = options};
    OSP_TRY(osp_builder_look(&b, err));
    return make_variant(&b, out, 1, true, err);
}

static osp_status build_variant(const osp_builder *b, osp_engine *engine, int32_t batch,
                                osp_error *err)
{
    osp_graph g;
    OSP_TRY(make_variant(b, &g, batch, false, err));
    const osp_pass_options passes = {
        .precision = engine->compiled.precision,
        .keep_fp32 = b->options->keep_fp32,
        .keep_fp32_count = b->options->keep_fp32_count,
    };
    return osp_compile_variant(&engine->compiled, &g, batch, b->image >= 0 ? b->height : 0,
                               b->image >= 0 ? b->width : 0, &passes, err);
}

// Which outputs have the batch in front: those whose first dimension follows it in every variant.
static uint64_t find_batched_outputs(const osp_compiled *c, bool batch_free)
{
    uint64_t bits = 0;
    const osp_graph *first = &c->variants[0].graph;
    for (int32_t o = 0; batch_free && o < first->output_count && o < 64; o++) {
        bool follows = true;
        for (int32_t i = 0; i < c->variant_count; i++) {
            const osp_variant *v = c->variants + i;
            const osp_shape *s = &v->graph.values[v->graph.outputs[o]].shape;
            follows &= s->rank > 0 && s->dims[0] == v->batch;
        }
        bits |= (uint64_t)follows << o;
    }
    return bits;
}

// The model for a backend that takes it whole: sizes filled in, the batch left as it is.
static osp_status make_whole(const osp_builder *b, osp_graph *g, osp_error *err)
{
    osp_graph sized;
    OSP_TRY(make_variant(b, &sized, b->batches[0], true, err));
    osp_status status = osp_graph_clone(g, &b->model->graph, err);
    if (!status) {
        status = osp_builder_size_inputs(b, g, b->batch_free ? -1 : b->batches[0], err);
        osp_model_learn_types(g, &sized);
        if (!status && b->exposed)
            status = osp_graph_expose_choices(g, err);
        if (status)
            osp_graph_free(g);
    }
    osp_graph_free(&sized);
    return status;
}

static osp_status build_whole(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    const osp_engine_options *o = b->options;
    osp_graph g;
    OSP_TRY(make_whole(b, &g, err));
    const osp_whole_request request = {
        .device = o->device,
        .graph = &g,
        .batches = b->batches,
        .batch_count = b->batch_count,
        .batch_free = b->batch_free,
        .precision = engine->compiled.precision,
        .keep_fp32 = o->keep_fp32,
        .keep_fp32_count = o->keep_fp32_count,
        .workspace_bytes = o->workspace_bytes,
        .level = o->builder_level,
        .cache_file = o->cache_file,
        .progress = o->progress,
    };
    const osp_status status = osp_engine_build_whole(engine, &request, err);
    osp_graph_free(&g);
    return status;
}

static osp_status build_each(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    const osp_progress *p = &b->options->progress;
    for (int32_t i = 0; i < b->batch_count; i++) {
        if (p->step && !p->step(p->user, "compile", i, b->batch_count))
            OSP_FAIL(err, OSP_ERROR_CANCELLED, "the build was cancelled");
        OSP_TRY(build_variant(b, engine, b->batches[i], err));
    }
    if (p->step && !p->step(p->user, "compile", b->batch_count, b->batch_count))
        OSP_FAIL(err, OSP_ERROR_CANCELLED, "the build was cancelled");
    engine->facts.batch_free = b->batch_free;
    engine->facts.batched_inputs = b->batched_inputs;
    engine->facts.batched_outputs = find_batched_outputs(&engine->compiled, b->batch_free);
    return OSP_OK;
}

static osp_status build_variants(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    osp_compiled *c = &engine->compiled;
    if (c->gpu && !b->untuned)
        OSP_TRY(osp_tuner_open(&c->tuner, c->ctx, c->gpu, b->options->cache_file,
                               engine->device_key, err));
    osp_status status = build_each(b, engine, err);
    if (!status && c->tuner)
        status = osp_tuner_streams(c->tuner, c, err);
    osp_tuner_close(&c->tuner);
    return status;
}

static osp_status build_all(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    engine->facts.height = b->image >= 0 ? b->height : OSP_DEFAULT_SIZE;
    engine->facts.width = b->image >= 0 ? b->width : OSP_DEFAULT_SIZE;
    engine->facts.head = (int32_t)b->options->head;
    engine->facts.resize = (int32_t)b->options->resize;
    engine->facts.pixels = (int32_t)b->pixels;
    OSP_TRY(engine->compiled.backend->whole ? build_whole(b, engine, err)
                                            : build_variants(b, engine, err));
    OSP_TRY(osp_engine_upload(engine, err));
    return osp_engine_describe(engine, err);
}

// Every GPU that we run on computes in FP16.
static osp_precision choose_precision(osp_precision asked, bool gpu)
{
    if (asked != OSP_PRECISION_AUTO)
        return asked;
    return gpu ? OSP_PRECISION_FP16 : OSP_PRECISION_FP32;
}

// ---- Compared with FP32 -------------------------------------------------------------------------

// One more engine, for the comparison only: one row, and outputs that can be compared.
static osp_status build_beside(osp_engine **out, const osp_builder *shared,
                               const osp_engine *engine, osp_precision precision, osp_error *err)
{
    osp_engine_options o = *shared->options;
    osp_builder b = *shared;
    o.progress = (osp_progress){0};
    o.builder_level = 1;
    b.options = &o;
    b.exposed = true;
    b.untuned = precision == OSP_PRECISION_FP32;
    if (b.batch_free) {
        b.batches[0] = 1;
        b.batch_count = 1;
    }
    OSP_TRY(
        osp_engine_make(out, engine->runtime, engine->compiled.backend, precision, o.device, err));
    return build_all(&b, *out, err);
}

static bool same_outputs(const osp_engine *a, const osp_engine *b)
{
    bool same = a->info.outputs == b->info.outputs;
    for (int32_t i = 0; same && i < a->info.outputs; i++)
        same = !strcmp(a->outputs[i].name, b->outputs[i].name);
    return same;
}

// The engine itself where its outputs can be compared as they are, else one of its kind.
static osp_status compare_fp32(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    osp_engine *fp32 = NULL, *low = NULL;
    osp_status status = build_beside(&fp32, b, engine, OSP_PRECISION_FP32, err);
    if (!status && !same_outputs(engine, fp32))
        status = build_beside(&low, b, engine, engine->compiled.precision, err);
    if (!status)
        status = osp_engine_compare_fp32(engine, low ? low : engine, fp32,
                                         (double)b->options->tolerance, err);
    osp_engine_close(&low);
    osp_engine_close(&fp32);
    return status;
}

// A whole-model backend may take minutes for another engine: only where a tolerance asks for it.
// Without one, a comparison that fails (for want of memory, say) costs the figures and no more.
static osp_status check_fp32(const osp_builder *b, osp_engine *engine, osp_error *err)
{
    const osp_compiled *c = &engine->compiled;
    const osp_progress *p = &b->options->progress;
    const bool asked = b->options->tolerance > 0;
    if (c->precision == OSP_PRECISION_FP32 ||
        (c->backend->whole ? !asked : !c->backend->runs_passes))
        return OSP_OK;
    if (p->step && !p->step(p->user, "compare with fp32", 0, 1))
        OSP_FAIL(err, OSP_ERROR_CANCELLED, "the build was cancelled");
    osp_error why;
    const osp_status status = compare_fp32(b, engine, &why);
    if (status && (asked || status == OSP_ERROR_DEVICE_LOST)) {
        if (err)
            *err = why;
        return status;
    }
    if (status)
        osp_log(&engine->runtime->ctx, OSP_LOG_WARNING, "the engine is not compared with fp32: %s",
                why.text);
    if (p->step && !p->step(p->user, "compare with fp32", 1, 1))
        OSP_FAIL(err, OSP_ERROR_CANCELLED, "the build was cancelled");
    return OSP_OK;
}

// ---- Building -----------------------------------------------------------------------------------

static osp_status choose_pixels(osp_builder *b, const osp_backend_def *backend,
                                osp_precision precision, osp_error *err)
{
    const osp_graph *g = &b->model->graph;
    const bool fast = backend->pixel_row && precision == OSP_PRECISION_FP16 &&
                      b->width % backend->pixel_row == 0;
    return osp_pixels_choose(&b->pixels, g, b->image < 0 ? OSP_NO_VALUE : g->inputs[b->image], fast,
                             b->options, err);
}

// On one backend; `reason` says why others were passed over.
static osp_status build_on(osp_engine **out, const osp_builder *shared,
                           const osp_backend_def *backend, const char *reason, osp_error *err)
{
    osp_builder b = *shared;
    const osp_engine_options *o = b.options;
    const bool gpu = backend->program != NULL;
    const osp_precision precision = choose_precision(o->precision, gpu);
    osp_engine *engine;
    *out = NULL;
    OSP_TRY(osp_builder_batches(&b, gpu, err));
    OSP_TRY(choose_pixels(&b, backend, precision, err));
    OSP_TRY(osp_engine_make(&engine, b.model->runtime, backend, precision, o->device, err));
    engine->facts.reason = osp_arena_strndup(&engine->arena, reason, strlen(reason));
    osp_status status = engine->facts.reason
                            ? build_all(&b, engine, err)
                            : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status)
        status = check_fp32(&b, engine, err);
    if (status)
        osp_engine_close(&engine);
    *out = engine;
    return status;
}

static osp_status build(osp_engine **out, osp_model *model, const osp_engine_options *given,
                        osp_error *err)
{
    const double start = osp_time_us();
    osp_engine_options options;
    OSP_TRY(osp_engine_options_check(given, &options, err));
    osp_builder b = {.model = model, .options = &options};
    osp_backend_choice choice = {0};
    const osp_backend_def *backend;
    bool makeshift = false;
    OSP_TRY(osp_backend_next(model->runtime, &options, &choice, &backend, err));
    OSP_TRY(osp_builder_look(&b, err));
    for (;;) {
        osp_error why;
        const osp_status status = build_on(out, &b, backend, choice.reason, &why);
        if (!status)
            break;
        if (!osp_backend_may_pass_over(&options, &choice, status)) {
            if (err)
                *err = why;
            return status;
        }
        makeshift |= status == OSP_ERROR_DEVICE;
        osp_backend_pass_over(model->runtime, &choice, backend->id, why.text);
        OSP_TRY(osp_backend_next(model->runtime, &options, &choice, &backend, err));
    }
    (*out)->makeshift = makeshift;
    (*out)->info.build_ms = (osp_time_us() - start) * 1e-3;
    return OSP_OK;
}

osp_status osp_engine_build(osp_engine **out, osp_model *model, const osp_engine_options *options,
                            osp_error *err)
{
    osp_error_clear(err);
    if (!out || !model)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_build: an argument is NULL");
    *out = NULL;
    osp_status status = build(out, model, options, err);
    if (status)
        osp_error_prefix(err, "%s", model->label);
    return status;
}

osp_status osp_engine_build_memory(osp_engine **out, osp_runtime *runtime, const void *onnx,
                                   size_t size, const osp_engine_options *options, osp_error *err)
{
    if (out)
        *out = NULL;
    osp_model *model;
    OSP_TRY(osp_model_open_memory(&model, runtime, onnx, size, err));
    osp_status status = osp_engine_build(out, model, options, err);
    osp_model_close(&model);
    return status;
}
