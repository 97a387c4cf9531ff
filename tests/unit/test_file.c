// Files: mapping, staying inside a folder, whole-or-nothing writing, locks, folders; hashes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

static char folder[64];

static const char *in(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/osprey-file-XXXXXX");
    if (!mkdtemp(folder) || mkdir(in("inside"), 0755) || mkdir(in("inside/deep"), 0755))
        return -1;
    put("outside.bin", "outside");
    put("inside/plain.bin", "plain");
    put("inside/deep/er.bin", "deeper");
    put("inside/empty.bin", "");
    return symlink("plain.bin", in("inside/link.bin")) || symlink("deep", in("inside/deep_link")) ||
           symlink("../outside.bin", in("inside/out_link.bin")) ||
           link(in("outside.bin"), in("inside/hard.bin")) || mkfifo(in("inside/pipe"), 0600);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void maps_regular_files_only(void **state)
{
    (void)state;
    osp_file file;
    osp_error err;
    const int before = open_descriptors();
    assert_int_equal(osp_file_map(&file, in("outside.bin"), 100, &err), OSP_OK);
    assert_int_equal(file.size, 7);
    assert_memory_equal(file.data, "outside", 7);
    assert_int_equal(file.fd, -1);
    struct stat st;
    assert_int_equal(stat(in("outside.bin"), &st), 0);
    assert_int_equal(file.inode, st.st_ino);
    assert_int_equal(open_descriptors(), before);
    osp_file_unmap(&file);
    assert_null(file.data);
    osp_file_unmap(&file);

    assert_int_equal(osp_file_map(&file, in("inside/empty.bin"), 100, &err), OSP_OK);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
    assert_int_equal(osp_file_map(&file, in("inside/link.bin"), 100, &err), OSP_OK);
    osp_file_unmap(&file);
    assert_int_equal(osp_file_map(&file, in("outside.bin"), 6, &err), OSP_ERROR_LIMIT);
    assert_non_null(strstr(err.text, "7 bytes"));
    assert_int_equal(osp_file_map(&file, in("inside/pipe"), 100, &err), OSP_ERROR_IO);
    assert_non_null(strstr(err.text, "a pipe"));
    assert_int_equal(osp_file_map(&file, in("inside"), 100, &err), OSP_ERROR_IO);
    assert_non_null(strstr(err.text, "a folder"));
    assert_int_equal(osp_file_map(&file, "/dev/zero", 100, &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_map(&file, in("nothing"), 100, &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_map(&file, in("nothing"), 100, NULL), OSP_ERROR_IO);
    assert_int_equal(open_descriptors(), before);
}

// Every way out of a folder, and the ways that stay in it. Returns how many went wrong.
static int check_inside(void)
{
    static const struct {
        const char *relative;
        osp_status status;
        const char *text;  // of the file, or in the message
    } rows[] = {
        {"plain.bin", OSP_OK, "plain"},
        {"./plain.bin", OSP_OK, "plain"},
        {"deep/er.bin", OSP_OK, "deeper"},
        {"deep//er.bin", OSP_OK, "deeper"},
        {"", OSP_ERROR_FORMAT, "empty"},
        {"/etc/passwd", OSP_ERROR_FORMAT, "absolute"},
        {"..", OSP_ERROR_FORMAT, "'..'"},
        {"../outside.bin", OSP_ERROR_FORMAT, "'..'"},
        {"deep/../plain.bin", OSP_ERROR_FORMAT, "'..'"},
        {"deep/..", OSP_ERROR_FORMAT, "'..'"},
        {"link.bin", OSP_ERROR_FORMAT, "link"},
        {"out_link.bin", OSP_ERROR_FORMAT, "link"},
        {"deep_link/er.bin", OSP_ERROR_FORMAT, "link"},
        {"hard.bin", OSP_ERROR_FORMAT, "2 hard links"},
        {"pipe", OSP_ERROR_IO, "a pipe"},
        {"deep", OSP_ERROR_IO, "a folder"},
        {"deep/", OSP_ERROR_IO, "a folder"},
        {"plain.bin/x", OSP_ERROR_IO, "opened"},
        {"..plain.bin", OSP_ERROR_IO, "opened"},
        {"nothing", OSP_ERROR_IO, "opened"},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        osp_file file;
        osp_error err = {0};
        const osp_status status = osp_file_map_inside(&file, in("inside"), rows[i].relative, 100,
                                                      &err);
        const char *got = status ? err.text : (const char *)file.data;
        const bool same = status ? strstr(got, rows[i].text) != NULL
                                 : file.size == strlen(rows[i].text) &&
                                       memcmp(got, rows[i].text, file.size) == 0;
        if (status != rows[i].status || !same) {
            fprintf(stderr, "'%s': status %d, %s\n", rows[i].relative, status, err.text);
            bad++;
        }
        osp_file_unmap(&file);
    }
    return bad;
}

static void stays_inside_a_folder(void **state)
{
    (void)state;
    const int before = open_descriptors();
    assert_int_equal(check_inside(), 0);
    assert_int_equal(open_descriptors(), before);
    osp_file file;
    osp_error err;
    assert_int_equal(osp_file_map_inside(&file, in("nowhere"), "x", 9, &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_map_inside(&file, in("inside"), "plain.bin", 4, &err),
                     OSP_ERROR_LIMIT);
    char *longest = calloc(1, 10000);
    assert_non_null(longest);
    memset(longest, 'a', 9999);
    assert_int_equal(osp_file_map_inside(&file, folder, longest, 9, &err), OSP_ERROR_FORMAT);
    longest[300] = 0;
    assert_int_equal(osp_file_map_inside(&file, folder, longest, 9, &err), OSP_ERROR_IO);
    free(longest);
}

// The same in a process whose kernel does not know openat2.
static void stays_inside_without_openat2(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = {sizeof code / sizeof code[0], code};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(77);  // a sandbox that forbids filters: nothing to test here
        const int before = open_descriptors();
        const int bad = check_inside();
        _exit(bad || open_descriptors() != before);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int files_in(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void writes_whole_or_not_at_all(void **state)
{
    (void)state;
    osp_error err;
    osp_file file;
    assert_int_equal(mkdir(in("out"), 0755), 0);
    const osp_bytes parts[] = {{"one ", 4}, {NULL, 0}, {"two", 3}};
    assert_int_equal(osp_file_write(in("out/a"), parts, 3, &err), OSP_OK);
    assert_int_equal(osp_file_write(in("out/a"), parts, 1, &err), OSP_OK);
    assert_int_equal(osp_file_map(&file, in("out/a"), 100, &err), OSP_OK);
    assert_int_equal(file.size, 4);
    // A reader keeps the file it mapped.
    assert_int_equal(osp_file_write(in("out/a"), parts + 2, 1, &err), OSP_OK);
    assert_memory_equal(file.data, "one ", 4);
    osp_file_unmap(&file);
    assert_int_equal(files_in(in("out")), 1);
    struct stat st;
    const mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(in("out/a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);

    assert_int_equal(osp_file_write(in("out"), parts, 3, &err), OSP_ERROR_IO);
    assert_non_null(strstr(err.text, "a folder"));
    assert_int_equal(osp_file_write("/dev/null", parts, 3, &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_write(in("nowhere/a"), parts, 3, &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_write("/dev/full/a", parts, 3, &err), OSP_ERROR_IO);
    assert_int_equal(files_in(in("out")), 1);
    assert_int_equal(osp_file_write(in("out/none"), NULL, 0, &err), OSP_OK);
    assert_int_equal(osp_file_map(&file, in("out/none"), 100, &err), OSP_OK);
    assert_int_equal(file.size, 0);
}

static void locks_exclude_each_other(void **state)
{
    (void)state;
    osp_error err;
    int first, second = open(in("lock"), O_RDWR | O_CREAT, 0600);
    assert_true(second >= 0);
    assert_int_equal(osp_file_lock(&first, in("lock"), &err), OSP_OK);
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    osp_file_unlock(&first);
    assert_int_equal(first, -1);
    osp_file_unlock(&first);
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), 0);
    close(second);
    assert_int_equal(osp_file_lock(&first, in("nowhere/lock"), &err), OSP_ERROR_IO);
    assert_int_equal(first, -1);
}

static void makes_folders_for_their_owner(void **state)
{
    (void)state;
    osp_error err;
    struct stat st;
    assert_int_equal(osp_file_make_dirs(in("a/b//c/"), &err), OSP_OK);
    assert_int_equal(osp_file_make_dirs(in("a/b/c"), &err), OSP_OK);
    assert_int_equal(stat(in("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(osp_file_make_dirs(in("outside.bin"), &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_make_dirs(in("outside.bin/x"), &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_make_dirs("", &err), OSP_ERROR_IO);
    assert_int_equal(osp_file_make_dirs("/", &err), OSP_OK);
}

static void hashes_by_xxh3(void **state)
{
    (void)state;
    // XXH3_64bits of nothing, from xxHash's own test vectors.
    assert_true(osp_hash64(NULL, 0, 0) == UINT64_C(0x2D06800538D394C2));
    char text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    assert_true(osp_hash64(text + 1, 256, 0) == osp_hash64(text + 1, 256, 0));
    assert_true(osp_hash64(text + 1, 256, 0) != osp_hash64(text, 256, 0));
    assert_true(osp_hash64(text, 256, 0) != osp_hash64(text, 256, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_regular_files_only),
        cmocka_unit_test(stays_inside_a_folder),
        cmocka_unit_test(stays_inside_without_openat2),
        cmocka_unit_test(writes_whole_or_not_at_all),
        cmocka_unit_test(locks_exclude_each_other),
        cmocka_unit_test(makes_folders_for_their_owner),
        cmocka_unit_test(hashes_by_xxh3),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
