// The first convolution of a network: from the planes of an image, of few channels, to pixels of
// channels. A float32 image is rounded to FP16 as it is read.
//
// Per pixel of a 3x3 stride 2 window and 16 channels out: 48 bytes in, 32 bytes out, 432 products.
// At 1280 x 1280, batch 4, that is 131 MB, 40 us at 3.3 TB/s, and 0.7 G products, 25 us of a GPU that
// could do nothing but FP32 FMA: with loads and addresses beside them they would be the bound. Matrix
// instructions do them in 4 us, so those it is, and what is left to watch is the loads. One pass: a
// warp takes 32 or 64 pixels of a row, a lane loads its elements of the matrix of windows straight from the
// planes, two neighbours of a row at once, and the overlap of windows comes from the first cache
// (16 us of its time), since the warps of a block take rows that follow each other.
//
// K runs over pairs of neighbours in a row of the window (osp_stem_pair), 16 elements a step: lane
// 4g + t has pairs t and t + 4 of pixels g and g + 8 of each 16. Which channel stands where in N is
// free, too: weights are packed so that a lane's results are neighbouring channels of a pixel.
#include "backends/cuda/conv_device.cuh"
#include "backends/cuda/device.cuh"

namespace {

// A pair as it is loaded, and as two FP16 numbers.
template <typename T> struct Pair;
template <> struct Pair<float> {
    float2 v;
};
template <> struct Pair<__half> {
    __half2 v;
};
__device__ __forceinline__ uint32_t to_halves(Pair<float> p)
{
    return osp::bits_of(__floats2half2_rn(p.v.x, p.v.y));
}
__device__ __forceinline__ uint32_t to_halves(Pair<__half> p)
{
    return osp::bits_of(p.v);
}
__device__ __forceinline__ void set(Pair<float> &p, float low, float high)
{
    p.v = make_float2(low, high);
}
__device__ __forceinline__ void set(Pair<__half> &p, __half low, __half high)
{
    p.v = __halves2half2(low, high);
}
__device__ __forceinline__ void load_both(Pair<float> &p, const float *at)
{
    p.v = *reinterpret_cast<const float2 *>(at);
}
__device__ __forceinline__ void load_both(Pair<__half> &p, const __half *at)
{
    p.v = *reinterpret_cast<const __half2 *>(at);
}

template <typename T> __device__ __forceinline__ T zero();
template <> __device__ __forceinline__ float zero<float>()
{
    return 0.0f;
}
template <> __device__ __forceinline__ __half zero<__half>()
{
    return __float2half_rn(0.0f);
}

// Elements x and x + 1 of a row of `width`, zeros outside. WIDE: x is even, so is the width, and the
// row is aligned: both or none are inside. Else each is read only where `mask` has its half.
template <typename T, bool WIDE>
__device__ __forceinline__ Pair<T> load_pair(const T *at, int x, int width, uint32_t mask)
{
    Pair<T> p;
    set(p, zero<T>(), zero<T>());
    if (WIDE) {
        if ((unsigned)x < (unsigned)width)
            load_both(p, at);
    } else {
        T low = zero<T>(), high = zero<T>();
        if ((mask & 0xffffu) && (unsigned)x < (unsigned)width)
            low = at[0];
        if ((mask >> 16) && (unsigned)(x + 1) < (unsigned)width)
            high = at[1];
        set(p, low, high);
    }
    return p;
}

// Where a lane's two pairs of one step lie for its first pixel: column x of a row of `width` elements
// (0: there is nothing to read).
template <typename T> struct Step {
    const T *at[2];
    int x[2], width[2];
    uint32_t mask[2];
};

template <typename T>
__device__ __forceinline__ Step<T> step_of(const osp_conv_args &p, const T *image, int iy0, int x0,
                                           int step, int t)
{
    Step<T> s;
#pragma unroll
    for (int h = 0; h < 2; h++) {  // an osp_stem_pair: channel, y, x, mask
        const uint4 pair = static_cast<const uint4 *>(p.taps)[step * 8 + h * 4 + t];
        const int iy = iy0 + (int)pair.y;
        s.x[h] = x0 + (int)pair.z;
        s.mask[h] = pair.w;
        s.width[h] = pair.w && (unsigned)iy < (unsigned)p.ih ? p.iw : 0;
        s.at[h] = image + (((int64_t)pair.x * p.ih + iy) * p.iw + s.x[h]);
    }
    return s;
}

template <typename T, bool WIDE, int TILES>
__device__ __forceinline__ void load_step(Pair<T> (&raw)[TILES][4], const Step<T> &s, int stride)
{
    const int sw = WIDE ? 2 : stride;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int i = 0; i < 4; i++) {  // rows g and g + 8, then the same of the later pair
            const int by = (m * 16 + i % 2 * 8) * sw;
            raw[m][i] = load_pair<T, WIDE>(s.at[i / 2] + by, s.x[i / 2] + by, s.width[i / 2],
                                           s.mask[i / 2]);
        }
}

