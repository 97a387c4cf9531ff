// Engines: making, describing, closing, and their facts. Building is in build.c, files in store.c.
#include "engine/engine.h"

#include <string.h>

#include "engine/whole_engine.h"

osp_engine *osp_engine_retain(osp_engine *engine)
{
    atomic_fetch_add(&engine->references, 1);
    return engine;
}

osp_status osp_engine_make(osp_engine **out, osp_runtime *runtime, const osp_backend_def *backend,
                           osp_precision precision, int32_t device, osp_error *err)
{
    osp_engine *engine = osp_mem_calloc(&runtime->ctx.mem, 1, sizeof *engine);
    if (!engine)
        OSP_FAIL_MEMORY(err);
    if (pthread_mutex_init(&engine->layer_lock, NULL)) {
        osp_mem_free(&runtime->ctx.mem, engine);
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
    }
    engine->runtime = osp_runtime_retain(runtime);
    engine->file.fd = -1;
    engine->info.device = backend->program ? device : 0;
    engine->facts.reason = "";
    atomic_init(&engine->references, 1);
    osp_arena_init(&engine->arena, &runtime->ctx.mem);
    osp_compiled_init(&engine->compiled, &runtime->ctx, backend, precision, runtime->threads);
    backend->device_key(&runtime->ctx, device, runtime->threads, engine->device_key,
                        sizeof engine->device_key);
    if (backend->program && !backend->whole) {
        const osp_status status = osp_gpu_get(&runtime->ctx, device, &engine->compiled.gpu, err);
        if (status) {
            osp_engine_close(&engine);
            return status;
        }
    }
    *out = engine;
    return OSP_OK;
}

void osp_engine_close(osp_engine **handle)
{
    if (!handle || !*handle)
        return;
    osp_engine *engine = *handle;
    *handle = NULL;
    if (atomic_fetch_sub(&engine->references, 1) != 1)
        return;
    osp_runtime *runtime = engine->runtime;
    if (engine->whole)
        engine->compiled.backend->whole->close(engine->whole);
    osp_compiled_free(&engine->compiled);
    pthread_mutex_destroy(&engine->layer_lock);
    osp_arena_free(&engine->arena);
    osp_names_free(&engine->names, &runtime->ctx.mem);
    osp_file_unmap(&engine->file);
    osp_mem_free(&runtime->ctx.mem, engine->bytes);
    osp_mem_free(&runtime->ctx.mem, engine);
    osp_runtime_release(runtime);
}

osp_status osp_engine_upload(osp_engine *engine, osp_error *err)
{
    return engine->compiled.gpu ? osp_compiled_upload(&engine->compiled, err) : OSP_OK;
}

void osp_output_capacity(const osp_shape *shape, int32_t batch, osp_shape *out)
{
    *out = *shape;
    if (shape->rank < 0)
        *out = (osp_shape){.rank = 3, .dims = {-1, -1, -1}};
    for (int32_t d = 0; d < out->rank; d++)
        if (out->dims[d] < 0)
            out->dims[d] = out->rank == 3 && d == 0 ? batch
                           : d == out->rank - 1     ? OSP_DEFAULT_COLUMNS
                                                    : OSP_DEFAULT_ROWS;
}

// Infos as the caller sees them: -1 in front where the batch is free.
static osp_tensor_info *describe_tensors(osp_engine *engine, const osp_graph *g, const osp_vid *ids,
                                         int32_t count, uint64_t batched)
{
    osp_tensor_info *infos = osp_arena_array(&engine->arena, (size_t)count, sizeof *infos);
    for (int32_t i = 0; infos && i < count; i++) {
        osp_tensor_info_of(g->values + ids[i], infos + i);
        memset((void *)infos[i].dim_names, 0, sizeof infos[i].dim_names);
        if (engine->facts.batch_free && i < 64 && (batched >> i & 1))
            infos[i].dims[0] = -1;
    }
    return infos;
}

static uint64_t weight_bytes(const osp_compiled *c)
{
    uint64_t total = c->section.size;
    for (size_t i = 0; i < c->packed_count; i++)
        total += c->packed[i].size;
    const osp_graph *g = &c->variants[0].graph;
    for (size_t v = 0; v < g->value_count; v++) {
        size_t bytes;
        if (g->values[v].data && osp_shape_bytes(&g->values[v].shape, g->values[v].dtype, &bytes))
            total += bytes;
    }
    return total;
}

// The same tensor in two variants: only the batch in front may differ, and it must be the variant's.
static bool same_tensor(const osp_value *a, const osp_variant *va, const osp_value *b,
                        const osp_variant *vb, bool batched)
{
    if (a->dtype != b->dtype || a->shape.rank != b->shape.rank || strcmp(a->name, b->name))
        return false;
    if (batched &&
        (a->shape.rank < 1 || a->shape.dims[0] != va->batch || b->shape.dims[0] != vb->batch))
        return false;
    for (int32_t d = batched ? 1 : 0; d < a->shape.rank; d++)
        if (a->shape.dims[d] != b->shape.dims[d])
            return false;
    return true;
}

