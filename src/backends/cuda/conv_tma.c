// The tactics of the convolutions whose operands the copy engine brings: conv_tma.h. A packed block
// holds the weights, then the bias. What the engine knows of source and weights is made with each
// launch, since it holds their addresses; that is work of the host alone. Thread rule: as tactics.
#include "backends/cuda/conv_tma.h"

#include "backends/cuda/conv_shared.h"

// The engine walks over so much of a box, by steps up to this.
enum { PACK_VERSION = 1, BK = OSP_CONV_WGMMA_BK, BOX_MAX = 256, STRIDE_MAX = 8 };
// Of a multiprocessor; each block takes a little more than it asks for.
enum { SHARED_OF_SM = 228 * 1024, SHARED_OF_SYSTEM = 1024 };

typedef struct tma_conv {
    osp_conv_args args;
    osp_tma_plan plan;
    const osp_conv_tma *tile;
    osp_gpu_shape shape;
    uint32_t box[4];  // of pixels
    int64_t rows;     // channels out, padded
    int64_t k;        // depth, padded
    size_t bias_at;   // bytes into the packed block
} tma_conv;

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

// ---- Cutting a problem into tiles ---------------------------------------------------------------

// A window of 1x1 that moves by one pixel: all images are one line.
static void see_line(osp_conv_args *a)
{
    if (a->kh * a->kw * a->sh * a->sw != 1 || a->oh != a->ih || a->ow != a->iw || a->ph || a->pw)
        return;
    a->iw = a->ow = a->pixels;
    a->ih = a->oh = a->n = 1;
}

// The box of at most bm pixels that makes the fewest tiles; of several the widest.
static void choose_box(const osp_conv_args *a, int32_t bm, osp_tma_plan *plan)
{
    int64_t fewest = INT64_MAX;
    for (int32_t tw = least(least(bm, a->ow), BOX_MAX / a->sw); tw > 0; tw--) {
        const int32_t th = least(least(bm / tw, a->oh), BOX_MAX / a->sh);
        const int64_t x = (a->ow + tw - 1) / tw, y = (a->oh + th - 1) / th;
        if (x * y >= fewest)
            continue;
        fewest = x * y;
        plan->tw = tw;
        plan->th = th;
    }
}

// false: more tiles than a grid may have.
static bool count_tiles(const osp_conv_args *a, int64_t bn, osp_tma_plan *plan)
{
    plan->tw_inverse = 65536 / plan->tw + 1;
    plan->columns = (int32_t)((a->oc + bn - 1) / bn);
    plan->tiles_x = (a->ow + plan->tw - 1) / plan->tw;
    plan->tiles_y = (a->oh + plan->th - 1) / plan->th;
    const int64_t boxes = (int64_t)plan->tiles_x * plan->tiles_y * a->n;  // no more than pixels
    const int64_t tiles = boxes * plan->columns;
    plan->tiles = (int32_t)tiles;
    return tiles <= INT32_MAX;
}

static bool plan_window(osp_conv_args *a, const osp_conv_tma *k, osp_tma_plan *plan)
{
    see_line(a);
    choose_box(a, k->bm, plan);
    return count_tiles(a, k->bn, plan);
}

static bool plan_halo(const osp_conv_args *a, const osp_conv_tma *k, osp_tma_plan *plan)
{
    plan->tw = k->tw;
    plan->th = k->bm / k->tw;
    return count_tiles(a, k->bn, plan);
}

// ---- What it is not for -------------------------------------------------------------------------

static const char *refuse_both(const osp_problem *p, const osp_conv_tma *k, osp_conv_problem *c,
                               osp_conv_args *a)
{
    const char *why = osp_conv_refuse_warpgroups(p, &k->kernel, k->bn, c);
    if (why)
        return why;
    osp_conv_args_of(c, a);
    if (a->ic < BK / 2)
        return "less than half a tile of channels";
    if (osp_conv_up(a->ic, BK) * a->kh * a->kw > INT32_MAX)
        return "too deep for 32-bit offsets";
    return NULL;
}

static const char *refuse_window(const osp_problem *p, const osp_conv_tma *k)
{
    osp_conv_problem c;
    osp_conv_args a;
    const char *why = refuse_both(p, k, &c, &a);
    if (why)
        return why;
    if (a.sh > STRIDE_MAX || a.sw > STRIDE_MAX)
        return "a larger stride than the copy engine has";
    osp_tma_plan plan;
    return plan_window(&a, k, &plan) ? NULL : "more tiles than a grid has blocks";
}

static const char *refuse_halo(const osp_problem *p, const osp_conv_tma *k)
{
    osp_conv_problem c;
    osp_conv_args a;
    const char *why = refuse_both(p, k, &c, &a);
    if (why)
        return why;
    if (a.kh != 3 || a.kw != 3 || a.sh != 1 || a.sw != 1)
        return "not 3x3 of stride 1";
    osp_tma_plan plan;
    return plan_halo(&a, k, &plan) ? NULL : "more tiles than a grid has blocks";
}

