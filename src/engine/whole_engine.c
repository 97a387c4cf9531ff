// Engines of whole-model backends: what becomes of an engine that their build made, that one of our
// plan files holds, or that a bare plan of the backend's own is. Thread rule: one thread each.
#include "engine/whole_engine.h"

#include <string.h>

#include "engine/trust.h"
#include "plan/whole.h"

static osp_whole_info info_of(osp_engine *engine)
{
    osp_whole_info info;
    engine->compiled.backend->whole->get_info(engine->whole, &info);
    memcpy(engine->device_key, info.device_key, sizeof engine->device_key);
    engine->whole_layers = info.layers;
    engine->session_bytes = info.session_bytes;
    return info;
}

osp_status osp_engine_build_whole(osp_engine *engine, const osp_whole_request *request,
                                  osp_error *err)
{
    const osp_graph *g = request->graph;
    OSP_TRY(engine->compiled.backend->whole->build(&engine->whole, &engine->runtime->ctx, request,
                                                   err));
    const osp_whole_info info = info_of(engine);
    engine->compiled.section = info.section;
    osp_trust_built(engine->runtime, info.section);
    return osp_whole_describe(&engine->compiled, &engine->facts, &info, g->metadata,
                              g->metadata_count, err);
}

static osp_status open_section(osp_engine *engine, osp_switch trust, const char *private_dir,
                               osp_error *err)
{
    const osp_bytes section = engine->compiled.section;
    OSP_TRY(osp_trust_check(engine->runtime, section, trust, private_dir, err));
    return engine->compiled.backend->whole->open(&engine->whole, &engine->runtime->ctx,
                                                 engine->info.device, section.data, section.size,
                                                 err);
}

osp_status osp_engine_open_whole(osp_engine *engine, osp_switch trust, const char *private_dir,
                                 osp_error *err)
{
    OSP_TRY(open_section(engine, trust, private_dir, err));
    const osp_whole_info info = info_of(engine);
    return osp_whole_compare(&engine->compiled, &engine->facts, &info, err);
}

// ---- Bare plans ---------------------------------------------------------------------------------

enum { METADATA_BYTES_MAX = 1 << 20, METADATA_MAX = 64 };

// Ultralytics writes four bytes with the length of a JSON object, the object, and then the plan.
static bool split_prefix(const uint8_t *bytes, size_t size, osp_bare_plan *out)
{
    if (size < 8)
        return false;
    const uint32_t length = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                            (uint32_t)bytes[3] << 24;
    if (length < 2 || length > METADATA_BYTES_MAX || length > size - 4 || bytes[4] != '{')
        return false;
    out->metadata = (osp_json_span){(const char *)bytes + 4, length};
    out->section = (osp_bytes){bytes + 4 + length, size - 4 - length};
    return true;
}

bool osp_bare_plan_find(const void *bytes, size_t size, osp_bare_plan *out)
{
    *out = (osp_bare_plan){.section = {bytes, size}};
    split_prefix(bytes, size, out);
    for (osp_backend id = OSP_BACKEND_REFERENCE; id <= OSP_BACKEND_TENSORRT; id++) {
        const osp_backend_def *def = osp_backend_by_id(id);
        if (def && def->whole && def->whole->is_section(out->section.data, out->section.size)) {
            out->backend = def;
            return true;
        }
    }
    return false;
}

// Members of the prefix as metadata of the model: texts without quotes, all else as it stands.
static osp_status read_metadata(osp_engine *engine, osp_json_span json, osp_meta *list,
                                int32_t *count, osp_error *err)
{
    osp_json_members members = osp_json_open(json);
    osp_json_span key, value;
    *count = 0;
    while (json.size && *count < METADATA_MAX && osp_json_next(&members, &key, &value)) {
        // A text never grows by losing its escapes.
        char *k = osp_arena_alloc(&engine->arena, key.size + 1);
        char *v = osp_arena_alloc(&engine->arena, value.size + 1);
        if (!k || !v)
            OSP_FAIL_MEMORY(err);
        osp_json_text(key, k, key.size + 1);
        osp_json_text(value, v, value.size + 1);
        list[(*count)++] = (osp_meta){k, v};
    }
    if (json.size && members.failed)
        osp_log(&engine->runtime->ctx, OSP_LOG_WARNING,
                "the plan's metadata is not JSON from byte %zu on: what follows is left out",
                (size_t)(members.at - json.text));
    return OSP_OK;
}

