// Engines of whole-model backends in the form that everything above knows: variants whose graphs
// have inputs, outputs and metadata, and no nodes; and their body in a plan file.
// Thread rule: one thread for each osp_compiled.
#ifndef OSP_PLAN_WHOLE_H
#define OSP_PLAN_WHOLE_H

#include "plan/graph_codec.h"

// Fills c->variants with what the backend's engine has; `facts` gets what follows from it (whether
// the batch is free, which tensors have it in front). Texts are copied.
osp_status osp_whole_describe(osp_compiled *c, osp_plan_facts *facts, const osp_whole_info *info,
                              const osp_meta *metadata, int32_t metadata_count, osp_error *err);

// FORMAT unless c->variants, read from a file, are what the backend's engine has.
osp_status osp_whole_compare(const osp_compiled *c, const osp_plan_facts *facts,
                             const osp_whole_info *info, osp_error *err);

osp_status osp_whole_encode(osp_encoder *out, osp_blobs *blobs, const osp_compiled *c,
                            const osp_plan_facts *facts, osp_error *err);
// After osp_blobs_decode, as osp_body_decode.
osp_status osp_whole_decode(osp_decoder *in, const osp_blobs *blobs, osp_compiled *c,
                            int32_t variants, osp_plan_facts *facts, osp_error *err);

#endif
