// Convolution and transposed convolution by oneDNN: what our own tiles do not take, such as grouped
// ones.
// Packed: the layout of the weights (compared when a plan is opened), bias in FP32, weights.
#include <string.h>

#include "backends/cpu/dnnl_help.h"
#include "ops/view.h"

typedef struct conv_state {
    dnnl_engine_t engine;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t src, bias, dst, add;  // bias, add: NULL where there is none
    int add_at;
    bool deconv;
    size_t bias_at, weights_at;  // in the packed bytes
} conv_state;

enum { ARGS = 6 };

typedef struct conv_session {
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[ARGS];  // src, weights, dst, scratch, then bias and residual if any
    int count, add_at;           // add_at: index in args, -1: none
} conv_session;

static bool is_deconv(const osp_problem *p)
{
    return !strcmp(p->op->type, "ConvTranspose");
}

static const char *refuse(const osp_problem *p)
{
    osp_conv_problem c;
    const char *why = osp_conv_problem_of(p, &c);
    if (why)
        return why;
    const osp_dtype t = c.src->dtype;
    if (t != OSP_DTYPE_FLOAT32 && t != OSP_DTYPE_BFLOAT16)
        return "neither FP32 nor bfloat16";
    if (t == OSP_DTYPE_BFLOAT16 && !osp_cpu_has_bf16())
        return "the processor lacks bfloat16";
    if (c.weights->dtype != t || c.dst->dtype != t || (c.add && c.add->dtype != t))
        return "types differ";
    if (c.dst->layout != OSP_LAYOUT_CHANNELS_LAST)
        return "the destination is not channels last";
    if (c.src->layout != OSP_LAYOUT_CHANNELS_LAST)  // oneDNN has only its slow reference for it
        return "the source is not channels last";
    // For slices oneDNN 3.2 has only its reference, a hundred times slower than a copy.
    if (!osp_operand_dense(c.src) || !osp_operand_dense(c.dst))
        return "a slice";
    if (c.add)  // oneDNN 3.2 falls back to its slow reference where the residual is a slice
        return "with a residual";
    if (!osp_dnnl_has_act(c.act))
        return "no such activation";
    if (osp_operand_count(c.dst) == 0 || osp_operand_count(c.src) == 0)
        return "empty";
    return NULL;
}

static void release(osp_context *ctx, void *state)
{
    conv_state *s = state;
    dnnl_memory_desc_t *const descs[] = {&s->src, &s->bias, &s->dst, &s->add};
    for (size_t i = 0; i < 4; i++)
        if (*descs[i])
            dnnl_memory_desc_destroy(*descs[i]);
    if (s->primitive)
        dnnl_primitive_destroy(s->primitive);
    if (s->desc)
        dnnl_primitive_desc_destroy(s->desc);
    if (s->engine)
        dnnl_engine_destroy(s->engine);
    osp_mem_free(&ctx->mem, s);
}

// Dims of the weights as oneDNN counts them, (groups), output, input, height, width, and strides
// of how ONNX stores them.
static int weight_dims(const osp_conv_problem *c, bool deconv, dnnl_dims_t dims,
                       dnnl_dims_t strides)
{
    const int64_t g = c->attrs->group, *w = c->weights->shape.dims;
    const int64_t taps = w[2] * w[3];
    const int64_t oc = deconv ? w[1] : w[0] / g, ic = deconv ? w[0] / g : w[1];
    const int64_t o_step = deconv ? taps : ic * taps, i_step = deconv ? oc * taps : taps;
    const int64_t all[5] = {g, oc, ic, w[2], w[3]};
    const int64_t steps[5] = {oc * ic * taps, o_step, i_step, w[3], 1};
    const int skip = g == 1;
    memcpy(dims, all + skip, (size_t)(5 - skip) * sizeof(int64_t));
    memcpy(strides, steps + skip, (size_t)(5 - skip) * sizeof(int64_t));
    return 5 - skip;
}

