// Graphs to bytes and back. Decoding makes no more than the bytes can hold, checks every index,
// and leaves the meaning (types, shapes, attributes) to inference in osp_compile_restore.
#include "plan/graph_codec.h"

#include "base/hash.h"

enum { INLINE_BYTES = 256, ATTR_TEXT_BYTES = 8192 };

// How a value got its data.
enum { KIND_MADE = 0, KIND_INPUT = 1, KIND_INLINE = 2, KIND_BLOB = 3, KIND_DROPPED = 4 };

// ---- Encoding -----------------------------------------------------------------------------------

static uint32_t blob_index(osp_blobs *blobs, const void *data, size_t size, bool *failed)
{
    uint64_t hash = osp_hash64(data, size, 0);
    for (size_t i = 0; i < blobs->count; i++) {
        const osp_blob *b = blobs->list + i;
        if (b->hash == hash && b->size == size && !memcmp(b->data, data, size))
            return (uint32_t)i;
    }
    if (!osp_mem_reserve(blobs->mem, (void **)&blobs->list, &blobs->capacity, blobs->count + 1,
                         sizeof *blobs->list)) {
        *failed = true;
        return 0;
    }
    blobs->list[blobs->count] = (osp_blob){hash, data, size};
    return (uint32_t)blobs->count++;
}

static void put_type(osp_encoder *e, const osp_value *v)
{
    osp_put_u8(e, (uint8_t)v->dtype);
    osp_put_u8(e, (uint8_t)v->shape.rank);
    for (int32_t d = 0; d < v->shape.rank; d++)
        osp_put_u64(e, (uint64_t)v->shape.dims[d]);
}

static void put_value(osp_encoder *e, osp_blobs *blobs, const osp_value *v, bool is_input)
{
    size_t bytes = 0;
    if (v->data && !osp_shape_bytes(&v->shape, v->dtype, &bytes))
        e->failed = true;
    uint8_t kind = v->dropped                         ? KIND_DROPPED
                   : v->data && bytes <= INLINE_BYTES ? KIND_INLINE
                   : v->data                          ? KIND_BLOB
                   : is_input                         ? KIND_INPUT
                                                      : KIND_MADE;
    osp_put_u8(e, kind);
    osp_put_u8(e, (uint8_t)v->layout);
    osp_put_text(e, v->name);
    if (kind != KIND_MADE)
        put_type(e, v);
    if (kind == KIND_INLINE)
        osp_put_bytes(e, v->data, bytes);
    if (kind == KIND_BLOB)
        osp_put_u32(e, blob_index(blobs, v->data, bytes, &e->failed));
}

static void put_ids(osp_encoder *e, const osp_vid *ids, int32_t count)
{
    osp_put_u32(e, (uint32_t)count);
    for (int32_t i = 0; i < count; i++)
        osp_put_u32(e, (uint32_t)ids[i]);
}

static osp_status put_node(osp_encoder *e, const osp_node *node, const osp_step *step,
                           osp_error *err)
{
    char attrs[ATTR_TEXT_BYTES];
    if (osp_attrs_print(node->op, node->attrs, attrs, sizeof attrs) >= sizeof attrs)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "node '%s' (%s): its attributes are too long for a plan",
                 node->name, node->type);
    osp_put_text(e, node->op->domain);
    osp_put_text(e, node->op->type);
    osp_put_text(e, node->name);
    put_ids(e, node->inputs, node->input_count);
    put_ids(e, node->outputs, node->output_count);
    osp_put_text(e, attrs);
    osp_put_text(e, step->tactic->name);
    osp_put_u32(e, (uint32_t)step->tactic->pack_version);
    osp_put_u32(e, (uint32_t)step->packed);
    return OSP_OK;
}

static osp_status put_variant(osp_encoder *e, osp_blobs *blobs, const osp_variant *v,
                              osp_error *err)
{
    const osp_graph *g = &v->graph;
    osp_put_u32(e, (uint32_t)v->batch);
    osp_put_u32(e, (uint32_t)v->height);
    osp_put_u32(e, (uint32_t)v->width);
    osp_put_u32(e, (uint32_t)v->streams.count);
    osp_put_u32(e, (uint32_t)g->opset);
    osp_put_text(e, g->name);
    osp_put_text(e, g->producer);
    osp_put_u32(e, (uint32_t)g->metadata_count);
    for (int32_t i = 0; i < g->metadata_count; i++) {
        osp_put_text(e, g->metadata[i].key);
        osp_put_text(e, g->metadata[i].value);
    }
    osp_put_u32(e, (uint32_t)g->value_count);
    for (size_t i = 0; i < g->value_count; i++) {
        bool is_input = false;
        for (int32_t k = 0; k < g->input_count; k++)
            is_input |= g->inputs[k] == (osp_vid)i;
        put_value(e, blobs, g->values + i, is_input);
    }
    put_ids(e, g->inputs, g->input_count);
    put_ids(e, g->outputs, g->output_count);
    osp_put_u32(e, (uint32_t)g->node_count);
    for (size_t i = 0; i < g->node_count; i++)
        OSP_TRY(put_node(e, g->nodes + i, v->steps + i, err));
    return OSP_OK;
}

