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

// host_checks.cpp: before a launch and before each of its blocks; and what the compiler asks before an
// access to memory.
void host_checks_launch();
void host_checks_block(unsigned block);
void host_check_touch(const void *address, size_t bytes, bool write);

unsigned host_thread();  // number of the thread that runs
// All threads of a block that have not returned; the last one does the work (host_cuda.cpp).
void host_block_together(void (*work)(void *const *));
// `count` threads of it, the part of that number.
enum { HOST_PARTS_MOST = 15 };
void host_part_together(unsigned part, unsigned count, void (*work)(void *const *));

void host_make_way();  // as host_give_way, for a thread that has got somewhere

// What a thread waits for at a barrier in shared memory: the end of the phase of this parity.
struct HostWait {
    uint64_t *bar;
    uint32_t parity;
    const char *file;
    unsigned line;
};
// host_cuda.cpp: until host_wait_over.
void host_wait(const HostWait &wait);
// host_tma.cpp: whether it has ended, or would by copies that are on their way; prints what is missing;
// and behind a block.
bool host_wait_over(const HostWait &wait);
void host_wait_tell(const HostWait &wait, unsigned thread);
void host_tma_block_end();

// host_races.cpp: before a block; and what a thread does to shared memory.
void host_races_block(unsigned threads);
void host_race(const void *address, size_t bytes, unsigned thread, bool write);
void host_race_seen(const void *address, size_t bytes,
                    unsigned thread);   // a read that leaves no trace
void host_race_fence(unsigned thread);  // what it stored is visible to products and the copy engine
// The products of a group of threads read, from when they are issued until they are waited for.
void host_race_products(const void *address, size_t bytes, unsigned first_thread, bool waited_for);
// A thread tells the copy engine to write; later it has written, for a barrier.
void host_race_coming(const void *address, size_t bytes, unsigned thread);
void host_race_came(const void *address, size_t bytes, unsigned barrier);

// What threads know of what others did, by barriers in shared memory: of each thread, then of the copy
// engine for each barrier, until when.
typedef std::vector<uint32_t> HostKnown;
enum { HOST_BARRIERS_MOST = 64 };
void host_known_begin();                               // from now on in this block
void host_known_tell(unsigned thread, HostKnown &to);  // all that it knows and did itself
void host_known_learn(unsigned thread, const HostKnown &from);
void host_known_came(unsigned barrier, HostKnown &to);  // all that host_race_came was called for
// All of so many threads know what each of them knows and did.
void host_known_share(unsigned first_thread, unsigned count);

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
