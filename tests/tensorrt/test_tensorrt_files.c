// Plans of the tensorrt backend: our file, bare ones, trust, versions, the caches of engines and of
// timings.
#include "tensorrt_fixture.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/sha256.h"
#include "plan_repair.h"

// A folder that goes with its files.
static void make_folder(char *path, size_t size)
{
    snprintf(path, size, "/tmp/osprey_tensorrt_XXXXXX");
    assert_non_null(mkdtemp(path));
}

static int count_files(const char *path, const char *ending)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += !ending || strstr(e->d_name, ending) != NULL;
    closedir(dir);
    return count;
}

static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    char name[512];
    for (struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(name, sizeof name, "%.200s/%.200s", path, e->d_name);
        unlink(name);
    }
    closedir(dir);
    rmdir(path);
}

static void save(fixture *f, uint8_t **plan, size_t *size)
{
    osp_engine *engine = build_tiny(f, NULL);
    void *bytes;
    assert_int_equal(osp_engine_save_memory(engine, &bytes, size, NULL), OSP_OK);
    *plan = malloc(*size);
    assert_non_null(*plan);
    memcpy(*plan, bytes, *size);
    osp_host_free(f->runtime, bytes);
    osp_engine_close(&engine);
}

static osp_status open_bytes(fixture *f, const void *plan, size_t size, osp_switch trust,
                             osp_engine **engine, osp_error *err)
{
    const osp_engine_options o = {.trust = trust};
    return osp_engine_open_memory(engine, f->runtime, plan, size, &o, err);
}

static void run_once(fixture *f, osp_engine *engine, int32_t n)
{
    osp_session *session;
    osp_error err;
    if (osp_session_open(&session, engine, NULL, &err))
        fail_msg("%s", err.text);
    osp_tensor in = input_of(f, n), out = {0};
    if (osp_session_run(session, &in, 1, &out, 1, &err))
        fail_msg("%s", err.text);
    assert_int_equal(out.dims[0], n);
    assert_output(f, out.data, n);
    osp_session_close(&session);
}

static void plans_open_again(void **state)
{
    fixture *f = *state;
    uint8_t *plan;
    size_t size;
    osp_engine *engine;
    osp_engine_info info;
    osp_error err;
    save(f, &plan, &size);
    // This process built it.
    if (open_bytes(f, plan, size, OSP_AUTO, &engine, &err))
        fail_msg("%s", err.text);
    osp_engine_get_info(engine, &info);
    assert_int_equal(info.variants, 3);
    assert_int_equal(info.precision, OSP_PRECISION_FP16);
    assert_string_equal(osp_engine_class_name(engine, 0), "near");
    run_once(f, engine, 3);
    osp_engine_close(&engine);
    // Another one did not.
    reopen_runtime(f);
    const int32_t opened = f->standin->deserialized;
    assert_int_equal(open_bytes(f, plan, size, OSP_AUTO, &engine, &err), OSP_ERROR_UNTRUSTED);
    assert_non_null(strstr(err.text, "--trust"));
    assert_int_equal(f->standin->deserialized, opened);
    assert_int_equal(open_bytes(f, plan, size, OSP_ON, &engine, &err), OSP_OK);
    run_once(f, engine, 4);
    osp_engine_close(&engine);
    free(plan);
}

// Told before TensorRT sees a byte.
static void assert_stale(fixture *f, uint8_t *plan, size_t size, const char *wanted)
{
    osp_engine *engine;
    osp_error err;
    const int32_t opened = f->standin->deserialized;
    plan_repair(plan, size);
    assert_int_equal(open_bytes(f, plan, size, OSP_ON, &engine, &err), OSP_ERROR_STALE);
    if (!strstr(err.text, wanted))
        fail_msg("no '%s' in: %s", wanted, err.text);
    assert_int_equal(f->standin->deserialized, opened);
}

static void other_versions_and_devices_are_told(void **state)
{
    fixture *f = *state;
    uint8_t *plan;
    size_t size;
    osp_engine *engine;
    osp_error err;
    save(f, &plan, &size);
    char *key = (char *)plan + 64, before[160];
    memcpy(before, key, sizeof before);
    snprintf(key, sizeof before, "tensorrt %d.3.0 cc 9.0 sm 132 Fake GPU", test_major);
    assert_stale(f, plan, size, "the plan was built by TensorRT");
    memcpy(key, before, sizeof before);
    memcpy(strstr(key, "cc 9.0"), "cc 8.6", 6);
    assert_stale(f, plan, size, "the plan is for");
    memcpy(key, before, sizeof before);
    memcpy(strstr(key, "sm 132"), "sm 114", 6);
    plan_repair(plan, size);
    f->log[0] = 0;
    assert_int_equal(open_bytes(f, plan, size, OSP_ON, &engine, &err), OSP_OK);
    assert_non_null(strstr(f->log, "sm 114"));  // a warning, no more
    osp_engine_close(&engine);
    free(plan);
}

