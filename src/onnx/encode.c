// See encode.h.
#include "onnx/encode.h"

#include <string.h>

#include "onnx/proto.h"
#include "onnx/tensor.h"

enum { MAX_VARINT = 10 };

void osp_encoder_init(osp_encoder *e, osp_mem *mem)
{
    *e = (osp_encoder){.mem = mem};
}

void osp_encoder_free(osp_encoder *e)
{
    osp_mem_free(e->mem, e->bytes);
    osp_mem_free(e->mem, e->pieces);
    *e = (osp_encoder){.mem = e->mem};
}

static void append(osp_encoder *e, const void *data, size_t size)
{
    size_t need;
    if (size == 0 || e->failed)
        return;
    e->failed = !osp_size_add(e->size, size, &need) ||
                !osp_mem_reserve(e->mem, (void **)&e->bytes, &e->capacity, need, 1);
    if (e->failed)
        return;
    memcpy(e->bytes + e->size, data, size);
    e->size = need;
}

static size_t put_varint(uint8_t out[MAX_VARINT], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

static void append_varint(osp_encoder *e, uint64_t value)
{
    uint8_t bytes[MAX_VARINT];
    append(e, bytes, put_varint(bytes, value));
}

static void append_tag(osp_encoder *e, uint32_t field, uint32_t type)
{
    append_varint(e, (uint64_t)field << 3 | type);
}

void osp_encode_int(osp_encoder *e, uint32_t field, int64_t value)
{
    append_tag(e, field, OSP_WIRE_VARINT);
    append_varint(e, (uint64_t)value);
}

void osp_encode_float(osp_encoder *e, uint32_t field, float value)
{
    append_tag(e, field, OSP_WIRE_FIXED32);
    append(e, &value, sizeof value);
}

void osp_encode_text(osp_encoder *e, uint32_t field, const char *text)
{
    osp_encode_bytes(e, field, (osp_bytes){text, strlen(text)});
}

void osp_encode_bytes(osp_encoder *e, uint32_t field, osp_bytes bytes)
{
    append_tag(e, field, OSP_WIRE_LENGTH);
    append_varint(e, bytes.size);
    append(e, bytes.data, bytes.size);
}

void osp_encode_borrow(osp_encoder *e, uint32_t field, osp_bytes bytes)
{
    if (bytes.size < 256) {  // not worth a piece
        osp_encode_bytes(e, field, bytes);
        return;
    }
    append_tag(e, field, OSP_WIRE_LENGTH);
    append_varint(e, bytes.size);
    e->failed = e->failed || !osp_size_add(e->borrowed, bytes.size, &e->borrowed) ||
                !osp_mem_reserve(e->mem, (void **)&e->pieces, &e->piece_capacity,
                                 e->piece_count + 1, sizeof *e->pieces);
    if (e->failed)
        return;
    e->pieces[e->piece_count++] = (struct osp_encoder_piece){
        .data = bytes.data, .size = bytes.size, .at = e->size};
}

void osp_encode_records(osp_encoder *e, osp_bytes records)
{
    append(e, records.data, records.size);
}

osp_encode_mark osp_encode_begin(const osp_encoder *e, uint32_t field)
{
    return (osp_encode_mark){field, e->size, e->piece_count, e->borrowed};
}

// Tag and length are only known now: what was written since the mark moves up for them.
void osp_encode_end(osp_encoder *e, osp_encode_mark mark)
{
    uint8_t head[2 * MAX_VARINT];
    const uint64_t length = (e->size - mark.size) + (e->borrowed - mark.borrowed);
    size_t n = put_varint(head, (uint64_t)mark.field << 3 | OSP_WIRE_LENGTH);
    n += put_varint(head + n, length);
    const size_t body = e->size - mark.size;
    append(e, head, n);  // makes the room
    if (e->failed)
        return;
    memmove(e->bytes + mark.size + n, e->bytes + mark.size, body);
    memcpy(e->bytes + mark.size, head, n);
    for (size_t i = mark.pieces; i < e->piece_count; i++)
        e->pieces[i].at += n;
}

void osp_encode_tensor(osp_encoder *e, const char *name, osp_dtype dtype, int32_t rank,
                       const int64_t *dims, osp_bytes data)
{
    for (int32_t d = 0; d < rank; d++)
        osp_encode_int(e, TENSOR_DIMS, dims[d]);
    osp_encode_int(e, TENSOR_DATA_TYPE, osp_onnx_dtype_elem(dtype));
    if (name[0])
        osp_encode_text(e, TENSOR_NAME, name);
    osp_encode_borrow(e, TENSOR_RAW_DATA, data);
}

// All pieces in order; the array is the caller's to free.
static osp_status list_parts(const osp_encoder *e, osp_bytes **out, size_t *out_count,
                             osp_error *err)
{
    osp_bytes *parts = e->failed ? NULL
                                 : osp_mem_calloc(e->mem, 2 * e->piece_count + 1, sizeof *parts);
    if (!parts)
        OSP_FAIL_MEMORY(err);
    size_t count = 0, at = 0;
    for (size_t i = 0; i < e->piece_count; i++) {
        const struct osp_encoder_piece *piece = e->pieces + i;
        if (piece->at > at)
            parts[count++] = (osp_bytes){e->bytes + at, piece->at - at};
        parts[count++] = (osp_bytes){piece->data, piece->size};
        at = piece->at;
    }
    if (e->size > at)
        parts[count++] = (osp_bytes){e->bytes + at, e->size - at};
    if (e->borrowed > INT32_MAX || e->size > INT32_MAX - e->borrowed) {
        osp_mem_free(e->mem, parts);
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "over 2 GiB, which an ONNX file cannot be: use a smaller model");
    }
    *out = parts;
    *out_count = count;
    return OSP_OK;
}

osp_status osp_encoder_write(const osp_encoder *e, const char *path, osp_error *err)
{
    osp_bytes *parts;
    size_t count;
    OSP_TRY(list_parts(e, &parts, &count, err));
    const osp_status status = osp_file_write(path, parts, count, err);
    osp_mem_free(e->mem, parts);
    return status;
}

osp_status osp_encoder_join(const osp_encoder *e, void **out, size_t *size, osp_error *err)
{
    osp_bytes *parts;
    size_t count, at = 0;
    OSP_TRY(list_parts(e, &parts, &count, err));
    char *block = osp_mem_alloc(e->mem, e->size + e->borrowed);
    for (size_t i = 0; block && i < count; i++) {
        if (parts[i].size)
            memcpy(block + at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    osp_mem_free(e->mem, parts);
    if (!block)
        OSP_FAIL_MEMORY(err);
    *out = block;
    *size = at;
    return OSP_OK;
}
