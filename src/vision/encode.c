// Image files by libjpeg-turbo and libspng: encoded in memory, then written atomically.
// libjpeg's errors are longjmps; `encoder` holds what must survive one. Thread rule: any thread.
#include "vision/encode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jpeglib.h>
#include <spng.h>

#include "base/file.h"
#include "base/pixels.h"

enum { JPEG_QUALITY = 90, PNG_LEVEL = 3, SINK_BYTES = 64 << 10 };

typedef struct encoder {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    osp_error *err;
    osp_status status;
    // libjpeg's own memory destination leaves a stale pointer when it runs out of memory: ours.
    struct jpeg_destination_mgr sink;
    osp_mem *mem;
    void *bytes;
    size_t capacity, size;
} encoder;

static void on_error(j_common_ptr info)
{
    encoder *e = info->client_data;
    char text[JMSG_LENGTH_MAX];
    e->errors.format_message(info, text);
    e->status = osp_error_set(e->err, OSP_ERROR_SYSTEM, "JPEG: %s", text);
    longjmp(e->jump, 1);
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

static void sink_point(encoder *e, size_t used)
{
    e->sink.next_output_byte = (JOCTET *)e->bytes + used;
    e->sink.free_in_buffer = e->capacity - used;
}

static void sink_grow(encoder *e)
{
    const size_t used = e->capacity;
    if (!osp_mem_reserve(e->mem, &e->bytes, &e->capacity, used + SINK_BYTES, 1)) {
        e->status = osp_error_set(e->err, OSP_ERROR_MEMORY, "out of memory");
        longjmp(e->jump, 1);
    }
    sink_point(e, used);
}

static void sink_init(j_compress_ptr info)
{
    sink_grow(info->client_data);
}

static boolean sink_full(j_compress_ptr info)  // called when all of the buffer is used
{
    sink_grow(info->client_data);
    return TRUE;
}

static void sink_end(j_compress_ptr info)
{
    encoder *e = info->client_data;
    e->size = e->capacity - e->sink.free_in_buffer;
}

static J_COLOR_SPACE jpeg_space(osp_pixel_format format)
{
    switch (format) {
    case OSP_PIXEL_RGB:
        return JCS_EXT_RGB;
    case OSP_PIXEL_BGR:
        return JCS_EXT_BGR;
    case OSP_PIXEL_RGBA:
        return JCS_EXT_RGBX;
    case OSP_PIXEL_BGRA:
        return JCS_EXT_BGRX;
    default:
        return JCS_GRAYSCALE;
    }
}

static void encode_pixels(encoder *e, const osp_image *image)
{
    struct jpeg_compress_struct *jpeg = &e->jpeg;
    jpeg_create_compress(jpeg);
    e->sink = (struct jpeg_destination_mgr){.init_destination = sink_init,
                                            .empty_output_buffer = sink_full,
                                            .term_destination = sink_end};
    jpeg->dest = &e->sink;
    jpeg->image_width = (JDIMENSION)image->width;
    jpeg->image_height = (JDIMENSION)image->height;
    jpeg->input_components = osp_pixel_bytes(image->format);
    jpeg->in_color_space = jpeg_space(image->format);
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, JPEG_QUALITY, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = (JSAMPROW)osp_image_row(image, 0, (int32_t)jpeg->next_scanline);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    e->status = OSP_OK;
}

// Apart, because a function that calls setjmp may not trust its own variables afterwards.
static void encode_guarded(encoder *e, const osp_image *image)
{
    if (setjmp(e->jump) == 0)
        encode_pixels(e, image);
}

static osp_status write_jpeg(osp_context *ctx, const char *path, const osp_image *image,
                             osp_error *err)
{
    if (image->width > JPEG_MAX_DIMENSION || image->height > JPEG_MAX_DIMENSION)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "%d x %d pixels: JPEG holds at most %ld a side: write a .png", image->width,
                 image->height, (long)JPEG_MAX_DIMENSION);
    encoder e = {.err = err, .status = OSP_ERROR_SYSTEM, .mem = &ctx->mem};
    e.jpeg.client_data = &e;
    e.jpeg.err = jpeg_std_error(&e.errors);
    e.errors.error_exit = on_error;
    e.errors.output_message = on_output;
    encode_guarded(&e, image);
    osp_status status = e.status;
    if (status == OSP_OK)
        status = osp_file_write(path, &(osp_bytes){e.bytes, e.size}, 1, err);
    jpeg_destroy_compress(&e.jpeg);
    osp_mem_free(e.mem, e.bytes);
    return status;
}

