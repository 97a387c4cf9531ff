// Letterbox and stretch: the arithmetic of src/vision/letterbox.c, restated for one thread per output
// column. A block makes a tile of 128 columns and 8 rows: positions and weights are computed once
// per column and once per row (in double, which is slow on small GPUs), loads of neighbouring threads
// are neighbours in memory, and so are their stores. Both taps of a pixel come in two or three
// aligned words, and a channel's weighted sum of them is one dp2a.
#include <cuda_fp16.h>

#include "gpu/gpu_kernels.h"

namespace {

constexpr int TILE_W = OSP_LETTERBOX_TILE_W, TILE_H = OSP_LETTERBOX_TILE_H;
constexpr int PAD = 114;
constexpr unsigned WEIGHT_ONE = 2048, HALF = 1024;

struct Taps {
    int at;           // the first source pixel
    unsigned w0, w1;  // of 2048
};

// First source pixel of output position i; the fraction decides the weights.
__device__ Taps position(int i, double step)
{
    const double scaled = __dmul_rn(i + 0.5, step);
    const float at = __double2float_rn(__dsub_rn(scaled, 0.5));
    const float low = floorf(at);
    const float part = __fsub_rn(at, low);
    Taps t;
    t.at = (int)low;
    t.w0 = (unsigned)__float2int_rn(__fmul_rn(__fsub_rn(1.0f, part), (float)WEIGHT_ONE));
    t.w1 = (unsigned)__float2int_rn(__fmul_rn(part, (float)WEIGHT_ONE));
    return t;
}

__device__ Taps column_taps(const osp_gpu_source &s, int x)
{
    if (s.halved)
        return {2 * x, HALF, HALF};
    const int src = s.fit.src_w;
    Taps t = position(x, s.step_x);
    if (t.at < 0 || src == 1)
        t = {0, WEIGHT_ONE, 0};
    else if (t.at >= src - 1)
        t = {src - 2, 0, WEIGHT_ONE};
    return t;
}

// Two rows and their weights; past an end the same row is taken twice.
struct RowTaps {
    int y0, y1;
    unsigned w0, w1;
};

__device__ RowTaps row_taps(const osp_gpu_source &s, int y)
{
    const int last = s.fit.src_h - 1;
    if (s.halved)
        return {min(max(2 * y, 0), last), min(max(2 * y + 1, 0), last), HALF, HALF};
    const Taps t = position(y, s.step_y);
    return {min(max(t.at, 0), last), min(max(t.at + 1, 0), last), t.w0, t.w1};
}

// Three channels of a source row at one column, weighted across and shifted as between the passes.
struct Sums {
    unsigned c[3];
};

// pairs: bytes p0 q0 p1 q1; last: p2 q2. weights: w0 | w1 << 16.
__device__ __forceinline__ Sums weigh(unsigned pairs, unsigned last, unsigned weights)
{
    return {{__dp2a_lo(weights, pairs, 0u) >> 4, __dp2a_hi(weights, pairs, 0u) >> 4,
             __dp2a_lo(weights, last, 0u) >> 4}};
}

// What a thread knows of its column.
struct Column {
    const uint8_t *at;  // the first tap in row 0 of plane 0
    unsigned weights;
    int x, step;  // source column, and pixels to the second tap: 0 or 1
};

// Each format: start(source, x) of row 0, and across(source, column, row).

// Packed pixels. WORDS: by aligned words, each of which holds a byte of the taps; else by bytes.
template <int BYTES, bool WORDS> struct Packed {
    static __device__ __forceinline__ const uint8_t *start(const osp_gpu_source &s, int x)
    {
        return s.plane[0] + (int64_t)x * BYTES;
    }

    static __device__ __forceinline__ Sums across(const osp_gpu_source &s, const Column &col, int y)
    {
        const uint8_t *p = col.at + (uint64_t)y * s.pitch[0];
        if (!WORDS) {
            const uint8_t *q = p + BYTES * col.step;
            const unsigned pairs = p[0] | (unsigned)q[0] << 8 | (unsigned)p[1] << 16 |
                                   (unsigned)q[1] << 24;
            return weigh(pairs, p[2] | (unsigned)q[2] << 8, col.weights);
        }
        const unsigned shift = (unsigned)((uintptr_t)p & 3);
        const unsigned *words = (const unsigned *)(p - shift);
        const unsigned a = __ldg(words), b = __ldg(words + 1);
        const bool third = BYTES == 4 ? shift != 0 : shift == 3;
        const unsigned c = third ? __ldg(words + 2) : 0;
        const unsigned lo = __funnelshift_r(a, b, 8 * shift), hi = __funnelshift_r(b, c, 8 * shift);
        if (BYTES == 3)
            return weigh(__byte_perm(lo, hi, 0x4130), __byte_perm(lo, hi, 0x5252), col.weights);
        return weigh(__byte_perm(lo, hi, 0x5140), __byte_perm(lo, hi, 0x6262), col.weights);
    }
};

struct Grey {
    static __device__ __forceinline__ const uint8_t *start(const osp_gpu_source &s, int x)
    {
        return s.plane[0] + x;
    }

