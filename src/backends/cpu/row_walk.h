// Walking over up to four operands by rows: the innermost dim is handed to a row function.
#ifndef OSP_BACKENDS_CPU_WALK_H
#define OSP_BACKENDS_CPU_WALK_H

#include "backends/cpu/cpu.h"

enum { OSP_WALK_SOURCES = 3 };

typedef struct osp_rows {
    int32_t rank, sources;
    int64_t dims[OSP_MAX_RANK];  // the last one is the row
    int64_t dst[OSP_MAX_RANK];   // element strides
    int64_t src[OSP_WALK_SOURCES][OSP_MAX_RANK];
    size_t dst_bytes, src_bytes[OSP_WALK_SOURCES];  // of an element
} osp_rows;

// `n` elements: dst dense where `steps` of the destination is 1. Steps in elements.
typedef void (*osp_row_fn)(const void *user, char *dst, int64_t dst_step, const char *const *src,
                           const int64_t *src_steps, int64_t n);

// Rows of a destination and of sources broadcast to it. false: strides that fall on no dims.
bool osp_rows_of(osp_rows *r, const osp_operand *dst, const osp_operand *src, int32_t sources);
void osp_rows_run(const osp_rows *r, void *dst, void *const *src, osp_row_fn fn, const void *user,
                  double cost, osp_threads threads);

#endif
