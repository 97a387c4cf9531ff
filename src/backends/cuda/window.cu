// Pools: a thread makes one element, or neighbouring channels of a pixel in one vector.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

// The taps [from, to) of a window that lie inside the source.
struct Span {
    int start, from, to;
};

__device__ __forceinline__ Span span_of(const osp_cuda_window &w, int o)
{
    Span s = {o * w.stride - w.pad, 0, 0};
    if (s.start < 0)
        s.from = (-s.start + w.dilation - 1) / w.dilation;
    if (s.start < w.in)
        s.to = min(w.size, (w.in - 1 - s.start) / w.dilation + 1);
    s.to = max(s.to, s.from);
    return s;
}

__device__ __forceinline__ float divisor_of(const osp_cuda_window &w, const Span &s, bool padded)
{
    return (float)(padded ? min(w.size, (w.end - 1 - s.start) / w.dilation + 1) : s.to - s.from);
}

struct Byte {
    uint8_t v;
};

template <typename T> __device__ float number(T x, int)
{
    return as_float(x);
}
template <> __device__ __forceinline__ float number<Byte>(Byte x, int dtype)
{
    return dtype == OSP_DTYPE_INT8 ? (float)(int8_t)x.v : (float)x.v;
}

template <typename T> __device__ T element(float x);
template <> __device__ __forceinline__ float element<float>(float x)
{
    return x;
}
template <> __device__ __forceinline__ __half element<__half>(float x)
{
    return __float2half_rn(x);
}
template <> __device__ __forceinline__ Byte element<Byte>(float x)
{
    return {(uint8_t)(int)x};
}

template <typename T> __device__ float lowest(int dtype);
template <> __device__ __forceinline__ float lowest<float>(int)
{
    return -3.402823466e+38f;
}
template <> __device__ __forceinline__ float lowest<__half>(int)
{
    return -65504.0f;
}
template <> __device__ __forceinline__ float lowest<Byte>(int dtype)
{
    return dtype == OSP_DTYPE_INT8 ? -128.0f : 0.0f;
}

// The place of a pixel as the output of indices counts it.
__device__ int64_t index_of(const osp_cuda_pool_args &p, int64_t plane, int64_t offset)
{
    const int64_t width = p.window[2].in, height = p.window[1].in, depth = p.window[0].in;
    plane *= width * height * depth;
    if (!p.column_major || offset < 0)
        return plane + offset;
    const int64_t x = offset % width, y = offset / width % height, z = offset / width / height;
    return plane + (x * height + y) * depth + z;
}

template <typename T, int V>
__global__ void __launch_bounds__(256) pool(const __grid_constant__ osp_cuda_pool_args args)
{
    follow();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.count)
        return;
    int at[OSP_WINDOW_DIMS];
    int64_t to = 0, from = 0, index_at = 0;
    for (int d = OSP_WINDOW_DIMS - 1; d >= 0; d--) {
        const uint32_t q = divide(i, args.dims[d]), r = i - q * args.dims[d].value;
        const int role = args.role[d];
#pragma unroll
        for (int k = 0; k < OSP_WINDOW_DIMS; k++)
            if (k == role)
                at[k] = (int)r * (k == OSP_DIM_C ? V : 1);
        i = q;
    }
#pragma unroll
    for (int k = 0; k < OSP_WINDOW_DIMS; k++) {
        to += at[k] * args.dst_step[k];
        index_at += at[k] * args.index_step[k];
    }
    from = at[OSP_DIM_N] * args.src_step[OSP_DIM_N] + at[OSP_DIM_C] * args.src_step[OSP_DIM_C];
    const Span sz = span_of(args.window[0], at[OSP_DIM_Z]);
    const Span sy = span_of(args.window[1], at[OSP_DIM_Y]);
    const Span sx = span_of(args.window[2], at[OSP_DIM_X]);
    const bool max = args.kind == OSP_POOL_MAX;
    float y[V];
    int64_t best = -1;
#pragma unroll
    for (int v = 0; v < V; v++)
        y[v] = max ? lowest<T>(args.dtype) : 0;
    for (int kz = sz.from; kz < sz.to; kz++)
        for (int ky = sy.from; ky < sy.to; ky++)
            for (int kx = sx.from; kx < sx.to; kx++) {
                const int z = sz.start + kz * args.window[0].dilation;
                const int row = sy.start + ky * args.window[1].dilation;
                const int x = sx.start + kx * args.window[2].dilation;
                const Vector<T, V> in = *(const Vector<T, V> *)((const T *)args.src + from +
                                                                z * args.src_step[OSP_DIM_Z] +
                                                                row * args.src_step[OSP_DIM_Y] +
                                                                x * args.src_step[OSP_DIM_X]);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const float n = number<T>(in.v[v], args.dtype);
                    // The first of equals; a NaN gives way. The first pixel is always taken.
                    if (!max)
                        y[v] += n;
                    else if (best < 0 || n > y[v] || y[v] != y[v]) {
                        y[v] = n;
                        if (V == 1)
                            best = ((int64_t)z * args.window[1].in + row) * args.window[2].in + x;
                    }
                }
                if (V > 1)
                    best = 0;
            }
    if (!max) {
        const bool padded = args.kind == OSP_POOL_AVERAGE_PADDED;
        const float by = divisor_of(args.window[0], sz, padded) *
                         divisor_of(args.window[1], sy, padded) *
                         divisor_of(args.window[2], sx, padded);
#pragma unroll
        for (int v = 0; v < V; v++)
            y[v] = by > 0 ? y[v] / by : 0;
    }
    if (args.dst) {
        Vector<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++)
            out.v[v] = element<T>(y[v]);
        *(Vector<T, V> *)((T *)args.dst + to) = out;
    }
    if (V == 1 && args.indices)
        args.indices[index_at] = index_of(
            args, (int64_t)at[OSP_DIM_N] * args.channels + at[OSP_DIM_C], best);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_pool[5] = {{"pool_f32", (const void *)pool<float, 1>, true},
                                           {"pool_f32x4", (const void *)pool<float, 4>, true},
                                           {"pool_f16", (const void *)pool<__half, 1>, true},
                                           {"pool_f16x8", (const void *)pool<__half, 8>, true},
                                           {"pool_byte", (const void *)pool<Byte, 1>, true}};
}
