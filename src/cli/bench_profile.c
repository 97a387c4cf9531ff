// Step times: measured by the library, sorted and set beside their work here.
#include "bench_profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const osp_cli_profile_row *)a)->us, y = ((const osp_cli_profile_row *)b)->us;
    return (x < y) - (x > y);
}

static void collect(const osp_engine *engine, const osp_session *session, osp_cli_profile *out)
{
    osp_run_stats stats;
    double us;
    osp_session_stats(session, &stats);
    for (int32_t i = 0; !osp_session_step_us(session, i, &us); i++) {
        out->rows = osp_cli_grow(out->rows, &out->capacity, out->count + 1, sizeof *out->rows);
        osp_cli_profile_row *row = &out->rows[out->count];
        *row = (osp_cli_profile_row){.us = us};
        if (osp_engine_step(engine, stats.variant, i, &row->step))
            break;
        out->count++;
        out->total_us += us;
        out->ref += strcmp(row->step.tactic, "ref") == 0;
    }
    for (size_t i = 0; i < out->count; i++)
        out->rows[i].share = out->total_us > 0 ? out->rows[i].us / out->total_us : 0;
    if (out->count)
        qsort(out->rows, out->count, sizeof *out->rows, by_time);
}

int osp_cli_profile_run(osp_cli *cli, osp_engine *engine, const osp_cli_tensors *inputs,
                        osp_cli_profile *out)
{
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    const osp_session_options options = {.profile = OSP_ON};
    osp_tensor *outputs = osp_cli_alloc((size_t)info.outputs, sizeof *outputs);
    osp_session *session = NULL;
    osp_error err;
    osp_status status = osp_session_open(&session, engine, &options, &err);
    const double until = now_s() + cli->set.seconds;
    for (int32_t i = 0; !status && (i < 3 || now_s() < until); i++) {
        memset(outputs, 0, (size_t)info.outputs * sizeof *outputs);
        status = osp_session_run(session, inputs->items, inputs->count, outputs, info.outputs,
                                 &err);
    }
    if (!status)
        collect(engine, session, out);
    osp_session_close(&session);
    free(outputs);
    return status ? osp_cli_fail(cli->set.file, &err) : OSP_CLI_DONE;
}

static double rate(double work, double us)
{
    return us > 0 ? work / us / 1e3 : 0;  // 1e9 a second
}

void osp_cli_profile_json(osp_cli_json *json, const osp_cli_profile *profile)
{
    osp_cli_json_open(json, "profile", '[');
    for (size_t i = 0; i < profile->count; i++) {
        const osp_cli_profile_row *row = &profile->rows[i];
        osp_cli_json_open(json, NULL, '{');
        osp_cli_json_string(json, "name", row->step.name);
        osp_cli_json_string(json, "op", row->step.op);
        osp_cli_json_string(json, "tactic", row->step.tactic);
        osp_cli_json_real(json, "us", row->us, 6);
        osp_cli_json_real(json, "share", row->share, 4);
        osp_cli_json_real(json, "gflops", rate(row->step.flops, row->us), 5);
        osp_cli_json_real(json, "gbytes_per_s", rate(row->step.bytes, row->us), 5);
        osp_cli_json_string(json, "problem", row->step.problem);
        osp_cli_json_close(json, '}');
    }
    osp_cli_json_close(json, ']');
}

void osp_cli_profile_print(const osp_cli_profile *profile)
{
    osp_cli_table table;
    osp_cli_table_init(&table, "rrrrllll");
    osp_cli_table_add(&table, "us\tshare\tGFLOP/s\tGB/s\top\ttactic\tname\tproblem");
    for (size_t i = 0; i < profile->count; i++) {
        const osp_cli_profile_row *row = &profile->rows[i];
        osp_cli_table_add(&table, "%.1f\t%.1f %%\t%.1f\t%.1f\t%s\t%s\t%.48s\t%s", row->us,
                          row->share * 100, rate(row->step.flops, row->us),
                          rate(row->step.bytes, row->us), row->step.op, row->step.tactic,
                          row->step.name, row->step.problem);
    }
    putchar('\n');
    osp_cli_table_print(&table, "");
    printf("%zu steps, %.1f us together, %d by the plain kernels (ref)\n", profile->count,
           profile->total_us, profile->ref);
}
