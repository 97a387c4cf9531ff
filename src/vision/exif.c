// Reads the orientation tag of a TIFF directory. A bad block means "upright" and not an error: the
// pixels are fine, and other programs show such files. Thread rule: pure functions.
#include "vision/exif.h"

#include <stdbool.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

static uint32_t read_u16(const uint8_t *p, bool big)
{
    return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t read_u32(const uint8_t *p, bool big)
{
    return big ? read_u16(p, big) << 16 | read_u16(p + 2, big)
               : read_u16(p + 2, big) << 16 | read_u16(p, big);
}

int osp_exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    const bool big = tiff[0] == 'M';
    const size_t dir = read_u32(tiff + 4, big);
    if (dir > size - 2)
        return 1;
    const size_t count = read_u16(tiff + dir, big);
    for (size_t i = 0; i < count; i++) {
        const size_t at = dir + 2 + i * ENTRY_BYTES;
        if (at + ENTRY_BYTES > size)
            return 1;
        const uint8_t *entry = tiff + at;
        if (read_u16(entry, big) != TAG_ORIENTATION)
            continue;
        const uint32_t type = read_u16(entry + 2, big);
        if (read_u32(entry + 4, big) != 1 || (type != TYPE_SHORT && type != TYPE_LONG))
            return 1;
        const uint32_t value = type == TYPE_SHORT ? read_u16(entry + 8, big)
                                                  : read_u32(entry + 8, big);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
