// Counted blocks (a header of one cache line before each) and arenas (a list of chunks).
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

enum { ALIGN = 64, CHUNK_BYTES = 64 * 1024 };

typedef struct block_header {
    void *raw;     // what the allocator gave
    size_t bytes;  // what was asked of it
} block_header;

static void *default_alloc(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}

static void *default_realloc(void *user, void *old, size_t bytes)
{
    (void)user;
    return realloc(old, bytes);
}

static void default_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

void osp_mem_init(osp_mem *mem, const osp_allocator *allocator)
{
    const osp_allocator plain = {default_alloc, default_realloc, default_free, NULL};
    mem->fn = allocator && allocator->alloc ? *allocator : plain;
    atomic_init(&mem->live, 0);
    atomic_init(&mem->peak, 0);
}

// Cleared by calloc where the memory is the C library's own: large blocks then cost no memory until
// they are written to.
static void *alloc_block(osp_mem *mem, size_t bytes, bool cleared)
{
    size_t total;
    if (!osp_size_add(bytes, ALIGN + sizeof(block_header), &total))
        return NULL;
    const bool own = mem->fn.alloc == default_alloc;
    char *raw = cleared && own ? calloc(1, total) : mem->fn.alloc(mem->fn.user, total);
    if (!raw)
        return NULL;
    if (cleared && !own)
        memset(raw, 0, total);
    uintptr_t at = ((uintptr_t)raw + sizeof(block_header) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1);
    block_header *header = (block_header *)at - 1;
    *header = (block_header){raw, total};
    size_t live = atomic_fetch_add(&mem->live, total) + total;
    size_t peak = atomic_load(&mem->peak);
    while (live > peak && !atomic_compare_exchange_weak(&mem->peak, &peak, live)) {
    }
    return (void *)at;
}

void *osp_mem_alloc(osp_mem *mem, size_t bytes)
{
    return alloc_block(mem, bytes, false);
}

void *osp_mem_calloc(osp_mem *mem, size_t count, size_t size)
{
    size_t bytes;
    return osp_size_mul(count, size, &bytes) ? alloc_block(mem, bytes, true) : NULL;
}

void osp_mem_free(osp_mem *mem, void *ptr)
{
    if (!ptr)
        return;
    block_header header = ((block_header *)ptr)[-1];
    atomic_fetch_sub(&mem->live, header.bytes);
    mem->fn.free(mem->fn.user, header.raw);
}

char *osp_mem_strdup(osp_mem *mem, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = osp_mem_alloc(mem, bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

bool osp_mem_reserve(osp_mem *mem, void **array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < need)
        if (!osp_size_mul(wanted, 2, &wanted))
            return false;
    size_t bytes;
    if (!osp_size_mul(wanted, size, &bytes))
        return false;
    void *grown = osp_mem_alloc(mem, bytes);
    if (!grown)
        return false;
    if (*array)
        memcpy(grown, *array, *capacity * size);
    osp_mem_free(mem, *array);
    *array = grown;
    *capacity = wanted;
    return true;
}

typedef struct osp_arena_chunk {
    struct osp_arena_chunk *next;
    size_t capacity;
} osp_arena_chunk;

enum { CHUNK_HEADER = 64 };  // keeps the first block of a chunk on a cache line

void osp_arena_init(osp_arena *arena, osp_mem *mem)
{
    *arena = (osp_arena){.mem = mem};
}

void osp_arena_free(osp_arena *arena)
{
    for (osp_arena_chunk *c = arena->chunk; c;) {
        osp_arena_chunk *next = c->next;
        osp_mem_free(arena->mem, c);
        c = next;
    }
    arena->chunk = NULL;
    arena->used = 0;
}

void osp_arena_reset(osp_arena *arena)
{
    osp_arena_chunk *const kept = arena->chunk;
    if (!kept || kept->capacity > CHUNK_BYTES) {
        osp_arena_free(arena);
        return;
    }
    arena->chunk = kept->next;
    osp_arena_free(arena);
    kept->next = NULL;
    arena->chunk = kept;
}

void *osp_arena_alloc(osp_arena *arena, size_t bytes)
{
    size_t rounded;
    if (!osp_size_align(bytes ? bytes : 1, 16, &rounded))
        return NULL;
    if (!arena->chunk || rounded > arena->chunk->capacity - arena->used) {
        size_t capacity = rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES;
        size_t total;
        if (!osp_size_add(capacity, CHUNK_HEADER, &total))
            return NULL;
        // A large block must not hide the room left in the chunk that is being filled.
        const bool apart = rounded > CHUNK_BYTES / 4 && arena->chunk;
        osp_arena_chunk *chunk = alloc_block(arena->mem, total, apart);
        if (!chunk)
            return NULL;
        *chunk = (osp_arena_chunk){arena->chunk, capacity};
        if (apart) {
            chunk->next = arena->chunk->next;
            arena->chunk->next = chunk;
            return (char *)chunk + CHUNK_HEADER;
        }
        arena->chunk = chunk;
        arena->used = 0;
    }
    void *ptr = (char *)arena->chunk + CHUNK_HEADER + arena->used;
    arena->used += rounded;
    return memset(ptr, 0, rounded);
}

void *osp_arena_array(osp_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return osp_size_mul(count, size, &bytes) ? osp_arena_alloc(arena, bytes) : NULL;
}

char *osp_arena_strndup(osp_arena *arena, const char *text, size_t length)
{
    size_t bytes;
    char *copy = osp_size_add(length, 1, &bytes) ? osp_arena_alloc(arena, bytes) : NULL;
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

char *osp_arena_printf(osp_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : osp_arena_alloc(arena, (size_t)length + 1);
    if (text && vsnprintf(text, (size_t)length + 1, format, again) != length)
        text = NULL;
    va_end(again);
    return text;
}
