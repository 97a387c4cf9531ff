// The device layer without a GPU: devices and reasons, the caller's current device, memory, waiting,
// graphs, counters; then every call failed in turn, and what must hold after a sticky error.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_fixture.h"

typedef struct fixture {
    fake_gpu fake;
    osp_context ctx;
    osp_gpu *gpu;
    osp_gpu_scope scope;
} fixture;

static void open_with(fixture *f, const osp_gpu_calls *calls)
{
    osp_error err;
    assert_int_equal(osp_context_init(&f->ctx, NULL, &err), OSP_OK);
    f->ctx.gpu_calls = calls;
    assert_int_equal(osp_gpus_open(&f->ctx, &err), OSP_OK);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    osp_error err;
    assert_non_null(f);
    fake_gpu_init(&f->fake);
    open_with(f, &f->fake.calls);
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &f->gpu, &err), OSP_OK);
    assert_int_equal(osp_gpu_enter(f->gpu, &f->scope, &err), OSP_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    osp_gpu_leave(f->gpu, &f->scope);
    osp_gpus_close(&f->ctx);
    fake_context_close(&f->ctx, &f->fake);
    free(f);
    return 0;
}

static void expect_reason(int error, int devices, int driver, const char *words)
{
    fixture f = {0};
    osp_error err;
    fake_gpu_init(&f.fake);
    f.fake.open_error = error;
    f.fake.devices = devices;
    f.fake.driver = driver;
    open_with(&f, &f.fake.calls);
    assert_int_equal(osp_gpu_count(&f.ctx), 0);
    assert_non_null(strstr(osp_gpu_reason(&f.ctx), words));
    assert_int_equal(osp_gpu_get(&f.ctx, 0, &f.gpu, &err), OSP_ERROR_DEVICE);
    assert_non_null(strstr(err.text, words));
    osp_gpus_close(&f.ctx);
    osp_context_free(&f.ctx);
    fake_gpu_free(&f.fake);
}

static void test_no_device(void **state)
{
    (void)state;
    expect_reason(OSP_CUDA_OLD_DRIVER, 0, 0, "no NVIDIA driver is loaded");
    expect_reason(OSP_CUDA_OLD_DRIVER, 0, 12040, "serves CUDA 12.4, and 13.0 is needed");
    expect_reason(OSP_CUDA_NO_DEVICE, 0, 13000, "no NVIDIA GPU is there");
    expect_reason(0, 0, 13000, "no NVIDIA GPU is there");
    expect_reason(OSP_CUDA_STUB, 0, 13000, "stub");
    expect_reason(OSP_CUDA_DRIVER_MISMATCH, 0, 13000, "differ in version");
    expect_reason(OSP_CUDA_SYSTEM_NOT_READY, 3, 13000, "CUDA error 802");
}

static osp_device_info describe_facts(const osp_gpu_facts *facts)
{
    fixture f = {0};
    osp_device_info info;
    fake_gpu_init(&f.fake);
    f.fake.facts[0] = *facts;
    open_with(&f, &f.fake.calls);
    osp_gpu_describe(&f.ctx, 0, &info);
    osp_gpus_close(&f.ctx);
    osp_context_free(&f.ctx);
    fake_gpu_free(&f.fake);
    return info;
}

