// The real table of calls: the CUDA runtime, linked statically. The only C file that sees CUDA's
// headers; compiled where a toolkit is found (gpu_none.c elsewhere). Owns nothing.
// Thread rule: any thread.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

#include "gpu/gpu_calls.h"

static int versions(void *user, int *driver, int *runtime)
{
    (void)user;
    const cudaError_t error = cudaDriverGetVersion(driver);
    return (int)(error ? error : cudaRuntimeGetVersion(runtime));
}

static int device_count(void *user, int *count)
{
    (void)user;
    return (int)cudaGetDeviceCount(count);
}

static void write_uuid(const unsigned char *b, char *out, size_t size)
{
    snprintf(out, size, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

// 0 where the driver does not tell: no reason to do without the device.
static int32_t attribute(int device, enum cudaDeviceAttr which)
{
    int value = 0;
    if (cudaDeviceGetAttribute(&value, which, device) == cudaSuccess)
        return value;
    cudaGetLastError();
    return 0;
}

static int device_facts(void *user, int device, osp_gpu_facts *out)
{
    (void)user;
    struct cudaDeviceProp p;
    const cudaError_t error = cudaGetDeviceProperties(&p, device);
    if (error)
        return (int)error;
    unsigned char uuid[16];
    memcpy(uuid, &p.uuid, sizeof uuid);
    *out = (osp_gpu_facts){.cc_major = p.major,
                           .cc_minor = p.minor,
                           .multiprocessors = p.multiProcessorCount,
                           .memory_bytes = p.totalGlobalMem,
                           .clock_khz = attribute(device, cudaDevAttrClockRate),
                           .memory_clock_khz = attribute(device, cudaDevAttrMemoryClockRate),
                           .memory_bus_bits = attribute(device, cudaDevAttrGlobalMemoryBusWidth)};
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
    snprintf(out->pci_id, sizeof out->pci_id, "%08x:%02x:%02x.0", (unsigned)p.pciDomainID,
             (unsigned)p.pciBusID, (unsigned)p.pciDeviceID);
    write_uuid(uuid, out->uuid, sizeof out->uuid);
    return 0;
}

static int memory_info(void *user, size_t *free_bytes, size_t *total_bytes)
{
    (void)user;
    return (int)cudaMemGetInfo(free_bytes, total_bytes);
}

static int get_device(void *user, int *device)
{
    (void)user;
    return (int)cudaGetDevice(device);
}

static int set_device(void *user, int device)
{
    (void)user;
    return (int)cudaSetDevice(device);
}

static int alloc_device(void *user, void **out, size_t bytes)
{
    (void)user;
    return (int)cudaMalloc(out, bytes);
}

static int free_device(void *user, void *ptr)
{
    (void)user;
    return (int)cudaFree(ptr);
}

static int host_alloc(void *user, void **out, size_t bytes)
{
    (void)user;
    return (int)cudaHostAlloc(out, bytes, cudaHostAllocPortable);
}

static int host_free(void *user, void *ptr)
{
    (void)user;
    return (int)cudaFreeHost(ptr);
}

static int pointer_place(void *user, const void *ptr, int *place, int *device)
{
    (void)user;
    struct cudaPointerAttributes a;
    const cudaError_t error = cudaPointerGetAttributes(&a, ptr);
    if (error)
        return (int)error;
    *place = a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged ? OSP_PLACE_DEVICE
             : a.type == cudaMemoryTypeHost                                    ? OSP_PLACE_PINNED
                                                                               : OSP_PLACE_HOST;
    *device = a.device;
    return 0;
}

typedef CUresult encode_tiled_fn(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                 const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                 const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// Of the driver, through the runtime, which loads it: the library links to none. Since driver 12.0.
static int find_encode_tiled(encode_tiled_fn **out)
{
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void *at = NULL;
#if CUDART_VERSION >= 12050
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at, 12000,
                                                               cudaEnableDefault, &found);
#else
    const cudaError_t error = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &at,
                                                      cudaEnableDefault, &found);
#endif
    if (error)
        return (int)error;
    memcpy(out, &at, sizeof at);
    return at && found == cudaDriverEntryPointSuccess ? 0 : OSP_CUDA_NOT_SUPPORTED;
}

// How much memory brings to the L2 at once: the most that is all of the array. Beside the pixels of a
// slice lie other channels, which cost as much and may be wanted by nobody.
static CUtensorMapL2promotion promotion(const osp_gpu_tiles *tiles)
{
    const uint64_t row = tiles->extent[0] * sizeof(uint16_t);
    if (row == tiles->stride[1])
        return CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
    const uint64_t grain = (uintptr_t)tiles->data | row | tiles->stride[1];
    return grain % 256 == 0   ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
           : grain % 128 == 0 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
           : grain % 64 == 0  ? CU_TENSOR_MAP_L2_PROMOTION_L2_64B
                              : CU_TENSOR_MAP_L2_PROMOTION_NONE;
}

static int tensor_map(void *user, const osp_gpu_tiles *tiles, osp_gpu_tensor_map *out)
{
    (void)user;
    encode_tiled_fn *encode = NULL;
    const int error = find_encode_tiled(&encode);
    if (error)
        return error;
    CUtensorMap map;
    _Static_assert(sizeof map == sizeof *out, "the driver's description");
    const CUresult result = encode(
        &map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, (cuuint32_t)tiles->rank, (void *)tiles->data,
        tiles->extent, tiles->stride + 1, tiles->box, tiles->step, CU_TENSOR_MAP_INTERLEAVE_NONE,
        CU_TENSOR_MAP_SWIZZLE_128B, promotion(tiles), CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (!result)
        memcpy(out, &map, sizeof *out);
    return (int)result;  // the numbers are the runtime's as well
}

static int stream_open(void *user, void **out)
{
    (void)user;
    return (int)cudaStreamCreateWithFlags((cudaStream_t *)out, cudaStreamNonBlocking);
}

static int stream_close(void *user, void *stream)
{
    (void)user;
    return (int)cudaStreamDestroy(stream);
}

static int stream_query(void *user, void *stream)
{
    (void)user;
    return (int)cudaStreamQuery(stream);
}

static int stream_wait(void *user, void *stream)
{
    (void)user;
    return (int)cudaStreamSynchronize(stream);
}

static int stream_after(void *user, void *stream, void *event)
{
    (void)user;
    return (int)cudaStreamWaitEvent(stream, event, 0);
}

static int event_open(void *user, void **out, int timing)
{
    (void)user;
    return (int)cudaEventCreateWithFlags((cudaEvent_t *)out,
                                         timing ? cudaEventDefault : cudaEventDisableTiming);
}

static int event_close(void *user, void *event)
{
    (void)user;
    return (int)cudaEventDestroy(event);
}

static int event_record(void *user, void *event, void *stream)
{
    (void)user;
    return (int)cudaEventRecord(event, stream);
}

static int event_query(void *user, void *event)
{
    (void)user;
    return (int)cudaEventQuery(event);
}

static int event_wait(void *user, void *event)
{
    (void)user;
    return (int)cudaEventSynchronize(event);
}

static int event_elapsed(void *user, float *ms, void *start, void *end)
{
    (void)user;
    return (int)cudaEventElapsedTime(ms, start, end);
}

static int copy(void *user, void *dst, const void *src, size_t bytes, void *stream)
{
    (void)user;
    return (int)cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, stream);
}

static int copy_rows(void *user, void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                     size_t row_bytes, size_t rows, void *stream)
{
    (void)user;
    return (int)cudaMemcpy2DAsync(dst, dst_pitch, src, src_pitch, row_bytes, rows,
                                  cudaMemcpyDefault, stream);
}

static int fill(void *user, void *dst, int value, size_t bytes, void *stream)
{
    (void)user;
    return (int)cudaMemsetAsync(dst, value, bytes, stream);
}

static dim3 extents(const uint32_t n[3])
{
    return (dim3){n[0] ? n[0] : 1, n[1] ? n[1] : 1, n[2] ? n[2] : 1};
}

static int launch(void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                  const void *args, size_t args_bytes, void *stream)
{
    enum { SHARED_DEFAULT = 48 * 1024 };
    (void)user;
    (void)args_bytes;
    void *params[1] = {(void *)args};
    if (shape->shared_bytes > SHARED_DEFAULT) {
        const cudaError_t error = cudaFuncSetAttribute(kernel->function,
                                                       cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                       (int)shape->shared_bytes);
        if (error)
            return (int)error;
    }
    cudaLaunchAttribute attribute = {.id = cudaLaunchAttributeProgrammaticStreamSerialization,
                                     .val = {.programmaticStreamSerializationAllowed = 1}};
    const cudaLaunchConfig_t config = {.gridDim = extents(shape->grid),
                                       .blockDim = extents(shape->block),
                                       .dynamicSmemBytes = shape->shared_bytes,
                                       .stream = stream,
                                       .attrs = &attribute,
                                       .numAttrs = shape->overlap};
    return (int)cudaLaunchKernelExC(&config, kernel->function, params);
}

// Thread-local: allocations of other threads neither disturb the capture nor are refused for it.
static int capture_begin(void *user, void *stream)
{
    (void)user;
    return (int)cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}

static int capture_end(void *user, void *stream, void **recorded)
{
    (void)user;
    return (int)cudaStreamEndCapture(stream, (cudaGraph_t *)recorded);
}

static int graph_make(void *user, void **ready, void *recorded)
{
    (void)user;
    return (int)cudaGraphInstantiate((cudaGraphExec_t *)ready, recorded, 0);
}

static int recorded_close(void *user, void *recorded)
{
    (void)user;
    return (int)cudaGraphDestroy(recorded);
}

static int graph_close(void *user, void *ready)
{
    (void)user;
    return (int)cudaGraphExecDestroy(ready);
}

static int graph_launch(void *user, void *ready, void *stream)
{
    (void)user;
    return (int)cudaGraphLaunch(ready, stream);
}

static int last_error(void *user)
{
    (void)user;
    return (int)cudaGetLastError();
}

static const char *error_text(void *user, int error)
{
    (void)user;
    return cudaGetErrorString((cudaError_t)error);
}

const osp_gpu_calls *osp_gpu_calls_real(void)
{
    static const osp_gpu_calls calls = {
        .versions = versions,
        .device_count = device_count,
        .device_facts = device_facts,
        .memory_info = memory_info,
        .get_device = get_device,
        .set_device = set_device,
        .alloc = alloc_device,
        .free = free_device,
        .host_alloc = host_alloc,
        .host_free = host_free,
        .pointer_place = pointer_place,
        .tensor_map = tensor_map,
        .stream_open = stream_open,
        .stream_close = stream_close,
        .stream_query = stream_query,
        .stream_wait = stream_wait,
        .stream_after = stream_after,
        .event_open = event_open,
        .event_close = event_close,
        .event_record = event_record,
        .event_query = event_query,
        .event_wait = event_wait,
        .event_elapsed = event_elapsed,
        .copy = copy,
        .copy_rows = copy_rows,
        .fill = fill,
        .launch = launch,
        .capture_begin = capture_begin,
        .capture_end = capture_end,
        .graph_make = graph_make,
        .recorded_close = recorded_close,
        .graph_close = graph_close,
        .graph_launch = graph_launch,
        .last_error = last_error,
        .error_text = error_text,
    };
    return &calls;
}

bool osp_gpu_built(void)
{
    return true;
}
