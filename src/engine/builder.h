// A build under way: what the options and the model's inputs come to. Thread rule: one thread.
#ifndef OSP_ENGINE_BUILDER_H
#define OSP_ENGINE_BUILDER_H

#include "engine/pixels.h"

typedef struct osp_builder {
    osp_model *model;
    const osp_engine_options *options;
    int32_t image;  // graph input that takes the pixels; -1: none
    bool batch_free;
    int32_t batches[8], batch_count;
    int32_t height, width;
    osp_pixels pixels;        // how the image comes in
    uint64_t batched_inputs;  // by position among the inputs that are not fixed
    bool exposed;             // to be compared: with outputs that do not depend on choices
    bool untuned;             // by the first tactics that accept
} osp_builder;

// Looks at the inputs of b->model with b->options, the two members that the caller has set: fixed
// inputs, image, batch, size. ARGUMENT, UNSUPPORTED.
osp_status osp_builder_look(osp_builder *b, osp_error *err);
// The batches to build for: those of the options, or the default of the kind of device. ARGUMENT.
osp_status osp_builder_batches(osp_builder *b, bool gpu, osp_error *err);
// Gives the inputs of `g`, a clone of the model's graph, their sizes at `batch` (-1: left free), makes
// constants of the fixed ones, and puts pixels in the image's place if so chosen. ARGUMENT, MEMORY.
osp_status osp_builder_size_inputs(const osp_builder *b, osp_graph *g, int32_t batch,
                                   osp_error *err);

#endif
