// SHA-256 (FIPS 180-4), where a checksum must hold against somebody who wants it to match.
// Thread rule: no state.
#ifndef OSP_BASE_SHA256_H
#define OSP_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

void osp_sha256(const void *data, size_t size, uint8_t digest[32]);

#endif
