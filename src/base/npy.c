// See npy.h. The header is a Python dict literal of three known keys; the little parser below knows
// just those, in any order, and nothing of it is evaluated. Thread rule: no state.
#include "base/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"
#include "base/strided.h"

// NumPy itself refuses headers over 10,000 bytes.
enum { MAGIC_BYTES = 8, MAX_HEADER = 65536 };

#define REMEDY "save it again with numpy.save"

static const struct {
    const char *descr;
    osp_dtype dtype;
} npy_types[] = {
    {"<f4", OSP_DTYPE_FLOAT32}, {"<f2", OSP_DTYPE_FLOAT16}, {"<i4", OSP_DTYPE_INT32},
    {"<i8", OSP_DTYPE_INT64},   {"|u1", OSP_DTYPE_UINT8},   {"|i1", OSP_DTYPE_INT8},
    {"|b1", OSP_DTYPE_BOOL},    {"<u1", OSP_DTYPE_UINT8},   {"<i1", OSP_DTYPE_INT8},
};
enum { TYPE_COUNT = sizeof npy_types / sizeof npy_types[0] };

bool osp_npy_is(const uint8_t *bytes, size_t size)
{
    return size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
}

// ---- The header's text --------------------------------------------------------------------------

typedef struct scanner {
    const char *at, *end;
} scanner;

static void skip_spaces(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t'))
        s->at++;
}

static bool take(scanner *s, const char *token)
{
    skip_spaces(s);
    const size_t length = strlen(token);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, token, length) != 0)
        return false;
    s->at += length;
    return true;
}

// A quoted string of at most size - 1 plain characters.
static bool take_string(scanner *s, char *text, size_t size)
{
    skip_spaces(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"'))
        return false;
    const char quote = *s->at++;
    size_t length = 0;
    while (s->at < s->end && *s->at != quote && *s->at != '\\' && length + 1 < size)
        text[length++] = *s->at++;
    text[length] = 0;
    return s->at < s->end && *s->at++ == quote;
}

static bool take_number(scanner *s, int64_t *out)
{
    skip_spaces(s);
    const char *const begin = s->at;
    int64_t value = 0;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        if (!osp_i64_mul(value, 10, &value) || !osp_i64_add(value, *s->at - '0', &value))
            return false;
        s->at++;
    }
    if (s->at < s->end && *s->at == 'L')  // written by Python 2
        s->at++;
    *out = value;
    return s->at > begin;
}

typedef struct header {
    char descr[32];
    bool fortran, has_descr, has_order, has_shape;
    int32_t rank;  // 9: more than we have
    int64_t dims[OSP_MAX_RANK];
} header;

static bool take_shape(scanner *s, header *h)
{
    if (!take(s, "("))
        return false;
    h->rank = 0;
    while (!take(s, ")")) {
        int64_t dim;
        if (!take_number(s, &dim))
            return false;
        if (h->rank < OSP_MAX_RANK)
            h->dims[h->rank] = dim;
        if (h->rank <= OSP_MAX_RANK)
            h->rank++;
        if (!take(s, ",")) {
            if (!take(s, ")"))
                return false;
            break;
        }
    }
    return true;
}

static bool parse_header(scanner s, header *h)
{
    *h = (header){0};
    if (!take(&s, "{"))
        return false;
    while (!take(&s, "}")) {
        char key[32];
        if (!take_string(&s, key, sizeof key) || !take(&s, ":"))
            return false;
        if (strcmp(key, "descr") == 0) {
            h->has_descr = true;
            if (take(&s, "[")) {  // a structured type: named as such, the rest does not matter
                snprintf(h->descr, sizeof h->descr, "[...]");
                return true;
            }
            if (!take_string(&s, h->descr, sizeof h->descr))
                return false;
        } else if (strcmp(key, "fortran_order") == 0) {
            h->has_order = true;
            h->fortran = take(&s, "True");
            if (!h->fortran && !take(&s, "False"))
                return false;
        } else if (strcmp(key, "shape") == 0) {
            h->has_shape = true;
            if (!take_shape(&s, h))
                return false;
        } else {
            return false;
        }
        if (!take(&s, ",") && !take(&s, "}"))
            return false;
        else if (s.at[-1] == '}')
            break;
    }
    skip_spaces(&s);
    return s.at == s.end && h->has_descr && h->has_order && h->has_shape;
}

// ---- Reading ------------------------------------------------------------------------------------

// Finds the header's text and where the data begins.
static osp_status find_header(const uint8_t *bytes, size_t size, scanner *text, size_t *data_at,
                              osp_error *err)
{
    if (!osp_npy_is(bytes, size) || size < MAGIC_BYTES)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "not a .npy file: " REMEDY);
    const int major = bytes[6], minor = bytes[7];
    if (major < 1 || major > 3 || minor != 0)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, ".npy version %d.%d: " REMEDY, major, minor);
    const size_t width = major == 1 ? 2 : 4;
    if (size < MAGIC_BYTES + width)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a .npy file cut short in its header: " REMEDY);
    size_t length = 0;
    for (size_t i = 0; i < width; i++)
        length |= (size_t)bytes[MAGIC_BYTES + i] << (8 * i);
    if (length > MAX_HEADER)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "a .npy header of %zu bytes: at most %d are read", length,
                 MAX_HEADER);
    if (length > size - MAGIC_BYTES - width)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a .npy file cut short in its header: " REMEDY);
    const char *begin = (const char *)bytes + MAGIC_BYTES + width;
    *text = (scanner){begin, begin + length};
    *data_at = MAGIC_BYTES + width + length;
    return OSP_OK;
}

