// See trust.h. The digests of plans built here are kept in a ring: the oldest goes first.
#include "engine/trust.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"

void osp_trust_built(osp_runtime *runtime, osp_bytes plan)
{
    uint8_t digest[32];
    osp_sha256(plan.data, plan.size, digest);
    osp_trust_list *list = &runtime->trusted;
    pthread_mutex_lock(&list->lock);
    memcpy(list->digest[list->count++ % OSP_TRUSTED_PLANS], digest, sizeof digest);
    pthread_mutex_unlock(&list->lock);
}

static bool built_here(osp_runtime *runtime, osp_bytes plan)
{
    uint8_t digest[32];
    osp_trust_list *list = &runtime->trusted;
    pthread_mutex_lock(&list->lock);
    uint64_t count = list->count < OSP_TRUSTED_PLANS ? list->count : OSP_TRUSTED_PLANS;
    pthread_mutex_unlock(&list->lock);
    if (!count)
        return false;  // without the cost of a digest
    osp_sha256(plan.data, plan.size, digest);
    bool found = false;
    pthread_mutex_lock(&list->lock);
    for (uint64_t i = 0; i < count; i++)
        found |= !memcmp(list->digest[i], digest, sizeof digest);
    pthread_mutex_unlock(&list->lock);
    return found;
}

static bool is_private(const char *dir)
{
    struct stat info;
    return dir && stat(dir, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
           (info.st_mode & 0777) == 0700;
}

osp_status osp_trust_check(osp_runtime *runtime, osp_bytes plan, osp_switch trust,
                           const char *private_dir, osp_error *err)
{
    if (trust == OSP_ON || is_private(private_dir) || built_here(runtime, plan))
        return OSP_OK;
    if (private_dir)
        OSP_FAIL(err, OSP_ERROR_UNTRUSTED,
                 "TensorRT treats a plan as code, and others can write into the folder: make it "
                 "yours with mode 0700, or vouch for the plan (trust = OSP_ON, --trust)");
    OSP_FAIL(err, OSP_ERROR_UNTRUSTED,
             "TensorRT treats a plan as code: open it only if you know who made it, with trust = "
             "OSP_ON (--trust)");
}
