// JPEG and PNG files to upright RGB pixels. Owns nothing: pixels are one block of the context's
// memory. Thread rule: any thread.
#ifndef OSP_VISION_DECODE_H
#define OSP_VISION_DECODE_H

#include "base/context.h"

// Decodes by content. Formats we know but do not read: OSP_ERROR_UNSUPPORTED with the name. Damaged
// data, truncation included: OSP_ERROR_CORRUPT; no part of a picture is ever returned as a whole
// one. Over limits.image_pixels: OSP_ERROR_LIMIT, before the pixels are allocated. On success `out`
// is dense RGB with owner NULL; free plane[0] with osp_mem_free(&ctx->mem, ...).
osp_status osp_image_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_image *out,
                            osp_error *err);

// What the decoders hand to osp_image_decode: dense RGB rows and how to turn them.
typedef struct osp_raster {
    uint8_t *rgb;  // of ctx->mem
    int32_t width, height;
    int orientation;  // EXIF, 1..8
} osp_raster;

osp_status osp_jpeg_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_raster *out,
                           osp_error *err);
osp_status osp_png_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_raster *out,
                          osp_error *err);

// Allocates out->rgb for width x height, after the checks of the limit and of plausibility: a file
// of `size` bytes cannot hold more than `most_pixels`, so a tiny file cannot claim a huge picture.
osp_status osp_raster_alloc(osp_context *ctx, osp_raster *out, uint64_t width, uint64_t height,
                            uint64_t most_pixels, osp_error *err);

#endif
