// Operators of domain "osprey" for the ends of detectors: Expectation and BoxHead. Thread rule: no
// state.
#include "ops/internal.h"
#include "ops/view.h"

// ---- Expectation --------------------------------------------------------------------------------

static const osp_attr_row expectation_rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_expectation_attrs, axis), 0, NULL, 0, 0},
    {0}};

// Input i must be float32 and [count], or [rows, count].
static osp_status check_constant(const osp_infer *in, int32_t i, int64_t rows, int64_t count,
                                 osp_error *err)
{
    OSP_TRY(osp_infer_types(in, i, OSP_TYPE(OSP_DTYPE_FLOAT32), err));
    const osp_shape *shape = &in->inputs[i]->shape;
    const int32_t rank = rows > 1 ? 2 : 1;
    if (shape->rank != rank || shape->dims[rank - 1] != count ||
        (rank == 2 && shape->dims[0] != rows))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: input %d is not %lld x %lld", in->op->type, i,
                 (long long)rows, (long long)count);
    return OSP_OK;
}

static osp_status infer_expectation(osp_infer *in, osp_error *err)
{
    osp_expectation_attrs *a = in->attrs;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_FLOAT, err));
    const osp_shape *src = &in->inputs[0]->shape;
    int32_t axis;
    if (!osp_shape_axis(a->axis, src->rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %lld is outside of rank %d", (long long)a->axis,
                 src->rank);
    a->axis = axis;
    if (src->dims[axis] < 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "axis %d of the source is empty", axis);
    OSP_TRY(check_constant(in, 1, 1, src->dims[axis], err));
    in->outputs[0] = (osp_type){OSP_DTYPE_FLOAT32, *src};
    in->outputs[0].shape.dims[axis] = 1;
    return OSP_OK;
}

// Over `count` elements of src, `stride` apart.
static float expectation(const osp_view *src, int64_t at, int64_t stride, int64_t count,
                         const float *weights)
{
    double most = -HUGE_VAL, total = 0, sum = 0;
    for (int64_t k = 0; k < count; k++) {
        const double x = (double)osp_load_float(src->dtype, src->data, (size_t)(at + k * stride));
        most = x > most ? x : most;
    }
    for (int64_t k = 0; k < count; k++) {
        const double x = (double)osp_load_float(src->dtype, src->data, (size_t)(at + k * stride));
        const double p = exp(x - most);
        total += p;
        sum += p * (double)weights[k];
    }
    return (float)(sum / total);
}

static osp_status run_expectation(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_expectation_attrs *a = call->attrs;
    const osp_view *src = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const int32_t axis = (int32_t)a->axis;
    const int64_t count = src->shape.dims[axis];
    const int64_t inner = osp_shape_span(&src->shape, axis + 1, src->shape.rank);
    const int64_t lines = (int64_t)osp_view_count(dst);
    for (int64_t i = 0; i < lines; i++)
        ((float *)dst->data)[i] = expectation(src, i / inner * count * inner + i % inner, inner,
                                              count, call->inputs[1].data);
    return OSP_OK;
}

static double work_expectation(const osp_call *call)
{
    return 2 * (double)osp_view_count(call->inputs);
}

const osp_op osp_op_expectation = {.type = "Expectation",
                                   .domain = "osprey",
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .min_outputs = 1,
                                   .max_outputs = 1,
                                   .attrs_size = sizeof(osp_expectation_attrs),
                                   .attr_table = expectation_rows,
                                   .infer = infer_expectation,
                                   .reference = run_expectation,
                                   .work = work_expectation};

// ---- BoxHead ------------------------------------------------------------------------------------

static const osp_attr_row box_head_rows[] = {
    {"levels", OSP_ATTR_INT, offsetof(osp_box_head_attrs, levels), 0, NULL, 0, 0},
    {"form", OSP_ATTR_ENUM, offsetof(osp_box_head_attrs, form), 0, "xywh|xyxy", 0, 0},
    {"turned", OSP_ATTR_INT, offsetof(osp_box_head_attrs, turned), 0, NULL, 0, 0},
    {0}};
static const osp_box_head_attrs box_head_defaults = {.levels = 1};

// Distances and logits of all levels fit together; *pixels of all levels.
static osp_status check_levels(const osp_infer *in, int32_t levels, int64_t *pixels, osp_error *err)
{
    *pixels = 0;
    for (int32_t i = 0; i < 2 * levels; i++) {
        const osp_shape *first = &in->inputs[i < levels ? 0 : levels]->shape;
        const osp_shape *s = &in->inputs[i]->shape, *other = &in->inputs[i % levels]->shape;
        OSP_TRY(osp_infer_types(in, i, OSP_TYPES_FLOAT, err));
        OSP_TRY(osp_infer_same(in, i < levels ? 0 : levels, i, err));
        OSP_TRY(osp_infer_rank(in, i, 4, 4, err));
        if (s->dims[0] != in->inputs[0]->shape.dims[0] || s->dims[1] != first->dims[1] ||
            s->dims[2] != other->dims[2] || s->dims[3] != other->dims[3])
            OSP_FAIL(err, OSP_ERROR_FORMAT, "input %d does not fit the other levels", i);
        if (i < levels)
            *pixels += s->dims[2] * s->dims[3];
    }
    return OSP_OK;
}

