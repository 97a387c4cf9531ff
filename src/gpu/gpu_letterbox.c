// Launching the letterbox kernel: checks, and a batch split where it is larger than a launch takes.
// Thread rule: see gpu.h.
#include "gpu/gpu_letterbox.h"

#include <string.h>

#include "gpu/gpu_kernels.h"

static osp_status check_fit(const osp_gpu_letterbox *job, const osp_image *image,
                            const osp_gpu_fit *fit, osp_error *err)
{
    if (fit->src_w != image->width || fit->src_h != image->height || fit->width < 1 ||
        fit->height < 1 || fit->left < 0 || fit->top < 0 || fit->width > job->dst_w ||
        fit->height > job->dst_h || fit->left > job->dst_w - fit->width ||
        fit->top > job->dst_h - fit->height)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "its place does not lie in the input of %d x %d",
                 job->dst_w, job->dst_h);
    return OSP_OK;
}

static osp_status describe(osp_gpu_source *s, const osp_gpu_letterbox *job, int32_t i,
                           osp_error *err)
{
    const osp_image *image = job->images + i;
    const osp_gpu_fit *fit = job->fits + i;
    OSP_TRY(osp_image_check_anywhere(image, err));
    OSP_TRY(check_fit(job, image, fit, err));
    memset(s, 0, sizeof *s);
    for (int p = 0; p < osp_pixel_planes(image->format); p++) {
        s->plane[p] = image->plane[p];
        s->pitch[p] = image->pitch_bytes[p] ? image->pitch_bytes[p] : osp_image_row_bytes(image, p);
    }
    s->bytes = s->pitch[0] * (uint64_t)(image->height - 1) + osp_image_row_bytes(image, 0);
    // As letterbox.c computes it.
    s->step_x = 1.0 / ((double)fit->width / fit->src_w);
    s->step_y = 1.0 / ((double)fit->height / fit->src_h);
    s->fit = *fit;
    s->format = (uint8_t)image->format;
    s->halved = fit->src_w == 2 * (int64_t)fit->width && fit->src_h == 2 * (int64_t)fit->height;
    if (osp_pixel_is_yuv(image->format))
        s->yuv = osp_image_yuv(image);
    return OSP_OK;
}

static osp_status pick(const osp_gpu_letterbox *job, const osp_gpu_kernel **kernel, osp_error *err)
{
    *kernel = job->dtype == OSP_DTYPE_UINT8     ? &osp_kernel_letterbox_u8
              : job->dtype == OSP_DTYPE_FLOAT16 ? &osp_kernel_letterbox_f16
                                                : &osp_kernel_letterbox_f32;
    if (job->dtype != OSP_DTYPE_UINT8 && job->dtype != OSP_DTYPE_FLOAT16 &&
        job->dtype != OSP_DTYPE_FLOAT32)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "letterbox to %s: uint8, float16 and float32 are made",
                 osp_dtype_name(job->dtype));
    if (job->n < 1 || job->dst_w < 1 || job->dst_h < 1 || job->dst_w > OSP_IMAGE_SIDE_MAX ||
        job->dst_h > OSP_IMAGE_SIDE_MAX || !job->dst)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "letterbox of %d images to %d x %d pixels", job->n,
                 job->dst_w, job->dst_h);
    return OSP_OK;
}

static uint32_t tiles(int32_t side, int32_t tile)
{
    return ((uint32_t)side + (uint32_t)tile - 1) / (uint32_t)tile;
}

