// The timing cache and its file.
#include "plan/tune_cache.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

static const char magic[] = "osprey timings 1\n";
enum { FILE_BYTES_MAX = 64 << 20, LINE_BYTES_MAX = 8192 };

typedef struct entry {
    uint64_t hash;  // of the text
    const char *line;
    const char *tactic, *text;
    int32_t pack_version;
} entry;

struct osp_tune_cache {
    osp_context *ctx;
    osp_arena arena;
    const char *path, *key;
    entry *entries;
    size_t count, capacity;
    bool changed;
};

static bool add(osp_tune_cache *c, const char *text, const char *tactic, int32_t version, double us)
{
    char line[LINE_BYTES_MAX];
    const int n = snprintf(line, sizeof line, "%s\t%s\t%d\t%.3f\t%s\n", c->key, tactic, version, us,
                           text);
    if (n < 0 || (size_t)n >= sizeof line ||
        !osp_mem_reserve(&c->ctx->mem, (void **)&c->entries, &c->capacity, c->count + 1,
                         sizeof *c->entries))
        return false;
    entry *e = c->entries + c->count;
    *e = (entry){.hash = osp_hash64(text, strlen(text), 0),
                 .line = osp_arena_strndup(&c->arena, line, (size_t)n),
                 .tactic = osp_arena_strndup(&c->arena, tactic, strlen(tactic)),
                 .text = osp_arena_strndup(&c->arena, text, strlen(text)),
                 .pack_version = version};
    if (!e->line || !e->tactic || !e->text)
        return false;
    c->count++;
    return true;
}

static const entry *find(const osp_tune_cache *c, const char *text)
{
    const uint64_t hash = osp_hash64(text, strlen(text), 0);
    for (size_t i = 0; i < c->count; i++)
        if (c->entries[i].hash == hash && !strcmp(c->entries[i].text, text))
            return c->entries + i;
    return NULL;
}

// A line of this device; false: of another, or none of ours.
static bool read_line(osp_tune_cache *c, const char *line, size_t length)
{
    char copy[LINE_BYTES_MAX], *field[5], *at = copy;
    if (length >= sizeof copy)
        return false;
    memcpy(copy, line, length);
    copy[length] = 0;
    for (int i = 0; i < 5; i++) {
        field[i] = at;
        char *tab = i < 4 ? strchr(at, '\t') : NULL;
        if (i < 4 && !tab)
            return false;
        if (tab)
            *tab = 0;
        at = tab ? tab + 1 : at;
    }
    int version;
    double us;
    if (strcmp(field[0], c->key) || sscanf(field[2], "%d", &version) != 1 ||
        sscanf(field[3], "%lf", &us) != 1)
        return false;
    return find(c, field[4]) || add(c, field[4], field[1], version, us);
}

// Calls read_line for each line; lines it does not take go into `others`, if that is given.
static void read_file(osp_tune_cache *c, osp_bytes *others, size_t *other_count, size_t room,
                      osp_file *file)
{
    osp_error why;
    *file = (osp_file){.fd = -1};
    if (access(c->path, F_OK) != 0)
        return;
    if (osp_file_map(file, c->path, FILE_BYTES_MAX, &why)) {
        osp_log(c->ctx, OSP_LOG_WARNING, "timing cache %s: %s", c->path, why.text);
        return;
    }
    const size_t head = sizeof magic - 1;
    if (file->size < head || memcmp(file->data, magic, head) != 0) {
        osp_log(c->ctx, OSP_LOG_WARNING,
                "timing cache %s is none of Osprey's: a new one takes its "
                "place",
                c->path);
        return;
    }
    const char *at = (const char *)file->data + head, *end = (const char *)file->data + file->size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            break;
        if (!read_line(c, at, (size_t)(stop - at)) && others && *other_count < room &&
            strncmp(at, c->key, strlen(c->key)) != 0)
            others[(*other_count)++] = (osp_bytes){at, (size_t)(stop - at) + 1};
        at = stop + 1;
    }
}

osp_status osp_tune_cache_open(osp_tune_cache **out, osp_context *ctx, const char *path,
                               const char *device_key, osp_error *err)
{
    *out = NULL;
    osp_tune_cache *c = osp_mem_calloc(&ctx->mem, 1, sizeof *c);
    if (!c)
        OSP_FAIL_MEMORY(err);
    c->ctx = ctx;
    osp_arena_init(&c->arena, &ctx->mem);
    c->path = path ? osp_arena_strndup(&c->arena, path, strlen(path)) : NULL;
    c->key = osp_arena_strndup(&c->arena, device_key, strlen(device_key));
    if ((path && !c->path) || !c->key) {
        osp_arena_free(&c->arena);
        osp_mem_free(&ctx->mem, c);
        OSP_FAIL_MEMORY(err);
    }
    osp_file file;
    if (path) {
        read_file(c, NULL, NULL, 0, &file);
        osp_file_unmap(&file);
    }
    *out = c;
    return OSP_OK;
}

// Under the lock: other devices' lines as they are, then ours.
static osp_status store(osp_tune_cache *c, osp_error *err)
{
    enum { OTHERS_MAX = 1 << 16 };
    osp_file file;
    size_t others = 0, parts = 0;
    osp_bytes *list = osp_arena_array(&c->arena, OTHERS_MAX + 1, sizeof *list);
    if (!list)
        OSP_FAIL_MEMORY(err);
    list[parts++] = (osp_bytes){magic, sizeof magic - 1};
    read_file(c, list + 1, &others, OTHERS_MAX, &file);
    parts += others;
    osp_bytes *all = osp_arena_array(&c->arena, parts + c->count, sizeof *all);
    osp_status status = all ? OSP_OK : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    if (!status) {
        memcpy(all, list, parts * sizeof *all);
        for (size_t i = 0; i < c->count; i++)
            all[parts++] = (osp_bytes){c->entries[i].line, strlen(c->entries[i].line)};
        status = osp_file_write(c->path, all, parts, err);
    }
    osp_file_unmap(&file);
    return status;
}

void osp_tune_cache_close(osp_tune_cache **cache)
{
    osp_tune_cache *c = *cache;
    if (!c)
        return;
    *cache = NULL;
    if (c->path && c->changed) {
        osp_error why;
        int lock = -1;
        const char *lock_path = osp_arena_printf(&c->arena, "%s.lock", c->path);
        osp_status status = lock_path ? osp_file_lock(&lock, lock_path, &why)
                                      : osp_error_set(&why, OSP_ERROR_MEMORY, "out of memory");
        if (!status)
            status = store(c, &why);
        osp_file_unlock(&lock);
        if (status)
            osp_log(c->ctx, OSP_LOG_WARNING, "timing cache %s is not written: %s", c->path,
                    why.text);
    }
    osp_mem_free(&c->ctx->mem, c->entries);
    osp_arena_free(&c->arena);
    osp_mem_free(&c->ctx->mem, c);
}

bool osp_tune_cache_has(const osp_tune_cache *c, const char *text, const char *tactic,
                        int32_t pack_version)
{
    const entry *e = find(c, text);
    return e && e->pack_version == pack_version && !strcmp(e->tactic, tactic);
}

void osp_tune_cache_put(osp_tune_cache *c, const char *text, const char *tactic,
                        int32_t pack_version, double us)
{
    for (size_t i = 0; i < c->count; i++)  // of a tactic that this library no longer has
        if (!strcmp(c->entries[i].text, text)) {
            c->entries[i] = c->entries[--c->count];
            break;
        }
    c->changed |= add(c, text, tactic, pack_version, us);
}
