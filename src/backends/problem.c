// Problems from nodes, and the generic form of their text. Two-dimensional convolutions have a
// shorter one (problem_conv.c).
#include "backends/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backends/problem_text.h"

static void fill_operand(osp_operand *o, const osp_value *v)
{
    *o = (osp_operand){.dtype = v->dtype,
                       .shape = v->shape,
                       .layout = v->layout,
                       .constant = v->data || v->dropped};
    o->row = o->pitch = v->layout == OSP_LAYOUT_CHANNELS_LAST
                            ? v->shape.dims[1]
                            : osp_shape_span(&v->shape, 0, v->shape.rank);
}

osp_status osp_problem_of_node(osp_problem *out, osp_arena *arena, const osp_graph *graph,
                               const osp_node *node, osp_error *err)
{
    *out = (osp_problem){.op = node->op,
                         .attrs = node->attrs,
                         .src_count = node->input_count,
                         .dst_count = node->output_count};
    out->src = osp_arena_array(arena, (size_t)out->src_count, sizeof *out->src);
    out->dst = osp_arena_array(arena, (size_t)out->dst_count, sizeof *out->dst);
    if (!out->src || !out->dst)
        OSP_FAIL_MEMORY(err);
    for (int32_t i = 0; i < out->src_count; i++)
        if (node->inputs[i] != OSP_NO_VALUE)
            fill_operand(out->src + i, graph->values + node->inputs[i]);
    for (int32_t i = 0; i < out->dst_count; i++)
        if (node->outputs[i] != OSP_NO_VALUE)
            fill_operand(out->dst + i, graph->values + node->outputs[i]);
    return OSP_OK;
}

// ---- Names of types -----------------------------------------------------------------------------

static const char *const type_names[] = {
    [OSP_DTYPE_FLOAT32] = "f32", [OSP_DTYPE_FLOAT16] = "f16", [OSP_DTYPE_BFLOAT16] = "bf16",
    [OSP_DTYPE_INT32] = "i32",   [OSP_DTYPE_INT64] = "i64",   [OSP_DTYPE_UINT8] = "u8",
    [OSP_DTYPE_INT8] = "i8",     [OSP_DTYPE_BOOL] = "bool",
};
enum { TYPE_COUNT = sizeof type_names / sizeof type_names[0] };

const char *osp_problem_type_name(osp_dtype dtype)
{
    return dtype > 0 && (size_t)dtype < TYPE_COUNT ? type_names[dtype] : "-";
}

bool osp_problem_type_scan(const char *text, size_t length, osp_dtype *out)
{
    for (int32_t i = 1; i < TYPE_COUNT; i++)
        if (strlen(type_names[i]) == length && !memcmp(type_names[i], text, length)) {
            *out = (osp_dtype)i;
            return true;
        }
    return false;
}

// ---- Printing -----------------------------------------------------------------------------------

void osp_text_add(osp_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const size_t room = t->length < t->size ? t->size - t->length : 0;
    const int n = vsnprintf(room ? t->out + t->length : NULL, room, format, args);
    va_end(args);
    if (n > 0)
        t->length += (size_t)n;
}

static void add_operand(osp_text *t, const osp_operand *o)
{
    if (!o->dtype) {
        osp_text_add(t, "-");
        return;
    }
    osp_text_add(t, "%s:", osp_problem_type_name(o->dtype));
    if (o->shape.rank == 0)
        osp_text_add(t, "scalar");
    for (int32_t d = 0; d < o->shape.rank; d++)
        osp_text_add(t, "%s%lld", d ? "x" : "", (long long)o->shape.dims[d]);
    if (o->layout == OSP_LAYOUT_CHANNELS_LAST)
        osp_text_add(t, ":nhwc");
    else if (o->row != o->pitch)
        osp_text_add(t, ":r%lld", (long long)o->row);
    if (o->row != o->pitch)
        osp_text_add(t, ":s%lld", (long long)o->pitch);
    if (o->constant)
        osp_text_add(t, ":const");
}

