// Shape arithmetic: counts, strides, broadcasting, windows. The only copy in the tree.
//
// A count is accepted only if the product of all dims, with 0 taken as 1, fits: then every span and
// stride of an accepted shape fits too, whatever zeros it has. Extents that come from files are
// held below 2^40 and window parameters below 2^31, so that positions inside a window, the padding
// included, never leave int64. Thread rule: no state.
#include "graph/shape.h"

#include <stdio.h>
#include <string.h>

enum { WINDOW_MAX = INT32_MAX };
static const int64_t EXTENT_MAX = (int64_t)1 << 40;

bool osp_shape_known(const osp_shape *shape)
{
    if (shape->rank < 0 || shape->rank > OSP_MAX_RANK)
        return false;
    for (int32_t i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0)
            return false;
    return true;
}

// The product of all dims with 0 taken as 1; false if a dim is unknown or the product too large.
static bool full_count(const osp_shape *shape, size_t *full, bool *empty)
{
    if (!osp_shape_known(shape))
        return false;
    *full = 1;
    *empty = false;
    for (int32_t i = 0; i < shape->rank; i++) {
        int64_t d = shape->dims[i];
        *empty = *empty || d == 0;
        if (d > 0 && !osp_size_mul(*full, (size_t)d, full))
            return false;
    }
    return *full <= PTRDIFF_MAX;
}

bool osp_shape_count(const osp_shape *shape, size_t *count)
{
    size_t full;
    bool empty;
    if (!full_count(shape, &full, &empty))
        return false;
    *count = empty ? 0 : full;
    return true;
}

bool osp_shape_bytes(const osp_shape *shape, osp_dtype dtype, size_t *bytes)
{
    size_t full, size = osp_dtype_bytes(dtype);
    bool empty;
    if (size == 0 || !full_count(shape, &full, &empty) || !osp_size_mul(full, size, &full) ||
        full > PTRDIFF_MAX)
        return false;
    *bytes = empty ? 0 : full;
    return true;
}

bool osp_shape_equal(const osp_shape *a, const osp_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

int64_t osp_shape_span(const osp_shape *shape, int32_t from, int32_t to)
{
    int64_t span = 1;
    for (int32_t i = from; i < to; i++)
        if (!osp_i64_mul(span, shape->dims[i], &span))
            return -1;  // cannot happen for a shape whose count fits
    return span;
}

void osp_shape_strides(const osp_shape *shape, int64_t strides[OSP_MAX_RANK])
{
    memset(strides, 0, OSP_MAX_RANK * sizeof strides[0]);
    int64_t stride = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        if (shape->dims[i] > 1 && !osp_i64_mul(stride, shape->dims[i], &stride))
            stride = 0;  // cannot happen for a shape whose count fits
    }
}

void osp_shape_broadcast_strides(const osp_shape *shape, const osp_shape *to,
                                 int64_t strides[OSP_MAX_RANK])
{
    int64_t own[OSP_MAX_RANK];
    osp_shape_strides(shape, own);
    memset(strides, 0, OSP_MAX_RANK * sizeof strides[0]);
    int32_t lead = to->rank - shape->rank;
    for (int32_t i = lead > 0 ? lead : 0; i < to->rank; i++)
        strides[i] = shape->dims[i - lead] == 1 ? 0 : own[i - lead];
}

bool osp_shape_broadcast(const osp_shape *a, const osp_shape *b, osp_shape *out)
{
    if (a->rank < 0 || b->rank < 0)
        return false;
    osp_shape result = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int32_t i = 0; i < result.rank; i++) {
        int32_t ia = i - (result.rank - a->rank), ib = i - (result.rank - b->rank);
        int64_t da = ia < 0 ? 1 : a->dims[ia], db = ib < 0 ? 1 : b->dims[ib];
        if (da != db && da != 1 && db != 1)
            return false;
        result.dims[i] = da == 1 ? db : da;
    }
    *out = result;  // out may be a or b
    return true;
}

