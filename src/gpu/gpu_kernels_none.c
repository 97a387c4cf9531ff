// In place of the kernels where there is no CUDA toolkit to build with: names without code.
// Thread rule: no state.
#include "gpu/gpu_kernels.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers"  // the rest is zero

const osp_gpu_kernel osp_kernel_letterbox_u8 = {"letterbox_u8", 0};
const osp_gpu_kernel osp_kernel_letterbox_f16 = {"letterbox_f16", 0};
const osp_gpu_kernel osp_kernel_letterbox_f32 = {"letterbox_f32", 0};
const osp_gpu_kernel osp_kernel_boxes_scan_f16 = {"boxes_scan_f16", 0};
const osp_gpu_kernel osp_kernel_boxes_scan_f32 = {"boxes_scan_f32", 0};
const osp_gpu_kernel osp_kernel_boxes_scan_maps[4] = {{"boxes_scan_maps_f32_f32", 0},
                                                      {"boxes_scan_maps_f32_f16", 0},
                                                      {"boxes_scan_maps_f16_f32", 0},
                                                      {"boxes_scan_maps_f16_f16", 0}};
const osp_gpu_kernel osp_kernel_boxes_sort = {"boxes_sort", 0};
const osp_gpu_kernel osp_kernel_boxes_merge = {"boxes_merge", 0};
const osp_gpu_kernel osp_kernel_boxes_keep_f16 = {"boxes_keep_f16", 0};
const osp_gpu_kernel osp_kernel_boxes_keep_f32 = {"boxes_keep_f32", 0};
const osp_gpu_kernel osp_kernel_compare_f16 = {"compare_f16", 0};
const osp_gpu_kernel osp_kernel_compare_f32 = {"compare_f32", 0};
