// Conv: attributes, shape inference and the reference kernel that ConvTranspose shares.
//
// The kernel takes a block of destination pixels for several output channels at once: for each tap
// of the window it finds where in the source the pixels lie (-1: in the padding), and adds one
// source channel after another. Sums are double and so do not depend on the order.
// Thread rule: no state.
#include "ops/conv.h"

#include "ops/view.h"

enum { BLOCK_PIXELS = 64, BLOCK_CHANNELS = 16, LANES = 8 };

osp_status osp_windows_read(const osp_infer *in, int32_t spatial, const int64_t *kernel,
                            const osp_ints *strides, const osp_ints *dilations,
                            const osp_ints *pads, osp_window *windows, osp_error *err)
{
    const struct {
        const char *name;
        const osp_ints *list;
        int32_t want;
    } lists[] = {{"strides", strides, spatial},
                 {"dilations", dilations, spatial},
                 {"pads", pads, 2 * spatial}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (lists[i].list->count > 0 && lists[i].list->count != lists[i].want)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute %s has %d values, %d expected",
                     in->op->type, lists[i].name, lists[i].list->count, lists[i].want);
    for (int32_t i = 0; i < spatial; i++)
        windows[i] = (osp_window){.size = kernel[i],
                                  .stride = strides->count > 0 ? strides->v[i] : 1,
                                  .dilation = dilations->count > 0 ? dilations->v[i] : 1,
                                  .pad_begin = pads->count > 0 ? pads->v[i] : 0,
                                  .pad_end = pads->count > 0 ? pads->v[spatial + i] : 0};
    return OSP_OK;
}

osp_status osp_windows_apply(const osp_infer *in, int32_t spatial, int32_t auto_pad, bool ceil,
                             osp_window *windows, const osp_shape *src, osp_shape *dst,
                             osp_error *err)
{
    if (auto_pad < OSP_PAD_NOTSET || auto_pad > OSP_PAD_VALID)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: auto_pad is out of range", in->op->type);
    for (int32_t i = 0; i < spatial; i++) {
        osp_window *w = &windows[i];
        if (!osp_shape_window(src->dims[i + 2], (osp_auto_pad)auto_pad, ceil, w, &dst->dims[i + 2]))
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "%s: a window of %lld (stride %lld, dilation %lld, pads %lld and %lld) does "
                     "not fit axis %d of size %lld",
                     in->op->type, (long long)w->size, (long long)w->stride, (long long)w->dilation,
                     (long long)w->pad_begin, (long long)w->pad_end, i + 2,
                     (long long)src->dims[i + 2]);
    }
    return OSP_OK;
}

void osp_lift(osp_lifted *out, int32_t spatial, const osp_window *windows, const osp_shape *src,
              const osp_shape *dst)
{
    int32_t lead = 3 - spatial;
    for (int32_t i = 0; i < lead; i++) {
        out->in[i] = out->out[i] = 1;
        out->window[i] = (osp_window){.size = 1, .stride = 1, .dilation = 1};
    }
    for (int32_t i = lead; i < 3; i++) {
        out->in[i] = src->dims[i - lead + 2];
        out->out[i] = dst->dims[i - lead + 2];
        out->window[i] = windows[i - lead];
    }
}

osp_status osp_conv_bias_type(const osp_infer *in, osp_error *err)
{
    if (in->inputs[0]->dtype == OSP_DTYPE_BFLOAT16 && in->inputs[2]->dtype == OSP_DTYPE_FLOAT32)
        return OSP_OK;
    return osp_infer_same(in, 0, 2, err);
}

