// The GPU in host memory: see fake_gpu.h.
#include "fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_tiles.h"

enum { FILLED_MOST = 64 << 20 };  // of a block, when it is handed out

static _Thread_local int current;
static _Thread_local int captures;

int *fake_captures(void)
{
    return &captures;
}

int fake_gpu_current(void)
{
    return current;
}

#define FAKE fake_gpu *fake = user

static int versions(void *user, int *driver, int *runtime)
{
    FAKE;
    *driver = fake->driver;
    *runtime = 13000;
    return 0;
}

static int device_count(void *user, int *count)
{
    FAKE;
    *count = fake->devices;
    return fake->open_error;
}

static int device_facts(void *user, int device, osp_gpu_facts *out)
{
    FAKE;
    if (device < 0 || device >= fake->devices)
        return OSP_CUDA_BAD_DEVICE;
    *out = fake->facts[device];
    return 0;
}

static int memory_info(void *user, size_t *free_bytes, size_t *total_bytes)
{
    FAKE;
    *total_bytes = fake->memory_bytes;
    *free_bytes = fake->memory_bytes - fake->used_bytes;
    return 0;
}

static int get_device(void *user, int *device)
{
    (void)user;
    *device = current;
    return 0;
}

static int set_device(void *user, int device)
{
    FAKE;
    if (device < 0 || device >= fake->devices)
        return OSP_CUDA_BAD_DEVICE;
    current = device;
    return 0;
}

// ---- Memory -------------------------------------------------------------------------------------

static int take(fake_gpu *fake, void **out, size_t bytes, int place)
{
    if (captures)
        return CAPTURE_UNSUPPORTED;
    if (place == OSP_PLACE_DEVICE && bytes > fake->memory_bytes - fake->used_bytes)
        return OSP_CUDA_OUT_OF_MEMORY;
    fake_block *block = malloc(sizeof *block);
    void *at = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!block || !at) {
        free(block);
        free(at);
        return OSP_CUDA_OUT_OF_MEMORY;
    }
    memset(at, 0xA5, bytes < FILLED_MOST ? bytes : FILLED_MOST);  // nobody may count on zeros
    pthread_mutex_lock(&fake->lock);
    *block = (fake_block){fake->blocks, at, bytes, place, current};
    fake->blocks = block;
    fake->live++;
    fake->used_bytes += place == OSP_PLACE_DEVICE ? bytes : 0;
    pthread_mutex_unlock(&fake->lock);
    *out = at;
    return 0;
}

static int give(fake_gpu *fake, void *ptr, int place)
{
    if (captures)
        return CAPTURE_UNSUPPORTED;
    pthread_mutex_lock(&fake->lock);
    fake_block **link = &fake->blocks;
    while (*link && ((*link)->at != ptr || (*link)->place != place))
        link = &(*link)->next;
    fake_block *block = *link;
    if (block) {
        *link = block->next;
        fake->live--;
        fake->used_bytes -= place == OSP_PLACE_DEVICE ? block->bytes : 0;
    } else {
        fake->misuse++;
    }
    pthread_mutex_unlock(&fake->lock);
    if (!block)
        return INVALID_VALUE;
    free(block->at);
    free(block);
    return 0;
}

static int alloc_device(void *user, void **out, size_t bytes)
{
    return take(user, out, bytes, OSP_PLACE_DEVICE);
}

static int free_device(void *user, void *ptr)
{
    return give(user, ptr, OSP_PLACE_DEVICE);
}

static int host_alloc(void *user, void **out, size_t bytes)
{
    return take(user, out, bytes, OSP_PLACE_PINNED);
}

static int host_free(void *user, void *ptr)
{
    return give(user, ptr, OSP_PLACE_PINNED);
}

// The block that holds an address, or NULL: plain host memory.
static const fake_block *block_of(fake_gpu *fake, const void *ptr)
{
    const char *at = ptr;
    const fake_block *b = fake->blocks;
    while (b && (at < b->at || at >= b->at + (b->bytes ? b->bytes : 1)))
        b = b->next;
    return b;
}

static int pointer_place(void *user, const void *ptr, int *place, int *device)
{
    FAKE;
    pthread_mutex_lock(&fake->lock);
    const fake_block *b = block_of(fake, ptr);
    *place = b ? b->place : OSP_PLACE_HOST;
    *device = b ? b->device : -1;
    pthread_mutex_unlock(&fake->lock);
    return 0;
}

