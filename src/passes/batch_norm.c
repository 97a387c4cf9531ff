// Batch normalisation with constant statistics goes into the convolution before it; alone it
// becomes a product and a sum.
//
//     Conv(x, W, b) -> BatchNormalization(s, t, mean, var)    =>    Conv(x, W', b')
//     (ConvTranspose alike)
//     BatchNormalization(x, s, t, mean, var)                  =>    Add(Mul(x, k), b')
//
// k = s / sqrt(var + epsilon), W' = W k, b' = (b - mean) k + t, computed in double.
#include <math.h>

#include "ops/conv.h"
#include "ops/norm.h"
#include "passes/edit.h"

typedef struct affine {
    int64_t channels;
    double *factor, *shift;
} affine;

// The node as y = x * factor + shift for each channel; false: statistics are not constant.
static bool read_affine(osp_graph *graph, const osp_node *node, affine *out)
{
    const osp_batch_norm_attrs *attrs = node->attrs;
    const float *in[4];
    for (int32_t i = 0; i < 4; i++) {
        const osp_vid v = node->inputs[1 + i];
        if (v == OSP_NO_VALUE || graph->values[v].shape.rank != 1)
            return false;
        in[i] = osp_edit_floats(graph, v);
        if (!in[i])
            return false;
    }
    out->channels = graph->values[node->inputs[1]].shape.dims[0];
    out->factor = osp_arena_array(&graph->arena, (size_t)out->channels, sizeof(double));
    out->shift = osp_arena_array(&graph->arena, (size_t)out->channels, sizeof(double));
    if (!out->factor || !out->shift)
        return false;
    for (int64_t c = 0; c < out->channels; c++) {
        const double k = (double)in[0][c] / sqrt((double)in[3][c] + (double)attrs->epsilon);
        out->factor[c] = k;
        out->shift[c] = (double)in[1][c] - (double)in[2][c] * k;
    }
    return true;
}

// A constant of that type from doubles; NO_VALUE: no memory.
static osp_vid constant_of(osp_graph *graph, osp_dtype dtype, const osp_shape *shape,
                           const double *data)
{
    const int64_t count = osp_shape_span(shape, 0, shape->rank);
    float *rounded = osp_arena_array(&graph->arena, (size_t)count, sizeof *rounded);
    for (int64_t i = 0; rounded && i < count; i++)
        rounded[i] = (float)data[i];
    return rounded ? osp_edit_constant(graph, "", dtype, shape, rounded) : OSP_NO_VALUE;
}

// Weights times the factor of their output channel. They are [oc, ic / g, taps], those of
// ConvTranspose [ic, oc / g, taps].
static void scale_weights(float *weights, const osp_shape *shape, bool transposed, int64_t group,
                          const double *factor)
{
    const int64_t taps = osp_shape_span(shape, 2, shape->rank);
    const int64_t rows = shape->dims[0], columns = shape->dims[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            const int64_t o = transposed ? r / (rows / group) * columns + c : r;
            float *at = weights + (r * columns + c) * taps;
            for (int64_t t = 0; t < taps; t++)
                at[t] = (float)((double)at[t] * factor[o]);
        }
}

static osp_status into_conv(osp_graph *graph, osp_node *conv, osp_node *norm, const affine *a,
                            bool *done, osp_error *err)
{
    const bool transposed = osp_node_is(conv, "ConvTranspose");
    const int64_t group = transposed ? ((osp_conv_transpose_attrs *)conv->attrs)->conv.group
                                     : ((osp_conv_attrs *)conv->attrs)->group;
    const osp_vid w = conv->inputs[1];
    const osp_vid b = conv->input_count > 2 ? conv->inputs[2] : OSP_NO_VALUE;
    const osp_dtype dtype = graph->values[w].dtype;
    const osp_shape shape = graph->values[w].shape;
    *done = false;
    if (!graph->values[w].data || graph->values[conv->outputs[0]].shape.dims[1] != a->channels ||
        (b != OSP_NO_VALUE && !graph->values[b].data))
        return OSP_OK;
    float *weights = osp_edit_floats(graph, w);
    const float *bias = b != OSP_NO_VALUE ? osp_edit_floats(graph, b) : NULL;
    if (!weights || (b != OSP_NO_VALUE && !bias))
        OSP_FAIL_MEMORY(err);
    scale_weights(weights, &shape, transposed, group, a->factor);
    for (int64_t o = 0; bias && o < a->channels; o++)
        a->shift[o] += (double)bias[o] * a->factor[o];
    const osp_shape channels = {1, {a->channels}};
    const osp_vid inputs[3] = {conv->inputs[0],
                               osp_edit_constant(graph, "", dtype, &shape, weights),
                               constant_of(graph, dtype, &channels, a->shift)};
    if (inputs[1] == OSP_NO_VALUE || inputs[2] == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    *done = true;
    conv->outputs[0] = norm->outputs[0];
    osp_graph_kill(norm);
    return osp_edit_become(graph, conv, "", conv->type, inputs, 3, conv->attrs, err);
}

static osp_status alone(osp_graph *graph, size_t index, const affine *a, osp_error *err)
{
    const osp_value *src = graph->values + graph->nodes[index].inputs[0];
    const osp_dtype dtype = src->dtype;
    const osp_shape whole = src->shape;
    osp_shape shape = {.rank = whole.rank > 1 ? whole.rank - 1 : 1};
    for (int32_t d = 0; d < shape.rank; d++)
        shape.dims[d] = d ? 1 : a->channels;
    const osp_vid factor = constant_of(graph, dtype, &shape, a->factor);
    const osp_vid shift = constant_of(graph, dtype, &shape, a->shift);
    const osp_vid product = osp_edit_value(graph, dtype, &whole);
    if (factor == OSP_NO_VALUE || shift == OSP_NO_VALUE || product == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    const osp_vid in[2] = {graph->nodes[index].inputs[0], factor};
    if (!osp_graph_insert_node(graph, graph->node_count, osp_op_find("", "Mul"),
                               graph->nodes[index].name, in, 2, &product, 1, NULL))
        OSP_FAIL_MEMORY(err);
    const osp_vid sum[2] = {product, shift};
    return osp_edit_become(graph, graph->nodes + index, "", "Add", sum, 2, NULL, err);
}

osp_status osp_pass_batch_norm(osp_graph *graph, const osp_pass_options *options, osp_error *err)
{
    (void)options;
    osp_uses uses;
    OSP_TRY(osp_graph_uses(&uses, graph, err));
    osp_status status = OSP_OK;
    const size_t count = graph->node_count;
    for (size_t i = 0; i < count && !status; i++) {
        osp_node *norm = graph->nodes + i;
        affine a;
        if (!osp_node_is(norm, "BatchNormalization") || norm->output_count != 1 ||
            graph->values[norm->inputs[0]].shape.rank < 2 || !read_affine(graph, norm, &a))
            continue;
        osp_node *conv = osp_edit_sole(graph, &uses, norm->inputs[0], "Conv");
        if (!conv)
            conv = osp_edit_sole(graph, &uses, norm->inputs[0], "ConvTranspose");
        bool done = false;
        if (conv)
            status = into_conv(graph, conv, norm, &a, &done, err);
        if (!status && !done)
            status = alone(graph, i, &a, err);
    }
    osp_uses_free(&uses);
    return status;
}
