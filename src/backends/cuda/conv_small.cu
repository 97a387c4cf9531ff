// Depthwise convolutions, which memory bounds: there are too few products for matrix instructions to
// matter.
#include "backends/cuda/conv_device.cuh"

namespace {

__device__ __forceinline__ void widen(const uint2 &four, float (&to)[4])
{
    const __half2 *const pairs = reinterpret_cast<const __half2 *>(&four);
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const float2 two = __half22float2(pairs[k]);
        to[2 * k] = two.x;
        to[2 * k + 1] = two.y;
    }
}

// Ends eight channels of a pixel, from channel c on.
__device__ __forceinline__ void store_eight(const osp_conv_args &p, float (&x)[2][4], int pixel,
                                            int c)
{
    alignas(16) __half2 both[2][2];
    if (p.add)
        *reinterpret_cast<uint4 *>(both) = *reinterpret_cast<const uint4 *>(
            static_cast<const __half *>(p.add) + (int64_t)pixel * p.add_pitch + c);
    finish(p, x, both);
#pragma unroll
    for (int k = 0; k < 4; k++)
        both[k / 2][k % 2] = __floats2half2_rn(x[k / 2][k % 2 * 2], x[k / 2][k % 2 * 2 + 1]);
    *reinterpret_cast<uint4 *>(static_cast<__half *>(p.dst) + (int64_t)pixel * p.dst_pitch + c) =
        *reinterpret_cast<const uint4 *>(both);
}

// Eight channels of one pixel a thread; the window's lines stay in the first cache. K: the side of a
// square window whose loads are all on their way before the first is used; 0: any window.
template <int K>
__global__ void __launch_bounds__(OSP_DEPTHWISE_THREADS)
    depthwise(const __grid_constant__ osp_conv_args p)
{
    const int chunks = p.oc / 8, kh = K ? K : p.kh, kw = K ? K : p.kw;
    const int64_t i = (int64_t)blockIdx.x * OSP_DEPTHWISE_THREADS + threadIdx.x;
    const bool mine = i < (int64_t)p.pixels * chunks;
    const int pixel = (int)(i / chunks), c = (int)(i - (int64_t)pixel * chunks) * 8;
    const __half *const weights = static_cast<const __half *>(p.weights) + c;
    float sums[2][4] = {};
    uint4 taps[K ? K * K : 1];
    if (mine) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            sums[k / 4][k % 4] = p.bias[c + k];
#pragma unroll
        for (int t = 0; t < K * K; t++)
            taps[t] = *reinterpret_cast<const uint4 *>(weights + t * p.oc);
    }
    follow();
    if (!mine)
        return;
    const int image = p.oh * p.ow, n = pixel / image, at = pixel - n * image;
    const int oy = at / p.ow, ox = at - oy * p.ow;
    const int iy0 = oy * p.sh - p.ph, ix0 = ox * p.sw - p.pw;
    auto load = [&](int y, int x) {
        const int iy = iy0 + y, ix = ix0 + x;
        const bool inside = (unsigned)iy < (unsigned)p.ih && (unsigned)ix < (unsigned)p.iw;
        return inside ? *reinterpret_cast<const uint4 *>(
                            static_cast<const __half *>(p.src) +
                            ((int64_t)(n * p.ih + iy) * p.iw + ix) * p.src_pitch + c)
                      : make_uint4(0, 0, 0, 0);
    };
    auto add = [&](const uint4 &source, const uint4 &tap) {
        const __half2 *a = reinterpret_cast<const __half2 *>(&source);
        const __half2 *b = reinterpret_cast<const __half2 *>(&tap);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float2 u = __half22float2(a[k]), v = __half22float2(b[k]);
            float *const s = &sums[k / 2][k % 2 * 2];
            s[0] = fmaf(u.x, v.x, s[0]);
            s[1] = fmaf(u.y, v.y, s[1]);
        }
    };
    if (K) {
        uint4 source[K ? K * K : 1];
#pragma unroll
        for (int t = 0; t < K * K; t++)
            source[t] = load(t / (K ? K : 1), t % (K ? K : 1));
#pragma unroll
        for (int t = 0; t < K * K; t++)
            add(source[t], taps[t]);
    } else {
        for (int y = 0; y < kh; y++)
            for (int x = 0; x < kw; x++)
                add(load(y, x),
                    *reinterpret_cast<const uint4 *>(weights + (y * kw + x) * p.oc));
    }
    store_eight(p, sums, pixel, c);
}

