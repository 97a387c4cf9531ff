// Little-endian bytes in and out: a growing buffer for writing, a bounded cursor for reading.
// Both remember a failure, so that callers check once. Thread rule: one thread each.
#ifndef OSP_PLAN_CODEC_H
#define OSP_PLAN_CODEC_H

#include <string.h>

#include "base/mem.h"

typedef struct osp_encoder {
    osp_mem *mem;
    void *data;
    size_t size, capacity;
    bool failed;  // out of memory
} osp_encoder;

static inline void osp_put_bytes(osp_encoder *e, const void *data, size_t size)
{
    if (e->failed || !osp_mem_reserve(e->mem, &e->data, &e->capacity, e->size + size, 1)) {
        e->failed = true;
        return;
    }
    if (size)
        memcpy((char *)e->data + e->size, data, size);
    e->size += size;
}

static inline void osp_put_u64(osp_encoder *e, uint64_t x)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(x >> 8 * i);
    osp_put_bytes(e, b, 8);
}

static inline void osp_put_u32(osp_encoder *e, uint32_t x)
{
    uint8_t b[4];
    for (int i = 0; i < 4; i++)
        b[i] = (uint8_t)(x >> 8 * i);
    osp_put_bytes(e, b, 4);
}

static inline void osp_put_u8(osp_encoder *e, uint8_t x)
{
    osp_put_bytes(e, &x, 1);
}

// Length, bytes, and a 0, so that a reader can point into the file.
static inline void osp_put_text(osp_encoder *e, const char *text)
{
    size_t length = strlen(text);
    osp_put_u32(e, (uint32_t)length);
    osp_put_bytes(e, text, length + 1);
}

typedef struct osp_decoder {
    const uint8_t *data;
    size_t size, at;
    bool failed;  // something ran past the end or was malformed
} osp_decoder;

static inline const uint8_t *osp_get_bytes(osp_decoder *d, size_t size)
{
    if (d->failed || size > d->size - d->at) {
        d->failed = true;
        return NULL;
    }
    const uint8_t *p = d->data + d->at;
    d->at += size;
    return p;
}

static inline uint64_t osp_get_u64(osp_decoder *d)
{
    const uint8_t *b = osp_get_bytes(d, 8);
    uint64_t x = 0;
    for (int i = 0; b && i < 8; i++)
        x |= (uint64_t)b[i] << 8 * i;
    return x;
}

static inline uint32_t osp_get_u32(osp_decoder *d)
{
    const uint8_t *b = osp_get_bytes(d, 4);
    uint32_t x = 0;
    for (int i = 0; b && i < 4; i++)
        x |= (uint32_t)b[i] << 8 * i;
    return x;
}

static inline uint8_t osp_get_u8(osp_decoder *d)
{
    const uint8_t *b = osp_get_bytes(d, 1);
    return b ? *b : 0;
}

// Points into the decoder's bytes; "" after a failure. A text with a 0 inside is malformed.
static inline const char *osp_get_text(osp_decoder *d)
{
    uint32_t length = osp_get_u32(d);
    const uint8_t *p = osp_get_bytes(d, (size_t)length + 1);
    if (p && (p[length] || memchr(p, 0, length)))
        d->failed = true;
    return d->failed ? "" : (const char *)p;
}

// A count of things of at least `least` bytes each: more than the rest can hold is malformed.
static inline uint32_t osp_get_count(osp_decoder *d, size_t least)
{
    uint32_t count = osp_get_u32(d);
    if (!d->failed && (d->size - d->at) / least < count)
        d->failed = true;
    return d->failed ? 0 : count;
}

#endif
