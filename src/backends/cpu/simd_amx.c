// Products of bfloat16 blocks by AMX tiles: sums in tiles 0 to 3, positions in 4 and 5, weights in
// 6 and 7. Nothing else of the library may use tiles between begin and end.
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/cpu/bf16.h"

// The system saves the tiles of a process only once it has asked for them (Linux 5.16).
enum { GET_PERMISSION = 0x1022, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };

static bool may_use_tiles(void)
{
    unsigned long permitted = 0;
    if (syscall(SYS_arch_prctl, GET_PERMISSION, &permitted) == 0 && permitted >> TILE_DATA & 1)
        return true;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static const char *refuse(void)
{
    unsigned a, b, c, d;
    if (!osp_cpu_has_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) ||
        !(d >> 24 & 1))
        return "the processor lacks AMX tiles";
    return may_use_tiles() ? NULL : "the system does not grant AMX tiles";
}

static void begin(int32_t depth)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int32_t i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    for (int32_t i = 4; i < 6; i++)
        config.row_bytes[i] = (uint16_t)(2 * depth);
    for (int32_t i = 6; i < 8; i++)
        config.rows[i] = (uint8_t)(depth / 2);
    // By hand: GCC 12's _tile_loadconfig tells the compiler of the first eight bytes alone.
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

static void end(void)
{
    _tile_release();
}

// The tile instructions do not tell the compiler what memory they read.
#define SETTLE_MEMORY() __asm__ volatile("" ::: "memory")

static inline __attribute__((always_inline)) void two_columns(const osp_bf16_product *p, bool two)
{
    const char *w = (const char *)p->weights;
    const int64_t block = 32 * p->depth, down = 16 * p->src_step;
    SETTLE_MEMORY();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < p->steps; s++, w += 2 * block) {
        const char *a = p->src + p->offsets[s];
        _tile_loadd(6, w, 64);
        _tile_loadd(4, a, p->src_step);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, w + block, 64);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
            _tile_loadd(5, a + down, p->src_step);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, p->sums, 128);
    _tile_stored(1, p->sums + 16, 128);
    if (two) {
        _tile_stored(2, p->sums + 16 * 32, 128);
        _tile_stored(3, p->sums + 16 * 32 + 16, 128);
    }
    SETTLE_MEMORY();
}

static inline __attribute__((always_inline)) void one_column(const osp_bf16_product *p,
                                                             int32_t rows)
{
    const char *w = (const char *)p->weights;
    const int64_t block = 32 * p->depth, down = 16 * p->src_step;
    SETTLE_MEMORY();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < p->steps; s++, w += block) {
        const char *a = p->src + p->offsets[s];
        _tile_loadd(6, w, 64);
        _tile_loadd(4, a, p->src_step);
        _tile_dpbf16ps(0, 4, 6);
        if (rows > 1) {
            _tile_loadd(5, a + down, p->src_step);
            _tile_dpbf16ps(1, 5, 6);
        }
        if (rows > 2) {
            _tile_loadd(4, a + 2 * down, p->src_step);
            _tile_dpbf16ps(2, 4, 6);
        }
        if (rows > 3) {
            _tile_loadd(5, a + 3 * down, p->src_step);
            _tile_dpbf16ps(3, 5, 6);
        }
    }
    _tile_stored(0, p->sums, 64);
    if (rows > 1)
        _tile_stored(1, p->sums + 16 * 16, 64);
    if (rows > 2)
        _tile_stored(2, p->sums + 2 * 16 * 16, 64);
    if (rows > 3)
        _tile_stored(3, p->sums + 3 * 16 * 16, 64);
    SETTLE_MEMORY();
}

static void product(const osp_bf16_product *p, int32_t rows, int32_t columns)
{
    if (columns == 2 && rows == 2)
        two_columns(p, true);
    else if (columns == 2)
        two_columns(p, false);
    else if (rows == 4)
        one_column(p, 4);
    else if (rows == 3)
        one_column(p, 3);
    else if (rows == 2)
        one_column(p, 2);
    else
        one_column(p, 1);
}

const osp_bf16_engine osp_bf16_amx = {refuse, begin, product, end};
