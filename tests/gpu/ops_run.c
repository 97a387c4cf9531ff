// One node by every tactic: its operands laid out in device memory in several ways, a guard around
// destinations, and the reference kernel's values to compare with. Thread rule: one thread.
#include "ops_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/problem.h"
#include "base/half.h"
#include "ops/view.h"

void fatal(const char *what)
{
    fprintf(stderr, "ops_on_gpu: %s\n", what);
    exit(2);
}

void *take(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        fatal("out of memory");
    return p;
}

size_t count_of(const osp_operand *o)
{
    size_t n = 0;
    return osp_shape_count(&o->shape, &n) ? n : 0;
}

static op_count *count_for(bench *b, const char *name)
{
    for (size_t i = 0; i < b->kinds; i++)
        if (!strcmp(b->counts[i].name, name))
            return b->counts + i;
    if (b->kinds == MOST_NAMES)
        fatal("too many operators");
    b->counts[b->kinds].name = name;
    return b->counts + b->kinds++;
}

// ---- Layouts ------------------------------------------------------------------------------------

// Elements from the first to the last, with the gaps between rows.
static size_t span_of(const osp_operand *o)
{
    const size_t n = count_of(o);
    if (!n || o->row == o->pitch)
        return n;
    return (n / (size_t)o->row - 1) * (size_t)o->pitch + (size_t)o->row;
}

// Where element i of the logical C order lies.
static size_t place_of(const osp_operand *o, size_t i)
{
    if (o->layout == OSP_LAYOUT_CHANNELS_LAST) {
        const size_t c = (size_t)o->shape.dims[1];
        const size_t pixels = (size_t)(o->shape.dims[2] * o->shape.dims[3]);
        i = (i / (c * pixels) * pixels + i % pixels) * c + i / pixels % c;
    }
    return o->row ? i / (size_t)o->row * (size_t)o->pitch + i % (size_t)o->row : i;
}

void set_dense(osp_operand *o)
{
    o->row = o->pitch = o->layout == OSP_LAYOUT_CHANNELS_LAST
                            ? o->shape.dims[1]
                            : osp_shape_span(&o->shape, 0, o->shape.rank);
}

// false: it would be as another variant.
static bool arrange(osp_operand *o, variant v)
{
    const int64_t gap = v == ODD_SLICES || v == LAST_ODD ? 3 : 16;
    if (o->constant || !o->dtype)
        return false;
    if (v == SLICES || v == ODD_SLICES) {
        if (o->shape.rank < 2 || count_of(o) == 0)
            return false;
        const int32_t from = o->shape.rank > 2 ? 1 : o->shape.rank - 1;
        o->row = osp_shape_span(&o->shape, from, o->shape.rank);
        o->pitch = o->row + gap;
        return true;
    }
    if (v < LAST || o->shape.rank != 4 || count_of(o) == 0)
        return false;
    o->layout = OSP_LAYOUT_CHANNELS_LAST;
    o->row = o->shape.dims[1];
    o->pitch = o->row + (v == LAST ? 0 : gap);
    return true;
}

// ---- One run ------------------------------------------------------------------------------------

void check(osp_status status, const osp_error *err)
{
    if (status)
        fatal(err->text);
}

static char *device_room(bench *b, size_t bytes, size_t extra)
{
    osp_error err;
    void **block = b->blocks + b->block_count++;
    check(osp_gpu_alloc(b->gpu, block, bytes + extra ? bytes + extra : 1, &err), &err);
    return (char *)*block + extra;
}

static void free_room(bench *b)
{
    while (b->block_count)
        osp_gpu_free(b->gpu, b->blocks[--b->block_count]);
}

static void to_device(bench *b, void *dst, const void *src, size_t bytes)
{
    osp_error err;
    check(osp_gpu_copy(b->gpu, dst, src, bytes, b->stream, &err), &err);
    check(osp_gpu_stream_wait(b->gpu, b->stream, -1, &err), &err);
}

// The difference as a share of what is allowed; above 1: wrong.
static double difference(osp_dtype dtype, const void *got, size_t i, const void *want, size_t k,
                         double range)
{
    if (!osp_dtype_is_float(dtype)) {
        const size_t bytes = osp_dtype_bytes(dtype);
        return memcmp((const char *)got + i * bytes, (const char *)want + k * bytes, bytes) ? 2 : 0;
    }
    const double x = (double)osp_load_float(dtype, got, i);
    const double y = (double)osp_load_float(dtype, want, k);
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y) ? 0 : 2;
    if (x == y)
        return 0;
    const double d = fabs(x - y) /
                     (dtype == OSP_DTYPE_FLOAT32 ? 1e-5 + 1e-4 * fabs(y) : 1e-3 + 2e-2 * range);
    return isnan(d) ? 2 : d;
}

