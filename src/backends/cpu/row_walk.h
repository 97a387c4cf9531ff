// Walking over up to four operands by rows: the innermost dim is handed to a row function.
#ifndef OSP_BACKENDS_CPU_WALK_H
#define OSP_BACKENDS_CPU_WALK_H

#include "backends/cpu/cpu.h"

// `n` elements: dst dense where `steps` of the destination is 1. Steps in elements.
typedef void (*osp_row_fn)(const void *user, char *dst, int64_t dst_step, const char *const *src,
                           const int64_t *src_steps, int64_t n);

void osp_rows_run(const osp_rows *r, void *dst, void *const *src, osp_row_fn fn, const void *user,
                  double cost, osp_threads threads);

#endif