static void find_size(osp_engine *engine, const osp_whole_info *info)
{
    engine->facts.height = engine->facts.width = OSP_DEFAULT_SIZE;
    for (int32_t i = 0; i < info->inputs; i++) {
        const osp_shape *s = &info->io[i].shape[0];
        if (s->rank == 4 && s->dims[1] <= 4 && s->dims[2] <= INT32_MAX && s->dims[3] <= INT32_MAX) {
            engine->facts.height = (int32_t)s->dims[2];
            engine->facts.width = (int32_t)s->dims[3];
            return;
        }
    }
}

osp_status osp_engine_open_bare(osp_engine *engine, const osp_bare_plan *plan, osp_switch trust,
                                osp_error *err)
{
    osp_meta metadata[METADATA_MAX];
    int32_t count;
    engine->compiled.section = plan->section;
    OSP_TRY(read_metadata(engine, plan->metadata, metadata, &count, err));
    OSP_TRY(open_section(engine, trust, NULL, err));
    const osp_whole_info info = info_of(engine);
    find_size(engine, &info);
    return osp_whole_describe(&engine->compiled, &engine->facts, &info, metadata, count, err);
}

// ---- Layers -------------------------------------------------------------------------------------

// Only what engines built with detailed profiling tell: others give each layer's name alone.
static osp_status read_layer(osp_engine *engine, int32_t i, osp_step_info *out, osp_error *err)
{
    enum { LAYER_BYTES = 64 << 10 };
    char *text = osp_mem_alloc(&engine->runtime->ctx.mem, LAYER_BYTES);
    if (!text)
        OSP_FAIL_MEMORY(err);
    osp_status status = engine->compiled.backend->whole->layer(engine->whole, i, text, LAYER_BYTES,
                                                               err);
    static const char *const members[] = {"Name", "LayerType", "TacticName"};
    const char *found[3] = {"", "", ""};
    const osp_json_span json = {text, status ? 0 : strlen(text)};
    for (int k = 0; !status && k < 3; k++) {
        osp_json_span value = json;
        if (text[0] == '{' ? !osp_json_find(json, members[k], &value) : k > 0)
            continue;
        char *copy = osp_arena_alloc(&engine->arena, value.size + 1);
        if (!copy)
            status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
        else
            found[k] = osp_json_text(value, copy, value.size + 1);
    }
    // One line, as problem texts are.
    for (char *c = text; !status && *c; c++)
        if (*c == '\n')
            *c = ' ';
    const char *problem = status ? "" : osp_arena_strndup(&engine->arena, text, strlen(text));
    osp_mem_free(&engine->runtime->ctx.mem, text);
    if (!status && !problem)
        OSP_FAIL_MEMORY(err);
    *out = (osp_step_info){
        .name = found[0], .op = found[1], .tactic = found[2], .problem = problem};
    return status;
}

osp_status osp_engine_whole_step(osp_engine *engine, int32_t i, osp_step_info *out)
{
    osp_error ignored;
    osp_status status = OSP_OK;
    if (i < 0 || i >= engine->whole_layers)
        return OSP_ERROR_ARGUMENT;
    pthread_mutex_lock(&engine->layer_lock);
    if (!engine->layers)
        engine->layers = osp_arena_array(&engine->arena, (size_t)engine->whole_layers,
                                         sizeof *engine->layers);
    if (!engine->layers)
        status = OSP_ERROR_MEMORY;
    else if (!engine->layers[i].name)
        status = read_layer(engine, i, engine->layers + i, &ignored);
    if (!status)
        *out = engine->layers[i];
    pthread_mutex_unlock(&engine->layer_lock);
    return status;
}
