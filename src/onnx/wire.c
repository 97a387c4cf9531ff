// See wire.h. Thread rule: no state.
#include "onnx/wire.h"

enum { MAX_VARINT = 10 };

#define REMEDY "the file is damaged or not ONNX: export or fetch it again"

// Decodes one varint. NULL: it does not end before `end`, or does not fit 64 bits.
static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < MAX_VARINT && at < end; i++) {
        const uint8_t byte = *at++;
        if (i == MAX_VARINT - 1 && byte > 1)
            return NULL;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return at;
        }
    }
    return NULL;
}

// Files are little endian; so is every machine we build for, but this does not rely on it.
static uint64_t read_fixed(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

// Bytes of a fixed-size wire type, 0 for the others.
static size_t fixed_size(uint32_t type)
{
    return type == OSP_WIRE_FIXED64 ? 8 : type == OSP_WIRE_FIXED32 ? 4 : 0;
}

osp_status osp_wire_next(osp_wire *wire, osp_wire_field *field, osp_error *err)
{
    *field = (osp_wire_field){0};
    if (wire->at == wire->end)
        return OSP_OK;
    const uint8_t *const begin = wire->at;
    uint64_t tag;
    const uint8_t *at = read_varint(begin, wire->end, &tag);
    if (!at || tag > UINT32_MAX || tag >> 3 == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: a malformed field tag: " REMEDY, wire->message);
    const uint32_t number = (uint32_t)tag >> 3, type = tag & 7;
    const size_t fixed = fixed_size(type);
    if (type == OSP_WIRE_VARINT) {
        at = read_varint(at, wire->end, &field->value);
        if (!at)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u: a number that does not end: " REMEDY,
                     wire->message, number);
    } else if (type == OSP_WIRE_LENGTH) {
        uint64_t length;
        at = read_varint(at, wire->end, &length);
        if (!at || length > (uint64_t)(wire->end - at))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u reaches past its end: " REMEDY,
                     wire->message, number);
        field->bytes = (osp_bytes){at, (size_t)length};
        at += length;
    } else if (fixed) {
        if ((size_t)(wire->end - at) < fixed)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u reaches past its end: " REMEDY,
                     wire->message, number);
        field->value = read_fixed(at, fixed);
        at += fixed;
    } else {
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u has the wire type %u: " REMEDY, wire->message,
                 number, type);
    }
    field->number = number;
    field->type = type;
    field->record = (osp_bytes){begin, (size_t)(at - begin)};
    wire->at = at;
    return OSP_OK;
}

osp_status osp_wire_expect(const osp_wire *wire, const osp_wire_field *field, uint32_t type,
                           osp_error *err)
{
    if (field->type != type)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u has the wire type %u, not %u: " REMEDY,
                 wire->message, field->number, field->type, type);
    return OSP_OK;
}

osp_status osp_wire_int(const osp_wire *wire, const osp_wire_field *field, int64_t *out,
                        osp_error *err)
{
    OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_VARINT, err));
    *out = (int64_t)field->value;
    return OSP_OK;
}

osp_status osp_wire_bytes(const osp_wire *wire, const osp_wire_field *field, osp_bytes *out,
                          osp_error *err)
{
    OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err));
    *out = field->bytes;
    return OSP_OK;
}

// Length of the valid UTF-8 sequence at `at`, 0 if it is none (or a zero byte). Overlong forms,
// surrogates and numbers past U+10FFFF are none.
static size_t utf8_length(const uint8_t *at, size_t left)
{
    const uint8_t lead = at[0];
    if (lead < 0x80)
        return lead != 0;
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F) ||
        (lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F))
        return 0;
    return length;
}

osp_status osp_wire_text(const osp_wire *wire, const osp_wire_field *field, size_t max,
                         osp_bytes *out, osp_error *err)
{
    OSP_TRY(osp_wire_bytes(wire, field, out, err));
    if (out->size > max)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%s field %u: a text of %zu bytes: use at most %zu",
                 wire->message, field->number, out->size, max);
    const uint8_t *at = out->data;
    for (size_t left = out->size; left > 0;) {
        const size_t length = utf8_length(at, left);
        if (length == 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u: a text that is not UTF-8: " REMEDY,
                     wire->message, field->number);
        at += length;
        left -= length;
    }
    return OSP_OK;
}

// ---- Repeated scalars ---------------------------------------------------------------------------

osp_status osp_wire_count(const osp_wire *wire, const osp_wire_field *field, uint32_t type,
                          size_t *count, osp_error *err)
{
    if (field->type == type) {
        *count += 1;
        return OSP_OK;
    }
    OSP_TRY(osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err));
    const size_t fixed = fixed_size(type);
    if (fixed) {
        if (field->bytes.size % fixed)
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s field %u: a list that ends inside a number: " REMEDY, wire->message,
                     field->number);
        *count += field->bytes.size / fixed;
        return OSP_OK;
    }
    const uint8_t *at = field->bytes.data, *const end = at + field->bytes.size;
    size_t found = 0;
    while (at < end) {
        uint64_t value;
        at = read_varint(at, end, &value);
        if (!at)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s field %u: a number that does not end: " REMEDY,
                     wire->message, field->number);
        found++;
    }
    *count += found;
    return OSP_OK;
}

osp_wire_list osp_wire_list_open(const osp_wire_field *field, uint32_t type)
{
    osp_wire_list list = {.type = type, .single = field->type == type, .value = field->value};
    if (!list.single) {
        list.at = field->bytes.data;
        list.end = list.at + field->bytes.size;
    }
    return list;
}

bool osp_wire_list_next(osp_wire_list *list, uint64_t *value)
{
    if (list->single) {
        list->single = false;
        *value = list->value;
        return true;
    }
    if (list->at == list->end)
        return false;
    const size_t fixed = fixed_size(list->type);
    if (!fixed) {
        const uint8_t *const next = read_varint(list->at, list->end, value);
        if (!next)  // the bytes changed under us: end rather than run on
            list->at = list->end;
        else
            list->at = next;
        return next != NULL;
    }
    if ((size_t)(list->end - list->at) < fixed)
        return false;
    *value = read_fixed(list->at, fixed);
    list->at += fixed;
    return true;
}
