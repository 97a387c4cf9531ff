// Copies between dense and strided host tensors, and the facts of a caller's tensor.
#ifndef OSP_ENGINE_TENSOR_COPY_H
#define OSP_ENGINE_TENSOR_COPY_H

#include "graph/shape.h"

// True if all strides are 0 or those of C order.
bool osp_tensor_is_dense(const osp_tensor *tensor);
// dst dense = src (any strides). Same shape and type.
void osp_tensor_gather(void *dst, const osp_tensor *src);
// dst (any strides) = src dense.
void osp_tensor_scatter(const osp_tensor *dst, const void *src);

#endif
