// MaxPool, AveragePool and GlobalAveragePool.
//
// Every opset has one meaning here: with ceil_mode, a last window that would begin in the end
// padding is dropped, and an average never counts positions beyond the padding (what opsets 19 and
// 22 spell out, and what earlier ones were meant to say). Thread rule: no state.
#include "ops/pool.h"

#include <float.h>

#include "ops/view.h"

static osp_status pool_infer(osp_infer *in, uint32_t types, osp_error *err)
{
    osp_pool_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, types, err));
    OSP_TRY(osp_infer_rank(in, 0, 3, 2 + OSP_MAX_SPATIAL, err));
    const osp_shape *src = &in->inputs[0]->shape;
    attrs->spatial = src->rank - 2;
    if (attrs->kernel_shape.count != attrs->spatial)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: attribute kernel_shape must have %d values", type,
                 attrs->spatial);
    if (attrs->ceil_mode < 0 || attrs->ceil_mode > 1 || attrs->storage_order < 0 ||
        attrs->storage_order > 1 || attrs->count_include_pad < 0 || attrs->count_include_pad > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: ceil_mode, storage_order and count_include_pad must be 0 or 1", type);
    OSP_TRY(osp_windows_read(in, attrs->spatial, attrs->kernel_shape.v, &attrs->strides,
                             &attrs->dilations, &attrs->pads, attrs->window, err));
    osp_type *out = &in->outputs[0];
    out->dtype = in->inputs[0]->dtype;
    out->shape = (osp_shape){.rank = src->rank, .dims = {src->dims[0], src->dims[1]}};
    return osp_windows_apply(in, attrs->spatial, attrs->auto_pad, attrs->ceil_mode != 0,
                             attrs->window, src, &out->shape, err);
}

static osp_status max_infer(osp_infer *in, osp_error *err)
{
    OSP_TRY(pool_infer(in, OSP_TYPES_FLOAT | OSP_TYPES_BYTE, err));
    if (in->output_count > 1)
        in->outputs[1] = (osp_type){OSP_DTYPE_INT64, in->outputs[0].shape};
    return OSP_OK;
}

static osp_status average_infer(osp_infer *in, osp_error *err)
{
    return pool_infer(in, OSP_TYPES_FLOAT, err);
}

// The taps [from, to) of the window at destination position o that lie inside [0, extent).
typedef struct span {
    int64_t start, from, to;
} span;

static span taps_inside(const osp_window *w, int64_t o, int64_t extent)
{
    span s = {.start = o * w->stride - w->pad_begin};
    if (s.start < 0)
        s.from = (-s.start + w->dilation - 1) / w->dilation;
    if (s.start < extent)
        s.to = osp_i64_min(w->size, (extent - 1 - s.start) / w->dilation + 1);
    s.to = osp_i64_max(s.to, s.from);
    return s;
}

// Where a destination pixel is, and its windows on the three axes.
typedef struct place {
    int64_t o[3];
    span taps[3];
} place;

static void place_windows(const osp_lifted *at, int64_t pixel, place *p)
{
    p->o[2] = pixel % at->out[2];
    p->o[1] = pixel / at->out[2] % at->out[1];
    p->o[0] = pixel / at->out[2] / at->out[1];
    for (int32_t a = 0; a < 3; a++)
        p->taps[a] = taps_inside(&at->window[a], p->o[a], at->in[a]);
}

// Offset in the source plane of the largest pixel of a window, the first of equals; -1: none.
static int64_t largest(const osp_lifted *at, const place *p, const osp_view *src, int64_t plane)
{
    int64_t best = -1;
    float top = 0;
    for (int64_t kz = p->taps[0].from; kz < p->taps[0].to; kz++)
        for (int64_t ky = p->taps[1].from; ky < p->taps[1].to; ky++) {
            int64_t z = p->taps[0].start + kz * at->window[0].dilation;
            int64_t y = p->taps[1].start + ky * at->window[1].dilation;
            int64_t row = (z * at->in[1] + y) * at->in[2];
            for (int64_t kx = p->taps[2].from; kx < p->taps[2].to; kx++) {
                int64_t x = row + p->taps[2].start + kx * at->window[2].dilation;
                float v = osp_load_float(src->dtype, src->data, (size_t)(plane + x));
                if (best < 0 || v > top || top != top) {  // a NaN gives way
                    best = x;
                    top = v;
                }
            }
        }
    return best;
}

