// Which format a file is, and turning pictures upright. The decoders themselves are in
// decode_jpeg.c and decode_png.c. Owns nothing. Thread rule: any thread.
#include "vision/decode.h"

#include <string.h>

#include "base/size.h"

// Formats that people try. `at`: where the mark stands.
static const struct {
    uint8_t at, length;
    const char mark[13];
    const char *name;
} known[] = {
    {0, 4, "GIF8", "GIF"},
    {8, 4, "WEBP", "WebP"},
    {0, 2, "BM", "BMP"},
    {0, 4, "II*\0", "TIFF"},
    {0, 4, "MM\0*", "TIFF"},
    {0, 4, "II+\0", "BigTIFF"},
    {0, 4, "MM\0+", "BigTIFF"},
    {4, 8, "ftypavif", "AVIF"},
    {4, 8, "ftypavis", "AVIF"},
    {4, 8, "ftypheic", "HEIC"},
    {4, 8, "ftypheix", "HEIC"},
    {4, 8, "ftyphevc", "HEIC"},
    {4, 8, "ftypmif1", "HEIF"},
    {4, 8, "ftypmsf1", "HEIF"},
    {4, 4, "ftyp", "MP4 or QuickTime"},
    {0, 2, "\xFF\x0A", "JPEG XL"},
    {0, 8, "\0\0\0\x0CJXL ", "JPEG XL"},
    {0, 8, "\0\0\0\x0CjP  ", "JPEG 2000"},
    {0, 4, "\xFF\x4F\xFF\x51", "JPEG 2000"},
    {0, 4, "8BPS", "Photoshop"},
    {0, 4, "\0\0\1\0", "ICO"},
    {0, 4, "qoif", "QOI"},
    {0, 4, "\x76\x2F\x31\x01", "OpenEXR"},
    {0, 10, "#?RADIANCE", "Radiance HDR"},
    {0, 4, "DDS ", "DDS"},
    {0, 4, "%PDF", "PDF"},
    {0, 4, "<svg", "SVG"},
    {0, 8, "\x8AMNG\r\n\x1A\n", "MNG"},
};

static const char *known_name(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (size >= (size_t)known[i].at + known[i].length &&
            memcmp(bytes + known[i].at, known[i].mark, known[i].length) == 0)
            return known[i].name;
    if (size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7' &&
        (bytes[2] == ' ' || bytes[2] == '\n' || bytes[2] == '\r' || bytes[2] == '\t'))
        return "PNM";
    return NULL;
}

osp_status osp_raster_alloc(osp_context *ctx, osp_raster *out, uint64_t width, uint64_t height,
                            uint64_t most_pixels, osp_error *err)
{
    uint64_t pixels;
    size_t bytes;
    if (width == 0 || height == 0 || width > INT32_MAX || height > INT32_MAX)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "image of %llu x %llu pixels: the file is malformed",
                 (unsigned long long)width, (unsigned long long)height);
    pixels = width * height;  // below 2^62
    if (pixels > ctx->limits.image_pixels)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 "image of %llu x %llu pixels is over the limit of %llu pixels: make it smaller, "
                 "or raise limits.image_pixels",
                 (unsigned long long)width, (unsigned long long)height,
                 (unsigned long long)ctx->limits.image_pixels);
    if (pixels > most_pixels)
        OSP_FAIL(err, OSP_ERROR_CORRUPT,
                 "too short for an image of %llu x %llu pixels: the file is truncated; copy or "
                 "download it again",
                 (unsigned long long)width, (unsigned long long)height);
    if (!osp_size_mul((size_t)pixels, 3, &bytes))
        OSP_FAIL_MEMORY(err);
    out->rgb = osp_mem_alloc(&ctx->mem, bytes);
    if (!out->rgb)
        OSP_FAIL(err, OSP_ERROR_MEMORY, "out of memory for an image of %llu x %llu pixels",
                 (unsigned long long)width, (unsigned long long)height);
    out->width = (int32_t)width;
    out->height = (int32_t)height;
    return OSP_OK;
}

// Where the walk through the stored pixels starts in the upright picture, and its two steps.
typedef struct turn {
    ptrdiff_t start, along_x, along_y;  // in pixels
} turn;

static turn turn_of(int orientation, ptrdiff_t w, ptrdiff_t h)
{
    const ptrdiff_t last = w * h - 1;
    // clang-format off
    switch (orientation) {  // right column: where a stored pixel (x, y) belongs
    case 2: return (turn){w - 1, -1, w};          // (w-1-x, y)
    case 3: return (turn){last, -1, -w};          // (w-1-x, h-1-y)
    case 4: return (turn){last - w + 1, 1, -w};   // (x, h-1-y)
    case 5: return (turn){0, h, 1};               // (y, x)
    case 6: return (turn){h - 1, h, -1};          // (h-1-y, x)
    case 7: return (turn){last, -h, -1};          // (h-1-y, w-1-x)
    case 8: return (turn){last - h + 1, -h, 1};   // (y, w-1-x)
    default: return (turn){0, 1, w};
    }
    // clang-format on
}

// Replaces the pixels by the upright picture.
static osp_status turn_upright(osp_context *ctx, osp_raster *raster, osp_error *err)
{
    const int32_t w = raster->width, h = raster->height;
    const turn t = turn_of(raster->orientation, w, h);
    uint8_t *dst = osp_mem_alloc(&ctx->mem, (size_t)w * (size_t)h * 3);
    if (!dst)
        OSP_FAIL(err, OSP_ERROR_MEMORY, "out of memory to turn an image of %d x %d pixels", w, h);
    const uint8_t *src = raster->rgb;
    for (int32_t y = 0; y < h; y++) {
        ptrdiff_t at = t.start + t.along_y * y;
        for (int32_t x = 0; x < w; x++, src += 3, at += t.along_x)
            memcpy(dst + at * 3, src, 3);
    }
    osp_mem_free(&ctx->mem, raster->rgb);
    raster->rgb = dst;
    if (raster->orientation >= 5) {
        raster->width = h;
        raster->height = w;
    }
    return OSP_OK;
}

osp_status osp_image_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_image *out,
                            osp_error *err)
{
    memset(out, 0, sizeof *out);
    osp_raster raster = {.orientation = 1};
    if (size == 0)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the file is empty: expected a JPEG or PNG image");
    if (size >= 3 && memcmp(bytes, "\xFF\xD8\xFF", 3) == 0) {
        OSP_TRY(osp_jpeg_decode(ctx, bytes, size, &raster, err));
    } else if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1A\n", 8) == 0) {
        OSP_TRY(osp_png_decode(ctx, bytes, size, &raster, err));
    } else {
        const char *name = known_name(bytes, size);
        if (name)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "%s is not read: convert the image to JPEG or PNG first", name);
        OSP_FAIL(err, OSP_ERROR_FORMAT, "not an image: expected a JPEG or PNG file");
    }
    if (raster.orientation != 1) {
        const osp_status status = turn_upright(ctx, &raster, err);
        if (status != OSP_OK) {
            osp_mem_free(&ctx->mem, raster.rgb);
            return status;
        }
    }
    out->plane[0] = raster.rgb;
    out->pitch_bytes[0] = (size_t)raster.width * 3;
    out->width = raster.width;
    out->height = raster.height;
    out->format = OSP_PIXEL_RGB;
    return OSP_OK;
}
