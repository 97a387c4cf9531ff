// The letterbox kernel against src/vision/letterbox.c: formats, pitches, addresses, sizes, batches.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/pixels.h"
#include "gpu/gpu_letterbox.h"
#include "kernel_cases.h"
#include "vision/letterbox.h"

enum { BATCH_MAX = 32 };

typedef struct source {
    osp_image host, device;
    uint8_t *blocks[3];
    void *device_blocks[4];  // the last: the whole image, packed
} source;

typedef struct batch {
    source sources[BATCH_MAX];
    int32_t n, dst_w, dst_h;
    osp_resize mode;
} batch;

static int32_t plane_rows(const osp_image *image, int plane)
{
    return plane == 0 ? image->height : (image->height + 1) / 2;
}

// `extra`: what the pitch has beyond the row; `offset`: of the first pixel from an aligned address.
static void make_source(kernel_test *t, source *s, osp_pixel_format format, int32_t w, int32_t h,
                        size_t extra, size_t offset)
{
    memset(s, 0, sizeof *s);
    s->host = (osp_image){.width = w, .height = h, .format = format};
    s->host.matrix = (osp_color_matrix)(kernel_random(t) % 2);
    s->host.range = (osp_color_range)(kernel_random(t) % 2);
    s->device = s->host;
    s->device.place = OSP_PLACE_DEVICE;
    for (int p = 0; p < osp_pixel_planes(format); p++) {
        const size_t row = osp_image_row_bytes(&s->host, p), pitch = row + extra;
        const size_t bytes = offset + pitch * (size_t)(plane_rows(&s->host, p) - 1) + row;
        s->blocks[p] = malloc(bytes);
        for (size_t i = 0; s->blocks[p] && i < bytes; i++)
            s->blocks[p][i] = (uint8_t)(kernel_random(t) >> 13);
        s->device_blocks[p] = kernel_upload(t, s->blocks[p], bytes);
        s->host.plane[p] = s->blocks[p] + offset;
        s->device.plane[p] = (uint8_t *)s->device_blocks[p] + offset;
        s->host.pitch_bytes[p] = s->device.pitch_bytes[p] = extra ? pitch : 0;
    }
}

// The same image as a caller of the detector sends it: packed in one block.
static void pack_source(kernel_test *t, source *s)
{
    const size_t bytes = osp_gpu_image_bytes(&s->host);
    uint8_t *staging = calloc(1, bytes);
    void *device = NULL;
    osp_error err;
    const osp_status status = osp_gpu_alloc(t->gpu, &device, bytes, &err);
    if (kernel_check(t, !status, "packed image: %s", status ? err.text : "")) {
        osp_gpu_image_pack(&s->host, staging, device, &s->device);
        const bool good = !osp_gpu_copy(t->gpu, device, staging, bytes, t->stream, &err) &&
                          !osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
        kernel_check(t, good, "packed image: %s", good ? "" : err.text);
    }
    s->device_blocks[3] = device;
    free(staging);
}

static void free_batch(kernel_test *t, batch *b)
{
    for (int32_t i = 0; i < b->n; i++) {
        for (int p = 0; p < 3; p++)
            free(b->sources[i].blocks[p]);
        for (int p = 0; p < 4; p++)
            osp_gpu_free(t->gpu, b->sources[i].device_blocks[p]);
    }
}

// What the CPU makes of an image, as `dtype` and in the layout, at `dst`.
static void expected_pixels(kernel_test *t, const batch *b, int32_t i, osp_dtype dtype,
                            bool interleaved, char *dst)
{
    const size_t plane = (size_t)b->dst_w * (size_t)b->dst_h, count = 3 * plane;
    const bool bytes = dtype == OSP_DTYPE_UINT8;
    osp_letterboxer *boxer;
    osp_letterbox geometry;
    osp_error err;
    void *made = malloc(count * 4);
    osp_status status = osp_letterboxer_open(&boxer, t->ctx, b->dst_w, b->dst_h, &err);
    if (!status)
        status = osp_letterboxer_run(boxer, &b->sources[i].host, b->mode,
                                     bytes         ? OSP_LETTERBOX_U8_HWC
                                     : interleaved ? OSP_LETTERBOX_F32_HWC
                                                   : OSP_LETTERBOX_F32_CHW,
                                     made, &geometry, &err);
    kernel_check(t, !status, "the CPU's letterbox: %s", status ? err.text : "");
    osp_letterboxer_close(&boxer);
    for (size_t k = 0; k < count; k++) {
        if (bytes) {
            const size_t from = interleaved ? k : k % plane * 3 + k / plane;
            dst[k] = ((char *)made)[from];
        } else if (dtype == OSP_DTYPE_FLOAT32) {
            memcpy(dst + 4 * k, (char *)made + 4 * k, 4);
        } else {
            const uint16_t half = osp_float_to_half(((float *)made)[k]);
            memcpy(dst + 2 * k, &half, 2);
        }
    }
    free(made);
}

