// oneDNN through its C API: what its tactics share. oneDNN allocates a few small nodes in each call
// of dnnl_primitive_execute (its table of arguments); nothing of ours does.
// Thread rule: a primitive may run in many threads at once; streams and memories belong to one.
#ifndef OSP_BACKENDS_CPU_DNNL_HELP_H
#define OSP_BACKENDS_CPU_DNNL_HELP_H

#include <oneapi/dnnl/dnnl.h>

#include "backends/conv_problem.h"
#include "backends/cpu/cpu.h"

#define OSP_DNNL(err, call)                                                                        \
    do {                                                                                           \
        const dnnl_status_t dnnl_status_ = (call);                                                 \
        if (dnnl_status_ != dnnl_success)                                                          \
            return osp_dnnl_error((err), dnnl_status_, #call);                                     \
    } while (0)

osp_status osp_dnnl_error(osp_error *err, dnnl_status_t status, const char *call);
dnnl_data_type_t osp_dnnl_type(osp_dtype dtype);

// The memory of an image operand, rank 4, plain or channels last with its pitch.
osp_status osp_dnnl_image(dnnl_memory_desc_t *out, const osp_operand *o, osp_error *err);
// Appends what follows a convolution's sum: residual and activation, in their order. `add` is the
// residual's memory (may be NULL); *add_at becomes its index among the post-ops.
osp_status osp_dnnl_finish(dnnl_post_ops_t ops, const osp_conv_problem *c,
                           const_dnnl_memory_desc_t add, int *add_at, osp_error *err);
bool osp_dnnl_has_act(int32_t act);

// How a memory lies, as bytes that can be stored and compared.
typedef struct osp_dnnl_layout {
    int64_t rank, size, format, inner;
    int64_t dims[12], padded[12], strides[12], inner_sizes[12], inner_dims[12];
} osp_dnnl_layout;
osp_status osp_dnnl_layout_of(osp_dnnl_layout *out, const_dnnl_memory_desc_t md, osp_error *err);

#endif
