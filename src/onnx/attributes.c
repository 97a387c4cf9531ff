// AttributeProto: decoded for known operators, gathered for writing back, and as the value of
// Constant nodes. Thread rule: see load.h.
#include <string.h>

#include "onnx/loader.h"

// The bit set in osp_attr.given has one bit a table row, so more than 64 cannot be right.
enum { MAX_ATTRIBUTES = 64 };

// What one AttributeProto holds; osp_attr and a few facts that only we need.
typedef struct reading {
    osp_attr attr;
    osp_bytes name, tensor, ref;
    uint32_t present;     // bit n: field n is there
    size_t ints, floats;  // elements
} reading;

// The field in which a type's value lies.
static uint32_t field_of_type(int64_t type)
{
    static const uint8_t fields[] = {
        0,           ATTR_F,      ATTR_I,       ATTR_S,       ATTR_T,
        ATTR_G,      ATTR_FLOATS, ATTR_INTS,    ATTR_STRINGS, ATTR_TENSORS,
        ATTR_GRAPHS, ATTR_SPARSE, ATTR_SPARSES, ATTR_TP,      ATTR_TYPE_PROTOS};
    return type > 0 && (size_t)type < sizeof fields ? fields[type] : 0;
}

static osp_status scan_field(reading *r, const osp_wire *wire, const osp_wire_field *field,
                             int64_t *type, osp_error *err)
{
    if (field->number < 32)
        r->present |= 1u << field->number;
    switch (field->number) {
    case ATTR_NAME:
        return osp_wire_name(wire, field, &r->name, err);
    case ATTR_REF_NAME:
        return osp_wire_name(wire, field, &r->ref, err);
    case ATTR_TYPE:
        return osp_wire_int(wire, field, type, err);
    case ATTR_F: {
        OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_FIXED32, err));
        const uint32_t bits = (uint32_t)field->value;
        memcpy(&r->attr.f, &bits, sizeof bits);
        return OSP_OK;
    }
    case ATTR_I:
        return osp_wire_int(wire, field, &r->attr.i, err);
    case ATTR_S:
        return osp_wire_bytes(wire, field, &r->attr.s, err);
    case ATTR_T:
        return osp_wire_bytes(wire, field, &r->tensor, err);
    case ATTR_FLOATS:
        return osp_wire_count(wire, field, OSP_WIRE_FIXED32, &r->floats, err);
    case ATTR_INTS:
        return osp_wire_count(wire, field, OSP_WIRE_VARINT, &r->ints, err);
    default:
        return OSP_OK;
    }
}

// First pass: everything but list elements and tensors.
static osp_status scan_attribute(reading *r, osp_bytes message, osp_error *err)
{
    *r = (reading){.name = {"", 0}, .ref = {"", 0}, .attr.s = {"", 0}};
    int64_t type = 0;
    osp_wire wire = osp_wire_open(message, "AttributeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        OSP_TRY(scan_field(r, &wire, &field, &type, err));
    }
    if (r->ref.size)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "attribute '%.*s' refers to a function's attribute '%.*s' outside of "
                 "one: " OSP_REMEDY_EXPORT,
                 OSP_SHOW(r->name), OSP_SHOW(r->ref));
    // Files of IR version 1 have no type: the one field that is there says it.
    for (int64_t t = 1; type == 0 && t <= ATTR_TYPE_TYPES; t++)
        if (r->present >> field_of_type(t) & 1)
            type = t;
    const uint32_t own = field_of_type(type);
    uint32_t values = 0;
    for (int64_t t = 1; t <= ATTR_TYPE_TYPES; t++)
        values |= 1u << field_of_type(t);
    if (own == 0 || (r->present & values & ~(1u << own)))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "attribute '%.*s' says type %lld, but holds another: " OSP_REMEDY_EXPORT,
                 OSP_SHOW(r->name), (long long)type);
    r->attr.type = (int32_t)type;
    return OSP_OK;
}

// Second pass: the elements of ints or floats, into the scratch arena.
static osp_status fill_list(osp_loader *l, reading *r, osp_bytes message, osp_error *err)
{
    const bool floats = r->attr.type == ATTR_TYPE_FLOATS;
    const size_t count = floats ? r->floats : r->ints;
    const uint32_t number = floats ? ATTR_FLOATS : ATTR_INTS;
    const uint32_t type = floats ? OSP_WIRE_FIXED32 : OSP_WIRE_VARINT;
    void *list = osp_arena_array(&l->scratch, count, floats ? sizeof(float) : sizeof(int64_t));
    if (!list)
        OSP_FAIL_MEMORY(err);
    size_t i = 0;
    osp_wire wire = osp_wire_open(message, "AttributeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != number)
            continue;
        osp_wire_list elements = osp_wire_list_open(&field, type);
        uint64_t value;
        for (; i < count && osp_wire_list_next(&elements, &value); i++) {
            const uint32_t bits = (uint32_t)value;
            if (floats)
                memcpy((float *)list + i, &bits, sizeof bits);
            else
                ((int64_t *)list)[i] = (int64_t)value;
        }
    }
    r->attr.count = i;
    r->attr.floats = floats ? list : NULL;
    r->attr.ints = floats ? NULL : list;
    return OSP_OK;
}

