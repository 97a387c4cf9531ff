// Pixel formats: sizes, checks and YUV to RGB. Owns nothing. Thread rule: pure functions.
#include "base/pixels.h"

int32_t osp_pixel_bytes(osp_pixel_format format)
{
    switch (format) {
    case OSP_PIXEL_RGB:
    case OSP_PIXEL_BGR:
        return 3;
    case OSP_PIXEL_RGBA:
    case OSP_PIXEL_BGRA:
        return 4;
    default:
        return 1;
    }
}

bool osp_pixel_is_yuv(osp_pixel_format format)
{
    return format == OSP_PIXEL_NV12 || format == OSP_PIXEL_I420;
}

int32_t osp_pixel_planes(osp_pixel_format format)
{
    return format == OSP_PIXEL_NV12 ? 2 : format == OSP_PIXEL_I420 ? 3 : 1;
}

size_t osp_image_row_bytes(const osp_image *image, int plane)
{
    const size_t width = (size_t)image->width;
    if (plane == 0)
        return width * (size_t)osp_pixel_bytes(image->format);
    const size_t chroma = (width + 1) / 2;
    return image->format == OSP_PIXEL_NV12 ? chroma * 2 : chroma;
}

osp_status osp_image_check(const osp_image *image, osp_error *err)
{
    OSP_TRY(osp_image_check_anywhere(image, err));
    if (image->place != OSP_PLACE_HOST && image->place != OSP_PLACE_PINNED)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "image: its pixels are in device memory, which this path does not read: copy them "
                 "to the host");
    return OSP_OK;
}

osp_status osp_image_check_anywhere(const osp_image *image, osp_error *err)
{
    if (!image)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "image is NULL");
    if ((unsigned)image->format > OSP_PIXEL_I420)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "image: unknown pixel format %d", (int)image->format);
    if (image->width < 1 || image->height < 1 || image->width > OSP_IMAGE_SIDE_MAX ||
        image->height > OSP_IMAGE_SIDE_MAX)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "image: %d x %d pixels: each side must be 1 to %d",
                 image->width, image->height, (int)OSP_IMAGE_SIDE_MAX);
    if (osp_pixel_is_yuv(image->format) &&
        ((unsigned)image->matrix > OSP_COLOR_BT709 || (unsigned)image->range > OSP_RANGE_FULL))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "image: unknown colour matrix or range");
    for (int p = 0; p < osp_pixel_planes(image->format); p++) {
        if (!image->plane[p])
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "image: plane[%d] is NULL", p);
        if (image->pitch_bytes[p] && image->pitch_bytes[p] < osp_image_row_bytes(image, p))
            OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                     "image: pitch_bytes[%d] is %zu, but a row has %zu bytes", p,
                     image->pitch_bytes[p], osp_image_row_bytes(image, p));
    }
    return OSP_OK;
}

const uint8_t *osp_image_row(const osp_image *image, int plane, int32_t y)
{
    const size_t pitch = image->pitch_bytes[plane] ? image->pitch_bytes[plane]
                                                   : osp_image_row_bytes(image, plane);
    return image->plane[plane] + pitch * (size_t)y;
}

// round(2^20 * k). With luma weights kr and kb, full range has rv = 2(1-kr), bu = 2(1-kb),
// gu = bu*kb/kg, gv = rv*kr/kg; limited range scales y by 255/219 and the others by 255/224.
// clang-format off
static const osp_yuv_matrix matrices[2][2] = {
    {{16, 1220542, 1673527, 409993, 852492, 2116026},   // BT.601 limited, OpenCV's
     {0, 1048576, 1470104, 360853, 748826, 1858077}},   // BT.601 full
    {{16, 1220945, 1879825, 223607, 558796, 2215014},   // BT.709 limited
     {0, 1048576, 1651297, 196424, 490864, 1945738}},   // BT.709 full
};
// clang-format on

osp_yuv_matrix osp_image_yuv(const osp_image *image)
{
    return matrices[image->matrix][image->range];
}

static uint8_t clamp_channel(int32_t sum)
{
    const int32_t v = sum >> OSP_YUV_SHIFT;  // arithmetic shift
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void osp_yuv_row(uint8_t *rgb, const osp_image *image, int32_t y)
{
    const osp_yuv_matrix m = osp_image_yuv(image);
    const uint8_t *luma = osp_image_row(image, 0, y);
    const uint8_t *u = osp_image_row(image, 1, y / 2), *v = u + 1;
    int32_t step = 2;
    if (image->format == OSP_PIXEL_I420) {
        v = osp_image_row(image, 2, y / 2);
        step = 1;
    }
    const int32_t half = 1 << (OSP_YUV_SHIFT - 1);
    int32_t red = 0, green = 0, blue = 0;
    for (int32_t x = 0; x < image->width; x++, rgb += 3) {
        if (x % 2 == 0) {
            const int32_t cu = u[x / 2 * step] - 128, cv = v[x / 2 * step] - 128;
            red = m.rv * cv + half;
            green = half - m.gu * cu - m.gv * cv;
            blue = m.bu * cu + half;
        }
        const int32_t yy = luma[x] > m.black ? (luma[x] - m.black) * m.y : 0;
        rgb[0] = clamp_channel(yy + red);
        rgb[1] = clamp_channel(yy + green);
        rgb[2] = clamp_channel(yy + blue);
    }
}
