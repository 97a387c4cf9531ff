// GridSample on images and volumes. The grid gives each destination pixel a point of the source,
// -1 to 1 on every axis, x first. Thread rule: no state.
#include <math.h>
#include <stddef.h>

#include "ops/grid_sample.h"
#include "ops/view.h"

// Up to opset 19 linear and cubic were named bilinear and bicubic.
enum { NAME_BILINEAR = 3, NAME_BICUBIC = 4 };

static osp_status settle(void *attrs, int32_t opset, uint64_t given, osp_error *err)
{
    (void)err;
    osp_grid_attrs *a = attrs;
    if (opset < 20 && !(given >> 1 & 1))  // row 1 of the table: the default by its older name
        a->mode_name = NAME_BILINEAR;
    return OSP_OK;
}

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_grid_attrs *a = in->attrs;
    const char *type = in->op->type;
    if (a->mode_name < OSP_SAMPLE_LINEAR || a->mode_name > NAME_BICUBIC ||
        a->padding < OSP_SAMPLE_ZEROS || a->padding > OSP_SAMPLE_REFLECTION ||
        a->align_corners < 0 || a->align_corners > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: an attribute is out of range", type);
    a->mode = a->mode_name == NAME_BILINEAR  ? OSP_SAMPLE_LINEAR
              : a->mode_name == NAME_BICUBIC ? OSP_SAMPLE_CUBIC
                                             : a->mode_name;
    OSP_TRY(osp_infer_types(in, 0, a->mode == OSP_SAMPLE_NEAREST ? OSP_TYPES_ALL : OSP_TYPES_FLOAT,
                            err));
    OSP_TRY(osp_infer_types(in, 1, OSP_TYPES_FLOAT, err));
    OSP_TRY(osp_infer_rank(in, 0, 4, 5, err));
    const osp_shape *src = &in->inputs[0]->shape, *grid = &in->inputs[1]->shape;
    int32_t rank = src->rank;
    if (grid->rank != rank || grid->dims[0] != src->dims[0] || grid->dims[rank - 1] != rank - 2)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: the grid must have %d dimensions, the source's batch of %lld and %d numbers "
                 "a point",
                 type, rank, (long long)src->dims[0], rank - 2);
    if (a->mode == OSP_SAMPLE_CUBIC && rank == 5)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "%s: cubic is for images only, not for volumes", type);
    osp_type *out = &in->outputs[0];
    *out = (osp_type){in->inputs[0]->dtype, {.rank = rank, .dims = {src->dims[0], src->dims[1]}}};
    for (int32_t i = 2; i < rank; i++) {
        out->shape.dims[i] = grid->dims[i - 1];
        if (src->dims[i] == 0)
            OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %d of the source is empty", type, i);
    }
    return OSP_OK;
}

// One axis of the source, and the range in which points are left alone.
typedef struct axis {
    int64_t length, stride;
    float low, high;
} axis;

// Mirrors x at the ends of the range, as often as it takes.
static float reflect(float x, float low, float high)
{
    float range = high - low;
    if (x >= low && x <= high)
        return x;
    if (!(range > 0))
        return low;
    float distance = x < low ? low - x : x - high;
    float turns = floorf(distance / range), rest = distance - turns * range;
    bool from_low = (x < low) == (fmodf(turns, 2) == 0);
    return from_low ? low + rest : high - rest;
}

// Position of a pixel that may lie outside, or -1 where there is nothing.
static int64_t pixel(const osp_grid_attrs *a, const axis *s, int64_t p)
{
    if (p >= 0 && p < s->length)
        return p;
    if (a->padding == OSP_SAMPLE_ZEROS)
        return -1;
    if (a->padding == OSP_SAMPLE_REFLECTION)
        p = (int64_t)reflect((float)p, s->low, s->high);
    return osp_i64_max(0, osp_i64_min(s->length - 1, p));
}

// The point of the source for a number of the grid.
static float denormalize(const osp_grid_attrs *a, const axis *s, float g)
{
    float length = (float)s->length;
    float x = a->align_corners ? (g + 1) / 2 * (length - 1) : ((g + 1) * length - 1) / 2;
    if (a->mode == OSP_SAMPLE_NEAREST)
        x = nearbyintf(x);
    if (!(x >= s->low && x <= s->high)) {
        if (a->padding == OSP_SAMPLE_BORDER)
            x = x > length - 1 ? length - 1 : x >= 0 ? x : 0;
        else if (a->padding == OSP_SAMPLE_REFLECTION)
            x = reflect(x, s->low, s->high);
    }
    // Hostile numbers only: whole pixels must fit an int64. NaN goes far outside.
    return x > 0x1p40f ? 0x1p40f : x >= -0x1p40f ? x : -0x1p40f;
}

