// A parsed ONNX file: immutable after opening, shared by reference count.
#ifndef OSP_ENGINE_MODEL_H
#define OSP_ENGINE_MODEL_H

#include "engine/runtime.h"
#include "onnx/load.h"

typedef struct osp_op_use {
    const char *name;
    int32_t count;
    bool known;
} osp_op_use;

struct osp_model {
    osp_runtime *runtime;
    atomic_int references;
    osp_file file;         // mapped, where it was opened by path
    void *bytes;           // our copy, where it came from memory
    osp_onnx_files files;  // external data
    osp_graph graph;
    char *label;        // path or "model in memory", for messages
    uint64_t hash;      // of the file and all external data
    bool *input_fixes;  // by graph input: its value determines shapes
    osp_op_use *operators;
    int32_t operator_count;
    uint64_t weight_bytes;
};

osp_model *osp_model_retain(osp_model *model);

// The model's graph with its inputs sized as an engine of `options` would size them, batch 1 where
// it is free, and inferred; values keep their numbers. Opaque nodes stay, with unknown types.
osp_status osp_model_specialise(osp_graph *out, osp_model *model, const osp_engine_options *options,
                                osp_error *err);

// Gives values without data the types that an inferred copy of the graph, with the same numbers of
// values, has for them: what inference of one size says of types holds for all sizes.
void osp_model_learn_types(osp_graph *graph, const osp_graph *inferred);

// Facts of one graph value for the public interface.
void osp_tensor_info_of(const osp_value *value, osp_tensor_info *out);

#endif
