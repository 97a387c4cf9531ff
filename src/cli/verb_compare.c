// osprey compare: the same inputs through two engines, and how far their outputs lie apart.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

typedef struct side {
    const char *file;
    osp_engine *engine;
    osp_session *session;
    osp_tensor *outputs;
    osp_engine_info info;
} side;

typedef struct difference {
    double max_abs, relative, cosine;
    size_t worst;
} difference;

// relative: the largest difference over the range of `b`. Both NaN, or equal infinities: no
// difference; else infinite.
static difference measure(const osp_tensor *a, const osp_tensor *b)
{
    size_t count = osp_cli_element_count(b);
    double aa = 0, bb = 0, ab = 0, low = INFINITY, high = -INFINITY;
    difference d = {0};
    for (size_t i = 0; i < count; i++) {
        double x = osp_cli_element(a, i), y = osp_cli_element(b, i);
        bool same = x == y || (isnan(x) && isnan(y));
        double apart = same ? 0 : isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY;
        if (apart > d.max_abs) {
            d.max_abs = apart;
            d.worst = i;
        }
        if (!isfinite(x) || !isfinite(y))
            continue;
        aa += x * x;
        bb += y * y;
        ab += x * y;
        low = fmin(low, y);
        high = fmax(high, y);
    }
    double range = high > low ? high - low : fabs(high);
    d.relative = d.max_abs == 0 ? 0 : range > 0 && isfinite(range) ? d.max_abs / range : INFINITY;
    d.cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb ? 1 : 0;
    return d;
}

static int open_side(osp_cli *cli, const osp_engine_options *options, side *s)
{
    int status = osp_cli_engine_open(cli, s->file, options, &s->engine);
    if (status)
        return status;
    osp_error err;
    osp_engine_get_info(s->engine, &s->info);
    s->outputs = osp_cli_alloc((size_t)s->info.outputs, sizeof *s->outputs);
    if (osp_session_open(&s->session, s->engine, NULL, &err))
        return osp_cli_fail(s->file, &err);
    return OSP_CLI_DONE;
}

// Inputs are given by name; where names differ between two files, by position.
static int run_side(side *s, const osp_cli_tensors *inputs)
{
    osp_tensor *mine = osp_cli_alloc((size_t)inputs->count, sizeof *mine);
    osp_error err;
    for (int32_t i = 0; i < inputs->count; i++) {
        mine[i] = inputs->items[i];
        mine[i].name = NULL;
    }
    osp_status status = osp_session_run(s->session, mine, inputs->count, s->outputs,
                                        s->info.outputs, &err);
    free(mine);
    return status ? osp_cli_fail(s->file, &err) : OSP_CLI_DONE;
}

static void close_side(side *s)
{
    osp_session_close(&s->session);
    osp_engine_close(&s->engine);
    free(s->outputs);
}

// The output of `b` with that name, else the one in that position.
static int32_t partner(const side *b, const char *name, int32_t position)
{
    osp_tensor_info info;
    for (int32_t k = 0; !osp_engine_output(b->engine, k, &info); k++)
        if (strcmp(info.name, name) == 0)
            return k;
    return position;
}