osp_status osp_conv_infer(const osp_infer *in, osp_conv_attrs *attrs, osp_type *out, osp_error *err)
{
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 3, 2 + OSP_MAX_SPATIAL, err));
    OSP_TRY(osp_infer_same(in, 0, 1, err));
    const osp_shape *src = &in->inputs[0]->shape, *weights = &in->inputs[1]->shape;
    const osp_value *bias = osp_infer_input(in, 2);
    int32_t spatial = src->rank - 2;
    attrs->spatial = spatial;
    if (weights->rank != src->rank)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: weights have %d dimensions, the source has %d", type,
                 weights->rank, src->rank);
    int64_t oc = weights->dims[0], g = attrs->group;
    if (g < 1 || src->dims[1] % g || oc % g || src->dims[1] / g != weights->dims[1])
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: %lld source channels, weights for %lld of them and %lld outputs do not fit "
                 "%lld groups",
                 type, (long long)src->dims[1], (long long)weights->dims[1], (long long)oc,
                 (long long)g);
    const osp_ints *kernel = &attrs->kernel_shape;
    bool agree = kernel->count <= 0 || kernel->count == spatial;
    for (int32_t i = 0; agree && i < kernel->count; i++)
        agree = kernel->v[i] == weights->dims[i + 2];
    if (!agree)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: kernel_shape is not that of the weights", type);
    if (bias) {
        OSP_TRY(osp_conv_bias_type(in, err));
        if (bias->shape.rank != 1 || bias->shape.dims[0] != oc)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: the bias must have one dimension of %lld", type,
                     (long long)oc);
    }
    out->dtype = in->inputs[0]->dtype;
    out->shape = (osp_shape){.rank = src->rank, .dims = {src->dims[0], oc}};
    OSP_TRY(osp_windows_read(in, spatial, &weights->dims[2], &attrs->strides, &attrs->dilations,
                             &attrs->pads, attrs->window, err));
    return osp_windows_apply(in, spatial, attrs->auto_pad, false, attrs->window, src, &out->shape,
                             err);
}

// Where one axis of destination pixel o meets tap k in the source; -1: nowhere.
static int64_t source_position(const osp_conv_work *w, int32_t axis, int64_t o, int64_t k)
{
    const osp_window *win = &w->at.window[axis];
    int64_t p;
    if (w->transposed) {
        p = o + win->pad_begin - k * win->dilation;
        if (p < 0 || p % win->stride)
            return -1;
        p /= win->stride;
    } else {
        p = o * win->stride - win->pad_begin + k * win->dilation;
    }
    return p >= 0 && p < w->at.in[axis] ? p : -1;
}

// Offsets inside a source plane of destination pixels first.. for one tap. false: all padding.
static bool locate(const osp_conv_work *w, int64_t first, int32_t count, int64_t tap,
                   int64_t offset[BLOCK_PIXELS])
{
    const osp_lifted *at = &w->at;
    int64_t kx = tap % at->window[2].size, ky = tap / at->window[2].size % at->window[1].size,
            kz = tap / at->window[2].size / at->window[1].size;
    int64_t x = first % at->out[2], y = first / at->out[2] % at->out[1],
            z = first / at->out[2] / at->out[1];
    bool any = false, row_new = true;
    int64_t row = -1;
    for (int32_t i = 0; i < count; i++) {
        if (row_new) {
            int64_t sz = source_position(w, 0, z, kz), sy = source_position(w, 1, y, ky);
            row = sz < 0 || sy < 0 ? -1 : (sz * at->in[1] + sy) * at->in[2];
        }
        int64_t sx = row < 0 ? -1 : source_position(w, 2, x, kx);
        offset[i] = sx < 0 ? -1 : row + sx;
        any = any || sx >= 0;
        row_new = ++x == at->out[2];
        if (row_new) {
            x = 0;
            if (++y == at->out[1]) {
                y = 0;
                z++;
            }
        }
    }
    return any;
}

static void gather(const osp_conv_work *w, int64_t plane, const int64_t *offset, int32_t count,
                   double *line)
{
    const osp_view *src = w->src;
    if (src->dtype == OSP_DTYPE_FLOAT32) {
        const float *data = (const float *)src->data + plane;
        for (int32_t i = 0; i < count; i++)
            line[i] = offset[i] < 0 ? 0 : (double)data[offset[i]];
        for (int32_t i = 0; w->rounds && i < count; i++)
            line[i] = (double)osp_half_to_float(osp_float_to_half((float)line[i]));
        return;
    }
    for (int32_t i = 0; i < count; i++)
        line[i] = offset[i] < 0
                      ? 0
                      : (double)osp_load_float(src->dtype, src->data, (size_t)(plane + offset[i]));
}

// sum += weight * line, in pieces of constant length, which compilers turn into vectors.
static void add_scaled(double *sum, double weight, const double *line, int32_t count)
{
    for (int32_t i = 0; i < count; i += LANES)
        for (int32_t j = 0; j < LANES; j++)
            sum[i + j] += weight * line[i + j];
}

