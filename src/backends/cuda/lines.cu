// Softmax, reductions and layer normalization: each line by a team of threads, whose order of adding
// up is always the same.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

struct Largest {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a != a || a > b ? a : b;  // NaN stays
    }
};
struct Sum {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

// The threads of one line: blockDim.x of them, of one warp where a block has several lines.
struct Rows {
    uint32_t line, rank, size;
    __device__ Rows()
        : line(blockIdx.x * blockDim.y + threadIdx.y), rank(threadIdx.x), size(blockDim.x)
    {
    }
    template <typename T, typename F> __device__ T all(T x, F f) const
    {
        __shared__ T part[32];
#pragma unroll
        for (int step = 16; step > 0; step /= 2)
            x = f(x, __shfl_xor_sync(0xffffffffu, x, step));
        if (size == 32)
            return x;
        __syncthreads();
        if (threadIdx.x % 32 == 0)
            part[threadIdx.x / 32] = x;
        __syncthreads();
        x = part[0];
        for (uint32_t i = 1; i < size / 32; i++)
            x = f(x, part[i]);
        return x;
    }
};

// 32 neighbouring lines, blockDim.y threads each.
struct Columns {
    uint32_t line, rank, size;
    __device__ Columns()
        : line(blockIdx.x * 32 + threadIdx.x), rank(threadIdx.y), size(blockDim.y)
    {
    }
    template <typename T, typename F> __device__ T all(T x, F f) const
    {
        __shared__ T part[32][33];
        __syncthreads();
        part[threadIdx.y][threadIdx.x] = x;
        __syncthreads();
        x = part[0][threadIdx.x];
        for (uint32_t i = 1; i < size; i++)
            x = f(x, part[i][threadIdx.x]);
        return x;
    }
};

template <typename Team, typename T>
__global__ void softmax(const __grid_constant__ osp_cuda_line_args args)
{
    follow();
    const Team team;
    const bool active = team.line < args.lines.outer.count;
    const uint32_t count = active ? args.lines.inner.count : 0;
    int64_t base[2], at[2];
    locate(args.lines.outer, active ? team.line : 0, base);
    T *dst = (T *)args.dst + base[0];
    const T *src = (const T *)args.src + base[1];
    float most = -INFINITY, sum = 0;
    // The first few elements stay in registers.
    constexpr int KEPT = 4;
    float kept[KEPT];
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const uint32_t i = team.rank + k * team.size;
        kept[k] = -INFINITY;
        if (i < count) {
            locate(args.lines.inner, i, at);
            kept[k] = as_float(src[at[1]]);
            most = kept[k] > most ? kept[k] : most;
        }
    }
    const uint32_t rest = team.rank + KEPT * team.size;
    for (uint32_t i = rest; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        const float x = as_float(src[at[1]]);
        most = x > most ? x : most;
    }
    most = team.all(most, Largest());
#pragma unroll
    for (int k = 0; k < KEPT; k++)
        if (team.rank + k * team.size < count) {
            kept[k] = expf(kept[k] - most);
            sum += kept[k];
        }
    for (uint32_t i = rest; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        sum += expf(as_float(src[at[1]]) - most);
    }
    sum = team.all(sum, Sum());
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const uint32_t i = team.rank + k * team.size;
        if (i < count) {
            locate(args.lines.inner, i, at);
            dst[at[0]] = from_float<T>(kept[k] / sum);
        }
    }
    for (uint32_t i = rest; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        dst[at[0]] = from_float<T>(expf(as_float(src[at[1]]) - most) / sum);
    }
}

// Sums of floats are in double: a long line of mixed signs keeps its digits.
template <typename Team, typename T>
__global__ void reduce_floats(const __grid_constant__ osp_cuda_line_args args)
{
    follow();
    const Team team;
    const bool active = team.line < args.lines.outer.count;
    const uint32_t count = active ? args.lines.inner.count : 0;
    int64_t base[2], at[2];
    locate(args.lines.outer, active ? team.line : 0, base);
    const T *src = (const T *)args.src + base[1];
    if (args.kind == OSP_LINE_MAX) {
        float most = -INFINITY;
        for (uint32_t i = team.rank; i < count; i += team.size) {
            locate(args.lines.inner, i, at);
            most = Largest()(most, as_float(src[at[1]]));
            if (as_float(src[at[1]]) != as_float(src[at[1]]))
                most = as_float(src[at[1]]);
        }
        // A NaN of any thread wins, from whichever side it comes.
        const float nan = team.all(most != most ? 1.0f : 0.0f, Largest());
        most = team.all(most != most ? -INFINITY : most, Largest());
        if (active && team.rank == 0)
            ((T *)args.dst)[base[0]] = from_float<T>(nan > 0 ? NAN : most);
        return;
    }
    double sum = 0;
    for (uint32_t i = team.rank; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        sum += (double)as_float(src[at[1]]);
    }
    sum = team.all(sum, Sum());
    if (active && team.rank == 0)
        ((T *)args.dst)[base[0]] = from_float<T>(
            (float)(args.kind == OSP_LINE_SUM || count == 0 ? sum : sum / count));
}