// Indices count through the whole source; column major turns the order of a plane's axes around.
static int64_t index_of(const osp_lifted *at, int64_t offset, int64_t plane, bool column_major)
{
    if (!column_major || offset < 0)
        return plane + offset;
    int64_t x = offset % at->in[2], y = offset / at->in[2] % at->in[1],
            z = offset / at->in[2] / at->in[1];
    return plane + (x * at->in[1] + y) * at->in[0] + z;
}

static void store_lowest(osp_dtype dtype, void *data, size_t i)
{
    if (osp_dtype_is_float(dtype))
        osp_store_float(dtype, data, i,
                        dtype == OSP_DTYPE_FLOAT16    ? -65504.0f
                        : dtype == OSP_DTYPE_BFLOAT16 ? -0x1.FEp127f
                                                      : -FLT_MAX);
    else
        osp_store_int(dtype, data, i, dtype == OSP_DTYPE_INT8 ? INT8_MIN : 0);
}

static osp_status max_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_pool_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *dst = osp_call_output(call, 0),
                   *indices = osp_call_output(call, 1);
    if (!dst && !indices)
        return OSP_OK;
    osp_lifted at;
    osp_lift(&at, attrs->spatial, attrs->window, &src->shape, dst ? &dst->shape : &indices->shape);
    int64_t in_pixels = at.in[0] * at.in[1] * at.in[2], count = at.out[0] * at.out[1] * at.out[2];
    int64_t planes = src->shape.dims[0] * src->shape.dims[1];
    size_t bytes = osp_dtype_bytes(src->dtype);
    for (int64_t c = 0; c < planes; c++)
        for (int64_t i = 0; i < count; i++) {
            place p;
            place_windows(&at, i, &p);
            int64_t plane = c * in_pixels, best = largest(&at, &p, src, plane);
            size_t to = (size_t)(c * count + i);
            if (dst && best >= 0)
                osp_copy_element(dst->data, to, src->data, (size_t)(plane + best), bytes);
            else if (dst)
                store_lowest(dst->dtype, dst->data, to);
            if (indices)
                ((int64_t *)indices->data)[to] = index_of(&at, best, plane,
                                                          attrs->storage_order != 0);
        }
    return OSP_OK;
}

static double sum_window(const osp_lifted *at, const place *p, const osp_view *src, int64_t plane)
{
    double sum = 0;
    for (int64_t kz = p->taps[0].from; kz < p->taps[0].to; kz++)
        for (int64_t ky = p->taps[1].from; ky < p->taps[1].to; ky++) {
            int64_t z = p->taps[0].start + kz * at->window[0].dilation;
            int64_t y = p->taps[1].start + ky * at->window[1].dilation;
            int64_t row = plane + (z * at->in[1] + y) * at->in[2] + p->taps[2].start;
            for (int64_t kx = p->taps[2].from; kx < p->taps[2].to; kx++)
                sum += (double)osp_load_float(src->dtype, src->data,
                                              (size_t)(row + kx * at->window[2].dilation));
        }
    return sum;
}

static osp_status average_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_pool_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    osp_lifted at;
    osp_lift(&at, attrs->spatial, attrs->window, &src->shape, &dst->shape);
    int64_t in_pixels = at.in[0] * at.in[1] * at.in[2], count = at.out[0] * at.out[1] * at.out[2];
    int64_t planes = src->shape.dims[0] * src->shape.dims[1];
    for (int64_t c = 0; c < planes; c++)
        for (int64_t i = 0; i < count; i++) {
            place p;
            place_windows(&at, i, &p);
            double divisor = 1;  // a double: hostile windows count more than an integer holds
            for (int32_t a = 0; a < 3; a++) {
                const osp_window *w = &at.window[a];
                if (attrs->count_include_pad)  // the padding is inside too, what follows it is not
                    divisor *= (double)osp_i64_min(
                        w->size, (at.in[a] + w->pad_end - 1 - p.taps[a].start) / w->dilation + 1);
                else
                    divisor *= (double)(p.taps[a].to - p.taps[a].from);
            }
            double sum = sum_window(&at, &p, src, c * in_pixels);
            osp_store_float(dst->dtype, dst->data, (size_t)(c * count + i),
                            divisor > 0 ? (float)(sum / divisor) : 0);
        }
    return OSP_OK;
}

