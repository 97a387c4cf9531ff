// Which kernels ran, and the smallest problem that launched each: stands between the device's table of
// calls and its users. Thread rule: one thread; the bench outlives it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/problem.h"
#include "gpu/gpu_calls.h"
#include "ops_run.h"

enum { MOST_KERNELS = 1024 };

typedef struct seen {
    const char *name;
    char *text;  // of the problem
    double cost;
} seen;

static const osp_gpu_calls *inner;
static osp_gpu_calls outer;
static const bench *watched;
static seen kernels[MOST_KERNELS];
static size_t count;

static void note(const osp_gpu_kernel *kernel)
{
    char text[OSP_PROBLEM_TEXT_BYTES];
    double flops, bytes;
    size_t i = 0;
    while (i < count && strcmp(kernels[i].name, kernel->name) != 0)
        i++;
    if (i == MOST_KERNELS)
        fatal("more kernels than there is room for");
    osp_problem_cost(watched->problem, &flops, &bytes);
    if (i < count && flops + bytes >= kernels[i].cost)
        return;
    if (osp_problem_print(watched->problem, text, sizeof text) >= sizeof text)
        return;
    count += i == count;
    free(kernels[i].text);
    kernels[i] = (seen){kernel->name, strdup(text), flops + bytes};
}

static int launch(void *user, const osp_gpu_kernel *kernel, const osp_gpu_shape *shape,
                  const void *args, size_t args_bytes, void *stream)
{
    note(kernel);
    return inner->launch(user, kernel, shape, args, args_bytes, stream);
}

void ops_kernels_watch(bench *b)
{
    watched = b;
    inner = b->ctx.gpu_calls ? b->ctx.gpu_calls : osp_gpu_calls_real();
    outer = *inner;
    outer.launch = launch;
    b->ctx.gpu_calls = &outer;
}

// Tactics that the backend lists and that ran no problem are printed; returns how many. Operators whose
// inputs decide shapes alone (Range, ConstantOfShape, Shape) are folded before any tactic meets them.
size_t ops_tactics_missing(const bench *b)
{
    size_t missing = 0;
    for (size_t i = 0; i < osp_op_count(); i++)
        for (const osp_tactic *const *t = osp_backend_cuda.tactics(osp_op_at(i)); *t; t++) {
            size_t k = 0;
            while (k < b->tactic_count && b->tactics[k] != *t)
                k++;
            if (k < b->tactic_count || osp_op_at(i)->shape_only || osp_op_at(i)->shape_inputs & 1)
                continue;
            printf("NOT RUN %s of %s\n", (*t)->name, osp_op_at(i)->type);
            missing++;
        }
    return missing;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const seen *)a)->name, ((const seen *)b)->name);
}

bool ops_kernels_write(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return false;
    qsort(kernels, count, sizeof *kernels, by_name);
    for (size_t i = 0; i < count; i++) {
        fprintf(f, "%s %s\n", kernels[i].name, kernels[i].text);
        free(kernels[i].text);
    }
    return !fclose(f);
}