static osp_status read_attribute(osp_loader *l, osp_bytes message, reading *r, osp_error *err)
{
    OSP_TRY(scan_attribute(r, message, err));
    if (r->attr.type == ATTR_TYPE_INTS || r->attr.type == ATTR_TYPE_FLOATS)
        OSP_TRY(fill_list(l, r, message, err));
    r->attr.name = osp_bytes_text(&l->scratch, r->name);
    if (!r->attr.name)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

osp_status osp_loader_attributes(osp_loader *l, const osp_onnx_node *node, osp_attr **out,
                                 size_t *count, osp_error *err)
{
    *out = NULL;
    *count = 0;
    if (node->attributes > MAX_ATTRIBUTES)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%zu attributes: no operator has more than %d: " OSP_REMEDY_EXPORT,
                 node->attributes, MAX_ATTRIBUTES);
    osp_attr *list = osp_arena_array(&l->scratch, node->attributes, sizeof *list);
    if (!list)
        OSP_FAIL_MEMORY(err);
    osp_wire wire = osp_wire_open(node->message, "NodeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != NODE_ATTRIBUTE || *count == node->attributes)
            continue;
        reading r;
        OSP_TRY(read_attribute(l, field.bytes, &r, err));
        if (r.attr.type == ATTR_TYPE_TENSOR) {
            osp_value tensor;
            if (!r.tensor.data)
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         "attribute '%.64s' is a tensor without a value: " OSP_REMEDY_EXPORT,
                         r.attr.name);
            OSP_TRY(osp_loader_tensor(l, &l->scratch, r.tensor, &tensor, err));
            r.attr.tensor_dtype = tensor.dtype;
            r.attr.tensor_shape = tensor.shape;
            r.attr.tensor_data = tensor.data;
        }
        list[(*count)++] = r.attr;
    }
    *out = list;
    return OSP_OK;
}

// ---- Constant nodes -----------------------------------------------------------------------------

// A scalar or a list of a Constant node, copied into the graph's arena.
static osp_status keep_constant(osp_loader *l, osp_dtype dtype, const void *data, int32_t rank,
                                size_t count, osp_value *out, osp_error *err)
{
    const size_t bytes = count * osp_dtype_bytes(dtype);  // the elements are in memory already
    void *copy = osp_arena_alloc(&l->graph->arena, bytes);
    if (!copy)
        OSP_FAIL_MEMORY(err);
    if (bytes)
        memcpy(copy, data, bytes);
    *out = (osp_value){.name = "",
                       .dtype = dtype,
                       .data = copy,
                       .shape = {.rank = rank, .dims = {rank ? (int64_t)count : 0}}};
    return OSP_OK;
}

osp_status osp_loader_constant(osp_loader *l, const osp_onnx_node *node, osp_value *out,
                               osp_error *err)
{
    osp_bytes message = {NULL, 0};
    osp_wire wire = osp_wire_open(node->message, "NodeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == NODE_ATTRIBUTE)
            message = field.bytes;
    }
    if (node->attributes != 1 || node->outputs != 1 || node->inputs != 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "a Constant with %zu attributes, %zu inputs and %zu outputs: " OSP_REMEDY_EXPORT,
                 node->attributes, node->inputs, node->outputs);
    reading r;
    OSP_TRY(read_attribute(l, message, &r, err));
    const osp_attr *a = &r.attr;
    if (strcmp(a->name, "value") == 0 && a->type == ATTR_TYPE_TENSOR && r.tensor.data)
        return osp_loader_tensor(l, &l->graph->arena, r.tensor, out, err);
    if (strcmp(a->name, "value_float") == 0 && a->type == ATTR_TYPE_FLOAT)
        return keep_constant(l, OSP_DTYPE_FLOAT32, &a->f, 0, 1, out, err);
    if (strcmp(a->name, "value_int") == 0 && a->type == ATTR_TYPE_INT)
        return keep_constant(l, OSP_DTYPE_INT64, &a->i, 0, 1, out, err);
    if (strcmp(a->name, "value_floats") == 0 && a->type == ATTR_TYPE_FLOATS)
        return keep_constant(l, OSP_DTYPE_FLOAT32, a->floats, 1, a->count, out, err);
    if (strcmp(a->name, "value_ints") == 0 && a->type == ATTR_TYPE_INTS)
        return keep_constant(l, OSP_DTYPE_INT64, a->ints, 1, a->count, out, err);
    if (strcmp(a->name, "value_string") == 0 || strcmp(a->name, "value_strings") == 0 ||
        strcmp(a->name, "sparse_value") == 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "a Constant with the attribute '%s': use 'value'",
                 a->name);
    OSP_FAIL(err, OSP_ERROR_FORMAT,
             "a Constant with the attribute '%.64s' of type %d: " OSP_REMEDY_EXPORT, a->name,
             a->type);
}

// ---- Raw bytes ----------------------------------------------------------------------------------

osp_status osp_loader_raw_attributes(osp_loader *l, const osp_onnx_node *node, osp_bytes *out,
                                     osp_error *err)
{
    // Not NULL even when empty: it says that the node came from a file without attributes.
    *out = node->attributes ? node->attrs : (osp_bytes){node->message.data, 0};
    if (node->contiguous)
        return OSP_OK;
    uint8_t *block = osp_arena_alloc(&l->graph->arena, node->attribute_bytes);
    if (!block)
        OSP_FAIL_MEMORY(err);
    size_t used = 0;
    osp_wire wire = osp_wire_open(node->message, "NodeProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != NODE_ATTRIBUTE || field.record.size > node->attribute_bytes - used)
            continue;
        memcpy(block + used, field.record.data, field.record.size);
        used += field.record.size;
    }
    *out = (osp_bytes){block, used};
    return OSP_OK;
}
