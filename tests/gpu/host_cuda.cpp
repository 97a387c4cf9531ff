// Runs kernels that the host compiler made: blocks one after the other, the threads of a block as
// fibers that take turns at barriers and warp exchanges. See host/cuda_fp16.h.
#include "host_cuda.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdlib>
#include <functional>
#include <mutex>
#include <vector>

#include "cuda_fp16.h"
#include "gpu/gpu_kernels.h"

host_dim host_thread_idx, host_block_idx;

namespace {

constexpr size_t STACK_BYTES = 64 * 1024;

// All that must arrive before any goes on; those that have returned no longer count.
struct Barrier {
    unsigned alive = 0, arrived = 0, generation = 0;

    void release_if_all()
    {
        if (alive && arrived == alive) {
            arrived = 0;
            generation++;
        }
    }
};

struct Warp {
    Barrier barrier;
    uint64_t slots[2][32] = {};  // two, so that a fast lane does not overwrite what a slow one reads
};

// Switching by _setjmp, which makes no system call; the ucontext only starts a fiber on its stack.
struct Fiber {
    ucontext_t context;
    jmp_buf at;
    bool started = false;
    const Barrier *waits = nullptr;
    unsigned generation = 0;
    bool done = false;
    unsigned index = 0, exchanges = 0;
};

struct Block {
    std::function<void()> body;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Barrier barrier;
    ucontext_t start;
    jmp_buf scheduler;
    Fiber *current = nullptr;
};

Block *running;
std::mutex lock;
std::vector<char> stacks;

void wait_at(Barrier &barrier)
{
    Fiber &f = *running->current;
    const unsigned generation = barrier.generation;
    barrier.arrived++;
    barrier.release_if_all();
    if (barrier.generation != generation)
        return;
    f.waits = &barrier;
    f.generation = generation;
    if (!_setjmp(f.at))
        _longjmp(running->scheduler, 1);
}

void fiber_main()
{
    Block &b = *running;
    b.body();
    Fiber &f = *b.current;
    f.done = true;
    Warp &w = b.warps[f.index / 32];
    w.barrier.alive--;
    w.barrier.release_if_all();
    b.barrier.alive--;
    b.barrier.release_if_all();
    _longjmp(b.scheduler, 1);
}

void resume(Block &b, Fiber &f)
{
    b.current = &f;
    host_thread_idx = {f.index, 0, 0};
    if (_setjmp(b.scheduler))
        return;
    if (f.started)
        _longjmp(f.at, 1);
    f.started = true;
    swapcontext(&b.start, &f.context);
}

void run_block(Block &b, unsigned threads)
{
    b.fibers = std::vector<Fiber>(threads);
    b.warps = std::vector<Warp>((threads + 31) / 32);
    b.barrier = Barrier{threads, 0, 0};
    if (stacks.size() < threads * STACK_BYTES)
        stacks.resize(threads * STACK_BYTES);
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = b.fibers[i];
        f.index = i;
        b.warps[i / 32].barrier.alive++;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks.data() + i * STACK_BYTES;
        f.context.uc_stack.ss_size = STACK_BYTES;
        f.context.uc_link = nullptr;
        makecontext(&f.context, fiber_main, 0);
    }
    for (unsigned left = threads; left;) {
        left = 0;
        for (Fiber &f : b.fibers) {
            if (f.done)
                continue;
            left++;
            if (f.waits && f.waits->generation == f.generation)
                continue;
            f.waits = nullptr;
            resume(b, f);
        }
    }
}

template <typename Args>
void run_grid(const osp_gpu_kernel *kernel, const void *args, const uint32_t grid[3],
              const uint32_t block[3])
{
    const auto function = (void (*)(Args))kernel->function;
    const Args &typed = *(const Args *)args;
    Block b;
    b.body = [&] { function(typed); };
    running = &b;
    for (unsigned z = 0; z < (grid[2] ? grid[2] : 1); z++)
        for (unsigned y = 0; y < (grid[1] ? grid[1] : 1); y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                host_block_idx = {x, y, z};
                run_block(b, block[0]);
            }
    running = nullptr;
}

}  // namespace

void host_block_barrier()
{
    wait_at(running->barrier);
    host_thread_idx = {running->current->index, 0, 0};
}

const uint64_t *host_warp_exchange(uint64_t bits)
{
    Fiber &f = *running->current;
    Warp &w = running->warps[f.index / 32];
    uint64_t *slots = w.slots[f.exchanges++ % 2];
    slots[f.index % 32] = bits;
    wait_at(w.barrier);
    return slots;
}

bool host_cuda_run(const osp_gpu_kernel *kernel, const void *args, const uint32_t grid[3],
                   const uint32_t block[3])
{
    const std::lock_guard<std::mutex> guard(lock);
    if (!strncmp(kernel->name, "letterbox_", 10))
        run_grid<osp_letterbox_args>(kernel, args, grid, block);
    else if (!strncmp(kernel->name, "boxes_", 6))
        run_grid<osp_boxes_args>(kernel, args, grid, block);
    else
        return false;
    return true;
}
