// The short text of two-dimensional convolutions with constant weights and a channels-last result:
//
//     conv n1 ic64 ih80 iw80 oc128 kh3 sh2 ph1 f32 nhwc ss128 ds256 +bias +silu +add
//
// A form for people and benchmark lists; whatever it cannot say is written in the generic form.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/problem_text.h"
#include "ops/internal.h"

static const char *const act_names[] = {"none",    "relu",         "silu",       "leaky_relu",
                                        "sigmoid", "hard_sigmoid", "hard_swish", "clip",
                                        "tanh",    "gelu",         "gelu_tanh"};

// Numbers in their order. A field that has its default is not written; `same` names the field
// whose value is the default (-1: `otherwise`).
enum { N, IC, IH, IW, OC, KH, KW, SH, SW, PH, PW, PE, PF, DH, DW, G, FIELDS };
static const struct {
    const char *name;
    int32_t same;
    int64_t otherwise, low;
} fields[FIELDS] = {[N] = {"n", -1, -1, 0},   [IC] = {"ic", -1, -1, 1}, [IH] = {"ih", -1, -1, 1},
                    [IW] = {"iw", -1, -1, 1}, [OC] = {"oc", -1, -1, 1}, [KH] = {"kh", -1, -1, 1},
                    [KW] = {"kw", KH, 0, 1},  [SH] = {"sh", -1, 1, 1},  [SW] = {"sw", SH, 0, 1},
                    [PH] = {"ph", -1, 0, 0},  [PW] = {"pw", PH, 0, 0},  [PE] = {"pe", PH, 0, 0},
                    [PF] = {"pf", PW, 0, 0},  [DH] = {"dh", -1, 1, 1},  [DW] = {"dw", DH, 0, 1},
                    [G] = {"g", -1, 1, 1}};
enum { MOST = 1 << 30 };

static bool has_numbers(int32_t act)
{
    return act == OSP_ACT_LEAKY_RELU || act == OSP_ACT_HARD_SIGMOID || act == OSP_ACT_CLIP;
}

static bool is_bfloat_or_float(osp_dtype t)
{
    return t == OSP_DTYPE_FLOAT32 || t == OSP_DTYPE_BFLOAT16 || t == OSP_DTYPE_FLOAT16;
}

// The shapes that the numbers stand for. false: they do not fit together.
static bool shapes_of(const int64_t v[FIELDS], osp_shape *src, osp_shape *weights, osp_shape *dst)
{
    if (v[IC] % v[G] || v[OC] % v[G])
        return false;
    osp_window h = {v[KH], v[SH], v[DH], v[PH], v[PE]}, w = {v[KW], v[SW], v[DW], v[PW], v[PF]};
    int64_t oh, ow;
    if (!osp_shape_window(v[IH], OSP_PAD_NOTSET, false, &h, &oh) ||
        !osp_shape_window(v[IW], OSP_PAD_NOTSET, false, &w, &ow))
        return false;
    *src = (osp_shape){4, {v[N], v[IC], v[IH], v[IW]}};
    *weights = (osp_shape){4, {v[OC], v[IC] / v[G], v[KH], v[KW]}};
    *dst = (osp_shape){4, {v[N], v[OC], oh, ow}};
    size_t count;
    const osp_shape *all[] = {src, weights, dst};
    for (int32_t i = 0; i < 3; i++)
        if (!osp_shape_count(all[i], &count) || count > INT64_MAX / 16)
            return false;
    return true;
}

// ---- Printing -----------------------------------------------------------------------------------

typedef struct conv_view {
    const osp_operand *src, *weights, *bias, *add, *dst;
    const osp_conv_attrs *conv;
    int32_t act;
    float alpha, beta;
    bool before, fused;
} conv_view;