// ---- Preparing ----------------------------------------------------------------------------------

static osp_status prepare_both(const osp_problem *p, osp_context *ctx, const osp_conv_tma *k,
                               tma_conv **out, osp_tactic_sizes *sizes, osp_error *err)
{
    void *state;
    osp_conv_problem c;
    OSP_TRY(osp_cuda_state(ctx, sizeof(tma_conv), &state, err));
    tma_conv *s = state;
    osp_conv_problem_of(p, &c);
    osp_conv_args_of(&c, &s->args);
    s->tile = k;
    s->rows = osp_conv_up(s->args.oc, k->bn);
    s->k = osp_conv_up(s->args.ic, BK) * s->args.kh * s->args.kw;
    s->bias_at = osp_conv_aligned((size_t)(s->rows * s->k) * sizeof(uint16_t));
    sizes->packed_bytes = s->bias_at + osp_conv_aligned((size_t)s->rows * sizeof(float));
    *out = s;
    return OSP_OK;
}

// `ring`: bytes of the buffers, `buffers` of them.
static void share_memory(tma_conv *s, int64_t ring, int64_t buffers)
{
    const osp_conv_tma *k = s->tile;
    const int64_t room = (int64_t)k->bm * (k->bn + OSP_TMA_ROOM_PAD) * (int64_t)sizeof(uint16_t);
    s->plan.result = k->loop ? (int32_t)ring : 0;
    s->plan.barriers = (int32_t)(k->loop ? ring + room : osp_i64_max(ring, room));
    s->shape = (osp_gpu_shape){
        .grid = {(uint32_t)s->plan.tiles},
        .block = {(uint32_t)k->threads},
        .shared_bytes = (uint32_t)(s->plan.barriers + buffers * OSP_TMA_BARRIERS)};
}

// A block that makes one tile has no more stages than there are loads: what it leaves is for others.
static osp_status prepare_window(const osp_problem *p, osp_context *ctx, const osp_conv_tma *k,
                                 void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    tma_conv *s;
    OSP_TRY(prepare_both(p, ctx, k, &s, sizes, err));
    osp_conv_args *a = &s->args;
    plan_window(a, k, &s->plan);
    s->plan.stages = k->loop || s->k / BK > k->stages ? k->stages : (int32_t)(s->k / BK);
    share_memory(s, (int64_t)s->plan.stages * (k->bm + k->bn) * BK * 2, s->plan.stages);
    s->box[0] = BK;
    s->box[1] = (uint32_t)(s->plan.tw * a->sw);
    s->box[2] = (uint32_t)(s->plan.th * a->sh);
    s->box[3] = 1;
    *state = s;
    return OSP_OK;
}

static osp_status prepare_halo(const osp_problem *p, osp_context *ctx, const osp_conv_tma *k,
                               void **state, osp_tactic_sizes *sizes, osp_error *err)
{
    tma_conv *s;
    OSP_TRY(prepare_both(p, ctx, k, &s, sizes, err));
    plan_halo(&s->args, k, &s->plan);
    s->plan.stages = k->stages;
    s->plan.halos = k->loop || s->args.ic > BK ? 2 : 1;
    const int64_t halo = OSP_TMA_HALO_BYTES(s->plan.th, s->plan.tw);
    share_memory(s, s->plan.halos * halo + (int64_t)k->stages * k->bn * BK * 2,
                 k->stages + s->plan.halos);
    s->box[0] = BK;
    s->box[1] = (uint32_t)s->plan.tw + 2;
    s->box[2] = (uint32_t)s->plan.th + 2;
    s->box[3] = 1;
    *state = s;
    return OSP_OK;
}

static osp_status pack(const osp_problem *p, void *state, const void *const *src, void *packed,
                       osp_error *err)
{
    (void)err;
    const tma_conv *s = state;
    const int64_t taps = (int64_t)s->args.kh * s->args.kw, ic = s->args.ic;
    const uint16_t *weights = src[1];
    uint16_t *to = packed;  // cleared by the caller
    for (int64_t o = 0; o < s->args.oc; o++)
        for (int64_t c = 0; c < ic; c++)
            for (int64_t t = 0; t < taps; t++)
                to[o * s->k + (c / BK * taps + t) * BK + c % BK] = *weights++;
    osp_conv_pack_bias(p, src, (float *)(void *)((char *)packed + s->bias_at), s->args.oc);
    return OSP_OK;
}

// ---- Launching ----------------------------------------------------------------------------------

