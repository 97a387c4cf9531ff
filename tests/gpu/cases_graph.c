// Both kernels in one captured graph, replayed on new pixels and new outputs; and both with every
// call that they make failed in turn.
#include <stdlib.h>
#include <string.h>

#include "fake_gpu.h"
#include "gpu/gpu_boxes.h"
#include "gpu/gpu_letterbox.h"
#include "kernel_cases.h"

enum { N = 2, SRC_W = 50, SRC_H = 30, DST = 48, ROWS = 200 };

enum {
    PIXELS = SRC_W * SRC_H * 3,
    INPUT_BYTES = N * 3 * DST * DST * 2,
    HEAD_BYTES = N * ROWS * 24
};

// One of everything that a detector needs on the device.
typedef struct chain {
    uint8_t *pixels;  // N images
    void *input, *fits, *head, *result;
    osp_gpu_boxes *boxes;
} chain;

static const osp_gpu_boxes_options boxes_options = {.head = OSP_HEAD_END2END,
                                                    .dtype = OSP_DTYPE_FLOAT32,
                                                    .batch = N,
                                                    .rows = ROWS,
                                                    .input_w = DST,
                                                    .input_h = DST,
                                                    .score_threshold = 0.25f,
                                                    .iou_threshold = 0.7f,
                                                    .max_detections = 50,
                                                    .class_bits = (const uint8_t *)"\x0f",
                                                    .class_count = 4};

static osp_status open_chain(osp_gpu *gpu, chain *c, osp_error *err)
{
    memset(c, 0, sizeof *c);
    OSP_TRY(osp_gpu_alloc(gpu, (void **)&c->pixels, N * PIXELS, err));
    OSP_TRY(osp_gpu_alloc(gpu, &c->input, INPUT_BYTES, err));
    OSP_TRY(osp_gpu_alloc(gpu, &c->fits, N * sizeof(osp_gpu_fit), err));
    OSP_TRY(osp_gpu_alloc(gpu, &c->head, HEAD_BYTES, err));
    OSP_TRY(osp_gpu_boxes_open(&c->boxes, gpu, &boxes_options, err));
    return osp_gpu_host_alloc(gpu, &c->result, osp_gpu_boxes_result_bytes(c->boxes), err);
}

static void close_chain(osp_gpu *gpu, chain *c)
{
    osp_gpu_free(gpu, c->pixels);
    osp_gpu_free(gpu, c->input);
    osp_gpu_free(gpu, c->fits);
    osp_gpu_free(gpu, c->head);
    osp_gpu_host_free(gpu, c->result);
    osp_gpu_boxes_close(&c->boxes);
}

static osp_status enqueue_chain(osp_gpu *gpu, const chain *c, osp_gpu_stream stream, osp_error *err)
{
    const osp_gpu_fit fit = {SRC_W, SRC_H, DST, 29, 0, 9, 0.96f, 29.0f / 30};
    const osp_gpu_fit fits[N] = {fit, fit};
    osp_image images[N];
    for (int i = 0; i < N; i++)
        images[i] = (osp_image){.plane = {c->pixels + i * PIXELS},
                                .width = SRC_W,
                                .height = SRC_H,
                                .place = OSP_PLACE_DEVICE};
    const osp_gpu_letterbox job = {.images = images,
                                   .fits = fits,
                                   .n = N,
                                   .dst_w = DST,
                                   .dst_h = DST,
                                   .dtype = OSP_DTYPE_FLOAT16,
                                   .dst = c->input,
                                   .fits_out = c->fits};
    const osp_gpu_boxes_run run = {.boxes = c->head, .n = N, .fits = c->fits, .result = c->result};
    OSP_TRY(osp_gpu_letterbox_run(gpu, &job, stream, err));
    return osp_gpu_boxes_enqueue(c->boxes, &run, stream, err);
}

static void new_data(kernel_test *t, const chain *c)
{
    static uint8_t pixels[N * PIXELS];
    static float head[N * ROWS * 6];
    osp_error err;
    for (int i = 0; i < N * PIXELS; i++)
        pixels[i] = (uint8_t)kernel_random(t);
    for (int i = 0; i < N * ROWS; i++) {
        float *row = head + i * 6;
        for (int k = 0; k < 4; k++)
            row[k] = kernel_uniform(t, 0, DST);
        row[4] = kernel_uniform(t, 0, 1);
        row[5] = (float)(kernel_random(t) % 6);
    }
    const bool good = !osp_gpu_copy(t->gpu, c->pixels, pixels, sizeof pixels, t->stream, &err) &&
                      !osp_gpu_copy(t->gpu, c->head, head, sizeof head, t->stream, &err) &&
                      !osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
    kernel_check(t, good, "new data: %s", good ? "" : err.text);
}

