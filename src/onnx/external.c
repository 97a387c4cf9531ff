// Where a tensor's elements lie: in the model, in an external file, or decoded into an arena.
// External files are opened through osp_file_map_inside only, once each. Thread rule: see load.h.
#include <string.h>

#include "onnx/loader.h"

void osp_onnx_files_free(osp_onnx_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        osp_file_unmap(&files->list[i]);
    if (files->mem)
        osp_mem_free(files->mem, files->list);
    *files = (osp_onnx_files){0};
}

typedef struct place {
    osp_bytes location;
    uint64_t offset, length;
    bool has_length;
} place;

// A decimal number that fits 63 bits; nothing else.
static bool read_decimal(osp_bytes text, uint64_t *out)
{
    const char *at = text.data;
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (at[i] < '0' || at[i] > '9' || value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(at[i] - '0');
    }
    *out = value;
    return text.size > 0;
}

static osp_status read_entry(place *p, osp_bytes message, osp_error *err)
{
    osp_wire wire = osp_wire_open(message, "StringStringEntryProto");
    osp_bytes key = {"", 0}, value = {"", 0};
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number == ENTRY_KEY)
            OSP_TRY(osp_wire_name(&wire, &field, &key, err));
        else if (field.number == ENTRY_VALUE)
            OSP_TRY(osp_wire_name(&wire, &field, &value, err));
    }
    bool good = true;
    if (osp_bytes_are(key, "location")) {
        p->location = value;
    } else if (osp_bytes_are(key, "offset")) {
        good = read_decimal(value, &p->offset);
    } else if (osp_bytes_are(key, "length")) {
        good = read_decimal(value, &p->length);
        p->has_length = true;
    }  // checksum, and what writers add of their own, does not say where the data lies
    if (!good)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "external data has the %.*s '%.*s': " OSP_REMEDY_EXPORT,
                 OSP_SHOW(key), OSP_SHOW(value));
    return OSP_OK;
}

// The mapped file of a location, mapping it if it is new.
static osp_status open_location(osp_loader *l, osp_bytes location, const osp_file **out,
                                osp_error *err)
{
    osp_onnx_files *files = l->files;
    // The last one first: weights come file by file.
    for (size_t i = files->count; i-- > 0;)
        if (osp_bytes_are(location, l->file_names[i])) {
            *out = files->list + i;
            return OSP_OK;
        }
    if (!l->dir)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "its data lies in '%.*s', which a model in memory cannot have: open it by path",
                 OSP_SHOW(location));
    files->mem = &l->ctx->mem;
    char *name = osp_bytes_text(&l->graph->arena, location);
    if (!name ||
        !osp_mem_reserve(files->mem, (void **)&files->list, &files->capacity, files->count + 1,
                         sizeof *files->list) ||
        !osp_mem_reserve(files->mem, (void **)&l->file_names, &l->file_names_capacity,
                         files->count + 1, sizeof *l->file_names))
        OSP_FAIL_MEMORY(err);
    osp_file *file = files->list + files->count;
    const uint64_t left = l->ctx->limits.file_bytes - l->file_bytes;
    const osp_status status = osp_file_map_inside(file, l->dir, name, left, err);
    if (status) {
        osp_error_prefix(err, "external data '%.*s'", OSP_SHOW(location));
        return status;
    }
    l->file_names[files->count++] = name;
    l->file_bytes += file->size;
    *out = file;
    return OSP_OK;
}

static osp_status find_external(osp_loader *l, const osp_onnx_tensor *tensor, const void **data,
                                osp_error *err)
{
    place p = {.location = {"", 0}};
    osp_wire wire = osp_wire_open(tensor->message, "TensorProto");
    for (;;) {
        osp_wire_field field;
        osp_bytes entry;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != TENSOR_EXTERNAL_DATA)
            continue;
        OSP_TRY(osp_wire_bytes(&wire, &field, &entry, err));
        OSP_TRY(read_entry(&p, entry, err));
    }
    if (p.location.size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "external data without a location: " OSP_REMEDY_EXPORT);
    if (p.has_length && p.length != tensor->bytes)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "external data of %llu bytes where its dims need %zu: " OSP_REMEDY_EXPORT,
                 (unsigned long long)p.length, tensor->bytes);
    const osp_file *file;
    OSP_TRY(open_location(l, p.location, &file, err));
    if (p.offset > file->size || tensor->bytes > file->size - p.offset)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "external data at %llu, %zu bytes, reaches past the end of '%.*s' (%zu bytes): "
                 "fetch the file again",
                 (unsigned long long)p.offset, tensor->bytes, OSP_SHOW(p.location), file->size);
    *data = tensor->bytes ? file->data + p.offset : tensor->message.data;
    atomic_fetch_add(&l->ctx->bytes_read, tensor->bytes);
    return OSP_OK;
}

osp_status osp_loader_external(osp_loader *l, const osp_onnx_tensor *tensor, const void **data,
                               osp_error *err)
{
    const osp_status status = find_external(l, tensor, data, err);
    if (status)
        osp_error_prefix(err, "tensor '%.*s'", OSP_SHOW(tensor->name));
    return status;
}

osp_status osp_loader_tensor(osp_loader *l, osp_arena *arena, osp_bytes message, osp_value *out,
                             osp_error *err)
{
    osp_onnx_tensor t;
    OSP_TRY(osp_onnx_tensor_parse(&t, &l->ctx->limits, message, err));
    *out = (osp_value){.name = "", .dtype = t.dtype, .shape = t.shape, .data = message.data};
    if (t.dtype == OSP_DTYPE_UNKNOWN || t.bytes == 0)
        return OSP_OK;  // data of a type we do not have is never read
    const void *seen = t.dense.data;
    if (t.external)
        OSP_TRY(osp_loader_external(l, &t, &seen, err));
    const bool dirty = seen && t.dtype == OSP_DTYPE_BOOL && osp_onnx_bools_dirty(seen, t.count);
    if (!seen || dirty) {
        void *block = osp_arena_alloc(arena, t.bytes);
        if (!block)
            OSP_FAIL_MEMORY(err);
        if (seen)
            memcpy(block, seen, t.bytes);
        else
            OSP_TRY(osp_onnx_tensor_fill(&t, block, err));
        if (dirty)
            osp_onnx_bools_clean(block, t.count);
        seen = block;
    }
    out->data = seen;
    return OSP_OK;
}
