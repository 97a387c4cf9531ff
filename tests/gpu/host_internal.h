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
    bool unseen = false;  // some were waited for, and are not visible to wgmma yet
};

HostCopies &host_copies();  // of the thread that runs

// Shared memory of a launch, and before and after each of its blocks (host_shared.cpp).
void host_shared_launch(const void *kernel, uint32_t dynamic_bytes);
void host_shared_block();
void host_shared_block_end();
void host_shared_launch_end();
// Where an address that was touched in vain lies: a word for the message.
const char *host_shared_where(const void *address);

#endif
