// The inner loops of letterbox.c, one set per instruction set. Rows are planar: three channels of
// `stride` elements each, in the order the channels have in memory; between the two passes a pixel
// is its weighted sum of 2^11 parts, shifted right by 4, as OpenCV's vertical pass takes it.
// Thread rule: pure functions.
#ifndef OSP_VISION_LETTERBOX_ROWS_H
#define OSP_VISION_LETTERBOX_ROWS_H

#include <stddef.h>
#include <stdint.h>

enum { OSP_ROW_TAP_WORDS = 8, OSP_ROW_ALIGN = 16 };

// Where each output column reads: pixels at byte `offset` and `offset + step`, and the two weights,
// repeated for four channels so that a vector loads them as they are.
typedef struct osp_row_taps {
    int32_t *offset;
    int16_t *weight;  // OSP_ROW_TAP_WORDS per column: w0 w1 w0 w1 w0 w1 w0 w1
    int32_t count;    // output columns
    int32_t wide;     // the first `wide` columns may read 8 bytes at their offset
    int32_t step;     // bytes from a pixel to its right neighbour; 0 where the row has one pixel
} osp_row_taps;

typedef struct osp_row_ops {
    // channels: 3 (of pixels of 3 or 4 bytes) or 1.
    void (*across)(int16_t *dst, size_t stride, const uint8_t *src, const osp_row_taps *taps,
                   int channels);
    // One channel: two rows and their weights to bytes, or to bytes / 255 as float.
    void (*down_u8)(uint8_t *dst, const int16_t *row0, const int16_t *row1, int w0, int w1,
                    int32_t count);
    void (*down_f32)(float *dst, const int16_t *row0, const int16_t *row1, int w0, int w1,
                     int32_t count);
} osp_row_ops;

// The fastest set this processor runs; all give the same bytes.
const osp_row_ops *osp_row_ops_pick(void);
const osp_row_ops *osp_row_ops_plain(void);

#endif
