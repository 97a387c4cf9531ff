// osprey bench --profile: the time of every step, slowest first, and its share of the floor where
// the device's rated figures are known. The floor is FLOPs / peak or bytes / bandwidth, whichever is
// longer. The peak is that of FP16 products: for steps in FP32, and for all where it is unknown, the
// floor is of bytes alone. A step whose operands are still in the L2, or that reads a part of them
// only, may take less than its floor.
#ifndef OSP_CLI_BENCH_PROFILE_H
#define OSP_CLI_BENCH_PROFILE_H

#include "cli.h"

typedef struct osp_cli_profile_row {
    osp_step_info step;  // its texts are the engine's
    double us, share, floor_us;
} osp_cli_profile_row;

typedef struct osp_cli_profile {
    osp_cli_profile_row *rows;
    size_t count, capacity;
    int32_t ref;  // steps by the plain kernels
    double total_us, floor_us;
    osp_device_info device;  // without a memory rate there are no floors
} osp_cli_profile;

// Runs a profiling session for --seconds. The caller frees rows.
int osp_cli_profile_run(osp_cli *cli, osp_engine *engine, const osp_cli_tensors *inputs,
                        osp_cli_profile *out);
// The members "rated" and "profile" of an open JSON object.
void osp_cli_profile_json(osp_cli_json *json, const osp_cli_profile *profile);
void osp_cli_profile_rated(const osp_cli_profile *profile);  // a line, where there are floors
void osp_cli_profile_print(const osp_cli_profile *profile);

#endif
