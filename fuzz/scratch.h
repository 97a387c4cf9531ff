// A folder of this process for the files that fuzz targets write: in memory where there is such a
// file system. Removed at exit; a finding leaves it behind.
#ifndef OSP_FUZZ_SCRATCH_H
#define OSP_FUZZ_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fuzz_folder[64];
static const char *const fuzz_names[] = {"model.onnx", "copy.onnx", "weights.bin", "tensor.npy",
                                         "tensor.pb"};

static void fuzz_remove_folder(void)
{
    char path[96];
    for (size_t i = 0; i < sizeof fuzz_names / sizeof fuzz_names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", fuzz_folder, fuzz_names[i]);
        unlink(path);
    }
    rmdir(fuzz_folder);
}

// The path of one of fuzz_names, in `path`.
static const char *fuzz_path(char path[96], const char *name)
{
    if (!fuzz_folder[0]) {
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/osprey-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(fuzz_folder) || atexit(fuzz_remove_folder))
            abort();
    }
    snprintf(path, 96, "%s/%s", fuzz_folder, name);
    return path;
}

#endif
