// The ends of detectors: expectations over bins, and boxes with scores straight from the maps of all
// levels. Memory bounds both: every logit is read once and used once, in float32 arithmetic.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

template <typename T> constexpr bool FAST = sizeof(T) == 2;

// float32 results of float32 logits are exact, those of FP16 logits need not be.
template <typename T> __device__ __forceinline__ float power(float x)
{
    return FAST<T> ? __expf(x) : expf(x);
}

template <typename T>
__device__ __forceinline__ float expectation_of(const T *src, int64_t step, int count,
                                                const float *weights)
{
    float most = -INFINITY, total = 0, sum = 0;
    for (int k = 0; k < count; k++)
        most = fmaxf(most, as_float(src[k * step]));
    for (int k = 0; k < count; k++) {
        const float p = power<T>(as_float(src[k * step]) - most);
        total += p;
        sum = fmaf(p, weights[k], sum);
    }
    return sum / total;
}

template <typename T>
__global__ void __launch_bounds__(256)
    expectation(const __grid_constant__ osp_cuda_expectation_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.lines.count)
        return;
    int64_t at[2];
    locate(args.lines, i, at);
    args.dst[at[0]] = expectation_of((const T *)args.src + at[1], args.step, args.count,
                                     args.weights);
}

// ---- Boxes and scores ---------------------------------------------------------------------------

// N neighbours in 16-byte loads.
template <typename T, int N> __device__ __forceinline__ void load_wide(float (&out)[N], const T *from)
{
    constexpr int V = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < N / V; i++) {
        const Vector<T, V> v = *(const Vector<T, V> *)(from + i * V);
#pragma unroll
        for (int k = 0; k < V; k++)
            out[i * V + k] = as_float(v.v[k]);
    }
}

template <typename T>
__device__ __forceinline__ float distance(const osp_cuda_box_head_args &p, const osp_cuda_map &map,
                                          const T *sides, int side)
{
    const T *from = sides + side * p.bins * map.channel;
    if (!p.weights)
        return as_float(*from);
    if (!p.wide_sides)
        return expectation_of(from, map.channel, p.bins, p.weights);
    float x[OSP_HEAD_BINS];
    load_wide(x, from);
    float most = x[0], total = 0, sum = 0;
#pragma unroll
    for (int k = 1; k < OSP_HEAD_BINS; k++)
        most = fmaxf(most, x[k]);
#pragma unroll
    for (int k = 0; k < OSP_HEAD_BINS; k++) {
        const float e = power<T>(x[k] - most);
        total += e;
        sum = fmaf(e, p.weights[k], sum);
    }
    return sum / total;
}

// The two numbers of a box along one axis.
template <typename T>
__device__ __forceinline__ void make_box(const osp_cuda_box_head_args &p, const osp_cuda_map &map,
                                         const T *sides, float *dst, int axis, int at)
{
    const float place = p.places[axis * p.all + at], stride = p.strides[at];
    const float low = place - distance(p, map, sides, axis);
    const float high = place + distance(p, map, sides, axis + 2);
    dst[axis * p.dst_row] = (p.corners ? low : (low + high) * 0.5f) * stride;
    dst[(axis + 2) * p.dst_row] = (p.corners ? high : high - low) * stride;
}

template <typename T>
__device__ __forceinline__ void make_scores(const osp_cuda_box_head_args &p, const osp_cuda_map &map,
                                            const T *classes, float *dst, int first)
{
    constexpr int N = OSP_HEAD_CLASSES;
    float x[N];
    if (p.wide_classes && first + N <= p.classes) {
        load_wide(x, classes + first);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            x[i] = first + i < p.classes ? as_float(classes[(first + i) * map.channel]) : 0;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] = over_sigmoid<FAST<T>>(x[i], 1.0f);
    if (p.wide_dst && first + N <= p.classes) {
#pragma unroll
        for (int i = 0; i < N; i += 4)
            *(float4 *)(dst + 4 + first + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        if (first + i < p.classes)
            dst[(4 + first + i) * p.dst_row] = x[i];
}

// Distances are S, class logits T.
template <typename S, typename T>
__global__ void __launch_bounds__(256) box_head(const __grid_constant__ osp_cuda_box_head_args args)
{
    follow();
    int level = 0;
    while (level + 1 < args.levels && (int)blockIdx.x >= args.level[level + 1].block)
        level++;
    const osp_cuda_box_level &l = args.level[level];
    const int pixel = ((int)blockIdx.x - l.block) * OSP_HEAD_PIXELS + (int)threadIdx.x;
    if (pixel >= l.pixels)
        return;
    const int n = blockIdx.y, at = l.first + pixel;
    const S *sides = (const S *)l.sides.data + n * l.sides.image + pixel * l.sides.pixel;
    const T *classes = (const T *)l.classes.data + n * l.classes.image + pixel * l.classes.pixel;
    float *dst = args.dst + n * args.dst_image + at * args.dst_pixel;
    const int jobs = 2 + (args.classes + OSP_HEAD_CLASSES - 1) / OSP_HEAD_CLASSES;
    for (int job = threadIdx.y; job < jobs; job += blockDim.y) {
        if (job < 2)
            make_box(args, l.sides, sides, dst, job, at);
        else
            make_scores(args, l.classes, classes, dst, (job - 2) * OSP_HEAD_CLASSES);
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_expectation[2] = {
    {"expectation_f32", (const void *)expectation<float>, true},
    {"expectation_f16", (const void *)expectation<__half>, true}};
const osp_gpu_kernel osp_cuda_k_box_head[4] = {
    {"box_head_f32_f32", (const void *)box_head<float, float>, true},
    {"box_head_f32_f16", (const void *)box_head<float, __half>, true},
    {"box_head_f16_f32", (const void *)box_head<__half, float>, true},
    {"box_head_f16_f16", (const void *)box_head<__half, __half>, true}};
}
