// Runs kernels that the host compiler made: blocks one after the other, the threads of a block as
// fibers that take turns at barriers and at what a warp does together. See host/host_device.h.
//
// A warp runs as far as it can, up to a barrier of the block, before the next one starts, and so does
// each lane within its warp; every other block runs both from the last to the first. So warps are as
// far apart as barriers let them be: what is read before a barrier behind its writing, or written
// before one behind its reading, is wrong in one of the two orders. Fibers outlive their block, since
// it costs a system call to start one.
#include "host_cuda.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <memory>
#include <mutex>
#include <vector>

#include "host/host_device.h"
#include "host_internal.h"

dim3 host_thread_idx, host_block_idx, host_block_dim, host_grid_dim;
unsigned host_lane;
const char *host_stack;

namespace {

constexpr size_t STACK_BYTES = HOST_STACK_BYTES, ARGS_MAX = 4096;
constexpr unsigned WARP = 32, GROUP = 128, THREADS_MAX = 1024;

// All that must arrive before any goes on; those that have returned no longer count. The last one
// does the work that all have come for.
struct Meeting {
    unsigned alive = 0, arrived = 0, generation = 0;
    host_work *work = nullptr;
    void *brought[GROUP] = {};

    void settle()
    {
        if (!alive || arrived < alive)
            return;
        if (work)
            work(brought);
        arrived = 0;
        generation++;
    }
};

// Switching by _setjmp, which makes no system call; the ucontext only starts a fiber on its stack.
struct Fiber {
    ucontext_t context = {};
    jmp_buf at = {};
    bool started = false, done = false, gave_way = false;
    const Meeting *waits = nullptr;
    const HostWait *barrier = nullptr;  // in shared memory
    unsigned generation = 0, index = 0;
    unsigned grid_waits = 0;
    HostCopies copies;
    std::unique_ptr<char[]> stack;
};

typedef void caller(const void *function, const void *args);

struct Machine {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Meeting> warps, groups;
    Meeting block, parts[HOST_PARTS_MOST];
    ucontext_t start = {};
    jmp_buf scheduler;
    Fiber *current = nullptr;
    const osp_gpu_kernel *kernel = nullptr;
    const void *args = nullptr;
    caller *call = nullptr;
    unsigned launches = 0, left = 0;  // left: threads of the block that have not returned
    bool moved = false;               // a thread got somewhere
    uint64_t meetings = 0;            // threads that came to one, of the launch
};

Machine machine;
std::mutex lock;
uint64_t warp_slots[THREADS_MAX / WARP][WARP];

void wait_at(Meeting &meeting)
{
    Fiber &f = *machine.current;
    const unsigned generation = meeting.generation;
    machine.meetings++;
    meeting.arrived++;
    meeting.settle();
    if (meeting.generation != generation)
        return;
    f.waits = &meeting;
    f.generation = generation;
    if (!_setjmp(f.at))
        _longjmp(machine.scheduler, 1);
}

void leave(Meeting &meeting, unsigned place)
{
    meeting.brought[place] = nullptr;
    meeting.alive--;
    meeting.settle();
}

void fiber_main()
{
    for (;;) {
        Fiber &f = *machine.current;
        machine.call(machine.kernel->function, machine.args);
        if (machine.kernel->waits && f.grid_waits != 1)
            host_die("it waits %u times for the kernel before it, and says that it does once",
                     f.grid_waits);
        f.done = true;
        leave(machine.warps[f.index / WARP], f.index % WARP);
        leave(machine.groups[f.index / GROUP], f.index % GROUP);
        leave(machine.block, 0);
        if (!_setjmp(f.at))
            _longjmp(machine.scheduler, 1);
    }
}

// The fiber's thread is the one that runs.
void be(Fiber &f)
{
    machine.current = &f;
    const unsigned row = f.index / host_block_dim.x;
    host_thread_idx = {f.index % host_block_dim.x, row % host_block_dim.y, row / host_block_dim.y};
    host_lane = f.index % WARP;
    host_stack = f.stack.get();
}

void resume(Fiber &f)
{
    be(f);
    if (_setjmp(machine.scheduler))
        return;
    if (f.started)
        _longjmp(f.at, 1);
    f.started = true;
    swapcontext(&machine.start, &f.context);
}

// fiber_main on a stack. A function of its own: to the compiler getcontext may return a second time,
// from any call before it in its function, whose variables would then have no values.
void make_context(ucontext_t *context, char *stack)
{
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = nullptr;
    makecontext(context, fiber_main, 0);
}

Fiber &fiber(unsigned index)
{
    while (machine.fibers.size() <= index) {
        std::unique_ptr<Fiber> f(new Fiber);
        f->index = (unsigned)machine.fibers.size();
        f->stack.reset(new char[STACK_BYTES]);
        make_context(&f->context, f->stack.get());
        machine.fibers.push_back(std::move(f));
    }
    return *machine.fibers[index];
}

// Each lane of a warp once, as far as it gets. false: none got anywhere.
bool run_warp(unsigned warp, unsigned threads, bool backwards)
{
    bool ran = false;
    const unsigned first = warp * WARP, count = threads - first < WARP ? threads - first : WARP;
    for (unsigned i = 0; i < count; i++) {
        Fiber &f = *machine.fibers[first + (backwards ? count - 1 - i : i)];
        if (f.done || f.gave_way || (f.waits && f.waits->generation == f.generation) ||
            (f.barrier && !host_wait_over(*f.barrier)))
            continue;
        f.waits = nullptr;
        resume(f);
        machine.left -= f.done;
        machine.moved |= !f.gave_way;
        ran = true;
    }
    return ran;
}

// None can go on. Of threads beside one another that wait for the same, the first is told.
[[noreturn]] void tell_stuck(unsigned threads)
{
    const HostWait *last = nullptr;
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = *machine.fibers[i];
        const HostWait *const wait = f.done ? nullptr : f.barrier;
        if (wait && (!last || wait->bar != last->bar || wait->line != last->line))
            host_wait_tell(*wait, i);
        last = wait;
    }
    host_die("its threads wait at different places, for one another");
}

