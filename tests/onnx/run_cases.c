// Runs test directories in the layout of ONNX's backend tests (model.onnx, and test_data_set_<k>
// with input_<i>.pb and output_<i>.pb) through the public API, and compares the outputs.
//
//     run_cases [options] DIR...    every test at or below each DIR
//       --list FILE                 one test directory a line ("-": standard input)
//       --backend NAME              reference (default), cpu, cuda or tensorrt
//       --precision fp32|fp16|bf16  default: fp32
//       --atol X --rtol X           of float32 (default 1e-5 and 1e-4; float16: 1e-3 and 2e-3)
//       --range X                   floats may differ by X of their output's range as well
//       --expect-refused NAME       a directory's name (may be repeated): its build must be refused
//       --threads N                 of the runtime
//       --at-least N                fewer tests than this count as a failure (default 1)
//
// Inputs that determine shapes are given as fixed inputs. Exit status 0: enough tests ran and none
// failed; 2: usage; 5: the backend has no device here. Thread rule: one thread.
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "osprey/osprey.h"

enum { MAX_TENSORS = 64, MAX_PATH = 1024, MAX_DEPTH = 8, MAX_REFUSED = 32 };

typedef struct options {
    osp_backend backend;
    osp_precision precision;
    double atol, rtol, range;
    int32_t threads;
    const char *refused[MAX_REFUSED];
    int32_t refused_count;
    bool refused_met[MAX_REFUSED];
    size_t at_least;
} options;

typedef struct list {
    char **paths;
    size_t count, capacity;
} list;

typedef struct totals {
    size_t passed, failed, fixed;
} totals;

// What one data set of a test needs; everything in it is closed by set_free.
typedef struct test_set {
    osp_model *model;
    osp_engine *engine;
    osp_session *session;
    osp_tensor inputs[MAX_TENSORS], expected[MAX_TENSORS];
    int32_t input_count, output_count;
    size_t fixed;
    char why[768];
} test_set;

static void fatal(const char *what)
{
    fprintf(stderr, "run_cases: %s\n", what);
    exit(2);
}

static void list_add(list *l, const char *path)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->paths = realloc(l->paths, l->capacity * sizeof *l->paths);
        if (!l->paths)
            fatal("out of memory");
    }
    l->paths[l->count] = strdup(path);
    if (!l->paths[l->count++])
        fatal("out of memory");
}

static bool exists(const char *dir, const char *name)
{
    char path[MAX_PATH];
    struct stat st;
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
}

static void walk(list *l, const char *dir, int depth)
{
    if (exists(dir, "model.onnx")) {
        list_add(l, dir);
        return;
    }
    DIR *d = depth < MAX_DEPTH ? opendir(dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[MAX_PATH];
        struct stat st;
        const int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 &&
            S_ISDIR(st.st_mode))
            walk(l, path, depth + 1);
    }
    if (d)
        closedir(d);
}

static void read_list(list *l, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char line[MAX_PATH];
    if (!f)
        fatal("the list cannot be read");
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] && line[0] != '#')
            list_add(l, line);
    }
    if (f != stdin)
        fclose(f);
}

// ---- Comparing ----------------------------------------------------------------------------------

static double half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, frac = h & 1023;
    double x = exponent == 31  ? (frac ? NAN : INFINITY)
               : exponent == 0 ? ldexp(frac, -24)
                               : ldexp(1024 + frac, exponent - 25);
    return h & 0x8000 ? -x : x;
}

static bool is_float(osp_dtype dtype)
{
    return dtype == OSP_DTYPE_FLOAT32 || dtype == OSP_DTYPE_FLOAT16;
}

static double float_at(const osp_tensor *t, size_t i)
{
    return t->dtype == OSP_DTYPE_FLOAT32 ? (double)((const float *)t->data)[i]
                                         : half_value(((const uint16_t *)t->data)[i]);
}

static int64_t int_at(const osp_tensor *t, size_t i)
{
    int64_t x = 0;
    switch (t->dtype) {
    case OSP_DTYPE_INT64:
        return ((const int64_t *)t->data)[i];
    case OSP_DTYPE_INT32:
        return ((const int32_t *)t->data)[i];
    case OSP_DTYPE_INT8:
        return ((const int8_t *)t->data)[i];
    default:
        memcpy(&x, (const char *)t->data + i * osp_dtype_bytes(t->dtype),
               osp_dtype_bytes(t->dtype));
        return x;
    }
}

