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

// An equation as loops over labels; strides are those of dense operands.
enum { OSP_EINSUM_LETTERS = 52, OSP_EINSUM_LABELS = OSP_EINSUM_LETTERS + OSP_MAX_RANK };
typedef struct osp_einsum {
    int32_t operands, out_rank, sum_rank;
    int64_t extent[OSP_EINSUM_LABELS];  // -1: not used
    // A label twice in a term adds up: the diagonal.
    int64_t stride[OSP_EINSUM_OPERANDS][OSP_EINSUM_LABELS];
    int8_t out[OSP_MAX_RANK];       // labels of the output
    int8_t sum[OSP_EINSUM_LABELS];  // labels that are summed over
    int32_t dots;                   // dims that the widest ellipsis stands for
} osp_einsum;
// NULL: *e is filled; else what is wrong.
const char *osp_einsum_read(osp_einsum *e, const char *equation, const osp_shape *const *shapes,
                            int32_t count);

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