void run_block(unsigned threads, bool backwards)
{
    machine.warps.assign((threads + WARP - 1) / WARP, Meeting());
    machine.groups.assign((threads + GROUP - 1) / GROUP, Meeting());
    machine.block = Meeting();
    for (Meeting &m : machine.parts)
        m = Meeting();
    machine.block.alive = machine.left = threads;
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = fiber(i);
        f.done = f.gave_way = false;
        f.waits = nullptr;
        f.barrier = nullptr;
        f.grid_waits = 0;
        f.copies.pending.clear();
        f.copies.ends.clear();
        machine.warps[i / WARP].alive++;
        machine.groups[i / GROUP].alive++;
    }
    const unsigned warps = (threads + WARP - 1) / WARP;
    for (machine.moved = true; machine.left;) {
        if (!machine.moved)
            tell_stuck(threads);
        machine.moved = false;
        for (unsigned i = 0; i < threads; i++)
            machine.fibers[i]->gave_way = false;
        for (unsigned i = 0; i < warps; i++)
            while (run_warp(backwards ? warps - 1 - i : i, threads, backwards))
                ;
    }
}

// ---- Arguments ----------------------------------------------------------------------------------

// A struct of more than 16 bytes goes by memory, whatever is in it: one of its size, or of a larger
// one, stands for it. (x86-64 copies it to where the callee looks; others pass its address.)
template <size_t BYTES> struct alignas(64) Parameter {
    char bytes[BYTES];
};

template <size_t BYTES> void call_with(const void *function, const void *args)
{
    ((void (*)(Parameter<BYTES>))function)(*(const Parameter<BYTES> *)args);
}

caller *caller_for(size_t bytes)
{
    return bytes <= 128    ? call_with<128>
           : bytes <= 256  ? call_with<256>
           : bytes <= 512  ? call_with<512>
           : bytes <= 1024 ? call_with<1024>
           : bytes <= 2048 ? call_with<2048>
                           : call_with<4096>;
}

void on_signal(int, siginfo_t *info, void *)
{
    host_die("it touches %s", host_shared_where(info->si_addr));
}

// Bad addresses are told with the kernel's name, while one runs.
struct Signals {
    struct sigaction before[2];
    Signals()
    {
        struct sigaction ours = {};
        ours.sa_sigaction = on_signal;
        ours.sa_flags = SA_SIGINFO | SA_RESETHAND;
        sigaction(SIGSEGV, &ours, &before[0]);
        sigaction(SIGBUS, &ours, &before[1]);
    }
    ~Signals()
    {
        sigaction(SIGSEGV, &before[0], nullptr);
        sigaction(SIGBUS, &before[1], nullptr);
    }
};

}  // namespace

void host_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): ",
            machine.kernel ? machine.kernel->name : "?", host_block_idx.x, host_block_idx.y,
            host_block_idx.z, host_thread_idx.x, host_thread_idx.y, host_thread_idx.z);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    signal(SIGABRT, SIG_DFL);
    abort();
}

