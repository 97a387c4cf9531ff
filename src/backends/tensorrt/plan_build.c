// From our graph to a plan: ONNX bytes for TensorRT's parser, a profile for each variant, the
// builder's settings, and its errors in words.
//
// Types. TensorRT 10 in FP16 chooses the type of each layer itself (the builder's FP16 flag), unless
// nodes are to stay in FP32: then, for BF16, and always in 11, the network is strongly typed and our
// precision pass has settled every type.
// Thread rule: one thread for each build.
#include <stdio.h>
#include <string.h>

#include "backends/tensorrt/tensorrt.h"
#include "onnx/write.h"
#include "passes/passes.h"

typedef struct build {
    osp_trt_model *model;
    const osp_whole_request *request;
    osp_trt_sink sink;
    osp_trt_builder *builder;
    osp_trt_network *network;
    osp_trt_config *config;
    osp_trt_parser *parser;
    osp_trt_timings *timings;
    void *onnx;  // must outlive the network: TensorRT may refer to the weights in it
    size_t onnx_size;
    bool strongly_typed;
} build;

// ---- Progress -----------------------------------------------------------------------------------

enum { PHASES_MAX = 16 };

typedef struct monitor {
    osp_trt_monitor object;
    osp_progress progress;
    pthread_t thread;  // the only one on which the caller's callback runs
    pthread_mutex_t lock;
    struct {
        char name[64];
        int32_t steps;
    } phases[PHASES_MAX];
    bool cancelled;
} monitor;

static void phase_start(osp_trt_monitor *object, const char *phase, const char *parent,
                        int32_t steps)
{
    (void)parent;
    monitor *m = (monitor *)object;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < PHASES_MAX; i++)
        if (!m->phases[i].name[0]) {
            snprintf(m->phases[i].name, sizeof m->phases[i].name, "%s", phase);
            m->phases[i].steps = steps;
            break;
        }
    pthread_mutex_unlock(&m->lock);
}

static bool phase_step(osp_trt_monitor *object, const char *phase, int32_t step)
{
    monitor *m = (monitor *)object;
    int32_t steps = 0;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < PHASES_MAX; i++)
        if (!strncmp(m->phases[i].name, phase, sizeof m->phases[i].name - 1))
            steps = m->phases[i].steps;
    const bool go_on = !m->cancelled;
    pthread_mutex_unlock(&m->lock);
    if (!go_on || !m->progress.step || !pthread_equal(m->thread, pthread_self()))
        return go_on;
    if (m->progress.step(m->progress.user, phase, step + 1, steps > step ? steps : step + 1))
        return true;
    pthread_mutex_lock(&m->lock);
    m->cancelled = true;
    pthread_mutex_unlock(&m->lock);
    return false;
}

static void phase_finish(osp_trt_monitor *object, const char *phase)
{
    monitor *m = (monitor *)object;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < PHASES_MAX; i++)
        if (!strncmp(m->phases[i].name, phase, sizeof m->phases[i].name - 1))
            m->phases[i].name[0] = 0;
    pthread_mutex_unlock(&m->lock);
}

// ---- Errors -------------------------------------------------------------------------------------

static osp_status failed(build *b, osp_status code, const char *what, osp_error *err)
{
    char text[sizeof b->sink.text], version[24];
    osp_trt_sink_take(&b->sink, text, sizeof text);
    OSP_TRY(osp_gpu_check(b->model->gpu, "TensorRT, building an engine,", NULL, err));
    OSP_FAIL(err, code, "TensorRT %s %s%s%s",
             osp_trt_version_text(b->model->trt.api.version, version, sizeof version), what,
             text[0] ? ": " : "", text);
}

