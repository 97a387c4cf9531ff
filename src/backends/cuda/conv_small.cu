// Depthwise convolutions, which memory bounds: there are too few products for matrix instructions to
// matter.
#include "backends/cuda/conv_device.cuh"

namespace {

// Eight channels of one pixel a thread; the window's lines stay in the first cache.
__global__ void __launch_bounds__(OSP_DEPTHWISE_THREADS)
    depthwise(const __grid_constant__ osp_conv_args p)
{
    follow();
    const int chunks = p.oc / 8;
    const int64_t i = (int64_t)blockIdx.x * OSP_DEPTHWISE_THREADS + threadIdx.x;
    if (i >= (int64_t)p.pixels * chunks)
        return;
    const int pixel = (int)(i / chunks), c = (int)(i - (int64_t)pixel * chunks) * 8;
    const int image = p.oh * p.ow, n = pixel / image, at = pixel - n * image;
    const int oy = at / p.ow, ox = at - oy * p.ow;
    const int iy0 = oy * p.sh - p.ph, ix0 = ox * p.sw - p.pw;
    float sums[8];
#pragma unroll
    for (int k = 0; k < 8; k++)
        sums[k] = p.bias[c + k];
    for (int y = 0; y < p.kh; y++)
        for (int x = 0; x < p.kw; x++) {
            const int iy = iy0 + y, ix = ix0 + x;
            if ((unsigned)iy >= (unsigned)p.ih || (unsigned)ix >= (unsigned)p.iw)
                continue;
            const uint4 s = *reinterpret_cast<const uint4 *>(
                static_cast<const __half *>(p.src) +
                ((int64_t)(n * p.ih + iy) * p.iw + ix) * p.src_pitch + c);
            const uint4 w = *reinterpret_cast<const uint4 *>(static_cast<const __half *>(p.weights) +
                                                             (y * p.kw + x) * p.oc + c);
            const __half2 *a = reinterpret_cast<const __half2 *>(&s);
            const __half2 *b = reinterpret_cast<const __half2 *>(&w);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float2 u = __half22float2(a[k]), v = __half22float2(b[k]);
                sums[k * 2] = fmaf(u.x, v.x, sums[k * 2]);
                sums[k * 2 + 1] = fmaf(u.y, v.y, sums[k * 2 + 1]);
            }
        }
    __half2 out[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float2 add = residual2(p, true, (int64_t)pixel * p.add_pitch + c + k * 2);
        out[k] = __floats2half2_rn(finish(p, sums[k * 2], add.x), finish(p, sums[k * 2 + 1], add.y));
    }
    *reinterpret_cast<uint4 *>(static_cast<__half *>(p.dst) + (int64_t)pixel * p.dst_pitch + c) =
        *reinterpret_cast<const uint4 *>(out);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_kernel_conv_depthwise = {"conv_depthwise",
                                                  reinterpret_cast<const void *>(depthwise), true};
}
