// What the kernels' own code is checked for while it runs on the host. The compiler puts calls into it:
// before each access to memory (-fsanitize=kernel-address, by calls), and where an access is not
// aligned to its type or an index is outside its array (-fsanitize=alignment,bounds). The functions
// here stand in for the sanitizers' libraries.
//
// A thread may touch its stack, shared memory, constants of the program, and what the device has handed
// out, each piece of memory by itself. No block of threads may touch what another one of the same launch
// writes, but by atomics: nothing says which comes first. That shows if the writer came first, so every
// other launch begins with its last block. Thread rule: see host/host_device.h.
#include <stdlib.h>

#include <map>

#include "host/host_device.h"
#include "host_cuda.h"
#include "host_internal.h"

extern "C" const char __executable_start[], _end[];

namespace {

host_find_fn *find_block;
void *find_user;

// A piece of device memory, and of every two bytes in it which block of which launch wrote them last.
struct Piece {
    const char *from = nullptr, *to = nullptr;
    uint64_t *writers = nullptr;
};
std::map<const char *, Piece> pieces;

// Those found last; a kernel uses a few in turn.
constexpr unsigned KEPT = 4;
Piece kept[KEPT];
unsigned next_kept;

uint64_t launch_now, block_now;  // block_now: with the launch in its upper half

const Piece &find(const char *at, size_t bytes, bool write)
{
    Piece p;
    if (!find_block(find_user, at, &p.from, &p.to))
        host_die("it %s %zu bytes of memory that the device has not", write ? "writes" : "reads",
                 bytes);
    if (at + bytes > p.to)
        host_die("it %s %zu bytes at byte %td of a piece of %td", write ? "writes" : "reads", bytes,
                 at - p.from, p.to - p.from);
    Piece &known = pieces[p.from];
    if (known.to != p.to) {
        free(known.writers);
        p.writers = (uint64_t *)calloc((size_t)(p.to - p.from) / 2 + 1, sizeof *p.writers);
        if (!p.writers)
            host_die("there is no memory to watch it");
        known = p;
    }
    return kept[next_kept++ % KEPT] = known;
}

// Single bytes are left out: their neighbour may be another block's.
void watch(const Piece &p, const char *at, size_t bytes, bool write)
{
    uint64_t *w = p.writers + (at - p.from) / 2;
    for (size_t i = 0; i < bytes / 2; i++) {
        if (w[i] >> 32 == launch_now && w[i] != block_now)
            host_die("it %s byte %td of a piece of %td, which block %u of this launch writes",
                     write ? "writes" : "reads", at - p.from + 2 * (std::ptrdiff_t)i, p.to - p.from,
                     (unsigned)w[i]);
        if (write)
            w[i] = block_now;
    }
}

void touch(const void *address, size_t bytes, bool write, bool atomic)
{
    const char *at = (const char *)address;
    if ((size_t)(at - host_stack) < HOST_STACK_BYTES)
        return;
    const Piece *p = nullptr;
    for (unsigned i = 0; !p && i < KEPT; i++)
        p = at >= kept[i].from && at + bytes <= kept[i].to ? &kept[i] : nullptr;
    if (!p && host_shared_has(at, bytes)) {
        if (!atomic)
            host_race(at, bytes, host_thread(), write);
        return;
    }
    if (!p && ((at >= __executable_start && at + bytes <= _end) || !find_block))
        return;
    if (!p)
        p = &find(at, bytes, write);
    if (!atomic)
        watch(*p, at, bytes, write);
}

// The head of what the compiler says about a place in the source.
struct Place {
    const char *file;
    uint32_t line, column;
};

}  // namespace

void host_checks_launch()
{
    for (Piece &p : kept)
        p = {};
    launch_now++;
}

void host_checks_block(unsigned block)
{
    block_now = launch_now << 32 | block;
}

void host_atomic_touch(const void *address, size_t bytes)
{
    touch(address, bytes, true, true);
}

void host_check_touch(const void *address, size_t bytes, bool write)
{
    touch(address, bytes, write, false);
}

void host_cuda_memory(host_find_fn *find, void *user)
{
    find_block = find;
    find_user = user;
}

extern "C" {
#define ACCESS(SIZE)                                                                               \
    void __asan_load##SIZE##_noabort(const void *at)                                               \
    {                                                                                              \
        touch(at, SIZE, false, false);                                                                  \
    }                                                                                              \
    void __asan_store##SIZE##_noabort(const void *at)                                              \
    {                                                                                              \
        touch(at, SIZE, true, false);                                                                   \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __asan_loadN_noabort(const void *at, size_t bytes)
{
    touch(at, bytes, false, false);
}

void __asan_storeN_noabort(const void *at, size_t bytes)
{
    touch(at, bytes, true, false);
}

void __asan_handle_no_return()
{
}

void __ubsan_handle_type_mismatch_v1_abort(const Place *place, uintptr_t address)
{
    host_die("%s:%u: address %#zx is not aligned to what is accessed there, or null", place->file,
             place->line, (size_t)address);
}

void __ubsan_handle_out_of_bounds_abort(const Place *place, uintptr_t index)
{
    host_die("%s:%u: index %zd is outside the array", place->file, place->line,
             (std::ptrdiff_t)index);
}
}
