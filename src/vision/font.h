// Glyphs for labels. Thread rule: constant.
#ifndef OSP_VISION_FONT_H
#define OSP_VISION_FONT_H

#include <stdint.h>

enum { OSP_FONT_FIRST = 32, OSP_FONT_LAST = 126, OSP_FONT_WIDTH = 5, OSP_FONT_HEIGHT = 9 };

// OSP_FONT_HEIGHT rows; bit OSP_FONT_WIDTH - 1 is the left pixel. '?' for what the font lacks.
const uint8_t *osp_font_glyph(uint32_t code);

#endif
