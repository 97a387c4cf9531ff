// The wire reader: every kind of field, every way to be malformed; repeated fields; the writer
// against it; the walk that bounds nesting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/encode.h"
#include "onnx/nesting.h"
#include "onnx/wire.h"

#define BYTES(text) ((osp_bytes){(text), sizeof(text) - 1})

static osp_status first(osp_bytes bytes, osp_wire_field *field)
{
    osp_wire wire = osp_wire_open(bytes, "Test");
    osp_error err;
    return osp_wire_next(&wire, field, &err);
}

static void reads_every_wire_type(void **state)
{
    (void)state;
    osp_wire wire = osp_wire_open(BYTES("\x08\x96\x01\x12\x03"
                                        "abc\x1d\x01\x02\x03\x04\x21\x01\0\0\0\0\0\0\x80\x2a\x00"),
                                  "Test");
    osp_wire_field f;
    osp_error err;
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 1);
    assert_int_equal(f.value, 150);
    assert_int_equal(f.record.size, 3);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 2);
    assert_int_equal(f.bytes.size, 3);
    assert_memory_equal(f.bytes.data, "abc", 3);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.value, 0x04030201);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_true(f.value == UINT64_C(0x8000000000000001));
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 5);
    assert_int_equal(f.bytes.size, 0);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 0);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 0);
}

static void refuses_malformed_records(void **state)
{
    (void)state;
    static const osp_bytes rows[] = {
        {"\x08", 1},                                               // no value
        {"\x08\x80", 2},                                           // a varint that does not end
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},      // over 64 bits
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},  // 11 bytes
        {"\x0a\x05zzz", 5},                                        // a length past the end
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},      // a length of 2^64 - 1
        {"\x0d\x00\x00\x00", 4},                                   // fixed32 cut
        {"\x09\x00\x00\x00\x00\x00\x00\x00", 8},                   // fixed64 cut
        {"\x0b\x0c", 2},                                           // a group
        {"\x0e\x00", 2},                                           // wire type 6
        {"\x0f\x00", 2},                                           // wire type 7
        {"\x00\x00", 2},                                           // field 0
        {"\x02\x00", 2},                                           // field 0, a length
        {"\x80\x80\x80\x80\x80\x01\x00", 7},                       // field 2^32
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        // In a block of its own size, so that reading past it would be caught.
        char *copy = malloc(rows[i].size);
        assert_non_null(copy);
        memcpy(copy, rows[i].data, rows[i].size);
        osp_wire_field f;
        assert_int_equal(first((osp_bytes){copy, rows[i].size}, &f), OSP_ERROR_FORMAT);
        free(copy);
    }
    osp_wire_field f;
    assert_int_equal(first(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &f), OSP_OK);
    assert_true(f.value == UINT64_MAX);
}

static osp_status text_status(const char *data, size_t size, size_t max)
{
    const osp_wire wire = {.message = "Test"};
    const osp_wire_field f = {.number = 1, .type = OSP_WIRE_LENGTH, .bytes = {data, size}};
    osp_bytes out;
    osp_error err;
    return osp_wire_text(&wire, &f, max, &out, &err);
}

static void checks_text(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain",
                                       "\xC3\xA9",
                                       "\xE2\x82\xAC",
                                       "\xF0\x9F\x9A\x97",
                                       "\xF4\x8F\xBF\xBF",
                                       "\xED\x9F\xBF",
                                       "new\nline"};
    static const char *const bad[] = {"\x80",
                                      "\xC3",
                                      "\xC3(",
                                      "\xC0\xAF",
                                      "\xE0\x80\xAF",
                                      "\xED\xA0\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "\xE2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(text_status(good[i], strlen(good[i]), 100), OSP_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_status(bad[i], strlen(bad[i]), 100), OSP_ERROR_FORMAT);
    assert_int_equal(text_status("a\0b", 3, 100), OSP_ERROR_FORMAT);
    assert_int_equal(text_status("abcd", 4, 3), OSP_ERROR_LIMIT);
}

static size_t collect(osp_bytes bytes, uint32_t type, uint64_t *out, osp_status *status)
{
    osp_wire wire = osp_wire_open(bytes, "Test");
    osp_error err;
    size_t count = 0, at = 0;
    *status = OSP_OK;
    for (;;) {
        osp_wire_field f;
        assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
        if (!f.number)
            break;
        *status = osp_wire_count(&wire, &f, type, &count, &err);
        if (*status)
            return 0;
        osp_wire_list list = osp_wire_list_open(&f, type);
        while (osp_wire_list_next(&list, out + at))
            at++;
    }
    assert_int_equal(count, at);
    return count;
}