// Every byte of the facts may lie: nothing crashes, and the engine's own facts win.
static void facts_may_lie(void **state)
{
    fixture *f = *state;
    uint8_t *plan;
    size_t size;
    save(f, &plan, &size);
    const size_t body = (size_t)plan_get(plan + 48, 8);
    size_t refused = 0;
    for (size_t at = 512 + 20; at < 512 + body; at++) {
        osp_engine *engine = NULL;
        const uint8_t before = plan[at];
        plan[at] ^= 0x41;
        plan_repair(plan, size);
        refused += open_bytes(f, plan, size, OSP_ON, &engine, NULL) != OSP_OK;
        osp_engine_close(&engine);
        plan[at] = before;
    }
    assert_true(refused > body / 4);
    for (size_t cut = 0; cut < 512 + body; cut += 7) {
        osp_engine *engine = NULL;
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, plan, cut);
        plan_repair(copy, cut);
        assert_true(open_bytes(f, copy, cut, OSP_ON, &engine, NULL) != OSP_OK);
        free(copy);
    }
    free(plan);
}

static void bare_plans_open(void **state)
{
    fixture *f = *state;
    osp_engine *engine = build_tiny(f, NULL);
    const osp_bytes section = engine->compiled.section;
    static const char json[] = "{\"description\": \"Ultralytics \\\"YOLO\\\"\", \"stride\": 32, "
                               "\"task\": \"detect\", "
                               "\"imgsz\": [32, 32], \"names\": {\"0\": \"cat\", \"1\": "
                               "\"d\\u00f6g\"}, \"args\": {\"a\": "
                               "[{}]}}";
    const uint32_t length = sizeof json - 1;
    uint8_t *bytes = malloc(4 + length + section.size);
    plan_put(bytes, length, 4);
    memcpy(bytes + 4, json, length);
    memcpy(bytes + 4 + length, section.data, section.size);
    osp_engine *bare, *prefixed;
    osp_engine_info info;
    osp_error err;
    assert_int_equal(open_bytes(f, section.data, section.size, OSP_ON, &bare, &err), OSP_OK);
    if (open_bytes(f, bytes, 4 + length + section.size, OSP_ON, &prefixed, &err))
        fail_msg("%s", err.text);
    osp_engine_get_info(bare, &info);
    assert_int_equal(info.classes, 0);
    assert_int_equal(info.batch_max, 4);
    osp_engine_get_info(prefixed, &info);
    assert_int_equal(info.classes, 2);
    assert_string_equal(osp_engine_class_name(prefixed, 1), "d\xc3\xb6g");
    int32_t height, width;
    osp_engine_input_size(prefixed, &height, &width);
    assert_int_equal(height, SIZE);
    assert_int_equal(width, SIZE);
    run_once(f, bare, 2);
    run_once(f, prefixed, 1);
    // It may be saved as a file of ours.
    void *plan;
    size_t size;
    assert_int_equal(osp_engine_save_memory(prefixed, &plan, &size, &err), OSP_OK);
    osp_engine_close(&prefixed);
    assert_int_equal(open_bytes(f, plan, size, OSP_ON, &prefixed, &err), OSP_OK);
    assert_string_equal(osp_engine_class_name(prefixed, 0), "cat");
    osp_host_free(f->runtime, plan);
    osp_engine_close(&prefixed);
    osp_engine_close(&bare);
    osp_engine_close(&engine);
    // From elsewhere, without trust; of another version.
    reopen_runtime(f);
    assert_int_equal(open_bytes(f, bytes, 4 + length + section.size, OSP_AUTO, &bare, &err),
                     OSP_ERROR_UNTRUSTED);
    bytes[4 + length + 25] = 3;
    assert_int_equal(open_bytes(f, bytes, 4 + length + section.size, OSP_ON, &bare, &err),
                     OSP_ERROR_STALE);
    assert_non_null(strstr(err.text, ".3."));
    free(bytes);
}

static osp_status open_cached(fixture *f, const char *dir, osp_engine **engine, osp_error *err)
{
    const osp_engine_options o = {
        .backend = OSP_BACKEND_TENSORRT, .height = SIZE, .width = SIZE, .batches = {1}};
    return osp_engine_open_cached(engine, f->runtime, TINY, dir, "azaion", &o, err);
}

