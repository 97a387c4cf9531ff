// The cuda backend: which tactics serve which operator, in order of preference, and what a plan of
// it depends on. There is no plain kernel at the end of the lists: a node that no tactic takes is an
// error that names it.
#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/pixel_kernels.h"

typedef struct row {
    const char *type, *domain;
    const osp_tactic *list[50];  // NULL-terminated
} row;

#define POINT(TYPE, DOMAIN)                                                                        \
    {                                                                                              \
        TYPE, DOMAIN,                                                                              \
        {                                                                                          \
            &osp_cuda_point, NULL                                                                  \
        }                                                                                          \
    }
#define MOVE(TYPE, DOMAIN)                                                                         \
    {                                                                                              \
        TYPE, DOMAIN,                                                                              \
        {                                                                                          \
            &osp_cuda_move, NULL                                                                   \
        }                                                                                          \
    }

// Tuned tile shapes first, of which the fastest is measured; the plain kernel takes all others.
#define DIRECT(I) &osp_cuda_conv_direct[I]
#define MMA(I) &osp_cuda_conv_mma[I]
#define WGMMA(I) &osp_cuda_conv_wgmma[I]
#define TMA(I) &osp_cuda_conv_tma[I]
#define TMA_HALO(I) &osp_cuda_conv_tma_halo[I]
#define CONVOLUTIONS                                                                               \
    {                                                                                              \
        &osp_cuda_conv_depthwise, &osp_cuda_conv_depthwise_line, &osp_cuda_conv_stem, DIRECT(0),   \
            DIRECT(1), DIRECT(2), DIRECT(3), DIRECT(4), DIRECT(5), DIRECT(6), DIRECT(7),           \
            DIRECT(8), MMA(0), MMA(1), MMA(2), MMA(3), MMA(4), MMA(5), MMA(6), MMA(7), MMA(8),     \
            MMA(9), MMA(10), MMA(11), MMA(12), MMA(13), WGMMA(0), WGMMA(1), WGMMA(2), WGMMA(3),    \
            WGMMA(4), WGMMA(5), TMA(0), TMA(1), TMA(2), TMA(3), TMA(4), TMA(5), TMA(6), TMA(7),    \
            TMA_HALO(0), TMA_HALO(1), TMA_HALO(2), TMA_HALO(3), TMA_HALO(4), TMA_HALO(5),          \
            TMA_HALO(6), TMA_HALO(7), &osp_cuda_conv_plain, NULL                                   \
    }

