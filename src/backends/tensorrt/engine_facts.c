// What an engine of TensorRT takes and gives: its inputs and outputs, and the variants that its
// optimization profiles allow. An engine that we built has one profile for each variant; one from
// elsewhere may have a range of batches in a profile, of which some are picked.
#include <string.h>

#include "backends/tensorrt/tensorrt.h"

static bool to_shape(const osp_trt_dims *dims, osp_shape *out)
{
    *out = (osp_shape){.rank = -1};
    if (dims->rank < 0 || dims->rank > OSP_MAX_RANK)
        return false;
    out->rank = dims->rank;
    for (int32_t d = 0; d < dims->rank; d++)
        out->dims[d] = dims->d[d] < 0 ? -1 : dims->d[d];
    return true;
}

static osp_status read_io(osp_trt_model *m, const char *name, osp_whole_io *io, osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    const char *copy = osp_arena_strndup(&m->arena, name, strlen(name));
    if (!copy)
        OSP_FAIL_MEMORY(err);
    *io = (osp_whole_io){.name = copy, .dtype = osp_trt_engine_dtype(api, m->engine, name)};
    if (!io->dtype)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "'%s' of the engine has a type that is not supported",
                 name);
    if (osp_trt_engine_location(api, m->engine, name) != OSP_TRT_ON_DEVICE)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "'%s' of the engine determines shapes: build the engine with it as a fixed input",
                 name);
    if (osp_trt_engine_format(api, m->engine, name) != 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "'%s' of the engine does not lie in C order: build the engine with linear formats",
                 name);
    return OSP_OK;
}

// Names and types, inputs first.
static osp_status read_names(osp_trt_model *m, osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    const int32_t count = osp_trt_engine_io_count(api, m->engine);
    if (count < 1 || count > OSP_MAX_OPERANDS)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the engine has %d inputs and outputs: 1 to %d are usable",
                 count, OSP_MAX_OPERANDS);
    m->io = osp_arena_array(&m->arena, (size_t)count, sizeof *m->io);
    if (!m->io)
        OSP_FAIL_MEMORY(err);
    int32_t filled = 0;
    for (osp_trt_io_mode mode = OSP_TRT_INPUT; mode <= OSP_TRT_OUTPUT; mode++) {
        for (int32_t i = 0; i < count; i++) {
            const char *name = osp_trt_engine_io_name(api, m->engine, i);
            if (name && osp_trt_engine_io_mode(api, m->engine, name) == mode)
                OSP_TRY(read_io(m, name, m->io + filled++, err));
        }
        *(mode == OSP_TRT_INPUT ? &m->inputs
                                : &m->outputs) = filled - (mode == OSP_TRT_INPUT ? 0 : m->inputs);
    }
    if (filled != count || !m->outputs)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the engine's inputs and outputs make no sense");
    return OSP_OK;
}

// The input whose first dimension is the batch; -1: none has a free one.
static int32_t find_batched(const osp_trt_model *m)
{
    for (int32_t i = 0; i < m->inputs; i++) {
        const osp_trt_dims dims = osp_trt_engine_shape(&m->trt.api, m->engine, m->io[i].name);
        if (dims.rank > 0 && dims.d[0] < 0)
            return i;
    }
    return -1;
}

// Keeps the list rising and without repeats; the first profile that offers a batch serves it.
static void add_variant(osp_trt_model *m, int64_t batch, int32_t profile)
{
    int32_t at = 0;
    while (at < m->variant_count && m->variants[at].batch < batch)
        at++;
    if (batch < 1 || batch > INT32_MAX || m->variant_count == OSP_MAX_VARIANTS ||
        (at < m->variant_count && m->variants[at].batch == batch))
        return;
    memmove(m->variants + at + 1, m->variants + at,
            (size_t)(m->variant_count - at) * sizeof *m->variants);
    m->variants[at] = (osp_trt_variant){profile, (int32_t)batch};
    m->variant_count++;
}

static osp_status find_variants(osp_trt_model *m, osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    const int32_t input = find_batched(m);
    m->batch_free = input >= 0;
    if (!m->batch_free) {
        const osp_trt_dims dims = m->inputs ? osp_trt_engine_shape(api, m->engine, m->io[0].name)
                                            : (osp_trt_dims){0};
        m->variants[0] = (osp_trt_variant){0, dims.rank > 0 ? (int32_t)dims.d[0] : 1};
        m->variant_count = 1;
        return OSP_OK;
    }
    const int32_t profiles = osp_trt_engine_profiles(api, m->engine);
    for (int32_t p = 0; p < profiles; p++) {
        int64_t batch[3];  // by selector
        for (int32_t s = OSP_TRT_MIN; s <= OSP_TRT_MAX; s++)
            batch[s] = osp_trt_engine_profile_shape(api, m->engine, m->io[input].name, p,
                                                    (osp_trt_selector)s)
                           .d[0];
        // The largest first: it must not be lost when there are many.
        const int64_t picks[] = {batch[OSP_TRT_MAX], batch[OSP_TRT_OPT], 1, 2, 4};
        for (size_t i = 0; i < sizeof picks / sizeof *picks; i++)
            if (picks[i] >= batch[OSP_TRT_MIN] && picks[i] <= batch[OSP_TRT_MAX])
                add_variant(m, picks[i], p);
    }
    if (!m->variant_count)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the engine's optimization profiles make no sense");
    return OSP_OK;
}

