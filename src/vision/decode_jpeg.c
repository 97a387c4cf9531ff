// JPEG by libjpeg-turbo's libjpeg interface and not its TurboJPEG one, because only the former lets
// us tell damage from harmless warnings, stop after too many scans, and know the picture's size
// before anything is allocated for it. Decoding keeps the library's defaults (accurate integer
// DCT, smooth chroma upsampling), which are OpenCV's too, so that pixels are equal.
// libjpeg reports errors by longjmp: everything that must survive one lives in `decoder`, and no
// function with its own resources is jumped over. Thread rule: any thread.
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "vision/decode.h"
#include "vision/exif.h"

enum {
    MAX_SCANS = 100,  // encoders write about 10; each costs a pass over the picture
    // Huffman codes take at least one bit a block: 64 pixels of luma a bit. Arithmetic coding has
    // no such floor.
    PIXELS_PER_BYTE = 1024,
    FREE_PIXELS = 1 << 20,  // always plausible
    CMYK_CHANNELS = 4
};

typedef struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf jump;
    osp_context *ctx;
    size_t size;
    osp_raster *raster;
    uint8_t *row;  // CMYK only
    osp_error *err;
    osp_status status;  // of what was jumped out of
    bool started;       // the header was read
    bool ran_out;       // libjpeg asked for more bytes than there are
} decoder;

static osp_status jpeg_status(const decoder *d)
{
    switch (d->errors.msg_code) {
    case JERR_OUT_OF_MEMORY:
        return OSP_ERROR_MEMORY;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_SOF_UNSUPPORTED:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_NOT_COMPILED:
        return OSP_ERROR_UNSUPPORTED;
    default:
        return d->started ? OSP_ERROR_CORRUPT : OSP_ERROR_FORMAT;
    }
}

static void on_error(j_common_ptr info)
{
    decoder *d = info->client_data;
    char text[JMSG_LENGTH_MAX];
    d->errors.format_message(info, text);
    const osp_status status = jpeg_status(d);
    d->status = osp_error_set(d->err, status, "JPEG: %s: %s", text,
                              status == OSP_ERROR_MEMORY        ? "free some memory"
                              : status == OSP_ERROR_UNSUPPORTED ? "save it as a baseline JPEG"
                                                                : "the file is damaged");
    longjmp(d->jump, 1);
}

// Warnings about lost pixels are errors here; those about harmless oddities are passed over.
static void on_message(j_common_ptr info, int level)
{
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
        return;
    default:
        on_error(info);
    }
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

static void source_nothing(j_decompress_ptr info)
{
    (void)info;
}

// Past the end: hand out an end marker. A file that lacks only that marker is complete; one that
// lacks pixels makes libjpeg warn of a premature end, which on_message turns into an error.
static boolean source_fill(j_decompress_ptr info)
{
    static const JOCTET end[2] = {0xFF, JPEG_EOI};
    ((decoder *)info->client_data)->ran_out = true;
    info->src->next_input_byte = end;
    info->src->bytes_in_buffer = sizeof end;
    return TRUE;
}

static void source_skip(j_decompress_ptr info, long count)
{
    if (count <= 0)
        return;
    if ((unsigned long)count > info->src->bytes_in_buffer) {
        source_fill(info);
        return;
    }
    info->src->next_input_byte += count;
    info->src->bytes_in_buffer -= (size_t)count;
}

static void on_progress(j_common_ptr info)
{
    decoder *d = info->client_data;
    if (d->jpeg.input_scan_number <= MAX_SCANS)
        return;
    d->status = osp_error_set(d->err, OSP_ERROR_LIMIT,
                              "JPEG: more than %d scans: save it again with another program",
                              MAX_SCANS);
    longjmp(d->jump, 1);
}

static int find_orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return osp_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

// Inks to RGB, in OpenCV's arithmetic. Files with an Adobe marker store inks inverted, and so does
// everything else in practice.
static void cmyk_row(uint8_t *dst, const uint8_t *src, int32_t width)
{
    for (int32_t x = 0; x < width; x++, src += 4, dst += 3) {
        const int k = src[3];
        for (int c = 0; c < 3; c++)
            dst[c] = (uint8_t)(k - ((255 - src[c]) * k >> 8));
    }
}

static void fail(decoder *d, osp_status status)
{
    d->status = status;
    longjmp(d->jump, 1);
}

// Runs under the jump buffer; leaves only by returning or by longjmp.
static void decode_pixels(decoder *d)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->src = &d->source;
    jpeg->progress = &d->progress;
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    d->started = true;
    d->raster->orientation = find_orientation(jpeg);
    const bool inks = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = inks ? JCS_CMYK : JCS_EXT_RGB;
    const uint64_t most = jpeg->arith_code ? UINT64_MAX
                                           : (uint64_t)d->size * PIXELS_PER_BYTE + FREE_PIXELS;
    const osp_status status = osp_raster_alloc(d->ctx, d->raster, jpeg->image_width,
                                               jpeg->image_height, most, d->err);
    if (status != OSP_OK)
        fail(d, status);
    const size_t width = (size_t)d->raster->width;
    if (inks && !(d->row = osp_mem_alloc(&d->ctx->mem, width * CMYK_CHANNELS)))
        fail(d, osp_error_set(d->err, OSP_ERROR_MEMORY, "out of memory"));
    jpeg_start_decompress(jpeg);
    if (jpeg->buffered_image == FALSE && jpeg_has_multiple_scans(jpeg) && d->ran_out)
        fail(d, osp_error_set(d->err, OSP_ERROR_CORRUPT,
                              "JPEG: cut off between two scans: the file is truncated"));
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *dst = d->raster->rgb + (size_t)jpeg->output_scanline * width * 3;
        JSAMPROW row = inks ? d->row : dst;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (inks)
            cmyk_row(dst, d->row, d->raster->width);
    }
    d->status = OSP_OK;  // what follows the last row is not looked at
}

// Apart, because a function that calls setjmp may not trust its own variables afterwards.
static void decode_guarded(decoder *d)
{
    if (setjmp(d->jump) == 0)
        decode_pixels(d);
}

osp_status osp_jpeg_decode(osp_context *ctx, const uint8_t *bytes, size_t size, osp_raster *out,
                           osp_error *err)
{
    decoder d = {.ctx = ctx, .size = size, .raster = out, .err = err, .status = OSP_ERROR_SYSTEM};
    d.jpeg.client_data = &d;  // kept by jpeg_create_decompress, and needed if that fails
    d.jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    d.errors.output_message = on_output;
    d.progress.progress_monitor = on_progress;
    d.source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                        .bytes_in_buffer = size,
                                        .init_source = source_nothing,
                                        .fill_input_buffer = source_fill,
                                        .skip_input_data = source_skip,
                                        .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = source_nothing};
    decode_guarded(&d);
    jpeg_destroy_decompress(&d.jpeg);
    osp_mem_free(&ctx->mem, d.row);
    if (d.status != OSP_OK) {
        osp_mem_free(&ctx->mem, out->rgb);
        out->rgb = NULL;
    }
    return d.status;
}
