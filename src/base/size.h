// Checked size arithmetic. Every count, offset and product that comes from a file passes here.
// All return false, and leave *out alone, when the result does not fit.
#ifndef OSP_BASE_SIZE_H
#define OSP_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool osp_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool osp_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool osp_i64_mul(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool osp_i64_add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool osp_i64_sub(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_sub_overflow(a, b, out);
}

// Rounds up to a multiple of `align`, a power of two.
static inline bool osp_size_align(size_t n, size_t align, size_t *out)
{
    size_t sum;
    if (!osp_size_add(n, align - 1, &sum))
        return false;
    *out = sum & ~(align - 1);
    return true;
}

static inline int64_t osp_i64_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t osp_i64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
