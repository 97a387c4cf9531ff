// NMS against Ultralytics and torchvision (tests/vision/make_nms.py), sorting, limits and time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "vision/nms.h"
#include "vision/postprocess.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests"
#endif

enum { SIDE = 640 };
static osp_context ctx;

static uint32_t noise(uint32_t index, uint32_t seed)
{
    uint32_t x = index * 2654435761u + seed * 40503u;
    x ^= x >> 15;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    return x >> 8;
}

// Fills a yolo8 (planes) or yolo5 (rows) tensor as make_nms.py does; yolo5 has its objectness.
static float *make_tensor(bool planes, int classes, int rows, uint32_t seed)
{
    const int values = planes ? 4 + classes : 5 + classes;
    float *t = malloc(sizeof *t * (size_t)rows * (size_t)values);
    assert_non_null(t);
    for (int a = 0; a < rows; a++)
        for (int k = 0, v = 0; k < 5 + classes; k++) {
            const uint32_t r = noise((uint32_t)(a * (5 + classes) + k), seed);
            float x;
            if (k < 2)
                x = (float)(r % 600);
            else if (k < 4)
                x = (float)(16 + r % 60 * 2);
            else if (rows > 30000)
                x = (float)(r % 256 * 65536 + (uint32_t)a) / (float)(1 << 24);
            else
                x = (float)(r % 65536) / 65536.0f;
            if (k == 4 && planes)
                continue;
            t[planes ? (size_t)v * (size_t)rows + (size_t)a : (size_t)(a * values + v)] = x;
            v++;
        }
    return t;
}

static osp_postprocess *open_post(osp_head head, int classes, int rows, osp_postprocess_options o)
{
    o.head = (osp_head_info){.head = head, .rows = rows, .classes = classes};
    o.input_w = o.input_h = SIDE;
    osp_postprocess *post;
    osp_error err;
    if (osp_postprocess_open(&post, &ctx, &o, &err) != OSP_OK)
        fail_msg("%s", err.text);
    return post;
}

static osp_tensor as_tensor(float *data, bool planes, int classes, int rows)
{
    osp_tensor t = {.name = "output0", .dtype = OSP_DTYPE_FLOAT32, .rank = 3, .data = data};
    t.dims[0] = 1;
    t.dims[planes ? 1 : 2] = planes ? 4 + classes : 5 + classes;
    t.dims[planes ? 2 : 1] = rows;
    return t;
}

static float at(const float *t, bool planes, int classes, int rows, int row, int value)
{
    return planes ? t[(size_t)value * (size_t)rows + (size_t)row]
                  : t[(size_t)row * (size_t)(5 + classes) + (size_t)value];
}

static float cut(float v)
{
    return v < 0 ? 0 : v > SIDE ? SIDE : v;
}

static void check_case(const char *line)
{
    char kind[8];
    int classes, rows, agnostic, max_det, count, used;
    float score, iou;
    unsigned seed;
    assert_int_equal(sscanf(line, "%7s %d %d %f %f %d %d %u %d%n", kind, &classes, &rows, &score,
                            &iou, &agnostic, &max_det, &seed, &count, &used),
                     9);
    line += used;
    const bool planes = strcmp(kind, "yolo8") == 0;
    float *data = make_tensor(planes, classes, rows, seed);
    const osp_tensor tensor = as_tensor(data, planes, classes, rows);
    osp_postprocess *post = open_post(planes ? OSP_HEAD_YOLO8 : OSP_HEAD_YOLO5, classes, rows,
                                      (osp_postprocess_options){.score_threshold = score,
                                                                .iou_threshold = iou,
                                                                .class_agnostic = agnostic,
                                                                .max_detections = max_det});
    const osp_letterbox g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, SIDE, SIDE, SIDE, SIDE);
    osp_detection *out = calloc((size_t)max_det, sizeof *out);
    size_t found = 0;
    assert_int_equal(
        osp_postprocess_run(post, &tensor, 1, 1, &g, 5, out, (size_t)max_det, &found, NULL),
        OSP_OK);
    assert_int_equal(found, count);
    for (size_t i = 0; i < found; i++) {
        char *end;
        const int row = (int)strtol(line, &end, 10);
        line = end;
        const float cx = at(data, planes, classes, rows, row, 0);
        const float cy = at(data, planes, classes, rows, row, 1);
        const float w = at(data, planes, classes, rows, row, 2);
        const float h = at(data, planes, classes, rows, row, 3);
        assert_true(out[i].x1 == cut(cx - w / 2) && out[i].y1 == cut(cy - h / 2));
        assert_true(out[i].x2 == cut(cx + w / 2) && out[i].y2 == cut(cy + h / 2));
        assert_int_equal(out[i].image, 5);
        const float best = at(data, planes, classes, rows, row, (planes ? 4 : 5) + out[i].class_id);
        assert_true(out[i].score ==
                    (planes ? best : best * at(data, planes, classes, rows, row, 4)));
        assert_true(i == 0 || out[i].score <= out[i - 1].score);
    }
    osp_postprocess_close(&post);
    free(out);
    free(data);
}

