// TopK, one block a line: a radix selection finds the k-th best element, the chosen ones are
// gathered in any order and sorted. Pairs are unique, so the result does not depend on that order.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

constexpr int BUCKETS = 256, DIGITS = 12;  // bytes of a pair, best first: 8 of key, 4 of index

// Orders like the element, larger is better; float types: -0 is 0, NaN the largest.
__device__ osp_cuda_topk_pair pair_of(const osp_cuda_topk_args &p, int64_t line, uint32_t i)
{
    const int64_t at = line + i * p.src_step;
    osp_cuda_topk_pair pair = {0, ~i, 0};
    if (p.dtype == OSP_DTYPE_INT64) {
        const int64_t x = ((const int64_t *)p.src)[at];
        pair.key = (uint64_t)(p.largest ? x : ~x) ^ (1ull << 63);
        return pair;
    }
    int32_t key;
    if (is_float(p.dtype)) {
        const float x = load_float(p.dtype, p.src, at) + 0.0f;
        const uint32_t bits = __float_as_uint(x);
        const int32_t magnitude = (int32_t)(bits & 0x7fffffff);
        key = x != x ? INT32_MAX : bits >> 31 ? -magnitude : magnitude;
    } else {
        key = (int32_t)load_int(p.dtype, p.src, at);
    }
    pair.key = (uint32_t)(p.largest ? key : ~key) ^ 0x80000000u;
    return pair;
}

__device__ __forceinline__ bool better(const osp_cuda_topk_pair &a, const osp_cuda_topk_pair &b)
{
    return a.key != b.key ? a.key > b.key : a.last > b.last;
}

__device__ __forceinline__ uint32_t digit_of(const osp_cuda_topk_pair &p, int digit)
{
    return digit < 8 ? (uint32_t)(p.key >> (56 - 8 * digit)) & 255
                     : p.last >> (24 - 8 * (digit - 8)) & 255;
}

// The leading digits that the chosen pairs have at least.
struct Prefix {
    osp_cuda_topk_pair want, mask;
    uint32_t need;  // how many of those with exactly this prefix
    uint32_t all;   // 1: all of them
};

__device__ __forceinline__ osp_cuda_topk_pair masked(const osp_cuda_topk_pair &p, const Prefix &f)
{
    return {p.key & f.mask.key, p.last & f.mask.last, 0};
}

__device__ void narrow(Prefix &f, const uint32_t *histogram, int digit)
{
    uint32_t above = 0;
    int b = BUCKETS - 1;
    while (b > 0 && above + histogram[b] < f.need)
        above += histogram[b--];
    f.need -= above;
    f.all = histogram[b] == f.need;
    if (digit < 8) {
        f.want.key |= (uint64_t)b << (56 - 8 * digit);
        f.mask.key |= 255ull << (56 - 8 * digit);
    } else {
        f.want.last |= (uint32_t)b << (24 - 8 * (digit - 8));
        f.mask.last |= 255u << (24 - 8 * (digit - 8));
    }
}

// Bitonic, best first; `count` is a power of two.
__device__ void sort(osp_cuda_topk_pair *pairs, uint32_t count)
{
    for (uint32_t size = 2; size <= count; size *= 2)
        for (uint32_t step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            for (uint32_t i = threadIdx.x; i < count / 2; i += blockDim.x) {
                const uint32_t a = 2 * i - (i & (step - 1)), b = a + step;
                const osp_cuda_topk_pair x = pairs[a], y = pairs[b];
                if (better(y, x) == ((a & size) == 0)) {
                    pairs[a] = y;
                    pairs[b] = x;
                }
            }
        }
    __syncthreads();
}

__global__ void __launch_bounds__(OSP_TOPK_THREADS)
    topk(const __grid_constant__ osp_cuda_topk_args args)
{
    follow();
    __shared__ uint32_t histogram[BUCKETS], taken;
    __shared__ Prefix prefix;
    __shared__ osp_cuda_topk_pair near_pairs[OSP_TOPK_SHARED];
    int64_t at[3];
    locate(args.outer, blockIdx.x, at);
    const bool near = args.capacity <= OSP_TOPK_SHARED;
    osp_cuda_topk_pair *pairs = near ? near_pairs
                                     : args.workspace + (int64_t)blockIdx.x * args.capacity;
    if (threadIdx.x == 0) {
        prefix = {{0, 0, 0}, {0, 0, 0}, args.k, args.k == args.length};
        taken = 0;
    }
    __syncthreads();
    for (int digit = args.dtype == OSP_DTYPE_INT64 ? 0 : 4; digit < DIGITS && !prefix.all; digit++) {
        if (threadIdx.x < BUCKETS)
            histogram[threadIdx.x] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < args.length; i += blockDim.x) {
            const osp_cuda_topk_pair p = pair_of(args, at[0], i), q = masked(p, prefix);
            if (q.key == prefix.want.key && q.last == prefix.want.last)
                atomicAdd(&histogram[digit_of(p, digit)], 1u);
        }
        __syncthreads();
        if (threadIdx.x == 0)
            narrow(prefix, histogram, digit);
        __syncthreads();
    }
    for (uint32_t i = threadIdx.x; i < args.length; i += blockDim.x) {
        const osp_cuda_topk_pair p = pair_of(args, at[0], i);
        if (!better(prefix.want, masked(p, prefix)))
            pairs[atomicAdd(&taken, 1u)] = p;
    }
    for (uint32_t i = args.k + threadIdx.x; i < args.capacity; i += blockDim.x)
        pairs[i] = {0, 0, 0};
    sort(pairs, args.capacity);
    for (uint32_t i = threadIdx.x; i < args.k; i += blockDim.x) {
        const uint32_t index = ~pairs[i].last;
        if (args.values)
            copy_element(args.dtype, args.values, at[1] + i * args.values_step, args.src,
                         at[0] + index * args.src_step);
        if (args.indices)
            args.indices[at[2] + i * args.indices_step] = index;
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_topk[1] = {{"topk", (const void *)topk, true}};
}
