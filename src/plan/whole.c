// Whole-model engines as variants without nodes, and as bytes: facts, metadata, inputs and outputs
// with their shapes in each variant, and the section that only the backend's library can read.
#include "plan/whole.h"

#include "base/hash.h"

// ---- From the backend's engine to variants ------------------------------------------------------

static osp_status add_values(osp_graph *g, const osp_whole_info *info, int32_t v, osp_error *err)
{
    g->inputs = osp_arena_array(&g->arena, (size_t)info->inputs, sizeof *g->inputs);
    g->outputs = osp_arena_array(&g->arena, (size_t)info->outputs, sizeof *g->outputs);
    if (!g->inputs || !g->outputs)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < info->inputs + info->outputs; i++) {
        const osp_whole_io *io = info->io + i;
        const osp_vid id = osp_graph_add_value(g, io->name, io->dtype, &io->shape[v]);
        if (id == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(err);
        if (i < info->inputs)
            g->inputs[g->input_count++] = id;
        else
            g->outputs[g->output_count++] = id;
    }
    return OSP_OK;
}

static osp_status add_metadata(osp_graph *g, const osp_meta *metadata, int32_t count,
                               osp_error *err)
{
    g->metadata = osp_arena_array(&g->arena, (size_t)count, sizeof *g->metadata);
    if (!g->metadata)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < count; i++) {
        osp_meta *m = g->metadata + i;
        m->key = osp_arena_strndup(&g->arena, metadata[i].key, strlen(metadata[i].key));
        m->value = osp_arena_strndup(&g->arena, metadata[i].value, strlen(metadata[i].value));
        if (!m->key || !m->value)
            OSP_FAIL_MEMORY(err);
    }
    g->metadata_count = count;
    return OSP_OK;
}

osp_status osp_whole_describe(osp_compiled *c, osp_plan_facts *facts, const osp_whole_info *info,
                              const osp_meta *metadata, int32_t metadata_count, osp_error *err)
{
    facts->batch_free = info->batch_free;
    facts->batched_inputs = facts->batched_outputs = 0;
    for (int32_t i = 0; i < info->inputs && i < 64; i++)
        facts->batched_inputs |= (uint64_t)info->io[i].batched << i;
    for (int32_t i = 0; i < info->outputs && i < 64; i++)
        facts->batched_outputs |= (uint64_t)info->io[info->inputs + i].batched << i;
    for (int32_t i = 0; i < info->variants; i++) {
        osp_variant *v = c->variants + i;
        *v = (osp_variant){.batch = info->batch[i], .height = facts->height, .width = facts->width};
        osp_graph_init(&v->graph, c->ctx);
        c->variant_count = i + 1;  // from here on osp_compiled_free frees it
        v->graph.name = v->graph.producer = "";
        OSP_TRY(add_values(&v->graph, info, i, err));
        OSP_TRY(add_metadata(&v->graph, metadata, metadata_count, err));
    }
    return OSP_OK;
}

osp_status osp_whole_compare(const osp_compiled *c, const osp_plan_facts *facts,
                             const osp_whole_info *info, osp_error *err)
{
    bool same = c->variant_count == info->variants && facts->batch_free == info->batch_free;
    for (int32_t i = 0; same && i < info->variants; i++) {
        const osp_graph *g = &c->variants[i].graph;
        same = c->variants[i].batch == info->batch[i] && g->input_count == info->inputs &&
               g->output_count == info->outputs;
        for (int32_t k = 0; same && k < info->inputs + info->outputs; k++) {
            const osp_value *v = g->values +
                                 (k < info->inputs ? g->inputs[k] : g->outputs[k - info->inputs]);
            const osp_whole_io *io = info->io + k;
            const uint64_t batched = k < info->inputs
                                         ? facts->batched_inputs >> (k & 63)
                                         : facts->batched_outputs >> ((k - info->inputs) & 63);
            same = v->dtype == io->dtype && !strcmp(v->name, io->name) &&
                   osp_shape_equal(&v->shape, &io->shape[i]) && (batched & 1) == io->batched;
        }
    }
    if (!same)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "the plan's facts are not those of the engine inside: build it again");
    return OSP_OK;
}

// ---- To bytes and back --------------------------------------------------------------------------

static const osp_value *io_value(const osp_graph *g, int32_t k)
{
    return g->values + (k < g->input_count ? g->inputs[k] : g->outputs[k - g->input_count]);
}