static osp_status make_desc(conv_state *s, const osp_conv_problem *c, dnnl_memory_desc_t weights,
                            dnnl_primitive_attr_t attr, osp_error *err)
{
    const osp_window *w = c->attrs->window;
    dnnl_dims_t strides, dilates, before, after;
    for (int i = 0; i < 2; i++) {
        const int64_t in = c->src->shape.dims[2 + i], out = c->dst->shape.dims[2 + i];
        const int64_t reach = (w[i].size - 1) * w[i].dilation + 1;
        strides[i] = w[i].stride;
        dilates[i] = w[i].dilation - 1;
        before[i] = w[i].pad_begin;
        // What is left, so that the sizes agree also where the last pixels are not used.
        after[i] = s->deconv ? (in - 1) * w[i].stride + reach - before[i] - out
                             : (out - 1) * w[i].stride + reach - in - before[i];
    }
    if (s->deconv)
        OSP_DNNL(err, dnnl_deconvolution_forward_primitive_desc_create(
                          &s->desc, s->engine, dnnl_forward_inference, dnnl_deconvolution_direct,
                          s->src, weights, s->bias, s->dst, strides, dilates, before, after, attr));
    else
        OSP_DNNL(err, dnnl_convolution_forward_primitive_desc_create(
                          &s->desc, s->engine, dnnl_forward_inference, dnnl_convolution_direct,
                          s->src, weights, s->bias, s->dst, strides, dilates, before, after, attr));
    return OSP_OK;
}

