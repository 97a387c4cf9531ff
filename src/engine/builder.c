// Which dimensions of a model's inputs are batch, height and width, which inputs are fixed, and the
// sizes that they get.
#include "engine/builder.h"

#include <string.h>

#include "engine/engine.h"

// What a free dimension of an input stands for.
typedef enum role { ROLE_FIXED = 0, ROLE_BATCH, ROLE_HEIGHT, ROLE_WIDTH } role;

static const osp_tensor *fixed_tensor(const osp_builder *b, const char *name)
{
    for (int32_t i = 0; i < b->options->fixed_input_count; i++)
        if (b->options->fixed_inputs[i].name && !strcmp(b->options->fixed_inputs[i].name, name))
            return b->options->fixed_inputs + i;
    return NULL;
}

static const osp_value *input_value(const osp_builder *b, int32_t i)
{
    return b->model->graph.values + b->model->graph.inputs[i];
}

static osp_status check_fixed_inputs(const osp_builder *b, osp_error *err)
{
    for (int32_t f = 0; f < b->options->fixed_input_count; f++) {
        const osp_tensor *t = b->options->fixed_inputs + f;
        if (!t->name)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input %d has no name: name it", f);
        int32_t i = 0;
        while (i < b->model->graph.input_count && strcmp(input_value(b, i)->name, t->name))
            i++;
        if (i == b->model->graph.input_count)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input '%s': the model has no such input",
                     t->name);
        const osp_value *v = input_value(b, i);
        if (t->dtype != v->dtype)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input '%s' is %s, the model wants %s", t->name,
                     osp_dtype_name(t->dtype), osp_dtype_name(v->dtype));
        if (t->place == OSP_PLACE_DEVICE || t->rank < 0 || t->rank > OSP_MAX_RANK)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input '%s': give a host tensor of rank 0 to 8",
                     t->name);
    }
    for (int32_t i = 0; i < b->model->graph.input_count; i++) {
        const osp_value *v = input_value(b, i);
        if (b->model->input_fixes[i] && !fixed_tensor(b, v->name))
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "input '%s' determines shapes: give it as a fixed input (--fixed-input "
                     "%s=FILE)",
                     v->name, v->name);
    }
    return OSP_OK;
}

// The pixels: the first rank-4 float input whose channel dimension is fixed.
static int32_t find_image(const osp_builder *b)
{
    for (int32_t i = 0; i < b->model->graph.input_count; i++) {
        const osp_value *v = input_value(b, i);
        if (v->shape.rank == 4 && !fixed_tensor(b, v->name) && v->shape.dims[1] > 0 &&
            v->shape.dims[1] <= 4 &&
            (v->dtype == OSP_DTYPE_FLOAT32 || v->dtype == OSP_DTYPE_FLOAT16))
            return i;
    }
    return -1;
}

static role role_of(const osp_builder *b, int32_t input, int32_t d)
{
    static const role of_image[4] = {ROLE_BATCH, ROLE_FIXED, ROLE_HEIGHT, ROLE_WIDTH};
    const osp_value *v = input_value(b, input);
    if (v->shape.dims[d] >= 0)
        return ROLE_FIXED;
    if (input == b->image)
        return of_image[d];
    const char *name = v->dim_names ? v->dim_names[d] : NULL;
    const osp_value *image = b->image >= 0 ? input_value(b, b->image) : NULL;
    for (int32_t i = 0; name && image && image->dim_names && i < 4; i++)
        if (image->dim_names[i] && image->shape.dims[i] < 0 && !strcmp(image->dim_names[i], name))
            return of_image[i];
    return d == 0 ? ROLE_BATCH : ROLE_FIXED;
}

static osp_status check_inputs(osp_builder *b, osp_error *err)
{
    int32_t position = 0;
    for (int32_t i = 0; i < b->model->graph.input_count; i++) {
        const osp_value *v = input_value(b, i);
        if (fixed_tensor(b, v->name))
            continue;
        if (v->shape.rank < 0)
            OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                     "input '%s' has no shape: export the model with one", v->name);
        for (int32_t d = 0; d < v->shape.rank; d++) {
            role r = role_of(b, i, d);
            if (r == ROLE_FIXED && v->shape.dims[d] < 0)
                OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                         "input '%s' leaves dimension %d free, which is neither batch nor the size "
                         "of an image: export the model with it fixed",
                         v->name, d);
            if (r == ROLE_BATCH) {
                b->batch_free = true;
                if (position < 64 && d == 0)
                    b->batched_inputs |= UINT64_C(1) << position;
            }
        }
        position++;
    }
    return OSP_OK;
}

int32_t osp_default_batches(bool gpu, int32_t batches[8])
{
    static const int32_t all[] = {1, 2, 4};
    int32_t count = gpu ? 3 : 1;
    memcpy(batches, all, (size_t)count * sizeof *all);
    return count;
}

