// ConvTranspose: each source pixel spreads over a window of the destination. The kernel is Conv's,
// asked from the destination's side: which source pixel, if any, meets this pixel at this tap.
// Thread rule: no state.
#include "ops/conv.h"
#include "ops/view.h"

// Chooses pads so that the destination has `out` pixels; missing ones hold only the bias.
static osp_status fit_output(const char *type, int64_t in, int64_t extra, int32_t auto_pad,
                             osp_window *w, int64_t out, osp_error *err)
{
    int64_t full;
    w->pad_begin = w->pad_end = 0;
    if (!osp_shape_transposed(in, extra, w, &full))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: a source of %lld does not fit its window", type,
                 (long long)in);
    if (out < 1 || out > INT32_MAX)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: a destination of %lld is out of range", type,
                 (long long)out);
    int64_t total = osp_i64_max(full - out, 0), small = total / 2;
    w->pad_begin = auto_pad == OSP_PAD_SAME_UPPER ? small : total - small;
    w->pad_end = total - w->pad_begin;
    return OSP_OK;
}

static osp_status check_inputs(const osp_infer *in, osp_conv_attrs *conv, osp_error *err)
{
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 3, 2 + OSP_MAX_SPATIAL, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    const osp_shape *src = &in->inputs[0]->shape, *weights = &in->inputs[1]->shape;
    conv->spatial = src->rank - 2;
    if (weights->rank != src->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: weights have %d dimensions, the source has %d", type,
                 weights->rank, src->rank);
    int64_t oc;
    if (conv->group < 1 || weights->dims[0] != src->dims[1] || src->dims[1] % conv->group ||
        !osp_i64_mul(weights->dims[1], conv->group, &oc))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: %lld source channels and weights for %lld do not fit %lld groups", type,
                 (long long)src->dims[1], (long long)weights->dims[0], (long long)conv->group);
    const osp_ints *kernel = &conv->kernel_shape;
    bool agree = kernel->count <= 0 || kernel->count == conv->spatial;
    for (int32_t i = 0; agree && i < kernel->count; i++)
        agree = kernel->v[i] == weights->dims[i + 2];
    if (!agree)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: kernel_shape is not that of the weights", type);
    const osp_value *bias = osp_infer_input(in, 2);
    if (bias) {
        OSP_TRY(osp_conv_bias_type(in, err));
        if (bias->shape.rank != 1 || bias->shape.dims[0] != oc)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the bias must have one dimension of %lld", type,
                     (long long)oc);
    }
    in->outputs[0].dtype = in->inputs[0]->dtype;
    in->outputs[0].shape = (osp_shape){.rank = src->rank, .dims = {src->dims[0], oc}};
    return OSP_OK;
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_conv_transpose_attrs *attrs = in->attrs;
    osp_conv_attrs *conv = &attrs->conv;
    OSP_TRY(check_inputs(in, conv, err));
    const osp_shape *src = &in->inputs[0]->shape;
    const char *type = in->op->type;
    OSP_TRY(osp_windows_read(in, conv->spatial, &in->inputs[1]->shape.dims[2], &conv->strides,
                             &conv->dilations, &conv->pads, conv->window, err));
    const osp_ints *extra = &attrs->output_padding, *want = &attrs->output_shape;
    if (extra->count > 0 && extra->count != conv->spatial)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute output_padding has %d values, %d expected",
                 type, extra->count, conv->spatial);
    // Some exporters write the whole shape, with batch and channels.
    int32_t lead = want->count == conv->spatial + 2 ? 2 : 0;
    if (want->count > 0 && want->count != conv->spatial + lead)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute output_shape has %d values, %d expected",
                 type, want->count, conv->spatial);
    if (conv->auto_pad < OSP_PAD_NOTSET || conv->auto_pad > OSP_PAD_VALID)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: auto_pad is out of range", type);
    bool same = conv->auto_pad == OSP_PAD_SAME_UPPER || conv->auto_pad == OSP_PAD_SAME_LOWER;
    for (int32_t i = 0; i < conv->spatial; i++) {
        osp_window *w = &conv->window[i];
        int64_t length = src->dims[i + 2], *out = &in->outputs[0].shape.dims[i + 2];
        int64_t more = extra->count > 0 ? extra->v[i] : 0;
        if (conv->auto_pad == OSP_PAD_VALID)
            w->pad_begin = w->pad_end = 0;
        if (want->count > 0)
            *out = want->v[i + lead];
        else if (same && !osp_i64_mul(length, w->stride, out))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: stride %lld is too large", type,
                     (long long)w->stride);
        if (want->count > 0 || same)
            OSP_TRY(fit_output(type, length, more, conv->auto_pad, w, *out, err));
        else if (!osp_shape_transposed(length, more, w, out))
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s: a window of %lld (stride %lld, dilation %lld, pads %lld and %lld, output "
                     "padding %lld) does not fit axis %d of size %lld",
                     type, (long long)w->size, (long long)w->stride, (long long)w->dilation,
                     (long long)w->pad_begin, (long long)w->pad_end, (long long)more, i + 2,
                     (long long)length);
    }
    return OSP_OK;
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_conv_transpose_attrs *attrs = call->attrs;
    const osp_conv_attrs *conv = &attrs->conv;
    const osp_view *src = &call->inputs[0], *weights = &call->inputs[1];
    int64_t taps = osp_shape_span(&weights->shape, 2, weights->shape.rank);
    osp_conv_work work = {.src = src,
                          .weights = weights,
                          .bias = osp_call_input(call, 2),
                          .dst = &call->outputs[0],
                          .n = src->shape.dims[0],
                          .group = conv->group,
                          .group_ic = src->shape.dims[1] / conv->group,
                          .group_oc = weights->shape.dims[1],
                          .taps = taps,
                          .oc_stride = taps,
                          .ic_stride = weights->shape.dims[1] * taps,
                          .transposed = true};
    work.group_stride = work.group_ic * work.ic_stride;
    osp_lift(&work.at, conv->spatial, conv->window, &src->shape, &call->outputs[0].shape);
    osp_conv_compute(&work);
    return OSP_OK;
}

// Every tap of every source channel of the group is looked at for every destination pixel.
static double work(const osp_call *call)
{
    const osp_conv_transpose_attrs *attrs = call->attrs;
    const osp_shape *weights = &call->inputs[1].shape;
    return (double)osp_view_count(&call->outputs[0]) * (double)weights->dims[0] /
           (double)attrs->conv.group * (double)osp_shape_span(weights, 2, weights->rank);
}

static const osp_attr_row rows[] = {
    OSP_CONV_ROWS(offsetof(osp_conv_transpose_attrs, conv)),
    {"output_padding", OSP_ATTR_INTS, offsetof(osp_conv_transpose_attrs, output_padding), 16, NULL,
     0, 0},
    {"output_shape", OSP_ATTR_INTS, offsetof(osp_conv_transpose_attrs, output_shape), 16, NULL, 0,
     0},
    {0},
};
static const osp_conv_transpose_attrs defaults = {.conv = OSP_CONV_DEFAULTS,
                                                  .output_padding = {.count = -1},
                                                  .output_shape = {.count = -1}};

const osp_op osp_op_conv_transpose = {
    .type = "ConvTranspose",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_conv_transpose_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
    .work = work,
};
