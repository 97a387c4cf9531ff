// What the convolution tactics read from a problem: Conv and FusedConv seen alike.
#ifndef OSP_BACKENDS_CONV_PROBLEM_H
#define OSP_BACKENDS_CONV_PROBLEM_H

#include "backends/tactic.h"
#include "ops/internal.h"

typedef struct osp_conv_problem {
    const osp_conv_attrs *attrs;
    const osp_operand *src, *weights, *bias, *add, *dst;  // bias, add: NULL where left out
    int32_t act;                                          // osp_act
    float alpha, beta;
    bool add_first;
} osp_conv_problem;

// NULL, or why it is none that a tactic of ours takes: 2-D with constant weights and bias, and a
// residual that lies like the destination.
const char *osp_conv_problem_of(const osp_problem *p, osp_conv_problem *out);
// The same, but the source may be float32 where the weights are float16 (FusedConv).
const char *osp_conv_problem_rounding(const osp_problem *p, osp_conv_problem *out);

#endif