static osp_status describe(const tma_conv *s, const osp_launch *l, osp_tma_args *args,
                           osp_error *err)
{
    const osp_conv_args *a = &s->args;
    const uint64_t pixel = (uint64_t)a->src_pitch * sizeof(uint16_t),
                   line = pixel * (uint64_t)a->iw;
    const osp_gpu_tiles pixels = {
        .data = l->src[0],
        .rank = 4,
        .extent = {(uint64_t)a->ic, (uint64_t)a->iw, (uint64_t)a->ih, (uint64_t)a->n},
        .stride = {0, pixel, line, line * (uint64_t)a->ih},
        .box = {s->box[0], s->box[1], s->box[2], s->box[3]},
        .step = {1, (uint32_t)a->sw, (uint32_t)a->sh, 1},
    };
    const osp_gpu_tiles weights = {
        .data = l->packed,
        .rank = 2,
        .extent = {(uint64_t)s->k, (uint64_t)s->rows},
        .stride = {0, (uint64_t)s->k * sizeof(uint16_t)},
        .box = {BK, (uint32_t)s->tile->bn},
        .step = {1, 1},
    };
    OSP_TRY(osp_gpu_tensor_map_make(l->gpu, &pixels, &args->pixels, err));
    return osp_gpu_tensor_map_make(l->gpu, &weights, &args->weights, err);
}

static osp_status launch(const osp_problem *p, void *state, const osp_launch *l, osp_error *err)
{
    const tma_conv *s = state;
    osp_tma_args args = {.conv = s->args, .plan = s->plan};
    OSP_TRY(describe(s, l, &args, err));
    args.conv.bias = (const float *)(const void *)((const char *)l->packed + s->bias_at);
    args.conv.add = p->src_count > 3 ? l->src[3] : NULL;
    args.conv.dst = l->dst[0];
    osp_gpu_shape shape = s->shape;
    if (s->tile->loop) {
        const int64_t each = SHARED_OF_SM / (shape.shared_bytes + SHARED_OF_SYSTEM);
        const int64_t sms = osp_gpu_info(l->gpu)->multiprocessors;
        shape.grid[0] = osp_conv_even_blocks(
            s->plan.tiles, sms * (each < s->tile->blocks ? each : s->tile->blocks));
    }
    return osp_cuda_launch(l, &s->tile->kernel, &shape, &args, sizeof args, err);
}

// ---- What fits ----------------------------------------------------------------------------------

#define ROOM(BM, BN) ((BM) * ((BN) + OSP_TMA_ROOM_PAD) * 2)
#define FITS(BLOCKS, BYTES)                                                                        \
    _Static_assert((BLOCKS) * ((BYTES) + SHARED_OF_SYSTEM) <= SHARED_OF_SM, "in a multiprocessor")
#define X(BM, BN, S, BLOCKS, MODE)                                                                 \
    FITS(BLOCKS,                                                                                   \
         (S) * (((BM) + (BN)) * BK * 2 + OSP_TMA_BARRIERS) + OSP_TMA_LOOP_##MODE * ROOM(BM, BN));
OSP_CONV_TMA_ROWS(X)
#undef X
#define X(TH, TW, BN, S, BLOCKS, MODE)                                                             \
    FITS(BLOCKS, (S) * ((BN)*BK * 2 + OSP_TMA_BARRIERS) + 2 * OSP_TMA_HALO_BYTES(TH, TW) +         \
                     2 * OSP_TMA_BARRIERS + OSP_TMA_LOOP_##MODE * ROOM((TH) * (TW), BN));
OSP_CONV_TMA_HALO_ROWS(X)
#undef X

// ---- The tables ---------------------------------------------------------------------------------

#define TACTIC(NAME, CONFIG)                                                                       \
    {                                                                                              \
        .name = NAME, .pack_version = PACK_VERSION, .refuse = refuse_##CONFIG,                     \
        .refuse_device = osp_conv_refuse_device_wgmma, .prepare = prepare_##CONFIG, .pack = pack,  \
        .launch = launch, .release = osp_cuda_release                                              \
    }

// Two steps, so that CONFIG is the name and no longer the macro.
#define TACTIC_(NAME, CONFIG) TACTIC(NAME, CONFIG)
#define X(...) OSP_CONV_WRAP(window, OSP_CONV_TMA_NAME(__VA_ARGS__))
OSP_CONV_TMA_ROWS(X)
#undef X
#define X(...) OSP_CONV_WRAP(halo, OSP_CONV_TMA_HALO_NAME(__VA_ARGS__))
OSP_CONV_TMA_HALO_ROWS(X)
#undef X

const osp_tactic osp_cuda_conv_tma[] = {
#define X(BM, BN, S, BLOCKS, MODE)                                                                 \
    TACTIC_("tma " #BM "x" #BN " s" #S OSP_TMA_WORD_##MODE,                                        \
            OSP_CONV_TMA_NAME(BM, BN, S, BLOCKS, MODE)),
    OSP_CONV_TMA_ROWS(X)
#undef X
};
const osp_tactic osp_cuda_conv_tma_halo[] = {
#define X(TH, TW, BN, S, BLOCKS, MODE)                                                             \
    TACTIC_("tma halo " #TH "x" #TW "x" #BN " s" #S OSP_TMA_WORD_##MODE,                           \
            OSP_CONV_TMA_HALO_NAME(TH, TW, BN, S, BLOCKS, MODE)),
    OSP_CONV_TMA_HALO_ROWS(X)
#undef X
};
