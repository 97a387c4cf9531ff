// PixelConv: a convolution that reads the pixels of an image as they are stored, for the first layer
// of a network. Made by the pass of that name alone. Thread rule: no state.
#include <math.h>

#include "ops/internal.h"
#include "ops/view.h"

static const osp_attr_row rows[] = {
    OSP_CONV_ROWS(offsetof(osp_pixel_conv_attrs, conv)),
    {"act", OSP_ATTR_ENUM, offsetof(osp_pixel_conv_attrs, act), 0, OSP_ACT_NAMES, 0, 0},
    {"alpha", OSP_ATTR_FLOAT, offsetof(osp_pixel_conv_attrs, alpha), 0, NULL, 0, 0},
    {"beta", OSP_ATTR_FLOAT, offsetof(osp_pixel_conv_attrs, beta), 0, NULL, 0, 0},
    {"mean", OSP_ATTR_FLOATS, offsetof(osp_pixel_conv_attrs, mean), 16, NULL, 0, 0},
    {"scale", OSP_ATTR_FLOATS, offsetof(osp_pixel_conv_attrs, scale), 16, NULL, 0, 0},
    {0}};
static const osp_pixel_conv_attrs defaults = {.conv = OSP_CONV_DEFAULTS,
                                              .mean = {.count = -1},
                                              .scale = {.count = -1}};

static bool is_finite(const osp_floats *list)
{
    bool finite = true;
    for (int32_t i = 0; i < list->count; i++)
        finite &= isfinite(list->v[i]) != 0;
    return finite;
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_pixel_conv_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPE(OSP_DTYPE_UINT8), err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 4, 4, err));
    // The rest is a convolution of the same image in planes, of the type of the weights.
    const int64_t *dims = in->inputs[0]->shape.dims;
    const osp_value planes = {.name = in->inputs[0]->name,
                              .dtype = in->inputs[1]->dtype,
                              .shape = {4, {dims[0], dims[3], dims[1], dims[2]}}};
    const osp_value *inputs[3] = {&planes, in->inputs[1], osp_infer_input(in, 2)};
    osp_infer plain = *in;
    plain.inputs = inputs;
    OSP_TRY(osp_conv_infer(&plain, &a->conv, in->outputs, err));
    if (a->act < 0 || a->act >= OSP_ACT_COUNT || a->conv.group != 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'act' or 'group' is out of range");
    if (a->mean.count != dims[3] || a->scale.count != dims[3] || !is_finite(&a->mean) ||
        !is_finite(&a->scale))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "attributes 'mean' and 'scale' want a number for each of %lld channels",
                 (long long)dims[3]);
    return OSP_OK;
}

// What one call works on.
typedef struct job {
    const osp_pixel_conv_attrs *a;
    const osp_view *src, *weights, *bias, *dst;
    const int64_t *in, *out;  // N, H, W, C and N, C, H, W
} job;

// The window of one destination pixel with the weights of one channel; the padding is 0 after the
// normalisation, as the convolution would have it.
static double window_sum(const job *j, int64_t n, int64_t oc, int64_t oy, int64_t ox)
{
    const osp_window *h = j->a->conv.window, *w = j->a->conv.window + 1;
    const uint8_t *pixels = j->src->data;
    const int64_t channels = j->in[3];
    double sum = 0;
    for (int64_t ky = 0; ky < h->size; ky++)
        for (int64_t kx = 0; kx < w->size; kx++) {
            const int64_t y = oy * h->stride - h->pad_begin + ky * h->dilation;
            const int64_t x = ox * w->stride - w->pad_begin + kx * w->dilation;
            if (y < 0 || y >= j->in[1] || x < 0 || x >= j->in[2])
                continue;
            for (int64_t c = 0; c < channels; c++) {
                const int64_t p = ((n * j->in[1] + y) * j->in[2] + x) * channels + c;
                const int64_t k = ((oc * channels + c) * h->size + ky) * w->size + kx;
                const float v = ((float)pixels[p] - j->a->mean.v[c]) * j->a->scale.v[c];
                sum += (double)v *
                       (double)osp_load_float(j->weights->dtype, j->weights->data, (size_t)k);
            }
        }
    return sum;
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const job j = {.a = call->attrs,
                   .src = call->inputs,
                   .weights = call->inputs + 1,
                   .bias = osp_call_input(call, 2),
                   .dst = osp_call_output(call, 0),
                   .in = call->inputs[0].shape.dims,
                   .out = call->outputs[0].shape.dims};
    const size_t count = j.dst ? osp_view_count(j.dst) : 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t at = (int64_t)i, ox = at % j.out[3], oy = at / j.out[3] % j.out[2];
        const int64_t oc = at / (j.out[3] * j.out[2]) % j.out[1];
        const int64_t n = at / (j.out[3] * j.out[2] * j.out[1]);
        double sum = window_sum(&j, n, oc, oy, ox);
        if (j.bias)
            sum += (double)osp_load_float(j.bias->dtype, j.bias->data, (size_t)oc);
        osp_store_float(j.dst->dtype, j.dst->data, i,
                        osp_activate((osp_act)j.a->act, j.a->alpha, j.a->beta, (float)sum));
    }
    return OSP_OK;
}

static double work(const osp_call *call)
{
    const osp_shape *weights = &call->inputs[1].shape;
    return (double)osp_view_count(call->outputs) *
           (double)osp_shape_span(weights, 1, weights->rank);
}

const osp_op osp_op_pixel_conv = {.type = "PixelConv",
                                  .domain = "osprey",
                                  .min_inputs = 2,
                                  .max_inputs = 3,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attrs_size = sizeof(osp_pixel_conv_attrs),
                                  .attr_table = rows,
                                  .defaults = &defaults,
                                  .infer = infer,
                                  .reference = reference,
                                  .work = work};
