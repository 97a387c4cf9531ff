// See name_table.h.
#include "onnx/name_table.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/hash.h"

typedef struct osp_name_slot {
    uint32_t tag;   // more of the hash: spares most comparisons
    int32_t value;  // number + 1; 0: empty
} osp_name_slot;

osp_status osp_name_table_init(osp_name_table *names, osp_mem *mem, size_t capacity, osp_error *err)
{
    *names = (osp_name_table){.mem = mem};
    size_t slots = 16;
    while (slots / 2 < capacity)
        if (!osp_size_mul(slots, 2, &slots))
            OSP_FAIL_MEMORY(err);
    names->slots = osp_mem_calloc(mem, slots, sizeof *names->slots);
    if (!names->slots)
        OSP_FAIL_MEMORY(err);
    names->mask = slots - 1;
    // Without random numbers the clock must do: only speed hangs on the seed.
    if (getrandom(&names->seed, sizeof names->seed, GRND_NONBLOCK) != (ssize_t)sizeof names->seed) {
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        names->seed = (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)names->slots;
    }
    return OSP_OK;
}

void osp_name_table_free(osp_name_table *names)
{
    if (names->mem)
        osp_mem_free(names->mem, names->slots);
    *names = (osp_name_table){0};
}

static bool same(const char *text, osp_bytes name)
{
    return strncmp(text, name.data, name.size) == 0 && text[name.size] == 0;
}

osp_vid osp_name_table_find(const osp_name_table *names, const osp_graph *graph, osp_bytes name)
{
    const uint64_t hash = osp_hash64(name.data, name.size, names->seed);
    for (size_t at = hash & names->mask;; at = (at + 1) & names->mask) {
        const osp_name_slot *slot = names->slots + at;
        if (slot->value == 0)
            return OSP_NO_VALUE;
        if (slot->tag == (uint32_t)(hash >> 32) && same(graph->values[slot->value - 1].name, name))
            return slot->value - 1;
    }
}

void osp_name_table_add(osp_name_table *names, osp_bytes name, osp_vid value)
{
    const uint64_t hash = osp_hash64(name.data, name.size, names->seed);
    size_t at = hash & names->mask;
    while (names->slots[at].value)
        at = (at + 1) & names->mask;
    names->slots[at] = (osp_name_slot){(uint32_t)(hash >> 32), value + 1};
}
