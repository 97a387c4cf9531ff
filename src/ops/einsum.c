// Einsum: the equation is read into loops over labels, again in the kernel, since it is short.
// Labels are letters; dims that an ellipsis stands for get labels of their own, counted from the
// right, so that they broadcast. Thread rule: no state.
#include <stddef.h>

#include "ops/linear.h"
#include "ops/view.h"

enum { LETTERS = OSP_EINSUM_LETTERS, LABELS = OSP_EINSUM_LABELS, OPERANDS = OSP_EINSUM_OPERANDS };

static int32_t letter(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    return c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1;
}

// One term without its ellipsis: labels, and where the dots stand (-1: nowhere).
typedef struct term {
    int8_t label[OSP_MAX_RANK];
    int32_t count, dots_at;
} term;

// Reads up to ',' or "->" or the end.
static bool read_term(const char **at, term *out)
{
    *out = (term){.dots_at = -1};
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        const int32_t label = letter(**at);
        if (**at == ' ')
            continue;
        if (**at == '.') {
            if (out->dots_at >= 0 || strncmp(*at, "...", 3) != 0)
                return false;
            out->dots_at = out->count;
            *at += 2;
        } else if (label < 0 || out->count == OSP_MAX_RANK) {
            return false;
        } else {
            out->label[out->count++] = (int8_t)label;
        }
    }
    return true;
}

// Label of each dim of an operand whose ellipsis stands for `dots` dims.
static int32_t label_of(const term *t, int32_t dots, int32_t dim)
{
    if (t->dots_at < 0 || dim < t->dots_at)
        return t->label[dim];
    if (dim < t->dots_at + dots)
        return LABELS - dots + (dim - t->dots_at);
    return t->label[dim - dots];
}

static bool add_operand(osp_einsum *e, int32_t k, const term *t, const osp_shape *shape)
{
    const int32_t dots = shape->rank - t->count;
    int64_t strides[OSP_MAX_RANK];
    if (dots < 0 || (dots > 0 && t->dots_at < 0))
        return false;
    e->dots = dots > e->dots ? dots : e->dots;
    osp_shape_strides(shape, strides);
    for (int32_t d = 0; d < shape->rank; d++) {
        const int32_t label = label_of(t, dots, d);
        const int64_t extent = shape->dims[d];
        if (e->extent[label] > 1 && extent != 1 && extent != e->extent[label])
            return false;
        if (e->extent[label] == 0 && extent > 1)
            return false;
        if (e->extent[label] < 0 || e->extent[label] == 1)
            e->extent[label] = extent;
        if (extent != 1)
            e->stride[k][label] += strides[d];
    }
    return true;
}

// The output without "->": the ellipsis, then the letters that occur once, in order.
static bool implicit_output(const char *equation, term *out)
{
    int32_t seen[LETTERS] = {0};
    *out = (term){.dots_at = 0};
    for (const char *c = equation; *c; c++)
        if (letter(*c) >= 0)
            seen[letter(*c)]++;
    for (int32_t label = 0; label < LETTERS; label++)
        if (seen[label] == 1) {
            if (out->count == OSP_MAX_RANK)
                return false;
            out->label[out->count++] = (int8_t)label;
        }
    return true;
}

static bool add_output(osp_einsum *e, const term *t)
{
    bool taken[LABELS] = {false};
    const int32_t dots = t->dots_at < 0 ? 0 : e->dots;
    e->out_rank = t->count + dots;
    if (e->out_rank > OSP_MAX_RANK)
        return false;
    for (int32_t d = 0; d < e->out_rank; d++) {
        const int32_t label = label_of(t, dots, d);
        if (e->extent[label] < 0 || taken[label])
            return false;
        taken[label] = true;
        e->out[d] = (int8_t)label;
    }
    for (int32_t label = 0; label < LABELS; label++)
        if (e->extent[label] >= 0 && !taken[label])
            e->sum[e->sum_rank++] = (int8_t)label;
    return true;
}

const char *osp_einsum_read(osp_einsum *e, const char *equation, const osp_shape *const *shapes,
                            int32_t count)
{
    const char *at = equation;
    term t;
    memset(e, 0, sizeof *e);
    for (int32_t label = 0; label < LABELS; label++)
        e->extent[label] = -1;
    for (;;) {
        if (!read_term(&at, &t))
            return "a term is not understood";
        if (e->operands == count)
            return "it has more terms than there are inputs";
        if (!add_operand(e, e->operands, &t, shapes[e->operands]))
            return "a term does not fit the shape of its input";
        e->operands++;
        if (*at != ',')
            break;
        at++;
    }
    if (e->operands < count)
        return "it has fewer terms than there are inputs";
    if (*at == '-') {
        if (at[1] != '>')
            return "\"->\" is expected";
        at += 2;
        if (!read_term(&at, &t) || *at)
            return "the output is not understood";
    } else if (!implicit_output(equation, &t)) {
        return "its output has too many labels";
    }
    if (!add_output(e, &t))
        return "the output has a label twice, unknown, or too many";
    return NULL;
}