static bool view_of(const osp_problem *p, conv_view *c)
{
    *c = (conv_view){0};
    c->fused = !strcmp(p->op->type, "FusedConv");
    if ((!c->fused && (strcmp(p->op->type, "Conv") != 0 || p->op->domain[0])) || p->src_count < 2 ||
        p->src_count > 4 || p->dst_count != 1)
        return false;
    c->conv = p->attrs;
    c->src = p->src;
    c->weights = p->src + 1;
    c->bias = p->src_count > 2 && p->src[2].dtype ? p->src + 2 : NULL;
    c->dst = p->dst;
    if (!c->fused)
        return p->src_count == 2 + (c->bias != NULL);
    const osp_fused_conv_attrs *a = p->attrs;
    c->conv = &a->conv;
    c->act = a->act;
    c->alpha = a->alpha;
    c->beta = a->beta;
    c->add = p->src_count > 3 && p->src[3].dtype ? p->src + 3 : NULL;
    c->before = a->residual == OSP_RESIDUAL_BEFORE;
    return (c->add != NULL) == (a->residual != OSP_RESIDUAL_NONE) && (c->act || c->add) &&
           c->act >= 0 && c->act < OSP_ACT_COUNT &&
           (has_numbers(c->act) || (c->alpha == 0 && c->beta == 0)) && c->alpha == c->alpha &&
           c->beta == c->beta && p->src_count == (c->add ? 4 : 3);
}

static bool is_row_of(const osp_operand *o, int64_t channels)
{
    return o->constant && osp_operand_dense(o) && o->layout == OSP_LAYOUT_PLAIN &&
           o->shape.rank == 1 && o->shape.dims[0] == channels;
}

static bool is_pixels(const osp_operand *o, const osp_shape *shape, osp_dtype dtype)
{
    return !o->constant && o->layout == OSP_LAYOUT_CHANNELS_LAST && o->dtype == dtype &&
           o->row == shape->dims[1] && osp_shape_equal(&o->shape, shape);
}

// Does the short form say everything about this problem?
static bool is_regular(const conv_view *c, const int64_t v[FIELDS])
{
    for (int32_t i = 0; i < FIELDS; i++)
        if (v[i] < fields[i].low || v[i] > MOST)
            return false;
    osp_shape src, weights, dst;
    const osp_dtype t = c->src->dtype;
    if (!shapes_of(v, &src, &weights, &dst) || !is_bfloat_or_float(t))
        return false;
    const bool planes = c->src->layout == OSP_LAYOUT_PLAIN;
    if (!osp_shape_equal(&c->src->shape, &src) || c->src->constant ||
        (planes && !osp_operand_dense(c->src)) || (!planes && !is_pixels(c->src, &src, t)))
        return false;
    if (!osp_shape_equal(&c->weights->shape, &weights) || !c->weights->constant ||
        c->weights->dtype != t || !osp_operand_dense(c->weights) ||
        c->weights->layout != OSP_LAYOUT_PLAIN)
        return false;
    if (c->bias && (!is_row_of(c->bias, v[OC]) ||
                    (c->bias->dtype != t && c->bias->dtype != OSP_DTYPE_FLOAT32)))
        return false;
    return is_pixels(c->dst, &dst, t) && (!c->add || is_pixels(c->add, &dst, t));
}

// As few digits as give the same float back.
static void print_float(osp_text *t, float x)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    osp_text_add(t, "%s", text);
}

static void print_ends(const conv_view *c, osp_text *t)
{
    if (c->bias)
        osp_text_add(t, c->bias->dtype == c->src->dtype ? " +bias" : " +bias_f32");
    if (c->add && c->before)
        osp_text_add(t, " +add");
    if (c->act)
        osp_text_add(t, " +%s", act_names[c->act]);
    if (has_numbers(c->act)) {
        osp_text_add(t, "(");
        print_float(t, c->alpha);
        osp_text_add(t, ",");
        print_float(t, c->beta);
        osp_text_add(t, ")");
    }
    if (c->add && !c->before)
        osp_text_add(t, " +add");
}

bool osp_problem_print_conv(const osp_problem *p, osp_text *t)
{
    conv_view c;
    if (!view_of(p, &c) || c.conv->spatial != 2 || c.src->shape.rank != 4 ||
        c.weights->shape.rank != 4)
        return false;
    // "residual before" without an activation would read back as "after".
    if (c.add && c.before && !c.act)
        return false;
    const osp_window *h = c.conv->window, *w = c.conv->window + 1;
    const int64_t *src = c.src->shape.dims;
    const int64_t v[FIELDS] = {[N] = src[0],
                               [IC] = src[1],
                               [IH] = src[2],
                               [IW] = src[3],
                               [OC] = c.weights->shape.dims[0],
                               [KH] = h->size,
                               [KW] = w->size,
                               [SH] = h->stride,
                               [SW] = w->stride,
                               [PH] = h->pad_begin,
                               [PW] = w->pad_begin,
                               [PE] = h->pad_end,
                               [PF] = w->pad_end,
                               [DH] = h->dilation,
                               [DW] = w->dilation,
                               [G] = c.conv->group};
    if (!is_regular(&c, v))
        return false;
    osp_text_add(t, "conv");
    for (int32_t i = 0; i < FIELDS; i++) {
        const int64_t usual = fields[i].same >= 0 ? v[fields[i].same] : fields[i].otherwise;
        if (v[i] != usual)
            osp_text_add(t, " %s%lld", fields[i].name, (long long)v[i]);
    }
    osp_text_add(t, " %s %s", osp_problem_type_name(c.src->dtype),
                 c.src->layout == OSP_LAYOUT_PLAIN ? "nchw" : "nhwc");
    if (c.src->row != c.src->pitch)
        osp_text_add(t, " ss%lld", (long long)c.src->pitch);
    if (c.dst->row != c.dst->pitch)
        osp_text_add(t, " ds%lld", (long long)c.dst->pitch);
    if (c.add && c.add->row != c.add->pitch)
        osp_text_add(t, " as%lld", (long long)c.add->pitch);
    print_ends(&c, t);
    return true;
}

