// A bounded reader of dict and list literals. Two passes over the text: the first checks it and
// counts, the second fills one block. No recursion. Thread rule: any thread.
#include "vision/names.h"

#include <string.h>

typedef struct reader {
    const char *text, *at;
    osp_error *err;
    char **name;     // NULL in the first pass
    char *room;      // where the next name's bytes go
    size_t bytes;    // of all names, their zeros included
    int32_t count;   // highest number + 1
    int64_t listed;  // names so far
} reader;

static osp_status malformed(const reader *r, const char *expected)
{
    OSP_FAIL(r->err, OSP_ERROR_FORMAT, "class names: expected %s at byte %zu", expected,
             (size_t)(r->at - r->text));
}

static void skip_space(reader *r)
{
    r->at += strspn(r->at, " \t\r\n");
}

static bool take(reader *r, char c)
{
    skip_space(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

static void put(reader *r, const char *bytes, size_t size)
{
    if (r->name) {
        memcpy(r->room, bytes, size);
        r->room += size;
    }
    r->bytes += size;
}

static void put_code(reader *r, uint32_t code)
{
    char u[4];
    if (code < 0x20 || code == 0x7F || (code >= 0x80 && code < 0xA0) ||
        (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF) {
        put(r, "?", 1);
    } else if (code < 0x80) {
        u[0] = (char)code;
        put(r, u, 1);
    } else if (code < 0x800) {
        u[0] = (char)(0xC0 | code >> 6);
        u[1] = (char)(0x80 | (code & 63));
        put(r, u, 2);
    } else if (code < 0x10000) {
        u[0] = (char)(0xE0 | code >> 12);
        u[1] = (char)(0x80 | (code >> 6 & 63));
        u[2] = (char)(0x80 | (code & 63));
        put(r, u, 3);
    } else {
        u[0] = (char)(0xF0 | code >> 18);
        u[1] = (char)(0x80 | (code >> 12 & 63));
        u[2] = (char)(0x80 | (code >> 6 & 63));
        u[3] = (char)(0x80 | (code & 63));
        put(r, u, 4);
    }
}

// One character of UTF-8, made sure of; returns the bytes it took. Stops at a zero byte.
static size_t copy_utf8(reader *r, const char *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)text;
    const size_t length = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    uint32_t code = length == 1 ? p[0] : p[0] & (0x7Fu >> length);
    bool good = p[0] < 0x80 || (p[0] >= 0xC2 && p[0] < 0xF5);
    for (size_t i = 1; good && i < length; i++) {
        good = (p[i] & 0xC0) == 0x80;
        code = code << 6 | (p[i] & 63);
    }
    if (!good || code < least[length]) {
        put(r, "?", 1);
        return 1;
    }
    put_code(r, code);
    return length;
}

static bool hex_code(const char *p, int digits, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < digits; i++) {
        const char c = p[i];
        const int v = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (v < 0)
            return false;
        *code = *code << 4 | (uint32_t)v;
    }
    return true;
}

// After a backslash. A pair of \u surrogates is one character.
static osp_status take_escape(reader *r)
{
    const char c = *r->at++;
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits) {
        uint32_t code, low;
        if (!hex_code(r->at, digits, &code))
            return malformed(r, "hexadecimal digits");
        r->at += digits;
        if (code >= 0xD800 && code < 0xDC00 && r->at[0] == '\\' && r->at[1] == 'u' &&
            hex_code(r->at + 2, 4, &low) && low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            r->at += 6;
        }
        put_code(r, code);
        return OSP_OK;
    }
    if (!c || !strchr("\\'\"/nrtbfav", c)) {
        r->at--;
        return malformed(r, "an escape");
    }
    put_code(r, strchr("\\'\"/", c) ? (uint32_t)(uint8_t)c : (uint32_t)' ');
    return OSP_OK;
}

static osp_status take_string(reader *r)
{
    skip_space(r);
    const char quote = *r->at;
    if (quote != '\'' && quote != '"')
        return malformed(r, "a quoted name");
    r->at++;
    while (*r->at != quote) {
        if (!*r->at)
            return malformed(r, "a closing quote");
        if (*r->at == '\\') {
            r->at++;
            OSP_TRY(take_escape(r));
        } else {
            r->at += copy_utf8(r, r->at);
        }
    }
    r->at++;
    put(r, "", 1);
    return OSP_OK;
}

