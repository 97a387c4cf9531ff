// Tensor files: .npy in all versions and orders, TensorProto with raw and typed data, strides.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/npy.h"
#include "onnx/encode.h"
#include "onnx/proto.h"
#include "onnx/tensor.h"

static osp_context ctx;
static osp_error err;
static const char npy_path[] = "/tmp/osprey-test-tensor.npy";

static int open_context(void **state)
{
    (void)state;
    const osp_options options = {.limits = {.tensor_bytes = 1 << 20}};
    return osp_context_init(&ctx, &options, NULL) != OSP_OK;
}

static int close_context(void **state)
{
    (void)state;
    const size_t live = atomic_load(&ctx.mem.live);
    osp_context_free(&ctx);
    return live != 0;
}

// A .npy file in memory, version `major`, from its header and data.
static size_t make_npy(uint8_t *out, int major, const char *header, const void *data, size_t bytes)
{
    const size_t length = strlen(header), width = major == 1 ? 2 : 4;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (uint8_t)major;
    out[7] = 0;
    for (size_t i = 0; i < width; i++)
        out[8 + i] = (uint8_t)(length >> (8 * i));
    memcpy(out + 8 + width, header, length);
    if (bytes)
        memcpy(out + 8 + width + length, data, bytes);
    return 8 + width + length + bytes;
}

static osp_status read_npy(int major, const char *header, const void *data, size_t bytes,
                           osp_tensor *out)
{
    uint8_t file[1024];
    return osp_npy_read(&ctx, file, make_npy(file, major, header, data, bytes), out, &err);
}