// ---- Scanning -----------------------------------------------------------------------------------

bool osp_problem_is_conv(osp_word word)
{
    return osp_word_is(word, "conv");
}

// "ih80" as field 'ih'. The longest name that fits is meant, and a digit follows it.
static bool scan_number(osp_word word, const char *name, int64_t *out)
{
    const size_t length = strlen(name);
    return word.length > length && !memcmp(word.text, name, length) &&
           osp_word_number(word.text + length, word.length - length, out);
}

typedef struct scanned {
    int64_t v[FIELDS];
    osp_dtype dtype, bias;
    bool planes, add, before;
    int64_t ss, ds, as;  // -1: dense
    int32_t act;
    float alpha, beta;
} scanned;

static bool scan_act(osp_word word, scanned *s)
{
    for (int32_t i = 1; i < OSP_ACT_COUNT; i++) {
        const size_t length = strlen(act_names[i]);
        if (word.length < length || memcmp(word.text, act_names[i], length) != 0)
            continue;
        if (word.length == length && !has_numbers(i)) {
            s->act = i;
            return true;
        }
        char numbers[64];
        const size_t rest = word.length - length;
        if (!has_numbers(i) || rest < 5 || rest >= sizeof numbers || word.text[length] != '(')
            continue;
        memcpy(numbers, word.text + length + 1, rest - 1);
        numbers[rest - 1] = 0;
        char *end;
        s->alpha = strtof(numbers, &end);
        if (end == numbers || *end != ',')
            return false;
        const char *second = end + 1;
        s->beta = strtof(second, &end);
        if (end == second || strcmp(end, ")") != 0 || s->alpha != s->alpha || s->beta != s->beta)
            return false;
        s->act = i;
        return true;
    }
    return false;
}

static bool scan_end(osp_word word, scanned *s)
{
    if (word.length < 2 || word.text[0] != '+')
        return false;
    const osp_word what = {word.text + 1, word.length - 1};
    const bool nothing_yet = !s->act && !s->add;
    if (osp_word_is(what, "bias") || osp_word_is(what, "bias_f32")) {
        if (s->bias || !nothing_yet)
            return false;
        s->bias = osp_word_is(what, "bias") ? s->dtype : OSP_DTYPE_FLOAT32;
        return true;
    }
    if (osp_word_is(what, "add")) {
        if (s->add)
            return false;
        s->add = true;
        return true;
    }
    if (s->act || !scan_act(what, s))
        return false;
    s->before = s->add;
    return true;
}

// Words in their order; false: one that does not belong, in *at.
static bool scan_words(const char *text, scanned *s, osp_word *at)
{
    *s = (scanned){.ss = -1, .ds = -1, .as = -1};
    osp_word_next(&text);
    osp_word word = *at = osp_word_next(&text);
    for (int32_t i = 0; i < FIELDS; i++) {
        s->v[i] = fields[i].same >= 0 ? s->v[fields[i].same] : fields[i].otherwise;
        if (scan_number(word, fields[i].name, &s->v[i]))
            word = *at = osp_word_next(&text);
        if (s->v[i] < fields[i].low || s->v[i] > MOST)
            return false;
    }
    if (!osp_problem_type_scan(word.text, word.length, &s->dtype) || !is_bfloat_or_float(s->dtype))
        return false;
    word = *at = osp_word_next(&text);
    s->planes = osp_word_is(word, "nchw");
    if (!s->planes && !osp_word_is(word, "nhwc"))
        return false;
    word = *at = osp_word_next(&text);
    int64_t *const pitches[] = {&s->ss, &s->ds, &s->as};
    static const char *const names[] = {"ss", "ds", "as"};
    for (int32_t i = 0; i < 3; i++)
        if (scan_number(word, names[i], pitches[i]))
            word = *at = osp_word_next(&text);
    for (; word.length; word = *at = osp_word_next(&text))
        if (!scan_end(word, s))
            return false;
    return true;
}

