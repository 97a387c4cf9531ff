// Dims and strides as kernels walk them, and what all tactics of the backend share.
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/moves.h"

void osp_cuda_dims_add(osp_cuda_dims *d, int64_t dim, const int64_t *strides, int32_t operands)
{
    d->dims[d->rank] = dim;
    for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++)
        d->strides[k][d->rank] = k < operands ? strides[k] : 0;
    d->rank++;
}

static void drop(osp_cuda_dims *d, int32_t at)
{
    d->rank--;
    for (int32_t i = at; i < d->rank; i++) {
        d->dims[i] = d->dims[i + 1];
        for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++)
            d->strides[k][i] = d->strides[k][i + 1];
    }
}

static void swap(osp_cuda_dims *d, int32_t a, int32_t b)
{
    int64_t t = d->dims[a];
    d->dims[a] = d->dims[b];
    d->dims[b] = t;
    for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++) {
        t = d->strides[k][a];
        d->strides[k][a] = d->strides[k][b];
        d->strides[k][b] = t;
    }
}

static bool mergeable(const osp_cuda_dims *d, int32_t at)
{
    for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++)
        if (d->strides[k][at] != d->dims[at + 1] * d->strides[k][at + 1])
            return false;
    return true;
}

void osp_cuda_dims_settle(osp_cuda_dims *d, int32_t by)
{
    for (int32_t i = d->rank - 1; i >= 0; i--)
        if (d->dims[i] == 1)
            drop(d, i);
    for (int32_t i = 1; by >= 0 && i < d->rank; i++)
        for (int32_t k = i; k > 0 && d->strides[by][k - 1] < d->strides[by][k]; k--)
            swap(d, k - 1, k);
    for (int32_t i = d->rank - 2; i >= 0; i--)
        if (mergeable(d, i)) {
            d->dims[i + 1] *= d->dims[i];
            drop(d, i);
        }
    if (d->rank == 0)
        osp_cuda_dims_add(d, 1, (const int64_t[OSP_CUDA_OPERANDS]){0}, OSP_CUDA_OPERANDS);
}

osp_cuda_divisor osp_cuda_divisor_of(int64_t value)
{
    const uint64_t v = value > 0 ? (uint64_t)value : 1;
    uint32_t shift = 0;
    while ((uint64_t)1 << shift < v)
        shift++;
    const uint64_t mul = (((uint64_t)1 << 32) * (((uint64_t)1 << shift) - v)) / v + 1;
    return (osp_cuda_divisor){(uint32_t)v, (uint32_t)mul, shift};
}

void osp_cuda_walk_of(osp_cuda_walk *w, const osp_cuda_dims *d)
{
    *w = (osp_cuda_walk){.rank = d->rank};
    int64_t count = 1;
    for (int32_t i = 0; i < d->rank; i++) {
        count *= d->dims[i];
        w->dims[i] = osp_cuda_divisor_of(d->dims[i]);
        for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++)
            w->strides[k][i] = d->strides[k][i];
    }
    w->count = (uint32_t)count;
}

void osp_cuda_dims_of_rows(osp_cuda_dims *d, const osp_rows *rows)
{
    *d = (osp_cuda_dims){0};
    for (int32_t i = 0; i < rows->rank; i++) {
        const int64_t strides[] = {rows->dst[i], rows->src[0][i], rows->src[1][i], rows->src[2][i]};
        osp_cuda_dims_add(d, rows->dims[i], strides, 1 + rows->sources);
    }
}

static bool unit_fits(const osp_cuda_dims *d, uint32_t dense, uint32_t fixed, int64_t unit)
{
    const int32_t last = d->rank - 1;
    if (d->dims[last] % unit)
        return false;
    for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++) {
        if (fixed >> k & 1 && d->strides[k][last] != 0)
            return false;
        if (!(dense >> k & 1))
            continue;
        if (d->strides[k][last] != 1)
            return false;
        for (int32_t i = 0; i < last; i++)
            if (d->strides[k][i] % unit)
                return false;
    }
    return true;
}

int64_t osp_cuda_unit(const osp_cuda_dims *d, uint32_t dense, uint32_t fixed, size_t size)
{
    int64_t unit = 16 / (int64_t)size;
    while (unit > 1 && !unit_fits(d, dense, fixed, unit))
        unit /= 2;
    return unit;
}

void osp_cuda_dims_widen(osp_cuda_dims *d, uint32_t dense, int64_t unit)
{
    const int32_t last = d->rank - 1;
    d->dims[last] /= unit;
    for (int32_t k = 0; k < OSP_CUDA_OPERANDS; k++)
        for (int32_t i = 0; dense >> k & 1 && i < last; i++)
            d->strides[k][i] /= unit;
}

// ---- What tactics share -------------------------------------------------------------------------

const char *osp_cuda_refuse(const osp_problem *p)
{
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        const osp_operand *o = i < p->src_count ? p->src + i : p->dst + (i - p->src_count);
        size_t count;
        if (o->dtype && (!osp_shape_count(&o->shape, &count) || count > INT32_MAX))
            return "an operand has more than 2^31 elements";
    }
    return osp_refuse_slices(p);
}

bool osp_cuda_is_float(const osp_operand *o)
{
    return o->dtype == OSP_DTYPE_FLOAT32 || o->dtype == OSP_DTYPE_FLOAT16;
}

bool osp_cuda_map_of(const osp_operand *o, osp_gpu_map *out)
{
    int64_t s[OSP_MAX_RANK];
    if (!osp_operand_strides(o, s))
        return false;
    *out = (osp_gpu_map){.image = s[0], .pixel = s[3], .channel = s[1]};
    if (o->shape.dims[3] == 1)
        out->pixel = s[2];
    return o->shape.dims[2] <= 1 || s[2] == out->pixel * o->shape.dims[3];
}

osp_status osp_cuda_state(osp_context *ctx, size_t size, void **state, osp_error *err)
{
    *state = osp_mem_calloc(&ctx->mem, 1, size);
    if (!*state)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

void osp_cuda_release(osp_context *ctx, void *state)
{
    osp_mem_free(&ctx->mem, state);
}

osp_status osp_cuda_launch(const osp_launch *l, const osp_gpu_kernel *kernel,
                           const osp_gpu_shape *shape, const void *args, size_t bytes,
                           osp_error *err)
{
    osp_gpu_shape own = *shape;
    own.overlap = l->after_kernel && *l->after_kernel;
    OSP_TRY(osp_gpu_launch(l->gpu, kernel, &own, args, bytes, l->stream, err));
    if (l->after_kernel)
        *l->after_kernel = true;
    return OSP_OK;
}

osp_status osp_cuda_fill(const osp_launch *l, void *dst, int value, size_t bytes, osp_error *err)
{
    if (l->after_kernel)
        *l->after_kernel = false;
    return osp_gpu_fill(l->gpu, dst, value, bytes, l->stream, err);
}

osp_status osp_cuda_each(const osp_launch *l, const osp_gpu_kernel *kernel, uint64_t items,
                         uint32_t block, const void *args, size_t bytes, osp_error *err)
{
    if (!items)
        return OSP_OK;
    const osp_gpu_shape shape = {.grid = {(uint32_t)((items + block - 1) / block)},
                                 .block = {block}};
    return osp_cuda_launch(l, kernel, &shape, args, bytes, err);
}
