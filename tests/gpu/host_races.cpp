// Races in shared memory: of every two bytes it is kept who wrote and who read them last, and a thread
// that touches what another one has touched since the last barrier of the block, or since the last
// __syncwarp where both are of one warp, ends the program; unless both only read. Atomics are left out.
// So a missing barrier shows in whatever order threads run, and also where the values come out right.
//
// Barriers in shared memory (host_tma.cpp) order threads one by one. Where a block has some, each thread
// has a clock, which goes on when it tells others, and knows of each other one until when what that one
// did lies before: a race is what a thread does not know of. The copy engine is one more writer for
// each such barrier.
// Thread rule: see host/host_device.h.
#include <stdio.h>

#include "host/host_device.h"
#include "host_internal.h"

namespace {

constexpr uint32_t GRAIN = 2, NEVER = UINT32_MAX;
constexpr unsigned WARP = 32, WARPS = 32, MANY = 0xFFFF, THREADS_MAX = 1024;

// Times are numbers of barriers, but for the clocks, which are those of `writer` and `reader`. Both and
// `reading_warp` can be MANY.
struct Trace {
    uint32_t written, written_in_warp, written_clock, fences, read, read_in_warp, read_clock;
    uint32_t list, listed;  // of readers, made in the block that began then
    uint16_t writer, reader, reading_warp;
    bool coming;  // the copy engine is to write it
};

struct Reader {
    uint32_t thread, until;
};

std::vector<Trace> traces;
uint32_t now = 1;         // barriers of all blocks so far
uint32_t block_began;     // when this one did
uint32_t in_warp[WARPS];  // __syncwarp of each warp so far

uint32_t clocks[THREADS_MAX + HOST_BARRIERS_MOST], fences[THREADS_MAX];
unsigned threads, first_engine, width;  // threads; the copy engine's numbers from here on; all
bool known_kept;
std::vector<uint32_t> known;  // [threads][width]
// Where there are MANY readers: those of a block so far.
std::vector<std::vector<Reader>> lists;
size_t lists_used;

uint32_t *known_of(unsigned thread)
{
    return known.data() + (size_t)thread * width;
}

bool knows(unsigned thread, unsigned other, uint32_t until)
{
    return known_kept && known_of(thread)[other] >= until;
}

bool knows_readers(unsigned thread, const Trace &t)
{
    if (t.reader != MANY)
        return knows(thread, t.reader, t.read_clock);
    if (!known_kept || t.listed != block_began)
        return false;
    for (const Reader &r : lists[t.list])
        if (r.thread != thread && (r.until == NEVER || !knows(thread, r.thread, r.until)))
            return false;
    return true;
}

void join(uint32_t *to, const uint32_t *from)
{
    for (unsigned i = 0; i < width; i++)
        to[i] = to[i] < from[i] ? from[i] : to[i];
}

void order_block(void *const *)
{
    now++;
}

void order_warp(void *const *lanes)
{
    unsigned i = 0;
    while (!lanes[i])
        i++;
    const uint32_t *const warp = (const uint32_t *)lanes[i];
    in_warp[warp - in_warp]++;
    host_known_share((unsigned)(warp - in_warp) * WARP, WARP);
}

// Whether another thread wrote it, and nothing says that this lies before.
bool unseen(const Trace &t, unsigned thread)
{
    return t.written == now && t.writer != thread &&
           (t.writer / WARP != thread / WARP || t.written_in_warp == in_warp[thread / WARP]) &&
           !knows(thread, t.writer, t.written_clock);
}

[[noreturn]] void tell(const void *address, bool write, const char *did, unsigned other)
{
    char who[32] = "other threads";
    if (other != MANY && known_kept && other >= first_engine)
        snprintf(who, sizeof who, "the copy engine");
    else if (other != MANY)
        snprintf(who, sizeof who, "thread %u", other);
    host_die("it %s shared memory that %s %s, with no barrier between: %s, byte %td",
             write ? "writes" : "reads", who, did,
             host_shared_dynamic(address) < 0 ? "a variable" : "dynamic",
             host_shared_dynamic(address) < 0 ? 0 : host_shared_dynamic(address));
}

// `others`: there are readers whose reads do not all lie before this one.
void add_reader(Trace &t, unsigned thread, uint32_t clock, bool others)
{
    if (others && known_kept) {
        const bool listed = t.listed == block_began;
        if (!listed && lists_used == lists.size())
            lists.emplace_back();
        t.list = listed ? t.list : (uint32_t)lists_used++;
        t.listed = block_began;
        std::vector<Reader> &all = lists[t.list];
        if (t.reader != MANY)
            all = {{t.reader, t.read_clock}};
        else if (!listed)
            all = {{MANY, NEVER}};  // since before clocks were kept
        size_t i = 0;
        while (i < all.size() && all[i].thread != thread)
            i++;
        if (i == all.size())
            all.push_back({});
        all[i] = {thread, clock};
    }
    t.reader = (uint16_t)(others ? MANY : thread);
    t.read_clock = clock;
}

void look(Trace &t, const void *at, unsigned thread, bool write, uint32_t clock)
{
    const unsigned warp = thread / WARP;
    const uint32_t time = in_warp[warp];
    if (t.coming)
        host_die("it %s shared memory that the copy engine is to write: %s, byte %td",
                 write ? "writes" : "reads",
                 host_shared_dynamic(at) < 0 ? "a variable" : "dynamic",
                 host_shared_dynamic(at) < 0 ? 0 : host_shared_dynamic(at));
    if (unseen(t, thread))
        tell(at, write, "wrote", t.writer);
    const bool seen = t.read == now, same = t.reading_warp == warp, newer = t.read_in_warp != time;
    if (write) {
        if (seen && (!same || (!newer && t.reader != thread)) && !knows_readers(thread, t))
            tell(at, write, "read", t.reader);
        t.written = now;
        t.written_in_warp = time;
        t.written_clock = clock;
        t.fences = fences[thread];
        t.writer = (uint16_t)thread;
        return;
    }
    const bool others = seen && !(same && newer) && t.reader != thread &&
                        (t.reader == MANY || !knows(thread, t.reader, t.read_clock));
    t.reading_warp = (uint16_t)(others && !same ? MANY : warp);
    add_reader(t, thread, clock, others);
    t.read = now;
    t.read_in_warp = time;
}

template <typename F> void each_trace(const void *address, size_t bytes, F f)
{
    Trace *t = &traces[host_shared_offset(address) / GRAIN];
    for (size_t i = 0; i < bytes; i += GRAIN, t++)
        f(*t, (const char *)address + i);
}

// What threads stored in this block, and did not make visible since.
void look_fence(const Trace &t, const char *to)
{
    if (t.written > block_began && t.writer < threads && t.fences == fences[t.writer])
        host_die("what thread %u stored was not made visible to %s", t.writer, to);
}

}  // namespace

