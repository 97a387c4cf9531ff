// Models: opening, facts. Everything is worked out while opening, so that reading needs no lock.
#include "engine/model.h"

#include <string.h>

#include "base/hash.h"
#include "ops/op.h"

void osp_tensor_info_of(const osp_value *value, osp_tensor_info *out)
{
    *out = (osp_tensor_info){.name = value->name, .dtype = value->dtype, .rank = value->shape.rank};
    for (int32_t d = 0; d < value->shape.rank; d++) {
        out->dims[d] = value->shape.dims[d];
        out->dim_names[d] = value->dim_names ? value->dim_names[d] : NULL;
    }
}

// Marks the graph inputs whose values some operator needs at build: walks backwards from the
// inputs that determine shapes, and stops where only a shape is read (Shape).
static osp_status find_fixing_inputs(osp_model *model, osp_error *err)
{
    const osp_graph *g = &model->graph;
    bool *needed = osp_mem_calloc(&g->ctx->mem, g->value_count, sizeof *needed);
    model->input_fixes = osp_arena_array(&model->graph.arena, (size_t)g->input_count, sizeof(bool));
    if (!needed || !model->input_fixes) {
        osp_mem_free(&g->ctx->mem, needed);
        OSP_FAIL_MEMORY(err);
    }
    for (size_t n = g->node_count; n-- > 0;) {
        const osp_node *node = g->nodes + n;
        bool result_needed = false;
        for (int32_t i = 0; i < node->output_count; i++)
            result_needed |= node->outputs[i] != OSP_NO_VALUE && needed[node->outputs[i]];
        if (node->op && node->op->shape_only)
            continue;
        for (int32_t i = 0; i < node->input_count; i++) {
            bool decides = node->op && i < 32 && (node->op->shape_inputs >> i & 1);
            if (node->inputs[i] != OSP_NO_VALUE && (result_needed || decides))
                needed[node->inputs[i]] = true;
        }
    }
    for (int32_t i = 0; i < g->input_count; i++)
        model->input_fixes[i] = needed[g->inputs[i]];
    osp_mem_free(&g->ctx->mem, needed);
    return OSP_OK;
}

static osp_status count_operators(osp_model *model, osp_error *err)
{
    osp_graph *g = &model->graph;
    size_t capacity = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        const osp_node *node = g->nodes + n;
        const char *name = node->type;
        if (node->domain[0]) {
            name = osp_arena_printf(&g->arena, "%s.%s", node->domain, node->type);
            if (!name)
                OSP_FAIL_MEMORY(err);
        }
        int32_t i = 0;
        while (i < model->operator_count && strcmp(model->operators[i].name, name))
            i++;
        if (i == model->operator_count) {
            // A file of very many different operators is not a network: the list ends at 4096.
            if (i == 4096)
                return OSP_OK;
            if (!osp_mem_reserve(&g->ctx->mem, (void **)&model->operators, &capacity, (size_t)i + 1,
                                 sizeof *model->operators))
                OSP_FAIL_MEMORY(err);
            model->operators[model->operator_count++] = (osp_op_use){.name = name,
                                                                     .known = node->op != NULL};
        }
        model->operators[i].count++;
    }
    return OSP_OK;
}

static void release(osp_model *model)
{
    if (atomic_fetch_sub(&model->references, 1) != 1)
        return;
    osp_runtime *runtime = model->runtime;
    osp_mem *mem = &runtime->ctx.mem;
    osp_mem_free(mem, model->operators);
    osp_graph_free(&model->graph);
    osp_onnx_files_free(&model->files);
    osp_file_unmap(&model->file);
    osp_mem_free(mem, model->bytes);
    osp_mem_free(mem, model->label);
    osp_mem_free(mem, model);
    osp_runtime_release(runtime);
}

static osp_status parse(osp_model *model, const uint8_t *bytes, size_t size, const char *dir,
                        osp_error *err)
{
    OSP_TRY(osp_onnx_load(&model->graph, &model->files, bytes, size, dir, err));
    OSP_TRY(find_fixing_inputs(model, err));
    OSP_TRY(count_operators(model, err));
    model->hash = osp_hash64(bytes, size, 0);
    for (size_t i = 0; i < model->files.count; i++)
        model->hash = osp_hash64(model->files.list[i].data, model->files.list[i].size, model->hash);
    for (size_t v = 0; v < model->graph.value_count; v++) {
        const osp_value *value = model->graph.values + v;
        size_t weight;
        if (value->data && osp_shape_bytes(&value->shape, value->dtype, &weight))
            model->weight_bytes += weight;
    }
    return OSP_OK;
}

