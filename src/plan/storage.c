// Slices are found in two rounds: first every value gets at most one wished parent (`link`), then
// wishes are granted from the roots down wherever the strides of the parent allow it.
#include "plan/storage.h"

#include <string.h>

#include "ops/move.h"

typedef struct link {
    osp_vid parent;  // OSP_NO_VALUE: none
    int64_t offset;  // elements, in the dense order of the parent
    int64_t row;     // elements of the child that are together in the parent; its size: one range
    int64_t pitch;   // elements of the parent (dense) from one such row to the next
} link;

typedef struct assign {
    const osp_graph *graph;
    const bool *dense;
    osp_storage *storage;
    link *links;
    bool *is_input, *is_output;
} assign;

static bool is_op(const osp_node *node, const char *type)
{
    return node->op && !node->domain[0] && !strcmp(node->type, type);
}

static bool is_reshape(const osp_node *node)
{
    return is_op(node, "Reshape") || is_op(node, "Flatten") || is_op(node, "Squeeze") ||
           is_op(node, "Unsqueeze") || is_op(node, "Identity");
}

// Shape in the order of memory.
static void memory_dims(const osp_value *value, int64_t dims[OSP_MAX_RANK])
{
    memcpy(dims, value->shape.dims, OSP_MAX_RANK * sizeof *dims);
    if (value->layout == OSP_LAYOUT_CHANNELS_LAST) {
        dims[1] = value->shape.dims[2];
        dims[2] = value->shape.dims[3];
        dims[3] = value->shape.dims[1];
    }
}

// A Transpose between N,C,H,W channels last and plain N,H,W,C: the same bytes.
static bool is_renaming(const osp_graph *graph, const osp_node *node)
{
    if (!is_op(node, "Transpose"))
        return false;
    const osp_value *src = graph->values + node->inputs[0], *dst = graph->values + node->outputs[0];
    const osp_transpose_attrs *a = node->attrs;
    const int32_t *p = a->resolved_perm;
    if (src->shape.rank != 4 || src->layout == dst->layout)
        return false;
    return src->layout == OSP_LAYOUT_CHANNELS_LAST
               ? p[0] == 0 && p[1] == 2 && p[2] == 3 && p[3] == 1
               : p[0] == 0 && p[1] == 3 && p[2] == 1 && p[3] == 2;
}

// The one dim, in memory order, in which child and parent differ; -1: none; -2: not a slice.
static int32_t sliced_dim(const osp_value *child, const osp_value *parent)
{
    if (child->shape.rank != parent->shape.rank || child->layout != parent->layout ||
        child->dtype != parent->dtype)
        return -2;
    int64_t a[OSP_MAX_RANK], b[OSP_MAX_RANK];
    memory_dims(child, a);
    memory_dims(parent, b);
    int32_t at = -1;
    for (int32_t d = 0; d < child->shape.rank; d++) {
        if (a[d] == b[d])
            continue;
        if (at >= 0)
            return -2;
        at = d;
    }
    return at;
}

static int64_t value_count(const osp_value *value)
{
    return osp_shape_span(&value->shape, 0, value->shape.rank);
}

// `child` as the part of `parent` that begins at index `start` of the dim in which they differ.
static bool slice_link(const osp_graph *graph, osp_vid child, osp_vid parent, int32_t axis,
                       int64_t start, link *out)
{
    const osp_value *c = graph->values + child, *p = graph->values + parent;
    const int32_t at = sliced_dim(c, p);
    if (at == -2)
        return false;
    const int64_t count = value_count(c);
    if (at == -1) {
        *out = (link){parent, 0, count, count};
        return start == 0;
    }
    const int32_t memory_axis = p->layout == OSP_LAYOUT_PLAIN ? axis
                                : axis == 1                   ? 3
                                : axis == 0                   ? 0
                                                              : axis - 1;
    if (at != memory_axis)
        return false;
    int64_t a[OSP_MAX_RANK], b[OSP_MAX_RANK];
    memory_dims(c, a);
    memory_dims(p, b);
    int64_t inner = 1, outer = 1;
    for (int32_t d = 0; d < at; d++)
        outer *= a[d];
    for (int32_t d = at + 1; d < c->shape.rank; d++)
        inner *= a[d];
    *out = (link){parent, start * inner, a[at] * inner, b[at] * inner};
    if (outer == 1)
        out->pitch = out->row = count;
    return true;
}