    static __device__ __forceinline__ Sums across(const osp_gpu_source &s, const Column &col, int y)
    {
        const uint8_t *p = col.at + (uint64_t)y * s.pitch[0];
        const unsigned sum = __dp2a_lo(col.weights, p[0] | (unsigned)p[col.step] << 8, 0u) >> 4;
        return {{sum, sum, sum}};
    }
};

struct Rgb {
    unsigned r, g, b;
};

__device__ __forceinline__ unsigned channel(int sum)
{
    return (unsigned)min(max(sum >> OSP_YUV_SHIFT, 0), 255);
}

struct Yuv {
    static __device__ __forceinline__ const uint8_t *start(const osp_gpu_source &s, int x)
    {
        return s.plane[0] + x;
    }

    static __device__ __forceinline__ Rgb pixel(const osp_gpu_source &s, const uint8_t *u,
                                                const uint8_t *v, int luma, int x)
    {
        const int step = s.format == OSP_PIXEL_NV12 ? 2 : 1, half = 1 << (OSP_YUV_SHIFT - 1);
        const int cu = u[(x >> 1) * step] - 128, cv = v[(x >> 1) * step] - 128;
        const osp_yuv_matrix &m = s.yuv;
        const int yy = luma > m.black ? (luma - m.black) * m.y : 0;
        return {channel(yy + m.rv * cv + half), channel(yy + (half - m.gu * cu - m.gv * cv)),
                channel(yy + m.bu * cu + half)};
    }