size_t osp_problem_print(const osp_problem *p, char *out, size_t size)
{
    osp_text t = {out, size, 0};
    if (size)
        out[0] = 0;
    if (osp_problem_print_conv(p, &t))
        return t.length;
    osp_text_add(&t, "%s%s%s", p->op->domain, p->op->domain[0] ? "." : "", p->op->type);
    for (int32_t i = 0; i < p->src_count; i++) {
        osp_text_add(&t, " ");
        add_operand(&t, p->src + i);
    }
    osp_text_add(&t, " ->");
    for (int32_t i = 0; i < p->dst_count; i++) {
        osp_text_add(&t, " ");
        add_operand(&t, p->dst + i);
    }
    if (t.length < t.size)
        t.length += osp_attrs_print(p->op, p->attrs, out + t.length, size - t.length);
    return t.length;
}

// ---- Scanning -----------------------------------------------------------------------------------

osp_word osp_word_next(const char **at)
{
    const char *p = *at;
    while (*p == ' ')
        p++;
    const char *start = p;
    while (*p && *p != ' ')
        p++;
    *at = p;
    return (osp_word){start, (size_t)(p - start)};
}

bool osp_word_is(osp_word word, const char *text)
{
    return word.length == strlen(text) && !memcmp(word.text, text, word.length);
}

bool osp_word_number(const char *text, size_t length, int64_t *out)
{
    int64_t n = 0;
    if (!length)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || !osp_i64_mul(n, 10, &n) ||
            !osp_i64_add(n, text[i] - '0', &n))
            return false;
    }
    if (length > 1 && text[0] == '0')
        return false;  // one way to write a number
    *out = n;
    return true;
}

// The part of *rest up to ':', taken off.
static osp_word take_part(osp_word *rest)
{
    const char *colon = memchr(rest->text, ':', rest->length);
    const size_t length = colon ? (size_t)(colon - rest->text) : rest->length;
    const osp_word part = {rest->text, length};
    const size_t skip = colon ? length + 1 : length;
    *rest = (osp_word){rest->text + skip, rest->length - skip};
    return part;
}

static bool scan_dims(osp_word part, osp_shape *shape)
{
    *shape = (osp_shape){0};
    if (osp_word_is(part, "scalar"))
        return true;
    for (;;) {
        const char *x = memchr(part.text, 'x', part.length);
        const size_t length = x ? (size_t)(x - part.text) : part.length;
        if (shape->rank == OSP_MAX_RANK ||
            !osp_word_number(part.text, length, &shape->dims[shape->rank]))
            return false;
        shape->rank++;
        if (!x)
            break;
        part = (osp_word){part.text + length + 1, part.length - length - 1};
    }
    int64_t most = 8;  // bytes, a dim of 0 counting as 1: no part of the product overflows
    for (int32_t d = 0; d < shape->rank; d++)
        if (shape->dims[d] && !osp_i64_mul(most, shape->dims[d], &most))
            return false;
    return true;
}

// Rows and pitches that the elements fit into without meeting.
static bool scan_strides(osp_operand *o, int64_t row, int64_t pitch)
{
    const int64_t count = osp_shape_span(&o->shape, 0, o->shape.rank);
    const bool last = o->layout == OSP_LAYOUT_CHANNELS_LAST;
    o->row = last ? o->shape.dims[1] : count;
    o->pitch = o->row;
    if (row >= 0 && (last || pitch < 0))
        return false;
    if (pitch < 0)
        return true;
    if (row >= 0)
        o->row = row;
    if (!last && row < 0)
        return false;
    o->pitch = pitch;
    return o->row > 0 && pitch > o->row && count % o->row == 0 && pitch <= INT64_MAX / 16 &&
           count / o->row <= INT64_MAX / 16 / pitch;
}

static bool scan_operand(osp_word word, osp_operand *o)
{
    *o = (osp_operand){0};
    if (osp_word_is(word, "-"))
        return true;
    osp_word rest = word;
    const osp_word type = take_part(&rest), dims = take_part(&rest);
    if (!osp_problem_type_scan(type.text, type.length, &o->dtype) || !scan_dims(dims, &o->shape))
        return false;
    int64_t row = -1, pitch = -1;
    int32_t stage = 0;  // suffixes come in this order, each at most once
    while (rest.length) {
        const osp_word part = take_part(&rest);
        if (stage < 1 && osp_word_is(part, "nhwc") && o->shape.rank == 4) {
            o->layout = OSP_LAYOUT_CHANNELS_LAST;
            stage = 1;
        } else if (stage < 2 && part.length > 1 && part.text[0] == 'r' &&
                   osp_word_number(part.text + 1, part.length - 1, &row)) {
            stage = 2;
        } else if (stage < 3 && part.length > 1 && part.text[0] == 's' &&
                   osp_word_number(part.text + 1, part.length - 1, &pitch)) {
            stage = 3;
        } else if (stage < 4 && osp_word_is(part, "const")) {
            o->constant = true;
            stage = 4;
        } else {
            return false;
        }
    }
    return word.text[word.length - 1] != ':' && scan_strides(o, row, pitch);
}

