// A detector's work on the GPU: pixels to the network's input, and boxes out of its outputs, without
// either coming to the host. Owns staging memory for images and boxes, by slot of the session.
// Thread rule: that of the session.
#ifndef OSP_ENGINE_DETECTOR_GPU_H
#define OSP_ENGINE_DETECTOR_GPU_H

#include "engine/session.h"
#include "vision/postprocess.h"

typedef struct osp_detector_gpu osp_detector_gpu;

typedef struct osp_detector_gpu_options {
    osp_head_info head;
    osp_resize resize;
    osp_postprocess_settings settings;
    int32_t batch;  // images of a run, at most
} osp_detector_gpu_options;

// NULL, or why the outputs of this engine are decoded on the host instead.
const char *osp_detector_gpu_refuse(const osp_session *session,
                                    const osp_detector_gpu_options *options);
// The session is borrowed, and gets its hooks.
osp_status osp_detector_gpu_open(osp_detector_gpu **out, osp_session *session,
                                 const osp_detector_gpu_options *options, osp_error *err);
void osp_detector_gpu_close(osp_detector_gpu **detector);  // no run is under way

// Images on the host or on the device, borrowed until the run was waited for. A run takes memory only
// for images larger than all before. ARGUMENT names the image.
osp_status osp_detector_gpu_enqueue(osp_detector_gpu *detector, const osp_image *images, int32_t n,
                                    osp_ticket *ticket, osp_error *err);
// After the session waited for the ticket: what osp_postprocess_run does with outputs.
osp_status osp_detector_gpu_collect(const osp_detector_gpu *detector, osp_ticket ticket, int32_t n,
                                    int32_t first, osp_detection *out, size_t capacity,
                                    size_t *found, osp_error *err);

#endif