// May v get a parent that it is written into?
static bool may_move(const assign *a, osp_vid v)
{
    return !a->graph->values[v].data && !a->is_input[v] && !a->is_output[v] &&
           a->links[v].parent == OSP_NO_VALUE;
}

// v, or the value whose whole buffer v is a reshape of.
static osp_vid whole_root(const assign *a, osp_vid v)
{
    const int64_t count = value_count(a->graph->values + v);
    while (a->links[v].parent != OSP_NO_VALUE &&
           value_count(a->graph->values + a->links[v].parent) == count)
        v = a->links[v].parent;
    return v;
}

static void link_concat(assign *a, const osp_node *node, int32_t axis)
{
    const osp_vid dst = node->outputs[0];
    int64_t start = 0;
    for (int32_t i = 0; i < node->input_count; i++) {
        const osp_vid src = node->inputs[i];
        const osp_vid root = whole_root(a, src);
        link wish;
        if (may_move(a, root) && root != dst && slice_link(a->graph, src, dst, axis, start, &wish))
            a->links[root] = wish;
        start += a->graph->values[src].shape.dims[axis];
    }
}

static void link_parts(assign *a, const osp_node *node, int32_t axis, int64_t start)
{
    const osp_vid src = node->inputs[0];
    if (a->graph->values[src].data)
        return;
    for (int32_t i = 0; i < node->output_count; i++) {
        const osp_vid dst = node->outputs[i];
        if (dst == OSP_NO_VALUE)
            continue;
        link wish;
        if (may_move(a, dst) && slice_link(a->graph, dst, src, axis, start, &wish))
            a->links[dst] = wish;
        start += a->graph->values[dst].shape.dims[axis];
    }
}

static void link_reshape(assign *a, const osp_node *node)
{
    const osp_vid src = node->inputs[0], dst = node->outputs[0];
    const osp_value *s = a->graph->values + src, *d = a->graph->values + dst;
    const bool plain = s->layout == OSP_LAYOUT_PLAIN && d->layout == OSP_LAYOUT_PLAIN;
    if (s->data || s->dtype != d->dtype || (!plain && !is_renaming(a->graph, node)))
        return;
    const int64_t count = value_count(d);
    if (may_move(a, dst))
        a->links[dst] = (link){src, 0, count, count};
    else if (a->is_output[dst] && may_move(a, whole_root(a, src)))
        a->links[whole_root(a, src)] = (link){dst, 0, count, count};
}

// The axis and start of a Slice that takes one contiguous run of one axis; false: not such a one.
// Found from the shapes and the constant starts, which infer has checked.
static bool slice_run(const osp_graph *graph, const osp_node *node, int32_t *axis, int64_t *start)
{
    const osp_value *src = graph->values + node->inputs[0], *dst = graph->values + node->outputs[0];
    int32_t at = -1;
    for (int32_t d = 0; d < src->shape.rank; d++) {
        if (src->shape.dims[d] == dst->shape.dims[d])
            continue;
        if (at >= 0)
            return false;
        at = d;
    }
    const osp_slice_attrs *attrs = node->attrs;
    if (at < 0 || attrs->step[at] != 1)
        return false;
    *start = attrs->start[at];
    *axis = at;
    return true;
}

static void make_links(assign *a)
{
    const osp_graph *g = a->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const osp_node *node = g->nodes + i;
        int32_t axis;
        int64_t start;
        if (is_op(node, "Concat"))
            link_concat(a, node, ((const osp_axis_attrs *)node->attrs)->resolved_axis);
        else if (is_op(node, "Split"))
            link_parts(a, node, ((const osp_split_attrs *)node->attrs)->resolved_axis, 0);
        else if (is_op(node, "Slice") && slice_run(g, node, &axis, &start))
            link_parts(a, node, axis, start);
        else if (is_reshape(node) || is_renaming(g, node))
            link_reshape(a, node);
    }
}

