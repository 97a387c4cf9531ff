// Output tensors to boxes: the arithmetic of src/vision (heads.c, nms.c, letterbox.c) in the same
// order, so that the bits agree.
//
//   scan    a thread per row (a warp per row where a row's classes lie together) finds the best class
//           and appends a key for what passes; the order of appending does not matter, because keys
//           are unique and get sorted
//           (where a detector's maps are given, gpu_boxes_maps.cu in its place)
//   sort    chunks of 4096 keys, each by a bitonic network in shared memory
//   merge   a key's place among all chunks is the sum of its places in each: binary searches
//   keep    one block an image goes down the sorted keys in tiles: drops what overlaps a box kept
//           before, then settles the rest 256 at a time by a matrix of overlaps, and stops when all
//           room is taken
#include "base/sigmoid.h"
#include "gpu/gpu_boxes.cuh"

namespace {

using namespace osp;

constexpr int CHUNK = OSP_BOXES_CHUNK, THREADS = OSP_BOXES_THREADS;
constexpr int PART = 256, WORDS = PART / WARP;  // PART: boxes of one matrix

__device__ __forceinline__ float value(const float *p)
{
    return __ldg(p);
}

__device__ __forceinline__ float value(const __half *p)
{
    return __half2float(*p);
}

// Values of a row of the boxes' tensor (or planes of all).
__device__ __forceinline__ int row_values(const osp_boxes_args &a)
{
    switch (a.head) {
    case OSP_HEAD_YOLO8:
        return 4 + a.classes;
    case OSP_HEAD_YOLO5:
        return 5 + a.classes;
    case OSP_HEAD_DETR_PAIR:
        return 4;
    default:
        return 6;
    }
}

template <typename T>
__device__ __forceinline__ const T *image_of(const osp_boxes_args &a, const void *tensor,
                                             int values, int image)
{
    return (const T *)tensor + (int64_t)image * a.rows * values;
}

struct Box {
    float x1, y1, x2, y2;
};

__device__ __forceinline__ Box corners(float cx, float cy, float w, float h)
{
    const float x = w / 2, y = h / 2;
    return {cx - x, cy - y, cx + x, cy + y};
}

__device__ __forceinline__ bool finite(const Box &b)
{
    return isfinite(b.x1) && isfinite(b.y1) && isfinite(b.x2) && isfinite(b.y2);
}

// In input pixels.
template <typename T> __device__ Box box_of(const osp_boxes_args &a, int image, int row)
{
    const int values = row_values(a);
    const T *p = image_of<T>(a, a.boxes, values, image);
    if (a.head == OSP_HEAD_YOLO8) {
        const int64_t n = a.rows;
        p += row;
        return corners(value(p), value(p + n), value(p + 2 * n), value(p + 3 * n));
    }
    p += (int64_t)row * values;
    const float v0 = value(p), v1 = value(p + 1), v2 = value(p + 2), v3 = value(p + 3);
    if (a.head == OSP_HEAD_YOLO5)
        return corners(v0, v1, v2, v3);
    if (a.head == OSP_HEAD_DETR || a.head == OSP_HEAD_DETR_PAIR)
        return corners(v0 * a.input_w, v1 * a.input_h, v2 * a.input_w, v3 * a.input_h);
    return {v0, v1, v2, v3};
}

// ---- scan ---------------------------------------------------------------------------------------

// Planes of rows: the first of the largest classes, by running maxima.
template <typename T> __device__ Best best_of_planes(const osp_boxes_args &a, int image, int row)
{
    const int64_t rows = a.rows;
    const T *p = image_of<T>(a, a.boxes, 4 + a.classes, image) + 4 * rows + row;
    Best best = {-INFINITY, 0};
#pragma unroll 16
    for (int c = 0; c < a.classes; c++, p += rows) {
        const float score = value(p);
        if (score > best.score)
            best = {score, c};
    }
    return best;
}

// The same over `count` neighbours, by a whole warp; every lane gets the answer.
template <typename T> __device__ Best best_of_line(const T *p, int count)
{
    Best best = {-INFINITY, 0};
    for (int c = threadIdx.x % WARP; c < count; c += WARP) {
        const float score = value(p + c);
        if (score > best.score)
            best = {score, c};
    }
    return best_of_lanes<WARP>(best);
}

// Rows of scores: the warp takes the rows of its lanes one by one, those that can matter.
template <typename T>
__device__ Best best_of_rows(const osp_boxes_args &a, int image, int row, bool in)
{
    const bool pair = a.head == OSP_HEAD_DETR_PAIR;
    const int values = pair ? a.classes : 5 + a.classes, skip = pair ? 0 : 5;
    const T *tensor = image_of<T>(a, pair ? a.scores : a.boxes, values, image);
    const float object = in && !pair ? value(tensor + (int64_t)row * values + 4) : 0;
    const int lane = threadIdx.x % WARP;
    Best mine = {0, 0};
    unsigned open = __ballot_sync(ALL, in && (pair || object > a.score_threshold));
    for (; open; open &= open - 1) {
        const int owner = __ffs(open) - 1;
        const T *p = tensor + (int64_t)(row - lane + owner) * values + skip;
        const Best best = best_of_line(p, a.classes);
        if (lane == owner) {
            const float score = value(p + best.class_id);
            mine = {pair ? osp_sigmoid(score) : object * score, best.class_id};
        }
    }
    return mine;
}

template <typename T> __device__ Best best_of_six(const osp_boxes_args &a, int image, int row)
{
    const T *p = image_of<T>(a, a.boxes, 6, image) + (int64_t)row * 6;
    const float class_id = value(p + 5);
    if (!(class_id > -0.5f && class_id < (float)OSP_BOXES_CLASSES_MAX - 0.5f))
        return {0, 0};
    return {value(p + 4), __float2int_rn(class_id)};
}

template <typename T> __global__ void __launch_bounds__(SCAN) scan(const osp_boxes_args a)
{
    const int row = blockIdx.x * SCAN + threadIdx.x, image = blockIdx.y;
    const bool in = row < a.rows;
    Best best = {0, 0};
    if (a.head == OSP_HEAD_YOLO5 || a.head == OSP_HEAD_DETR_PAIR)
        best = best_of_rows<T>(a, image, row, in);
    else if (in)
        best = a.head == OSP_HEAD_YOLO8 ? best_of_planes<T>(a, image, row)
                                        : best_of_six<T>(a, image, row);
    bool pass = in && passes(a, best);
    if (pass && !a.suppress)  // what cannot be drawn must not use up room
        pass = finite(box_of<T>(a, image, row));
    append(a, image, row, best, pass);
}

// ---- sort and merge -----------------------------------------------------------------------------

__global__ void __launch_bounds__(THREADS, 1) sort(const osp_boxes_args a)
{
    __shared__ uint64_t keys[CHUNK];
    const int image = blockIdx.y, begin = blockIdx.x * CHUNK, thread = threadIdx.x;
    const int count = a.counts[image];
    if (begin >= count)
        return;
    const int n = min(CHUNK, count - begin);
    uint64_t *chunk = a.keys + (int64_t)image * a.rows + begin;
    int size = 2;
    while (size < n)
        size *= 2;
    for (int i = thread; i < size; i += THREADS)
        keys[i] = i < n ? chunk[i] : ~(uint64_t)0;
    __syncthreads();
    for (int run = 2; run <= size; run *= 2)
        for (int step = run / 2; step; step /= 2) {
            for (int t = thread; t < size / 2; t += THREADS) {
                const int i = 2 * t - (t & (step - 1)), j = i + step;
                const uint64_t x = keys[i], y = keys[j];
                if ((x > y) == ((i & run) == 0)) {
                    keys[i] = y;
                    keys[j] = x;
                }
            }
            __syncthreads();
        }
    if (count <= CHUNK) {  // the only chunk: nothing to merge
        chunk = a.sorted + (int64_t)image * a.limit;
        for (int i = thread; i < min(n, a.limit); i += THREADS)
            chunk[i] = keys[i];
        return;
    }
    for (int i = thread; i < n; i += THREADS)
        chunk[i] = keys[i];
}

// How many of `n` sorted keys are smaller.
__device__ int smaller_keys(const uint64_t *keys, int n, uint64_t key)
{
    int low = 0;
    while (n > 0) {
        const int half = n / 2;
        const bool right = keys[low + half] < key;
        low = right ? low + half + 1 : low;
        n = right ? n - half - 1 : half;
    }
    return low;
}

__global__ void __launch_bounds__(SCAN) merge(const osp_boxes_args a)
{
    const int image = blockIdx.y, i = blockIdx.x * SCAN + threadIdx.x;
    const int count = a.counts[image];
    if (count <= CHUNK || i >= count)
        return;
    const uint64_t *keys = a.keys + (int64_t)image * a.rows;
    const uint64_t key = keys[i];
    int place = i % CHUNK;
    for (int begin = 0; begin < count && place < a.limit; begin += CHUNK)
        if (begin != i - i % CHUNK)
            place += smaller_keys(keys + begin, min(CHUNK, count - begin), key);
    if (place < a.limit)
        a.sorted[(int64_t)image * a.limit + place] = key;
}

// ---- keep ---------------------------------------------------------------------------------------

__device__ __forceinline__ float larger(float a, float b)
{
    return a > b ? a : b;
}

__device__ __forceinline__ float smaller(float a, float b)
{
    return a < b ? a : b;
}

struct Candidate {
    Box box;
    float area;
    int class_id;
};

// Whether a box kept before suppresses this one.
__device__ __forceinline__ bool suppressed(const Candidate &c, const Candidate &kept,
                                           const osp_boxes_args &a)
{
    if (!a.agnostic && c.class_id != kept.class_id)
        return false;
    const Box &p = c.box, &q = kept.box;
    const float w = larger(smaller(p.x2, q.x2) - larger(p.x1, q.x1), 0);
    const float h = larger(smaller(p.y2, q.y2) - larger(p.y1, q.y1), 0);
    const float common = w * h;
    // Nothing in common is no overlap at any threshold, and needs no division.
    return common > 0 && common / (c.area + kept.area - common) > a.iou_threshold;
}

__device__ __forceinline__ Candidate load_kept(const osp_boxes_kept *k)
{
    return {{k->x1, k->y1, k->x2, k->y2}, k->area, k->class_id};
}

__device__ __forceinline__ float clip(float v, float top)
{
    return v < 0 ? 0 : v > top ? top : v;
}

// Box number `at` of the image's result, in source pixels.
__device__ void write_result(const osp_boxes_args &a, int image, int at, const Box &b, uint64_t key,
                             int class_id)
{
    const osp_gpu_fit f = a.fits[image];
    const float left = (float)f.left, top = (float)f.top, w = (float)f.src_w, h = (float)f.src_h;
    float *out = a.result + ((int64_t)image * a.max_detections + at) * 6;
    out[0] = clip((b.x1 - left) / f.scale_x, w);
    out[1] = clip((b.y1 - top) / f.scale_y, h);
    out[2] = clip((b.x2 - left) / f.scale_x, w);
    out[3] = clip((b.y2 - top) / f.scale_y, h);
    out[4] = __uint_as_float(~(unsigned)(key >> 32));
    out[5] = __int_as_float(class_id);
}

// What the block knows of a tile: its candidates that no box kept before the tile suppresses.
struct Tile {
    Candidate candidate[THREADS];
    uint64_t key[THREADS];
    unsigned matrix[PART][WORDS];  // bit: the row's box suppresses the column's, a later one
    unsigned dead[WORDS];          // of the part: suppressed by boxes that the tile kept before
    int order[PART];               // of the part: what is kept
    int warp_count[THREADS / WARP];
    int kept;
};

// Loads a tile and leaves in it what survives the `kept` boxes so far, in order. Returns how many.
template <typename T>
__device__ int load_tile(Tile &t, const osp_boxes_args &a, int image, int begin, int count,
                         int kept)
{
    const int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    const osp_boxes_kept *before = a.kept + (int64_t)image * a.capacity;
    Candidate c = {};
    uint64_t key = 0;
    bool alive = begin + thread < count;
    if (alive) {
        key = a.sorted[(int64_t)image * a.limit + begin + thread];
        c.box = box_of<T>(a, image, (int)(unsigned)key);
        c.area = (c.box.x2 - c.box.x1) * (c.box.y2 - c.box.y1);
        c.class_id = a.class_of[(int64_t)image * a.rows + (unsigned)key];
        alive = finite(c.box);
    }
    for (int k = 0; k < kept && alive; k++)
        alive = !suppressed(c, load_kept(before + k), a);
    const unsigned living = __ballot_sync(ALL, alive);
    if (lane == 0)
        t.warp_count[warp] = __popc(living);
    __syncthreads();
    int at = __popc(living & ((1u << lane) - 1)), total = 0;
    for (int w = 0; w < THREADS / WARP; w++) {
        at += w < warp ? t.warp_count[w] : 0;
        total += t.warp_count[w];
    }
    if (alive) {
        t.candidate[at] = c;
        t.key[at] = key;
    }
    __syncthreads();
    return total;
}

// Overlaps within the part that begins at `first`, and with what the tile kept (from..kept).
__device__ void fill_matrix(Tile &t, const osp_boxes_args &a, int image, int first, int size,
                            int from, int kept)
{
    const int row = threadIdx.x % PART, share = threadIdx.x / PART, shares = THREADS / PART;
    const osp_boxes_kept *before = a.kept + (int64_t)image * a.capacity;
    if (threadIdx.x < WORDS)
        t.dead[threadIdx.x] = 0;
    __syncthreads();
    if (row < size) {
        const Candidate mine = t.candidate[first + row];
        bool dead = false;
        for (int k = from + share; k < kept && !dead; k += shares)
            dead = suppressed(mine, load_kept(before + k), a);
        if (dead)
            atomicOr(&t.dead[row / WARP], 1u << row % WARP);
        for (int word = share; word < WORDS; word += shares) {
            unsigned bits = 0;
            const int begin = word * WARP, end = min(begin + WARP, size);
            for (int column = max(begin, row + 1); column < end; column++)
                if (suppressed(t.candidate[first + column], mine, a))
                    bits |= 1u << (column - begin);
            t.matrix[row][word] = bits;
        }
    }
    __syncthreads();
}

// One warp goes through the part in order; t.order gets what is kept, at most `room`. Returns how
// many.
__device__ int settle(Tile &t, int size, int room)
{
    const int lane = threadIdx.x % WARP;
    unsigned removed = lane < WORDS ? t.dead[lane] : 0;  // lane w has word w
    int found = 0;
    for (int word = 0; word * WARP < size && found < room; word++) {
        const int row = word * WARP + lane, rest = size - word * WARP;
        unsigned open = ~__shfl_sync(ALL, removed, word) & (rest < WARP ? (1u << rest) - 1 : ALL);
        const unsigned own = row < size ? t.matrix[row][word] : 0;
        unsigned keep = 0;
        for (int n = found; open && n < room; n++) {
            const int first = __ffs(open) - 1;
            keep |= 1u << first;
            open &= ~(__shfl_sync(ALL, own, first) | 1u << first);
        }
        const bool mine = keep >> lane & 1;
        if (mine)
            t.order[found + __popc(keep & ((1u << lane) - 1))] = row;
        found += __popc(keep);
        for (int later = word + 1; later < WORDS; later++) {
            const unsigned gone = __reduce_or_sync(ALL, mine ? t.matrix[row][later] : 0u);
            if (lane == later)
                removed |= gone;
        }
    }
    return found;
}

template <typename T>
__device__ int keep_unsuppressed(Tile &t, const osp_boxes_args &a, int image, int count)
{
    osp_boxes_kept *list = a.kept + (int64_t)image * a.capacity;
    int kept = 0;
    for (int begin = 0; begin < count && kept < a.capacity; begin += THREADS) {
        const int from = kept, living = load_tile<T>(t, a, image, begin, count, kept);
        for (int first = 0; first < living && kept < a.capacity; first += PART) {
            const int size = min(PART, living - first);
            fill_matrix(t, a, image, first, size, from, kept);
            if (threadIdx.x < WARP) {
                const int found = settle(t, size, a.capacity - kept);
                if (threadIdx.x == 0)
                    t.kept = found;
            }
            __syncthreads();
            const int found = t.kept;
            if ((int)threadIdx.x < found) {
                const int at = first + t.order[threadIdx.x];
                const Candidate c = t.candidate[at];
                list[kept + threadIdx.x] = {c.box.x1, c.box.y1, c.box.x2, c.box.y2, c.area,
                                            c.class_id, {0, 0}};
                write_result(a, image, kept + threadIdx.x, c.box, t.key[at], c.class_id);
            }
            kept += found;
            __syncthreads();
        }
    }
    return kept;
}

template <typename T> __global__ void __launch_bounds__(THREADS, 1) keep(const osp_boxes_args a)
{
    __shared__ Tile tile;
    const int image = blockIdx.x, count = min(a.counts[image], a.limit);
    int kept = min(count, a.capacity);
    if (a.suppress) {
        kept = keep_unsuppressed<T>(tile, a, image, count);
    } else {
        for (int i = threadIdx.x; i < kept; i += THREADS) {
            const uint64_t key = a.sorted[(int64_t)image * a.limit + i];
            const int row = (int)(unsigned)key;
            write_result(a, image, i, box_of<T>(a, image, row), key,
                         a.class_of[(int64_t)image * a.rows + row]);
        }
    }
    if (threadIdx.x == 0)
        a.result_counts[image] = kept;
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_kernel_boxes_scan_f16 = {"boxes_scan_f16", (const void *)scan<__half>};
const osp_gpu_kernel osp_kernel_boxes_scan_f32 = {"boxes_scan_f32", (const void *)scan<float>};
const osp_gpu_kernel osp_kernel_boxes_sort = {"boxes_sort", (const void *)sort};
const osp_gpu_kernel osp_kernel_boxes_merge = {"boxes_merge", (const void *)merge};
const osp_gpu_kernel osp_kernel_boxes_keep_f16 = {"boxes_keep_f16", (const void *)keep<__half>};
const osp_gpu_kernel osp_kernel_boxes_keep_f32 = {"boxes_keep_f32", (const void *)keep<float>};
}
