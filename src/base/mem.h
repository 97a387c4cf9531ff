// Memory: counted allocation through the caller's allocator, and arenas on top of it.
// Thread rule: osp_mem from any thread; an arena from one thread at a time.
#ifndef OSP_BASE_MEM_H
#define OSP_BASE_MEM_H

#include <stdatomic.h>

#include "base/error.h"

typedef struct osp_mem {
    osp_allocator fn;
    atomic_size_t live, peak;  // bytes, bookkeeping included
} osp_mem;

// `allocator` zeroed or NULL: malloc and free of the C library.
void osp_mem_init(osp_mem *mem, const osp_allocator *allocator);

// 64-byte aligned, not cleared; NULL when out of memory. 0 bytes gives a unique pointer.
void *osp_mem_alloc(osp_mem *mem, size_t bytes);
void *osp_mem_calloc(osp_mem *mem, size_t count, size_t size);  // cleared, overflow-checked
void osp_mem_free(osp_mem *mem, void *ptr);                     // NULL is fine
char *osp_mem_strdup(osp_mem *mem, const char *text);

// Makes room for `need` elements in a growable array: doubles, keeps the contents. false: no
// memory, and the array is unchanged.
bool osp_mem_reserve(osp_mem *mem, void **array, size_t *capacity, size_t need, size_t size);

typedef struct osp_arena {
    osp_mem *mem;
    struct osp_arena_chunk *chunk;  // newest first
    size_t used;                    // bytes of the newest chunk
} osp_arena;

void osp_arena_init(osp_arena *arena, osp_mem *mem);
void osp_arena_free(osp_arena *arena);   // everything at once; the arena can be used again
void osp_arena_reset(osp_arena *arena);  // the same, but one chunk stays for what comes next
void *osp_arena_alloc(osp_arena *arena, size_t bytes);               // 16-byte aligned, cleared
void *osp_arena_array(osp_arena *arena, size_t count, size_t size);  // overflow-checked
char *osp_arena_strndup(osp_arena *arena, const char *text, size_t length);
char *osp_arena_printf(osp_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
