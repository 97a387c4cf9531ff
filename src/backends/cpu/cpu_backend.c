// The cpu backend: which tactics serve which operator, in order of preference, and what a plan of
// it depends on. The plain kernel comes last everywhere, as `ref`.
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#include "backends/cpu/cpu.h"

typedef struct row {
    const char *type, *domain;
    const osp_tactic *list[12];  // NULL-terminated
} row;

#define CONVOLUTIONS                                                                               \
    {                                                                                              \
        &osp_cpu_conv_depthwise, &osp_cpu_conv_planes, &osp_cpu_conv_winograd_avx512,              \
            &osp_cpu_conv_direct_avx512, &osp_cpu_conv_winograd_avx2, &osp_cpu_conv_direct_avx2,   \
            &osp_cpu_conv_depthwise_bf16, &osp_cpu_conv_amx, &osp_cpu_conv_avx512,                 \
            &osp_cpu_conv_dnnl, &osp_tactic_ref, NULL                                              \
    }
#define ONE(TACTIC)                                                                                \
    {                                                                                              \
        &(TACTIC), &osp_tactic_ref, NULL                                                           \
    }
#define UNARY(TYPE)                                                                                \
    {                                                                                              \
        TYPE, "", ONE(osp_cpu_unary)                                                               \
    }
#define BINARY(TYPE)                                                                               \
    {                                                                                              \
        TYPE, "", ONE(osp_cpu_binary)                                                              \
    }
#define COPY(TYPE)                                                                                 \
    {                                                                                              \
        TYPE, "", ONE(osp_cpu_copy)                                                                \
    }

static const row rows[] = {
    {"Conv", "", CONVOLUTIONS},
    {"FusedConv", "osprey", CONVOLUTIONS},
    {"ConvTranspose", "", ONE(osp_cpu_deconv_dnnl)},
    {"MatMul",
     "",
     {&osp_cpu_matmul_row, &osp_cpu_matmul_direct, &osp_cpu_matmul_bf16, &osp_tactic_ref, NULL}},
    {"Gemm", "", {&osp_cpu_matmul_direct, &osp_cpu_matmul_bf16, &osp_tactic_ref, NULL}},
    {"Attention", "osprey", {&osp_cpu_attention, &osp_cpu_attention_bf16, &osp_tactic_ref, NULL}},
    {"MaxPool", "", ONE(osp_cpu_pool_rows)},
    {"AveragePool", "", ONE(osp_cpu_pool_rows)},
    {"GlobalAveragePool", "", ONE(osp_cpu_pool_rows)},
    {"Resize", "", ONE(osp_cpu_resize_rows)},
    {"Upsample", "", ONE(osp_cpu_resize_rows)},
    {"GridSample", "", ONE(osp_cpu_grid_sample)},
    {"Softmax", "", ONE(osp_cpu_softmax)},
    {"LayerNormalization", "", ONE(osp_cpu_layer_norm)},
    {"ReduceMax", "", ONE(osp_cpu_reduce)},
    {"ReduceMean", "", ONE(osp_cpu_reduce)},
    {"ReduceSum", "", ONE(osp_cpu_reduce)},
    {"TopK", "", ONE(osp_cpu_topk)},
    {"Gather", "", ONE(osp_cpu_gather)},
    {"GatherElements", "", ONE(osp_cpu_gather_elements)},
    {"GatherND", "", ONE(osp_cpu_gather_nd)},
    {"ScatterND", "", ONE(osp_cpu_scatter_nd)},
    {"Concat", "", ONE(osp_cpu_concat)},
    {"Split", "", ONE(osp_cpu_split)},
    {"Pad", "", ONE(osp_cpu_pad)},
    {"Where", "", ONE(osp_cpu_where)},
    {"Cast", "", ONE(osp_cpu_cast)},
    {"Not", "", ONE(osp_cpu_not)},
    {"Silu", "osprey", ONE(osp_cpu_unary)},
    {"Reorder", "osprey", ONE(osp_cpu_copy)},
    UNARY("Relu"),
    UNARY("LeakyRelu"),
    UNARY("Sigmoid"),
    UNARY("Exp"),
    UNARY("Log"),
    UNARY("Sqrt"),
    UNARY("Erf"),
    UNARY("Tanh"),
    UNARY("Sin"),
    UNARY("Cos"),
    UNARY("Floor"),
    UNARY("HardSigmoid"),
    UNARY("HardSwish"),
    UNARY("Gelu"),
    UNARY("Clip"),
    BINARY("Add"),
    BINARY("Sub"),
    BINARY("Mul"),
    BINARY("Div"),
    BINARY("Pow"),
    BINARY("Mod"),
    BINARY("Min"),
    BINARY("Max"),
    BINARY("Equal"),
    BINARY("Less"),
    BINARY("And"),
    BINARY("Xor"),
    COPY("Transpose"),
    COPY("Slice"),
    COPY("Expand"),
    COPY("Tile"),
    COPY("Reshape"),
    COPY("Flatten"),
    COPY("Squeeze"),
    COPY("Unsqueeze"),
    COPY("Identity"),
};

static const osp_tactic *const *tactics(const osp_op *op)
{
    static const osp_tactic *const plain[] = {&osp_tactic_ref, NULL};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(rows[i].type, op->type) && !strcmp(rows[i].domain, op->domain))
            return rows[i].list;
    return plain;
}

static const char *probe(osp_context *ctx, int32_t device, char *reason, size_t size)
{
    (void)ctx;
    (void)device;
    (void)reason;
    (void)size;
    return NULL;
}

static void device_key(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size)
{
    (void)ctx;
    (void)device;
    const dnnl_version_t *v = dnnl_version();
    snprintf(key, size, "cpu %s onednn %d.%d.%d threads %d", osp_cpu_isa_name(), v->major, v->minor,
             v->patch, threads);
}

const osp_backend_def osp_backend_cpu = {
    .id = OSP_BACKEND_CPU,
    .name = "cpu",
    .probe = probe,
    .device_key = device_key,
    .runs_passes = true,
    .set_threads = osp_cpu_set_threads,
    .tactics = tactics,
};