// Gives v the place that its wish asks for inside its parent, whose own place is known; false: the
// parent's strides do not allow it.
static bool grant(const assign *a, osp_vid v)
{
    const link *wish = a->links + v;
    const osp_storage *p = a->storage + wish->parent;
    const int64_t count = value_count(a->graph->values + v);
    int64_t row = wish->row, pitch = wish->pitch, offset = wish->offset;
    if (p->row != p->pitch) {  // a child of a slice
        const int64_t parent_row =
            pitch;  // of the parent's elements: what the child's row is cut from
        if (row == pitch && count == value_count(a->graph->values + wish->parent))
            row = p->row, pitch = p->pitch, offset = 0;  // all of it, in another shape
        else if (row != pitch && parent_row == p->row)
            pitch = p->pitch;
        else
            return false;
    }
    if (row != pitch && a->dense[v])
        return false;
    if (a->graph->values[v].layout == OSP_LAYOUT_CHANNELS_LAST) {
        const int64_t pixel = a->graph->values[v].shape.dims[1];
        if (row == pitch)
            row = pitch = pixel;
        else if (row != pixel)  // whole images apart: no pitch of pixels says that
            return false;
    }
    const size_t bytes = osp_dtype_bytes(a->graph->values[v].dtype);
    const size_t begin = p->offset_bytes + (size_t)offset * bytes;
    // Kernels see whole 16 bytes in channels and pitch, and move as many at a time from there on.
    if (a->graph->values[v].layout == OSP_LAYOUT_CHANNELS_LAST && begin % 16 &&
        (size_t)row * bytes % 16 == 0 && (size_t)pitch * bytes % 16 == 0)
        return false;
    a->storage[v] = (osp_storage){
        .root = p->root, .offset_bytes = begin, .row = row, .pitch = pitch};
    return true;
}

static osp_status own(const assign *a, osp_vid v, osp_error *err)
{
    const osp_value *value = a->graph->values + v;
    size_t bytes;
    if (!osp_shape_bytes(&value->shape, value->dtype, &bytes))
        OSP_FAIL(err, OSP_ERROR_LIMIT, "value '%s' is too large", value->name);
    int64_t row = value_count(value);
    if (value->layout == OSP_LAYOUT_CHANNELS_LAST)
        row = value->shape.dims[1];
    a->storage[v] = (osp_storage){.root = v, .row = row, .pitch = row, .buffer_bytes = bytes};
    return OSP_OK;
}

// Places v after its chain of parents. `stack` has room for every value.
static osp_status place(const assign *a, osp_vid v, osp_vid *stack, osp_error *err)
{
    size_t depth = 0;
    for (; v != OSP_NO_VALUE && a->storage[v].root == OSP_NO_VALUE; v = a->links[v].parent)
        stack[depth++] = v;
    while (depth) {
        v = stack[--depth];
        if (a->links[v].parent == OSP_NO_VALUE || !grant(a, v))
            OSP_TRY(own(a, v, err));
    }
    return OSP_OK;
}

static osp_status assign_all(assign *a, bool alias, osp_vid *stack, osp_error *err)
{
    const osp_graph *g = a->graph;
    for (int32_t i = 0; i < g->input_count; i++)
        a->is_input[g->inputs[i]] = true;
    for (int32_t i = 0; i < g->output_count; i++)
        a->is_output[g->outputs[i]] = true;
    for (size_t v = 0; v < g->value_count; v++) {
        a->links[v].parent = OSP_NO_VALUE;
        a->storage[v] = (osp_storage){.root = OSP_NO_VALUE};
    }
    if (alias)
        make_links(a);
    for (int32_t i = 0; i < g->input_count; i++)
        OSP_TRY(place(a, g->inputs[i], stack, err));
    for (size_t i = 0; i < g->node_count; i++)
        for (int32_t k = 0; k < g->nodes[i].output_count; k++)
            if (g->nodes[i].outputs[k] != OSP_NO_VALUE)
                OSP_TRY(place(a, g->nodes[i].outputs[k], stack, err));
    return OSP_OK;
}

