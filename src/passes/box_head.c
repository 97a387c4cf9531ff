// Finds what anchor-free detectors end in, as one node that reads the levels' maps as they lie.
//
//     distances of each level N,4*K,H,W -> Reshape N,4*K,HW -> Concat N,4*K,A [-> Expectation] -> d
//     places - first two rows of d -> near;  places + last two -> far
//     (near + far) / 2, far - near -> Concat -> product with strides -> boxes      (or near, far)
//     classes of each level -> Reshape -> Concat N,C,A -> Sigmoid -> scores
//     Concat(boxes, scores) [-> Transpose to N,A,4+C]          =>   osprey.BoxHead
//
// Distances and classes of a level may also be parts of one map, joined before the levels are and
// split behind. Casts to float32 may stand anywhere. Who else reads something in between keeps it.
#include <string.h>

#include "ops/internal.h"
#include "ops/move.h"
#include "ops/view.h"
#include "passes/edit.h"

enum { CHANNELS = 1, PIXELS = 2 };  // axes of what is joined

typedef struct finder {
    osp_graph *graph;
    const osp_uses *uses;
} finder;

typedef struct levels {
    int32_t count;
    osp_vid map[OSP_BOX_LEVELS];
} levels;

// ---- Values -------------------------------------------------------------------------------------

static const osp_shape *shape_of(const finder *f, osp_vid v)
{
    return &f->graph->values[v].shape;
}

static const osp_node *maker_of(const finder *f, osp_vid v, const char *type)
{
    const osp_node *node = osp_edit_maker(f->graph, f->uses, v);
    return node && osp_node_is(node, type) ? node : NULL;
}

// Behind casts that widen and, if asked, nodes that only change a shape.
static osp_vid behind(const finder *f, osp_vid v, bool reshapes)
{
    for (;;) {
        const osp_node *node = osp_edit_maker(f->graph, f->uses, v);
        if (!node || node->inputs[0] == OSP_NO_VALUE)
            return v;
        const bool widens = osp_node_is(node, "Cast") &&
                            osp_dtype_is_float(f->graph->values[node->inputs[0]].dtype) &&
                            f->graph->values[v].dtype == OSP_DTYPE_FLOAT32;
        if (!widens && !(reshapes && node->op->same_bytes))
            return v;
        v = node->inputs[0];
    }
}

static const osp_node *concat_of(const finder *f, osp_vid v, int32_t axis)
{
    const osp_node *node = maker_of(f, v, "Concat");
    return node && ((const osp_axis_attrs *)node->attrs)->resolved_axis == axis ? node : NULL;
}

// A float constant whose last dims are rows x A, the others being 1.
static bool is_table(const finder *f, osp_vid v, int64_t rows, int64_t count)
{
    const osp_value *value = f->graph->values + v;
    const int32_t rank = value->shape.rank;
    if (!value->data || !osp_dtype_is_float(value->dtype) || rank < 1 ||
        rank < (rows > 1 ? 2 : 1) || value->shape.dims[rank - 1] != count ||
        osp_shape_span(&value->shape, 0, rank) != rows * count)
        return false;
    return rows == 1 || value->shape.dims[rank - 2] == rows;
}

// ---- Levels -------------------------------------------------------------------------------------

// The source of a concatenation of channels that has rows [start, start + rows); NO_VALUE: none has
// just those.
static osp_vid part_of(const finder *f, osp_vid v, int64_t start, int64_t rows)
{
    if (start == 0 && shape_of(f, v)->dims[CHANNELS] == rows)
        return v;
    const osp_node *joined = concat_of(f, v, CHANNELS);
    for (int32_t i = 0; joined && i < joined->input_count; i++) {
        const int64_t channels = shape_of(f, joined->inputs[i])->dims[CHANNELS];
        if (start == 0)
            return channels == rows ? joined->inputs[i] : OSP_NO_VALUE;
        start -= channels;
    }
    return OSP_NO_VALUE;
}

// The maps N,rows,H,W that v, N,rows,A, is made of; false: it is made of something else.
static bool find_levels(const finder *f, osp_vid v, levels *out)
{
    const int64_t rows = shape_of(f, v)->dims[CHANNELS];
    int64_t start = 0;
    const osp_node *split = maker_of(f, v, "Split");
    if (split) {
        const osp_split_attrs *a = split->attrs;
        if (a->resolved_axis != CHANNELS)
            return false;
        for (int32_t i = 0; split->outputs[i] != v; i++)
            start += a->resolved_sizes[i];
        v = split->inputs[0];
    }
    const osp_node *joined = concat_of(f, v, PIXELS);
    out->count = joined ? joined->input_count : 1;
    if (out->count > OSP_BOX_LEVELS)
        return false;
    for (int32_t i = 0; i < out->count; i++) {
        const osp_vid flat = joined ? joined->inputs[i] : v, map = behind(f, flat, true);
        const osp_shape *a = shape_of(f, flat), *b = shape_of(f, map);
        if (a->rank != 3 || b->rank != 4 || a->dims[0] != b->dims[0] || a->dims[1] != b->dims[1] ||
            f->graph->values[map].data)
            return false;
        out->map[i] = part_of(f, map, start, rows);
        if (out->map[i] == OSP_NO_VALUE || shape_of(f, out->map[i])->rank != 4)
            return false;
    }
    return true;
}

