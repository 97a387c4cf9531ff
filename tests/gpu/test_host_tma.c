// The copy engine and barriers in host memory (host_tma.cpp): what they do, by the cases that a GPU is
// checked with as well; and that each thing a kernel can do wrong ends the program with its words,
// whichever warps run first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_fixture.h"
#include "host_cuda.h"
#include "kernel_cases.h"
#include "tma_kernels.h"

typedef struct fixture {
    fake_gpu fake;
    osp_context ctx;
    osp_gpu_scope scope;
    kernel_test t;
} fixture;

static void open_device(fixture *f)
{
    osp_error err;
    fake_context_open(&f->ctx, &f->fake, host_cuda_run);
    host_cuda_memory(fake_gpu_block, &f->fake);
    f->t = (kernel_test){.ctx = &f->ctx, .quick = true};
    assert_int_equal(osp_gpus_open(&f->ctx, &err), OSP_OK);
    assert_int_equal(osp_gpu_get(&f->ctx, 0, &f->t.gpu, &err), OSP_OK);
    assert_int_equal(osp_gpu_enter(f->t.gpu, &f->scope, &err), OSP_OK);
    assert_int_equal(osp_gpu_stream_open(f->t.gpu, &f->t.stream, &err), OSP_OK);
}

static void close_device(fixture *f)
{
    osp_gpu_stream_close(f->t.gpu, &f->t.stream);
    osp_gpu_leave(f->t.gpu, &f->scope);
    osp_gpus_close(&f->ctx);
    host_cuda_memory(NULL, NULL);
    fake_context_close(&f->ctx, &f->fake);
}

static void test_right(void **state)
{
    (void)state;
    fixture f = {0};
    open_device(&f);
    kernel_cases_tma(&f.t);
    // Each of both in both orders.
    kernel_tma_copy(&f.t, &osp_test_tma_copy[TMA_COPY_NONE]);
    kernel_tma_product(&f.t, &osp_test_tma_product[TMA_NONE]);
    assert_true(f.t.checks > 2 * TMA_SIDE * TMA_SIDE);
    assert_int_equal(f.t.failures, 0);
    close_device(&f);
}

typedef void case_fn(kernel_test *t, const osp_gpu_kernel *kernel);

// Runs a kernel in a process of its own, once another one has run `before` times, each of which turns
// the order of warps around; what that said before it was aborted.
static void die_of(case_fn *run, const osp_gpu_kernel *kernel, int before, char *said, size_t size)
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        fixture f = {0};
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        dup2(ends[1], STDERR_FILENO);
        open_device(&f);
        for (int i = 0; i < before; i++)
            kernel_tma_product(&f.t, &osp_test_tma_product[TMA_NONE]);
        run(&f.t, kernel);
        _exit(0);
    }
    assert_true(child > 0);
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n = 1; n > 0 && length + 1 < size; length += n > 0 ? (size_t)n : 0)
        n = read(ends[0], said + length, size - 1 - length);
    said[length] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("%s went on, and said \"%s\"", kernel->name, said);
}

static void expect_words(case_fn *run, const osp_gpu_kernel *kernel, const char *words)
{
    for (int before = 0; before < 2; before++) {
        char said[1024];
        die_of(run, kernel, before, said, sizeof said);
        if (!strstr(said, kernel->name) || !strstr(said, words))
            fail_msg("%s, order %d: \"%s\"", kernel->name, before, said);
    }
}

static void test_wrong_products(void **state)
{
    static const char *const words[TMA_FAULT_COUNT] = {
        [TMA_READ_EARLY] = "it reads shared memory that the copy engine is to write",
        [TMA_ONE_WAITS] = "of the group has not waited for it",
        [TMA_FILL_EARLY] = "it reads shared memory that the copy engine is to write",
        [TMA_FREE_EARLY] = "it writes shared memory that thread 0 read, with no barrier between",
        [TMA_NEVER_FREE] = "parity 0: 4 of 4 arrivals are missing, and 0 of 0 bytes",
        [TMA_TOO_FEW] = "16384 bytes are on their way for a barrier that expects 8192",
        [TMA_TOO_MANY] = "0 of 1 arrivals are missing, and 16384 of 16512 bytes",
        [TMA_NOT_FENCED] = "not made visible to the copy engine",
        [TMA_NOT_MET] = "barrier",  // read with no barrier between, or not begun
        [TMA_STORED] = "what thread 0 stored was not made visible to products",
        [TMA_STORED_UNDER] = "what thread 1 stored was not made visible to the copy engine",
        [TMA_LEFT] = "the block ends while 16384 bytes are on their way",
        [TMA_TWICE] = "whose 1 arrivals have come, and nobody has waited since",
    };
    (void)state;
    for (int i = TMA_NONE + 1; i < TMA_FAULT_COUNT; i++)
        expect_words(kernel_tma_product, &osp_test_tma_product[i], words[i]);
}

static void test_wrong_copies(void **state)
{
    static const char *const words[TMA_COPY_FAULT_COUNT] = {
        [TMA_COPY_EARLY] = "shared memory that",
        [TMA_COPY_UNSYNCED] = "it writes shared memory that",
        [TMA_COPY_ONE_FREES] = "it writes shared memory that other threads read",
        [TMA_COPY_ODD] = "a tile begins at half 4 of a row",
    };
    (void)state;
    for (int i = TMA_COPY_NONE + 1; i < TMA_COPY_FAULT_COUNT; i++)
        expect_words(kernel_tma_copy, &osp_test_tma_copy[i], words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_products),  // first: no launch has been before
        cmocka_unit_test(test_wrong_copies),
        cmocka_unit_test(test_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
