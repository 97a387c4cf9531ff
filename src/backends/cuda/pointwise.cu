// Elementwise operators: float types in vectors where operands are dense, everything else one by
// one. Floats are computed in float, integers in int64 and narrowed by their low bits.
#include "backends/cuda/device.cuh"

namespace {

using namespace osp;

template <bool FAST>
__device__ __forceinline__ float on_floats(const osp_cuda_point_args &p, float a, float b, float c)
{
    switch (p.fn) {
    case OSP_FN_CLIP:
        return clamp(a, p.src[1] ? b : p.alpha, p.src[2] ? c : p.beta);
    case OSP_FN_EXP:
        return expf(a);
    case OSP_FN_LOG:
        return logf(a);
    case OSP_FN_SQRT:
        return sqrtf(a);
    case OSP_FN_ERF:
        return erff(a);
    case OSP_FN_SIN:
        return sinf(a);
    case OSP_FN_COS:
        return cosf(a);
    case OSP_FN_FLOOR:
        return floorf(a);
    case OSP_FN_ADD:
        return a + b;
    case OSP_FN_SUB:
        return a - b;
    case OSP_FN_MUL:
        return a * b;
    case OSP_FN_DIV:
        return a / b;
    case OSP_FN_POW:
        return powf(a, b);
    case OSP_FN_MOD:
    case OSP_FN_FMOD:
        return fmodf(a, b);
    case OSP_FN_MIN:
        return a != a || a < b ? a : b;
    case OSP_FN_MAX:
        return a != a || a > b ? a : b;
    case OSP_FN_EQUAL:
        return a == b;
    case OSP_FN_LESS:
        return a < b;
    case OSP_FN_GREATER:
        return a > b;
    default:
        return activate<FAST>(p.fn, p.alpha, p.beta, a);
    }
}

// The sign of the divisor, or of the dividend.
__device__ int64_t remainder_of(int64_t a, int64_t b, bool like_c)
{
    const int64_t rest = b == 0 || b == -1 ? 0 : a % b;
    return !like_c && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

__device__ int64_t on_ints(const osp_cuda_point_args &p, int64_t a, int64_t b, int64_t c)
{
    switch (p.fn) {
    case OSP_FN_RELU:
        return a < 0 ? 0 : a;
    case OSP_FN_CLIP: {
        const int64_t low = p.src[1] ? b : whole((double)p.alpha);
        const int64_t high = p.src[2] ? c : whole((double)p.beta);
        const int64_t up = a < low ? low : a;
        return up > high ? high : up;
    }
    case OSP_FN_NOT:
        return !a;
    case OSP_FN_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case OSP_FN_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case OSP_FN_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case OSP_FN_DIV:
        return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    case OSP_FN_MOD:
        return remainder_of(a, b, false);
    case OSP_FN_FMOD:
        return remainder_of(a, b, true);
    case OSP_FN_MIN:
        return a < b ? a : b;
    case OSP_FN_MAX:
        return a > b ? a : b;
    case OSP_FN_EQUAL:
        return a == b;
    case OSP_FN_LESS:
        return a < b;
    case OSP_FN_GREATER:
        return a > b;
    case OSP_FN_AND:
        return a && b;
    case OSP_FN_XOR:
        return !a != !b;
    default:
        return a;
    }
}

// Integer bases. Small whole exponents by multiplication: exact as long as a double is.
__device__ void power(const osp_cuda_point_args &p, const int64_t (&at)[4])
{
    const double base = (double)load_int(p.dtype[0], p.src[0], at[1]);
    const double exponent = is_float(p.dtype[1]) ? (double)load_float(p.dtype[1], p.src[1], at[2])
                                                 : (double)load_int(p.dtype[1], p.src[1], at[2]);
    double y = 1;
    if (exponent >= 0 && exponent <= 64 && exponent == floor(exponent))
        for (int i = 0; i < (int)exponent; i++)
            y *= base;
    else
        y = pow(base, exponent);
    int64_t n = whole(y);
    if (p.dst_dtype == OSP_DTYPE_INT32)
        n = n < INT32_MIN ? INT32_MIN : n > INT32_MAX ? INT32_MAX : n;
    store_int(p.dst_dtype, p.dst, at[0], n);
}

__global__ void __launch_bounds__(256) point_any(const __grid_constant__ osp_cuda_point_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[4];
    locate(args.walk, i, at);
    if (is_float(args.dtype[0])) {
        float x[3] = {0, 0, 0};
        for (int k = 0; k < 3; k++)
            if (args.src[k])
                x[k] = load_float(args.dtype[k], args.src[k], at[k + 1]);
        store_float(args.dst_dtype, args.dst, at[0], on_floats<false>(args, x[0], x[1], x[2]));
    } else if (args.fn == OSP_FN_POW) {
        power(args, at);
    } else {
        int64_t x[3] = {0, 0, 0};
        for (int k = 0; k < 3; k++)
            if (args.src[k])
                x[k] = load_int(args.dtype[k], args.src[k], at[k + 1]);
        store_int(args.dst_dtype, args.dst, at[0], on_ints(args, x[0], x[1], x[2]));
    }
}

// All operands are T. A source that is not dense gives one element for the whole vector.
template <typename T, int V>
__global__ void __launch_bounds__(256) point(const __grid_constant__ osp_cuda_point_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[4];
    locate(args.walk, i, at);
    Vector<T, V> x[3];
#pragma unroll
    for (int k = 0; k < 3; k++) {
        if (!args.src[k])
            continue;
        const T *src = (const T *)args.src[k] + at[k + 1];
        if (V > 1 && args.dense[k]) {
            x[k] = *(const Vector<T, V> *)src;
        } else {
            const T one = *src;
#pragma unroll
            for (int j = 0; j < V; j++)
                x[k].v[j] = one;
        }
    }
    constexpr bool FAST = sizeof(T) == 2;
    const bool second = args.src[1] != nullptr, third = args.src[2] != nullptr;
    Vector<T, V> y;
    auto all = [&](auto f) {
#pragma unroll
        for (int j = 0; j < V; j++)
            y.v[j] = from_float<T>(f(as_float(x[0].v[j]), second ? as_float(x[1].v[j]) : 0,
                                     third ? as_float(x[2].v[j]) : 0));
    };
    // The hot ones choose once for the whole vector.
    if (args.fn == OSP_FN_SILU)
        all([](float a, float, float) { return over_sigmoid<FAST>(a, a); });
    else if (args.fn == OSP_FN_SIGMOID)
        all([](float a, float, float) { return over_sigmoid<FAST>(a, 1.0f); });
    else if (args.fn == OSP_FN_ADD)
        all([](float a, float b, float) { return a + b; });
    else if (args.fn == OSP_FN_MUL)
        all([](float a, float b, float) { return a * b; });
    else
        all([&](float a, float b, float c) { return on_floats<FAST>(args, a, b, c); });
    *(Vector<T, V> *)((T *)args.dst + at[0]) = y;
}

template <int SIZE>
__global__ void __launch_bounds__(256) where(const __grid_constant__ osp_cuda_point_args args)
{
    follow();
    using T = typename Bytes<SIZE>::type;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[4];
    locate(args.walk, i, at);
    const bool yes = ((const uint8_t *)args.src[0])[at[1]] != 0;
    ((T *)args.dst)[at[0]] = yes ? ((const T *)args.src[1])[at[2]] : ((const T *)args.src[2])[at[3]];
}

__global__ void __launch_bounds__(256)
    batch_norm(const __grid_constant__ osp_cuda_batch_norm_args args)
{
    follow();
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= args.walk.count)
        return;
    int64_t at[3];
    locate(args.walk, i, at);
    float s[4];
    for (int k = 0; k < 4; k++)
        s[k] = load_float(args.parameter_dtype[k], args.parameters[k], at[2]);
    const float factor = s[0] / sqrtf(s[3] + args.epsilon);
    const float x = load_float(args.dtype, args.src, at[1]);
    store_float(args.dtype, args.dst, at[0], (x - s[2]) * factor + s[1]);
}

}  // namespace

extern "C" {
const osp_gpu_kernel osp_cuda_k_point[5] = {{"point_f32x4", (const void *)point<float, 4>, true},
                                            {"point_f32", (const void *)point<float, 1>, true},
                                            {"point_f16x8", (const void *)point<__half, 8>, true},
                                            {"point_f16", (const void *)point<__half, 1>, true},
                                            {"point_any", (const void *)point_any, true}};
const osp_gpu_kernel osp_cuda_k_where[4] = {{"where_1", (const void *)where<1>, true},
                                            {"where_2", (const void *)where<2>, true},
                                            {"where_4", (const void *)where<4>, true},
                                            {"where_8", (const void *)where<8>, true}};
const osp_gpu_kernel osp_cuda_k_batch_norm[1] = {{"batch_norm", (const void *)batch_norm, true}};
}