static const row rows[] = {
    {"Conv", "", CONVOLUTIONS},
    {"FusedConv", "osprey", CONVOLUTIONS},
    {"PixelConv", "osprey", {&osp_cuda_pixel_conv, NULL}},
    {"ConvTranspose", "", {&osp_cuda_conv_plain, NULL}},
    {"MatMul", "", {&osp_cuda_product, NULL}},
    {"Gemm", "", {&osp_cuda_product, NULL}},
    {"Einsum", "", {&osp_cuda_einsum, NULL}},
    {"Attention",
     "osprey",
     {&osp_cuda_attention_flash, &osp_cuda_attention_split, &osp_cuda_attention_tile,
      &osp_cuda_attention, NULL}},
    {"MaxPool", "", {&osp_cuda_pool, NULL}},
    {"MaxPools", "osprey", {&osp_cuda_pools, NULL}},
    {"AveragePool", "", {&osp_cuda_pool, NULL}},
    {"GlobalAveragePool", "", {&osp_cuda_reduce, NULL}},
    {"ReduceMax", "", {&osp_cuda_reduce, NULL}},
    {"ReduceMean", "", {&osp_cuda_reduce, NULL}},
    {"ReduceSum", "", {&osp_cuda_reduce, NULL}},
    {"Resize", "", {&osp_cuda_resize_nearest, &osp_cuda_resize, NULL}},
    {"Upsample", "", {&osp_cuda_resize_nearest, &osp_cuda_resize, NULL}},
    {"GridSample", "", {&osp_cuda_sample, NULL}},
    {"Pad", "", {&osp_cuda_pad, NULL}},
    {"Softmax", "", {&osp_cuda_softmax, NULL}},
    {"Expectation", "osprey", {&osp_cuda_expectation, NULL}},
    {"BoxHead", "osprey", {&osp_cuda_box_head, NULL}},
    {"LayerNormalization", "", {&osp_cuda_layer_norm, NULL}},
    {"BatchNormalization", "", {&osp_cuda_batch_norm, NULL}},
    {"TopK", "", {&osp_cuda_topk, NULL}},
    {"Gather", "", {&osp_cuda_gather, NULL}},
    {"GatherElements", "", {&osp_cuda_gather, NULL}},
    {"GatherND", "", {&osp_cuda_gather, NULL}},
    {"ScatterND", "", {&osp_cuda_scatter, NULL}},
    {"Range", "", {&osp_cuda_range, NULL}},
    {"ConstantOfShape", "", {&osp_cuda_constant, NULL}},
    {"Shape", "", {&osp_cuda_constant, NULL}},
    {"Where", "", {&osp_cuda_where, NULL}},
    POINT("Silu", "osprey"),
    POINT("Relu", ""),
    POINT("LeakyRelu", ""),
    POINT("Sigmoid", ""),
    POINT("Exp", ""),
    POINT("Log", ""),
    POINT("Sqrt", ""),
    POINT("Erf", ""),
    POINT("Tanh", ""),
    POINT("Sin", ""),
    POINT("Cos", ""),
    POINT("Floor", ""),
    POINT("HardSigmoid", ""),
    POINT("HardSwish", ""),
    POINT("Gelu", ""),
    POINT("Clip", ""),
    POINT("Cast", ""),
    POINT("Not", ""),
    POINT("Add", ""),
    POINT("Sub", ""),
    POINT("Mul", ""),
    POINT("Div", ""),
    POINT("Pow", ""),
    POINT("Mod", ""),
    POINT("Min", ""),
    POINT("Max", ""),
    POINT("Equal", ""),
    POINT("Less", ""),
    POINT("Greater", ""),
    POINT("And", ""),
    POINT("Xor", ""),
    MOVE("Reorder", "osprey"),
    MOVE("Transpose", ""),
    MOVE("Slice", ""),
    MOVE("Concat", ""),
    MOVE("Split", ""),
    MOVE("Expand", ""),
    MOVE("Tile", ""),
    MOVE("Reshape", ""),
    MOVE("Flatten", ""),
    MOVE("Squeeze", ""),
    MOVE("Unsqueeze", ""),
    MOVE("Identity", ""),
};

static const osp_tactic *const *tactics(const osp_op *op)
{
    static const osp_tactic *const none[] = {NULL};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!strcmp(rows[i].type, op->type) && !strcmp(rows[i].domain, op->domain))
            return rows[i].list;
    return none;
}

static const char *probe(osp_context *ctx, int32_t device, char *reason, size_t size)
{
    osp_gpu *gpu;
    osp_error err;
    if (!osp_gpu_get(ctx, device, &gpu, &err))
        return NULL;
    snprintf(reason, size, "%s", err.text);
    return reason;
}

static void device_key(osp_context *ctx, int32_t device, int32_t threads, char *key, size_t size)
{
    (void)threads;
    osp_gpu *gpu;
    key[0] = 0;
    if (osp_gpu_get(ctx, device, &gpu, NULL))
        return;
    const osp_device_info *info = osp_gpu_info(gpu);
    snprintf(key, size, "cuda cc %d.%d sm %d %.80s", info->cc_major, info->cc_minor,
             info->multiprocessors, info->name);
}

const osp_backend_def osp_backend_cuda = {
    .id = OSP_BACKEND_CUDA,
    .name = "cuda",
    .probe = probe,
    .device_key = device_key,
    .runs_passes = true,
    .pixel_row = OSP_PIXEL_ROW,
    .tactics = tactics,
    .program = &osp_compiled_program,
};
