// The contract of an operator: one descriptor, found through one row in ops.def.
//
// - `attr_table` says where each ONNX attribute goes in the attribute struct. From it come parsing,
//   writing back, the text form and the plan's encoding; there is no second list.
// - `settle` turns the attributes of any opset (6 to 22) into today's meaning, once.
// - `infer` checks types, shapes and **every attribute** (a plan from disk reaches it without
//   `settle`), writes output types and shapes, and resolves what constant inputs and sizes decide
//   (axes, pads, starts, ...) into the attribute struct, so that no kernel repeats it.
// - `reference` is plain readable C: the oracle, and what constant folding runs. It allocates
//   nothing, keeps no state, and trusts infer. Indices that come as *data* (Gather, ScatterND)
//   are checked in it, by an error that says which.
#ifndef OSP_OPS_OP_H
#define OSP_OPS_OP_H

#include "graph/graph.h"

typedef struct osp_ints {  // list attributes; count -1: not given
    int32_t count;
    int64_t v[16];
} osp_ints;

typedef struct osp_floats {
    int32_t count;
    float v[16];
} osp_floats;

typedef struct osp_scalar {  // dtype UNKNOWN: not given
    int32_t dtype;           // osp_dtype
    int32_t pad_;
    uint8_t bytes[8];  // the element, little endian, the rest 0
} osp_scalar;

typedef enum osp_attr_kind {
    OSP_ATTR_INT = 1,  // int64_t
    OSP_ATTR_FLOAT,    // float
    OSP_ATTR_INTS,     // { int32_t count; int64_t v[capacity]; } such as osp_ints
    OSP_ATTR_FLOATS,   // { int32_t count; float v[capacity]; }
    OSP_ATTR_ENUM,     // int32_t: index into `names`
    OSP_ATTR_STRING,   // char[capacity], terminated
    OSP_ATTR_SCALAR,   // osp_scalar, from a tensor attribute of one element
    OSP_ATTR_IGNORED   // known, without meaning for a result (Upsample's and Dropout's leftovers)
} osp_attr_kind;

typedef struct osp_attr_row {
    const char *name;  // as in ONNX; NULL ends the table
    osp_attr_kind kind;
    uint32_t offset;
    uint32_t capacity;     // INTS, FLOATS, STRING
    const char *names;     // ENUM: "constant|reflect|edge"
    int32_t since, until;  // opsets that have it; 0: all
} osp_attr_row;

// As `since`: a field that no file may set, only settle, infer, passes, the text form and plans.
enum { OSP_ATTR_INTERNAL = 1000 };

// Types an input may have, as a set.
#define OSP_TYPE(d) (1u << (d))
#define OSP_TYPES_FLOAT                                                                            \
    (OSP_TYPE(OSP_DTYPE_FLOAT32) | OSP_TYPE(OSP_DTYPE_FLOAT16) | OSP_TYPE(OSP_DTYPE_BFLOAT16))
#define OSP_TYPES_INT (OSP_TYPE(OSP_DTYPE_INT32) | OSP_TYPE(OSP_DTYPE_INT64))
#define OSP_TYPES_BYTE (OSP_TYPE(OSP_DTYPE_UINT8) | OSP_TYPE(OSP_DTYPE_INT8))
#define OSP_TYPES_NUMBER (OSP_TYPES_FLOAT | OSP_TYPES_INT | OSP_TYPES_BYTE)
#define OSP_TYPES_ALL (OSP_TYPES_NUMBER | OSP_TYPE(OSP_DTYPE_BOOL))

typedef struct osp_type {
    osp_dtype dtype;
    osp_shape shape;
} osp_type;

typedef struct osp_infer {
    osp_context *ctx;
    const osp_op *op;
    void *attrs;  // resolved fields are written here
    int32_t input_count, output_count;
    const osp_value *const *inputs;  // NULL: left out. `data` is set where it is constant;
                                     // always for op->shape_inputs. Shapes are concrete
    osp_type *outputs;  // to be written, also for outputs the node leaves out: there is room
                        // for op->max_outputs (and output_count), zeroed
} osp_infer;

typedef struct osp_view {  // dense, C order, aligned to the element
    osp_dtype dtype;       // UNKNOWN: left out
    osp_shape shape;
    void *data;
} osp_view;

typedef struct osp_call {
    const void *attrs;
    int32_t input_count, output_count;
    const osp_view *inputs;
    const osp_view *outputs;  // data NULL: not wanted
} osp_call;

