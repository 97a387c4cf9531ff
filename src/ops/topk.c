// TopK: the k largest or smallest of an axis, best first; of equals the lower index comes first,
// and NaN counts as the largest. Always sorted, which `sorted` = 0 allows too.
//
// The outputs themselves hold a heap of the best k so far, its root the worst of them; sorting the
// heap in place leaves the best in front. Thread rule: no state.
#include "ops/move.h"
#include "ops/view.h"

static osp_status infer(osp_infer *in, osp_error *err)
{
    osp_topk_attrs *attrs = in->attrs;
    const char *type = in->op->type;
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_NUMBER, err));
    OSP_TRY(osp_infer_rank(in, 0, 1, OSP_MAX_RANK, err));
    const osp_shape *src = &in->inputs[0]->shape;
    int32_t axis, count = 1;
    if (!osp_shape_axis(attrs->axis, src->rank, &axis))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: axis %lld is out of range for %d dimensions", type,
                 (long long)attrs->axis, src->rank);
    if (attrs->largest < 0 || attrs->largest > 1 || attrs->sorted < 0 || attrs->sorted > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "%s: largest and sorted must be 0 or 1", type);
    int64_t k = attrs->k;
    if (osp_infer_input(in, 1))
        OSP_TRY(osp_infer_ints(in, 1, &k, 1, &count, err));
    if (count != 1 || k < 0 || k > src->dims[axis])
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "%s: k must be one number from 0 to %lld, the size of axis %d; it is %lld", type,
                 (long long)src->dims[axis], axis, (long long)k);
    attrs->resolved_axis = axis;
    in->outputs[0] = (osp_type){in->inputs[0]->dtype, *src};
    in->outputs[0].shape.dims[axis] = k;
    in->outputs[1] = (osp_type){OSP_DTYPE_INT64, in->outputs[0].shape};
    return OSP_OK;
}

typedef struct heap {
    osp_dtype dtype;
    bool largest;
    const void *src;
    int64_t *index;  // of the outputs; NULL: not wanted, and then values are the heap
    void *values;
    size_t src_at, dst_at, stride, size;  // element i of the line: src_at + i * stride
} heap;

// An integer that orders like the element; a better element has the larger one.
static int64_t key_of(const heap *h, const void *data, size_t i)
{
    int64_t key;
    if (osp_dtype_is_float(h->dtype)) {
        float x = osp_load_float(h->dtype, data, i) + 0.0f;  // -0 becomes 0
        uint32_t bits = osp_float_bits(x), magnitude = bits & 0x7FFFFFFF;
        key = x != x ? INT64_MAX : bits >> 31 ? -(int64_t)magnitude : (int64_t)magnitude;
    } else {
        key = osp_load_int(h->dtype, data, i);
    }
    return h->largest ? key : ~key;
}

static size_t slot(const heap *h, int64_t s)
{
    return h->dst_at + (size_t)s * h->stride;
}

static int64_t slot_key(const heap *h, int64_t s)
{
    return h->index ? key_of(h, h->src, h->src_at + (size_t)h->index[slot(h, s)] * h->stride)
                    : key_of(h, h->values, slot(h, s));
}

// Whether slot a holds something worse than slot b.
static bool worse(const heap *h, int64_t a, int64_t b)
{
    int64_t ka = slot_key(h, a), kb = slot_key(h, b);
    return ka != kb ? ka < kb : h->index && h->index[slot(h, a)] > h->index[slot(h, b)];
}

static void put(heap *h, int64_t s, int64_t i)
{
    if (h->index)
        h->index[slot(h, s)] = i;
    else
        osp_copy_element(h->values, slot(h, s), h->src, h->src_at + (size_t)i * h->stride, h->size);
}

static void swap(heap *h, int64_t a, int64_t b)
{
    if (h->index) {
        int64_t t = h->index[slot(h, a)];
        h->index[slot(h, a)] = h->index[slot(h, b)];
        h->index[slot(h, b)] = t;
    } else {
        uint8_t t[8];
        memcpy(t, (char *)h->values + slot(h, a) * h->size, h->size);
        osp_copy_element(h->values, slot(h, a), h->values, slot(h, b), h->size);
        memcpy((char *)h->values + slot(h, b) * h->size, t, h->size);
    }
}

static void sift_down(heap *h, int64_t s, int64_t count)
{
    for (int64_t child; (child = 2 * s + 1) < count; s = child) {
        if (child + 1 < count && worse(h, child + 1, child))
            child++;
        if (!worse(h, child, s))
            return;
        swap(h, s, child);
    }
}

static void select_line(heap *h, int64_t length, int64_t k)
{
    for (int64_t i = 0; i < k; i++)
        put(h, i, i);
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sift_down(h, i, k);
    int64_t worst = slot_key(h, 0);
    for (int64_t i = k; i < length; i++) {
        // A later equal is no better: its index is higher.
        if (key_of(h, h->src, h->src_at + (size_t)i * h->stride) <= worst)
            continue;
        put(h, 0, i);
        sift_down(h, 0, k);
        worst = slot_key(h, 0);
    }
    for (int64_t i = k - 1; i > 0; i--) {
        swap(h, 0, i);
        sift_down(h, 0, i);
    }
}

static osp_status reference(const osp_call *call, osp_error *err)
{
    (void)err;
    const osp_topk_attrs *attrs = call->attrs;
    const osp_view *src = &call->inputs[0], *values = osp_call_output(call, 0),
                   *indices = osp_call_output(call, 1);
    const osp_view *dst = values ? values : indices;
    if (!dst || osp_view_count(dst) == 0)
        return OSP_OK;
    int32_t axis = attrs->resolved_axis;
    int64_t length = src->shape.dims[axis], k = dst->shape.dims[axis];
    size_t outer = (size_t)osp_shape_span(&src->shape, 0, axis);
    size_t inner = (size_t)osp_shape_span(&src->shape, axis + 1, src->shape.rank);
    heap h = {.dtype = src->dtype,
              .largest = attrs->largest != 0,
              .src = src->data,
              .index = indices ? indices->data : NULL,
              .values = values ? values->data : NULL,
              .stride = inner,
              .size = osp_dtype_bytes(src->dtype)};
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            h.src_at = o * (size_t)length * inner + i;
            h.dst_at = o * (size_t)k * inner + i;
            select_line(&h, length, k);
            for (int64_t s = 0; h.index && h.values && s < k; s++)
                osp_copy_element(h.values, slot(&h, s), h.src,
                                 h.src_at + (size_t)h.index[slot(&h, s)] * inner, h.size);
        }
    return OSP_OK;
}

static const osp_attr_row rows[] = {
    {"axis", OSP_ATTR_INT, offsetof(osp_topk_attrs, axis), 0, NULL, 0, 0},
    {"k", OSP_ATTR_INT, offsetof(osp_topk_attrs, k), 0, NULL, 0, 9},
    {"largest", OSP_ATTR_INT, offsetof(osp_topk_attrs, largest), 0, NULL, 11, 0},
    {"sorted", OSP_ATTR_INT, offsetof(osp_topk_attrs, sorted), 0, NULL, 11, 0},
    {0},
};
static const osp_topk_attrs defaults = {.axis = -1, .largest = 1, .sorted = 1, .k = -1};

const osp_op osp_op_top_k = {
    .type = "TopK",
    .domain = "",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 2,
    .shape_inputs = 1u << 1,
    .attrs_size = sizeof(osp_topk_attrs),
    .attr_table = rows,
    .defaults = &defaults,
    .infer = infer,
    .reference = reference,
};
