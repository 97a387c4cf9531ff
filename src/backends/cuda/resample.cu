// Resize with several taps an axis, from tables made at build, and GridSample.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

// ---- Resize -------------------------------------------------------------------------------------

__device__ __forceinline__ float weight_of(const osp_cuda_resize_args &p, int64_t i, float)
{
    return p.weights[i];
}
__device__ __forceinline__ double weight_of(const osp_cuda_resize_args &p, int64_t i, double)
{
    return p.exact_weights[i];
}

// SUM: float, or double where integers are cut off exactly as the sum says.
template <typename SUM>
__global__ void __launch_bounds__(256) resize(const __grid_constant__ osp_cuda_resize_args args)
{
    follow();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t to = 0, base = 0, entry[8];  // entry: of the first tap, by dim with several
    int dims[8], index[8], many = 0;
    bool outside = false;
    for (int d = args.walk.rank - 1; d >= 0; d--) {
        const uint32_t q = divide(i, args.walk.dims[d]), r = i - q * args.walk.dims[d].value;
        to += r * args.walk.strides[0][d];
        if (args.table[d] < 0) {
            base += r * args.walk.strides[1][d];
        } else {
            const int64_t first = args.table[d] + (int64_t)r * args.taps[d];
            outside = outside || args.offsets[first] < 0;
            dims[many] = d;
            index[many] = 0;
            entry[many++] = first;
        }
        i = q;
    }
    if (outside) {
        store_float(args.dtype, args.dst, to, args.extrapolation);
        return;
    }
    SUM sum = 0;
    for (;;) {
        SUM weight = 1;
        int64_t from = base;
        for (int m = 0; m < many; m++) {
            from += args.offsets[entry[m] + index[m]];
            weight *= weight_of(args, entry[m] + index[m], SUM());
        }
        if (weight != 0)  // an infinity with no weight does not spoil the sum
            sum += weight * (SUM)load_float(args.dtype, args.src, from);
        int m = 0;
        for (; m < many && ++index[m] == args.taps[dims[m]]; m++)
            index[m] = 0;
        if (m == many)
            break;
    }
    store_float(args.dtype, args.dst, to, (float)sum);
}

// ---- GridSample ---------------------------------------------------------------------------------

enum { LINEAR, NEAREST, CUBIC };
enum { ZEROS, BORDER, REFLECTION };

// Mirrors x at the ends of a range, as often as it takes.
__device__ float reflect(float x, float low, float high)
{
    const float range = high - low;
    if (x >= low && x <= high)
        return x;
    if (!(range > 0))
        return low;
    const float distance = x < low ? low - x : x - high;
    const float turns = floorf(distance / range), rest = distance - turns * range;
    const bool from_low = (x < low) == (fmodf(turns, 2) == 0);
    return from_low ? low + rest : high - rest;
}

struct Axis {
    float low, high;
    int length;
    __device__ Axis(const osp_cuda_sample_args &p, int a)
        : low(p.align_corners ? 0 : -0.5f),
          high((float)p.length[a] - (p.align_corners ? 1 : 0.5f)), length(p.length[a])
    {
    }
};

// Position of a pixel that may lie outside; -1: nothing there.
__device__ int64_t pixel(const osp_cuda_sample_args &p, const Axis &s, int64_t x)
{
    if (x >= 0 && x < s.length)
        return x;
    if (p.padding == ZEROS)
        return -1;
    if (p.padding == REFLECTION)
        x = (int64_t)reflect((float)x, s.low, s.high);
    return x < 0 ? 0 : x > s.length - 1 ? s.length - 1 : x;
}

__device__ float denormalize(const osp_cuda_sample_args &p, const Axis &s, float g)
{
    const float length = (float)s.length;
    float x = p.align_corners ? (g + 1) / 2 * (length - 1) : ((g + 1) * length - 1) / 2;
    if (p.mode == NEAREST)
        x = nearbyintf(x);
    if (!(x >= s.low && x <= s.high)) {
        if (p.padding == BORDER)
            x = x > length - 1 ? length - 1 : x >= 0 ? x : 0;
        else if (p.padding == REFLECTION)
            x = reflect(x, s.low, s.high);
    }
    const float far = 1099511627776.0f;  // whole pixels must fit an int64; NaN goes far outside
    return x > far ? far : x >= -far ? x : -far;
}

__device__ float cubic(float distance)
{
    const float c = -0.75f, d = fabsf(distance);
    if (d <= 1)
        return ((c + 2) * d - (c + 3)) * d * d + 1;
    return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

struct Taps {
    int count;
    int64_t offset[4];  // -1: nothing there
    float weight[4];
};

__device__ Taps taps_of(const osp_cuda_sample_args &p, int a, float g)
{
    const Axis s(p, a);
    const float x = denormalize(p, s, g);
    Taps t;
    t.count = p.mode == CUBIC ? 4 : p.mode == LINEAR ? 2 : 1;
    const int64_t first = (int64_t)floorf(x) - (p.mode == CUBIC);
    for (int i = 0; i < 4; i++) {
        const int64_t at = pixel(p, s, first + i);
        const float distance = (float)((double)(first + i) - (double)x);
        t.offset[i] = at < 0 ? -1 : at * p.step[a];
        t.weight[i] = t.count == 1 ? 1 : t.count == 2 ? 1 - fabsf(distance) : cubic(distance);
    }
    return t;
}

// One channel of one point.
__global__ void __launch_bounds__(128) sample(const __grid_constant__ osp_cuda_sample_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[3];
    locate(args.walk, i, at);
    auto number = [&](int d) {
        return load_float(args.grid_dtype, args.grid, at[2] + d * args.grid_step);
    };
    const Taps x = taps_of(args, 2, number(0)), y = taps_of(args, 1, number(1));
    Taps z = {1, {0, 0, 0, 0}, {1, 0, 0, 0}};
    if (args.dims == 3)
        z = taps_of(args, 0, number(2));
    if (args.mode == NEAREST) {
        if (z.offset[0] < 0 || y.offset[0] < 0 || x.offset[0] < 0)
            store_int(args.dtype, args.dst, at[0], 0);
        else
            copy_element(args.dtype, args.dst, at[0], args.src,
                       at[1] + z.offset[0] + y.offset[0] + x.offset[0]);
        return;
    }
    float sum = 0;
    for (int a = 0; a < z.count; a++)
        for (int b = 0; b < y.count; b++)
            for (int c = 0; c < x.count; c++) {
                const float weight = z.weight[a] * y.weight[b] * x.weight[c];
                if (weight == 0 || z.offset[a] < 0 || y.offset[b] < 0 || x.offset[c] < 0)
                    continue;
                sum += weight * load_float(args.dtype, args.src,
                                           at[1] + z.offset[a] + y.offset[b] + x.offset[c]);
            }
    store_float(args.dtype, args.dst, at[0], sum);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_resize[2] = {{"resize", (const void *)resize<float>, true},
                                             {"resize_exact", (const void *)resize<double>, true}};
const osp_gpu_kernel osp_cuda_k_sample[1] = {{"sample", (const void *)sample, true}};
}
