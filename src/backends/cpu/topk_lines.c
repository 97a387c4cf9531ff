// TopK of FP32 and int64 lines: keys that order like the elements, a heap of the best k, then that
// sorted. Of equals the lower index comes first; NaN counts as the largest.
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "ops/move.h"
#include "ops/view.h"

typedef struct entry {
    int64_t key, index;
} entry;

typedef struct topk {
    int64_t outer, length, inner, k;
    bool largest;
    osp_dtype dtype;
} topk;

static const char *refuse(const osp_problem *p)
{
    const osp_dtype t = p->src->dtype;
    if (t != OSP_DTYPE_FLOAT32 && t != OSP_DTYPE_INT64 && t != OSP_DTYPE_INT32)
        return "no keys for this type";
    return osp_refuse_not_plain(p);
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    const osp_topk_attrs *a = p->attrs;
    const osp_shape *s = &p->src->shape;
    topk *t = osp_mem_calloc(&ctx->mem, 1, sizeof *t);
    if (!t)
        OSP_FAIL_MEMORY(err);
    const int32_t axis = a->resolved_axis;
    *t = (topk){.outer = osp_shape_span(s, 0, axis),
                .length = s->dims[axis],
                .inner = osp_shape_span(s, axis + 1, s->rank),
                .k = p->dst[p->dst[0].dtype ? 0 : 1].shape.dims[axis],
                .largest = a->largest != 0,
                .dtype = p->src->dtype};
    sizes->workspace_bytes = (size_t)t->k * sizeof(entry) * (size_t)threads;
    *state = t;
    return OSP_OK;
}

static int64_t key_of(const topk *t, const void *src, size_t i)
{
    int64_t key;
    if (t->dtype == OSP_DTYPE_FLOAT32) {
        const float x = ((const float *)src)[i] + 0.0f;  // -0 becomes 0
        const uint32_t bits = osp_float_bits(x);
        const int64_t magnitude = bits & 0x7FFFFFFF;
        key = x != x ? INT64_MAX : bits >> 31 ? -magnitude : magnitude;
    } else {
        key = osp_load_int(t->dtype, src, i);
    }
    return t->largest ? key : ~key;
}

static bool worse(const entry *a, const entry *b)
{
    return a->key != b->key ? a->key < b->key : a->index > b->index;
}

static void sift_down(entry *heap, int64_t at, int64_t count)
{
    const entry moved = heap[at];
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && worse(heap + child + 1, heap + child))
            child++;
        if (!worse(heap + child, &moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

// The best k of a line, best first.
static void select_line(const topk *t, const void *src, size_t first, entry *heap)
{
    const size_t step = (size_t)t->inner;
    for (int64_t i = 0; i < t->k; i++)
        heap[i] = (entry){key_of(t, src, first + (size_t)i * step), i};
    for (int64_t i = t->k / 2 - 1; i >= 0; i--)
        sift_down(heap, i, t->k);
    for (int64_t i = t->k; i < t->length; i++) {
        const int64_t key = key_of(t, src, first + (size_t)i * step);
        if (key <= heap[0].key)  // a later equal is no better
            continue;
        heap[0] = (entry){key, i};
        sift_down(heap, 0, t->k);
    }
    for (int64_t i = t->k - 1; i > 0; i--) {
        const entry best = heap[0];
        heap[0] = heap[i];
        heap[i] = best;
        sift_down(heap, 0, i);
    }
}

typedef struct job {
    const topk *t;
    const void *src;
    void *values;
    int64_t *indices;
    entry *heaps;
} job;

static void run_lines(void *user, int32_t thread, int64_t begin, int64_t end)
{
    const job *j = user;
    const topk *t = j->t;
    entry *heap = j->heaps + thread * t->k;
    const size_t size = osp_dtype_bytes(t->dtype);
    for (int64_t line = begin; line < end; line++) {
        const int64_t outer = line / t->inner, inner = line % t->inner;
        const size_t from = (size_t)(outer * t->length * t->inner + inner);
        const size_t to = (size_t)(outer * t->k * t->inner + inner);
        select_line(t, j->src, from, heap);
        for (int64_t i = 0; i < t->k; i++) {
            const size_t at = to + (size_t)(i * t->inner);
            if (j->indices)
                j->indices[at] = heap[i].index;
            if (j->values)
                osp_copy_element(j->values, at, j->src, from + (size_t)(heap[i].index * t->inner),
                                 size);
        }
    }
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)err;
    const topk *t = state;
    job j = {t, l->src[0], l->dst[0], p->dst_count > 1 ? l->dst[1] : NULL, l->workspace};
    if (t->k > 0)
        osp_cpu_parallel(l->threads, t->outer * t->inner, (double)t->length * 3, run_lines, &j);
    return OSP_OK;
}

static void release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

const osp_tactic osp_cpu_topk = {.name = "heap_lines",
                                 .refuse = refuse,
                                 .prepare = prepare,
                                 .launch = launch,
                                 .release = release};