// All that the parser refuses, as long as there is room: "node 'x' (Op): text".
static osp_status parse_failed(build *b, osp_error *err)
{
    const osp_trt_api *api = &b->model->trt.api;
    char list[400] = "";
    size_t used = 0;
    const int32_t count = osp_trt_parser_errors(api, b->parser);
    int32_t told = 0;
    for (; told < count; told++) {
        const osp_trt_parser_error *e = osp_trt_parser_error_at(api, b->parser, told);
        if (!osp_trt_is_object(e))
            continue;
        const char *node = osp_trt_parser_error_node(e), *op = osp_trt_parser_error_operator(e);
        char one[300];
        const int n = node[0] || op[0]
                          ? snprintf(one, sizeof one, "node '%s' (%s): %s", node, op,
                                     osp_trt_parser_error_text(e))
                          : snprintf(one, sizeof one, "%s", osp_trt_parser_error_text(e));
        const size_t length = n < (int)sizeof one ? (size_t)n : sizeof one - 1;
        if (used + length + 3 > sizeof list)
            break;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? "; " : "", one);
    }
    if (!used)
        return failed(b, OSP_ERROR_UNSUPPORTED, "does not take the model", err);
    char more[32] = "";
    if (told < count)
        snprintf(more, sizeof more, "; and %d more", count - told);
    OSP_FAIL(err, OSP_ERROR_UNSUPPORTED, "TensorRT does not take the model: %s%s", list, more);
}

// ---- Steps --------------------------------------------------------------------------------------

static bool wants_strong_types(const build *b)
{
    const osp_whole_request *r = b->request;
    return b->model->trt.api.version >= 110000 || r->precision == OSP_PRECISION_BF16 ||
           (r->precision == OSP_PRECISION_FP16 && r->keep_fp32_count > 0);
}

static osp_status write_onnx(build *b, osp_error *err)
{
    const osp_whole_request *r = b->request;
    b->strongly_typed = wants_strong_types(b);
    const osp_pass_options passes = {
        .precision = r->precision,
        .keep_fp32 = r->keep_fp32,
        .keep_fp32_count = r->keep_fp32_count,
    };
    if (b->strongly_typed && r->precision != OSP_PRECISION_FP32)
        OSP_TRY(osp_pass_precision(r->graph, &passes, err));
    return osp_onnx_write_memory(r->graph, &b->onnx, &b->onnx_size, err);
}

static osp_status parse(build *b, osp_error *err)
{
    const osp_trt *trt = &b->model->trt;
    b->network = osp_trt_builder_open_network(&trt->api, b->builder, b->strongly_typed);
    if (!osp_trt_is_object(b->network)) {
        b->network = NULL;
        return failed(b, OSP_ERROR_SYSTEM, "makes no network", err);
    }
    OSP_TRY(osp_trt_open_parser(trt, b->network, &b->sink, &b->parser, err));
    if (!osp_trt_parser_parse(&trt->api, b->parser, b->onnx, b->onnx_size))
        return parse_failed(b, err);
    return OSP_OK;
}

// One profile for each variant, whose least, best and largest shape are the same: TensorRT then
// tunes each for its very batch.
static osp_status add_profile(build *b, int32_t batch, osp_error *err)
{
    const osp_trt_api *api = &b->model->trt.api;
    osp_trt_profile *profile = osp_trt_builder_open_profile(api, b->builder);  // the builder's own
    bool ok = osp_trt_is_object(profile);
    const int32_t inputs = ok ? osp_trt_network_inputs(api, b->network) : 0;
    for (int32_t i = 0; ok && i < inputs; i++) {
        const osp_trt_tensor *t = osp_trt_network_input(api, b->network, i);
        osp_trt_dims dims = osp_trt_tensor_dims(api, t);
        for (int32_t d = 0; d < dims.rank && d < OSP_TRT_MAX_DIMS; d++)
            if (dims.d[d] < 0)
                dims.d[d] = batch;
        for (int32_t s = OSP_TRT_MIN; ok && s <= OSP_TRT_MAX; s++)
            ok = osp_trt_profile_set(api, profile, osp_trt_tensor_name(api, t), (osp_trt_selector)s,
                                     &dims);
    }
    ok = ok && osp_trt_profile_valid(api, profile) &&
         osp_trt_config_add_profile(api, b->config, profile) >= 0;
    return ok ? OSP_OK : failed(b, OSP_ERROR_UNSUPPORTED, "does not take a variant's shapes", err);
}

static osp_status workspace_limit(const build *b, uint64_t *bytes, osp_error *err)
{
    uint64_t free_bytes, total_bytes;
    *bytes = b->request->workspace_bytes;
    if (*bytes)
        return OSP_OK;
    OSP_TRY(osp_gpu_memory(b->model->gpu, &free_bytes, &total_bytes, err));
    *bytes = total_bytes / 10 * 9;
    if (free_bytes && free_bytes < *bytes)
        *bytes = free_bytes;
    return OSP_OK;
}

