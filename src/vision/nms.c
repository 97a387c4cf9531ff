// Greedy suppression, in torchvision's arithmetic (float, intersection / union > threshold), with
// classes compared and not moved apart by an offset, which would cost the boxes their low bits.
// Thread rule: pure functions.
#include "vision/nms.h"

#include <string.h>

enum {
    SMALL = 48,  // below this, insertion beats counting
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS,
    PASSES = 3  // of 11 bits: the 32 of the score; rows are in order already
};

static void sort_small(osp_candidate *keys, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        const osp_candidate key = keys[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

void osp_candidates_sort(osp_candidate *keys, osp_candidate *spare, int64_t count)
{
    if (count < SMALL) {
        sort_small(keys, count);
        return;
    }
    osp_candidate *from = keys, *to = spare;
    for (int pass = 0; pass < PASSES; pass++) {
        const int shift = 32 + pass * DIGIT_BITS;
        uint32_t start[DIGITS + 1] = {0};
        for (int64_t i = 0; i < count; i++)
            start[(from[i] >> shift & (DIGITS - 1)) + 1]++;
        for (int d = 0; d < DIGITS; d++)
            start[d + 1] += start[d];
        for (int64_t i = 0; i < count; i++)
            to[start[from[i] >> shift & (DIGITS - 1)]++] = from[i];
        osp_candidate *swap = from;
        from = to;
        to = swap;
    }
    memcpy(keys, from, (size_t)count * sizeof *keys);  // three passes end in `spare`
}

void osp_nms_kept_place(osp_nms_kept *kept, void *memory, int32_t capacity)
{
    const size_t n = (size_t)capacity;
    kept->key = memory;  // the widest type first
    kept->x1 = (float *)(kept->key + n);
    kept->y1 = kept->x1 + n;
    kept->x2 = kept->y1 + n;
    kept->y2 = kept->x2 + n;
    kept->area = kept->y2 + n;
    kept->class_id = (int32_t *)(kept->area + n);
    kept->count = 0;
    kept->capacity = capacity;
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

static inline float smaller(float a, float b)
{
    return a < b ? a : b;
}

void osp_nms_offer(osp_nms_kept *kept, osp_candidate key, int32_t class_id, const float box[4],
                   float iou_threshold, bool agnostic)
{
    enum { BLOCK = 32 };  // entries between two looks at the answer
    const float x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    const float area = (x2 - x1) * (y2 - y1);
    const int32_t any = agnostic ? -1 : 0;
    for (int32_t from = 0; from < kept->count; from += BLOCK) {
        const int32_t end = kept->count - from < BLOCK ? kept->count : from + BLOCK;
        int32_t hit = 0;
        for (int32_t i = from; i < end; i++) {
            const float w = larger(smaller(x2, kept->x2[i]) - larger(x1, kept->x1[i]), 0);
            const float h = larger(smaller(y2, kept->y2[i]) - larger(y1, kept->y1[i]), 0);
            const float common = w * h;
            const float iou = common / (area + kept->area[i] - common);
            const int32_t same = any | -(int32_t)(kept->class_id[i] == class_id);
            hit |= same & -(int32_t)(iou > iou_threshold);
        }
        if (hit)
            return;
    }
    const int32_t at = kept->count++;
    kept->x1[at] = x1;
    kept->y1[at] = y1;
    kept->x2[at] = x2;
    kept->y2[at] = y2;
    kept->area[at] = area;
    kept->class_id[at] = class_id;
    kept->key[at] = key;
}