static void the_cache_is_trusted_where_it_is_private(void **state)
{
    fixture *f = *state;
    char dir[64];
    osp_engine *engine;
    osp_engine_info info;
    osp_error err;
    make_folder(dir, sizeof dir);
    assert_int_equal(open_cached(f, dir, &engine, &err), OSP_OK);
    osp_engine_close(&engine);
    assert_int_equal(count_files(dir, "azaion.cc_9.0_sm_132.engine-"), 2);  // and its lock
    reopen_runtime(f);
    if (open_cached(f, dir, &engine, &err))
        fail_msg("%s", err.text);
    osp_engine_get_info(engine, &info);
    assert_true(info.from_cache);
    run_once(f, engine, 1);
    osp_engine_close(&engine);
    // Others may write into it: no, and it is not built anew each time either.
    const int32_t builds = f->standin->builds;
    reopen_runtime(f);
    assert_int_equal(chmod(dir, 0770), 0);
    assert_int_equal(open_cached(f, dir, &engine, &err), OSP_ERROR_UNTRUSTED);
    assert_non_null(strstr(err.text, "0700"));
    assert_int_equal(f->standin->builds, builds);
    remove_folder(dir);
}

static void timings_are_kept(void **state)
{
    fixture *f = *state;
    char dir[64], path[96];
    osp_error err;
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/timings", dir);
    const osp_engine_options o = {.cache_file = path};
    assert_int_equal(try_build(f, &o, &err), OSP_OK);
    assert_int_equal(f->standin->timings_given, 0);
    assert_int_equal(try_build(f, &o, &err), OSP_OK);
    assert_int_equal(f->standin->timings_given, 1);
    // One of another device or version costs a warning.
    f->standin->faults.bad_timings = true;
    f->log[0] = 0;
    assert_int_equal(try_build(f, &o, &err), OSP_OK);
    assert_int_equal(f->standin->timings_given, 0);
    assert_non_null(strstr(f->log, "timing cache"));
    assert_int_equal(f->standin->live, 0);
    remove_folder(dir);
}

static void json_is_read_with_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "[1]",       "{",         "{\"a\"}",
                                      "{\"a\":", "{\"a\":}",  "{\"a\":[}", "{\"a\":1 \"b\":2}",
                                      "{a:1}",   "{\"a\":\"x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        osp_json_span key, value;
        osp_json_members m = osp_json_open((osp_json_span){bad[i], strlen(bad[i])});
        while (osp_json_next(&m, &key, &value))
            continue;
        assert_true(m.failed);
    }
    static const char good[] = " { \"a\" : [1, {\"b\": \"]\"}], \"c\": \"x\\\"\\n\\u20ac\", "
                               "\"d\":-1e3}";
    osp_json_span value, whole = {good, sizeof good - 1};
    char text[32];
    assert_true(osp_json_find(whole, "a", &value));
    assert_string_equal(osp_json_text(value, text, sizeof text), "[1, {\"b\": \"]\"}]");
    assert_true(osp_json_find(whole, "c", &value));
    assert_string_equal(osp_json_text(value, text, sizeof text), "x\" \xe2\x82\xac");
    assert_true(osp_json_find(whole, "d", &value));
    assert_string_equal(osp_json_text(value, text, 3), "-1");
    assert_false(osp_json_find(whole, "b", &value));
    char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    osp_json_span key;
    osp_json_members m = osp_json_open((osp_json_span){deep, sizeof deep});
    assert_false(osp_json_next(&m, &key, &value));
    assert_true(m.failed);
}

static void sha256_is_right(void **state)
{
    (void)state;
    // FIPS 180-4's own examples: "abc", and 448 bits, which need a second block.
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    static const uint8_t two[] = {0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8};
    static const uint8_t none[] = {0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14};
    uint8_t digest[32];
    osp_sha256("abc", 3, digest);
    assert_memory_equal(digest, abc, sizeof abc);
    osp_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, digest);
    assert_memory_equal(digest, two, sizeof two);
    osp_sha256("", 0, digest);
    assert_memory_equal(digest, none, sizeof none);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

const struct CMUnitTest file_tests[] = {
    TEST(plans_open_again),
    TEST(other_versions_and_devices_are_told),
    TEST(facts_may_lie),
    TEST(bare_plans_open),
    TEST(the_cache_is_trusted_where_it_is_private),
    TEST(timings_are_kept),
    cmocka_unit_test(json_is_read_with_bounds),
    cmocka_unit_test(sha256_is_right),
};
const size_t file_test_count = sizeof file_tests / sizeof *file_tests;
