// Attributes as text and back: what plans, problem texts and golden tests share. It does not depend
// on the locale, and reading it survives any terminated text. Thread rule: no state.
#include "ops/attrs.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "ops/view.h"

// ---- To text ------------------------------------------------------------------------------------

typedef struct writer {
    char *text;
    size_t size, length;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const size_t room = w->length < w->size ? w->size - w->length : 0;
    const int n = vsnprintf(room ? w->text + w->length : NULL, room, format, args);
    va_end(args);
    w->length += n > 0 ? (size_t)n : 0;
}

static bool read_float(const char **at, float *out);

// The shortest of %.1g to %.9g that reads back the same, with '.' whatever the locale says.
static void put_float(writer *w, float x)
{
    if (x != x || x - x != 0) {
        put(w, "%s", x != x ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    char text[48];
    for (int digits = 1; digits <= 9; digits++) {
        char raw[48];
        snprintf(raw, sizeof raw, "%.*g", digits, (double)x);
        size_t n = 0;
        for (const char *c = raw; *c; c++)
            if (strchr("0123456789+-e", *c))
                text[n++] = *c;
            else if (n && text[n - 1] != '.')
                text[n++] = '.';
        text[n] = 0;
        const char *at = text;
        float back;
        if (read_float(&at, &back) && osp_float_bits(back) == osp_float_bits(x))
            break;
    }
    put(w, "%s", text);
}

static void put_quoted(writer *w, const char *text, size_t capacity)
{
    put(w, "\"");
    for (size_t i = 0; i < capacity && text[i]; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            put(w, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            put(w, "\\x%02x", c);
        else
            put(w, "%c", c);
    }
    put(w, "\"");
}

static void put_scalar(writer *w, const osp_scalar *scalar)
{
    const osp_dtype dtype = (osp_dtype)scalar->dtype;
    uint64_t bytes;  // for its alignment
    memcpy(&bytes, scalar->bytes, sizeof bytes);
    if (!osp_dtype_bytes(dtype)) {
        put(w, "none");
        return;
    }
    put(w, "%s:", osp_dtype_name(dtype));
    if (osp_dtype_is_float(dtype))
        put_float(w, osp_load_float(dtype, &bytes, 0));
    else
        put(w, "%lld", (long long)osp_load_int(dtype, &bytes, 0));
}

static void put_list(writer *w, const osp_attr_row *row, const char *field)
{
    int32_t count;
    memcpy(&count, field, sizeof count);
    if (count < 0)
        put(w, "none");
    for (int32_t i = 0; i < count && (uint32_t)i < row->capacity; i++) {
        const char *at = field + osp_attr_list_offset(row) +
                         (size_t)i * osp_attr_element_bytes(row);
        put(w, "%s", i ? "," : "");
        if (row->kind == OSP_ATTR_INTS) {
            int64_t v;
            memcpy(&v, at, sizeof v);
            put(w, "%lld", (long long)v);
        } else {
            float v;
            memcpy(&v, at, sizeof v);
            put_float(w, v);
        }
    }
}

static void put_value(writer *w, const osp_attr_row *row, const char *field)
{
    int64_t i;
    float f;
    int32_t index;
    osp_scalar scalar;
    const char *name;
    size_t length;
    switch (row->kind) {
    case OSP_ATTR_INT:
        memcpy(&i, field, sizeof i);
        put(w, "%lld", (long long)i);
        break;
    case OSP_ATTR_FLOAT:
        memcpy(&f, field, sizeof f);
        put_float(w, f);
        break;
    case OSP_ATTR_INTS:
    case OSP_ATTR_FLOATS:
        put_list(w, row, field);
        break;
    case OSP_ATTR_ENUM:
        memcpy(&index, field, sizeof index);
        if (osp_attr_enum_name(row->names, index, &name, &length))
            put(w, "%.*s", (int)length, name);
        break;
    case OSP_ATTR_STRING:
        put_quoted(w, field, row->capacity);
        break;
    case OSP_ATTR_SCALAR:
        memcpy(&scalar, field, sizeof scalar);
        put_scalar(w, &scalar);
        break;
    case OSP_ATTR_IGNORED:
        break;
    }
}

// Bytes of a field that its value consists of.
static size_t value_bytes(const osp_attr_row *row, const char *field)
{
    int32_t count;
    switch (row->kind) {
    case OSP_ATTR_INT:
        return sizeof(int64_t);
    case OSP_ATTR_FLOAT:
    case OSP_ATTR_ENUM:
        return sizeof(int32_t);
    case OSP_ATTR_INTS:
    case OSP_ATTR_FLOATS:
        memcpy(&count, field, sizeof count);
        return count <= 0 ? 0 : (size_t)count * osp_attr_element_bytes(row);
    case OSP_ATTR_STRING:
        return strnlen(field, row->capacity);
    case OSP_ATTR_SCALAR:
        return sizeof(osp_scalar);
    case OSP_ATTR_IGNORED:
        break;
    }
    return 0;
}

static bool is_default(const osp_op *op, const osp_attr_row *row, const char *field)
{
    const char *other = op->defaults ? (const char *)op->defaults + row->offset : NULL;
    const size_t n = value_bytes(row, field);
    const bool list = row->kind == OSP_ATTR_INTS || row->kind == OSP_ATTR_FLOATS;
    if (list) {
        int32_t count, other_count = 0;
        memcpy(&count, field, sizeof count);
        if (other)
            memcpy(&other_count, other, sizeof other_count);
        if (count != other_count)
            return false;
        field += osp_attr_list_offset(row);
        other = other ? other + osp_attr_list_offset(row) : NULL;
    } else if (row->kind == OSP_ATTR_STRING && other && strnlen(other, row->capacity) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (field[i] != (other ? other[i] : 0))
            return false;
    return true;
}

size_t osp_attrs_print(const osp_op *op, const void *attrs, char *out, size_t size)
{
    writer w = {out, size, 0};
    if (size)
        out[0] = 0;
    for (const osp_attr_row *row = op->attr_table; row && row->name; row++) {
        const char *field = (const char *)attrs + row->offset;
        if (row->kind == OSP_ATTR_IGNORED || is_default(op, row, field))
            continue;
        put(&w, " %s=", row->name);
        put_value(&w, row, field);
    }
    return w.length;
}

// ---- From text ----------------------------------------------------------------------------------

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool read_int(const char **at, int64_t *out)
{
    const char *c = *at;
    const bool minus = *c == '-';
    int64_t value = 0;
    if (minus)
        c++;
    if (!is_digit(*c))
        return false;
    for (; is_digit(*c); c++)
        if (!osp_i64_mul(value, 10, &value) ||
            !(minus ? osp_i64_sub(value, *c - '0', &value) : osp_i64_add(value, *c - '0', &value)))
            return false;
    *at = c;
    *out = value;
    return true;
}

static bool read_word(const char **at, const char *word)
{
    const size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return false;
    *at += n;
    return true;
}

// Decimal to float: right for the at most 9 digits that put_float writes (the double in between is
// much finer than half the distance of two floats), near for longer ones.
static bool read_float(const char **at, float *out)
{
    const char *c = *at;
    const bool minus = *c == '-';
    if (minus)
        c++;
    double value = 0;
    if (read_word(&c, "inf")) {
        value = HUGE_VAL;
    } else if (read_word(&c, "nan")) {
        value = NAN;
    } else {
        int64_t digits = 0;
        int exponent = 0, seen = 0;
        bool point = false;
        for (; is_digit(*c) || (*c == '.' && !point); c++) {
            if (*c == '.') {
                point = true;
                continue;
            }
            seen = 1;
            if (digits < INT64_C(100000000000000000)) {
                digits = digits * 10 + (*c - '0');
                exponent -= point;
            } else if (exponent < 10000) {
                exponent += !point;
            }
        }
        if (!seen)
            return false;
        if (*c == 'e') {
            int64_t e;
            c++;
            if (*c == '+')
                c++;
            if (!read_int(&c, &e))
                return false;
            exponent += (int)osp_i64_max(-10000, osp_i64_min(10000, e));
        }
        value = (double)digits;
        for (; exponent > 0 && value < 1e300 && value > 0; exponent--)
            value *= 10;
        double scale = 1;
        for (; exponent < 0 && scale < 1e300; exponent++)
            scale *= 10;
        value = exponent < 0 ? 0 : value / scale;
    }
    *at = c;
    if (value > 3.5e38)
        value = HUGE_VAL;
    *out = (float)(minus ? -value : value);
    return true;
}

static bool scan_list(const osp_attr_row *row, const char **at, char *field)
{
    int32_t count = 0;
    memset(field + osp_attr_list_offset(row), 0, row->capacity * osp_attr_element_bytes(row));
    if (read_word(at, "none")) {
        count = -1;
    } else if (**at && **at != ' ') {
        do {
            if ((uint32_t)count >= row->capacity)
                return false;
            char *to = field + osp_attr_list_offset(row) +
                       (size_t)count * osp_attr_element_bytes(row);
            int64_t i;
            float f;
            if (row->kind == OSP_ATTR_INTS) {
                if (!read_int(at, &i))
                    return false;
                memcpy(to, &i, sizeof i);
            } else {
                if (!read_float(at, &f))
                    return false;
                memcpy(to, &f, sizeof f);
            }
            count++;
        } while (read_word(at, ","));
    }
    memcpy(field, &count, sizeof count);
    return true;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool scan_quoted(const osp_attr_row *row, const char **at, char *field)
{
    const char *c = *at;
    size_t n = 0;
    if (*c++ != '"')
        return false;
    memset(field, 0, row->capacity);
    for (; *c != '"'; c++) {
        int code = (unsigned char)*c;
        if (code < 0x20 || code >= 0x7f)
            return false;  // the end of the text, too
        if (code == '\\') {
            c++;
            if (*c == 'x' && hex_digit(c[1]) >= 0 && hex_digit(c[2]) >= 0) {
                code = hex_digit(c[1]) * 16 + hex_digit(c[2]);
                c += 2;
            } else if (*c == '"' || *c == '\\') {
                code = (unsigned char)*c;
            } else {
                return false;
            }
        }
        if (n + 1 >= row->capacity || code == 0)
            return false;
        field[n++] = (char)code;
    }
    *at = c + 1;
    return true;
}

static bool scan_scalar(const char **at, char *field)
{
    osp_scalar scalar = {0};
    uint64_t bytes = 0;
    if (!read_word(at, "none")) {
        osp_dtype dtype = OSP_DTYPE_UNKNOWN;
        for (int32_t d = OSP_DTYPE_FLOAT32; d <= OSP_DTYPE_BOOL && !dtype; d++)
            if (read_word(at, osp_dtype_name((osp_dtype)d)))
                dtype = (osp_dtype)d;
        float f;
        int64_t i;
        if (!dtype || !read_word(at, ":"))
            return false;
        if (osp_dtype_is_float(dtype)) {
            if (!read_float(at, &f))
                return false;
            osp_store_float(dtype, &bytes, 0, f);
        } else {
            if (!read_int(at, &i))
                return false;
            osp_store_int(dtype, &bytes, 0, i);
            if (osp_load_int(dtype, &bytes, 0) != i)
                return false;
        }
        scalar.dtype = (int32_t)dtype;
    }
    memcpy(scalar.bytes, &bytes, sizeof bytes);
    memcpy(field, &scalar, sizeof scalar);
    return true;
}

static bool scan_value(const osp_attr_row *row, const char **at, char *field)
{
    int64_t i;
    float f;
    int32_t index;
    size_t length;
    switch (row->kind) {
    case OSP_ATTR_INT:
        if (!read_int(at, &i))
            return false;
        memcpy(field, &i, sizeof i);
        return true;
    case OSP_ATTR_FLOAT:
        if (!read_float(at, &f))
            return false;
        memcpy(field, &f, sizeof f);
        return true;
    case OSP_ATTR_INTS:
    case OSP_ATTR_FLOATS:
        return scan_list(row, at, field);
    case OSP_ATTR_ENUM:
        length = strcspn(*at, " ");
        index = osp_attr_enum_index(row->names, *at, length);
        if (index < 0)
            return false;
        memcpy(field, &index, sizeof index);
        *at += length;
        return true;
    case OSP_ATTR_STRING:
        return scan_quoted(row, at, field);
    case OSP_ATTR_SCALAR:
        return scan_scalar(at, field);
    case OSP_ATTR_IGNORED:
        break;
    }
    return false;
}

osp_status osp_attrs_scan(const osp_op *op, const char *text, void *attrs, osp_error *err)
{
    uint64_t given = 0;
    osp_attr_defaults(op, attrs);
    for (const char *at = text;;) {
        at += strspn(at, " ");
        if (!*at)
            return OSP_OK;
        const char *token = at;
        const size_t length = strcspn(at, "= ");
        size_t r = 0;
        const osp_attr_row *row = op->attr_table;
        for (; row && row->name; row++, r++)
            if (strlen(row->name) == length && memcmp(row->name, at, length) == 0)
                break;
        at += length;
        if (!row || !row->name || *at++ != '=' || given >> r & 1 ||
            !scan_value(row, &at, osp_attr_field(row, attrs)) || (*at && *at != ' '))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "attributes of %s: not understood at \"%.60s\"",
                     op->type, token);
        given |= UINT64_C(1) << r;
    }
}
