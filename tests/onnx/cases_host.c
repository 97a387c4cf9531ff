// A GPU in host memory. Thread rule: one thread.
#include "cases_device.h"
#include "emulated.h"

osp_status cases_open(osp_runtime **out, const osp_options *options, osp_error *err)
{
    return emulated_open(out, options, err);
}

bool cases_close(osp_runtime **runtime)
{
    return emulated_close(runtime);
}
