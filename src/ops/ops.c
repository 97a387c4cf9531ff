// The registry: ops.def as a table of descriptors. Thread rule: const data only.
#include <string.h>

#include "ops/op.h"

#define OSP_OP(name) extern const osp_op osp_op_##name;
#include "ops/ops.def"
#undef OSP_OP

static const osp_op *const table[] = {
#define OSP_OP(name) &osp_op_##name,
#include "ops/ops.def"
#undef OSP_OP
};

enum { COUNT = sizeof table / sizeof table[0] };

const osp_op *osp_op_find(const char *domain, const char *type)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(table[i]->type, type) == 0 && strcmp(table[i]->domain, domain) == 0)
            return table[i];
    return NULL;
}

size_t osp_op_count(void)
{
    return COUNT;
}

const osp_op *osp_op_at(size_t i)
{
    return i < COUNT ? table[i] : NULL;
}