// Four channels of PX neighbours of a line a thread, 3x3 of stride 1: a pixel that is loaded, and made
// float32, serves three of them, and so do the weights. Loading and converting, not memory, would
// bound the kernel above on large maps.
template <int PX>
__global__ void __launch_bounds__(OSP_DEPTHWISE_THREADS)
    depthwise_line(const __grid_constant__ osp_conv_args p)
{
    const int quads = p.oc / 4, strips = (p.ow + PX - 1) / PX;
    const int64_t i = (int64_t)blockIdx.x * OSP_DEPTHWISE_THREADS + threadIdx.x;
    const int64_t strip = i / quads;
    const int c = (int)(i - strip * quads) * 4, line = (int)(strip / strips);
    const int ox = (int)(strip - (int64_t)line * strips) * PX, n = line / p.oh, oy = line - n * p.oh;
    const bool mine = n < p.n;
    float sums[PX][4], taps[9][4];
    if (mine) {
        const __half *const weights = static_cast<const __half *>(p.weights) + c;
        const float4 bias = *reinterpret_cast<const float4 *>(p.bias + c);
#pragma unroll
        for (int t = 0; t < 9; t++)
            widen(*reinterpret_cast<const uint2 *>(weights + t * p.oc), taps[t]);
#pragma unroll
        for (int k = 0; k < PX; k++) {
            sums[k][0] = bias.x;
            sums[k][1] = bias.y;
            sums[k][2] = bias.z;
            sums[k][3] = bias.w;
        }
    }
    follow();
    if (!mine)
        return;
    const int iy0 = oy - p.ph, ix0 = ox - p.pw;
    uint2 source[3][PX + 2];  // all loads on their way before the first is used
#pragma unroll
    for (int y = 0; y < 3; y++) {
        const __half *const row = static_cast<const __half *>(p.src) + c +
                                  ((int64_t)(n * p.ih + iy0 + y) * p.iw + ix0) * p.src_pitch;
#pragma unroll
        for (int x = 0; x < PX + 2; x++) {
            const bool inside = (unsigned)(iy0 + y) < (unsigned)p.ih &&
                                (unsigned)(ix0 + x) < (unsigned)p.iw;
            source[y][x] = inside ? *reinterpret_cast<const uint2 *>(row + x * p.src_pitch)
                                  : make_uint2(0, 0);
        }
    }
#pragma unroll
    for (int y = 0; y < 3; y++)
#pragma unroll
        for (int x = 0; x < PX + 2; x++) {
            float v[4];
            widen(source[y][x], v);
#pragma unroll
            for (int t = 0; t < 3; t++)
                if (x - t >= 0 && x - t < PX)
#pragma unroll
                    for (int k = 0; k < 4; k++)
                        sums[x - t][k] = fmaf(v[k], taps[y * 3 + t][k], sums[x - t][k]);
        }
    const int64_t pixel = (int64_t)line * p.ow + ox;
    alignas(8) __half2 both[PX][2] = {};
    if (p.add)
#pragma unroll
        for (int k = 0; k < PX; k++)
            if (ox + k < p.ow)
                *reinterpret_cast<uint2 *>(both[k]) = *reinterpret_cast<const uint2 *>(
                    static_cast<const __half *>(p.add) + (pixel + k) * p.add_pitch + c);
    finish(p, sums, both);
#pragma unroll
    for (int k = 0; k < PX; k++) {
        both[k][0] = __floats2half2_rn(sums[k][0], sums[k][1]);
        both[k][1] = __floats2half2_rn(sums[k][2], sums[k][3]);
        if (ox + k < p.ow)
            *reinterpret_cast<uint2 *>(static_cast<__half *>(p.dst) + (pixel + k) * p.dst_pitch +
                                       c) = *reinterpret_cast<const uint2 *>(both[k]);
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_kernel_conv_depthwise = {
    "conv_depthwise", reinterpret_cast<const void *>(depthwise<0>), true};
const osp_gpu_kernel osp_kernel_conv_depthwise_3 = {
    "conv_depthwise_3", reinterpret_cast<const void *>(depthwise<3>), true};
const osp_gpu_kernel osp_kernel_conv_depthwise_line = {
    "conv_depthwise_line",
    reinterpret_cast<const void *>(depthwise_line<OSP_DEPTHWISE_PIXELS>), true};
}