void osp_facts_encode(osp_encoder *out, const osp_plan_facts *facts)
{
    osp_put_u32(out, (uint32_t)facts->height);
    osp_put_u32(out, (uint32_t)facts->width);
    osp_put_u8(out, facts->batch_free);
    osp_put_u64(out, facts->batched_inputs);
    osp_put_u64(out, facts->batched_outputs);
    osp_put_u32(out, (uint32_t)facts->head);
    osp_put_u32(out, (uint32_t)facts->resize);
    osp_put_u32(out, (uint32_t)facts->pixels);
    osp_put_text(out, facts->reason);
}

void osp_blobs_encode(osp_encoder *out, const osp_blobs *blobs)
{
    osp_put_u32(out, (uint32_t)blobs->count);
    for (size_t i = 0; i < blobs->count; i++) {
        osp_put_u64(out, blobs->list[i].hash);
        osp_put_u64(out, blobs->list[i].size);
    }
}

osp_status osp_body_encode(osp_encoder *out, osp_blobs *blobs, const osp_compiled *c,
                           const osp_plan_facts *facts, osp_error *err)
{
    // The blob table comes first in the file but is known last.
    osp_encoder tail = {.mem = out->mem};
    osp_facts_encode(&tail, facts);
    osp_put_u32(&tail, (uint32_t)c->packed_count);
    for (size_t i = 0; i < c->packed_count; i++) {
        osp_put_u64(&tail, c->packed[i].key);
        osp_put_u32(&tail, blob_index(blobs, c->packed[i].data, c->packed[i].size, &tail.failed));
    }
    osp_status status = OSP_OK;
    for (int32_t i = 0; !status && i < c->variant_count; i++)
        status = put_variant(&tail, blobs, c->variants + i, err);
    osp_blobs_encode(out, blobs);
    osp_put_bytes(out, tail.data, tail.size);
    if (!status && (out->failed || tail.failed))
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    osp_mem_free(out->mem, tail.data);
    return status;
}

// ---- Decoding -----------------------------------------------------------------------------------

#define MALFORMED(err, what)                                                                       \
    OSP_FAIL((err), OSP_ERROR_FORMAT, "the plan's " what " makes no sense: build it again")

osp_status osp_blobs_decode(osp_decoder *in, osp_blobs *blobs, osp_error *err)
{
    uint32_t count = osp_get_count(in, 16);
    for (uint32_t i = 0; i < count; i++) {
        if (!osp_mem_reserve(blobs->mem, (void **)&blobs->list, &blobs->capacity, i + 1,
                             sizeof *blobs->list))
            OSP_FAIL_MEMORY(err);
        uint64_t hash = osp_get_u64(in), size = osp_get_u64(in);
        if (size > SIZE_MAX)
            MALFORMED(err, "weight table");
        blobs->list[i] = (osp_blob){hash, NULL, (size_t)size};
        blobs->count = i + 1;
    }
    if (in->failed)
        MALFORMED(err, "weight table");
    return OSP_OK;
}

static void get_type(osp_decoder *in, osp_value *v, const osp_limits *limits)
{
    v->dtype = (osp_dtype)osp_get_u8(in);
    uint8_t rank = osp_get_u8(in);
    if (v->dtype > OSP_DTYPE_BOOL || v->dtype == OSP_DTYPE_UNKNOWN || rank > OSP_MAX_RANK) {
        in->failed = true;
        return;
    }
    v->shape = (osp_shape){.rank = rank};
    for (uint8_t d = 0; d < rank; d++)
        v->shape.dims[d] = (int64_t)osp_get_u64(in);
    size_t bytes;
    if (!osp_shape_known(&v->shape) || !osp_shape_bytes(&v->shape, v->dtype, &bytes) ||
        bytes > limits->tensor_bytes)
        in->failed = true;
}

