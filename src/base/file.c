// Mapping, opening inside a folder, atomic writing, locks, folders. Owns no state: every call
// leaves no descriptor open but osp_file_lock's. Thread rule: any thread.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE_CHUNK = 1 << 30 };  // the kernel cuts writes at 2 GiB

static const char *file_kind(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a pipe";
    case S_IFSOCK:
        return "a socket";
    case S_IFLNK:
        return "a link";
    default:
        return "a device";
    }
}

// strerror_r of glibc: thread-safe, and never fails.
#define ERRNO_TEXT(buffer) strerror_r(errno, (buffer), sizeof(buffer))

// ---- Mapping ------------------------------------------------------------------------------------

// Maps an open file; the descriptor stays the caller's.
static osp_status map_descriptor(osp_file *out, int fd, uint64_t max_bytes, bool single_link,
                                 osp_error *err)
{
    char text[128];
    struct stat st;
    if (fstat(fd, &st))
        OSP_FAIL(err, OSP_ERROR_IO, "cannot be examined (%s)", ERRNO_TEXT(text));
    if (!S_ISREG(st.st_mode))
        OSP_FAIL(err, OSP_ERROR_IO, "is %s: give a regular file", file_kind(st.st_mode));
    if (single_link && st.st_nlink > 1)
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "has %llu hard links, so it may belong elsewhere: copy it beside the model",
                 (unsigned long long)st.st_nlink);
    const uint64_t size = (uint64_t)st.st_size;
    if (size > max_bytes || size > SIZE_MAX / 2)
        OSP_FAIL(err, OSP_ERROR_LIMIT,
                 "has %llu bytes, over the limit of %llu: raise "
                 "osp_limits.file_bytes",
                 (unsigned long long)size, (unsigned long long)max_bytes);
    *out = (osp_file){.fd = -1, .device = st.st_dev, .inode = st.st_ino};
    if (size == 0)
        return OSP_OK;
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        const osp_status code = errno == ENOMEM ? OSP_ERROR_MEMORY : OSP_ERROR_IO;
        OSP_FAIL(err, code, "cannot be mapped (%s)", ERRNO_TEXT(text));
    }
    out->data = data;
    out->size = (size_t)size;
    return OSP_OK;
}

osp_status osp_file_map(osp_file *out, const char *path, uint64_t max_bytes, osp_error *err)
{
    *out = (osp_file){.fd = -1};
    char text[128];
    // O_NONBLOCK: opening a pipe must not wait for a writer.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        OSP_FAIL(err, OSP_ERROR_IO, "cannot be opened (%s): check the path and its permissions",
                 ERRNO_TEXT(text));
    const osp_status status = map_descriptor(out, fd, max_bytes, false, err);
    close(fd);
    return status;
}

// false, with the reason in err: a path that must not be tried inside a folder.
static osp_status check_relative(const char *relative, osp_error *err)
{
    if (!relative[0])
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the path is empty: name a file beside the model");
    if (relative[0] == '/')
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "is an absolute path: external data must lie in the model's folder");
    if (strlen(relative) >= PATH_MAX)
        OSP_FAIL(err, OSP_ERROR_FORMAT, "the path has %zu bytes: too long", strlen(relative));
    for (const char *at = relative; *at;) {
        const size_t length = strcspn(at, "/");
        if (length == 2 && at[0] == '.' && at[1] == '.')
            OSP_FAIL(err, OSP_ERROR_FORMAT,
                     "leaves the folder by '..': external data must lie in the model's folder");
        at += length;
        at += *at == '/';
    }
    return OSP_OK;
}

// For kernels or sandboxes without openat2: one component after another, no links.
static int open_by_components(int dir, const char *relative)
{
    int at_fd = dup(dir);
    const char *at = relative;
    while (at_fd >= 0) {
        at += strspn(at, "/");
        const size_t length = strcspn(at, "/");
        char name[NAME_MAX + 1];
        if (length > NAME_MAX) {
            close(at_fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, at, length);
        name[length] = 0;
        at += length;
        const bool last = at[strspn(at, "/")] == 0;
        const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        const int next = openat(at_fd, length ? name : ".",
                                flags | (last && *at != '/' ? 0 : O_DIRECTORY));
        int saved = errno;
        struct stat st;
        if (next < 0 && saved == ENOTDIR && fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(st.st_mode))
            saved = ELOOP;  // O_DIRECTORY speaks before O_NOFOLLOW does
        close(at_fd);
        errno = saved;
        if (last)
            return next;
        at_fd = next;
    }
    return -1;
}

static int open_beneath(int dir, const char *relative)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    for (int tries = 0; tries < 16; tries++) {
        const long fd = syscall(SYS_openat2, dir, relative, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)  // EAGAIN: a rename raced with the lookup
            break;
    }
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL)
        return open_by_components(dir, relative);
    return -1;
}

