// What the tests of the tensorrt backend share: a fake GPU, the stand-in, a runtime on both.
// Thread rule: one thread.
#ifndef OSP_TESTS_TENSORRT_FIXTURE_H
#define OSP_TESTS_TENSORRT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"
#include "fake_fixture.h"
#include "standin/standin.h"

enum { SIZE = 32, PIXELS = 3 * SIZE * SIZE, OUT = 6 * 8 * 8 };  // tiny.onnx: 6 x (32/4)^2
#define TINY TEST_DATA_DIR "/data/tiny.onnx"

typedef struct fixture {
    osp_runtime *runtime;
    fake_gpu fake;
    standin_control *standin;
    float images[4 * PIXELS];
    char log[8192];
} fixture;

extern int test_major;

int set_up(void **state);
int tear_down(void **state);  // nothing may be left of the stand-in's objects or the device's

// A second runtime on the same device, with what the process of the first one does not know.
void reopen_runtime(fixture *f);

// An engine of tiny.onnx at 32x32. Fails the test where it does not come about.
osp_engine *build_tiny(fixture *f, const osp_engine_options *more);
osp_status try_build(fixture *f, const osp_engine_options *more, osp_error *err);

// Input x and what the stand-in makes of it.
osp_tensor input_of(fixture *f, int32_t n);
void assert_output(const fixture *f, const float *out, int32_t n);

extern const struct CMUnitTest file_tests[], session_tests[];
extern const size_t file_test_count, session_test_count;

#endif
