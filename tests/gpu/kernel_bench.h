// Times of the kernels at the sizes that matter, printed: us and GB/s.
#ifndef OSP_TESTS_KERNEL_BENCH_H
#define OSP_TESTS_KERNEL_BENCH_H

#include "kernel_cases.h"

void kernel_bench(kernel_test *t);

#endif
