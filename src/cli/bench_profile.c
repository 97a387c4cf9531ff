// Step times: measured by the library, sorted and set beside their work here.
#include "bench_profile.h"

#include <math.h>
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

static bool has_floors(const osp_device_info *device)
{
    return device->memory_bytes_per_s > 0;
}

static double floor_us(const osp_device_info *device, const osp_step_info *step)
{
    if (!has_floors(device))
        return 0;
    const double moving = step->bytes / device->memory_bytes_per_s;
    const bool halves = strstr(step->problem, "f16") != NULL;  // a type of the problem's text
    const double computing = halves && device->fp16_flops_per_s > 0
                                 ? step->flops / device->fp16_flops_per_s
                                 : 0;
    return fmax(moving, computing) * 1e6;
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
        row->floor_us = floor_us(&out->device, &row->step);
        out->count++;
        out->total_us += us;
        out->floor_us += row->floor_us;
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
    osp_status status = osp_cli_engine_device(cli, &info, &out->device, &err);
    if (!status)
        status = osp_session_open(&session, engine, &options, &err);
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

// How much of its time a step needs at the least.
static double floor_share(double least, double us)
{
    return us > 0 ? least / us : 0;
}

void osp_cli_profile_json(osp_cli_json *json, const osp_cli_profile *profile)
{
    const bool floors = has_floors(&profile->device);
    if (floors) {
        osp_cli_json_open(json, "rated", '{');
        osp_cli_json_real(json, "memory_bytes_per_s", profile->device.memory_bytes_per_s, 6);
        osp_cli_json_real(json, "fp16_flops_per_s", profile->device.fp16_flops_per_s, 6);
        osp_cli_json_close(json, '}');
    }
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
        if (floors) {
            osp_cli_json_real(json, "floor_us", row->floor_us, 6);
            osp_cli_json_real(json, "floor_share", floor_share(row->floor_us, row->us), 4);
        }
        osp_cli_json_string(json, "problem", row->step.problem);
        osp_cli_json_close(json, '}');
    }
    osp_cli_json_close(json, ']');
}

void osp_cli_profile_rated(const osp_cli_profile *profile)
{
    const osp_device_info *device = &profile->device;
    if (!has_floors(device))
        return;
    printf("  %-12s %.2f TB/s", "rated", device->memory_bytes_per_s * 1e-12);
    if (device->fp16_flops_per_s > 0)
        printf(", %.0f TFLOP/s in fp16", device->fp16_flops_per_s * 1e-12);
    putchar('\n');
}

void osp_cli_profile_print(const osp_cli_profile *profile)
{
    const bool floors = has_floors(&profile->device);
    osp_cli_table table;
    osp_cli_table_init(&table, floors ? "rrrrrllll" : "rrrrllll");
    osp_cli_table_add(&table, "us\tshare\tGFLOP/s\tGB/s%s\top\ttactic\tname\tproblem",
                      floors ? "\tof floor" : "");
    for (size_t i = 0; i < profile->count; i++) {
        const osp_cli_profile_row *row = &profile->rows[i];
        char cell[32] = "";
        if (floors)
            snprintf(cell, sizeof cell, "\t%.1f %%", 100 * floor_share(row->floor_us, row->us));
        osp_cli_table_add(&table, "%.1f\t%.1f %%\t%.1f\t%.1f%s\t%s\t%s\t%.48s\t%s", row->us,
                          row->share * 100, rate(row->step.flops, row->us),
                          rate(row->step.bytes, row->us), cell, row->step.op, row->step.tactic,
                          row->step.name, row->step.problem);
    }
    putchar('\n');
    osp_cli_table_print(&table, "");
    printf("%zu steps, %.1f us together, ", profile->count, profile->total_us);
    if (floors)
        printf("their floors %.1f us (%.1f %%), ", profile->floor_us,
               100 * floor_share(profile->floor_us, profile->total_us));
    printf("%d by the plain kernels (ref)\n", profile->ref);
}
