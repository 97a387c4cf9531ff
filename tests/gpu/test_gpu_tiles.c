// Arrays described for the bulk copy engine, on the device in host memory: what CUDA documents that it
// takes and refuses, and devices and drivers that have no such engine.
#include <string.h>

#include "fake_fixture.h"

enum { PITCH = 208, LINES = 9, PLANES = 7 };

static const osp_gpu_tiles good = {.rank = 3,
                                   .extent = {100, LINES, PLANES},
                                   .stride = {2, PITCH, PITCH *LINES},
                                   .box = {64, 8, 4},
                                   .step = {1, 1, 2}};

typedef struct fixture {
    fake_gpu fake;
    osp_context ctx;
    osp_gpu *gpu;
    osp_gpu_scope scope;
    char *data;  // room for the array, and 16 bytes
} fixture;

static int set_up(void **state)
{
    static fixture room;
    fixture *f = *state = &room;
    osp_error err;
    fake_context_open(&f->ctx, &f->fake, NULL);
    assert_int_equal(osp_gpus_open(&f->ctx, &err), OSP_OK);
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &f->gpu, &err), OSP_OK);
    assert_int_equal(osp_gpu_enter(f->gpu, &f->scope, &err), OSP_OK);
    assert_int_equal(
        osp_gpu_alloc(f->gpu, (void **)&f->data, (size_t)PITCH * LINES * PLANES + 16, &err),
        OSP_OK);
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_gpu_free(f->gpu, f->data);
    osp_gpu_leave(f->gpu, &f->scope);
    osp_gpus_close(&f->ctx);
    fake_context_close(&f->ctx, &f->fake);
    return 0;
}

static osp_status make(fixture *f, const void *data, const osp_gpu_tiles *tiles, osp_error *err)
{
    osp_gpu_tensor_map map;
    osp_gpu_tiles at = *tiles;
    at.data = data;
    return osp_gpu_tensor_map_make(f->gpu, &at, &map, err);
}

static void expect_refused(fixture *f, const void *data, const osp_gpu_tiles *tiles)
{
    osp_error err;
    assert_int_equal(make(f, data, tiles, &err), OSP_ERROR_SYSTEM);
    assert_non_null(strstr(err.text, "describing tiles"));
}

// A good array, but for one field.
#define REFUSES(f, field, value)                                                                   \
    do {                                                                                           \
        osp_gpu_tiles wrong_ = good;                                                               \
        wrong_.field = (value);                                                                    \
        expect_refused((f), (f)->data, &wrong_);                                                   \
    } while (0)

static void test_arrays(void **state)
{
    fixture *f = *state;
    osp_error err;
    assert_int_equal(make(f, f->data, &good, &err), OSP_OK);
    assert_int_equal(make(f, f->data + 16, &good, &err), OSP_OK);
    expect_refused(f, f->data + 8, &good);
    expect_refused(f, NULL, &good);
    REFUSES(f, rank, 1);
    REFUSES(f, rank, 6);
    REFUSES(f, extent[2], 0);
    REFUSES(f, extent[1], (UINT64_C(1) << 32) + 1);
    REFUSES(f, stride[1], 200);
    REFUSES(f, stride[2], UINT64_C(1) << 40);
    REFUSES(f, box[0], 32);
    REFUSES(f, box[1], 0);
    REFUSES(f, box[2], 257);
    REFUSES(f, step[1], 0);
    REFUSES(f, step[2], 9);
}

static void test_old_driver(void **state)
{
    fixture *f = *state;
    osp_error err;
    f->fake.refuse_tiles = true;
    assert_int_equal(make(f, f->data, &good, &err), OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "its driver does not describe tiles: update it"));
    assert_false(osp_gpu_lost(f->gpu));
}

static void test_old_device(void **state)
{
    (void)state;
    fixture f = {0};
    osp_error err;
    fake_context_open(&f.ctx, &f.fake, NULL);
    f.fake.facts[0].cc_major = 8;
    assert_int_equal(osp_gpus_open(&f.ctx, &err), OSP_OK);
    assert_int_equal(osp_gpu_get(&f.ctx, 0, &f.gpu, &err), OSP_OK);
    assert_int_equal(make(&f, NULL, &good, &err), OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "they need compute capability 9.0"));
    osp_gpus_close(&f.ctx);
    fake_context_close(&f.ctx, &f.fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arrays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_driver, set_up, tear_down),
        cmocka_unit_test(test_old_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