static osp_status configure(build *b, monitor *mon, osp_error *err)
{
    const osp_trt_api *api = &b->model->trt.api;
    const osp_whole_request *r = b->request;
    b->config = osp_trt_builder_open_config(api, b->builder);
    if (!osp_trt_is_object(b->config)) {
        b->config = NULL;
        return failed(b, OSP_ERROR_SYSTEM, "makes no builder configuration", err);
    }
    uint64_t workspace;
    OSP_TRY(workspace_limit(b, &workspace, err));
    osp_trt_config_set_workspace(api, b->config, (size_t)workspace);
    // TF32 is on by default, and is not the FP32 that was asked for.
    osp_trt_config_set_flag(api, b->config, OSP_TRT_FLAG_TF32, r->precision != OSP_PRECISION_FP32);
    const bool flag = r->precision == OSP_PRECISION_FP16 && !b->strongly_typed;
    if (flag && osp_trt_builder_fast_fp16(api, b->builder))
        osp_trt_config_set_flag(api, b->config, OSP_TRT_FLAG_FP16, true);
    if (r->level)
        osp_trt_config_set_level(api, b->config, r->level);
    // Streams that TensorRT forks by itself would have to be joined into each graph and session.
    osp_trt_config_set_aux_streams(api, b->config, 0);
    osp_trt_config_detail_profiling(api, b->config);
    osp_trt_config_set_progress(api, b->config, &mon->object);
    if (r->cache_file)
        b->timings = osp_trt_timings_open(b->model, b->config, r->cache_file);
    for (int32_t i = 0; r->batch_free && i < r->batch_count; i++)
        OSP_TRY(add_profile(b, r->batches[i], err));
    return OSP_OK;
}

static osp_status build_plan(build *b, const monitor *mon, void **plan, size_t *size,
                             osp_error *err)
{
    const osp_trt_api *api = &b->model->trt.api;
    osp_trt_bytes *bytes = osp_trt_builder_build(api, b->builder, b->network, b->config);
    if (!osp_trt_is_object(bytes)) {
        if (mon->cancelled)
            OSP_FAIL(err, OSP_ERROR_CANCELLED, "the build was cancelled");
        return failed(b, OSP_ERROR_UNSUPPORTED, "builds no engine from the model", err);
    }
    if (b->timings)
        osp_trt_timings_store(b->model, b->config, b->request->cache_file);
    *size = osp_trt_bytes_size(api, bytes);
    *plan = osp_mem_alloc(&b->model->ctx->mem, *size);
    if (*plan)
        memcpy(*plan, osp_trt_bytes_data(api, bytes), *size);
    osp_trt_delete(bytes);
    if (!*plan)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

static osp_status run_steps(build *b, monitor *mon, void **plan, size_t *size, osp_error *err)
{
    OSP_TRY(write_onnx(b, err));
    OSP_TRY(osp_trt_open_builder(&b->model->trt, &b->sink, &b->builder, err));
    OSP_TRY(parse(b, err));
    OSP_TRY(configure(b, mon, err));
    return build_plan(b, mon, plan, size, err);
}

osp_status osp_trt_build_plan(osp_trt_model *model, const osp_whole_request *request, void **plan,
                              size_t *size, osp_error *err)
{
    build b = {.model = model, .request = request};
    monitor mon = {
        .object = {.start = phase_start, .step = phase_step, .finish = phase_finish},
        .progress = request->progress,
        .thread = pthread_self(),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    osp_gpu_scope scope;
    *plan = NULL;
    OSP_TRY(osp_gpu_enter(model->gpu, &scope, err));
    osp_trt_monitor_init(&mon.object);
    osp_trt_sink_open(&b.sink, &model->trt, model->ctx, false);
    const osp_status status = run_steps(&b, &mon, plan, size, err);
    // The other way round than they were made.
    osp_trt_delete(b.timings);
    osp_trt_delete(b.config);
    osp_trt_parser_delete(&model->trt.api, b.parser);
    osp_trt_delete(b.network);
    osp_trt_delete(b.builder);
    osp_mem_free(&model->ctx->mem, b.onnx);
    osp_trt_sink_close(&b.sink);
    osp_gpu_leave(model->gpu, &scope);
    pthread_mutex_destroy(&mon.lock);
    return status;
}