static void shape_text(const osp_tensor *t, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%s [", osp_dtype_name(t->dtype));
    for (int32_t d = 0; d < t->rank && at < size; d++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", d ? "," : "", (long long)t->dims[d]);
    if (at < size)
        snprintf(text + at, size - at, "]");
}

// From the least to the largest finite value; of one value only: its size.
static double range_of(const osp_tensor *t, size_t count)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count && is_float(t->dtype); i++)
        if (isfinite(float_at(t, i))) {
            low = fmin(low, float_at(t, i));
            high = fmax(high, float_at(t, i));
        }
    return high > low ? high - low : isfinite(high) ? fabs(high) : 0;
}

// `room`: of floats, beside the tolerances.
static bool same(const osp_tensor *got, const osp_tensor *want, size_t i, const options *o,
                 double room)
{
    if (!is_float(want->dtype))
        return int_at(got, i) == int_at(want, i);
    const double x = float_at(got, i), y = float_at(want, i);
    const bool half = want->dtype == OSP_DTYPE_FLOAT16;
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    return x == y || fabs(x - y) <= room ||
           fabs(x - y) <= fmax(o->atol, half ? 1e-3 : 0) + fmax(o->rtol, half ? 2e-3 : 0) * fabs(y);
}

static bool compare(test_set *t, int32_t k, const osp_tensor *got, const options *o)
{
    const osp_tensor *want = t->expected + k;
    bool alike = got->dtype == want->dtype && got->rank == want->rank;
    size_t count = 1;
    for (int32_t d = 0; alike && d < want->rank; d++) {
        alike = got->dims[d] == want->dims[d];
        count *= (size_t)want->dims[d];
    }
    if (!alike) {
        char a[160], b[160];
        shape_text(got, a, sizeof a);
        shape_text(want, b, sizeof b);
        snprintf(t->why, sizeof t->why, "output %d is %s, expected %s", k, a, b);
        return false;
    }
    size_t wrong = 0, first = 0;
    const double room = o->range > 0 ? o->range * range_of(want, count) : 0;
    for (size_t i = 0; i < count; i++)
        if (!same(got, want, i, o, room) && wrong++ == 0)
            first = i;
    if (!wrong)
        return true;
    if (is_float(want->dtype))
        snprintf(t->why, sizeof t->why, "output %d: %zu of %zu differ, first [%zu]: %.9g, not %.9g",
                 k, wrong, count, first, float_at(got, first), float_at(want, first));
    else
        snprintf(t->why, sizeof t->why, "output %d: %zu of %zu differ, first [%zu]: %lld, not %lld",
                 k, wrong, count, first, (long long)int_at(got, first),
                 (long long)int_at(want, first));
    return false;
}

// ---- One data set -------------------------------------------------------------------------------

static void set_free(osp_runtime *rt, test_set *t)
{
    osp_session_close(&t->session);
    osp_engine_close(&t->engine);
    osp_model_close(&t->model);
    for (int32_t i = 0; i < MAX_TENSORS; i++) {
        osp_tensor_free(rt, t->inputs + i);
        osp_tensor_free(rt, t->expected + i);
    }
}

// Reads <kind>_0.pb, <kind>_1.pb, ... as far as they go.
static bool read_tensors(osp_runtime *rt, test_set *t, const char *dir, int32_t set,
                         const char *kind, osp_tensor *out, int32_t *count)
{
    osp_error err;
    for (*count = 0; *count < MAX_TENSORS; ++*count) {
        char name[64], path[MAX_PATH];
        snprintf(name, sizeof name, "test_data_set_%d/%s_%d.pb", set, kind, *count);
        if (!exists(dir, name))
            return true;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        if (osp_tensor_read(rt, path, out + *count, &err)) {
            snprintf(t->why, sizeof t->why, "%s: %s", name, err.text);
            return false;
        }
    }
    return true;
}