static osp_status infer_einsum(osp_infer *in, osp_error *err)
{
    const osp_einsum_attrs *a = in->attrs;
    const osp_shape *shapes[OPERANDS];
    if (in->input_count > OPERANDS)
        OSP_FAIL(err, OSP_ERROR_LIMIT, "%d inputs: at most %d are supported", in->input_count,
                 OPERANDS);
    OSP_TRY(osp_infer_types(in, 0, OSP_TYPES_NUMBER, err));
    for (int32_t i = 0; i < in->input_count; i++) {
        OSP_TRY(osp_infer_same(in, 0, i, err));
        shapes[i] = &in->inputs[i]->shape;
    }
    osp_einsum e;
    const char *wrong = osp_einsum_read(&e, a->equation, shapes, in->input_count);
    if (wrong)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "equation \"%s\": %s", a->equation, wrong);
    osp_type *out = in->outputs;
    *out = (osp_type){in->inputs[0]->dtype, {.rank = e.out_rank}};
    for (int32_t d = 0; d < e.out_rank; d++)
        out->shape.dims[d] = e.extent[e.out[d]];
    return OSP_OK;
}

// Steps `index` over `labels`, and the offsets of all operands with it. false: at the end.
static bool step(const osp_einsum *e, const int8_t *labels, int32_t rank, int64_t *index,
                 int64_t *at)
{
    for (int32_t d = rank - 1; d >= 0; d--) {
        const int32_t label = labels[d];
        const bool more = ++index[d] < e->extent[label];
        const int64_t by = more ? 1 : 1 - e->extent[label];
        for (int32_t k = 0; k < e->operands; k++)
            at[k] += by * e->stride[k][label];
        if (more)
            return true;
        index[d] = 0;
    }
    return false;
}

static void sum_up(const osp_einsum *e, const osp_call *call, const int64_t *base, double *floats,
                   uint64_t *ints)
{
    int64_t at[OPERANDS], index[LABELS] = {0};
    memcpy(at, base, sizeof at);
    *floats = 0;
    *ints = 0;
    for (int32_t d = 0; d < e->sum_rank; d++)
        if (e->extent[e->sum[d]] == 0)
            return;
    const osp_dtype dtype = call->inputs[0].dtype;
    const bool is_float = osp_dtype_is_float(dtype);
    do {
        double product = 1;
        uint64_t whole = 1;
        for (int32_t k = 0; k < e->operands; k++)
            if (is_float)
                product *= (double)osp_load_float(dtype, call->inputs[k].data, (size_t)at[k]);
            else
                whole *= (uint64_t)osp_load_int(dtype, call->inputs[k].data, (size_t)at[k]);
        *floats += product;
        *ints += whole;
    } while (step(e, e->sum, e->sum_rank, index, at));
}

static bool read_call(osp_einsum *e, const osp_call *call)
{
    const osp_shape *shapes[OPERANDS];
    for (int32_t i = 0; i < call->input_count && i < OPERANDS; i++)
        shapes[i] = &call->inputs[i].shape;
    return !osp_einsum_read(e, ((const osp_einsum_attrs *)call->attrs)->equation, shapes,
                            call->input_count);
}

static osp_status run_einsum(const osp_call *call, osp_error *err)
{
    const osp_view *dst = osp_call_output(call, 0);
    osp_einsum e;
    if (!dst || osp_view_count(dst) == 0)
        return OSP_OK;
    if (!read_call(&e, call))
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "the equation does not fit the inputs");
    int64_t at[OPERANDS] = {0}, index[OSP_MAX_RANK] = {0};
    size_t i = 0;
    do {
        double floats;
        uint64_t ints;
        sum_up(&e, call, at, &floats, &ints);
        if (osp_dtype_is_float(dst->dtype))
            osp_store_float(dst->dtype, dst->data, i++, (float)floats);
        else
            osp_store_int(dst->dtype, dst->data, i++, (int64_t)ints);
    } while (step(&e, e.out, e.out_rank, index, at));
    return OSP_OK;
}

static double work_einsum(const osp_call *call)
{
    osp_einsum e;
    double steps = call->input_count;
    if (!read_call(&e, call))
        return 0;
    for (int32_t label = 0; label < LABELS; label++)
        if (e.extent[label] >= 0)
            steps *= (double)e.extent[label];
    return steps;
}

static const osp_attr_row einsum_rows[] = {{"equation", OSP_ATTR_STRING,
                                            offsetof(osp_einsum_attrs, equation),
                                            OSP_EINSUM_EQUATION, NULL, 0, 0},
                                           {0}};

const osp_op osp_op_einsum = {.type = "Einsum",
                              .domain = "",
                              .min_inputs = 1,
                              .max_inputs = -1,
                              .min_outputs = 1,
                              .max_outputs = 1,
                              .attrs_size = sizeof(osp_einsum_attrs),
                              .attr_table = einsum_rows,
                              .infer = infer_einsum,
                              .reference = run_einsum,
                              .work = work_einsum};