static double cubic_weight(double distance)
{
    const double c = -0.75, d = fabs(distance);
    if (d <= 1)
        return ((c + 2) * d - (c + 3)) * d * d + 1;
    return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

typedef struct tap {
    int64_t offset;  // of the position along the axis; -1: nothing there
    double weight;
} tap;

static int32_t make_taps(const osp_grid_attrs *a, const axis *s, float x, tap taps[4])
{
    int64_t base = (int64_t)floorf(x);
    int32_t count = a->mode == OSP_SAMPLE_CUBIC ? 4 : a->mode == OSP_SAMPLE_LINEAR ? 2 : 1;
    int64_t first = a->mode == OSP_SAMPLE_CUBIC ? base - 1 : base;
    for (int32_t i = 0; i < count; i++) {
        int64_t p = pixel(a, s, first + i);
        double distance = (double)(first + i) - (double)x;
        taps[i].offset = p < 0 ? -1 : p * s->stride;
        taps[i].weight = count == 1 ? 1 : count == 2 ? 1 - fabs(distance) : cubic_weight(distance);
    }
    return count;
}

// All channels of one destination pixel. Axes z, y, x; images have one z.
static void sample(const osp_grid_attrs *a, const axis s[3], const float point[3], bool volume,
                   const osp_view *src, int64_t src_image, int64_t src_plane, const osp_view *dst,
                   int64_t dst_at, int64_t dst_plane, int64_t channels)
{
    tap z[4] = {{0, 1}}, y[4], x[4];
    int32_t nz = volume ? make_taps(a, &s[0], point[0], z) : 1;
    int32_t ny = make_taps(a, &s[1], point[1], y), nx = make_taps(a, &s[2], point[2], x);
    for (int64_t c = 0; c < channels; c++) {
        int64_t plane = src_image + c * src_plane;
        size_t to = (size_t)(dst_at + c * dst_plane);
        if (a->mode == OSP_SAMPLE_NEAREST) {
            if (z[0].offset < 0 || y[0].offset < 0 || x[0].offset < 0)
                osp_store_int(dst->dtype, dst->data, to, 0);
            else
                osp_copy_element(dst->data, to, src->data,
                                 (size_t)(plane + z[0].offset + y[0].offset + x[0].offset),
                                 osp_dtype_bytes(src->dtype));
            continue;
        }
        double sum = 0;
        for (int32_t i = 0; i < nz; i++)
            for (int32_t j = 0; j < ny; j++)
                for (int32_t k = 0; k < nx; k++) {
                    double weight = z[i].weight * y[j].weight * x[k].weight;
                    if (weight == 0 || z[i].offset < 0 || y[j].offset < 0 || x[k].offset < 0)
                        continue;
                    int64_t at = plane + z[i].offset + y[j].offset + x[k].offset;
                    sum += weight * (double)osp_load_float(src->dtype, src->data, (size_t)at);
                }
        osp_store_float(dst->dtype, dst->data, to, (float)sum);
    }
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_grid_attrs *a = call->attrs;
    const osp_view *src = &call->inputs[0], *grid = &call->inputs[1], *dst = &call->outputs[0];
    if (osp_view_count(dst) == 0)
        return OSP_OK;
    int32_t rank = src->shape.rank, dims = rank - 2;
    int64_t stride = 1;
    axis s[3] = {{.length = 1, .stride = 0}};
    for (int32_t i = 2; i >= 3 - dims; i--) {
        int64_t length = src->shape.dims[rank - 3 + i];
        s[i] = (axis){.length = length,
                      .stride = stride,
                      .low = a->align_corners ? 0 : -0.5f,
                      .high = (float)length - (a->align_corners ? 1 : 0.5f)};
        stride *= length;
    }
    int64_t channels = src->shape.dims[1], pixels = osp_shape_span(&dst->shape, 2, rank);
    for (int64_t n = 0; n < src->shape.dims[0]; n++)
        for (int64_t i = 0; i < pixels; i++) {
            float point[3] = {0};
            for (int32_t d = 0; d < dims; d++)
                point[2 - d] = denormalize(
                    a, &s[2 - d],
                    osp_load_float(grid->dtype, grid->data, (size_t)((n * pixels + i) * dims + d)));
            sample(a, s, point, dims == 3, src, n * channels * stride, stride, dst,
                   n * channels * pixels + i, pixels, channels);
        }
    return OSP_OK;
}

static double work(const osp_call *call)
{
    return 16 * (double)osp_view_count(&call->outputs[0]);
}

static const osp_attr_row rows[] = {
    {"align_corners", OSP_ATTR_INT, offsetof(osp_grid_attrs, align_corners), 0, NULL, 0, 0},
    {"mode", OSP_ATTR_ENUM, offsetof(osp_grid_attrs, mode_name), 0,
     "linear|nearest|cubic|bilinear|bicubic", 0, 0},
    {"padding_mode", OSP_ATTR_ENUM, offsetof(osp_grid_attrs, padding), 0, "zeros|border|reflection",
     0, 0},
    {0},
};

const osp_op osp_op_grid_sample = {
    .type = "GridSample",
    .domain = "",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attrs_size = sizeof(osp_grid_attrs),
    .attr_table = rows,
    .settle = settle,
    .infer = infer,
    .reference = reference,
    .work = work,
};