static osp_status get_value(osp_decoder *in, const osp_blobs *blobs, osp_graph *g, osp_error *err)
{
    uint8_t kind = osp_get_u8(in), layout = osp_get_u8(in);
    const char *name = osp_get_text(in);
    osp_vid id = osp_graph_add_value(g, name, OSP_DTYPE_UNKNOWN, NULL);
    if (id == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    osp_value *v = g->values + id;
    if (kind > KIND_DROPPED || layout > OSP_LAYOUT_CHANNELS_LAST)
        in->failed = true;
    v->layout = (osp_layout)layout;
    size_t bytes = 0;
    if (kind != KIND_MADE)
        get_type(in, v, &g->ctx->limits);
    if (!in->failed && kind != KIND_MADE)
        osp_shape_bytes(&v->shape, v->dtype, &bytes);
    if (kind == KIND_INLINE)
        v->data = bytes <= INLINE_BYTES ? osp_get_bytes(in, bytes) : NULL;
    if (kind == KIND_BLOB) {
        uint32_t i = osp_get_u32(in);
        if (in->failed || i >= blobs->count || blobs->list[i].size != bytes)
            in->failed = true;
        else
            v->data = blobs->list[i].data;
    }
    if ((kind == KIND_INLINE || kind == KIND_BLOB) && !v->data)
        in->failed = true;
    v->dropped = kind == KIND_DROPPED;
    return OSP_OK;
}

// A list of value numbers in the graph's arena; `optional` allows OSP_NO_VALUE.
static osp_vid *get_ids(osp_decoder *in, osp_graph *g, int32_t *count, bool optional)
{
    uint32_t n = osp_get_count(in, 4);
    osp_vid *ids = osp_arena_array(&g->arena, n, sizeof *ids);
    if (!ids || n > OSP_MAX_OPERANDS * 64) {
        in->failed = true;
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = (osp_vid)osp_get_u32(in);
        if (ids[i] < (optional ? OSP_NO_VALUE : 0) || ids[i] >= (osp_vid)g->value_count)
            in->failed = true;
    }
    *count = (int32_t)n;
    return in->failed ? NULL : ids;
}

typedef struct tactic_lists {
    const char **names;
    int32_t *versions, *packed;
} tactic_lists;

static osp_status get_node(osp_decoder *in, osp_graph *g, tactic_lists *lists, size_t index,
                           osp_error *err)
{
    const char *domain = osp_get_text(in), *type = osp_get_text(in), *name = osp_get_text(in);
    int32_t input_count = 0, output_count = 0;
    osp_vid *inputs = get_ids(in, g, &input_count, true);
    osp_vid *outputs = get_ids(in, g, &output_count, true);
    const char *attrs = osp_get_text(in);
    lists->names[index] = osp_get_text(in);
    lists->versions[index] = (int32_t)osp_get_u32(in);
    lists->packed[index] = (int32_t)osp_get_u32(in);
    if (in->failed)
        MALFORMED(err, "graph");
    const osp_op *op = osp_op_find(domain, type);
    if (!op)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "the plan's node '%s' has operator '%s', which this library "
                 "lacks: build it again",
                 name, type);
    osp_node *node = osp_graph_insert_node(g, g->node_count, op, name, inputs, input_count, outputs,
                                           output_count, NULL);
    if (!node)
        OSP_FAIL_MEMORY(err);
    return osp_attrs_scan(op, attrs, node->attrs, err);
}

static osp_status get_metadata(osp_decoder *in, osp_graph *g, osp_error *err)
{
    uint32_t count = osp_get_count(in, 10);
    g->metadata = osp_arena_array(&g->arena, count, sizeof *g->metadata);
    if (!g->metadata)
        OSP_FAIL_MEMORY(err);
    g->metadata_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        g->metadata[i].key = osp_get_text(in);
        g->metadata[i].value = osp_get_text(in);
    }
    return OSP_OK;
}

