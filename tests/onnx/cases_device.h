// The runtime that run_cases runs on: the machine's (cases_real.c), or one whose GPU is in host memory
// (cases_host.c). Thread rule: one thread.
#ifndef OSP_TESTS_CASES_DEVICE_H
#define OSP_TESTS_CASES_DEVICE_H

#include "osprey/osprey.h"

osp_status cases_open(osp_runtime **out, const osp_options *options, osp_error *err);
bool cases_close(osp_runtime **runtime);  // false: something was not given back

#endif
