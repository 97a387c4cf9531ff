// Pixels to JPEG and PNG files. Owns nothing. Thread rule: any thread.
#ifndef OSP_VISION_ENCODE_H
#define OSP_VISION_ENCODE_H

#include "base/context.h"

// Writes RGB, BGR, RGBA, BGRA (alpha is dropped) or GREY whole or not at all: .jpg and .jpeg at
// quality 90 with halved chroma, .png. Another ending: OSP_ERROR_UNSUPPORTED.
osp_status osp_image_encode(osp_context *ctx, const char *path, const osp_image *image,
                            osp_error *err);

#endif