// Pixels `pitch` apart, -1: dense. false: pixels would meet, or it is too large.
static bool set_pixels(osp_operand *o, osp_dtype dtype, const osp_shape *shape, int64_t pitch)
{
    *o = (osp_operand){.dtype = dtype, .shape = *shape, .layout = OSP_LAYOUT_CHANNELS_LAST};
    o->row = shape->dims[1];
    o->pitch = pitch < 0 ? o->row : pitch;
    return pitch < 0 || (pitch > o->row && pitch <= MOST);
}

static void set_plain(osp_operand *o, osp_dtype dtype, const osp_shape *shape, bool constant)
{
    *o = (osp_operand){.dtype = dtype, .shape = *shape, .constant = constant};
    o->row = o->pitch = osp_shape_span(shape, 0, shape->rank);
}

static osp_conv_attrs attrs_of(const int64_t v[FIELDS])
{
    return (osp_conv_attrs){
        .kernel_shape = {2, {v[KH], v[KW]}},
        .strides = {2, {v[SH], v[SW]}},
        .dilations = {2, {v[DH], v[DW]}},
        .pads = {4, {v[PH], v[PW], v[PE], v[PF]}},
        .group = v[G],
        .spatial = 2,
        .window = {{v[KH], v[SH], v[DH], v[PH], v[PE]}, {v[KW], v[SW], v[DW], v[PW], v[PF]}}};
}

static bool make_problem(osp_problem *out, const scanned *s, void *attrs)
{
    osp_shape src, weights, dst;
    if (!shapes_of(s->v, &src, &weights, &dst) || (s->planes && s->ss >= 0) ||
        (s->as >= 0 && !s->add))
        return false;
    const osp_shape channels = {1, {s->v[OC]}};
    const bool fused = s->act || s->add;
    out->src_count = s->add ? 4 : fused ? 3 : s->bias ? 3 : 2;
    out->dst_count = 1;
    bool fits = set_pixels(out->dst, s->dtype, &dst, s->ds);
    if (s->planes)
        set_plain(out->src, s->dtype, &src, false);
    else
        fits &= set_pixels(out->src, s->dtype, &src, s->ss);
    set_plain(out->src + 1, s->dtype, &weights, true);
    if (s->bias)
        set_plain(out->src + 2, s->bias, &channels, true);
    if (s->add)
        fits &= set_pixels(out->src + 3, s->dtype, &dst, s->as);
    const osp_conv_attrs conv = attrs_of(s->v);
    if (fused)
        *(osp_fused_conv_attrs *)attrs = (osp_fused_conv_attrs){conv, s->act, s->alpha, s->beta,
                                                                s->before ? OSP_RESIDUAL_BEFORE
                                                                : s->add  ? OSP_RESIDUAL_AFTER
                                                                          : OSP_RESIDUAL_NONE};
    else
        *(osp_conv_attrs *)attrs = conv;
    return fits;
}

osp_status osp_problem_scan_conv(osp_problem *out, osp_arena *arena, const char *text,
                                 osp_error *err)
{
    scanned s;
    osp_word at;
    if (!scan_words(text, &s, &at))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "problem text: conv: '%.*s' is not expected there",
                 (int)(at.length < 60 ? at.length : 60), at.text);
    const bool fused = s.act || s.add;
    out->op = osp_op_find(fused ? "osprey" : "", fused ? "FusedConv" : "Conv");
    out->src = osp_arena_array(arena, 4, sizeof *out->src);
    out->dst = osp_arena_array(arena, 1, sizeof *out->dst);
    void *attrs = osp_arena_alloc(arena, sizeof(osp_fused_conv_attrs));
    if (!out->op || !out->src || !out->dst || !attrs)
        OSP_FAIL_MEMORY(err);
    out->attrs = attrs;
    if (!make_problem(out, &s, attrs))
        OSP_FAIL(err, OSP_ERROR_FORMAT, "problem text: conv: the numbers do not fit together");
    return OSP_OK;
}
