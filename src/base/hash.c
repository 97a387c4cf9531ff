// XXH3 of xxHash, compiled in from its header, so that nothing is linked for it.
// Thread rule: no state.
#include "base/hash.h"

#define XXH_INLINE_ALL
#define XXH_FORCE_MEMORY_ACCESS 0  // memcpy: data from files may lie at any address
#include <xxhash.h>

uint64_t osp_hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(size ? data : "", size, seed);
}
