// The table of CUDA calls: the one door to CUDA. osp_context.gpu_calls chooses it, so that tests can
// put a device in host memory, or one that fails, in its place.
//
// Every call returns CUDA's own error number (cudaError_t, 0 is success) and takes `user` first.
// Handles are CUDA's as void *. Thread rule: any thread, as CUDA allows.
#ifndef OSP_GPU_GPU_CALLS_H
#define OSP_GPU_GPU_CALLS_H

#include "gpu/gpu.h"

// Numbers of cudaError_t that the layer tells apart; they are part of CUDA's interface.
enum {
    OSP_CUDA_INVALID_VALUE = 1,
    OSP_CUDA_OUT_OF_MEMORY = 2,
    OSP_CUDA_INITIALIZATION = 3,
    OSP_CUDA_STUB = 34,  // libcuda.so is the toolkit's stub
    OSP_CUDA_OLD_DRIVER = 35,
    OSP_CUDA_DEVICES_UNAVAILABLE = 46,
    OSP_CUDA_NO_FUNCTION = 98,
    OSP_CUDA_NO_DEVICE = 100,
    OSP_CUDA_BAD_DEVICE = 101,
    OSP_CUDA_NO_IMAGE = 209,  // no code for this architecture
    OSP_CUDA_ECC = 214,
    OSP_CUDA_NOT_READY = 600,
    OSP_CUDA_ILLEGAL_ADDRESS = 700,
    OSP_CUDA_LAUNCH_FAILURE = 719,
    OSP_CUDA_NOT_SUPPORTED = 801,
    OSP_CUDA_SYSTEM_NOT_READY = 802,
    OSP_CUDA_DRIVER_MISMATCH = 803,
    OSP_CUDA_CAPTURE_FIRST = 900,  // 900 to 908: all about stream capture
    OSP_CUDA_CAPTURE_LAST = 908
};

// After these a CUDA context answers every call with the same error.
bool osp_gpu_error_sticky(int error);

typedef struct osp_gpu_facts {
    char name[128], pci_id[32], uuid[48];
    int32_t cc_major, cc_minor, multiprocessors;
    uint64_t memory_bytes;
    int32_t clock_khz, memory_clock_khz, memory_bus_bits;  // the highest clocks; 0: unknown
} osp_gpu_facts;

typedef struct osp_gpu_calls {
    void *user;
    // Devices. None of these makes a context but memory_info and set_device.
    int (*versions)(void *user, int *driver, int *runtime);  // 13000 = 13.0; driver 0: none
    int (*device_count)(void *user, int *count);
    int (*device_facts)(void *user, int device, osp_gpu_facts *out);
    int (*memory_info)(void *user, size_t *free_bytes, size_t *total_bytes);  // current device
    int (*get_device)(void *user, int *device);
    int (*set_device)(void *user, int device);
    // Memory.
    int (*alloc)(void *user, void **out, size_t bytes);
    int (*free)(void *user, void *ptr);
    int (*host_alloc)(void *user, void **out, size_t bytes);  // portable
    int (*host_free)(void *user, void *ptr);
    int (*pointer_place)(void *user, const void *ptr, int *place, int *device);  // an osp_place
    int (*tensor_map)(void *user, const osp_gpu_tiles *tiles, osp_gpu_tensor_map *out);
    // Streams.
    int (*stream_open)(void *user, void **out);  // non-blocking
    int (*stream_close)(void *user, void *stream);
    int (*stream_query)(void *user, void *stream);
    int (*stream_wait)(void *user, void *stream);
    int (*stream_after)(void *user, void *stream, void *event);
    // Events.
    int (*event_open)(void *user, void **out, int timing);
    int (*event_close)(void *user, void *event);
    int (*event_record)(void *user, void *event, void *stream);
    int (*event_query)(void *user, void *event);
    int (*event_wait)(void *user, void *event);
    int (*event_elapsed)(void *user, float *ms, void *start, void *end);
    // Work.
    int (*copy)(void *user, void *dst, const void *src, size_t bytes, void *stream);
    int (*copy_rows)(void *user, void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                     size_t row_bytes, size_t rows, void *stream);
    int (*fill)(void *user, void *dst, int value, size_t bytes, void *stream);
    int (*launch)(void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                  const void *args, size_t args_bytes, void *stream);
    // Graphs: a recorded one, and one ready to launch.
    int (*capture_begin)(void *user, void *stream);
    int (*capture_end)(void *user, void *stream, void **recorded);
    int (*graph_make)(void *user, void **ready, void *recorded);
    int (*recorded_close)(void *user, void *recorded);
    int (*graph_close)(void *user, void *ready);
    int (*graph_launch)(void *user, void *ready, void *stream);
    // Errors: takes the thread's last error (and clears one that is not sticky); CUDA's words.
    int (*last_error)(void *user);
    const char *(*error_text)(void *user, int error);
} osp_gpu_calls;

// The real ones, from the static CUDA runtime; in a build without a toolkit, calls that all refuse.
const osp_gpu_calls *osp_gpu_calls_real(void);
// false: the library was built without CUDA.
bool osp_gpu_built(void);

#endif