static osp_status get_graph(osp_decoder *in, const osp_blobs *blobs, osp_graph *g,
                            tactic_lists *lists, osp_error *err)
{
    g->opset = osp_get_u32(in);
    g->name = osp_get_text(in);
    g->producer = osp_get_text(in);
    OSP_TRY(get_metadata(in, g, err));
    uint32_t values = osp_get_count(in, 6);
    for (uint32_t i = 0; i < values && !in->failed; i++)
        OSP_TRY(get_value(in, blobs, g, err));
    g->inputs = get_ids(in, g, &g->input_count, false);
    g->outputs = get_ids(in, g, &g->output_count, false);
    for (int32_t i = 0; !in->failed && i < g->input_count; i++)
        if (g->values[g->inputs[i]].shape.rank < 0 || g->values[g->inputs[i]].data)
            in->failed = true;
    uint32_t nodes = osp_get_count(in, 20);
    if (in->failed)
        MALFORMED(err, "graph");
    if (nodes > g->ctx->limits.nodes)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "the plan has %u nodes: raise osp_limits.nodes", nodes);
    lists->names = osp_arena_array(&g->arena, nodes, sizeof *lists->names);
    lists->versions = osp_arena_array(&g->arena, nodes, sizeof *lists->versions);
    lists->packed = osp_arena_array(&g->arena, nodes, sizeof *lists->packed);
    if (!lists->names || !lists->versions || !lists->packed)
        OSP_FAIL_MEMORY(err);
    for (uint32_t i = 0; i < nodes; i++)
        OSP_TRY(get_node(in, g, lists, i, err));
    // Sorting checks that each value is made, and once. It makes a new array only if it must move
    // a node, and then the tactics would stand beside other nodes.
    const osp_node *written = g->nodes;
    OSP_TRY(osp_graph_sort(g, err));
    if (g->nodes != written)
        MALFORMED(err, "order of nodes");
    return OSP_OK;
}

static osp_status get_variant(osp_decoder *in, const osp_blobs *blobs, osp_compiled *c,
                              osp_error *err)
{
    int32_t batch = (int32_t)osp_get_u32(in), height = (int32_t)osp_get_u32(in);
    int32_t width = (int32_t)osp_get_u32(in), streams = (int32_t)osp_get_u32(in);
    if (in->failed || batch < 0 || height < 0 || width < 0 || streams < 1 ||
        streams > (c->backend->program ? OSP_STREAMS_MOST : 1))
        MALFORMED(err, "variant");
    osp_graph g;
    tactic_lists lists = {0};
    osp_graph_init(&g, c->ctx);
    osp_status status = get_graph(in, blobs, &g, &lists, err);
    if (status) {
        osp_graph_free(&g);
        return status;
    }
    return osp_compile_restore(c, &g, batch, height, width, streams, lists.names, lists.versions,
                               lists.packed, err);
}

osp_status osp_facts_decode(osp_decoder *in, osp_plan_facts *facts, osp_error *err)
{
    *facts = (osp_plan_facts){0};
    facts->height = (int32_t)osp_get_u32(in);
    facts->width = (int32_t)osp_get_u32(in);
    facts->batch_free = osp_get_u8(in) != 0;
    facts->batched_inputs = osp_get_u64(in);
    facts->batched_outputs = osp_get_u64(in);
    facts->head = (int32_t)osp_get_u32(in);
    facts->resize = (int32_t)osp_get_u32(in);
    facts->pixels = (int32_t)osp_get_u32(in);
    facts->reason = osp_get_text(in);
    if (in->failed || facts->height < 0 || facts->width < 0 || facts->head < 0 ||
        facts->head > OSP_HEAD_DETR_PAIR || facts->resize < 0 ||
        facts->resize > OSP_RESIZE_STRETCH || facts->pixels < 0 || facts->pixels > OSP_PIXELS_UINT8)
        MALFORMED(err, "header of the graph");
    return OSP_OK;
}

osp_status osp_body_decode(osp_decoder *in, const osp_blobs *blobs, osp_compiled *c,
                           int32_t variants, osp_plan_facts *facts, osp_error *err)
{
    OSP_TRY(osp_facts_decode(in, facts, err));
    uint32_t packed = osp_get_count(in, 12);
    if (in->failed)
        MALFORMED(err, "weight table");
    if (!osp_mem_reserve(&c->ctx->mem, (void **)&c->packed, &c->packed_capacity, packed,
                         sizeof *c->packed))
        OSP_FAIL_MEMORY(err);
    for (uint32_t i = 0; i < packed; i++) {
        uint64_t key = osp_get_u64(in);
        uint32_t blob = osp_get_u32(in);
        if (in->failed || blob >= blobs->count)
            MALFORMED(err, "weight table");
        c->packed[i] = (osp_packed){
            .key = key, .data = blobs->list[blob].data, .size = blobs->list[blob].size};
        c->packed_count = i + 1;
    }
    for (int32_t i = 0; i < variants; i++)
        OSP_TRY(get_variant(in, blobs, c, err));
    if (in->failed || in->at != in->size)
        MALFORMED(err, "end of the graph");
    return OSP_OK;
}