static bool same_shape(const osp_tensor *a, const osp_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static void print_row(osp_cli_json *json, osp_cli_table *table, const char *name,
                      const difference *d)
{
    if (!json->to) {
        osp_cli_table_add(table, "%s\t%.3g\t%.3g\t%.9f", name, d->max_abs, d->relative, d->cosine);
        return;
    }
    osp_cli_json_open(json, NULL, '{');
    osp_cli_json_string(json, "name", name);
    osp_cli_json_real(json, "max_abs", d->max_abs, 9);
    osp_cli_json_real(json, "relative", d->relative, 9);
    osp_cli_json_real(json, "cosine", d->cosine, 12);
    osp_cli_json_uint(json, "worst_index", d->worst);
    osp_cli_json_close(json, '}');
}

static int report(osp_cli *cli, const side *a, const side *b)
{
    int32_t count = a->info.outputs;
    osp_cli_json json = {0};
    osp_cli_table table;
    osp_tensor_info info;
    double worst = 0;
    for (int32_t i = 0; i < count; i++) {
        osp_engine_output(a->engine, i, &info);
        int32_t k = partner(b, info.name, i);
        if (k >= b->info.outputs || !same_shape(&a->outputs[i], &b->outputs[k])) {
            osp_cli_say("%s: output %s has no output of the same shape in %s: compare models of "
                        "one form",
                        a->file, info.name, b->file);
            return OSP_CLI_FAILED;
        }
    }
    osp_cli_table_init(&table, "lrrr");
    if (cli->set.json) {
        osp_cli_json_init(&json, stdout);
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "file", a->file);
        osp_cli_json_string(&json, "backend", osp_cli_backend_name(a->info.backend));
        osp_cli_json_string(&json, "against_file", b->file);
        osp_cli_json_string(&json, "against_backend", osp_cli_backend_name(b->info.backend));
        osp_cli_json_open(&json, "outputs", '[');
    } else {
        printf("%s by %s (%s) against %s by %s (%s)\n", a->file,
               osp_cli_backend_name(a->info.backend), osp_cli_precision_name(a->info.precision),
               b->file, osp_cli_backend_name(b->info.backend),
               osp_cli_precision_name(b->info.precision));
        osp_cli_table_add(&table, "output\tmax abs\trelative\tcosine");
    }
    for (int32_t i = 0; i < count; i++) {
        osp_engine_output(a->engine, i, &info);
        difference d = measure(&a->outputs[i], &b->outputs[partner(b, info.name, i)]);
        print_row(&json, &table, info.name, &d);
        worst = fmax(worst, d.relative);
    }
    bool over = !isnan(cli->set.tolerance) && worst > cli->set.tolerance;
    if (cli->set.json) {
        osp_cli_json_close(&json, ']');
        osp_cli_json_bool(&json, "within_tolerance", !over);
        osp_cli_json_close(&json, '}');
        osp_cli_json_end(&json);
    } else {
        osp_cli_table_print(&table, "");
    }
    if (over)
        osp_cli_say("%s: outputs differ by %.3g of their range: more than --tolerance %.3g",
                    a->file, worst, cli->set.tolerance);
    return over ? OSP_CLI_FAILED : OSP_CLI_DONE;
}

// --against is a backend (which then runs FILE in fp32) or another file, with the same options.
static int against(osp_cli *cli, const osp_engine_options *options, side *b,
                   osp_engine_options *other)
{
    const char *text = cli->set.against ? cli->set.against : "reference";
    *other = *options;
    for (int32_t k = OSP_BACKEND_REFERENCE; k <= OSP_BACKEND_TENSORRT; k++) {
        if (strcmp(text, osp_cli_backend_name((osp_backend)k)) != 0)
            continue;
        osp_cli_kind kind;
        int status = osp_cli_sniff(cli->set.file, &kind);
        if (!status && kind != OSP_CLI_ONNX)
            return osp_cli_usage("%s: a plan runs on its own backend only: name the model it was "
                                 "built from with --against MODEL.onnx",
                                 cli->set.file);
        other->backend = (osp_backend)k;
        other->precision = OSP_PRECISION_FP32;
        b->file = cli->set.file;
        return status;
    }
    b->file = text;
    return OSP_CLI_DONE;
}

int osp_cli_compare(osp_cli *cli)
{
    osp_engine_options options = {0}, other;
    osp_cli_tensors inputs = {0};
    side a = {.file = cli->set.file}, b = {0};
    int status = osp_cli_fix_inputs(cli, a.file);
    if (!status)
        status = osp_cli_engine_options(cli, &options);
    options.tolerance = 0;  // of the outputs compared here, not of the builds
    if (!status)
        status = against(cli, &options, &b, &other);
    if (!status)
        status = open_side(cli, &options, &a);
    if (!status && a.info.image_input == OSP_PIXELS_UINT8)  // a plan may say so
        other.image_input.format = OSP_PIXELS_UINT8;
    if (!status)
        status = open_side(cli, &other, &b);
    if (!status)
        status = osp_cli_inputs(cli, a.engine, 1, &inputs);
    if (!status)
        status = run_side(&a, &inputs);
    if (!status)
        status = run_side(&b, &inputs);
    if (!status)
        status = report(cli, &a, &b);
    osp_cli_tensors_free(&inputs);
    close_side(&a);
    close_side(&b);
    return status;
}