static osp_status find_type(const header *h, osp_dtype *out, osp_error *err)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strcmp(h->descr, npy_types[i].descr) == 0) {
            *out = npy_types[i].dtype;
            return OSP_OK;
        }
    if (h->descr[0] == '>')
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "a .npy array of type '%s', big endian: save it with .astype('<%s')", h->descr,
                 h->descr + 1);
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
             "a .npy array of type '%s': convert it to float32 or int64", h->descr);
}

// Bytes of the array, checked against the limit and what the file has.
static osp_status check_size(const osp_context *ctx, const header *h, size_t elem, size_t available,
                             size_t *out, osp_error *err)
{
    size_t bytes = elem;
    bool empty = false, fits = true;
    for (int32_t d = 0; d < h->rank; d++) {
        empty |= h->dims[d] == 0;
        fits &= h->dims[d] == 0 || osp_size_mul(bytes, (size_t)h->dims[d], &bytes);
    }
    if (!fits || bytes > PTRDIFF_MAX)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the .npy shape overflows: " REMEDY);
    if (empty)
        bytes = 0;
    if (bytes > ctx->limits.tensor_bytes)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 "a .npy array of %zu bytes, over the limit of %llu: raise osp_limits.tensor_bytes",
                 bytes, (unsigned long long)ctx->limits.tensor_bytes);
    if (bytes != available)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "a .npy file with %zu bytes of data where its shape needs %zu: " REMEDY, available,
                 bytes);
    *out = bytes;
    return OSP_OK;
}

static void fortran_strides(const header *h, size_t elem, int64_t *strides)
{
    int64_t step = (int64_t)elem;
    for (int32_t d = 0; d < h->rank; d++) {
        strides[d] = step;
        step *= h->dims[d];
    }
}

osp_status osp_npy_read(osp_context *ctx, const uint8_t *bytes, size_t size, osp_tensor *out,
                        osp_error *err)
{
    *out = (osp_tensor){0};
    scanner text;
    size_t data_at, total;
    OSP_TRY(find_header(bytes, size, &text, &data_at, err));
    header h;
    const bool parsed = parse_header(text, &h);
    osp_dtype dtype;
    if (h.has_descr && h.descr[0])
        OSP_TRY(find_type(&h, &dtype, err));
    if (!parsed)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "a .npy header that is not NumPy's: " REMEDY);
    OSP_TRY(find_type(&h, &dtype, err));
    if (h.rank > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "a .npy array of more than %d dims: reshape it",
                 OSP_MAX_RANK);
    const size_t elem = osp_dtype_bytes(dtype);
    OSP_TRY(check_size(ctx, &h, elem, size - data_at, &total, err));
    uint8_t *block = osp_mem_alloc(&ctx->mem, total);
    if (!block)
        OSP_FAIL_MEMORY(err);
    if (h.fortran && total) {
        int64_t strides[OSP_MAX_RANK];
        fortran_strides(&h, elem, strides);
        osp_strided_copy(block, bytes + data_at, elem, h.rank, h.dims, strides);
    } else if (total) {
        memcpy(block, bytes + data_at, total);
    }
    if (dtype == OSP_DTYPE_BOOL)  // a bool of another bit pattern would be undefined behaviour
        for (size_t i = 0; i < total; i++)
            block[i] = block[i] != 0;
    *out = (osp_tensor){.dtype = dtype, .rank = h.rank, .data = block};
    memcpy(out->dims, h.dims, sizeof out->dims);
    atomic_fetch_add(&ctx->bytes_read, size);
    return OSP_OK;
}

// ---- Writing ------------------------------------------------------------------------------------

osp_status osp_npy_write(osp_context *ctx, const char *path, const osp_tensor *tensor,
                         osp_error *err)
{
    const char *descr = NULL;
    for (size_t i = TYPE_COUNT; i-- > 0;)
        if (npy_types[i].dtype == tensor->dtype)
            descr = npy_types[i].descr;
    if (!descr)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "NumPy has no %s: write a .pb file instead",
                 osp_dtype_name(tensor->dtype));
    osp_dense dense;
    OSP_TRY(osp_dense_make(&dense, ctx, tensor, err));
    // Magic, version 1.0 and two bytes of length, then the dict; 64-byte aligned data after it.
    char head[512] = "\x93NUMPY\x01";
    const size_t room = sizeof head - 10;
    char *text = head + 10;
    int used = snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int32_t d = 0; d < tensor->rank; d++)
        used += snprintf(text + used, room - (size_t)used, "%lld%s", (long long)tensor->dims[d],
                         tensor->rank == 1      ? ","
                         : d + 1 < tensor->rank ? ", "
                                                : "");
    used += snprintf(text + used, room - (size_t)used, "), }");
    size_t length = (size_t)used + 1;
    length += (64 - (10 + length) % 64) % 64;
    memset(text + used, ' ', length - (size_t)used);
    text[length - 1] = '\n';
    head[8] = (char)(length & 0xFF);
    head[9] = (char)(length >> 8);
    const osp_bytes parts[] = {{head, 10 + length}, {dense.data, dense.bytes}};
    const osp_status status = osp_file_write(path, parts, 2, err);
    osp_dense_free(&dense, ctx);
    return status;
}