// ---- Boxes --------------------------------------------------------------------------------------

typedef struct boxes {
    osp_vid places, distances, strides;
    osp_box_form form;
} boxes;

// Does the node take rows [first, first + 2) of N,4,A, and nothing else away, for its output v?
static bool takes_half(const finder *f, const osp_node *node, osp_vid v, int64_t first)
{
    if (osp_node_is(node, "Split"))
        return ((const osp_split_attrs *)node->attrs)->resolved_axis == CHANNELS &&
               node->output_count == 2 && node->outputs[first / 2] == v;
    if (!osp_node_is(node, "Slice"))
        return false;
    const osp_slice_attrs *a = node->attrs;
    const osp_shape *part = shape_of(f, v), *whole = shape_of(f, node->inputs[0]);
    return part->dims[0] == whole->dims[0] && part->dims[PIXELS] == whole->dims[PIXELS] &&
           a->start[CHANNELS] == first && a->step[CHANNELS] == 1 && a->step[PIXELS] == 1 &&
           a->step[0] == 1;
}

// v is rows [first, first + 2) of the four distances; those, or NO_VALUE.
static osp_vid half_of(const finder *f, osp_vid v, int64_t first)
{
    v = behind(f, v, false);
    const osp_node *node = osp_edit_maker(f->graph, f->uses, v);
    if (!node || node->inputs[0] == OSP_NO_VALUE)
        return OSP_NO_VALUE;
    const osp_shape *part = shape_of(f, v), *whole = shape_of(f, node->inputs[0]);
    const bool fits = part->rank == 3 && part->dims[CHANNELS] == 2 && whole->rank == 3 &&
                      whole->dims[CHANNELS] == 4 && takes_half(f, node, v, first);
    return fits ? node->inputs[0] : OSP_NO_VALUE;
}

// v is places - the first two distances, or places + the last two. The first corner found fills
// `out`, the second must agree with it.
static bool is_corner(const finder *f, osp_vid v, bool far, boxes *out)
{
    const osp_node *node = maker_of(f, v, far ? "Add" : "Sub");
    if (!node)
        return false;
    const int32_t i = far && !f->graph->values[node->inputs[0]].data ? 1
                                                                     : 0;  // where the places are
    const osp_vid places = node->inputs[i];
    const osp_vid distances = half_of(f, node->inputs[1 - i], far ? 2 : 0);
    if (distances == OSP_NO_VALUE ||
        !is_table(f, places, 2, shape_of(f, distances)->dims[PIXELS]) ||
        (out->places != OSP_NO_VALUE && (out->places != places || out->distances != distances)))
        return false;
    out->places = places;
    out->distances = distances;
    return true;
}

static bool are_corners(const finder *f, osp_vid near, osp_vid far, boxes *out)
{
    out->places = OSP_NO_VALUE;
    return is_corner(f, near, false, out) && is_corner(f, far, true, out);
}

// v is half of a + b.
static bool is_middle(const finder *f, osp_vid v, osp_vid a, osp_vid b)
{
    const osp_node *half = osp_edit_maker(f->graph, f->uses, v);
    double k;
    if (!half || !(osp_node_is(half, "Div") || osp_node_is(half, "Mul")) ||
        !osp_edit_scalar(f->graph, half->inputs[1], &k) ||
        k != (osp_node_is(half, "Div") ? 2 : 0.5))
        return false;
    const osp_node *sum = maker_of(f, half->inputs[0], "Add");
    return sum && ((sum->inputs[0] == a && sum->inputs[1] == b) ||
                   (sum->inputs[0] == b && sum->inputs[1] == a));
}

static bool find_boxes(const finder *f, osp_vid v, boxes *out)
{
    const osp_node *scaled = maker_of(f, v, "Mul");
    const int64_t count = shape_of(f, v)->dims[PIXELS];
    if (!scaled || shape_of(f, v)->dims[CHANNELS] != 4)
        return false;
    const int32_t i = is_table(f, scaled->inputs[0], 1, count) ? 0 : 1;
    out->strides = scaled->inputs[i];
    const osp_node *joined = concat_of(f, scaled->inputs[1 - i], CHANNELS);
    if (!is_table(f, out->strides, 1, count) || !joined || joined->input_count != 2)
        return false;
    out->form = OSP_BOX_XYXY;
    if (are_corners(f, joined->inputs[0], joined->inputs[1], out))
        return true;
    out->form = OSP_BOX_XYWH;
    const osp_node *size = maker_of(f, joined->inputs[1], "Sub");
    return size && are_corners(f, size->inputs[1], size->inputs[0], out) &&
           is_middle(f, joined->inputs[0], size->inputs[0], size->inputs[1]);
}

