// The loops around the register tiles: which pixels, which output channels, which thread.
#include "backends/cpu/direct.h"

#include <string.h>

const char *osp_direct_refuse(const osp_direct *d)
{
    const int64_t taps = d->kh * d->kw * (d->planar ? d->ic : 1);
    if (taps > OSP_DIRECT_MAX_TAPS)
        return "the window has too many taps for the direct kernel";
    return NULL;
}

// The tile that wastes least: channels are padded to whole tiles of `vectors`.
static const osp_conv_kernel *choose_kernel(const osp_simd *simd, int64_t oc)
{
    const osp_conv_kernel *best = NULL;
    const int64_t vectors = (oc + simd->lanes - 1) / simd->lanes;
    float best_cost = 0;
    for (int32_t i = 0; i < OSP_CONV_KERNELS; i++) {
        const osp_conv_kernel *k = simd->conv + i;
        if (!k->run)
            continue;
        const int64_t padded = (vectors + k->vectors - 1) / k->vectors * k->vectors;
        const float cost = (float)padded / k->speed;
        if (!best || cost < best_cost) {
            best = k;
            best_cost = cost;
        }
    }
    return best;
}

osp_status osp_direct_settle(osp_direct *d, osp_context *ctx, const osp_simd *simd, osp_error *err)
{
    d->simd = simd;
    d->kernel = choose_kernel(simd, d->oc);
    d->tap_ic = d->planar ? 1 : (int32_t)d->ic;
    d->taps = (int32_t)(d->kh * d->kw * (d->planar ? d->ic : 1));
    const int64_t width = d->kernel->vectors * simd->lanes;
    d->blocks = (d->oc + width - 1) / width;
    d->block_floats = width * (1 + (int64_t)d->taps * d->tap_ic);
    int32_t t = 0;
    for (int64_t c = 0; c < (d->planar ? d->ic : 1); c++)
        for (int64_t ky = 0; ky < d->kh; ky++)
            for (int64_t kx = 0; kx < d->kw; kx++)
                d->offsets[t++] = d->planar ? (c * d->ih + ky * d->dh) * d->iw + kx * d->dw
                                            : (ky * d->dh * d->iw + kx * d->dw) * d->src_pitch;
    d->zeros = osp_mem_calloc(&ctx->mem, (size_t)d->tap_ic, sizeof(float));
    if (!d->zeros)
        OSP_FAIL_MEMORY(err);
    return OSP_OK;
}

void osp_direct_pack(const osp_direct *d, const float *weights, const int64_t steps[2],
                     const float *bias, float *packed, int64_t first, int64_t last)
{
    const int64_t width = d->kernel->vectors * d->simd->lanes;
    const int64_t spatial = d->kh * d->kw;
    for (int64_t b = first; b < last; b++) {
        float *to = packed + b * d->block_floats;
        const int64_t o = b * width, valid = osp_i64_min(width, d->oc - o);
        memset(to, 0, (size_t)d->block_floats * sizeof *to);
        for (int64_t k = 0; bias && k < valid; k++)
            to[k] = bias[o + k];
        for (int64_t t = 0; t < d->taps; t++)
            for (int64_t i = 0; i < d->tap_ic; i++) {
                to += width;
                const int64_t c = d->planar ? t / spatial : i;
                const int64_t tap = d->planar ? t % spatial : t;
                const float *from = weights + o * steps[0] + c * steps[1] + tap;
                if (steps[0] == 1)
                    memcpy(to, from, (size_t)valid * sizeof *to);
                else
                    for (int64_t k = 0; k < valid; k++)
                        to[k] = from[k * steps[0]];
            }
    }
}

typedef struct job {
    const osp_direct *d;
    const float *src, *packed, *add;
    float *dst;
    int64_t pixels, tiles, chunk;
} job;

// Pointers of one tile.
typedef struct pointers {
    const float *src[OSP_DIRECT_MAX_TAPS * OSP_CONV_MAX_ROWS];
    float *dst[OSP_CONV_MAX_ROWS];
    const float *add[OSP_CONV_MAX_ROWS];
    int64_t iy[OSP_CONV_MAX_ROWS], ix[OSP_CONV_MAX_ROWS];
} pointers;

