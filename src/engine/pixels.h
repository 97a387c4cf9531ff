// How an engine takes its image: as the model has it, or as pixels that the graph itself turns into
// what the model wants. Thread rule: any thread; a graph from one thread at a time.
#ifndef OSP_ENGINE_PIXELS_H
#define OSP_ENGINE_PIXELS_H

#include "engine/model.h"

// Decides for a model's image input (OSP_NO_VALUE: it has none) what `options` leave open. `fast`: the
// backend has a kernel for a first layer that reads pixels. UNSUPPORTED: pixels are asked for, and
// the input is no image of three channels.
osp_status osp_pixels_choose(osp_pixels *out, const osp_graph *graph, osp_vid image, bool fast,
                             const osp_engine_options *options, osp_error *err);

// Puts pixels, uint8 N x H x W x 3, in the place of the image input, which has its sizes (-1: the batch)
// and is computed from them now. The name of the input stays.
osp_status osp_pixels_insert(osp_graph *graph, osp_vid image, const osp_image_input *how,
                             osp_error *err);

#endif