// The model's names for the inputs, those that are fixed at build, and sizes that it leaves free.
static bool describe_inputs(test_set *t, osp_tensor *fixed, osp_engine_options *eo)
{
    osp_model_info info;
    osp_model_get_info(t->model, &info);
    if (info.inputs != t->input_count) {
        snprintf(t->why, sizeof t->why, "the model has %d inputs, the data set %d", info.inputs,
                 t->input_count);
        return false;
    }
    for (int32_t i = 0; i < info.inputs; i++) {
        osp_tensor_info in;
        osp_tensor *tensor = t->inputs + i;
        osp_model_input(t->model, i, &in);
        tensor->name = in.name;
        if (in.determines_shapes)
            fixed[eo->fixed_input_count++] = *tensor;
        if (in.rank == tensor->rank && in.rank > 0 && in.dims[0] < 0)
            eo->batches[0] = (int32_t)tensor->dims[0];
        if (in.rank == 4 && tensor->rank == 4 && in.dims[2] < 0)
            eo->height = (int32_t)tensor->dims[2];
        if (in.rank == 4 && tensor->rank == 4 && in.dims[3] < 0)
            eo->width = (int32_t)tensor->dims[3];
    }
    eo->fixed_inputs = fixed;
    t->fixed = (size_t)eo->fixed_input_count;
    return true;
}

static osp_status build(osp_runtime *rt, test_set *t, const char *dir, const options *o,
                        osp_error *err)
{
    char path[MAX_PATH];
    osp_tensor fixed[MAX_TENSORS];
    osp_engine_options eo = {.backend = o->backend, .precision = o->precision};
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    const osp_status status = osp_model_open(&t->model, rt, path, err);
    if (status)
        return status;
    if (!describe_inputs(t, fixed, &eo)) {
        err->code = OSP_ERROR_ARGUMENT;
        memcpy(err->text, t->why, sizeof err->text - 1);
        err->text[sizeof err->text - 1] = 0;
        return OSP_ERROR_ARGUMENT;
    }
    return osp_engine_build(&t->engine, t->model, &eo, err);
}

static bool run(test_set *t, const options *o)
{
    osp_error err;
    osp_engine_info info;
    osp_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS] = {{0}};
    osp_engine_get_info(t->engine, &info);
    if (osp_session_open(&t->session, t->engine, NULL, &err)) {
        snprintf(t->why, sizeof t->why, "session: %s", err.text);
        return false;
    }
    if (info.outputs != t->output_count || info.inputs > t->input_count) {
        snprintf(t->why, sizeof t->why, "the engine has %d outputs, the data set %d", info.outputs,
                 t->output_count);
        return false;
    }
    for (int32_t i = 0; i < info.inputs; i++) {
        osp_tensor_info in;
        osp_engine_input(t->engine, i, &in);
        for (int32_t k = 0; k < t->input_count; k++)
            if (strcmp(t->inputs[k].name, in.name) == 0)
                inputs[i] = t->inputs[k];
    }
    if (osp_session_run(t->session, inputs, info.inputs, outputs, info.outputs, &err)) {
        snprintf(t->why, sizeof t->why, "run: %s", err.text);
        return false;
    }
    for (int32_t k = 0; k < info.outputs; k++)
        if (!compare(t, k, outputs + k, o))
            return false;
    return true;
}

static bool expect_refused(options *o, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    for (int32_t i = 0; i < o->refused_count; i++)
        if (strcmp(o->refused[i], slash ? slash + 1 : dir) == 0)
            return o->refused_met[i] = true;
    return false;
}

static bool run_set(osp_runtime *rt, test_set *t, const char *dir, int32_t set, options *o)
{
    osp_error err;
    if (!read_tensors(rt, t, dir, set, "input", t->inputs, &t->input_count) ||
        !read_tensors(rt, t, dir, set, "output", t->expected, &t->output_count))
        return false;
    const osp_status status = build(rt, t, dir, o, &err);
    if (expect_refused(o, dir)) {
        snprintf(t->why, sizeof t->why, "must be refused as not supported, but: %s",
                 status ? err.text : "it was built");
        return status == OSP_ERROR_UNSUPPORTED;
    }
    if (status) {
        snprintf(t->why, sizeof t->why, "build: %s", err.text);
        return false;
    }
    return run(t, o);
}

