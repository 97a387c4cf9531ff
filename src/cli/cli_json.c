// JSON writer: one document, indented by two spaces. Strings from files may hold anything: bytes
// that are not UTF-8 become U+FFFD; numbers that JSON lacks become null.
#include <math.h>
#include <string.h>

#include "cli.h"

void osp_cli_json_init(osp_cli_json *json, FILE *to)
{
    *json = (osp_cli_json){.to = to, .first = true};
}

void osp_cli_json_end(osp_cli_json *json)
{
    fputc('\n', json->to);
}

// Length of the UTF-8 sequence at `p`, 0 if it is not one. Overlong forms and surrogates are not.
static int sequence(const unsigned char *p)
{
    if (p[0] < 0x80)
        return 1;
    int n = p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC2 ? 2 : 0;
    if (p[0] >= 0xF5 || n == 0)
        return 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
               (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F);
    return bad ? 0 : n;
}

static void put_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = sequence(p);
        if (n == 0)
            fputs("\xEF\xBF\xBD", to);
        else if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if (*p == '\n')
            fputs("\\n", to);
        else if (*p == '\t')
            fputs("\\t", to);
        else if (*p < 0x20 || *p == 0x7F)
            fprintf(to, "\\u%04x", *p);
        else
            fwrite(p, 1, (size_t)n, to);
        p += n ? n : 1;
    }
    fputc('"', to);
}

static void begin(osp_cli_json *json, const char *key)
{
    if (json->depth) {
        if (!json->first)
            fputc(',', json->to);
        fprintf(json->to, "\n%*s", json->depth * 2, "");
    }
    json->first = false;
    if (key) {
        put_string(json->to, key);
        fputs(": ", json->to);
    }
}

void osp_cli_json_open(osp_cli_json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->to);
    json->depth++;
    json->first = true;
}

void osp_cli_json_close(osp_cli_json *json, char bracket)
{
    json->depth--;
    if (!json->first)
        fprintf(json->to, "\n%*s", json->depth * 2, "");
    fputc(bracket, json->to);
    json->first = false;
}

void osp_cli_json_string(osp_cli_json *json, const char *key, const char *value)
{
    begin(json, key);
    if (value)
        put_string(json->to, value);
    else
        fputs("null", json->to);
}

void osp_cli_json_int(osp_cli_json *json, const char *key, int64_t value)
{
    begin(json, key);
    fprintf(json->to, "%lld", (long long)value);
}

void osp_cli_json_uint(osp_cli_json *json, const char *key, uint64_t value)
{
    begin(json, key);
    fprintf(json->to, "%llu", (unsigned long long)value);
}

void osp_cli_json_real(osp_cli_json *json, const char *key, double value, int32_t digits)
{
    begin(json, key);
    if (isfinite(value))
        fprintf(json->to, "%.*g", digits, value);
    else
        fputs("null", json->to);
}

void osp_cli_json_bool(osp_cli_json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->to);
}
