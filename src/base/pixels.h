// What the pixel formats mean in memory, checks of an image a caller hands in, and rows of it as
// RGB. Shared by letterbox, encoding and drawing. Thread rule: pure functions.
#ifndef OSP_BASE_PIXELS_H
#define OSP_BASE_PIXELS_H

#include "base/error.h"

enum { OSP_IMAGE_SIDE_MAX = 1 << 26 };  // byte offsets within a row fit int32_t

// Bytes of a pixel of plane 0: 3, 4 or 1.
int32_t osp_pixel_bytes(osp_pixel_format format);
bool osp_pixel_is_yuv(osp_pixel_format format);
int32_t osp_pixel_planes(osp_pixel_format format);

// Fails with OSP_ERROR_ARGUMENT for a missing plane, a bad size, a pitch below a row's bytes or an
// unknown format; with OSP_ERROR_UNSUPPORTED for pixels in device memory.
osp_status osp_image_check(const osp_image *image, osp_error *err);
// The same for pixels anywhere.
osp_status osp_image_check_anywhere(const osp_image *image, osp_error *err);

// Bytes of a row of a plane, without what the pitch adds.
size_t osp_image_row_bytes(const osp_image *image, int plane);

// First byte of row y of a plane; pitch 0 means dense.
const uint8_t *osp_image_row(const osp_image *image, int plane, int32_t y);

typedef struct osp_yuv_matrix {
    int32_t black, y, rv, gu, gv, bu;  // black: of Y; gu and gv are subtracted
} osp_yuv_matrix;

enum { OSP_YUV_SHIFT = 20 };

osp_yuv_matrix osp_image_yuv(const osp_image *image);

// NV12 or I420 row y to packed RGB. A chroma sample serves the 2 x 2 pixels it covers. With
// Y' = Y - 16 (limited, at least 0) or Y (full), U' = U - 128, V' = V - 128, each channel is
//     clamp((ky * Y' + ku * U' + kv * V' + 2^19) >> 20)
// and the k of each matrix and range are a table of 2^20 multiples; those of limited BT.601 are
// OpenCV's (1.164, 1.596, 0.391, 0.813, 2.018), so that its cvtColor gives the same bytes.
void osp_yuv_row(uint8_t *rgb, const osp_image *image, int32_t y);

#endif
