// Engines and files: opening plans, saving them, and the cache of built engines.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "engine/whole_engine.h"

// Where a plan's bytes come from, as far as opening it cares.
typedef struct source {
    const void *bytes;
    size_t size;
    const osp_engine_options *options;
    const char *private_dir;  // the cache's folder; NULL: from elsewhere
} source;

static osp_status decode(osp_engine *engine, const source *s, osp_error *err)
{
    osp_bare_plan bare;
    if (osp_bare_plan_find(s->bytes, s->size, &bare)) {
        OSP_TRY(osp_engine_open_bare(engine, &bare, s->options->trust, err));
    } else {
        OSP_TRY(osp_plan_decode(&engine->compiled, &engine->facts, s->bytes, s->size,
                                s->options->device, engine->device_key, err));
        if (engine->compiled.backend->whole)
            OSP_TRY(osp_engine_open_whole(engine, s->options->trust, s->private_dir, err));
    }
    OSP_TRY(osp_engine_upload(engine, err));
    OSP_TRY(osp_engine_describe(engine, err));
    engine->info.plan_bytes = s->size;
    return OSP_OK;
}

// The engine that a plan's header asks for, still empty.
static osp_status make_for(osp_engine **out, osp_runtime *runtime, const source *s, osp_error *err)
{
    osp_bare_plan bare;
    osp_plan_info info;
    const int32_t device = s->options->device;
    if (osp_bare_plan_find(s->bytes, s->size, &bare))
        return osp_engine_make(out, runtime, bare.backend, OSP_PRECISION_AUTO, device, err);
    OSP_TRY(osp_plan_read_header(s->bytes, s->size, &info, err));
    const osp_backend_def *backend = osp_backend_by_id(info.backend);
    if (!backend)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "the plan is for a backend (%d) that this library lacks: "
                 "build it again",
                 (int)info.backend);
    return osp_engine_make(out, runtime, backend, info.precision, device, err);
}

static osp_status check_open(osp_engine **out, osp_runtime *runtime, const void *what,
                             const osp_engine_options *given, osp_engine_options *options,
                             osp_error *err)
{
    osp_error_clear(err);
    if (!out || !runtime || !what)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_open: an argument is NULL");
    *out = NULL;
    return osp_engine_options_check(given, options, err);
}

static osp_status open_file(osp_engine **out, osp_runtime *runtime, const char *path,
                            const osp_engine_options *options, const char *private_dir,
                            osp_error *err)
{
    double start = osp_time_us();
    osp_file file;
    osp_engine *engine = NULL;
    osp_status status = osp_file_map(&file, path, runtime->ctx.limits.file_bytes, err);
    if (status) {
        osp_error_prefix(err, "%s", path);
        return status;
    }
    const source from = {file.data, file.size, options, private_dir};
    status = make_for(&engine, runtime, &from, err);
    if (status) {
        osp_file_unmap(&file);
    } else {
        engine->file = file;
        status = decode(engine, &from, err);
    }
    if (status) {
        osp_engine_close(&engine);
        osp_error_prefix(err, "%s", path);
        return status;
    }
    atomic_fetch_add(&runtime->ctx.bytes_read, file.size);
    engine->info.open_ms = (osp_time_us() - start) * 1e-3;
    *out = engine;
    return OSP_OK;
}

osp_status osp_engine_open(osp_engine **out, osp_runtime *runtime, const char *path,
                           const osp_engine_options *given, osp_error *err)
{
    osp_engine_options options;
    OSP_TRY(check_open(out, runtime, path, given, &options, err));
    return open_file(out, runtime, path, &options, NULL, err);
}

osp_status osp_engine_open_memory(osp_engine **out, osp_runtime *runtime, const void *plan,
                                  size_t size, const osp_engine_options *given, osp_error *err)
{
    double start = osp_time_us();
    osp_engine_options options;
    OSP_TRY(check_open(out, runtime, plan, given, &options, err));
    osp_engine *engine = NULL;
    source from = {plan, size, &options, NULL};
    osp_status status = make_for(&engine, runtime, &from, err);
    if (!status && options.borrow != OSP_ON) {
        engine->bytes = osp_mem_alloc(&runtime->ctx.mem, size);
        if (engine->bytes)
            from.bytes = memcpy(engine->bytes, plan, size);
        else
            status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    } else if (!status && ((uintptr_t)plan & 7)) {
        status = osp_error_set(err, OSP_ERROR_ARGUMENT,
                               "a borrowed plan must be aligned to 8 "
                               "bytes: align it, or let it be copied");
    }
    if (!status)
        status = decode(engine, &from, err);
    if (status) {
        osp_engine_close(&engine);
        osp_error_prefix(err, "plan in memory");
        return status;
    }
    engine->info.open_ms = (osp_time_us() - start) * 1e-3;
    *out = engine;
    return OSP_OK;
}

