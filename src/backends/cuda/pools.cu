// Three pools in a row in one pass. A block holds a square of the source with the 6 pixels around it
// that the last pool reaches, 16 bytes of channels a pixel, and pools it three times, along rows and
// then along columns. Beyond the image the nearest pixel inside is repeated: every window that reaches
// there holds it, too. Of equals and NaNs a maximum does what the reference does: NaNs give way.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

constexpr int REACH = OSP_POOLS_SIZE / 2, HALO = 3 * REACH, SIDE = OSP_POOLS_TILE + 2 * HALO;
constexpr int STRIP = 4, STRIPS = SIDE / STRIP;  // results of a thread, one behind the other
constexpr int PITCH = SIDE + 1;  // neighbouring rows fall into other banks
static_assert(SIDE == 32 && SIDE * STRIPS == OSP_POOLS_THREADS, "a thread has one strip");

template <typename T> struct Pixel;
template <> struct alignas(16) Pixel<float> {
    float v[4];
};
template <> struct alignas(16) Pixel<__half> {
    __half2 v[4];
};

__device__ __forceinline__ float larger(float a, float b)
{
    return fmaxf(a, b);
}
__device__ __forceinline__ __half2 larger(__half2 a, __half2 b)
{
    return __hmax2(a, b);
}

template <typename T> __device__ __forceinline__ Pixel<T> larger(const Pixel<T> &a, const Pixel<T> &b)
{
    Pixel<T> out;
#pragma unroll
    for (int i = 0; i < 4; i++)
        out.v[i] = larger(a.v[i], b.v[i]);
    return out;
}

__device__ __forceinline__ int within(int x, int length)
{
    return min(max(x, 0), length - 1);
}

// The results first .. first + STRIP - 1 of a line of pixels `step` apart.
template <typename T>
__device__ __forceinline__ void pool_strip(Pixel<T> (&out)[STRIP], const Pixel<T> *line, int step,
                                           int first)
{
    static_assert(REACH == 2 && STRIP == 4, "windows of five, four at a time");
    Pixel<T> x[STRIP + 2 * REACH];
#pragma unroll
    for (int i = 0; i < STRIP + 2 * REACH; i++)
        x[i] = line[within(first + i - REACH, SIDE) * step];
    const Pixel<T> a = larger(x[1], x[2]), b = larger(x[3], x[4]), c = larger(x[5], x[6]);
    const Pixel<T> ab = larger(a, b), bc = larger(b, c);
    out[0] = larger(x[0], ab);
    out[1] = larger(ab, x[5]);
    out[2] = larger(x[2], bc);
    out[3] = larger(bc, x[7]);
}

template <typename T>
__global__ void __launch_bounds__(OSP_POOLS_THREADS)
    pools(const __grid_constant__ osp_cuda_pools_args args)
{
    constexpr int V = 16 / sizeof(T);
    __shared__ Pixel<T> tile[SIDE * PITCH], turned[SIDE * PITCH];
    follow();
    const int tile_y = blockIdx.x / args.tiles_x, tile_x = blockIdx.x - tile_y * args.tiles_x;
    const int top = tile_y * OSP_POOLS_TILE - HALO, left = tile_x * OSP_POOLS_TILE - HALO;
    const int channel = blockIdx.y * V, n = blockIdx.z;
    const int lane = threadIdx.x % SIDE, first = threadIdx.x / SIDE * STRIP;
    const T *src = (const T *)args.src + n * args.src_image + channel;
#pragma unroll
    for (int i = 0; i < STRIP; i++) {
        const int y = within(top + first + i, args.height), x = within(left + lane, args.width);
        tile[(first + i) * PITCH + lane] =
            *(const Pixel<T> *)(src + (y * args.width + x) * args.src_pixel);
    }
    const int x = left + lane;
    const bool mine = lane >= HALO && lane < HALO + OSP_POOLS_TILE && x < args.width;
#pragma unroll 1
    for (int k = 0; k < 3; k++) {
        Pixel<T> strip[STRIP];
        __syncthreads();
        pool_strip(strip, tile + lane * PITCH, 1, first);  // a row: neighbours take other rows
#pragma unroll
        for (int i = 0; i < STRIP; i++)
            turned[lane * PITCH + first + i] = strip[i];
        __syncthreads();
        pool_strip(strip, turned + lane, PITCH, first);  // a column
        T *dst = (T *)args.dst[k];
#pragma unroll
        for (int i = 0; i < STRIP; i++) {
            const int at = first + i, y = top + at;
            tile[at * PITCH + lane] = strip[i];
            if (dst && mine && at >= HALO && at < HALO + OSP_POOLS_TILE && y < args.height)
                *(Pixel<T> *)(dst + n * args.dst_image[k] +
                              (y * args.width + x) * args.dst_pixel[k] + channel) = strip[i];
        }
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_pools[2] = {{"pools_f32", (const void *)pools<float>, true},
                                            {"pools_f16", (const void *)pools<__half>, true}};
}
