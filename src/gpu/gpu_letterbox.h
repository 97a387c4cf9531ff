// Images to network input on the GPU: a whole batch of any formats, sizes and pitches in one launch.
// The uint8 result has the bytes of src/vision/letterbox.c, float32 is its pixel / 255 with the same
// bits, float16 that rounded to nearest even. Owns nothing. Thread rule: see gpu.h.
#ifndef OSP_GPU_GPU_LETTERBOX_H
#define OSP_GPU_GPU_LETTERBOX_H

#include "gpu/gpu.h"

typedef struct osp_gpu_letterbox {
    const osp_image *images;  // n; their pixels in memory that the device reaches
    const osp_gpu_fit *fits;  // n, on the host
    int32_t n;
    int32_t dst_w, dst_h;
    osp_dtype dtype;        // UINT8, FLOAT16 or FLOAT32
    bool interleaved;       // true: n x h x w x 3; false: n x 3 x h x w. RGB in any case
    void *dst;              // device memory, aligned for its element
    osp_gpu_fit *fits_out;  // NULL, or device memory that receives the n fits (for gpu_boxes.h)
} osp_gpu_letterbox;

// Enqueues it (scope). ARGUMENT: an image or fit that cannot be, named by its place in the batch.
osp_status osp_gpu_letterbox_run(osp_gpu *gpu, const osp_gpu_letterbox *job, osp_gpu_stream stream,
                                 osp_error *err);

// Host pixels on their way to the device: rows packed, each plane on a line of its own. The bytes
// that a checked image takes so.
size_t osp_gpu_image_bytes(const osp_image *image);
// Copies the pixels to `staging` and describes them in `out` as they will lie at `device`, once those
// bytes have been copied there.
void osp_gpu_image_pack(const osp_image *image, uint8_t *staging, uint8_t *device, osp_image *out);
// The same for page-locked pixels, which need no staging: enqueues the copy to `device` (scope).
osp_status osp_gpu_image_copy(osp_gpu *gpu, const osp_image *image, uint8_t *device, osp_image *out,
                              osp_gpu_stream stream, osp_error *err);

#endif
