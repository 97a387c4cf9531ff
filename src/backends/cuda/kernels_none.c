// In place of the kernels where there is no CUDA toolkit to build with: names without code, which
// tests can play in host memory. Thread rule: no state.
#include "backends/cuda/conv_kernels.h"
#include "backends/cuda/conv_tma.h"
#include "backends/cuda/kernels.h"
#include "backends/cuda/pixel_kernels.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // the rest is zero

const osp_gpu_kernel osp_cuda_k_attention[2] = {{"attention_f32", 0}, {"attention_f16", 0}};
const osp_gpu_kernel osp_cuda_k_attention_tile[1] = {{"attention_tile", 0}};
const osp_gpu_kernel osp_cuda_k_attention_flash[9] = {
    {"attention_flash_32_32", 0},  {"attention_flash_32_64", 0},  {"attention_flash_32_128", 0},
    {"attention_flash_64_32", 0},  {"attention_flash_64_64", 0},  {"attention_flash_64_128", 0},
    {"attention_flash_128_32", 0}, {"attention_flash_128_64", 0}, {"attention_flash_128_128", 0}};
const osp_gpu_kernel osp_cuda_k_attention_split[4] = {{"attention_split_32_32", 0},
                                                      {"attention_split_32_64", 0},
                                                      {"attention_split_64_32", 0},
                                                      {"attention_split_64_64", 0}};
const osp_gpu_kernel osp_cuda_k_conv_plain[4] = {{"conv_tile_f32", 0},
                                                 {"conv_tile_f16", 0},
                                                 {"conv_each_f32", 0},
                                                 {"conv_each_f16", 0}};
const osp_gpu_kernel osp_cuda_k_gather[OSP_CUDA_SIZES] = {{"gather_1", 0},
                                                          {"gather_2", 0},
                                                          {"gather_4", 0},
                                                          {"gather_8", 0},
                                                          {"gather_16", 0}};
const osp_gpu_kernel osp_cuda_k_scatter_mark[1] = {{"scatter_mark", 0}};
const osp_gpu_kernel osp_cuda_k_scatter_move[4] = {{"scatter_move_1", 0},
                                                   {"scatter_move_2", 0},
                                                   {"scatter_move_4", 0},
                                                   {"scatter_move_8", 0}};
const osp_gpu_kernel osp_cuda_k_scatter_reduce[1] = {{"scatter_reduce", 0}};
const osp_gpu_kernel osp_cuda_k_product[OSP_PRODUCT_KERNELS] = {
    {"product_f32", 0},   {"product_int", 0},   {"product_f16", 0},
    {"product_f16_n", 0}, {"product_f16_m", 0}, {"product_f16_mn", 0}};
const osp_gpu_kernel osp_cuda_k_einsum[1] = {{"einsum", 0}};
const osp_gpu_kernel osp_cuda_k_softmax[4] = {{"softmax_rows_f32", 0},
                                              {"softmax_columns_f32", 0},
                                              {"softmax_rows_f16", 0},
                                              {"softmax_columns_f16", 0}};
const osp_gpu_kernel osp_cuda_k_reduce[6] = {{"reduce_rows_f32", 0}, {"reduce_columns_f32", 0},
                                             {"reduce_rows_f16", 0}, {"reduce_columns_f16", 0},
                                             {"reduce_rows_int", 0}, {"reduce_columns_int", 0}};
const osp_gpu_kernel osp_cuda_k_layer_norm[1] = {{"layer_norm", 0}};
const osp_gpu_kernel osp_cuda_k_copy[OSP_CUDA_SIZES] = {{"copy_1", 0},
                                                        {"copy_2", 0},
                                                        {"copy_4", 0},
                                                        {"copy_8", 0},
                                                        {"copy_16", 0}};
const osp_gpu_kernel osp_cuda_k_transpose[4] = {{"transpose_1", 0},
                                                {"transpose_2", 0},
                                                {"transpose_4", 0},
                                                {"transpose_8", 0}};
const osp_gpu_kernel osp_cuda_k_table[OSP_CUDA_SIZES] = {{"table_1", 0},
                                                         {"table_2", 0},
                                                         {"table_4", 0},
                                                         {"table_8", 0},
                                                         {"table_16", 0}};
const osp_gpu_kernel osp_cuda_k_range[1] = {{"range", 0}};
const osp_gpu_kernel osp_cuda_k_point[5] = {{"point_f32x4", 0},
                                            {"point_f32", 0},
                                            {"point_f16x8", 0},
                                            {"point_f16", 0},
                                            {"point_any", 0}};
const osp_gpu_kernel osp_cuda_k_where[4] = {{"where_1", 0},
                                            {"where_2", 0},
                                            {"where_4", 0},
                                            {"where_8", 0}};
