// The check of an engine against FP32: outputs that can be compared, seeded inputs, the differences.
#include "engine/fp32_check.h"

#include <math.h>
#include <string.h>

#include "engine/session.h"
#include "ops/view.h"

// ---- Outputs that can be compared ---------------------------------------------------------------

static bool chooses(const osp_node *node)
{
    static const char *const types[] = {"TopK", "NonMaxSuppression", "NonZero", "ArgMax"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (node->domain[0] == 0 && !strcmp(node->type, types[i]))
            return true;
    return false;
}

// By value: does it depend on a choice? By node, in `works`: does it choose, or read such a value?
static void follow_choices(const osp_graph *g, bool *chosen, bool *works)
{
    for (size_t n = 0; n < g->node_count; n++) {
        const osp_node *node = g->nodes + n;
        works[n] = chooses(node);
        for (int32_t i = 0; i < node->input_count; i++)
            works[n] |= node->inputs[i] != OSP_NO_VALUE && chosen[node->inputs[i]];
        for (int32_t i = 0; works[n] && i < node->output_count; i++)
            if (node->outputs[i] != OSP_NO_VALUE)
                chosen[node->outputs[i]] = true;
    }
}

// Takes `chosen` outputs off the list, and adds what nodes that `works` read and nobody chose.
static osp_status replace_outputs(osp_graph *g, bool *chosen, const bool *works, osp_error *err)
{
    size_t most = (size_t)g->output_count;
    for (size_t n = 0; n < g->node_count; n++)
        most += works[n] ? (size_t)g->nodes[n].input_count : 0;
    osp_vid *outputs = osp_arena_array(&g->arena, most, sizeof *outputs);
    int32_t count = 0;
    if (!outputs)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < g->output_count; i++)
        if (!chosen[g->outputs[i]])
            outputs[count++] = g->outputs[i];
    for (int32_t i = 0; i < g->input_count; i++)
        chosen[g->inputs[i]] = true;  // inputs are the same on both sides
    for (int32_t i = 0; i < count; i++)
        chosen[outputs[i]] = true;  // once is enough
    for (size_t n = 0; n < g->node_count; n++)
        for (int32_t i = 0; works[n] && i < g->nodes[n].input_count; i++) {
            const osp_vid v = g->nodes[n].inputs[i];
            if (v == OSP_NO_VALUE || chosen[v] || g->values[v].data ||
                !osp_dtype_is_float(g->values[v].dtype))
                continue;
            chosen[v] = true;
            outputs[count++] = v;
        }
    if (!count)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "all outputs depend on what is chosen from the inputs");
    g->outputs = outputs;
    g->output_count = count;
    return OSP_OK;
}

osp_status osp_graph_expose_choices(osp_graph *g, osp_error *err)
{
    osp_mem *mem = &g->ctx->mem;
    bool *chosen = osp_mem_calloc(mem, g->value_count + 1, sizeof *chosen);
    bool *works = osp_mem_calloc(mem, g->node_count + 1, sizeof *works);
    osp_status status = OSP_OK;
    if (!chosen || !works) {
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    } else {
        bool any = false;
        follow_choices(g, chosen, works);
        for (int32_t i = 0; i < g->output_count; i++)
            any |= chosen[g->outputs[i]];
        if (any)
            status = replace_outputs(g, chosen, works, err);
        if (any && !status)
            status = osp_graph_sweep(g, err);
    }
    osp_mem_free(mem, chosen);
    osp_mem_free(mem, works);
    return status;
}

// ---- Inputs -------------------------------------------------------------------------------------

// Floats in [0, 1), as pixels are, or bytes; other integers 0 and 1, indices almost everywhere.
static void fill(osp_dtype dtype, void *data, size_t count, uint32_t seed)
{
    const size_t size = osp_dtype_bytes(dtype);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (osp_dtype_is_float(dtype))
            osp_store_float(dtype, data, i, (float)(seed >> 8) * 0x1p-24f);
        else
            ((uint8_t *)data)[i * size] = (uint8_t)(seed >> (dtype == OSP_DTYPE_UINT8 ? 24 : 31));
    }
}

// Fresh memory in `arena` behind the inputs of both engines.
static osp_status make_inputs(const osp_engine *engine, osp_arena *arena, osp_tensor **out,
                              osp_error *err)
{
    *out = osp_arena_array(arena, (size_t)engine->info.inputs, sizeof **out);
    if (!*out)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < engine->info.inputs; i++) {
        const osp_tensor_info *info = engine->inputs + i;
        osp_tensor *t = *out + i;
        *t = (osp_tensor){.dtype = info->dtype, .rank = info->rank};
        osp_shape shape = {.rank = info->rank};
        size_t count = 0, bytes = 0;
        for (int32_t d = 0; d < info->rank; d++)
            shape.dims[d] = t->dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
        if (!osp_shape_count(&shape, &count) || !osp_shape_bytes(&shape, info->dtype, &bytes))
            OSP_FAIL(err, OSP_ERROR_LIMIT, "input '%s' is too large", info->name);
        t->data = osp_arena_alloc(arena, bytes ? bytes : 1);
        if (!t->data)
            OSP_FAIL_MEMORY(err);
        memset(t->data, 0, bytes);
        fill(info->dtype, t->data, count, 1u + (uint32_t)i);
    }
    return OSP_OK;
}

// ---- Differences --------------------------------------------------------------------------------