    static __device__ __forceinline__ Sums across(const osp_gpu_source &s, const Column &col, int y)
    {
        const uint8_t *luma = col.at + (uint64_t)y * s.pitch[0];
        const uint8_t *u = s.plane[1] + (uint64_t)(y >> 1) * s.pitch[1];
        const uint8_t *v = s.format == OSP_PIXEL_NV12
                               ? u + 1
                               : s.plane[2] + (uint64_t)(y >> 1) * s.pitch[2];
        const Rgb p = pixel(s, u, v, luma[0], col.x);
        const Rgb q = pixel(s, u, v, luma[col.step], col.x + col.step);
        return weigh(p.r | q.r << 8 | p.g << 16 | q.g << 24, p.b | q.b << 8, col.weights);
    }
};

// pixel / 255, correctly rounded for all 256 values: a product, and one step of Newton's.
__device__ __forceinline__ float unit(unsigned v)
{
    constexpr float r = 1.0f / 255.0f;
    const float x = (float)v, q = __fmul_rn(x, r);
    return __fmaf_rn(__fmaf_rn(-q, 255.0f, x), r, q);
}

template <typename T> __device__ T element(unsigned v);
template <> __device__ __forceinline__ uint8_t element(unsigned v)
{
    return (uint8_t)v;
}
template <> __device__ __forceinline__ float element(unsigned v)
{
    return unit(v);
}
template <> __device__ __forceinline__ __half element(unsigned v)
{
    return __float2half_rn(unit(v));
}

__device__ __forceinline__ unsigned down(unsigned s0, unsigned s1, unsigned w0, unsigned w1)
{
    return ((s0 * w0 >> 16) + (s1 * w1 >> 16) + 2) >> 2;
}

// Interleaved bytes are three apart from thread to thread: a tile of them is gathered here, and goes
// out in words. Inputs that are no whole words wide, or do not begin with one, go byte by byte.
template <typename T> struct Staging {
    static __device__ __forceinline__ T *tile(const osp_letterbox_args &)
    {
        return nullptr;
    }
    static __device__ __forceinline__ void flush(const osp_letterbox_args &, const T *, int, int) {}
};

template <> struct Staging<uint8_t> {
    static constexpr int PITCH = 3 * TILE_W;

    static __device__ __forceinline__ uint8_t *tile(const osp_letterbox_args &args)
    {
        __shared__ unsigned words[TILE_H * PITCH / 4];
        return args.pixel_step == 3 && args.dst_w % 4 == 0 && (uintptr_t)args.dst % 4 == 0
                   ? (uint8_t *)words
                   : nullptr;
    }

    // After all threads have put theirs.
    static __device__ __forceinline__ void flush(const osp_letterbox_args &args,
                                                 const uint8_t *tile, int tile_x, int tile_y)
    {
        const int words = min(TILE_W, args.dst_w - tile_x) * 3 / 4, i = threadIdx.x;
        const int64_t image = (int64_t)args.dst_w * args.dst_h * 3 * blockIdx.z;
        uint8_t *to = (uint8_t *)args.dst + image + ((int64_t)tile_y * args.dst_w + tile_x) * 3;
        for (int r = 0; i < words && r < min(TILE_H, args.dst_h - tile_y); r++)
            ((unsigned *)(to + (int64_t)r * args.dst_w * 3))[i] =
                ((const unsigned *)(tile + r * PITCH))[i];
    }
};

// What is the same for all formats: where a thread's column goes.
template <typename T> struct Target {
    T *at;  // the first channel that the source has, in the tile's first row
    int64_t channel_step, row_step;
    int rows;  // of the tile that are in the input

    // `tile`: of Staging, or NULL.
    __device__ Target(const osp_letterbox_args &args, T *tile, bool reversed, int x, int tile_y)
    {
        const int64_t image = (int64_t)args.dst_w * args.dst_h * 3 * blockIdx.z;
        at = tile ? tile + threadIdx.x * 3
                  : (T *)args.dst + image + ((int64_t)tile_y * args.dst_w + x) * args.pixel_step;
        at += reversed ? 2 * args.channel_step : 0;
        channel_step = reversed ? -args.channel_step : args.channel_step;
        row_step = tile ? 3 * TILE_W : args.dst_w * args.pixel_step;
        rows = min(TILE_H, args.dst_h - tile_y);
    }

    __device__ __forceinline__ void put(int r, unsigned a, unsigned b, unsigned c) const
    {
        if (r >= rows)
            return;
        T *to = at + r * row_step;
        to[0] = element<T>(a);
        to[channel_step] = element<T>(b);
        to[2 * channel_step] = element<T>(c);
    }
};

// Rows of padding load what the nearest rows of the image do, so that nothing branches.
template <typename T, typename Format>
__device__ __forceinline__ void fill_column(const osp_gpu_source &s, const Target<T> &target,
                                            const RowTaps *rows, Column col, bool inside, int top)
{
    col.at = Format::start(s, col.x);
#pragma unroll 4
    for (int r = 0; r < TILE_H; r++) {
        const RowTaps t = rows[r];
        const Sums a = Format::across(s, col, t.y0), b = Format::across(s, col, t.y1);
        const bool image = inside && (unsigned)(top + r) < (unsigned)s.fit.height;
        unsigned v[3];
        for (int c = 0; c < 3; c++)
            v[c] = image ? down(a.c[c], b.c[c], t.w0, t.w1) : PAD;
        target.put(r, v[0], v[1], v[2]);
    }
}

template <typename T, int BYTES>
__device__ __forceinline__ void fill_packed(const osp_gpu_source &s, const Target<T> &target,
                                            const RowTaps *rows, const Column &col, bool inside,
                                            int top)
{
    // The words of the first and last row of the tile lie within the plane: so do all others.
    const uint8_t *at = s.plane[0] + (int64_t)col.x * BYTES;
    const uintptr_t low = (uintptr_t)(at + (uint64_t)rows[0].y0 * s.pitch[0]) & ~(uintptr_t)3;
    const uintptr_t high = (uintptr_t)(at + (uint64_t)rows[TILE_H - 1].y1 * s.pitch[0]);
    if (col.step && low >= (uintptr_t)s.plane[0] && high + 12 <= (uintptr_t)s.plane[0] + s.bytes)
        fill_column<T, Packed<BYTES, true>>(s, target, rows, col, inside, top);
    else
        fill_column<T, Packed<BYTES, false>>(s, target, rows, col, inside, top);
}

// A thread's column of a tile, x in the input.
template <typename T>
__device__ __forceinline__ void fill(const osp_gpu_source &s, const Target<T> &target,
                                     const RowTaps *rows, int x, int top)
{
    const int tile_x = blockIdx.x * TILE_W, xs = x - s.fit.left;
    if (top + TILE_H <= 0 || top >= s.fit.height || tile_x + TILE_W <= s.fit.left ||
        tile_x >= s.fit.left + s.fit.width) {
        for (int r = 0; r < TILE_H; r++)
            target.put(r, PAD, PAD, PAD);
        return;
    }
    const bool inside = xs >= 0 && xs < s.fit.width;
    const Taps t = column_taps(s, min(max(xs, 0), s.fit.width - 1));
    const Column col = {nullptr, t.w0 | t.w1 << 16, t.at, s.fit.src_w > 1};
    switch (s.format) {
    case OSP_PIXEL_RGB:
    case OSP_PIXEL_BGR:
        fill_packed<T, 3>(s, target, rows, col, inside, top);
        break;
    case OSP_PIXEL_RGBA:
    case OSP_PIXEL_BGRA:
        fill_packed<T, 4>(s, target, rows, col, inside, top);
        break;
    case OSP_PIXEL_GREY:
        fill_column<T, Grey>(s, target, rows, col, inside, top);
        break;
    default:
        fill_column<T, Yuv>(s, target, rows, col, inside, top);
        break;
    }
}

template <typename T>
__global__ void __launch_bounds__(TILE_W) letterbox(const __grid_constant__ osp_letterbox_args args)
{
    __shared__ RowTaps rows[TILE_H];
    const osp_gpu_source &s = args.source[blockIdx.z];
    const int tile_x = blockIdx.x * TILE_W, tile_y = blockIdx.y * TILE_H;
    const int x = tile_x + threadIdx.x, top = tile_y - s.fit.top;
    if (threadIdx.x < TILE_H)
        rows[threadIdx.x] = row_taps(s, top + (int)threadIdx.x);
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == TILE_H && args.fits_out)
        args.fits_out[blockIdx.z] = s.fit;
    __syncthreads();
    const bool reversed = s.format == OSP_PIXEL_BGR || s.format == OSP_PIXEL_BGRA;
    T *const tile = Staging<T>::tile(args);
    if (x < args.dst_w)
        fill(s, Target<T>(args, tile, reversed, x, tile_y), rows, x, top);
    if (!tile)  // alike in all threads
        return;
    __syncthreads();
    Staging<T>::flush(args, tile, tile_x, tile_y);
}

}  // namespace

static_assert(sizeof(osp_letterbox_args) <= 4096, "kernel arguments");

extern "C" {
const osp_gpu_kernel osp_kernel_letterbox_u8 = {"letterbox_u8", (const void *)letterbox<uint8_t>};
const osp_gpu_kernel osp_kernel_letterbox_f16 = {"letterbox_f16", (const void *)letterbox<__half>};
const osp_gpu_kernel osp_kernel_letterbox_f32 = {"letterbox_f32", (const void *)letterbox<float>};
}
