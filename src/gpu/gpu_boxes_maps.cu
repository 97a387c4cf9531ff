// Candidates straight from a detector's maps, in place of osprey.BoxHead and of the scan of its result
// (gpu_boxes.cu): the same keys, and the boxes where BoxHead would put them, bit for bit.
//
// Four threads a row. The largest of a row's logits decides whether it can pass the threshold; what can
// gets its scores worked out, and what passes a side of its box by each of its threads. So nothing is
// written but what passes, and little is read but the logits.
#include "gpu/gpu_boxes.cuh"
#include "gpu/gpu_head.cuh"

namespace {

using namespace osp;

constexpr int SHARE = OSP_BOXES_SHARE;

// Calls visit(class, logit) for this thread's part of a pixel's logits, by rising classes.
template <typename T, typename F>
__device__ __forceinline__ void each_logit(const osp_head_maps &m, int64_t step, const T *logits,
                                           F visit)
{
    constexpr int V = 16 / sizeof(T);
    const int share = threadIdx.x % SHARE;
    if (!m.wide_classes) {
        for (int c = share; c < m.classes; c += SHARE)
            visit(c, as_float(logits[c * step]));
        return;
    }
#pragma unroll 2
    for (int c = share * V; c < m.classes; c += SHARE * V) {
        float x[V];
        load_wide(x, logits + c);
#pragma unroll
        for (int k = 0; k < V; k++)
            visit(c + k, x[k]);
    }
}

// Writes centre and size of the rows that pass, a side for each of a row's threads. All lanes of a
// warp come. `sides`: of the row's pixel; `out`: of the image.
template <typename T>
__device__ __forceinline__ void write_box(const osp_head_maps &m, const osp_gpu_map &map,
                                          const T *sides, int row, bool pass, float *out)
{
    const int side = threadIdx.x % SHARE, axis = side % 2;
    const float mine = pass ? distance(m, map, sides, side) : 0;
    const float opposite = __shfl_xor_sync(ALL, mine, 2);
    if (!pass)
        return;
    const bool before = side < 2;
    const float stride = m.strides[row];
    const Span s = span_of(m.places[axis * m.all + row], before ? mine : opposite,
                           before ? opposite : mine);
    out[(int64_t)side * m.all + row] = before ? centre_of(s, stride) : size_of(s, stride);
}

// Distances are S, class logits T.
template <typename S, typename T>
__global__ void __launch_bounds__(SCAN) scan_maps(const __grid_constant__ osp_boxes_maps_args args)
{
    const osp_boxes_args &a = args.boxes;
    const osp_head_maps &m = args.maps;
    const int row = (blockIdx.x * SCAN + threadIdx.x) / SHARE, image = blockIdx.y;
    const bool in = row < m.all;
    int level = 0;
    while (in && level + 1 < m.levels && row >= m.level[level + 1].first)
        level++;
    const osp_head_level &l = m.level[level];
    const int pixel = in ? row - l.first : 0;
    const T *logits = pixel_of<T>(l.classes, image, pixel);
    float most = -INFINITY;  // NaN is passed over here as it is below
    if (in)
        each_logit(m, l.classes.channel, logits, [&](int, float x) { most = fmaxf(most, x); });
    for (int step = SHARE / 2; step; step /= 2)
        most = fmaxf(most, __shfl_xor_sync(ALL, most, step));
    const bool likely = most > args.logit_bound;
    if (!__any_sync(ALL, likely))
        return;
    // Scores of different logits may be equal, and then the first class counts: all are made.
    Best best = {-INFINITY, 0};
    if (likely)
        each_logit(m, l.classes.channel, logits, [&](int c, float x) {
            const float score = score_of<T>(x);
            if (score > best.score)
                best = {score, c};
        });
    best = best_of_lanes<SHARE>(best);
    const bool pass = passes(a, best);
    write_box(m, l.sides, pixel_of<S>(l.sides, image, pixel), row, pass,
              args.out + (int64_t)image * (4 + m.classes) * m.all);
    append(a, image, row, best, pass && threadIdx.x % SHARE == 0);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_kernel_boxes_scan_maps[4] = {
    {"boxes_scan_maps_f32_f32", (const void *)scan_maps<float, float>},
    {"boxes_scan_maps_f32_f16", (const void *)scan_maps<float, __half>},
    {"boxes_scan_maps_f16_f32", (const void *)scan_maps<__half, float>},
    {"boxes_scan_maps_f16_f16", (const void *)scan_maps<__half, __half>}};
}