// Free dimensions but the batch are as the profile was optimized for.
static osp_status size_inputs(osp_trt_model *m, int32_t v, osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    for (int32_t i = 0; i < m->inputs; i++) {
        osp_trt_dims dims = osp_trt_engine_shape(api, m->engine, m->io[i].name);
        osp_trt_dims best = dims;
        for (int32_t d = 0; d < dims.rank && d < OSP_TRT_MAX_DIMS; d++)
            if (dims.d[d] < 0) {
                best = osp_trt_engine_profile_shape(api, m->engine, m->io[i].name,
                                                    m->variants[v].profile, OSP_TRT_OPT);
                break;
            }
        if (m->batch_free && dims.rank > 0 && dims.d[0] < 0) {
            m->io[i].batched = true;
            best.d[0] = m->variants[v].batch;
        }
        if (!to_shape(&best, &m->io[i].shape[v]) || !osp_shape_known(&m->io[i].shape[v]))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input '%s' of the engine has no shape", m->io[i].name);
    }
    return OSP_OK;
}

void osp_trt_input_dims(const osp_trt_model *m, int32_t io, int32_t variant, osp_trt_dims *out)
{
    const osp_shape *shape = &m->io[io].shape[variant];
    *out = (osp_trt_dims){.rank = shape->rank};
    memcpy(out->d, shape->dims, sizeof out->d);
}

// A context of its own knows the outputs' shapes; it needs no memory for that.
static osp_status size_outputs(osp_trt_model *m, int32_t v, osp_gpu_stream stream, osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    osp_trt_context *context = osp_trt_engine_open_context(api, m->engine);
    bool ok = osp_trt_is_object(context);
    if (ok && m->variants[v].profile)
        ok = osp_trt_context_set_profile(api, context, m->variants[v].profile, stream);
    for (int32_t i = 0; ok && i < m->inputs; i++) {
        osp_trt_dims dims;
        osp_trt_input_dims(m, i, v, &dims);
        ok = osp_trt_context_set_input_shape(api, context, m->io[i].name, &dims);
    }
    ok = ok && osp_trt_context_infer(api, context) == 0;
    for (int32_t i = m->inputs; ok && i < m->inputs + m->outputs; i++) {
        const osp_trt_dims dims = osp_trt_context_shape(api, context, m->io[i].name);
        ok = to_shape(&dims, &m->io[i].shape[v]);
    }
    osp_trt_delete(context);
    if (!ok) {
        char text[sizeof m->sink.text];
        osp_trt_sink_take(&m->sink, text, sizeof text);
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the engine does not tell its shapes for batch %d%s%s",
                 m->variants[v].batch, text[0] ? ": " : "", text);
    }
    return OSP_OK;
}

static void mark_batched_outputs(osp_trt_model *m)
{
    for (int32_t i = m->inputs; i < m->inputs + m->outputs; i++) {
        bool follows = m->batch_free;
        for (int32_t v = 0; v < m->variant_count; v++)
            follows &= m->io[i].shape[v].rank > 0 &&
                       m->io[i].shape[v].dims[0] == m->variants[v].batch;
        m->io[i].batched = follows;
    }
}

osp_status osp_trt_read_facts(osp_trt_model *m, osp_error *err)
{
    OSP_TRY(read_names(m, err));
    OSP_TRY(find_variants(m, err));
    osp_gpu_stream stream;
    OSP_TRY(osp_gpu_stream_open(m->gpu, &stream, err));
    osp_status status = OSP_OK;
    for (int32_t v = 0; !status && v < m->variant_count; v++) {
        status = size_inputs(m, v, err);
        if (!status)
            status = size_outputs(m, v, stream, err);
    }
    if (!status)
        status = osp_gpu_stream_wait(m->gpu, stream, -1, err);
    osp_gpu_stream_close(m->gpu, &stream);
    if (status)
        return status;
    mark_batched_outputs(m);
    const int64_t bytes = osp_trt_engine_memory_bytes(&m->trt.api, m->engine);
    m->memory_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    return OSP_OK;
}
