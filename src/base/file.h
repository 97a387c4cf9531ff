// Files: mapping, opening inside a folder, atomic writing, lock files. Thread rule: any thread.
// Errors say the cause and not the path; whoever was given the path puts it in front.
//
// A mapped file must not be cut short by anyone while it is mapped: reading past its new end is a
// SIGBUS, which a library cannot turn into an error. Replacing it by rename, as osp_file_write
// does, is safe: the mapping keeps the old file. Changing its bytes in place changes what we read,
// so nothing read once for a check is read a second time for its use where that could matter.
#ifndef OSP_BASE_FILE_H
#define OSP_BASE_FILE_H

#include "base/context.h"

// A read-only view of a whole file. Empty files have data NULL and size 0.
typedef struct osp_file {
    const uint8_t *data;
    size_t size;
    int fd;                  // -1; kept open only while mapping
    uint64_t device, inode;  // identity, for "the same file"
} osp_file;

// Maps a regular file (FIFO, directory, device: OSP_ERROR_IO) of at most `max_bytes`
// (OSP_ERROR_LIMIT). Links are followed: the user named this path.
osp_status osp_file_map(osp_file *out, const char *path, uint64_t max_bytes, osp_error *err);

// Maps `relative` inside the folder `dir`. Refused: an absolute path, an empty one, a component
// "..", a link anywhere in it, more than one hard link, anything but a regular file.
osp_status osp_file_map_inside(osp_file *out, const char *dir, const char *relative,
                               uint64_t max_bytes, osp_error *err);
void osp_file_unmap(osp_file *file);

// Writes a file whole or not at all: temporary file beside it, fsync, rename, fsync of the folder.
// Parts are written one after another.
typedef struct osp_bytes {
    const void *data;
    size_t size;
} osp_bytes;
osp_status osp_file_write(const char *path, const osp_bytes *parts, size_t count, osp_error *err);

// Takes an exclusive lock on `path` (made if need be); waits for it. Dropped by osp_file_unlock.
osp_status osp_file_lock(int *fd, const char *path, osp_error *err);
void osp_file_unlock(int *fd);

// Makes a folder and its parents, mode 0700 for those it makes.
osp_status osp_file_make_dirs(const char *path, osp_error *err);

#endif
