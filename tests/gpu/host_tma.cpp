// Barriers in shared memory and the bulk copy engine, in host memory: see src/backends/cuda/tma.cuh.
// What they do is in the PTX manual, "mbarrier" and "cp.async.bulk.tensor".
//
// A barrier's 8 bytes hold its phase, the arrivals and the bytes that the phase still waits for; what it
// cannot hold lies beside it: copies on their way, and what those who arrived know. A copy is done as
// late as it may be, when somebody waits for the end of a phase that lacks nothing else; from when it was
// asked for nobody may touch its tile, which is full of NaN. A thread that arrives makes way for all
// others, so that what it freed too early is filled again before it goes on.
// Thread rule: see host/host_device.h.
#include "host/host_tma.h"

#include <stdio.h>

#include <map>

#include "fake_tiles.h"
#include "host/host_ptx.h"
#include "host_internal.h"

namespace {

constexpr uint32_t COUNT_MOST = (1 << 20) - 1, ROW_BYTES = 128, CHUNK = 16;
constexpr int NAN_BYTE = 0xFF;
constexpr unsigned BEGUN = 2;  // neither what NaN nor what zeros have there

// The 8 bytes.
struct Word {
    uint64_t phase : 1, count : 20, pending : 20, bytes : 21, mark : 2;
};
static_assert(sizeof(Word) == sizeof(uint64_t), "a barrier");

struct Load {
    fake_tiles tiles;
    uint32_t to;
    int corner[FAKE_TILES_RANK_MAX];
};

struct Barrier {
    Word word;
    unsigned number, thread;  // who began it
    bool fenced = false;      // the copy engine sees it
    std::vector<Load> loads;  // on their way
    HostKnown arrived, ended;  // what those know who arrived in this phase, and in the last one
};

std::map<const uint64_t *, Barrier> barriers;  // of the block

uint32_t side(const fake_tiles &t, int i)
{
    return (t.box[i] + t.step[i] - 1u) / t.step[i];
}

uint32_t rows_of(const fake_tiles &t)
{
    uint32_t rows = 1;
    for (int i = 1; i < t.rank; i++)
        rows *= side(t, i);
    return rows;
}

uint64_t coming_bytes(const Barrier &b)
{
    uint64_t bytes = 0;
    for (const Load &l : b.loads)
        bytes += (uint64_t)rows_of(l.tiles) * ROW_BYTES;
    return bytes;
}

void save(uint64_t *bar, const Barrier &b)
{
    memcpy(bar, &b.word, sizeof b.word);
}

Barrier &find(uint64_t *bar)
{
    const auto it = barriers.find(bar);
    if (it == barriers.end())
        host_die("a barrier is used that nobody began");
    Barrier &b = it->second;
    if (memcmp(bar, &b.word, sizeof b.word) != 0)
        host_die("a barrier's 8 bytes were written over");
    host_race_seen(bar, sizeof *bar, host_thread());
    return b;
}

// The row of the array that row `r` of a tile comes from, NULL: none; *first to *end: halves of the tile's
// row that the array has.
const char *row_of(const Load &l, uint32_t r, int64_t *first, int64_t *end)
{
    const fake_tiles &t = l.tiles;
    const char *at = t.data;
    for (int i = 1; i < t.rank; i++) {
        const int64_t place = l.corner[i] + (int64_t)(r % side(t, i)) * t.step[i];
        r /= side(t, i);
        if (place < 0 || place > t.last[i])
            return nullptr;
        at += place * (int64_t)t.stride[i];
    }
    const int64_t left = l.corner[0], behind = (int64_t)t.last[0] + 1 - left;
    *first = left < 0 ? -left : 0;
    *end = behind < t.box[0] ? behind : t.box[0];
    return *first < *end ? at + left * 2 : nullptr;
}

// A tile's rows, in the 128-byte swizzle: bits 4 to 6 of an address are turned by its bits 7 to 9.
void copy(const Load &l)
{
    for (uint32_t r = 0; r < rows_of(l.tiles); r++) {
        int64_t first = 0, end = 0;
        const char *const from = row_of(l, r, &first, &end);
        char row[ROW_BYTES] = {};
        if (from)
            memcpy(row + first * 2, from + first * 2, (size_t)(end - first) * 2);
        for (uint32_t c = 0; c < ROW_BYTES; c += CHUNK) {
            uint32_t at = l.to + r * ROW_BYTES + c;
            at ^= (at >> 7 & 7) << 4;
            memcpy(host_shared_at(at, CHUNK, CHUNK), row + c, CHUNK);
        }
    }
}

void end_phase(uint64_t *bar, Barrier &b)
{
    for (const Load &l : b.loads) {
        copy(l);
        const uint32_t bytes = rows_of(l.tiles) * ROW_BYTES;
        host_race_came(host_shared_at(l.to, bytes, ROW_BYTES), bytes, b.number);
    }
    b.loads.clear();
    host_known_came(b.number, b.arrived);
    b.ended.swap(b.arrived);
    b.arrived.clear();
    b.word.phase ^= 1;
    b.word.pending = b.word.count;
    b.word.bytes = 0;
    save(bar, b);
}

bool may_end(const Barrier &b)
{
    return b.word.pending == 0 && coming_bytes(b) >= b.word.bytes;
}

}  // namespace

