// What the tactics of the tuned convolution kernels share. A packed block holds weights, bias and the
// table of taps, as the kernel's family wants them. Thread rule: as tactics.
#ifndef OSP_BACKENDS_CUDA_CONV_SHARED_H
#define OSP_BACKENDS_CUDA_CONV_SHARED_H

#include "backends/conv_problem.h"
#include "backends/cuda/conv_kernels.h"
#include "backends/cuda/cuda.h"

enum { OSP_CONV_PACKED_ALIGN = 256, OSP_CONV_CHUNK = 8 };  // channels of 16 bytes

// State of a tactic; released by osp_cuda_release.
typedef struct osp_conv {
    osp_conv_args args;
    const osp_gpu_kernel *kernel;
    osp_gpu_shape shape;
    int64_t rows;             // channels out, padded
    size_t bias_at, taps_at;  // bytes into the packed block
    int64_t tiles;            // of pixels, for persistent blocks; 0: the grid is as it stands
} osp_conv;

static inline size_t osp_conv_aligned(size_t bytes)
{
    return (bytes + OSP_CONV_PACKED_ALIGN - 1) & ~(size_t)(OSP_CONV_PACKED_ALIGN - 1);
}

static inline int64_t osp_conv_up(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

// Why none of the kernels takes it, or NULL: types, chunks of channels, 32-bit offsets; `refuse` also
// reads the problem, `channels_last` also looks at the source.
const char *osp_conv_refuse_numbers(const osp_conv_problem *c);
const char *osp_conv_refuse(const osp_problem *p, osp_conv_problem *c);
const char *osp_conv_refuse_channels_last(const osp_problem *p, osp_conv_problem *c);
// The same for kernels of warpgroups, of `bn` channels out a block.
const char *osp_conv_refuse_warpgroups(const osp_problem *p, const osp_gpu_kernel *kernel,
                                       int64_t bn, osp_conv_problem *c);
// Their tactics' refuse_device.
const char *osp_conv_refuse_device_wgmma(const osp_device_info *device);

// The arguments but for addresses and what a family of kernels works out for itself.
void osp_conv_args_of(const osp_conv_problem *c, osp_conv_args *out);
// A state with its arguments but for addresses, kernel and shape. MEMORY.
osp_status osp_conv_make(const osp_problem *p, osp_context *ctx, osp_conv **out,
                         osp_conv_problem *c, osp_error *err);
// An osp_tactic's launch; the other with a kernel of the caller's choice.
osp_status osp_conv_launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err);
osp_status osp_conv_launch_kernel(const osp_problem *p, const osp_conv *s,
                                  const osp_gpu_kernel *kernel, const osp_launch *l,
                                  osp_error *err);
// Blocks that make `tiles` one after the other, at most `most` of them, with equally many each, about.
uint32_t osp_conv_even_blocks(int64_t tiles, int64_t most);
// The bias of `oc` channels in float32; nothing where there is none.
void osp_conv_pack_bias(const osp_problem *p, const void *const *src, float *out, int64_t oc);

// A tactic's refuse and prepare, refuse_CONFIG and prepare_CONFIG, from those of its kind that take the
// config as well. Two steps, so that CONFIG is the name and no longer the macro.
#define OSP_CONV_WRAP(KIND, CONFIG) OSP_CONV_WRAP_(KIND, CONFIG)
#define OSP_CONV_WRAP_(KIND, CONFIG)                                                               \
    static const char *refuse_##CONFIG(const osp_problem *p)                                       \
    {                                                                                              \
        return refuse_##KIND(p, &CONFIG);                                                          \
    }                                                                                              \
    static osp_status prepare_##CONFIG(const osp_problem *p, osp_context *ctx, int32_t threads,    \
                                       void **state, osp_tactic_sizes *sizes, osp_error *err)      \
    {                                                                                              \
        (void)threads;                                                                             \
        return prepare_##KIND(p, ctx, &CONFIG, state, sizes, err);                                 \
    }

#endif
