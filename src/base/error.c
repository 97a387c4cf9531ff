// Status phrases and the formatting of errors. Thread rule: no state.
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *osp_status_text(osp_status status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case OSP_##name:                                                                               \
        return text;
        OSP_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

// One line of plain text: control characters become '?', a cut UTF-8 tail is dropped.
static void tidy(char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    size_t tail = n;
    while (tail > 0 && n - tail < 4 && ((unsigned char)text[tail - 1] & 0xC0) == 0x80)
        tail--;
    if (tail > 0 && ((unsigned char)text[tail - 1] & 0xC0) == 0xC0) {
        unsigned char lead = (unsigned char)text[tail - 1];
        size_t want = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (n - tail < want)
            text[tail - 1] = 0;
    }
}

osp_status osp_error_set(osp_error *err, osp_status code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        if (vsnprintf(err->text, sizeof err->text, format, args) < 0)
            err->text[0] = 0;
        va_end(args);
        tidy(err->text);
    }
    return code;
}

void osp_error_prefix(osp_error *err, const char *format, ...)
{
    if (!err)
        return;
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used < 0)
        used = 0;
    size_t at = (size_t)used < sizeof err->text - 1 ? (size_t)used : sizeof err->text - 1;
    snprintf(err->text + at, sizeof err->text - at, ": %.*s", (int)(sizeof text - 3), text);
    tidy(err->text);
}

void osp_error_clear(osp_error *err)
{
    if (err) {
        err->code = OSP_OK;
        err->text[0] = 0;
    }
}
