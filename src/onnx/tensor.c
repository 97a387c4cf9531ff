// See tensor.h: one pass collects and counts, then the meaning is checked, then the data is either
// seen in place (raw_data, one packed float_data) or decoded by a second pass.
#include "onnx/tensor.h"

#include <stdio.h>
#include <string.h>

#include "onnx/proto.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little endian, seen in place");

#define REMEDY "export the model again"
#define NAME_FORMAT "tensor '%.*s'"
#define NAME_OF(t) (int)((t)->name.size < 64 ? (t)->name.size : 64), (const char *)(t)->name.data

static const char *const elem_names[] = {
    "undefined",      "float32",    "uint8",          "int8",       "uint16",   "int16",
    "int32",          "int64",      "string",         "bool",       "float16",  "double",
    "uint32",         "uint64",     "complex64",      "complex128", "bfloat16", "float8e4m3fn",
    "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4",      "int4",     "float4e2m1",
};

const char *osp_onnx_elem_text(int32_t elem, char *text, size_t size)
{
    const bool named = elem >= 0 && (size_t)elem < sizeof elem_names / sizeof elem_names[0];
    snprintf(text, size, "data type %d (%s)", elem, named ? elem_names[elem] : "not known");
    return text;
}

osp_dtype osp_onnx_elem_dtype(int64_t elem)
{
    switch (elem) {
    case ELEM_FLOAT:
        return OSP_DTYPE_FLOAT32;
    case ELEM_UINT8:
        return OSP_DTYPE_UINT8;
    case ELEM_INT8:
        return OSP_DTYPE_INT8;
    case ELEM_INT32:
        return OSP_DTYPE_INT32;
    case ELEM_INT64:
        return OSP_DTYPE_INT64;
    case ELEM_BOOL:
        return OSP_DTYPE_BOOL;
    case ELEM_FLOAT16:
        return OSP_DTYPE_FLOAT16;
    case ELEM_BFLOAT16:
        return OSP_DTYPE_BFLOAT16;
    default:
        return OSP_DTYPE_UNKNOWN;
    }
}

int32_t osp_onnx_dtype_elem(osp_dtype dtype)
{
    for (int32_t elem = ELEM_FLOAT; elem <= ELEM_BFLOAT16; elem++)
        if (dtype != OSP_DTYPE_UNKNOWN && osp_onnx_elem_dtype(elem) == dtype)
            return elem;
    return ELEM_UNDEFINED;
}

// ---- Parsing ------------------------------------------------------------------------------------

// What the first pass finds.
typedef struct found {
    size_t dims;
    bool raw, segment;
    osp_bytes raw_data, packed_floats;
    size_t float_records, floats, int32s, int64s, others;
} found;

static osp_status collect_dim(osp_onnx_tensor *t, found *f, const osp_wire_field *field)
{
    osp_wire_list list = osp_wire_list_open(field, OSP_WIRE_VARINT);
    uint64_t value;
    while (osp_wire_list_next(&list, &value)) {
        if (f->dims < OSP_MAX_RANK)
            t->shape.dims[f->dims] = (int64_t)value;
        f->dims++;
    }
    return OSP_OK;
}

static osp_status collect_field(osp_onnx_tensor *t, found *f, const osp_wire *wire,
                                const osp_wire_field *field, osp_error *err)
{
    int64_t number = 0;
    size_t unused = 0;
    switch (field->number) {
    case TENSOR_DIMS:
        OSP_TRY(osp_wire_count(wire, field, OSP_WIRE_VARINT, &unused, err));
        return collect_dim(t, f, field);
    case TENSOR_DATA_TYPE:
        OSP_TRY(osp_wire_int(wire, field, &number, err));
        t->elem = number < 0 || number > INT32_MAX ? INT32_MAX : (int32_t)number;
        return OSP_OK;
    case TENSOR_SEGMENT:
        f->segment = true;
        return OSP_OK;
    case TENSOR_NAME:
        return osp_wire_name(wire, field, &t->name, err);
    case TENSOR_RAW_DATA:
        f->raw = true;
        return osp_wire_bytes(wire, field, &f->raw_data, err);
    case TENSOR_FLOAT_DATA:
        f->float_records++;
        f->packed_floats = field->bytes;
        return osp_wire_count(wire, field, OSP_WIRE_FIXED32, &f->floats, err);
    case TENSOR_INT32_DATA:
        return osp_wire_count(wire, field, OSP_WIRE_VARINT, &f->int32s, err);
    case TENSOR_INT64_DATA:
        return osp_wire_count(wire, field, OSP_WIRE_VARINT, &f->int64s, err);
    case TENSOR_STRING_DATA:
        f->others++;
        return osp_wire_expect(wire, field, OSP_WIRE_LENGTH, err);
    case TENSOR_DOUBLE_DATA:
        return osp_wire_count(wire, field, OSP_WIRE_FIXED64, &f->others, err);
    case TENSOR_UINT64_DATA:
        return osp_wire_count(wire, field, OSP_WIRE_VARINT, &f->others, err);
    case TENSOR_DATA_LOCATION:
        OSP_TRY(osp_wire_int(wire, field, &number, err));
        if (number != 0 && number != 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT ": data_location %lld: " REMEDY, NAME_OF(t),
                     (long long)number);
        t->external = number == 1;
        return OSP_OK;
    default:
        return OSP_OK;
    }
}

