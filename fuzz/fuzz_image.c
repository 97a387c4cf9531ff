// Fuzz target: any bytes as an image. What decodes is also letterboxed and drawn into; the same
// bytes are tried as an EXIF block and as class names. Corpus: tests/data/vision/images.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vision/decode.h"
#include "vision/draw.h"
#include "vision/exif.h"
#include "vision/letterbox.h"
#include "vision/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_image(osp_context *ctx, osp_image *image)
{
    osp_letterboxer *boxer;
    osp_letterbox geometry;
    uint8_t dst[32 * 24 * 3];
    const osp_detection box = {.x1 = -3, .y1 = 2, .x2 = 20, .y2 = 1e9f, .class_id = image->width};
    if (osp_letterboxer_open(&boxer, ctx, 32, 24, NULL) == OSP_OK)
        if (osp_letterboxer_run(boxer, image, (osp_resize)(image->height % 3), OSP_LETTERBOX_U8_HWC,
                                dst, &geometry, NULL) != OSP_OK)
            abort();
    osp_letterboxer_close(&boxer);
    if (osp_boxes_draw(image, &box, 1, NULL, 0, NULL) != OSP_OK)
        abort();
}

static void try_names(osp_context *ctx, const uint8_t *data, size_t size)
{
    osp_names names;
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = 0;
    if (osp_names_parse(&names, &ctx->mem, text, NULL) == OSP_OK)
        osp_names_free(&names, &ctx->mem);
    if (osp_names_parse_lines(&names, &ctx->mem, text, size, NULL) == OSP_OK)
        osp_names_free(&names, &ctx->mem);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    osp_context ctx;
    osp_image image;
    osp_error err;
    const osp_options options = {.limits = {.image_pixels = 1 << 20}};
    if (osp_context_init(&ctx, &options, NULL) != OSP_OK)
        return 0;
    const osp_status status = osp_image_decode(&ctx, data, size, &image, &err);
    if (status == OSP_OK) {
        use_image(&ctx, &image);
        osp_mem_free(&ctx.mem, image.plane[0]);
    } else if (err.code != status || !err.text[0]) {
        abort();
    }
    const int orientation = osp_exif_orientation(data, size);
    if (orientation < 1 || orientation > 8)
        abort();
    if (size)
        try_names(&ctx, data, size);
    if (ctx.mem.live != 0)
        abort();
    osp_context_free(&ctx);
    return 0;
}
