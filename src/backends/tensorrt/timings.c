// The timing cache on disk: what earlier builds measured. Read before a build; after it merged with
// what others wrote meanwhile, under a lock, and written whole or not at all.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "backends/tensorrt/tensorrt.h"

// A cache is no model: far below what a plan may have.
enum { CACHE_BYTES_MAX = 256 << 20 };

static osp_trt_timings *from_file(const osp_trt_model *m, osp_trt_config *config, const char *path)
{
    osp_file file;
    osp_error why;
    if (access(path, F_OK))
        return NULL;
    if (osp_file_map(&file, path, CACHE_BYTES_MAX, &why)) {
        osp_log(m->ctx, OSP_LOG_WARNING, "timing cache %s: %s", path, why.text);
        return NULL;
    }
    osp_trt_timings *timings = osp_trt_config_open_timings(&m->trt.api, config, file.data,
                                                           file.size);
    osp_file_unmap(&file);
    if (osp_trt_is_object(timings))
        return timings;
    osp_log(m->ctx, OSP_LOG_WARNING,
            "timing cache %s is of no use to this TensorRT: a new one "
            "takes its place",
            path);
    return NULL;
}

osp_trt_timings *osp_trt_timings_open(const osp_trt_model *m, osp_trt_config *config,
                                      const char *path)
{
    const osp_trt_api *api = &m->trt.api;
    osp_trt_timings *timings = from_file(m, config, path);
    if (timings && osp_trt_config_set_timings(api, config, timings))
        return timings;
    if (timings)
        osp_log(m->ctx, OSP_LOG_WARNING,
                "timing cache %s was made on another device: it is left out", path);
    osp_trt_delete(timings);
    timings = osp_trt_config_open_timings(api, config, NULL, 0);
    if (osp_trt_is_object(timings) && osp_trt_config_set_timings(api, config, timings))
        return timings;
    osp_trt_delete(timings);
    return NULL;
}

static osp_status store(const osp_trt_model *m, osp_trt_config *config, const char *path,
                        osp_error *err)
{
    const osp_trt_api *api = &m->trt.api;
    const osp_trt_timings *ours = osp_trt_config_timings(api, config);
    if (!osp_trt_is_object(ours))
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "TensorRT gives none back");
    // Ours last: on the same problem the newer measurement wins.
    osp_trt_timings *merged = from_file(m, config, path);
    if (merged && !osp_trt_timings_combine(api, merged, ours)) {
        osp_trt_delete(merged);
        merged = NULL;
    }
    osp_trt_bytes *bytes = osp_trt_timings_save(api, merged ? merged : ours);
    osp_status status;
    if (osp_trt_is_object(bytes)) {
        const osp_bytes part = {osp_trt_bytes_data(api, bytes), osp_trt_bytes_size(api, bytes)};
        status = osp_file_write(path, &part, 1, err);
    } else {
        status = osp_error_set(err, OSP_ERROR_SYSTEM, "TensorRT does not serialize it");
    }
    osp_trt_delete(bytes);
    osp_trt_delete(merged);
    return status;
}

void osp_trt_timings_store(const osp_trt_model *m, osp_trt_config *config, const char *path)
{
    char lock_path[4096];
    int lock = -1;
    osp_error why;
    osp_status status = OSP_OK;
    if (snprintf(lock_path, sizeof lock_path, "%s.lock", path) >= (int)sizeof lock_path)
        status = osp_error_set(&why, OSP_ERROR_IO, "the path is too long");
    if (!status)
        status = osp_file_lock(&lock, lock_path, &why);
    if (!status)
        status = store(m, config, path, &why);
    osp_file_unlock(&lock);
    if (status)
        osp_log(m->ctx, OSP_LOG_WARNING, "timing cache %s is not kept: %s", path, why.text);
}
