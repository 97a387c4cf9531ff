// Products of warpgroups in host memory, by the last thread of a group for all of them. Descriptors and
// fragments are those of the PTX manual, "Asynchronous warpgroup level matrix multiply-accumulate".
//
// A product is worked out when it is issued, from what shared memory holds then, and added to the sums
// when it is waited for, if its operands are still the same: both a copy that was not waited for and one
// that comes too early show.
#include "host/host_wgmma.h"

#include <deque>
#include <memory>

#include "host/host_ptx.h"
#include "host_internal.h"

namespace {

constexpr int LANES = 128, M = 64, K = 16;
constexpr unsigned THREADS_MAX = 1024;

// One product of a group, shared by its threads.
struct Done {
    int n;
    uint64_t a, b;
    std::vector<uint16_t> operands;  // A, then B, as they were read
    std::vector<float> result;       // [M][n]
};

struct Pending {
    float *sums;
    std::shared_ptr<Done> done;
};

// What a thread has under way.
struct Thread {
    std::deque<Pending> pending;
    std::deque<size_t> groups;  // products of each committed one
    size_t open = 0;            // products that are not committed
    bool begun = false;
    dim3 block = {};
};
Thread threads[THREADS_MAX];

Thread &self()
{
    Thread &t = threads[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
    if (memcmp(&t.block, &blockIdx, sizeof t.block) != 0) {
        if (!t.pending.empty())
            host_die("a thread ended with products that nobody waited for");
        t.block = blockIdx;
    }
    return t;
}

unsigned first_of_group()
{
    return host_thread() / LANES * LANES;
}

// Rows of 16 halves, 128-byte swizzle: bits 4 to 6 of an address are turned by its bits 7 to 9.
void read_operand(uint64_t descriptor, int rows, bool first, uint16_t *out)
{
    const uint32_t start = (uint32_t)(descriptor & 0x3FFF) << 4;
    const uint32_t step = (uint32_t)(descriptor >> 32 & 0x3FFF) << 4;  // between groups of 8 rows
    if (descriptor >> 62 != 1 || descriptor >> 49 & 7)
        host_die("descriptor 0x%llx is not of the 128-byte swizzle without an offset",
                 (unsigned long long)descriptor);
    for (int r = 0; r < rows; r++)
        for (uint32_t half = 0; half < K; half += 8) {
            uint32_t at = start + (uint32_t)(r / 8) * step + (uint32_t)(r % 8) * 128 + half * 2;
            at ^= (at >> 7 & 7) << 4;
            const void *const from = host_shared_at(at, 16, 16);
            host_race_products(from, 16, first_of_group(), !first);
            memcpy(out + r * K + half, from, 16);
        }
}

// `first`: when they are issued, which is when others must not have written them since a barrier.
std::vector<uint16_t> read_operands(const Done &d, bool first)
{
    std::vector<uint16_t> out((size_t)(M + d.n) * K);
    read_operand(d.a, M, first, out.data());
    read_operand(d.b, d.n, first, out.data() + M * K);
    return out;
}

struct Product {
    Thread *thread;
    float *sums;
    int n;
    uint64_t a, b;
};

void multiply_all(void *const *lanes)
{
    const Product *first = (const Product *)lanes[0];
    for (int i = 0; i < LANES; i++) {
        const Product *p = (const Product *)lanes[i];
        if (!p)
            host_die("thread %d of the group has returned", i);
        if (p->n != first->n || p->a != first->a || p->b != first->b)
            host_die("threads of a group multiply different operands");
        if (!p->thread->begun)
            host_die("products without a beginning");
    }
    auto d = std::make_shared<Done>();
    d->n = first->n;
    d->a = first->a;
    d->b = first->b;
    d->operands = read_operands(*d, true);
    std::vector<float> values(d->operands.size());
    for (size_t i = 0; i < values.size(); i++)
        values[i] = osp_half_to_float(d->operands[i]);
    d->result.resize((size_t)(M * d->n));
    for (int m = 0; m < M; m++)
        for (int n = 0; n < d->n; n++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += values[(size_t)(m * K + k)] * values[(size_t)((M + n) * K + k)];
            d->result[(size_t)(m * d->n + n)] = sum;
        }
    for (int i = 0; i < LANES; i++) {
        const Product *p = (const Product *)lanes[i];
        p->thread->pending.push_back({p->sums, d});
        p->thread->open++;
    }
}

struct Waiting {
    Thread *thread;
    unsigned left;
};

// Thread i has rows i / 32 * 16 + i % 32 / 4 and 8 further, columns i % 4 * 2 and the next of each 8.
void add(float *sums, const Done &d, int lane)
{
    for (int i = 0; i < d.n / 2; i++) {
        const int row = lane / 32 * 16 + lane % 32 / 4 + i / 2 % 2 * 8;
        const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        sums[i] += d.result[(size_t)(row * d.n + column)];
    }
}

void finish_all(void *const *lanes)
{
    const Waiting *first = (const Waiting *)lanes[0];
    while (first->thread->groups.size() > first->left) {
        const size_t count = first->thread->groups.front();
        for (size_t p = 0; p < count; p++) {
            const Done &d = *first->thread->pending[p].done;
            if (read_operands(d, false) != d.operands)
                host_die("operands of a product were written before it was waited for");
        }
        host_known_share(first_of_group(), LANES);
        for (int i = 0; i < LANES; i++) {
            Thread &t = *((const Waiting *)lanes[i])->thread;
            t.groups.pop_front();
            for (size_t p = 0; p < count; p++) {
                add(t.pending.front().sums, *t.pending.front().done, i);
                t.pending.pop_front();
            }
        }
    }
}

}  // namespace

void host_wgmma_see_shared()
{
    host_race_fence(host_thread());
}

void host_wgmma_begin()
{
    self().begun = true;
}

void host_wgmma(float *sums, int n, uint64_t a, uint64_t b)
{
    Product mine = {&self(), sums, n, a, b};
    host_group_together(multiply_all, &mine);
}

void host_wgmma_commit()
{
    Thread &t = self();
    t.groups.push_back(t.open);
    t.open = 0;
    t.begun = false;
}

void host_wgmma_wait(unsigned left)
{
    Waiting mine = {&self(), left};
    host_group_together(finish_all, &mine);
}
