// Boxes and labels into pixels. Owns nothing. Thread rule: one image from one thread at a time.
#ifndef OSP_VISION_DRAW_H
#define OSP_VISION_DRAW_H

#include "base/error.h"

// What osp_image_draw says. Lines and letters grow with the picture; a class has one colour in all
// pictures; the strongest boxes are drawn last, over the others. Whatever lies outside of the
// picture is cut off. Boxes with coordinates that are no finite numbers are passed over.
osp_status osp_boxes_draw(osp_image *image, const osp_detection *boxes, size_t count,
                          const char *const *names, int32_t name_count, osp_error *err);

// Colour of a class: red, green, blue.
void osp_class_color(int32_t class_id, uint8_t rgb[3]);

#endif
