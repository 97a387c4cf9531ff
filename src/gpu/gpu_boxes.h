// From a detector's output tensors to boxes in source pixels on the GPU: decoding, threshold, class
// filter, order, suppression, all images of a batch in four launches, with no wait in between; only
// the boxes that are kept come back. From float32 outputs the boxes, their order and their bits are
// those of src/vision/postprocess.c; from float16 those that it gives for the same values in float32.
// A YOLO8 head's boxes can also be had from the maps that its output would be made of: the same bits,
// and what does not pass the threshold is neither decoded nor written.
//
// An osp_gpu_boxes owns its scratch on the device. A run takes no memory and may be captured into a
// graph: then the addresses it was given are baked in, and what lies there is read anew each time.
// Thread rule: one from one thread at a time, and its runs in the order of one stream.
#ifndef OSP_GPU_GPU_BOXES_H
#define OSP_GPU_GPU_BOXES_H

#include "gpu/gpu.h"

enum { OSP_GPU_ROWS_MAX = 1 << 20 };

typedef struct osp_gpu_boxes osp_gpu_boxes;

// Numbers as they are meant: no zero stands for a default here.
typedef struct osp_gpu_boxes_options {
    osp_head head;    // END2END to DETR_PAIR
    osp_dtype dtype;  // of the outputs: FLOAT32 or FLOAT16
    int32_t batch;    // images of a run, at most
    int64_t rows;     // K or A, or the most there can be
    int32_t classes;  // of YOLO8, YOLO5, DETR_PAIR
    int32_t input_w, input_h;
    float score_threshold, iou_threshold;
    int32_t max_detections;
    bool class_agnostic;
    const uint8_t *class_bits;  // NULL: all classes; else one bit for each of class_count; copied
    int32_t class_count;
} osp_gpu_boxes_options;

typedef struct osp_gpu_box {
    float x1, y1, x2, y2;  // source pixels, clipped to the image
    float score;
    int32_t class_id;
} osp_gpu_box;

// (scope) ARGUMENT, LIMIT for more than OSP_GPU_ROWS_MAX rows, MEMORY. Waits for the device.
osp_status osp_gpu_boxes_open(osp_gpu_boxes **out, osp_gpu *gpu,
                              const osp_gpu_boxes_options *options, osp_error *err);
void osp_gpu_boxes_close(osp_gpu_boxes **boxes);  // (scope) no run is under way

typedef struct osp_gpu_boxes_run {
    const void *boxes;  // dense, of the head's shape, n images or more
    // NULL, or what `boxes` would be made of, in float32: then it is room for them, and is written.
    const osp_head_maps *maps;
    const void *scores;  // DETR_PAIR: the logits
    int32_t n;
    int64_t rows;             // 0: as many as were opened for; else at most that
    const osp_gpu_fit *fits;  // n: where each image lies in the input
    void *result;             // osp_gpu_boxes_result_bytes: device memory, or pinned, which saves
                              // the copy: the kernels write what was kept and nothing else
} osp_gpu_boxes_run;

// Enqueues it (scope). All addresses are of memory that the device reaches.
osp_status osp_gpu_boxes_enqueue(osp_gpu_boxes *boxes, const osp_gpu_boxes_run *run,
                                 osp_gpu_stream stream, osp_error *err);

size_t osp_gpu_boxes_result_bytes(const osp_gpu_boxes *boxes);
// What was kept of image i, by falling score (equal ones by row). `result` is on the host now.
int32_t osp_gpu_boxes_kept(const osp_gpu_boxes *boxes, const void *result, int32_t i,
                           const osp_gpu_box **out);

#endif
