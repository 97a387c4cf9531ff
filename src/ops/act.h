// Activations by number: what attributes, kernels in C and kernels on a GPU agree on.
// Plain C, also valid CUDA C++. Thread rule: no state.
#ifndef OSP_OPS_ACT_H
#define OSP_OPS_ACT_H

typedef enum osp_act {
    OSP_ACT_NONE = 0,
    OSP_ACT_RELU,
    OSP_ACT_SILU,
    OSP_ACT_LEAKY_RELU,
    OSP_ACT_SIGMOID,
    OSP_ACT_HARD_SIGMOID,
    OSP_ACT_HARD_SWISH,
    OSP_ACT_CLIP,
    OSP_ACT_TANH,
    OSP_ACT_GELU,
    OSP_ACT_GELU_TANH,
    OSP_ACT_COUNT
} osp_act;
#define OSP_ACT_NAMES                                                                              \
    "none|relu|silu|leaky_relu|sigmoid|hard_sigmoid|hard_swish|clip|tanh|gelu|gelu_tanh"

#endif