static double range_of(osp_dtype dtype, const void *data, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count && osp_dtype_is_float(dtype); i++) {
        const double x = fabs((double)osp_load_float(dtype, data, i));
        if (isfinite(x) && x > most)
            most = x;
    }
    return most;
}

// Compares a destination, and the bytes beside its elements with the guard. `why`: what is wrong.
static bool compare(const osp_operand *o, const uint8_t *got, const void *want, double *worst,
                    char *why, size_t size)
{
    const size_t n = count_of(o), bytes = osp_dtype_bytes(o->dtype), span = span_of(o);
    const double range = range_of(o->dtype, want, n);
    uint8_t *ours = take(span + 64);
    size_t wrong = 0, first = 0;
    for (size_t k = 0; k < n; k++) {
        const size_t i = place_of(o, k);
        ours[i] = 1;
        const double d = difference(o->dtype, got, i, want, k, range);
        *worst = d > *worst ? d : *worst;
        if (d > 1 && wrong++ == 0)
            first = k;
    }
    size_t touched = 0;
    for (size_t i = 0; i < span + 64; i++)
        for (size_t j = 0; !ours[i] && j < bytes; j++)
            touched += got[i * bytes + j] != GUARD;
    free(ours);
    if (wrong)
        snprintf(why, size, "%zu of %zu differ, first [%zu]: %.9g, not %.9g", wrong, n, first,
                 (double)osp_load_float(o->dtype, got, place_of(o, first)),
                 (double)osp_load_float(o->dtype, want, first));
    else if (touched)
        snprintf(why, size, "%zu bytes beside it were written", touched);
    return !wrong && !touched;
}

static void lay_out(const osp_operand *o, const void *dense, uint8_t *out)
{
    const size_t bytes = osp_dtype_bytes(o->dtype);
    for (size_t i = 0; i < count_of(o); i++)
        memcpy(out + place_of(o, i) * bytes, (const char *)dense + i * bytes, bytes);
}

typedef struct placed {
    void *src[OPERANDS], *dst[OPERANDS];
    size_t dst_bytes[OPERANDS];
} placed;

// Copies sources to the device and guards destinations. `odd`: addresses are aligned to an element.
static void place(bench *b, const test *t, placed *at, bool odd)
{
    *at = (placed){0};
    for (int32_t i = 0; i < t->src_count; i++) {
        const osp_operand *o = t->src + i;
        if (!o->dtype)
            continue;
        const size_t size = osp_dtype_bytes(o->dtype), bytes = span_of(o) * size;
        uint8_t *host = take(bytes);
        lay_out(o, t->data[i], host);
        at->src[i] = device_room(b, bytes, odd && !o->constant ? size : 0);
        to_device(b, at->src[i], host, bytes);
        free(host);
    }
    for (int32_t i = 0; i < t->dst_count; i++) {
        const osp_operand *o = t->dst + i;
        if (!o->dtype)
            continue;
        const size_t size = osp_dtype_bytes(o->dtype);
        at->dst_bytes[i] = (span_of(o) + 64) * size;
        at->dst[i] = device_room(b, at->dst_bytes[i], odd ? size : 0);
    }
}

// Microseconds of one launch, the best of a few.
static void time_tactic(bench *b, const osp_tactic *tactic, const osp_problem *p, void *state,
                        const osp_launch *l)
{
    osp_gpu_event start, end;
    osp_error err;
    double best = 1e30, us;
    char text[OSP_PROBLEM_TEXT_BYTES];
    check(osp_gpu_event_open(b->gpu, &start, true, &err), &err);
    check(osp_gpu_event_open(b->gpu, &end, true, &err), &err);
    for (int i = 0; i < 20; i++) {
        check(osp_gpu_event_record(b->gpu, start, b->stream, &err), &err);
        check(tactic->launch(p, state, l, &err), &err);
        check(osp_gpu_event_record(b->gpu, end, b->stream, &err), &err);
        check(osp_gpu_event_wait(b->gpu, end, -1, &err), &err);
        check(osp_gpu_event_elapsed(b->gpu, start, end, &us, &err), &err);
        best = us < best ? us : best;
    }
    osp_gpu_event_close(b->gpu, &start);
    osp_gpu_event_close(b->gpu, &end);
    double flops, bytes;
    osp_problem_cost(p, &flops, &bytes);
    osp_problem_print(p, text, sizeof text);
    printf("TIME %8.2f us %7.1f GB/s %8.1f GFLOP/s %s: %s\n", best, bytes / best / 1e3,
           flops / best / 1e3, tactic->name, text);
}