void host_races_block(unsigned count)
{
    traces.resize(host_shared_bytes() / GRAIN + 1);
    block_began = now++;
    threads = count;
    for (uint32_t &clock : clocks)
        clock = 1;
    known_kept = false;
    lists_used = 0;
}

void host_race(const void *address, size_t bytes, unsigned thread, bool write)
{
    if (bytes < GRAIN)
        return;  // neighbouring bytes may be of two threads
    each_trace(address, bytes, [=](Trace &t, const char *at) {
        look(t, at, thread, write, clocks[thread]);
    });
}

void host_race_seen(const void *address, size_t bytes, unsigned thread)
{
    each_trace(address, bytes, [=](Trace &t, const char *at) {
        if (unseen(t, thread))
            tell(at, false, "wrote", t.writer);
    });
}

void host_race_fence(unsigned thread)
{
    fences[thread]++;
}

void host_race_products(const void *address, size_t bytes, unsigned first_thread, bool waited_for)
{
    if (waited_for && !known_kept)
        return;
    // All threads must know of what the engine wrote; asked once for a run of bytes of one time.
    unsigned writer = 0;
    uint32_t until = 0;
    each_trace(address, bytes, [&](Trace &t, const char *at) {
        look(t, at, first_thread, false, waited_for ? clocks[first_thread] : NEVER);
        look_fence(t, "products");
        if (!known_kept || t.written != now || t.writer < first_engine ||
            (t.writer == writer && t.written_clock == until))
            return;
        writer = t.writer;
        until = t.written_clock;
        for (unsigned i = first_thread; i < first_thread + 128; i++)
            if (!knows(i, writer, until))
                host_die("products read what the copy engine wrote, and thread %u of the group has "
                         "not waited for it",
                         i);
    });
}

void host_race_coming(const void *address, size_t bytes, unsigned thread)
{
    each_trace(address, bytes, [=](Trace &t, const char *at) {
        look_fence(t, "the copy engine, which is to write over it");
        look(t, at, thread, true, clocks[thread]);
        t.coming = true;
    });
}

void host_race_came(const void *address, size_t bytes, unsigned barrier)
{
    const unsigned engine = first_engine + barrier;
    each_trace(address, bytes, [=](Trace &t, const char *) {
        t.coming = false;
        t.written = now;
        t.written_clock = clocks[engine];
        t.writer = (uint16_t)engine;
    });
}

// ---- What threads know --------------------------------------------------------------------------

void host_known_begin()
{
    if (known_kept)
        return;
    known_kept = true;
    first_engine = (threads + WARP - 1) / WARP * WARP;  // of no thread's warp
    width = first_engine + HOST_BARRIERS_MOST;
    known.assign((size_t)threads * width, 0);
}

// An empty one knows nothing.
static void join_into(HostKnown &to, const uint32_t *from)
{
    to.resize(width);
    join(to.data(), from);
}

void host_known_tell(unsigned thread, HostKnown &to)
{
    join_into(to, known_of(thread));
    to[thread] = clocks[thread]++;
}

void host_known_learn(unsigned thread, const HostKnown &from)
{
    if (!from.empty())
        join(known_of(thread), from.data());
}

void host_known_came(unsigned barrier, HostKnown &to)
{
    to.resize(width);
    to[first_engine + barrier] = clocks[first_engine + barrier]++;
}

void host_known_share(unsigned first, unsigned count)
{
    if (!known_kept)
        return;
    static HostKnown all;
    all.assign(width, 0);
    const unsigned end = first + count < threads ? first + count : threads;
    for (unsigned i = first; i < end; i++)
        host_known_tell(i, all);
    for (unsigned i = first; i < end; i++)
        join(known_of(i), all.data());
}

// ---- Barriers -----------------------------------------------------------------------------------

void host_block_barrier()
{
    host_block_together(order_block);
}

void host_warp_barrier()
{
    host_warp_together(order_warp, &in_warp[host_thread() / WARP]);
}

static unsigned part_first, part_count;  // of those whose barrier it is, for the last one of them

static void order_part(void *const *)
{
    host_known_share(part_first, part_count);
}

void host_part_barrier(unsigned part, unsigned count)
{
    if (part >= HOST_PARTS_MOST || count % WARP || (part + 1) * count > threads ||
        host_thread() / count != part)
        host_die("a barrier of part %u of %u threads", part, count);
    host_known_begin();
    part_first = part * count;
    part_count = count;
    host_part_together(part, count, order_part);
}