__device__ __forceinline__ void write(__half *to, const uint32_t (&x)[2])
{
    *reinterpret_cast<uint2 *>(to) = make_uint2(x[0], x[1]);
}
__device__ __forceinline__ void write(__half *to, const uint32_t (&x)[4])
{
    *reinterpret_cast<uint4 *>(to) = make_uint4(x[0], x[1], x[2], x[3]);
}

// Bias, activation and residual of a warp's sums: the channels [channel, channel + 2 * NT) of a lane,
// of pixels from number `pixel`, of which `row` are left in the row. SILU: that and no residual.
template <bool SILU, int NT, int TILES>
__device__ __forceinline__ void store(const osp_conv_args &p, const float (&sums)[TILES][NT][4],
                                      int channel, int64_t pixel, int row)
{
    float bias[2 * NT];
#pragma unroll
    for (int j = 0; j < 2 * NT; j++)
        bias[j] = p.bias[channel + j];
#pragma unroll
    for (int i = 0; i < 2 * TILES; i++) {
        const int64_t at = pixel + i * 8;
        if (i * 8 >= row)
            break;
        uint32_t out[NT];
#pragma unroll
        for (int j = 0; j < NT; j++) {
            const float a = sums[i / 2][j][i % 2 * 2] + bias[2 * j];
            const float b = sums[i / 2][j][i % 2 * 2 + 1] + bias[2 * j + 1];
            if (SILU) {
                out[j] = osp::bits_of(__floats2half2_rn(silu(a), silu(b)));
            } else {
                const float2 add = residual2(p, true, at * p.add_pitch + channel + 2 * j);
                out[j] = osp::bits_of(__floats2half2_rn(finish(p, a, add.x), finish(p, b, add.y)));
            }
        }
        write(static_cast<__half *>(p.dst) + at * p.dst_pitch + channel, out);
    }
}

// NT * 8 channels at a time, of as many times 16 pixels as make 8 sums of 16 x 8 for a warp. WIDE: the
// stride is 2.
template <typename T, bool WIDE, int NT>
__global__ void __launch_bounds__(32 * OSP_STEM_ROWS, 4)
    stem(const __grid_constant__ osp_conv_args p)
{
    constexpr int TILES = OSP_STEM_SUMS / NT;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int oy = blockIdx.y * OSP_STEM_ROWS + threadIdx.x / 32, ox = blockIdx.x * TILES * 16 + g;
    const int n = blockIdx.z, iy0 = oy * p.sh - p.ph, x0 = ox * p.sw - p.pw;
    follow();
    if (oy >= p.oh)
        return;
    const T *image = static_cast<const T *>(p.src) + (int64_t)n * p.ic * p.ih * p.iw;
    const int groups = (p.oc + NT * 8 - 1) / (NT * 8);
    const int64_t pixel = ((int64_t)n * p.oh + oy) * p.ow + ox;
#pragma unroll 1
    for (int group = 0; group < groups; group++) {
        const uint2 *weights = static_cast<const uint2 *>(p.weights) +
                               group * p.k_chunks * NT * 32 + lane;
        float sums[TILES][NT][4] = {};
        Pair<T> raw[TILES][4];
        Step<T> s = step_of(p, image, iy0, x0, 0, t);
        load_step<T, WIDE, TILES>(raw, s, p.sw);
#pragma unroll 1
        for (int k = 0; k < p.k_chunks; k++) {
            uint2 b[NT];  // ahead of the next loads: what is loaded comes in the order it was asked for
            uint32_t a[TILES][4];
#pragma unroll
            for (int j = 0; j < NT; j++)
                b[j] = weights[(k * NT + j) * 32];
#pragma unroll
            for (int m = 0; m < TILES; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    a[m][i] = to_halves(raw[m][i]) & s.mask[i / 2];
            if (k + 1 < p.k_chunks) {  // on their way while these are multiplied
                s = step_of(p, image, iy0, x0, k + 1, t);
                load_step<T, WIDE, TILES>(raw, s, p.sw);
            }
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int m = 0; m < TILES; m++)
                    multiply(sums[m][j], a[m], b[j].x, b[j].y);
        }
        const int channel = (group * 4 + t) * 2 * NT;  // of 2 * NT neighbours
        if (channel >= p.oc)
            continue;
        if (p.act == OSP_ACT_SILU && !p.add)
            store<true>(p, sums, channel, pixel, p.ow - ox);
        else
            store<false>(p, sums, channel, pixel, p.ow - ox);
    }
}

}  // namespace

#define STEM(TYPE, WIDE, NAME)                                                                     \
    {NAME "_16", reinterpret_cast<const void *>(stem<TYPE, WIDE, 2>), true},                       \
    {                                                                                              \
        NAME "_32", reinterpret_cast<const void *>(stem<TYPE, WIDE, 4>), true                      \
    }

extern "C" {
const osp_gpu_kernel osp_kernel_conv_stem[OSP_STEM_KERNELS] = {
    STEM(__half, false, "conv_stem_f16"), STEM(__half, true, "conv_stem_f16x2"),
    STEM(float, false, "conv_stem_f32"), STEM(float, true, "conv_stem_f32x2")};
}
