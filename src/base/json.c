// See json.h. A nested value is skipped with a stack of bits, one for each bracket that is open.
#include "base/json.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

// Past the closing quote; NULL: it is not there.
static const char *skip_string(const char *at, const char *end)
{
    if (at == end || *at != '"')
        return NULL;
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && ++at == end)
            return NULL;
    return at < end ? at + 1 : NULL;
}

static bool ends_scalar(char c)
{
    return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Past one value of any kind; NULL: malformed, or nested too deep.
static const char *skip_value(const char *at, const char *end)
{
    uint64_t braces = 0;  // bit d: the bracket at depth d is a brace
    int depth = 0;
    do {
        at = skip_space(at, end);
        if (at == end)
            return NULL;
        if (*at == '{' || *at == '[') {
            if (depth == DEPTH_MAX)
                return NULL;
            const uint64_t bit = UINT64_C(1) << depth;
            braces = *at == '{' ? braces | bit : braces & ~bit;
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (!depth || (braces >> (depth - 1) & 1) != (*at == '}'))
                return NULL;
            depth--;
            at++;
        } else if (*at == '"') {
            at = skip_string(at, end);
            if (!at)
                return NULL;
        } else if (depth && (*at == ',' || *at == ':')) {
            at++;
        } else {
            const char *start = at;
            while (at < end && !ends_scalar(*at) && *at != ':')
                at++;
            if (at == start)
                return NULL;
        }
    } while (depth);
    return at;
}

osp_json_members osp_json_open(osp_json_span object)
{
    const char *text = object.text ? object.text : "";  // nothing at all is no object
    osp_json_members m = {.end = text + object.size, .first = true};
    m.at = skip_space(text, m.end);
    m.failed = m.at == m.end || *m.at != '{';
    m.at += !m.failed;
    return m;
}

bool osp_json_next(osp_json_members *m, osp_json_span *key, osp_json_span *value)
{
    if (m->failed)
        return false;
    const char *at = skip_space(m->at, m->end);
    if (at < m->end && *at == '}') {
        m->at = at;
        return false;
    }
    m->failed = true;
    if (!m->first) {
        if (at == m->end || *at != ',')
            return false;
        at = skip_space(at + 1, m->end);
    }
    m->first = false;
    const char *past = skip_string(at, m->end);
    if (!past)
        return false;
    *key = (osp_json_span){at, (size_t)(past - at)};
    at = skip_space(past, m->end);
    if (at == m->end || *at != ':')
        return false;
    at = skip_space(at + 1, m->end);
    past = skip_value(at, m->end);
    if (!past)
        return false;
    *value = (osp_json_span){at, (size_t)(past - at)};
    m->at = past;
    m->failed = false;
    return true;
}

bool osp_json_find(osp_json_span object, const char *key, osp_json_span *value)
{
    const size_t length = strlen(key);
    osp_json_members m = osp_json_open(object);
    osp_json_span name;
    while (osp_json_next(&m, &name, value))
        if (name.size == length + 2 && !memcmp(name.text + 1, key, length))
            return true;
    return false;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// UTF-8 of \uXXXX at `at` (after the u); how many bytes, at most 3.
static size_t unescape(const char *at, const char *end, char out[3])
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = at + i < end ? hex(at[i]) : -1;
        code = digit < 0 ? 0 : code << 4 | (uint32_t)digit;
    }
    if (code < 0x20 || code == 0x7F || (code >= 0xD800 && code < 0xE000)) {
        out[0] = '?';
        return 1;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 63));
        return 2;
    }
    out[0] = (char)(0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 63));
    out[2] = (char)(0x80 | (code & 63));
    return 3;
}

char *osp_json_text(osp_json_span value, char *out, size_t size)
{
    const char *at = value.text, *end = at + value.size;
    const bool quoted = value.size >= 2 && *at == '"';
    if (quoted) {
        at++;
        end--;
    }
    size_t used = 0;
    while (at < end) {
        char piece[3] = {*at};
        size_t length = 1, taken = 1;
        if (quoted && *at == '\\' && at + 1 < end) {
            static const char names[] = "nrtbf";
            taken = 2;
            piece[0] = strchr(names, at[1]) ? ' ' : at[1];
            if (at[1] == 'u') {
                length = unescape(at + 2, end, piece);
                taken = (size_t)(end - at) < 6 ? (size_t)(end - at) : 6;
            }
        }
        if (used + length >= size)
            break;
        memcpy(out + used, piece, length);
        used += length;
        at += taken;
    }
    if (size)
        out[used] = 0;
    return out;
}
