// 64-bit checksums and content hashes: XXH3 of xxHash (accidents, not attackers).
#ifndef OSP_BASE_HASH_H
#define OSP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t osp_hash64(const void *data, size_t size, uint64_t seed);

#endif