// Runs directly, then by the graph: input and boxes must be the same, and not those before.
static void compare_runs(kernel_test *t, const chain *c, osp_gpu_graph graph, int round)
{
    static char inputs[2][INPUT_BYTES], results[2][N * 50 * 24 + 64], before[N * 50 * 24 + 64];
    const size_t bytes = osp_gpu_boxes_result_bytes(c->boxes);
    const osp_gpu_box *list;
    osp_error err;
    new_data(t, c);
    for (int by_graph = 0; by_graph < 2; by_graph++) {
        memset(c->result, 0, bytes);
        osp_status status = by_graph ? osp_gpu_graph_launch(t->gpu, graph, t->stream, &err)
                                     : enqueue_chain(t->gpu, c, t->stream, &err);
        if (!status)
            status = osp_gpu_copy(t->gpu, inputs[by_graph], c->input, INPUT_BYTES, t->stream, &err);
        if (!status)
            status = osp_gpu_stream_wait(t->gpu, t->stream, -1, &err);
        kernel_check(t, !status, "graph %d: %s", by_graph, status ? err.text : "");
        memcpy(results[by_graph], c->result, bytes);
    }
    kernel_check(t, !memcmp(inputs[0], inputs[1], INPUT_BYTES), "graph: another input");
    kernel_check(t, !memcmp(results[0], results[1], bytes), "graph: other boxes");
    kernel_check(t, osp_gpu_boxes_kept(c->boxes, results[1], 1, &list) == 50, "graph: few boxes");
    kernel_check(t, !round || memcmp(before, results[1], bytes), "graph: the boxes of before");
    memcpy(before, results[1], bytes);
}

void kernel_cases_graph(kernel_test *t)
{
    chain c;
    osp_error err;
    osp_gpu_graph graph = NULL;
    osp_status status = open_chain(t->gpu, &c, &err);
    if (!status)
        status = osp_gpu_capture_begin(t->gpu, t->stream, &err);
    if (!status) {
        osp_error ending;
        status = enqueue_chain(t->gpu, &c, t->stream, &err);
        const osp_status end = osp_gpu_capture_end(t->gpu, t->stream, &graph,
                                                   status ? &ending : &err);
        status = status ? status : end;
    }
    if (kernel_check(t, !status, "capturing: %s", status ? err.text : ""))
        for (int round = 0; round < 3; round++)
            compare_runs(t, &c, graph, round);
    osp_gpu_graph_close(t->gpu, &graph);
    close_chain(t->gpu, &c);
}

// ---- Faults -------------------------------------------------------------------------------------

static osp_status whole_chain(osp_gpu *gpu, osp_error *err)
{
    osp_gpu_scope scope;
    osp_gpu_stream stream = NULL;
    chain c;
    OSP_TRY(osp_gpu_enter(gpu, &scope, err));
    osp_status status = osp_gpu_stream_open(gpu, &stream, err);
    if (!status) {
        status = open_chain(gpu, &c, err);
        if (!status)  // scores of nothing, rather than of what lies there
            status = osp_gpu_fill(gpu, c.head, 0, HEAD_BYTES, stream, err);
        if (!status)
            status = osp_gpu_fill(gpu, c.pixels, 0, N * PIXELS, stream, err);
        if (!status)
            status = enqueue_chain(gpu, &c, stream, err);
        if (!status)
            status = osp_gpu_stream_wait(gpu, stream, 10000, err);
        close_chain(gpu, &c);
    }
    osp_gpu_stream_close(gpu, &stream);
    osp_gpu_leave(gpu, &scope);
    return status;
}

// Returns whether the call was reached.
static bool fail_one(kernel_test *t, const osp_gpu_calls *inner, int error, osp_status wanted,
                     long number)
{
    failing_calls failing;
    osp_context ctx;
    osp_gpu *gpu;
    osp_error err = {0};
    failing_calls_init(&failing, inner);
    if (!kernel_check(t, !osp_context_init(&ctx, NULL, &err), "%s", err.text))
        return false;
    ctx.gpu_calls = &failing.calls;
    if (!kernel_check(t, !osp_gpus_open(&ctx, &err) && !osp_gpu_get(&ctx, 0, &gpu, &err), "%s",
                      err.text))
        return false;
    failing.fail_at = failing.count + number;
    failing.error = error;
    const osp_status status = whole_chain(gpu, &err);
    // Giving back has nobody to tell.
    kernel_check(t, status == wanted || (status == OSP_OK && !failing.after),
                 "error %d at call %ld: status %d: %s", error, number, (int)status, err.text);
    const bool reached = failing.failed, sticky = reached && osp_gpu_error_sticky(error);
    failing.fail_at = 0;
    kernel_check(t, !failing.after, "error %d at call %ld: %ld calls after it", error, number,
                 failing.after);
    kernel_check(t, osp_gpu_lost(gpu) == sticky, "error %d at call %ld: lost or not", error,
                 number);
    const osp_status next = whole_chain(gpu, &err);
    kernel_check(t, next == (sticky ? OSP_ERROR_DEVICE_LOST : OSP_OK),
                 "after error %d at call %ld: status %d: %s", error, number, (int)next, err.text);
    osp_gpus_close(&ctx);
    kernel_check(t, atomic_load(&ctx.mem.live) == 0, "error %d at call %ld: memory is left", error,
                 number);
    osp_context_free(&ctx);
    return reached;
}

void kernel_cases_faults(kernel_test *t, const struct osp_gpu_calls *inner)
{
    static const struct {
        int error;
        osp_status status;
    } faults[] = {{OSP_CUDA_OUT_OF_MEMORY, OSP_ERROR_MEMORY},
                  {OSP_CUDA_NO_IMAGE, OSP_ERROR_DEVICE},
                  {OSP_CUDA_ILLEGAL_ADDRESS, OSP_ERROR_DEVICE_LOST},
                  {OSP_CUDA_LAUNCH_FAILURE, OSP_ERROR_DEVICE_LOST},
                  {OSP_CUDA_ECC, OSP_ERROR_DEVICE_LOST}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        long number = 1;
        while (number < 200 && fail_one(t, inner, faults[i].error, faults[i].status, number))
            number++;
        kernel_check(t, number > 20 && number < 200, "%ld calls were failed", number);
    }
}
