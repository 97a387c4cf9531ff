// Options checked and completed, and the log.
#include "base/context.h"

#include <stdarg.h>
#include <stdio.h>

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value ? value : fallback;
}

osp_status osp_context_init(osp_context *ctx, const osp_options *options, osp_error *err)
{
    static const osp_options none;
    if (!options)
        options = &none;
    const osp_allocator *a = &options->allocator;
    if ((a->alloc != NULL) != (a->free != NULL) || (a->alloc != NULL) != (a->realloc != NULL))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_options.allocator: set all three functions or none");
    if (options->threads < 0 || options->threads > 4096)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_options.threads is %d: use 0 (choose) to 4096",
                 options->threads);
    if (options->reserved32 || options->reserved[0] || options->reserved[1] ||
        options->reserved[2] || options->reserved[3] || options->reserved[4] ||
        options->reserved[5])
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_options.reserved is not zero: zero the struct");
    const char *dir = options->library_dir ? options->library_dir : "";
    if (snprintf(ctx->library_dir, sizeof ctx->library_dir, "%s", dir) >=
        (int)sizeof ctx->library_dir)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_options.library_dir is longer than %zu bytes",
                 sizeof ctx->library_dir - 1);
    osp_mem_init(&ctx->mem, a);
    const osp_limits *l = &options->limits;
    ctx->limits = (osp_limits){
        .file_bytes = or_default(l->file_bytes, UINT64_C(8) << 30),
        .nodes = or_default(l->nodes, 200000),
        .nesting = or_default(l->nesting, 32),
        .tensor_bytes = or_default(l->tensor_bytes, UINT64_C(4) << 30),
        .memory_bytes = or_default(l->memory_bytes, UINT64_C(16) << 30),
        .fold_elements = or_default(l->fold_elements, UINT64_C(64) << 20),
        .image_pixels = or_default(l->image_pixels, UINT64_C(256) << 20),
    };
    ctx->logger = options->logger;
    if (!ctx->logger.level)
        ctx->logger.level = OSP_LOG_WARNING;
    atomic_init(&ctx->bytes_read, 0);
    atomic_init(&ctx->nodes_made, 0);
    atomic_init(&ctx->elements_folded, 0);
    ctx->gpu_calls = NULL;
    ctx->gpus = NULL;
    ctx->gpu_reason[0] = 0;
    if (pthread_mutex_init(&ctx->log_lock, NULL))
        OSP_FAIL(err, OSP_ERROR_SYSTEM, "a mutex could not be made");
    return OSP_OK;
}

void osp_context_free(osp_context *ctx)
{
    pthread_mutex_destroy(&ctx->log_lock);
}

void osp_log(osp_context *ctx, osp_log_level level, const char *format, ...)
{
    if (!ctx->logger.log || level > ctx->logger.level)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        return;
    pthread_mutex_lock(&ctx->log_lock);
    ctx->logger.log(ctx->logger.user, level, text);
    pthread_mutex_unlock(&ctx->log_lock);
}
