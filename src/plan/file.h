// The plan file: a compiled engine as data. docs/plan-format.md describes the bytes.
// Thread rule: any thread.
#ifndef OSP_PLAN_FILE_H
#define OSP_PLAN_FILE_H

#include "plan/compile.h"

enum { OSP_PLAN_FORMAT = 3, OSP_PLAN_HEADER_BYTES = 512 };

// What an engine knows beside its steps.
typedef struct osp_plan_facts {
    int32_t height, width;  // of the image input
    bool batch_free;
    uint64_t batched_inputs, batched_outputs;  // bit i: dim 0 of tensor i is the batch (first 64)
    int32_t head, resize;                      // osp_head, osp_resize as asked at build
    int32_t pixels;                            // osp_pixels; 0, as MODEL: it was not built here
    const char *reason;                        // why better backends were passed over
} osp_plan_facts;

// True if `bytes` begin with the magic.
bool osp_plan_is(const void *bytes, size_t size);

// Checks magic, header checksum and extents of a header; then its fields are in `out`. Neither the
// device nor the rest of the file is looked at.
osp_status osp_plan_read_header(const void *bytes, size_t size, osp_plan_info *out, osp_error *err);

// The plan in parts that point into `c` and into `arena`.
osp_status osp_plan_encode(const osp_compiled *c, const osp_plan_facts *facts,
                           const char *device_key, osp_arena *arena, osp_bytes **parts,
                           size_t *part_count, osp_error *err);

// Restores all variants into a fresh `c`. `bytes` must stay while `c` lives: weights are used in
// place (8-byte alignment is needed, 64 wanted). `device_key`: of the device at hand, which a
// backend with a check_key of its own looks at by itself. For a whole-model backend this ends with
// c->section found; its library has seen none of it yet.
osp_status osp_plan_decode(osp_compiled *c, osp_plan_facts *facts, const void *bytes, size_t size,
                           int32_t device, const char *device_key, osp_error *err);

#endif