bool osp_shape_axis(int64_t axis, int32_t rank, int32_t *out)
{
    if (rank < 0)
        return false;
    int64_t span = rank ? rank : 1;
    if (axis < -span || axis >= span)
        return false;
    *out = (int32_t)(axis < 0 ? axis + span : axis);
    return true;
}

const char *osp_shape_text(const osp_shape *shape, char *text, size_t size)
{
    if (size == 0)
        return text;
    if (shape->rank < 0 || shape->rank > OSP_MAX_RANK) {
        snprintf(text, size, "?");
        return text;
    }
    if (shape->rank == 0) {
        snprintf(text, size, "scalar");
        return text;
    }
    size_t at = 0;
    text[0] = 0;
    for (int32_t i = 0; i < shape->rank && at < size; i++) {
        const char *join = i ? "x" : "";
        int n = shape->dims[i] < 0
                    ? snprintf(text + at, size - at, "%s?", join)
                    : snprintf(text + at, size - at, "%s%lld", join, (long long)shape->dims[i]);
        at += n > 0 ? (size_t)n : size;
    }
    return text;
}

// Extent that a window covers, (size - 1) * dilation + 1; false if a parameter is out of range.
static bool window_reach(const osp_window *w, int64_t *reach)
{
    if (w->size < 1 || w->size > WINDOW_MAX || w->stride < 1 || w->stride > WINDOW_MAX ||
        w->dilation < 1 || w->dilation > WINDOW_MAX)
        return false;
    *reach = (w->size - 1) * w->dilation + 1;
    return true;
}

static bool pads_fit(const osp_window *w)
{
    return w->pad_begin >= 0 && w->pad_begin <= WINDOW_MAX && w->pad_end >= 0 &&
           w->pad_end <= WINDOW_MAX;
}

bool osp_shape_window(int64_t in, osp_auto_pad auto_pad, bool ceil, osp_window *window,
                      int64_t *out)
{
    int64_t reach;
    osp_window w = *window;
    if (in < 0 || in > EXTENT_MAX || !window_reach(&w, &reach))
        return false;
    if (auto_pad == OSP_PAD_VALID) {
        w.pad_begin = w.pad_end = 0;
    } else if (auto_pad == OSP_PAD_SAME_UPPER || auto_pad == OSP_PAD_SAME_LOWER) {
        // As many windows as strides begin inside the input; the odd pixel goes to the named side.
        int64_t windows = (in + w.stride - 1) / w.stride;
        int64_t total = windows ? osp_i64_max((windows - 1) * w.stride + reach - in, 0) : 0;
        int64_t small = total / 2;
        w.pad_begin = auto_pad == OSP_PAD_SAME_UPPER ? small : total - small;
        w.pad_end = total - w.pad_begin;
        *window = w;
        *out = windows;
        return true;
    } else if (auto_pad != OSP_PAD_NOTSET || !pads_fit(&w)) {
        return false;
    }
    int64_t room = in + w.pad_begin + w.pad_end - reach;  // how far the first window can slide
    int64_t count;
    if (room >= 0)
        count = room / w.stride + (ceil && room % w.stride != 0) + 1;
    else if (ceil && room > -w.stride)
        count = 1;  // rounding up: one window that sticks out
    else
        return false;
    if (ceil && (count - 1) * w.stride >= in + w.pad_begin)
        count--;  // it would see nothing but the end padding
    if (count < 1)
        return false;
    *window = w;
    *out = count;
    return true;
}

bool osp_shape_transposed(int64_t in, int64_t output_padding, const osp_window *window,
                          int64_t *out)
{
    int64_t reach, extent;
    if (in < 1 || in > EXTENT_MAX || output_padding < 0 || output_padding > WINDOW_MAX ||
        !window_reach(window, &reach) || !pads_fit(window))
        return false;
    if (!osp_i64_mul(window->stride, in - 1, &extent) || !osp_i64_add(extent, reach, &extent) ||
        !osp_i64_add(extent, output_padding, &extent))
        return false;
    extent -= window->pad_begin + window->pad_end;
    if (extent < 1 || extent > EXTENT_MAX)
        return false;
    *out = extent;
    return true;
}
