// Gather, GatherElements, GatherND and ScatterND. No address is formed from an index outside.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

// A negative index counts from the end. false: outside.
__device__ __forceinline__ bool settle(int64_t &index, int64_t length)
{
    index += index < 0 ? length : 0;
    return index >= 0 && index < length;
}

template <int SIZE>
__global__ void __launch_bounds__(256) gather(const __grid_constant__ osp_cuda_gather_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[3];
    locate(args.walk, i, at);
    bool inside = true;
    int64_t from = at[1];
    for (int d = 0; d < args.depth; d++) {
        const int64_t place = at[2] + d * args.index_step;
        int64_t index = args.wide ? ((const int64_t *)args.indices)[place]
                                  : ((const int32_t *)args.indices)[place];
        inside = inside && settle(index, args.length[d]);
        from += index * args.step[d];
    }
    T x = {};
    if (inside)
        x = ((const T *)args.src)[from];
    ((T *)args.dst)[at[0]] = x;
}

// Where tuple t goes: an offset in dst, and the number of its slice. false: outside.
__device__ bool target(const osp_cuda_scatter_args &p, int64_t indices, int64_t *offset,
                       int64_t *slice)
{
    bool inside = true;
    *offset = *slice = 0;
    for (int d = 0; d < p.depth; d++) {
        int64_t index = p.indices[indices + d * p.index_step];
        inside = inside && settle(index, p.length[d]);
        *offset += index * p.step[d];
        *slice += index * p.slice_step[d];
    }
    return inside;
}

__global__ void __launch_bounds__(256)
    scatter_mark(const __grid_constant__ osp_cuda_scatter_args args)
{
    follow();
    const uint32_t t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= args.tuples)
        return;
    int64_t lead[2], offset, slice;
    locate(args.lead, t, lead);
    if (target(args, lead[0], &offset, &slice))
        atomicMax(args.winner + slice, (int32_t)t);
}

template <int SIZE>
__global__ void __launch_bounds__(256)
    scatter_move(const __grid_constant__ osp_cuda_scatter_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    const uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t t = (uint32_t)(i / args.count), e = (uint32_t)(i % args.count);
    if (t >= args.tuples)
        return;
    int64_t lead[2], at[2], offset, slice;
    locate(args.lead, t, lead);
    if (!target(args, lead[0], &offset, &slice) || args.winner[slice] != (int32_t)t)
        return;
    locate(args.slice, e, at);
    ((T *)args.dst)[offset + at[0]] = ((const T *)args.updates)[lead[1] + at[1]];
}

__device__ float reduce_float(int how, float a, float b)
{
    switch (how) {
    case 1:
        return a + b;
    case 2:
        return a * b;
    case 3:
        return a < b || b != b ? b : a;
    default:
        return b < a || b != b ? b : a;
    }
}

__device__ int64_t reduce_int(int how, int64_t a, int64_t b)
{
    switch (how) {
    case 1:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case 2:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case 3:
        return a < b ? b : a;
    default:
        return b < a ? b : a;
    }
}

__global__ void __launch_bounds__(256)
    scatter_reduce(const __grid_constant__ osp_cuda_scatter_args args)
{
    follow();
    const uint32_t e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= args.count)
        return;
    int64_t lead[2], at[2], offset, slice;
    locate(args.slice, e, at);
    for (uint32_t t = 0; t < args.tuples; t++) {
        locate(args.lead, t, lead);
        if (!target(args, lead[0], &offset, &slice))
            continue;
        const int64_t to = offset + at[0], from = lead[1] + at[1];
        if (is_float(args.dtype))
            store_float(args.dtype, args.dst, to,
                        reduce_float(args.how, load_float(args.dtype, args.dst, to),
                                     load_float(args.dtype, args.updates, from)));
        else
            store_int(args.dtype, args.dst, to,
                      reduce_int(args.how, load_int(args.dtype, args.dst, to),
                                 load_int(args.dtype, args.updates, from)));
    }
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_gather[OSP_CUDA_SIZES] = {{"gather_1", (const void *)gather<1>, true},
                                                          {"gather_2", (const void *)gather<2>, true},
                                                          {"gather_4", (const void *)gather<4>, true},
                                                          {"gather_8", (const void *)gather<8>, true},
                                                          {"gather_16", (const void *)gather<16>, true}};
const osp_gpu_kernel osp_cuda_k_scatter_mark[1] = {{"scatter_mark", (const void *)scatter_mark, true}};
const osp_gpu_kernel osp_cuda_k_scatter_move[4] = {
    {"scatter_move_1", (const void *)scatter_move<1>, true},
    {"scatter_move_2", (const void *)scatter_move<2>, true},
    {"scatter_move_4", (const void *)scatter_move<4>, true},
    {"scatter_move_8", (const void *)scatter_move<8>, true}};
const osp_gpu_kernel osp_cuda_k_scatter_reduce[1] = {
    {"scatter_reduce", (const void *)scatter_reduce, true}};
}