static void test_references(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/data/vision/nms.txt", "r");
    assert_non_null(file);
    static char line[1 << 16];
    int count = 0;
    while (fgets(line, sizeof line, file)) {
        check_case(line);
        count++;
    }
    fclose(file);
    assert_true(count >= 50);
    assert_int_equal(ctx.mem.live, 0);
}

static void test_sort(void **state)
{
    (void)state;
    for (int n = 0; n < 5000; n = n * 3 / 2 + 1) {
        osp_candidate *keys = malloc(sizeof *keys * (size_t)(n + 1));
        osp_candidate *spare = malloc(sizeof *keys * (size_t)(n + 1));
        for (int i = 0; i < n; i++)
            keys[i] = osp_candidate_make((float)(noise((uint32_t)i, 1) % 997 + 1) / 512.0f,
                                         (uint32_t)i);
        osp_candidates_sort(keys, spare, n);
        uint64_t rows = 0;
        for (int i = 0; i < n; i++) {
            rows += osp_candidate_row(keys[i]);
            assert_true(i == 0 || keys[i - 1] < keys[i]);
        }
        assert_int_equal(rows, (uint64_t)n * (uint64_t)(n - !!n) / 2);
        free(keys);
        free(spare);
    }
    const osp_candidate strong = osp_candidate_make(0.75f, 9), weak = osp_candidate_make(0.5f, 1);
    assert_true(strong < weak);
    assert_true(osp_candidate_score(strong) == 0.75f && osp_candidate_row(strong) == 9);
}

static void test_overlap_rules(void **state)
{
    (void)state;
    char memory[8 * OSP_NMS_KEPT_BYTES] __attribute__((aligned(8)));
    osp_nms_kept kept;
    osp_nms_kept_place(&kept, memory, 8);
    osp_nms_offer(&kept, 0, 1, (float[4]){0, 0, 10, 10}, 0.5f, false);
    osp_nms_offer(&kept, 0, 1, (float[4]){0, 0, 10, 20}, 0.5f, false);  // exactly 0.5: stays
    assert_int_equal(kept.count, 2);
    osp_nms_offer(&kept, 0, 1, (float[4]){0, 0, 10, 11}, 0.5f, false);
    assert_int_equal(kept.count, 2);
    osp_nms_offer(&kept, 0, 2, (float[4]){0, 0, 10, 10}, 0.5f, false);  // another class
    assert_int_equal(kept.count, 3);
    osp_nms_offer(&kept, 0, 3, (float[4]){0, 0, 10, 10}, 0.5f, true);
    assert_int_equal(kept.count, 3);
    osp_nms_offer(&kept, 0, 1, (float[4]){5, 5, 5, 5}, 0, false);  // empty boxes overlap nothing
    osp_nms_offer(&kept, 0, 1, (float[4]){5, 5, 5, 5}, 0, false);
    assert_int_equal(kept.count, 5);
}

// 34,000 anchors that all pass and hardly overlap: the costly case.
static void test_time(void **state)
{
    (void)state;
    enum { ROWS = 34000 };
    float *data = make_tensor(true, 1, ROWS, 3);
    for (int a = 0; a < ROWS; a++) {
        data[a] = (float)(a % 184 * 3);
        data[ROWS + a] = (float)(a / 184 * 3);
        data[2 * ROWS + a] = data[3 * ROWS + a] = 3;
    }
    const osp_tensor tensor = as_tensor(data, true, 1, ROWS);
    const osp_letterbox g = osp_letterbox_fit(OSP_RESIZE_LETTERBOX, SIDE, SIDE, SIDE, SIDE);
    osp_detection *out = calloc(40000, sizeof *out);
    static const int limits[] = {300, 40000};
    for (int i = 0; i < 2; i++) {
        osp_postprocess *post = open_post(
            OSP_HEAD_YOLO8, 1, ROWS,
            (osp_postprocess_options){.score_threshold = -1, .max_detections = limits[i]});
        size_t found = 0;
        const size_t live = ctx.mem.live;
        const clock_t start = clock();
        assert_int_equal(osp_postprocess_run(post, &tensor, 1, 1, &g, 0, out, 40000, &found, NULL),
                         OSP_OK);
        const double ms = (double)(clock() - start) * 1000 / CLOCKS_PER_SEC;
        print_message("%d anchors, at most %d boxes: %zu found in %.2f ms\n", ROWS, limits[i],
                      found, ms);
        assert_int_equal(found, i ? 30000 : 300);
        assert_int_equal(ctx.mem.live, live);
        osp_postprocess_close(&post);
    }
    free(out);
    free(data);
}

int main(void)
{
    if (osp_context_init(&ctx, NULL, NULL) != OSP_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_overlap_rules),
        cmocka_unit_test(test_time),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    osp_context_free(&ctx);
    return failed;
}
