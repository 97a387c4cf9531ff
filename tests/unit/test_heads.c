// Every head kind on tensors made by hand, finding the kind, and class names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/postprocess.h"

static osp_context ctx;

enum { IW = 64, IH = 32, ROWS = 5 };

static osp_tensor tensor3(const char *name, float *data, int64_t n, int64_t a, int64_t b)
{
    return (osp_tensor){
        .name = name, .dtype = OSP_DTYPE_FLOAT32, .rank = 3, .dims = {n, a, b}, .data = data};
}

// Runs one head over `n` images of 128 x 64 pixels, letterboxed by one half.
static size_t run_head(osp_head_info head, const osp_tensor *outputs, int32_t count, int32_t n,
                       const osp_postprocess_options *base, osp_detection *out, size_t capacity)
{
    osp_postprocess_options o = base ? *base : (osp_postprocess_options){0};
    o.head = head;
    o.input_w = IW;
    o.input_h = IH;
    osp_postprocess *post;
    osp_error err;
    if (osp_postprocess_open(&post, &ctx, &o, &err) != OSP_OK)
        fail_msg("%s", err.text);
    const osp_letterbox g = osp_letterbox_fit(head.resize, 128, 64, IW, IH);
    const osp_letterbox geometry[2] = {g, g};
    size_t found = 0;
    const size_t live = ctx.mem.live;
    if (osp_postprocess_run(post, outputs, count, n, geometry, 0, out, capacity, &found, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ctx.mem.live, live);
    osp_postprocess_close(&post);
    assert_int_equal(ctx.mem.live, 0);
    return found;
}

static void assert_box(const osp_detection *d, float x1, float y1, float x2, float y2, float score,
                       int class_id)
{
    assert_true(fabsf(d->x1 - x1) < 1e-4f && fabsf(d->y1 - y1) < 1e-4f);
    assert_true(fabsf(d->x2 - x2) < 1e-4f && fabsf(d->y2 - y2) < 1e-4f);
    assert_true(fabsf(d->score - score) < 1e-6f);
    assert_int_equal(d->class_id, class_id);
}

static void test_end2end(void **state)
{
    (void)state;
    float rows[2][ROWS][6] = {{{10, 5, 20, 15, 0.5f, 3},
                               {0, 0, 64, 32, 0.9f, 0},
                               {10, 5, 20, 15, 0.25f, 1},  // not above the threshold
                               {-8, -8, 900, 4, 0.5f, 2},  // clipped; after the row of its score
                               {1, 1, 2, 2, 0.6f, -1}},    // padding row
                              {{NAN, 1, 2, 2, 0.9f, 1},
                               {1, 1, 2, 2, NAN, 1},
                               {1, 1, 2, 2, INFINITY, 1},
                               {1, 1, 2, 2, 0.7f, NAN},
                               {1, 1, 2, 2, 0.3f, 7}}};
    const osp_tensor t = tensor3("output0", &rows[0][0][0], 2, ROWS, 6);
    osp_detection out[16];
    const osp_head_info head = {
        .head = OSP_HEAD_END2END, .rows = ROWS, .resize = OSP_RESIZE_LETTERBOX};
    assert_int_equal(run_head(head, &t, 1, 2, NULL, out, 16), 4);
    assert_box(&out[0], 0, 0, 128, 64, 0.9f, 0);
    assert_box(&out[1], 20, 10, 40, 30, 0.5f, 3);
    assert_box(&out[2], 0, 0, 128, 8, 0.5f, 2);
    assert_box(&out[3], 2, 2, 4, 4, 0.3f, 7);
    assert_true(out[2].image == 0 && out[3].image == 1);

    const int32_t keep[] = {2, 7};
    assert_int_equal(run_head(head, &t, 1, 2,
                              &(osp_postprocess_options){.classes = keep, .class_count = 2}, out,
                              16),
                     2);
    assert_true(out[0].class_id == 2 && out[1].class_id == 7);
    assert_int_equal(
        run_head(head, &t, 1, 2, &(osp_postprocess_options){.max_detections = 1}, out, 16), 2);
    assert_int_equal(
        run_head(head, &t, 1, 1, &(osp_postprocess_options){.score_threshold = -1}, out, 16), 4);
}

static void test_yolo8(void **state)
{
    (void)state;
    // 2 classes: planes cx, cy, w, h, class 0, class 1
    float planes[6][ROWS] = {
        {16, 17, 40, 40, 16}, {16, 16, 16, 16, 16},           {16, 16, 8, 8, 16},
        {8, 8, 8, 8, 8},      {0.9f, 0.8f, 0.1f, 0.3f, 0.2f}, {0.1f, 0.2f, 0.95f, 0.3f, 0.85f}};
    const osp_tensor t = tensor3("output0", &planes[0][0], 1, 6, ROWS);
    const osp_head_info head = {
        .head = OSP_HEAD_YOLO8, .rows = ROWS, .classes = 2, .resize = OSP_RESIZE_LETTERBOX};
    osp_detection out[16];
    assert_int_equal(run_head(head, &t, 1, 1, NULL, out, 16), 4);
    assert_box(&out[0], 72, 24, 88, 40, 0.95f, 1);
    assert_box(&out[1], 16, 24, 48, 40, 0.9f, 0);
    assert_box(&out[2], 16, 24, 48, 40, 0.85f, 1);  // on a box of another class
    assert_int_equal(
        run_head(head, &t, 1, 1, &(osp_postprocess_options){.class_agnostic = true}, out, 16), 2);
    assert_int_equal(
        run_head(head, &t, 1, 1, &(osp_postprocess_options){.iou_threshold = 0.99f}, out, 16), 5);
    assert_box(&out[4], 72, 24, 88, 40, 0.3f, 0);  // equal classes: the first
}

static void test_one_class(void **state)
{
    (void)state;
    float planes[5][2] = {{8, 24}, {8, 8}, {4, 4}, {4, 4}, {0.3f, 0.6f}};
    const osp_tensor t8 = tensor3("a", &planes[0][0], 1, 5, 2);
    osp_detection out[4];
    assert_int_equal(run_head((osp_head_info){.head = OSP_HEAD_YOLO8, .rows = 2, .classes = 1}, &t8,
                              1, 1, NULL, out, 4),
                     2);
    assert_box(&out[0], 44, 12, 52, 20, 0.6f, 0);
    float rows[2][6] = {{8, 8, 4, 4, 0.5f, 0.8f}, {24, 8, 4, 4, 0.9f, 0.2f}};
    const osp_tensor t5 = tensor3("a", &rows[0][0], 1, 2, 6);
    assert_int_equal(run_head((osp_head_info){.head = OSP_HEAD_YOLO5, .rows = 2, .classes = 1}, &t5,
                              1, 1, NULL, out, 4),
                     1);
    assert_box(&out[0], 12, 12, 20, 20, 0.4f, 0);
    float boxes[1][4] = {{0.5f, 0.5f, 0.25f, 0.5f}}, logits[1][1] = {{0}};
    const osp_tensor pair[2] = {tensor3("l", &logits[0][0], 1, 1, 1),
                                tensor3("b", &boxes[0][0], 1, 1, 4)};
    assert_int_equal(run_head((osp_head_info){.head = OSP_HEAD_DETR_PAIR,
                                              .rows = 1,
                                              .classes = 1,
                                              .boxes = 1,
                                              .scores = 0,
                                              .resize = OSP_RESIZE_STRETCH},
                              pair, 2, 1, NULL, out, 4),
                     1);
    assert_box(&out[0], 48, 16, 80, 48, 0.5f, 0);
}

static void test_yolo5(void **state)
{
    (void)state;
    float rows[3][8] = {{16, 16, 8, 8, 0.9f, 0.1f, 0.5f, 0.2f},
                        {40, 16, 8, 8, 0.2f, 1, 1, 1},  // objectness below
                        {50, 16, 8, 8, 1, 0.9f, 0.95f, 0.97f}};
    const osp_tensor t = tensor3("output", &rows[0][0], 1, 3, 8);
    osp_detection out[4];
    assert_int_equal(run_head((osp_head_info){.head = OSP_HEAD_YOLO5, .rows = 3, .classes = 3}, &t,
                              1, 1, NULL, out, 4),
                     2);
    assert_box(&out[0], 92, 24, 108, 40, 0.97f, 2);
    assert_box(&out[1], 24, 24, 40, 40, 0.45f, 1);
}

// DETR: stretched, no suppression, normalised to the input.
static void test_detr(void **state)
{
    (void)state;
    float rows[2][6] = {{0.5f, 0.5f, 0.5f, 0.5f, 0.8f, 4}, {0.5f, 0.5f, 0.5f, 0.5f, 0.9f, 4}};
    const osp_tensor t = tensor3("output0", &rows[0][0], 1, 2, 6);
    osp_detection out[4];
    assert_int_equal(
        run_head((osp_head_info){.head = OSP_HEAD_DETR, .rows = 2, .resize = OSP_RESIZE_STRETCH},
                 &t, 1, 1, NULL, out, 4),
        2);
    assert_box(&out[0], 32, 16, 96, 48, 0.9f, 4);
    float boxes[2][2][4] = {{{0.25f, 0.25f, 0.5f, 0.5f}, {0.5f, 0.5f, 1, 1}},
                            {{0.75f, 0.75f, 0.5f, 0.5f}, {0.5f, 0.5f, 1, 1}}};
    float logits[2][2][3] = {{{-9, 2, -1}, {-3, -2, -4}}, {{1, 0, -1}, {-3, -2, -4}}};
    const osp_tensor pair[2] = {tensor3("logits", &logits[0][0][0], 2, 2, 3),
                                tensor3("pred_boxes", &boxes[0][0][0], 2, 2, 4)};
    assert_int_equal(run_head((osp_head_info){.head = OSP_HEAD_DETR_PAIR,
                                              .rows = 2,
                                              .classes = 3,
                                              .boxes = 1,
                                              .scores = 0,
                                              .resize = OSP_RESIZE_STRETCH},
                              pair, 2, 2, NULL, out, 4),
                     2);
    assert_box(&out[0], 0, 0, 64, 32, 1 / (1 + expf(-2)), 1);
    assert_box(&out[1], 64, 32, 128, 64, 1 / (1 + expf(-1)), 0);
}

static void test_overflow_and_misuse(void **state)
{
    (void)state;
    float rows[4][6] = {{1, 1, 9, 9, 0.9f, 0}, {1, 1, 9, 9, 0.8f, 0}, {1, 1, 9, 9, 0.7f, 0}};
    osp_tensor t = tensor3("output0", &rows[0][0], 1, 3, 6);
    osp_postprocess_options o = {
        .head = {.head = OSP_HEAD_END2END, .rows = 3}, .input_w = IW, .input_h = IH};
    osp_postprocess *post;
    osp_error err;
    osp_detection out[3];
    size_t found = 0;
    const osp_letterbox g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, 64, 32, IW, IH);
    assert_int_equal(osp_postprocess_open(&post, &ctx, &o, &err), OSP_OK);
    assert_int_equal(osp_postprocess_run(post, &t, 1, 1, &g, 0, out, 2, &found, &err),
                     OSP_ERROR_OVERFLOW);
    assert_int_equal(found, 2);
    assert_box(&out[1], 1, 1, 9, 9, 0.8f, 0);
    for (int i = 0; i < 6; i++) {
        osp_tensor bad = t;
        switch (i) {
        case 0:
            bad.dtype = OSP_DTYPE_FLOAT16;
            break;
        case 1:
            bad.rank = 2;
            break;
        case 2:
            bad.dims[2] = 5;
            break;
        case 3:
            bad.data = NULL;
            break;
        case 4:
            bad.byte_strides[1] = 48;
            break;
        default:
            bad.place = OSP_PLACE_DEVICE;
            break;
        }
        found = 0;
        assert_int_equal(osp_postprocess_run(post, &bad, 1, 1, &g, 0, out, 3, &found, &err),
                         OSP_ERROR_ARGUMENT);
        assert_int_equal(found, 0);
    }
    assert_int_equal(osp_postprocess_run(post, &t, 1, 2, &g, 0, out, 3, &found, &err),
                     OSP_ERROR_ARGUMENT);  // fewer images than asked for
    t.dims[1] = 4;                         // more rows than were promised: room is made, once
    for (int i = 0; i < 2; i++) {
        const size_t live = ctx.mem.live;
        found = 0;
        assert_int_equal(osp_postprocess_run(post, &t, 1, 1, &g, 0, out, 3, &found, &err), OSP_OK);
        assert_int_equal(found, 3);
        assert_true(i == 0 ? ctx.mem.live > live : ctx.mem.live == live);
    }
    osp_postprocess_close(&post);

    for (int i = 0; i < 6; i++) {
        osp_postprocess_options bad = o;
        const int32_t ids[] = {0, 3}, negative[] = {-1};
        switch (i) {
        case 0:
            bad.head.head = OSP_HEAD_NONE;
            break;
        case 1:
            bad.score_threshold = NAN;
            break;
        case 2:
            bad.iou_threshold = 1.5f;
            break;
        case 3:
            bad.max_detections = -1;
            break;
        case 4:
            bad.classes = negative;
            bad.class_count = 1;
            break;
        default:
            bad.head.classes = 3;
            bad.classes = ids;
            bad.class_count = 2;
            break;
        }
        assert_int_equal(osp_postprocess_open(&post, &ctx, &bad, &err), OSP_ERROR_ARGUMENT);
        assert_null(post);
    }
    assert_int_equal(ctx.mem.live, 0);
}