static void reads_npy_headers(void **state)
{
    (void)state;
    static const float v[] = {1, 2, 3, 4, 5, 6};
    static const struct {
        int major;
        const char *header;
    } rows[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n"},
        {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"},
        {3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"},
        {1, "{\"shape\": (2L, 3L), \"fortran_order\": False, \"descr\": \"<f4\"}"},
        {1, "{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        osp_tensor t;
        assert_int_equal(read_npy(rows[i].major, rows[i].header, v, sizeof v, &t), OSP_OK);
        assert_int_equal(t.dtype, OSP_DTYPE_FLOAT32);
        assert_int_equal(t.rank, 2);
        assert_int_equal(t.dims[0], 2);
        assert_int_equal(t.dims[1], 3);
        assert_memory_equal(t.data, v, sizeof v);
        assert_int_equal((uintptr_t)t.data % 64, 0);
        assert_null(t.name);
        osp_mem_free(&ctx.mem, t.data);
    }
}

static void reads_npy_in_fortran_order(void **state)
{
    (void)state;
    static const int32_t columns[] = {1, 4, 2, 5, 3, 6}, lines[] = {1, 2, 3, 4, 5, 6};
    osp_tensor t;
    assert_int_equal(read_npy(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }",
                              columns, sizeof columns, &t),
                     OSP_OK);
    assert_memory_equal(t.data, lines, sizeof lines);
    osp_mem_free(&ctx.mem, t.data);
    assert_int_equal(
        read_npy(1, "{'descr': '<i4', 'fortran_order': True, 'shape': (0, 3), }", NULL, 0, &t),
        OSP_OK);
    assert_int_equal(t.dims[0], 0);
    osp_mem_free(&ctx.mem, t.data);
}

static void cleans_bools(void **state)
{
    (void)state;
    osp_tensor t;
    assert_int_equal(
        read_npy(1, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", "\0\1\xff", 3, &t),
        OSP_OK);
    assert_memory_equal(t.data, "\0\1\1", 3);
    osp_mem_free(&ctx.mem, t.data);
}

static void writes_npy_of_every_type(void **state)
{
    (void)state;
    static const uint8_t bytes[48] = {1, 0, 1, 1};
    for (int d = OSP_DTYPE_FLOAT32; d <= OSP_DTYPE_BOOL; d++) {
        const osp_tensor t = {
            .dtype = (osp_dtype)d, .rank = 3, .dims = {1, 2, 3}, .data = (void *)(uintptr_t)bytes};
        const osp_status status = osp_npy_write(&ctx, npy_path, &t, &err);
        if (d == OSP_DTYPE_BFLOAT16) {
            assert_int_equal(status, OSP_ERROR_UNSUPPORTED);
            continue;
        }
        assert_int_equal(status, OSP_OK);
        osp_file file;
        osp_tensor back;
        assert_int_equal(osp_file_map(&file, npy_path, 4096, &err), OSP_OK);
        assert_int_equal((file.size - 6 * osp_dtype_bytes(t.dtype)) % 64, 0);
        assert_int_equal(osp_npy_read(&ctx, file.data, file.size, &back, &err), OSP_OK);
        assert_int_equal(back.dtype, d);
        assert_int_equal(back.rank, 3);
        assert_memory_equal(back.dims, t.dims, sizeof t.dims);
        assert_memory_equal(back.data, bytes, 6 * osp_dtype_bytes(t.dtype));
        osp_mem_free(&ctx.mem, back.data);
        osp_file_unmap(&file);
    }
    unlink(npy_path);
}

static void writes_strided_tensors_dense(void **state)
{
    (void)state;
    float v[24];
    for (int i = 0; i < 24; i++)
        v[i] = (float)i;
    // [2,3] out of [4,6]: every second line backwards, every second element
    const osp_tensor t = {.dtype = OSP_DTYPE_FLOAT32,
                          .rank = 2,
                          .dims = {2, 3},
                          .byte_strides = {-48, 8},
                          .data = v + 12};
    static const float want[] = {12, 14, 16, 0, 2, 4};
    osp_file file;
    osp_tensor back;
    assert_int_equal(osp_npy_write(&ctx, npy_path, &t, &err), OSP_OK);
    assert_int_equal(osp_file_map(&file, npy_path, 4096, &err), OSP_OK);
    assert_int_equal(osp_npy_read(&ctx, file.data, file.size, &back, &err), OSP_OK);
    assert_memory_equal(back.data, want, sizeof want);
    osp_mem_free(&ctx.mem, back.data);
    osp_file_unmap(&file);
    unlink(npy_path);

    osp_tensor bad = t;
    bad.dims[1] = -1;
    assert_int_equal(osp_npy_write(&ctx, npy_path, &bad, &err), OSP_ERROR_ARGUMENT);
    bad = t;
    bad.rank = 9;
    assert_int_equal(osp_npy_write(&ctx, npy_path, &bad, &err), OSP_ERROR_ARGUMENT);
    bad = t;
    bad.place = OSP_PLACE_DEVICE;
    assert_int_equal(osp_npy_write(&ctx, npy_path, &bad, &err), OSP_ERROR_ARGUMENT);
    bad = t;
    bad.data = NULL;
    assert_int_equal(osp_npy_write(&ctx, npy_path, &bad, &err), OSP_ERROR_ARGUMENT);
    assert_int_equal(access(npy_path, F_OK), -1);
}

static void round_trips_tensor_protos(void **state)
{
    (void)state;
    static const char path[] = "/tmp/osprey-test-tensor.pb";
    static uint8_t bytes[8 * 300];
    for (int d = OSP_DTYPE_FLOAT32; d <= OSP_DTYPE_BOOL; d++) {
        const osp_tensor t = {.name = d % 2 ? "a name" : NULL,
                              .dtype = (osp_dtype)d,
                              .rank = 2,
                              .dims = {3, 100},
                              .data = bytes};
        const size_t size = 300 * osp_dtype_bytes(t.dtype);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(d == OSP_DTYPE_BOOL ? i % 2 : i);
        osp_file file;
        osp_tensor back;
        assert_int_equal(osp_onnx_tensor_write(&ctx, path, &t, &err), OSP_OK);
        assert_int_equal(osp_file_map(&file, path, 4096, &err), OSP_OK);
        assert_int_equal(osp_onnx_tensor_read(&ctx, file.data, file.size, &back, &err), OSP_OK);
        osp_file_unmap(&file);
        assert_int_equal(back.dtype, d);
        assert_int_equal(back.dims[1], 100);
        assert_memory_equal(back.data, bytes, size);
        if (t.name)
            assert_string_equal(back.name, t.name);
        else
            assert_null(back.name);
        osp_mem_free(&ctx.mem, back.data);
    }
    unlink(path);
}

// A TensorProto of `elem` with dims {n} and the given numbers in `field`, one by one.
static osp_status read_typed(int32_t elem, uint32_t field, const int64_t *v, size_t n,
                             osp_tensor *out)
{
    osp_encoder e;
    osp_encoder_init(&e, &ctx.mem);
    osp_encode_int(&e, TENSOR_DIMS, (int64_t)n);
    osp_encode_int(&e, TENSOR_DATA_TYPE, elem);
    for (size_t i = 0; i < n; i++)
        osp_encode_int(&e, field, v[i]);
    const osp_status status = osp_onnx_tensor_read(&ctx, e.bytes, e.size, out, &err);
    osp_encoder_free(&e);
    return status;
}

static void decodes_typed_data(void **state)
{
    (void)state;
    osp_tensor t;
    const int64_t longs[] = {1, -1, INT64_MIN};
    assert_int_equal(read_typed(ELEM_INT64, TENSOR_INT64_DATA, longs, 3, &t), OSP_OK);
    assert_memory_equal(t.data, longs, sizeof longs);
    osp_mem_free(&ctx.mem, t.data);

    const int64_t ints[] = {-1, INT32_MIN, 5};
    assert_int_equal(read_typed(ELEM_INT32, TENSOR_INT32_DATA, ints, 3, &t), OSP_OK);
    assert_int_equal(((int32_t *)t.data)[0], -1);
    assert_int_equal(((int32_t *)t.data)[1], INT32_MIN);
    osp_mem_free(&ctx.mem, t.data);

    const int64_t halves[] = {0x3C00, 0xFBFF};
    assert_int_equal(read_typed(ELEM_FLOAT16, TENSOR_INT32_DATA, halves, 2, &t), OSP_OK);
    assert_int_equal(((uint16_t *)t.data)[1], 0xFBFF);
    osp_mem_free(&ctx.mem, t.data);

    const int64_t bytes[] = {0, 1, 127, -128};
    assert_int_equal(read_typed(ELEM_INT8, TENSOR_INT32_DATA, bytes, 4, &t), OSP_OK);
    assert_int_equal(((int8_t *)t.data)[3], -128);
    osp_mem_free(&ctx.mem, t.data);
    assert_int_equal(read_typed(ELEM_UINT8, TENSOR_INT32_DATA, bytes, 4, &t), OSP_ERROR_FORMAT);
    assert_non_null(strstr(err.text, "element 3, -128, is no uint8"));
    assert_int_equal(read_typed(ELEM_BOOL, TENSOR_INT32_DATA, bytes, 2, &t), OSP_OK);
    osp_mem_free(&ctx.mem, t.data);
    assert_int_equal(read_typed(ELEM_BOOL, TENSOR_INT32_DATA, bytes, 3, &t), OSP_ERROR_FORMAT);
    assert_int_equal(read_typed(ELEM_INT64, TENSOR_INT32_DATA, bytes, 3, &t), OSP_ERROR_FORMAT);
    assert_int_equal(read_typed(ELEM_INT64, TENSOR_INT64_DATA, NULL, 0, &t), OSP_OK);
    assert_int_equal(t.dims[0], 0);
    osp_mem_free(&ctx.mem, t.data);
    assert_int_equal(read_typed(11, TENSOR_INT32_DATA, NULL, 0, &t), OSP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "double"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_npy_headers),
        cmocka_unit_test(reads_npy_in_fortran_order),
        cmocka_unit_test(cleans_bools),
        cmocka_unit_test(writes_npy_of_every_type),
        cmocka_unit_test(writes_strided_tensors_dense),
        cmocka_unit_test(round_trips_tensor_protos),
        cmocka_unit_test(decodes_typed_data),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
