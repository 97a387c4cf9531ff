// Greedy by size: simple, deterministic, and within a few percent of the lower bound on
// detection networks, whose few large early maps decide.
#include "plan/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

typedef struct order {
    size_t size;
    int32_t first;
    size_t index;
} order;

// Larger first; then earlier; then by index, so that the result never depends on the sort.
static int compare_order(const void *a, const void *b)
{
    const order *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// Keeps `placed` sorted by offset.
static void insert_sorted(const osp_memory_item **placed, size_t count, const osp_memory_item *item)
{
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > item->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = item;
}

// The lowest offset at which `item` meets no placed item that is alive with it.
static bool place(osp_memory_item *item, const osp_memory_item *const *placed, size_t count,
                  size_t *end)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        const osp_memory_item *other = placed[i];
        if (other->last < item->first || item->last < other->first)
            continue;
        if (other->offset >= offset && other->offset - offset >= item->size)
            break;
        size_t other_end;
        if (!osp_size_align(other->offset + other->size, OSP_MEMORY_ALIGN, &other_end))
            return false;
        if (other_end > offset)
            offset = other_end;
    }
    item->offset = offset;
    return osp_size_add(offset, item->size, end);
}

osp_status osp_memory_plan(osp_context *ctx, osp_memory_item *items, size_t count, size_t *total,
                           osp_error *err)
{
    *total = 0;
    order *orders = osp_mem_calloc(&ctx->mem, count, sizeof *orders);
    const osp_memory_item **placed = osp_mem_calloc(&ctx->mem, count, sizeof *placed);
    osp_status status = OSP_OK;
    if (!orders || !placed) {
        status = osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
        goto done;
    }
    size_t used = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].offset = 0;
        if (items[i].size)
            orders[used++] = (order){items[i].size, items[i].first, i};
    }
    qsort(orders, used, sizeof *orders, compare_order);
    for (size_t i = 0; i < used; i++) {
        osp_memory_item *item = items + orders[i].index;
        size_t end;
        if (!place(item, placed, i, &end)) {
            status = osp_error_set(err, OSP_ERROR_LIMIT, "the activations do not fit into memory");
            goto done;
        }
        insert_sorted(placed, i, item);
        if (end > high)
            high = end;
    }
    if (!osp_size_align(high, OSP_MEMORY_ALIGN, total))
        status = osp_error_set(err, OSP_ERROR_LIMIT, "the activations do not fit into memory");
done:
    osp_mem_free(&ctx->mem, orders);
    osp_mem_free(&ctx->mem, placed);
    return status;
}