typedef struct shape3 {
    int64_t d[3];
    const char *name;
} shape3;

static osp_status find(osp_head_info *info, osp_error *err, osp_head_query q, shape3 a, shape3 b)
{
    osp_tensor_info outputs[2] = {{.name = a.name, .dtype = OSP_DTYPE_FLOAT32, .rank = 3},
                                  {.name = b.name, .dtype = OSP_DTYPE_FLOAT32, .rank = 3}};
    for (int k = 0; k < 3; k++) {
        outputs[0].dims[k] = a.d[k];
        outputs[1].dims[k] = b.d[k];
    }
    q.outputs = outputs;
    q.output_count = b.d[0] ? 2 : 1;
    if (!q.input_w)
        q.input_w = q.input_h = 640;
    return osp_head_find(info, &q, err);
}

static void test_find(void **state)
{
    (void)state;
    static const struct {
        osp_head_query q;
        shape3 a, b;
        osp_status status;
        osp_head head;
        int64_t rows;
        int32_t classes;
        const char *word;  // of the error
    } cases[] = {
        {{0}, {{1, 84, 8400}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO8, 8400, 80, 0},
        {{0}, {{-1, 84, -1}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO8, 300, 80, 0},
        {{0}, {{1, 5, 8400}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO8, 8400, 1, 0},
        {{0}, {{1, 6, 8400}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO8, 8400, 2, 0},
        {{.input_w = 64, .input_h = 64},
         {{1, 95, 84}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_YOLO8,
         84,
         91,
         0},  // more classes than anchors
        {{0}, {{1, 25200, 85}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO5, 25200, 80, 0},
        {{0}, {{1, 25200, 6}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO5, 25200, 1, 0},
        {{0}, {{1, 8400, 85}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO5, 8400, 80, 0},
        {{0}, {{1, 300, 6}, 0}, {{0}, 0}, OSP_ERROR_ARGUMENT, 0, 0, 0, "end2end, detr"},
        {{0}, {{1, -1, 6}, 0}, {{0}, 0}, OSP_ERROR_ARGUMENT, 0, 0, 0, "yolo5"},
        {{.head = OSP_HEAD_DETR}, {{1, 300, 6}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_DETR, 300, 0, 0},
        {{.head = OSP_HEAD_END2END, .names = 4},
         {{1, -1, 6}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_END2END,
         300,
         4,
         0},
        {{.head = OSP_HEAD_YOLO8}, {{1, 300, 6}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO8, 6, 296, 0},
        {{.head = OSP_HEAD_YOLO8, .names = 80},
         {{1, 300, 6}, 0},
         {{0}, 0},
         OSP_ERROR_ARGUMENT,
         0,
         0,
         0,
         "yolo8"},
        {{.head = OSP_HEAD_DETR_PAIR},
         {{1, 300, 6}, 0},
         {{0}, 0},
         OSP_ERROR_ARGUMENT,
         0,
         0,
         0,
         "detr-pair"},
        {{.head = (osp_head)42}, {{1, 300, 6}, 0}, {{0}, 0}, OSP_ERROR_ARGUMENT, 0, 0, 0, "42"},
        {{0},
         {{1, 300, 80}, "logits"},
         {{1, 300, 4}, "pred_boxes"},
         OSP_OK,
         OSP_HEAD_DETR_PAIR,
         300,
         80,
         0},
        {{0},
         {{1, 300, 4}, "logits"},
         {{1, 300, 4}, "pred_boxes"},
         OSP_OK,
         OSP_HEAD_DETR_PAIR,
         300,
         4,
         0},
        {{0}, {{1, 300, 1}, "a"}, {{1, 300, 4}, "b"}, OSP_OK, OSP_HEAD_DETR_PAIR, 300, 1, 0},
        {{.meta_end2end = "True", .meta_task = "detect", .names = 5},
         {{1, 300, 6}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_END2END,
         300,
         5,
         0},
        {{.meta_head = "RTDETRDecoder", .meta_end2end = "False"},
         {{1, 300, 6}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_DETR,
         300,
         0,
         0},
        {{.meta_head = "Detect", .meta_end2end = "False", .names = 80},
         {{1, 84, 8400}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_YOLO8,
         8400,
         80,
         0},
        {{.meta_head = "Detect", .meta_end2end = "False", .names = 80},
         {{1, 300, 6}, 0},
         {{0}, 0},
         OSP_OK,
         OSP_HEAD_END2END,
         300,
         80,
         0},  // exported with NMS inside
        {{.meta_head = "yolo5"}, {{1, 100, 6}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_YOLO5, 100, 1, 0},
        {{.meta_task = "segment"},
         {{1, 116, 8400}, 0},
         {{0}, 0},
         OSP_ERROR_UNSUPPORTED,
         0,
         0,
         0,
         "segment"},
        {{0}, {{1, 3, 3}, 0}, {{0}, 0}, OSP_ERROR_UNSUPPORTED, 0, 0, 0, "(1,3,3)"},
        {{.head = OSP_HEAD_NONE}, {{1, 84, 8400}, 0}, {{0}, 0}, OSP_OK, OSP_HEAD_NONE, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        osp_head_info info;
        osp_error err;
        const osp_status status = find(&info, &err, cases[i].q, cases[i].a, cases[i].b);
        if (status != cases[i].status)
            fail_msg("case %zu: status %d: %s", i, (int)status, status ? err.text : "");
        if (status != OSP_OK) {
            if (!strstr(err.text, cases[i].word))
                fail_msg("case %zu: \"%s\" lacks %s", i, err.text, cases[i].word);
            continue;
        }
        if (info.head != cases[i].head || info.rows != cases[i].rows ||
            info.classes != cases[i].classes)
            fail_msg("case %zu: %s, %lld rows, %d classes", i, osp_head_name(info.head),
                     (long long)info.rows, info.classes);
        const bool stretch = info.head == OSP_HEAD_DETR || info.head == OSP_HEAD_DETR_PAIR;
        assert_int_equal(info.resize, stretch ? OSP_RESIZE_STRETCH : OSP_RESIZE_LETTERBOX);
    }
}

static void check_names(const char *text, int32_t count, const char *const *want)
{
    osp_names names;
    osp_error err;
    if (osp_names_parse(&names, &ctx.mem, text, &err) != OSP_OK)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(names.count, count);
    for (int32_t i = 0; i < count; i++) {
        if (want[i])
            assert_string_equal(names.name[i], want[i]);
        else
            assert_null(names.name[i]);
    }
    osp_names_free(&names, &ctx.mem);
    assert_int_equal(ctx.mem.live, 0);
}

static void test_names(void **state)
{
    (void)state;
    check_names("{0: 'person', 1: \"rider's\", 2: 'a, b: {c}'}", 3,
                (const char *[]){"person", "rider's", "a, b: {c}"});
    check_names("{2: 'c', 0: 'a',}", 3, (const char *[]){"a", NULL, "c"});
    check_names("{\"0\": \"x\", \"1\": \"\\u00e9\\ud83d\\ude00\"}", 2,
                (const char *[]){"x", "\xC3\xA9\xF0\x9F\x98\x80"});
    check_names("['it\\'s', 'b\\\\c', '\\x41']", 3, (const char *[]){"it's", "b\\c", "A"});
    check_names("[ ]", 0, NULL);
    check_names("{}", 0, NULL);
    check_names("{0: 'a', 0: 'b'}", 1, (const char *[]){"b"});
    check_names("['\x1B[31m', '\xFF\xC3', '\xED\xA0\x80', '\\n\\ud800']", 4,
                (const char *[]){"?[31m", "??", "?", " ?"});
    static const char *const bad[] = {
        "",          "{",         "x",         "{0}",        "{0:}",        "{0: a}",
        "{0: 'a'",   "{0: 'a",    "{0: 'a\\",  "{0: 'a\\x4", "{-1: 'a'}",   "{0: 'a'} x",
        "['a' 'b']", "{'0: 'a'}", "{0: 'a';}", "[{0: 'a'}]", "{0: 'a\\q'}", "[,]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        osp_names names;
        osp_error err;
        assert_int_equal(osp_names_parse(&names, &ctx.mem, bad[i], &err), OSP_ERROR_FORMAT);
        assert_null(names.name);
    }
    osp_names names;
    assert_int_equal(osp_names_parse(&names, &ctx.mem, "{99999999999999: 'a'}", NULL),
                     OSP_ERROR_LIMIT);
    assert_int_equal(ctx.mem.live, 0);
}

static void test_name_lines(void **state)
{
    (void)state;
    osp_names names;
    const char text[] = "car\r\n\ntr\xC3\xBC"
                        "ck  \nb\0t\n\n";
    assert_int_equal(osp_names_parse_lines(&names, &ctx.mem, text, sizeof text - 1, NULL), OSP_OK);
    assert_int_equal(names.count, 4);
    assert_string_equal(names.name[0], "car");
    assert_null(names.name[1]);
    assert_string_equal(names.name[2], "tr\xC3\xBC"
                                       "ck");
    assert_string_equal(names.name[3], "b?t");
    osp_names_free(&names, &ctx.mem);
    assert_int_equal(osp_names_parse_lines(&names, &ctx.mem, "\n\n", 2, NULL), OSP_OK);
    assert_int_equal(names.count, 0);
    char *wide = malloc(5000);
    memset(wide, 'a', 5000);
    assert_int_equal(osp_names_parse_lines(&names, &ctx.mem, wide, 5000, NULL), OSP_ERROR_LIMIT);
    free(wide);
    assert_int_equal(ctx.mem.live, 0);
}

int main(void)
{
    if (osp_context_init(&ctx, NULL, NULL) != OSP_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end2end),    cmocka_unit_test(test_yolo8),
        cmocka_unit_test(test_one_class),  cmocka_unit_test(test_yolo5),
        cmocka_unit_test(test_detr),       cmocka_unit_test(test_overflow_and_misuse),
        cmocka_unit_test(test_find),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_lines),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    osp_context_free(&ctx);
    return failed;
}
