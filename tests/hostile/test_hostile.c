// Every hostile file through the public interface: the right status, one clear line that names the
// file, little work and little memory, nothing leaked. The list is expect.txt beside the files
// (make_hostile.py). Usage: test_hostile FOLDER
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "osprey/osprey.h"

enum { HEAP_MAX = 64 << 20 };

static const char *folder;

typedef struct row {
    char file[256], verb[16], status[128], contains[128];
} row;

static const char *status_name(osp_status status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case OSP_##name:                                                                               \
        return #name;
        OSP_STATUS_MAP(X)
#undef X
    }
    return "?";
}

// Is `status` one of "FORMAT,LIMIT,OK"?
static bool is_expected(const char *list, osp_status status)
{
    const char *name = status_name(status);
    if (strncmp(name, "ERROR_", 6) == 0)
        name += 6;
    const size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

static osp_status run_model(osp_runtime *runtime, const char *path, bool build, osp_error *err)
{
    osp_model *model = NULL;
    osp_status status = osp_model_open(&model, runtime, path, err);
    if (status || !build) {
        osp_model_close(&model);
        return status;
    }
    const osp_engine_options options = {.backend = OSP_BACKEND_REFERENCE};
    osp_engine *engine = NULL;
    status = osp_engine_build(&engine, model, &options, err);
    osp_engine_close(&engine);
    osp_model_close(&model);
    return status;
}

static osp_status run_row(osp_runtime *runtime, const row *r, const char *path, osp_error *err)
{
    osp_status status;
    if (strcmp(r->verb, "tensor") == 0) {
        osp_tensor tensor;
        status = osp_tensor_read(runtime, path, &tensor, err);
        osp_tensor_free(runtime, &tensor);
    } else if (strcmp(r->verb, "image") == 0) {
        osp_image image;
        status = osp_image_read(runtime, path, &image, err);
        osp_image_free(&image);
    } else {
        status = run_model(runtime, path, strcmp(r->verb, "build") == 0, err);
    }
    return status;
}

static int check_message(const row *r, const char *path, osp_status status, const osp_error *err)
{
    if (status == OSP_OK)
        return 0;
    int bad = err->code != status || strstr(err->text, r->contains) == NULL ||
              strncmp(err->text, path, strlen(path)) != 0 || strlen(err->text) < strlen(path) + 8;
    for (const char *c = err->text; *c; c++)
        bad |= (unsigned char)*c < 0x20 || *c == 0x7F;
    return bad;
}

static int check_row(const row *r)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, r->file);
    osp_runtime *runtime = NULL;
    osp_error err;
    assert_int_equal(osp_runtime_open(&runtime, NULL, &err), OSP_OK);
    osp_counters before, after;
    osp_runtime_counters(runtime, &before);
    memset(&err, 0x5A, sizeof err);
    const osp_status status = run_row(runtime, r, path, &err);
    osp_runtime_counters(runtime, &after);
    int bad = 0;
    if (!is_expected(r->status, status) || check_message(r, path, status, &err)) {
        print_error("%s: %s, not %s with '%s': %s\n", r->file, status_name(status), r->status,
                    r->contains, status ? err.text : "");
        bad++;
    }
    if (after.heap_peak_bytes > HEAP_MAX || after.bytes_read > HEAP_MAX ||
        after.nodes_made > 200000 || after.elements_folded > (64 << 20)) {
        print_error("%s: heap %llu, read %llu, nodes %llu, folded %llu\n", r->file,
                    (unsigned long long)after.heap_peak_bytes, (unsigned long long)after.bytes_read,
                    (unsigned long long)after.nodes_made,
                    (unsigned long long)after.elements_folded);
        bad++;
    }
    if (after.heap_bytes != before.heap_bytes) {
        print_error("%s: leaves %llu bytes\n", r->file,
                    (unsigned long long)(after.heap_bytes - before.heap_bytes));
        bad++;
    }
    osp_runtime_close(&runtime);
    return bad;
}

static bool read_row(FILE *list, row *r)
{
    char line[1024];
    if (!fgets(line, sizeof line, list))
        return false;
    memset(r, 0, sizeof *r);
    return sscanf(line, "%255[^\t]\t%15[^\t]\t%127[^\t]\t%127[^\n]", r->file, r->verb, r->status,
                  r->contains) >= 3;
}

static void hostile_files_fail_cheaply(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/expect.txt", folder);
    FILE *list = fopen(path, "r");
    assert_non_null(list);
    int rows = 0, bad = 0;
    for (row r; read_row(list, &r); rows++)
        bad += check_row(&r);
    fclose(list);
    print_message("%d files, %d findings\n", rows, bad);
    assert_true(rows >= 300);
    assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_hostile FOLDER\n");
        return 2;
    }
    folder = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostile_files_fail_cheaply)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
