// A GPU in host memory that runs the library's own kernels, as the host compiler made them, in place of
// the machine's. A program that has host_gpu.c among its sources finds it wherever it would find
// CUDA's: nothing else of it changes. What is not given back to the device, and wrong addresses and
// handles, are told when the program ends, which then exits with 70.
//
// Time on this device is what kernels did, not what the host took: tactics are timed alike on every
// machine. Thread rule: any thread.
#ifndef OSP_TESTS_HOST_GPU_H
#define OSP_TESTS_HOST_GPU_H

#include "fake_gpu.h"

// For a test that looks at it, or changes what fake_gpu.h lets one change.
fake_gpu *host_gpu(void);

#endif
