// Reading Conv and FusedConv problems.
#include "backends/conv_problem.h"

#include <string.h>

static const osp_operand *given(const osp_problem *p, int32_t i)
{
    return i < p->src_count && p->src[i].dtype ? p->src + i : NULL;
}

const char *osp_conv_problem_of(const osp_problem *p, osp_conv_problem *out)
{
    const char *why = osp_conv_problem_rounding(p, out);
    return !why && out->src->dtype != out->weights->dtype ? "the source is of another type than "
                                                            "the weights"
                                                          : why;
}

const char *osp_conv_problem_rounding(const osp_problem *p, osp_conv_problem *out)
{
    *out = (osp_conv_problem){.attrs = p->attrs,
                              .src = p->src,
                              .weights = p->src + 1,
                              .bias = given(p, 2),
                              .dst = p->dst};
    if (!strcmp(p->op->type, "FusedConv")) {
        const osp_fused_conv_attrs *a = p->attrs;
        out->attrs = &a->conv;
        out->act = a->act;
        out->alpha = a->alpha;
        out->beta = a->beta;
        out->add = given(p, 3);
        out->add_first = a->residual == OSP_RESIDUAL_BEFORE;
    }
    // ConvTranspose's attributes begin with Conv's.
    if (out->attrs->spatial != 2 || p->src[0].shape.rank != 4)
        return "not two-dimensional";
    if (!out->weights->constant || (out->bias && !out->bias->constant))
        return "weights or bias are not constant";
    if (out->src->constant)
        return "the source is constant";
    if (out->add && (out->add->layout != out->dst->layout || out->add->constant))
        return "the residual lies another way than the destination";
    return NULL;
}
