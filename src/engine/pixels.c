// The image input as pixels: when that wins, and the nodes it takes. They are plain ONNX operators, so
// that every backend can run them; the pass pixel_conv makes them part of the first convolution.
#include "engine/pixels.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/move.h"

enum { CHANNELS = 3 };

static bool is_kept(const osp_engine_options *o, const osp_node *node)
{
    for (int32_t i = 0; i < o->keep_fp32_count; i++)
        if (o->keep_fp32[i] && !strcmp(o->keep_fp32[i], node->name))
            return true;
    return false;
}

// Is it a convolution of the kind that kernels for pixels take, with nothing else to read the image?
static bool reads_alone(const osp_graph *g, const osp_node *node, osp_vid image)
{
    if (!node->op || strcmp(node->type, "Conv") != 0 || node->domain[0] || node->inputs[0] != image)
        return false;
    const osp_conv_attrs *a = node->attrs;
    const osp_value *weights = g->values + node->inputs[1];
    bool dense = a->group == 1;
    for (int32_t i = 0; i < a->dilations.count; i++)
        dense &= a->dilations.v[i] == 1;
    return dense && weights->data && weights->shape.rank == 4 && weights->shape.dims[0] % 8 == 0 &&
           weights->shape.dims[2] * weights->shape.dims[3] <= 49;
}

// One input, and one reader of it.
static bool wins(const osp_graph *g, osp_vid image, const osp_engine_options *o)
{
    bool found = false;
    if (g->input_count != 1 || g->values[image].dtype != OSP_DTYPE_FLOAT32)
        return false;
    for (int32_t i = 0; i < g->output_count; i++)
        if (g->outputs[i] == image)
            return false;
    for (size_t n = 0; n < g->node_count; n++) {
        const osp_node *node = g->nodes + n;
        for (int32_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] != image)
                continue;
            if (found || !reads_alone(g, node, image) || is_kept(o, node))
                return false;
            found = true;
        }
    }
    return found;
}

osp_status osp_pixels_choose(osp_pixels *out, const osp_graph *graph, osp_vid image, bool fast,
                             const osp_engine_options *options, osp_error *err)
{
    const osp_pixels asked = options->image_input.format;
    const osp_value *v = image == OSP_NO_VALUE ? NULL : graph->values + image;
    const bool three = v && v->shape.rank == 4 && v->shape.dims[1] == CHANNELS;
    if (asked == OSP_PIXELS_UINT8 && !three)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "%s%s%s is no float image N x 3 x H x W, so pixels cannot take its place: leave "
                 "the image input as the model has it",
                 v ? "input '" : "the first input", v ? v->name : "", v ? "'" : "");
    const bool pixels = asked == OSP_PIXELS_UINT8 ||
                        (asked == OSP_PIXELS_AUTO && three && fast && wins(graph, image, options));
    *out = pixels ? OSP_PIXELS_UINT8 : OSP_PIXELS_MODEL;
    return OSP_OK;
}

// ---- The nodes ----------------------------------------------------------------------------------

typedef struct chain {
    osp_graph *graph;
    size_t nodes;  // inserted in front so far
    osp_vid v;     // the end of the chain
    bool failed;
} chain;

// One more node in front of the graph's own; `dst` NO_VALUE: a new value.
static void add(chain *c, const char *type, osp_vid second, osp_vid dst, const void *attrs)
{
    const osp_vid inputs[2] = {c->v, second};
    const osp_op *op = osp_op_find("", type);
    const char *name = osp_arena_printf(&c->graph->arena, "image_input.%s", type);
    if (dst == OSP_NO_VALUE)
        dst = osp_graph_add_value(c->graph, "", OSP_DTYPE_UNKNOWN, NULL);
    if (c->failed || !op || !name || dst == OSP_NO_VALUE ||
        !osp_graph_insert_node(c->graph, c->nodes++, op, name, inputs,
                               second == OSP_NO_VALUE ? 1 : 2, &dst, 1, attrs))
        c->failed = true;
    c->v = dst;
}

static void add_cast(chain *c, osp_dtype to)
{
    const osp_cast_attrs attrs = {osp_dtype_to_onnx(to)};
    add(c, "Cast", OSP_NO_VALUE, OSP_NO_VALUE, &attrs);
}

static osp_vid constant(chain *c, const float v[CHANNELS])
{
    const osp_shape shape = {1, {CHANNELS}};
    const osp_vid made = osp_graph_add_constant(c->graph, "", OSP_DTYPE_FLOAT32, &shape, v);
    c->failed |= made == OSP_NO_VALUE;
    return made;
}

osp_status osp_pixels_insert(osp_graph *graph, osp_vid image, const osp_image_input *how,
                             osp_error *err)
{
    float scale[CHANNELS];
    bool given = false, shifted = false;
    for (int i = 0; i < CHANNELS; i++) {
        given |= how->scale[i] != 0;
        shifted |= how->mean[i] != 0;
    }
    for (int i = 0; i < CHANNELS; i++)
        scale[i] = given ? how->scale[i] : 1.0f / 255.0f;
    const osp_value old = graph->values[image];
    const int64_t *dims = old.shape.dims;
    const osp_shape shape = {4, {dims[0], dims[2], dims[3], CHANNELS}};
    chain c = {.graph = graph};
    c.v = osp_graph_add_value(graph, old.name, OSP_DTYPE_UINT8, &shape);
    if (c.v == OSP_NO_VALUE)
        OSP_FAIL_MEMORY(err);
    graph->values[image].name = "";
    for (int32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i] == image)
            graph->inputs[i] = c.v;
    add_cast(&c, OSP_DTYPE_FLOAT32);
    if (shifted)
        add(&c, "Sub", constant(&c, how->mean), OSP_NO_VALUE, NULL);
    add(&c, "Mul", constant(&c, scale), OSP_NO_VALUE, NULL);
    if (old.dtype != OSP_DTYPE_FLOAT32)
        add_cast(&c, old.dtype);
    const osp_transpose_attrs turn = {.perm = {4, {0, 3, 1, 2}}};
    add(&c, "Transpose", OSP_NO_VALUE, image, &turn);
    if (c.failed)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}