// What the makers print: A100 1.56 TB/s and 312 TFLOP/s, H100 3.35 and 989 (at 1.83 GHz).
static void test_rates(void **state)
{
    (void)state;
    osp_gpu_facts facts = {.cc_major = 8,
                           .multiprocessors = 108,
                           .clock_khz = 1410000,
                           .memory_clock_khz = 1215000,
                           .memory_bus_bits = 5120};
    osp_device_info info = describe_facts(&facts);
    assert_in_range((uint64_t)(info.memory_bytes_per_s * 1e-9), 1555, 1555);
    assert_in_range((uint64_t)(info.fp16_flops_per_s * 1e-9), 311800, 312000);
    facts = (osp_gpu_facts){.cc_major = 9,
                            .multiprocessors = 132,
                            .clock_khz = 1830000,
                            .memory_clock_khz = 2619000,
                            .memory_bus_bits = 5120};
    info = describe_facts(&facts);
    assert_in_range((uint64_t)(info.memory_bytes_per_s * 1e-9), 3352, 3352);
    assert_in_range((uint64_t)(info.fp16_flops_per_s * 1e-9), 989000, 990000);
    // An architecture whose number does not tell the rate; and a driver that tells no clock or bus.
    facts.cc_major = 8;
    facts.cc_minor = 6;
    facts.memory_bus_bits = 0;
    info = describe_facts(&facts);
    assert_true(info.memory_bytes_per_s == 0 && info.fp16_flops_per_s == 0);
}

static void test_describe(void **state)
{
    (void)state;
    fixture f = {0};
    osp_error err;
    osp_device_info info;
    uint64_t available, total;
    fake_gpu_init(&f.fake);
    f.fake.devices = 3;
    f.fake.facts[1].memory_bytes = 0;
    f.fake.facts[1].clock_khz = 0;
    f.fake.facts[1].memory_clock_khz = 0;
    f.fake.facts[2].cc_major = 7;
    f.fake.facts[2].cc_minor = 5;
    open_with(&f, &f.fake.calls);
    assert_int_equal(osp_gpu_count(&f.ctx), 3);
    assert_string_equal(osp_gpu_reason(&f.ctx), "");
    osp_gpu_describe(&f.ctx, 0, &info);
    assert_string_equal(info.name, "Fake GPU");
    assert_int_equal(info.cc_major, 9);
    assert_int_equal(info.multiprocessors, 132);
    assert_true(info.memory_known);
    assert_int_equal(info.memory_bytes, UINT64_C(8) << 30);
    assert_string_equal(info.pci_id, "00000000:01:00.0");
    assert_string_equal(info.uuid, "GPU-00000000-0000-0000-0000-000000000001");
    assert_string_equal(info.reason, "");
    osp_gpu_describe(&f.ctx, 1, &info);
    assert_int_equal(info.index, 1);
    assert_false(info.memory_known);
    assert_int_equal(info.memory_bytes, UINT64_C(2) << 30);
    assert_true(info.memory_bytes_per_s == 0 && info.fp16_flops_per_s == 0);
    osp_gpu_describe(&f.ctx, 2, &info);
    assert_non_null(strstr(info.reason, "7.5"));
    assert_int_equal(osp_gpu_get(&f.ctx, 2, &f.gpu, &err), OSP_ERROR_DEVICE);
    assert_non_null(strstr(err.text, "compute capability is 7.5"));
    assert_int_equal(osp_gpu_get(&f.ctx, 3, &f.gpu, &err), OSP_ERROR_DEVICE);
    assert_int_equal(osp_gpu_get(&f.ctx, -1, &f.gpu, &err), OSP_ERROR_DEVICE);
    assert_int_equal(osp_gpu_get(&f.ctx, 1, &f.gpu, &err), OSP_OK);
    assert_int_equal(osp_gpu_memory(f.gpu, &available, &total, &err), OSP_OK);
    assert_int_equal(available, UINT64_C(8) << 30);
    assert_int_equal(total, UINT64_C(8) << 30);
    assert_int_equal(fake_gpu_current(), 0);
    osp_gpus_close(&f.ctx);
    osp_context_free(&f.ctx);
    fake_gpu_free(&f.fake);
}

