// Names of values to their numbers: open addressing, sized once. The hash is seeded by the system's
// random numbers, so that nobody can write a file whose names collide.
// Thread rule: one thread.
#ifndef OSP_ONNX_NAME_TABLE_H
#define OSP_ONNX_NAME_TABLE_H

#include "graph/graph.h"

typedef struct osp_name_table {
    osp_mem *mem;
    uint64_t seed;
    struct osp_name_slot *slots;
    size_t mask;
} osp_name_table;

// Room for `capacity` names.
osp_status osp_name_table_init(osp_name_table *names, osp_mem *mem, size_t capacity,
                               osp_error *err);
void osp_name_table_free(osp_name_table *names);
// OSP_NO_VALUE: not there.
osp_vid osp_name_table_find(const osp_name_table *names, const osp_graph *graph, osp_bytes name);
// `name` must not be there.
void osp_name_table_add(osp_name_table *names, osp_bytes name, osp_vid value);

#endif