static void reads_packed_and_single_elements(void **state)
{
    (void)state;
    uint64_t v[8];
    osp_status status;
    // 1, 300 packed; 7 single; an empty packed record; -1 single
    assert_int_equal(collect(BYTES("\x0a\x03\x01\xac\x02\x08\x07\x0a\x00\x08\xff\xff\xff\xff\xff"
                                   "\xff\xff\xff\xff\x01"),
                             OSP_WIRE_VARINT, v, &status),
                     4);
    assert_int_equal(v[0], 1);
    assert_int_equal(v[1], 300);
    assert_int_equal(v[2], 7);
    assert_true((int64_t)v[3] == -1);
    assert_int_equal(
        collect(BYTES("\x0a\x08\x01\0\0\0\x02\0\0\0\x0d\x03\0\0\0"), OSP_WIRE_FIXED32, v, &status),
        3);
    assert_int_equal(v[2], 3);
    collect(BYTES("\x0a\x02\x01\x80"), OSP_WIRE_VARINT, v, &status);
    assert_int_equal(status, OSP_ERROR_FORMAT);
    collect(BYTES("\x0a\x05\x01\0\0\0\x02"), OSP_WIRE_FIXED32, v, &status);
    assert_int_equal(status, OSP_ERROR_FORMAT);
    collect(BYTES("\x08\x01"), OSP_WIRE_FIXED32, v, &status);
    assert_int_equal(status, OSP_ERROR_FORMAT);
}

static void encoder_nests_and_borrows(void **state)
{
    (void)state;
    osp_mem mem;
    osp_mem_init(&mem, NULL);
    static char big[1000];
    memset(big, 'b', sizeof big);
    osp_encoder e;
    osp_encoder_init(&e, &mem);
    const osp_encode_mark outer = osp_encode_begin(&e, 7);
    osp_encode_int(&e, 1, -5);
    const osp_encode_mark inner = osp_encode_begin(&e, 200);
    osp_encode_borrow(&e, 2, (osp_bytes){big, sizeof big});
    osp_encode_float(&e, 3, 1.5f);
    osp_encode_end(&e, inner);
    osp_encode_text(&e, 4, "after");
    osp_encode_end(&e, outer);
    assert_int_equal(e.piece_count, 1);
    assert_ptr_equal(e.pieces[0].data, big);
    char path[] = "/tmp/osprey-wire-XXXXXX";
    osp_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(osp_encoder_write(&e, path, &err), OSP_OK);
    osp_encoder_free(&e);
    osp_file file;
    assert_int_equal(osp_file_map(&file, path, 1 << 20, &err), OSP_OK);
    remove(path);

    osp_wire_field f;
    osp_wire wire = osp_wire_open((osp_bytes){file.data, file.size}, "Model");
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 7);
    assert_int_equal(f.record.size, file.size);
    wire = osp_wire_open(f.bytes, "Outer");
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_true((int64_t)f.value == -5);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_int_equal(f.number, 200);
    osp_wire deep = osp_wire_open(f.bytes, "Inner");
    assert_int_equal(osp_wire_next(&deep, &f, &err), OSP_OK);
    assert_int_equal(f.bytes.size, sizeof big);
    assert_memory_equal(f.bytes.data, big, sizeof big);
    assert_int_equal(osp_wire_next(&deep, &f, &err), OSP_OK);
    assert_int_equal(f.value, 0x3FC00000);
    assert_int_equal(osp_wire_next(&wire, &f, &err), OSP_OK);
    assert_memory_equal(f.bytes.data, "after", 5);
    osp_file_unmap(&file);
    assert_int_equal(atomic_load(&mem.live), 0);
}

static void walk_holds_the_limits(void **state)
{
    (void)state;
    const osp_options options = {.limits = {.nesting = 6, .nodes = 3}};
    osp_context ctx;
    osp_error err;
    assert_int_equal(osp_context_init(&ctx, &options, &err), OSP_OK);
    osp_encoder e;
    osp_encoder_init(&e, &ctx.mem);
    // model, graph, node, attribute, graph, node: six deep, two nodes
    osp_encode_mark m[5];
    static const uint32_t fields[] = {7, 1, 5, 6, 1};
    for (int i = 0; i < 5; i++)
        m[i] = osp_encode_begin(&e, fields[i]);
    osp_encode_text(&e, 4, "Relu");
    for (int i = 5; i-- > 0;)
        osp_encode_end(&e, m[i]);
    const osp_bytes model = {e.bytes, e.size};
    assert_int_equal(osp_onnx_check_nesting(&ctx, model, &err), OSP_OK);
    ctx.limits.nesting = 5;
    assert_int_equal(osp_onnx_check_nesting(&ctx, model, &err), OSP_ERROR_LIMIT);
    assert_non_null(strstr(err.text, "osp_limits.nesting"));
    ctx.limits.nesting = 6;
    ctx.limits.nodes = 1;
    assert_int_equal(osp_onnx_check_nesting(&ctx, model, &err), OSP_ERROR_LIMIT);
    assert_non_null(strstr(err.text, "osp_limits.nodes"));
    for (size_t cut = 1; cut < e.size; cut++)
        assert_int_equal(osp_onnx_check_nesting(&ctx, (osp_bytes){e.bytes, cut}, &err),
                         OSP_ERROR_FORMAT);
    osp_encoder_free(&e);
    assert_int_equal(atomic_load(&ctx.mem.live), 0);
    osp_context_free(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_wire_type),
        cmocka_unit_test(refuses_malformed_records),
        cmocka_unit_test(checks_text),
        cmocka_unit_test(reads_packed_and_single_elements),
        cmocka_unit_test(encoder_nests_and_borrows),
        cmocka_unit_test(walk_holds_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
