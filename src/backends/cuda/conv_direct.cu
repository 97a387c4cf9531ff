// 3x3 convolution for few channels, direct: a block keeps all its weights and the halo of one tile
// of output pixels in shared memory, and reaches the nine taps by moving where it reads the halo.
// Blocks are persistent: the next tile's halo comes in (cp.async) while this one is computed.
//
// The implicit matrix product reads its source nine times from the L2; this one about 1.3 times.
// Shared rows are pixels, swizzled by 16-byte chunks; with stride 2 even and odd columns lie apart,
// so that 16 output pixels in a row always read neighbouring pixels. Runs on sm_80 and later.
#include "backends/cuda/conv_device.cuh"

namespace {

template <int IC, int BN, int TH, int TW, int S, int WARPS_M, int WARPS_N>
struct direct_shape {
    static constexpr int THREADS = WARPS_M * WARPS_N * 32;
    static constexpr int HH = (TH - 1) * S + 3, HW = (TW - 1) * S + 3;
    static constexpr int CH = IC / 8;                  // 16-byte chunks of a pixel
    static constexpr int KC = (9 * CH + 1) / 2 * 2;    // chunks along K, whole k16 steps
    static constexpr int W_PITCH = KC + 1;             // odd: rows meet no bank twice
    static constexpr int HALO = HH * HW * CH * 16;
    static constexpr int WEIGHTS = BN * W_PITCH * 16;
    static constexpr int MT = TH * TW / 16 / WARPS_M;  // m16 tiles of a warp
    static constexpr int NT = BN / 8 / WARPS_N;
    static constexpr int OUT_PITCH = NT * 8 + 8;
    static constexpr int STAGING = WARPS_M * WARPS_N * 16 * OUT_PITCH * 2;
    static constexpr int BIAS = 2 * HALO + WEIGHTS + STAGING;  // where it lies
    static constexpr int BYTES = BIAS + BN * 4;
};

template <int IC, int BN, int TH, int TW, int S, int WARPS_M, int WARPS_N>
__global__ void __launch_bounds__(WARPS_M *WARPS_N * 32)
    conv_direct(const __grid_constant__ osp_conv_args p)
{
    using D = direct_shape<IC, BN, TH, TW, S, WARPS_M, WARPS_N>;
    constexpr int CH = D::CH, HW = D::HW, MT = D::MT, NT = D::NT;
    static_assert(TW % 16 == 0 && NT % 2 == 0 && (TH * TW / 16) % WARPS_M == 0, "tile shapes");
    OSP_DYNAMIC_SHARED(unsigned char, shared);
    const uint32_t halo_at = shared_address(shared), weights_at = halo_at + 2 * D::HALO;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int first_oc = blockIdx.y * BN;
    const int tiles_x = (p.ow + TW - 1) / TW, tiles_y = (p.oh + TH - 1) / TH;
    const int tiles = tiles_x * tiles_y * p.n;

    // Where a source column lies in a row of the halo.
    auto column = [](int x) { return S == 1 ? x : (x & 1) * ((HW + 1) / 2) + (x >> 1); };
    auto swizzle = [](int pixel) {
        return CH >= 8 ? pixel & 7 : CH == 4 ? pixel >> 1 & 3 : CH == 2 ? pixel >> 2 & 1 : 0;
    };
    const __half *const weights = static_cast<const __half *>(p.weights);
    const __half *const all = static_cast<const __half *>(p.src);
    __half *const dst = static_cast<__half *>(p.dst);
    for (int i = thread; i < BN * D::KC; i += D::THREADS) {
        const int r = i / D::KC, c = i % D::KC;
        copy16(weights_at + (r * D::W_PITCH + c) * 16,
               weights + ((int64_t)(first_oc + r) * p.k_chunks + c) * 8, true);
    }
    if (thread < BN / 4)
        copy16(halo_at + D::BIAS + thread * 16, p.bias + first_oc + thread * 4, true);
    auto fetch = [&](int tile, int buffer) {
        if (tile < tiles) {
            const int n = tile / (tiles_x * tiles_y), at = tile % (tiles_x * tiles_y);
            const int iy0 = at / tiles_x * TH * S - p.ph, ix0 = at % tiles_x * TW * S - p.pw;
            const __half *src = all + (int64_t)n * p.ih * p.iw * p.src_pitch;
            for (int i = thread; i < D::HH * HW * CH; i += D::THREADS) {
                const int c = i % CH, pixel = i / CH, y = pixel / HW, x = pixel % HW;
                const int iy = iy0 + y, ix = ix0 + x;
                const bool inside = (unsigned)iy < (unsigned)p.ih && (unsigned)ix < (unsigned)p.iw;
                const int to = y * HW + column(x);
                copy16(halo_at + buffer * D::HALO + (to * CH + (c ^ swizzle(to))) * 16,
                       inside ? src + ((int64_t)iy * p.iw + ix) * p.src_pitch + c * 8 : all,
                       inside);
            }
        }
        commit_copies();
    };
    const int warp_m = warp / WARPS_N, warp_n = warp % WARPS_N * NT * 8;
    __half *const staging =
        reinterpret_cast<__half *>(shared + 2 * D::HALO + D::WEIGHTS) + warp * 16 * D::OUT_PITCH;
    follow();  // weights and bias are on their way
    fetch(blockIdx.x, 0);
    int buffer = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, buffer ^= 1) {
        wait_copies<0>();
        __syncthreads();
        fetch(tile + gridDim.x, buffer ^ 1);
        const uint32_t halo = halo_at + buffer * D::HALO;
        // The halo's pixel of this lane's row at tap (0, 0), for each m16 tile.
        int start[MT];
#pragma unroll
        for (int i = 0; i < MT; i++) {
            const int m = warp_m * MT + i, y = m / (TW / 16), x = m % (TW / 16) * 16 + (lane & 15);
            start[i] = y * S * HW + x;
        }
        float sums[MT][NT][4] = {};
#pragma unroll
        for (int k = 0; k < D::KC / 2; k++) {
            uint32_t a[MT][4], b[NT / 2][4];
            auto offset = [&](int chunk) {
                const int tap = chunk / CH < 9 ? chunk / CH : 8, ky = tap / 3, kx = tap % 3;
                return ky * HW + column(kx);
            };
            // Two chunks of one k16 step may be of two taps only where a pixel is one chunk.
            const int off = CH > 1 || lane < 16 ? offset(k * 2) : offset(k * 2 + 1);
            const int c = CH > 1 ? k * 2 % CH + (lane >> 4) : 0;
#pragma unroll
            for (int i = 0; i < MT; i++) {
                const int pixel = start[i] + off;
                load_matrix4(a[i], halo + (pixel * CH + (c ^ swizzle(pixel))) * 16);
            }
#pragma unroll
            for (int j = 0; j < NT / 2; j++) {
                const int r = warp_n + j * 16 + (lane & 7) + ((lane >> 4) << 3);
                load_matrix4(b[j], weights_at + (r * D::W_PITCH + k * 2 + ((lane >> 3) & 1)) * 16);
            }
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int j = 0; j < NT; j++)
                    multiply(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
        const int n = tile / (tiles_x * tiles_y), at = tile % (tiles_x * tiles_y);
        const int oy0 = at / tiles_x * TH, ox0 = at % tiles_x * TW;
#pragma unroll
        for (int i = 0; i < MT; i++) {
            const int m = warp_m * MT + i, oy = oy0 + m / (TW / 16), ox = ox0 + m % (TW / 16) * 16;
            const int64_t pixel = ((int64_t)n * p.oh + oy) * p.ow + ox;
            const int r = lane / 4, c = lane % 4 * 2, left = p.oc - first_oc - warp_n - c;
            const int64_t add_at = (pixel + r) * p.add_pitch + first_oc + warp_n + c;
            finish_tiles(p, sums[i],
                         reinterpret_cast<const float *>(shared + D::BIAS) + warp_n + c,
                         {add_at, add_at + 8 * p.add_pitch},
                         {oy < p.oh && ox + r < p.ow ? left : 0,
                          oy < p.oh && ox + r + 8 < p.ow ? left : 0});
#pragma unroll
            for (int j = 0; j < NT * 2; j++)
                *reinterpret_cast<__half2 *>(staging + (r + j % 2 * 8) * D::OUT_PITCH + c +
                                             j / 2 * 8) =
                    __floats2half2_rn(sums[i][j / 2][j % 2 * 2], sums[i][j / 2][j % 2 * 2 + 1]);
            __syncwarp();
#pragma unroll
            for (int k = 0; k < NT / 2; k++) {
                const int q = k * 32 + lane, r = q / NT, c = q % NT * 8;
                if (oy < p.oh && ox + r < p.ow && first_oc + warp_n + c < p.oc)
                    *reinterpret_cast<uint4 *>(dst + (pixel + r) * p.dst_pitch + first_oc + warp_n +
                                               c) =
                        *reinterpret_cast<const uint4 *>(staging + r * D::OUT_PITCH + c);
            }
            __syncwarp();
        }
    }
}

}  // namespace

#define X(IC, BN, TH, TW, S, WM, WN)                                                               \
    const osp_conv_direct OSP_CONV_DIRECT_NAME(IC, BN, TH, TW, S, WM, WN) = {                      \
        "direct " #IC "x" #BN " " #TH "x" #TW " s" #S, IC, BN, TH, TW, S, WM *WN * 32,             \
        direct_shape<IC, BN, TH, TW, S, WM, WN>::BYTES,                                            \
        {"conv_direct " #IC "x" #BN " s" #S,                                                       \
         reinterpret_cast<const void *>(conv_direct<IC, BN, TH, TW, S, WM, WN>), true}};
extern "C" {
OSP_CONV_DIRECT_ROWS(X)
}
