// Writes a model back as ONNX, in float16 if asked.
//
// The file keeps its free dims and its shape arithmetic, so the graph that is written is never
// specialised. The types of its values are learned from a specialised copy, in which values have
// the same numbers. Thread rule: any thread; the model is only read.
#include "engine/engine.h"
#include "onnx/write.h"
#include "passes/passes.h"

void osp_model_learn_types(osp_graph *graph, const osp_graph *inferred)
{
    for (size_t v = 0; v < graph->value_count; v++)
        if (!graph->values[v].data && inferred->values[v].dtype)
            graph->values[v].dtype = inferred->values[v].dtype;
}

static osp_status learn_types(osp_graph *graph, osp_model *model, const osp_engine_options *options,
                              osp_error *err)
{
    osp_graph sized;
    OSP_TRY(osp_model_specialise(&sized, model, options, err));
    osp_model_learn_types(graph, &sized);
    osp_graph_free(&sized);
    return OSP_OK;
}

static osp_status write_low(osp_model *model, const char *path, const osp_engine_options *options,
                            osp_error *err)
{
    const osp_pass_options passes = {
        .precision = options->precision,
        .keep_fp32 = options->keep_fp32,
        .keep_fp32_count = options->keep_fp32_count,
    };
    osp_graph graph;
    OSP_TRY(osp_graph_clone(&graph, &model->graph, err));
    osp_status status = learn_types(&graph, model, options, err);
    if (!status)
        status = osp_pass_precision(&graph, &passes, err);
    if (!status)
        status = osp_onnx_write(&graph, path, err);
    osp_graph_free(&graph);
    return status;
}

osp_status osp_model_write(osp_model *model, const char *path, const osp_engine_options *options,
                           osp_error *err)
{
    osp_error_clear(err);
    if (!model || !path)
        OSP_FAIL(err, OSP_ERROR_ARGUMENT, "osp_model_write: an argument is NULL");
    osp_engine_options checked;
    OSP_TRY(osp_engine_options_check(options, &checked, err));
    if (checked.precision == OSP_PRECISION_BF16)
        OSP_FAIL(err, OSP_ERROR_UNSUPPORTED,
                 "bfloat16 is for engines only, since few runtimes read it from ONNX: write "
                 "float16 "
                 "or float32");
    const osp_status status = checked.precision == OSP_PRECISION_FP16
                                  ? write_low(model, path, &checked, err)
                                  : osp_onnx_write(&model->graph, path, err);
    if (status)
        osp_error_prefix(err, "%s", model->label);
    return status;
}