// ---- The whole ----------------------------------------------------------------------------------

static osp_vid table(const finder *f, osp_vid v, int64_t rows, int64_t count)
{
    const osp_shape shape = rows > 1 ? (osp_shape){2, {rows, count}} : (osp_shape){1, {count}};
    const float *data = osp_edit_floats(f->graph, v);
    return data ? osp_edit_constant(f->graph, "", OSP_DTYPE_FLOAT32, &shape, data) : OSP_NO_VALUE;
}

static bool turns_rows(const osp_node *node)
{
    const osp_transpose_attrs *a = node->attrs;
    return osp_node_is(node, "Transpose") && a->resolved_perm[0] == 0 &&
           a->resolved_perm[1] == PIXELS && a->resolved_perm[2] == CHANNELS;
}

static osp_status rewrite(const finder *f, const osp_pass_options *options, osp_node *node,
                          const boxes *b, const levels *sides, const levels *classes,
                          osp_vid weights, osp_error *err)
{
    osp_vid inputs[2 * OSP_BOX_LEVELS + 3];
    int32_t count = 0;
    const int64_t pixels = shape_of(f, node->outputs[0])->dims[PIXELS];
    for (int32_t i = 0; i < sides->count; i++) {
        inputs[i] = sides->map[i];
        inputs[sides->count + i] = classes->map[i];
        count += 2;
    }
    inputs[count++] = table(f, b->places, 2, pixels);
    inputs[count++] = table(f, b->strides, 1, pixels);
    if (weights != OSP_NO_VALUE)
        inputs[count++] = weights;
    for (int32_t i = 0; i < count; i++)
        if (inputs[i] == OSP_NO_VALUE)
            OSP_FAIL_MEMORY(err);
    osp_box_head_attrs attrs = {.levels = sides->count, .form = (int32_t)b->form, .turned = 1};
    osp_node *after = osp_edit_reader(f->graph, f->uses, node->outputs[0]);
    bool done = false;
    if (after && turns_rows(after))
        OSP_TRY(osp_edit_try(f->graph, options, after, "osprey", "BoxHead", inputs, count, &attrs,
                             &done, err));
    attrs.turned = 0;
    return done ? OSP_OK
                : osp_edit_try(f->graph, options, node, "osprey", "BoxHead", inputs, count, &attrs,
                               &done, err);
}

// Where N,4,A of distances come from: themselves, without weights; or N,4*K,A of logits, of which they
// are expectations. NO_VALUE: expectations of something else.
static osp_vid source_of(const finder *f, osp_vid distances, osp_vid *weights)
{
    *weights = OSP_NO_VALUE;
    const osp_node *node = osp_edit_maker(f->graph, f->uses, behind(f, distances, true));
    if (!node || strcmp(node->type, "Expectation") != 0)
        return behind(f, distances, false);
    const osp_shape *bins = shape_of(f, node->inputs[0]);  // N,4,K,A, a reshape of N,4*K,A
    const osp_node *shaped = osp_edit_maker(f->graph, f->uses, node->inputs[0]);
    if (((const osp_expectation_attrs *)node->attrs)->axis != 2 || bins->rank != 4 ||
        bins->dims[1] != 4 || !shaped || !shaped->op->same_bytes)
        return OSP_NO_VALUE;
    const osp_shape *logits = shape_of(f, shaped->inputs[0]);
    if (logits->rank != 3 || logits->dims[0] != bins->dims[0] ||
        logits->dims[PIXELS] != bins->dims[3])
        return OSP_NO_VALUE;
    *weights = node->inputs[1];
    return shaped->inputs[0];
}

static osp_status visit(const finder *f, const osp_pass_options *options, osp_node *node,
                        osp_error *err)
{
    const osp_axis_attrs *joins = node->attrs;
    if (node->input_count != 2 || joins->resolved_axis != CHANNELS ||
        shape_of(f, node->outputs[0])->rank != 3)
        return OSP_OK;
    boxes b;
    levels sides, classes;
    const osp_node *scores = maker_of(f, node->inputs[1], "Sigmoid");
    if (!scores || !find_boxes(f, node->inputs[0], &b))
        return OSP_OK;
    osp_vid weights;
    const osp_vid distances = source_of(f, b.distances, &weights);
    if (distances == OSP_NO_VALUE || !find_levels(f, distances, &sides) ||
        !find_levels(f, behind(f, scores->inputs[0], false), &classes) ||
        sides.count != classes.count)
        return OSP_OK;
    return rewrite(f, options, node, &b, &sides, &classes, weights, err);
}

osp_status osp_pass_box_head(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    const finder f = {graph, &uses};
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++)
        if (osp_node_is(graph->nodes + i, "Concat"))
            status = visit(&f, options, graph->nodes + i, err);
    osp_uses_free(&uses);
    return status;
}