static osp_status check_shape(osp_onnx_tensor *t, const found *f, const osp_limits *limits,
                              osp_error *err)
{
    if (f->dims > OSP_MAX_RANK)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, NAME_FORMAT " has %zu dims: at most %d are supported",
                 NAME_OF(t), f->dims, OSP_MAX_RANK);
    t->shape.rank = (int32_t)f->dims;
    for (int32_t i = 0; i < t->shape.rank; i++)
        if (t->shape.dims[i] < 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT ": dim %d is %lld, negative: " REMEDY,
                     NAME_OF(t), i, (long long)t->shape.dims[i]);
    char text[96];
    if (!osp_shape_count(&t->shape, &t->count))
        OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT ": dims %s overflow: " REMEDY, NAME_OF(t),
                 osp_shape_text(&t->shape, text, sizeof text));
    if (t->elem == ELEM_UNDEFINED)
        OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT " has no data type: " REMEDY, NAME_OF(t));
    t->dtype = osp_onnx_elem_dtype(t->elem);
    if (t->dtype == OSP_DTYPE_UNKNOWN)
        return OSP_OK;
    if (!osp_shape_bytes(&t->shape, t->dtype, &t->bytes) || t->bytes > limits->tensor_bytes)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 NAME_FORMAT ": dims %s of %s are over the limit of %llu bytes: raise "
                             "osp_limits.tensor_bytes",
                 NAME_OF(t), osp_shape_text(&t->shape, text, sizeof text), osp_dtype_name(t->dtype),
                 (unsigned long long)limits->tensor_bytes);
    return OSP_OK;
}

// The typed field that the type's elements lie in has as many as the dims say, all others none.
static osp_status check_typed(osp_onnx_tensor *t, const found *f, osp_error *err)
{
    char text[96];
    const bool floats = t->dtype == OSP_DTYPE_FLOAT32, longs = t->dtype == OSP_DTYPE_INT64;
    const size_t own = floats ? f->floats : longs ? f->int64s : f->int32s;
    if (f->floats + f->int32s + f->int64s + f->others != own)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 NAME_FORMAT ": its data is of another type than %s: " REMEDY, NAME_OF(t),
                 osp_dtype_name(t->dtype));
    if (own != t->count)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 NAME_FORMAT " has %zu elements, its dims %s need %zu: " REMEDY, NAME_OF(t), own,
                 osp_shape_text(&t->shape, text, sizeof text), t->count);
    if (floats && f->float_records == 1 && f->packed_floats.size)
        t->dense = f->packed_floats;
    return OSP_OK;
}

static osp_status check_data(osp_onnx_tensor *t, const found *f, osp_error *err)
{
    char text[96];
    const size_t typed = f->floats + f->int32s + f->int64s + f->others;
    if (f->segment)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, NAME_FORMAT " comes in segments: " REMEDY, NAME_OF(t));
    if (t->external) {
        if (typed || (f->raw && f->raw_data.size))
            OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT " has external and own data: " REMEDY,
                     NAME_OF(t));
        return OSP_OK;
    }
    if (f->raw && typed)
        OSP_FAIL(err, OSP_ERROR_FORMAT, NAME_FORMAT " has raw_data and typed data: " REMEDY,
                 NAME_OF(t));
    if (t->dtype == OSP_DTYPE_UNKNOWN)
        return OSP_OK;
    if (!f->raw)
        return check_typed(t, f, err);
    if (f->raw_data.size != t->bytes)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 NAME_FORMAT ": raw_data has %zu bytes, its dims %s of %s need %zu: " REMEDY,
                 NAME_OF(t), f->raw_data.size, osp_shape_text(&t->shape, text, sizeof text),
                 osp_dtype_name(t->dtype), t->bytes);
    t->dense = f->raw_data;
    return OSP_OK;
}