static const osp_op *scan_op(osp_word word)
{
    char name[64];
    if (word.length >= sizeof name)
        return NULL;
    memcpy(name, word.text, word.length);
    name[word.length] = 0;
    char *dot = strchr(name, '.');
    if (!dot)
        return osp_op_find("", name);
    *dot = 0;
    return osp_op_find(name, dot + 1);
}

osp_status osp_problem_scan(osp_problem *out, osp_arena *arena, const char *text, osp_error *err)
{
    *out = (osp_problem){0};
    const char *at = text;
    osp_word word = osp_word_next(&at);
    if (osp_problem_is_conv(word))
        return osp_problem_scan_conv(out, arena, text, err);
    out->op = scan_op(word);
    if (!out->op)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "problem text: no operator '%.*s'",
                 (int)(word.length < 60 ? word.length : 60), word.text);
    out->src = osp_arena_array(arena, OSP_MAX_OPERANDS, sizeof *out->src);
    out->dst = osp_arena_array(arena, OSP_MAX_OPERANDS, sizeof *out->dst);
    void *attrs = osp_arena_alloc(arena, out->op->attrs_size);
    if (!out->src || !out->dst || !attrs)
        OSP_FAIL_MEMORY(err);
    bool arrow = false;
    for (;;) {
        const char *before = at;
        word = osp_word_next(&at);
        if (!arrow && osp_word_is(word, "->")) {
            arrow = true;
            continue;
        }
        int32_t *count = arrow ? &out->dst_count : &out->src_count;
        osp_operand *list = arrow ? out->dst : out->src;
        // After the destinations come attributes, whose names are no types.
        if (arrow && (!word.length || memchr(word.text, '=', word.length))) {
            at = before;
            break;
        }
        if (!word.length || *count == OSP_MAX_OPERANDS || !scan_operand(word, &list[*count]))
            OSP_FAIL(err, OSP_ERROR_FORMAT, "problem text: wrong operand '%.*s'",
                     (int)(word.length < 60 ? word.length : 60), word.text);
        ++*count;
    }
    out->attrs = attrs;
    return osp_attrs_scan(out->op, at, attrs, err);
}

// ---- Cost ---------------------------------------------------------------------------------------

static double operand_bytes(const osp_operand *o)
{
    return o->dtype ? (double)osp_shape_span(&o->shape, 0, o->shape.rank) *
                          (double)osp_dtype_bytes(o->dtype)
                    : 0;
}

void osp_problem_cost(const osp_problem *p, double *flops, double *bytes)
{
    *flops = *bytes = 0;
    for (int32_t i = 0; i < p->src_count; i++)
        *bytes += operand_bytes(p->src + i);
    for (int32_t i = 0; i < p->dst_count; i++)
        *bytes += operand_bytes(p->dst + i);
    if (!p->dst_count || !p->dst[0].dtype || p->src_count < 1)
        return;
    const osp_shape *dst = &p->dst[0].shape;
    const double results = (double)osp_shape_span(dst, 0, dst->rank);
    const osp_shape *a = &p->src[0].shape;
    const osp_shape *b = p->src_count > 1 ? &p->src[1].shape : NULL;
    if (b && (!strcmp(p->op->type, "Conv") || !strcmp(p->op->type, "FusedConv") ||
              !strcmp(p->op->type, "PixelConv")))
        *flops = 2 * results * (double)osp_shape_span(b, 1, b->rank);
    else if (b && !strcmp(p->op->type, "ConvTranspose"))
        *flops = 2 * (double)osp_shape_span(a, 0, a->rank) * (double)osp_shape_span(b, 1, b->rank);
    else if (b && !strcmp(p->op->type, "MatMul") && a->rank)
        *flops = 2 * results * (double)a->dims[a->rank - 1];
    else if (b && !strcmp(p->op->type, "Gemm") && a->rank == 2)
        *flops = 2 * results * (double)a->dims[0] * (double)a->dims[1] /
                 (double)(dst->dims[0] ? dst->dims[0] : 1);
}