osp_status osp_storage_assign(const osp_graph *graph, const bool *dense, bool alias,
                              osp_storage *storage, osp_error *err)
{
    osp_mem *mem = &graph->ctx->mem;
    const size_t count = graph->value_count;
    assign a = {.graph = graph, .dense = dense, .storage = storage};
    a.links = osp_mem_calloc(mem, count, sizeof *a.links);
    a.is_input = osp_mem_calloc(mem, count, sizeof *a.is_input);
    a.is_output = osp_mem_calloc(mem, count, sizeof *a.is_output);
    osp_vid *stack = osp_mem_calloc(mem, count, sizeof *stack);
    osp_status status = a.links && a.is_input && a.is_output && stack
                            ? assign_all(&a, alias, stack, err)
                            : osp_error_set(err, OSP_ERROR_MEMORY, "out of memory");
    osp_mem_free(mem, a.links);
    osp_mem_free(mem, a.is_input);
    osp_mem_free(mem, a.is_output);
    osp_mem_free(mem, stack);
    return status;
}

// Where element `offset` of the dense order of v lies, for rows that begin there.
static size_t element_at(const osp_graph *graph, const osp_storage *s, osp_vid v, int64_t offset)
{
    const int64_t at = offset / s[v].row * s[v].pitch + offset % s[v].row;
    return s[v].offset_bytes + (size_t)at * osp_dtype_bytes(graph->values[v].dtype);
}

// Does `child` lie exactly where slice_link says it belongs in `parent`?
static bool in_place(const osp_graph *graph, const osp_storage *s, osp_vid child, osp_vid parent,
                     const link *l)
{
    const osp_storage *c = s + child, *p = s + parent;
    if (c->root == OSP_NO_VALUE || c->root != p->root ||
        c->offset_bytes != element_at(graph, s, parent, l->offset))
        return false;
    const int64_t count = value_count(graph->values + child);
    if (l->row == l->pitch)  // one range of the parent's elements
        return (c->row == c->pitch && p->row == p->pitch) ||
               (count == value_count(graph->values + parent) && c->row == p->row &&
                c->pitch == p->pitch);
    return c->row == l->row && c->pitch == (p->row == p->pitch ? l->pitch : p->pitch);
}

bool osp_storage_free_node(const osp_graph *graph, const osp_node *node, const osp_storage *storage)
{
    int32_t axis = 0;
    int64_t start = 0;
    if (is_op(node, "Concat")) {
        axis = ((const osp_axis_attrs *)node->attrs)->resolved_axis;
        for (int32_t i = 0; i < node->input_count; i++) {
            link l;
            const osp_vid src = node->inputs[i];
            if (!slice_link(graph, src, node->outputs[0], axis, start, &l) ||
                !in_place(graph, storage, src, node->outputs[0], &l))
                return false;
            start += graph->values[src].shape.dims[axis];
        }
        return true;
    }
    if (is_reshape(node) || is_renaming(graph, node)) {
        const int64_t count = value_count(graph->values + node->outputs[0]);
        const link l = {node->inputs[0], 0, count, count};
        return in_place(graph, storage, node->outputs[0], node->inputs[0], &l);
    }
    if (is_op(node, "Split"))
        axis = ((const osp_split_attrs *)node->attrs)->resolved_axis;
    else if (!is_op(node, "Slice") || !slice_run(graph, node, &axis, &start))
        return false;
    for (int32_t i = 0; i < node->output_count; i++) {
        const osp_vid dst = node->outputs[i];
        link l;
        if (dst == OSP_NO_VALUE)
            continue;
        if (!slice_link(graph, dst, node->inputs[0], axis, start, &l) ||
            !in_place(graph, storage, dst, node->inputs[0], &l))
            return false;
        start += graph->values[dst].shape.dims[axis];
    }
    return true;
}