__device__ long long lowest(int dtype)
{
    return dtype == OSP_DTYPE_INT32   ? INT32_MIN
           : dtype == OSP_DTYPE_INT64 ? INT64_MIN
           : dtype == OSP_DTYPE_INT8  ? INT8_MIN
                                      : 0;
}

template <typename Team>
__global__ void reduce_ints(const __grid_constant__ osp_cuda_line_args args)
{
    follow();
    const Team team;
    const bool active = team.line < args.lines.outer.count, max = args.kind == OSP_LINE_MAX;
    const uint32_t count = active ? args.lines.inner.count : 0;
    int64_t base[2], at[2];
    locate(args.lines.outer, active ? team.line : 0, base);
    long long y = max ? lowest(args.dtype) : 0;
    for (uint32_t i = team.rank; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        const long long x = load_int(args.dtype, args.src, base[1] + at[1]);
        y = max ? (x > y ? x : y) : (long long)((uint64_t)y + (uint64_t)x);
    }
    y = max ? team.all(y, Largest())
            : (long long)team.all((unsigned long long)y, Sum());
    if (active && team.rank == 0)
        store_int(args.dtype, args.dst, base[0], args.kind == OSP_LINE_MEAN && count ? y / count : y);
}

__global__ void layer_norm(const __grid_constant__ osp_cuda_layer_norm_args args)
{
    follow();
    const Rows team;
    const bool active = team.line < args.lines.outer.count;
    const uint32_t count = active ? args.lines.inner.count : 0;
    int64_t base[4], at[4];
    locate(args.lines.outer, active ? team.line : 0, base);
    float sum = 0, squares = 0;
    for (uint32_t i = team.rank; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        sum += load_float(args.dtype, args.src, base[1] + at[1]);
    }
    const float mean = team.all(sum, Sum()) / count;
    for (uint32_t i = team.rank; i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        const float d = load_float(args.dtype, args.src, base[1] + at[1]) - mean;
        squares += d * d;
    }
    const float inverse = 1.0f / sqrtf(team.all(squares, Sum()) / count + args.epsilon);
    if (!active)
        return;
    if (team.rank == 0 && args.mean)
        args.mean[team.line] = mean;
    if (team.rank == 0 && args.deviation)
        args.deviation[team.line] = inverse;
    for (uint32_t i = team.rank; args.dst && i < count; i += team.size) {
        locate(args.lines.inner, i, at);
        float y = (load_float(args.dtype, args.src, base[1] + at[1]) - mean) * inverse;
        y *= load_float(args.scale_dtype, args.scale, base[2] + at[2]);
        if (args.bias)
            y += load_float(args.bias_dtype, args.bias, base[3] + at[3]);
        store_float(args.dtype, args.dst, base[0] + at[0], y);
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_softmax[4] = {
    {"softmax_rows_f32", (const void *)softmax<Rows, float>, true},
    {"softmax_columns_f32", (const void *)softmax<Columns, float>, true},
    {"softmax_rows_f16", (const void *)softmax<Rows, __half>, true},
    {"softmax_columns_f16", (const void *)softmax<Columns, __half>, true}};
const osp_gpu_kernel osp_cuda_k_reduce[6] = {
    {"reduce_rows_f32", (const void *)reduce_floats<Rows, float>, true},
    {"reduce_columns_f32", (const void *)reduce_floats<Columns, float>, true},
    {"reduce_rows_f16", (const void *)reduce_floats<Rows, __half>, true},
    {"reduce_columns_f16", (const void *)reduce_floats<Columns, __half>, true},
    {"reduce_rows_int", (const void *)reduce_ints<Rows>, true},
    {"reduce_columns_int", (const void *)reduce_ints<Columns>, true}};
const osp_gpu_kernel osp_cuda_k_layer_norm[1] = {{"layer_norm", (const void *)layer_norm, true}};
}
