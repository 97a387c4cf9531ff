// The kernels and the struct that each takes: what a .cu file, its launcher in C, and tests that play
// a kernel in host memory agree on. Plain C, also valid CUDA C++. Thread rule: no state.
#ifndef OSP_GPU_GPU_KERNELS_H
#define OSP_GPU_GPU_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "base/pixels.h"
#include "gpu/gpu_types.h"

// ---- gpu_letterbox.cu ---------------------------------------------------------------------------

enum {
    OSP_GPU_IMAGES_MAX = 24,  // of one launch: kernel arguments are 4 KB at most
    OSP_LETTERBOX_TILE_W = 128,
    OSP_LETTERBOX_TILE_H = 8
};

typedef struct osp_gpu_source {
    const uint8_t *plane[3];
    uint64_t pitch[3];
    uint64_t bytes;         // of plane 0, from its first to its last pixel
    double step_x, step_y;  // source pixels per output pixel
    osp_gpu_fit fit;
    osp_yuv_matrix yuv;
    uint8_t format, halved;  // halved: both sides shrink by exactly two
} osp_gpu_source;

typedef struct osp_letterbox_args {
    void *dst;
    osp_gpu_fit *fits_out;  // NULL: nobody asks
    int32_t dst_w, dst_h;
    int64_t channel_step, pixel_step;  // elements
    osp_gpu_source source[OSP_GPU_IMAGES_MAX];
} osp_letterbox_args;

// Grid: tiles across, tiles down, images. Block: OSP_LETTERBOX_TILE_W.
extern const osp_gpu_kernel osp_kernel_letterbox_u8, osp_kernel_letterbox_f16,
    osp_kernel_letterbox_f32;

// ---- gpu_boxes.cu -------------------------------------------------------------------------------

enum {
    OSP_BOXES_SCAN = 256,          // rows of a block of scan and merge
    OSP_BOXES_CHUNK = 4096,        // keys that one block sorts
    OSP_BOXES_THREADS = 1024,      // of a block of sort and keep
    OSP_BOXES_CANDIDATES = 30000,  // that suppression looks at, as in vision/nms.h
    OSP_BOXES_CLASSES_MAX = 1 << 20
};

// A kept box while suppression goes on.
typedef struct osp_boxes_kept {
    float x1, y1, x2, y2, area;
    int32_t class_id;
    int32_t pad[2];
} osp_boxes_kept;

// A key is ~(bits of the score) << 32 | row: ascending keys are falling scores, then rising rows.
typedef struct osp_boxes_args {
    const void *boxes, *scores;
    const osp_gpu_fit *fits;
    const uint8_t *class_bits;  // NULL: all
    int32_t *counts;            // by image: keys
    uint64_t *keys;             // `rows` for each image; sorted in chunks by the second kernel
    uint64_t *sorted;           // `limit` for each image
    int32_t *class_of;          // by image and row
    osp_boxes_kept *kept;       // `capacity` for each image
    int32_t *result_counts;     // by image
    float *result;              // six numbers a box, max_detections boxes an image
    int32_t rows, classes, class_count;
    int32_t head;      // an osp_head
    int32_t suppress;  // whether its boxes overlap
    int32_t agnostic;
    int32_t limit;     // keys that matter
    int32_t capacity;  // boxes that can be kept
    int32_t max_detections;
    float input_w, input_h, score_threshold, iou_threshold;
} osp_boxes_args;

// In this order; counts are 0 before. All take osp_boxes_args.
// scan:  rows to keys.    Grid: rows / OSP_BOXES_SCAN, images. Block: OSP_BOXES_SCAN.
// sort:  chunks of keys.  Grid: rows / OSP_BOXES_CHUNK, images. Block: OSP_BOXES_THREADS.
// merge: chunks to one.   Grid: as scan. Not needed for one chunk.
// keep:  keys to boxes.   Grid: images. Block: OSP_BOXES_THREADS.
extern const osp_gpu_kernel osp_kernel_boxes_scan_f16, osp_kernel_boxes_scan_f32,
    osp_kernel_boxes_sort, osp_kernel_boxes_merge, osp_kernel_boxes_keep_f16,
    osp_kernel_boxes_keep_f32;

// ---- gpu_boxes_maps.cu --------------------------------------------------------------------------

enum { OSP_BOXES_SHARE = 4 };  // threads of a row: its box has as many sides

typedef struct osp_boxes_maps_args {
    osp_boxes_args boxes;
    osp_head_maps maps;
    float *out;         // boxes.boxes: gets centre and size of the rows that pass
    float logit_bound;  // no logit up to it has a score above the threshold
} osp_boxes_maps_args;

// In place of scan, for OSP_HEAD_YOLO8.
// Grid: rows / (OSP_BOXES_SCAN / OSP_BOXES_SHARE), images. Block: OSP_BOXES_SCAN.
// Distances in float32, float16, each with logits in float32, float16.
extern const osp_gpu_kernel osp_kernel_boxes_scan_maps[4];

// ---- gpu_compare.cu -----------------------------------------------------------------------------

typedef struct osp_compare_args {
    const void *got, *want;
    float *largest;            // {difference, value}
    int64_t rows, row, pitch;  // elements
} osp_compare_args;

// Grid and block: any, along x.
extern const osp_gpu_kernel osp_kernel_compare_f16, osp_kernel_compare_f32;

#ifdef __cplusplus
}
#endif
#endif
