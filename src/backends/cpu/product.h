// What the tactics for products read from MatMul and Gemm problems: a row of products of one size.
#ifndef OSP_BACKENDS_CPU_PRODUCT_H
#define OSP_BACKENDS_CPU_PRODUCT_H

#include "backends/cpu/cpu.h"

typedef struct osp_product {
    int64_t rows, depth, columns;  // of one product
    int64_t count;                 // of products
    int32_t batch_rank;
    int64_t dims[OSP_MAX_RANK], a_steps[OSP_MAX_RANK], b_steps[OSP_MAX_RANK];
    int64_t b_k, b_n;  // elements from one depth, and from one column, to the next in b
    bool b_constant, has_bias;
    float alpha;
} osp_product;

// NULL, or why these tactics cannot take it. Operands are taken to be plain and dense.
const char *osp_product_read(const osp_problem *p, osp_product *out);
// Where the operands of product i begin, in elements.
void osp_product_at(const osp_product *m, int64_t i, int64_t *a, int64_t *b);

#endif
