// The body of a plan: blob table, facts, packed table, and each variant's graph with its tactics.
// Encoding and decoding stand side by side in one file. Thread rule: any thread.
#ifndef OSP_PLAN_GRAPH_CODEC_H
#define OSP_PLAN_GRAPH_CODEC_H

#include "plan/codec.h"
#include "plan/file.h"

// Constants and packed weights, each stored once.
typedef struct osp_blob {
    uint64_t hash;
    const void *data;
    size_t size;
} osp_blob;

typedef struct osp_blobs {
    osp_mem *mem;
    osp_blob *list;
    size_t count, capacity;
} osp_blobs;

void osp_facts_encode(osp_encoder *out, const osp_plan_facts *facts);
osp_status osp_facts_decode(osp_decoder *in, osp_plan_facts *facts, osp_error *err);

void osp_blobs_encode(osp_encoder *out, const osp_blobs *blobs);

osp_status osp_body_encode(osp_encoder *out, osp_blobs *blobs, const osp_compiled *c,
                           const osp_plan_facts *facts, osp_error *err);

// The first part of the body; then the caller finds and checks the blobs' bytes.
osp_status osp_blobs_decode(osp_decoder *in, osp_blobs *blobs, osp_error *err);
osp_status osp_body_decode(osp_decoder *in, const osp_blobs *blobs, osp_compiled *c,
                           int32_t variants, osp_plan_facts *facts, osp_error *err);

#endif
