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

// The larger ones of the numbers of type T in two registers.
template <typename T> __device__ __forceinline__ uint32_t larger(uint32_t a, uint32_t b);
template <> __device__ __forceinline__ uint32_t larger<float>(uint32_t a, uint32_t b)
{
    return __float_as_uint(fmaxf(__uint_as_float(a), __uint_as_float(b)));
}
template <> __device__ __forceinline__ uint32_t larger<__half>(uint32_t a, uint32_t b)
{
    return bits_of(__hmax2(halves_of(a), halves_of(b)));
}
template <typename T> __device__ __forceinline__ uint4 larger(const uint4 &a, const uint4 &b)
{
    return make_uint4(larger<T>(a.x, b.x), larger<T>(a.y, b.y), larger<T>(a.z, b.z),
                      larger<T>(a.w, b.w));
}

__device__ __forceinline__ int within(int x, int length)
{
    return min(max(x, 0), length - 1);
}

// The results first .. first + STRIP - 1 of a line of pixels `step` apart.
template <typename T>
__device__ __forceinline__ void pool_strip(uint4 (&out)[STRIP], const uint4 *line, int step,
                                           int first)
{
    static_assert(REACH == 2 && STRIP == 4, "windows of five, four at a time");
    uint4 x[STRIP + 2 * REACH];
#pragma unroll
    for (int i = 0; i < STRIP + 2 * REACH; i++)
        x[i] = line[within(first + i - REACH, SIDE) * step];
    const uint4 a = larger<T>(x[1], x[2]), b = larger<T>(x[3], x[4]), c = larger<T>(x[5], x[6]);
    const uint4 ab = larger<T>(a, b), bc = larger<T>(b, c);
    out[0] = larger<T>(x[0], ab);
    out[1] = larger<T>(ab, x[5]);
    out[2] = larger<T>(x[2], bc);
    out[3] = larger<T>(bc, x[7]);
}

template <typename T>
__global__ void __launch_bounds__(OSP_POOLS_THREADS)
    pools(const __grid_constant__ osp_cuda_pools_args args)
{
    constexpr int V = 16 / sizeof(T);
    __shared__ uint4 tile[SIDE * PITCH], turned[SIDE * PITCH];
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
            *(const uint4 *)(src + (y * args.width + x) * args.src_pixel);
    }
    const int x = left + lane;
    const bool mine = lane >= HALO && lane < HALO + OSP_POOLS_TILE && x < args.width;
#pragma unroll 1
    for (int k = 0; k < 3; k++) {
        uint4 strip[STRIP];
        __syncthreads();
        pool_strip<T>(strip, tile + lane * PITCH, 1, first);  // a row: neighbours take other rows
#pragma unroll
        for (int i = 0; i < STRIP; i++)
            turned[lane * PITCH + first + i] = strip[i];
        __syncthreads();
        pool_strip<T>(strip, turned + lane, PITCH, first);  // a column
        T *dst = (T *)args.dst[k];
#pragma unroll
        for (int i = 0; i < STRIP; i++) {
            const int at = first + i, y = top + at;
            tile[at * PITCH + lane] = strip[i];
            if (dst && mine && at >= HALO && at < HALO + OSP_POOLS_TILE && y < args.height)
                *(uint4 *)(dst + n * args.dst_image[k] +
                              (y * args.width + x) * args.dst_pixel[k] + channel) = strip[i];
        }
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_pools[2] = {{"pools_f32", (const void *)pools<float>, true},
                                            {"pools_f16", (const void *)pools<__half>, true}};
}
