// Races in shared memory: of every two bytes it is kept who wrote and who read them last, and a thread
// that touches what another one has touched since the last barrier of the block, or since the last
// __syncwarp where both are of one warp, ends the program; unless both only read. Atomics are left out.
// So a missing barrier shows in whatever order threads run, and also where the values come out right.
// Thread rule: see host/host_device.h.
#include <stdio.h>

#include "host/host_device.h"
#include "host_internal.h"

namespace {

constexpr uint32_t GRAIN = 2;
constexpr unsigned WARP = 32, WARPS = 32, MANY = 0xFFFF;

// Times are numbers of barriers; `reader` and `reading_warp` can be MANY.
struct Trace {
    uint32_t written, written_in_warp, read, read_in_warp;
    uint16_t writer, reader, reading_warp;
};

std::vector<Trace> traces;
uint32_t now;             // barriers of all blocks so far
uint32_t in_warp[WARPS];  // __syncwarp of each warp so far

void order_block(void *const *)
{
    now++;
}

void order_warp(void *const *lanes)
{
    unsigned i = 0;
    while (!lanes[i])
        i++;
    ++*(uint32_t *)lanes[i];
}

[[noreturn]] void tell(const void *address, bool write, const char *did, unsigned other)
{
    char who[32] = "other threads";
    if (other != MANY)
        snprintf(who, sizeof who, "thread %u", other);
    host_die("it %s shared memory that %s %s, with no barrier between: %s, byte %td",
             write ? "writes" : "reads", who, did,
             host_shared_dynamic(address) < 0 ? "a variable" : "dynamic",
             host_shared_dynamic(address) < 0 ? 0 : host_shared_dynamic(address));
}

void look(Trace &t, const void *at, unsigned thread, bool write)
{
    const unsigned warp = thread / WARP;
    const uint32_t time = in_warp[warp];
    if (t.written == now && t.writer != thread &&
        (t.writer / WARP != warp || t.written_in_warp == time))
        tell(at, write, "wrote", t.writer);
    const bool seen = t.read == now, same = t.reading_warp == warp, newer = t.read_in_warp != time;
    if (write) {
        if (seen && (!same || (!newer && t.reader != thread)))
            tell(at, write, "read", t.reader);
        t.written = now;
        t.written_in_warp = time;
        t.writer = (uint16_t)thread;
        return;
    }
    t.reader = (uint16_t)(seen && !(same && newer) && t.reader != thread ? MANY : thread);
    t.reading_warp = (uint16_t)(seen && !same ? MANY : warp);
    t.read = now;
    t.read_in_warp = time;
}

}  // namespace

void host_races_block()
{
    traces.resize(host_shared_bytes() / GRAIN + 1);
    now++;
}

void host_race(const void *address, size_t bytes, unsigned thread, bool write)
{
    if (bytes < GRAIN)
        return;  // neighbouring bytes may be of two threads
    Trace *t = &traces[host_shared_offset(address) / GRAIN];
    for (size_t i = 0; i < bytes; i += GRAIN, t++)
        look(*t, (const char *)address + i, thread, write);
}

void host_block_barrier()
{
    host_block_together(order_block);
}

void host_warp_barrier()
{
    host_warp_together(order_warp, &in_warp[host_thread() / WARP]);
}