static osp_status global_infer(osp_infer *in, osp_error *err)
{
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 2, OSP_MAX_RANK, err));
    const osp_shape *src = &in->inputs[0]->shape;
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, *src};
    for (int32_t i = 2; i < src->rank; i++) {
        if (src->dims[i] == 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d of the source is empty", in->op->type, i);
        in->outputs[0].shape.dims[i] = 1;
    }
    return OSP_OK;
}

static osp_status global_reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_view *src = &call->inputs[0], *dst = &call->outputs[0];
    size_t planes = osp_view_count(dst);
    size_t pixels = (size_t)osp_shape_span(&src->shape, 2, src->shape.rank);
    for (size_t c = 0; c < planes; c++) {
        double sum = 0;
        for (size_t i = 0; i < pixels; i++)
            sum += (double)osp_load_float(src->dtype, src->data, c * pixels + i);
        osp_store_float(dst->dtype, dst->data, c, (float)(sum / (double)pixels));
    }
    return OSP_OK;
}

static double work(const osp_call *call)
{
    const osp_pool_attrs *attrs = call->attrs;
    double steps = 0;
    for (int32_t i = 0; i < call->output_count; i++)
        if (call->outputs[i].dtype)
            steps = (double)osp_view_count(&call->outputs[i]);
    for (int32_t i = 0; i < attrs->spatial; i++)
        steps *= (double)osp_i64_min(attrs->window[i].size, call->inputs[0].shape.dims[i + 2]);
    return steps;
}

#define ENUM_ROW(name, names)                                                                      \
    {                                                                                              \
#name, OSP_ATTR_ENUM, offsetof(osp_pool_attrs, name), 0, names, 0, 0                       \
    }
#define INT_ROW(name, since)                                                                       \
    {                                                                                              \
#name, OSP_ATTR_INT, offsetof(osp_pool_attrs, name), 0, NULL, since, 0                     \
    }
#define INTS_ROW(name, since)                                                                      \
    {                                                                                              \
#name, OSP_ATTR_INTS, offsetof(osp_pool_attrs, name), 16, NULL, since, 0                   \
    }

static const osp_attr_row max_rows[] = {
    ENUM_ROW(auto_pad, OSP_AUTO_PAD_NAMES),
    INT_ROW(ceil_mode, 10),
    INTS_ROW(dilations, 10),
    INTS_ROW(kernel_shape, 0),
    INTS_ROW(pads, 0),
    INT_ROW(storage_order, 8),
    INTS_ROW(strides, 0),
    {0},
};
static const osp_attr_row average_rows[] = {
    ENUM_ROW(auto_pad, OSP_AUTO_PAD_NAMES),
    INT_ROW(ceil_mode, 10),
    INT_ROW(count_include_pad, 7),
    INTS_ROW(dilations, 19),
    INTS_ROW(kernel_shape, 0),
    INTS_ROW(pads, 0),
    INTS_ROW(strides, 0),
    {0},
};
static const osp_pool_attrs defaults = {.kernel_shape = {.count = -1},
                                        .strides = {.count = -1},
                                        .dilations = {.count = -1},
                                        .pads = {.count = -1}};

const osp_op osp_op_max_pool = {
    .type = "MaxPool",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 2,
    .attrs_size = sizeof(osp_pool_attrs),
    .attr_table = max_rows,
    .defaults = &defaults,
    .infer = max_infer,
    .reference = max_reference,
    .work = work,
};

const osp_op osp_op_average_pool = {
    .type = "AveragePool",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_pool_attrs),
    .attr_table = average_rows,
    .defaults = &defaults,
    .infer = average_infer,
    .reference = average_reference,
    .work = work,
};

const osp_op osp_op_global_average_pool = {
    .type = "GlobalAveragePool",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = 1,
    .infer = global_infer,
    .reference = global_reference,
};
