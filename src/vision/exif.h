// The one thing Osprey reads from EXIF: which way up a picture is. Thread rule: pure functions.
#ifndef OSP_VISION_EXIF_H
#define OSP_VISION_EXIF_H

#include <stddef.h>
#include <stdint.h>

// Orientation 1..8 of an EXIF block that starts at its TIFF header ("II*\0" or "MM\0*"), from the
// first directory; 1 (upright) for anything missing or malformed. Never reads past `size`.
int osp_exif_orientation(const uint8_t *tiff, size_t size);

#endif
