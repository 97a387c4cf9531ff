// gpu_tactics: every tactic of the cuda backend on problem texts from files, checked and timed. What
// main and the test on the device in host memory share. Thread rule: one thread.
#ifndef OSP_BENCH_GPU_TACTICS_H
#define OSP_BENCH_GPU_TACTICS_H

#include "base/context.h"

// The program, on the devices of the context (osp_gpus_open has been called). Returns its exit status.
int gpu_tactics(osp_context *ctx, int argc, char **argv);

#endif
