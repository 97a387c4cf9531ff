// The first convolution reads the pixels themselves: their normalisation and their way into planes go
// into it.
//
//     x (uint8 N,H,W,C) -> Cast -> Sub mean -> Mul scale -> Transpose -> [Fused]Conv
//     =>   x -> osprey.PixelConv
//
// Between the pixels and the convolution any Mul, Div, Add and Sub with constants of the channels,
// Casts between float types and the one Transpose, in any order that begins with the Cast from uint8.
// Every value between is read once and is no graph output.
#include <math.h>
#include <string.h>

#include "ops/internal.h"
#include "ops/move.h"
#include "ops/view.h"
#include "passes/edit.h"

enum { MOST_CHANNELS = 4, MOST_STEPS = 16 };

typedef struct finder {
    osp_graph *graph;
    const osp_uses *uses;
} finder;

// What the convolution reads, going upwards: a * v + b of each channel of v.
typedef struct trail {
    osp_vid v;
    bool planes;  // v is N,C,H,W, not N,H,W,C
    int32_t channels;
    double a[MOST_CHANNELS], b[MOST_CHANNELS];
} trail;

// The elements of a constant by channel; false: it is none, or varies otherwise.
static bool by_channel(const finder *f, osp_vid c, const trail *t, double out[MOST_CHANNELS])
{
    if (c == OSP_NO_VALUE || !f->graph->values[c].data ||
        !osp_dtype_is_float(f->graph->values[c].dtype))
        return false;
    const osp_shape shape = f->graph->values[c].shape;
    const int64_t count = osp_shape_span(&shape, 0, shape.rank);
    const int32_t axis = shape.rank - (t->planes ? 3 : 1);
    const bool each = axis >= 0 && axis < shape.rank && shape.dims[axis] == t->channels &&
                      count == t->channels;
    if (shape.rank > 4 || (!each && count != 1))
        return false;
    const float *data = osp_edit_floats(f->graph, c);
    for (int32_t i = 0; data && i < t->channels; i++)
        out[i] = (double)data[each ? i : 0];
    return data != NULL;
}

// Takes arithmetic with a constant into a and b.
static bool take_arithmetic(const finder *f, const osp_node *node, trail *t)
{
    double c[MOST_CHANNELS];
    const bool product = osp_node_is(node, "Mul"), quotient = osp_node_is(node, "Div");
    const bool sum = osp_node_is(node, "Add"), difference = osp_node_is(node, "Sub");
    if (!product && !quotient && !sum && !difference)
        return false;
    const bool second = by_channel(f, node->inputs[1], t, c);
    if (!second && ((!product && !sum) || !by_channel(f, node->inputs[0], t, c)))
        return false;
    for (int32_t i = 0; i < t->channels; i++) {
        t->b[i] += sum ? t->a[i] * c[i] : difference ? -t->a[i] * c[i] : 0;
        t->a[i] *= product ? c[i] : quotient ? 1 / c[i] : 1;
    }
    t->v = node->inputs[second ? 0 : 1];
    return osp_shape_equal(&f->graph->values[t->v].shape,
                           &f->graph->values[node->outputs[0]].shape);
}

static bool take_transpose(const osp_node *node, trail *t)
{
    static const int32_t to_planes[4] = {0, 3, 1, 2};
    if (!osp_node_is(node, "Transpose") || !t->planes)
        return false;
    const osp_transpose_attrs *a = node->attrs;
    t->planes = false;
    t->v = node->inputs[0];
    return !memcmp(a->resolved_perm, to_planes, sizeof to_planes);
}

// From the convolution's source up to the pixels; false: it is not made of such.
static bool find_pixels(const finder *f, trail *t)
{
    const osp_graph *g = f->graph;
    for (int32_t step = 0; step < MOST_STEPS; step++) {
        const osp_node *node = osp_edit_maker(f->graph, f->uses, t->v);
        if (!node || !osp_edit_reader(f->graph, f->uses, t->v) || g->values[t->v].shape.rank != 4)
            return false;
        if (osp_node_is(node, "Cast")) {
            t->v = node->inputs[0];
            if (g->values[t->v].dtype == OSP_DTYPE_UINT8)
                return !g->values[t->v].data;
            if (!osp_dtype_is_float(g->values[t->v].dtype))
                return false;
        } else if (!take_transpose(node, t) && !take_arithmetic(f, node, t)) {
            return false;
        }
    }
    return false;
}

// a * pixel + b as (pixel - mean) * scale; false: not finite.
static bool set_scale(const trail *t, osp_pixel_conv_attrs *attrs)
{
    bool fine = true;
    attrs->mean.count = attrs->scale.count = t->channels;
    for (int32_t i = 0; i < t->channels; i++) {
        attrs->scale.v[i] = (float)t->a[i];
        attrs->mean.v[i] = t->b[i] == 0 ? 0 : (float)(-t->b[i] / t->a[i]);
        fine &= isfinite(attrs->scale.v[i]) && isfinite(attrs->mean.v[i]);
    }
    return fine;
}

static osp_status take_pixels(const finder *f, const osp_pass_options *options, osp_node *node,
                              osp_error *err)
{
    osp_graph *g = f->graph;
    const bool fused = !strcmp(node->type, "FusedConv");
    const osp_fused_conv_attrs *from = node->attrs;
    const osp_shape *src = &g->values[node->inputs[0]].shape;
    if ((!fused && !osp_node_is(node, "Conv")) || (fused && from->residual) || src->rank != 4 ||
        src->dims[1] > MOST_CHANNELS || !g->values[node->inputs[1]].data)
        return OSP_OK;
    trail t = {.v = node->inputs[0], .planes = true, .channels = (int32_t)src->dims[1]};
    for (int32_t i = 0; i < t.channels; i++)
        t.a[i] = 1;
    osp_pixel_conv_attrs attrs = {.conv = fused ? from->conv
                                                : *(const osp_conv_attrs *)node->attrs};
    if (fused) {
        attrs.act = from->act;
        attrs.alpha = from->alpha;
        attrs.beta = from->beta;
    }
    if (!find_pixels(f, &t) || t.planes || !set_scale(&t, &attrs))
        return OSP_OK;
    const osp_vid inputs[3] = {t.v, node->inputs[1],
                               node->input_count > 2 ? node->inputs[2] : OSP_NO_VALUE};
    bool done;
    return osp_edit_try(g, options, node, "osprey", "PixelConv", inputs,
                        inputs[2] == OSP_NO_VALUE ? 2 : 3, &attrs, &done, err);
}

osp_status osp_pass_pixel_conv(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    const finder f = {graph, &uses};
    osp_status status = OSP_OK;
    for (size_t i = 0; i < graph->node_count && !status; i++)
        if (graph->nodes[i].type && graph->nodes[i].op && graph->nodes[i].input_count > 1)
            status = take_pixels(&f, options, graph->nodes + i, err);
    osp_uses_free(&uses);
    return status;
}