static void test_current_device(void **state)
{
    (void)state;
    fixture f = {0};
    osp_gpu *one, *two;
    osp_gpu_scope a, b, c;
    fake_gpu_init(&f.fake);
    f.fake.devices = 3;
    open_with(&f, &f.fake.calls);
    assert_int_equal(osp_gpu_get(&f.ctx, 1, &one, NULL), OSP_OK);
    assert_int_equal(osp_gpu_get(&f.ctx, 2, &two, NULL), OSP_OK);
    assert_int_equal(osp_gpu_enter(one, &a, NULL), OSP_OK);
    assert_int_equal(fake_gpu_current(), 1);
    assert_int_equal(osp_gpu_enter(two, &b, NULL), OSP_OK);
    assert_int_equal(osp_gpu_enter(two, &c, NULL), OSP_OK);
    assert_int_equal(fake_gpu_current(), 2);
    osp_gpu_leave(two, &c);
    assert_int_equal(fake_gpu_current(), 2);
    osp_gpu_leave(two, &b);
    assert_int_equal(fake_gpu_current(), 1);
    osp_gpu_leave(one, &a);
    assert_int_equal(fake_gpu_current(), 0);
    osp_gpus_close(&f.ctx);
    osp_context_free(&f.ctx);
    fake_gpu_free(&f.fake);
}

static void test_memory(void **state)
{
    fixture *f = *state;
    osp_error err;
    void *device, *pinned, *big = &big;
    osp_place place;
    int32_t index;
    char text[12] = "0123456789a", back[12] = "";
    assert_int_equal(osp_gpu_alloc(f->gpu, &device, 64, &err), OSP_OK);
    assert_int_equal(osp_gpu_host_alloc(f->gpu, &pinned, 64, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, &big, (size_t)9 << 30, &err), OSP_ERROR_MEMORY);
    assert_null(big);
    assert_non_null(strstr(err.text, "allocating device memory: out of memory (CUDA error 2)"));
    assert_int_equal(osp_gpu_place(f->gpu, (char *)device + 63, &place, &index, &err), OSP_OK);
    assert_int_equal(place, OSP_PLACE_DEVICE);
    assert_int_equal(index, 0);
    assert_int_equal(osp_gpu_place(f->gpu, pinned, &place, &index, &err), OSP_OK);
    assert_int_equal(place, OSP_PLACE_PINNED);
    assert_int_equal(osp_gpu_place(f->gpu, text, &place, &index, &err), OSP_OK);
    assert_int_equal(place, OSP_PLACE_HOST);
    assert_int_equal(index, -1);
    assert_int_equal(osp_gpu_copy(f->gpu, device, text, sizeof text, NULL, &err), OSP_OK);
    assert_int_equal(osp_gpu_copy_rows(f->gpu, back, 2, device, 4, 2, 3, NULL, &err), OSP_OK);
    assert_string_equal(back, "014589");
    assert_int_equal(osp_gpu_fill(f->gpu, device, 'x', 3, NULL, &err), OSP_OK);
    assert_int_equal(osp_gpu_copy(f->gpu, back, device, 4, NULL, &err), OSP_OK);
    assert_memory_equal(back, "xxx3", 4);
    osp_gpu_counters counters;
    osp_gpu_count_work(f->gpu, &counters);
    assert_int_equal(counters.allocs, 2);
    assert_int_equal(counters.copies, 3);
    assert_int_equal(counters.copied_bytes, 12 + 6 + 4);
    osp_gpu_free(f->gpu, device);
    osp_gpu_host_free(f->gpu, pinned);
    osp_gpu_free(f->gpu, NULL);
}

