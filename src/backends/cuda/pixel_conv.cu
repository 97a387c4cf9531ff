// The first convolution of a network, from pixels: uint8 N,H,W,3 in, FP16 channels last out.
//
// A block makes a tile of output pixels and all their channels. The pixels that it reads come to
// shared memory as they are, in whole 16 bytes; a window's row is contiguous there, so that two
// neighbouring products along K are two neighbouring bytes. As the low byte of a half a pixel is
// pixel * 2^-24 exactly (a subnormal, which the matrix instructions take), and that is all the
// conversion there is: the factor of the sums makes up for it.
#include "backends/cuda/conv_device.cuh"
#include "backends/cuda/pixel_kernels.h"
#include "gpu/gpu_float.cuh"

namespace {

constexpr int TILE_H = OSP_PIXEL_TILE_H, TILE_W = OSP_PIXEL_TILE_W, THREADS = OSP_PIXEL_THREADS;
constexpr int WARPS = THREADS / 32, OC = OSP_PIXEL_OC, CHANNELS = OSP_PIXEL_CHANNELS;
constexpr int ROWS = TILE_H / WARPS;               // of output pixels, a warp
constexpr int TILES = ROWS * TILE_W / 16;          // of 16 pixels of one row
static_assert(TILE_H % WARPS == 0 && TILE_W % 16 == 0, "tile shape");

// The halo of the block's tile; lines and columns outside of the image are 0.
__device__ __forceinline__ void fetch(const osp_pixel_args &p, uint8_t *halo)
{
    const osp_conv_args &c = p.conv;
    const int line = c.iw * CHANNELS, chunks = p.pitch / 16, count = p.lines * chunks;
    const int y0 = static_cast<int>(blockIdx.y) * TILE_H * c.sh - c.ph;
    const int x0 = (static_cast<int>(blockIdx.x) * TILE_W * c.sw - c.pw) * CHANNELS - p.lead - p.skip;
    const uint8_t *image = static_cast<const uint8_t *>(c.src) +
                           static_cast<int64_t>(blockIdx.z) * c.ih * line;
    const uint32_t to = shared_address(halo);
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const int row = i / chunks, y = y0 + row, x = x0 + (i - row * chunks) * 16;
        const bool inside = static_cast<unsigned>(y) < static_cast<unsigned>(c.ih) &&
                            static_cast<unsigned>(x) < static_cast<unsigned>(line);
        copy16(to + i * 16, image + (inside ? static_cast<int64_t>(y) * line + x : 0), inside);
    }
    commit_copies();
    wait_copies<0>();
    __syncthreads();
}

// Two neighbouring bytes as two halfs.
template <bool EVEN> __device__ __forceinline__ uint32_t two_pixels(const uint8_t *at)
{
    if (!EVEN)
        return at[0] | static_cast<uint32_t>(at[1]) << 16;
    return __byte_perm(*reinterpret_cast<const uint16_t *>(at), 0, 0x4140);
}

// Four neighbouring channels of one output pixel. `at`: a multiple of four; counted in fours, else the
// compiler makes two stores of this one.
__device__ __forceinline__ void put(const osp_pixel_args &p, int64_t at, float a, float b, float d,
                                    float e, float4 bias)
{
    const osp_conv_args &c = p.conv;
    const __half2 low = __floats2half2_rn(activate(c, fmaf(a, p.factor, bias.x)),
                                          activate(c, fmaf(b, p.factor, bias.y)));
    const __half2 high = __floats2half2_rn(activate(c, fmaf(d, p.factor, bias.z)),
                                           activate(c, fmaf(e, p.factor, bias.w)));
    reinterpret_cast<uint2 *>(c.dst)[at / 4] = make_uint2(osp::bits_of(low), osp::bits_of(high));
}

template <int STEPS, bool EVEN>
__global__ void __launch_bounds__(THREADS)
    pixel_conv(const __grid_constant__ osp_pixel_args p)
{
    OSP_DYNAMIC_SHARED(uint8_t, halo);
    const osp_conv_args &c = p.conv;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    follow();
    fetch(p, halo);
    // Where this lane's pairs along K lie, from the first byte of a window's first row.
    int offset[STEPS * 2];
#pragma unroll
    for (int i = 0; i < STEPS * 2; i++) {
        const int k = i * 8 + quad * 2, ky = k / p.run;
        offset[i] = ky < c.kh ? ky * p.pitch + k - ky * p.run : 0;
    }
    for (int first = 0; first < c.oc; first += OC) {
        uint2 weights[STEPS][2];
        const uint2 *from = static_cast<const uint2 *>(c.weights) + first / OC * STEPS * 64 + lane;
#pragma unroll
        for (int i = 0; i < STEPS * 2; i++)
            weights[i / 2][i % 2] = from[i * 32];
        const float4 bias = *reinterpret_cast<const float4 *>(c.bias + first + quad * 4);
#pragma unroll 2
        for (int t = 0; t < TILES; t++) {
            const int row = warp * ROWS + t * 16 / TILE_W, column = t * 16 % TILE_W + group;
            const int oy = blockIdx.y * TILE_H + row, ox = blockIdx.x * TILE_W + column;
            if (oy >= c.oh)  // of the whole warp
                break;
            const uint8_t *window = halo + row * c.sh * p.pitch + p.lead + column * c.sw * CHANNELS;
            const uint8_t *other = window + 8 * c.sw * CHANNELS;
            float sums[2][4] = {};
#pragma unroll
            for (int s = 0; s < STEPS; s++) {
                const uint32_t a[4] = {two_pixels<EVEN>(window + offset[s * 2]),
                                       two_pixels<EVEN>(other + offset[s * 2]),
                                       two_pixels<EVEN>(window + offset[s * 2 + 1]),
                                       two_pixels<EVEN>(other + offset[s * 2 + 1])};
                multiply(sums[0], a, weights[s][0].x, weights[s][0].y);
                multiply(sums[1], a, weights[s][1].x, weights[s][1].y);
            }
            const int64_t at = ((static_cast<int64_t>(blockIdx.z) * c.oh + oy) * c.ow + ox) *
                                   c.dst_pitch +
                               first + quad * 4;
            if (first + quad * 4 < c.oc && ox < c.ow)
                put(p, at, sums[0][0], sums[0][1], sums[1][0], sums[1][1], bias);
            if (first + quad * 4 < c.oc && ox + 8 < c.ow)
                put(p, at + 8 * c.dst_pitch, sums[0][2], sums[0][3], sums[1][2], sums[1][3], bias);
        }
    }
}

}  // namespace

extern "C" {
const osp_pixel_kernel osp_cuda_k_pixel_conv[OSP_PIXEL_KERNELS] = {
#define X(STEPS)                                                                                   \
    {STEPS,                                                                                        \
     {"pixel_conv_" #STEPS, reinterpret_cast<const void *>(pixel_conv<STEPS, true>), true},              \
     {"pixel_conv_odd_" #STEPS, reinterpret_cast<const void *>(pixel_conv<STEPS, false>), true}},
    OSP_PIXEL_ROWS(X)
#undef X
};
}