static void compare(kernel_test *t, const batch *b, osp_dtype dtype, bool interleaved)
{
    const size_t element = osp_dtype_bytes(dtype);
    const size_t image_bytes = 3 * (size_t)b->dst_w * (size_t)b->dst_h * element;
    const size_t total = image_bytes * (size_t)b->n;
    osp_image images[BATCH_MAX];
    osp_gpu_fit fits[BATCH_MAX], back[BATCH_MAX];
    osp_error err;
    void *device = NULL, *device_fits = NULL;
    char *made = malloc(total), *wanted = malloc(image_bytes);
    for (int32_t i = 0; i < b->n; i++) {
        const osp_image *image = &b->sources[i].device;
        const osp_letterbox g = osp_letterbox_fit(b->mode, image->width, image->height, b->dst_w,
                                                  b->dst_h);
        images[i] = *image;
        fits[i] = (osp_gpu_fit){g.src_w, g.src_h, g.width,   g.height,
                                g.left,  g.top,   g.scale_x, g.scale_y};
    }
    osp_status status = osp_gpu_alloc(t->gpu, &device, total, &err);
    if (!status)
        status = osp_gpu_alloc(t->gpu, &device_fits, sizeof back, &err);
    const osp_gpu_letterbox job = {.images = images,
                                   .fits = fits,
                                   .n = b->n,
                                   .dst_w = b->dst_w,
                                   .dst_h = b->dst_h,
                                   .dtype = dtype,
                                   .interleaved = interleaved,
                                   .dst = device,
                                   .fits_out = device_fits};
    if (!status)
        status = osp_gpu_letterbox_run(t->gpu, &job, t->stream, &err);
    if (kernel_check(t, !status, "letterbox: %s", status ? err.text : "") &&
        kernel_download(t, made, device, total) &&
        kernel_download(t, back, device_fits, (size_t)b->n * sizeof *back)) {
        kernel_check(t, !memcmp(back, fits, (size_t)b->n * sizeof *fits), "the fits differ");
        for (int32_t i = 0; i < b->n; i++) {
            const char *image = made + (size_t)i * image_bytes;
            expected_pixels(t, b, i, dtype, interleaved, wanted);
            size_t k = 0;
            while (k < image_bytes && image[k] == wanted[k])
                k++;
            kernel_check(t, k == image_bytes,
                         "image %d of %d: format %d, %d x %d to %d x %d, %s, %s: byte %zu", i, b->n,
                         (int)images[i].format, images[i].width, images[i].height, b->dst_w,
                         b->dst_h, osp_dtype_name(dtype), interleaved ? "HWC" : "CHW", k);
        }
    }
    osp_gpu_free(t->gpu, device);
    osp_gpu_free(t->gpu, device_fits);
    free(made);
    free(wanted);
}

static void compare_all(kernel_test *t, const batch *b)
{
    static const osp_dtype types[] = {OSP_DTYPE_UINT8, OSP_DTYPE_FLOAT16, OSP_DTYPE_FLOAT32};
    for (int k = 0; k < 6; k++)
        compare(t, b, types[k / 2], k % 2);
}

typedef struct size_case {
    int32_t w, h, dst_w, dst_h;
    osp_resize mode;
    bool large;
} size_case;

static const size_case size_cases[] = {
    {64, 48, 32, 32, OSP_RESIZE_LETTERBOX, false},   // halved, padded above and below
    {64, 64, 32, 32, OSP_RESIZE_STRETCH, false},     // halved
    {37, 53, 40, 40, OSP_RESIZE_LETTERBOX, false},   // padded on both sides
    {37, 53, 150, 33, OSP_RESIZE_STRETCH, false},    // wider and lower; past one tile
    {131, 19, 64, 64, OSP_RESIZE_LETTERBOX, false},  // much padding: whole tiles of it
    {90, 70, 260, 20, OSP_RESIZE_LETTERBOX, false},  // the same at the sides; past two tiles
    {3, 2, 37, 41, OSP_RESIZE_LETTERBOX, false},     // enlarged
    {1, 1, 9, 7, OSP_RESIZE_STRETCH, false},         // one pixel
    {1, 17, 16, 16, OSP_RESIZE_LETTERBOX, false},    // one column
    {17, 1, 16, 16, OSP_RESIZE_LETTERBOX, false},    // one row
    {40, 40, 40, 40, OSP_RESIZE_LETTERBOX, false},   // as it is
    {1919, 1079, 640, 640, OSP_RESIZE_LETTERBOX, true},
    {1920, 1080, 1280, 1280, OSP_RESIZE_LETTERBOX, true},
    {2560, 1440, 1280, 1280, OSP_RESIZE_LETTERBOX, true},
    {333, 777, 1280, 1280, OSP_RESIZE_LETTERBOX, true},
    {5000, 3333, 1280, 1280, OSP_RESIZE_STRETCH, true},
};

void kernel_cases_letterbox(kernel_test *t)
{
    batch b;
    for (size_t k = 0; k < sizeof size_cases / sizeof size_cases[0]; k++) {
        const size_case *c = &size_cases[k];
        if (c->large && t->quick)
            continue;
        b = (batch){.n = OSP_PIXEL_I420 + 1, .dst_w = c->dst_w, .dst_h = c->dst_h, .mode = c->mode};
        for (int f = 0; f < b.n; f++) {  // one of each format, pitches and addresses at odds
            const size_t extra = (k + (size_t)f) % 3 == 0 ? 0 : kernel_random(t) % 67;
            make_source(t, &b.sources[f], (osp_pixel_format)f, c->w, c->h, extra,
                        kernel_random(t) % 4);
        }
        compare_all(t, &b);
        free_batch(t, &b);
    }
    // Any sizes side by side, and more images than one launch takes.
    b = (batch){.n = 27, .dst_w = 70, .dst_h = 45, .mode = OSP_RESIZE_LETTERBOX};
    for (int i = 0; i < b.n; i++) {
        make_source(t, &b.sources[i], (osp_pixel_format)(i % 7), 1 + (int)(kernel_random(t) % 90),
                    1 + (int)(kernel_random(t) % 90), kernel_random(t) % 5, kernel_random(t) % 4);
        if (i % 2)
            pack_source(t, &b.sources[i]);
    }
    compare_all(t, &b);
    free_batch(t, &b);
}