// What cuTensorMapEncodeTiled asks of 2-byte elements under the 128-byte swizzle; and that rows of a tile
// are those 128 bytes, as tma.cuh has it.
static bool tiles_good(const osp_gpu_tiles *t)
{
    bool good = t->data && (uintptr_t)t->data % 16 == 0 && t->rank >= 2 &&
                t->rank <= FAKE_TILES_RANK_MAX && t->box[0] == 64 && t->step[0] == 1;
    for (int i = 0; good && i < t->rank; i++)
        good = t->extent[i] >= 1 && t->extent[i] <= UINT64_C(1) << 32 && t->box[i] >= 1 &&
               t->box[i] <= 256 && t->step[i] >= 1 && t->step[i] <= 8 &&
               (i == 0 || (t->stride[i] % 16 == 0 && t->stride[i] < UINT64_C(1) << 40));
    return good;
}

static int tensor_map(void *user, const osp_gpu_tiles *tiles, osp_gpu_tensor_map *out)
{
    FAKE;
    _Static_assert(sizeof(fake_tiles) <= sizeof *out, "the description has room");
    if (fake->refuse_tiles)
        return OSP_CUDA_NOT_SUPPORTED;
    if ((uintptr_t)out % 64 || !tiles_good(tiles))
        return INVALID_VALUE;
    fake_tiles t = {.magic = FAKE_TILES_MAGIC, .data = tiles->data, .rank = (uint8_t)tiles->rank};
    for (int i = 0; i < tiles->rank; i++) {
        t.stride[i] = tiles->stride[i];
        t.last[i] = (uint32_t)(tiles->extent[i] - 1);
        t.box[i] = (uint16_t)tiles->box[i];
        t.step[i] = (uint8_t)tiles->step[i];
    }
    memcpy(out, &t, sizeof t);
    return 0;
}

// An address in one of our blocks must lie in it with all its bytes.
bool fake_fits(fake_gpu *fake, const void *ptr, size_t bytes)
{
    pthread_mutex_lock(&fake->lock);
    const fake_block *b = block_of(fake, ptr);
    const bool good = !b || (size_t)(b->at + b->bytes - (const char *)ptr) >= bytes;
    fake->misuse += !good;
    pthread_mutex_unlock(&fake->lock);
    return good;
}

bool fake_gpu_block(void *user, const void *at, const char **from, const char **to)
{
    FAKE;
    pthread_mutex_lock(&fake->lock);
    const fake_block *b = block_of(fake, at);
    if (b) {
        *from = b->at;
        *to = b->at + b->bytes;
    }
    pthread_mutex_unlock(&fake->lock);
    return b != NULL;
}

static int last_error(void *user)
{
    (void)user;
    return 0;
}

static const char *error_text(void *user, int error)
{
    (void)user;
    return error == OSP_CUDA_OUT_OF_MEMORY ? "out of memory" : "an error of the fake device";
}

// ---- Setting up ---------------------------------------------------------------------------------

void fake_gpu_init(fake_gpu *fake)
{
    *fake = (fake_gpu){.devices = 1, .driver = 13000, .memory_bytes = (size_t)8 << 30};
    for (int i = 0; i < FAKE_DEVICES_MAX; i++) {
        osp_gpu_facts *f = &fake->facts[i];
        f->cc_major = 9;
        f->multiprocessors = 132;
        f->memory_bytes = fake->memory_bytes;
        f->clock_khz = 1980000;
        f->memory_clock_khz = 2619000;
        f->memory_bus_bits = 5120;
        snprintf(f->name, sizeof f->name, "Fake GPU");
        snprintf(f->pci_id, sizeof f->pci_id, "00000000:%02x:00.0", i + 1);
        snprintf(f->uuid, sizeof f->uuid, "GPU-00000000-0000-0000-0000-%012x", i + 1);
    }
    pthread_mutex_init(&fake->lock, NULL);
    current = 0;
    captures = 0;
    fake->calls = (osp_gpu_calls){
        .user = fake,
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
        .last_error = last_error,
        .error_text = error_text,
    };
    fake_work_calls(&fake->calls);
}

void fake_gpu_kernel(fake_gpu *fake, const char *name, fake_kernel_fn *run, void *user)
{
    if (fake->kernel_count == FAKE_KERNELS_MAX)
        return;
    const int i = fake->kernel_count++;
    fake->kernels[i].name = name;
    fake->kernels[i].run = run;
    fake->kernels[i].user = user;
}

void fake_gpu_free(fake_gpu *fake)
{
    while (fake->blocks) {
        fake_block *next = fake->blocks->next;
        free(fake->blocks->at);
        free(fake->blocks);
        fake->blocks = next;
    }
    while (fake->streams) {
        fake_stream *next = fake->streams->next;
        free(fake->streams);
        fake->streams = next;
    }
    while (fake->things) {
        fake_thing *next = fake->things->next;
        if (fake->things->is_recording)
            fake_recording_drop((recording *)fake->things);
        else
            free(fake->things);
        fake->things = next;
    }
    pthread_mutex_destroy(&fake->lock);
}
