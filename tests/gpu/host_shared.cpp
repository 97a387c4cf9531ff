// Shared memory of kernels on the host: a launch's dynamic bytes, behind which lies a page that nobody
// may touch, and the static variables of all kernels, which the build gathers in one section. Both
// are full of NaN when a block begins. Copies to shared memory are done when they are waited for.
#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "host/host_device.h"
#include "host/host_ptx.h"
#include "host_internal.h"

extern "C" char __start_host_shared[], __stop_host_shared[];

namespace {

// As the device has it: dynamic shared memory behind the first KB, aligned to 1 KB. Static variables
// get addresses far above, which no matrix descriptor can hold.
constexpr uint32_t PAGE = 4096, MOST = 227 * 1024, ROOM = 256 * 1024, FIRST = 1024,
                   STATIC = 0x40000000;
constexpr int NAN_BYTE = 0xFF, GUARD_BYTE = 0x5C;
constexpr size_t CHUNK = 256;

alignas(PAGE) char room[ROOM + PAGE];  // its last page is closed

char *dynamic;  // of the launch
uint32_t dynamic_size;

// Which chunks of the static variables a kernel has been seen to write.
std::map<const void *, std::vector<bool>> written;
std::vector<bool> *touched;

size_t static_size()
{
    return (size_t)(__stop_host_shared - __start_host_shared);
}

template <typename F> void each_chunk(F f)
{
    for (size_t i = 0, at = 0; at < static_size(); i++, at += CHUNK)
        f(i, __start_host_shared + at,
          at + CHUNK < static_size() ? CHUNK : static_size() - at);
}

bool is_nan(const char *at, size_t bytes)
{
    return (unsigned char)*at == NAN_BYTE && !memcmp(at, at + 1, bytes - 1);
}

// A few kernels have little of the section: looking at all of it for each block would take longer
// than the block. What a later block is the first to write is seen at the end of the launch.
void find_touched()
{
    each_chunk([](size_t i, char *at, size_t bytes) {
        if (!is_nan(at, bytes)) {
            (*touched)[i] = true;
            memset(at, NAN_BYTE, bytes);
        }
    });
}

}  // namespace

void host_shared_launch(const void *kernel, uint32_t dynamic_bytes)
{
    static bool first = true;
    if (dynamic_bytes > MOST)
        host_die("%u bytes of shared memory, of %u that there are", dynamic_bytes, MOST);
    if (first) {
        memset(__start_host_shared, NAN_BYTE, static_size());
        mprotect(room + ROOM, PAGE, PROT_NONE);
        first = false;
    }
    const uint32_t rounded = (dynamic_bytes + 1023) / 1024 * 1024;
    dynamic = room + ROOM - rounded;
    dynamic_size = dynamic_bytes;
    memset(dynamic - FIRST, GUARD_BYTE, FIRST);
    memset(dynamic + dynamic_bytes, GUARD_BYTE, rounded - dynamic_bytes);
    touched = &written[kernel];
    touched->resize(static_size() / CHUNK + 1);
}

void host_shared_block()
{
    memset(dynamic, NAN_BYTE, dynamic_size);
}

void host_shared_block_end()
{
    const char *const ends[] = {dynamic - FIRST, dynamic, dynamic + dynamic_size, room + ROOM};
    for (int i = 0; i < 4; i += 2)
        for (const char *at = ends[i]; at < ends[i + 1]; at++)
            if (*at != GUARD_BYTE)
                host_die("byte %td of %u of its dynamic shared memory is written", at - dynamic,
                         dynamic_size);
    each_chunk([](size_t i, char *at, size_t bytes) {
        if ((*touched)[i])
            memset(at, NAN_BYTE, bytes);
    });
}

void host_shared_launch_end()
{
    find_touched();
}

size_t host_shared_bytes()
{
    return static_size() + sizeof room;
}

size_t host_shared_offset(const void *address)
{
    const char *at = (const char *)address;
    const bool is_static = at >= __start_host_shared && at < __stop_host_shared;
    return (size_t)(is_static ? at - __start_host_shared : at - room) + (is_static ? 0 : static_size());
}

ptrdiff_t host_shared_dynamic(const void *address)
{
    const char *at = (const char *)address;
    return at >= room && at < room + sizeof room ? at - dynamic : -1;
}

bool host_shared_has(const void *address, size_t bytes)
{
    const char *at = (const char *)address;
    if (at >= __start_host_shared && at + bytes <= __stop_host_shared)
        return true;
    if (at < room || at >= room + sizeof room)
        return false;
    if (at < dynamic || at + bytes > dynamic + dynamic_size)
        host_die("bytes %td to %td of %u of its dynamic shared memory are touched", at - dynamic,
                 at - dynamic + (std::ptrdiff_t)bytes, dynamic_size);
    return true;
}

const char *host_shared_where(const void *address)
{
    const char *at = (const char *)address;
    return at >= room + ROOM && at < room + ROOM + PAGE ? "what lies behind its shared memory"
           : at < (const char *)0x10000                 ? "the null address, or near it"
                                                        : "memory that is not there";
}

void *host_dynamic_shared()
{
    return dynamic;
}

uint32_t host_shared_address(const void *p)
{
    const char *at = (const char *)p;
    if (at >= dynamic && at <= dynamic + dynamic_size)
        return FIRST + (uint32_t)(at - dynamic);
    if (at >= __start_host_shared && at < __stop_host_shared)
        return STATIC + (uint32_t)(at - __start_host_shared);
    host_die("an address outside shared memory is taken for one in it");
}

void *host_shared_at(uint32_t address, uint32_t bytes, uint32_t align)
{
    if (address % align)
        host_die("shared address 0x%x is not aligned to %u bytes", address, align);
    if (address >= FIRST && address - FIRST + bytes <= dynamic_size)
        return dynamic + (address - FIRST);
    if (address >= STATIC && address - STATIC + bytes <= static_size())
        return __start_host_shared + (address - STATIC);
    host_die("%u bytes at shared address 0x%x: it has %u at 0x%x", bytes, address, dynamic_size,
             FIRST);
}

// ---- Copies -------------------------------------------------------------------------------------

// The source must be there already: it is read here once.
void host_copy_async(uint32_t to, const void *from, uint32_t bytes, bool valid)
{
    if ((uintptr_t)from % bytes)
        host_die("an address in global memory is not aligned to %u bytes", bytes);
    if (valid)
        host_check_touch(from, bytes, false);
    void *const at = host_shared_at(to, bytes, bytes);
    host_race(at, bytes, host_thread(), true);
    memset(at, NAN_BYTE, bytes);
    host_copies().pending.push_back({at, from, bytes, valid});
}

void host_copy_commit()
{
    host_copies().ends.push_back(host_copies().pending.size());
}

void host_copy_wait(unsigned left)
{
    HostCopies &all = host_copies();
    if (all.ends.size() <= left)
        return;
    const size_t groups = all.ends.size() - left, done = all.ends[groups - 1];
    for (size_t i = 0; i < done; i++) {
        const HostCopy &c = all.pending[i];
        host_race(c.to, c.bytes, host_thread(), true);
        if (c.valid)
            memcpy(c.to, c.from, c.bytes);
        else
            memset(c.to, 0, c.bytes);
    }
    all.pending.erase(all.pending.begin(), all.pending.begin() + (ptrdiff_t)done);
    all.ends.erase(all.ends.begin(), all.ends.begin() + (ptrdiff_t)groups);
    for (size_t &end : all.ends)
        end -= done;
}