static void test_waiting(void **state)
{
    fixture *f = *state;
    osp_error err = {0};
    osp_gpu_stream stream;
    osp_gpu_event start, end;
    double us = -1;
    assert_int_equal(osp_gpu_stream_open(f->gpu, &stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_open(f->gpu, &start, true, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_open(f->gpu, &end, true, &err), OSP_OK);
    f->fake.busy = true;
    assert_int_equal(osp_gpu_event_poll(f->gpu, end, &err), OSP_OK);  // never recorded
    assert_int_equal(osp_gpu_event_record(f->gpu, start, stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_record(f->gpu, end, stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_poll(f->gpu, end, &err), OSP_ERROR_BUSY);
    assert_int_equal(osp_gpu_stream_poll(f->gpu, stream, &err), OSP_ERROR_BUSY);
    assert_int_equal(osp_gpu_event_wait(f->gpu, end, 0, &err), OSP_ERROR_TIMEOUT);
    assert_int_equal(osp_gpu_event_wait(f->gpu, end, 5, &err), OSP_ERROR_TIMEOUT);
    assert_int_equal(osp_gpu_stream_wait(f->gpu, stream, 1, &err), OSP_ERROR_TIMEOUT);
    assert_non_null(strstr(err.text, "not finished in 1 ms"));
    assert_int_equal(osp_gpu_check(f->gpu, "a library", stream, &err), OSP_OK);
    f->fake.busy = false;
    assert_int_equal(osp_gpu_event_poll(f->gpu, end, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_wait(f->gpu, end, 5, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_wait(f->gpu, stream, -1, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_elapsed(f->gpu, start, end, &us, &err), OSP_OK);
    assert_true(us >= 0 && us < 1e6);
    osp_gpu_event_close(f->gpu, &start);
    osp_gpu_event_close(f->gpu, &end);
    osp_gpu_event_close(f->gpu, &end);
    assert_null(end);
    osp_gpu_stream_close(f->gpu, &stream);
    assert_null(stream);
}

// Adds one to the byte that its argument points at.
static void add_one(void *user, const void *args, size_t bytes, const osp_gpu_shape *shape)
{
    unsigned char *at;
    assert_null(user);
    assert_int_equal(bytes, sizeof at);
    assert_int_equal(shape->grid[0], 3);
    memcpy(&at, args, sizeof at);
    ++*at;
}

static void add_ten(void *user)
{
    *(unsigned char *)user += 10;
}

static const osp_gpu_kernel kernel = {.name = "add_one"};
static const osp_gpu_shape shape = {.grid = {3}};

static void test_graphs(void **state)
{
    fixture *f = *state;
    osp_error err;
    osp_gpu_stream a, b;
    osp_gpu_event event;
    osp_gpu_graph graph;
    unsigned char *byte, host = 0;
    void *other;
    fake_gpu_kernel(&f->fake, "add_one", add_one, NULL);
    assert_int_equal(osp_gpu_stream_open(f->gpu, &a, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_open(f->gpu, &b, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_open(f->gpu, &event, false, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, (void **)&byte, 1, &err), OSP_OK);
    assert_int_equal(osp_gpu_fill(f->gpu, byte, 5, 1, a, &err), OSP_OK);
    f->fake.refuse_capture = true;
    assert_int_equal(osp_gpu_capture_begin(f->gpu, a, &err), OSP_ERROR_UNSUPPORTED);
    f->fake.refuse_capture = false;
    assert_int_equal(osp_gpu_capture_begin(f->gpu, a, &err), OSP_OK);
    assert_int_equal(osp_gpu_launch(f->gpu, &kernel, &shape, &byte, sizeof byte, a, &err), OSP_OK);
    assert_int_equal(osp_gpu_event_record(f->gpu, event, a, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_after(f->gpu, b, event, &err), OSP_OK);
    assert_int_equal(fake_gpu_enqueue(&f->fake, b, add_ten, byte), 0);
    assert_int_equal(osp_gpu_event_record(f->gpu, event, b, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_after(f->gpu, a, event, &err), OSP_OK);
    assert_int_equal(osp_gpu_copy(f->gpu, &host, byte, 1, a, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, &other, 1, &err), OSP_ERROR_UNSUPPORTED);
    assert_int_equal(osp_gpu_capture_end(f->gpu, a, &graph, &err), OSP_OK);
    assert_int_equal(*byte, 5);  // recorded, not run
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(osp_gpu_graph_launch(f->gpu, graph, a, &err), OSP_OK);
        assert_int_equal(host, 5 + 11 * i);
    }
    // A capture that is given up leaves the stream as it was.
    assert_int_equal(osp_gpu_capture_begin(f->gpu, a, &err), OSP_OK);
    assert_int_equal(osp_gpu_capture_end(f->gpu, a, NULL, &err), OSP_OK);
    assert_int_equal(osp_gpu_launch(f->gpu, &kernel, &shape, &byte, sizeof byte, a, &err), OSP_OK);
    assert_int_equal(*byte, 5 + 33 + 1);
    const osp_gpu_kernel unknown = {.name = "unknown"};
    assert_int_equal(osp_gpu_launch(f->gpu, &unknown, &shape, &byte, sizeof byte, a, &err),
                     OSP_ERROR_DEVICE);
    assert_non_null(strstr(err.text, "unknown: "));
    osp_gpu_counters counters;
    osp_gpu_count_work(f->gpu, &counters);
    assert_int_equal(counters.launches, 2);
    assert_int_equal(counters.graph_launches, 3);
    assert_int_equal(counters.opens, 4);
    osp_gpu_graph_close(f->gpu, &graph);
    osp_gpu_event_close(f->gpu, &event);
    osp_gpu_stream_close(f->gpu, &a);
    osp_gpu_stream_close(f->gpu, &b);
    osp_gpu_free(f->gpu, byte);
}

// ---- Launches that overlap ----------------------------------------------------------------------

// Launches a kernel twice, asking for overlap; returns how many such launches the device was given.
static uint64_t overlaps_of(fixture *f, bool waits)
{
    const osp_gpu_kernel own = {.name = "add_one", .waits = waits};
    const osp_gpu_shape asked = {.grid = {3}, .overlap = true};
    osp_error err;
    osp_gpu_stream stream;
    unsigned char *byte;
    const uint64_t before = f->fake.overlaps;
    assert_int_equal(osp_gpu_stream_open(f->gpu, &stream, &err), OSP_OK);
    assert_int_equal(osp_gpu_alloc(f->gpu, (void **)&byte, 1, &err), OSP_OK);
    assert_int_equal(osp_gpu_fill(f->gpu, byte, 5, 1, stream, &err), OSP_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(osp_gpu_launch(f->gpu, &own, &asked, &byte, sizeof byte, stream, &err),
                         OSP_OK);
    assert_int_equal(*byte, 7);
    osp_gpu_free(f->gpu, byte);
    osp_gpu_stream_close(f->gpu, &stream);
    return f->fake.overlaps - before;
}

// Overlap needs a kernel that waits, a device and a driver that can.
static void test_overlap(void **state)
{
    (void)state;
    static const struct {
        int major, minor, driver;
        bool refuse;
        uint64_t overlaps;
    } cases[] = {{9, 0, 13000, false, 2},
                 {10, 0, 12030, false, 2},
                 {8, 9, 13000, false, 0},
                 {9, 0, 12020, false, 0},
                 {9, 0, 13000, true, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f = {0};
        osp_error err;
        fake_gpu_init(&f.fake);
        f.fake.facts[0].cc_major = cases[i].major;
        f.fake.facts[0].cc_minor = cases[i].minor;
        f.fake.driver = cases[i].driver;
        f.fake.refuse_overlap = cases[i].refuse;
        fake_gpu_kernel(&f.fake, "add_one", add_one, NULL);
        open_with(&f, &f.fake.calls);
        assert_int_equal(osp_gpu_get(&f.ctx, 0, &f.gpu, &err), OSP_OK);
        assert_int_equal(overlaps_of(&f, false), 0);
        assert_int_equal(overlaps_of(&f, true), cases[i].overlaps);
        assert_int_equal(osp_gpu_overlaps(f.gpu), cases[i].overlaps > 0);
        osp_gpu_overlap_end(f.gpu);
        assert_int_equal(overlaps_of(&f, true), 0);
        assert_int_equal(f.fake.misuse, 0);
        osp_gpus_close(&f.ctx);
        osp_context_free(&f.ctx);
        fake_gpu_free(&f.fake);
    }
}

// ---- Every call failed in turn ------------------------------------------------------------------

// All calls of the layer, as an honest caller makes them: it stops at the first failure and gives
// back what it has. *answer is what the work made, 42 if all of it ran.
static osp_status work(osp_gpu *gpu, unsigned char *answer, osp_error *err)
{
    osp_gpu_stream a = NULL, b = NULL;
    osp_gpu_event start = NULL, end = NULL;
    osp_gpu_graph graph = NULL;
    void *device = NULL;
    unsigned char *pinned = NULL;
    uint64_t available, total;
    osp_place place;
    int32_t index;
    double us;
    osp_gpu_scope scope;
    OSP_TRY(osp_gpu_memory(gpu, &available, &total, err));
    OSP_TRY(osp_gpu_enter(gpu, &scope, err));
    bool capturing = false;
    osp_status s = OSP_OK;
#define DO(call) (s = s ? s : (call))
    DO(osp_gpu_stream_open(gpu, &a, err));
    DO(osp_gpu_stream_open(gpu, &b, err));
    DO(osp_gpu_event_open(gpu, &start, true, err));
    DO(osp_gpu_event_open(gpu, &end, true, err));
    DO(osp_gpu_alloc(gpu, &device, 64, err));
    DO(osp_gpu_host_alloc(gpu, (void **)&pinned, 64, err));
    DO(osp_gpu_place(gpu, pinned, &place, &index, err));
    const osp_gpu_tiles tiles = {.data = device,
                                 .rank = 2,
                                 .extent = {8, 4},
                                 .stride = {2, 16},
                                 .box = {64, 4},
                                 .step = {1, 1}};
    osp_gpu_tensor_map map;
    DO(osp_gpu_tensor_map_make(gpu, &tiles, &map, err));
    if (!s)
        memset(pinned, 9, 64);
    DO(osp_gpu_event_record(gpu, start, a, err));
    DO(osp_gpu_copy_rows(gpu, device, 8, pinned, 8, 8, 8, a, err));
    DO(osp_gpu_fill(gpu, device, 20, 1, a, err));
    DO(osp_gpu_capture_begin(gpu, a, err));
    capturing = !s;
    DO(osp_gpu_launch(gpu, &kernel, &shape, &device, sizeof device, a, err));
    if (capturing) {
        osp_error other;
        const osp_status ended = osp_gpu_capture_end(gpu, a, s ? NULL : &graph, s ? &other : err);
        s = s ? s : ended;
    }
    DO(osp_gpu_graph_launch(gpu, graph, a, err));
    DO(osp_gpu_graph_launch(gpu, graph, a, err));
    DO(osp_gpu_copy(gpu, pinned, device, 1, a, err));
    DO(osp_gpu_event_record(gpu, end, a, err));
    DO(osp_gpu_stream_after(gpu, b, end, err));
    DO(osp_gpu_stream_poll(gpu, b, err));
    DO(osp_gpu_event_poll(gpu, end, err));
    DO(osp_gpu_event_wait(gpu, end, 1000, err));
    DO(osp_gpu_event_wait(gpu, end, -1, err));
    DO(osp_gpu_stream_wait(gpu, a, -1, err));
    DO(osp_gpu_stream_wait(gpu, b, 1000, err));
    DO(osp_gpu_event_elapsed(gpu, start, end, &us, err));
    DO(osp_gpu_check(gpu, "a library", a, err));
#undef DO
    *answer = s ? 0 : (unsigned char)(pinned[0] + 20);
    osp_gpu_graph_close(gpu, &graph);
    osp_gpu_event_close(gpu, &start);
    osp_gpu_event_close(gpu, &end);
    osp_gpu_stream_close(gpu, &a);
    osp_gpu_stream_close(gpu, &b);
    osp_gpu_free(gpu, device);
    osp_gpu_host_free(gpu, pinned);
    osp_gpu_leave(gpu, &scope);
    return s;
}

typedef struct fault {
    int error;
    osp_status status;
} fault;

static const fault faults[] = {
    {OSP_CUDA_OUT_OF_MEMORY, OSP_ERROR_MEMORY},
    {1, OSP_ERROR_SYSTEM},
    {OSP_CUDA_NO_DEVICE, OSP_ERROR_DEVICE},
    {OSP_CUDA_NO_IMAGE, OSP_ERROR_DEVICE},
    {OSP_CUDA_CAPTURE_FIRST, OSP_ERROR_UNSUPPORTED},
    {901, OSP_ERROR_UNSUPPORTED},
    {OSP_CUDA_ECC, OSP_ERROR_DEVICE_LOST},
    {OSP_CUDA_ILLEGAL_ADDRESS, OSP_ERROR_DEVICE_LOST},
    {709, OSP_ERROR_DEVICE_LOST},
    {716, OSP_ERROR_DEVICE_LOST},
    {OSP_CUDA_LAUNCH_FAILURE, OSP_ERROR_DEVICE_LOST},
    {999, OSP_ERROR_DEVICE_LOST},
};

static void after_loss(fixture *f, failing_calls *failing)
{
    osp_error err;
    unsigned char answer = 0;
    osp_gpu *gpu;
    const long before = failing->count;
    assert_true(osp_gpu_lost(f->gpu));
    assert_int_equal(failing->after, 0);
    assert_int_equal(work(f->gpu, &answer, &err), OSP_ERROR_DEVICE_LOST);
    assert_non_null(strstr(err.text, "restart the process"));
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &gpu, &err), OSP_ERROR_DEVICE_LOST);
    assert_int_equal(osp_gpu_stream_poll(f->gpu, NULL, &err), OSP_ERROR_DEVICE_LOST);
    assert_int_equal(osp_gpu_check(f->gpu, "a library", NULL, &err), OSP_ERROR_DEVICE_LOST);
    assert_int_equal(failing->count, before);
}

// Returns whether the call was reached.
static bool fail_one(const fault *fault, long number)
{
    fixture f = {0};
    failing_calls failing;
    osp_error err = {0};
    unsigned char answer = 0;
    fake_gpu_init(&f.fake);
    fake_gpu_kernel(&f.fake, "add_one", add_one, NULL);
    failing_calls_init(&failing, &f.fake.calls);
    open_with(&f, &failing.calls);
    assert_int_equal(osp_gpu_get(&f.ctx, 0, &f.gpu, &err), OSP_OK);
    failing.fail_at = failing.count + number;
    failing.error = fault->error;
    const osp_status status = work(f.gpu, &answer, &err);
    if (status == OSP_OK) {  // the call is not there, or gave something back
        assert_int_equal(answer, 42);
    } else {
        assert_true(failing.failed);
        assert_int_equal(status, fault->status);
        assert_int_equal(err.code, fault->status);
        assert_non_null(strstr(err.text, "GPU 0 (Fake GPU)"));
    }
    if (failing.failed && fault->status == OSP_ERROR_DEVICE_LOST) {
        after_loss(&f, &failing);
    } else if (failing.failed) {
        // The device goes on. What a refused call did not give back is all that may be left.
        assert_false(osp_gpu_lost(f.gpu));
        assert_in_range(f.fake.live, 0, 1);
        assert_int_equal(work(f.gpu, &answer, &err), OSP_OK);
        assert_int_equal(answer, 42);
    }
    assert_int_equal(f.fake.misuse, 0);
    osp_gpus_close(&f.ctx);
    osp_context_free(&f.ctx);
    fake_gpu_free(&f.fake);
    return failing.failed;
}

static void test_every_call_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        long number = 1;
        while (fail_one(&faults[i], number))
            number++;
        assert_in_range(number, 35, 60);  // all calls of `work` were met
    }
}

static void test_opening_fails(void **state)
{
    (void)state;
    for (long number = 1; number <= 2; number++) {
        fixture f = {0};
        failing_calls failing;
        osp_error err;
        fake_gpu_init(&f.fake);
        failing_calls_init(&failing, &f.fake.calls);
        failing.fail_at = number;
        failing.error = OSP_CUDA_ILLEGAL_ADDRESS;
        open_with(&f, &failing.calls);
        assert_int_equal(osp_gpu_get(&f.ctx, 0, &f.gpu, &err), OSP_ERROR_DEVICE);
        assert_non_null(strstr(err.text, "CUDA error 700"));
        osp_gpus_close(&f.ctx);
        osp_context_free(&f.ctx);
        fake_gpu_free(&f.fake);
    }
}

// ---- The runtime --------------------------------------------------------------------------------

static void test_runtime(void **state)
{
    (void)state;
    fake_gpu fake;
    osp_error err;
    osp_runtime *runtime;
    osp_device_info info;
    char name[64];
    fake_gpu_init(&fake);
    fake.devices = 2;
    fake.used_bytes = (size_t)1 << 30;
    assert_int_equal(osp_runtime_open_with(&runtime, NULL, &fake.calls, &err), OSP_OK);
    assert_int_equal(osp_device_count(runtime), 3);
    assert_int_equal(osp_device_get(runtime, 1, &info, &err), OSP_OK);
    assert_int_equal(info.index, 1);
    assert_int_equal(info.cc_major, 9);
    assert_true(info.memory_known);
    assert_int_equal(info.memory_free_bytes, UINT64_C(7) << 30);
    assert_true(info.memory_bytes_per_s > 0 && info.fp16_flops_per_s > 0);
    assert_int_equal(osp_engine_file_name("azaion", &info, name, sizeof name, &err), OSP_OK);
    assert_string_equal(name, "azaion.cc_9.0_sm_132.engine");
    assert_int_equal(osp_device_get(runtime, 2, &info, &err), OSP_OK);
    assert_int_equal(info.backend, OSP_BACKEND_CPU);
    assert_true(info.memory_bytes_per_s == 0 && info.fp16_flops_per_s == 0);
    fake.used_bytes = 0;
    // Pinned where it can be had, plain otherwise; both are given back the same way.
    unsigned char *pinned = osp_host_alloc(runtime, 1000);
    assert_non_null(pinned);
    assert_int_equal((uintptr_t)pinned % 64, 0);
    assert_int_equal(fake.live, 1);
    memset(pinned, 1, 1000);
    osp_host_free(runtime, pinned);
    assert_int_equal(fake.live, 0);
    osp_host_free(runtime, NULL);
    assert_int_equal(fake_gpu_current(), 0);
    osp_runtime_close(&runtime);
    assert_int_equal(fake.misuse, 0);
    fake_gpu_free(&fake);
}

static void test_runtime_without(void **state)
{
    (void)state;
    fake_gpu fake;
    osp_error err;
    osp_runtime *runtime;
    osp_device_info info;
    fake_gpu_init(&fake);
    fake.open_error = OSP_CUDA_OLD_DRIVER;
    fake.driver = 0;
    assert_int_equal(osp_runtime_open_with(&runtime, NULL, &fake.calls, &err), OSP_OK);
    assert_int_equal(osp_device_count(runtime), 1);
    assert_int_equal(osp_device_get(runtime, 0, &info, &err), OSP_OK);
    assert_int_equal(info.backend, OSP_BACKEND_CPU);
    assert_string_equal(info.reason, "no GPU: no NVIDIA driver is loaded");
    void *plain = osp_host_alloc(runtime, 10);
    assert_non_null(plain);
    assert_int_equal(fake.live, 0);
    osp_host_free(runtime, plain);
    osp_runtime_close(&runtime);
    fake_gpu_free(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_current_device),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_graphs, set_up, tear_down),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_opening_fails),
        cmocka_unit_test(test_runtime),
        cmocka_unit_test(test_runtime_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
