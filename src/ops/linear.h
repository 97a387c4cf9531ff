// Matrix products: attributes, and the product of a row that MatMul, Gemm and attention share.
#ifndef OSP_OPS_LINEAR_H
#define OSP_OPS_LINEAR_H

#include "ops/op.h"

typedef struct osp_gemm_attrs {
    float alpha, beta;
    int64_t transA, transB;
} osp_gemm_attrs;

enum { OSP_EINSUM_EQUATION = 128, OSP_EINSUM_OPERANDS = 8 };
typedef struct osp_einsum_attrs {
    char equation[OSP_EINSUM_EQUATION];
} osp_einsum_attrs;

// A matrix inside a dense view: element (r, c) is data[at + r * row_stride + c * column_stride].
typedef struct osp_matrix {
    osp_dtype dtype;
    const void *data;
    int64_t at, row_stride, column_stride;
} osp_matrix;

// sums[j] = row `m` of a times column `n + j` of b, over `k` elements; integers wrap.
enum { OSP_PRODUCT_COLUMNS = 64 };
void osp_product_floats(const osp_matrix *a, const osp_matrix *b, int64_t m, int64_t n,
                        int64_t count, int64_t k, double sums[OSP_PRODUCT_COLUMNS]);
void osp_product_ints(const osp_matrix *a, const osp_matrix *b, int64_t m, int64_t n, int64_t count,
                      int64_t k, uint64_t sums[OSP_PRODUCT_COLUMNS]);

#endif
