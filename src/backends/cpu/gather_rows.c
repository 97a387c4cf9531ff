// Gather, GatherElements, GatherND and ScatterND on plain operands: pieces copied by index.
// Indices are data: each is checked, and the first one out of range is an error.
#include <stdatomic.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "ops/move.h"
#include "ops/view.h"

typedef struct job {
    const osp_problem *p;
    const char *src, *updates;
    const void *indices;
    char *dst;
    int32_t axis, depth, batch;
    int64_t length, count, per_batch, batch_size;
    int64_t strides[OSP_MAX_RANK];
    size_t piece, size;
    _Atomic int64_t wrong;  // an index out of range, plus 1; 0: none
    atomic_bool failed;
} job;

static const char *refuse(const osp_problem *p)
{
    return osp_refuse_not_plain(p);
}

// Index i of the indices, made positive; -1: out of range, and noted.
static int64_t index_at(job *j, size_t i, int64_t length)
{
    const int64_t given = osp_load_int(j->p->src[1].dtype, j->indices, i);
    const int64_t index = given < 0 ? given + length : given;
    if (index >= 0 && index < length)
        return index;
    atomic_store(&j->wrong, given);
    atomic_store(&j->failed, true);
    return -1;
}

static osp_status finish(const job *j, osp_error *err)
{
    if (!atomic_load(&j->failed))
        return OSP_OK;
    OSP_FAIL(err, OSP_ERROR_ARGUMENT, "%s: index %lld is out of range", j->p->op->type,
             (long long)atomic_load(&j->wrong));
}

static job start(const osp_problem *p, const osp_launch *l)
{
    job j = {.p = p, .src = l->src[0], .indices = l->src[1], .dst = l->dst[0]};
    j.size = osp_dtype_bytes(p->src->dtype);
    osp_shape_strides(&p->src->shape, j.strides);
    return j;
}

// ---- Gather -------------------------------------------------------------------------------------

static void gather_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    job *j = user;
    for (int64_t i = begin; i < end; i++) {
        const int64_t index = index_at(j, (size_t)(i % j->count), j->length);
        if (index >= 0)
            memcpy(j->dst + (size_t)i * j->piece,
                   j->src + (size_t)(i / j->count * j->length + index) * j->piece, j->piece);
    }
}

static osp_status launch_gather(const osp_problem *p, void *state, const osp_launch *l,
                                osp_error *err)
{
    (void)state;
    job j = start(p, l);
    const osp_shape *s = &p->src->shape;
    j.axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    j.length = s->dims[j.axis];
    j.count = osp_operand_count(p->src + 1);
    j.piece = (size_t)osp_shape_span(s, j.axis + 1, s->rank) * j.size;
    const int64_t items = osp_shape_span(s, 0, j.axis) * j.count;
    if (j.piece)
        osp_cpu_parallel(l->threads, items, 3 + (double)j.piece / 8, gather_range, &j);
    return finish(&j, err);
}

// ---- GatherElements -----------------------------------------------------------------------------

static void elements_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    job *j = user;
    const osp_shape *d = &j->p->dst->shape;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i, at = 0;
        for (int32_t k = d->rank - 1; k >= 0; k--) {
            if (k != j->axis)
                at += rest % d->dims[k] * j->strides[k];
            rest /= d->dims[k];
        }
        const int64_t index = index_at(j, (size_t)i, j->length);
        if (index >= 0)
            osp_copy_element(j->dst, (size_t)i, j->src, (size_t)(at + index * j->strides[j->axis]),
                             j->size);
    }
}

static osp_status launch_elements(const osp_problem *p, void *state, const osp_launch *l,
                                  osp_error *err)
{
    (void)state;
    job j = start(p, l);
    j.axis = ((const osp_axis_attrs *)p->attrs)->resolved_axis;
    j.length = p->src->shape.dims[j.axis];
    osp_cpu_parallel(l->threads, osp_operand_count(p->dst), 20, elements_range, &j);
    return finish(&j, err);
}

// ---- GatherND, ScatterND ------------------------------------------------------------------------

// Element offset that tuple t names, of the dims after the batch; -1: out of range.
static int64_t tuple_at(job *j, int64_t t)
{
    int64_t at = 0;
    for (int32_t d = 0; d < j->depth; d++) {
        const int64_t index = index_at(j, (size_t)(t * j->depth + d),
                                       j->p->src->shape.dims[j->batch + d]);
        if (index < 0)
            return -1;
        at += index * j->strides[j->batch + d];
    }
    return at;
}

static void nd_range(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    job *j = user;
    for (int64_t t = begin; t < end; t++) {
        const int64_t at = tuple_at(j, t);
        if (at >= 0)
            memcpy(j->dst + (size_t)t * j->piece,
                   j->src + (size_t)(t / j->per_batch * j->batch_size + at) * j->size, j->piece);
    }
}

static osp_status launch_nd(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)state;
    job j = start(p, l);
    const osp_shape *s = &p->src[0].shape, *i = &p->src[1].shape;
    j.batch = (int32_t)((const osp_gather_nd_attrs *)p->attrs)->batch_dims;
    j.depth = (int32_t)i->dims[i->rank - 1];
    j.per_batch = osp_shape_span(i, j.batch, i->rank - 1);
    j.batch_size = osp_shape_span(s, j.batch, s->rank);
    j.piece = (size_t)osp_shape_span(s, j.batch + j.depth, s->rank) * j.size;
    if (j.piece && j.per_batch)
        osp_cpu_parallel(l->threads, osp_shape_span(i, 0, i->rank - 1), 10 + (double)j.piece / 8,
                         nd_range, &j);
    return finish(&j, err);
}

static const char *refuse_scatter(const osp_problem *p)
{
    if (((const osp_scatter_attrs *)p->attrs)->reduction)
        return "with a reduction";
    return osp_refuse_not_plain(p);
}

// In order, on one thread: of two updates to a place the later one stays.
static osp_status launch_scatter(const osp_problem *p, void *state, const osp_launch *l,
                                 osp_error *err)
{
    (void)state;
    job j = start(p, l);
    const osp_shape *s = &p->src[0].shape, *i = &p->src[1].shape;
    const char *updates = l->src[2];
    const size_t bytes = (size_t)osp_operand_count(p->src) * j.size;
    j.depth = (int32_t)i->dims[i->rank - 1];
    j.piece = (size_t)osp_shape_span(s, j.depth, s->rank) * j.size;
    if (bytes)
        memcpy(j.dst, j.src, bytes);
    const int64_t tuples = osp_shape_span(i, 0, i->rank - 1);
    for (int64_t t = 0; t < tuples; t++) {
        const int64_t at = tuple_at(&j, t);
        if (at >= 0 && j.piece)
            memcpy(j.dst + (size_t)at * j.size, updates + (size_t)t * j.piece, j.piece);
    }
    return finish(&j, err);
}

const osp_tactic osp_cpu_gather = {.name = "pieces", .refuse = refuse, .launch = launch_gather};
const osp_tactic osp_cpu_gather_elements = {.name = "elements",
                                            .refuse = refuse,
                                            .launch = launch_elements};
const osp_tactic osp_cpu_gather_nd = {.name = "pieces", .refuse = refuse, .launch = launch_nd};
const osp_tactic osp_cpu_scatter_nd = {.name = "pieces",
                                       .refuse = refuse_scatter,
                                       .launch = launch_scatter};
