// Boxes and scores from a detector's maps: the arithmetic of osprey.BoxHead. One copy, so that the
// operator (backends/cuda/boxes.cu) and the scan that takes its place (gpu_boxes_maps.cu) give the
// same bits. Thread rule: device functions without state.
#pragma once
#include "gpu/gpu_float.cuh"
#include "gpu/gpu_types.h"

namespace osp {

// float32 results of float32 logits are exact, those of FP16 logits need not be.
template <typename T> constexpr bool FAST = sizeof(T) == 2;

template <typename T> __device__ __forceinline__ float power(float x)
{
    return FAST<T> ? __expf(x) : expf(x);
}

template <typename T> __device__ __forceinline__ float score_of(float logit)
{
    return over_sigmoid<FAST<T>>(logit, 1.0f);
}

// N neighbours in 16-byte loads.
template <typename T, int N> __device__ __forceinline__ void load_wide(float (&out)[N], const T *from)
{
    constexpr int V = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N / V; i++) {
        const Vector<T, V> v = *(const Vector<T, V> *)(from + i * V);
#pragma unroll
        for (int k = 0; k < V; k++)
            out[i * V + k] = as_float(v.v[k]);
    }
}

template <typename T>
__device__ __forceinline__ float expectation_of(const T *src, int64_t step, int count,
                                                const float *weights)
{
    float most = -INFINITY, total = 0, sum = 0;
    for (int k = 0; k < count; k++)
        most = fmaxf(most, as_float(src[k * step]));
    for (int k = 0; k < count; k++) {
        const float p = power<T>(as_float(src[k * step]) - most);
        total += p;
        sum = fmaf(p, weights[k], sum);
    }
    return sum / total;
}

// How far a pixel's side (left, upper, right, lower) is from its place. `sides`: of the pixel.
template <typename T>
__device__ __forceinline__ float distance(const osp_head_maps &m, const osp_gpu_map &map,
                                          const T *sides, int side)
{
    const T *from = sides + side * m.bins * map.channel;
    if (!m.weights)
        return as_float(*from);
    if (!m.wide_sides)
        return expectation_of(from, map.channel, m.bins, m.weights);
    float x[OSP_HEAD_BINS];
    load_wide(x, from);
    float most = x[0], total = 0, sum = 0;
#pragma unroll
    for (int k = 1; k < OSP_HEAD_BINS; k++)
        most = fmaxf(most, x[k]);
#pragma unroll
    for (int k = 0; k < OSP_HEAD_BINS; k++) {
        const float e = power<T>(x[k] - most);
        total += e;
        sum = fmaf(e, m.weights[k], sum);
    }
    return sum / total;
}

// Where two opposite sides of a box lie, and what its centre and size are.
struct Span {
    float low, high;
};

__device__ __forceinline__ Span span_of(float place, float before, float behind)
{
    return {place - before, place + behind};
}

__device__ __forceinline__ float centre_of(const Span &s, float stride)
{
    return (s.low + s.high) * 0.5f * stride;
}

__device__ __forceinline__ float size_of(const Span &s, float stride)
{
    return (s.high - s.low) * stride;
}

// The element of a map for pixel `pixel` of image `image`, channel 0.
template <typename T>
__device__ __forceinline__ const T *pixel_of(const osp_gpu_map &map, int image, int pixel)
{
    return (const T *)map.data + image * map.image + pixel * map.pixel;
}

}  // namespace osp
