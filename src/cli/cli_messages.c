// What the program says on stderr, its exit statuses, and names of enum values.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static void say(const char *format, va_list args)
{
    char text[1024];
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = 0;
    osp_cli_progress_clear();
    fputs("osprey: ", stderr);
    osp_cli_print_clean(stderr, text);
    fputc('\n', stderr);
}

void osp_cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int osp_cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return OSP_CLI_USAGE;
}

int osp_cli_exit_status(osp_status status)
{
    switch (status) {
    case OSP_OK:
        return OSP_CLI_DONE;
    case OSP_ERROR_ARGUMENT:
        return OSP_CLI_USAGE;
    case OSP_ERROR_IO:
    case OSP_ERROR_FORMAT:
    case OSP_ERROR_CORRUPT:
    case OSP_ERROR_STALE:
    case OSP_ERROR_LIMIT:
    case OSP_ERROR_UNTRUSTED:
        return OSP_CLI_INPUT;
    case OSP_ERROR_UNSUPPORTED:
        return OSP_CLI_UNSUPPORTED;
    case OSP_ERROR_DEVICE:
    case OSP_ERROR_DEVICE_LOST:
        return OSP_CLI_DEVICE;
    default:
        return OSP_CLI_FAILED;
    }
}

int osp_cli_fail(const char *file, const osp_error *err)
{
    size_t n = file ? strlen(file) : 0;
    bool named = !file || (strncmp(err->text, file, n) == 0 && err->text[n] == ':');
    const char *text = err->text[0] ? err->text : osp_status_text(err->code);
    if (named)
        osp_cli_say("%s", text);
    else
        osp_cli_say("%s: %s", file, text);
    return osp_cli_exit_status(err->code);
}

int osp_cli_fail_output(const char *file, const osp_error *err)
{
    int status = osp_cli_fail(file, err);
    return status == OSP_CLI_INPUT ? OSP_CLI_FAILED : status;
}

bool osp_cli_progress_step(void *user, const char *phase, int32_t done, int32_t total)
{
    (void)user;
    enum { CELLS = 30 };
    char bar[CELLS + 1];
    int32_t full = total > 0 ? (int32_t)((int64_t)done * CELLS / total) : 0;
    for (int32_t i = 0; i < CELLS; i++)
        bar[i] = i < full ? '#' : '.';
    bar[CELLS] = 0;
    fprintf(stderr, "\r\033[K%-10.24s [%s] %d/%d", phase, bar, done, total);
    fflush(stderr);
    return true;
}

void osp_cli_progress_clear(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

osp_progress osp_cli_progress(const osp_cli *cli)
{
    osp_progress progress = {0};
    if (!cli->set.quiet && isatty(STDERR_FILENO))
        progress.step = osp_cli_progress_step;
    return progress;
}

static void *checked(void *ptr)
{
    if (!ptr) {
        osp_cli_say("out of memory");
        exit(OSP_CLI_FAILED);
    }
    return ptr;
}

void *osp_cli_alloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size));
}

void *osp_cli_grow(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return array;
    *capacity = need < 16 ? 16 : need * 2;
    return checked(reallocarray(array, *capacity, size));
}

char *osp_cli_text(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return checked(n < 0 ? NULL : text);
}

const char *osp_cli_backend_name(osp_backend backend)
{
    static const char *const names[] = {"auto", "reference", "cpu", "cuda", "tensorrt"};
    return (size_t)backend < sizeof names / sizeof *names ? names[backend] : "unknown";
}

const char *osp_cli_precision_name(osp_precision precision)
{
    static const char *const names[] = {"auto", "fp32", "fp16", "bf16"};
    return (size_t)precision < sizeof names / sizeof *names ? names[precision] : "unknown";
}

const char *osp_cli_head_name(osp_head head)
{
    static const char *const names[] = {"auto",  "none", "end2end",  "yolo8",
                                        "yolo5", "detr", "detr-pair"};
    return (size_t)head < sizeof names / sizeof *names ? names[head] : "unknown";
}

const char *osp_cli_resize_name(osp_resize resize)
{
    static const char *const names[] = {"auto", "letterbox", "stretch"};
    return (size_t)resize < sizeof names / sizeof *names ? names[resize] : "unknown";
}

const char *osp_cli_bytes_text(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *osp_cli_shape_text(const osp_tensor_info *info, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%s ", osp_dtype_name(info->dtype));
    if (info->rank <= 0)
        snprintf(text + at, size - at, "%s", info->rank ? "?" : "scalar");
    for (int32_t i = 0; i < info->rank && at < size; i++) {
        const char *cross = i ? "x" : "", *name = info->dim_names[i];
        int n;
        if (info->dims[i] >= 0)
            n = snprintf(text + at, size - at, "%s%lld", cross, (long long)info->dims[i]);
        else
            n = snprintf(text + at, size - at, "%s%.40s", cross, name && *name ? name : "?");
        at += n > 0 ? (size_t)n : 0;
    }
    return text;
}