// Channels oc.. of group g of image n, destination pixels first..
static void block(const osp_conv_work *w, int64_t n, int64_t g, int64_t oc, int32_t channels,
                  int64_t first, int32_t count)
{
    double sum[BLOCK_CHANNELS][BLOCK_PIXELS] = {{0}}, line[BLOCK_PIXELS] = {0};
    int64_t offset[BLOCK_PIXELS];
    int64_t src_pixels = w->at.in[0] * w->at.in[1] * w->at.in[2];
    int64_t dst_pixels = w->at.out[0] * w->at.out[1] * w->at.out[2];
    int64_t src_channel = (n * w->group + g) * w->group_ic;
    for (int64_t tap = 0; tap < w->taps; tap++) {
        if (!locate(w, first, count, tap, offset))
            continue;
        for (int64_t ic = 0; ic < w->group_ic; ic++) {
            gather(w, (src_channel + ic) * src_pixels, offset, count, line);
            int64_t at = g * w->group_stride + oc * w->oc_stride + ic * w->ic_stride + tap;
            for (int32_t c = 0; c < channels; c++, at += w->oc_stride)
                add_scaled(sum[c],
                           (double)osp_load_float(w->weights->dtype, w->weights->data, (size_t)at),
                           line, count);
        }
    }
    for (int32_t c = 0; c < channels; c++) {
        int64_t channel = g * w->group_oc + oc + c;
        double bias = w->bias
                          ? (double)osp_load_float(w->bias->dtype, w->bias->data, (size_t)channel)
                          : 0;
        int64_t at = (n * w->group * w->group_oc + channel) * dst_pixels + first;
        for (int32_t i = 0; i < count; i++)
            osp_store_float(w->dst->dtype, w->dst->data, (size_t)(at + i),
                            (float)(sum[c][i] + bias));
    }
}

void osp_conv_compute(const osp_conv_work *w)
{
    if (osp_view_count(w->dst) == 0)
        return;
    int64_t pixels = w->at.out[0] * w->at.out[1] * w->at.out[2];
    for (int64_t n = 0; n < w->n; n++)
        for (int64_t g = 0; g < w->group; g++)
            for (int64_t first = 0; first < pixels; first += BLOCK_PIXELS)
                for (int64_t oc = 0; oc < w->group_oc; oc += BLOCK_CHANNELS)
                    block(w, n, g, oc, (int32_t)osp_i64_min(BLOCK_CHANNELS, w->group_oc - oc),
                          first, (int32_t)osp_i64_min(BLOCK_PIXELS, pixels - first));
}

void osp_conv_reference(const osp_conv_attrs *attrs, const osp_view *src, const osp_view *weights,
                        const osp_view *bias, const osp_view *dst)
{
    int64_t taps = osp_shape_span(&weights->shape, 2, weights->shape.rank);
    osp_conv_work work = {.src = src,
                          .weights = weights,
                          .bias = bias,
                          .dst = dst,
                          .n = src->shape.dims[0],
                          .group = attrs->group,
                          .group_ic = weights->shape.dims[1],
                          .group_oc = weights->shape.dims[0] / attrs->group,
                          .taps = taps,
                          .oc_stride = weights->shape.dims[1] * taps,
                          .ic_stride = taps,
                          .rounds = src->dtype == OSP_DTYPE_FLOAT32 &&
                                    weights->dtype == OSP_DTYPE_FLOAT16};
    work.group_stride = work.group_oc * work.oc_stride;
    osp_lift(&work.at, attrs->spatial, attrs->window, &src->shape, &dst->shape);
    osp_conv_compute(&work);
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    return osp_conv_infer(in, in->attrs, &in->outputs[0], err);
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    osp_conv_reference(call->attrs, &call->inputs[0], &call->inputs[1], osp_call_input(call, 2),
                       &call->outputs[0]);
    return OSP_OK;
}

static double work(const osp_call *call)
{
    const osp_shape *weights = &call->inputs[1].shape;
    return (double)osp_view_count(&call->outputs[0]) *
           (double)osp_shape_span(weights, 1, weights->rank);
}

static const osp_attr_row rows[] = {OSP_CONV_ROWS(0), {0}};
static const osp_conv_attrs defaults = OSP_CONV_DEFAULTS;

const osp_op osp_op_conv = {
    .type = "Conv",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_conv_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
    .work = work,
};
