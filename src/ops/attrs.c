// Attributes by table, from a file's AttributeProto. Thread rule: no state.
#include "ops/attrs.h"

// AttributeProto.AttributeType
enum {
    TYPE_FLOAT = 1,
    TYPE_INT = 2,
    TYPE_STRING = 3,
    TYPE_TENSOR = 4,
    TYPE_FLOATS = 6,
    TYPE_INTS = 7
};

static osp_status parse_list(const osp_op *op, const osp_attr_row *row, const osp_attr *attr,
                             char *field, osp_error *err)
{
    if (attr->count > row->capacity)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute '%s' of %s has %zu elements: at most %u fit",
                 row->name, op->type, attr->count, row->capacity);
    const int32_t count = (int32_t)attr->count;
    const void *from = row->kind == OSP_ATTR_INTS ? (const void *)attr->ints : attr->floats;
    memcpy(field, &count, sizeof count);
    memset(field + osp_attr_list_offset(row), 0, row->capacity * osp_attr_element_bytes(row));
    if (count)
        memcpy(field + osp_attr_list_offset(row), from, attr->count * osp_attr_element_bytes(row));
    return OSP_OK;
}

static osp_status parse_string(const osp_op *op, const osp_attr_row *row, const osp_attr *attr,
                               char *field, osp_error *err)
{
    const char *text = attr->s.data;
    const size_t size = attr->s.size;
    if (row->kind == OSP_ATTR_ENUM) {
        const int32_t index = size ? osp_attr_enum_index(row->names, text, size) : -1;
        if (index < 0)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "attribute '%s' of %s is \"%.*s\": known are %s",
                     row->name, op->type, (int)(size < 60 ? size : 60), size ? text : "",
                     row->names);
        memcpy(field, &index, sizeof index);
        return OSP_OK;
    }
    if (size >= row->capacity || (size && memchr(text, 0, size)))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "attribute '%s' of %s is a text of %zu bytes: at most %u without a 0 fit",
                 row->name, op->type, size, row->capacity - 1);
    memset(field, 0, row->capacity);
    if (size)
        memcpy(field, text, size);
    return OSP_OK;
}

static osp_status parse_scalar(const osp_op *op, const osp_attr_row *row, const osp_attr *attr,
                               char *field, osp_error *err)
{
    size_t count;
    if (attr->tensor_dtype == OSP_DTYPE_UNKNOWN)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "attribute '%s' of %s is a tensor of another type",
                 row->name, op->type);
    if (!osp_shape_count(&attr->tensor_shape, &count) || count != 1 || !attr->tensor_data)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute '%s' of %s needs a tensor of one element",
                 row->name, op->type);
    osp_scalar scalar = {.dtype = (int32_t)attr->tensor_dtype};
    memcpy(scalar.bytes, attr->tensor_data, osp_dtype_bytes(attr->tensor_dtype));
    if (attr->tensor_dtype == OSP_DTYPE_BOOL)
        scalar.bytes[0] = scalar.bytes[0] != 0;
    memcpy(field, &scalar, sizeof scalar);
    return OSP_OK;
}

static int32_t file_type(osp_attr_kind kind)
{
    switch (kind) {
    case OSP_ATTR_INT:
        return TYPE_INT;
    case OSP_ATTR_FLOAT:
        return TYPE_FLOAT;
    case OSP_ATTR_INTS:
        return TYPE_INTS;
    case OSP_ATTR_FLOATS:
        return TYPE_FLOATS;
    case OSP_ATTR_ENUM:
    case OSP_ATTR_STRING:
        return TYPE_STRING;
    case OSP_ATTR_SCALAR:
        return TYPE_TENSOR;
    case OSP_ATTR_IGNORED:
        break;
    }
    return 0;
}

static osp_status parse_one(const osp_op *op, const osp_attr_row *row, const osp_attr *attr,
                            void *attrs, osp_error *err)
{
    static const char *const type_names[] = {"undefined", "a float", "an int", "a string",
                                             "a tensor",  "a graph", "floats", "ints"};
    if (row->kind == OSP_ATTR_IGNORED)
        return OSP_OK;
    const int32_t type = file_type(row->kind);
    if (attr->type != type)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute '%s' of %s is %s: it must be %s", row->name,
                 op->type,
                 attr->type >= 0 && attr->type <= TYPE_INTS ? type_names[attr->type] : "a list",
                 type_names[type]);
    char *field = osp_attr_field(row, attrs);
    switch (row->kind) {
    case OSP_ATTR_INT:
        memcpy(field, &attr->i, sizeof attr->i);
        break;
    case OSP_ATTR_FLOAT:
        memcpy(field, &attr->f, sizeof attr->f);
        break;
    case OSP_ATTR_INTS:
    case OSP_ATTR_FLOATS:
        return parse_list(op, row, attr, field, err);
    case OSP_ATTR_ENUM:
    case OSP_ATTR_STRING:
        return parse_string(op, row, attr, field, err);
    case OSP_ATTR_SCALAR:
        return parse_scalar(op, row, attr, field, err);
    case OSP_ATTR_IGNORED:
        break;
    }
    return OSP_OK;
}

// The row of an attribute in this opset. `index` is its place in the table.
static osp_status find_row(const osp_op *op, int32_t opset, const char *name, size_t *index,
                           osp_error *err)
{
    const osp_attr_row *other = NULL;
    for (size_t r = 0; op->attr_table && op->attr_table[r].name; r++) {
        const osp_attr_row *row = op->attr_table + r;
        if (strcmp(row->name, name) != 0 || row->since == OSP_ATTR_INTERNAL)
            continue;
        if (opset >= row->since && (!row->until || opset <= row->until)) {
            *index = r;
            return OSP_OK;
        }
        other = row;
    }
    if (!other)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s has an attribute '%.80s' that is not known",
                 op->type, name);
    OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute '%s' of %s belongs to opsets %d to %d, not to %d",
             name, op->type, other->since ? other->since : 1, other->until ? other->until : 99,
             opset);
}

osp_status osp_attrs_parse(const osp_op *op, int32_t opset, const osp_attr *list, size_t count,
                           void *attrs, osp_error *err)
{
    uint64_t given = 0;
    osp_attr_defaults(op, attrs);
    for (size_t i = 0; i < count; i++) {
        size_t r = 0;
        OSP_TRY(find_row(op, opset, list[i].name, &r, err));
        if (given >> r & 1)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute '%s' of %s is given twice", list[i].name,
                     op->type);
        given |= UINT64_C(1) << r;
        OSP_TRY(parse_one(op, op->attr_table + r, list + i, attrs, err));
    }
    return op->settle ? op->settle(attrs, opset, given, err) : OSP_OK;
}