const osp_gpu_kernel osp_cuda_k_batch_norm[1] = {{"batch_norm", 0}};
const osp_gpu_kernel osp_cuda_k_resize[2] = {{"resize", 0}, {"resize_exact", 0}};
const osp_gpu_kernel osp_cuda_k_sample[1] = {{"sample", 0}};
const osp_gpu_kernel osp_cuda_k_topk[1] = {{"topk", 0}};
const osp_gpu_kernel osp_cuda_k_pools[2] = {{"pools_f32", 0}, {"pools_f16", 0}};
const osp_gpu_kernel osp_cuda_k_expectation[2] = {{"expectation_f32", 0}, {"expectation_f16", 0}};
const osp_gpu_kernel osp_cuda_k_box_head[4] = {{"box_head_f32_f32", 0},
                                               {"box_head_f32_f16", 0},
                                               {"box_head_f16_f32", 0},
                                               {"box_head_f16_f16", 0}};
const osp_gpu_kernel osp_cuda_k_pool[5] = {{"pool_f32", 0},
                                           {"pool_f32x4", 0},
                                           {"pool_f16", 0},
                                           {"pool_f16x8", 0},
                                           {"pool_byte", 0}};

#define X(BM, BN, BK, WM, WN, S, KW)                                                               \
    const osp_conv_mma OSP_CONV_MMA_NAME(BM, BN, BK, WM, WN, S, KW) = {                            \
        "mma", BM, BN, BK, S, KW, BM / WM * (BN / WN) * KW * 32, {"conv_mma", 0}};
OSP_CONV_MMA_ROWS(X)
#undef X
#define X(BM, BN, S, BLOCKS)                                                                       \
    const osp_conv_wgmma OSP_CONV_WGMMA_NAME(BM, BN, S, BLOCKS) = {                                \
        "wgmma", BM, BN, S, BM == 64 ? 128 : 256, {"conv_wgmma", 0}};
OSP_CONV_WGMMA_ROWS(X)
#undef X
#define X(BM, BN, S, BLOCKS, MODE)                                                                 \
    const osp_conv_tma OSP_CONV_TMA_NAME(BM, BN, S, BLOCKS, MODE) = {                              \
        BM, BN, 0, S, BLOCKS, OSP_TMA_THREADS(BM), OSP_TMA_LOOP_##MODE, {"conv_tma", 0}};
OSP_CONV_TMA_ROWS(X)
#undef X
#define X(TH, TW, BN, S, BLOCKS, MODE)                                                             \
    const osp_conv_tma OSP_CONV_TMA_HALO_NAME(TH, TW, BN, S, BLOCKS,                               \
                                              MODE) = {TH * TW,                                    \
                                                       BN,                                         \
                                                       TW,                                         \
                                                       S,                                          \
                                                       BLOCKS,                                     \
                                                       OSP_TMA_THREADS(TH * TW),                   \
                                                       OSP_TMA_LOOP_##MODE,                        \
                                                       {"conv_tma_halo", 0}};
OSP_CONV_TMA_HALO_ROWS(X)
#undef X
#define X(IC, BN, TH, TW, S, WM, WN)                                                               \
    const osp_conv_direct OSP_CONV_DIRECT_NAME(IC, BN, TH, TW, S, WM, WN) = {                      \
        "direct", IC, BN, TH, TW, S, WM * WN * 32, 1, {"conv_direct", 0}};
OSP_CONV_DIRECT_ROWS(X)
#undef X
const osp_gpu_kernel osp_kernel_conv_stem[OSP_STEM_KERNELS] = {
    {"conv_stem_f16_16", 0},   {"conv_stem_f16_32", 0},  {"conv_stem_f16x2_16", 0},
    {"conv_stem_f16x2_32", 0}, {"conv_stem_f32_16", 0},  {"conv_stem_f32_32", 0},
    {"conv_stem_f32x2_16", 0}, {"conv_stem_f32x2_32", 0}};
const osp_gpu_kernel osp_kernel_conv_depthwise = {"conv_depthwise", 0};
const osp_gpu_kernel osp_kernel_conv_depthwise_3 = {"conv_depthwise_3", 0};
const osp_gpu_kernel osp_kernel_conv_depthwise_line = {"conv_depthwise_line", 0};
const osp_pixel_kernel osp_cuda_k_pixel_conv[OSP_PIXEL_KERNELS] = {
#define X(STEPS) {STEPS, {"pixel_conv_" #STEPS, 0}, {"pixel_conv_odd_" #STEPS, 0}},
    OSP_PIXEL_ROWS(X)
#undef X
};