struct osp_op {
    const char *type;                // ONNX op_type
    const char *domain;              // "" or "osprey"
    int32_t min_inputs, max_inputs;  // max -1: any number
    int32_t min_outputs, max_outputs;
    uint32_t shape_inputs;  // bit i: the *value* of input i decides shapes: constant at build
    size_t attrs_size;      // > 0 (1 for none); plain data, no pointers
    const osp_attr_row *attr_table;  // NULL: none
    const void *defaults;            // attrs_size bytes, or NULL for zeros
    // NULL: nothing to settle. `given` has bit r set for each table row present in the file.
    osp_status (*settle)(void *attrs, int32_t opset, uint64_t given, osp_error *err);
    osp_status (*infer)(osp_infer *in, osp_error *err);
    osp_status (*reference)(const osp_call *call, osp_error *err);
    // Inner steps of the reference kernel, from types and shapes alone (data may be NULL).
    // NULL: about as many as the operands have elements. Bounds constant folding.
    double (*work)(const osp_call *call);
    bool shape_only;  // the result depends on the inputs' shapes and types, not on their values
    bool same_bytes;  // output 0 has the bytes of input 0, only the shape differs
};

// All rows of ops.def; NULL when the operator is not among them.
const osp_op *osp_op_find(const char *domain, const char *type);
size_t osp_op_count(void);
const osp_op *osp_op_at(size_t i);

// ---- For the families ---------------------------------------------------------------------------

// The dtype of input i must be in `types`; the message names operator, input and type.
osp_status osp_infer_types(const osp_infer *in, int32_t i, uint32_t types, osp_error *err);
// Inputs i and j have one dtype.
osp_status osp_infer_same(const osp_infer *in, int32_t i, int32_t j, osp_error *err);
// Rank of input i within [low, high].
osp_status osp_infer_rank(const osp_infer *in, int32_t i, int32_t low, int32_t high,
                          osp_error *err);
static inline const osp_value *osp_infer_input(const osp_infer *in, int32_t i)
{
    return i < in->input_count ? in->inputs[i] : NULL;
}
// Reads a constant int32/int64 input of rank <= 1 as integers. FORMAT when it has more than
// `capacity` elements. *count is -1 when the input is left out.
osp_status osp_infer_ints(const osp_infer *in, int32_t i, int64_t *v, int32_t capacity,
                          int32_t *count, osp_error *err);
// The same for float32/float16 as float.
osp_status osp_infer_floats(const osp_infer *in, int32_t i, float *v, int32_t capacity,
                            int32_t *count, osp_error *err);

static inline const osp_view *osp_call_input(const osp_call *call, int32_t i)
{
    return i < call->input_count && call->inputs[i].dtype ? &call->inputs[i] : NULL;
}
// Output i if it exists and is wanted, else NULL.
static inline const osp_view *osp_call_output(const osp_call *call, int32_t i)
{
    return i < call->output_count && call->outputs[i].data ? &call->outputs[i] : NULL;
}

// ---- Inference over a graph (ops/infer.c) -------------------------------------------------------

// Gives every value its type and shape, in order; folds nodes whose inputs are all constant, within
// limits.fold_elements. Graph inputs must have concrete shapes. Opaque nodes: UNSUPPORTED, all of
// them listed in one error, unless `allow_opaque` (then their outputs stay unknown).
osp_status osp_graph_infer(osp_graph *graph, bool allow_opaque, osp_error *err);
// Types and shapes of one node's outputs (no folding); used by passes for nodes they make.
osp_status osp_node_infer(osp_graph *graph, osp_node *node, osp_error *err);
// Runs one node by its reference kernel. views: one for each value of the graph.
osp_status osp_node_run(const osp_graph *graph, const osp_node *node, const osp_view *views,
                        osp_error *err);

// ---- Attributes (ops/attrs.c) -------------------------------------------------------------------

// One attribute as the file has it, all kinds at once.
typedef struct osp_attr {
    const char *name;  // terminated
    int32_t type;      // AttributeProto.AttributeType: 1 FLOAT 2 INT 3 STRING 6 FLOATS 7 INTS ...
    int64_t i;
    float f;
    osp_bytes s;
    const int64_t *ints;
    const float *floats;
    size_t count;            // of ints or floats
    osp_dtype tensor_dtype;  // of a tensor attribute (UNKNOWN: a type we do not have)
    osp_shape tensor_shape;
    const void *tensor_data;  // dense
} osp_attr;

// Fills a fresh attribute struct from a node's attributes: defaults, table, settle. An attribute
// that the table does not know, or of the wrong type, or too long, is an error that names it.
osp_status osp_attrs_parse(const osp_op *op, int32_t opset, const osp_attr *list, size_t count,
                           void *attrs, osp_error *err);

// The text form of attributes, which plans, problem texts and golden tests share: " name=value" for
// each table row whose value is not the default, in table order: ints "1,2,3" ("none": not given),
// floats with as many digits as they need, enums by name, strings quoted, scalars "float32:1.5".
// Returns the length; a longer text than fits is cut like snprintf does it.
size_t osp_attrs_print(const osp_op *op, const void *attrs, char *out, size_t size);
// Its inverse, for any terminated text: FORMAT with the place for what it does not understand.
// Fields that the text does not name get their defaults. What values mean is for infer to check.
osp_status osp_attrs_scan(const osp_op *op, const char *text, void *attrs, osp_error *err);

#endif