static osp_status take_key(reader *r, int32_t *key)
{
    skip_space(r);
    const char quote = *r->at == '\'' || *r->at == '"' ? *r->at++ : 0;
    if (*r->at < '0' || *r->at > '9')
        return malformed(r, "a class number");
    int32_t value = 0;
    while (*r->at >= '0' && *r->at <= '9') {
        value = value * 10 + (*r->at - '0');
        if (value >= OSP_NAMES_MAX)
            OSP_FAIL(r->err, OSP_ERROR_LIMIT, "class names: numbers go up to %d",
                     (int)OSP_NAMES_MAX - 1);
        r->at++;
    }
    if (quote && *r->at++ != quote) {
        r->at--;
        return malformed(r, "a closing quote");
    }
    if (!take(r, ':'))
        return malformed(r, "':'");
    *key = value;
    return OSP_OK;
}

static osp_status take_entry(reader *r, bool dict)
{
    int32_t key = (int32_t)r->listed;
    if (r->listed >= OSP_NAMES_MAX)
        OSP_FAIL(r->err, OSP_ERROR_LIMIT, "class names: more than %d", (int)OSP_NAMES_MAX);
    if (dict)
        OSP_TRY(take_key(r, &key));
    char *start = r->room;
    OSP_TRY(take_string(r));
    r->listed++;
    if (r->name)
        r->name[key] = start;  // the last of equal numbers counts, as in Python
    if (key >= r->count)
        r->count = key + 1;
    return OSP_OK;
}

static osp_status take_all(reader *r)
{
    r->at = r->text;
    r->bytes = 0;
    r->listed = 0;
    const bool dict = take(r, '{');
    if (!dict && !take(r, '['))
        return malformed(r, "'{' or '['");
    const char close = dict ? '}' : ']';
    while (!take(r, close)) {
        OSP_TRY(take_entry(r, dict));
        if (take(r, ','))
            continue;
        if (!take(r, close))
            return malformed(r, "',' or the end of the list");
        break;
    }
    skip_space(r);
    return *r->at ? malformed(r, "nothing more") : OSP_OK;
}

// One block: `count` pointers, all NULL, then room for `bytes` of text.
static osp_status make_block(osp_names *out, osp_mem *mem, int32_t count, size_t bytes, char **room,
                             osp_error *err)
{
    const size_t table = (size_t)count * sizeof *out->name;
    out->name = osp_mem_calloc(mem, 1, table + bytes);
    if (!out->name)
        OSP_FAIL_MEMORY(err);
    out->count = count;
    *room = (char *)out->name + table;
    return OSP_OK;
}

osp_status osp_names_parse(osp_names *out, osp_mem *mem, const char *text, osp_error *err)
{
    *out = (osp_names){0};
    reader r = {.text = text, .err = err};
    OSP_TRY(take_all(&r));
    if (r.count == 0)
        return OSP_OK;
    OSP_TRY(make_block(out, mem, r.count, r.bytes, &r.room, err));
    r.name = out->name;
    return take_all(&r);  // cannot fail: it did not before
}

static size_t line_length(const char *text, const char *end)
{
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return (size_t)((newline ? newline : end) - text);
}

// Lines longer than this are no class names.
enum { LINE_MAX_BYTES = 1024 };

static osp_status take_lines(reader *r, const char *end)
{
    r->bytes = 0;
    r->listed = 0;
    for (const char *line = r->text; line < end; line += line_length(line, end) + 1) {
        char copy[LINE_MAX_BYTES + 4] = {0};
        size_t length = line_length(line, end);
        while (length && (line[length - 1] == '\r' || line[length - 1] == ' '))
            length--;
        if (length > LINE_MAX_BYTES || r->listed >= OSP_NAMES_MAX)
            OSP_FAIL(r->err, OSP_ERROR_LIMIT,
                     "class names: line %lld: at most %d lines of %d bytes",
                     (long long)r->listed + 1, (int)OSP_NAMES_MAX, (int)LINE_MAX_BYTES);
        memcpy(copy, line, length);
        char *start = r->room;
        for (size_t i = 0; i < length;)
            i += copy[i] ? copy_utf8(r, copy + i) : (put(r, "?", 1), (size_t)1);
        put(r, "", 1);
        if (r->name)
            r->name[r->listed] = length ? start : NULL;
        r->listed++;
    }
    return OSP_OK;
}

osp_status osp_names_parse_lines(osp_names *out, osp_mem *mem, const char *text, size_t size,
                                 osp_error *err)
{
    *out = (osp_names){0};
    while (size && strchr("\r\n ", text[size - 1]) && text[size - 1])
        size--;
    reader r = {.text = text, .err = err};
    if (size == 0)
        return OSP_OK;
    OSP_TRY(take_lines(&r, text + size));
    OSP_TRY(make_block(out, mem, (int32_t)r.listed, r.bytes, &r.room, err));
    r.name = out->name;
    return take_lines(&r, text + size);
}

void osp_names_free(osp_names *names, osp_mem *mem)
{
    osp_mem_free(mem, names->name);
    *names = (osp_names){0};
}
