// What the files of the host's CUDA share (C++). Thread rule: see host/host_device.h.
#ifndef OSP_TESTS_HOST_INTERNAL_H
#define OSP_TESTS_HOST_INTERNAL_H

#include <cstddef>
#include <cstdint>
#include <vector>

// A copy on its way to shared memory.
struct HostCopy {
    void *to;
    const void *from;
    uint32_t bytes;
    bool valid;
};

// Those of one thread, and how many there were when each group was committed.
struct HostCopies {
    std::vector<HostCopy> pending;
    std::vector<size_t> ends;
};

HostCopies &host_copies();  // of the thread that runs

// The stack of the thread that runs.
extern const char *host_stack;
constexpr size_t HOST_STACK_BYTES = 128 * 1024;

// host_checks.cpp: before a launch; and what the compiler asks before an access to memory.
void host_checks_launch();
void host_check_touch(const void *address, size_t bytes, bool write);

unsigned host_thread();  // number of the thread that runs
// All threads of a block that have not returned; the last one does the work (host_cuda.cpp).
void host_block_together(void (*work)(void *const *));

// host_races.cpp: before a block; and what a thread does to shared memory.
void host_races_block();
void host_race(const void *address, size_t bytes, unsigned thread, bool write);

// Shared memory of a launch, and before and after each of its blocks (host_shared.cpp).
void host_shared_launch(const void *kernel, uint32_t dynamic_bytes);
void host_shared_block();
void host_shared_block_end();
void host_shared_launch_end();
// All of it, static variables first: how much, and where an address lies.
size_t host_shared_bytes();
size_t host_shared_offset(const void *address);
ptrdiff_t host_shared_dynamic(
    const void *address);  // from the dynamic part's start; -1: a variable
// Whether so many bytes lie in shared memory. Ends the program where they lie beside it.
bool host_shared_has(const void *address, size_t bytes);
// Where an address that was touched in vain lies: a word for the message.
const char *host_shared_where(const void *address);

#endif