static osp_status make_attr(conv_state *s, const osp_conv_problem *c, dnnl_primitive_attr_t attr,
                            osp_error *err)
{
    dnnl_post_ops_t ops;
    OSP_DNNL(err, dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    OSP_DNNL(err, dnnl_post_ops_create(&ops));
    osp_status status = osp_dnnl_finish(ops, c, s->add, &s->add_at, err);
    if (!status && dnnl_primitive_attr_set_post_ops(attr, ops) != dnnl_success)
        status = osp_error_set(err, OSP_ERROR_SYSTEM, "oneDNN: setting post-ops failed");
    dnnl_post_ops_destroy(ops);
    return status;
}

static osp_status make_primitive(conv_state *s, const osp_conv_problem *c, osp_error *err)
{
    OSP_DNNL(err, dnnl_engine_create(&s->engine, dnnl_cpu, 0));
    OSP_TRY(osp_dnnl_image(&s->src, c->src, err));
    OSP_TRY(osp_dnnl_image(&s->dst, c->dst, err));
    if (c->add)
        OSP_TRY(osp_dnnl_image(&s->add, c->add, err));
    const dnnl_dims_t channels = {c->dst->shape.dims[1]};
    if (c->bias)
        OSP_DNNL(err, dnnl_memory_desc_create_with_tag(&s->bias, 1, channels, dnnl_f32, dnnl_a));
    dnnl_dims_t dims, strides;
    const int rank = weight_dims(c, s->deconv, dims, strides);
    dnnl_memory_desc_t weights;
    dnnl_primitive_attr_t attr;
    OSP_DNNL(err, dnnl_primitive_attr_create(&attr));
    osp_status status = make_attr(s, c, attr, err);
    if (!status) {
        const dnnl_status_t made = dnnl_memory_desc_create_with_tag(
            &weights, rank, dims, osp_dnnl_type(c->weights->dtype), dnnl_format_tag_any);
        status = made ? osp_dnnl_error(err, made, "dnnl_memory_desc_create_with_tag")
                      : make_desc(s, c, weights, attr, err);
        if (!made)
            dnnl_memory_desc_destroy(weights);
    }
    dnnl_primitive_attr_destroy(attr);
    OSP_TRY(status);
    OSP_DNNL(err, dnnl_primitive_create(&s->primitive, s->desc));
    return OSP_OK;
}

static size_t round_up(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static osp_status prepare(const osp_problem *p, osp_context *ctx, int32_t threads, void **state,
                          osp_tactic_sizes *sizes, osp_error *err)
{
    (void)threads;
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    conv_state *s = osp_mem_calloc(&ctx->mem, 1, sizeof *s);
    if (!s)
        OSP_FAIL_MEMORY(err);
    s->deconv = is_deconv(p);
    const osp_status status = make_primitive(s, &c, err);
    if (status) {
        release(ctx, s);
        return status;
    }
    s->bias_at = round_up(sizeof(osp_dnnl_layout));
    s->weights_at = s->bias_at +
                    (c.bias ? round_up((size_t)c.dst->shape.dims[1] * sizeof(float)) : 0);
    sizes->packed_bytes = s->weights_at + dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(
                                              s->desc, dnnl_query_weights_md, 0));
    sizes->workspace_bytes = dnnl_memory_desc_get_size(
        dnnl_primitive_desc_query_md(s->desc, dnnl_query_scratchpad_md, 0));
    *state = s;
    return OSP_OK;
}

// Weights from ONNX's order into the primitive's.
static osp_status reorder(const conv_state *s, const osp_conv_problem *c, const void *from,
                          void *to, osp_error *err)
{
    dnnl_dims_t dims, strides;
    const int rank = weight_dims(c, s->deconv, dims, strides);
    const_dnnl_memory_desc_t packed = dnnl_primitive_desc_query_md(s->desc, dnnl_query_weights_md,
                                                                   0);
    dnnl_memory_desc_t plain = NULL;
    dnnl_memory_t src = NULL, dst = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t made = dnnl_memory_desc_create_with_strides(
        &plain, rank, dims, osp_dnnl_type(c->weights->dtype), strides);
    if (!made)
        made = dnnl_memory_create(&src, plain, s->engine, (void *)(uintptr_t)from);
    if (!made)
        made = dnnl_memory_create(&dst, packed, s->engine, to);
    if (!made)
        made = dnnl_reorder_primitive_desc_create(&desc, plain, s->engine, packed, s->engine, NULL);
    if (!made)
        made = dnnl_primitive_create(&primitive, desc);
    if (!made)
        made = dnnl_stream_create(&stream, s->engine, dnnl_stream_default_flags);
    const dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, src}, {DNNL_ARG_TO, dst}};
    if (!made)
        made = dnnl_primitive_execute(primitive, stream, 2, args);
    if (!made)
        made = dnnl_stream_wait(stream);
    if (stream)
        dnnl_stream_destroy(stream);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    if (dst)
        dnnl_memory_destroy(dst);
    if (src)
        dnnl_memory_destroy(src);
    if (plain)
        dnnl_memory_desc_destroy(plain);
    return made ? osp_dnnl_error(err, made, "reorder of weights") : OSP_OK;
}

static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    const conv_state *s = state;
    osp_conv_problem c;
    osp_conv_problem_of(p, &c);
    OSP_TRY(osp_dnnl_layout_of(
        packed, dnnl_primitive_desc_query_md(s->desc, dnnl_query_weights_md, 0), err));
    for (int64_t i = 0; c.bias && i < c.dst->shape.dims[1]; i++)
        ((float *)(void *)((char *)packed + s->bias_at))[i] = osp_load_float(c.bias->dtype, src[2],
                                                                             (size_t)i);
    return reorder(s, &c, src[1], (char *)packed + s->weights_at, err);
}

static osp_status check(const osp_problem *p, void *state, const void *packed, osp_error *err)
{
    (void)p;
    const conv_state *s = state;
    osp_dnnl_layout now, then;
    OSP_TRY(osp_dnnl_layout_of(
        &now, dnnl_primitive_desc_query_md(s->desc, dnnl_query_weights_md, 0), err));
    memcpy(&then, packed, sizeof then);
    if (memcmp(&now, &then, sizeof now) != 0)
        OSP_FAIL(err, OSP_ERROR_STALE,
                 "this oneDNN lays out the weights another way: build it again");
    return OSP_OK;
}

