// What the device in host memory puts into an osp_gpu_tensor_map: see osp_gpu_tiles. Plain C and C++.
// Thread rule: no state.
#ifndef OSP_TESTS_FAKE_TILES_H
#define OSP_TESTS_FAKE_TILES_H

#include "gpu/gpu_types.h"

#define FAKE_TILES_MAGIC UINT64_C(0x746172706d616e21)

enum { FAKE_TILES_RANK_MAX = 5 };

typedef struct fake_tiles {
    uint64_t magic;
    const char *data;
    uint64_t stride[FAKE_TILES_RANK_MAX];  // bytes
    uint32_t last[FAKE_TILES_RANK_MAX];    // the extents less 1
    uint16_t box[FAKE_TILES_RANK_MAX];
    uint8_t step[FAKE_TILES_RANK_MAX];
    uint8_t rank;
} fake_tiles;

#endif
