// One operator on small tensors: attributes are parsed, types inferred, the reference kernel run.
// For tests only; each test has one thread.
#ifndef OSP_TESTS_OP_CASE_H
#define OSP_TESTS_OP_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/op.h"

enum { OP_CASE_INPUTS = 6, OP_CASE_OUTPUTS = 4 };

typedef struct op_case {
    const char *type;
    int32_t opset;
    osp_attr attrs[8];
    size_t attr_count;
    osp_value inputs[OP_CASE_INPUTS];  // dtype UNKNOWN: left out
    int32_t input_count, output_count;
    osp_view outputs[OP_CASE_OUTPUTS];
    osp_error error;
} op_case;

static inline op_case op_case_new(const char *type, int32_t opset)
{
    return (op_case){.type = type, .opset = opset, .output_count = 1};
}

static inline void op_case_int(op_case *c, const char *name, int64_t i)
{
    c->attrs[c->attr_count++] = (osp_attr){.name = name, .type = 2, .i = i};
}

static inline void op_case_string(op_case *c, const char *name, const char *text)
{
    c->attrs[c->attr_count++] = (osp_attr){.name = name, .type = 3, .s = {text, strlen(text)}};
}

// The array must live as long as the case.
static inline void op_case_ints(op_case *c, const char *name, const int64_t *ints, size_t count)
{
    c->attrs[c->attr_count++] = (osp_attr){.name = name, .type = 7, .ints = ints, .count = count};
}

static inline void op_case_input(op_case *c, osp_dtype dtype, osp_shape shape, const void *data)
{
    c->inputs[c->input_count++] = (osp_value){
        .name = "input", .dtype = dtype, .shape = shape, .data = data};
}

static inline void op_case_list(op_case *c, const int64_t *v, int64_t count)
{
    op_case_input(c, OSP_DTYPE_INT64, (osp_shape){.rank = 1, .dims = {count}}, v);
}

static inline void op_case_left_out(op_case *c)
{
    c->input_count++;
}

static inline void op_case_free(op_case *c)
{
    for (int32_t i = 0; i < OP_CASE_OUTPUTS; i++) {
        free(c->outputs[i].data);
        c->outputs[i].data = NULL;
    }
}

// Parses and infers; the outputs' types are written, no data.
static inline osp_status op_case_infer(op_case *c, uint64_t attrs[256])
{
    const osp_op *op = osp_op_find("", c->type);
    assert_non_null(op);
    assert_true(op->attrs_size <= 256 * sizeof attrs[0]);
    osp_status status = osp_attrs_parse(op, c->opset, c->attrs, c->attr_count, attrs, &c->error);
    if (status)
        return status;
    const osp_value *inputs[OP_CASE_INPUTS];
    osp_type types[64] = {{0}};
    for (int32_t i = 0; i < c->input_count; i++)
        inputs[i] = c->inputs[i].dtype ? &c->inputs[i] : NULL;
    osp_infer in = {NULL, op, attrs, c->input_count, c->output_count, inputs, types};
    status = op->infer(&in, &c->error);
    for (int32_t i = 0; !status && i < c->output_count; i++)
        c->outputs[i] = (osp_view){types[i].dtype, types[i].shape, NULL};
    return status;
}

static inline osp_status op_case_run(op_case *c)
{
    uint64_t attrs[256] = {0};
    osp_status status = op_case_infer(c, attrs);
    if (status)
        return status;
    osp_view inputs[OP_CASE_INPUTS];
    for (int32_t i = 0; i < c->input_count; i++)
        inputs[i] = (osp_view){c->inputs[i].dtype, c->inputs[i].shape,
                               (void *)(uintptr_t)c->inputs[i].data};
    for (int32_t i = 0; i < c->output_count; i++) {
        size_t bytes;
        assert_true(osp_shape_bytes(&c->outputs[i].shape, c->outputs[i].dtype, &bytes));
        c->outputs[i].data = malloc(bytes + 1);
        assert_non_null(c->outputs[i].data);
    }
    const osp_call call = {attrs, c->input_count, c->output_count, inputs, c->outputs};
    return osp_op_find("", c->type)->reference(&call, &c->error);
}

#define OP_CASE_OK(c)                                                                              \
    do {                                                                                           \
        if (op_case_run(c))                                                                        \
            fail_msg("%s: %s", (c)->type, (c)->error.text);                                        \
    } while (0)

// Output 0 has this shape and these floats, exactly.
static inline void op_case_expect(const op_case *c, osp_shape shape, const float *want)
{
    size_t count = 0;
    char text[96];
    if (!osp_shape_equal(&c->outputs[0].shape, &shape))
        fail_msg("%s: output of shape %s", c->type,
                 osp_shape_text(&c->outputs[0].shape, text, sizeof text));
    assert_true(osp_shape_count(&shape, &count));
    for (size_t i = 0; i < count; i++)
        assert_float_equal(((const float *)c->outputs[0].data)[i], want[i], 1e-6f);
}

#define SHAPE(r, ...) ((osp_shape){.rank = (r), .dims = {__VA_ARGS__}})
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
