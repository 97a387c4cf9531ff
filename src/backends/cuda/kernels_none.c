// In place of the kernels where there is no CUDA toolkit to build with: no device is ever found then,
// so that nothing launches them. Thread rule: no state.
#include "backends/cuda/kernels.h"

#define NONE(NAME, COUNT) const osp_gpu_kernel NAME[COUNT] = {{#NAME, 0}}
NONE(osp_cuda_k_copy, OSP_CUDA_SIZES);
NONE(osp_cuda_k_transpose, 4);
NONE(osp_cuda_k_table, OSP_CUDA_SIZES);
NONE(osp_cuda_k_range, 1);
NONE(osp_cuda_k_point, 5);
NONE(osp_cuda_k_where, 4);
NONE(osp_cuda_k_batch_norm, 1);
NONE(osp_cuda_k_softmax, 4);
NONE(osp_cuda_k_reduce, 6);
NONE(osp_cuda_k_layer_norm, 1);
NONE(osp_cuda_k_topk, 1);
NONE(osp_cuda_k_gather, OSP_CUDA_SIZES);
NONE(osp_cuda_k_scatter_mark, 1);
NONE(osp_cuda_k_scatter_move, 4);
NONE(osp_cuda_k_scatter_reduce, 1);
NONE(osp_cuda_k_product, OSP_PRODUCT_KERNELS);
NONE(osp_cuda_k_einsum, 1);
NONE(osp_cuda_k_attention, 2);
NONE(osp_cuda_k_attention_tile, 1);
NONE(osp_cuda_k_attention_flash, 9);
NONE(osp_cuda_k_pool, 5);
NONE(osp_cuda_k_conv_plain, 4);
NONE(osp_cuda_k_resize, 2);
NONE(osp_cuda_k_sample, 1);
