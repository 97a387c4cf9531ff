// osprey bench --profile: the time of every step, slowest first.
#ifndef OSP_CLI_BENCH_PROFILE_H
#define OSP_CLI_BENCH_PROFILE_H

#include "cli.h"

typedef struct osp_cli_profile_row {
    osp_step_info step;  // its texts are the engine's
    double us, share;
} osp_cli_profile_row;

typedef struct osp_cli_profile {
    osp_cli_profile_row *rows;
    size_t count, capacity;
    int32_t ref;  // steps by the plain kernels
    double total_us;
} osp_cli_profile;

// Runs a profiling session for --seconds. The caller frees rows.
int osp_cli_profile_run(osp_cli *cli, osp_engine *engine, const osp_cli_tensors *inputs,
                        osp_cli_profile *out);
void osp_cli_profile_json(osp_cli_json *json, const osp_cli_profile *profile);
void osp_cli_profile_print(const osp_cli_profile *profile);

#endif
