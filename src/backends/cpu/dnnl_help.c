// Types, memory descriptors and post-ops of oneDNN from ours.
#include "backends/cpu/dnnl_help.h"

#include <string.h>

osp_status osp_dnnl_error(osp_error *err, dnnl_status_t status, const char *call)
{
    if (status == dnnl_out_of_memory)
        OSP_FAIL_MEMORY(err);
    const int length = (int)strcspn(call, "(");
    OSP_FAIL(err, OSP_ERROR_SYSTEM, "oneDNN: %.*s failed (%d)", length, call, (int)status);
}

dnnl_data_type_t osp_dnnl_type(osp_dtype dtype)
{
    return dtype == OSP_DTYPE_FLOAT32    ? dnnl_f32
           : dtype == OSP_DTYPE_BFLOAT16 ? dnnl_bf16
           : dtype == OSP_DTYPE_FLOAT16  ? dnnl_f16
                                         : dnnl_data_type_undef;
}

osp_status osp_dnnl_image(dnnl_memory_desc_t *out, const osp_operand *o, osp_error *err)
{
    dnnl_dims_t dims = {0}, strides = {0};  // of oneDNN's own, larger rank
    osp_operand_strides(o, strides);
    memcpy(dims, o->shape.dims, sizeof o->shape.dims);
    OSP_DNNL(err, dnnl_memory_desc_create_with_strides(out, o->shape.rank, dims,
                                                       osp_dnnl_type(o->dtype), strides));
    return OSP_OK;
}

static const struct {
    int32_t act;
    dnnl_alg_kind_t kind;
    float alpha, beta;
    bool own;  // alpha and beta come from the problem
} acts[] = {{OSP_U_RELU, dnnl_eltwise_relu, 0, 0, false},
            {OSP_U_SILU, dnnl_eltwise_swish, 1, 0, false},
            {OSP_U_LEAKY_RELU, dnnl_eltwise_relu, 0, 0, true},
            {OSP_U_SIGMOID, dnnl_eltwise_logistic, 0, 0, false},
            {OSP_U_HARD_SIGMOID, dnnl_eltwise_hardsigmoid, 0, 0, true},
            {OSP_U_HARD_SWISH, dnnl_eltwise_hardswish, 1.0f / 6, 0.5f, false},
            {OSP_U_CLIP, dnnl_eltwise_clip, 0, 0, true},
            {OSP_U_TANH, dnnl_eltwise_tanh, 0, 0, false},
            {OSP_U_GELU, dnnl_eltwise_gelu_erf, 0, 0, false},
            {OSP_U_GELU_TANH, dnnl_eltwise_gelu_tanh, 0, 0, false}};

bool osp_dnnl_has_act(int32_t act)
{
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (acts[i].act == act)
            return true;
    return act == OSP_U_COPY;
}

static osp_status append_act(dnnl_post_ops_t ops, const osp_conv_problem *c, osp_error *err)
{
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (acts[i].act == c->act)
            OSP_DNNL(err, dnnl_post_ops_append_eltwise(ops, acts[i].kind,
                                                       acts[i].own ? c->alpha : acts[i].alpha,
                                                       acts[i].own ? c->beta : acts[i].beta));
    return OSP_OK;
}

osp_status osp_dnnl_finish(dnnl_post_ops_t ops, const osp_conv_problem *c,
                           const_dnnl_memory_desc_t add, int *add_at, osp_error *err)
{
    *add_at = 0;
    if (!c->add_first)
        OSP_TRY(append_act(ops, c, err));
    if (add) {
        *add_at = dnnl_post_ops_len(ops);
        OSP_DNNL(err, dnnl_post_ops_append_binary(ops, dnnl_binary_add, add));
    }
    return c->add_first ? append_act(ops, c, err) : OSP_OK;
}

osp_status osp_dnnl_layout_of(osp_dnnl_layout *out, const_dnnl_memory_desc_t md, osp_error *err)
{
    *out = (osp_dnnl_layout){.size = (int64_t)dnnl_memory_desc_get_size(md)};
    int rank = 0, inner = 0;
    dnnl_format_kind_t kind;
    const dnnl_dims_t *dims, *padded, *strides, *inner_sizes, *inner_dims;
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_dims, &dims));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_padded_dims, &padded));
    out->rank = rank;
    out->format = kind;
    memcpy(out->dims, *dims, (size_t)rank * sizeof(int64_t));
    memcpy(out->padded, *padded, (size_t)rank * sizeof(int64_t));
    if (kind != dnnl_blocked)
        return OSP_OK;
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_strides, &strides));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &inner));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_inner_blks, &inner_sizes));
    OSP_DNNL(err, dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &inner_dims));
    out->inner = inner;
    memcpy(out->strides, *strides, (size_t)rank * sizeof(int64_t));
    memcpy(out->inner_sizes, *inner_sizes, (size_t)inner * sizeof(int64_t));
    memcpy(out->inner_dims, *inner_dims, (size_t)inner * sizeof(int64_t));
    return OSP_OK;
}