osp_status osp_file_map_inside(osp_file *out, const char *dir, const char *relative,
                               uint64_t max_bytes, osp_error *err)
{
    *out = (osp_file){.fd = -1};
    char text[128];
    OSP_TRY(check_relative(relative, err));
    const int dir_fd = open(dir[0] ? dir : ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (dir_fd < 0)
        OSP_FAIL(err, OSP_ERROR_IO, "the model's folder cannot be opened (%s)", ERRNO_TEXT(text));
    const int fd = open_beneath(dir_fd, relative);
    const int saved = errno;
    close(dir_fd);
    errno = saved;
    if (fd < 0 && (errno == ELOOP || errno == EXDEV))
        OSP_FAIL(err, OSP_ERROR_FORMAT,
                 "is reached through a link: copy the file itself beside the model");
    if (fd < 0)
        OSP_FAIL(err, OSP_ERROR_IO, "cannot be opened (%s): keep it beside the model",
                 ERRNO_TEXT(text));
    const osp_status status = map_descriptor(out, fd, max_bytes, true, err);
    close(fd);
    return status;
}

void osp_file_unmap(osp_file *file)
{
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->size);
    *file = (osp_file){.fd = -1};
}

// ---- Writing ------------------------------------------------------------------------------------

static bool write_all(int fd, const osp_bytes *part)
{
    const uint8_t *at = part->data;
    for (size_t left = part->size; left > 0;) {
        const ssize_t n = write(fd, at, left < WRITE_CHUNK ? left : WRITE_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            return false;
        }
        at += n;
        left -= (size_t)n;
    }
    return true;
}

// Creates "PATH.xxxxxxxxxxxxxxxx.tmp", a name nobody else has. Plain creation and not mkstemp, so
// that the caller's umask decides on the permissions.
static int create_beside(const char *path, char *temporary, size_t size)
{
    for (int tries = 0; tries < 16; tries++) {
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            return -1;
        const int n = snprintf(temporary, size, "%s.%016llx.tmp", path, (unsigned long long)number);
        if (n < 0 || (size_t)n >= size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

// Makes a rename last through a crash. File systems without folder sync say EINVAL.
static bool sync_folder_of(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof dir)
        return true;  // the path itself was opened, so this cannot happen
    if (slash)
        memcpy(dir, path, length);
    else
        dir[0] = '.';
    if (length == 0 && slash)
        dir[0] = '/';
    dir[length ? length : 1] = 0;
    const int fd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return errno == EACCES;  // a folder that may be written but not read
    const bool done = fsync(fd) == 0 || errno == EINVAL || errno == EBADF;
    close(fd);
    return done;
}

osp_status osp_file_write(const char *path, const osp_bytes *parts, size_t count, osp_error *err)
{
    char text[128], temporary[PATH_MAX];
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        OSP_FAIL(err, OSP_ERROR_IO, "is %s: give the path of a file", file_kind(st.st_mode));
    const int fd = create_beside(path, temporary, sizeof temporary);
    if (fd < 0)
        OSP_FAIL(err, OSP_ERROR_IO, "cannot be created (%s): check the folder and its permissions",
                 ERRNO_TEXT(text));
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = write_all(fd, &parts[i]);
    good = good && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) && good) {
        good = false;
        saved = errno;
    }
    if (good && rename(temporary, path)) {
        good = false;
        saved = errno;
    }
    if (!good) {
        unlink(temporary);
        errno = saved;
        OSP_FAIL(err, OSP_ERROR_IO, "cannot be written (%s): check the free space",
                 ERRNO_TEXT(text));
    }
    if (!sync_folder_of(path))
        OSP_FAIL(err, OSP_ERROR_IO, "was written, but its folder could not be synced (%s)",
                 ERRNO_TEXT(text));
    return OSP_OK;
}

// ---- Locks and folders --------------------------------------------------------------------------

osp_status osp_file_lock(int *fd, const char *path, osp_error *err)
{
    char text[128];
    *fd = -1;
    const int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (lock < 0)
        OSP_FAIL(err, OSP_ERROR_IO, "the lock file cannot be opened (%s): check its permissions",
                 ERRNO_TEXT(text));
    int failed;
    do
        failed = flock(lock, LOCK_EX);
    while (failed && errno == EINTR);
    if (failed) {
        osp_error_set(err, OSP_ERROR_IO, "cannot be locked (%s): use a local folder",
                      ERRNO_TEXT(text));
        close(lock);
        return OSP_ERROR_IO;
    }
    *fd = lock;
    return OSP_OK;
}

void osp_file_unlock(int *fd)
{
    if (*fd >= 0)
        close(*fd);  // drops the lock: nobody else has this open file description
    *fd = -1;
}

osp_status osp_file_make_dirs(const char *path, osp_error *err)
{
    char text[128], part[PATH_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        OSP_FAIL(err, OSP_ERROR_IO, "is not the path of a folder (%zu bytes)", length);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        const char kept = part[i];
        part[i] = 0;
        if (mkdir(part, 0700) && errno != EEXIST) {
            // A read-only or closed parent that is there already is no obstacle.
            const int saved = errno;
            struct stat st;
            if (stat(part, &st) || !S_ISDIR(st.st_mode)) {
                errno = saved;
                OSP_FAIL(err, OSP_ERROR_IO, "the folder cannot be made (%s): check its parent",
                         ERRNO_TEXT(text));
            }
        }
        part[i] = kept;
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        OSP_FAIL(err, OSP_ERROR_IO, "is not a folder: choose another path");
    return OSP_OK;
}
