// The part of `osprey detect` that runs: pictures are read ahead, batches are in flight on the
// engine, and pictures with boxes are written, all at the same time; results come out in order.
#ifndef OSP_CLI_DETECT_RUN_H
#define OSP_CLI_DETECT_RUN_H

#include "detect_results.h"

typedef struct osp_cli_detection {
    osp_cli *cli;
    osp_engine *engine;
    osp_detector *detector;
    osp_cli_list images, names, taken;
    osp_cli_results print;  // to stdout; format NONE: the table
    osp_cli_results file;   // into the -o folder; format NONE: none
    int32_t batch, max_detections;
    // What came of it.
    osp_run_stats total;
    int32_t read_count;
    size_t box_count;
    size_t *per_class;  // names.count
} osp_cli_detection;

// All images. Those that cannot be read are told and set *bad to an exit status; a failure of the
// engine or of writing ends it.
int osp_cli_detection_run(osp_cli_detection *d, int *bad);

#endif