osp_status osp_whole_encode(osp_encoder *out, osp_blobs *blobs, const osp_compiled *c,
                            const osp_plan_facts *facts, osp_error *err)
{
    const osp_graph *g = &c->variants[0].graph;
    if (!osp_mem_reserve(blobs->mem, (void **)&blobs->list, &blobs->capacity, 1,
                         sizeof *blobs->list))
        OSP_FAIL_MEMORY(err);
    blobs->list[0] = (osp_blob){osp_hash64(c->section.data, c->section.size, 0), c->section.data,
                                c->section.size};
    blobs->count = 1;
    osp_blobs_encode(out, blobs);
    osp_facts_encode(out, facts);
    osp_put_u32(out, (uint32_t)g->metadata_count);
    for (int32_t i = 0; i < g->metadata_count; i++) {
        osp_put_text(out, g->metadata[i].key);
        osp_put_text(out, g->metadata[i].value);
    }
    osp_put_u32(out, (uint32_t)g->input_count);
    osp_put_u32(out, (uint32_t)g->output_count);
    for (int32_t k = 0; k < g->input_count + g->output_count; k++) {
        osp_put_text(out, io_value(g, k)->name);
        osp_put_u8(out, (uint8_t)io_value(g, k)->dtype);
        osp_put_u8(out, (uint8_t)io_value(g, k)->shape.rank);
    }
    for (int32_t v = 0; v < c->variant_count; v++) {
        osp_put_u32(out, (uint32_t)c->variants[v].batch);
        for (int32_t k = 0; k < g->input_count + g->output_count; k++) {
            const osp_shape *shape = &io_value(&c->variants[v].graph, k)->shape;
            for (int32_t d = 0; d < shape->rank; d++)
                osp_put_u64(out, (uint64_t)shape->dims[d]);
        }
    }
    if (out->failed)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

#define MALFORMED(err)                                                                             \
    OSP_FAIL((err), OSP_ERROR_FORMAT, "the plan's facts make no sense: build it again")

static osp_status get_io(osp_decoder *in, osp_arena *arena, osp_whole_info *info, int32_t variants,
                         osp_whole_io **out, osp_error *err)
{
    const uint32_t inputs = osp_get_u32(in), outputs = osp_get_u32(in);
    if (in->failed || inputs > OSP_MAX_OPERANDS || outputs > OSP_MAX_OPERANDS || outputs < 1)
        MALFORMED(err);
    osp_whole_io *io = osp_arena_array(arena, inputs + outputs, sizeof *io);
    if (!io)
        OSP_FAIL_MEMORY(err);
    for (uint32_t k = 0; k < inputs + outputs; k++) {
        io[k].name = osp_get_text(in);
        io[k].dtype = (osp_dtype)osp_get_u8(in);
        const uint8_t rank = osp_get_u8(in);
        if (in->failed || !io[k].dtype || io[k].dtype > OSP_DTYPE_BOOL || rank > OSP_MAX_RANK)
            MALFORMED(err);
        for (int32_t v = 0; v < variants; v++)
            io[k].shape[v].rank = rank;
    }
    info->inputs = (int32_t)inputs;
    info->outputs = (int32_t)outputs;
    info->io = *out = io;
    return OSP_OK;
}

// A known shape is one that a session can have memory for; an output may leave dimensions open.
static bool sensible(const osp_shape *shape, osp_dtype dtype, bool input, const osp_limits *limits)
{
    size_t bytes;
    for (int32_t d = 0; d < shape->rank; d++)
        if (shape->dims[d] < (input ? 0 : -1))
            return false;
    if (!input && !osp_shape_known(shape))
        return true;
    return osp_shape_bytes(shape, dtype, &bytes) && bytes <= limits->tensor_bytes;
}

static osp_status get_variants(osp_decoder *in, osp_whole_info *info, osp_whole_io *io,
                               int32_t variants, const osp_limits *limits, osp_error *err)
{
    info->variants = variants;
    for (int32_t v = 0; v < variants; v++) {
        info->batch[v] = (int32_t)osp_get_u32(in);
        if (info->batch[v] < 0)
            MALFORMED(err);
        for (int32_t k = 0; k < info->inputs + info->outputs; k++) {
            osp_shape *shape = &io[k].shape[v];
            for (int32_t d = 0; d < shape->rank; d++)
                shape->dims[d] = (int64_t)osp_get_u64(in);
            if (in->failed || !sensible(shape, io[k].dtype, k < info->inputs, limits))
                MALFORMED(err);
        }
    }
    return OSP_OK;
}

osp_status osp_whole_decode(osp_decoder *in, const osp_blobs *blobs, osp_compiled *c,
                            int32_t variants, osp_plan_facts *facts, osp_error *err)
{
    osp_whole_info info = {0};
    osp_whole_io *io;
    OSP_TRY(osp_facts_decode(in, facts, err));
    const uint32_t count = osp_get_count(in, 10);
    osp_meta *metadata = osp_arena_array(&c->arena, count, sizeof *metadata);
    if (!metadata)
        OSP_FAIL_MEMORY(err);
    for (uint32_t i = 0; i < count; i++) {
        metadata[i].key = osp_get_text(in);
        metadata[i].value = osp_get_text(in);
    }
    OSP_TRY(get_io(in, &c->arena, &info, variants, &io, err));
    OSP_TRY(get_variants(in, &info, io, variants, &c->ctx->limits, err));
    if (in->failed || in->at != in->size || blobs->count != 1 || !blobs->list[0].size)
        MALFORMED(err);
    info.batch_free = facts->batch_free;
    for (int32_t k = 0; k < info.inputs + info.outputs; k++) {
        const int32_t i = k < info.inputs ? k : k - info.inputs;
        const uint64_t bits = k < info.inputs ? facts->batched_inputs : facts->batched_outputs;
        io[k].batched = i < 64 && (bits >> i & 1);
    }
    c->section = (osp_bytes){blobs->list[0].data, blobs->list[0].size};
    return osp_whole_describe(c, facts, &info, metadata, (int32_t)count, err);
}