static osp_status encode(const osp_engine *engine, osp_arena *arena, osp_bytes **parts,
                         size_t *count, osp_error *err)
{
    osp_arena_init(arena, &engine->runtime->ctx.mem);
    osp_status status = osp_plan_encode(&engine->compiled, &engine->facts, engine->device_key,
                                        arena, parts, count, err);
    if (status)
        osp_arena_free(arena);
    return status;
}

osp_status osp_engine_save(const osp_engine *engine, const char *path, osp_error *err)
{
    osp_error_clear(err);
    if (!engine || !path)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_save: an argument is NULL");
    osp_arena arena;
    osp_bytes *parts;
    size_t count;
    OSP_TRY(encode(engine, &arena, &parts, &count, err));
    osp_status status = osp_file_write(path, parts, count, err);
    osp_arena_free(&arena);
    if (status)
        osp_error_prefix(err, "%s", path);
    return status;
}

osp_status osp_engine_save_memory(const osp_engine *engine, void **plan, size_t *size,
                                  osp_error *err)
{
    osp_error_clear(err);
    if (!engine || !plan || !size)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_save_memory: an argument is NULL");
    *plan = NULL;
    *size = 0;
    osp_arena arena;
    osp_bytes *parts;
    size_t count, total = 0;
    OSP_TRY(encode(engine, &arena, &parts, &count, err));
    for (size_t i = 0; i < count; i++)
        total += parts[i].size;
    char *block = osp_host_alloc_plain(engine->runtime, total);
    size_t at = 0;
    for (size_t i = 0; block && i < count; i++) {
        if (parts[i].size)
            memcpy(block + at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    osp_arena_free(&arena);
    if (!block)
        OSP_FAIL_MEMORY(err);
    *plan = block;
    *size = total;
    return OSP_OK;
}

// A bare plan has no header that we can read.
static osp_status read_info(const void *bytes, size_t size, osp_plan_info *out, osp_error *err)
{
    osp_bare_plan bare;
    if (!osp_bare_plan_find(bytes, size, &bare))
        return osp_plan_read_header(bytes, size, out, err);
    *out = (osp_plan_info){.backend = bare.backend->id, .bytes = size};
    return OSP_OK;
}

osp_status osp_plan_get_info(osp_runtime *runtime, const char *path, osp_plan_info *out,
                             osp_error *err)
{
    osp_error_clear(err);
    if (!runtime || !path || !out)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_plan_get_info: an argument is NULL");
    osp_file file;
    osp_status status = osp_file_map(&file, path, runtime->ctx.limits.file_bytes, err);
    if (!status) {
        status = read_info(file.data, file.size, out, err);
        osp_file_unmap(&file);
    }
    if (status)
        osp_error_prefix(err, "%s", path);
    return status;
}

// ---- The cache of engines -----------------------------------------------------------------------

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return osp_hash64(text, strlen(text) + 1, seed);
}

// Everything that changes what a build makes.
static uint64_t options_hash(const osp_model *model, const osp_engine_options *o,
                             osp_backend backend, const char *device_key)
{
    const int64_t numbers[] = {OSP_PLAN_FORMAT,
                               (int64_t)OSP_VERSION,
                               (int64_t)backend,
                               (int64_t)o->precision,
                               o->batches[0],
                               o->batches[1],
                               o->batches[2],
                               o->batches[3],
                               o->batches[4],
                               o->batches[5],
                               o->batches[6],
                               o->batches[7],
                               o->height,
                               o->width,
                               o->builder_level,
                               (int64_t)o->workspace_bytes,
                               (int64_t)o->head,
                               (int64_t)o->resize,
                               o->keep_fp32_count,
                               o->fixed_input_count,
                               (int64_t)((double)o->tolerance * 1e9)};
    uint64_t h = osp_hash64(numbers, sizeof numbers, model->hash);
    h = osp_hash64(&o->image_input, sizeof o->image_input, h);
    h = hash_text(device_key, h);
    for (int32_t i = 0; i < o->keep_fp32_count; i++)
        h = hash_text(o->keep_fp32[i], h);
    for (int32_t i = 0; i < o->fixed_input_count; i++) {
        const osp_tensor *t = o->fixed_inputs + i;
        osp_shape shape = {.rank = t->rank};
        size_t bytes = 0;
        for (int32_t d = 0; d < t->rank && d < OSP_MAX_RANK; d++)
            shape.dims[d] = t->dims[d];
        h = hash_text(t->name ? t->name : "", h);
        h = osp_hash64(&shape, sizeof shape, h + (uint64_t)t->dtype);
        if (t->data && osp_shape_bytes(&shape, t->dtype, &bytes))
            h = osp_hash64(t->data, bytes, h);
    }
    return h;
}

// "DIR/<file name for this device>-<hash>" in the arena; of the backend that is tried first, whichever
// the engine will be for.
static osp_status cache_path(osp_model *model, const char *dir, const char *prefix,
                             const osp_engine_options *options, osp_arena *arena,
                             osp_backend *first, char **path, osp_error *err)
{
    char key[OSP_DEVICE_KEY_BYTES], name[512], stem[256];
    const osp_backend_def *backend;
    osp_backend_choice choice = {0};
    OSP_TRY(osp_backend_next(model->runtime, options, &choice, &backend, err));
    *first = backend->id;
    backend->device_key(&model->runtime->ctx, options->device, model->runtime->threads, key,
                        sizeof key);
    if (!prefix) {
        const char *slash = strrchr(model->label, '/');
        snprintf(stem, sizeof stem, "%.200s", slash ? slash + 1 : model->label);
        char *dot = strrchr(stem, '.');
        if (dot && dot != stem)
            *dot = 0;
        prefix = stem;
    }
    const osp_device_info *device = osp_backend_device(model->runtime, backend, options->device);
    OSP_TRY(osp_engine_file_name(prefix, device, name, sizeof name, err));
    *path = osp_arena_printf(arena, "%s/%s-%016llx", dir, name,
                             (unsigned long long)options_hash(model, options, backend->id, key));
    if (!*path)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

// `first`: the backend that is tried first.
static osp_status open_or_build(osp_engine **out, osp_model *model, const char *path,
                                const char *dir, osp_backend first,
                                const osp_engine_options *options, osp_error *err)
{
    osp_context *ctx = &model->runtime->ctx;
    if (access(path, R_OK) == 0) {
        osp_error why;
        if (open_file(out, model->runtime, path, options, dir, &why) == OSP_OK) {
            (*out)->info.from_cache = true;
            if ((*out)->info.backend != first)
                osp_log(ctx, OSP_LOG_WARNING, "the engine is one of backend %s: %s",
                        (*out)->compiled.backend->name, (*out)->info.reason);
            return OSP_OK;
        }
        // Building for minutes each time, because of a folder's mode, would help nobody.
        if (why.code == OSP_ERROR_UNTRUSTED) {
            if (err)
                *err = why;
            return why.code;
        }
        osp_log(ctx, OSP_LOG_WARNING, "%s; building it again", why.text);
    }
    OSP_TRY(osp_engine_build(out, model, options, err));
    osp_error why;
    if ((*out)->makeshift)
        osp_log(ctx, OSP_LOG_WARNING, "the engine is not kept: the next may have a better device");
    else if (osp_engine_save(*out, path, &why))
        osp_log(ctx, OSP_LOG_WARNING, "the engine was built but not kept: %s", why.text);
    return OSP_OK;
}

osp_status osp_engine_open_cached(osp_engine **out, osp_runtime *runtime, const char *model_path,
                                  const char *dir, const char *prefix,
                                  const osp_engine_options *given, osp_error *err)
{
    osp_engine_options options;
    OSP_TRY(check_open(out, runtime, model_path, given, &options, err));
    if (!dir)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_engine_open_cached: dir is NULL");
    osp_model *model;
    OSP_TRY(osp_model_open(&model, runtime, model_path, err));
    osp_arena arena;
    osp_arena_init(&arena, &runtime->ctx.mem);
    char *path = NULL, *lock_path = NULL;
    osp_backend first = OSP_BACKEND_AUTO;
    int lock = -1;
    osp_status status = osp_file_make_dirs(dir, err);
    if (status)
        osp_error_prefix(err, "%s", dir);
    if (!status)
        status = cache_path(model, dir, prefix, &options, &arena, &first, &path, err);
    if (!status) {
        lock_path = osp_arena_printf(&arena, "%s.lock", path);
        status = lock_path ? osp_file_lock(&lock, lock_path, err)
                           : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
        if (status && lock_path)
            osp_error_prefix(err, "%s", lock_path);
    }
    if (!status)
        status = open_or_build(out, model, path, dir, first, &options, err);
    osp_file_unlock(&lock);
    osp_arena_free(&arena);
    osp_model_close(&model);
    return status;
}
