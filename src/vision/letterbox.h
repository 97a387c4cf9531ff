// Images to network input: letterbox or stretch, bytes equal to cv2.resize(..., INTER_LINEAR) of
// 3-channel 8-bit images, then Ultralytics' padding; and boxes back to the source image.
// A letterboxer owns its tables and rows. Thread rule: one letterboxer from one thread at a time.
#ifndef OSP_VISION_LETTERBOX_H
#define OSP_VISION_LETTERBOX_H

#include "base/context.h"

enum { OSP_LETTERBOX_PAD = 114 };

// Where a source image lies in the network's input.
typedef struct osp_letterbox {
    int32_t src_w, src_h;
    int32_t dst_w, dst_h;    // the network's input
    int32_t width, height;   // of the resized image inside it
    int32_t left, top;       // padding
    float scale_x, scale_y;  // width / src_w, height / src_h
} osp_letterbox;

// LETTERBOX: r = min(dst_h / src_h, dst_w / src_w), each side max(round(side * r), 1), padding
// split in halves, of which left and top are round(half - 0.1); rounding is to even, all in double.
// STRETCH: the whole input. Any other mode counts as LETTERBOX. Sizes must be positive.
osp_letterbox osp_letterbox_fit(osp_resize mode, int32_t src_w, int32_t src_h, int32_t dst_w,
                                int32_t dst_h);

// x1 y1 x2 y2 in input pixels to source pixels, clipped to the source image.
void osp_letterbox_unmap(const osp_letterbox *geometry, const float box[4], float out[4]);

typedef enum osp_letterbox_layout {
    OSP_LETTERBOX_U8_HWC,   // uint8, RGB interleaved
    OSP_LETTERBOX_F32_CHW,  // float32 planes R, G, B: pixel / 255
    OSP_LETTERBOX_F32_HWC   // float32, RGB interleaved: pixel / 255
} osp_letterbox_layout;

typedef struct osp_letterboxer osp_letterboxer;

// For inputs of dst_w x dst_h. A run takes no memory, but for the first of an NV12 or I420 image
// that is wider than all before.
osp_status osp_letterboxer_open(osp_letterboxer **out, osp_context *ctx, int32_t dst_w,
                                int32_t dst_h, osp_error *err);
void osp_letterboxer_close(osp_letterboxer **boxer);

// Writes one image as dst_h x dst_w x 3 elements at `dst`, in RGB order whatever the source's is,
// padding included; `dst` is aligned for its element. YUV becomes RGB before resizing.
osp_status osp_letterboxer_run(osp_letterboxer *boxer, const osp_image *image, osp_resize mode,
                               osp_letterbox_layout layout, void *dst, osp_letterbox *geometry,
                               osp_error *err);

#endif
