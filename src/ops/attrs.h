// Inside attrs.c and attrs_text.c only: how a table row finds its field. Thread rule: no state.
#ifndef OSP_OPS_ATTRS_H
#define OSP_OPS_ATTRS_H

#include <stddef.h>
#include <string.h>

#include "ops/op.h"

static inline char *osp_attr_field(const osp_attr_row *row, void *attrs)
{
    return (char *)attrs + row->offset;
}

// Both list structs begin with the count; where the elements lie follows from their alignment.
static inline size_t osp_attr_list_offset(const osp_attr_row *row)
{
    return row->kind == OSP_ATTR_INTS ? offsetof(osp_ints, v) : offsetof(osp_floats, v);
}

static inline size_t osp_attr_element_bytes(const osp_attr_row *row)
{
    return row->kind == OSP_ATTR_INTS ? sizeof(int64_t) : sizeof(float);
}

static inline void osp_attr_defaults(const osp_op *op, void *attrs)
{
    if (op->defaults)
        memcpy(attrs, op->defaults, op->attrs_size);
    else
        memset(attrs, 0, op->attrs_size);
}

// Name `index` of "a|b|c"; false past the end.
static inline bool osp_attr_enum_name(const char *names, int32_t index, const char **name,
                                      size_t *length)
{
    const char *at = names;
    for (int32_t i = 0;; i++) {
        const char *end = strchr(at, '|');
        const size_t n = end ? (size_t)(end - at) : strlen(at);
        if (i == index) {
            *name = at;
            *length = n;
            return index >= 0;
        }
        if (!end)
            return false;
        at = end + 1;
    }
}

static inline int32_t osp_attr_enum_index(const char *names, const char *text, size_t size)
{
    const char *name;
    size_t length;
    for (int32_t i = 0; osp_attr_enum_name(names, i, &name, &length); i++)
        if (length == size && memcmp(name, text, size) == 0)
            return i;
    return -1;
}

#endif