osp_status osp_onnx_tensor_parse(osp_onnx_tensor *out, const osp_limits *limits, osp_bytes message,
                                 osp_error *err)
{
    *out = (osp_onnx_tensor){.message = message, .name = {"", 0}};
    found f = {0};
    osp_wire wire = osp_wire_open(message, "TensorProto");
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        OSP_TRY(collect_field(out, &f, &wire, &field, err));
    }
    OSP_TRY(check_shape(out, &f, limits, err));
    return check_data(out, &f, err);
}

// ---- Decoding -----------------------------------------------------------------------------------

// Stores one element of an int32_data or int64_data field; false: out of the type's range.
static bool store_integer(osp_dtype dtype, void *dst, size_t i, uint64_t value)
{
    const int64_t v = (int64_t)value;
    switch (dtype) {
    case OSP_DTYPE_INT64:
        ((int64_t *)dst)[i] = v;
        return true;
    case OSP_DTYPE_INT32:
        ((int32_t *)dst)[i] = (int32_t)(uint32_t)value;  // protobuf cuts an int32 to 32 bits
        return v >= INT32_MIN && v <= (int64_t)UINT32_MAX;
    case OSP_DTYPE_UINT8:
        ((uint8_t *)dst)[i] = (uint8_t)v;
        return v >= 0 && v <= UINT8_MAX;
    case OSP_DTYPE_INT8:
        ((int8_t *)dst)[i] = (int8_t)v;
        return v >= INT8_MIN && v <= INT8_MAX;
    case OSP_DTYPE_BOOL:
        ((uint8_t *)dst)[i] = v != 0;
        return v == 0 || v == 1;
    case OSP_DTYPE_FLOAT16:
    case OSP_DTYPE_BFLOAT16:
        ((uint16_t *)dst)[i] = (uint16_t)v;
        return v >= 0 && v <= UINT16_MAX;
    default:
        return false;
    }
}

static osp_status fill_typed(const osp_onnx_tensor *t, void *dst, osp_error *err)
{
    const bool floats = t->dtype == OSP_DTYPE_FLOAT32;
    const uint32_t number = floats                        ? TENSOR_FLOAT_DATA
                            : t->dtype == OSP_DTYPE_INT64 ? TENSOR_INT64_DATA
                                                          : TENSOR_INT32_DATA;
    const uint32_t type = floats ? OSP_WIRE_FIXED32 : OSP_WIRE_VARINT;
    osp_wire wire = osp_wire_open(t->message, "TensorProto");
    size_t i = 0;
    for (;;) {
        osp_wire_field field;
        OSP_TRY(osp_wire_next(&wire, &field, err));
        if (!field.number)
            break;
        if (field.number != number)
            continue;
        osp_wire_list list = osp_wire_list_open(&field, type);
        uint64_t value;
        while (i < t->count && osp_wire_list_next(&list, &value)) {
            if (floats) {
                const uint32_t bits = (uint32_t)value;
                memcpy((char *)dst + i * sizeof bits, &bits, sizeof bits);
            } else if (!store_integer(t->dtype, dst, i, value)) {
                OSP_FAIL(err, OSP_ERROR_FORMAT,
                         NAME_FORMAT ": element %zu, %lld, is no %s: " REMEDY, NAME_OF(t), i,
                         (long long)value, osp_dtype_name(t->dtype));
            }
            i++;
        }
    }
    if (i < t->count)  // only if the file is changed while it is read
        OSP_FAIL(err, OSP_ERROR_IO, NAME_FORMAT " changed while it was read: try again",
                 NAME_OF(t));
    return OSP_OK;
}

osp_status osp_onnx_tensor_fill(const osp_onnx_tensor *tensor, void *dst, osp_error *err)
{
    if (tensor->bytes == 0)
        return OSP_OK;
    if (!tensor->dense.data)
        return fill_typed(tensor, dst, err);
    memcpy(dst, tensor->dense.data, tensor->bytes);
    if (tensor->dtype == OSP_DTYPE_BOOL)
        osp_onnx_bools_clean(dst, tensor->count);
    return OSP_OK;
}

bool osp_onnx_bools_dirty(const void *data, size_t count)
{
    const uint8_t *at = data;
    uint8_t seen = 0;
    for (size_t i = 0; i < count; i++)
        seen |= at[i];
    return seen > 1;
}

void osp_onnx_bools_clean(void *data, size_t count)
{
    uint8_t *at = data;
    for (size_t i = 0; i < count; i++)
        at[i] = at[i] != 0;
}
