// The kernel of Resize and Upsample.
//
// Each axis maps a destination position to a point of the source and from there to taps: positions
// of the source, each with a weight. A destination element is the sum over all combinations of the
// axes' taps. Points are computed in float and by ONNX Runtime's formulas, so that the two round
// alike where a point falls between two pixels. Thread rule: no state.
#include <math.h>

#include "ops/resize.h"
#include "ops/view.h"

static float source_point(const osp_resize_attrs *a, int32_t axis, int64_t in, int64_t out,
                          int64_t o)
{
    float x = (float)o, scale = a->scale[axis], length = (float)in, resized = a->resized[axis];
    float start = a->roi_start[axis], end = a->roi_end[axis];
    switch (a->coordinate) {
    case OSP_RESIZE_PYTORCH_HALF_PIXEL:
        return resized > 1 ? (x + 0.5f) / scale - 0.5f : 0;
    case OSP_RESIZE_ALIGN_CORNERS:
        return resized == 1 ? 0 : x * (length - 1) / (resized - 1);
    case OSP_RESIZE_ASYMMETRIC:
        return x / scale;
    case OSP_RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5f) / scale;
    case OSP_RESIZE_TF_CROP_AND_RESIZE:
        return resized > 1 ? start * (length - 1) + x * (end - start) * (length - 1) / (resized - 1)
                           : 0.5f * (start + end) * (length - 1);
    case OSP_RESIZE_HALF_PIXEL_SYMMETRIC:
        return length / 2 * (1 - (float)out / resized) + (x + 0.5f) / scale - 0.5f;
    default:
        return (x + 0.5f) / scale - 0.5f;
    }
}