static osp_status infer_box_head(osp_infer *in, osp_error *err)
{
    const osp_box_head_attrs *a = in->attrs;
    if (a->levels < 1 || a->levels > OSP_BOX_LEVELS || a->form < 0 || a->form > OSP_BOX_XYXY ||
        a->turned < 0 || a->turned > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "attribute 'levels', 'form' or 'turned' is out of range");
    const int32_t levels = (int32_t)a->levels, extra = in->input_count - 2 * levels;
    if (extra != 2 && extra != 3)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%d inputs do not fit %d levels", in->input_count, levels);
    int64_t pixels;
    OSP_TRY(check_levels(in, levels, &pixels, err));
    const int64_t sides = in->inputs[0]->shape.dims[1];
    if (sides < 4 || sides % 4 || (extra == 2 && sides != 4))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%lld channels are no distances to four sides",
                 (long long)sides);
    OSP_TRY(check_constant(in, 2 * levels, 2, pixels, err));
    OSP_TRY(check_constant(in, 2 * levels + 1, 1, pixels, err));
    if (extra == 3)
        OSP_TRY(check_constant(in, 2 * levels + 2, 1, sides / 4, err));
    const int64_t n = in->inputs[0]->shape.dims[0], rows = 4 + in->inputs[levels]->shape.dims[1];
    in->outputs[0] = (osp_type){OSP_DTYPE_FLOAT32, {3, {n, rows, pixels}}};
    if (a->turned)
        in->outputs[0].shape = (osp_shape){3, {n, pixels, rows}};
    return OSP_OK;
}

// One sample of one level, whose pixels begin at `first` of `all`.
typedef struct box_level {
    const osp_view *boxes, *classes;
    const float *places, *strides, *weights;  // weights NULL: distances are given
    int64_t n, first, all;
    int64_t row, step;  // of the result: from row to row, pixel to pixel
    int32_t form;
} box_level;

static float distance(const box_level *l, int64_t side, int64_t pixel)
{
    const int64_t count = osp_shape_span(&l->boxes->shape, 2, 4),
                  bins = l->boxes->shape.dims[1] / 4;
    const int64_t at = (l->n * 4 + side) * bins * count + pixel;
    return l->weights ? expectation(l->boxes, at, count, bins, l->weights)
                      : osp_load_float(l->boxes->dtype, l->boxes->data, (size_t)at);
}

static void run_level(const box_level *l, float *dst)
{
    const int64_t count = osp_shape_span(&l->boxes->shape, 2, 4);
    const int64_t classes = l->classes->shape.dims[1];
    for (int64_t pixel = 0; pixel < count; pixel++) {
        const int64_t at = l->first + pixel;
        const float stride = l->strides[at];
        float *to = dst + at * l->step;
        for (int64_t axis = 0; axis < 2; axis++) {
            const float place = l->places[axis * l->all + at];
            const float low = place - distance(l, axis, pixel);
            const float high = place + distance(l, axis + 2, pixel);
            const bool corners = l->form == OSP_BOX_XYXY;
            to[axis * l->row] = (corners ? low : (low + high) / 2) * stride;
            to[(axis + 2) * l->row] = (corners ? high : high - low) * stride;
        }
        for (int64_t c = 0; c < classes; c++)
            to[(4 + c) * l->row] = osp_activate(
                OSP_ACT_SIGMOID, 0, 0,
                osp_load_float(l->classes->dtype, l->classes->data,
                               (size_t)((l->n * classes + c) * count + pixel)));
    }
}

static osp_status run_box_head(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_box_head_attrs *a = call->attrs;
    const osp_view *in = call->inputs, *dst = osp_call_output(call, 0);
    if (!dst)
        return OSP_OK;
    const int32_t levels = (int32_t)a->levels;
    const int64_t all = dst->shape.dims[a->turned ? 1 : 2],
                  rows = dst->shape.dims[a->turned ? 2 : 1];
    box_level l = {.places = in[2 * levels].data,
                   .strides = in[2 * levels + 1].data,
                   .weights = call->input_count > 2 * levels + 2 ? in[2 * levels + 2].data : NULL,
                   .all = all,
                   .row = a->turned ? 1 : all,
                   .step = a->turned ? rows : 1,
                   .form = a->form};
    for (int32_t i = 0; i < levels; i++) {
        l.boxes = in + i;
        l.classes = in + levels + i;
        for (l.n = 0; l.n < dst->shape.dims[0]; l.n++)
            run_level(&l, (float *)dst->data + l.n * rows * all);
        l.first += osp_shape_span(&in[i].shape, 2, 4);
    }
    return OSP_OK;
}

const osp_op osp_op_box_head = {.type = "BoxHead",
                                .domain = "osprey",
                                .min_inputs = 4,
                                .max_inputs = -1,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attrs_size = sizeof(osp_box_head_attrs),
                                .attr_table = box_head_rows,
                                .defaults = &box_head_defaults,
                                .infer = infer_box_head,
                                .reference = run_box_head};