// Where each pixel of the tile reads and writes; true if all windows are inside the source. Pixels
// past the end repeat the last one: they compute and store the same once more.
static bool place_tile(const job *j, pointers *t, int64_t first)
{
    const osp_direct *d = j->d;
    const int64_t image = d->oh * d->ow;
    int64_t n = first / image, y = first % image / d->ow, x = first % d->ow;
    const int64_t image_floats = d->planar ? d->ic * d->ih * d->iw : d->ih * d->iw * d->src_pitch;
    const int64_t step = d->planar ? 1 : d->src_pitch;
    const int64_t y_end = d->ih - (d->kh - 1) * d->dh, x_end = d->iw - (d->kw - 1) * d->dw;
    bool inside = true;
    for (int32_t m = 0; m < d->kernel->rows; m++) {
        const int64_t iy = y * d->sh - d->ph, ix = x * d->sw - d->pw;
        const int64_t pixel = (n * d->oh + y) * d->ow + x;
        t->iy[m] = iy;
        t->ix[m] = ix;
        // Kept as an offset: outside the source it is no address.
        t->src[m] = (const float *)((uintptr_t)j->src +
                                    (uintptr_t)(n * image_floats + (iy * d->iw + ix) * step) *
                                        sizeof(float));
        t->dst[m] = j->dst + pixel * d->dst_pitch;
        t->add[m] = j->add ? j->add + pixel * d->add_pitch : NULL;
        inside &= iy >= 0 && ix >= 0 && iy < y_end && ix < x_end;
        if (pixel + 1 == j->pixels)
            continue;
        if (++x == d->ow) {
            x = 0;
            if (++y == d->oh) {
                y = 0;
                n++;
            }
        }
    }
    return inside;
}

// For a tile at a border: a pointer for each tap and pixel, to zeros where it is in the padding.
static void place_taps(const osp_direct *d, pointers *t)
{
    const int32_t rows = d->kernel->rows;
    for (int32_t k = d->taps - 1; k >= 0; k--) {  // downwards: row 0 holds the bases
        const int64_t spatial = d->planar ? k % (d->kh * d->kw) : k;
        const int64_t dy = spatial / d->kw * d->dh, dx = spatial % d->kw * d->dw;
        const uintptr_t offset = (uintptr_t)d->offsets[k] * sizeof(float);
        for (int32_t m = 0; m < rows; m++) {
            const bool inside = (uint64_t)(t->iy[m] + dy) < (uint64_t)d->ih &&
                                (uint64_t)(t->ix[m] + dx) < (uint64_t)d->iw;
            t->src[k * rows + m] = inside ? (const float *)((uintptr_t)t->src[m] + offset)
                                          : d->zeros;
        }
    }
}

static const int64_t no_offsets[OSP_DIRECT_MAX_TAPS];

// Tiles are taken in chunks, and in a chunk all of one block of output channels first, so that a
// block's weights stay in the inner caches for several tiles and the chunk's source for all blocks.
static void run_items(void *user, int32_t thread, int64_t begin, int64_t end)
{
    (void)thread;
    const job *j = user;
    const osp_direct *d = j->d;
    const int64_t width = d->kernel->vectors * d->simd->lanes;
    pointers t;
    osp_conv_tile tile = {.src = t.src,
                          .taps = d->taps,
                          .ic = d->tap_ic,
                          .add = j->add ? t.add : NULL,
                          .dst = t.dst,
                          .act = d->act,
                          .alpha = d->alpha,
                          .beta = d->beta,
                          .add_first = d->add_first};
    for (int64_t i = begin; i < end; i++) {
        const int64_t chunk = i / (j->chunk * d->blocks), first = chunk * j->chunk;
        const int64_t size = osp_i64_min(j->chunk, j->tiles - first);
        const int64_t in_chunk = i - first * d->blocks;
        const int64_t block = in_chunk / size, at = first + in_chunk % size;
        const bool inside = place_tile(j, &t, at * d->kernel->rows);
        if (!inside)
            place_taps(d, &t);
        tile.src_step = inside ? 0 : d->kernel->rows;
        tile.offsets = inside ? d->offsets : no_offsets;
        tile.bias = j->packed + block * d->block_floats;
        tile.weights = tile.bias + width;
        tile.valid = (int32_t)osp_i64_min(width, d->oc - block * width);
        for (int32_t m = 0; m < d->kernel->rows; m++) {
            t.dst[m] += block * width;
            if (j->add)
                t.add[m] += block * width;
        }
        d->kernel->run(&tile);
    }
}

void osp_direct_run(const osp_direct *d, const float *src, const float *packed, const float *add,
                    float *dst, osp_threads threads)
{
    job j = {.d = d, .src = src, .packed = packed, .add = add, .dst = dst};
    j.pixels = d->n * d->oh * d->ow;
    if (!j.pixels || !d->oc)
        return;
    j.tiles = (j.pixels + d->kernel->rows - 1) / d->kernel->rows;
    j.chunk = 16;
    const double flops = 2.0 * (double)d->kernel->rows * (double)d->kernel->vectors *
                         (double)d->simd->lanes * (double)d->taps * (double)d->tap_ic;
    osp_cpu_parallel(threads, j.tiles * d->blocks, flops / 100, run_items, &j);
}