void host_barrier_init(uint64_t *bar, uint32_t count)
{
    if (count == 0 || count > COUNT_MOST)
        host_die("a barrier for %u arrivals", count);
    host_shared_at(host_shared_address(bar), sizeof *bar, sizeof *bar);
    host_race(bar, sizeof *bar, host_thread(), true);
    host_known_begin();
    const auto known = barriers.find(bar);
    if (known != barriers.end() && !known->second.loads.empty())
        host_die("a barrier is begun anew while copies are on their way for it");
    const unsigned number =
        known == barriers.end() ? (unsigned)barriers.size() : known->second.number;
    if (number == HOST_BARRIERS_MOST)
        host_die("more than %d barriers", HOST_BARRIERS_MOST);
    Barrier b = {};
    b.word = {0, count, count, 0, BEGUN};
    b.number = number;
    b.thread = host_thread();
    save(bar, barriers[bar] = b);
}

void host_barrier_fence_init()
{
    host_race_fence(host_thread());
    for (auto &b : barriers)
        b.second.fenced |= b.second.thread == host_thread();
}

void host_barrier_arrive(uint64_t *bar, uint32_t expected_bytes)
{
    Barrier &b = find(bar);
    if (b.word.pending == 0)
        host_die("it arrives at a barrier whose %u arrivals have come, and nobody has waited since",
                 (unsigned)b.word.count);
    if (b.word.bytes + (uint64_t)expected_bytes > COUNT_MOST)
        host_die("a barrier expects %llu bytes", b.word.bytes + (unsigned long long)expected_bytes);
    b.word.pending = b.word.pending - 1;
    b.word.bytes = b.word.bytes + expected_bytes;
    save(bar, b);
    host_known_tell(host_thread(), b.arrived);
    if (b.word.pending == 0 && b.word.bytes == 0 && b.loads.empty())
        end_phase(bar, b);
    if (!expected_bytes)
        host_make_way();
}

bool host_wait_over(const HostWait &wait)
{
    const Barrier &b = barriers.at(wait.bar);
    return b.word.phase != (wait.parity & 1) || may_end(b);
}

void host_wait_tell(const HostWait &wait, unsigned thread)
{
    const Barrier &b = barriers.at(wait.bar);
    fprintf(stderr,
            "thread %u waits for ever, %s:%u, parity %u: %u of %u arrivals are missing, and %llu of %u "
            "bytes are on their way\n",
            thread, wait.file, wait.line, wait.parity, (unsigned)b.word.pending,
            (unsigned)b.word.count, (unsigned long long)coming_bytes(b), (unsigned)b.word.bytes);
}

void host_barrier_wait(uint64_t *bar, uint32_t parity, const char *file, unsigned line)
{
    if (parity > 1)
        host_die("%s:%u: a phase has parity 0 or 1, not %u", file, line, parity);
    Barrier &b = find(bar);
    host_wait({bar, parity, file, line});
    if (b.word.phase == parity) {
        if (coming_bytes(b) > b.word.bytes)
            host_die("%s:%u: %llu bytes are on their way for a barrier that expects %u", file, line,
                     (unsigned long long)coming_bytes(b), (unsigned)b.word.bytes);
        end_phase(bar, b);
    }
    host_known_learn(host_thread(), b.ended);
}

void host_tma_load(uint32_t shared, const osp_gpu_tensor_map *map, uint64_t *bar, int rank,
                   const int *corner)
{
    Barrier &b = find(bar);
    Load l = {};
    if ((uintptr_t)map % alignof(osp_gpu_tensor_map))
        host_die("a tensor map is not aligned to %zu bytes", alignof(osp_gpu_tensor_map));
    memcpy(&l.tiles, map, sizeof l.tiles);
    if (l.tiles.magic != FAKE_TILES_MAGIC)
        host_die("that is no tensor map");
    if (l.tiles.rank != rank)
        host_die("%d coordinates for an array of rank %d", rank, l.tiles.rank);
    if (corner[0] * (int)sizeof(uint16_t) % (int)CHUNK)
        host_die("a tile begins at half %d of a row, not at a multiple of 8", corner[0]);
    if (!b.fenced)
        host_die("a copy for a barrier that was not made visible to the copy engine");
    l.to = shared;
    memcpy(l.corner, corner, sizeof *corner * (size_t)rank);
    const uint32_t bytes = rows_of(l.tiles) * ROW_BYTES;
    void *const at = host_shared_at(shared, bytes, ROW_BYTES);
    for (uint32_t r = 0; r < rows_of(l.tiles); r++) {
        int64_t first = 0, end = 0;
        const char *const from = row_of(l, r, &first, &end);
        if (from)
            host_check_touch(from + first * 2, (size_t)(end - first) * 2, false);
    }
    host_race_coming(at, bytes, host_thread());
    memset(at, NAN_BYTE, bytes);
    b.loads.push_back(l);
}

static void elect_all(void *const *lanes)
{
    for (int i = 0; i < 32; i++)
        if (!lanes[i])
            host_die("lane %d of the warp has returned", i);
}

bool host_tma_elect()
{
    char mine = 0;
    host_warp_together(elect_all, &mine);
    return host_lane == 31;  // which one it is, nobody says
}

void host_tma_block_end()
{
    for (const auto &b : barriers)
        if (!b.second.loads.empty())
            host_die("the block ends while %llu bytes are on their way to its shared memory",
                     (unsigned long long)coming_bytes(b.second));
    barriers.clear();
}