osp_status osp_builder_batches(osp_builder *b, bool gpu, osp_error *err)
{
    const int32_t *asked = b->options->batches;
    int32_t fixed = 0;
    if (!b->batch_free && b->image >= 0)
        fixed = (int32_t)osp_i64_min(input_value(b, b->image)->shape.dims[0], INT32_MAX);
    for (int i = 0; i < 8; i++) {
        if (!asked[i])
            continue;
        if (!b->batch_free && asked[i] != fixed)
            OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                     "the model fixes the batch at %d, not %d: export it with a free batch "
                     "(dynamic axis 0)",
                     fixed, asked[i]);
        // Insertion into a rising list without repeats.
        int32_t at = 0;
        while (at < b->batch_count && b->batches[at] < asked[i])
            at++;
        if (at < b->batch_count && b->batches[at] == asked[i])
            continue;
        memmove(b->batches + at + 1, b->batches + at,
                (size_t)(b->batch_count - at) * sizeof *b->batches);
        b->batches[at] = asked[i];
        b->batch_count++;
    }
    if (b->batch_count)
        return OSP_OK;
    if (b->batch_free)
        b->batch_count = osp_default_batches(gpu, b->batches);
    else
        b->batches[b->batch_count++] = fixed;
    return OSP_OK;
}

static osp_status choose_size(osp_builder *b, osp_error *err)
{
    const osp_engine_options *o = b->options;
    const int64_t *dims = b->image >= 0 ? input_value(b, b->image)->shape.dims : NULL;
    int64_t h = dims ? dims[2] : -1, w = dims ? dims[3] : -1;
    if (o->height && ((h >= 0 && h != o->height) || (w >= 0 && w != o->width)))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT,
                 "the model fixes its input at %lldx%lld, not %dx%d: export it for that size, or "
                 "with free height and width (dynamic axes 2 and 3)",
                 (long long)h, (long long)w, o->height, o->width);
    int32_t asked_h = o->height ? o->height : OSP_DEFAULT_SIZE;
    int32_t asked_w = o->width ? o->width : OSP_DEFAULT_SIZE;
    b->height = h >= 0 ? (int32_t)osp_i64_min(h, INT32_MAX) : asked_h;
    b->width = w >= 0 ? (int32_t)osp_i64_min(w, INT32_MAX) : asked_w;
    return OSP_OK;
}

// Turns a graph input into a constant and takes it off the list of inputs.
static osp_status fix_input(osp_graph *g, osp_vid v, const osp_tensor *t, osp_error *err)
{
    osp_shape shape = {.rank = t->rank};
    for (int32_t d = 0; d < t->rank; d++)
        shape.dims[d] = t->dims[d];
    const osp_shape *declared = &g->values[v].shape;
    bool fits = declared->rank < 0 || declared->rank == shape.rank;
    for (int32_t d = 0; fits && d < declared->rank; d++)
        fits = declared->dims[d] < 0 || declared->dims[d] == shape.dims[d];
    size_t bytes;
    if (!fits || !osp_shape_bytes(&shape, t->dtype, &bytes) || (bytes && !t->data))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input '%s' does not have the model's shape",
                 g->values[v].name);
    for (int32_t d = 0; d < t->rank; d++)
        if (t->byte_strides[d])
            OSP_FAIL(err, OSP_ERROR_ARGUMENT, "fixed input '%s' is strided: make it dense",
                     g->values[v].name);
    void *copy = osp_arena_alloc(&g->arena, bytes);
    if (!copy)
        OSP_FAIL_MEMORY(err);
    if (bytes)
        memcpy(copy, t->data, bytes);
    g->values[v].shape = shape;
    g->values[v].data = copy;
    int32_t kept = 0;
    for (int32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] != v)
            g->inputs[kept++] = g->inputs[i];
    g->input_count = kept;
    return OSP_OK;
}

osp_status osp_builder_size_inputs(const osp_builder *b, osp_graph *g, int32_t batch,
                                   osp_error *err)
{
    const osp_graph *whole = &b->model->graph;
    for (int32_t i = 0; i < whole->input_count; i++) {
        osp_value *v = g->values + whole->inputs[i];
        const osp_tensor *fixed = fixed_tensor(b, v->name);
        if (fixed) {
            OSP_TRY(fix_input(g, whole->inputs[i], fixed, err));
            continue;
        }
        for (int32_t d = 0; d < v->shape.rank; d++) {
            role r = role_of(b, i, d);
            if (r != ROLE_FIXED)
                v->shape.dims[d] = r == ROLE_BATCH    ? batch
                                   : r == ROLE_HEIGHT ? b->height
                                                      : b->width;
        }
    }
    if (b->pixels != OSP_PIXELS_UINT8)
        return OSP_OK;
    return osp_pixels_insert(g, whole->inputs[b->image], &b->options->image_input, err);
}

osp_status osp_builder_look(osp_builder *b, osp_error *err)
{
    OSP_TRY(check_fixed_inputs(b, err));
    b->image = find_image(b);
    OSP_TRY(check_inputs(b, err));
    return choose_size(b, err);
}
