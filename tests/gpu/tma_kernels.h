// Two small kernels on bulk copies (backends/cuda/tma.cuh): what cases_tma.c checks on a GPU and in host
// memory, and what test_host_tma.c does wrong on purpose. Plain C and C++. Thread rule: no state.
#ifndef OSP_TESTS_TMA_KERNELS_H
#define OSP_TESTS_TMA_KERNELS_H

#include "gpu/gpu_types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TMA_TILES_MOST = 8, TMA_ROW_HALVES = 64, TMA_SIDE = 64 };

// Loads tiles one after the other to the same place in shared memory; two warps write each to `out` as
// plain rows of 64 halves. One block of 64 threads; shared memory: at + rows * 128 bytes.
typedef struct tma_copy_args {
    osp_gpu_tensor_map map;
    void *out;  // [warps][tiles][rows][64]
    int32_t corner[TMA_TILES_MOST][4];
    int32_t tiles, rank, rows, at;  // rank 2 or 4; at: a multiple of 128
} tma_copy_args;

enum { TMA_COPY_WARPS = 2, TMA_COPY_THREADS = TMA_COPY_WARPS * 32 };

// out = A * B^T, 64 x 64 from 64 * steps halves of each row: a warp fills a ring, a warpgroup multiplies.
// One block of 160 threads; shared memory: TMA_PRODUCT_SHARED bytes.
typedef struct tma_product_args {
    osp_gpu_tensor_map a, b;  // boxes of 64 x 64
    float *out;
    int32_t steps;
} tma_product_args;

enum { TMA_STAGES = 2, TMA_TILE_BYTES = TMA_SIDE * 128, TMA_PRODUCT_THREADS = 160 };
enum { TMA_PRODUCT_SHARED = TMA_STAGES * 2 * TMA_TILE_BYTES };

// X(what is wrong): on a GPU there is none but NONE.
#define TMA_COPY_FAULTS(X)                                                                         \
    X(COPY_NONE)                                                                                   \
    X(COPY_EARLY)     /* threads read before they wait */                                          \
    X(COPY_UNSYNCED)  /* one lane frees the tile, and others may still read it */                  \
    X(COPY_ONE_FREES) /* one warp frees it, and the other may */                                   \
    X(COPY_ODD)       /* a tile begins between chunks of 16 bytes */
#define TMA_FAULTS(X)                                                                              \
    X(NONE)                                                                                        \
    X(READ_EARLY)   /* products do not wait for their operands */                                  \
    X(ONE_WAITS)    /* one thread of the group does */                                             \
    X(FILL_EARLY)   /* the ring does not wait until a stage is free */                             \
    X(FREE_EARLY)   /* a stage is free while products read it */                                   \
    X(NEVER_FREE)   /* no stage becomes free */                                                    \
    X(TOO_FEW)      /* fewer bytes are expected than come */                                       \
    X(TOO_MANY)     /* more */                                                                     \
    X(NOT_FENCED)   /* the copy engine cannot see the barriers */                                  \
    X(NOT_MET)      /* other threads cannot */                                                     \
    X(STORED)       /* a thread stores an operand, and products read it with no fence between */   \
    X(STORED_UNDER) /* a thread stores where the copy engine then writes */                        \
    X(LEFT)         /* the block ends while copies are on their way */                             \
    X(TWICE)        /* a stage is filled again before anybody waited for it */

#define TMA_FAULT_NAME(NAME) TMA_##NAME,
typedef enum tma_fault { TMA_FAULTS(TMA_FAULT_NAME) TMA_FAULT_COUNT } tma_fault;
typedef enum tma_copy_fault { TMA_COPY_FAULTS(TMA_FAULT_NAME) TMA_COPY_FAULT_COUNT } tma_copy_fault;
#undef TMA_FAULT_NAME

extern const osp_gpu_kernel osp_test_tma_copy[];
extern const osp_gpu_kernel osp_test_tma_product[];

#ifdef __cplusplus
}
#endif

#endif
