// Class names from a model's metadata. Owned by whoever parsed them. Thread rule: read-only after
// parsing.
#ifndef OSP_VISION_NAMES_H
#define OSP_VISION_NAMES_H

#include "base/context.h"

enum { OSP_NAMES_MAX = 1 << 16 };

typedef struct osp_names {
    char **name;    // name[i] is NULL where number i has none; one block with its texts
    int32_t count;  // highest number + 1
} osp_names;

// Reads what Ultralytics writes, the repr of a Python dict or list: {0: 'person', 1: "rider's"} or
// ['a', 'b']; JSON objects and arrays of strings too. Keys are numbers below OSP_NAMES_MAX, quoted
// or not. Control characters and broken UTF-8 become '?'. Anything else: OSP_ERROR_FORMAT, with
// the place. An empty dict gives count 0.
osp_status osp_names_parse(osp_names *out, osp_mem *mem, const char *text, osp_error *err);

// One name a line, as label files have them; empty lines at the end are left out.
osp_status osp_names_parse_lines(osp_names *out, osp_mem *mem, const char *text, size_t size,
                                 osp_error *err);
void osp_names_free(osp_names *names, osp_mem *mem);

#endif
