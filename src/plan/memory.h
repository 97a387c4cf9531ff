// The memory planner: puts buffers that are not alive at the same time on the same bytes.
// One pure function. Thread rule: any thread.
#ifndef OSP_PLAN_MEMORY_H
#define OSP_PLAN_MEMORY_H

#include "base/context.h"

enum { OSP_MEMORY_ALIGN = 64 };

typedef struct osp_memory_item {
    size_t size;          // 0: takes no room
    int32_t first, last;  // steps in which it is alive, both included
    size_t offset;        // result, a multiple of OSP_MEMORY_ALIGN
} osp_memory_item;

// Fills the offsets, largest item first, each at the lowest place that is free all its life.
// `total`: bytes needed. LIMIT when the sum does not fit into size_t.
osp_status osp_memory_plan(osp_context *ctx, osp_memory_item *items, size_t count, size_t *total,
                           osp_error *err);

#endif
