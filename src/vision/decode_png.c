// PNG by libspng: any depth, palette, grey and interlace to 8-bit RGB. 16-bit samples keep their
// high byte, alpha is dropped without blending and gamma is left alone, as OpenCV does.
// Thread rule: any thread.
#include <string.h>

#include <spng.h>

#include "vision/decode.h"
#include "vision/exif.h"

enum {
    DEFLATE_RATIO = 1032,    // no deflate stream grows by more
    FREE_PIXELS = 1 << 20,   // always plausible
    CHUNK_BYTES = 32 << 20,  // one stored chunk
    CACHE_BYTES = 64 << 20   // all stored chunks
};

static osp_status png_fail(osp_error *err, int code, bool header)
{
    if (code == SPNG_EMEM)
        OSP_FAIL(err, OSP_ERROR_MEMORY, "PNG: out of memory");
    if (code == SPNG_EOF || code == SPNG_IO_EOF)
        OSP_FAIL(err, OSP_ERROR_CORRUPT, "PNG: the file is truncated: copy or download it again");
    OSP_FAIL(err, header ? OSP_ERROR_FORMAT : OSP_ERROR_CORRUPT, "PNG: %s: the file is damaged",
             spng_strerror(code));
}

static uint64_t most_pixels(const struct spng_ihdr *ihdr, size_t size)
{
    const uint32_t channels = ihdr->color_type == SPNG_COLOR_TYPE_TRUECOLOR         ? 3
                              : ihdr->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ? 2
                              : ihdr->color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA ? 4
                                                                                    : 1;
    return (uint64_t)size * DEFLATE_RATIO * 8 / (channels * ihdr->bit_depth) + FREE_PIXELS;
}

static osp_status decode_with(spng_ctx *png, osp_context *ctx, const uint8_t *bytes, size_t size,
                              osp_raster *out, osp_error *err)
{
    struct spng_ihdr ihdr;
    int code = spng_set_png_buffer(png, bytes, size);
    if (!code)
        code = spng_set_chunk_limits(png, CHUNK_BYTES, CACHE_BYTES);
    if (!code)  // a bad checksum in a chunk that holds no pixels loses nothing
        code = spng_set_crc_action(png, SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
    if (!code)
        code = spng_get_ihdr(png, &ihdr);
    if (code)
        return png_fail(err, code, true);
    OSP_TRY(osp_raster_alloc(ctx, out, ihdr.width, ihdr.height, most_pixels(&ihdr, size), err));
    const size_t bytes_out = (size_t)out->width * (size_t)out->height * 3;
    code = spng_decode_image(png, out->rgb, bytes_out, SPNG_FMT_RGB8, 0);
    if (code)
        return png_fail(err, code, false);
    // EXIF may stand after the pixels; damage there loses none.
    struct spng_exif exif;
    if (spng_decode_chunks(png) == 0 && spng_get_exif(png, &exif) == 0)
        out->orientation = osp_exif_orientation((const uint8_t *)exif.data, exif.length);
    return OSP_OK;
}

osp_status osp_png_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_raster *out,
                          osp_error *err)
{
    spng_ctx *png = spng_ctx_new(0);
    if (!png)
        OSP_FAIL(err, OSP_ERROR_MEMORY, "PNG: out of memory");
    const osp_status status = decode_with(png, ctx, bytes, size, out, err);
    spng_ctx_free(png);
    if (status != OSP_OK) {
        osp_mem_free(&ctx->mem, out->rgb);
        out->rgb = NULL;
    }
    return status;
}
