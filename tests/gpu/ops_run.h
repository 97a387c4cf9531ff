// Running one node by every tactic of the cuda backend and comparing: what ops_on_gpu is made of.
// Thread rule: one thread.
#ifndef OSP_TESTS_OPS_RUN_H
#define OSP_TESTS_OPS_RUN_H

#include "backends/backend.h"

enum { OPERANDS = 64, MOST_NAMES = 80, MOST_BLOCKS = 2 * OPERANDS + 2, GUARD = 0xA5, SHOWN = 60 };

typedef struct op_count {
    const char *name;
    size_t ran, failed, refused;
    double worst;
    const char *why;  // of the last refusal
} op_count;

typedef struct bench {
    osp_context ctx;
    osp_gpu *gpu;
    osp_gpu_stream stream;
    // Device memory of one run. Each operand has a block of its own: what a kernel touches outside
    // shows, on a GPU by compute-sanitizer, in host memory always.
    void *blocks[MOST_BLOCKS];
    size_t block_count;
    op_count counts[MOST_NAMES];
    size_t kinds, ran, failed, shown, uninferred;
    size_t blind;  // comparisons that an unwritten destination would pass
    const char *only;
    bool time;
} bench;

// One node with its data, dense and plain, on the host.
typedef struct test {
    const osp_op *op;
    void *attrs;
    int32_t src_count, dst_count;
    osp_operand src[OPERANDS], dst[OPERANDS];  // dtype UNKNOWN: left out
    void *data[OPERANDS], *expected[OPERANDS];
    const char *name;
} test;

// ---- Small things -------------------------------------------------------------------------------

void fatal(const char *what) __attribute__((noreturn));
void *take(size_t bytes);  // zeroed; fatal where there is no memory
void check(osp_status status, const osp_error *err);
size_t count_of(const osp_operand *o);
void set_dense(osp_operand *o);

// ---- Running (ops_run.c) ------------------------------------------------------------------------

// Layout variants of a test's activations.
typedef enum variant { AS_IS, SLICES, ODD_SLICES, LAST, LAST_SLICES, LAST_ODD, VARIANTS } variant;

// All tactics on one variant; `expected` is filled.
void run_variant(bench *b, const test *original, variant v);
// In float32 and in float16, in all variants or (as_given) as it is. Operands, data and which
// destinations are wanted are given; types and expected values are worked out.
void run_test(bench *b, const test *original, bool as_given);

#endif