osp_status osp_gpu_letterbox_run(osp_gpu *gpu, const osp_gpu_letterbox *job, osp_gpu_stream stream,
                                 osp_error *err)
{
    const osp_gpu_kernel *kernel;
    OSP_TRY(pick(job, &kernel, err));
    const int64_t plane = (int64_t)job->dst_w * job->dst_h;
    osp_letterbox_args args;
    memset(&args, 0, sizeof args);
    args.dst_w = job->dst_w;
    args.dst_h = job->dst_h;
    args.channel_step = job->interleaved ? 1 : plane;
    args.pixel_step = job->interleaved ? 3 : 1;
    for (int32_t first = 0; first < job->n; first += OSP_GPU_IMAGES_MAX) {
        const int32_t rest = job->n - first < OSP_GPU_IMAGES_MAX ? job->n - first
                                                                 : OSP_GPU_IMAGES_MAX;
        for (int32_t i = 0; i < rest; i++) {
            const osp_status status = describe(&args.source[i], job, first + i, err);
            if (status) {
                osp_error_prefix(err, "image %d", first + i);
                return status;
            }
        }
        const size_t element = osp_dtype_bytes(job->dtype);
        args.dst = (char *)job->dst + (size_t)first * 3 * (size_t)plane * element;
        args.fits_out = job->fits_out ? job->fits_out + first : NULL;
        const osp_gpu_shape shape = {.grid = {tiles(job->dst_w, OSP_LETTERBOX_TILE_W),
                                              tiles(job->dst_h, OSP_LETTERBOX_TILE_H),
                                              (uint32_t)rest},
                                     .block = {OSP_LETTERBOX_TILE_W}};
        OSP_TRY(osp_gpu_launch(gpu, kernel, &shape, &args, sizeof args, stream, err));
    }
    return OSP_OK;
}

static size_t plane_rows(const osp_image *image, int plane)
{
    return plane == 0 ? (size_t)image->height : ((size_t)image->height + 1) / 2;
}

// From the start of a plane to that of the next.
static size_t plane_bytes(const osp_image *image, int plane)
{
    enum { LINE = 256 };
    const size_t bytes = osp_image_row_bytes(image, plane) * plane_rows(image, plane);
    return (bytes + LINE - 1) / LINE * LINE;
}

size_t osp_gpu_image_bytes(const osp_image *image)
{
    size_t bytes = 0;
    for (int p = 0; p < osp_pixel_planes(image->format); p++)
        bytes += plane_bytes(image, p);
    return bytes;
}

// Describes the image as it will lie at `device`, and one of its planes here.
typedef struct packed_plane {
    size_t at, row, rows, pitch;  // bytes into the packed image; rows of the source
} packed_plane;

static int32_t place_planes(const osp_image *image, uint8_t *device, osp_image *out,
                            packed_plane planes[3])
{
    const int32_t count = osp_pixel_planes(image->format);
    size_t at = 0;
    *out = *image;
    out->place = OSP_PLACE_DEVICE;
    out->owner = NULL;
    for (int p = 0; p < count; p++) {
        const size_t row = osp_image_row_bytes(image, p);
        const size_t pitch = image->pitch_bytes[p] ? image->pitch_bytes[p] : row;
        planes[p] = (packed_plane){at, row, plane_rows(image, p), pitch};
        out->plane[p] = device + at;
        out->pitch_bytes[p] = 0;
        at += plane_bytes(image, p);
    }
    return count;
}

void osp_gpu_image_pack(const osp_image *image, uint8_t *staging, uint8_t *device, osp_image *out)
{
    packed_plane planes[3];
    const int32_t count = place_planes(image, device, out, planes);
    for (int32_t i = 0; i < count; i++) {
        const packed_plane *p = planes + i;
        if (p->pitch == p->row)
            memcpy(staging + p->at, image->plane[i], p->row * p->rows);
        else
            for (size_t y = 0; y < p->rows; y++)
                memcpy(staging + p->at + y * p->row, image->plane[i] + y * p->pitch, p->row);
    }
}

osp_status osp_gpu_image_copy(osp_gpu *gpu, const osp_image *image, uint8_t *device, osp_image *out,
                              osp_gpu_stream stream, osp_error *err)
{
    packed_plane planes[3];
    const int32_t count = place_planes(image, device, out, planes);
    for (int32_t i = 0; i < count; i++) {
        const packed_plane *p = planes + i;
        OSP_TRY(osp_gpu_copy_rows(gpu, device + p->at, p->row, image->plane[i], p->pitch, p->row,
                                  p->rows, stream, err));
    }
    return OSP_OK;
}