static void run_test(osp_runtime *rt, const char *dir, options *o, totals *sum)
{
    bool good = true;
    int32_t set = 0;
    for (; good; set++) {
        char name[48];
        snprintf(name, sizeof name, "test_data_set_%d", set);
        if (!exists(dir, name))
            break;
        test_set *t = calloc(1, sizeof *t);
        if (!t)
            fatal("out of memory");
        good = run_set(rt, t, dir, set, o);
        if (!good)
            printf("FAIL %s: set %d: %s\n", dir, set, t->why);
        else
            sum->fixed += t->fixed;
        set_free(rt, t);
        free(t);
    }
    if (good && set == 0) {
        printf("FAIL %s: no test_data_set_0\n", dir);
        good = false;
    }
    sum->passed += good;
    sum->failed += !good;
}

// ---- Command line -------------------------------------------------------------------------------

static double number(const char *text)
{
    char *end;
    const double x = strtod(text, &end);
    if (*end || !(x >= 0))
        fatal("a number is expected");
    return x;
}

// The place of `text` in a NULL-terminated list.
static int choice(const char *text, const char *const *list)
{
    for (int i = 0; list[i]; i++)
        if (strcmp(text, list[i]) == 0)
            return i;
    fatal("an option has a value that it does not know");
    return 0;
}

static void parse(int argc, char **argv, options *o, list *l)
{
    static const char *const backends[] = {"auto", "reference", "cpu", "cuda", "tensorrt", NULL};
    static const char *const precisions[] = {"auto", "fp32", "fp16", "bf16", NULL};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            walk(l, argv[i], 0);
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            fatal("an option lacks its value");
        if (strcmp(argv[i], "--list") == 0)
            read_list(l, value);
        else if (strcmp(argv[i], "--backend") == 0)
            o->backend = (osp_backend)choice(value, backends);
        else if (strcmp(argv[i], "--precision") == 0)
            o->precision = (osp_precision)choice(value, precisions);
        else if (strcmp(argv[i], "--atol") == 0)
            o->atol = number(value);
        else if (strcmp(argv[i], "--rtol") == 0)
            o->rtol = number(value);
        else if (strcmp(argv[i], "--range") == 0)
            o->range = number(value);
        else if (strcmp(argv[i], "--threads") == 0)
            o->threads = (int32_t)number(value);
        else if (strcmp(argv[i], "--at-least") == 0)
            o->at_least = (size_t)number(value);
        else if (strcmp(argv[i], "--expect-refused") == 0 && o->refused_count < MAX_REFUSED)
            o->refused[o->refused_count++] = value;
        else
            fatal("unknown option: see the head of run_cases.c");
        i++;
    }
}

// 0: the backend has a device here; else 5, after the reason.
static int check_device(osp_runtime *rt, const options *o)
{
    osp_device_info device;
    if (o->backend != OSP_BACKEND_CUDA && o->backend != OSP_BACKEND_TENSORRT)
        return 0;
    osp_device_get(rt, 0, &device, NULL);
    if (device.cc_major)
        return 0;
    fprintf(stderr, "run_cases: no GPU: %s\n", device.reason);
    return 5;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    static options o = {.backend = OSP_BACKEND_REFERENCE,
                        .precision = OSP_PRECISION_FP32,
                        .atol = 1e-5,
                        .rtol = 1e-4,
                        .at_least = 1};
    list l = {0};
    totals sum = {0};
    osp_error err;
    osp_runtime *rt = NULL;
    parse(argc, argv, &o, &l);
    const osp_options ro = {.threads = o.threads};
    if (osp_runtime_open(&rt, &ro, &err))
        fatal(err.text);
    const int absent = check_device(rt, &o);
    if (absent)
        return absent;
    if (l.count)
        qsort(l.paths, l.count, sizeof *l.paths, by_name);
    for (size_t i = 0; i < l.count; i++) {
        run_test(rt, l.paths[i], &o, &sum);
        free(l.paths[i]);
    }
    free(l.paths);
    osp_runtime_close(&rt);
    bool whole = sum.passed + sum.failed >= o.at_least;
    printf("%zu passed, %zu failed, %zu inputs fixed at build\n", sum.passed, sum.failed,
           sum.fixed);
    if (sum.passed + sum.failed < o.at_least)
        printf("FAIL only %zu tests, not at least %zu\n", sum.passed + sum.failed, o.at_least);
    for (int32_t i = 0; i < o.refused_count; i++) {
        if (!o.refused_met[i])
            printf("FAIL %s: not among the tests\n", o.refused[i]);
        whole = whole && o.refused_met[i];
    }
    return sum.failed || !whole;
}