// The interpolating filter at a distance from its centre.
static double filter(const osp_resize_attrs *a, double distance)
{
    double d = fabs(distance), c = (double)a->cubic_coeff_a;
    if (a->mode == OSP_RESIZE_LINEAR)
        return d < 1 ? 1 - d : 0;
    if (d <= 1)
        return ((c + 2) * d - (c + 3)) * d * d + 1;
    return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

double osp_resize_weight(const osp_resize_attrs *a, const osp_resize_taps *t, int64_t in, int64_t i)
{
    int64_t position = t->first + i;
    if (t->count <= 4)
        return t->weight[i];
    if (a->exclude_outside && (position < 0 || position >= in))
        return 0;
    return filter(a, ((double)position - t->point) * t->squeeze) / t->norm;
}

static int64_t nearest(int32_t mode, float scale, float x)
{
    if (mode == OSP_NEAREST_OPSET_10)
        mode = scale < 1 ? OSP_NEAREST_CEIL : OSP_NEAREST_FLOOR;
    switch (mode) {
    case OSP_NEAREST_ROUND_PREFER_FLOOR:
        return (int64_t)ceil((double)x - 0.5);
    case OSP_NEAREST_ROUND_PREFER_CEIL:
        return (int64_t)floor((double)x + 0.5);
    case OSP_NEAREST_FLOOR:
        return (int64_t)floorf(x);
    default:
        return (int64_t)ceilf(x);
    }
}

static void single(osp_resize_taps *t, int64_t position)
{
    t->first = position;
    t->count = 1;
    t->weight[0] = 1;
}

void osp_resize_taps_of(const osp_resize_attrs *a, int32_t axis, int64_t in, int64_t out, int64_t o,
                        osp_resize_taps *t)
{
    bool crop = a->coordinate == OSP_RESIZE_TF_CROP_AND_RESIZE;
    float scale = a->scale[axis];
    t->outside = false;
    t->norm = 1;
    if (scale == 1 && in == out && !(crop && (a->roi_start[axis] != 0 || a->roi_end[axis] != 1))) {
        single(t, o);
        return;
    }
    float x = source_point(a, axis, in, out, o);
    t->outside = crop && !(x >= 0 && x <= (float)(in - 1));
    // Hostile numbers only: far outside all points give the same, and they must fit an int64.
    float far = 8 * (float)in + 8;
    x = x > far ? far : x >= -far ? x : -far;
    if (a->mode == OSP_RESIZE_NEAREST) {
        single(t, osp_i64_max(0, osp_i64_min(in - 1, nearest(a->nearest_mode, scale, x))));
        return;
    }
    t->point = (double)x;
    t->squeeze = a->antialias && scale < 1 ? (double)scale : 1;
    double radius = (a->mode == OSP_RESIZE_LINEAR ? 1 : 2) / t->squeeze;
    radius = radius < (double)far ? radius : (double)far;
    t->first = (int64_t)floor(t->point - radius) + 1;
    t->count = (int64_t)ceil(t->point + radius) - t->first;
    double sum = 0;
    for (int64_t i = 0; i < t->count; i++) {
        int64_t position = t->first + i;
        double weight = filter(a, ((double)position - t->point) * t->squeeze);
        if (a->exclude_outside && (position < 0 || position >= in))
            weight = 0;
        if (i < 4)
            t->weight[i] = weight;
        sum += weight;
    }
    if (sum == 0) {  // everything is outside: the edge
        single(t, osp_i64_max(0, osp_i64_min(in - 1, (int64_t)floor(t->point))));
        return;
    }
    t->norm = sum;
    for (int64_t i = 0; i < t->count && i < 4; i++)
        t->weight[i] /= sum;
}

// Sum over all combinations of the axes' taps.
static double combine(const osp_resize_attrs *a, const osp_resize_taps *t, const osp_view *src,
                      const int64_t *strides)
{
    int32_t rank = src->shape.rank, many[OSP_MAX_RANK], many_count = 0;
    int64_t base = 0, k[OSP_MAX_RANK] = {0};
    for (int32_t d = 0; d < rank; d++) {
        if (t[d].count == 1)
            base += osp_i64_max(0, osp_i64_min(src->shape.dims[d] - 1, t[d].first)) * strides[d];
        else
            many[many_count++] = d;
    }
    double sum = 0;
    for (;;) {
        double weight = 1;
        int64_t at = base;
        for (int32_t m = 0; m < many_count; m++) {
            int32_t d = many[m];
            int64_t in = src->shape.dims[d];
            weight *= osp_resize_weight(a, &t[d], in, k[m]);
            at += osp_i64_max(0, osp_i64_min(in - 1, t[d].first + k[m])) * strides[d];
        }
        if (weight != 0)  // an infinity with no weight does not spoil the sum
            sum += weight * (double)osp_load_float(src->dtype, src->data, (size_t)at);
        int32_t m = many_count - 1;
        for (; m >= 0 && ++k[m] == t[many[m]].count; m--)
            k[m] = 0;
        if (m < 0)
            return sum;
    }
}

static void store(const osp_resize_attrs *a, const osp_resize_taps *t, const osp_view *src,
                  const int64_t *strides, const osp_view *dst, size_t i)
{
    int32_t rank = src->shape.rank;
    bool one = true;
    int64_t at = 0;
    for (int32_t d = 0; d < rank; d++) {
        if (t[d].outside) {
            osp_store_float(dst->dtype, dst->data, i, a->extrapolation_value);
            return;
        }
        one = one && t[d].count == 1;
        at += osp_i64_max(0, osp_i64_min(src->shape.dims[d] - 1, t[d].first)) * strides[d];
    }
    if (one)
        osp_copy_element(dst->data, i, src->data, (size_t)at, osp_dtype_bytes(src->dtype));
    else
        osp_store_float(dst->dtype, dst->data, i, (float)combine(a, t, src, strides));
}

void osp_resample(const osp_resize_attrs *a, const osp_view *src, const osp_view *dst)
{
    const osp_shape *from = &src->shape, *to = &dst->shape;
    if (osp_view_count(dst) == 0)
        return;
    osp_resize_taps t[OSP_MAX_RANK] = {{0}};
    int64_t index[OSP_MAX_RANK] = {0}, strides[OSP_MAX_RANK];
    osp_shape_strides(from, strides);
    for (int32_t d = 0; d < to->rank; d++)
        osp_resize_taps_of(a, d, from->dims[d], to->dims[d], 0, &t[d]);
    for (size_t i = 0;; i++) {
        store(a, t, src, strides, dst, i);
        int32_t d = to->rank - 1;
        for (; d >= 0; d--) {
            index[d] = index[d] + 1 == to->dims[d] ? 0 : index[d] + 1;
            osp_resize_taps_of(a, d, from->dims[d], to->dims[d], index[d], &t[d]);
            if (index[d])
                break;
        }
        if (d < 0)
            return;
    }
}

double osp_resample_work(const osp_resize_attrs *a, const osp_call *call)
{
    const osp_shape *src = &call->inputs[0].shape;
    double steps = (double)osp_view_count(&call->outputs[0]);
    for (int32_t d = 0; d < src->rank; d++)
        if (a->mode != OSP_RESIZE_NEAREST && a->scale[d] != 1)
            steps *= a->antialias && a->scale[d] < 1 ? 4 / (double)a->scale[d] : 4;
    return steps;
}