HostCopies &host_copies()
{
    return machine.current->copies;
}

void host_grid_wait()
{
    machine.current->grid_waits++;
}

unsigned host_thread()
{
    return machine.current->index;
}

void host_block_together(host_work *work)
{
    machine.block.work = work;
    wait_at(machine.block);
}

void host_part_together(unsigned part, unsigned count, host_work *work)
{
    Meeting &meeting = machine.parts[part];
    if (meeting.arrived && meeting.alive != count)
        host_die("the barrier of part %u is of %u threads for some and of %u for others", part,
                 meeting.alive, count);
    meeting.alive = count;
    meeting.work = work;
    wait_at(meeting);
}

void host_give_way()
{
    machine.current->gave_way = true;
    if (!_setjmp(machine.current->at))
        _longjmp(machine.scheduler, 1);
}

void host_make_way()
{
    machine.moved = true;
    host_give_way();
}

void host_wait(const HostWait &wait)
{
    Fiber &f = *machine.current;
    machine.meetings++;
    f.barrier = &wait;
    if (!host_wait_over(wait) && !_setjmp(f.at))
        _longjmp(machine.scheduler, 1);
    machine.current->barrier = nullptr;
}

static void together(Meeting &meeting, unsigned place, host_work *work, void *mine)
{
    if (meeting.arrived && meeting.work != work)
        host_die("lanes of a warp do different things together");
    meeting.work = work;
    meeting.brought[place] = mine;
    wait_at(meeting);
}

void host_warp_together(host_work *work, void *mine)
{
    const unsigned i = machine.current->index;
    together(machine.warps[i / WARP], i % WARP, work, mine);
}

void host_group_together(host_work *work, void *mine)
{
    const unsigned i = machine.current->index;
    together(machine.groups[i / GROUP], i % GROUP, work, mine);
}

namespace {

struct Exchange {
    uint64_t bits;
    uint64_t *slots;  // of the warp
};

// Whoever comes to the next exchange is done with the slots of this one.
void show_all(void *const *lanes)
{
    for (unsigned i = 0; i < WARP; i++)
        for (unsigned k = 0; lanes[i] && k < WARP; k++) {
            const Exchange *from = (const Exchange *)lanes[k];
            ((Exchange *)lanes[i])->slots[k] = from ? from->bits : UINT64_MAX;
            if (k + 1 == WARP)
                return;  // all have the same slots
        }
}

}  // namespace

const uint64_t *host_warp_exchange(uint64_t bits)
{
    Exchange e = {bits, warp_slots[machine.current->index / WARP]};
    host_warp_together(show_all, &e);
    return e.slots;
}

static dim3 extents(const uint32_t n[3])
{
    return {n[0] ? n[0] : 1, n[1] ? n[1] : 1, n[2] ? n[2] : 1};
}

double host_cuda_run(const osp_gpu_kernel *kernel, const void *args, size_t args_bytes,
                     const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes)
{
    const std::lock_guard<std::mutex> guard(lock);
    alignas(64) char copy[ARGS_MAX] = {};
    const dim3 all = host_grid_dim = extents(grid);
    host_block_dim = extents(block);
    machine.kernel = kernel;
    const unsigned threads = host_block_dim.x * host_block_dim.y * host_block_dim.z;
    if (args_bytes <= 16 || args_bytes > ARGS_MAX || threads > THREADS_MAX)
        host_die("%zu bytes of arguments, %u threads a block", args_bytes, threads);
    memcpy(copy, args, args_bytes);
    machine.args = copy;
    machine.call = caller_for(args_bytes);
    const Signals signals;
    host_checks_launch();
    host_shared_launch(kernel->function, shared_bytes);
    unsigned turn = machine.launches++;
    machine.meetings = 0;
    const uint64_t blocks = (uint64_t)all.x * all.y * all.z;
    const bool last_first = turn / 2 % 2;
    for (uint64_t i = 0; i < blocks; i++, turn++) {
        const uint64_t block = last_first ? blocks - 1 - i : i;
        host_block_idx = {(unsigned)(block % all.x), (unsigned)(block / all.x % all.y),
                          (unsigned)(block / all.x / all.y)};
        host_shared_block();
        host_checks_block((unsigned)block);
        host_races_block(threads);
        run_block(threads, turn % 2);
        host_tma_block_end();
        host_shared_block_end();
    }
    host_shared_launch_end();
    // As if a thousand threads went on at a time, a nanosecond each step.
    return 1 + ((double)machine.meetings + (double)threads * (double)blocks) * 1e-6;
}