// Row y as RGB or grey, without alpha.
static void png_row(uint8_t *dst, const osp_image *image, int32_t y)
{
    const uint8_t *src = osp_image_row(image, 0, y);
    if (image->format == OSP_PIXEL_GREY) {
        memcpy(dst, src, (size_t)image->width);
        return;
    }
    const int32_t step = osp_pixel_bytes(image->format);
    const bool reversed = image->format == OSP_PIXEL_BGR || image->format == OSP_PIXEL_BGRA;
    const int r = reversed ? 2 : 0, b = 2 - r;
    for (int32_t x = 0; x < image->width; x++, src += step, dst += 3) {
        dst[0] = src[r];
        dst[1] = src[1];
        dst[2] = src[b];
    }
}

static int encode_png(spng_ctx *png, uint8_t *row, const osp_image *image)
{
    const bool grey = image->format == OSP_PIXEL_GREY;
    struct spng_ihdr ihdr = {.width = (uint32_t)image->width,
                             .height = (uint32_t)image->height,
                             .bit_depth = 8,
                             .color_type = grey ? SPNG_COLOR_TYPE_GRAYSCALE
                                                : SPNG_COLOR_TYPE_TRUECOLOR};
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (!code)
        code = spng_set_option(png, SPNG_IMG_COMPRESSION_LEVEL, PNG_LEVEL);
    if (!code)
        code = spng_set_ihdr(png, &ihdr);
    if (!code)
        code = spng_encode_image(png, NULL, 0, SPNG_FMT_PNG,
                                 SPNG_ENCODE_PROGRESSIVE | SPNG_ENCODE_FINALIZE);
    const size_t row_bytes = (size_t)image->width * (grey ? 1 : 3);
    for (int32_t y = 0; !code && y < image->height; y++) {
        png_row(row, image, y);
        code = spng_encode_row(png, row, row_bytes);
    }
    return code == SPNG_EOI ? 0 : code;
}

static osp_status write_png(osp_context *ctx, const char *path, const osp_image *image,
                            osp_error *err)
{
    uint8_t *row = osp_mem_alloc(&ctx->mem, (size_t)image->width * 3);
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    void *bytes = NULL;
    size_t size = 0;
    int code = row && png ? encode_png(png, row, image) : SPNG_EMEM;
    if (!code)
        bytes = spng_get_png_buffer(png, &size, &code);
    if (!code && !bytes)
        code = SPNG_EMEM;
    osp_status status;
    if (code)
        status = osp_error_set(err, code == SPNG_EMEM ? OSP_ERROR_MEMORY : OSP_ERROR_SYSTEM,
                               "PNG: %s", spng_strerror(code));
    else
        status = osp_file_write(path, &(osp_bytes){bytes, size}, 1, err);
    free(bytes);
    spng_ctx_free(png);
    osp_mem_free(&ctx->mem, row);
    return status;
}

osp_status osp_image_encode(osp_context *ctx, const char *path, const osp_image *image,
                            osp_error *err)
{
    OSP_TRY(osp_image_check(image, err));
    if (osp_pixel_is_yuv(image->format))
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "NV12 and I420 pixels are not written: convert them to RGB");
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (!dot || (slash && slash > dot))
        dot = "";
    if (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0)
        return write_jpeg(ctx, path, image, err);
    if (strcasecmp(dot, ".png") == 0)
        return write_png(ctx, path, image, err);
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
             "images are written as .jpg, .jpeg or .png, and not as \"%s\"", dot);
}
