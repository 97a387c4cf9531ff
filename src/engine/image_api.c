// The public image functions: files in and out, drawing. An image that the library made holds its
// runtime by a counted reference, so that it may outlive the caller's. Thread rule: any thread.
#include <string.h>

#include "base/file.h"
#include "engine/runtime.h"
#include "vision/decode.h"
#include "vision/draw.h"
#include "vision/encode.h"

// What osp_image.owner points at.
typedef struct image_block {
    osp_runtime *runtime;
    uint8_t *pixels;
} image_block;

static osp_status read_bytes(osp_runtime *runtime, const uint8_t *bytes, size_t size,
                             osp_image *out, osp_error *err)
{
    osp_context *ctx = osp_runtime_context(runtime);
    osp_image image;
    image_block *block = osp_mem_alloc(&ctx->mem, sizeof *block);
    if (!block)
        OSP_FAIL_MEMORY(err);
    const osp_status status = osp_image_decode(ctx, bytes, size, &image, err);
    if (status != OSP_OK) {
        osp_mem_free(&ctx->mem, block);
        return status;
    }
    atomic_fetch_add(&ctx->bytes_read, size);
    *block = (image_block){osp_runtime_retain(runtime), image.plane[0]};
    *out = image;
    out->owner = block;
    return OSP_OK;
}

osp_status osp_image_read_memory(osp_runtime *runtime, const void *bytes, size_t size,
                                 osp_image *out, osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !out || (!bytes && size))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_image_read_memory: %s is NULL",
                 !runtime ? "runtime"
                 : !out   ? "out"
                          : "bytes");
    memset(out, 0, sizeof *out);
    return read_bytes(runtime, bytes, size, out, err);
}

osp_status osp_image_read(osp_runtime *runtime, const char *path, osp_image *out, osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !path || !out)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_image_read: %s is NULL",
                 !runtime ? "runtime"
                 : !path  ? "path"
                          : "out");
    memset(out, 0, sizeof *out);
    osp_file file;
    osp_status status = osp_file_map(&file, path, osp_runtime_context(runtime)->limits.file_bytes,
                                     err);
    if (status == OSP_OK) {
        status = read_bytes(runtime, file.data, file.size, out, err);
        osp_file_unmap(&file);
    }
    if (status != OSP_OK)
        osp_error_prefix(err, "%s", path);
    return status;
}

osp_status osp_image_write(osp_runtime *runtime, const char *path, const osp_image *image,
                           osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !path || !image)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_image_write: %s is NULL",
                 !runtime ? "runtime"
                 : !path  ? "path"
                          : "image");
    const osp_status status = osp_image_encode(osp_runtime_context(runtime), path, image, err);
    if (status != OSP_OK)
        osp_error_prefix(err, "%s", path);
    return status;
}

void osp_image_free(osp_image *image)
{
    if (!image)
        return;
    image_block *block = image->owner;
    memset(image, 0, sizeof *image);
    if (!block)
        return;
    osp_runtime *runtime = block->runtime;
    osp_context *ctx = osp_runtime_context(runtime);
    osp_mem_free(&ctx->mem, block->pixels);
    osp_mem_free(&ctx->mem, block);
    osp_runtime_release(runtime);
}

osp_status osp_image_draw(osp_image *image, const osp_detection *boxes, size_t count,
                          const char *const *names, int32_t name_count, osp_error *err)
{
    osp_error_clear(err);
    return osp_boxes_draw(image, boxes, count, names, name_count, err);
}
