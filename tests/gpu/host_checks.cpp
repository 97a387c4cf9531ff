// What the kernels' own code is checked for while it runs on the host. The compiler puts calls into it:
// before each access to memory (-fsanitize=kernel-address, by calls), and where an access is not
// aligned to its type or an index is outside its array (-fsanitize=alignment,bounds). The functions
// here stand in for the sanitizers' libraries.
//
// A thread may touch its stack, shared memory, constants of the program, and what the device has handed
// out, each block by itself. Thread rule: see host/host_device.h.
#include "host/host_device.h"
#include "host_cuda.h"
#include "host_internal.h"

extern "C" const char __executable_start[], _end[];

namespace {

host_find_fn *find_block;
void *find_user;

// Blocks found last; a kernel uses a few in turn.
struct Block {
    const char *from, *to;
};
constexpr unsigned KEPT = 4;
Block kept[KEPT];
unsigned next_kept;

void find(const char *at, size_t bytes, bool write)
{
    if ((at >= __executable_start && at + bytes <= _end) || !find_block)
        return;
    Block b = {};
    if (!find_block(find_user, at, &b.from, &b.to))
        host_die("it %s %zu bytes of memory that the device has not", write ? "writes" : "reads",
                 bytes);
    if (at + bytes > b.to)
        host_die("it %s %zu bytes at byte %td of a block of %td", write ? "writes" : "reads", bytes,
                 at - b.from, b.to - b.from);
    kept[next_kept++ % KEPT] = b;
}

void touch(const void *address, size_t bytes, bool write)
{
    const char *at = (const char *)address;
    if ((size_t)(at - host_stack) < HOST_STACK_BYTES)
        return;
    for (const Block &b : kept)
        if (at >= b.from && at + bytes <= b.to)
            return;
    if (host_shared_has(at, bytes))
        host_race(at, bytes, host_thread(), write);
    else
        find(at, bytes, write);
}

// The head of what the compiler says about a place in the source.
struct Place {
    const char *file;
    uint32_t line, column;
};

}  // namespace

void host_checks_launch()
{
    memset(kept, 0, sizeof kept);
}

void host_atomic_touch(const void *address, size_t bytes)
{
    if (!host_shared_has(address, bytes))
        touch(address, bytes, true);
}

void host_check_touch(const void *address, size_t bytes, bool write)
{
    touch(address, bytes, write);
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
        touch(at, SIZE, false);                                                                    \
    }                                                                                              \
    void __asan_store##SIZE##_noabort(const void *at)                                              \
    {                                                                                              \
        touch(at, SIZE, true);                                                                     \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __asan_loadN_noabort(const void *at, size_t bytes)
{
    touch(at, bytes, false);
}

void __asan_storeN_noabort(const void *at, size_t bytes)
{
    touch(at, bytes, true);
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
