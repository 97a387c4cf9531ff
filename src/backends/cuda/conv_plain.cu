// Convolutions and transposed convolutions of any rank, grouping, dilation and layout, with FP32
// arithmetic: as a product in register tiles whose right side is gathered while it is loaded, or,
// for groups of few channels, element by element.
#include "backends/cuda/device.cuh"
#include "backends/cuda/tiles.cuh"

namespace {

using namespace osp;

constexpr int K = TILE_K, THREADS = 256;

// A destination pixel: its image, and where tap 0 meets the source (of transposed windows: the same
// before the division by the stride).
struct Pixel {
    int n, o[3], base[3];
};

__device__ __forceinline__ Pixel pixel_of(const osp_cuda_conv_args &p, uint32_t i)
{
    Pixel px;
#pragma unroll
    for (int a = 2; a >= 0; a--) {
        const uint32_t q = divide(i, p.out[a]);
        px.o[a] = (int)(i - q * p.out[a].value);
        px.base[a] = p.transposed ? px.o[a] + p.window[a].pad
                                  : px.o[a] * p.window[a].stride - p.window[a].pad;
        i = q;
    }
    px.n = (int)i;
    return px;
}

// Where a tap of one axis meets the source; -1: nowhere.
__device__ __forceinline__ int meet(const osp_cuda_conv_args &p, int axis, int base, int tap)
{
    const osp_cuda_window &w = p.window[axis];
    int x = p.transposed ? base - tap * w.dilation : base + tap * w.dilation;
    if (p.transposed && x >= 0) {
        const int q = (int)divide((uint32_t)x, p.stride[axis]);
        x = q * w.stride == x ? q : -1;
    }
    return x >= 0 && x < w.in ? x : -1;
}

template <typename T>
__device__ __forceinline__ float source(const osp_cuda_conv_args &p, const T *src, const Pixel &px,
                                        int tap)
{
    const uint32_t row = divide((uint32_t)tap, p.kernel[2]);
    const int kx = tap - (int)(row * p.kernel[2].value);
    const uint32_t kz = divide(row, p.kernel[1]);
    const int ky = (int)(row - kz * p.kernel[1].value);
    const int z = meet(p, 0, px.base[0], (int)kz), y = meet(p, 1, px.base[1], ky);
    const int x = meet(p, 2, px.base[2], kx);
    if (z < 0 || y < 0 || x < 0)
        return 0;
    return as_float(src[px.n * p.src_step[OSP_DIM_N] + z * p.src_step[OSP_DIM_Z] +
                        y * p.src_step[OSP_DIM_Y] + x * p.src_step[OSP_DIM_X]]);
}

template <typename T>
__device__ __forceinline__ void finish(const osp_cuda_conv_args &p, const Pixel &px, int channel,
                                       float x)
{
    int64_t to = px.n * p.dst_step[OSP_DIM_N] + channel * p.dst_step[OSP_DIM_C];
    int64_t from = px.n * p.add_step[OSP_DIM_N] + channel * p.add_step[OSP_DIM_C];
#pragma unroll
    for (int a = 0; a < 3; a++) {
        to += px.o[a] * p.dst_step[OSP_DIM_Z + a];
        from += px.o[a] * p.add_step[OSP_DIM_Z + a];
    }
    if (p.bias)
        x += load_float(p.bias_dtype, p.bias, channel);
    const float add = p.add ? as_float(((const T *)p.add)[from]) : 0;
    if (p.residual == 1)  // before
        x += add;
    x = activate<sizeof(T) == 2>(p.act, p.alpha, p.beta, x);
    if (p.residual == 2)  // after
        x += add;
    ((T *)p.dst)[to] = from_float<T>(x);
}

// Row k of the product: a tap and a channel of the group.
__device__ __forceinline__ void split(const osp_cuda_conv_args &p, int k, int *tap, int *ic)
{
    const int q = (int)divide((uint32_t)k, p.inner), r = k - q * (int)p.inner.value;
    *tap = p.channels_last ? q : r;
    *ic = p.channels_last ? r : q;
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    conv_tile(const __grid_constant__ osp_cuda_conv_args args)
{
    follow();
    __shared__ float tile_a[TILE_K][TILE_PITCH], tile_b[TILE_K][TILE_PITCH];
    __shared__ Pixel pixels[TILE];
    const int t = threadIdx.x, row = t / 16 * 4, column = t % 16 * 4, g = blockIdx.z;
    const int oc0 = blockIdx.y * TILE, all = args.group_ic * args.taps;
    const uint32_t pixel0 = blockIdx.x * TILE;
    const T *src = (const T *)args.src + (int64_t)g * args.group_ic * args.src_step[OSP_DIM_C];
    const T *weights = (const T *)args.weights + g * args.weights_group;
    if (t < TILE)
        pixels[t] = pixel_of(args, pixel0 + t < args.pixels ? pixel0 + t : 0);
    __syncthreads();
    float sums[4][4] = {};
    for (int k0 = 0; k0 < all; k0 += K) {
#pragma unroll
        for (int i = 0; i < TILE * K / THREADS; i++) {
            const int e = t + i * THREADS, oc = e / K, ka = e % K;
            const int at = args.channels_last ? e / K : e % TILE;
            const int kb = args.channels_last ? e % K : e / TILE;
            int tap, ic;
            split(args, k0 + ka, &tap, &ic);
            tile_a[ka][oc] = oc0 + oc < args.group_oc && k0 + ka < all
                                 ? as_float(weights[(oc0 + oc) * args.weights_oc +
                                                    ic * args.weights_ic + tap])
                                 : 0;
            split(args, k0 + kb, &tap, &ic);
            tile_b[kb][at] = pixel0 + at < args.pixels && k0 + kb < all
                                 ? source(args, src + ic * args.src_step[OSP_DIM_C], pixels[at], tap)
                                 : 0;
        }
        __syncthreads();
        multiply_tiles(sums, tile_a, tile_b, row, column);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (oc0 + row + i < args.group_oc && pixel0 + column + j < args.pixels)
                finish<T>(args, pixels[column + j], g * args.group_oc + oc0 + row + i, sums[i][j]);
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    conv_each(const __grid_constant__ osp_cuda_conv_args args)
{
    follow();
    const uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    const uint32_t channels = args.all_oc.value;
    if (i >= (uint64_t)args.pixels * channels)
        return;
    // Neighbouring threads make neighbours in memory.
    const uint32_t c = (uint32_t)(args.channels_last ? i % channels : i / args.pixels);
    const uint32_t at = (uint32_t)(args.channels_last ? i / channels : i % args.pixels);
    const Pixel px = pixel_of(args, at);
    const int g = (int)c / args.group_oc, oc = (int)c % args.group_oc;
    const T *src = (const T *)args.src + (int64_t)g * args.group_ic * args.src_step[OSP_DIM_C];
    const T *weights = (const T *)args.weights + g * args.weights_group + oc * args.weights_oc;
    float sum = 0;
    for (int ic = 0; ic < args.group_ic; ic++)
        for (int tap = 0; tap < args.taps; tap++)
            sum = fmaf(as_float(weights[ic * args.weights_ic + tap]),
                       source(args, src + ic * args.src_step[OSP_DIM_C], px, tap), sum);
    finish<T>(args, px, (int)c, sum);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_conv_plain[4] = {
    {"conv_tile_f32", (const void *)conv_tile<float>, true},
    {"conv_tile_f16", (const void *)conv_tile<__half>, true},
    {"conv_each_f32", (const void *)conv_each<float>, true},
    {"conv_each_f16", (const void *)conv_each<__half>, true}};
}