// The largest difference over the range of `b`: infinite where one is finite and the other is not, or
// where the shapes differ. Equal infinities, and NaN twice, are no difference.
static double difference(const osp_tensor *a, const osp_tensor *b)
{
    size_t count = 1;
    double most = 0, low = INFINITY, high = -INFINITY;
    if (a->rank != b->rank || memcmp(a->dims, b->dims, (size_t)b->rank * sizeof *b->dims) != 0)
        return INFINITY;
    for (int32_t d = 0; d < b->rank; d++)
        count *= (size_t)b->dims[d];
    for (size_t i = 0; i < count; i++) {
        const double x = (double)osp_load_float(a->dtype, a->data, i);
        const double y = (double)osp_load_float(b->dtype, b->data, i);
        if (isfinite(x) && isfinite(y))
            most = fmax(most, fabs(x - y));
        else if (x != y && !(isnan(x) && isnan(y)))
            return INFINITY;
        low = isfinite(y) ? fmin(low, y) : low;
        high = isfinite(y) ? fmax(high, y) : high;
    }
    const double range = high > low ? high - low : fabs(high);
    return most == 0 ? 0 : range > 0 && isfinite(range) ? most / range : INFINITY;
}

static osp_status run(osp_session **session, osp_engine *engine, const osp_tensor *inputs,
                      osp_tensor *outputs, osp_error *err)
{
    const osp_session_options options = {.depth = 1};
    OSP_TRY(osp_session_open(session, engine, &options, err));
    return osp_session_run(*session, inputs, engine->info.inputs, outputs, engine->info.outputs,
                           err);
}

static osp_status note(osp_engine *engine, const osp_tensor_info *output, double apart,
                       osp_error *err)
{
    osp_difference *d = engine->differences + engine->difference_count;
    d->output = osp_arena_strndup(&engine->arena, output->name, strlen(output->name));
    if (!d->output)
        OSP_FAIL_MEMORY(err);
    d->of_range = apart;
    engine->difference_count++;
    if (!engine->info.difference_output || apart > engine->info.difference) {
        engine->info.difference = apart;
        engine->info.difference_output = d->output;
    }
    osp_log(&engine->runtime->ctx, OSP_LOG_INFO, "'%s' differs from fp32 by %.2g of its range",
            d->output, apart);
    return OSP_OK;
}

static osp_status note_all(osp_engine *engine, const osp_engine *fp32, const osp_tensor *a,
                           const osp_tensor *b, osp_error *err)
{
    engine->differences = osp_arena_array(&engine->arena, (size_t)fp32->info.outputs,
                                          sizeof *engine->differences);
    engine->difference_count = 0;
    engine->info.difference_output = NULL;
    if (!engine->differences)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < fp32->info.outputs; i++)
        if (osp_dtype_is_float(a[i].dtype) && osp_dtype_is_float(b[i].dtype))
            OSP_TRY(note(engine, fp32->outputs + i, difference(a + i, b + i), err));
    return OSP_OK;
}

// What to do about a difference is said where it is refused, or warned of.
static osp_status judge(const osp_engine *engine, double tolerance, osp_error *err)
{
    static const char remedy[] = "keep nodes in fp32 (--keep-fp32), or all (--precision fp32)";
    const char *worst = engine->info.difference_output;
    const double apart = engine->info.difference;
    if (worst && tolerance > 0 && !(apart <= tolerance))
        OSP_FAIL(err, OSP_ERROR_INEXACT,
                 "'%s' differs from fp32 by %.3g of its range, over the tolerance of %.3g: %s",
                 worst, apart, tolerance, remedy);
    if (worst && !(apart <= OSP_DIFFERENCE_WARNING) && tolerance <= 0)
        osp_log(&engine->runtime->ctx, OSP_LOG_WARNING,
                "'%s' differs from fp32 by %.2g of its range: where that is too much, %s", worst,
                apart, remedy);
    return OSP_OK;
}

osp_status osp_engine_compare_fp32(osp_engine *engine, osp_engine *low, osp_engine *fp32,
                                   double tolerance, osp_error *err)
{
    osp_arena arena;
    osp_arena_init(&arena, &engine->runtime->ctx.mem);
    osp_session *sessions[2] = {NULL, NULL};
    osp_tensor *inputs;
    osp_tensor *a = osp_arena_array(&arena, (size_t)low->info.outputs, sizeof *a);
    osp_tensor *b = osp_arena_array(&arena, (size_t)fp32->info.outputs, sizeof *b);
    osp_status status = a && b ? OSP_OK : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status &&
        (low->info.inputs != fp32->info.inputs || low->info.outputs != fp32->info.outputs))
        status = osp_error_set(err, OSP_ERROR_SYSTEM, "fp32 has other inputs or outputs");
    if (!status)
        status = make_inputs(fp32, &arena, &inputs, err);
    if (!status)
        status = run(&sessions[0], low, inputs, a, err);
    if (!status)
        status = run(&sessions[1], fp32, inputs, b, err);
    if (!status)
        status = note_all(engine, fp32, a, b, err);
    osp_session_close(&sessions[0]);
    osp_session_close(&sessions[1]);
    osp_arena_free(&arena);
    return status ? status : judge(engine, tolerance, err);
}

osp_status osp_engine_difference(const osp_engine *engine, int32_t i, const char **output,
                                 double *of_range)
{
    if (i < 0 || i >= engine->difference_count)
        return OSP_ERROR_ARGUMENT;
    *output = engine->differences[i].output;
    *of_range = engine->differences[i].of_range;
    return OSP_OK;
}
