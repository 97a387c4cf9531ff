// gpu_tactics (bench/kernels) on the device in host memory, its kernels compiled for the host: lists in,
// exit statuses, what it says of wrong results, and its JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "fake_fixture.h"
#include "gpu/gpu.h"
#include "gpu_tactics.h"
#include "host_cuda.h"

enum { OUTPUT_BYTES = 1 << 16 };

typedef struct fixture {
    fake_gpu fake;
    osp_context ctx;
    char list[64];  // the file's name
    char output[OUTPUT_BYTES];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fake_context_open(&f->ctx, &f->fake, host_cuda_run);
    snprintf(f->list, sizeof f->list, "/tmp/osprey-tactics-XXXXXX");
    const int fd = mkstemp(f->list);
    assert_true(fd >= 0);
    close(fd);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    unlink(f->list);
    fake_context_close(&f->ctx, &f->fake);
    free(f);
    return 0;
}

// Runs the program on a list of `lines` with options before it; what it prints is in f->output.
static int run(fixture *f, const char *lines, const char *const *options)
{
    char *argv[16] = {(char *)"gpu_tactics"};
    int argc = 1;
    osp_error err;
    FILE *list = fopen(f->list, "w");
    assert_non_null(list);
    fputs(lines, list);
    fclose(list);
    for (; options && *options; options++)
        argv[argc++] = (char *)(uintptr_t)*options;
    argv[argc++] = f->list;
    fflush(stdout);
    FILE *to = tmpfile();
    const int before = dup(STDOUT_FILENO);
    assert_non_null(to);
    assert_true(before >= 0 && dup2(fileno(to), STDOUT_FILENO) >= 0);
    assert_int_equal(osp_gpus_open(&f->ctx, &err), OSP_OK);
    const int status = gpu_tactics(&f->ctx, argc, argv);
    osp_gpus_close(&f->ctx);
    fflush(stdout);
    assert_true(dup2(before, STDOUT_FILENO) >= 0);
    close(before);
    rewind(to);
    f->output[fread(f->output, 1, OUTPUT_BYTES - 1, to)] = 0;
    fclose(to);
    return status;
}

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char two[] = "# a comment\n"
                          "\n"
                          "conv n1 ic64 ih9 iw7 oc64 kh1 f16 nhwc ss72 +bias +silu\n"
                          "3x conv n1 ic32 ih6 iw7 oc48 kh3 ph1 f16 nhwc ds56 +bias +silu +add\n";

static void test_check(void **state)
{
    fixture *f = *state;
    assert_int_equal(run(f, two, OPTIONS("--check-only")), 0);
    assert_non_null(strstr(f->output, "2 problems, "));
    assert_non_null(strstr(f->output, " 0 wrong"));
    assert_non_null(strstr(f->output, "wgmma 64x64"));
    assert_non_null(strstr(f->output, "mma 64x64x32"));
    assert_null(strstr(f->output, " us"));
}

static void test_only(void **state)
{
    fixture *f = *state;
    assert_int_equal(run(f, two, OPTIONS("--check-only", "--only", "mma 64x64x32")), 0);
    assert_non_null(strstr(f->output, "2 problems, 4 runs of tactics, 0 wrong"));
}

static void does_nothing(void *user, const void *args, size_t bytes, const osp_gpu_shape *shape)
{
    (void)args;
    (void)bytes;
    (void)shape;
    ++*(int *)user;
}

static void test_wrong(void **state)
{
    fixture *f = *state;
    int runs = 0;
    fake_gpu_kernel(&f->fake, "conv_mma 64x64x32", does_nothing, &runs);
    assert_int_equal(run(f, two, OPTIONS("--check-only", "--only", "mma 64x64")), 1);
    assert_int_equal(runs, 2);  // and is not timed
    assert_non_null(strstr(f->output, "WRONG: its result is off"));
    assert_non_null(strstr(f->output, "2 wrong"));
}

static double number(osp_json_span object, const char *key)
{
    osp_json_span value;
    char text[32];
    if (!osp_json_find(object, key, &value))
        fail_msg("no member %s", key);
    snprintf(text, sizeof text, "%.*s", (int)value.size, value.text);
    return strtod(text, NULL);
}

static void test_times_and_graph(void **state)
{
    fixture *f = *state;
    assert_int_equal(run(f, two,
                         OPTIONS("--json", "--graph", "--runs", "1", "--tbps", "2", "--tflops",
                                 "100", "--only", "mma 64x64x64")),
                     0);
    const osp_json_span all = {f->output, strlen(f->output)};
    assert_int_equal((int)number(all, "tried"), 4);
    assert_int_equal((int)number(all, "wrong"), 0);
    assert_int_equal((int)number(all, "graph_launches"), 4);
    assert_true(number(all, "graph_us") > 0);
    assert_true(number(all, "best_us") > number(all, "floor_us"));
    assert_int_equal((int)f->fake.replays, 3);  // two to warm up
}

static void test_statuses(void **state)
{
    fixture *f = *state;
    const char *const *check = OPTIONS("--check-only");
    assert_int_equal(run(f, two, OPTIONS("--runs", "0")), 2);
    assert_int_equal(run(f, two, OPTIONS("--runs", "3x")), 2);
    assert_int_equal(run(f, two, OPTIONS("--check-only", "--graph")), 2);
    assert_int_equal(run(f, two, OPTIONS("--what", "3")), 2);
    assert_int_equal(run(f, two, OPTIONS("--check-only", "no/such/list")), 3);
    assert_int_equal(run(f, "conv n1\n", check), 3);
    assert_int_equal(run(f, "0x Relu f16:8 -> f16:8\n", check), 3);
    assert_int_equal(run(f, "Relu f16:8 -> f16:9\n", check), 3);
    assert_int_equal(run(f, "Softmax bf16:2x8 -> bf16:2x8\n", check), 3);  // no tactic
    assert_int_equal(run(f, "Relu f16:8 -> f16:8\n", OPTIONS("--check-only", "--device", "7")), 5);
    f->fake.devices = 0;
    assert_int_equal(run(f, two, check), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_times_and_graph, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_statuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