static osp_status enqueue(bench *b, const test *t, const osp_tactic *tactic, const osp_problem *p,
                          placed *at, osp_error *err)
{
    void *state = NULL, *packed = NULL;
    const void *constants[OPERANDS] = {0};
    void *src[OPERANDS];
    osp_tactic_sizes sizes = {0};
    if (tactic->prepare)
        OSP_TRY(tactic->prepare(p, &b->ctx, 1, &state, &sizes, err));
    for (int32_t i = 0; i < t->src_count; i++) {
        constants[i] = t->src[i].constant ? t->data[i] : NULL;
        src[i] = sizes.packed_bytes && t->src[i].constant ? NULL : at->src[i];
    }
    osp_status status = OSP_OK;
    if (sizes.packed_bytes) {
        void *host = take(sizes.packed_bytes);
        status = tactic->pack(p, state, constants, host, err);
        packed = device_room(b, sizes.packed_bytes, 0);
        to_device(b, packed, host, sizes.packed_bytes);
        free(host);
    }
    const osp_launch l = {.src = src,
                          .dst = at->dst,
                          .packed = packed,
                          .workspace = device_room(b, sizes.workspace_bytes, 0),
                          .threads = {.count = 1},
                          .gpu = b->gpu,
                          .stream = b->stream};
    if (!status)
        status = tactic->launch(p, state, &l, err);
    if (!status && b->time)
        time_tactic(b, tactic, p, state, &l);
    if (tactic->release)
        tactic->release(&b->ctx, state);
    return status;
}

static void report(bench *b, const test *t, const osp_tactic *tactic, const osp_problem *p,
                   const char *why)
{
    char text[OSP_PROBLEM_TEXT_BYTES];
    osp_problem_print(p, text, sizeof text);
    count_for(b, t->op->type)->failed++;
    b->failed++;
    if (b->shown++ < SHOWN)
        printf("FAIL %s: %s: %s\n    %s\n", tactic->name, t->name, why, text);
}

static void run_tactic(bench *b, const test *t, const osp_tactic *tactic, const osp_problem *p,
                       bool odd)
{
    placed at;
    osp_error err;
    char why[512] = "";
    place(b, t, &at, odd);
    for (int32_t i = 0; i < t->dst_count; i++)
        if (at.dst[i])
            check(osp_gpu_fill(b->gpu, at.dst[i], GUARD, at.dst_bytes[i], b->stream, &err), &err);
    osp_status status = enqueue(b, t, tactic, p, &at, &err);
    if (!status)
        status = osp_gpu_stream_wait(b->gpu, b->stream, -1, &err);
    bool good = !status;
    if (status)
        snprintf(why, sizeof why, "%s", err.text);
    double *worst = &count_for(b, t->op->type)->worst;
    for (int32_t i = 0; good && i < t->dst_count; i++) {
        if (!at.dst[i])
            continue;
        double blind = 0;
        uint8_t *got = take(at.dst_bytes[i]);
        memset(got, GUARD, at.dst_bytes[i]);
        b->blind += count_of(t->dst + i) > 0 &&
                    compare(t->dst + i, got, t->expected[i], &blind, why, sizeof why);
        to_device(b, got, at.dst[i], at.dst_bytes[i]);
        good = compare(t->dst + i, got, t->expected[i], worst, why, sizeof why);
        free(got);
    }
    free_room(b);
    b->ran++;
    count_for(b, t->op->type)->ran++;
    if (!good)
        report(b, t, tactic, p, why);
    if (status)
        fatal(err.text);  // the device is lost, as a rule
}