static void unbind(osp_context *ctx, void *session)
{
    conv_session *b = session;
    for (int i = 0; i < b->count; i++)
        if (b->args[i].memory)
            dnnl_memory_destroy(b->args[i].memory);
    if (b->stream)
        dnnl_stream_destroy(b->stream);
    osp_mem_free(&ctx->mem, b);
}

static osp_status add_memory(conv_session *b, const conv_state *s, int arg,
                             const_dnnl_memory_desc_t md, const void *data, osp_error *err)
{
    b->args[b->count].arg = arg;
    OSP_DNNL(err,
             dnnl_memory_create(&b->args[b->count].memory, md, s->engine, (void *)(uintptr_t)data));
    b->count++;
    return OSP_OK;
}

static osp_status fill_session(conv_session *b, const conv_state *s, const void *packed,
                               osp_error *err)
{
    const char *bytes = packed;
    b->add_at = -1;
    OSP_DNNL(err, dnnl_stream_create(&b->stream, s->engine, dnnl_stream_default_flags));
    OSP_TRY(add_memory(b, s, DNNL_ARG_SRC, s->src, NULL, err));
    OSP_TRY(add_memory(b, s, DNNL_ARG_WEIGHTS,
                       dnnl_primitive_desc_query_md(s->desc, dnnl_query_weights_md, 0),
                       bytes + s->weights_at, err));
    OSP_TRY(add_memory(b, s, DNNL_ARG_DST, s->dst, NULL, err));
    OSP_TRY(add_memory(b, s, DNNL_ARG_SCRATCHPAD,
                       dnnl_primitive_desc_query_md(s->desc, dnnl_query_scratchpad_md, 0), NULL,
                       err));
    if (s->bias)
        OSP_TRY(add_memory(b, s, DNNL_ARG_BIAS, s->bias, bytes + s->bias_at, err));
    if (s->add) {
        b->add_at = b->count;
        OSP_TRY(add_memory(b, s, DNNL_ARG_ATTR_MULTIPLE_POST_OP(s->add_at) | DNNL_ARG_SRC_1, s->add,
                           NULL, err));
    }
    return OSP_OK;
}

static osp_status bind(const osp_problem *p, osp_context *ctx, void *state, const void *packed,
                       void **session, osp_error *err)
{
    (void)p;
    conv_session *b = osp_mem_calloc(&ctx->mem, 1, sizeof *b);
    if (!b)
        OSP_FAIL_MEMORY(err);
    const osp_status status = fill_session(b, state, packed, err);
    if (status)
        unbind(ctx, b);
    else
        *session = b;
    return status;
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    (void)p;
    const conv_state *s = state;
    const conv_session *b = l->session;
    OSP_DNNL(err, dnnl_memory_set_data_handle(b->args[0].memory, l->src[0]));
    OSP_DNNL(err, dnnl_memory_set_data_handle(b->args[2].memory, l->dst[0]));
    OSP_DNNL(err, dnnl_memory_set_data_handle(b->args[3].memory, l->workspace));
    if (b->add_at >= 0)
        OSP_DNNL(err, dnnl_memory_set_data_handle(b->args[b->add_at].memory, l->src[3]));
    OSP_DNNL(err, dnnl_primitive_execute(s->primitive, b->stream, b->count, b->args));
    OSP_DNNL(err, dnnl_stream_wait(b->stream));
    return OSP_OK;
}

#define DNNL_TACTIC(NAME)                                                                          \
    {                                                                                              \
        .name = NAME, .pack_version = 1, .openmp = true, .refuse = refuse, .prepare = prepare,     \
        .pack = pack, .check = check, .bind = bind, .launch = launch, .unbind = unbind,            \
        .release = release                                                                         \
    }
const osp_tactic osp_cpu_conv_dnnl = DNNL_TACTIC("onednn");
const osp_tactic osp_cpu_deconv_dnnl = DNNL_TACTIC("onednn");
