// The machine's own devices. Thread rule: one thread.
#include "cases_device.h"

osp_status cases_open(osp_runtime **out, const osp_options *options, osp_error *err)
{
    return osp_runtime_open(out, options, err);
}

bool cases_close(osp_runtime **runtime)
{
    osp_runtime_close(runtime);
    return true;
}
