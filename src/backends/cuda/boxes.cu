// The ends of detectors: expectations over bins, and boxes with scores straight from the maps of all
// levels. Memory bounds both: every logit is read once and used once, in float32 arithmetic.
#include "backends/cuda/device.cuh"
#include "gpu/gpu_head.cuh"

namespace {

using namespace osp;

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

// The two numbers of a box along one axis.
template <typename T>
__device__ __forceinline__ void make_box(const osp_cuda_box_head_args &p, const osp_gpu_map &map,
                                         const T *sides, float *dst, int axis, int at)
{
    const osp_head_maps &m = p.maps;
    const float stride = m.strides[at];
    const Span s = span_of(m.places[axis * m.all + at], distance(m, map, sides, axis),
                           distance(m, map, sides, axis + 2));
    dst[axis * p.dst_row] = p.corners ? s.low * stride : centre_of(s, stride);
    dst[(axis + 2) * p.dst_row] = p.corners ? s.high * stride : size_of(s, stride);
}

template <typename T>
__device__ __forceinline__ void make_scores(const osp_cuda_box_head_args &p, const osp_gpu_map &map,
                                            const T *classes, float *dst, int first)
{
    const osp_head_maps &m = p.maps;
    constexpr int N = OSP_HEAD_CLASSES;
    float x[N];
    if (m.wide_classes && first + N <= m.classes) {
        load_wide(x, classes + first);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            x[i] = first + i < m.classes ? as_float(classes[(first + i) * map.channel]) : 0;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] = score_of<T>(x[i]);
    if (p.wide_dst && first + N <= m.classes) {
#pragma unroll
        for (int i = 0; i < N; i += 4)
            *(float4 *)(dst + 4 + first + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        if (first + i < m.classes)
            dst[(4 + first + i) * p.dst_row] = x[i];
}

// Distances are S, class logits T.
template <typename S, typename T>
__global__ void __launch_bounds__(256) box_head(const __grid_constant__ osp_cuda_box_head_args args)
{
    follow();
    const osp_head_maps &m = args.maps;
    int level = 0;
    while (level + 1 < m.levels && (int)blockIdx.x >= args.block[level + 1])
        level++;
    const osp_head_level &l = m.level[level];
    const int pixel = ((int)blockIdx.x - args.block[level]) * OSP_HEAD_PIXELS + (int)threadIdx.x;
    if (pixel >= l.pixels)
        return;
    const int n = blockIdx.y, at = l.first + pixel;
    const S *sides = pixel_of<S>(l.sides, n, pixel);
    const T *classes = pixel_of<T>(l.classes, n, pixel);
    float *dst = args.dst + n * args.dst_image + at * args.dst_pixel;
    const int jobs = 2 + (m.classes + OSP_HEAD_CLASSES - 1) / OSP_HEAD_CLASSES;
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