void run_variant(bench *b, const test *original, variant v)
{
    test t = *original;
    bool any = v == AS_IS;
    // Weights, parameters and statistics are always plain and dense.
    const bool weights = strstr(t.op->type, "Conv") || strstr(t.op->type, "Normalization");
    for (int32_t i = 0; v != AS_IS && i < t.src_count; i++)
        any |= !(weights && (i == 1 || i == 2)) && arrange(t.src + i, v);
    for (int32_t i = 0; v != AS_IS && i < t.dst_count; i++)
        any |= !(weights && i > 0) && arrange(t.dst + i, v);
    if (!any)
        return;
    const osp_problem p = {t.op, t.attrs, t.src_count, t.dst_count, t.src, t.dst};
    bool taken = false;
    for (const osp_tactic *const *list = osp_backend_cuda.tactics(t.op); *list; list++) {
        const char *why = (*list)->refuse ? (*list)->refuse(&p) : NULL;
        if (why) {
            count_for(b, t.op->type)->why = why;
            continue;
        }
        taken = true;
        run_tactic(b, &t, *list, &p, v == ODD_SLICES || v == LAST_ODD);
    }
    op_count *c = count_for(b, t.op->type);
    c->refused += !taken;
    // As it is, a node must be taken by some tactic.
    if (!taken && v == AS_IS && b->shown++ < SHOWN)
        printf("REFUSED %s: %s\n", t.name, c->why ? c->why : "no tactic");
}

// ---- Types and expected results -----------------------------------------------------------------

// Inference, and the reference kernel on dense plain operands. false: the types do not go.
static bool expect(bench *b, test *t)
{
    osp_value values[OPERANDS];
    const osp_value *inputs[OPERANDS];
    osp_type *types = take((OPERANDS + 8) * sizeof *types);
    osp_view src[OPERANDS] = {0}, dst[OPERANDS] = {0};
    osp_error err;
    for (int32_t i = 0; i < t->src_count; i++) {
        const osp_operand *o = t->src + i;
        values[i] = (osp_value){.name = "",
                                .dtype = o->dtype,
                                .shape = o->shape,
                                .data = t->op->shape_inputs >> i & 1 ? t->data[i] : NULL};
        inputs[i] = o->dtype ? values + i : NULL;
        src[i] = o->dtype ? (osp_view){o->dtype, o->shape, t->data[i]} : (osp_view){0};
    }
    osp_infer in = {&b->ctx, t->op, t->attrs, t->src_count, t->dst_count, inputs, types};
    bool good = !t->op->infer(&in, &err);
    for (int32_t i = 0; good && i < t->dst_count; i++) {
        osp_operand *o = t->dst + i;
        if (!o->dtype)
            continue;
        o->dtype = types[i].dtype;
        o->shape = types[i].shape;
        if (o->layout == OSP_LAYOUT_PLAIN && o->row == o->pitch)
            set_dense(o);
        t->expected[i] = take(count_of(o) * osp_dtype_bytes(o->dtype));
        dst[i] = (osp_view){o->dtype, o->shape, t->expected[i]};
    }
    free(types);
    const osp_call call = {t->attrs, t->src_count, t->dst_count, src, dst};
    return good && !t->op->reference(&call, &err);
}

// float32 becomes float16 where the operand is data and not a number that decides shapes.
static void halve(test *t)
{
    for (int32_t i = 0; i < t->src_count; i++) {
        osp_operand *o = t->src + i;
        if (o->dtype != OSP_DTYPE_FLOAT32 || t->op->shape_inputs >> i & 1)
            continue;
        const size_t n = count_of(o);
        uint16_t *half = take(n * sizeof *half);
        for (size_t k = 0; k < n; k++)
            half[k] = osp_float_to_half(((const float *)t->data[i])[k]);
        t->data[i] = half;
        o->dtype = OSP_DTYPE_FLOAT16;
    }
}

static bool has_float32(const test *t)
{
    for (int32_t i = 0; i < t->src_count; i++)
        if (t->src[i].dtype == OSP_DTYPE_FLOAT32 && !(t->op->shape_inputs >> i & 1))
            return true;
    return false;
}

// `original`: operands and data; destinations with any dtype where they are wanted.
void run_test(bench *b, const test *original, bool as_given)
{
    if (b->only && strcmp(b->only, original->op->type) != 0)
        return;
    for (int32_t half = 0; half < 2; half++) {
        test t = *original;
        if (half && !has_float32(&t))
            break;
        t.attrs = take(t.op->attrs_size);
        memcpy(t.attrs, original->attrs, t.op->attrs_size);
        if (half)
            halve(&t);
        if (expect(b, &t))
            for (variant v = AS_IS; v < (as_given ? SLICES : VARIANTS); v++)
                run_variant(b, &t, v);
        else
            b->uninferred++;
        for (int32_t i = 0; i < t.src_count; i++)
            if (t.data[i] != original->data[i])
                free(t.data[i]);
        for (int32_t i = 0; i < t.dst_count; i++)
            free(t.expected[i]);
        free(t.attrs);
    }
}
