// What the fuzz targets share: an engine asked about and run once. Kernels are plain loops whose
// length the shapes decide, so an engine with far more steps than a fuzzer has time for is not run.
#ifndef OSP_FUZZ_RUN_ENGINE_H
#define OSP_FUZZ_RUN_ENGINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/tactic.h"
#include "engine/engine.h"

enum { FUZZ_MAX_TENSORS = 64, FUZZ_MAX_WORK = 1 << 20 };

// Inner steps of one step's kernel, as constant folding estimates them.
static inline double fuzz_step_work(const osp_problem *p)
{
    osp_view views[2 * OSP_MAX_OPERANDS] = {0};
    double work = 0;
    if (p->src_count > OSP_MAX_OPERANDS || p->dst_count > OSP_MAX_OPERANDS)
        return FUZZ_MAX_WORK + 1.0;
    for (int32_t i = 0; i < p->src_count + p->dst_count; i++) {
        const osp_operand *o = i < p->src_count ? p->src + i : p->dst + (i - p->src_count);
        views[i] = (osp_view){.dtype = o->dtype, .shape = o->shape};
        work += o->dtype ? (double)osp_shape_span(&o->shape, 0, o->shape.rank) : 0;
    }
    const osp_call call = {.attrs = p->attrs,
                           .input_count = p->src_count,
                           .output_count = p->dst_count,
                           .inputs = views,
                           .outputs = views + p->src_count};
    return work + (p->op->work ? p->op->work(&call) : 0);
}

static inline bool fuzz_is_cheap(const osp_engine *engine)
{
    double work = 0;
    for (int32_t v = 0; v < engine->compiled.variant_count; v++)
        for (int32_t s = 0; s < engine->compiled.variants[v].step_count; s++)
            work += fuzz_step_work(&engine->compiled.variants[v].steps[s].problem);
    return work <= FUZZ_MAX_WORK;
}

static inline void fuzz_ask_engine(const osp_engine *engine)
{
    osp_engine_info info;
    osp_tensor_info tensor;
    osp_step_info step;
    int32_t height, width;
    osp_engine_get_info(engine, &info);
    osp_engine_input_size(engine, &height, &width);
    for (int32_t i = 0; osp_engine_input(engine, i, &tensor) == OSP_OK; i++)
        if (!memchr(tensor.name, 0, 1 << 20) || tensor.rank < 0)
            abort();
    for (int32_t i = 0; osp_engine_output(engine, i, &tensor) == OSP_OK; i++)
        if (!memchr(tensor.name, 0, 1 << 20))
            abort();
    for (int32_t v = 0; v < info.variants; v++)
        for (int32_t i = 0; osp_engine_step(engine, v, i, &step) == OSP_OK; i++)
            if (!step.tactic || !step.problem)
                abort();
    for (int32_t i = 0; i < info.classes; i++)
        (void)osp_engine_class_name(engine, i);
}

// Small numbers where the type has them; integers are 0, which is an index everywhere.
static inline void fuzz_fill(uint8_t *dst, size_t bytes, osp_dtype dtype)
{
    const bool integer = dtype == OSP_DTYPE_INT32 || dtype == OSP_DTYPE_INT64;
    for (size_t i = 0; i < bytes; i++)
        dst[i] = (uint8_t)(integer                   ? 0
                           : dtype == OSP_DTYPE_BOOL ? i & 1
                           : i % 4 == 3              ? 0x3F
                                                     : i % 5);
}

// Reads every output of one run of `n` rows.
static inline void fuzz_run_session(osp_session *session, const osp_engine *engine,
                                    const osp_engine_info *info, int32_t n)
{
    osp_tensor inputs[FUZZ_MAX_TENSORS] = {0}, outputs[FUZZ_MAX_TENSORS] = {0};
    void *blocks[FUZZ_MAX_TENSORS] = {0};
    for (int32_t i = 0; i < info->inputs; i++) {
        osp_tensor_info t;
        if (osp_engine_input(engine, i, &t))
            abort();
        size_t bytes = osp_dtype_bytes(t.dtype);
        inputs[i] = (osp_tensor){.dtype = t.dtype, .rank = t.rank};
        for (int32_t d = 0; d < t.rank; d++) {
            inputs[i].dims[d] = t.dims[d] < 0 ? n : t.dims[d];
            bytes *= (size_t)inputs[i].dims[d];
        }
        inputs[i].data = blocks[i] = malloc(bytes ? bytes : 1);
        if (!blocks[i])
            abort();
        fuzz_fill(blocks[i], bytes, t.dtype);
    }
    osp_error err;
    if (osp_session_run(session, inputs, info->inputs, outputs, info->outputs, &err) == OSP_OK) {
        volatile unsigned sum = 0;  // volatile: the reads must happen
        for (int32_t i = 0; i < info->outputs; i++) {
            size_t bytes = osp_dtype_bytes(outputs[i].dtype);
            for (int32_t d = 0; d < outputs[i].rank; d++)
                bytes *= (size_t)outputs[i].dims[d];
            for (size_t k = 0; k < bytes; k++)
                sum = sum + ((const uint8_t *)outputs[i].data)[k];
        }
    }
    for (int32_t i = 0; i < info->inputs; i++)
        free(blocks[i]);
}

// Runs one row, and as many as there may be where that is more.
static inline void fuzz_run_engine(osp_engine *engine)
{
    osp_session *session = NULL;
    osp_engine_info info;
    osp_engine_get_info(engine, &info);
    if (info.inputs > FUZZ_MAX_TENSORS || info.outputs > FUZZ_MAX_TENSORS ||
        !fuzz_is_cheap(engine) || osp_session_open(&session, engine, NULL, NULL))
        return;
    fuzz_run_session(session, engine, &info, 1);
    if (info.batch_free && info.batch_max > 1)
        fuzz_run_session(session, engine, &info, info.batch_max);
    osp_session_close(&session);
}

// A plan that was saved must open again.
static inline void fuzz_save_and_open(osp_runtime *runtime, const osp_engine *engine)
{
    void *plan = NULL;
    size_t size = 0;
    osp_engine *again = NULL;
    osp_error err;
    const osp_status status = osp_engine_save_memory(engine, &plan, &size, &err);
    if (status == OSP_ERROR_LIMIT)  // attributes that are too long for a plan
        return;
    if (status) {
        fprintf(stderr, "cannot be saved: %s\n", err.text);
        abort();
    }
    if (osp_engine_open_memory(&again, runtime, plan, size, NULL, &err)) {
        fprintf(stderr, "saved but not opened: %s\n", err.text);
        abort();
    }
    osp_engine_close(&again);
    osp_host_free(runtime, plan);
}

#endif
