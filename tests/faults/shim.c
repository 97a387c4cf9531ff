// The counter behind the stubs of shim.S, and what each failing call returns.
#include "shim.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

static atomic_uint_fast64_t calls, target;
static atomic_bool armed;
static _Atomic(const char *) failed;

typedef struct wrapped {
    const char *name;
    intptr_t result;
    int error;
    bool jpeg;
} wrapped;

static const wrapped table[] = {
#define WRAP(name, result, error) {#name, (intptr_t)(result), (error), false},
#define JPEG(name) {#name, 0, 0, true},
#include "wrapped.def"
#undef WRAP
#undef JPEG
};

void shim_arm(uint64_t nth)
{
    atomic_store(&calls, 0);
    atomic_store(&target, nth);
    atomic_store(&failed, NULL);
    atomic_store(&armed, true);
}

void shim_disarm(void)
{
    atomic_store(&armed, false);
}

uint64_t shim_calls(void)
{
    return atomic_load(&calls);
}

const char *shim_failed(void)
{
    return atomic_load(&failed);
}

// Asked by every stub: 0 lets the call through; 1 fails it with *result.
int shim_step(uint32_t index, void *first_argument, intptr_t *result)
{
    if (!atomic_load(&armed) || atomic_fetch_add(&calls, 1) + 1 != atomic_load(&target))
        return 0;
    const wrapped *w = table + index;
    atomic_store(&failed, w->name);
    if (w->jpeg) {
        j_common_ptr jpeg = first_argument;
        jpeg->err->msg_code = 1;
        jpeg->err->error_exit(jpeg);  // does not come back
    }
    if (w->error)
        errno = w->error;
    *result = w->result;
    return 1;
}
