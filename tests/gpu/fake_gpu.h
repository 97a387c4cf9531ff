// A GPU in host memory, as a table of CUDA calls: device memory is host memory, work runs when it is
// enqueued, captures are recorded and replayed. It checks what it is handed (addresses, handles,
// leaks) and can be told to look busy. failing_calls wraps any table and makes one call fail.
//
// Thread rule: any thread, as CUDA; setting it up from one.
#ifndef OSP_TESTS_FAKE_GPU_H
#define OSP_TESTS_FAKE_GPU_H

#include <pthread.h>

#include "gpu/gpu_calls.h"

enum { FAKE_DEVICES_MAX = 8, FAKE_KERNELS_MAX = 32 };

// What a kernel does in host memory.
typedef void fake_kernel_fn(void *user, const void *args, size_t args_bytes,
                            const osp_gpu_shape *shape);

// Runs any kernel that has code of the host's: an osp_gpu_kernel's function. Returns the microseconds
// that it is to have taken. See host_cuda.h.
typedef double fake_code_fn(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                            const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes);

typedef struct fake_gpu {
    osp_gpu_calls calls;  // hand this to osp_runtime_open_with, or to a context
    // To be set before use.
    int devices;
    int open_error;  // of device_count and all else; 0: it works
    int driver;      // version; 13000
    osp_gpu_facts facts[FAKE_DEVICES_MAX];
    fake_code_fn *run_code;  // NULL: kernels have none that the host can run; else events tell the
                             // time that it returned, not the host's
    // To be set at any time.
    bool busy;  // queries say "not ready"
    bool refuse_capture;
    bool refuse_tiles;    // the driver has no such call
    bool refuse_overlap;  // launches that overlap; one in a capture spoils it
    enum { FAKE_AS_RECORDED, FAKE_SIDES_FIRST, FAKE_SIDES_LAST } order;  // of a graph's streams
    size_t memory_bytes;  // of each device; alloc beyond it is refused
    // To be read.
    int live;    // memory blocks, streams, events, graphs not given back
    int misuse;  // addresses and handles that were never handed out, or given back already
    size_t used_bytes;
    uint64_t replays;
    int lanes;          // streams of the graph that is being replayed; else 0
    uint64_t overlaps;  // launches that were to overlap, run or recorded
    double busy_us;     // of kernels so far, where run_code is there
    // Its own.
    pthread_mutex_t lock;
    struct fake_block *blocks;
    struct fake_stream *streams;
    struct fake_thing *things;
    struct {
        const char *name;
        fake_kernel_fn *run;
        void *user;
    } kernels[FAKE_KERNELS_MAX];
    int kernel_count;
} fake_gpu;

// One device, "Fake GPU", compute capability 9.0, 132 SMs, 8 GiB, clocks and bus of an H100 SXM.
void fake_gpu_init(fake_gpu *fake);
void fake_gpu_free(fake_gpu *fake);  // frees what was not given back, too

// A launch of a kernel of this name calls `run`. Launches of others go to run_code, or are refused
// (error 98).
void fake_gpu_kernel(fake_gpu *fake, const char *name, fake_kernel_fn *run, void *user);

// Work of code that is not this project's (a stand-in library): runs on the stream, or is recorded
// if the stream is being captured. Returns CUDA's error number.
int fake_gpu_enqueue(fake_gpu *fake, void *stream, void (*run)(void *user), void *user);

// The block of memory that an address lies in, [*from, *to); false: in none. `fake`: a fake_gpu.
bool fake_gpu_block(void *fake, const void *at, const char **from, const char **to);

// The thread's current device.
int fake_gpu_current(void);

// A table that passes calls on, but for one.
typedef struct failing_calls {
    osp_gpu_calls calls;  // hand this out
    const osp_gpu_calls *inner;
    long fail_at;  // the number of the call that fails, from 1; 0: none
    int error;     // with this; a sticky one comes from every later call too
    long count;    // calls so far; asking for an error or its text is none
    bool failed;   // it has happened
    long after;    // calls since a sticky error, but for choosing the device
} failing_calls;

void failing_calls_init(failing_calls *failing, const osp_gpu_calls *inner);

#endif