static osp_model *make(osp_runtime *runtime, const char *label)
{
    osp_model *model = osp_mem_calloc(&runtime->ctx.mem, 1, sizeof *model);
    if (!model)
        return NULL;
    model->label = osp_mem_strdup(&runtime->ctx.mem, label);
    if (!model->label) {
        osp_mem_free(&runtime->ctx.mem, model);
        return NULL;
    }
    model->runtime = osp_runtime_retain(runtime);
    model->file.fd = -1;
    atomic_init(&model->references, 1);
    osp_graph_init(&model->graph, &runtime->ctx);
    return model;
}

osp_status osp_model_open(osp_model **out, osp_runtime *runtime, const char *path, osp_error *err)
{
    osp_error_clear(err);
    if (!out || !runtime || !path)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_model_open: an argument is NULL");
    *out = NULL;
    osp_model *model = make(runtime, path);
    if (!model)
        OSP_FAIL_MEMORY(err);
    osp_status status = osp_file_map(&model->file, path, runtime->ctx.limits.file_bytes, err);
    if (!status) {
        const char *slash = strrchr(path, '/');
        size_t length = slash ? (size_t)(slash - path) + (slash == path) : 1;
        char *dir = osp_arena_strndup(&model->graph.arena, slash ? path : ".", length);
        status = dir ? parse(model, model->file.data, model->file.size, dir, err)
                     : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    }
    if (status) {
        osp_error_prefix(err, "%s", path);
        release(model);
        return status;
    }
    *out = model;
    return OSP_OK;
}

osp_status osp_model_open_memory(osp_model **out, osp_runtime *runtime, const void *bytes,
                                 size_t size, osp_error *err)
{
    osp_error_clear(err);
    if (!out || !runtime || (!bytes && size))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_model_open_memory: an argument is NULL");
    *out = NULL;
    if (size > runtime->ctx.limits.file_bytes)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "model in memory: %zu bytes: raise osp_limits.file_bytes",
                 size);
    osp_model *model = make(runtime, "model in memory");
    if (!model)
        OSP_FAIL_MEMORY(err);
    model->bytes = osp_mem_alloc(&runtime->ctx.mem, size);
    osp_status status = OSP_OK;
    if (!model->bytes)
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    else if (size)
        memcpy(model->bytes, bytes, size);
    if (!status)
        status = parse(model, model->bytes, size, NULL, err);
    if (status) {
        osp_error_prefix(err, "%s", model->label);
        release(model);
        return status;
    }
    *out = model;
    return OSP_OK;
}

osp_model *osp_model_retain(osp_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void osp_model_close(osp_model **model)
{
    if (!model || !*model)
        return;
    release(*model);
    *model = NULL;
}

void osp_model_get_info(const osp_model *model, osp_model_info *out)
{
    const osp_graph *g = &model->graph;
    *out = (osp_model_info){
        .inputs = g->input_count,
        .outputs = g->output_count,
        .nodes = (int32_t)g->node_count,
        .opset = g->opset,
        .ir_version = g->ir_version,
        .weight_bytes = model->weight_bytes,
        .producer = g->producer,
        .graph_name = g->name,
        .metadata = g->metadata_count,
    };
}

osp_status osp_model_input(const osp_model *model, int32_t i, osp_tensor_info *out)
{
    if (i < 0 || i >= model->graph.input_count)
        return OSP_ERROR_ARGUMENT;
    osp_tensor_info_of(model->graph.values + model->graph.inputs[i], out);
    out->determines_shapes = model->input_fixes[i];
    return OSP_OK;
}

osp_status osp_model_output(const osp_model *model, int32_t i, osp_tensor_info *out)
{
    if (i < 0 || i >= model->graph.output_count)
        return OSP_ERROR_ARGUMENT;
    osp_tensor_info_of(model->graph.values + model->graph.outputs[i], out);
    return OSP_OK;
}

osp_status osp_model_metadata(const osp_model *model, int32_t i, const char **key,
                              const char **value)
{
    if (i < 0 || i >= model->graph.metadata_count)
        return OSP_ERROR_ARGUMENT;
    *key = model->graph.metadata[i].key;
    *value = model->graph.metadata[i].value;
    return OSP_OK;
}

osp_status osp_model_operator(const osp_model *model, int32_t i, const char **name, int32_t *count,
                              bool *known)
{
    if (i < 0 || i >= model->operator_count)
        return OSP_ERROR_ARGUMENT;
    *name = model->operators[i].name;
    *count = model->operators[i].count;
    *known = model->operators[i].known;
    return OSP_OK;
}