// A session relies on this, and a plan may claim anything.
static osp_status check_variants(const osp_engine *engine, osp_error *err)
{
    const osp_compiled *c = &engine->compiled;
    const osp_plan_facts *facts = &engine->facts;
    const osp_variant *a = c->variants;
    const osp_graph *g = &a->graph;
    bool fits = !facts->batch_free ? c->variant_count == 1 : a->batch >= 1;
    for (int32_t v = 0; fits && v < c->variant_count; v++) {
        const osp_variant *b = c->variants + v;
        fits = b->graph.input_count == g->input_count && b->graph.output_count == g->output_count &&
               (v == 0 || b[-1].batch < b->batch);
        for (int32_t i = 0; fits && i < g->input_count; i++)
            fits = same_tensor(g->values + g->inputs[i], a, b->graph.values + b->graph.inputs[i], b,
                               facts->batch_free && i < 64 && (facts->batched_inputs >> i & 1));
        for (int32_t i = 0; fits && i < g->output_count; i++)
            fits = same_tensor(g->values + g->outputs[i], a, b->graph.values + b->graph.outputs[i],
                               b, facts->batch_free && i < 64 && (facts->batched_outputs >> i & 1));
    }
    if (!fits)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "the plan's variants do not fit each other: build it again");
    return OSP_OK;
}

// Names that cannot be read cost the names, not the engine.
static osp_status read_names(osp_engine *engine, const char *text, osp_error *err)
{
    osp_error why;
    osp_context *ctx = &engine->runtime->ctx;
    osp_status status = text ? osp_names_parse(&engine->names, &ctx->mem, text, &why) : OSP_OK;
    if (status == OSP_ERROR_MEMORY)
        OSP_FAIL_MEMORY(err);
    if (status)
        osp_log(ctx, OSP_LOG_WARNING, "the model's class names are left out: %s", why.text);
    engine->info.classes = engine->names.count;
    return OSP_OK;
}

osp_status osp_engine_describe(osp_engine *engine, osp_error *err)
{
    const osp_compiled *c = &engine->compiled;
    const osp_graph *g = &c->variants[0].graph;
    osp_engine_info *info = &engine->info;
    OSP_TRY(check_variants(engine, err));
    engine->inputs = describe_tensors(engine, g, g->inputs, g->input_count,
                                      engine->facts.batched_inputs);
    engine->outputs = describe_tensors(engine, g, g->outputs, g->output_count,
                                       engine->facts.batched_outputs);
    if (!engine->inputs || !engine->outputs)
        OSP_FAIL_MEMORY(err);
    *info = (osp_engine_info){
        .backend = c->backend->id,
        .precision = c->precision,
        .device = info->device,
        .reason = engine->facts.reason,
        .device_key = engine->device_key,
        .batch_min = engine->facts.batch_free ? 1 : c->variants[0].batch,
        .batch_opt = c->variants[c->variant_count - 1].batch,
        .batch_max = c->variants[c->variant_count - 1].batch,
        .batch_free = engine->facts.batch_free,
        .inputs = g->input_count,
        .outputs = g->output_count,
        .variants = c->variant_count,
        .steps = engine->whole_layers,
        .weight_bytes = weight_bytes(c),
        .activation_bytes = engine->session_bytes,
        .head = (osp_head)engine->facts.head,
        .resize = (osp_resize)engine->facts.resize,
        .image_input = (osp_pixels)engine->facts.pixels,
    };
    for (int32_t i = 0; i < c->variant_count; i++) {
        const osp_variant *v = c->variants + i;
        info->steps += v->step_count;
        for (int32_t s = 0; s < v->step_count; s++)
            info->steps_ref += v->steps[s].tactic == &osp_tactic_ref;
        uint64_t bytes = osp_variant_memory_bytes(v);
        if (bytes > info->activation_bytes)
            info->activation_bytes = bytes;
    }
    return read_names(engine, osp_graph_meta(g, "names"), err);
}

void osp_engine_get_info(const osp_engine *engine, osp_engine_info *out)
{
    *out = engine->info;
}

void osp_engine_input_size(const osp_engine *engine, int32_t *height, int32_t *width)
{
    *height = engine->facts.height;
    *width = engine->facts.width;
}

osp_status osp_engine_input(const osp_engine *engine, int32_t i, osp_tensor_info *out)
{
    if (i < 0 || i >= engine->info.inputs)
        return OSP_ERROR_ARGUMENT;
    *out = engine->inputs[i];
    return OSP_OK;
}

osp_status osp_engine_output(const osp_engine *engine, int32_t i, osp_tensor_info *out)
{
    if (i < 0 || i >= engine->info.outputs)
        return OSP_ERROR_ARGUMENT;
    *out = engine->outputs[i];
    return OSP_OK;
}

const char *osp_engine_class_name(const osp_engine *engine, int32_t class_id)
{
    return class_id >= 0 && class_id < engine->info.classes ? engine->names.name[class_id] : NULL;
}

osp_status osp_engine_step(const osp_engine *engine, int32_t variant, int32_t i, osp_step_info *out)
{
    const osp_compiled *c = &engine->compiled;
    if (variant < 0 || variant >= c->variant_count)
        return OSP_ERROR_ARGUMENT;
    if (engine->whole)  // its variants share the layers; the lock inside allows many threads
        return osp_engine_whole_step((osp_engine *)(uintptr_t)engine, i, out);
    if (i < 0 || i >= c->variants[variant].step_count)
        return OSP_ERROR_ARGUMENT;
    const osp_variant *v = c->variants + variant;
    const osp_step *s = v->steps + i;
    const osp_node *node = v->graph.nodes + s->node;
    *out = (osp_step_info){.name = node->name,
                           .op = node->type,
                           .tactic = s->tactic->name,
                           .problem = s->text,
                           .flops = s->flops,
                           .bytes = s->bytes};
    return OSP_OK;
}
