// Makes the checksums of a damaged plan right again, so that tests and fuzzing reach what stands
// behind them. Offsets as in docs/plan-format.md.
#ifndef OSP_TESTS_PLAN_REPAIR_H
#define OSP_TESTS_PLAN_REPAIR_H

#include <stdint.h>
#include <string.h>

#include "base/hash.h"

static inline uint64_t plan_get(const uint8_t *p, int bytes)
{
    uint64_t x = 0;
    for (int i = 0; i < bytes; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static inline void plan_put(uint8_t *p, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

// File size, weights, body and header, as far as the bytes reach.
static inline void plan_repair(uint8_t *plan, size_t size)
{
    enum { HEADER = 512, AT_SUM = 8, AT_FILE = 40, AT_BODY = 48, AT_BODY_HASH = 56 };
    if (size < HEADER)
        return;
    plan_put(plan + AT_FILE, size, 8);
    uint64_t body = plan_get(plan + AT_BODY, 8);
    if (body > size - HEADER) {
        body = size - HEADER;
        plan_put(plan + AT_BODY, body, 8);
    }
    uint64_t at = HEADER + body;
    uint64_t blobs = body >= 4 ? plan_get(plan + HEADER, 4) : 0;
    for (uint64_t i = 0; i < blobs && 4 + (i + 1) * 16 <= body; i++) {
        uint8_t *row = plan + HEADER + 4 + i * 16;
        uint64_t bytes = plan_get(row + 8, 8);
        uint64_t pad = -at & 63;
        if (pad > size - at || bytes > size - at - pad)
            break;
        memset(plan + at, 0, pad);
        at += pad;
        plan_put(row, osp_hash64(plan + at, bytes, 0), 8);
        at += bytes;
    }
    plan_put(plan + AT_BODY_HASH, osp_hash64(plan + HEADER, body, 0), 8);
    plan_put(plan + AT_SUM, 0, 8);
    plan_put(plan + AT_SUM, osp_hash64(plan, HEADER, 0), 8);
}

#endif
