// Operators that only move elements, each as a few strided copies: Concat, Split, Slice, Transpose,
// Expand, Tile, Reshape and its kin, Reorder, Identity. How a copy is run is a backend's own matter.
// Thread rule: no state.
#ifndef OSP_BACKENDS_MOVES_H
#define OSP_BACKENDS_MOVES_H

#include "backends/arrays.h"

typedef struct osp_move {
    osp_copy copy;
    int32_t src, dst;                // operands
    int64_t src_offset, dst_offset;  // elements
} osp_move;

typedef struct osp_moves {
    int32_t count;
    osp_move parts[];
} osp_moves;

// NULL: osp_moves_of understands the problem. Layouts may differ where shapes are alike.
const char *osp_moves_refuse(const osp_problem *p);
// Settled copies for a problem that was not refused; freed with osp_mem_free. MEMORY.
osp_status osp_moves_of(const osp_problem *p, osp_context *ctx, osp_moves **out, osp_error *err);

// `count` moves of elements of `size` bytes, without dims. MEMORY.
osp_status osp_moves_new(osp_context *ctx, int32_t count, size_t size, osp_moves **out,
                         osp_error *err);
// NULL, or which side has a slice whose rows fall on no dims.
const char *osp_refuse_slices(const osp_problem *p);

#endif
