// A runtime whose GPU is in host memory and runs the library's own kernels, as the host compiler made
// them: engines of the cuda backend where there is no GPU. Slow: a network takes minutes.
// Thread rule: one such runtime at a time in a process.
#ifndef OSP_TESTS_EMULATED_H
#define OSP_TESTS_EMULATED_H

#include "fake_gpu.h"
#include "osprey/osprey.h"

// As osp_runtime_open. The device can be changed until the runtime is closed.
osp_status emulated_open(osp_runtime **out, const osp_options *options, osp_error *err);
fake_gpu *emulated_device(void);

// Closes it. false, and a line: memory, streams or graphs were not given back, or wrong addresses or
// handles came.
bool emulated_close(osp_runtime **runtime);

#endif
