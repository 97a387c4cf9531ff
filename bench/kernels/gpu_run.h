// Inside gpu_tactics: problems made of texts, and what running their tactics gave. Thread rule: one
// thread.
#ifndef OSP_BENCH_GPU_RUN_H
#define OSP_BENCH_GPU_RUN_H

#include "backends/problem.h"
#include "cli/cli.h"
#include "plan/rig.h"

enum { GPU_MOST_RUNS = 10000, GPU_MOST_COUNT = 10000 };

typedef struct gpu_tried {
    const osp_tactic *tactic;
    double us, worst;  // of the range
    osp_error why;     // code OSP_OK: its result is right
} gpu_tried;

typedef struct gpu_case {
    struct gpu_case *next;
    char *text;
    int32_t count;  // of a network
    double flops, bytes, floor_us;
    gpu_tried tries[OSP_RIG_TACTICS];
    int32_t tried, best;  // best: -1 where none agreed or none was timed
    osp_arena arena;      // of the problem
    osp_problem p;
    void *constants[OSP_RIG_OPERANDS];  // by source
} gpu_case;

typedef struct gpu_run {
    // To be set before it is opened.
    osp_context *ctx;
    osp_gpu *gpu;
    int32_t device, runs;
    bool check_only, graph;
    const char *only;     // prefix of names; NULL: all
    double tflops, tbps;  // 0: opening works them out
    // Results.
    int32_t count, tried, wrong, launches;
    double best_us, floor_us, graph_us;
    // Its own.
    osp_rig rig;
    osp_gpu_scope scope;
    bool entered;
    gpu_case *first, **last;
} gpu_run;

// Enters the device's scope until it is closed. A run that failed to open is closed like any other.
osp_status gpu_run_open(gpu_run *r, osp_error *err);
void gpu_run_close(gpu_run *r);
// A case of the run, which frees it; NULL on failure. FORMAT: no problem, or shapes that contradict.
gpu_case *gpu_run_add(gpu_run *r, const char *text, int32_t count, osp_error *err);
// Tries all tactics. UNSUPPORTED: none takes the problem; DEVICE_LOST, MEMORY.
osp_status gpu_run_case(gpu_run *r, gpu_case *c, osp_error *err);
// All cases as often as they count, in one graph.
osp_status gpu_run_graph(gpu_run *r, osp_error *err);

#endif
